"""OpenAI's Responses route, translated to a chat: input items, tools and text formats in, output items and events out.

What needs a conversation that the service keeps, or a tool that it runs itself, goes to a provider of this wire or is refused with
a sentence that says so.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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
)
from aiplat_lab.gateway._openai_face import OpenAIFace
from aiplat_lab.gateway.tools import merge_tool_calls

RESPONSES = "openai.responses"
_FIELDS: Fields = {
    "stream": (bool, "true or false"),
    "tools": (list, "a list of tools"),
    "max_output_tokens": (int, "a whole number"),
    "instructions": (str, "a text"),
    "include": (list, "a list of names"),
    "top_logprobs": (int, "a whole number"),
}
_ELSEWHERE = {
    "previous_response_id": "this gateway keeps no conversations: send the whole input again",
    "conversation": "this gateway keeps no conversations: send the whole input again",
    "prompt": "prompts that are stored at the provider are not available here",
    "background": "answers in the background are not available here",
}
_SAME = ("temperature", "top_p", "parallel_tool_calls", "seed", "top_logprobs", "service_tier")
_MAPPED = ("model", "input", "stream", "instructions", "max_output_tokens", "tools", "tool_choice", "reasoning", "text", "include")
_TOLD = ("metadata", "user", "safety_identifier")
_KNOWN = frozenset({*_SAME, *_MAPPED, *_TOLD, *_ELSEWHERE})
_HINTS = frozenset({"store", "truncation", "prompt_cache_key", "prompt_cache_retention", "prompt_cache_options", "stream_options"})
_LOGPROBS = "message.output_text.logprobs"
_TEXTS = ("input_text", "output_text", "text")


SCHEMAS: Mapping[str, dict[str, Json]] = {
    "/v1/responses": {
        "type": "object",
        "required": ["model", "input"],
        "properties": {
            "model": {"type": "string"},
            "input": {"type": ["string", "array"], "items": {"type": "object"}},
            "instructions": {"type": "string"},
            "max_output_tokens": {"type": "integer"},
            "temperature": {"type": "number"},
            "top_p": {"type": "number"},
            "top_logprobs": {"type": "integer"},
            "stream": {"type": "boolean"},
            "tools": {"type": "array", "items": {"type": "object"}},
            "tool_choice": {"type": ["string", "object"]},
            "parallel_tool_calls": {"type": "boolean"},
            "reasoning": {"type": "object"},
            "text": {"type": "object"},
            "include": {"type": "array", "items": {"type": "string"}},
            "metadata": {"type": "object"},
            "user": {"type": "string"},
        },
    }
}
"""What the route's body holds, for the OpenAPI document."""


async def responses(door: Door, request: web.Request, caller: Caller) -> web.StreamResponse:
    """`POST /v1/responses`."""
    body = await read_json(request)
    check_fields(body, _FIELDS)
    lost = Lost([f"{name} ({why})" for name, why in _ELSEWHERE.items() if body.get(name)])
    lost.fields(body, known=_KNOWN, hints=_HINTS)
    model = model_of(body)
    messages, settings = tuple(_messages(body, lost)), _settings(body, lost)
    asked = Request(
        model=model,
        messages=messages,
        settings=settings,
        stream=body.get("stream") is True,
        cache=cache_mode(request),
        attribution=attribution(request, caller, user=body.get("user") or body.get("safety_identifier")),
        call_id=new_id(),
        wire=RESPONSES,
        body=body,
        native=tuple(lost.native),
        hints=tuple(lost.hints),
    )
    if asked.stream:
        return await send_events(door, request, asked, _Events(asked))
    response = await door.handle(asked)
    if response.body is not None and response.body.get("object") == "response":
        return json_reply(dict(response.body), headers=facts(response))
    return json_reply(_object(asked, _output(asked, response), response), headers=facts(response))


# --- asking -----------------------------------------------------------------------------------------------------------


