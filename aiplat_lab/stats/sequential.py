"""Confidence sequences: intervals that stay valid however often one looks, and whenever one stops.

Sources: Beta-binomial mixture: Robbins 1970, Howard and others 2021 (arXiv 1810.08240). Predictable plug-in Hoeffding and
empirical Bernstein, and betting: Waudby-Smith and Ramdas 2024 (arXiv 2010.09686).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from aiplat_lab.core.errors import UsageError
from aiplat_lab.stats import _check
from aiplat_lab.stats._check import Array
from aiplat_lab.stats._special import log_beta, log_beta_array
from aiplat_lab.stats.intervals import Estimate

PRIOR = (1.0, 1.0)
"""The mixture over rates: every rate weighs the same."""


@dataclass(frozen=True, slots=True, eq=False)
class ConfidenceSequence:
    """A confidence sequence: after each observation, bounds that hold at all times together with chance `level`."""

    low: Array
    high: Array
    level: float
    method: str

    def last(self) -> tuple[float, float]:
        """Low and high after the last observation."""
        return float(self.low[-1]), float(self.high[-1])


def log_evidence(successes: ArrayLike, n: ArrayLike, *, rate: float = 0.5, prior: tuple[float, float] = PRIOR) -> Array:
    """The logarithm of the evidence against a success rate of `rate`, for each pair of counts.

    If the rate is true, the chance that the evidence ever exceeds 1/α is at most α, whenever and however often one
    looks (Ville's inequality). So reject once it exceeds log(1/α).
    """
    some, whole = np.asarray(successes, dtype=np.float64), np.asarray(n, dtype=np.float64)
    a, b = (_check.positive(value, "prior") for value in prior)
    if not 0 < rate < 1:
        raise UsageError(f"rate must lie between 0 and 1, got {rate}.")
    if np.any(some < 0) or np.any(some > whole):
        raise UsageError("successes must lie from 0 to n.")
    mixed = log_beta_array(some + a, whole - some + b) - log_beta(a, b)
    return np.asarray(mixed - some * math.log(rate) - (whole - some) * math.log1p(-rate), dtype=np.float64)


@lru_cache(maxsize=65536)
def beta_binomial_interval(successes: int, n: int, *, level: float = 0.95, prior: tuple[float, float] = PRIOR) -> Estimate:
    """The rates that a beta-binomial mixture cannot reject after `n` observations, valid at every look.

    With no observations it runs from 0 to 1.
    """
    whole = _check.count(n, "n")
    some = _check.count(successes, "successes")
    if some > whole:
        raise UsageError(f"{some} successes of {whole}: more than there are.")
    bar = -math.log(1 - _check.open_share(level, "level"))
    if whole == 0:
        return Estimate(0.5, 0.0, 1.0, level, 0, "beta-binomial sequence")
    a, b = (_check.positive(value, "prior") for value in prior)
    mixed = log_beta(some + a, whole - some + b) - log_beta(a, b)

    def kept(rate: float) -> bool:
        """Whether the evidence against `rate` is below the bar."""
        if (rate <= 0 and some) or (rate >= 1 and some < whole):
            return False
        likelihood = (some * math.log(rate) if some else 0.0) + ((whole - some) * math.log1p(-rate) if some < whole else 0.0)
        return mixed - likelihood < bar

    best = some / whole
    low = 0.0 if some == 0 else _edge(0.0, best, kept)
    high = 1.0 if some == whole else _edge(1.0, best, kept)
    return Estimate(best, low, high, level, whole, "beta-binomial sequence")


def _edge(outside: float, inside: float, kept: Callable[[float], bool]) -> float:
    for _ in range(200):
        middle = (outside + inside) / 2
        if middle in (outside, inside):
            break
        if kept(middle):
            inside = middle
        else:
            outside = middle
    return inside


def hoeffding_sequence(
    x: ArrayLike, *, level: float = 0.95, bounds: tuple[float, float] = (0.0, 1.0), intersect: bool = True
) -> ConfidenceSequence:
    """The mean of bounded values by a predictable plug-in Hoeffding bound: the simplest, and the widest.

    Args:
        bounds: the least and the greatest value there can be.
        intersect: keep what earlier looks have excluded.
    """
    unit = _unit(x, bounds)
    t = np.arange(1, unit.size + 1)
    bar = math.log(2 / (1 - _check.open_share(level, "level")))
    bets = np.minimum(np.sqrt(8 * bar / (t * np.log1p(t))), 1.0)
    centre = np.cumsum(bets * unit) / np.cumsum(bets)
    reach = (bar + np.cumsum(bets**2 / 8)) / np.cumsum(bets)
    return _finished(centre - reach, centre + reach, bounds, level, "Hoeffding sequence", intersect=intersect)


def empirical_bernstein_sequence(
    x: ArrayLike, *, level: float = 0.95, bounds: tuple[float, float] = (0.0, 1.0), intersect: bool = True
) -> ConfidenceSequence:
    """The mean of bounded values by a predictable plug-in empirical Bernstein bound: narrow where they vary little.

    Args:
        bounds: the least and the greatest value there can be.
        intersect: keep what earlier looks have excluded.
    """
    unit = _unit(x, bounds)
    bar = math.log(2 / (1 - _check.open_share(level, "level")))
    low, high = _bernstein_low(unit, bar), 1 - _bernstein_low(1 - unit, bar)
    return _finished(low, high, bounds, level, "empirical Bernstein sequence", intersect=intersect)


def _bernstein_low(unit: Array, bar: float) -> Array:
    t = np.arange(1, unit.size + 1)
    before = np.concatenate([[0.0], (np.cumsum(unit) / t)[:-1]])
    bets = np.minimum(_plug_in_bets(unit, bar), 0.5)
    cost = np.cumsum((unit - before) ** 2 * (-np.log1p(-bets) - bets))
    total = np.cumsum(bets)
    return np.asarray(np.cumsum(bets * unit) / total - (bar + cost) / total, dtype=np.float64)


def _plug_in_bets(unit: Array, bar: float) -> Array:
    """The bet on each observation, from the variance of those before it (one made-up observation of 1/2 keeps it tame)."""
    t = np.arange(1, unit.size + 1)
    means = (0.5 + np.cumsum(unit)) / (t + 1)
    variances = (0.25 + np.cumsum((unit - means) ** 2)) / (t + 1)
    before = np.concatenate([[0.25], variances[:-1]])
    return np.asarray(np.sqrt(2 * bar / (t * np.log1p(t) * before)), dtype=np.float64)


def betting_sequence(
    x: ArrayLike, *, level: float = 0.95, bounds: tuple[float, float] = (0.0, 1.0), intersect: bool = True, grid: int = 1000
) -> ConfidenceSequence:
    """The mean of bounded values by hedged betting: the narrowest of the three, on a grid of possible means.

    Args:
        bounds: the least and the greatest value there can be.
        intersect: keep what earlier looks have excluded.
        grid: steps of the grid; the bounds are one step wider than what was excluded.
    """
    unit = _unit(x, bounds)
    steps = _check.count(grid, "grid", least=2)
    bar = math.log(2 / (1 - _check.open_share(level, "level")))
    bets = _plug_in_bets(unit, bar)
    kept_from = np.full(unit.size, steps, dtype=np.int64)
    kept_to = np.zeros(unit.size, dtype=np.int64)
    rows = max(1, (1 << 20) // unit.size)
    for start in range(0, steps + 1, rows):
        number = np.arange(start, min(start + rows, steps + 1))[:, None]
        up, down = _fortunes(unit, number / steps, bets)
        kept = np.maximum(up, down) <= bar
        kept_from = np.minimum(kept_from, np.where(kept, number, steps).min(axis=0))
        kept_to = np.maximum(kept_to, np.where(kept, number, 0).max(axis=0))
    low, high = (kept_from - 1) / steps, (kept_to + 1) / steps
    return _finished(low, high, bounds, level, "betting sequence", intersect=intersect)


def _fortunes(unit: Array, means: Array, bets: Array) -> tuple[Array, Array]:
    """The log fortune of who bets that the mean is higher, and lower, than each of `means`; never more than half is staked."""
    with np.errstate(divide="ignore"):
        on_more, on_less = np.minimum(bets, 0.5 / means), np.minimum(bets, 0.5 / (1 - means))
    return np.cumsum(np.log1p(on_more * (unit - means)), axis=1), np.cumsum(np.log1p(-on_less * (unit - means)), axis=1)


def _unit(x: ArrayLike, bounds: tuple[float, float]) -> Array:
    low, high = bounds
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise UsageError(f"bounds must be a finite low and a higher high, got {bounds}.")
    values = _check.within(_check.scores(x), low, high)
    return np.asarray((values - low) / (high - low), dtype=np.float64)


def _finished(low: Array, high: Array, bounds: tuple[float, float], level: float, method: str, *, intersect: bool) -> ConfidenceSequence:
    low, high = np.clip(low, 0.0, 1.0), np.clip(high, 0.0, 1.0)
    if intersect:
        low, high = np.maximum.accumulate(low), np.minimum.accumulate(high)
    first, span = bounds[0], bounds[1] - bounds[0]
    return ConfidenceSequence(first + low * span, first + high * span, level, method)


MOST_VOTES = 100_000
"""More votes than this are not worth foretelling."""


@lru_cache(maxsize=65536)
def votes_needed(wins: int, n: int, *, level: float = 0.95, prior: tuple[float, float] = PRIOR) -> int | None:
    """About how many more votes, at the present rate, until the sequence excludes an even split.

    Without votes yet: how many are needed at the least. 0 when it is excluded already, None when the rate is even or
    when more than `MOST_VOTES` would be needed.
    """
    whole = _check.count(n, "n")
    some = _check.count(wins, "wins")
    if some > whole:
        raise UsageError(f"{some} wins of {whole}: more than there are.")
    bar = -math.log(1 - _check.open_share(level, "level"))
    rate = some / whole if whole else 1.0
    a, b = (_check.positive(value, "prior") for value in prior)

    def decided(votes: int) -> bool:
        """Whether the evidence would be enough after `votes` votes at this rate."""
        mixed = log_beta(rate * votes + a, (1 - rate) * votes + b) - log_beta(a, b)
        return mixed + votes * math.log(2) >= bar

    if whole and decided(whole):
        return 0
    if not decided(MOST_VOTES):
        return None
    low, high = whole, MOST_VOTES
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if decided(middle) else (middle, high)
    return high - whole
