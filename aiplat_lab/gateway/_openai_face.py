"""OpenAI's chat, embeddings and models routes, for its SDKs and whatever else speaks its wire."""

from __future__ import annotations

import base64
import struct
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from aiplat_lab.core.errors import UnknownModel, UsageError, did_you_mean
from aiplat_lab.core.ids import new_id
from aiplat_lab.core.types import Chunk, Json, Message, Request, Response, Usage, wire_json
from aiplat_lab.gateway._door import (
    SETTINGS,
    Caller,
    Door,
    Fault,
    Fields,
    attribution,
    cache_mode,
    check_fields,
    check_objects,
    check_settings,
    facts,
    json_reply,
    known_name,
    model_of,
    read_json,
    send_events,
    wanted,
)

CHAT = "openai.chat"
EMBEDDINGS = "openai.embeddings"
_FIELDS: Fields = {
    "stream": (bool, "true or false"),
    "stream_options": (dict, "an object"),
    "max_tokens": (int, "a whole number"),
    "max_completion_tokens": (int, "a whole number"),
    "tools": (list, "a list of tools"),
    **SETTINGS,
    "metadata": (dict, "an object"),
}
_CALL: Fields = {"function": (dict, "an object")}
_NOT_SETTINGS = frozenset({"model", "messages", "stream", "stream_options"})
_TYPES = {400: "invalid_request_error", 401: "authentication_error", 402: "insufficient_quota", 403: "permission_error"}
_TYPES |= {404: "not_found_error", 413: "invalid_request_error", 429: "rate_limit_error"}


_TEXT: dict[str, Json] = {"type": "string"}
_CHAT_SCHEMA: dict[str, Json] = {
    "type": "object",
    "required": ["model", "messages"],
    "properties": {
        "model": _TEXT,
        "messages": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["role"],
                "properties": {
                    "role": {"enum": ["system", "developer", "user", "assistant", "tool"]},
                    "content": {"type": ["string", "array", "null"], "items": {"type": "object"}},
                    "tool_calls": {"type": "array", "items": {"type": "object"}},
                    "tool_call_id": _TEXT,
                },
            },
        },
        "stream": {"type": "boolean"},
        "stream_options": {"type": "object"},
        "max_tokens": {"type": "integer"},
        "max_completion_tokens": {"type": "integer"},
        "temperature": {"type": "number"},
        "top_p": {"type": "number"},
        "n": {"type": "integer"},
        "seed": {"type": "integer"},
        "stop": {"type": ["string", "array"], "items": _TEXT},
        "tools": {"type": "array", "items": {"type": "object"}},
        "tool_choice": {"type": ["string", "object"]},
        "response_format": {"type": "object"},
        "logprobs": {"type": "boolean"},
        "top_logprobs": {"type": "integer"},
        "metadata": {"type": "object"},
        "user": _TEXT,
    },
}
_EMBED_SCHEMA: dict[str, Json] = {
    "type": "object",
    "required": ["model", "input"],
    "properties": {
        "model": _TEXT,
        "input": {"type": ["string", "array"], "items": {"type": ["string", "integer", "array"]}},
        "encoding_format": {"enum": ["float", "base64"]},
        "dimensions": {"type": "integer"},
        "user": _TEXT,
    },
}
SCHEMAS: Mapping[str, dict[str, Json]] = {"/v1/chat/completions": _CHAT_SCHEMA, "/v1/embeddings": _EMBED_SCHEMA}
"""What the routes' bodies hold, for the OpenAPI document."""


class OpenAIFace:
    """Errors as OpenAI's SDKs read them."""

    def fault_body(self, fault: Fault) -> dict[str, Json]:
        """`{"error": {"message", "type", "param", "code"}}`."""
        code = "model_not_found" if fault.code == "unknown_model" else fault.code
        code = "context_length_exceeded" if code == "context_length" else code
        code = "insufficient_quota" if code == "budget_exceeded" else code
        kind = _TYPES.get(fault.status, "server_error" if fault.status >= 500 else "invalid_request_error")
        return {"error": {"message": fault.error.message, "type": kind, "param": None, "code": code}}


