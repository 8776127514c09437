"""What every HTTP route shares: who calls, what the body says, and the way to the pipeline."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from threading import Lock
from types import UnionType
from typing import Any, Literal, Protocol, TypeVar

from aiohttp import web
from aiohttp.http_exceptions import PayloadEncodingError

from aiplat_lab.core.errors import AiplatError, AuthRefused, UsageError, did_you_mean
from aiplat_lab.core.settings import Home, Settings
from aiplat_lab.core.types import Attribution, Chunk, Json, Request, Response, wire_json
from aiplat_lab.gateway._metrics import Metrics
from aiplat_lab.gateway._prompt_files import PromptFiles
from aiplat_lab.gateway.batch import Batches
from aiplat_lab.gateway.pipeline import Gateway, Stream
from aiplat_lab.gateway.process import Address
from aiplat_lab.gateway.schedule import Scheduler
from aiplat_lab.gateway.telemetry import Telemetry
from aiplat_lab.ledger import Ledger
from aiplat_lab.policies import Key

_READERS = 4
MOST_NAME = 256
"""The longest name of a model that is looked up, in characters."""
CACHE_MODES = ("auto", "on", "refresh", "off")
REPLAY_MODES = ("", "auto", "only", "refresh", "off")
IGNORED = "ignored_"
"""What the flag of a field begins with that the provider has no word for."""
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Fault:
    """An error as HTTP tells it."""

    status: int
    code: str
    """The error in one word, such as `budget_exceeded`."""
    error: AiplatError
    headers: Mapping[str, str] = field(default_factory=dict)


class Face(Protocol):
    """The shape in which one kind of client expects an error."""

    def fault_body(self, fault: Fault) -> dict[str, Json]:
        """The body of an answer that says what went wrong."""
        ...


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is at the door."""

    owner: bool
    """Came through the owner-only socket, holds its token, or a key with the role `owner`."""
    key: Key | None = None
    """The virtual key, for everybody who does not come through the owner's door."""
    refused: AuthRefused | None = None
    """Why the key opens nothing here."""

    @property
    def reads(self) -> Literal["all", "team", "own"]:
        """What it may read: every call, those of its team, or its own and its team's totals."""
        if self.owner or (self.key is not None and self.key.role == "auditor"):
            return "all"
        return "team" if self.key is not None and self.key.role == "maintainer" and self.key.team else "own"


