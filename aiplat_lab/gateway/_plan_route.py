"""What notebooks ask before they spend: `POST /api/plan`, and the budgets that they set for themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from typing import Any

from aiohttp import web

from aiplat_lab.core.errors import AiplatError, UsageError
from aiplat_lab.core.types import Attribution, Json
from aiplat_lab.gateway._door import Caller, Door, Fields, check_fields, json_reply, read_json
from aiplat_lab.gateway._own_routes import read_request, schema_of
from aiplat_lab.gateway.reading import plain
from aiplat_lab.policies import PERIODS

MOST = 1_000
"""So many requests are planned at once."""
SCHEMAS: Mapping[str, dict[str, Json]] = {
    "/api/plan": schema_of(
        {"requests": (list, "a list of requests")}, "requests", max_usd={"type": "string", "description": "US dollars, such as 0.05"}
    ),
    "/api/budgets/notebook": schema_of(
        {name: (str, "a text") for name in ("notebook", "also", "session", "limit_usd")}, period={"enum": list(PERIODS)}
    ),
}
"""What the route's body holds."""


_BUDGET: Fields = {
    "notebook": (str, "the notebook's path"),
    "also": (str, "another path of it"),
    "session": (str, "the name of a session"),
    "period": (str, "day, week, month or total"),
    "limit_usd": (str, "US dollars such as 2.50"),
    "attribution": (dict, "an object"),
}
_LONGEST = 1_000
_LEAST_USD, _MOST_USD = Decimal("1e-12"), 10**9


async def plan(door: Door, request: web.Request, caller: Caller) -> web.StreamResponse:
    """`requests`, a list in our own shape, and perhaps `max_usd`; gives one plan for each, in their order. Nothing is sent.

    A plan has `state` (`replay`, `live`, `refused` or `error`), `deployments`, tokens, `low_usd` to `high_usd`, each policy's
    verdict, and the request as it would be sent.
    """
    body = await read_json(request)
    given = body.get("requests")
    if not isinstance(given, list):
        raise UsageError("the field 'requests' must be a list of requests")
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


def _amount(given: Json, *, name: str = "max_usd") -> Decimal | None:
    if given is None:
        return None
    try:
        amount = Decimal(str(given))
    except InvalidOperation:
        amount = Decimal(-1)
    if not amount.is_finite() or not (amount == 0 or _LEAST_USD <= amount < _MOST_USD):
        raise UsageError(f'the field {name!r} must be US dollars such as "0.05", not {str(given)[:40]!r}')
    return amount


async def notebook_budget(door: Door, request: web.Request, caller: Caller) -> web.StreamResponse:
    """`POST /api/budgets/notebook`: sets, changes or ends a hard budget of a notebook or of a session; gives what its calls fall under.

    `limit_usd` sets one, null ends it, and without it nothing changes. What a virtual key sets holds its own calls alone. A notebook
    has one budget for each period. Calls that are under way when one is set were let in without it.
    """
    body = await read_json(request)
    check_fields(body, _BUDGET)
    who = Attribution.from_json(body.get("attribution") or {})
    who = who if caller.key is None else caller.key.attribute(who)
    if "limit_usd" in body:
        row = _budget_row(body, key="" if caller.owner or caller.key is None else caller.key.id)
        await door.read(lambda: door.ledger.record("notebook_budget", row))
    return json_reply({"budgets": plain(door.gateway.budget.counters_of(who))})


def _budget_row(body: Mapping[str, Json], *, key: str) -> dict[str, Json]:
    """The record of a budget.

    Raises:
        UsageError: a field is not what it must be.
    """
    notebook, session = str(body.get("notebook") or ""), str(body.get("session") or "")
    if bool(notebook) is bool(session) or len(notebook) + len(session) > _LONGEST:
        raise UsageError("a budget is one of a notebook or one of a session: give 'notebook' or 'session'")
    period = str(body.get("period") or ("total" if session else "day"))
    if period not in PERIODS:
        raise UsageError(f"the field 'period' must be one of {', '.join(PERIODS)}, not {period[:40]!r}")
    limit = _amount(body["limit_usd"], name="limit_usd")
    return {
        "id": " ".join(filter(None, (period, key, notebook or f"session={session}"))),
        "notebook": notebook,
        "also": str(body.get("also") or "")[:_LONGEST],
        "tag": f"session={session}" if session else "",
        "key": key,
        "period": period,
        "limit_usd": None if limit is None else f"{limit:f}",
    }
