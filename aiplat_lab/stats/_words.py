"""Numbers as a person reads them, rounded so that what is printed never contradicts what was decided."""

from __future__ import annotations

import math
from collections.abc import Iterable

_MINUS = "−"


def places(values: Iterable[float], against: Iterable[float] = (0.0,), *, most: int = 6, least: int = 0) -> int:
    """The fewest decimals that keep each of `values` on its side of each of `against`."""
    numbers, bars = list(values), list(against)
    for decimals in range(least, most):
        if all(_side(round(v, decimals), round(bar, decimals)) == _side(v, bar) for v in numbers for bar in bars):
            return decimals
    return most


def _side(value: float, bar: float) -> int:
    return (value > bar) - (value < bar)


def number(value: float, decimals: int, *, sign: bool = False) -> str:
    """`value` with so many decimals, and a true minus sign."""
    text = f"{abs(round(value, decimals)) + 0.0:.{decimals}f}"
    if round(value, decimals) == 0:
        return text
    return (_MINUS if value < 0 else "+" if sign else "") + text


def brief(value: float) -> str:
    """A size to two digits, without a sign and without idle zeros: `7.5`, `13`, `0.075`, `1,300`."""
    if value == 0:
        return "0"
    decimals = max(0, 1 - math.floor(math.log10(abs(value))))
    text = f"{abs(round(value, decimals)):,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def p_value(p: float, alpha: float) -> str:
    """`= 0.031` or `< 0.001`, with enough digits to stand on its side of `alpha`."""
    if p < 0.001 and alpha >= 0.001:
        return "< 0.001"
    if p < 1e-6:
        return "< 0.000001"
    decimals = 2 if p >= 0.095 else 3
    while decimals < 6 and ((round(p, decimals) <= alpha) != (p <= alpha) or round(p, decimals) == 0):
        decimals += 1
    return f"= {p:.{decimals}f}"


def percent(level: float) -> str:
    """`95 %`."""
    return f"{100 * level:.6g} %"


def about(n: int) -> str:
    """A whole number to two digits, as an estimate is told: `1,300`."""
    if n < 20:
        return str(n)
    step = 10 ** (int(math.log10(n)) - 1)
    return f"{math.ceil(n / step) * step:,}"


def plural(n: int, one: str, more: str = "") -> str:
    """`1 sample`, `1,200 samples`."""
    return f"{n:,} {one if n == 1 else more or one + 's'}"