@dataclass(slots=True)
class Door:
    """The gateway as the routes see it."""

    home: Home
    settings: Settings
    ledger: Ledger
    gateway: Gateway
    started_at: datetime
    fault: Callable[[AiplatError], Fault]
    """How an error is told by HTTP."""
    metrics: Metrics = field(default_factory=Metrics)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the process is to end."""
    address: Address | None = None
    readers: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(_READERS, thread_name_prefix="aiplat-read"))
    recording: Lock = field(default_factory=Lock)
    """Held while a record is written that must be the first of its id."""
    telemetry: Telemetry | None = None
    """What tells the organisation's own collector of calls."""
    scheduler: Scheduler | None = None
    """What keeps the schedules."""
    batches: Batches | None = None
    """What keeps the batches."""
    prompt_files: PromptFiles = field(init=False)
    """The saved prompts as files of this home."""
    active: int = 0
    """Requests under way."""
    detached: set[asyncio.Task[Response]] = field(default_factory=set)
    """Calls that go on though whoever asked has left."""
    began: float = field(default_factory=time.monotonic)
    last_active: float = field(default_factory=time.monotonic)
    incidents: deque[str] = field(default_factory=lambda: deque(maxlen=20))
    """What went wrong inside, the newest last."""

    def __post_init__(self) -> None:
        self.prompt_files = PromptFiles(self.home, self.ledger)

    async def handle(self, request: Request) -> Response:
        """`Gateway.handle`, counted."""
        with self.metrics.watch(request) as note:
            response = await self.gateway.handle(self._complete(request))
            note(response)
        return response

    async def handle_detached(self, request: Request) -> Response:
        """As `handle`, and the call is finished and recorded though the caller leaves; who asks again by its id gets the answer."""
        task = asyncio.get_running_loop().create_task(self.handle(request))
        self.active += 1
        self.detached.add(task)
        task.add_done_callback(self._landed)
        return await asyncio.shield(task)

    def _landed(self, task: asyncio.Task[Response]) -> None:
        self.detached.discard(task)
        self.active -= 1
        self.last_active = time.monotonic()
        if not task.cancelled():
            task.exception()  # it is in the ledger; nobody may be left to hear of it

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator[Stream]:
        """`Gateway.stream`, counted."""
        with self.metrics.watch(request) as note:
            stream = self.gateway.stream(self._complete(request))
            async with stream:
                yield stream
            if stream.response is not None:
                note(stream.response)

    async def read(self, work: Callable[[], _T]) -> _T:
        """What work on the ledger gives; in threads of its own, so that a slow statement keeps no call waiting."""
        return await asyncio.get_running_loop().run_in_executor(self.readers, work)

    def news(self) -> list[str]:
        """What a person should know now: what went wrong inside, hard budgets that are used up, and schedules that fail."""
        spent = [
            f"the {budget['period']} budget of {budget['name'] or 'everyone'} is used up"
            for budget in self.gateway.budgets()
            if budget["hard"] and Decimal(budget["spent_usd"]) >= Decimal(budget["limit_usd"])
        ]
        failing = self.scheduler.news() if self.scheduler is not None else []
        unsent = self.telemetry.news() if self.telemetry is not None else []
        alone = [
            f"{one['deployment']} is left alone after {one['failures_in_a_row']} failures in a row: {one['last_error']}"
            for one in self.gateway.breakers()
            if one["state"] == "open"
        ]
        return [*spent, *alone, *failing, *unsent, *self.ledger.incidents[-10:], *self.incidents]

    def _complete(self, request: Request) -> Request:
        return request if request.model else replace(request, model=self.settings.default_model)


@dataclass(slots=True)
class Lost:
    """What of a body the words of another wire cannot say."""

    native: list[str] = field(default_factory=list)
    """What must not be left out: the call goes to a deployment of its own wire, or is refused."""
    hints: list[str] = field(default_factory=list)
    """What a deployment of another wire can do without."""

    def fields(self, body: Mapping[str, Json], *, known: frozenset[str], hints: frozenset[str]) -> None:
        """Notes the fields of `body` that are set and not known."""
        for name in body.keys() - known:
            if body[name] not in (None, [], {}, "", False):
                (self.hints if name in hints else self.native).append(name[:60])


MOST_LEVELS = 100
"""How deep a body may nest."""
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _no_constant(text: str) -> float:
    raise ValueError(text)  # NaN and Infinity are no JSON, and no provider would take them


_DECODER = json.JSONDecoder(parse_float=_finite, parse_constant=_no_constant)


