"""Anthropic's Messages routes, for its SDKs and whatever else speaks its wire."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from aiplat_lab.core.errors import UsageError
from aiplat_lab.core.ids import new_id
from aiplat_lab.core.types import Chunk, Json, Message, Request, Response, Usage, wire_json
from aiplat_lab.gateway._door import (
    Caller,
    Door,
    Fault,
    Fields,
    Lost,
    attribution,
    cache_mode,
    check_fields,
    check_settings,
    facts,
    json_reply,
    model_of,
    read_json,
    send_events,
    wanted,
)
from aiplat_lab.gateway.tools import arguments_of

MESSAGES = "anthropic.messages"
_STOPS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}
_TYPES = {400: "invalid_request_error", 401: "authentication_error", 402: "billing_error", 403: "permission_error", 404: "not_found_error"}
_TYPES |= {413: "request_too_large", 429: "rate_limit_error", 503: "overloaded_error", 504: "timeout_error"}
_SAME = ("max_tokens", "temperature", "top_p", "top_k")
_FIELDS: Fields = {
    "stream": (bool, "true or false"),
    "tools": (list, "a list of tools"),
    "stop_sequences": (list, "a list of texts"),
    "metadata": (dict, "an object"),
    "thinking": (dict, "an object"),
    "output_config": (dict, "an object"),
    "tool_choice": (dict, "an object"),
}
_KNOWN = frozenset(_SAME) | frozenset(_FIELDS) | {"model", "messages", "system", "output_format"}
_HINTS = frozenset({"cache_control", "context_management", "diagnostics", "service_tier", "speed"})
_TOOL_KNOWN = frozenset({"type", "name", "description", "input_schema", "strict"})
_TOOL_HINTS = frozenset({"cache_control", "defer_loading", "eager_input_streaming", "input_examples"})
_THINKING = ((2048, "low"), (8192, "medium"))
_EFFORTS = {"max": "xhigh"}
_BYTES_A_TOKEN = 4


_COUNT_SCHEMA: dict[str, Json] = {
    "type": "object",
    "required": ["model", "messages"],
    "properties": {
        "model": {"type": "string"},
        "messages": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["role", "content"],
                "properties": {
                    "role": {"enum": ["user", "assistant"]},
                    "content": {"type": ["string", "array"], "items": {"type": "object", "properties": {"type": {"type": "string"}}}},
                },
            },
        },
        "system": {"type": ["string", "array"], "items": {"type": "object"}},
        "tools": {"type": "array", "items": {"type": "object"}},
        "tool_choice": {"type": "object"},
        "thinking": {"type": "object"},
        "output_config": {"type": "object"},
    },
}
_ASKED: dict[str, Json] = {
    "max_tokens": {"type": "integer", "minimum": 1},
    "stream": {"type": "boolean"},
    "temperature": {"type": "number"},
    "top_p": {"type": "number"},
    "top_k": {"type": "integer"},
    "stop_sequences": {"type": "array", "items": {"type": "string"}},
    "metadata": {"type": "object", "properties": {"user_id": {"type": "string"}}},
}
SCHEMAS: Mapping[str, dict[str, Json]] = {
    "/v1/messages": {
        **_COUNT_SCHEMA,
        "required": ["model", "messages", "max_tokens"],
        "properties": {**_COUNT_SCHEMA["properties"], **_ASKED},
    },
    "/v1/messages/count_tokens": _COUNT_SCHEMA,
}
"""What the routes' bodies hold, for the OpenAPI document."""


class AnthropicFace:
    """Errors as Anthropic's SDKs read them."""

    def fault_body(self, fault: Fault) -> dict[str, Json]:
        """`{"type": "error", "error": {"type", "message"}}`."""
        kind = _TYPES.get(fault.status, "api_error" if fault.status >= 500 else "invalid_request_error")
        return {"type": "error", "error": {"type": kind, "message": fault.error.message}, "request_id": fault.error.call_id or None}


