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
from aiplat_lab.core.types import Chunk, Json, Message, Request, Response, Usage
from aiplat_lab.gateway._door import Caller, Door, Fault, attribution, cache_mode, dumps, facts, json_reply, read_json, send_events, wanted

MESSAGES = "anthropic.messages"
_STOPS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}
_TYPES = {400: "invalid_request_error", 401: "authentication_error", 402: "billing_error", 403: "permission_error", 404: "not_found_error"}
_TYPES |= {413: "request_too_large", 429: "rate_limit_error", 503: "overloaded_error", 504: "timeout_error"}
_SAME = ("max_tokens", "temperature", "top_p")
_BYTES_A_TOKEN = 4


class AnthropicFace:
    """Errors as Anthropic's SDKs read them."""

    def fault_body(self, fault: Fault) -> dict[str, Json]:
        """`{"type": "error", "error": {"type", "message"}}`."""
        kind = _TYPES.get(fault.status, "api_error" if fault.status >= 500 else "invalid_request_error")
        return {"type": "error", "error": {"type": kind, "message": fault.error.message}, "request_id": fault.error.call_id or None}


async def messages(door: Door, request: web.Request, caller: Caller) -> web.StreamResponse:
    """`POST /v1/messages`."""
    body = await read_json(request)
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
    asked = _request(request, caller, body)
    count = await door.gateway.count_tokens(asked)
    if count is not None:
        return json_reply({"input_tokens": count})
    size = len(dumps({name: body[name] for name in ("system", "messages", "tools") if name in body}))
    return json_reply({"input_tokens": math.ceil(size / _BYTES_A_TOKEN)}, headers={"x-aiplat-estimate": "true"})


def _request(request: web.Request, caller: Caller, body: Mapping[str, Json]) -> Request:
    metadata = body.get("metadata")
    return Request(
        model=wanted(body, "model", str, "the name of a model"),
        messages=tuple(_read_messages(body)),
        settings=_settings(body),
        stream=body.get("stream") is True,
        cache=cache_mode(request),
        attribution=attribution(request, caller, user=metadata.get("user_id") if isinstance(metadata, dict) else None),
        call_id=new_id(),
        wire=MESSAGES,
        body=body,
    )


# --- asking: into the shape of OpenAI's chat wire, which is what the pipeline knows -----------------------------------


def _read_messages(body: Mapping[str, Json]) -> Iterator[Message]:
    system = body.get("system")
    if system:
        yield Message("system", system if isinstance(system, str) else _plain_text(system, "system"))
    for index, message in enumerate(wanted(body, "messages", list, "a list of one or more messages")):
        where = f"messages[{index}]"
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise UsageError(f'{where} must be an object such as {{"role": "user", "content": "…"}}')
        content = message.get("content")
        if isinstance(content, str):
            yield Message(message["role"], content)
        elif isinstance(content, list) and all(isinstance(block, dict) for block in content):
            yield from _from_blocks(message["role"], content, where)
        else:
            raise UsageError(f"{where}.content must be a text or a list of blocks")


def _from_blocks(role: str, blocks: Sequence[Mapping[str, Json]], where: str) -> Iterator[Message]:
    """One message of blocks: results of tools become messages of their own, which stand first."""
    parts: list[Mapping[str, Json]] = []
    calls: list[dict[str, Json]] = []
    for block in blocks:
        kind = block.get("type")
        if kind == "tool_result":
            content = block.get("content") or ""
            text = content if isinstance(content, str) else _plain_text(content, where)
            yield Message("tool", text, {"tool_call_id": str(block.get("tool_use_id", ""))})
        elif kind == "tool_use":
            function = {"name": block.get("name", ""), "arguments": json.dumps(block.get("input") or {}, ensure_ascii=False)}
            calls.append({"id": str(block.get("id", "")), "type": "function", "function": function})
        elif kind not in {"thinking", "redacted_thinking"}:
            parts.append(_part(block))
    if parts or calls:
        texts = [str(part["text"]) for part in parts if part.get("type") == "text"]
        content = "".join(texts) if len(texts) == len(parts) else tuple(parts)
        yield Message(role, content or None if calls else content, {"tool_calls": calls} if calls else {})


def _part(block: Mapping[str, Json]) -> Mapping[str, Json]:
    if block.get("type") == "text":
        return {"type": "text", "text": str(block.get("text", ""))}
    source = block.get("source")
    if block.get("type") == "image" and isinstance(source, dict):
        url = source.get("url") or f"data:{source.get('media_type', 'image/png')};base64,{source.get('data', '')}"
        return {"type": "image_url", "image_url": {"url": url}}
    return dict(block)


def _plain_text(blocks: Json, where: str) -> str:
    if not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks):
        raise UsageError(f"{where} must be a text or a list of blocks")
    return "".join(str(block.get("text", "")) if block.get("type", "text") == "text" else dumps(block).decode() for block in blocks)


def _settings(body: Mapping[str, Json]) -> dict[str, Json]:
    settings: dict[str, Json] = {name: body[name] for name in _SAME if body.get(name) is not None}
    if body.get("stop_sequences"):
        settings["stop"] = body["stop_sequences"]
    tools = body.get("tools")
    if isinstance(tools, list) and tools:
        settings["tools"] = [_tool(tool) for tool in tools if isinstance(tool, dict)]
    choice = body.get("tool_choice")
    if isinstance(choice, dict):
        words: dict[str, Json] = {"auto": "auto", "any": "required", "none": "none"}
        named = {"type": "function", "function": {"name": choice.get("name", "")}}
        settings["tool_choice"] = words.get(str(choice.get("type")), named)
        if choice.get("disable_parallel_tool_use"):
            settings["parallel_tool_calls"] = False
    return settings


def _tool(tool: Mapping[str, Json]) -> dict[str, Json]:
    if tool.get("type") not in (None, "custom"):
        return dict(tool)
    function = {"name": tool.get("name", ""), "parameters": tool.get("input_schema") or {}}
    return {"type": "function", "function": {**function, "description": tool["description"]} if tool.get("description") else function}


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
        content.append({"type": "tool_use", "id": call.get("id", ""), "name": function.get("name", ""), "input": _arguments(function)})
    return {
        **_message(asked, response.response_model, response.usage),
        "content": content,
        "stop_reason": _STOPS.get(response.finish_reason, "end_turn"),
    }


def _arguments(function: Mapping[str, Json]) -> Json:
    try:
        found = json.loads(function.get("arguments") or "{}")
    except ValueError:
        return {"arguments": function.get("arguments")}
    return found if isinstance(found, dict) else {"arguments": found}


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
    return b"event: " + str(data["type"]).encode() + b"\ndata: " + dumps(dict(data)) + b"\n\n"
