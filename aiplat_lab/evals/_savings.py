"""What routing, the cache and limits save against sending everything to the strong model, at which score: measured, not promised.

A workload is replayed twice through the gateway: every question to the strong model with the cache off, then the same questions to
the routed model with the cache on. Questions are paired, so that the share saved and the difference of the scores have intervals.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from aiplat_lab.client import Client
from aiplat_lab.core.errors import EvalError, UsageError
from aiplat_lab.core.types import Json
from aiplat_lab.evals._asking import PromptLike
from aiplat_lab.evals._evalset import Evalset, load
from aiplat_lab.evals._evaluate import EvalsetLike, evaluate
from aiplat_lab.evals._run import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Savings:
    """What one replay showed. Money is in US dollars, shares are of the strong side's cost."""

    evalset: str
    questions: int
    """Different questions."""
    calls: int
    """Calls of each side: the questions, and those that came again."""
    strong: str
    routed: str
    scorer: str
    strong_usd: float
    routed_usd: float
    uncached_usd: float
    """What the routed side would have cost without the cache."""
    saved: float
    """The share saved in all."""
    saved_low: float
    saved_high: float
    by_routing: float
    """The share saved by routing and limits."""
    by_cache: float
    """The share saved by the cache."""
    cached: int
    """Answers that came from the cache."""
    score_strong: float
    score_routed: float
    difference: float
    difference_low: float
    difference_high: float
    margin: float
    equal: bool | None
    """Whether the routed side is at most the margin worse; None where the questions are too few to say."""
    sentence: str

    def to_json(self) -> dict[str, Json]:
        """All of it by name."""
        return asdict(self)


def savings(
    evalset: EvalsetLike,
    *,
    strong: str,
    routed: str,
    client: Client,
    prompt: PromptLike = None,
    scorer: str | None = None,
    again: float = 0.3,
    limit_tokens: int | None = None,
    margin: float = 0.15,
    seed: int = 0,
    tell: Callable[[str], None] = lambda _: None,
) -> Savings:
    """Replays a workload on both sides.

    Args:
        evalset: the questions, with what a right answer is.
        strong: the model that would get everything.
        routed: the model with routing.
        client: the client to ask with.
        prompt: how to ask, as in `evaluate`.
        scorer: what is right; None takes the prompt's or the card's first.
        again: the share of the questions that come a second time, which the cache can answer.
        limit_tokens: the longest answer that the routed side asks for; None sets no limit.
        margin: how much worse the routed side may score and still count as equal.
        seed: which questions come again, and where resampling starts from.
        tell: is told what is going on.

    Raises:
        UsageError: something does not fit; nothing was asked.
        EvalError: a side was not answered whole, or what it cost is not known.
    """
    if not 0 <= again <= 1:
        raise UsageError(f"again is {again:g}; it must be a share from 0 to 1")
    first = load(evalset)
    second = _some(first, again, seed)
    parts = [first, *([second] if second is not None else [])]
    options: dict[str, Any] = {"prompt": prompt, "scorers": scorer, "client": client, "progress": False, "concurrency": 4}
    limit: Mapping[str, Json] = {"max_tokens": limit_tokens} if limit_tokens else {}
    calls = sum(len(part) for part in parts)
    for model in (strong, routed):
        evaluate(first, model=model, dry_run=True, **options)  # what does not fit is told before anything is paid
    tell(f"{calls} calls to {strong}, the cache off")
    before = [evaluate(part, model=strong, cache="off", name=f"savings: {strong}", **options) for part in parts]
    tell(f"{calls} calls to {routed}, the cache on")
    fresh = [evaluate(first, model=routed, cache="refresh", settings=limit, name=f"savings: {routed}", **options)]
    after = fresh + [evaluate(part, model=routed, cache="on", settings=limit, name=f"savings: {routed}", **options) for part in parts[1:]]
    for run in (*before, *after):
        if run.status != "complete":
            raise EvalError(f"the side {run.model} is {run.status} ({run.reason}), so nothing can be compared: {run.id}")
    return _judged(first, before, after, strong=strong, routed=routed, margin=margin, seed=seed)


