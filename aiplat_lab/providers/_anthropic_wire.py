"""Anthropic's Messages format: pure functions from a `Request` to a body, and from a body to what it says.

Inside aiplat-lab messages, settings and tool calls have the names of OpenAI's chat format; this is where they change.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from aiplat_lab.core.types import Chunk, Deployment, Json, Message, Request, Response, Usage
from aiplat_lab.providers._chat_shape import joined
from aiplat_lab.providers._openai_wire import count, is_count, most, output_limit
from aiplat_lab.providers._wired import NotTranslatable, Sent

MESSAGES = "anthropic.messages"
DEFAULT_MAX_TOKENS = 4096
"""Anthropic's format demands a limit; this one is sent when neither the caller nor the deployment names any."""

_STOP = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_NO_WORD = frozenset(
    {"seed", "frequency_penalty", "presence_penalty", "logit_bias", "logprobs", "top_logprobs", "n", "store", "prediction", "verbosity"}
)
"""Settings that this format has no word for: they are left out and flagged as `ignored_NAME`."""
_MAPPED = frozenset(
    {"max_tokens", "max_completion_tokens", "stop", "tools", "tool_choice", "parallel_tool_calls", "user", "response_format",
     "reasoning_effort", "stream", "stream_options"}
)  # fmt: skip
_EFFORT = {"minimal": "low", "none": "low"}
_JSON_ONLY = "Answer with one JSON object and nothing else."


# --- asking -----------------------------------------------------------------------------------------------------------


def body(request: Request, deployment: Deployment, *, stream: bool) -> Sent:
    """The body of a call: the caller's own where it is in this format, else translated.

    In a caller's own body only the model's name and a limit that a policy lowered in `request.settings` differ.

    Raises:
        NotTranslatable: a message has a part that this format does not know.
    """
    if request.wire == MESSAGES and request.body is not None:
        found = Sent(dict(request.body), ())
        limit = output_limit(request.settings)
        if limit is not None:
            found.data["max_tokens"] = limit
    else:
        found = _translated(request, deployment)
    found.data["model"] = deployment.model
    if deployment.service_tier:
        found.data.setdefault("speed" if deployment.service_tier == "fast" else "service_tier", deployment.service_tier)
    found.data.pop("stream", None)
    if stream:
        found.data["stream"] = True
    return found


def count_body(request: Request, deployment: Deployment) -> dict[str, Json]:
    """The body of a question for the number of tokens."""
    wanted = {"model", "messages", "system", "tools", "tool_choice", "thinking", "output_config"}
    return {name: value for name, value in body(request, deployment, stream=False).data.items() if name in wanted}


def _translated(request: Request, deployment: Deployment) -> Sent:
    settings = {name: value for name, value in request.settings.items() if value is not None}
    data: dict[str, Json] = {name: value for name, value in settings.items() if name not in _MAPPED and name not in _NO_WORD}
    data["max_tokens"] = output_limit(settings) or deployment.max_output_tokens or DEFAULT_MAX_TOKENS
    system = [message.text() for message in request.messages if message.role in {"system", "developer"}]
    _translate_settings(settings, data, system)
    if any(system):
        data["system"] = "\n\n".join(text for text in system if text)
    data["messages"] = _messages(request.messages)
    return Sent(data, tuple(sorted(name for name in settings if name in _NO_WORD and not _says_nothing(name, settings[name]))))


def _says_nothing(name: str, value: Json) -> bool:
    """Whether a setting is what holds anyway, so that leaving it out changes nothing."""
    return value == 1 if name == "n" else not value and name != "seed"


def _translate_settings(settings: Mapping[str, Json], data: dict[str, Json], system: list[str]) -> None:
    """Puts settings under this format's names into `data`, and what only words can say into `system`."""
    if settings.get("stop"):
        stop = settings["stop"]
        data["stop_sequences"] = [stop] if isinstance(stop, str) else list(stop)
    if settings.get("tools"):
        data["tools"] = [_tool(tool) for tool in settings["tools"]]
    choice = _tool_choice(settings.get("tool_choice"), settings.get("parallel_tool_calls"))
    if choice and data.get("tools"):
        data["tool_choice"] = choice
    if settings.get("user"):
        data["metadata"] = {**(data.get("metadata") or {}), "user_id": str(settings["user"])}
    wanted = settings.get("response_format")
    if isinstance(wanted, Mapping) and wanted.get("type") == "json_schema":
        schema = (wanted.get("json_schema") or {}).get("schema") or {}
        data["output_config"] = {**(data.get("output_config") or {}), "format": {"type": "json_schema", "schema": schema}}
    elif isinstance(wanted, Mapping) and wanted.get("type") == "json_object":
        system.append(_JSON_ONLY)
    effort = settings.get("reasoning_effort")
    if effort:
        data["output_config"] = {**(data.get("output_config") or {}), "effort": _EFFORT.get(str(effort), str(effort))}


