"""Bedrock's Converse format: pure functions from a `Request` to a body, and from a body to what it says."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

from aiplat_lab.core.types import Chunk, Deployment, Json, Message, Request, Response, Usage
from aiplat_lab.providers._chat_shape import Choice, answer_of, body_of, event_of, joined, mapping
from aiplat_lab.providers._openai_wire import CHAT, count, output_limit
from aiplat_lab.providers._wired import NotTranslatable, Sent

CONVERSE = "bedrock.converse"

_STOP = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
}
_SAME = {"temperature": "temperature", "top_p": "topP"}
_NO_WORD = frozenset(
    {"frequency_penalty", "presence_penalty", "logit_bias", "store", "prediction", "verbosity", "parallel_tool_calls", "user"}
)
_IMAGES = {"image/png": "png", "image/jpeg": "jpeg", "image/jpg": "jpeg", "image/gif": "gif", "image/webp": "webp"}
_FILES = {"application/pdf": "pdf", "text/csv": "csv", "text/html": "html", "text/plain": "txt", "text/markdown": "md"}
_EFFORTS = {"minimal": "low", "none": "low", "xhigh": "high"}
_BUDGETS = {"minimal": 1024, "low": 1024, "medium": 8192, "high": 24_576, "xhigh": 32_768}


# --- asking -----------------------------------------------------------------------------------------------------------


def body(request: Request, deployment: Deployment) -> Sent:
    """The body of a call: the caller's own where it is in this format, else translated.

    Raises:
        NotTranslatable: a message has a part that this format does not know.
    """
    if request.wire == CONVERSE and request.body is not None:
        data = {name: value for name, value in request.body.items() if name not in {"model", "modelId", "stream"}}
        limit = output_limit(request.settings)
        if limit is not None:
            data["inferenceConfig"] = {**mapping(data.get("inferenceConfig")), "maxTokens": limit}
        return Sent(data)
    return _translated(request, deployment)


def _translated(request: Request, deployment: Deployment) -> Sent:
    settings = {name: value for name, value in request.settings.items() if value is not None}
    ignored = {name for name in settings if name in _NO_WORD}
    data: dict[str, Json] = {"messages": joined(request.messages, _blocks)}
    system = [message.text() for message in request.messages if message.role in {"system", "developer"}]
    config: dict[str, Json] = {theirs: settings[ours] for ours, theirs in _SAME.items() if ours in settings}
    limit = output_limit(settings) or deployment.max_output_tokens
    if limit is not None:
        config["maxTokens"] = limit
    if settings.get("stop"):
        stop = settings["stop"]
        config["stopSequences"] = [stop] if isinstance(stop, str) else list(stop)
    if config:
        data["inferenceConfig"] = config
    shape = mapping(settings.get("response_format"))
    if shape.get("type") == "json_object":
        system.append("Answer with one JSON object and nothing else.")
    elif shape.get("type") == "json_schema":
        data["outputConfig"] = {"textFormat": _format(mapping(shape.get("json_schema")))}
    if any(system):
        data["system"] = [{"text": text} for text in system if text]
    tools, left_out = _tools(settings, request.messages)
    ignored |= left_out
    data |= tools
    more = _more(settings, deployment.model)
    if more:
        data["additionalModelRequestFields"] = more
    if deployment.service_tier or settings.get("service_tier"):
        data["serviceTier"] = {"type": settings.get("service_tier") or deployment.service_tier}
    return Sent(data, tuple(sorted(ignored)))


def _format(named: Mapping[str, Json]) -> dict[str, Json]:
    schema = {"schema": json.dumps(named.get("schema") or {}), "name": named.get("name") or "answer"}
    schema |= {"description": named["description"]} if named.get("description") else {}
    return {"type": "json_schema", "structure": {"jsonSchema": schema}}


def _more(settings: Mapping[str, Json], model: str) -> dict[str, Json]:
    """Fields that Bedrock hands to the model as they are, under the model's own names."""
    made = dict(mapping(settings.get("additional_model_request_fields")))
    effort = str(settings.get("reasoning_effort") or "")
    if "anthropic" in model:
        if settings.get("top_k") is not None:
            made["top_k"] = settings["top_k"]
        if effort and effort != "none":
            made["thinking"] = {"type": "enabled", "budget_tokens": _BUDGETS.get(effort, 8192)}
    elif effort:
        made["reasoning_effort"] = _EFFORTS.get(effort, effort)
    return made


