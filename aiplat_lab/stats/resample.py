"""Bootstrap intervals: bias-corrected and accelerated (BCa), seeded, for a mean with or without clusters or for any statistic."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from aiplat_lab.core.errors import UsageError
from aiplat_lab.stats import _check
from aiplat_lab.stats._check import Array, Labels, Seed
from aiplat_lab.stats._special import normal_cdf, normal_quantile, two_sided_t
from aiplat_lab.stats.intervals import Estimate

Statistic: TypeAlias = Callable[[Array], Array]
"""From samples along the last axis to one number for each row."""

_CHUNK = 1 << 21
_BUDGET = 10**8
_FEWEST_DRAWS = 2_000


def bca_interval(
    x: ArrayLike, statistic: Statistic, *, level: float = 0.95, draws: int = 10_000, seed: Seed = 0, expand: bool = False
) -> Estimate:
    """The BCa bootstrap interval of any statistic of independent samples.

    Args:
        statistic: takes an array with samples along the last axis and gives one number for each row.
        expand: widen the percentiles as t is wider than normal (Hesterberg 2015), which small samples need.
    """
    values = _check.scores(x, least=2)
    _check.open_share(level, "level")
    rng = np.random.default_rng(seed)
    estimate = float(statistic(values[None, :])[0])
    rows = max(1, _CHUNK // values.size)
    parts = [
        statistic(values[rng.integers(0, values.size, size=(min(rows, draws - start), values.size))])
        for start in range(0, _check.count(draws, "draws", least=100), rows)
    ]
    left_out = np.array([float(statistic(np.delete(values, i)[None, :])[0]) for i in range(values.size)])
    low, high = _bca(estimate, np.concatenate(parts), left_out, level=level, units=values.size if expand else None)
    return Estimate(estimate, low, high, level, values.size, "BCa bootstrap")


def bca_mean_interval(
    x: ArrayLike, *, clusters: Labels | None = None, level: float = 0.95, draws: int = 10_000, seed: Seed = 0, expand: bool = True
) -> Estimate:
    """The BCa bootstrap interval of a mean; whole clusters are drawn where clusters are given.

    For a paired difference give the differences. Very many samples get fewer draws (at least 2,000), since the mean of
    many needs fewer.

    Raises:
        UsageError: fewer than two samples or two clusters.
    """
    values = _check.scores(x, least=2)
    _check.open_share(level, "level")
    if clusters is None:
        sums, sizes, groups = values, np.ones(values.size), None
    else:
        sums, sizes = _check.cluster_sums(values, _check.cluster_index(clusters, values.size))
        groups = int(sums.size)
        if groups < 2:
            raise UsageError("clusters: one cluster says nothing about how clusters differ; at least two are needed.")
    drawn = _drawn_means(sums, sizes, _check.count(draws, "draws", least=100), np.random.default_rng(seed))
    left_out = (sums.sum() - sums) / (sizes.sum() - sizes)
    low, high = _bca(float(values.mean()), drawn, left_out, level=level, units=sums.size if expand else None)
    name = "BCa bootstrap" if groups is None else "BCa bootstrap of clusters"
    return Estimate(float(values.mean()), low, high, level, values.size, name, groups)


def _drawn_means(sums: Array, sizes: Array, draws: int, rng: np.random.Generator) -> Array:
    n = sums.size
    pairs, times = np.unique(np.column_stack([sums, sizes]), axis=0, return_counts=True)
    if len(pairs) * 8 <= n:  # few distinct values: how often each is drawn is one multinomial draw
        weights = rng.multinomial(n, times / n, size=draws)
        return np.asarray((weights @ pairs[:, 0]) / (weights @ pairs[:, 1]), dtype=np.float64)
    draws = max(min(draws, _FEWEST_DRAWS), min(draws, _BUDGET // n))
    rows = max(1, _CHUNK // n)
    parts = []
    for start in range(0, draws, rows):
        picks = rng.integers(0, n, size=(min(rows, draws - start), n))
        parts.append(sums[picks].sum(axis=1) / sizes[picks].sum(axis=1))
    return np.concatenate(parts)


def _bca(estimate: float, drawn: Array, left_out: Array, *, level: float, units: int | None) -> tuple[float, float]:
    """Low and high, from the bootstrap values and the leave-one-out values; `units` widens as t does."""
    spread = float(np.ptp(drawn))
    if not math.isfinite(spread):
        raise UsageError("The statistic is not a finite number for some of the drawn samples.")
    hair = 1e-12 * max(1.0, abs(estimate))
    if spread <= hair:
        return estimate, estimate
    below = float(np.mean(drawn < estimate - hair) + 0.5 * np.mean(np.abs(drawn - estimate) <= hair))
    bias = normal_quantile(min(max(below, 0.5 / drawn.size), 1 - 0.5 / drawn.size))
    pulls = left_out.mean() - left_out
    power = float((pulls @ pulls) ** 1.5)
    acceleration = float(np.sum(pulls**3)) / (6 * power) if power > 0 else 0.0
    tail = (1 - level) / 2
    if units is not None:
        tail = normal_cdf(-math.sqrt(units / (units - 1)) * two_sided_t(level, units - 1))
    z = normal_quantile(tail)
    ends = sorted(_moved(bias, acceleration, sign * z) for sign in (1, -1))
    low, high = np.quantile(drawn, ends)
    return float(low), float(high)


def _moved(bias: float, acceleration: float, z: float) -> float:
    if not math.isfinite(z):
        return 0.0 if z < 0 else 1.0
    shift = bias + z
    stretch = 1 - acceleration * shift
    if stretch <= 0:  # the acceleration would turn the percentile over: take the end
        return 0.0 if shift < 0 else 1.0
    return normal_cdf(bias + shift / stretch)
