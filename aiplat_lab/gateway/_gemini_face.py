"""Google's Gemini routes (`v1beta`), for its SDKs and whatever else speaks its wire."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from aiplat_lab.core.errors import UnknownModel, UsageError, did_you_mean
from aiplat_lab.core.ids import new_id
from aiplat_lab.core.types import Chunk, Json, Request, Response, Usage, wire_json
from aiplat_lab.gateway import _gemini_asked
from aiplat_lab.gateway._door import (
    Caller,
    Door,
    Fault,
    attribution,
    cache_mode,
    check_settings,
    facts,
    json_reply,
    known_name,
    read_json,
    send_events,
)
from aiplat_lab.gateway._gemini_asked import camel, field_of
from aiplat_lab.gateway.tools import arguments_of, merge_tool_calls

GENERATE = "gemini.generate"
EMBED = "gemini.embed"
_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    402: "FAILED_PRECONDITION",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "NOT_FOUND",
    409: "ALREADY_EXISTS",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_FINISH = {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP", "content_filter": "SAFETY"}
_METHODS = ["generateContent", "streamGenerateContent", "countTokens", "embedContent"]
_BYTES_A_TOKEN = 4
_EMBED_HINTS = frozenset({"taskType", "title"})
_EMBED_KNOWN = frozenset({"content", "outputDimensionality", "model"})


_CONTENT: dict[str, Json] = {
    "type": "object",
    "required": ["parts"],
    "properties": {
        "role": {"enum": ["user", "model"]},
        "parts": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "text": {"type": "string"},
                    "inlineData": {"type": "object"},
                    "functionCall": {"type": "object"},
                    "functionResponse": {"type": "object"},
                },
            },
        },
    },
}
_GENERATE_SCHEMA: dict[str, Json] = {
    "type": "object",
    "required": ["contents"],
    "properties": {
        "contents": {"type": "array", "minItems": 1, "items": _CONTENT},
        "systemInstruction": _CONTENT,
        "tools": {"type": "array", "items": {"type": "object"}},
        "toolConfig": {"type": "object"},
        "safetySettings": {"type": "array", "items": {"type": "object"}},
        "generationConfig": {
            "type": "object",
            "properties": {
                "maxOutputTokens": {"type": "integer"},
                "temperature": {"type": "number"},
                "topP": {"type": "number"},
                "topK": {"type": "integer"},
                "candidateCount": {"type": "integer"},
                "stopSequences": {"type": "array", "items": {"type": "string"}},
                "responseMimeType": {"type": "string"},
                "responseSchema": {"type": "object"},
                "thinkingConfig": {"type": "object"},
            },
        },
    },
}
_EMBED_SCHEMA: dict[str, Json] = {
    "type": "object",
    "required": ["content"],
    "properties": {"content": _CONTENT, "taskType": {"type": "string"}, "outputDimensionality": {"type": "integer"}},
}
_MODEL_PATH = "/v1beta/models/{model}"
SCHEMAS: Mapping[str, dict[str, Json]] = {
    f"{_MODEL_PATH}:generateContent": _GENERATE_SCHEMA,
    f"{_MODEL_PATH}:streamGenerateContent": _GENERATE_SCHEMA,
    f"{_MODEL_PATH}:countTokens": {**_GENERATE_SCHEMA, "required": []},
    f"{_MODEL_PATH}:embedContent": _EMBED_SCHEMA,
    f"{_MODEL_PATH}:batchEmbedContents": {
        "type": "object",
        "required": ["requests"],
        "properties": {"requests": {"type": "array", "minItems": 1, "items": _EMBED_SCHEMA}},
    },
}
"""What the routes' bodies hold, for the OpenAPI document."""


class GeminiFace:
    """Errors as Google's SDKs read them."""

    def fault_body(self, fault: Fault) -> dict[str, Json]:
        """`{"error": {"code", "message", "status", "details"}}`."""
        about = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": fault.code.upper(), "domain": "aiplat-lab"}
        status = _STATUS.get(fault.status, "INTERNAL")
        return {"error": {"code": fault.status, "message": fault.error.message, "status": status, "details": [about]}}