def _tools(settings: Mapping[str, Json], messages: Sequence[Message]) -> tuple[dict[str, Json], set[str]]:
    """The tools and which may be called; the format has no word for `none`, so that the tools are left out where that can be."""
    tools = settings.get("tools")
    if not tools:
        return {}, set()
    choice = settings.get("tool_choice")
    asked_before = any(message.extra.get("tool_calls") for message in messages)
    if choice == "none" and not asked_before:
        return {}, set()
    config: dict[str, Json] = {"tools": [_tool(tool) for tool in tools]}
    if choice == "required":
        config["toolChoice"] = {"any": {}}
    elif isinstance(choice, Mapping):
        config["toolChoice"] = {"tool": {"name": mapping(choice.get("function")).get("name")}}
    elif choice == "auto":
        config["toolChoice"] = {"auto": {}}
    return {"toolConfig": config}, {"tool_choice"} if choice == "none" else set()


def _tool(tool: Mapping[str, Json]) -> dict[str, Json]:
    function = tool.get("function")
    if not isinstance(function, Mapping):
        return dict(tool)  # one of Bedrock's own
    made: dict[str, Json] = {"name": function.get("name"), "inputSchema": {"json": function.get("parameters") or {"type": "object"}}}
    return {"toolSpec": made | ({"description": function["description"]} if function.get("description") else {})}


def _blocks(message: Message) -> list[dict[str, Json]]:
    if message.role == "tool":
        content = [{"text": message.text()}]
        return [{"toolResult": {"toolUseId": str(message.extra.get("tool_call_id") or ""), "content": content}}]
    blocks: list[dict[str, Json]] = []
    if isinstance(message.content, str):
        blocks += [{"text": message.content}] if message.content else []
    else:
        blocks += [_part(part) for part in message.content or () if part.get("type") != "text" or part.get("text")]
    for call in message.extra.get("tool_calls") or ():
        function = mapping(call.get("function"))
        try:
            arguments = json.loads(function.get("arguments") or "{}")
        except (TypeError, ValueError):
            raise NotTranslatable(f"the arguments of the tool call {function.get('name')!r} are not JSON") from None
        blocks.append({"toolUse": {"toolUseId": str(call.get("id") or ""), "name": function.get("name"), "input": arguments}})
    return blocks


def _part(part: Mapping[str, Json]) -> dict[str, Json]:
    kind = part.get("type")
    if kind == "text":
        return {"text": str(part.get("text"))}
    if kind == "image_url":
        image = part.get("image_url")
        format_, data = _data(str(image.get("url") if isinstance(image, Mapping) else image), _IMAGES)
        return {"image": {"format": format_, "source": {"bytes": data}}}
    if kind == "file" and mapping(part.get("file")).get("file_data"):
        format_, data = _data(str(part["file"]["file_data"]), _FILES)
        return {"document": {"format": format_, "name": "document", "source": {"bytes": data}}}
    raise NotTranslatable(f"messages to this provider cannot hold a part of type {kind!r}; send it as text, image or file data")


def _data(url: str, known: Mapping[str, str]) -> tuple[str, str]:
    """Format and base64 of a data URL."""
    head, comma, data = url.removeprefix("data:").partition(",")
    kind = head.partition(";")[0]
    if not url.startswith("data:") or not comma or kind not in known:
        raise NotTranslatable(f"this provider takes images and files as data: URLs of {', '.join(known)}, not from an address")
    return known[kind], data


# --- reading ----------------------------------------------------------------------------------------------------------


