"""Our own routes: calls, reading, records, and the process itself."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from aiohttp import web

from aiplat_lab.core.errors import (
    AuthRefused,
    GatewayUnavailable,
    LedgerError,
    RecordExists,
    UnknownCall,
    UnknownModel,
    UsageError,
    did_you_mean,
)
from aiplat_lab.core.ids import is_id, new_id
from aiplat_lab.core.prompts import Reference
from aiplat_lab.core.times import period_start, with_moments
from aiplat_lab.core.types import Attribution, Chunk, Json, Request, Response, utc_now, wire_json
from aiplat_lab.core.version import VERSION
from aiplat_lab.gateway._door import (
    CACHE_MODES,
    REPLAY_MODES,
    Caller,
    Door,
    Fault,
    Fields,
    check_fields,
    check_settings,
    facts,
    json_reply,
    known_name,
    read_json,
    send_events,
    wanted,
)
from aiplat_lab.gateway._metrics import breaker_samples, budget_samples, gauge, queue_samples
from aiplat_lab.gateway._openai_face import read_messages
from aiplat_lab.gateway._prompt_files import KINDS as PROMPT_KINDS
from aiplat_lab.gateway.reading import plain, plain_row, whole_call
from aiplat_lab.ledger import Receipt, check_record, of_calls

ARROW = "application/vnd.apache.arrow.stream"
_TEAM_VIEWS = frozenset({"totals", "spend_by_day", "spend_by_team", "spend_by_project", "spend_by_model", "spend_by_user"})
_TEAM_VIEWS |= {"errors_by_type", "recent_calls", "savings", "allocation"}
"""Views that a virtual key may read, for its own team."""


class OwnFace:
    """Errors as our own clients read them: whole, so that they raise the same type."""

    def fault_body(self, fault: Fault) -> dict[str, Json]:
        """`{"error": …}` with what `AiplatError.to_wire` says."""
        return {"error": plain(fault.error.to_wire())}


# --- calls ------------------------------------------------------------------------------------------------------------


class _Lines:
    """Pieces as lines of JSON."""

    def begin(self) -> bytes:
        """Nothing."""
        return b""

    def of(self, chunk: Chunk) -> bytes:
        """A piece of text; whatever else there is stands at the end."""
        return wire_json({"text": chunk.text}) + b"\n" if chunk.text else b""

    def end(self, response: Response | None) -> bytes:
        """The whole answer."""
        return wire_json({"end": response.to_json() if response else {}}) + b"\n"

    def error(self, fault: Fault) -> bytes:
        """The error that broke it."""
        return wire_json(OwnFace().fault_body(fault)) + b"\n"


_CALL: Fields = {
    "model": (str, "the name of a model"),
    "messages": (list, "a list of messages"),
    "inputs": (list, "a list of texts"),
    "settings": (dict, "an object"),
    "stream": (bool, "true or false"),
    "detached": (bool, "true or false"),
    "timeout_s": (int | float, "a number of seconds"),
    "attribution": (dict, "an object"),
    "call_id": (str, "a UUIDv7"),
    "parent_id": (str, "a call id"),
    "wire": (str, "the name of a wire format"),
    "body": (dict, "an object"),
}
_QUERY: Fields = {"params": (list | dict, "a list or an object of values"), "limit": (int, "a whole number")}
_WHAT_IF: Fields = {
    "model": (str, "the name of a model"),
    "input_tokens": (int, "a whole number"),
    "output_tokens": (int, "a whole number"),
    "attribution": (dict, "an object"),
}
_MOST_TOKENS = 10**9
_WHO: Fields = {f.name: (dict, "an object of texts") if f.name == "tags" else (str, "a text") for f in fields(Attribution)}


_SQL_TYPES = {str: "string", list: "array", dict: "object", bool: "boolean", int: "integer"}


def schema_of(fields_: Fields, *required: str, **more: Json) -> dict[str, Json]:
    """A body's JSON schema out of what is checked anyway."""
    known = {name: {"type": kind} for name, (one, _) in fields_.items() if (kind := _SQL_TYPES.get(one))}  # type: ignore[arg-type]
    return {"type": "object", "required": list(required), "properties": {**known, **more}}