def _tool(tool: Mapping[str, Json]) -> dict[str, Json]:
    function = tool.get("function")
    if not isinstance(function, Mapping):
        return dict(tool)  # one of Anthropic's own, such as web search
    made = {"name": function.get("name"), "input_schema": function.get("parameters") or {"type": "object", "properties": {}}}
    return {**made, "description": function["description"]} if function.get("description") else made


def _tool_choice(choice: Json, parallel: Json) -> dict[str, Json] | None:
    words = {"auto": "auto", "none": "none", "required": "any"}
    made: dict[str, Json] | None = None
    if isinstance(choice, str):
        made = {"type": words.get(choice, choice)}
    elif isinstance(choice, Mapping):
        function = choice.get("function")
        made = {"type": "tool", "name": function.get("name")} if isinstance(function, Mapping) else dict(choice)
    if parallel is False and (made is None or made["type"] != "none"):
        made = {**(made or {"type": "auto"}), "disable_parallel_tool_use": True}
    return made


def _messages(messages: Sequence[Message]) -> list[dict[str, Json]]:
    """The messages without the system's, neighbours of one role joined, tool results as the user's."""
    made = joined(messages, _blocks)
    for one in made:
        if len(one["content"]) == 1 and set(one["content"][0]) == {"type", "text"}:
            one["content"] = one["content"][0]["text"]
    return made


def _blocks(message: Message) -> list[dict[str, Json]]:
    parts = _parts(message)
    if message.role == "tool":
        content: Json = parts[0]["text"] if len(parts) == 1 and parts[0]["type"] == "text" else parts
        result = {"type": "tool_result", "tool_use_id": str(message.extra.get("tool_call_id") or ""), "content": content or ""}
        return [result]
    for call in message.extra.get("tool_calls") or ():
        function = call.get("function") or {}
        try:
            arguments = json.loads(function.get("arguments") or "{}")
        except (TypeError, ValueError):
            raise NotTranslatable(f"the arguments of the tool call {function.get('name')!r} are not JSON") from None
        parts.append({"type": "tool_use", "id": str(call.get("id") or ""), "name": function.get("name"), "input": arguments})
    return parts


def _parts(message: Message) -> list[dict[str, Json]]:
    if message.content is None:
        return []
    if isinstance(message.content, str):
        return [{"type": "text", "text": message.content}] if message.content or message.role == "user" else []
    return [_part(part) for part in message.content if part.get("type") != "text" or part.get("text")]


def _part(part: Mapping[str, Json]) -> dict[str, Json]:
    kind = part.get("type")
    if kind == "image_url":
        image = part.get("image_url")
        return {"type": "image", "source": _source(str(image.get("url") if isinstance(image, Mapping) else image), "image/png")}
    if kind == "file" and isinstance(part.get("file"), Mapping) and part["file"].get("file_data"):
        return {"type": "document", "source": _source(str(part["file"]["file_data"]), "application/pdf")}
    if kind in {"input_audio", "file"}:
        raise NotTranslatable(f"messages to this provider cannot hold a part of type {kind!r}; send it as text or as an image")
    return dict(part)  # text, or one of Anthropic's own


def _source(url: str, kind: str) -> dict[str, Json]:
    if not url.startswith("data:"):
        return {"type": "url", "url": url}
    head, _, data = url.removeprefix("data:").partition(",")
    return {"type": "base64", "media_type": head.partition(";")[0] or kind, "data": data}


# --- reading ----------------------------------------------------------------------------------------------------------


def read_usage(data: Json) -> Usage | None:
    """The five disjoint classes out of a `usage` object; None where it counts nothing.

    Here input never includes cached or written tokens; output includes what was thought, which is taken out where it
    is told apart. Searches that the provider made are counted beside the tokens. A total that is no number of tokens leaves the
    usage unknown.
    """
    if not isinstance(data, Mapping):
        return None
    if not all(data.get(name) is None or is_count(data[name]) for name in ("input_tokens", "output_tokens")):
        return None
    fresh, output = count(data.get("input_tokens")), count(data.get("output_tokens"))
    read, written = count(data.get("cache_read_input_tokens")), count(data.get("cache_creation_input_tokens"))
    kept = _object(data, "cache_creation")
    written = written or sum(count(value) for value in kept.values())
    thought = min(count(_object(data, "output_tokens_details").get("thinking_tokens")), output)
    if fresh + read + written + output == 0:
        return None
    searches = count(_object(data, "server_tool_use").get("web_search_requests"))
    tier = "fast" if data.get("speed") == "fast" else data.get("service_tier")
    return Usage(
        input_tokens=fresh,
        cache_read_tokens=read,
        cache_write_tokens=written,
        output_tokens=output - thought,
        reasoning_tokens=thought,
        cache_write_1h_tokens=min(count(kept.get("ephemeral_1h_input_tokens")), written),
        other={"web_searches": searches} if searches else {},
        service_tier=tier.lower()[:40] if isinstance(tier, str) else "",
    )


def _object(data: Mapping[str, Json], name: str) -> Mapping[str, Json]:
    value = data.get(name)
    return value if isinstance(value, Mapping) else {}


def finish(value: Json) -> str:
    """A stop reason in OpenAI's words; empty where none was given."""
    text = str(value or "")
    return _STOP.get(text, text)


