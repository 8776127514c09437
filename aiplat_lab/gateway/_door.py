"""What every HTTP route shares: who calls, what the body says, and the way to the pipeline."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from threading import Lock
from types import UnionType
from typing import Any, Protocol, TypeVar

from aiohttp import web

from aiplat_lab.core.errors import AiplatError, UsageError, did_you_mean
from aiplat_lab.core.settings import Home, Settings
from aiplat_lab.core.types import Attribution, Chunk, Json, Request, Response
from aiplat_lab.gateway._metrics import Metrics
from aiplat_lab.gateway._prompt_files import PromptFiles
from aiplat_lab.gateway.batch import Batches
from aiplat_lab.gateway.pipeline import Gateway, Stream
from aiplat_lab.gateway.process import Address
from aiplat_lab.gateway.schedule import Scheduler
from aiplat_lab.ledger import Ledger
from aiplat_lab.policies import Key

_READERS = 4
CACHE_MODES = ("auto", "on", "refresh", "off")
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
    """Came through the owner-only socket, or holds its token."""
    key: Key | None = None
    """The virtual key, for everybody else."""


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
        alone = [
            f"{one['deployment']} is left alone after {one['failures_in_a_row']} failures in a row: {one['last_error']}"
            for one in self.gateway.breakers()
            if one["state"] == "open"
        ]
        return [*spent, *alone, *failing, *self.ledger.incidents[-10:], *self.incidents]

    def _complete(self, request: Request) -> Request:
        return request if request.model else replace(request, model=self.settings.default_model)


async def read_json(request: web.Request) -> dict[str, Json]:
    """The JSON object in the body.

    Raises:
        UsageError: there is none.
    """
    raw = await request.read()
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError):
        what = "is empty" if not raw else "is not JSON"
        raise UsageError(f"the body {what}: send a JSON object, with Content-Type: application/json") from None
    if not isinstance(data, dict):
        raise UsageError(f"the body is a JSON {type(data).__name__}: send a JSON object, written {{…}}")
    return data


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
    """What the header `x-aiplat-cache` asks for.

    Raises:
        UsageError: no such mode.
    """
    mode = request.headers.get("x-aiplat-cache", "auto").strip().lower()
    if mode not in CACHE_MODES:
        raise UsageError(
            f"the header x-aiplat-cache is {mode[:40]!r}; it must be on, off, refresh or auto.{did_you_mean(mode, CACHE_MODES)}"
        )
    return mode


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
    for name, value in response.notes.items():
        headers[f"x-aiplat-{name}"] = value
    return headers


def dumps(data: Json) -> bytes:
    """JSON as bytes; a lone surrogate becomes `?`."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def json_reply(data: Json, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """An answer that is JSON."""
    return web.Response(body=dumps(data), status=status, content_type="application/json", headers=headers)


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
            headers |= {f"x-aiplat-{name}": value for name, value in stream.notes.items()}
            out = web.StreamResponse(headers={**headers, "x-aiplat-call-id": asked.call_id, "x-aiplat-cache": stream.cache})
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
