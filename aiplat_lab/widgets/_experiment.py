"""The result of `ab()`: an experiment with its answers, its votes and its verdict."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from aiplat_lab.client import Client
from aiplat_lab.core.errors import AiplatError, UsageError, did_you_mean
from aiplat_lab.core.ids import new_id
from aiplat_lab.stats import Verdict, vote_verdict
from aiplat_lab.widgets._agreement import Agreement, agree
from aiplat_lab.widgets._answers import Answer
from aiplat_lab.widgets._asking import Asking
from aiplat_lab.widgets._ballots import NONE, TIE, Ballot, VoteBox, ballot
from aiplat_lab.widgets._inputs import Input
from aiplat_lab.widgets._measures import Difference, differences
from aiplat_lab.widgets._plan import Plan
from aiplat_lab.widgets._promote import DRAFT, Promoted, promoted

if TYPE_CHECKING:
    import polars

Change: TypeAlias = Literal["piece", "answer", "place", "vote"]
"""What happened: an answer has grown, one has begun or ended, another input is in front, a vote was given or stored."""
Listener: TypeAlias = Callable[[Change, Answer | None], None]


class Experiment:
    """An A/B comparison under way or ended. Made by `ab()`; all methods may be called from any thread."""

    def __init__(self, plan: Plan, client: Client, answers: Mapping[tuple[str, str], Answer], votes: Sequence[Mapping[str, Any]]) -> None:
        self.plan = plan
        self.listeners: list[Listener] = []
        self._client = client
        self._answers = dict(answers)
        self._lock = threading.RLock()
        self._promoting = threading.Lock()
        self._promoted: dict[str, Promoted] = {}
        self._votes = {str(vote["id"]): dict(vote) for vote in votes}
        self._ballots = {one.id: self._ballot_of(one.id) for one in plan.inputs}
        self._box = VoteBox(client, self._vote_moved)
        self._at = next((place for place, one in enumerate(plan.inputs) if not self._ballots[one.id].winner), 0)
        columns = {name: [self._answers[name, one.id] for one in plan.inputs] for name in plan.names}
        self._asking = Asking(client, columns, self._heard, workers=4 if plan.headless else 1)
        self._verdict: Verdict | None = None
        self.show: Callable[[], None] | None = None
        """Shows the record in the cell that runs now, unless that is the one which has shown it; None where nothing can be shown."""

    # --- for whoever compares -----------------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """The experiment's id: `ab(resume=id)` goes on with it, here or in a colleague's notebook."""
        return self.plan.id

    def votes(self) -> polars.DataFrame:
        """Every vote so far, of all raters: input, rater, winner, order of the sides, reason, and whether it was blind."""
        return self._client.view("vote_list", experiment=self.id)

    def answers(self) -> polars.DataFrame:
        """Every answer: input, variant, state, text, call, model, tokens, cost, latency. It names the variants, so it ends blindness."""
        import polars  # heavy, and needed for frames alone

        names = [f.name for f in fields(Answer) if f.name not in {"request", "pieces", "failure"}]
        asked = {one.id: one.text for one in self.plan.inputs}
        rows = [
            {"input": asked[answer.input_id], "text": answer.text, **{name: getattr(answer, name) for name in names}}
            for answer in self._answers.values()
        ]
        return polars.DataFrame(rows, infer_schema_length=None)

    def verdict(self) -> Verdict:
        """What the votes of all raters say, valid however often one looks: a winner, no difference, or how many more votes it takes."""
        with self._lock:
            if self._verdict is None:
                wins, ties = self.tally()
                self._verdict = vote_verdict(wins, ties=ties, level=1 - self.plan.alpha)
            return self._verdict

    def wait(self, timeout_s: float | None = None) -> bool:
        """Waits until every input that may be asked by now is answered and every vote is stored; false when the time ran out."""
        return self._asking.wait(timeout_s) and self._box.flush(timeout_s if timeout_s is not None else 60.0)

    def vote(self, winner: str, *, input_id: str = "", reason: str = "") -> None:
        """Votes in code, as a click does; a second vote on the same input is not counted.

        Args:
            winner: a variant's name, `tie` or `none`.
            input_id: the input; empty takes the one in front.
            reason: why.

        Raises:
            UsageError: there is no such variant or input.
        """
        words = (*self.plan.names, TIE, NONE)
        if winner not in words:
            raise UsageError(f"there is no variant {winner!r}.{did_you_mean(winner, words)} A vote is one of {', '.join(words)}.")
        one = input_id or self.current.id
        if one not in self._ballots:
            raise UsageError(f"there is no input {one!r}.{did_you_mean(one, self._ballots)}")
        self.cast(self._ballots[one].id, winner, reason)

    def agreement(self) -> Agreement:
        """How far the raters agree on the inputs that several of them judged."""
        return agree(self.given())

    def measured(self) -> list[Difference]:
        """Cost, latency and length of each variant against the first, paired over the inputs that both answered. It names the
        variants, so it ends blindness."""
        return differences(self.plan, self.every(), [one.id for one in self.plan.inputs])

    def promote(self, variant: str = "", *, name: str = "", label: str = DRAFT) -> Promoted:
        """Saves a variant as a version of a prompt in the registry, under the label `draft`; other labels stay where they are.

        Its message and the label's reason say which experiment it comes from, and what the votes said.

        Args:
            variant: which; the winner where it is empty.
            name: the prompt's name; that of the variant's own prompt, else one made of the experiment's name.
            label: another label than `draft`.

        Raises:
            UsageError: there is no such variant, or no winner yet.
            PromptError: the registry does not take it.
        """
        with self._promoting:
            made = promoted(self, variant or self.verdict().winner or "", name=name, label=label, client=self._client)
            self._promoted[made.variant] = made
        self.tell("vote")
        return made

    def look(self) -> bool:
        """Reads the votes of other raters and other notebooks; whether there are new ones."""
        moved = self._join()
        if moved:
            self.tell("vote")
        return moved

    def stop(self) -> None:
        """Cancels the answers under way and asks nothing more; what has come and what was voted stays."""
        self._asking.stop()

    def __repr__(self) -> str:
        given = sum(1 for vote in self._votes.values() if vote["winner"])
        return f"<Experiment {self.id}: {' · '.join(self.plan.names)}, {len(self.plan.inputs)} inputs, {given} votes>"

    def _ipython_display_(self) -> None:
        """The record again, where `result` stands at the end of another cell."""
        if self.show is None:
            raise NotImplementedError  # so that IPython takes the text
        self.show()

    # --- for the surfaces ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begins to ask."""
        self._asking.allow(len(self.plan.inputs) if self.plan.headless else self._at + 1 + self.plan.ahead)
        self._asking.start()

    @property
    def current(self) -> Input:
        """The input in front."""
        return self.plan.inputs[self._at]

    @property
    def place(self) -> int:
        """The place of the input in front, from 0."""
        return self._at

    def ballot(self, input_id: str) -> Ballot:
        """This rater's ballot for an input."""
        return self._ballots[input_id]

    def answer(self, variant: str, input_id: str) -> Answer:
        """The answer of a variant to an input."""
        return self._answers[variant, input_id]

    def every(self) -> Mapping[tuple[str, str], Answer]:
        """Every answer, by variant and input."""
        return self._answers

    def promotions(self) -> list[dict[str, str]]:
        """What was promoted here: variant, prompt with version, and label."""
        return [{"variant": one.variant, "prompt": one.reference, "label": one.label} for one in self._promoted.values()]

    def given(self) -> list[dict[str, Any]]:
        """The votes of all raters that are known here, one for each rater and input; the ones on their way too."""
        with self._lock:
            return list({(vote["rater"], vote["input_id"]): vote for vote in self._votes.values()}.values())

    def judged(self) -> int:
        """How many inputs this rater has voted on."""
        with self._lock:
            return sum(bool(one.winner) for one in self._ballots.values())

    def unstored(self) -> int:
        """How many votes the gateway does not have yet."""
        return self._box.waiting

    def tally(self) -> tuple[dict[str, int], int]:
        """Votes for each variant, and ties. A vote `none` is for nobody and is no tie."""
        wins = dict.fromkeys(self.plan.names, 0)
        ties = 0
        for vote in self.given():
            if vote["winner"] in wins:
                wins[vote["winner"]] += 1
            ties += vote["winner"] == TIE
        return wins, ties

    def cast(self, ballot_id: str, winner: str, reason: str = "") -> bool:
        """Takes a vote; false when that ballot was voted already or is not known, so that a double click counts once."""
        with self._lock:
            one = next((each for each in self._ballots.values() if each.id == ballot_id), None)
            if one is None or one.winner or winner not in (*self.plan.names, TIE, NONE):
                return False
            one.winner, one.reason = winner, reason.strip()
            self._put(one)
        self.tell("vote")
        return True

    def explain(self, ballot_id: str, reason: str) -> bool:
        """Adds the reason to a vote that was given; the vote itself stays."""
        with self._lock:
            one = next((each for each in self._ballots.values() if each.id == ballot_id), None)
            if one is None or not one.winner or not reason.strip() or one.reason == reason.strip():
                return False
            # Another record, which takes the place of the first: a record is never changed.
            one.id, one.reason, one.stored = new_id(), reason.strip(), False
            self._put(one)
        self.tell("vote")
        return True

    def go(self, place: int) -> None:
        """Puts another input in front."""
        if 0 <= place < len(self.plan.inputs) and place != self._at:
            self._at = place
            self.tell("place")
            self._asking.hurry(place)
            self._asking.allow(place + 1 + self.plan.ahead)

    def following(self) -> int | None:
        """The place of the next input without a vote, or None when all have one."""
        count = len(self.plan.inputs)
        places = [(self._at + step) % count for step in range(1, count + 1)]
        return next((place for place in places if not self._ballots[self.plan.inputs[place].id].winner), None)

    def tell(self, change: Change, answer: Answer | None = None) -> None:
        """Tells those who listen."""
        for listener in self.listeners:
            listener(change, answer)

    # --- parts --------------------------------------------------------------------------------------------------------

    def _ballot_of(self, input_id: str) -> Ballot:
        """This rater's ballot, with the vote that was given before a restart."""
        plan = self.plan
        fresh = ballot(plan.names, seed=plan.seed, input_id=input_id, rater=plan.rater)
        for vote in self._votes.values():
            if vote["input_id"] == input_id and vote["rater"] == plan.rater:
                fresh.id, fresh.winner, fresh.reason = str(vote["id"]), str(vote["winner"]), str(vote.get("reason") or "")
                fresh.stored = True
        return fresh

    def _put(self, one: Ballot) -> None:
        row = {
            "id": one.id,
            "experiment": self.id,
            "input_id": one.input_id,
            "rater": one.rater,
            "winner": one.winner,
            "order": list(one.order),
            "call_ids": {name: self._answers[name, one.input_id].call_id for name in self.plan.names},
            "blind": self.plan.blind,
            **({"reason": one.reason} if one.reason else {}),
        }
        self._votes[one.id] = row
        self._verdict = None
        self._box.put(one, row)

    def _vote_moved(self, one: Ballot) -> None:
        """A vote was stored, or was not for now. The votes of other raters are read anew with it."""
        if one.stored:
            self._join()
        self.tell("vote")

    def _join(self) -> bool:
        """Takes the votes that the gateway has; whether any was new here."""
        try:
            rows = self._client.view_rows("vote_list", experiment=self.id)
        except AiplatError:
            return False  # the verdict then waits for the next look to know of the others
        with self._lock:
            fresh = [row for row in rows if str(row["id"]) not in self._votes]
            self._votes = {**self._votes, **{str(row["id"]): row for row in rows}}
            self._verdict = None
            for row in fresh:
                self._adopt(row)
        return bool(fresh)

    def _adopt(self, row: Mapping[str, Any]) -> None:
        """Takes what this rater has voted elsewhere, in another notebook or before another restart."""
        one = self._ballots.get(str(row["input_id"]))
        if one is not None and row["rater"] == self.plan.rater and not one.winner:
            one.id, one.winner, one.reason, one.stored = str(row["id"]), str(row["winner"]), str(row.get("reason") or ""), True

    def _heard(self, answer: Answer) -> None:
        self.tell("answer" if answer.ended or not answer.pieces else "piece", answer)
