"""A review queue under way: answers, judged one by one; each judgement is a record before the next answer is in front."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiplat_lab.client import Client
from aiplat_lab.core.errors import AiplatError, LedgerError, UsageError, did_you_mean
from aiplat_lab.core.ids import new_id
from aiplat_lab.widgets._agreement import Agreement, agree
from aiplat_lab.widgets._ballots import VoteBox

if TYPE_CHECKING:
    import polars

_MOST_CHARS = 100_000


@dataclass(slots=True, kw_only=True)
class Given:
    """One reviewer's judgement of one item, from before it is given until it is stored."""

    id: str = field(default_factory=new_id)
    rating: int | None = None
    labels: tuple[str, ...] = ()
    correction: str = ""
    comment: str = ""
    given: bool = False
    stored: bool = False
    problem: str = ""
    """Why it is not stored yet."""
    took_s: float | None = None


@dataclass(slots=True, kw_only=True)
class Item:
    """One answer in a queue."""

    id: str
    call_id: str
    why: str = ""
    score: float | None = None
    others: int = 0
    """How many other reviewers have judged it."""
    mine: Given = field(default_factory=Given)
    asked: str | None = None
    """What was asked; None until it is looked at."""
    answer: str = ""
    facts: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What a reviewer is asked for."""

    queue: str
    reviewer: str
    labels: tuple[str, ...]
    scale: int
    raters: int


class Review:
    """A review queue under way. Made by `review()`; all methods may be called from any thread."""

    def __init__(self, form: Form, client: Client) -> None:
        self.form = form
        self.listeners: list[Callable[[], None]] = []
        self.show: Callable[[], None] | None = None
        """Shows the record in the cell that runs now; None where nothing can be shown."""
        self._client = client
        self._lock = threading.RLock()
        self._items: dict[str, Item] = {}
        self._reviews: dict[str, dict[str, Any]] = {}
        self._box: VoteBox[Given] = VoteBox(client, self._moved, "review")
        self._read()
        self._at = next(iter(self._open()), next(iter(self._items), ""))

    # --- for whoever reviews ------------------------------------------------------------------------------------------

    @property
    def queue(self) -> str:
        """The queue's name: `review("…")` goes on with it, here or in a colleague's notebook."""
        return self.form.queue

    def reviews(self) -> polars.DataFrame:
        """Every review so far, of all reviewers: item, call, rating, labels, correction, comment."""
        return self._client.view("review_list", queue=self.queue)

    def corrected(self) -> list[dict[str, str]]:
        """The answers that were corrected, the last correction of each: what was asked as `input`, the correction as `target`."""
        found = {}
        for row in self.given():
            item = self._items.get(str(row["item_id"]))
            if row.get("correction") and item is not None:
                self._load(item)
                found[item.id] = {"id": item.call_id, "input": item.asked or "", "target": str(row["correction"])}
        return list(found.values())

    def agreement(self) -> Agreement:
        """How far the reviewers agree in their ratings."""
        return agree(self.given(), of="item_id", by="reviewer", says="rating")

    def submit(
        self, rating: int | None = None, labels: Iterable[str] = (), *, correction: str = "", comment: str = "", item_id: str = ""
    ) -> None:
        """Judges in code, as the control does; the next item comes when the record is stored.

        Raises:
            UsageError: a rating, a label or an item that there is not, or a judgement that says nothing.
        """
        item = self._items.get(item_id or self._at)
        if item is None:
            raise UsageError(f"there is no item {item_id!r} in queue {self.queue}.{did_you_mean(item_id, self._items)}")
        self.judge(item.mine.id, rating=rating, labels=list(labels), correction=correction, comment=comment)

    def wait(self, timeout_s: float = 60.0) -> bool:
        """Waits until every judgement is stored; false when the time ran out."""
        return self._box.flush(timeout_s)

    def __repr__(self) -> str:
        return f"<Review {self.queue}: {self.done()} of {len(self._items)} reviewed by {self.form.reviewer}>"

    def _ipython_display_(self) -> None:
        """The record again, where the result stands at the end of another cell."""
        if self.show is None:
            raise NotImplementedError  # so that IPython takes the text
        self.show()

    # --- for the surfaces ---------------------------------------------------------------------------------------------

    def items(self) -> list[Item]:
        """The items in their order."""
        return list(self._items.values())

    @property
    def current(self) -> Item | None:
        """The item in front, with its texts; None in an empty queue."""
        item = self._items.get(self._at)
        if item is not None:
            self._load(item)
        return item

    @property
    def place(self) -> int:
        """The place of the item in front, from 0."""
        return list(self._items).index(self._at) if self._at else 0

    def done(self) -> int:
        """How many items this reviewer has judged."""
        with self._lock:
            return sum(item.mine.given for item in self._items.values())

    def left(self) -> int:
        """How many items still wait for this reviewer."""
        return len(self._open())

    def unstored(self) -> int:
        """How many judgements the gateway does not have yet."""
        return self._box.waiting

    def given(self) -> list[dict[str, Any]]:
        """The reviews of all reviewers that are known here, one for each reviewer and item; the ones on their way too."""
        with self._lock:
            return list({(row["reviewer"], row["item_id"]): row for row in self._reviews.values()}.values())

    def judge(self, given_id: str, *, rating: int | None, labels: Sequence[str], correction: str = "", comment: str = "") -> bool:
        """Takes a judgement; false when that one was taken already, so that a double click counts once.

        Raises:
            UsageError: it says nothing, or what the queue does not ask for.
        """
        kept = self._checked(rating, labels, correction, comment)
        with self._lock:
            item = next((one for one in self._items.values() if one.mine.id == given_id), None)
            if item is None:
                return False
            before = item.mine
            now = (kept["rating"], tuple(kept["labels"]), kept["correction"], kept["comment"])
            if before.given and now == (before.rating, before.labels, before.correction, before.comment):
                return False
            # A judgement that is changed is another record, which takes the place of the first.
            one = Given(id=new_id() if before.given else before.id, given=True, **{**kept, "labels": tuple(kept["labels"])})
            item.mine = one
            row = {
                "id": one.id,
                "queue": self.queue,
                "item_id": item.id,
                "call_id": item.call_id,
                "reviewer": self.form.reviewer,
                **{name: value for name, value in kept.items() if value not in (None, "", [])},
            }
            self._reviews[one.id] = row
            self._box.put(one, row)
        self.tell()
        return True

    def go(self, place: int) -> None:
        """Puts another item in front."""
        names = list(self._items)
        if 0 <= place < len(names):
            self._at = names[place]
            self.tell()

    def skip(self) -> None:
        """Puts the next open item in front; this one stays open."""
        self._forward(but=self._at)
        self.tell()

    def look(self) -> bool:
        """Reads what other reviewers have done and what was put into the queue; whether anything is new."""
        before = (len(self._reviews), len(self._items))
        try:
            self._read()
        except AiplatError:
            return False  # the next look will know of it
        moved = before != (len(self._reviews), len(self._items))
        if moved:
            self.tell()
        return moved

    def tell(self) -> None:
        """Tells those who listen."""
        for listener in self.listeners:
            listener()

    # --- parts --------------------------------------------------------------------------------------------------------

    def _checked(self, rating: int | None, labels: Sequence[str], correction: str, comment: str) -> dict[str, Any]:
        form = self.form
        if rating is not None and not (isinstance(rating, int) and not isinstance(rating, bool) and 1 <= rating <= form.scale):
            raise UsageError(f"a rating is a whole number from 1 to {form.scale}; got {rating!r}")
        for label in labels:
            if label not in form.labels:
                raise UsageError(f"there is no label {label!r}.{did_you_mean(str(label), form.labels)} There are {', '.join(form.labels)}.")
        if max(len(correction), len(comment)) > _MOST_CHARS:
            raise UsageError(f"a correction or a comment has at most {_MOST_CHARS:,} characters")
        if rating is None and not labels and not correction.strip() and not comment.strip():
            raise UsageError("this judgement says nothing: give a rating, a label, a correction or a comment")
        ordered = [label for label in form.labels if label in labels]
        return {"rating": rating, "labels": ordered, "correction": correction.strip(), "comment": comment.strip()}

    def _read(self) -> None:
        """What the gateway has of the queue."""
        items = self._client.view_rows("review_queue", queue=self.queue)
        reviews = self._client.view_rows("review_list", queue=self.queue)
        with self._lock:
            for row in items:
                found = self._items.setdefault(str(row["id"]), Item(id=str(row["id"]), call_id=str(row["call_id"])))
                found.why = str(row.get("why") or "")
                found.score = None if row.get("score") is None else float(row["score"])
            unstored = {one.mine.id for one in self._items.values() if one.mine.given and not one.mine.stored}
            kept = {key: row for key, row in self._reviews.items() if key in unstored}
            self._reviews = {**{str(row["id"]): _review(row) for row in reviews}, **kept}
            for row in self._reviews.values():
                self._adopt(row)
            for item in self._items.values():
                item.others = sum(row["item_id"] == item.id and row["reviewer"] != self.form.reviewer for row in self.given())

    def _adopt(self, row: Mapping[str, Any]) -> None:
        """Takes what this reviewer has judged before a restart, or in another notebook."""
        item = self._items.get(str(row["item_id"]))
        if item is None or row["reviewer"] != self.form.reviewer or item.mine.given:
            return
        item.mine = Given(
            id=str(row["id"]), rating=row.get("rating"), labels=tuple(row.get("labels") or ()), correction=str(row.get("correction") or ""),
            comment=str(row.get("comment") or ""), given=True, stored=True,
        )  # fmt: skip

    def _open(self) -> list[str]:
        """The items that wait for this reviewer: not judged by this one, and by fewer others than are wanted."""
        return [one.id for one in self._items.values() if not one.mine.given and one.others < self.form.raters]

    def _forward(self, *, but: str = "") -> None:
        """The next open item. Reviewers at work on one queue each take another one of the next, so that they seldom meet."""
        names = list(self._items)
        at = names.index(self._at) if self._at in self._items else 0
        waiting = [name for name in self._open() if name != but]
        ahead = [name for name in waiting if names.index(name) > at] or waiting
        if not ahead:
            return
        busy = sorted({*(row["reviewer"] for row in self.given()), self.form.reviewer})
        mine = busy.index(self.form.reviewer) if self.form.raters == 1 else 0
        self._at = ahead[mine % len(ahead)]

    def _moved(self, one: Given) -> None:
        """A judgement was stored, or was not for now. What is stored makes way for the next."""
        if one.stored:
            self.look()
            with self._lock:
                here = self._items.get(self._at)
                if here is not None and here.mine is one:
                    self._forward()
        self.tell()

    def _load(self, item: Item) -> None:
        """What was asked and answered; a text that was erased says so."""
        if item.asked is not None:
            return
        try:
            call = self._client.call(item.call_id)
        except LedgerError as error:
            item.asked, item.answer = "", f"(this call cannot be read: {error.message})"
            return
        except AiplatError:
            return  # the gateway is away: the next look tries again
        said = [f"{one.get('role')}: {one.get('content')}" for one in call.get("messages") or []]
        asked = [one.get("content") for one in call.get("messages") or [] if one.get("role") == "user"]
        text = call.get("text")
        item.answer = text if isinstance(text, str) else "(this text was erased)"
        item.facts = " · ".join(str(call[name]) for name in ("request_model", "prompt_name", "prompt_version") if call.get(name))
        item.asked = str(asked[0]) if len(said) == 1 and asked else "\n\n".join(said) or "(this text was erased)"


def _review(row: Mapping[str, Any]) -> dict[str, Any]:
    labels = row.get("labels")
    return {**row, "labels": json.loads(labels) if isinstance(labels, str) else labels or []}
