"""OpenAI's chat and embeddings format: pure functions from a `Request` to a body, and from a body to what it says."""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiplat_lab.core.types import Chunk, Deployment, Json, Message, Request, Response, Usage

CHAT = "openai.chat"
EMBEDDINGS = "openai.embeddings"
LIMITS = ("max_completion_tokens", "max_tokens")
"""The two names of the limit on output tokens, the newer one first."""

_FINISH = {
    "function_call": "tool_calls",
    "tool_use": "tool_calls",
    "eos": "stop",
    "eos_token": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_length": "length",
    "safety": "content_filter",
}
_MORE_THAN_TEXT = ("tool_calls", "refusal", "reasoning_content", "reasoning", "annotations", "audio", "function_call")


@dataclass(slots=True)
class Quirks:
    """What a host wants spelled differently; begins as known and learns from refusals."""

    newer_limit: bool
    """The limit on output is called `max_completion_tokens`."""
    developer_role: bool
    """System messages may have the role `developer`."""
    stream_usage: bool = True
    """A stream gives its usage when `stream_options` asks."""

    @property
    def limit_name(self) -> str:
        """What the limit on output is called."""
        return LIMITS[0] if self.newer_limit else LIMITS[1]


# --- asking -----------------------------------------------------------------------------------------------------------


def output_limit(settings: Mapping[str, Json]) -> int | None:
    """The most tokens that may be written, by either name; None without a limit."""
    for name in LIMITS:
        if isinstance(settings.get(name), int):
            return int(settings[name])
    return None


def chat_body(request: Request, deployment: Deployment, quirks: Quirks, *, stream: bool) -> dict[str, Json]:
    """The body of a chat call: the caller's own where it is in this format, else translated.

    In a caller's own body only the model's name, the stream's usage option, a tier of service that the deployment asks for where
    the caller names none, and a limit that a policy lowered in `request.settings` differ.
    """
    body = _own_body(request, quirks) if request.wire == CHAT and request.body is not None else _translated(request, quirks)
    body["model"] = deployment.model
    if deployment.service_tier:
        body.setdefault("service_tier", deployment.service_tier)
    body.pop("stream", None)
    options = body.pop("stream_options", None)
    if stream:
        body["stream"] = True
        options = {**(options or {}), "include_usage": True} if quirks.stream_usage else options
        if options:
            body["stream_options"] = options
    return body


def _own_body(request: Request, quirks: Quirks) -> dict[str, Json]:
    body = dict(request.body or {})
    limit = output_limit(request.settings)
    if limit is not None and limit != output_limit(body):
        body[next((name for name in LIMITS if name in body), quirks.limit_name)] = limit
    return body


def _translated(request: Request, quirks: Quirks) -> dict[str, Json]:
    body = {name: value for name, value in request.settings.items() if value is not None and name not in LIMITS}
    limit = output_limit(request.settings)
    if limit is not None:
        body[quirks.limit_name] = limit
    body["messages"] = [_message(message, quirks) for message in request.messages]
    return body


def _message(message: Message, quirks: Quirks) -> dict[str, Json]:
    data = message.to_json()
    if data["role"] == "developer" and not quirks.developer_role:
        data["role"] = "system"
    return data


def embed_body(request: Request, deployment: Deployment) -> dict[str, Json]:
    """The body of an embeddings call, the caller's own where it is in this format."""
    if request.wire == EMBEDDINGS and request.body is not None:
        return {**request.body, "model": deployment.model}
    settings = {name: value for name, value in request.settings.items() if value is not None}
    return {**settings, "model": deployment.model, "input": list(request.inputs)}


# --- reading ----------------------------------------------------------------------------------------------------------


