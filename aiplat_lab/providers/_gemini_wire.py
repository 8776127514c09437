"""Gemini's generateContent format: pure functions from a `Request` to a body, and from a body to what it says."""

from __future__ import annotations

import json
import mimetypes
from collections.abc import Mapping, Sequence
from dataclasses import replace

from aiplat_lab.core.ids import new_id
from aiplat_lab.core.types import Chunk, Deployment, Json, Message, Request, Response, Usage
from aiplat_lab.providers._chat_shape import Choice, answer_of, body_of, event_of, mapping
from aiplat_lab.providers._openai_wire import CHAT, count, output_limit
from aiplat_lab.providers._wired import NotTranslatable, Sent

GENERATE = "gemini.generate"
EMBED = "gemini.embed"

_FINISH = {"STOP": "stop", "MAX_TOKENS": "length", "FINISH_REASON_UNSPECIFIED": ""}
_FILTERED = frozenset(
    {"SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "MODEL_ARMOR"}
    | {"IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION"}
)
_SAME = {
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "seed": "seed",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
    "n": "candidateCount",
}
_NO_WORD = frozenset({"logit_bias", "store", "prediction", "verbosity", "parallel_tool_calls", "user", "metadata", "service_tier"})
_BUDGETS = {"none": 0, "minimal": 512, "low": 1024, "medium": 8192, "high": 24_576, "xhigh": 32_768}
_LEVELS = {"none": "minimal", "xhigh": "high"}
_PLAIN_SCHEMA = frozenset(
    {"type", "format", "title", "description", "nullable", "enum", "maxItems", "minItems", "properties", "required", "minProperties"}
    | {
        "maxProperties",
        "minLength",
        "maxLength",
        "pattern",
        "example",
        "anyOf",
        "propertyOrdering",
        "default",
        "items",
        "minimum",
        "maximum",
    }
)
_LEFT_OUT = frozenset({"$schema", "additionalProperties", "strict"})
_UNSIGNED = "skip_thought_signature_validator"
"""What the service takes for the signature of a call that another model made."""


# --- asking -----------------------------------------------------------------------------------------------------------


def body(request: Request, deployment: Deployment) -> Sent:
    """The body of a call: the caller's own where it is in this format, else translated.

    In a caller's own body only a limit differs that a policy lowered in `request.settings`.

    Raises:
        NotTranslatable: a message has a part that this format does not know.
    """
    if request.wire == GENERATE and request.body is not None:
        data = {name: value for name, value in request.body.items() if name not in {"model", "stream"}}
        config = mapping(data.get("generationConfig"))
        limit = output_limit(request.settings)
        if limit is not None and limit != config.get("maxOutputTokens"):
            data["generationConfig"] = {**config, "maxOutputTokens": limit}
        return Sent(data)
    return _translated(request, deployment)


def _translated(request: Request, deployment: Deployment) -> Sent:
    settings = {name: value for name, value in request.settings.items() if value is not None}
    data: dict[str, Json] = {"contents": _contents(request.messages, deployment.model)}
    system = [message.text() for message in request.messages if message.role in {"system", "developer"}]
    if any(system):
        data["systemInstruction"] = {"parts": [{"text": text} for text in system if text]}
    config = {theirs: settings[ours] for ours, theirs in _SAME.items() if ours in settings}
    if config.get("candidateCount") == 1:
        del config["candidateCount"]
    config |= _generation(settings, deployment)
    if config:
        data["generationConfig"] = config
    data |= _tools(settings)
    for ours, theirs in (("safety_settings", "safetySettings"), ("cached_content", "cachedContent")):
        if ours in settings:
            data[theirs] = settings[ours]
    return Sent(data, tuple(sorted(name for name in settings if name in _NO_WORD)))


def _generation(settings: Mapping[str, Json], deployment: Deployment) -> dict[str, Json]:
    """Limits, stop texts, the shape of the answer, log-probs and thinking."""
    config: dict[str, Json] = {}
    limit = output_limit(settings) or deployment.max_output_tokens
    if limit is not None:
        config["maxOutputTokens"] = limit
    if settings.get("stop"):
        stop = settings["stop"]
        config["stopSequences"] = [stop] if isinstance(stop, str) else list(stop)
    shape = mapping(settings.get("response_format"))
    if shape.get("type") in {"json_object", "json_schema"}:
        config["responseMimeType"] = "application/json"
    if shape.get("type") == "json_schema":
        schema = mapping(mapping(shape.get("json_schema")).get("schema"))
        plain = _plain_schema(schema)
        config |= {"responseSchema": plain} if plain is not None else {"responseJsonSchema": schema}
    if settings.get("logprobs"):
        config["responseLogprobs"] = True
        if settings.get("top_logprobs"):
            config["logprobs"] = settings["top_logprobs"]
    effort = settings.get("reasoning_effort")
    if effort:
        config["thinkingConfig"] = _thinking(str(effort), deployment.model)
    return config


def _thinking(effort: str, model: str) -> dict[str, Json]:
    if "gemini-2" in model or "gemini-1" in model:
        return {"thinkingBudget": _BUDGETS.get(effort, 8192)}
    return {"thinkingLevel": _LEVELS.get(effort, effort)}


def _plain_schema(schema: Json) -> dict[str, Json] | None:
    """The schema in the words of `responseSchema`; None where it says more than those can."""
    if not isinstance(schema, Mapping):
        return None
    made: dict[str, Json] = {}
    for name, value in schema.items():
        if name in _LEFT_OUT:
            continue
        if name not in _PLAIN_SCHEMA or (name == "type" and not isinstance(value, str)):
            return None
        if name == "properties":
            value = {key: _plain_schema(inner) for key, inner in mapping(value).items()}
            if None in value.values():
                return None
        elif name == "items" or name == "anyOf":
            parts = [_plain_schema(inner) for inner in (value if name == "anyOf" else [value])]
            if None in parts:
                return None
            value = parts if name == "anyOf" else parts[0]
        made[name] = value
    return made


def _tools(settings: Mapping[str, Json]) -> dict[str, Json]:
    functions, own = [], []
    for tool in settings.get("tools") or ():
        function = tool.get("function")
        if not isinstance(function, Mapping):
            own.append(dict(tool))  # one of Gemini's own, such as {"googleSearch": {}}
            continue
        declared = {name: function[name] for name in ("name", "description") if function.get(name)}
        if function.get("parameters"):
            plain = _plain_schema(function["parameters"])
            declared |= {"parameters": plain} if plain is not None else {"parametersJsonSchema": function["parameters"]}
        functions.append(declared)
    made: dict[str, Json] = {}
    if functions or own:
        made["tools"] = [*([{"functionDeclarations": functions}] if functions else []), *own]
    choice = settings.get("tool_choice")
    if choice and functions:
        made["toolConfig"] = {"functionCallingConfig": _choice(choice)}
    return made


def _choice(choice: Json) -> dict[str, Json]:
    if isinstance(choice, Mapping):
        return {"mode": "ANY", "allowedFunctionNames": [mapping(choice.get("function")).get("name")]}
    return {"mode": {"auto": "AUTO", "none": "NONE", "required": "ANY"}.get(str(choice), "AUTO")}


def _contents(messages: Sequence[Message], model: str) -> list[dict[str, Json]]:
    """The messages without the system's, neighbours of one role joined; a tool's result names its function, not the call."""
    made: list[dict[str, Json]] = []
    names: dict[str, str] = {}
    for message in messages:
        if message.role in {"system", "developer"}:
            continue
        role = "model" if message.role == "assistant" else "user"
        parts = _result(message, names) if message.role == "tool" else _parts(message)
        for call in message.extra.get("tool_calls") or ():
            names[str(call.get("id") or "")] = str(mapping(call.get("function")).get("name") or "")
            parts.append(_call_part(call, model))
        if not parts:
            continue
        if made and made[-1]["role"] == role:
            made[-1]["parts"] += parts
        else:
            made.append({"role": role, "parts": parts})
    return made


def _call_part(call: Mapping[str, Json], model: str) -> dict[str, Json]:
    function = mapping(call.get("function"))
    try:
        arguments = json.loads(function.get("arguments") or "{}")
    except (TypeError, ValueError):
        raise NotTranslatable(f"the arguments of the tool call {function.get('name')!r} are not JSON") from None
    part: dict[str, Json] = {"functionCall": {"name": function.get("name"), "args": arguments}}
    signature = mapping(mapping(call.get("extra_content")).get("google")).get("thought_signature")
    if signature or "gemini-3" in model:
        part["thoughtSignature"] = signature or _UNSIGNED
    return part


def _result(message: Message, names: Mapping[str, str]) -> list[dict[str, Json]]:
    name = names.get(str(message.extra.get("tool_call_id") or "")) or str(message.extra.get("name") or "")
    if not name:
        raise NotTranslatable("a message of the role 'tool' answers no call of the messages before it")
    text = message.text()
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    return [{"functionResponse": {"name": name, "response": found if isinstance(found, dict) else {"result": text}}}]


def _parts(message: Message) -> list[dict[str, Json]]:
    if message.content is None:
        return []
    if isinstance(message.content, str):
        return [{"text": message.content}] if message.content or message.role == "user" else []
    return [_part(part) for part in message.content]


def _part(part: Mapping[str, Json]) -> dict[str, Json]:
    kind = part.get("type")
    if kind == "text":
        return {"text": str(part.get("text") or "")}
    if kind == "image_url":
        image = part.get("image_url")
        return _blob(str(image.get("url") if isinstance(image, Mapping) else image), "image/png")
    if kind == "input_audio":
        sound = mapping(part.get("input_audio"))
        return {"inlineData": {"mimeType": f"audio/{sound.get('format') or 'wav'}", "data": sound.get("data")}}
    if kind == "file" and mapping(part.get("file")).get("file_data"):
        return _blob(str(part["file"]["file_data"]), "application/pdf")
    raise NotTranslatable(f"messages to this provider cannot hold a part of type {kind!r}; send it as text, image, sound or file data")


def _blob(url: str, kind: str) -> dict[str, Json]:
    if not url.startswith("data:"):
        return {"fileData": {"mimeType": mimetypes.guess_type(url.partition("?")[0])[0] or kind, "fileUri": url}}
    head, _, data = url.removeprefix("data:").partition(",")
    return {"inlineData": {"mimeType": head.partition(";")[0] or kind, "data": data}}


def count_body(request: Request, deployment: Deployment, name: str) -> dict[str, Json]:
    """The body of a question for the number of tokens; `name` is the model's full name."""
    return {"generateContentRequest": {"model": name, **body(request, deployment).data}}


def embed_body(request: Request, name: str) -> dict[str, Json]:
    """The body of an embeddings call, the caller's own where it is in this format; `name` is the model's full name."""
    if request.wire == EMBED and request.body is not None:
        return {"requests": [{**one, "model": name} for one in request.body["requests"]]}
    size, task = request.settings.get("dimensions"), request.settings.get("task_type")
    more = ({"outputDimensionality": size} if size else {}) | ({"taskType": task} if task else {})
    return {"requests": [{"model": name, "content": {"parts": [{"text": text}]}, **more} for text in request.inputs]}


# --- reading ----------------------------------------------------------------------------------------------------------


def read_usage(data: Json) -> Usage | None:
    """The five disjoint classes out of `usageMetadata`; None where it counts nothing.

    The prompt's tokens include what was cached; what a tool was told and what was thought stand beside the others.
    """
    if not isinstance(data, Mapping):
        return None
    prompt, told = count(data.get("promptTokenCount")), count(data.get("toolUsePromptTokenCount"))
    output = count(data.get("candidatesTokenCount")) or count(data.get("responseTokenCount"))
    thought, cached = count(data.get("thoughtsTokenCount")), min(count(data.get("cachedContentTokenCount")), prompt)
    if prompt + told + output + thought == 0:
        return None
    inside = 0 < thought <= output and count(data.get("totalTokenCount")) == prompt + told + output
    return Usage(
        input_tokens=prompt - cached + told,
        cache_read_tokens=cached,
        output_tokens=output - thought if inside else output,
        reasoning_tokens=thought,
        other=_other(data),
        service_tier=_TIERS.get(str(data.get("trafficType")), ""),
    )


_TIERS = {"ON_DEMAND": "on_demand", "ON_DEMAND_PRIORITY": "priority", "ON_DEMAND_FLEX": "flex"}


def _other(data: Mapping[str, Json]) -> dict[str, int]:
    found: dict[str, int] = {}
    for field, kind, name in (
        ("promptTokensDetails", "AUDIO", "input_audio_tokens"),
        ("promptTokensDetails", "IMAGE", "input_image_tokens"),
        ("promptTokensDetails", "VIDEO", "input_video_tokens"),
        ("candidatesTokensDetails", "AUDIO", "output_audio_tokens"),
        ("candidatesTokensDetails", "IMAGE", "output_image_tokens"),
        ("candidatesTokensDetails", "VIDEO", "output_video_tokens"),
        ("cacheTokensDetails", "AUDIO", "cache_audio_read_tokens"),
        ("cacheTokensDetails", "IMAGE", "cache_image_read_tokens"),
    ):
        details = data.get(field)
        if isinstance(details, Sequence) and not isinstance(details, str):
            tokens = sum(count(one.get("tokenCount")) for one in details if isinstance(one, Mapping) and one.get("modality") == kind)
            found |= {name: tokens} if tokens else {}
    return found


def finish(value: Json, *, calls: bool = False) -> str:
    """A finish reason in OpenAI's words; empty where none was given."""
    text = str(value or "")
    if text in _FILTERED:
        return "content_filter"
    reason = _FINISH.get(text, text.lower())
    return "tool_calls" if calls and reason == "stop" else reason


def _read_parts(candidate: Mapping[str, Json]) -> Choice:
    choice = Choice()
    for part in mapping(candidate.get("content")).get("parts") or ():
        if isinstance(part.get("functionCall"), Mapping):
            choice.calls.append(_call(part))
        elif part.get("text"):
            if part.get("thought"):
                choice.reasoning += str(part["text"])
            else:
                choice.text += str(part["text"])
    choice.finish_reason = finish(candidate.get("finishReason"), calls=bool(choice.calls))
    choice.logprobs = _logprobs(mapping(candidate.get("logprobsResult")))
    return choice


def _call(part: Mapping[str, Json]) -> dict[str, Json]:
    asked = part["functionCall"]
    function = {"name": asked.get("name"), "arguments": json.dumps(asked.get("args") or {})}
    call: dict[str, Json] = {"id": asked.get("id") or f"call_{new_id()}", "type": "function", "function": function}
    if part.get("thoughtSignature"):
        call["extra_content"] = {"google": {"thought_signature": part["thoughtSignature"]}}
    return call


def _logprobs(result: Mapping[str, Json]) -> list[dict[str, Json]]:
    """Log-probs in OpenAI's shape."""
    tops = result.get("topCandidates") or []
    made = []
    for index, chosen in enumerate(result.get("chosenCandidates") or ()):
        others = tops[index].get("candidates") or () if index < len(tops) else ()
        made.append({**_token(chosen), "top_logprobs": [_token(one) for one in others]})
    return made


def _token(one: Mapping[str, Json]) -> dict[str, Json]:
    text = str(one.get("token") or "")
    return {"token": text, "logprob": one.get("logProbability"), "bytes": list(text.encode("utf-8", "replace"))}


def _blocked(data: Mapping[str, Json]) -> bool:
    return bool(mapping(data.get("promptFeedback")).get("blockReason"))


def _with_searches(usage: Usage | None, data: Mapping[str, Json]) -> Usage | None:
    """The usage with the searches of the web that the answer was grounded on."""
    candidates = data.get("candidates") or ()
    searches = sum(len(mapping(one.get("groundingMetadata")).get("webSearchQueries") or ()) for one in candidates)
    if usage is None or not searches:
        return usage
    return replace(usage, other={**usage.other, "web_searches": searches})


def read_reply(data: Mapping[str, Json], *, wire: str) -> Response | None:
    """What a reply says; None where it has no candidate to read.

    Args:
        data: the reply's JSON object.
        wire: the caller's format; in this one the body goes back unchanged, in OpenAI's chat it is put into that shape where it
            holds more than text.
    """
    candidates = data.get("candidates")
    usage, model = _with_searches(read_usage(data.get("usageMetadata")), data), str(data.get("modelVersion") or "")
    flags = () if usage else ("no_usage",)
    own = dict(data) if wire == GENERATE else None
    if not isinstance(candidates, Sequence) or isinstance(candidates, str) or not candidates:
        if not _blocked(data):
            return None
        return Response(finish_reason="content_filter", usage=usage, response_model=model, body=own, flags=("refusal", *flags))
    choices = [_read_parts(candidate) for candidate in candidates]
    first = choices[0]
    if own is None and wire == CHAT and (len(choices) > 1 or first.rich):
        own = body_of(choices, response_id=str(data.get("responseId") or new_id()), model=model, usage=usage)
    return answer_of(first, usage, body=own, model=model)


class Stream:
    """Reads the events of one stream; each usage is the total so far."""

    def __init__(self, *, wire: str) -> None:
        self._wire = wire
        self._calls = 0
        self.complete = False
        """Whether a finish reason came."""
        self.ended = False
        """Never: the connection's end is the stream's."""

    def read(self, data: Mapping[str, Json], name: str) -> Chunk:
        """What one event says."""
        candidates = data.get("candidates") or ()
        first = candidates[0] if candidates and candidates[0].get("index", 0) == 0 else {}
        choice = _read_parts(first)
        calls = tuple({"index": self._calls + index, **call} for index, call in enumerate(choice.calls))
        self._calls += len(calls)
        reason = finish(first.get("finishReason"), calls=bool(self._calls))
        if not candidates and _blocked(data):
            reason = "content_filter"
        self.complete = self.complete or bool(reason)
        model = str(data.get("modelVersion") or "")
        own: Mapping[str, Json] | None = data if self._wire == GENERATE else None
        if self._wire == CHAT and choice.rich and not (calls or reason):
            delta = {"content": choice.text} if choice.text else {}
            delta |= {"reasoning_content": choice.reasoning} if choice.reasoning else {}
            own = event_of(delta, response_id=str(data.get("responseId") or ""), model=model, logprobs=choice.logprobs)
        usage = _with_searches(read_usage(data.get("usageMetadata")), data)
        return Chunk(text=choice.text, finish_reason=reason, usage=usage, response_model=model, tool_calls=calls, body=own)


def read_vectors(data: Mapping[str, Json], wanted: int) -> tuple[tuple[float, ...], ...] | None:
    """The vectors in the order of their inputs; None where they cannot be read or are not as many as `wanted`."""
    entries = data.get("embeddings")
    if not isinstance(entries, Sequence) or len(entries) != wanted:
        return None
    return tuple(tuple(float(number) for number in entry["values"]) for entry in entries)