async def generate(door: Door, request: web.Request, caller: Caller) -> web.StreamResponse:
    """`POST /v1beta/models/NAME:generateContent`."""
    asked = _request(request, caller, await read_json(request))
    response = await door.handle(asked)
    own = response.body if response.body is not None and "candidates" in response.body else None
    return json_reply(own or _whole(asked, response), headers=facts(response))


async def stream(door: Door, request: web.Request, caller: Caller) -> web.StreamResponse:
    """`POST /v1beta/models/NAME:streamGenerateContent`: server-sent events with `alt=sse`, else a JSON array."""
    asked = _request(request, caller, await read_json(request), stream=True)
    if request.query.get("alt") == "sse":
        return await send_events(door, request, asked, _Events(asked))
    return await send_events(door, request, asked, _Array(asked), content_type="application/json")


async def count_tokens(door: Door, request: web.Request, caller: Caller) -> web.StreamResponse:
    """`POST /v1beta/models/NAME:countTokens`: the provider's own count, or an estimate where it has none (`x-aiplat-estimate: true`)."""
    body = await read_json(request)
    whole = field_of(body, "generateContentRequest")
    asked = _request(request, caller, whole if isinstance(whole, dict) else body)
    count = await door.gateway.count_tokens(asked)
    if count is not None:
        return json_reply({"totalTokens": count})
    size = len(wire_json([message.to_json() for message in asked.messages])) + len(wire_json(asked.settings.get("tools") or ""))
    return json_reply({"totalTokens": math.ceil(size / _BYTES_A_TOKEN)}, headers={"x-aiplat-estimate": "true"})


async def embed(door: Door, request: web.Request, caller: Caller) -> web.StreamResponse:
    """`POST /v1beta/models/NAME:embedContent`."""
    response = await door.handle(_embed_request(request, caller, [await read_json(request)]))
    return json_reply({"embedding": {"values": list(response.embeddings[0])}}, headers=facts(response))


async def embed_batch(door: Door, request: web.Request, caller: Caller) -> web.StreamResponse:
    """`POST /v1beta/models/NAME:batchEmbedContents`: all in one call of the provider."""
    body = await read_json(request)
    requests = body.get("requests")
    if not isinstance(requests, list) or not requests or not all(isinstance(one, dict) for one in requests):
        raise UsageError("the field 'requests' must be a list of one or more objects")
    response = await door.handle(_embed_request(request, caller, requests))
    return json_reply({"embeddings": [{"values": list(vector)} for vector in response.embeddings]}, headers=facts(response))


async def models(door: Door, request: web.Request, caller: Caller) -> web.StreamResponse:
    """`GET /v1beta/models`: what may be asked, by the caller's key."""
    allowed = caller.key.models if caller.key is not None else ()
    entries = [entry for entry in door.gateway.models() if not allowed or entry["name"] in allowed]
    return json_reply({"models": [_model(entry["name"], entry["deployments"][0]) for entry in entries]})


async def model(door: Door, request: web.Request, caller: Caller) -> web.StreamResponse:
    """`GET /v1beta/models/NAME`.

    Raises:
        UnknownModel: there is none.
    """
    name = known_name(request.match_info["model"])
    deployments = door.settings.deployments(name)
    if not deployments:
        raise UnknownModel(f"there is no model {name[:80]!r}.{did_you_mean(name, door.settings.models)}")
    first = deployments[0]
    return json_reply(_model(name, {"context_tokens": first.context_tokens, "max_output_tokens": first.max_output_tokens}))


def _model(name: str, about: Mapping[str, Any]) -> dict[str, Json]:  # Any: JSON
    found: dict[str, Json] = {"name": f"models/{name}", "baseModelId": name, "version": "", "displayName": name}
    limits = {"inputTokenLimit": about.get("context_tokens"), "outputTokenLimit": about.get("max_output_tokens")}
    return {**found, **{key: value for key, value in limits.items() if value}, "supportedGenerationMethods": _METHODS}