def _messages(body: Mapping[str, Json], lost: Lost) -> Iterator[Message]:
    if isinstance(body.get("instructions"), str) and body["instructions"]:
        yield Message("system", body["instructions"])
    given = body.get("input")
    if isinstance(given, str) and given:
        yield Message("user", given)
        return
    if not isinstance(given, list) or not given:
        raise UsageError("the field 'input' must be a text or a list of one or more items")
    calls: list[dict[str, Json]] = []
    for index, item in enumerate(given):
        if not isinstance(item, dict):
            raise UsageError(f"input[{index}] must be an object")
        if item.get("type") == "function_call":
            function = {"name": item.get("name", ""), "arguments": item.get("arguments", "{}")}
            calls.append({"id": item.get("call_id", ""), "type": "function", "function": function})
            continue
        if calls:
            yield Message("assistant", None, {"tool_calls": calls})
            calls = []
        yield from _item(item, f"input[{index}]", lost)
    if calls:
        yield Message("assistant", None, {"tool_calls": calls})


def _item(item: Mapping[str, Json], where: str, lost: Lost) -> Iterator[Message]:
    kind = item.get("type", "message")
    if kind == "message" and isinstance(item.get("role"), str):
        role = "system" if item["role"] == "developer" else item["role"]
        yield Message(role, _content(item.get("content"), where, lost))
    elif kind == "function_call_output":
        output = item.get("output")
        yield Message("tool", output if isinstance(output, str) else wire_json(output).decode(), {"tool_call_id": item.get("call_id", "")})
    elif kind == "reasoning":
        lost.hints.append("reasoning_items")
    else:
        lost.native.append(f"{where} ({str(kind)[:40]})")


def _content(content: Json, where: str, lost: Lost) -> str | tuple[Mapping[str, Json], ...]:
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        raise UsageError(f"{where}.content must be a text or a list of parts")
    if all(part.get("type") in _TEXTS for part in content):
        return "".join(str(part.get("text", "")) for part in content)
    return tuple(_part(part, where, lost) for part in content)


def _part(part: Mapping[str, Json], where: str, lost: Lost) -> Mapping[str, Json]:
    kind = part.get("type")
    if kind in _TEXTS:
        return {"type": "text", "text": str(part.get("text", ""))}
    if kind == "refusal":
        return {"type": "text", "text": str(part.get("refusal", ""))}
    if kind == "input_image" and isinstance(part.get("image_url"), str):
        detail = {"detail": part["detail"]} if part.get("detail") else {}
        return {"type": "image_url", "image_url": {"url": part["image_url"], **detail}}
    if kind == "input_file" and isinstance(part.get("file_data"), str):
        return {"type": "file", "file": {"filename": str(part.get("filename") or "document.pdf"), "file_data": part["file_data"]}}
    if kind == "input_audio" and isinstance(part.get("input_audio"), dict):
        return {"type": "input_audio", "input_audio": part["input_audio"]}
    lost.native.append(f"{where}.content ({str(kind)[:40]})")
    return {"type": "text", "text": ""}


def _settings(body: Mapping[str, Json], lost: Lost) -> dict[str, Json]:
    settings: dict[str, Json] = {name: body[name] for name in _SAME if body.get(name) is not None}
    if body.get("max_output_tokens") is not None:
        settings["max_tokens"] = body["max_output_tokens"]
    if body.get("tools"):
        settings["tools"] = [_tool(tool, index, lost) for index, tool in enumerate(body["tools"])]
    choice = body.get("tool_choice")
    if isinstance(choice, str):
        settings["tool_choice"] = choice
    elif isinstance(choice, dict) and choice.get("type") == "function":
        settings["tool_choice"] = {"type": "function", "function": {"name": choice.get("name", "")}}
    elif choice is not None:
        lost.native.append("tool_choice")
    reasoning = body.get("reasoning")
    if isinstance(reasoning, dict):
        if reasoning.get("effort"):
            settings["reasoning_effort"] = reasoning["effort"]
        lost.hints += [f"reasoning_{name}" for name in ("summary", "generate_summary") if reasoning.get(name)]
    _text_shape(body.get("text"), settings)
    _included(body, settings, lost)
    check_settings(settings)
    return settings


def _text_shape(text: Json, settings: dict[str, Json]) -> None:
    """What form the answer must have."""
    if not isinstance(text, dict):
        return
    if text.get("verbosity"):
        settings["verbosity"] = text["verbosity"]
    shape = text.get("format")
    if isinstance(shape, dict) and shape.get("type") == "json_schema":
        settings["response_format"] = {"type": "json_schema", "json_schema": {k: v for k, v in shape.items() if k != "type"}}
    elif isinstance(shape, dict) and shape.get("type") == "json_object":
        settings["response_format"] = {"type": "json_object"}


