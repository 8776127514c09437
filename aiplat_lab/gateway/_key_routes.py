"""Our own routes for virtual keys: make, list, rotate, revoke.

Whoever holds a maintainer's key does so for the keys of its own team alone, and gives none more than its own key has.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from aiohttp import web

from aiplat_lab.core.errors import AuthRefused, UsageError, did_you_mean
from aiplat_lab.core.times import period_start, span
from aiplat_lab.core.types import Json, utc_now
from aiplat_lab.gateway._door import Caller, Door, Fields, check_fields, json_reply, read_json
from aiplat_lab.gateway._own_routes import schema_of
from aiplat_lab.gateway.reading import plain
from aiplat_lab.policies import Key

_KEY: Fields = {
    "models": (list, "a list of names of models"),
    "limit_usd": (str | int | float, "US dollars, such as 50"),
    "rpm": (int, "a whole number of requests a minute"),
    "tpm": (int, "a whole number of tokens a minute"),
    "parallel": (int, "a whole number of calls at once"),
    **{name: (str, "a text") for name in ("name", "team", "project", "user_id", "role", "limit_period", "expires_at")},
}
_ROTATE: Fields = {"overlap": (str, "a length of time such as 24h")}
SCHEMAS: Mapping[str, dict[str, Json]] = {"/api/keys": schema_of(_KEY), "/api/keys/{id}/rotate": schema_of(_ROTATE)}
"""What the routes' bodies hold, for the OpenAPI document."""
_KEPT_BY_MAINTAINERS = ("member", "maintainer")
_OVERLAP = "24h"


async def create_key(door: Door, request: web.Request, caller: Caller) -> web.StreamResponse:
    """`POST /api/keys`: makes a virtual key; `key` is shown once."""
    body = await read_json(request)
    near = did_you_mean(next((name for name in body if name not in _KEY), ""), _KEY)
    for name in body:
        if name not in _KEY:
            raise UsageError(f"a key has no field {name[:40]!r}.{near}")
    check_fields(body, _KEY)
    about = {name: str(body.get(name) or "") for name in ("name", "team", "project", "user_id")}
    role = str(body.get("role") or "member")
    models = _models(door, body.get("models") or ())
    if caller.key is not None and not caller.owner:
        about, models = _within(caller.key, about, role, models)
    project = door.settings.projects.get(about["project"])
    made = door.gateway.keys.create(
        **{**about, "team": about["team"] or (project.team if project else "")},
        models=models,
        expires_at=_time(body.get("expires_at")),
        role=role,
        limit_usd=_usd(body.get("limit_usd")),
        limit_period=str(body.get("limit_period") or "total"),
        rpm=body.get("rpm"),
        tpm=body.get("tpm"),
        parallel=body.get("parallel"),
    )
    return json_reply({"key": made.text, **made.key.to_json()})


async def list_keys(door: Door, request: web.Request, caller: Caller) -> web.StreamResponse:
    """`GET /api/keys`: the virtual keys with state, last use and spend, without the keys themselves and their hashes."""
    ring, now, zone = door.gateway.keys, utc_now(), door.settings.time_zone
    keys = [key for key in ring.all() if caller.reads == "all" or (caller.key is not None and key.team == caller.key.team)]
    periods = {key.limit_period for key in keys if key.limit_usd is not None} | {"total"}

    def work() -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        used = {row["key_id"]: row["last_at"] for row in door.ledger.view_rows("key_use", {})}
        spent = {period: _spent(door, _begin(period, now, zone)) for period in periods}
        return used, spent

    used, spent = await door.read(work)
    rows = []
    for key in keys:
        last = max(filter(None, (ring.last_used.get(key.id), used.get(key.id))), default=None)
        period = key.limit_period if key.limit_usd is not None else "total"
        rows.append(
            {
                **key.to_json(),
                "state": ring.state(key, at=now),
                "last_used_at": plain(last),
                "spent_usd": plain(spent[period].get(key.id, Decimal(0))),
            }
        )
    return json_reply({"rows": rows})