# --- asking -----------------------------------------------------------------------------------------------------------


def _request(request: web.Request, caller: Caller, body: Mapping[str, Json], *, stream: bool = False) -> Request:
    asked = _gemini_asked.read(body)
    check_settings(asked.settings)
    if stream:
        several = asked.settings.get("n") not in (None, 1)
        asked.native += ["generationConfig.candidateCount above 1 in a stream"] if several else []
        asked.native += ["generationConfig.responseLogprobs in a stream"] if asked.settings.get("logprobs") else []
    return Request(
        model=known_name(request.match_info["model"]),
        messages=tuple(asked.messages),
        settings=asked.settings,
        stream=stream,
        cache=cache_mode(request),
        attribution=attribution(request, caller),
        call_id=new_id(),
        wire=GENERATE,
        body=body,
        native=tuple(asked.native),
        hints=tuple(asked.hints),
    )


def _embed_request(request: web.Request, caller: Caller, requests: Sequence[Mapping[str, Json]]) -> Request:
    inputs = tuple(_text(one, index) for index, one in enumerate(requests))
    sizes = [field_of(one, "outputDimensionality") for one in requests]
    if any(size != sizes[0] for size in sizes) or not isinstance(sizes[0], int | None):
        raise UsageError("outputDimensionality must be one whole number for all requests")
    names = dict.fromkeys(camel(name) for one in requests for name in one if one[name] is not None)
    return Request(
        model=known_name(request.match_info["model"]),
        operation="embed",
        inputs=inputs,
        settings={"dimensions": sizes[0]} if sizes[0] is not None else {},
        cache=cache_mode(request),
        attribution=attribution(request, caller),
        wire=EMBED,
        body={"requests": list(requests)},
        native=tuple(name[:60] for name in names if name not in _EMBED_HINTS and name not in _EMBED_KNOWN),
        hints=tuple(name for name in names if name in _EMBED_HINTS),
    )


def _text(one: Mapping[str, Json], index: int) -> str:
    content = one.get("content")
    parts = content.get("parts") if isinstance(content, dict) else None
    parts = [parts] if isinstance(parts, dict) else parts
    if not isinstance(parts, list) or not parts or not all(isinstance(part, dict) and isinstance(part.get("text"), str) for part in parts):
        raise UsageError(f'requests[{index}].content must hold parts with text, such as {{"parts": [{{"text": "…"}}]}}')
    return "".join(part["text"] for part in parts)


# --- answering --------------------------------------------------------------------------------------------------------


def _usage(usage: Usage) -> dict[str, Json]:
    found: dict[str, Json] = {
        "promptTokenCount": usage.total_input_tokens,
        "candidatesTokenCount": usage.output_tokens,
        "totalTokenCount": usage.total_input_tokens + usage.total_output_tokens,
    }
    if usage.cache_read_tokens:
        found["cachedContentTokenCount"] = usage.cache_read_tokens
    if usage.reasoning_tokens:
        found["thoughtsTokenCount"] = usage.reasoning_tokens
    return found


def _body(asked: Request, model: str, candidates: Sequence[Json], usage: Usage | None) -> dict[str, Json]:
    body: dict[str, Json] = {"candidates": list(candidates), "modelVersion": model or asked.model, "responseId": asked.call_id}
    return {**body, "usageMetadata": _usage(usage)} if usage is not None else body


def _candidate(parts: Sequence[Json], reason: str = "", index: int = 0) -> dict[str, Json]:
    found: dict[str, Json] = {"content": {"role": "model", "parts": list(parts)}, "index": index}
    return {**found, "finishReason": _FINISH.get(reason, "OTHER")} if reason else found


