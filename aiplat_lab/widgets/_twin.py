"""The saved record of an experiment: our own MIME type, which outlives the kernel, and what it holds."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict
from decimal import Decimal
from typing import Any, TypeAlias

from aiplat_lab.widgets import _pages
from aiplat_lab.widgets._answers import Answer
from aiplat_lab.widgets._ballots import NONE
from aiplat_lab.widgets._experiment import Change, Experiment
from aiplat_lab.widgets._inputs import Input
from aiplat_lab.widgets._measures import differences
from aiplat_lab.widgets._record import Bundle, Record

MIME = "application/vnd.aiplat.ab+json"
SCHEMA = 1
Document: TypeAlias = dict[str, Any]  # Any: JSON


def document(experiment: Experiment) -> Document:
    """What is known of an experiment.

    While it is blind, an input without this rater's vote shows no answer, and before the first vote no variant is named.
    """
    plan = experiment.plan
    shown = [one for one in plan.inputs if visible(experiment, one)]
    verdict = experiment.verdict()
    given = experiment.given()
    agreement = experiment.agreement()
    return {
        "schema": SCHEMA,
        "experiment": plan.id,
        "name": plan.name,
        "status": _status(experiment),
        "blind": plan.blind,
        "rater": plan.rater,
        "currency": plan.currency,
        "usd_rate": str(plan.usd_rate),
        "verdict": {
            "sentence": verdict.sentence,
            "state": verdict.state,
            "winner": verdict.winner or "",
            "votes": verdict.votes,
            "ties": verdict.ties,
            "none": sum(vote["winner"] == NONE for vote in given),
            "raters": len({vote["rater"] for vote in given}),
            "votes_needed": verdict.votes_needed,
            "share": verdict.share,
            "low": verdict.low,
            "high": verdict.high,
            "level": verdict.level,
        },
        "agreement": asdict(agreement),
        "measured": [one.as_dict() for one in differences(plan, experiment.every(), [one.id for one in shown])],
        "promoted": experiment.promotions(),
        "unstored_votes": experiment.unstored(),
        "variants": [_side(experiment, name, shown) for name in plan.names] if shown or experiment.judged() else [],
        "inputs": [_input(experiment, one, shown=one in shown) for one in plan.inputs],
    }


def bundle(experiment: Experiment) -> Bundle:
    """The MIME bundle of an experiment."""
    found = document(experiment)
    return {
        MIME: found,
        "text/html": _pages.to_html(found),
        "text/markdown": _pages.to_markdown(found),
        "text/plain": _pages.to_plain(found),
    }


def visible(experiment: Experiment, one: Input) -> bool:
    """Whether the answers to an input may be shown under their names."""
    plan = experiment.plan
    return plan.headless or not plan.blind or bool(experiment.ballot(one.id).winner)


def _status(experiment: Experiment) -> str:
    plan = experiment.plan
    if experiment.judged() == len(plan.inputs):
        return "judged"
    ended = all(experiment.answer(name, one.id).ended for name in plan.names for one in plan.inputs)
    return "answered" if ended else "running"


def _side(experiment: Experiment, name: str, shown: Sequence[Input]) -> Document:
    """One variant in figures, over the inputs whose answers are shown."""
    variant = next(one for one in experiment.plan.variants if one.name == name)
    answers = [experiment.answer(name, one.id) for one in shown]
    good = [answer for answer in answers if answer.state == "ok"]
    costs = [answer.full_cost_usd for answer in good]
    asked = [answer.latency_s for answer in good if answer.latency_s is not None and answer.cache != "hit"]
    written = [answer.output_tokens for answer in good if answer.output_tokens is not None]
    wins, _ = experiment.tally()
    return {
        **variant.describe(),
        "model": variant.asks(),
        "prompt": variant.said(),
        "votes": wins[name],
        "answered": len(good),
        "failed": sum(answer.ended and answer.state != "ok" for answer in answers),
        "mean_cost_usd": None if not costs or None in costs else str(_mean([cost for cost in costs if cost is not None])),
        "median_latency_s": statistics.median(asked) if asked else None,
        "mean_output_tokens": statistics.fmean(written) if written else None,
    }


def _mean(costs: Sequence[Decimal]) -> Decimal:
    return (sum(costs, Decimal(0)) / len(costs)).quantize(Decimal("1e-9"))


def _input(experiment: Experiment, one: Input, *, shown: bool) -> Document:
    plan = experiment.plan
    given = experiment.ballot(one.id)
    answers = [experiment.answer(name, one.id) for name in (given.order if plan.blind and not plan.headless else plan.names)]
    vote = None
    if given.winner:
        vote = {"winner": given.winner, "rater": given.rater, "reason": given.reason, "order": list(given.order), "stored": given.stored}
    return {
        "id": one.id,
        "text": one.text,
        "state": "judged" if given.winner else "answered" if all(answer.ended for answer in answers) else "waiting",
        "vote": vote,
        "others": [
            {"rater": each["rater"], "winner": each["winner"], "reason": each.get("reason") or ""}
            for each in experiment.given()
            if shown and each["input_id"] == one.id and each["rater"] != plan.rater
        ],
        "answers": [facts(answer) for answer in answers] if shown else [],
        "hidden": 0 if shown else sum(answer.ended for answer in answers),
    }


def facts(answer: Answer) -> Document:
    """One answer with all that its variant's name stands for."""
    return {
        "variant": answer.variant,
        "status": answer.state,
        "text": answer.text if answer.ended else "",
        "call_id": answer.call_id,
        "model": answer.model,
        "response_model": answer.response_model,
        "provider": answer.provider,
        "region": answer.region,
        "finish_reason": answer.finish_reason,
        "input_tokens": answer.input_tokens,
        "output_tokens": answer.output_tokens,
        "cost_usd": None if answer.cost_usd is None else str(answer.cost_usd),
        "latency_s": answer.latency_s,
        "cache": answer.cache,
        "error_type": answer.error_type,
        "error": answer.error,
    }


class Twin:
    """Keeps the saved record of an experiment up to date.

    Args:
        experiment: what it shows.
        show: sends the output, as a new one or as the next state of the one shown.
    """

    def __init__(self, experiment: Experiment, show: Callable[[Bundle, bool], None]) -> None:
        self._experiment = experiment
        self._record = Record(lambda: bundle(experiment), show)

    def show(self) -> None:
        """Shows it for the first time, and follows the experiment from then on."""
        self._record.show()
        self._experiment.listeners.append(self._heard)

    def _heard(self, change: Change, answer: Answer | None) -> None:
        if change == "vote" or (change == "answer" and answer is not None and answer.ended and self._complete(answer)):
            self._record.touch()

    def _complete(self, answer: Answer) -> bool:
        """Whether all variants have answered this input, so that there is something new to say."""
        return all(self._experiment.answer(name, answer.input_id).ended for name in self._experiment.plan.names)
