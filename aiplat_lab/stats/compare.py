"""Two sides on the same samples: one comparison with everything a reader needs, and a gate's answer.

How a verdict comes about, and why test and interval cannot contradict each other, is told in docs/statistics.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from aiplat_lab.core.errors import UsageError
from aiplat_lab.stats import _check, _words
from aiplat_lab.stats._check import Array, Labels
from aiplat_lab.stats._special import two_sided_t, two_sided_z
from aiplat_lab.stats.intervals import mean_interval
from aiplat_lab.stats.paired import mcnemar, sign_flip_test, tango_interval
from aiplat_lab.stats.power import POWER, fewest_to_decide, z_sum
from aiplat_lab.stats.resample import bca_mean_interval

Outcome: TypeAlias = Literal["better", "not_worse", "worse", "cannot_tell"]
"""`better`: B beats A. `not_worse`: if B is worse at all, then by less than the margin. `worse`: A beats B, and the margin may
be passed. `cannot_tell`: the samples do not say."""

GateOutcome: TypeAlias = Literal["pass", "regression", "inconclusive"]

Scores: TypeAlias = ArrayLike | Sequence[float | Sequence[float]]
"""One score for each sample, or the scores of its repeats."""

MARGIN = 0.05
"""The drop that is tolerated unless another is named: 5 points of a rate."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """B against A on the same samples. Differences are B minus A."""

    name_a: str
    name_b: str
    n: int
    """Samples, each counted once however often it was repeated."""
    clusters: int | None
    """Clusters, or None when every sample stands alone."""
    mean_a: float
    mean_b: float
    difference: float
    """`mean_b` minus `mean_a`."""
    low: float
    """The lower end of the interval of the difference."""
    high: float
    """The upper end."""
    level: float
    """The confidence level of the interval; 1 − level is the α of the test."""
    method: str
    """The test behind the p-value."""
    interval_method: str
    p_value: float
    """Two-sided, that the two are equally good."""
    p_mid: float | None
    """McNemar's mid-p where that test was used: less cautious, for information only."""
    only_a: int | None
    """Samples that A alone passes, for scores of 0 and 1 without repeats."""
    only_b: int | None
    """Samples that B alone passes."""
    minimum_detectable_effect: float | None
    """The smallest true difference that so many samples would show with chance 0.8; None where they could show none."""
    samples_needed: int | None
    """Samples that would show a true difference of the margin's size with chance 0.8; None where that is not known."""
    margin: float
    """The drop that is tolerated."""
    lower_is_better: bool
    """Whether small values are good, as with cost."""
    unit: str
    """`points` (hundredths), or the unit of the scores, or nothing."""
    verdict: Outcome
    sentence: str
    """All of it for a person who is no statistician."""

    @property
    def shown(self) -> bool:
        """Whether the test says that the two differ at all, at the level of the interval."""
        return self.p_value <= 1 - self.level and self.difference != 0


@dataclass(frozen=True, slots=True)
class GateVerdict:
    """What a gate says about a comparison."""

    outcome: GateOutcome
    margin: float
    reason: str
    """Why, in one sentence."""


@dataclass(frozen=True, slots=True)
class _Facts:
    """What a test and its interval found, before it is judged."""

    method: str
    interval_method: str
    p_value: float
    low: float
    high: float
    variance: float
    """Variance of the difference of one sample, with clusters taken into account."""
    smallest: float
    """The smallest difference that the test could ever call one, with so many units; infinite when none."""
    p_mid: float | None = None
    only_a: int | None = None
    only_b: int | None = None


