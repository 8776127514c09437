"""Intervals for one rate, one mean, and the difference of two rates; clusters are taken into account where they are given."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aiplat_lab.core.errors import UsageError
from aiplat_lab.stats import _check
from aiplat_lab.stats._check import Array, Labels
from aiplat_lab.stats._special import two_sided_t, two_sided_z


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with the interval that says how well it is known."""

    value: float
    low: float
    high: float
    level: float
    """The confidence level of the interval, as 0.95."""
    n: int
    """Samples behind the value."""
    method: str
    """The name of the method, as a person would look it up."""
    clusters: int | None = None
    """Clusters behind the value, or None when every sample stands alone."""
    n_effective: float | None = None
    """How many independent samples would tell as much, where clusters make it fewer."""


def _wilson(p: float, n: float, z: float) -> tuple[float, float]:
    square = z * z
    centre = p + square / (2 * n)
    spread = z * math.sqrt(p * (1 - p) / n + square / (4 * n * n))
    low, high = (centre - spread) / (1 + square / n), (centre + spread) / (1 + square / n)
    return (0.0 if p == 0 else max(0.0, low)), (1.0 if p == 1 else min(1.0, high))


def wilson(passed: int, n: int, *, level: float = 0.95) -> Estimate:
    """The interval of a pass rate by Wilson's score method, sound for small `n` and for rates near 0 and 1.

    Raises:
        UsageError: `n` is 0, or `passed` is more than `n`.
    """
    some, whole = _check.part_of(passed, n)
    rate = some / whole
    low, high = _wilson(rate, whole, two_sided_z(_check.open_share(level, "level")))
    return Estimate(rate, low, high, level, whole, "Wilson")


def cluster_se(x: ArrayLike, clusters: Labels, *, small_sample: bool = False) -> float:
    """The standard error of the mean of `x` when samples of one cluster go together (sandwich on cluster sums).

    Args:
        small_sample: multiply by √(G/(G−1)) for G clusters; needs two clusters.
    """
    values = _check.scores(x)
    return _cluster_se(values, _check.cluster_index(clusters, values.size), small_sample=small_sample)


def _cluster_se(values: Array, index: NDArray[np.int64], *, small_sample: bool) -> float:
    sums, _ = _check.cluster_sums(values - values.mean(), index)
    se = math.sqrt(float(sums @ sums)) / values.size
    if not small_sample:
        return se
    if sums.size < 2:
        raise UsageError("clusters: one cluster says nothing about how clusters differ; at least two are needed.")
    return se * math.sqrt(sums.size / (sums.size - 1))


def mean_interval(
    x: ArrayLike, *, clusters: Labels | None = None, level: float = 0.95, bounds: tuple[float, float] | None = None
) -> Estimate:
    """The interval of a mean by Student's t, with clustered standard error and G−1 degrees of freedom where clusters are given.

    Args:
        bounds: the least and the greatest score there can be; the interval is cut there.

    Raises:
        UsageError: fewer than two samples or two clusters.
    """
    values = _check.scores(x, least=2)
    _check.open_share(level, "level")
    if clusters is None:
        groups, df = None, values.size - 1
        se = float(values.std(ddof=1)) / math.sqrt(values.size)
    else:
        index = _check.cluster_index(clusters, values.size)
        se = _cluster_se(values, index, small_sample=True)
        groups = int(index.max()) + 1
        df = groups - 1
    mean, reach = float(values.mean()), two_sided_t(level, df) * se
    low, high = mean - reach, mean + reach
    if bounds is not None:
        _check.within(values, *bounds)
        low, high = max(low, bounds[0]), min(high, bounds[1])
    return Estimate(mean, low, high, level, values.size, "t" if groups is None else "t on clusters", groups)


def rate_interval(x: ArrayLike, *, clusters: Labels | None = None, level: float = 0.95) -> Estimate:
    """The interval of a pass rate from 0/1 scores: Wilson's, on the effective number of samples where clusters are given.

    The effective number is Korn and Graubard's: rate × (1 − rate) over the squared clustered standard error, never
    more than the samples there are, times (t of n−1 over t of G−1)² for the few clusters that the error was measured
    on. Where all passed or all failed, nothing can be measured, and each cluster counts as though its samples were
    copies of one (n² over the sum of squared sizes).

    Raises:
        UsageError: a score is neither 0 nor 1, none is given, or there is one cluster only.
    """
    values = _check.binary(_check.scores(x))
    z = two_sided_z(_check.open_share(level, "level"))
    rate, n = float(values.mean()), values.size
    if clusters is None:
        return wilson(round(float(values.sum())), n, level=level)
    index = _check.cluster_index(clusters, n)
    groups = int(index.max()) + 1
    if groups == n:
        plain = wilson(round(float(values.sum())), n, level=level)
        return Estimate(plain.value, plain.low, plain.high, level, n, plain.method, groups, float(n))
    se = _cluster_se(values, index, small_sample=True)
    sizes = np.bincount(index)
    fewest = n * n / float(sizes @ sizes)
    effective = fewest if se == 0 else min(float(n), rate * (1 - rate) / (se * se))
    effective *= (two_sided_t(level, n - 1) / two_sided_t(level, groups - 1)) ** 2
    low, high = _wilson(rate, effective, z)
    return Estimate(rate, low, high, level, n, "Wilson on clusters", groups, effective)


def score_interval(x: ArrayLike, *, clusters: Labels | None = None, level: float = 0.95) -> Estimate:
    """The interval of a mean score: `rate_interval` when every score is 0 or 1, `mean_interval` otherwise."""
    values = _check.scores(x)
    if _check.is_binary(values):
        return rate_interval(values, clusters=clusters, level=level)
    return mean_interval(values, clusters=clusters, level=level)


def newcombe_difference(passed_a: int, n_a: int, passed_b: int, n_b: int, *, level: float = 0.95) -> Estimate:
    """B's pass rate minus A's, when the two were measured on different samples (Newcombe's hybrid score interval)."""
    a, b = wilson(passed_a, n_a, level=level), wilson(passed_b, n_b, level=level)
    difference = b.value - a.value
    low = difference - math.hypot(b.value - b.low, a.high - a.value)
    high = difference + math.hypot(b.high - b.value, a.value - a.low)
    return Estimate(difference, low, high, level, a.n + b.n, "Newcombe")
