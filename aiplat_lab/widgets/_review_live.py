"""The live control of a review queue: an anywidget that draws, while all state stays here and in the gateway."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import anywidget

from aiplat_lab.core.errors import UsageError
from aiplat_lab.widgets._review import Review
from aiplat_lab.widgets._screen import Screen, part, skin
from aiplat_lab.widgets._teller import Teller


class Control(anywidget.AnyWidget):  # type: ignore[misc]  # ipywidgets comes without types
    """What the browser draws; it holds no state but what is being written."""

    _esm = part("marks.js") + part("review.js")
    _css = skin("arv") + part("review.css")

    def __repr__(self) -> str:
        return "the control of a review queue; its record stands below"


class Live(Teller[bool]):
    """Ties a review queue to a control."""

    def __init__(self, made: Review) -> None:
        super().__init__(Control(), "aiplat-review")
        self._review = made

    def show(self, screen: Screen, name: str) -> None:
        """Shows the control as an output of the cell, and follows the queue."""
        self._show(screen, f"{name}-live")
        self._review.listeners.append(self._wake)

    # --- from the browser, in whatever thread the kernel gives ---------------------------------------------------------

    def hear(self, content: Mapping[str, Any]) -> None:  # Any: what a browser sends
        """A judgement, a skip, a place, a look at what others said."""
        kind, one = content.get("kind"), self._review
        if kind == "ready":
            self._wake()
        elif kind == "submit":
            self._submit(content)
        elif kind == "skip":
            one.skip()
        elif kind == "go" and isinstance(content.get("place"), int):
            one.go(content["place"])
        elif kind == "look":
            threading.Thread(target=self._look, name="aiplat-review-look", daemon=True).start()

    def _submit(self, content: Mapping[str, Any]) -> None:  # Any: as in `hear`
        labels = content.get("labels")
        try:
            self._problem = ""
            taken = self._review.judge(
                str(content.get("id")),
                rating=content.get("rating"),
                labels=[str(one) for one in labels] if isinstance(labels, list) else [],
                correction=str(content.get("correction") or ""),
                comment=str(content.get("comment") or ""),
            )
        except UsageError as error:
            self._problem, taken = error.message, False
        if not taken:
            self._wake()

    def _look(self) -> None:
        self._review.look()
        with self._lock:
            self._looked = True
        self._wake()

    # --- to the browser, in one thread --------------------------------------------------------------------------------

    def news(self) -> bool:
        """Whether what others said was looked at."""
        looked, self._looked = self._looked, False
        return looked

    def tell(self, news: bool) -> None:
        """The whole situation."""
        self._send({**self._situation(), "looked": news})

    def _situation(self) -> dict[str, Any]:
        one = self._review
        item = one.current
        form = one.form
        found: dict[str, Any] = {
            "kind": "state",
            "queue": form.queue,
            "reviewer": form.reviewer,
            "labels": list(form.labels),
            "scale": form.scale,
            "total": len(one.items()),
            "place": one.place,
            "done": one.done(),
            "left": one.left(),
            "unstored": one.unstored(),
            "agreement": one.agreement().sentence("answer"),
            "problem": self._problem,
            "item": None,
        }
        if item is not None:
            mine = item.mine
            found["item"] = {
                "id": mine.id,
                "key": item.id,
                "asked": item.asked or "",
                "answer": item.answer,
                "why": item.why,
                "facts": item.facts,
                "call": item.call_id[-8:],
                "others": item.others,
                "given": mine.given,
                "stored": mine.stored,
                "problem": mine.problem,
                "rating": mine.rating,
                "labels": list(mine.labels),
                "correction": mine.correction,
                "comment": mine.comment,
            }
        return found
