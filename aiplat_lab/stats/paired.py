"""Tests of two sides on the same samples: McNemar's for pass and fail, sign flips for graded scores; and Tango's interval."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from aiplat_lab.stats import _check
from aiplat_lab.stats._check import Array, Labels, Seed
from aiplat_lab.stats._special import binomial_upper, log_beta, normal_p, two_sided_z
from aiplat_lab.stats.intervals import Estimate

EXACT_UNITS = 15
"""Up to so many units that differ, all 2^15 sign flips are counted; beyond, they are drawn."""

_CHUNK = 1 << 21
_BUDGET = 4 * 10**8
_FEWEST_DRAWS = 2_000


@dataclass(frozen=True, slots=True)
class McNemar:
    """What the samples say on which the two sides disagree."""

    only_a: int
    """Samples that A alone passes."""
    only_b: int
    """Samples that B alone passes."""
    p_exact: float
    """Two-sided exact binomial p-value; never too small."""
    p_mid: float
    """The mid-p value: less cautious, nearly always below the level it names."""
    z2: float
    """The chi-square statistic without continuity correction, with one degree of freedom."""
    p_z2: float
    """Its p-value; trust it from about 25 disagreements on."""


@lru_cache(maxsize=65536)
def mcnemar(only_a: int, only_b: int) -> McNemar:
    """McNemar's test from the number of samples that one side alone passes."""
    a, b = _check.counts((only_a, only_b), "the number of samples that one side alone passes")
    n, most = a + b, max(a, b)
    if n == 0:
        return McNemar(0, 0, 1.0, 1.0, 0.0, 1.0)
    twice = 2 * binomial_upper(most, n)
    here = math.exp(-log_beta(most + 1, n - most + 1) - math.log(n + 1) - n * math.log(2))
    z2 = (a - b) ** 2 / n
    return McNemar(a, b, min(1.0, twice), min(1.0, twice - here), z2, normal_p(math.sqrt(z2)))


def mcnemar_scores(a: ArrayLike, b: ArrayLike) -> McNemar:
    """McNemar's test from the 0/1 scores of both sides on the same samples."""
    first, second = _check.pair(a, b)
    _check.binary(first, "A"), _check.binary(second, "B")
    return mcnemar(int(np.sum(first > second)), int(np.sum(second > first)))


@lru_cache(maxsize=65536)
def tango_interval(only_a: int, only_b: int, n: int, *, level: float = 0.95) -> Estimate:
    """B's pass rate minus A's on the same `n` samples: Tango's score interval, which stays sound when few samples differ.

    It is the set of differences that the score test of paired rates does not reject, so at zero it agrees with McNemar's
    chi-square.

    Raises:
        UsageError: no samples, or more disagreements than samples.
    """
    a, b = _check.counts((only_a, only_b), "the number of samples that one side alone passes")
    _, whole = _check.part_of(a + b, n)
    z = two_sided_z(_check.open_share(level, "level"))
    value = (b - a) / whole
    low = -1.0 if a == whole else _root(a, b, whole, target=z, between=(-1.0, value))
    high = 1.0 if b == whole else _root(a, b, whole, target=-z, between=(value, 1.0))
    return Estimate(value, low, high, level, whole, "Tango")


def _root(a: int, b: int, n: int, *, target: float, between: tuple[float, float]) -> float:
    """The difference at which the falling score statistic is `target`, by halving."""
    low, high = between
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if _tango_score(a, b, n, middle) > target:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _tango_score(a: int, b: int, n: int, difference: float) -> float:
    linear = -a - b + (2 * n - b + a) * difference
    constant = -a * difference * (1 - difference)
    only_a = (math.sqrt(max(0.0, linear * linear - 8 * n * constant)) - linear) / (4 * n)
    variance = n * (2 * only_a + difference * (1 - difference))
    distance = b - a - n * difference
    if variance <= 0:
        return math.copysign(math.inf, distance) if distance else 0.0
    return distance / math.sqrt(variance)


@dataclass(frozen=True, slots=True)
class SignFlip:
    """The result of a paired permutation test."""

    difference: float
    """The mean of the paired differences."""
    p_value: float
    """Two-sided."""
    exact: bool
    """Whether every flip was counted."""
    flips: int
    """How many flips were counted or drawn."""
    units: int
    """Samples, or clusters, that could be flipped and differ."""


def sign_flip_test(differences: ArrayLike, *, clusters: Labels | None = None, draws: int = 20_000, seed: Seed = 0) -> SignFlip:
    """The paired permutation test: if neither side is better, the sign of each difference is a coin toss.

    Samples of one cluster are flipped together. Exact up to `EXACT_UNITS` units that differ; beyond, `draws` flips are
    drawn from `seed` (fewer, but 2,000 at least, for more than 20,000 units), and the p-value counts the observed one among
    them, so it is never zero.
    """
    values = _check.scores(differences, "differences")
    _check.count(draws, "draws", least=1)
    units = values if clusters is None else _check.cluster_sums(values, _check.cluster_index(clusters, values.size))[0]
    scale = float(np.abs(units).max())
    units = units[np.abs(units) > 1e-12 * scale] if scale > 0 else units[:0]
    mean = float(values.mean())
    if not units.size:
        return SignFlip(mean, 1.0, True, 1, 0)
    observed = abs(float(units.sum())) - 1e-9 * float(np.abs(units).sum())
    if units.size <= EXACT_UNITS:
        sums = np.zeros(1)
        for unit in np.abs(units):
            sums = np.concatenate([sums - unit, sums + unit])
        return SignFlip(mean, float(np.mean(np.abs(sums) >= observed)), True, sums.size, units.size)
    draws = max(min(draws, _FEWEST_DRAWS), min(draws, _BUDGET // units.size))
    extreme = _drawn_extremes(np.abs(units), observed, draws, np.random.default_rng(seed))
    return SignFlip(mean, (extreme + 1) / (draws + 1), False, draws, units.size)


def _drawn_extremes(sizes: Array, observed: float, draws: int, rng: np.random.Generator) -> int:
    """How many of `draws` random flips give a sum at least as far from zero."""
    steps, times = np.unique(sizes, return_counts=True)
    if steps.size * 4 <= sizes.size:  # equal steps: how many of them are positive is one binomial draw
        extreme = 0
        rows = max(1, _CHUNK // steps.size)
        for start in range(0, draws, rows):
            ups = rng.binomial(times, 0.5, size=(min(rows, draws - start), steps.size))
            extreme += int(np.sum(np.abs((2 * ups - times) @ steps) >= observed))
        return extreme
    # eight units at a time: a table of the 256 sums that their signs can give, and a random byte to pick one
    eights = np.concatenate([sizes, np.zeros(-sizes.size % 8)]).reshape(-1, 8)
    tables = np.zeros((len(eights), 1))
    for j in range(8):
        tables = np.concatenate([tables - eights[:, j : j + 1], tables + eights[:, j : j + 1]], axis=1)
    extreme, place = 0, np.arange(len(eights))
    rows = max(1, _CHUNK // len(eights))
    for start in range(0, draws, rows):
        picks = rng.integers(0, 256, size=(min(rows, draws - start), len(eights)), dtype=np.uint8)
        extreme += int(np.sum(np.abs(tables[place, picks].sum(axis=1)) >= observed))
    return extreme