_PATH = schema_of({}, "path", path={"type": "string"})
SCHEMAS: Mapping[str, dict[str, Json]] = {
    "/api/calls": schema_of(
        _CALL, cache={"enum": list(CACHE_MODES)}, replay={"enum": list(REPLAY_MODES)}, operation={"enum": ["chat", "embed"]}
    ),
    "/api/query": schema_of(_QUERY, "sql", sql={"type": "string"}),
    "/api/records": schema_of(
        {}, "kind", kind={"type": "string"}, row={"type": "object"}, rows={"type": "array", "items": {"type": "object"}}
    ),
    "/api/snapshot": _PATH,
    "/api/export": _PATH,
}
"""What the routes' bodies hold, for the OpenAPI document; the others take an empty object or filters."""


_ONE_OF: Mapping[str, tuple[str, ...]] = {
    "cache": CACHE_MODES,
    "replay": REPLAY_MODES,
    "operation": ("chat", "embed"),
    "priority": ("", "interactive", "batch"),
}


def read_request(body: Mapping[str, Json]) -> Request:
    """The request that a body holds.

    Raises:
        UsageError: a field is not what it must be.
    """
    check_fields(body, _CALL)
    check_fields(body.get("attribution") or {}, _WHO)
    known_name(body.get("model") or "")
    check_settings(body.get("settings") or {})
    read_messages(body.get("messages") or ())
    for name, known in _ONE_OF.items():
        if body.get(name) not in (None, *known):
            raise UsageError(f"the field {name!r} must be {' or '.join(known)}, not {str(body[name])[:40]!r}")
    for index, text in enumerate(body.get("inputs") or ()):
        if not isinstance(text, str):
            raise UsageError(f"inputs[{index}] must be a text")
    return Request.from_json({"model": "", **body})


async def create_call(door: Door, request: web.Request, caller: Caller) -> web.StreamResponse:
    """`POST /api/calls`: a request in our own shape; a stream is answered with lines of JSON."""
    asked = read_request(await read_json(request))
    if caller.key is not None:
        asked = replace(asked, attribution=caller.key.attribute(asked.attribution))
    if asked.stream:
        if asked.detached:
            raise UsageError("a stream cannot be detached: leave out 'stream' or 'detached'")
        return await send_events(door, request, asked, _Lines(), content_type="application/x-ndjson")
    response = await (door.handle_detached(asked) if asked.detached else door.handle(asked))
    return json_reply(response.to_json(), headers=facts(response))


async def read_call(door: Door, request: web.Request, caller: Caller) -> web.StreamResponse:
    """`GET /api/calls/ID`: its row, and what was asked and answered."""
    call_id = request.match_info["id"]
    if not is_id(call_id):
        raise UsageError(f"{call_id[:60]!r} is not a call id; `aiplat calls` lists them")

    def work() -> dict[str, Any] | None:
        rows = door.ledger.view_rows("call", {"call_id": call_id})
        return whole_call(rows[0], door.ledger.payload) if rows else None

    found = await door.read(work)
    if found is None or not may_read(caller, found):
        flying = any(entry["call_id"] == call_id for entry in door.gateway.in_flight())
        raise UnknownCall(f"the call {call_id} is still under way" if flying else f"there is no call {call_id}; `aiplat calls` lists them")
    return json_reply(found)


def may_read(caller: Caller, row: Mapping[str, Any]) -> bool:  # Any: a row's values
    """Whether a caller may read a call."""
    if caller.reads == "all" or caller.key is None:
        return caller.reads == "all"
    return row.get("key_id") == caller.key.id or (caller.reads == "team" and row.get("team") == caller.key.team)


async def cancel_call(door: Door, request: web.Request, caller: Caller) -> web.StreamResponse:
    """`POST /api/calls/ID/cancel`."""
    return json_reply({"cancelled": door.gateway.cancel(request.match_info["id"])})


# --- reading ----------------------------------------------------------------------------------------------------------


def _wants_json(request: web.Request) -> bool:
    return "application/json" in request.headers.get("Accept", "")


async def query(door: Door, request: web.Request, caller: Caller) -> web.StreamResponse:
    """`POST /api/query`: one read-only SQL statement."""
    body = await read_json(request)
    check_fields(body, _QUERY)
    sql, params, limit = wanted(body, "sql", str, "a SQL statement"), body.get("params"), body.get("limit")
    if _wants_json(request):
        rows = await door.read(lambda: [plain_row(row) for row in door.ledger.rows(sql, params)[:limit]])
        return json_reply({"rows": rows})
    return web.Response(body=await door.read(lambda: door.ledger.query(sql, params, limit=limit)), content_type=ARROW)