async def chat(door: Door, request: web.Request, caller: Caller) -> web.StreamResponse:
    """`POST /v1/chat/completions`."""
    body = await read_json(request)
    check_fields(body, _FIELDS)
    check_settings(body)
    asked = Request(
        model=model_of(body),
        messages=read_messages(wanted(body, "messages", list, "a list of one or more messages")),
        settings={name: value for name, value in body.items() if name not in _NOT_SETTINGS},
        stream=body.get("stream") is True,
        cache=cache_mode(request),
        attribution=attribution(request, caller, user=body.get("user")),
        call_id=new_id(),
        wire=CHAT,
        body=body,
    )
    if asked.stream:
        return await send_events(door, request, asked, _Events(asked))
    response = await door.handle(asked)
    own = response.body if response.body is not None and "choices" in response.body else None
    return json_reply(own or _whole(asked, response), headers=facts(response))


async def embeddings(door: Door, request: web.Request, caller: Caller) -> web.StreamResponse:
    """`POST /v1/embeddings`."""
    body = await read_json(request)
    asked = Request(
        model=model_of(body),
        operation="embed",
        inputs=_inputs(body),
        settings={name: value for name, value in body.items() if name not in {"model", "input"}},
        cache=cache_mode(request),
        attribution=attribution(request, caller, user=body.get("user")),
        wire=EMBEDDINGS,
        body=body,
    )
    response = await door.handle(asked)
    own = response.body if response.body is not None and "data" in response.body else None
    return json_reply(own or _vectors(asked, response), headers=facts(response))


async def models(door: Door, request: web.Request, caller: Caller) -> web.StreamResponse:
    """`GET /v1/models`: what may be asked, by the caller's key."""
    allowed = caller.key.models if caller.key is not None else ()
    names = [entry["name"] for entry in door.gateway.models() if not allowed or entry["name"] in allowed]
    return json_reply({"object": "list", "data": [_model(door, name) for name in names]})


async def model(door: Door, request: web.Request, caller: Caller) -> web.StreamResponse:
    """`GET /v1/models/NAME`.

    Raises:
        UnknownModel: there is none.
    """
    name = known_name(request.match_info["name"])
    if not door.settings.deployments(name):
        raise UnknownModel(f"there is no model {name[:80]!r}.{did_you_mean(name, door.settings.models)}")
    return json_reply(_model(door, name))


def _model(door: Door, name: str) -> dict[str, Json]:
    return {"id": name, "object": "model", "created": int(door.started_at.timestamp()), "owned_by": "aiplat-lab"}


def read_messages(messages: Sequence[Json]) -> tuple[Message, ...]:
    """The messages of a body.

    Raises:
        UsageError: one is not a message.
    """
    for index, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise UsageError(f'messages[{index}] must be an object such as {{"role": "user", "content": "…"}}')
        content = message.get("content")
        if not isinstance(content, str | list | None) or (
            isinstance(content, list) and not all(isinstance(part, dict) for part in content)
        ):
            raise UsageError(f"messages[{index}].content must be a text or a list of parts")
        if isinstance(content, list) and not all(isinstance(part.get("type", ""), str) for part in content):
            raise UsageError(f"messages[{index}].content holds a part whose type is no word")
        calls = message.get("tool_calls")
        if calls:
            for call in check_objects(calls, f"messages[{index}].tool_calls"):
                check_fields(call, _CALL)
    return tuple(Message.from_json(message) for message in messages)


def _inputs(body: Mapping[str, Json]) -> tuple[str, ...]:
    """The texts to embed; none where the caller sends tokens, which only its own body can carry.

    Raises:
        UsageError: the field is missing, or something else.
    """
    given = body.get("input")
    if isinstance(given, str) and given:
        return (given,)
    if isinstance(given, list) and given:
        if all(isinstance(text, str) for text in given):
            return tuple(given)
        if all(isinstance(token, int | list) for token in given):
            return ()
    raise UsageError("the field 'input' must be a text, or a list of one or more texts")