def _included(body: Mapping[str, Json], settings: dict[str, Json], lost: Lost) -> None:
    """What the answer must hold beside the text."""
    for name in body.get("include") or ():
        if name == _LOGPROBS:
            settings["logprobs"] = True
        elif name == "reasoning.encrypted_content":
            lost.hints.append("encrypted_reasoning")
        else:
            lost.native.append(f"include ({str(name)[:60]})")
    if settings.get("top_logprobs"):
        settings["logprobs"] = True
    if settings.get("logprobs") and body.get("stream"):
        lost.native.append("logprobs in a stream")


def _tool(tool: Json, index: int, lost: Lost) -> dict[str, Json]:
    if not isinstance(tool, dict):
        raise UsageError(f"tools[{index}] must be an object")
    if tool.get("type") != "function":
        lost.native.append(f"tools[{index}] ({str(tool.get('type'))[:40]}; this gateway runs no tools itself)")
        return dict(tool)
    return {"type": "function", "function": {k: v for k, v in tool.items() if k in {"name", "description", "parameters", "strict"}}}


# --- answering --------------------------------------------------------------------------------------------------------


def _message_item(call_id: str, text: str, status: str, logprobs: Sequence[Json] = ()) -> dict[str, Json]:
    content = [{"type": "output_text", "text": text, "annotations": [], "logprobs": list(logprobs)}] if status == "completed" else []
    return {"id": f"msg_{call_id}", "type": "message", "status": status, "role": "assistant", "content": content}


def _call_item(call_id: str, place: int, call: Mapping[str, Json], status: str) -> dict[str, Json]:
    function: Mapping[str, Any] = call.get("function") or {}  # Any: as Json
    return {
        "id": f"fc_{call_id}_{place}",
        "type": "function_call",
        "status": status,
        "call_id": call.get("id", ""),
        "name": function.get("name", ""),
        "arguments": function.get("arguments", "") if status == "completed" else "",
    }


def _output(asked: Request, response: Response) -> list[dict[str, Json]]:
    items = (
        [_message_item(asked.call_id, response.text, "completed", _logprobs(response))] if response.text or not response.tool_calls else []
    )
    return items + [_call_item(asked.call_id, place, call, "completed") for place, call in enumerate(response.tool_calls)]


def _logprobs(response: Response) -> list[Json]:
    """The log-probabilities of the answer's tokens, where it came in OpenAI's chat wire with them."""
    choices = (response.body or {}).get("choices")
    first = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    found = first.get("logprobs")
    return list(found.get("content") or ()) if isinstance(found, dict) else []


def _usage(usage: Usage | None) -> dict[str, Json] | None:
    if usage is None:
        return None
    return {
        "input_tokens": usage.total_input_tokens,
        "input_tokens_details": {"cached_tokens": usage.cache_read_tokens, "cache_write_tokens": usage.cache_write_tokens},
        "output_tokens": usage.total_output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.total_input_tokens + usage.total_output_tokens,
    }


def _object(asked: Request, output: Sequence[Json], response: Response | None, *, created: float | None = None) -> dict[str, Json]:
    """The response object; without an answer, the one that begins a stream."""
    body = asked.body or {}
    reasons = {"length": "max_output_tokens", "content_filter": "content_filter"}
    cut = reasons.get(response.finish_reason) if response else None
    return {
        "id": f"resp_{asked.call_id}",
        "object": "response",
        "created_at": created or time.time(),
        "status": "in_progress" if response is None else "incomplete" if cut else "completed",
        "error": None,
        "incomplete_details": {"reason": cut} if cut else None,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "model": (response.response_model if response else "") or asked.model,
        "output": list(output),
        "parallel_tool_calls": body.get("parallel_tool_calls", True),
        "previous_response_id": None,
        "reasoning": body.get("reasoning") or {"effort": None, "summary": None},
        "store": False,
        "temperature": body.get("temperature"),
        "text": body.get("text") or {"format": {"type": "text"}},
        "tool_choice": body.get("tool_choice", "auto"),
        "tools": body.get("tools") or [],
        "top_p": body.get("top_p"),
        "truncation": "disabled",
        "usage": _usage(response.usage) if response else None,
        "metadata": body.get("metadata") or {},
    }


