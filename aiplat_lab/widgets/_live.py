"""The live control: an anywidget that draws, while all state stays here and in the gateway.

What a browser must not know yet is not sent to it: before the vote a column has a place, a text, and no name.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import anywidget

from aiplat_lab.core.errors import AiplatError
from aiplat_lab.widgets._answers import Answer
from aiplat_lab.widgets._ballots import NONE, TIE, Ballot
from aiplat_lab.widgets._experiment import Change, Experiment
from aiplat_lab.widgets._pages import answer_line
from aiplat_lab.widgets._screen import Screen, part, skin
from aiplat_lab.widgets._teller import Teller
from aiplat_lab.widgets._twin import facts

_FIRST_S, _LONGEST_S, _GROWTH = 0.05, 1.0, 50.0
"""Tokens of all columns go out together every 50 ms; a long stream is gathered for longer, so that its messages stay few."""


class Control(anywidget.AnyWidget):  # type: ignore[misc]  # ipywidgets comes without types
    """What the browser draws; it holds no state of its own."""

    _esm = part("marks.js") + part("live.js")
    _css = skin("aab") + part("live.css")

    def __repr__(self) -> str:
        return "the control of an A/B comparison; its record stands below"


class _News(NamedTuple):
    state: bool
    looked: bool
    whole: bool


class Live(Teller[_News]):
    """Ties an experiment to a control."""

    def __init__(self, experiment: Experiment) -> None:
        super().__init__(Control(), "aiplat-ab")
        self._experiment = experiment
        self._state = False
        self._whole = True
        self._ballot = ""
        self._sent: dict[str, int] = {}
        self._ended: set[str] = set()
        self._begun_s = time.monotonic()

    def show(self, screen: Screen) -> None:
        """Shows the control as an output of the cell, and follows the experiment."""
        self._show(screen, f"aiplat-ab-live-{self._experiment.id}")
        self._experiment.listeners.append(self._heard)

    # --- from the experiment, in any thread ---------------------------------------------------------------------------

    def _heard(self, change: Change, answer: Answer | None) -> None:
        if answer is not None and answer.input_id != self._experiment.current.id and not (change == "answer" and answer.ended):
            return
        if change != "piece":
            self._again(whole=change == "place")
        else:
            self._wake()

    # --- from the browser, in whatever thread the kernel gives ---------------------------------------------------------

    def hear(self, content: Mapping[str, Any]) -> None:  # Any: what a browser sends
        """A vote, a reason, a place, a look at the verdict."""
        kind, one = content.get("kind"), self._experiment
        if kind == "ready":
            self._again(whole=True)
        elif kind == "vote":
            given = one.ballot(one.current.id)
            winner = self._winner(content.get("choice"))
            if winner is None or content.get("ballot") != given.id or not one.cast(given.id, winner, str(content.get("reason") or "")):
                self._again()
        elif kind == "explain":
            one.explain(str(content.get("ballot")), str(content.get("reason") or ""))
        elif kind in ("look", "promote"):
            threading.Thread(target=self._aside, args=(kind, content), name=f"aiplat-ab-{kind}", daemon=True).start()
        elif kind == "next":
            place = one.following()
            one.go(place if place is not None else one.place)
        elif kind == "go" and isinstance(content.get("place"), int):
            one.go(content["place"])

    def _aside(self, kind: str, content: Mapping[str, Any]) -> None:  # Any: as in `hear`
        """What asks the gateway, in a thread of its own, so that a vote never waits for it."""
        one = self._experiment
        if kind == "look":
            one.look()
            with self._lock:
                self._looked = True
            self._wake()
            return
        place, current = content.get("place"), one.ballot(one.current.id)
        if not isinstance(place, int) or isinstance(place, bool) or not 0 <= place < len(current.order) or not self._open(current):
            return
        try:
            one.promote(current.order[place])
            self._problem = ""
        except AiplatError as error:
            self._problem = f"{current.order[place]} was not saved: {error.message}"
            self._again()

    def _open(self, given: Ballot) -> bool:
        """Whether the variants may be named."""
        return bool(given.winner) or not self._experiment.plan.blind

    def _winner(self, choice: Any) -> str | None:  # Any: as in `hear`
        if choice in (TIE, NONE):
            return str(choice)
        order = self._experiment.ballot(self._experiment.current.id).order
        return order[choice] if isinstance(choice, int) and not isinstance(choice, bool) and 0 <= choice < len(order) else None

    def _again(self, *, whole: bool = False) -> None:
        with self._lock:
            self._state = True
            self._whole = self._whole or whole
        self._wake()

    # --- to the browser, in one thread --------------------------------------------------------------------------------

    def news(self) -> _News:
        """Whether the state, the verdict or all of it is new."""
        state, self._state = self._state, False
        looked, self._looked = self._looked, False
        whole, self._whole = (self._whole, False) if state else (False, self._whole)
        return _News(state, looked, whole)

    def tell(self, news: _News) -> None:
        """The state where it changed, and what came of the texts."""
        if news.state:
            self._send(self._situation(whole=news.whole))
        if news.looked:
            self._send({"kind": "looked"})
        pieces = self._pieces()
        if pieces:
            self._send({"kind": "t", "b": self._ballot, "c": pieces})
        if not news.state:
            elapsed_s = time.monotonic() - self._begun_s
            time.sleep(min(max(_FIRST_S, elapsed_s / _GROWTH), _LONGEST_S))

    def _pieces(self) -> dict[str, Any]:
        """What each column has more than was sent: where it begins, and the text."""
        one = self._experiment
        given = one.ballot(one.current.id)
        if given.input_id != self._ballot:
            return {}
        found: dict[str, Any] = {}
        for place, name in enumerate(given.order):
            answer = one.answer(name, given.input_id)
            text = answer.text
            at = self._sent.get(name, 0)
            if not answer.ended and len(text) > at:
                found[str(place)] = [at, text[at:]]
                self._sent[name] = len(text)
        return found

    def _situation(self, *, whole: bool) -> dict[str, Any]:
        """All that the browser may know now; texts only where they are new to it."""
        one = self._experiment
        current = one.current
        given = one.ballot(current.id)
        open_ = self._open(given)
        if whole or self._ballot != current.id:
            self._ballot, self._sent, whole = current.id, {}, True
            self._ended = set()
            self._begun_s = time.monotonic()
        columns = []
        for name in given.order:
            answer = one.answer(name, current.id)
            columns.append(self._column(answer, whole=whole, open_=open_))
        verdict = one.verdict()
        wins, ties = one.tally()
        vote = None
        if given.winner:
            choice = given.order.index(given.winner) if given.winner in given.order else given.winner
            took = None if given.took_s is None else round(given.took_s * 1000)
            vote = {
                "choice": choice,
                "winner": given.winner,
                "reason": given.reason,
                "stored": given.stored,
                "problem": given.problem,
                "ms": took,
            }
        return {
            "kind": "state",
            "name": one.plan.name,
            "experiment": one.id,
            "rater": one.plan.rater,
            "blind": one.plan.blind,
            "place": one.place,
            "total": len(one.plan.inputs),
            "judged": one.judged(),
            "more": one.following() is not None,
            "input": {"id": current.id, "text": current.text},
            "ballot": given.id,
            "vote": vote,
            "unstored": one.unstored(),
            "columns": columns,
            "verdict": {
                "state": verdict.state,
                "sentence": verdict.sentence,
                "needed": verdict.votes_needed,
                "winner": verdict.winner or "",
            },
            "agreement": one.agreement().sentence(),
            "promoted": {each["variant"]: f"{each['prompt']} ({each['label']})" for each in one.promotions()} if open_ else {},
            "problem": self._problem,
            "tally": {"wins": wins, "ties": ties} if verdict.votes else None,
        }

    def _column(self, answer: Answer, *, whole: bool, open_: bool) -> dict[str, Any]:
        found: dict[str, Any] = {"state": answer.state}
        text = answer.text
        if whole or (answer.ended and answer.variant not in self._ended):
            found["text"] = text
            self._sent[answer.variant] = len(text)
            if answer.ended:
                self._ended.add(answer.variant)
        if open_:
            plan = self._experiment.plan
            money = {"currency": plan.currency, "usd_rate": str(plan.usd_rate)}
            variant = next(one for one in plan.variants if one.name == answer.variant)
            found |= {
                "name": answer.variant,
                "facts": answer_line(money, {**facts(answer), "call_id": answer.call_id[-8:]}) if answer.ended else "",
                "prompt": variant.said(),
                "settings": dict(variant.settings),
                "error": answer.error,
            }
        return found
