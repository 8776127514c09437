"""Cohere's chat format (v2): pure functions from a `Request` to a body, and from a body to what it says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aiplat_lab.core.types import Chunk, Deployment, Json, Message, Request, Response, Usage
from aiplat_lab.providers._chat_shape import Choice, answer_of, body_of, event_of, mapping
from aiplat_lab.providers._openai_wire import CHAT, count, output_limit
from aiplat_lab.providers._wired import NotTranslatable, Sent

COHERE = "cohere.chat"
MOST_TEXTS = 96
"""The most texts of one embeddings call."""

_FINISH = {
    "COMPLETE": "stop",
    "STOP_SEQUENCE": "stop",
    "MAX_TOKENS": "length",
    "TOOL_CALL": "tool_calls",
    "ERROR_TOXIC": "content_filter",
    "USER_CANCEL": "cancelled",
}
_SAME = {
    "temperature": "temperature",
    "top_p": "p",
    "top_k": "k",
    "seed": "seed",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "logprobs": "logprobs",
    "safety_mode": "safety_mode",
    "documents": "documents",
    "citation_options": "citation_options",
    "thinking": "thinking",
}
_NO_WORD = frozenset({"logit_bias", "top_logprobs", "store", "prediction", "verbosity", "parallel_tool_calls", "user", "metadata"})
_BUDGETS = {"minimal": 512, "low": 1024, "medium": 8192, "high": 24_576, "xhigh": 32_768}


# --- asking -----------------------------------------------------------------------------------------------------------


def body(request: Request, deployment: Deployment, *, stream: bool) -> Sent:
    """The body of a call: the caller's own where it is in this format, else translated.

    Raises:
        NotTranslatable: a message has a part that this format does not know.
    """
    if request.wire == COHERE and request.body is not None:
        made = Sent(dict(request.body))
        limit = output_limit(request.settings)
        if limit is not None:
            made.data["max_tokens"] = limit
    else:
        made = _translated(request)
    made.data["model"] = deployment.model
    made.data["stream"] = stream
    return made


def _translated(request: Request) -> Sent:
    settings = {name: value for name, value in request.settings.items() if value is not None}
    data: dict[str, Json] = {theirs: settings[ours] for ours, theirs in _SAME.items() if ours in settings}
    data["messages"] = [_message(message) for message in request.messages]
    limit = output_limit(settings)
    if limit is not None:
        data["max_tokens"] = limit
    if settings.get("stop"):
        stop = settings["stop"]
        data["stop_sequences"] = [stop] if isinstance(stop, str) else list(stop)
    if settings.get("tools"):
        data["tools"] = [_tool(tool) for tool in settings["tools"]]
        data |= _choice(settings.get("tool_choice"), data["tools"])
    shape = mapping(settings.get("response_format"))
    if shape.get("type") == "json_object":
        data["response_format"] = {"type": "json_object"}
    elif shape.get("type") == "json_schema":
        data["response_format"] = {"type": "json_object", "json_schema": mapping(shape.get("json_schema")).get("schema") or {}}
    effort = settings.get("reasoning_effort")
    if effort and "thinking" not in data:
        off = str(effort) == "none"
        data["thinking"] = {"type": "disabled"} if off else {"type": "enabled", "token_budget": _BUDGETS.get(str(effort), 8192)}
    return Sent(data, tuple(sorted(name for name in settings if name in _NO_WORD)))


def _tool(tool: Mapping[str, Json]) -> dict[str, Json]:
    function = tool.get("function")
    if not isinstance(function, Mapping):
        raise NotTranslatable(f"a tool of type {tool.get('type')!r} cannot be given to this provider; it takes functions")
    kept = {name: function[name] for name in ("name", "description", "parameters") if function.get(name)}
    return {"type": "function", "function": kept}


def _choice(choice: Json, tools: list[dict[str, Json]]) -> dict[str, Json]:
    """The choice of a tool; one that is named is the only one that is given."""
    if isinstance(choice, Mapping):
        name = mapping(choice.get("function")).get("name")
        return {"tool_choice": "REQUIRED", "tools": [tool for tool in tools if tool["function"].get("name") == name]}
    word = {"required": "REQUIRED", "none": "NONE"}.get(str(choice))
    return {"tool_choice": word} if word else {}


def _message(message: Message) -> dict[str, Json]:
    role = "system" if message.role == "developer" else message.role
    made: dict[str, Json] = {"role": role}
    if message.role == "tool":
        made |= {"tool_call_id": str(message.extra.get("tool_call_id") or ""), "content": message.text()}
        return made
    if isinstance(message.content, str):
        made["content"] = message.content
    elif message.content is not None:
        made["content"] = [_part(part) for part in message.content]
    if message.extra.get("tool_calls"):
        made["tool_calls"] = [dict(call) for call in message.extra["tool_calls"]]
    return made


def _part(part: Mapping[str, Json]) -> dict[str, Json]:
    if part.get("type") == "image_url":
        image = part.get("image_url")
        return {"type": "image_url", "image_url": dict(image) if isinstance(image, Mapping) else {"url": image}}
    if part.get("type") == "text":
        return {"type": "text", "text": str(part.get("text") or "")}
    raise NotTranslatable(f"messages to this provider cannot hold a part of type {part.get('type')!r}; send it as text or as an image")


def embed_body(texts: Sequence[str], request: Request, deployment: Deployment) -> dict[str, Json]:
    """The body of an embeddings call for some of the request's texts."""
    size = request.settings.get("dimensions")
    return {
        "model": deployment.model,
        "texts": list(texts),
        "input_type": request.settings.get("input_type") or "search_document",
        "embedding_types": ["float"],
    } | ({"output_dimension": size} if size else {})


