"""Streams of every wire as they should be, and a thousand ways in which they can be damaged on their way."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator, Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from wirekit import Upstream, frame, listening, make, sse

from aiplat_lab.core.errors import ProviderError
from aiplat_lab.core.types import TOKEN_CLASSES, Chunk, Deployment, Message, Request, Usage
from aiplat_lab.gateway.tools import merge_tool_calls

TEXT = "Grüße, 世界 🌍: one two three"
LONGEST_S = 2.0
"""No damaged stream may keep a caller longer than this; the silence that a test allows is shorter."""


@dataclass(frozen=True)
class Wire:
    """One wire with a good stream."""

    kind: str
    events: tuple[bytes, ...]
    content_type: str = "text/event-stream"
    usage_at: tuple[int, ...] = ()
    """Which of the events hold a usage."""

    @property
    def binary(self) -> bool:
        return self.content_type.startswith("application/vnd.amazon")


def _pieces() -> list[str]:
    return [TEXT[at : at + 5] for at in range(0, len(TEXT), 5)]


def _openai() -> Wire:
    def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
        return {"id": "x", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more}

    counts = {"prompt_tokens": 30, "completion_tokens": 12, "total_tokens": 42, "prompt_tokens_details": {"cached_tokens": 10}}
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    events = [chunk({"content": piece}) for piece in _pieces()]
    events += [chunk({"tool_calls": [call]}), chunk({}, "stop"), {"id": "x", "model": "m", "choices": [], "usage": counts}]
    return Wire("groq", (*(sse(one) for one in events), b"data: [DONE]\n\n"), usage_at=(len(events) - 1,))


def _anthropic() -> Wire:
    def named(data: dict[str, Any]) -> bytes:
        return sse(data, named=True)

    start = {"type": "message_start", "message": {"model": "m", "usage": {"input_tokens": 30, "output_tokens": 1}}}
    blocks = [{"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}]
    blocks += [{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}} for piece in _pieces()]
    blocks += [{"type": "content_block_stop", "index": 0}]
    end = [{"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 12}}, {"type": "message_stop"}]
    return Wire("anthropic", tuple(map(named, [start, *blocks, *end])), usage_at=(0, len(blocks) + 1))


def _gemini() -> Wire:
    counts = {"promptTokenCount": 30, "candidatesTokenCount": 9, "thoughtsTokenCount": 3, "totalTokenCount": 42}
    events = [{"candidates": [{"content": {"parts": [{"text": piece}]}, "index": 0}]} for piece in _pieces()]
    last = {"content": {"parts": [{"functionCall": {"name": "f", "args": {}}}]}, "finishReason": "STOP", "index": 0}
    events.append({"candidates": [last], "usageMetadata": counts, "modelVersion": "m"})
    return Wire("gemini", tuple(sse(one) for one in events), usage_at=(len(events) - 1,))


def _bedrock() -> Wire:
    deltas = [frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": piece}}) for piece in _pieces()]
    stop = frame("messageStop", {"stopReason": "end_turn"})
    counts = {"inputTokens": 20, "outputTokens": 12, "cacheReadInputTokens": 10}
    events = (frame("messageStart", {"role": "assistant"}), *deltas, stop, frame("metadata", {"usage": counts}))
    return Wire("bedrock", events, content_type="application/vnd.amazon.eventstream", usage_at=(len(events) - 1,))


def _cohere() -> Wire:
    events: list[dict[str, Any]] = [{"type": "message-start", "id": "x", "delta": {"message": {"role": "assistant"}}}]
    events += [{"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": piece}}}} for piece in _pieces()]
    counts = {"billed_units": {"input_tokens": 30, "output_tokens": 12}}
    events.append({"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": counts}})
    return Wire("cohere", tuple(sse(one, named=True) for one in events), usage_at=(len(events) - 1,))


def _responses() -> Wire:
    counts = {"input_tokens": 30, "output_tokens": 12, "output_tokens_details": {"reasoning_tokens": 3}}
    whole = {"id": "r", "model": "m", "status": "completed", "output": [], "usage": counts}
    events: list[dict[str, Any]] = [{"type": "response.created", "response": {**whole, "status": "in_progress", "usage": None}}]
    events += [{"type": "response.output_text.delta", "output_index": 0, "delta": piece} for piece in _pieces()]
    events.append({"type": "response.completed", "response": whole})
    return Wire("openai-responses", tuple(sse(one, named=True) for one in events), usage_at=(len(events) - 1,))


WIRES = (_openai(), _anthropic(), _gemini(), _bedrock(), _cohere(), _responses())

# --- damage -----------------------------------------------------------------------------------------------------------

Mutation = Callable[[random.Random, Wire, list[bytes]], list[bytes]]
ODD: tuple[Any, ...] = (None, 0, -1, 1e308, 10**9, 0.5, "", "x", [], {}, [[]], [None], {"a": None}, True, "\ud800")


def _cut(dice: random.Random, wire: Wire, events: list[bytes]) -> list[bytes]:
    whole = b"".join(events)
    return [whole[: dice.randrange(len(whole))]]


def _dropped(dice: random.Random, wire: Wire, events: list[bytes]) -> list[bytes]:
    at = dice.randrange(len(events))
    return events[:at] + events[at + 1 :]


def _doubled(dice: random.Random, wire: Wire, events: list[bytes]) -> list[bytes]:
    at = dice.randrange(len(events))
    return [*events[: at + 1], *[events[at]] * dice.randint(1, 3), *events[at + 1 :]]


def _reordered(dice: random.Random, wire: Wire, events: list[bytes]) -> list[bytes]:
    one, other = dice.randrange(len(events)), dice.randrange(len(events))
    events = list(events)
    events[one], events[other] = events[other], events[one]
    return events


def _flipped(dice: random.Random, wire: Wire, events: list[bytes]) -> list[bytes]:
    whole = bytearray(b"".join(events))
    for _ in range(dice.randint(1, 4)):
        whole[dice.randrange(len(whole))] ^= 1 << dice.randrange(8)
    return [bytes(whole)]


def _noise(dice: random.Random, wire: Wire, events: list[bytes]) -> list[bytes]:
    at = dice.randrange(len(events) + 1)
    noise = dice.choice(
        [dice.randbytes(dice.randint(1, 200)), b"data: {\n\n", b"data: [1]\n\n", b"data: null\n\n", b"<html>", b"\x00" * 50]
    )
    return [*events[:at], noise, *events[at:]]


def _huge(dice: random.Random, wire: Wire, events: list[bytes]) -> list[bytes]:
    at = dice.randrange(len(events) + 1)
    big = b"A" * dice.choice([70_000, 300_000])
    return [*events[:at], dice.choice([b"data: " + big, b": " + big + b"\n\n", b"data: " + big + b"\n\n"]), *events[at:]]


def _spelled(dice: random.Random, wire: Wire, events: list[bytes]) -> list[bytes]:
    """Other line ends, a byte-order mark, comments that keep alive, another encoding."""
    whole = b"".join(events)
    choice = dice.randrange(5)
    if choice == 0:
        return [whole.replace(b"\n", b"\r\n")]
    if choice == 1:
        return [whole.replace(b"\n", b"\r")]
    if choice == 2:
        return [b"\xef\xbb\xbf" + whole]
    if choice == 3:
        return [piece for event in events for piece in (b": keep-alive\n\n", event)]
    return [event.decode("utf-8", "replace").encode("latin-1", "replace") if not wire.binary else event for event in events]


def _misshapen(dice: random.Random, wire: Wire, events: list[bytes]) -> list[bytes]:
    """A value somewhere in one event is of another kind."""
    at = dice.randrange(len(events))
    if wire.binary:
        name = dice.choice(["messageStart", "contentBlockStart", "contentBlockDelta", "messageStop", "metadata", "new"])
        field = dice.choice(["delta", "start", "contentBlockIndex", "stopReason", "usage", "x"])
        return [*events[:at], frame(name, {field: dice.choice(ODD)}), *events[at + 1 :]]
    head, _, rest = events[at].partition(b"data: ")
    with contextlib.suppress(ValueError):
        data = json.loads(rest)
        places = list(places_in(data)) if isinstance(data, dict | list) else []
        if not places:
            return events
        holder, key = dice.choice(places)
        holder[key] = deepcopy(dice.choice(ODD))
        return [*events[:at], head + b"data: " + json.dumps(data).encode() + b"\n\n", *events[at + 1 :]]
    return events


def places_in(data: Any) -> Iterator[tuple[Any, Any]]:
    for key, value in data.items() if isinstance(data, dict) else enumerate(data):
        yield data, key
        if isinstance(value, dict | list):
            yield from places_in(value)


MUTATIONS: tuple[Mutation, ...] = (_cut, _dropped, _doubled, _reordered, _flipped, _noise, _huge, _spelled, _misshapen)


def damaged(dice: random.Random, wire: Wire) -> tuple[str, bytes]:
    """A damaged stream and the names of what was done to it."""
    events, done = list(wire.events), []
    for _ in range(dice.choice([1, 1, 1, 2, 3])):
        mutation = dice.choice(MUTATIONS)
        events = [event for event in mutation(dice, wire, events) if event] or [b"\n"]
        done.append(mutation.__name__.strip("_"))
    return " ".join(done), b"".join(events)


# --- asking -----------------------------------------------------------------------------------------------------------


@dataclass
class Seen:
    """How a stream ended for its caller."""

    text: str
    usage: Usage | None
    error: ProviderError | None
    seconds: float


@contextlib.asynccontextmanager
async def asking(wire: Wire) -> AsyncIterator[tuple[Upstream, Any]]:
    async with listening() as upstream:
        more = {"location": "eu-west-2"} if wire.kind == "bedrock" else {}
        provider = make(wire.kind, upstream, read_timeout_s=1.0, **more)
        try:
            yield upstream, provider
        finally:
            await provider.aclose()


def in_pieces(dice: random.Random) -> Callable[[bytes], list[bytes]]:
    """A way to cut a body: whole, in a few pieces, or in many small ones, anywhere, also within a sign."""
    count = dice.choice([0, 1, 3, 40])

    def cut(body: bytes) -> list[bytes]:
        places = sorted(dice.randrange(len(body) + 1) for _ in range(count))
        return [body[start:end] for start, end in zip([0, *places], [*places, len(body)], strict=True)]

    return cut


async def told(upstream: Upstream, provider: Any, wire: Wire, body: bytes) -> Seen:
    """How one stream ends. Raises whatever is not a `ProviderError`."""
    upstream.answers[:] = [(200, wire.content_type, body, {})]
    request = Request(model="m", messages=(Message("user", "x"),))
    got: list[Chunk] = []
    error: ProviderError | None = None
    now = asyncio.get_running_loop().time
    began = now()
    try:
        async with asyncio.timeout(LONGEST_S * 5), provider.stream(request, Deployment(provider="acme", model="m", timeout_s=20)) as chunks:
            async for chunk in chunks:
                got.append(chunk)
    except ProviderError as failed:
        error = failed
    whole: list[dict[str, Any]] = []
    for chunk in got:  # as the gateway does with what it is given
        merge_tool_calls(whole, chunk.tool_calls)
    assert len(whole) < 1100
    usage = next((chunk.usage for chunk in reversed(got) if chunk.usage), None)
    return Seen("".join(chunk.text for chunk in got), usage, error, now() - began)


def within(usage: Usage | None, right: Usage) -> bool:
    """Whether a usage counts nothing that the provider did not count: damage may lose tokens, and never invents them."""
    return usage is None or all(0 <= getattr(usage, name) <= getattr(right, name) for name in TOKEN_CLASSES)
