"""A real HTTP upstream in the test's own loop that answers with what a test wrote down, and ways to ask a provider through it."""

from __future__ import annotations

import asyncio
import json
import struct
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from aiplat_lab.core.errors import ProviderError
from aiplat_lab.core.registry import find
from aiplat_lab.core.settings import ProviderSettings
from aiplat_lab.core.types import Chunk, Deployment, Message, Request, Response

USER = (Message("user", "one two three"),)
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "says the weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False},
    },
}
PIXEL = "data:image/png;base64,iVBORw0KGgo="


def asked_again(call: dict[str, Any]) -> tuple[Message, ...]:
    """A question, the call of a tool, and the tool's answer."""
    result = Message("tool", '{"sky": "grey"}', {"tool_call_id": call["id"]})
    return (Message("system", "be brief"), Message("user", "Weather in Leeds?"), Message("assistant", None, {"tool_calls": [call]}), result)


CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Leeds"}'}}


@dataclass
class Seen:
    """One request as it came in."""

    method: str
    path: str
    """As it was sent, with its query."""
    headers: dict[str, str]
    body: Any


@dataclass
class Upstream:
    """Answers every request with the next answer, the last one for ever."""

    answers: list[tuple[int, str, bytes, dict[str, str]]] = field(default_factory=list)
    """Status, content type, body, further headers."""
    seen: list[Seen] = field(default_factory=list)
    pieces: Callable[[bytes], list[bytes]] = lambda body: [body]
    """How a body is cut into what is sent at once."""
    url: str = ""

    def says(self, data: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.answers.append((status, "application/json", json.dumps(data).encode(), headers or {}))

    def streams(self, body: bytes, *, content_type: str = "text/event-stream") -> None:
        self.answers.append((200, content_type, body, {}))

    @property
    def last(self) -> Seen:
        return self.seen[-1]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
                raw = await reader.readexactly(int(headers.get("content-length", 0)))
                method, path, _ = head[0].split(" ")
                self.seen.append(Seen(method, path, headers, json.loads(raw) if raw else None))
                status, kind, body, more = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                lines = [f"HTTP/1.1 {status} X", f"Content-Type: {kind}", *(f"{name}: {value}" for name, value in more.items())]
                writer.write("\r\n".join([*lines, "Transfer-Encoding: chunked", "", ""]).encode())
                for piece in self.pieces(body):
                    if piece:
                        writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
                        await writer.drain()
                        await asyncio.sleep(0)
                writer.write(b"0\r\n\r\n")
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the provider has left, or the test is over
        finally:
            writer.close()


@asynccontextmanager
async def listening() -> AsyncIterator[Upstream]:
    upstream = Upstream()
    server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0, limit=64 * 1024 * 1024)
    upstream.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield upstream
    finally:
        server.close()


def ask(**more: Any) -> Request:
    return Request(model="m", **{"messages": USER, **more})


def at(model: str = "m", **more: Any) -> Deployment:
    return Deployment(provider="acme", model=model, region="eu", **{"timeout_s": 20.0, **more})


def make(kind: str, upstream: Upstream, *, path: str = "", **settings: Any) -> Any:
    """A provider of that kind that asks the upstream."""
    known = {"kind": kind, "base_url": upstream.url + path, "api_key": "env:TEST_PROVIDER_KEY"}
    return find("provider", kind)("acme", ProviderSettings(**{**known, **settings}))


def run(kind: str, script: Callable[[Any, Upstream], Awaitable[Any]], *, path: str = "", **settings: Any) -> Any:
    """What a script gives with a provider and its upstream, both closed after."""

    async def inside() -> Any:
        async with listening() as upstream:
            provider = make(kind, upstream, path=path, **settings)
            try:
                return await script(provider, upstream)
            finally:
                await provider.aclose()

    return asyncio.run(inside())


@dataclass
class Talk:
    """An answer and the request that it answered."""

    response: Response
    seen: Seen


@dataclass
class Told:
    """The pieces of an answer and the request that they answered."""

    chunks: list[Chunk]
    seen: Seen

    @property
    def text(self) -> str:
        return "".join(chunk.text for chunk in self.chunks)

    def last(self, name: str) -> Any:
        return next((getattr(chunk, name) for chunk in reversed(self.chunks) if getattr(chunk, name)), None)

    @property
    def calls(self) -> list[dict[str, Any]]:
        """The tool calls, put together."""
        whole: list[dict[str, Any]] = []
        for piece in (piece for chunk in self.chunks for piece in chunk.tool_calls):
            while len(whole) <= piece["index"]:
                whole.append({"name": "", "arguments": ""})
            for key, value in (piece.get("function") or {}).items():
                whole[piece["index"]][key] += value or ""
        return whole


def chat(
    kind: str,
    answer: Any,
    request: Request | None = None,
    *,
    model: str = "m",
    status: int = 200,
    headers: dict[str, str] | None = None,
    deployment: Deployment | None = None,
    **settings: Any,
) -> Talk:
    async def script(provider: Any, upstream: Upstream) -> Talk:
        upstream.says(answer, status=status, headers=headers)
        response = await provider.chat(request or ask(), deployment or at(model))
        return Talk(response, upstream.last)

    return run(kind, script, **settings)


async def consume(provider: Any, request: Request, deployment: Deployment, got: list[Chunk]) -> None:
    async with provider.stream(request, deployment) as chunks:
        async for chunk in chunks:
            got.append(chunk)


def stream(
    kind: str, body: bytes, request: Request | None = None, *, model: str = "m", content_type: str = "text/event-stream", **settings: Any
) -> Told:
    got: list[Chunk] = []

    async def script(provider: Any, upstream: Upstream) -> Told:
        upstream.streams(body, content_type=content_type)
        await consume(provider, request or ask(), at(model), got)
        return Told(got, upstream.last)

    try:
        return run(kind, script, **settings)
    except ProviderError as error:
        error.details["got"] = got
        raise


def sse(*events: Any, named: bool = False, done: bool = False) -> bytes:
    """Events as server-sent ones; `named` gives each its type as its name."""
    out = b""
    for event in events:
        name = f"event: {event['type']}\n".encode() if named else b""
        out += name + b"data: " + json.dumps(event, ensure_ascii=False).encode() + b"\n\n"
    return out + (b"data: [DONE]\n\n" if done else b"")


def frame(name: str, payload: Any, *, kind: str = "event") -> bytes:
    """A frame of AWS's binary event stream."""
    label = {"event": ":event-type", "exception": ":exception-type", "error": ":error-code"}[kind]
    headers = b""
    for key, value in ((":message-type", kind), (label, name), (":content-type", "application/json")):
        headers += bytes([len(key)]) + key.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
    data = json.dumps(payload, ensure_ascii=False).encode("utf-8", "replace")
    head = struct.pack(">II", 16 + len(headers) + len(data), len(headers))
    whole = head + struct.pack(">I", zlib.crc32(head)) + headers + data
    return whole + struct.pack(">I", zlib.crc32(whole))


@contextmanager
def failing(reason: str, status: int | None = None) -> Iterator[Any]:
    """Expects a `ProviderError` of that reason, with one line that a person can act on and no key in it."""
    with pytest.raises(ProviderError) as caught:
        yield caught
    error = caught.value
    assert (error.reason, error.status) == (reason, status), error.message
    assert error.message.startswith("acme: ")
    assert "\n" not in error.message
    assert len(error.message.encode()) <= 800
    assert "odd:key" not in f"{error.message}{error.to_wire()}{error!r}"