def compare_paired(
    a: Scores,
    b: Scores,
    *,
    clusters: Labels | None = None,
    names: tuple[str, str] = ("A", "B"),
    margin: float = MARGIN,
    level: float = 0.95,
    lower_is_better: bool = False,
    unit: str | None = None,
    draws: int = 10_000,
    seed: int = 0,
) -> Comparison:
    """B against A on the same samples, by the method that fits them.

    Scores of 0 and 1, one a sample and without clusters: McNemar's exact test with Tango's interval. Anything else:
    repeats are averaged for each sample, then a paired permutation test with a BCa bootstrap interval, both on whole
    clusters where clusters are given.

    Args:
        a: for each sample its score, or the list of scores of its repeats.
        b: the same samples in the same order; repeats may differ in number.
        clusters: one label a sample, for samples that go together (a document, a customer); None stands alone.
        names: what to call the two.
        margin: the drop that is tolerated, in units of the score: 0.05 is 5 points of a rate.
        lower_is_better: for cost, latency and the like; `better` then means smaller.
        unit: what a difference is counted in; hundredths ("points") for scores from 0 to 1 unless given.

    Raises:
        UsageError: no samples, not the same number, a score that is missing or not a number.
    """
    first, repeated_a = _one_each(a, "A")
    second, repeated_b = _one_each(b, "B")
    _check.same_length(first.size, second.size)
    _check.open_share(level, "level")
    if not (margin >= 0 and math.isfinite(margin)):
        raise UsageError(f"margin is the drop that is tolerated and must be at least 0, got {margin}.")
    index = None if clusters is None else _check.cluster_index(clusters, first.size)
    groups = None if index is None else int(index.max()) + 1
    alone = groups is None or groups == first.size
    if alone and not (repeated_a or repeated_b) and _check.is_binary(first, second):
        facts = _binary_facts(first, second, level)
    else:
        facts = _graded_facts(first, second, None if alone else clusters, level=level, draws=draws, seed=seed)
    return _judged(
        facts,
        first,
        second,
        names=names,
        clusters=None if alone else groups,
        margin=float(margin),
        level=level,
        lower_is_better=lower_is_better,
        unit=unit,
    )


def _one_each(values: Scores, name: str) -> tuple[Array, bool]:
    """One score for each sample, and whether any of them is the mean of several."""
    if not isinstance(values, Iterable) or isinstance(values, (str, bytes, Mapping)):
        raise UsageError(f"{name}: a list with one score for each sample is needed, got {type(values).__name__}.")
    items = values.tolist() if isinstance(values, np.ndarray) else list(values)
    means: list[float] = []
    repeated = False
    for i, item in enumerate(items):
        if isinstance(item, Iterable) and not isinstance(item, (str, bytes)):
            some = _check.scores(list(item), f"{name}, sample {i}")
            repeated = repeated or some.size > 1
            means.append(float(some.mean()))
        else:
            means.append(item)
    return _check.scores(means, name), repeated


def _binary_facts(first: Array, second: Array, level: float) -> _Facts:
    test = mcnemar(int(np.sum(first > second)), int(np.sum(second > first)))
    n = first.size
    interval = tango_interval(test.only_a, test.only_b, n, level=level)
    low, high = _agreed(interval.low, interval.high, interval.value, test.p_exact, 1 - level)
    fewest = fewest_to_decide(level)
    share = max(test.only_a + test.only_b, 1) / n
    return _Facts(
        method="McNemar exact",
        interval_method="Tango",
        p_value=test.p_exact,
        low=low,
        high=high,
        variance=share,
        smallest=fewest / n if fewest <= n else math.inf,
        p_mid=test.p_mid,
        only_a=test.only_a,
        only_b=test.only_b,
    )


def _graded_facts(first: Array, second: Array, clusters: Labels | None, *, level: float, draws: int, seed: int) -> _Facts:
    differences = second - first
    n = differences.size
    test = sign_flip_test(differences, clusters=clusters, draws=2 * draws, seed=seed)
    each = _unit_means(differences, clusters)
    units = each.size
    reach = _range(first, second)
    fewest = fewest_to_decide(level)
    mean = float(differences.mean())
    if units < 2:
        low, high, variance = -reach, reach, reach * reach
    else:
        interval = bca_mean_interval(differences, clusters=clusters, level=level, draws=draws, seed=seed)
        low, high = interval.low, interval.high
        usual = mean_interval(differences, clusters=clusters, level=level)
        variance = n * ((usual.high - usual.value) / two_sided_t(level, units - 1)) ** 2
    rare = units - int(np.unique(each.round(12), return_counts=True)[1].max()) < fewest
    if rare:  # nearly all units say the same, so resampling cannot know what the unseen ones would do
        z2 = two_sided_z(level) ** 2
        unseen = reach * z2 / (units + z2)
        low, high = min(low, mean - unseen), max(high, mean + unseen)
        variance = max(variance, reach * reach * n / units**2)
    low, high = _agreed(low, high, mean, test.p_value, 1 - level)
    grouped = "" if clusters is None else " of clusters"
    return _Facts(
        method=f"paired permutation{grouped} ({'exact' if test.exact else f'{test.flips:,} draws'})",
        interval_method=f"BCa bootstrap{grouped}",
        p_value=test.p_value,
        low=low,
        high=high,
        variance=variance,
        smallest=math.inf if units < fewest else reach * fewest / units if rare else 0.0,
    )