def _some(evalset: Evalset, share: float, seed: int) -> Evalset | None:
    """The questions that come again."""
    count = round(share * len(evalset))
    if not count:
        return None
    chosen = sorted(random.Random(seed).sample(range(len(evalset)), count))  # noqa: S311 (a seeded sample, nothing secret)
    return replace(evalset, samples=tuple(evalset.samples[index] for index in chosen))


def _judged(evalset: Evalset, before: list[Run], after: list[Run], *, strong: str, routed: str, margin: float, seed: int) -> Savings:
    import numpy as np  # with the statistics it takes a moment that a run at work need not wait for

    from aiplat_lab.stats import bca_interval, compare_paired

    ids = [sample.id for sample in evalset.samples]
    paid, owed, uncached = (_costs(runs, ids, cached) for runs, cached in ((before, True), (after, True), (after, False)))
    total = sum(paid)
    if total <= 0:
        raise EvalError(f"{strong} cost nothing, so no share of it can be saved; give its deployment a price under [models] in aiplat.toml")
    strongs, routeds = np.array(paid), np.array(owed)

    def share(picked: Any) -> Any:  # Any: NumPy arrays of places
        places = picked.astype(int)
        return 1 - routeds[places].sum(axis=-1) / strongs[places].sum(axis=-1)

    found = bca_interval(np.arange(len(ids), dtype=float), share, seed=seed)
    name = before[0].scorers[0]
    scores = [before[0].scores(name), after[0].scores(name)]
    compared = compare_paired(
        [scores[0][one] for one in ids], [scores[1][one] for one in ids], names=(strong, routed), margin=margin, seed=seed
    )
    equal = {"better": True, "not_worse": True, "worse": False, "cannot_tell": None}[compared.verdict]
    routing = 1 - sum(uncached) / total
    return Savings(
        evalset=evalset.name,
        questions=len(ids),
        calls=sum(len(run.rows) for run in before),
        strong=strong,
        routed=routed,
        scorer=name,
        strong_usd=total,
        routed_usd=sum(owed),
        uncached_usd=sum(uncached),
        saved=found.value,
        saved_low=found.low,
        saved_high=found.high,
        by_routing=routing,
        by_cache=found.value - routing,
        cached=sum(run.cached for run in after),
        score_strong=compared.mean_a,
        score_routed=compared.mean_b,
        difference=compared.difference,
        difference_low=compared.low,
        difference_high=compared.high,
        margin=margin,
        equal=equal,
        sentence=_sentence(found.value, found.low, found.high, equal, margin, compared.sentence),
    )


def _costs(runs: list[Run], ids: list[str], with_cache: bool) -> list[float]:
    """What each question cost over all its calls; without the cache, an answer out of it costs what it did the first time."""
    fresh: dict[str, float] = {}
    total = dict.fromkeys(ids, 0.0)
    for run in runs:
        for row in run.rows:
            if row["cost_usd"] is None:
                raise EvalError(f"what {run.model} costs is not known; give its deployments a price under [models] in aiplat.toml")
            cost = float(row["cost_usd"])
            if not row.get("cached"):
                fresh[row["sample_id"]] = cost
            total[row["sample_id"]] += cost if with_cache else fresh.get(row["sample_id"], cost)
    return [total[one] for one in ids]


def _sentence(saved: float, low: float, high: float, equal: bool | None, margin: float, compared: str) -> str:
    share = f"{100 * saved:.0f} % saved (95 % interval {100 * low:.0f} to {100 * high:.0f})"
    points = f"{100 * margin:g} points"
    at = {
        True: f"at a score that is at most {points} lower",
        False: "but the score is worse, so this is no like-for-like saving",
        None: f"but so few questions cannot tell whether the score is within {points}",
    }[equal]
    return f"{share}, {at}. {compared}"