async def messages(door: Door, request: web.Request, caller: Caller) -> web.StreamResponse:
    """`POST /v1/messages`."""
    body = await read_json(request)
    check_fields(body, _FIELDS)
    wanted(body, "max_tokens", int, "the most tokens to write, a whole number")
    asked = _request(request, caller, body)
    if asked.stream:
        return await send_events(door, request, asked, _Events(asked))
    response = await door.handle(asked)
    own = response.body if response.body is not None and response.body.get("type") == "message" else None
    return json_reply(own or _whole(asked, response), headers=facts(response))


async def count_tokens(door: Door, request: web.Request, caller: Caller) -> web.StreamResponse:
    """`POST /v1/messages/count_tokens`: the provider's own count, or an estimate where it has none (`x-aiplat-estimate: true`)."""
    body = await read_json(request)
    check_fields(body, _FIELDS)
    asked = _request(request, caller, body)
    count = await door.gateway.count_tokens(asked)
    if count is not None:
        return json_reply({"input_tokens": count})
    size = len(wire_json({name: body[name] for name in ("system", "messages", "tools") if name in body}))
    return json_reply({"input_tokens": math.ceil(size / _BYTES_A_TOKEN)}, headers={"x-aiplat-estimate": "true"})


def _request(request: web.Request, caller: Caller, body: Mapping[str, Json]) -> Request:
    metadata = body.get("metadata")
    lost = Lost()
    lost.fields(body, known=_KNOWN, hints=_HINTS)
    return Request(
        model=model_of(body),
        messages=tuple(_read_messages(body, lost)),
        settings=_settings(body, lost),
        stream=body.get("stream") is True,
        cache=cache_mode(request),
        attribution=attribution(request, caller, user=metadata.get("user_id") if isinstance(metadata, dict) else None),
        call_id=new_id(),
        wire=MESSAGES,
        body=body,
        native=tuple(lost.native),
        hints=tuple(lost.hints),
    )


# --- asking: into the shape of OpenAI's chat wire, which is what the pipeline knows -----------------------------------


def _read_messages(body: Mapping[str, Json], lost: Lost) -> Iterator[Message]:
    system = body.get("system")
    if system:
        yield Message("system", system if isinstance(system, str) else _plain_text(system, "system", lost))
    for index, message in enumerate(wanted(body, "messages", list, "a list of one or more messages")):
        where = f"messages[{index}]"
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise UsageError(f'{where} must be an object such as {{"role": "user", "content": "…"}}')
        content = message.get("content")
        if isinstance(content, str):
            yield Message(message["role"], content)
        elif isinstance(content, list) and all(isinstance(block, dict) for block in content):
            yield from _from_blocks(message["role"], content, where, lost)
        else:
            raise UsageError(f"{where}.content must be a text or a list of blocks")


def _from_blocks(role: str, blocks: Sequence[Mapping[str, Json]], where: str, lost: Lost) -> Iterator[Message]:
    """One message of blocks: results of tools become messages of their own, which stand first."""
    parts: list[Mapping[str, Json]] = []
    calls: list[dict[str, Json]] = []
    for block in blocks:
        kind = block.get("type")
        if not isinstance(kind, str):
            raise UsageError(f"{where}.content holds a block whose type is no word")
        if block.get("cache_control"):
            lost.hints.append("cache_control")
        if kind == "tool_result":
            content = block.get("content") or ""
            text = content if isinstance(content, str) else _plain_text(content, where, lost)
            yield Message("tool", text, {"tool_call_id": str(block.get("tool_use_id", ""))})
        elif kind == "tool_use":
            function = {"name": block.get("name", ""), "arguments": json.dumps(block.get("input") or {}, ensure_ascii=False)}
            calls.append({"id": str(block.get("id", "")), "type": "function", "function": function})
        elif kind in ("thinking", "redacted_thinking"):
            lost.hints.append("thinking_blocks")
        else:
            parts.append(_part(block, where, lost))
    if parts or calls:
        texts = [str(part["text"]) for part in parts if part.get("type") == "text"]
        content = "".join(texts) if len(texts) == len(parts) else tuple(parts)
        yield Message(role, content or None if calls else content, {"tool_calls": calls} if calls else {})