def _tool_call(block: Mapping[str, Json]) -> dict[str, Json]:
    function = {"name": block.get("name"), "arguments": json.dumps(block.get("input") or {})}
    return {"id": block.get("id"), "type": "function", "function": function}


def read_reply(data: Mapping[str, Json], *, own: bool) -> Response | None:
    """What a reply says; None where it has no content to read.

    Args:
        data: the reply's JSON object.
        own: whether the caller speaks this format, so that the body goes back unchanged.
    """
    content = data.get("content")
    if not isinstance(content, Sequence) or isinstance(content, str):
        return None
    blocks = [block for block in content if isinstance(block, Mapping)]
    reason, usage = finish(data.get("stop_reason")), read_usage(data.get("usage"))
    more = own or any(block.get("type") != "text" or block.get("citations") for block in blocks)
    return Response(
        text="".join(str(block.get("text") or "") for block in blocks if block.get("type") == "text"),
        finish_reason=reason,
        usage=usage,
        response_model=str(data.get("model") or ""),
        body=dict(data) if more else None,
        tool_calls=tuple(_tool_call(block) for block in blocks if block.get("type") == "tool_use"),
        flags=(*(() if reason else ("no_finish_reason",)), *(() if usage else ("no_usage",))),
    )


class StreamReader:
    """Reads the events of one stream; keeps the usage so far and the numbers of the tool calls."""

    def __init__(self, *, own: bool) -> None:
        self._own = own
        self._usage: dict[str, Any] = {}  # Any: as Json
        self._tools: dict[int, int] = {}
        self.complete = False
        """Whether the answer is whole: `message_stop` or a stop reason came."""
        self.ended = False
        """Whether `message_stop` came, after which nothing follows."""

    def read(self, event: Mapping[str, Json], name: str = "") -> Chunk:
        """What one event says. Each usage is the total so far, so the last one counts."""
        kind = event.get("type")
        text, reason, model = "", "", ""
        usage: Usage | None = None
        calls: tuple[Mapping[str, Json], ...] = ()
        if kind == "message_start":
            message = event.get("message") or {}
            model = str(message.get("model") or "")
            usage = self._add(message.get("usage"))
        elif kind == "content_block_start":
            calls = self._tool_start(event)
            text = str((event.get("content_block") or {}).get("text") or "")
        elif kind == "content_block_delta":
            delta = event.get("delta") or {}
            text = str(delta.get("text") or "") if delta.get("type") == "text_delta" else ""
            if delta.get("type") == "input_json_delta" and event.get("index") in self._tools:
                calls = ({"index": self._tools[event["index"]], "function": {"arguments": delta.get("partial_json") or ""}},)
        elif kind == "message_delta":
            reason = finish((event.get("delta") or {}).get("stop_reason"))
            usage = self._add(event.get("usage"))
            self.complete = self.complete or bool(reason)
        elif kind == "message_stop":
            self.complete = self.ended = True
        return Chunk(
            text=text, finish_reason=reason, usage=usage, response_model=model, tool_calls=calls, body=event if self._own else None
        )

    def _add(self, usage: Json) -> Usage | None:
        """The usage so far: later counts are totals, and a host that leaves one out or writes 0 does not take it back."""
        if not isinstance(usage, Mapping):
            return None
        for name, value in usage.items():
            before = self._usage.get(name)
            if isinstance(value, Mapping) and isinstance(before, Mapping):
                self._usage[name] = {**before, **{key: most(before.get(key), later) for key, later in value.items()}}
            elif value is not None:
                self._usage[name] = most(before, value)
        return read_usage(self._usage)

    def _tool_start(self, event: Mapping[str, Json]) -> tuple[Mapping[str, Json], ...]:
        block = event.get("content_block") or {}
        if block.get("type") != "tool_use":
            return ()
        index = self._tools[event.get("index", 0)] = len(self._tools)
        return ({"index": index, "id": block.get("id"), "type": "function", "function": {"name": block.get("name"), "arguments": ""}},)


def whole_as_events(data: Mapping[str, Json]) -> list[Mapping[str, Json]]:
    """The events that a host which answers a stream with one plain reply should have sent."""
    events: list[Mapping[str, Json]] = [{"type": "message_start", "message": {**data, "content": [], "stop_reason": None}}]
    for index, block in enumerate(data.get("content") or ()):
        if block.get("type") == "tool_use":
            events.append({"type": "content_block_start", "index": index, "content_block": {**block, "input": {}}})
            delta = {"type": "input_json_delta", "partial_json": json.dumps(block.get("input") or {})}
        else:
            events.append({"type": "content_block_start", "index": index, "content_block": {"type": "text", "text": ""}})
            delta = {"type": "text_delta", "text": block.get("text") or ""}
        events.append({"type": "content_block_delta", "index": index, "delta": delta})
        events.append({"type": "content_block_stop", "index": index})
    last = {"type": "message_delta", "delta": {"stop_reason": data.get("stop_reason")}, "usage": data.get("usage")}
    return [*events, last, {"type": "message_stop"}]