async def read_json(request: web.Request) -> dict[str, Json]:
    """The JSON object in the body.

    Raises:
        UsageError: there is none.
    """
    try:
        raw = await request.read()
    except (PayloadEncodingError, web.RequestPayloadError) as error:
        raise UsageError(f"the body cannot be read: {type(error).__name__}, so its coding is not what its headers say") from None
    try:
        data = _DECODER.decode(raw.decode().removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        what = "is empty" if not raw else "is not JSON in UTF-8"
        raise UsageError(f"the body {what}: send a JSON object, with Content-Type: application/json") from None
    if not isinstance(data, dict):
        raise UsageError(f"the body is a JSON {type(data).__name__}: send a JSON object, written {{…}}")
    if _too_deep(raw, data):
        raise UsageError(f"the body nests deeper than {MOST_LEVELS} levels")
    return data


def _too_deep(raw: bytes, data: Json) -> bool:
    """Whether `data` nests too deep: a look at its text in most cases, since a walk costs more."""
    if raw.count(b"{") + raw.count(b"[") <= MOST_LEVELS:
        return False
    brackets = raw.translate(None, _NOT_BRACKETS)
    for _ in range(MOST_LEVELS):
        fewer = brackets.replace(b"{}", b"").replace(b"[]", b"")
        if not fewer:
            return False
        if len(fewer) == len(brackets):
            break  # there are brackets within texts
        brackets = fewer
    level = [data]
    for _ in range(MOST_LEVELS):
        inside = (one for outer in level for one in (outer.values() if isinstance(outer, dict) else outer))
        level = [one for one in inside if isinstance(one, dict | list)]
        if not level:
            return False
    return True


def model_of(body: Mapping[str, Json]) -> str:
    """The name of the model that a body asks.

    Raises:
        UsageError: there is none.
    """
    return known_name(wanted(body, "model", str, "the name of a model"))


def known_name(model: str) -> str:
    """A name that is short enough to be one.

    Raises:
        UsageError: it is not.
    """
    if len(model) > MOST_NAME:
        raise UsageError(f"the name of the model has {len(model):,} characters; at most {MOST_NAME} are taken")
    return model


def wanted(body: Mapping[str, Json], name: str, kind: type[_T], what: str) -> _T:
    """A field that must be there and hold something.

    Raises:
        UsageError: it is missing, or of another type.
    """
    value = body.get(name)
    if isinstance(value, kind) and value not in ("", [], False, True):
        return value
    problem = f"must be {what}" if name in body else f"is missing: it must be {what}"
    raise UsageError(f"the field {name!r} {problem}")


Fields = Mapping[str, tuple[type | UnionType, str]]
"""What fields may hold, and how that is said to a person."""


def check_fields(body: Mapping[str, Json], shapes: Fields) -> None:
    """Lets a body pass whose fields, as far as they are given, hold what they may.

    Raises:
        UsageError: one holds something else.
    """
    for name, (kind, what) in shapes.items():
        value = body.get(name)
        if value is not None and (not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)):
            raise UsageError(f"the field {name!r} must be {what}")


def check_objects(values: Json, name: str) -> list[dict[str, Json]]:
    """A list of objects, and nothing else.

    Raises:
        UsageError: it is something else.
    """
    if not isinstance(values, list | tuple):
        raise UsageError(f"{name} must be a list of objects")
    for index, one in enumerate(values):
        if not isinstance(one, dict):
            raise UsageError(f"{name}[{index}] must be an object")
    return list(values)


SETTINGS: Fields = {
    "max_tokens": (int, "a whole number"),
    "max_completion_tokens": (int, "a whole number"),
    "tools": (list, "a list of tools"),
    "tool_choice": (str | dict, "a word or an object"),
    "response_format": (dict, "an object"),
    "stop": (str | list, "a text or a list of texts"),
    "n": (int, "a whole number"),
    "seed": (int, "a whole number"),
    "temperature": (int | float, "a number"),
    "top_p": (int | float, "a number"),
    "top_k": (int | float, "a number"),
    "presence_penalty": (int | float, "a number"),
    "frequency_penalty": (int | float, "a number"),
    "logit_bias": (dict, "an object"),
    "logprobs": (bool, "true or false"),
    "top_logprobs": (int, "a whole number"),
}
"""What settings may hold that providers of any wire look at, under OpenAI's names."""
_SHAPE: Fields = {"json_schema": (dict, "an object")}


def check_settings(settings: Mapping[str, Json]) -> None:
    """Lets settings pass that every provider can read.

    Raises:
        UsageError: one holds something else.
    """
    check_fields(settings, SETTINGS)
    check_fields(settings.get("response_format") or {}, _SHAPE)
    if settings.get("tools"):
        check_objects(settings["tools"], "tools")


def attribution(request: web.Request, caller: Caller, *, user: Json = None) -> Attribution:
    """Who pays for a call that came by HTTP, out of its `x-aiplat-…` headers and its key.

    Raises:
        UsageError: a header cannot be read.
    """
    headers = request.headers
    prompt, _, version = headers.get("x-aiplat-prompt", "").partition("@")
    claimed = Attribution(
        surface="http",
        project=headers.get("x-aiplat-project", ""),
        user_id=user if isinstance(user, str) else "",
        prompt_name=prompt,
        prompt_version=version,
        tags=_tags(headers.get("x-aiplat-tags", "")),
    )
    return claimed if caller.key is None else caller.key.attribute(claimed)


