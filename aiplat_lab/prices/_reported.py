"""A cost that a provider reports, for calls whose price no book knows."""

from __future__ import annotations

from dataclasses import replace
from decimal import ROUND_HALF_EVEN, Decimal
from typing import NamedTuple

from aiplat_lab.core.types import Price, Usage
from aiplat_lab.prices._cost import COST_PLACES

UNIT = "reported_nano_usd"
"""The unit in which a reported cost stands among a call's other units: a thousand-millionth of a US dollar, the ledger's last place."""
_ONE = Decimal(1).scaleb(-COST_PLACES)
_ZERO = Decimal(0)


class Reported(NamedTuple):
    """A reported cost as a row keeps it: as units with a price, so that the row can be priced again from itself."""

    usage: Usage
    price: Price
    cost_usd: Decimal


def reported(usage: Usage, name: str) -> Reported | None:
    """What a call cost by its provider's word; None where it says nothing.

    Args:
        usage: the call's usage.
        name: the provider's name, which stands in the price's version.
    """
    if usage.reported_usd is None:
        return None
    count = int(usage.reported_usd.quantize(_ONE, rounding=ROUND_HALF_EVEN).scaleb(COST_PLACES))
    price = Price(version=f"reported by {name}", input_usd_per_mtok=_ZERO, output_usd_per_mtok=_ZERO, other_usd={UNIT: _ONE})
    return Reported(replace(usage, other={UNIT: count}), price, count * _ONE)