def _unit_means(differences: Array, clusters: Labels | None) -> Array:
    """The mean difference of each unit: of each cluster, or of each sample."""
    if clusters is None:
        return differences
    sums, sizes = _check.cluster_sums(differences, _check.cluster_index(clusters, differences.size))
    return sums / sizes


def _range(first: Array, second: Array) -> float:
    """How far two scores can be apart: 1 for scores from 0 to 1, else as far as these are from each other and from 0."""
    low, high = min(float(first.min()), float(second.min()), 0.0), max(float(first.max()), float(second.max()), 0.0)
    return 1.0 if low == 0 and high <= 1 else high - low


def _agreed(low: float, high: float, difference: float, p_value: float, alpha: float) -> tuple[float, float]:
    """The interval with zero inside when the test does not reject zero, and outside when it does.

    The test alone says whether there is a difference, the interval how large it is. Both are confidence sets, and so is this.
    """
    if p_value > alpha or difference == 0:
        return min(low, 0.0), max(high, 0.0)
    return (max(low, 0.0), high) if difference > 0 else (low, min(high, 0.0))


def _judged(
    facts: _Facts,
    first: Array,
    second: Array,
    *,
    names: tuple[str, str],
    clusters: int | None,
    margin: float,
    level: float,
    lower_is_better: bool,
    unit: str | None,
) -> Comparison:
    n = first.size
    mean_a, mean_b = float(first.mean()), float(second.mean())
    difference = float((second - first).mean())
    worst = -facts.high if lower_is_better else facts.low
    good = (difference < 0) == lower_is_better
    standard = z_sum(level, POWER) * math.sqrt(facts.variance / n)
    smallest = max(standard, facts.smallest)
    reach = _range(first, second)
    rate = not lower_is_better and bool(np.all((first >= 0) & (first <= 1) & (second >= 0) & (second <= 1)))
    comparison = Comparison(
        name_a=names[0],
        name_b=names[1],
        n=n,
        clusters=clusters,
        mean_a=mean_a,
        mean_b=mean_b,
        difference=difference,
        low=facts.low,
        high=facts.high,
        level=level,
        method=facts.method,
        interval_method=facts.interval_method,
        p_value=facts.p_value,
        p_mid=facts.p_mid,
        only_a=facts.only_a,
        only_b=facts.only_b,
        minimum_detectable_effect=None if not smallest <= reach else smallest,
        samples_needed=math.ceil((z_sum(level, POWER) / margin) ** 2 * facts.variance) if margin > 0 else None,
        margin=margin,
        lower_is_better=lower_is_better,
        unit=("points" if rate else "") if unit is None else unit,
        verdict="cannot_tell",
        sentence="",
    )
    if comparison.shown and good:
        comparison = replace(comparison, verdict="better")
    elif worst > -margin:
        comparison = replace(comparison, verdict="not_worse")
    elif comparison.shown:
        comparison = replace(comparison, verdict="worse")
    return replace(comparison, sentence=_sentence(comparison))


def _sentence(c: Comparison) -> str:
    """The comparison in words."""
    difference, low, high, margin = _printed(c)
    tested = f"{c.method} p {_words.p_value(c.p_value, 1 - c.level)}"
    found = f"{_words.percent(c.level)} interval {low} to {high}, {_basis(c)}, {tested}; {_reach(c)}"
    return f"{_opening(c, margin)}: {difference} ({found}).{_advice(c, margin)}"


def _opening(c: Comparison, margin: str) -> str:
    a, b = c.name_a, c.name_b
    if c.verdict == "better":
        return f"{b} is better than {a}"
    if c.verdict == "worse":
        return f"{b} is worse than {a}"
    if c.verdict == "cannot_tell":
        return f"Cannot tell whether {b} is better or worse than {a}"
    if c.shown:
        return f"{b} is worse than {a}, but by less than the margin of {margin}"
    return f"{b} is not worse than {a}{_beyond(c, margin)}"


def _beyond(c: Comparison, margin: str) -> str:
    return f" by more than the margin of {margin}" if c.margin > 0 else ""


