"""`POST /api/plan`: what would become of requests, before any is sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from typing import Any

from aiohttp import web

from aiplat_lab.core.errors import AiplatError, UsageError
from aiplat_lab.core.types import Json
from aiplat_lab.gateway._door import Caller, Door, json_reply, read_json, wanted
from aiplat_lab.gateway._own_routes import read_request, schema_of
from aiplat_lab.gateway.reading import plain

MOST = 1_000
"""So many requests are planned at once."""
SCHEMAS: Mapping[str, dict[str, Json]] = {
    "/api/plan": schema_of(
        {"requests": (list, "a list of requests")}, "requests", max_usd={"type": "string", "description": "US dollars, such as 0.05"}
    )
}
"""What the route's body holds."""


async def plan(door: Door, request: web.Request, caller: Caller) -> web.StreamResponse:
    """`requests`, a list in our own shape, and perhaps `max_usd`; gives one plan for each, in their order. Nothing is sent.

    A plan has `state` (`replay`, `live`, `refused` or `error`), `deployments`, tokens, `low_usd` to `high_usd`, each policy's
    verdict, and the request as it would be sent.
    """
    body = await read_json(request)
    given = wanted(body, "requests", list, "a list of requests")
    if len(given) > MOST:
        raise UsageError(f"{len(given)} requests are too many for one plan; send up to {MOST}")
    max_usd = _amount(body.get("max_usd"))
    return json_reply({"plans": [await _one(door, caller, index, one, max_usd) for index, one in enumerate(given)]})


async def _one(door: Door, caller: Caller, index: int, given: Json, max_usd: Decimal | None) -> dict[str, Any]:  # Any: JSON
    """The plan of one request; what is wrong with it stands in its place, so that the others have theirs."""
    try:
        if not isinstance(given, dict):
            raise UsageError(f"requests[{index}] must be an object")
        asked = read_request(given)
        asked = asked if asked.model else replace(asked, model=door.settings.default_model)
        if caller.key is not None:
            asked = replace(asked, attribution=caller.key.attribute(asked.attribution))
        found: dict[str, Any] = plain(await door.gateway.plan(asked, max_usd=max_usd))
    except AiplatError as error:
        return {"state": "error", "error": plain(error.to_wire())}
    return found


def _amount(given: Json) -> Decimal | None:
    if given is None:
        return None
    try:
        amount = Decimal(str(given))
    except InvalidOperation:
        amount = Decimal(-1)
    if not amount.is_finite() or amount < 0:
        raise UsageError(f"the field 'max_usd' must be US dollars such as \"0.05\", not {str(given)[:40]!r}")
    return amount
