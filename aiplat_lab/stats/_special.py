"""The few special functions that the statistics need, to about twelve digits, so that SciPy stays out of the core."""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

_NORMAL = NormalDist()
_TINY = 1e-300
_EPS = 1e-16
_STIRLING_FROM = 20.0
_MAX_STEPS = 20_000
_NEARLY_NORMAL = 1e5


def normal_cdf(z: float) -> float:
    """The probability that a standard normal value is at most `z`, accurate in the lower tail."""
    return 0.5 * math.erfc(-z / math.sqrt(2))


def normal_quantile(p: float) -> float:
    """The standard normal value that a share `p` lies below; infinite at 0 and 1."""
    if p <= 0:
        return -math.inf
    if p >= 1:
        return math.inf
    return _NORMAL.inv_cdf(p)


def two_sided_z(level: float) -> float:
    """The normal value that spans `level` around zero: 1.96 for 0.95."""
    return -normal_quantile((1 - level) / 2)


def normal_p(z: float) -> float:
    """The two-sided p-value of a standard normal statistic."""
    return math.erfc(abs(z) / math.sqrt(2))


def _stirling_rest(a: float) -> float:
    return 1 / (12 * a) - 1 / (360 * a**3) + 1 / (1260 * a**5) - 1 / (1680 * a**7)


def log_beta(a: float, b: float) -> float:
    """The logarithm of the beta function, without the cancellation of three `lgamma`s when one argument is large."""
    small, large = min(a, b), max(a, b)
    if large < _STIRLING_FROM:
        return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
    # lgamma(large) - lgamma(large + small), by Stirling's series with the large terms cancelled by hand
    difference = -(large - 0.5) * math.log1p(small / large) - small * math.log(large + small) + small
    return math.lgamma(small) + difference + _stirling_rest(large) - _stirling_rest(large + small)


_log_beta_each = np.frompyfunc(log_beta, 2, 1)


def log_beta_array(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """`log_beta` of each pair."""
    return np.asarray(_log_beta_each(a, b), dtype=np.float64)


def beta_cdf(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function I_x(a, b), by its continued fraction (Lentz)."""
    if x <= 0:
        return 0.0
    if x >= 1:
        return 1.0
    front = math.exp(a * math.log(x) + b * math.log1p(-x) - log_beta(a, b))
    if x < (a + 1) / (a + b + 2):
        return front * _beta_fraction(x, a, b) / a
    return 1 - front * _beta_fraction(1 - x, b, a) / b


def _beta_fraction(x: float, a: float, b: float) -> float:
    c, d = 1.0, 1 - (a + b) * x / (a + 1)
    d = 1 / (d if abs(d) > _TINY else _TINY)
    result = d
    for m in range(1, _MAX_STEPS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1 + term * d
            d = 1 / (d if abs(d) > _TINY else _TINY)
            c = 1 + term / c
            c = c if abs(c) > _TINY else _TINY
            result *= d * c
        if abs(d * c - 1) < _EPS * 4:
            break
    return result


def binomial_upper(k: int, n: int, p: float = 0.5) -> float:
    """The probability of at least `k` successes in `n` trials."""
    if k <= 0:
        return 1.0
    if k > n:
        return 0.0
    if p == 0.5 and n <= 1000:
        return _half_upper(k, n)
    return beta_cdf(p, k, n - k + 1)


def _half_upper(k: int, n: int) -> float:
    """The same for a fair coin, counted in whole numbers and divided once."""
    term = math.comb(n, k)
    total = term
    for i in range(k, n):
        term = term * (n - i) // (i + 1)
        total += term
    return float(total / 2**n)


def t_upper(t: float, df: float) -> float:
    """The probability that Student's t with `df` degrees of freedom exceeds `t`."""
    if t < 0:
        return 1 - t_upper(-t, df)
    square = t * t
    if square < 1:  # the other way would lose the digits of a small t
        return 0.5 * (1 - beta_cdf(square / (df + square), 0.5, df / 2))
    return 0.5 * beta_cdf(df / (df + square), df / 2, 0.5)


@lru_cache(maxsize=4096)
def t_quantile(p: float, df: float) -> float:
    """The value that Student's t with `df` degrees of freedom stays below with probability `p`, to 1e-10 relative."""
    if p == 0.5:
        return 0.0
    if p < 0.5:
        return -t_quantile(1 - p, df)
    if df > _NEARLY_NORMAL:
        return _expanded(normal_quantile(p), df)
    tail = 1 - p
    low, high = 0.0, max(2.0, normal_quantile(p))
    while t_upper(high, df) > tail:
        low, high = high, high * 2
    t = min(max(normal_quantile(p), low), high)
    log_scale = -0.5 * math.log(df) - log_beta(df / 2, 0.5)
    for _ in range(200):
        error = t_upper(t, df) - tail
        low, high = (t, high) if error > 0 else (low, t)
        density = math.exp(log_scale - (df + 1) / 2 * math.log1p(t * t / df))
        step = t + error / density if density > 0 else math.inf
        new = step if low <= step <= high else (low + high) / 2
        if abs(new - t) <= 1e-14 * abs(new):
            return new
        t = new
    return t


def _expanded(z: float, df: float) -> float:
    """The quantile of t for many degrees of freedom, from the normal one (Fisher's expansion)."""
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / df + second / df**2 + third / df**3


def two_sided_t(level: float, df: float) -> float:
    """The value of Student's t that spans `level` around zero."""
    return t_quantile(1 - (1 - level) / 2, df)


def chi2_upper(x: float, df: float) -> float:
    """The probability that chi-square with `df` degrees of freedom exceeds `x`."""
    if x <= 0:
        return 1.0
    if df == 1:
        return math.erfc(math.sqrt(x / 2))
    a, half = df / 2, x / 2
    front = math.exp(a * math.log(half) - half - math.lgamma(a))
    return 1 - front * _gamma_series(half, a) if half < a + 1 else front * _gamma_fraction(half, a)


def _gamma_series(x: float, a: float) -> float:
    term = total = 1 / a
    for n in range(1, _MAX_STEPS):
        term *= x / (a + n)
        total += term
        if term < total * _EPS:
            break
    return total


def _gamma_fraction(x: float, a: float) -> float:
    b = x + 1 - a
    c, d = 1 / _TINY, 1 / b
    result = d
    for i in range(1, _MAX_STEPS):
        term = -i * (i - a)
        b += 2
        d = term * d + b
        d = 1 / (d if abs(d) > _TINY else _TINY)
        c = b + term / c
        c = c if abs(c) > _TINY else _TINY
        result *= d * c
        if abs(d * c - 1) < _EPS * 4:
            break
    return result