def read_usage(data: Json) -> Usage | None:
    """The five disjoint classes out of a `usage` object; None where it counts nothing. Input never includes cached tokens here."""
    usage = mapping(data)
    fresh, output = count(usage.get("inputTokens")), count(usage.get("outputTokens"))
    read, written = count(usage.get("cacheReadInputTokens")), count(usage.get("cacheWriteInputTokens"))
    if fresh + read + written + output == 0:
        return None
    details = usage.get("cacheDetails")
    hour = sum(count(one.get("inputTokens")) for one in details if one.get("ttl") == "1h") if isinstance(details, list) else 0
    return Usage(
        input_tokens=fresh,
        cache_read_tokens=read,
        cache_write_tokens=written,
        output_tokens=output,
        cache_write_1h_tokens=min(hour, written),
    )


def _served(usage: Usage | None, data: Mapping[str, Json]) -> Usage | None:
    """The usage with the tier that the answer says it was served in."""
    tier = str(mapping(data.get("serviceTier")).get("type") or "")
    if usage is None or not tier:
        return usage
    return replace(usage, service_tier=tier)


def finish(value: Json) -> str:
    """A stop reason in OpenAI's words; empty where none was given."""
    text = str(value or "")
    return _STOP.get(text, text)


def read_reply(data: Mapping[str, Json], *, wire: str) -> Response | None:
    """What a reply says; None where it has no message to read. Arguments as for Gemini's."""
    content = mapping(mapping(data.get("output")).get("message")).get("content")
    if not isinstance(content, list):
        return None
    choice = Choice(finish_reason=finish(data.get("stopReason")))
    for block in content:
        choice.text += str(block.get("text") or "")
        if isinstance(block.get("toolUse"), Mapping):
            used = block["toolUse"]
            function = {"name": used.get("name"), "arguments": json.dumps(used.get("input") or {})}
            choice.calls.append({"id": used.get("toolUseId"), "type": "function", "function": function})
        thought = mapping(mapping(block.get("reasoningContent")).get("reasoningText"))
        choice.reasoning += str(thought.get("text") or "")
    usage = _served(read_usage(data.get("usage")), data)
    own = dict(data) if wire == CONVERSE else None
    if wire == CHAT and choice.rich:
        own = body_of([choice], response_id="", model="", usage=usage)
    return answer_of(choice, usage, body=own)


class Stream:
    """Reads the events of one stream; the usage comes after the stop reason, in `metadata`."""

    def __init__(self, *, wire: str) -> None:
        self._wire = wire
        self._tools: dict[int, int] = {}
        self.complete = False
        """Whether `messageStop` came."""
        self.ended = False
        """Whether `metadata` came, after which nothing follows."""

    def read(self, data: Mapping[str, Json], name: str) -> Chunk:
        """What one event says."""
        text, reason = "", ""
        usage: Usage | None = None
        calls: tuple[Mapping[str, Json], ...] = ()
        own: Mapping[str, Json] | None = {name: data} if self._wire == CONVERSE else None
        index = int(data.get("contentBlockIndex") or 0)
        if name == "contentBlockStart":
            calls = self._call(index, mapping(mapping(data.get("start")).get("toolUse")))
        elif name == "contentBlockDelta":
            delta = mapping(data.get("delta"))
            text = str(delta.get("text") or "")
            pieces = mapping(delta.get("toolUse"))
            if pieces and index in self._tools:
                calls = ({"index": self._tools[index], "function": {"arguments": str(pieces.get("input") or "")}},)
            thought = mapping(delta.get("reasoningContent")).get("text")
            if thought and self._wire == CHAT:
                own = event_of({"reasoning_content": str(thought)}, response_id="", model="")
        elif name == "messageStop":
            reason = finish(data.get("stopReason"))
            self.complete = self.complete or bool(reason)
        elif name == "metadata":
            usage = _served(read_usage(data.get("usage")), data)
            self.ended = self.complete
        return Chunk(text=text, finish_reason=reason, usage=usage, tool_calls=calls, body=own)

    def _call(self, index: int, used: Mapping[str, Json]) -> tuple[Mapping[str, Json], ...]:
        if not used:
            return ()
        place = self._tools[index] = len(self._tools)
        function = {"name": used.get("name"), "arguments": ""}
        return ({"index": place, "id": used.get("toolUseId"), "type": "function", "function": function},)