def read_usage(data: Json, *, tier: Json = None, output: Json = None) -> Usage | None:
    """The five disjoint classes out of a `usage` object of the chat or the Responses format; None where it counts nothing.

    Cached and written tokens are taken out of the prompt's, reasoning out of the completion's. Hosts differ in where
    they put them, and some leave reasoning out of the completion's count, which their own total shows. A total that is no number
    of tokens (negative, not finite, a text) leaves the usage unknown.

    Args:
        data: the object.
        tier: the tier of service that stands beside it.
        output: the items of a Responses answer, whose searches are paid for each.
    """
    if not isinstance(data, Mapping):
        return None
    sums = data.get("prompt_tokens", data.get("input_tokens")), data.get("completion_tokens", data.get("output_tokens"))
    if not all(value is None or is_count(value) for value in sums):
        return None
    prompt, completion = count(sums[0]), count(sums[1])
    total = count(data.get("total_tokens"))
    inside = _object(data, "prompt_tokens_details") or _object(data, "input_tokens_details")
    outside = _object(data, "completion_tokens_details") or _object(data, "output_tokens_details")
    read = min(count(inside.get("cached_tokens")) or count(data.get("prompt_cache_hit_tokens")) or count(data.get("cached_tokens")), prompt)
    written = min(count(inside.get("cache_write_tokens")) or count(inside.get("cache_creation_tokens")), prompt - read)
    reasoning = count(outside.get("reasoning_tokens")) or count(data.get("reasoning_tokens"))
    apart = reasoning > completion or (reasoning > 0 and total == prompt + completion + reasoning)
    if prompt + completion + reasoning == 0:
        return None
    said = completion if apart else completion - reasoning
    return Usage(
        input_tokens=prompt - read - written,
        cache_read_tokens=read,
        cache_write_tokens=written,
        output_tokens=said,
        reasoning_tokens=reasoning,
        other=_units(data, inside, outside, (prompt - read - written, read, said)) | _searches(output),
        service_tier=tier.lower()[:40] if isinstance(tier, str) else "",
    )


_BESIDE = {"num_search_queries": "web_searches", "citation_tokens": "citation_tokens", "num_sources_used": "search_sources"}
_ITEMS = {"web_search_call": "web_searches", "file_search_call": "storage_searches"}


def _units(
    data: Mapping[str, Json], inside: Mapping[str, Json], outside: Mapping[str, Json], classes: tuple[int, int, int]
) -> dict[str, int]:
    """What is paid apart: sound and pictures within the classes fresh, read and said, and what stands beside the tokens."""
    found: dict[str, int] = {}
    if not inside and not outside and _BESIDE.keys().isdisjoint(data):
        return found
    fresh, read, said = classes
    cached = _object(inside, "cached_tokens_details")
    for kind in ("audio", "image"):
        into, again = count(inside.get(f"{kind}_tokens")), min(count(cached.get(f"{kind}_tokens")), read)
        if into:
            found[f"input_{kind}_tokens"] = min(into - min(again, into), fresh)
            found[f"cache_{kind}_read_tokens"] = min(max(again, into - fresh), read)
            fresh, read = fresh - found[f"input_{kind}_tokens"], read - found[f"cache_{kind}_read_tokens"]
        out = min(count(outside.get(f"{kind}_tokens")), said)
        found[f"output_{kind}_tokens"] = out
        said -= out
    for theirs, ours in _BESIDE.items():
        if theirs in data:
            found[ours] = count(data[theirs])
    return {unit: number for unit, number in found.items() if number}


def _searches(output: Json) -> dict[str, int]:
    """How often the items of a Responses answer searched."""
    found: dict[str, int] = {}
    if output is None:
        return found
    for item in output if isinstance(output, Sequence) and not isinstance(output, str) else ():
        unit = _ITEMS.get(str(item.get("type"))) if isinstance(item, Mapping) else None
        if unit and _object(item, "action").get("type") in (None, "search"):
            found[unit] = found.get(unit, 0) + 1
    return found


_MOST = 10**10
"""No call counts as many tokens; what is beyond is a slip of the host."""


def count(value: Json) -> int:
    """A number of tokens as a provider may write it: an int, a float, or nothing."""
    return int(value) if is_count(value) else 0


def is_count(value: Json) -> bool:
    """Whether it can be a number of tokens of one call."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _MOST


def most(before: Json, value: Json) -> Json:
    """The greater of two counts of a running total, or the later value where they are none."""
    return max(before, value) if is_count(before) and is_count(value) else value


def _object(data: Mapping[str, Json], name: str) -> Mapping[str, Json]:
    value = data.get(name)
    return value if isinstance(value, Mapping) else {}


def finish(value: Json) -> str:
    """A finish reason in OpenAI's words; empty where none was given."""
    text = str(value or "").lower()
    return _FINISH.get(text, text)