# --- whole answers ----------------------------------------------------------------------------------------------------


def usage_body(usage: Usage) -> dict[str, Json]:
    """The tokens as OpenAI counts them."""
    found: dict[str, Json] = {
        "prompt_tokens": usage.total_input_tokens,
        "completion_tokens": usage.total_output_tokens,
        "total_tokens": usage.total_input_tokens + usage.total_output_tokens,
    }
    if usage.cache_read_tokens or usage.cache_write_tokens:
        found["prompt_tokens_details"] = {"cached_tokens": usage.cache_read_tokens}
    if usage.reasoning_tokens:
        found["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
    return found


def _whole(asked: Request, response: Response) -> dict[str, Json]:
    message: dict[str, Json] = {"role": "assistant", "content": response.text or None, "refusal": None}
    if response.tool_calls:
        message["tool_calls"] = [dict(call) for call in response.tool_calls]
    elif message["content"] is None:
        message["content"] = ""
    choice = {"index": 0, "message": message, "finish_reason": response.finish_reason or "stop", "logprobs": None}
    found: dict[str, Json] = {
        "id": f"chatcmpl-{response.call_id}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": response.response_model or asked.model,
        "choices": [choice],
    }
    if response.usage is not None:
        found["usage"] = usage_body(response.usage)
    return found


def _vectors(asked: Request, response: Response) -> dict[str, Json]:
    coded = asked.settings.get("encoding_format") == "base64"
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode() if coded else list(vector),
        }
        for index, vector in enumerate(response.embeddings)
    ]
    tokens = response.usage.total_input_tokens if response.usage else 0
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": response.response_model or asked.model, "usage": usage}


# --- streams ----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Events:
    """Pieces as the events of OpenAI's chat stream."""

    asked: Request
    created: int = field(default_factory=lambda: int(time.time()))
    usage: Usage | None = None
    usage_told: bool = False
    begun: bool = False
    model: str = ""

    def begin(self) -> bytes:
        """Nothing: the first piece opens the stream."""
        return b""

    def error(self, fault: Fault) -> bytes:
        """The event of a stream that breaks; no end marker follows."""
        return _data(OpenAIFace().fault_body(fault))

    def of(self, chunk: Chunk) -> bytes:
        """The event for one piece; empty where there is nothing to say yet."""
        self.usage = chunk.usage or self.usage
        self.model = chunk.response_model or self.model
        if chunk.body is not None and "choices" in chunk.body:
            self.usage_told = self.usage_told or bool(chunk.body.get("usage"))
            return _data(chunk.body)
        delta: dict[str, Json] = {}
        if chunk.text:
            delta["content"] = chunk.text
        if chunk.tool_calls:
            delta["tool_calls"] = [dict(call) for call in chunk.tool_calls]
        if not delta and not chunk.finish_reason:
            return b""
        if not self.begun:
            delta, self.begun = {"role": "assistant", **delta}, True
        return _data(self._chunk([{"index": 0, "delta": delta, "finish_reason": chunk.finish_reason or None}]))

    def end(self, response: Response | None) -> bytes:
        """What stands at the end: the usage, where it was asked for, and the end marker."""
        options = (self.asked.body or {}).get("stream_options")
        wanted_too = isinstance(options, dict) and options.get("include_usage") is True
        found = b""
        if wanted_too and self.usage is not None and not self.usage_told:
            found = _data({**self._chunk([]), "usage": usage_body(self.usage)})
        return found + b"data: [DONE]\n\n"

    def _chunk(self, choices: list[dict[str, Any]]) -> dict[str, Json]:
        return {
            "id": f"chatcmpl-{self.asked.call_id}",
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.model or self.asked.model,
            "choices": choices,
        }


def _data(data: Json) -> bytes:
    return b"data: " + wire_json(data) + b"\n\n"