def _whole(asked: Request, response: Response) -> dict[str, Json]:
    candidates = [_candidate(_said(response.text, response.tool_calls), response.finish_reason or "other")]
    choices = (response.body or {}).get("choices")
    if isinstance(choices, list) and all(isinstance(choice, dict) for choice in choices):
        for index, choice in enumerate(choices[1:], 1):
            message = choice.get("message") if isinstance(choice.get("message"), dict) else {}
            parts = _said(str(message.get("content") or ""), message.get("tool_calls") or ())
            candidates.append(_candidate(parts, str(choice.get("finish_reason") or "other"), index))
        for candidate, choice in zip(candidates, choices, strict=False):
            if isinstance(choice.get("logprobs"), dict):
                candidate["logprobsResult"] = _logprobs(choice["logprobs"])
    return _body(asked, response.response_model, candidates, response.usage)


def _said(text: str, calls: Sequence[Mapping[str, Json]]) -> list[dict[str, Json]]:
    return [*([{"text": text}] if text or not calls else []), *(_call(call) for call in calls)]


def _call(call: Mapping[str, Json]) -> dict[str, Json]:
    function = call.get("function") or {}
    return {"functionCall": {"id": call.get("id", ""), "name": function.get("name", ""), "args": arguments_of(function)}}


def _logprobs(found: Mapping[str, Json]) -> dict[str, Json]:
    tokens = [one for one in found.get("content") or () if isinstance(one, dict)]

    def plain(one: Mapping[str, Json]) -> dict[str, Json]:
        return {"token": one.get("token", ""), "logProbability": one.get("logprob")}

    top = [{"candidates": [plain(other) for other in one.get("top_logprobs") or () if isinstance(other, dict)]} for one in tokens]
    return {"chosenCandidates": [plain(one) for one in tokens], "topCandidates": top}


@dataclass(slots=True)
class _Events:
    """Pieces as Gemini streams them: each a small answer; calls of tools whole, in the last one."""

    asked: Request
    usage: Usage | None = None
    finish_reason: str = ""
    model: str = ""
    passed: bool = False
    """Whether the provider's own pieces were passed on, which are whole by themselves."""
    calls: list[dict[str, Any]] = field(default_factory=list)

    def begin(self) -> bytes:
        """Nothing: the first piece opens the stream."""
        return b""

    def of(self, chunk: Chunk) -> bytes:
        """The event for one piece; empty where there is nothing to say yet."""
        if chunk.body is not None and ("candidates" in chunk.body or "usageMetadata" in chunk.body):
            self.passed = True
            return self._event(chunk.body)
        self.usage = chunk.usage or self.usage
        self.finish_reason = chunk.finish_reason or self.finish_reason
        self.model = chunk.response_model or self.model
        if chunk.tool_calls:
            merge_tool_calls(self.calls, chunk.tool_calls)
        return self._event(_body(self.asked, self.model, [_candidate([{"text": chunk.text}])], None)) if chunk.text else b""

    def end(self, response: Response | None) -> bytes:
        """The last piece: calls of tools, why it ended, and what it took."""
        if self.passed:
            return b""
        parts = [_call(call) for call in self.calls] or [{"text": ""}]
        return self._event(_body(self.asked, self.model, [_candidate(parts, self.finish_reason or "other")], self.usage))

    def error(self, fault: Fault) -> bytes:
        """The event of a stream that breaks."""
        return self._event(GeminiFace().fault_body(fault))

    def _event(self, data: Mapping[str, Json]) -> bytes:
        return b"data: " + wire_json(dict(data)) + b"\r\n\r\n"


@dataclass(slots=True)
class _Array(_Events):
    """The same pieces as the members of one JSON array."""

    begun: bool = False

    def begin(self) -> bytes:
        """The array's opening."""
        return b"["

    def end(self, response: Response | None) -> bytes:
        """The last piece and the array's end."""
        return _Events.end(self, response) + b"]\n"

    def error(self, fault: Fault) -> bytes:
        """The last piece says what broke; the array is whole all the same."""
        return _Events.error(self, fault) + b"]\n"

    def _event(self, data: Mapping[str, Json]) -> bytes:
        before, self.begun = (b",\r\n" if self.begun else b""), True
        return before + wire_json(dict(data))
