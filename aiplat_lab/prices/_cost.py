"""Tokens times price."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal

from aiplat_lab.core.types import Price, Usage

COST_PLACES = 9
"""Decimal places of a cost, as the ledger keeps them."""

_EXACT = Context(prec=60, rounding=ROUND_HALF_EVEN)
_QUANTUM = Decimal(1).scaleb(-COST_PLACES)
_MILLIONTH = Decimal(1).scaleb(-6)


def cost(usage: Usage, price: Price) -> Decimal:
    """What `usage` costs in US dollars, exact and then rounded once to nine places.

    A class without a price of its own costs what its kind costs: cached and written input as fresh input, reasoning
    as output.
    """
    fresh, output = price.input_usd_per_mtok, price.output_usd_per_mtok
    total = Decimal(0)
    for tokens, unit in (
        (usage.input_tokens, fresh),
        (usage.cache_read_tokens, _own(price.cache_read_usd_per_mtok, fresh)),
        (usage.cache_write_tokens, _own(price.cache_write_usd_per_mtok, fresh)),
        (usage.output_tokens, output),
        (usage.reasoning_tokens, _own(price.reasoning_usd_per_mtok, output)),
    ):
        if tokens:
            total = _EXACT.fma(Decimal(tokens), unit, total)
    return _EXACT.quantize(_EXACT.multiply(total, _MILLIONTH), _QUANTUM)


def _own(price: Decimal | None, other: Decimal) -> Decimal:
    return other if price is None else price
