"""Calls that are refused at the door: a key that is known, and a body that is no call; the ledger has a row of each all the same."""

from __future__ import annotations

import json

from aiohttp import web
from aiohttp.http_exceptions import PayloadEncodingError

from aiplat_lab.core.errors import AiplatError, CallRefused, LedgerError, UsageError
from aiplat_lab.core.ids import new_id
from aiplat_lab.core.types import Attribution, utc_now
from aiplat_lab.gateway._door import MOST_NAME, Caller, Door, attribution
from aiplat_lab.gateway.row import attributed, error_message, error_type

_COUNTING = ("/count_tokens", ":countTokens")


def is_call(method: str, path: str) -> bool:
    """Whether a request would be a call of a model."""
    calling = path.startswith(("/v1/", "/v1beta/")) or path == "/api/calls"
    return method == "POST" and calling and not path.endswith(_COUNTING)


async def note_refused(door: Door, request: web.Request, caller: Caller, error: AiplatError) -> None:
    """Records a call of a known key that was refused before it began, and gives the error its id."""
    if caller.key is None or error.call_id or not is_call(request.method, request.path):
        return
    now = utc_now()
    who = _who(request, caller)
    row = {
        "call_id": new_id(),
        "started_at": now,
        "ended_at": now,
        "operation": "embed" if "mbed" in request.path else "chat",
        "request_model": await _model(request),
        **attributed(who),
        "status": "refused",
        "error_type": error_type(error),
        "error_message": error_message(error),
        "policy": error.policy if isinstance(error, CallRefused) else "wire",
        "attempts": 0,
        "cost_usd": 0,
        "baseline_cost_usd": 0,
        "cache": "off",
    }
    try:
        door.ledger.record("call", row)
    except LedgerError as failed:
        door.incidents.append(f"a refused call could not be recorded: {failed.message}")
        return
    error.call_id = str(row["call_id"])
    door.metrics.refused(str(row["policy"]), error_type(error))
    if door.telemetry is not None:
        door.telemetry.refused(row)


def _who(request: web.Request, caller: Caller) -> Attribution:
    try:
        return attribution(request, caller)
    except UsageError:  # a header of it is what was refused
        return caller.key.attribute(Attribution(surface="http")) if caller.key is not None else Attribution(surface="http")


async def _model(request: web.Request) -> str:
    """The model that was asked, as far as that can be read."""
    named = request.match_info.get("model")
    if named is None:
        try:
            body = json.loads(await request.read())
            named = body.get("model") if isinstance(body, dict) else None
        except (ValueError, RecursionError, PayloadEncodingError, web.RequestPayloadError, web.HTTPException, ConnectionError):
            named = None
    return named if isinstance(named, str) and len(named) <= MOST_NAME else ""
