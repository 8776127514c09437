"""Units times prices."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any

from aiplat_lab.core.types import TOKEN_CLASSES, TOKEN_PARTS, Price, Usage

COST_PLACES = 9
"""Decimal places of a cost and of a price of a million tokens, as the ledger keeps them."""
UNIT_PLACES = 18
"""Decimal places of the price of any other unit, as the ledger keeps them."""

_EXACT = Context(prec=100, rounding=ROUND_HALF_EVEN)
_QUANTUM = Decimal(1).scaleb(-COST_PLACES)
_UNIT_QUANTUM = Decimal(1).scaleb(-UNIT_PLACES)
_MILLIONTH = Decimal(1).scaleb(-6)
_HOUR = "cache_write_1h_usd_per_mtok"
_DISCOUNT = "discount"
NOT_UNITS = frozenset({_HOUR, _DISCOUNT})
"""Names that stand in a row's `other_prices_usd` beside the units."""


def cost(usage: Usage, price: Price) -> Decimal:
    """What `usage` costs in US dollars, exact and then rounded once to nine places.

    A class without a price of its own costs what its kind costs: cached and written input as fresh input, what is kept for an
    hour as other writes, reasoning as output. A part of a class (sound, pictures) with a price of its own is taken out of it.
    A price of requests is paid once a call, unless the usage says how often.
    """
    fresh, output = price.input_usd_per_mtok, price.output_usd_per_mtok
    read, written, thought = usage.cache_read_tokens, usage.cache_write_tokens, usage.reasoning_tokens
    into, out, total = usage.input_tokens, usage.output_tokens, Decimal(0)
    extra = Decimal(0)
    if price.other_usd:
        for unit, usd in price.other_usd.items():
            number = usage.other.get(unit, 0) or (1 if unit == "requests" else 0)
            if number and unit not in TOKEN_PARTS:
                extra = _EXACT.fma(Decimal(number), usd, extra)
        if usage.other:
            left, extra = _parts(usage, price, extra)
            into, read, out = left["input_tokens"], left["cache_read_tokens"], left["output_tokens"]
    if into:
        total = _EXACT.fma(Decimal(into), fresh, total)
    if read:
        total = _EXACT.fma(Decimal(read), _own(price.cache_read_usd_per_mtok, fresh), total)
    if written:
        total = _written(usage, price, total)
    if out:
        total = _EXACT.fma(Decimal(out), output, total)
    if thought:
        total = _EXACT.fma(Decimal(thought), _own(price.reasoning_usd_per_mtok, output), total)
    return _EXACT.quantize(_EXACT.fma(total, _MILLIONTH, extra), _QUANTUM)


def _parts(usage: Usage, price: Price, extra: Decimal) -> tuple[dict[str, int], Decimal]:
    """What is left of each class without its parts that are priced apart, and `extra` with them; no part is more than its class."""
    left = {whole: getattr(usage, whole) for whole in TOKEN_PARTS.values()}
    for unit, whole in TOKEN_PARTS.items():
        usd, number = price.other_usd.get(unit), min(usage.other.get(unit, 0), left[whole])
        if usd is not None and number:
            left[whole] -= number
            extra = _EXACT.fma(Decimal(number), usd, extra)
    return left, extra


def _written(usage: Usage, price: Price, total: Decimal) -> Decimal:
    """`total` with what was written to the provider's cache, for minutes and for an hour."""
    short = _own(price.cache_write_usd_per_mtok, price.input_usd_per_mtok)
    hour = min(usage.cache_write_1h_tokens, usage.cache_write_tokens)
    total = _EXACT.fma(Decimal(usage.cache_write_tokens - hour), short, total)
    return _EXACT.fma(Decimal(hour), _own(price.cache_write_1h_usd_per_mtok, short), total)


def _own(price: Decimal | None, other: Decimal) -> Decimal:
    return other if price is None else price


def unpriced_units(usage: Usage, price: Price) -> tuple[str, ...]:
    """The units of `usage` that are paid for and have no price here; parts of tokens cost what their class costs."""
    return tuple(
        unit
        for unit, number in usage.other.items()
        if number and unit not in price.other_usd and unit not in TOKEN_PARTS and unit != "requests"
    )


def per_mtok(usd: Decimal) -> Decimal:
    """A price of a million tokens with as many decimals as a row keeps."""
    return _fitted(usd, COST_PLACES, _QUANTUM)


def per_unit(usd: Decimal) -> Decimal:
    """A price of one other unit with as many decimals as a row keeps."""
    return _fitted(usd, UNIT_PLACES, _UNIT_QUANTUM)


def _fitted(usd: Decimal, places: int, quantum: Decimal) -> Decimal:
    exponent = usd.as_tuple().exponent
    return usd if isinstance(exponent, int) and exponent >= -places else _EXACT.quantize(usd, quantum)


def reprice(row: Mapping[str, Any]) -> Decimal | None:  # Any: a row's values, or their JSON
    """What a row of `calls` costs by its own units and unit prices; None where it holds no prices or no count of tokens, or was
    answered from the cache.

    Raises:
        ValueError, ArithmeticError: a value is not a number.
    """
    if (
        row.get("cache") == "hit"
        or row.get("input_usd_per_mtok") is None
        or (row.get("input_tokens") is None and row.get("output_tokens") is None)
    ):
        return None
    other = {str(unit): int(number) for unit, number in (row.get("other_units") or {}).items()}
    prices = {str(unit): Decimal(str(usd)) for unit, usd in (row.get("other_prices_usd") or {}).items()}
    usage = Usage(
        **{name: int(row.get(name) or 0) for name in TOKEN_CLASSES},  # type: ignore[arg-type]  # mypy sees one type for all fields
        cache_write_1h_tokens=other.pop("cache_write_1h_tokens", 0),
        other=other,
    )
    price = Price(
        version=str(row.get("price_version") or ""),
        input_usd_per_mtok=Decimal(str(row["input_usd_per_mtok"])),
        output_usd_per_mtok=_decimal(row.get("output_usd_per_mtok")) or Decimal(0),
        cache_read_usd_per_mtok=_decimal(row.get("cache_read_usd_per_mtok")),
        cache_write_usd_per_mtok=_decimal(row.get("cache_write_usd_per_mtok")),
        reasoning_usd_per_mtok=_decimal(row.get("reasoning_usd_per_mtok")),
        cache_write_1h_usd_per_mtok=prices.get(_HOUR),
        other_usd={unit: usd for unit, usd in prices.items() if unit not in NOT_UNITS},
    )
    return cost(usage, price)


def _decimal(value: Any) -> Decimal | None:
    return None if value is None else Decimal(str(value))
