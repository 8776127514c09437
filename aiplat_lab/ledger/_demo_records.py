"""What the demo company decided and measured: prompts, evaluation runs and votes as records, with the calls behind them."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from aiplat_lab.core.ids import new_id
from aiplat_lab.ledger._demo_evals import RUNS, SETS, Answered, Case, RunPlan, Set
from aiplat_lab.ledger._demo_prompts import STORIES
from aiplat_lab.ledger._demo_texts import TALKS

CallRow = tuple[dict[str, Any], dict[str, bytes]]  # Any: a row of the ledger
_STORY_DAYS = 90
"""The days that the stories are told over; a shorter demo tells them faster."""
_PARALLEL = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A call that a run or an experiment made: what the company's side fills in is left out."""

    at: datetime
    prompt: str
    version: str
    model: str
    system: str
    question: str
    answer: str
    """Empty for a call that failed."""
    fields: dict[str, Any]  # Any: columns of a call
    """Its other columns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Experiment:
    """An A/B comparison that took place: who won each vote, in proportion."""

    name: str
    prompt: str
    variants: Sequence[tuple[str, str, str]]
    """Name, version, model."""
    days_ago: float
    votes: int
    pull: Sequence[float]
    """How often each variant wins, then ties, then that all are bad."""
    reasons: Sequence[str]
    blind: bool = True


_EXPERIMENTS = (
    _Experiment(
        name="Triage with rules for each class",
        prompt="triage",
        variants=(("A", "1.1.0", "fast"), ("B", "2.0.0", "fast")),
        days_ago=23,
        votes=72,
        pull=(18, 46, 6, 2),
        reasons=("names the deciding fact", "the class stands first", "", "", "says too much"),
    ),
    _Experiment(
        name="Help answers: is careful worth its price?",
        prompt="help-answer",
        variants=(("fast", "1.1.0", "fast"), ("careful", "1.1.0", "careful")),
        days_ago=11,
        votes=41,
        pull=(17, 22, 5, 1),
        reasons=("kinder", "", "shorter", "gives the next step", ""),
    ),
    _Experiment(
        name="Product texts that begin with the use",
        prompt="product-text",
        variants=(("now", "1.0.0", "fast"), ("use first", "1.0.1", "fast"), ("small model", "1.0.1", "smollm2")),
        days_ago=8,
        votes=34,
        pull=(11, 14, 3, 4, 2),
        reasons=("", "reads like the shop", "invents a fact", ""),
    ),
)


@dataclass(slots=True)
class Stories:
    """Everything beside the everyday calls, in the order of time."""

    end: datetime
    days: int
    seed: int
    records: list[tuple[str, dict[str, Any]]] = field(default_factory=list)  # Any: JSON, and the time under `at`
    """Kind and row, in no order until `sorted_records`."""
    wanted: list[tuple[Wanted, Callable[[dict[str, Any]], None]]] = field(default_factory=list)
    """Calls to be made, with what is told the finished row."""

    def ago(self, days: float) -> datetime:
        """The time that long before the end, on the scale of this demo."""
        return self.end - timedelta(days=days * min(1.0, self.days / _STORY_DAYS))

    def version(self, prompt: str, at: datetime) -> str:
        """The version of a prompt that was in production then."""
        days = (self.end - at) / timedelta(days=1) / min(1.0, self.days / _STORY_DAYS)
        return STORIES[prompt].in_production(days)

    def tell(self) -> None:
        """Fills in all records and calls."""
        for number, plan in enumerate(RUNS):
            self._run(plan, random.Random(self.seed * 1000 + number))  # noqa: S311 (invented figures, here and below)
        for name in STORIES:
            self._prompt(name)
        for number, experiment in enumerate(_EXPERIMENTS):
            self._experiment(experiment, random.Random(self.seed * 2000 + number))  # noqa: S311

    def sorted_records(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The records in the order of time."""
        yield from sorted(self.records, key=lambda record: record[1]["at"])

    def _record(self, kind: str, at: datetime, **row: Any) -> None:
        self.records.append((kind, {"at": at, **row}))

    def _prompt(self, name: str) -> None:
        story = STORIES[name]
        for one in story.versions:
            fields = {"name": name, "version": one.version, "change": one.change, "reason": one.reason, "text": one.text}
            digest = hashlib.sha256(one.text.encode()).hexdigest()
            more = {"content_hash": digest, "author": one.author, "message": one.message}
            self._record("prompt_version", self.ago(one.days_ago), id=f"{name}@{one.version}", **fields, **more)
        before: dict[str, str] = {}
        for number, move in enumerate(story.moves):
            fields = {"name": name, "label": move.label, "version": move.version, "moved_by": move.by, "reason": move.reason}
            more = {"from_version": before[move.label]} if move.label in before else {}
            if move.evidence is not None:
                more["evidence_run"] = self._newest_run(*move.evidence, before=self.ago(move.days_ago))
            self._record("prompt_label", self.ago(move.days_ago), id=f"demo-{name}-{number}", **fields, **more)
            before[move.label] = move.version

    def _newest_run(self, evalset: str, version: str, *, before: datetime) -> str:
        """The id of the last run of a version on an evalset."""
        found = [
            row
            for kind, row in self.records
            if kind == "eval_run"
            and (row["evalset"], row["prompt_version"], row["model"]) == (evalset, version, "fast")
            and row["at"] < before
        ]
        return str(found[-1]["id"])

    def _run(self, plan: RunPlan, dice: random.Random) -> None:
        evalset, began = SETS[plan.evalset], self.ago(plan.days_ago)
        run_id = new_id(began, bits=dice.getrandbits(80))
        text = next(one.text for one in STORIES[evalset.prompt].versions if one.version == plan.version)
        team = {"triage": ("risk", "claims-triage"), "help-answer": ("support", "help-desk")}.get(evalset.prompt)
        self._record(
            "eval_run",
            began,
            id=run_id,
            name=plan.name,
            evalset=evalset.name,
            evalset_hash=hashlib.sha256(repr(evalset.cases).encode()).hexdigest(),
            samples=len(evalset.cases),
            epochs=plan.epochs,
            prompt_name=evalset.prompt,
            prompt_version=plan.version,
            prompt_hash=hashlib.sha256(text.encode()).hexdigest(),
            model=plan.model,
            scorers=list(evalset.scorers),
            team=team[0] if team else "operations",
            project=team[1] if team else "invoice-reading",
            user_id="user-05",
            seed=0,
        )
        at = began
        asked = [(case, epoch) for case in evalset.cases[: round(len(evalset.cases) * plan.done)] for epoch in range(1, plan.epochs + 1)]
        system = text.split("# system\n", 1)[1].split("\n\n# user", 1)[0]
        for place, (case, epoch) in enumerate(asked):
            at = began + timedelta(seconds=1.5 * (place // _PARALLEL) + dice.random())
            answered = None if dice.random() < plan.failing else evalset.answer(case, plan.skill, dice)
            fields = {"surface": "eval", "experiment": run_id, "tags": {"sample": case.id, "epoch": str(epoch)}, "stream": False}
            call = Wanted(
                at=at,
                prompt=evalset.prompt,
                version=plan.version,
                model=plan.model,
                system=system.replace("{{ region }}", "England"),
                question=case.text,
                answer=answered.text if answered else "",
                fields=fields,
            )
            self.wanted.append((call, self._sample(evalset, run_id, case, epoch, answered)))
        if plan.status:
            more = {"reason": plan.reason} if plan.reason else {}
            self._record("eval_end", at + timedelta(seconds=2), id=f"{run_id}/1", run_id=run_id, status=plan.status, **more)

    def _sample(self, evalset: Set, run_id: str, case: Case, epoch: int, answered: Answered | None) -> Callable[[dict[str, Any]], None]:
        """What writes the sample's record once its call is there."""

        def write(row: dict[str, Any]) -> None:
            fields: dict[str, Any] = {"run_id": run_id, "sample_id": case.id, "epoch": epoch, "call_id": row["call_id"]}
            fields |= {"slices": dict(case.slices), "cluster": case.cluster, "latency_s": round(row["latency_s"], 4), "cached": False}
            fields |= {} if row["cost_usd"] is None else {"cost_usd": str(row["cost_usd"])}
            if answered is None:
                fields |= {"status": "error", "error": row["error_message"]}
            else:
                score = answered.scores[evalset.scorers[0]]
                notes = {evalset.scorers[0]: answered.note} if answered.note else None
                fields |= {"status": "ok", "scores": dict(answered.scores), "score": score, "passed": score >= 0.999, "notes": notes}
            self._record("eval_sample", row["ended_at"], id=f"{run_id}/{case.id}/{epoch}", **fields)

        return write

    def _experiment(self, plan: _Experiment, dice: random.Random) -> None:
        began = self.ago(plan.days_ago)
        experiment = new_id(began, bits=dice.getrandbits(80))
        variants = [{"name": name, "prompt": f"{plan.prompt}@{version}", "model": model} for name, version, model in plan.variants]
        fields = {"name": plan.name, "variants": variants, "inputs": plan.votes, "blind": plan.blind, "author": "user-05", "alpha": 0.05}
        self._record("experiment", began, id=experiment, notebook="compare/choices.ipynb", **fields)
        names = [name for name, _, _ in plan.variants]
        for number in range(plan.votes):
            at = began + timedelta(minutes=9 * number + 4 * dice.random())
            system, question, answer = TALKS[plan.prompt][number % len(TALKS[plan.prompt])]
            calls: dict[str, str] = {}
            for name, version, model in plan.variants:
                fields = {"surface": "ab", "experiment": experiment, "variant": name, "stream": True}
                call = Wanted(
                    at=at, prompt=plan.prompt, version=version, model=model, system=system, question=question, answer=answer, fields=fields
                )
                self.wanted.append((call, lambda row, name=name, calls=calls: calls.update({name: row["call_id"]})))  # type: ignore[misc]
            winner = dice.choices([*names, "tie", "none"], plan.pull)[0]
            reason = dice.choice(plan.reasons)
            self._record(
                "vote",
                at + timedelta(seconds=40),
                id=f"{experiment}/{number}",
                experiment=experiment,
                input_id=f"input-{number + 1:03d}",
                rater=f"user-{dice.choice((2, 4, 5, 11)):02d}",
                winner=winner,
                order=dice.sample(names, len(names)),
                call_ids=calls,
                blind=plan.blind,
                **({"reason": reason} if reason else {}),
            )
