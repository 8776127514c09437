"""Calls that another gateway made, taken into the ledger: by the owner alone, each once, marked as what they are."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from aiohttp import web

from aiplat_lab.core.errors import LedgerError, UsageError
from aiplat_lab.core.ids import is_id
from aiplat_lab.core.types import Json, utc_now
from aiplat_lab.gateway._door import Caller, Door, check_objects, json_reply, read_json
from aiplat_lab.ledger import check_call

MOST_ROWS = 5000
SURFACE = "import"
"""The surface of a call that was imported."""
_COLUMNS = frozenset(
    {"call_id", "started_at", "ended_at", "operation", "team", "project", "cost_centre", "user_id", "key_id", "request_model",
     "response_model", "provider", "region", "status", "error_type", "input_tokens", "cache_read_tokens", "cache_write_tokens",
     "output_tokens", "reasoning_tokens", "cost_usd", "price_version", "latency_s", "time_to_first_token_s", "cache", "stream", "tags"}
)  # fmt: skip
_STATES = ("ok", "error", "refused", "cancelled")
SCHEMAS: Mapping[str, dict[str, Json]] = {
    "/api/import": {
        "type": "object",
        "required": ["rows"],
        "properties": {"rows": {"type": "array", "minItems": 1, "maxItems": MOST_ROWS, "items": {"type": "object"}}},
    }
}
"""What the route's body holds, for the OpenAPI document."""


async def import_calls(door: Door, request: web.Request, caller: Caller) -> web.StreamResponse:
    """`POST /api/import`: records calls that another gateway made; those that are there already are left alone."""
    rows = check_objects((await read_json(request)).get("rows"), "rows")
    if not 0 < len(rows) <= MOST_ROWS:
        raise UsageError(f"the field 'rows' must hold one to {MOST_ROWS} objects")
    taken: dict[str, dict[str, Any]] = {}
    bad: list[dict[str, Json]] = []
    for index, row in enumerate(rows):
        try:
            made = _row(row)
            check_call(made)
        except (UsageError, LedgerError) as error:
            bad.append({"index": index, "why": error.message})
            continue
        taken.setdefault(made["call_id"], made)

    def work() -> list[dict[str, Any]]:
        with door.recording:
            known = {one["call_id"] for one in door.ledger.view_rows("recent_calls", {"call_id": list(taken), "limit": len(taken)})}
            fresh = [one for call_id, one in taken.items() if call_id not in known]
            door.ledger.load_rows((one, {}) for one in fresh)
            return fresh

    added = await door.read(work) if taken else []
    spent = sum((Decimal(str(one.get("cost_usd") or 0)) for one in added), Decimal(0))
    known = len(rows) - len(bad) - len(added)
    return json_reply({"added": len(added), "known": known, "bad": bad, "cost_usd": f"{spent:f}"})


def _row(given: Mapping[str, Json]) -> dict[str, Any]:  # Any: as in `ledger.rows.Row`
    """The row of an imported call.

    Raises:
        UsageError: it is none.
    """
    unknown = given.keys() - _COLUMNS
    if unknown:
        raise UsageError(f"an imported call has no {min(unknown)[:60]!r}")
    row: dict[str, Any] = dict(given)
    if not is_id(str(row.get("call_id"))):
        raise UsageError(f"call_id is {str(row.get('call_id'))[:60]!r}; it must be a UUIDv7")
    for name in ("started_at", "ended_at"):
        row[name] = _time(row.get(name), name)
    if row["started_at"] > utc_now() + timedelta(days=1):
        raise UsageError(f"started_at is {str(given['started_at'])[:40]}, which has not come yet")
    if row.get("status") not in _STATES:
        raise UsageError(f"status is {str(row.get('status'))[:40]!r}; it must be {', '.join(_STATES)}")
    if not isinstance(row.get("tags") or {}, dict):
        raise UsageError("tags must be an object of texts")
    return {**row, "surface": SURFACE, "attempts": 1, "baseline_cost_usd": row.get("cost_usd"), "flags": ["imported"]}


def _time(value: Json, name: str) -> datetime:
    try:
        at = datetime.fromisoformat(str(value))
    except ValueError:
        raise UsageError(f"{name} is {str(value)[:40]!r}; write a time such as 2027-01-31T00:00:00Z") from None
    if at.tzinfo is None:
        raise UsageError(f"{name} is {str(value)[:40]!r}, which names no time zone")
    return at