def cache_mode(request: web.Request) -> Any:  # Any: one of CACHE_MODES, checked
    """What the header `x-aiplat-cache` asks for; without it, what HTTP's own `Cache-Control` does.

    Raises:
        UsageError: no such mode.
    """
    own = request.headers.get("x-aiplat-cache")
    if own is None:
        return _cache_control(request.headers.get("Cache-Control", ""))
    mode = own.strip().lower()
    if mode not in CACHE_MODES:
        raise UsageError(
            f"the header x-aiplat-cache is {mode[:40]!r}; it must be on, off, refresh or auto.{did_you_mean(mode, CACHE_MODES)}"
        )
    return mode


def _cache_control(text: str) -> str:
    """`no-store` neither reads nor keeps; `no-cache` and `max-age=0` ask again and keep."""
    if not text:
        return "auto"
    words = {word.strip().lower() for word in text.split(",")}
    return "off" if "no-store" in words else "refresh" if words & {"no-cache", "max-age=0"} else "auto"


def _tags(text: str) -> dict[str, str]:
    found = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = part.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"the header x-aiplat-tags holds {part[:60]!r}; write name=value,name=value")
        found[name.strip()] = value.strip()
    return found


def facts(response: Response) -> dict[str, str]:
    """The headers that say what a call was and cost."""
    headers = {"x-aiplat-call-id": response.call_id, "x-aiplat-cache": response.cache}
    if response.cost_usd is not None:
        headers["x-aiplat-cost-usd"] = format(response.cost_usd, "f")
    headers.update(_noted(response.flags, response.notes))
    return headers


def _noted(flags: Iterable[str], notes: Mapping[str, str]) -> dict[str, str]:
    """Facts of a call as headers, and what of the question its provider had no word for."""
    headers = {f"x-aiplat-{name}": value for name, value in notes.items()}
    ignored = [flag.removeprefix(IGNORED) for flag in flags if flag.startswith(IGNORED)]
    if ignored:
        headers["x-aiplat-ignored"] = ", ".join(ignored)
    return headers


def stream_facts(stream: Stream) -> dict[str, str]:
    """The headers of a streamed answer: what is known before its first piece."""
    return {"x-aiplat-call-id": stream.call_id, "x-aiplat-cache": stream.cache, **_noted(stream.facts.flags, stream.facts.notes)}


def json_reply(data: Json, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """An answer that is JSON."""
    return web.Response(body=wire_json(data), status=status, content_type="application/json", headers=headers)


class Events(Protocol):
    """The pieces of an answer in the bytes of one wire."""

    def begin(self) -> bytes:
        """What opens the stream; may be empty."""
        ...

    def of(self, chunk: Chunk) -> bytes:
        """One piece; empty where there is nothing to say yet."""
        ...

    def end(self, response: Response | None) -> bytes:
        """What closes the stream."""
        ...

    def error(self, fault: Fault) -> bytes:
        """What a stream that breaks ends with."""
        ...


async def send_events(
    door: Door, request: web.Request, asked: Request, events: Events, *, content_type: str = "text/event-stream"
) -> web.StreamResponse:
    """The answer in pieces; what fails before the first piece is raised, so that it gets a status of its own.

    Raises:
        AiplatError: the call was refused or failed before anything was sent.
    """
    out: web.StreamResponse | None = None
    try:
        async with door.stream(asked) as stream:
            headers = {"Content-Type": f"{content_type}; charset=utf-8", "Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
            out = web.StreamResponse(headers={**headers, **stream_facts(stream)})
            await out.prepare(request)
            opening = events.begin()
            if opening:
                await out.write(opening)
            async for chunk in stream:
                event = events.of(chunk)
                if event:
                    await out.write(event)
        await out.write(events.end(stream.response))
    except AiplatError as error:
        if out is None:
            raise
        await out.write(events.error(door.fault(error)))
    await out.write_eof()
    return out