def text_of(content: Json) -> str:
    """The text of a message's `content`, which some hosts give in parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence):
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, Mapping) and part.get("type", "text") == "text")
    return ""


def read_reply(data: Mapping[str, Json], *, own: bool) -> Response | None:
    """What a chat reply says; None where it has no choice to read.

    Args:
        data: the reply's JSON object.
        own: whether the caller speaks this format, so that the body goes back unchanged.
    """
    choices = data.get("choices")
    if not isinstance(choices, Sequence) or not choices or not isinstance(choices[0], Mapping):
        return None
    choice = choices[0]
    message = choice.get("message")
    if not isinstance(message, Mapping):
        return None
    calls = tuple(call for call in message.get("tool_calls") or () if isinstance(call, Mapping))
    reason, usage = finish(choice.get("finish_reason")), read_usage(data.get("usage"), tier=data.get("service_tier"))
    more = own or len(choices) > 1 or choice.get("logprobs") or any(message.get(name) for name in _MORE_THAN_TEXT)
    flags = _flags(reason, usage)
    text = text_of(message.get("content"))
    if not text and message.get("refusal"):
        text, flags = str(message["refusal"]), (*flags, "refusal")
    return Response(
        text=text,
        finish_reason=reason,
        usage=usage,
        response_model=str(data.get("model") or ""),
        body=dict(data) if more else None,
        tool_calls=calls,
        flags=flags,
    )


def _flags(reason: str, usage: Usage | None) -> tuple[str, ...]:
    return (*(() if reason else ("no_finish_reason",)), *(() if usage else ("no_usage",)))


def read_chunk(data: Mapping[str, Json], *, own: bool, usage_wanted: bool) -> Chunk:
    """What one event of a stream says.

    Args:
        data: the event's JSON object.
        own: whether the caller speaks this format, so that the event is passed on.
        usage_wanted: whether the caller asked for the closing event that holds the usage alone; if not, it is read
            here and not passed on, since a caller may not expect an event without a choice.
    """
    choices = data.get("choices") or ()
    choice: Mapping[str, Any] = choices[0] if choices and isinstance(choices[0], Mapping) else {}  # Any: as Json
    first = choice if choice.get("index") in (0, None) else {}
    delta = _object(first, "delta")
    calls = tuple(call for call in delta.get("tool_calls") or () if isinstance(call, Mapping))
    usage = read_usage(data["usage"], tier=data.get("service_tier")) if data.get("usage") else None
    pass_on = own and (bool(choices) or usage is None or usage_wanted)
    return Chunk(
        text=text_of(delta.get("content")) or str(delta.get("refusal") or ""),
        finish_reason=finish(first.get("finish_reason")),
        usage=usage,
        response_model=str(data.get("model") or ""),
        tool_calls=calls,
        body=data if pass_on else None,
    )


def whole_as_chunks(data: Mapping[str, Json]) -> list[Mapping[str, Json]]:
    """The events that a host which answers a stream with one plain reply should have sent."""
    head = {name: data[name] for name in ("id", "created", "model") if name in data} | {"object": "chat.completion.chunk"}
    events: list[Mapping[str, Json]] = []
    for choice in data.get("choices") or ():
        index = {"index": choice.get("index", 0)}
        delta = {**_object(choice, "message")}
        if delta.get("tool_calls"):
            delta["tool_calls"] = [{"index": place, **call} for place, call in enumerate(delta["tool_calls"])]
        events.append({**head, "choices": [{**index, "delta": delta, "finish_reason": None}]})
        events.append({**head, "choices": [{**index, "delta": {}, "finish_reason": choice.get("finish_reason")}]})
    return [*events, {**head, "choices": [], "usage": data["usage"]}] if data.get("usage") else events


def read_vectors(data: Mapping[str, Json], wanted: int | None) -> tuple[tuple[float, ...], ...] | None:
    """The vectors in the order of their inputs; None where they cannot be read or are not as many as `wanted`."""
    entries = data.get("data")
    if not isinstance(entries, Sequence) or (wanted is not None and len(entries) != wanted):
        return None
    try:
        ordered: Iterable[Mapping[str, Json]] = sorted(entries, key=lambda entry: int(entry["index"]))
        return tuple(_vector(entry["embedding"]) for entry in ordered)
    except (TypeError, KeyError, ValueError, AttributeError, struct.error, binascii.Error):
        return None


def _vector(value: Json) -> tuple[float, ...]:
    if isinstance(value, str):
        raw = base64.b64decode(value, validate=True)
        return struct.unpack(f"<{len(raw) // 4}f", raw)
    return tuple(float(number) for number in value)
