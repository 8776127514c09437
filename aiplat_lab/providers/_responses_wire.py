"""OpenAI's Responses format as an upstream: pure functions from a `Request` to a body, and from a body to what it says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from aiplat_lab.core.types import Chunk, Deployment, Json, Message, Request, Response, Usage
from aiplat_lab.providers._chat_shape import Choice, answer_of, body_of, event_of, mapping
from aiplat_lab.providers._openai_wire import CHAT, output_limit
from aiplat_lab.providers._openai_wire import read_usage as counted
from aiplat_lab.providers._wired import NotTranslatable, Sent

RESPONSES = "openai.responses"

_SAME = ("temperature", "top_p", "parallel_tool_calls", "top_logprobs", "metadata", "user", "service_tier", "store", "prompt_cache_key")
_NO_WORD = frozenset({"frequency_penalty", "presence_penalty", "logit_bias", "prediction"})
_CUT = {"max_output_tokens": "length", "content_filter": "content_filter"}
_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed", "response.cancelled"})
_LOGPROBS = "message.output_text.logprobs"


# --- asking -----------------------------------------------------------------------------------------------------------


def body(request: Request, deployment: Deployment, *, stream: bool) -> Sent:
    """The body of a call: the caller's own where it is in this format, else translated.

    In a caller's own body only the model's name and a limit that a policy lowered in `request.settings` differ.

    Raises:
        NotTranslatable: a message has a part that this format does not know.
    """
    if request.wire == RESPONSES and request.body is not None:
        made = Sent(dict(request.body))
        limit = output_limit(request.settings)
        if limit is not None:
            made.data["max_output_tokens"] = limit
    else:
        made = _translated(request)
    made.data["model"] = deployment.model
    if deployment.service_tier:
        made.data.setdefault("service_tier", deployment.service_tier)
    made.data.pop("stream", None)
    if stream:
        made.data["stream"] = True
    return made


def _translated(request: Request) -> Sent:
    settings = {name: value for name, value in request.settings.items() if value is not None}
    data: dict[str, Json] = {name: settings[name] for name in _SAME if name in settings}
    data.setdefault("store", False)
    data["input"] = [item for message in request.messages for item in _items(message)]
    limit = output_limit(settings)
    if limit is not None:
        data["max_output_tokens"] = limit
    if settings.get("tools"):
        data["tools"] = [_tool(tool) for tool in settings["tools"]]
        choice = settings.get("tool_choice")
        if choice:
            data["tool_choice"] = _choice(choice)
    text = _text(settings)
    if text:
        data["text"] = text
    if settings.get("reasoning_effort"):
        data["reasoning"] = {"effort": settings["reasoning_effort"]}
    if settings.get("logprobs") or settings.get("top_logprobs"):
        data["include"] = [_LOGPROBS]
    return Sent(data, tuple(sorted(name for name in settings if name in _NO_WORD)))


def _text(settings: Mapping[str, Json]) -> dict[str, Json]:
    made: dict[str, Json] = {}
    shape = mapping(settings.get("response_format"))
    if shape.get("type") == "json_schema":
        made["format"] = {"type": "json_schema", "name": "answer", **mapping(shape.get("json_schema"))}
    elif shape.get("type") == "json_object":
        made["format"] = {"type": "json_object"}
    if settings.get("verbosity"):
        made["verbosity"] = settings["verbosity"]
    return made


def _tool(tool: Mapping[str, Json]) -> dict[str, Json]:
    function = tool.get("function")
    if not isinstance(function, Mapping):
        return dict(tool)  # one of the service's own, such as {"type": "web_search"}
    made = {name: value for name, value in function.items() if name in {"name", "description", "parameters", "strict"}}
    return {"type": "function", "strict": False, **made}


def _choice(choice: Json) -> Json:
    if isinstance(choice, Mapping) and isinstance(choice.get("function"), Mapping):
        return {"type": "function", "name": choice["function"].get("name")}
    return choice


def _items(message: Message) -> Iterator[dict[str, Json]]:
    """The input items that a message becomes: itself, calls of functions, or a function's result."""
    if message.role == "tool":
        yield {"type": "function_call_output", "call_id": str(message.extra.get("tool_call_id") or ""), "output": message.text()}
        return
    said = "output_text" if message.role == "assistant" else "input_text"
    if isinstance(message.content, str):
        if message.content or message.role == "user":
            yield {"role": message.role, "content": message.content}
    elif message.content:
        yield {"role": message.role, "content": [_part(part, said) for part in message.content]}
    for call in message.extra.get("tool_calls") or ():
        function = mapping(call.get("function"))
        asked = {"call_id": call.get("id"), "name": function.get("name"), "arguments": function.get("arguments") or "{}"}
        yield {"type": "function_call", **asked}


def _part(part: Mapping[str, Json], said: str) -> dict[str, Json]:
    kind = part.get("type")
    if kind == "text":
        return {"type": said, "text": str(part.get("text") or "")}
    if kind == "image_url":
        image = part.get("image_url")
        url, detail = (image.get("url"), image.get("detail")) if isinstance(image, Mapping) else (image, None)
        return {"type": "input_image", "image_url": url, "detail": detail or "auto"}
    if kind == "file" and isinstance(part.get("file"), Mapping):
        return {"type": "input_file", **part["file"]}
    raise NotTranslatable(f"messages to this provider cannot hold a part of type {kind!r}; send it as text, as an image or as a file")


