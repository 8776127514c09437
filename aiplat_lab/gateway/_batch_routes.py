"""The routes of batches: hand in, list, look, stop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from aiohttp import web

from aiplat_lab.core.errors import AuthRefused, GatewayUnavailable, UnknownCall, UsageError
from aiplat_lab.gateway._door import Caller, Door, json_reply, read_json, wanted
from aiplat_lab.gateway._own_routes import read_request
from aiplat_lab.gateway.batch import Batches
from aiplat_lab.gateway.reading import plain, plain_row


async def submit(door: Door, request: web.Request, caller: Caller) -> web.StreamResponse:
    """`POST /api/batches`: `requests`, a list of requests in our own shape; gives the batches that were made."""
    body = await read_json(request)
    asked = []
    for index, one in enumerate(wanted(body, "requests", list, "a list of requests")):
        if not isinstance(one, dict):
            raise UsageError(f"requests[{index}] must be an object")
        made = read_request(one)
        if caller.key is not None:
            made = replace(made, attribution=caller.key.attribute(made.attribution))
        asked.append(made if made.model else replace(made, model=door.settings.default_model))
    batches = await _batches(door).submit(asked)
    return json_reply({"batches": plain([batch.to_json() for batch in batches])})


async def listed(door: Door, request: web.Request, caller: Caller) -> web.StreamResponse:
    """`GET /api/batches`: every batch, the newest first; a virtual key sees its team's."""
    filters = {} if caller.key is None or caller.reads == "all" else {"team": caller.key.team}
    rows = await door.read(lambda: door.ledger.view_rows("batch_list", filters))
    return json_reply({"rows": [plain_row(row) for row in rows]})


async def read(door: Door, request: web.Request, caller: Caller) -> web.StreamResponse:
    """`GET /api/batches/ID`: its state, and its calls with how they ended."""
    row = await _row(door, request.match_info["id"], caller)
    outcome = await door.read(lambda: door.ledger.view_rows("batch_outcome", {"batch": row["id"]}))
    calls = await door.read(lambda: door.ledger.view_rows("batch_call_list", {"batch": row["id"]}))
    return json_reply({**plain_row(row), "outcome": [plain_row(one) for one in outcome], "call_list": [plain_row(one) for one in calls]})


async def cancel(door: Door, request: web.Request, caller: Caller) -> web.StreamResponse:
    """`POST /api/batches/ID/cancel`: asks the provider to stop; what was answered stays answered."""
    row = await _row(door, request.match_info["id"], caller)
    return json_reply(plain((await _batches(door).cancel(str(row["id"]))).to_json()))


async def _row(door: Door, batch_id: str, caller: Caller) -> Mapping[str, Any]:  # Any: a row's values
    rows = await door.read(lambda: door.ledger.view_rows("batch_list", {"batch": batch_id}))
    if not rows:
        raise UnknownCall(f"there is no batch {batch_id[:60]}; `aiplat batch list` lists them")
    if caller.key is not None and caller.reads != "all" and caller.key.team != (rows[0]["team"] or ""):
        raise AuthRefused("the batch belongs to another team", policy="auth", denied=True)
    return rows[0]


def _batches(door: Door) -> Batches:
    if door.batches is None:
        raise GatewayUnavailable("this gateway keeps no batches")
    return door.batches