async def view(door: Door, request: web.Request, caller: Caller) -> web.StreamResponse:
    """`POST /api/views/NAME`: a named view, filtered; a member's key reads its team's totals, a maintainer's all of its team's calls."""
    name = request.match_info["name"]
    filters: dict[str, Json] = await read_json(request)
    if caller.reads != "all":
        filters = {**filters, "team": _team_that_reads(caller, name)}
    filters = _moments(door, filters)
    if _wants_json(request):
        rows = await door.read(lambda: [plain_row(row) for row in door.ledger.view_rows(name, filters)])
        return json_reply({"rows": rows})
    return web.Response(body=await door.read(lambda: door.ledger.view(name, filters)), content_type=ARROW)


def _team_that_reads(caller: Caller, name: str) -> str:
    """The team whose calls a key may read by a view.

    Raises:
        AuthRefused: it may not.
    """
    team = caller.key.team if caller.key is not None else ""
    if not team:
        raise AuthRefused(
            "this virtual key belongs to no team, so it reads no view; an auditor's key reads all", policy="auth", denied=True
        )
    if name in _TEAM_VIEWS or (caller.reads == "team" and of_calls(name)):
        return team
    text = f"a virtual key of a team cannot read the view {name[:40]!r}; ask on the gateway's own machine, or with an auditor's key"
    raise AuthRefused(text, policy="auth", denied=True)


def _moments(door: Door, filters: Mapping[str, Json]) -> dict[str, Json]:
    return with_moments(filters, now=utc_now(), time_zone=door.settings.time_zone)


async def verify(door: Door, request: web.Request, caller: Caller) -> web.StreamResponse:
    """`POST /api/verify`: whether the hash chain holds."""
    found = await door.read(door.ledger.verify)
    return json_reply({"ok": found.ok, "rows": found.rows, "first_bad_seq": found.first_bad_seq, "reason": found.reason})


def _path(body: Mapping[str, Json]) -> Path:
    path = wanted(body, "path", str, "the path of the file to write")
    if "\0" in path:
        raise UsageError(f"{path[:60]!r} is not a path")
    return Path(path)


async def snapshot(door: Door, request: web.Request, caller: Caller) -> web.StreamResponse:
    """`POST /api/snapshot`: the ledger in one sealed file."""
    path = _path(await read_json(request))
    made = await door.read(lambda: door.ledger.snapshot(path))
    return json_reply(plain({**made, "path": str(path)}))


async def export(door: Door, request: web.Request, caller: Caller) -> web.StreamResponse:
    """`POST /api/export`: calls as Parquet, or their charges in FOCUS columns."""
    body = _moments(door, await read_json(request))
    path, format = _path(body), str(body.pop("format", "parquet"))
    body.pop("path")
    since, until = body.pop("since", None), body.pop("until", None)
    made = await door.read(lambda: door.ledger.export(path, since, until, format=format, filters=body))
    return json_reply(plain(made))


# --- writing ----------------------------------------------------------------------------------------------------------


async def record(door: Door, request: web.Request, caller: Caller) -> web.StreamResponse:
    """`POST /api/records`: appends records of one kind, `row` or `rows`; with `first` only where none of that id is there yet."""
    body = await read_json(request)
    kind = wanted(body, "kind", str, "the kind of the record")
    rows = wanted(body, "rows", list, "a list of objects") if "rows" in body else [wanted(body, "row", dict, "an object")]
    for row in rows:
        if not isinstance(row, dict):
            raise UsageError("the field 'rows' must be a list of objects")
        check_record(kind, row)
    first = body.get("first") is True

    def work() -> Receipt:
        guarded = door.gateway.guards(kind)
        with door.recording if first or guarded else nullcontext():
            if first:
                _refuse_known(door, kind, rows)
            try:
                return [_append(door, kind, row) for row in rows][-1]
            finally:
                if kind in PROMPT_KINDS:  # before the answer, so that whoever saved reads what was saved
                    door.prompt_files.write(door.gateway.prompts)

    receipt = await door.read(work)
    return json_reply({"seq": receipt.seq, "hash": receipt.hash})


def _append(door: Door, kind: str, row: Mapping[str, Any]) -> Receipt:
    door.gateway.admit(kind, row)
    return door.ledger.record(kind, row)


