"""What a call cost, and what it would have cost without cache, routing and cheaper tiers."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from aiplat_lab.core.types import Call, Deployment, Price, Usage
from aiplat_lab.policies.budget import may_have_cost
from aiplat_lab.prices import Prices, cost, reported

_ZERO = Decimal(0)
_MOST_USD = Decimal(10**9)
HEDGED = "hedged_calls"
"""The unit under which a row holds what the answer of a hedge cost beside its own."""
_BATCH = {"processing": "batch"}


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
    if call.state.get("hedge") is not None:
        usage = _with_hedge(call, usage, prices)
    call.cost_usd = _cost(usage, call.price)
    told = reported(usage, call.deployment.provider) if call.cost_usd is None else None
    if told is not None:
        call.price, call.cost_usd = told.price, told.cost_usd
        call.response = replace(call.response, usage=told.usage) if call.response is not None else None
    if call.cost_usd is None:
        call.flags.append("no_price")
    call.baseline_cost_usd = _baseline(call, usage, prices=prices, first=first)


def _with_hedge(call: Call, usage: Usage, prices: Prices) -> Usage:
    """The usage with the answer of a second deployment in it that came at the same time: both are paid, and the row says so."""
    deployment, also = call.state["hedge"]
    paid = _cost(also, prices.of(deployment, call.started_at, usage=also))
    call.flags.append("hedge_billed")
    if call.price is None or paid is None:
        call.price = None
        return usage
    call.price = replace(call.price, other_usd={**call.price.other_usd, HEDGED: paid})
    usage = replace(usage, other={**usage.other, HEDGED: 1})
    if call.response is not None:
        call.response = replace(call.response, usage=usage)
    return usage


def _baseline(call: Call, usage: Usage, *, prices: Prices, first: Deployment | None) -> Decimal | None:
    """What the same usage costs at the first deployment: in the standard tier, or in a dearer one that was paid."""
    tier = call.price.service_tier if call.price is not None else ""
    if first is None or (first == call.deployment and not tier):
        return call.cost_usd
    standard = _cost(usage, _in_tier(prices, first, call, usage, "default"))
    if not tier:
        return standard
    paid = call.cost_usd if first == call.deployment else _cost(usage, _in_tier(prices, first, call, usage, tier))
    return standard if standard is None or paid is None else max(standard, paid)


def _in_tier(prices: Prices, deployment: Deployment, call: Call, usage: Usage, tier: str) -> Price | None:
    return prices.of(deployment, call.started_at, usage=replace(usage, service_tier=tier))


def _cost(usage: Usage, price: Price | None) -> Decimal | None:
    """The cost; None without a price, and where it is more than a row can hold, which no call is."""
    if price is None:
        return None
    found = cost(usage, price)
    return found if found < _MOST_USD else None
