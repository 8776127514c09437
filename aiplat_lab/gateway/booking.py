"""What a call cost, and what it would have cost without cache, routing and cheaper tiers."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from aiplat_lab.core.types import Call, Deployment, Price, Usage
from aiplat_lab.policies.budget import may_have_cost
from aiplat_lab.prices import Prices, cost, reported

_ZERO = Decimal(0)
_MOST_USD = Decimal(10**9)
_BATCH = {"processing": "batch"}
_HEDGE = "hedge"
"""The unit under which a row holds what the answer of a hedge cost beside its own."""


def book(call: Call, *, prices: Prices, first: Deployment | None) -> None:
    """Prices the call by what held when it began; unknown stays unknown, and is flagged `no_usage` or `no_price`.

    Args:
        call: the call, over but for the books.
        prices: every price.
        first: the first deployment behind the requested model, which the baseline is taken of.
    """
    if call.cache == "hit":
        return
    if call.attempts == 0 or (call.response is None and not may_have_cost(call)):
        call.cost_usd = call.baseline_cost_usd = _ZERO
        return
    usage: Usage | None = call.response.usage if call.response is not None else call.state.get("usage")
    if call.deployment is None:
        return
    asked = str(call.request.settings.get("service_tier") or "")
    options = _BATCH if call.state.get("batch_id") else None
    call.price = prices.of(call.deployment, call.started_at, usage=usage, options=options, tier=asked)
    if usage is None:
        if call.response is not None and "no_usage" not in call.response.flags:
            call.flags.append("no_usage")
        return
    call.cost_usd = _cost(usage, call.price)
    told = reported(usage, call.deployment.provider) if call.cost_usd is None else None
    if told is not None:
        usage, call.price, call.cost_usd = told
        call.response = replace(call.response, usage=usage) if call.response is not None else None
    own = call.cost_usd
    if call.state.get("hedge") is not None and call.cost_usd is not None:
        _add_hedge(call, usage, prices=prices)
    if call.cost_usd is None:
        call.flags.append("no_price")
    call.baseline_cost_usd = own if first is None else _baseline(call, usage, own, prices=prices, first=first)


def _add_hedge(call: Call, usage: Usage, *, prices: Prices) -> None:
    """Adds what a second deployment charges that answered at the same time: a unit of the row, so that the row still prices itself."""
    deployment, used = call.state["hedge"]
    also = _cost(used, prices.of(deployment, call.started_at, usage=used))
    call.flags.append("hedge_billed")
    if also is None or call.price is None:
        call.cost_usd = None
        return
    both = replace(usage, other={**usage.other, _HEDGE: 1})
    call.price = replace(call.price, other_usd={**call.price.other_usd, _HEDGE: also})
    call.cost_usd = _cost(both, call.price)
    if call.response is not None:
        call.response = replace(call.response, usage=both)
    else:
        call.state["usage"] = both


def _baseline(call: Call, usage: Usage, own: Decimal | None, *, prices: Prices, first: Deployment) -> Decimal | None:
    """What the same usage costs at the first deployment: in the standard tier, or in a dearer one that was paid."""
    tier = call.price.service_tier if call.price is not None else ""
    if first == call.deployment and not tier:
        return own
    standard = _cost(usage, _in_tier(prices, first, call, usage, "default"))
    if not tier:
        return standard
    paid = own if first == call.deployment else _cost(usage, _in_tier(prices, first, call, usage, tier))
    return standard if standard is None or paid is None else max(standard, paid)


def _in_tier(prices: Prices, deployment: Deployment, call: Call, usage: Usage, tier: str) -> Price | None:
    return prices.of(deployment, call.started_at, usage=replace(usage, service_tier=tier))


def _cost(usage: Usage, price: Price | None) -> Decimal | None:
    """The cost; None without a price, and where it is more than a row can hold, which no call is."""
    if price is None:
        return None
    found = cost(usage, price)
    return found if found < _MOST_USD else None
