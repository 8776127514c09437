"""Numbers as a person reads them, rounded so that what is printed never contradicts what was decided."""

from __future__ import annotations

import math
from collections.abc import Iterable

_MINUS = "−"


def places(values: Iterable[float], against: Iterable[float] = (0.0,), *, most: int = 6, least: int = 0) -> int:
    """The fewest decimals that keep each of `values` on its side of each of `against`."""
    numbers, bars = list(values), list(against)
    hair = 1e-9 * max(abs(number) for number in numbers)
    for decimals in range(least, most):
        if all(_side(rounded(v, decimals), rounded(bar, decimals), 0.0) == _side(v, bar, hair) for v in numbers for bar in bars):
            return decimals
    return most


def _side(value: float, bar: float, hair: float) -> int:
    """-1, 0 or 1 for below, at and above; a difference of a `hair` is rounding, not a side."""
    return 0 if abs(value - bar) <= hair else 1 if value > bar else -1


def rounded(value: float, decimals: int) -> float:
    """`value` with so many decimals, halves away from zero as people round."""
    power = 10.0**decimals
    return math.copysign(math.floor(abs(value) * power * (1 + 1e-12) + 0.5) / power, value)


def number(value: float, decimals: int, *, sign: bool = False) -> str:
    """`value` with so many decimals, and a true minus sign."""
    near = rounded(value, decimals)
    text = f"{abs(near):.{decimals}f}"
    if near == 0:
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