def _scale(c: Comparison) -> float:
    return 100.0 if c.unit == "points" else 1.0


def _with_unit(text: str, unit: str) -> str:
    if not unit:
        return text
    return f"{text} {'point' if unit == 'points' and text.strip('+−') == '1' else unit}"


def _printed(c: Comparison) -> tuple[str, str, str, str]:
    """Difference, low and high with signs, and the margin, rounded so that each stays on its side of zero and of the margin."""
    scale = _scale(c)
    values = [c.difference * scale, c.low * scale, c.high * scale]
    tolerated = c.margin * scale * (1 if c.lower_is_better else -1)
    least = _digits(values) if scale == 1 else int(values[2] - values[1] < 10)
    decimals = _words.places(values, (0.0, tolerated), least=least, most=least + 6)
    texts = [_words.number(value, decimals, sign=True) for value in values]
    return _with_unit(texts[0], c.unit), texts[1], texts[2], _with_unit(f"{c.margin * scale:.6g}", c.unit)


def _digits(values: list[float]) -> int:
    """Decimals that show the largest of `values` with two digits and more."""
    largest = max(abs(value) for value in values)
    return 0 if largest == 0 else max(0, 1 - math.floor(math.log10(largest)))


def _basis(c: Comparison) -> str:
    samples = _words.plural(c.n, "paired sample")
    return samples if c.clusters is None else f"{samples} in {_words.plural(c.clusters, 'cluster')}"


def _reach(c: Comparison) -> str:
    smallest = c.minimum_detectable_effect
    if smallest is None:
        return "too few to show any difference"
    text = _words.brief(smallest * _scale(c))
    return f"at this size, true differences under {_with_unit(text, c.unit)} are easily missed"


def _advice(c: Comparison, margin: str) -> str:
    if c.verdict != "cannot_tell" or c.samples_needed is None or c.samples_needed <= c.n:
        return ""
    return f" About {_words.about(c.samples_needed)} samples would settle a difference of {margin}."


def gate_verdict(comparison: Comparison, margin: float | None = None) -> GateVerdict:
    """Whether B may replace A when a drop of up to `margin` is tolerated (the comparison's own margin unless given).

    `pass`: the whole interval lies above a drop of the margin. `regression`: the whole interval lies below it, so that a B which is
    exactly at the margin fails with a chance of at most (1 − level) / 2. `inconclusive`: neither was shown; that no drop
    was found is no proof that there is none.
    """
    c = comparison
    tolerated = c.margin if margin is None else margin
    if not (tolerated >= 0 and math.isfinite(tolerated)):
        raise UsageError(f"margin is the drop that is tolerated and must be at least 0, got {tolerated}.")
    worst, best = (-c.high, -c.low) if c.lower_is_better else (c.low, c.high)
    shown, good = c.shown, (c.difference < 0) == c.lower_is_better
    outcome: GateOutcome = "inconclusive"
    if worst > -tolerated or (shown and good):
        outcome = "pass"
    elif best < -tolerated or (shown and tolerated == 0):
        outcome = "regression"
    needed = None
    if c.samples_needed is not None and c.margin > 0 and tolerated > 0:
        needed = math.ceil(c.samples_needed * (c.margin / tolerated) ** 2 - 1e-9)
    return GateVerdict(outcome, tolerated, _gate_reason(replace(c, margin=tolerated, samples_needed=needed), outcome))


def _gate_reason(c: Comparison, outcome: GateOutcome) -> str:
    difference, low, high, margin = _printed(c)
    a, b, beyond = c.name_a, c.name_b, _beyond(c, margin)
    found = f"{difference}, {_words.percent(c.level)} interval {low} to {high}, {_basis(c)}"
    if outcome == "pass":
        return f"Pass: {b} is not worse than {a}{beyond} ({found})."
    if outcome == "regression":
        return f"Regression: {b} is worse than {a}{beyond} ({found})."
    if c.shown:
        return f"Inconclusive: {b} is worse than {a}, but whether{beyond} is open ({found})."
    more = ""
    if c.samples_needed is not None and c.samples_needed > c.n:
        more = f"; about {_words.about(c.samples_needed)} samples would settle it if the two are equally good"
    return f"Inconclusive: that {b} is worse than {a}{beyond} can neither be shown nor excluded ({found}){more}."