def _part(block: Mapping[str, Json], where: str, lost: Lost) -> Mapping[str, Json]:
    kind, source = block.get("type"), block.get("source")
    if kind == "text":
        if block.get("citations"):
            lost.hints.append("citations")
        return {"type": "text", "text": str(block.get("text", ""))}
    if kind == "image" and isinstance(source, dict) and source.get("type") in ("base64", "url"):
        return {"type": "image_url", "image_url": {"url": source.get("url") or _data_url(source, "image/png")}}
    if kind == "document" and isinstance(source, dict) and source.get("type") == "base64":
        name = str(block.get("title") or "document.pdf")
        return {"type": "file", "file": {"filename": name, "file_data": _data_url(source, "application/pdf")}}
    if kind == "document" and isinstance(source, dict) and source.get("type") == "text":
        return {"type": "text", "text": str(source.get("data", ""))}
    lost.native.append(f"{where} ({str(kind)[:40]})")
    return dict(block)


def _data_url(source: Mapping[str, Json], kind: str) -> str:
    return f"data:{source.get('media_type', kind)};base64,{source.get('data', '')}"


def _plain_text(blocks: Json, where: str, lost: Lost) -> str:
    if not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks):
        raise UsageError(f"{where} must be a text or a list of blocks")
    for block in blocks:
        if block.get("cache_control"):
            lost.hints.append("cache_control")
        if block.get("type", "text") != "text":
            lost.native.append(f"{where} ({str(block.get('type'))[:40]})")
    return "".join(str(block.get("text", "")) if block.get("type", "text") == "text" else wire_json(block).decode() for block in blocks)


def _settings(body: Mapping[str, Json], lost: Lost) -> dict[str, Json]:
    settings: dict[str, Json] = {name: body[name] for name in _SAME if body.get(name) is not None}
    if body.get("stop_sequences"):
        settings["stop"] = body["stop_sequences"]
    tools = body.get("tools")
    if isinstance(tools, list) and tools:
        settings["tools"] = [_tool(tool, index, lost) for index, tool in enumerate(tools)]
    choice = body.get("tool_choice")
    if isinstance(choice, dict):
        words: dict[str, Json] = {"auto": "auto", "any": "required", "none": "none"}
        named = {"type": "function", "function": {"name": choice.get("name", "")}}
        settings["tool_choice"] = words.get(str(choice.get("type")), named)
        if choice.get("disable_parallel_tool_use"):
            settings["parallel_tool_calls"] = False
    _effort_and_format(body, settings)
    check_settings(settings)
    return settings


def _effort_and_format(body: Mapping[str, Json], settings: dict[str, Json]) -> None:
    """How long to think and what form the answer must have, in OpenAI's words."""
    thinking, config = body.get("thinking") or {}, body.get("output_config") or {}
    budget = thinking.get("budget_tokens")
    if thinking.get("type") == "enabled" and isinstance(budget, int):
        settings["reasoning_effort"] = next((word for most, word in _THINKING if budget <= most), "high")
    if config.get("effort"):
        settings["reasoning_effort"] = _EFFORTS.get(str(config["effort"]), config["effort"])
    shape = config.get("format") or body.get("output_format")
    if isinstance(shape, dict) and shape.get("type") == "json_schema":
        settings["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", "schema": shape.get("schema") or {}}}


def _tool(tool: Json, index: int, lost: Lost) -> dict[str, Json]:
    if not isinstance(tool, dict):
        raise UsageError(f"tools[{index}] must be an object")
    if tool.get("type") not in (None, "custom"):
        lost.native.append(f"tools[{index}] ({str(tool['type'])[:40]})")
        return dict(tool)
    lost.fields(tool, known=_TOOL_KNOWN, hints=_TOOL_HINTS)
    function = {"name": tool.get("name", ""), "parameters": tool.get("input_schema") or {}}
    more = {name: tool[name] for name in ("description", "strict") if tool.get(name)}
    return {"type": "function", "function": {**function, **more}}


# --- answering --------------------------------------------------------------------------------------------------------


def _usage(usage: Usage | None) -> dict[str, Json]:
    counted = usage or Usage()
    return {
        "input_tokens": counted.input_tokens,
        "cache_creation_input_tokens": counted.cache_write_tokens,
        "cache_read_input_tokens": counted.cache_read_tokens,
        "output_tokens": counted.total_output_tokens,
    }