async def rotate_key(door: Door, request: web.Request, caller: Caller) -> web.StreamResponse:
    """`POST /api/keys/ID/rotate`: a new key with the same rights, shown once; the old one ends after the overlap."""
    body = await read_json(request)
    check_fields(body, _ROTATE)
    text = str(body.get("overlap") or _OVERLAP)
    overlap = timedelta() if text.strip() == "0" else span(text)
    old = _own(door, request.match_info["id"], caller)
    made = door.gateway.keys.rotate(old.id, overlap=overlap)
    ends = door.gateway.keys.one(old.id).to_json()["expires_at"]
    return json_reply({"key": made.text, **made.key.to_json(), "old_ends_at": ends})


async def revoke_key(door: Door, request: web.Request, caller: Caller) -> web.StreamResponse:
    """`POST /api/keys/ID/revoke`: by id, name or last four characters."""
    return json_reply(door.gateway.keys.revoke(_own(door, request.match_info["id"], caller).id).to_json())


# --- what a maintainer may --------------------------------------------------------------------------------------------


def _own(door: Door, text: str, caller: Caller) -> Key:
    """The key that the caller means and may change.

    Raises:
        UsageError: there is none, or the text means several.
        AuthRefused: it is not one of the caller's team, or its role is above the caller's.
    """
    key = door.gateway.keys.one(text)
    mine = caller.key
    if caller.owner or mine is None:
        return key
    if not mine.team or key.team != mine.team or key.role not in _KEPT_BY_MAINTAINERS:
        text = f"a maintainer changes the members' and maintainers' keys of its own team {mine.team!r} alone; that one is not among them"
        raise AuthRefused(text, policy="auth", denied=True)
    return key


def _within(mine: Key, about: Mapping[str, str], role: str, models: tuple[str, ...]) -> tuple[dict[str, str], tuple[str, ...]]:
    """What a maintainer's new key is booked to and may use: never more than the maintainer's own.

    Raises:
        AuthRefused: more was asked for.
    """
    problem = ""
    if not mine.team:
        problem = "this maintainer's key belongs to no team, so it can make no keys"
    elif about["team"] not in ("", mine.team):
        problem = f"a maintainer makes keys of its own team {mine.team!r} alone, not of {about['team'][:40]!r}"
    elif mine.project and about["project"] not in ("", mine.project):
        problem = f"this maintainer's key is for the project {mine.project!r} alone, not for {about['project'][:40]!r}"
    elif role not in _KEPT_BY_MAINTAINERS:
        problem = f"a maintainer makes members' and maintainers' keys, not one with the role {role[:40]!r}; ask the owner"
    elif mine.models and not set(models) <= set(mine.models):
        problem = f"this maintainer's key may use {', '.join(mine.models)} alone, and so may the keys that it makes"
    if problem:
        raise AuthRefused(problem, policy="auth", denied=True)
    return {**about, "team": mine.team, "project": mine.project or about["project"]}, models or mine.models


# --- reading the fields -----------------------------------------------------------------------------------------------


def _models(door: Door, names: Any) -> tuple[str, ...]:  # Any: JSON, a list
    """The names of models that a key may use.

    Raises:
        UsageError: one is none.
    """
    for name in names:
        if not isinstance(name, str) or not door.settings.deployments(name):
            known = door.settings.models
            raise UsageError(f"there is no model {str(name)[:60]!r}.{did_you_mean(str(name), known)} `aiplat model list` lists them.")
    return tuple(dict.fromkeys(names))


def _usd(value: Json) -> Decimal | None:
    if value is None or value == "":
        return None
    try:
        return Decimal(str(value))
    except InvalidOperation:
        raise UsageError(f"limit_usd is {str(value)[:40]!r}; write US dollars, such as 50 or 0.25") from None


def _time(value: Json) -> datetime | None:
    if not value:
        return None
    try:
        at = datetime.fromisoformat(str(value))
    except ValueError:
        raise UsageError(f"expires_at is {str(value)[:40]!r}; write a time such as 2027-01-31T00:00:00Z") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _begin(period: str, now: datetime, time_zone: str) -> datetime | None:
    """When a period of a limit began; None for all time."""
    return None if period == "total" else period_start(period, now=now, time_zone=time_zone)


def _spent(door: Door, since: datetime | None) -> dict[str, Any]:  # Any: a row's values
    rows = door.ledger.view_rows("spend_by_scope", {"since": since} if since else {})
    return {row["name"]: row["cost_usd"] for row in rows if row["scope"] == "key"}