def _refuse_known(door: Door, kind: str, rows: Sequence[Mapping[str, Any]]) -> None:
    for row in rows:
        if door.ledger.view_rows("record", {"kind": kind, "id": row["id"]}):
            raise RecordExists(f"{kind} {row['id']!r} is there already: somebody else was quicker")


async def run_schedule(door: Door, request: web.Request, caller: Caller) -> web.StreamResponse:
    """`POST /api/schedules/ID/run`: starts a run now; gives the id of the run."""
    if door.scheduler is None:
        raise GatewayUnavailable("this gateway keeps no schedules")
    return json_reply({"run": await door.scheduler.run_now(request.match_info["id"])})


# --- prompts ----------------------------------------------------------------------------------------------------------


async def prompts(door: Door, request: web.Request, caller: Caller) -> web.StreamResponse:
    """`GET /api/prompts`: versions and labels of every saved prompt."""
    return json_reply({"prompts": door.gateway.prompts.to_json()})


async def prompt(door: Door, request: web.Request, caller: Caller) -> web.StreamResponse:
    """`GET /api/prompts/NAME@VERSION`: the text of a saved version; a label or a name alone means what it means now."""
    reference = Reference.of(request.match_info["reference"])
    version = door.gateway.prompts.resolve(reference)
    filters = {"prompt": reference.name, "version": version}
    rows = await door.read(lambda: door.ledger.view_rows("prompt_texts", filters))
    return json_reply(plain_row(rows[0]))


# --- the gateway ------------------------------------------------------------------------------------------------------


async def models(door: Door, request: web.Request, caller: Caller) -> web.StreamResponse:
    """`GET /api/models`."""
    return json_reply({"rows": plain(door.gateway.models())})


async def budgets(door: Door, request: web.Request, caller: Caller) -> web.StreamResponse:
    """`GET /api/budgets`: the counters that enforcement uses."""
    return json_reply({"rows": plain(door.gateway.budgets())})


async def would_pass(door: Door, request: web.Request, caller: Caller) -> web.StreamResponse:
    """`POST /api/budgets/what-if`: whether a call would be let in now; nothing is held or spent.

    Raises:
        UnknownModel: there is no such model.
        UsageError: a field is not what it must be.
    """
    body = await read_json(request)
    check_fields(body, _WHAT_IF)
    check_fields(body.get("attribution") or {}, _WHO)
    model, given = wanted(body, "model", str, "the name of a model"), body.get("output_tokens")
    tokens = wanted(body, "input_tokens", int, "the tokens to send, a whole number")
    if not 0 <= tokens < _MOST_TOKENS or (given is not None and not 0 < given < _MOST_TOKENS):
        raise UsageError("input_tokens must be 0 or more, and output_tokens, where it is given, 1 or more; both below a thousand million")
    if not door.settings.deployments(model):
        raise UnknownModel(f"there is no model {model[:80]!r}.{did_you_mean(model, door.settings.models)}")
    who = Attribution.from_json(body.get("attribution") or {})
    return json_reply(door.gateway.budget.would_pass(model, who, input_tokens=tokens, output_tokens=given))


async def status(door: Door, request: web.Request, caller: Caller) -> web.StreamResponse:
    """`GET /api/status`; a virtual key sees its team's spend and no more."""
    now, settings, address = utc_now(), door.settings, door.address
    today = {"since": plain(period_start("day", now=now, time_zone=settings.time_zone))}
    team = {"team": caller.key.team} if caller.reads != "all" and caller.key is not None else {}
    totals: Mapping[str, Any] = {}
    meta: Mapping[str, Any] = {}
    trouble: list[str] = []
    try:
        if caller.reads == "all" or team.get("team"):
            totals = (await door.read(lambda: door.ledger.view_rows("totals", {**today, **team})))[0]
        meta = (await door.read(lambda: door.ledger.view_rows("meta", {})))[0]
    except LedgerError as error:
        trouble.append(error.message)  # the state of the process is wanted most when the disk is full
    said: dict[str, Any] = {
        "version": VERSION,
        "started_at": plain(door.started_at),
        "uptime_s": round(time.monotonic() - door.began, 3),
        "demo": bool(meta.get("demo")),
        "in_flight": door.metrics.in_flight,
        "spend_today_usd": plain(totals.get("cost_usd")),
        "calls_today": totals.get("calls"),
        "unpriced_today": totals.get("unpriced_calls"),
        "currency": settings.currency,
        "usd_rate": str(settings.usd_rate),
        "time_zone": settings.time_zone,
        "default_model": settings.default_model,
    }
    if caller.owner:
        said |= {
            "pid": address.pid if address else None,
            "home": str(door.home.path),
            "socket": address.socket if address else "",
            "http": address.http if address else "",
            "limits": plain(door.gateway.limits.queues()),
            "calls_in_flight": plain(door.gateway.in_flight()),
            "budgets": plain(door.gateway.budgets()),
            "breakers": plain(door.gateway.breakers()),
            "providers": [{"name": name, "kind": one.kind, "region": one.region} for name, one in settings.providers.items()],
            "schedules": door.scheduler.state() if door.scheduler is not None else None,
            "incidents": [*trouble, *door.news()],
        }
    return json_reply(said)