@dataclass(slots=True)
class _Events:
    """Pieces as the events of a Responses stream: the provider's own where it speaks this wire, else items that are opened, filled and
    closed, one after the other.
    """

    asked: Request
    created: float = field(default_factory=time.time)
    number: int = 0
    text: str = ""
    calls: list[dict[str, Any]] = field(default_factory=list)
    output: list[dict[str, Json]] = field(default_factory=list)
    """Items that are closed."""
    open_item: tuple[str, int] | None = None
    usage: Usage | None = None
    finish_reason: str = ""
    model: str = ""
    begun: bool = False
    passing: bool = False
    """Whether the provider's own events are passed on."""

    def begin(self) -> bytes:
        """Nothing: the first piece shows whose events open the stream."""
        return b""

    def _begin(self) -> bytes:
        if self.begun:
            return b""
        self.begun = True
        about = _object(self.asked, [], None, created=self.created)
        return self._event("response.created", response=about) + self._event("response.in_progress", response=about)

    def of(self, chunk: Chunk) -> bytes:
        """The events for one piece."""
        if chunk.body is not None and str(chunk.body.get("type") or "").startswith("response."):
            self.passing = self.begun = True
            return f"event: {chunk.body['type']}\ndata: ".encode() + wire_json(chunk.body) + b"\n\n"
        self.usage = chunk.usage or self.usage
        self.finish_reason = chunk.finish_reason or self.finish_reason
        self.model = chunk.response_model or self.model
        found = self._begin()
        if chunk.text:
            found += self._open("text", 0)
            self.text += chunk.text
            found += self._at("response.output_text.delta", content_index=0, delta=chunk.text, logprobs=[])
        for piece in chunk.tool_calls:
            place = int(piece.get("index", len(self.calls)))
            merge_tool_calls(self.calls, [piece])
            found += self._open("call", place)
            arguments = (piece.get("function") or {}).get("arguments")
            if arguments:
                found += self._at("response.function_call_arguments.delta", delta=arguments)
        return found

    def end(self, response: Response | None) -> bytes:
        """The events that close the stream."""
        if self.passing:
            return b""
        found = self._begin() + (b"" if self.output or self.open_item else self._open("text", 0))
        found += self._close()
        said = Response(finish_reason=self.finish_reason, usage=self.usage, response_model=self.model)
        whole = _object(self.asked, self.output, said, created=self.created)
        return found + self._event(f"response.{whole['status']}", response=whole)

    def _open(self, kind: str, place: int) -> bytes:
        if self.open_item == (kind, place):
            return b""
        found = self._close()
        self.open_item = (kind, place)
        item = self._item("in_progress")
        found += self._event("response.output_item.added", output_index=len(self.output), item=item)
        if kind == "text":
            found += self._at("response.content_part.added", content_index=0, part=_text_part(""))
        return found

    def _close(self) -> bytes:
        if self.open_item is None:
            return b""
        item = self._item("completed")
        if self.open_item[0] == "text":
            found = self._at("response.output_text.done", content_index=0, text=self.text, logprobs=[])
            found += self._at("response.content_part.done", content_index=0, part=_text_part(self.text))
        else:
            found = self._at("response.function_call_arguments.done", name=item["name"], arguments=item["arguments"])
        found += self._event("response.output_item.done", output_index=len(self.output), item=item)
        self.output.append(item)
        self.open_item = None
        return found

    def _item(self, status: str) -> dict[str, Json]:
        kind, place = self.open_item or ("text", 0)
        if kind == "text":
            return _message_item(self.asked.call_id, self.text, status)
        return _call_item(self.asked.call_id, place, self.calls[place], status)

    def _at(self, kind: str, **data: Json) -> bytes:
        return self._event(kind, item_id=self._item("in_progress")["id"], output_index=len(self.output), **data)

    def _event(self, kind: str, **data: Json) -> bytes:
        event = {"type": kind, "sequence_number": self.number, **data}
        self.number += 1
        return f"event: {kind}\ndata: ".encode() + wire_json(event) + b"\n\n"

    def error(self, fault: Fault) -> bytes:
        """The event of a stream that breaks; with `error` in it, the SDKs raise it."""
        told = OpenAIFace().fault_body(fault)["error"]
        return self._event("error", code=told["code"], message=told["message"], param=None, error=told)


def _text_part(text: str) -> dict[str, Json]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