def _message(asked: Request, model: str, usage: Usage | None) -> dict[str, Json]:
    return {
        "id": f"msg_{asked.call_id}",
        "type": "message",
        "role": "assistant",
        "model": model or asked.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": _usage(usage),
    }


def _whole(asked: Request, response: Response) -> dict[str, Json]:
    content: list[dict[str, Json]] = [{"type": "text", "text": response.text}] if response.text or not response.tool_calls else []
    for call in response.tool_calls:
        function = call.get("function") or {}
        content.append({"type": "tool_use", "id": call.get("id", ""), "name": function.get("name", ""), "input": arguments_of(function)})
    return {
        **_message(asked, response.response_model, response.usage),
        "content": content,
        "stop_reason": _STOPS.get(response.finish_reason, "end_turn"),
    }


@dataclass(slots=True)
class _Events:
    """Pieces as the events of Anthropic's stream: a message, its blocks one after the other, each with its pieces."""

    asked: Request
    usage: Usage | None = None
    finish_reason: str = ""
    model: str = ""
    begun: bool = False
    passed: bool = False
    """Whether the provider's own events were passed on, which are whole by themselves."""
    index: int = -1
    open_block: tuple[str, int] | None = None
    """Kind of the open block, and the number of its tool call."""

    def begin(self) -> bytes:
        """Nothing yet: the first piece may be the provider's own event."""
        return b""

    def error(self, fault: Fault) -> bytes:
        """The event of a stream that breaks."""
        return _event(AnthropicFace().fault_body(fault))

    def of(self, chunk: Chunk) -> bytes:
        """The events for one piece."""
        if chunk.body is not None and isinstance(chunk.body.get("type"), str):
            self.passed = True
            return _event(chunk.body)
        self.usage = chunk.usage or self.usage
        self.finish_reason = chunk.finish_reason or self.finish_reason
        self.model = chunk.response_model or self.model
        found = b""
        if chunk.text:
            found += self._open("text", 0, {"type": "text", "text": ""})
            found += self._delta({"type": "text_delta", "text": chunk.text})
        for call in chunk.tool_calls:
            found += self._tool(call)
        return found

    def end(self, response: Response | None) -> bytes:
        """The events that close the message."""
        if self.passed:
            return b""
        found = self._begin() + self._close()
        delta = {"stop_reason": _STOPS.get(self.finish_reason, "end_turn"), "stop_sequence": None}
        return found + _event({"type": "message_delta", "delta": delta, "usage": _usage(self.usage)}) + _event({"type": "message_stop"})

    def _begin(self) -> bytes:
        if self.begun:
            return b""
        self.begun = True
        return _event({"type": "message_start", "message": _message(self.asked, self.model, self.usage)})

    def _tool(self, call: Mapping[str, Json]) -> bytes:
        place = call.get("index", 0)
        function: Mapping[str, Any] = call.get("function") or {}  # Any: as Json
        start = {"type": "tool_use", "id": call.get("id", ""), "name": function.get("name", ""), "input": {}}
        found = self._open("tool", place, start)
        return (
            found + self._delta({"type": "input_json_delta", "partial_json": function["arguments"]}) if function.get("arguments") else found
        )

    def _open(self, kind: str, place: int, block: dict[str, Json]) -> bytes:
        if self.open_block == (kind, place):
            return b""
        found = self._begin() + self._close()
        self.open_block = (kind, place)
        self.index += 1
        return found + _event({"type": "content_block_start", "index": self.index, "content_block": block})

    def _delta(self, delta: dict[str, Json]) -> bytes:
        return _event({"type": "content_block_delta", "index": self.index, "delta": delta})

    def _close(self) -> bytes:
        if self.open_block is None:
            return b""
        self.open_block = None
        return _event({"type": "content_block_stop", "index": self.index})


def _event(data: Mapping[str, Json]) -> bytes:
    return b"event: " + str(data["type"]).encode() + b"\ndata: " + wire_json(dict(data)) + b"\n\n"