async def cache(door: Door, request: web.Request, caller: Caller) -> web.StreamResponse:
    """`GET /api/cache`: what the cache keeps now and what it saved, by team."""
    used = {row["team"] or "": row for row in await door.read(lambda: door.ledger.view_rows("cache_use", {}))}
    kept = {row["team"]: row for row in door.gateway.cache.state()}
    nothing = {"answers": 0, "in_memory": 0, "memory_mb": 0.0}
    idle = {"hits": 0, "semantic_hits": 0, "misses": 0, "saved_usd": "0"}
    rows = [{**nothing, **idle, **used.get(team, {}), **kept.get(team, {}), "team": team} for team in sorted({*used, *kept})]
    return json_reply({"rows": [plain_row(row) for row in rows]})


async def clear_cache(door: Door, request: web.Request, caller: Caller) -> web.StreamResponse:
    """`POST /api/cache/clear`: no answer given before now is given again, for `team` or for all."""
    body = await read_json(request)
    check_fields(body, {"team": (str, "the name of a team")})
    team = body.get("team") or ""
    before = sum(row["answers"] for row in door.gateway.cache.state())
    await door.read(lambda: door.ledger.record("cache_cleared", {"id": new_id(), "team": team}))
    return json_reply({"team": team, "cleared": before - sum(row["answers"] for row in door.gateway.cache.state())})


async def stop(door: Door, request: web.Request, caller: Caller) -> web.StreamResponse:
    """`POST /api/stop`: calls in flight may end, then are cancelled; all are recorded."""
    door.stop.set()
    return json_reply({"stopping": True})


async def healthz(door: Door, request: web.Request, caller: Caller) -> web.StreamResponse:
    """`GET /healthz`: open to all, and says nothing else."""
    return json_reply({"status": "stopping" if door.stop.is_set() else "ok", "version": VERSION})


async def metrics(door: Door, request: web.Request, caller: Caller) -> web.StreamResponse:
    """`GET /metrics`, in Prometheus' text format."""
    spool_bytes, backlog = await door.read(lambda: (_size(door.home.spool), door.ledger.backlog()))
    samples = [
        *budget_samples(door.gateway.budgets()),
        *queue_samples(getattr(door.gateway, "queues", list)()),
        *breaker_samples(door.gateway.breakers()),
        gauge("aiplat_uptime_seconds", "Seconds since the gateway started.", round(time.monotonic() - door.began, 3)),
        gauge("aiplat_spool_bytes", "Bytes of the segments that are still in the spool.", float(spool_bytes)),
        gauge("aiplat_ledger_seq", "Number of the newest row of the ledger.", float(door.ledger.head.seq)),
        gauge("aiplat_ledger_backlog_rows", "Rows of the spool that DuckDB has not loaded yet.", float(backlog)),
        gauge("aiplat_incidents", "What a person should know now, as `aiplat status` lists it.", float(len(door.news()))),
    ]
    if door.telemetry is not None:
        samples += [
            gauge("aiplat_telemetry_sent_total", "Spans that the collector took.", float(door.telemetry.sent), kind="counter"),
            gauge("aiplat_telemetry_dropped_total", "Spans that it did not take.", float(door.telemetry.dropped), kind="counter"),
        ]
    return web.Response(text=door.metrics.text(samples), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})


def _size(folder: Path) -> int:
    total = 0
    for path in folder.iterdir():
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            pass  # loaded and put away between the two looks
    return total
