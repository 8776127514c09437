"""How many samples are needed, and what a given number can show.

All follow one line (Miller 2024, arXiv 2411.00640): n = (z of the level + z of the power)² × variance of the difference
of one sample / effect².
"""

from __future__ import annotations

import math

from aiplat_lab.core.errors import UsageError
from aiplat_lab.stats import _check
from aiplat_lab.stats._special import normal_quantile, two_sided_z
from aiplat_lab.stats.paired import mcnemar

POWER = 0.8
"""The usual chance of seeing a difference that is there."""


def z_sum(level: float = 0.95, power: float = POWER) -> float:
    """How many standard errors a true difference must measure to be seen with chance `power`: 2.80 for 0.95 and 0.8."""
    return two_sided_z(_check.open_share(level, "level")) + normal_quantile(_check.open_share(power, "power"))


def fewest_to_decide(level: float = 0.95) -> int:
    """The least number of samples, all changed the same way, at which an exact paired test can reject at all: 6 for 0.95."""
    return math.ceil(1 - math.log2(1 - _check.open_share(level, "level")) - 1e-12)


def _one_variance(variance: float | None, from_rate: float | None, name: str) -> float:
    if (variance is None) == (from_rate is None):
        raise UsageError(f"Give either {name} (pass and fail) or variance (graded scores).")
    found = variance if from_rate is None else from_rate
    if found is None or not (found >= 0 and math.isfinite(found)):
        raise UsageError(f"variance must be a number of at least zero, got {found}.")
    return found


def _paired_variance(discordance: float | None, variance: float | None) -> float:
    return _one_variance(variance, None if discordance is None else _check.share(discordance, "discordance"), "discordance")


def _unpaired_variance(rate: float | None, variance: float | None) -> float:
    spread = None if rate is None else _check.share(rate, "rate") * (1 - rate)
    return 2 * _one_variance(variance, spread, "rate")


def paired_effect(
    n: int, *, discordance: float | None = None, variance: float | None = None, level: float = 0.95, power: float = POWER
) -> float:
    """The smallest true difference that `n` samples, run on both sides, show with chance `power`.

    Args:
        discordance: for pass and fail, the share of samples on which the sides disagree.
        variance: for graded scores, the variance of the difference of one sample.
    """
    whole = _check.count(n, "n", least=1)
    return z_sum(level, power) * math.sqrt(_paired_variance(discordance, variance) / whole)


def unpaired_effect(
    n: int, *, rate: float | None = None, variance: float | None = None, level: float = 0.95, power: float = POWER
) -> float:
    """The smallest true difference that `n` samples on each side, different ones, show with chance `power`.

    Args:
        rate: for pass and fail, the pass rate.
        variance: for graded scores, the variance of one score.
    """
    whole = _check.count(n, "n", least=1)
    return z_sum(level, power) * math.sqrt(_unpaired_variance(rate, variance) / whole)


def paired_n(
    effect: float, *, discordance: float | None = None, variance: float | None = None, level: float = 0.95, power: float = POWER
) -> int:
    """How many samples, run on both sides, show a true difference of `effect` with chance `power`."""
    return _needed(_paired_variance(discordance, variance), effect, level, power)


def unpaired_n(
    effect: float, *, rate: float | None = None, variance: float | None = None, level: float = 0.95, power: float = POWER
) -> int:
    """How many samples on each side, different ones, show a true difference of `effect` with chance `power`."""
    return _needed(_unpaired_variance(rate, variance), effect, level, power)


def repeated_n(
    effect: float,
    *,
    between: float,
    within_a: float = 0.0,
    within_b: float = 0.0,
    repeats_a: int = 1,
    repeats_b: int = 1,
    level: float = 0.95,
    power: float = POWER,
) -> int:
    """How many samples are needed when each is asked several times (Miller's formula).

    Args:
        between: the variance, over samples, of the difference of the two expected scores (ω²).
        within_a: the mean variance of A's score on one sample from one answer to the next (σ²).
        within_b: the same for B.
        repeats_a: answers of A for each sample.
        repeats_b: answers of B for each sample.
    """
    for name, value in (("between", between), ("within_a", within_a), ("within_b", within_b)):
        if not (value >= 0 and math.isfinite(value)):
            raise UsageError(f"{name} must be a variance of at least zero, got {value}.")
    noise = within_a / _check.count(repeats_a, "repeats_a", least=1) + within_b / _check.count(repeats_b, "repeats_b", least=1)
    return _needed(between + noise, effect, level, power)


def _needed(variance: float, effect: float, level: float, power: float) -> int:
    size = _check.positive(abs(effect), "effect")
    return max(1, math.ceil(z_sum(level, power) ** 2 * variance / (size * size) - 1e-9))


def mcnemar_power(n: int, *, only_a: float, only_b: float, level: float = 0.95) -> float:
    """The exact chance that McNemar's exact test on `n` samples rejects, in either direction.

    Args:
        only_a: the true share of samples that A alone passes.
        only_b: the true share that B alone passes.
    """
    whole, alpha = _check.count(n, "n", least=1), 1 - _check.open_share(level, "level")
    both = _check.share(only_a, "only_a") + _check.share(only_b, "only_b")
    _check.share(both, "only_a + only_b")
    if both == 0:
        return 0.0
    chance = 0.0
    for m in range(1, whole + 1):
        here = _binomial(m, whole, both)
        if here > 1e-15:
            chance += here * sum(_binomial(b, m, only_b / both) for b in range(m + 1) if mcnemar(m - b, b).p_exact <= alpha)
    return min(1.0, chance)


def _binomial(k: int, n: int, p: float) -> float:
    if p in (0.0, 1.0):
        return float(k == round(n * p))
    ways = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(ways + k * math.log(p) + (n - k) * math.log1p(-p))
