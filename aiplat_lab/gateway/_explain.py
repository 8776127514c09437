"""Why a call goes where it goes, for people: every deployment of its model, in the order of the tries or with why it is left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aiplat_lab.core.settings import Settings
from aiplat_lab.core.types import Call, Deployment, Price, Usage
from aiplat_lab.gateway import _strategy
from aiplat_lab.gateway.route import Route
from aiplat_lab.prices import Prices, cost


def explained(call: Call, listed: Sequence[Deployment], *, route: Route, prices: Prices, settings: Settings) -> dict[str, Any]:  # Any: JSON
    """The order of a call that was not begun.

    Args:
        call: the call, after the rules of who may ask whom; its deployments are those that these leave.
        listed: all deployments of its model.
        route: the route of the gateway.
        prices: the prices.
        settings: the settings.

    Raises:
        AiplatError: no deployment can answer it.
    """
    allowed = {one.name for one in call.deployments}
    order, left = route.orders.explain(call)
    why = {one.deployment.name: one.why for one in left}
    into = int(call.state.get("input_tokens") or _strategy.input_tokens(call.request))
    out = _strategy.output_tokens(call.request, round(route.orders.usual_output_tokens(call.request.model)))
    model = settings.models.get(call.request.model)
    rows = []
    rest = [one for one in listed if one.name not in {kept.name for kept in order.deployments}]
    for place, one in enumerate((*order.deployments, *rest), 1):
        used = place <= len(order.deployments)
        reason = order.figures.get(one.name, "")
        if not used:
            reason = why.get(one.name) or ("the rule leaves it out" if one.name in allowed else _not_allowed(one))
        breaker, wait_s = route.standing(one)
        usage = Usage(input_tokens=into, output_tokens=out)
        price = prices.of(one, call.started_at, usage=usage)
        rows.append(
            {
                "try": place if used else None,
                "deployment": one.name,
                "region": one.region,
                "why": reason,
                "breaker": breaker,
                "wait_s": wait_s,
                "estimate_usd": None if price is None else f"{cost(usage, price):f}",
            }
        )
    return {
        "model": call.request.model,
        "strategy": model.strategy if model is not None else "ordered",
        "reason": order.reason or "as they are listed",
        "input_tokens": into,
        "output_tokens": out,
        "deployments": rows,
    }


def _not_allowed(deployment: Deployment) -> str:
    return f"its region ({deployment.region or 'unknown'}) is not allowed here"


def described(deployment: Deployment, price: Price | None, standing: tuple[str, float]) -> dict[str, Any]:  # Any: JSON
    """A deployment for people.

    Args:
        deployment: it.
        price: what it costs now, where that is known.
        standing: the state of its breaker, and the seconds until its provider takes another call.
    """
    return {
        "provider": deployment.provider,
        "model": deployment.model,
        "region": deployment.region,
        "input_usd_per_mtok": str(price.input_usd_per_mtok) if price else None,
        "output_usd_per_mtok": str(price.output_usd_per_mtok) if price else None,
        "price_version": price.version if price else None,
        "max_output_tokens": deployment.max_output_tokens,
        "context_tokens": deployment.context_tokens,
        "breaker": standing[0],
        "wait_s": standing[1],
    }