# --- reading ----------------------------------------------------------------------------------------------------------


def read_usage(data: Json) -> Usage | None:
    """The classes out of a `usage` object, which are those that are billed where it says them; None where it counts nothing."""
    usage = mapping(data)
    billed, counted = mapping(usage.get("billed_units")), mapping(usage.get("tokens"))
    told = billed if billed.get("input_tokens") or billed.get("output_tokens") else counted
    fresh, output = count(told.get("input_tokens")), count(told.get("output_tokens"))
    searches = count(billed.get("search_units"))
    cached = min(count(usage.get("cached_tokens")), fresh)
    if fresh + output + searches == 0:
        return None
    other = {"search_units": searches} if searches else {}
    return Usage(input_tokens=fresh - cached, cache_read_tokens=cached, output_tokens=output, other=other)


def finish(value: Json) -> str:
    """A finish reason in OpenAI's words; empty where none was given."""
    text = str(value or "")
    return _FINISH.get(text, text.lower())


def _logprobs(entries: Json) -> list[dict[str, Json]]:
    """Log-probs in OpenAI's shape; an entry may stand for several tokens."""
    made = []
    for entry in entries or ():
        text, numbers = str(entry.get("text") or ""), entry.get("logprobs") or ()
        made.append({"token": text, "logprob": sum(numbers), "bytes": list(text.encode("utf-8", "replace")), "top_logprobs": []})
    return made


def read_reply(data: Mapping[str, Json], *, wire: str) -> Response | None:
    """What a reply says; None where it has no message to read. Arguments as for Gemini's."""
    message = data.get("message")
    if not isinstance(message, Mapping) or data.get("finish_reason") in {"ERROR", "TIMEOUT"}:
        return None
    choice = Choice(finish_reason=finish(data.get("finish_reason")), logprobs=_logprobs(data.get("logprobs")))
    content = message.get("content")
    for part in [{"type": "text", "text": content}] if isinstance(content, str) else content or ():
        if part.get("type") == "text":
            choice.text += str(part.get("text") or "")
        elif part.get("type") == "thinking":
            choice.reasoning += str(part.get("thinking") or "")
    choice.calls = [dict(call) for call in message.get("tool_calls") or ()]
    if message.get("tool_plan"):
        choice.reasoning += str(message["tool_plan"])
    usage = read_usage(data.get("usage"))
    own = dict(data) if wire == COHERE else None
    if wire == CHAT and choice.rich:
        own = body_of([choice], response_id=str(data.get("id") or ""), model=str(data.get("model") or ""), usage=usage)
    return answer_of(choice, usage, body=own)


class Stream:
    """Reads the events of one stream."""

    def __init__(self, *, wire: str) -> None:
        self._wire = wire
        self._tools: dict[int, int] = {}
        self._id = ""
        self.complete = False
        """Whether `message-end` came."""
        self.ended = False
        """As `complete`: nothing follows it."""

    def read(self, data: Mapping[str, Json], name: str) -> Chunk:
        """What one event says."""
        kind, delta = data.get("type"), mapping(data.get("delta"))
        message = mapping(delta.get("message"))
        text, reason, thought = "", "", ""
        usage: Usage | None = None
        calls: tuple[Mapping[str, Json], ...] = ()
        if kind == "message-start":
            self._id = str(data.get("id") or "")
        elif kind in {"content-start", "content-delta"}:
            content = mapping(message.get("content"))
            text, thought = str(content.get("text") or ""), str(content.get("thinking") or "")
        elif kind == "tool-plan-delta":
            thought = str(message.get("tool_plan") or "")
        elif kind in {"tool-call-start", "tool-call-delta"}:
            calls = self._calls(kind, int(data.get("index") or 0), message.get("tool_calls"))
        elif kind == "message-end":
            reason, usage = finish(delta.get("finish_reason")), read_usage(delta.get("usage"))
            self.complete = self.ended = True
        own: Mapping[str, Json] | None = data if self._wire == COHERE else None
        logprobs = _logprobs([data["logprobs"]]) if isinstance(data.get("logprobs"), Mapping) else []
        if self._wire == CHAT and (thought or logprobs):
            told = ({"content": text} if text else {}) | ({"reasoning_content": thought} if thought else {})
            own = event_of(told, response_id=self._id, model="", logprobs=logprobs)
        return Chunk(text=text, finish_reason=reason, usage=usage, tool_calls=calls, body=own)

    def _calls(self, kind: str, index: int, told: Json) -> tuple[Mapping[str, Json], ...]:
        call = mapping(told[0] if isinstance(told, list) and told else told)
        function = mapping(call.get("function"))
        if kind == "tool-call-start":
            place = self._tools[index] = len(self._tools)
            asked = {"name": function.get("name"), "arguments": str(function.get("arguments") or "")}
            return ({"index": place, "id": call.get("id"), "type": "function", "function": asked},)
        if index not in self._tools:
            return ()
        return ({"index": self._tools[index], "function": {"arguments": str(function.get("arguments") or "")}},)


def read_vectors(data: Mapping[str, Json], wanted: int) -> list[tuple[float, ...]] | None:
    """The vectors in the order of their texts; None where they are not as many as `wanted`."""
    entries = mapping(data.get("embeddings")).get("float")
    if not isinstance(entries, list) or len(entries) != wanted:
        return None
    return [tuple(float(number) for number in entry) for entry in entries]