# --- reading ----------------------------------------------------------------------------------------------------------


def read_usage(data: Json, output: Json = ()) -> Usage | None:
    """The five disjoint classes out of a `usage` object; None where it counts nothing.

    Args:
        data: the object.
        output: the answer's items, of which searches are paid for by their number.
    """
    return counted(data, output=output)


def finish(data: Mapping[str, Json], *, calls: bool) -> str:
    """Why an answer ended, in OpenAI's chat words; empty where it does not say."""
    if data.get("status") == "incomplete":
        reason = str(mapping(data.get("incomplete_details")).get("reason") or "length")
        return _CUT.get(reason, reason)
    if data.get("status") != "completed":
        return ""
    return "tool_calls" if calls else "stop"


def _tier(usage: Usage | None, data: Mapping[str, Json]) -> Usage | None:
    """The usage with the tier that the answer says it was served in."""
    tier = str(data.get("service_tier") or "")
    return usage if usage is None or not tier else replace(usage, service_tier=tier.lower()[:40])


def _choice_of(output: Sequence[Json]) -> tuple[Choice, bool]:
    """What the items say, and whether it is a refusal."""
    choice, refused = Choice(), False
    for item in output:
        if item.get("type") == "message":
            for part in item.get("content") or ():
                refused = refused or part.get("type") == "refusal"
                choice.text += str(part.get("text") or part.get("refusal") or "")
                choice.logprobs += list(part.get("logprobs") or ())
        elif item.get("type") == "function_call":
            function = {"name": item.get("name"), "arguments": item.get("arguments") or ""}
            choice.calls.append({"id": item.get("call_id"), "type": "function", "function": function})
        elif item.get("type") == "reasoning":
            choice.reasoning += "\n".join(str(part.get("text") or "") for part in item.get("summary") or ())
    return choice, refused


def read_reply(data: Mapping[str, Json], *, wire: str) -> Response | None:
    """What a reply says; None where it has no output to read, or failed. Arguments as for Gemini's."""
    output = data.get("output")
    if not isinstance(output, list) or data.get("status") == "failed":
        return None
    choice, refused = _choice_of(output)
    choice.finish_reason = finish(data, calls=bool(choice.calls))
    usage, model = _tier(read_usage(data.get("usage"), output), data), str(data.get("model") or "")
    own = dict(data) if wire == RESPONSES else None
    if wire == CHAT and choice.rich:
        own = body_of([choice], response_id=str(data.get("id") or ""), model=model, usage=usage)
    return answer_of(choice, usage, body=own, model=model, flags=("refusal",) if refused else ())


class Stream:
    """Reads the events of one stream."""

    def __init__(self, *, wire: str) -> None:
        self._wire = wire
        self._calls: dict[int, int] = {}
        self._id = self._model = ""
        self.complete = False
        """Whether the event came that holds the whole answer."""
        self.ended = False
        """As `complete`: nothing follows it."""

    def read(self, data: Mapping[str, Json], name: str) -> Chunk:
        """What one event says."""
        kind = str(data.get("type") or name)
        text, reason, model = "", "", ""
        usage: Usage | None = None
        calls: tuple[Mapping[str, Json], ...] = ()
        own: Mapping[str, Json] | None = data if self._wire == RESPONSES else None
        if kind in {"response.output_text.delta", "response.refusal.delta"}:
            text = str(data.get("delta") or "")
        elif kind in {"response.reasoning_summary_text.delta", "response.reasoning_text.delta"} and self._wire == CHAT:
            own = event_of({"reasoning_content": str(data.get("delta") or "")}, response_id=self._id, model=self._model)
        elif kind == "response.output_item.added":
            calls = self._call(int(data.get("output_index") or 0), mapping(data.get("item")))
        elif kind == "response.function_call_arguments.delta" and data.get("output_index") in self._calls:
            place = self._calls[int(data["output_index"])]
            calls = ({"index": place, "function": {"arguments": str(data.get("delta") or "")}},)
        elif kind in {"response.created", *_ENDS}:
            answer = mapping(data.get("response"))
            self._id, self._model = str(answer.get("id") or ""), str(answer.get("model") or "")
            model = self._model
            if kind in _ENDS:
                usage = _tier(read_usage(answer.get("usage"), answer.get("output")), answer)
                reason = finish(answer, calls=bool(self._calls)) or "stop"
                self.complete = self.ended = True
        if text and data.get("logprobs") and self._wire == CHAT:
            own = event_of({"content": text}, response_id=self._id, model=self._model, logprobs=data["logprobs"])
        return Chunk(text=text, finish_reason=reason, usage=usage, response_model=model, tool_calls=calls, body=own)

    def _call(self, index: int, item: Mapping[str, Json]) -> tuple[Mapping[str, Json], ...]:
        if item.get("type") != "function_call":
            return ()
        place = self._calls[index] = len(self._calls)
        function = {"name": item.get("name"), "arguments": str(item.get("arguments") or "")}
        return ({"index": place, "id": item.get("call_id"), "type": "function", "function": function},)
