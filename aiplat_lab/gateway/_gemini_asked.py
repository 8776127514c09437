"""What a Gemini body asks, in the shape of OpenAI's chat wire, which is what the pipeline knows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from aiplat_lab.core.errors import UsageError
from aiplat_lab.core.types import Json, Message

MOST_LEVELS = 40
"""How deep a schema of a tool may nest; what lies deeper is passed on as it is."""
_SAME = {
    "maxOutputTokens": "max_tokens",
    "temperature": "temperature",
    "topP": "top_p",
    "topK": "top_k",
    "stopSequences": "stop",
    "seed": "seed",
    "presencePenalty": "presence_penalty",
    "frequencyPenalty": "frequency_penalty",
    "candidateCount": "n",
    "responseLogprobs": "logprobs",
    "logprobs": "top_logprobs",
}
_SHAPES = ("responseMimeType", "responseSchema", "responseJsonSchema", "_responseJsonSchema")
_CONFIG_HINTS = frozenset({"mediaResolution", "enableEnhancedCivicAnswers", "routingConfig"})
_HINTS = frozenset({"safetySettings", "labels"})
_KNOWN = frozenset({"contents", "systemInstruction", "tools", "toolConfig", "generationConfig", "model"})
_BUDGETS = ((0, "minimal"), (1024, "low"), (8192, "medium"))
_MODES = {"AUTO": "auto", "ANY": "required", "NONE": "none", "VALIDATED": "auto"}
_AUDIO = {"audio/wav": "wav", "audio/x-wav": "wav", "audio/mp3": "mp3", "audio/mpeg": "mp3"}


@dataclass(slots=True)
class Asked:
    """A question in the words of OpenAI's chat wire, and what they cannot say."""

    messages: list[Message] = field(default_factory=list)
    settings: dict[str, Json] = field(default_factory=dict)
    native: list[str] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)


def field_of(data: Mapping[str, Json], name: str) -> Json:
    """A field under its name in camel case or in snake case: Google takes both."""
    found = data.get(name)
    return found if found is not None else data.get(snake(name))


def snake(name: str) -> str:
    """`generationConfig` as `generation_config`."""
    return "".join("_" + letter.lower() if letter.isupper() else letter for letter in name)


def camel(name: str) -> str:
    """`generation_config` as `generationConfig`."""
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)


def read(body: Mapping[str, Json]) -> Asked:
    """The question in a body of `generateContent`.

    Raises:
        UsageError: it is none.
    """
    asked = Asked()
    for name, value in body.items():
        known = name if name.startswith("_") else camel(name)
        if value in (None, [], {}) or known in _KNOWN:
            continue
        (asked.hints if known in _HINTS else asked.native).append(known)
    system = field_of(body, "systemInstruction")
    if system:
        asked.messages.append(Message("system", _system(system)))
    contents = body.get("contents")
    if isinstance(contents, dict):
        contents = [contents]
    if not isinstance(contents, list) or not contents:
        raise UsageError("the field 'contents' must be a list of one or more contents")
    calls = _Calls()
    for index, content in enumerate(contents):
        asked.messages.extend(_messages(content, f"contents[{index}]", calls, asked))
    _tools(body, asked)
    _config(body, asked)
    return asked


def _system(content: Json) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(str(part.get("text") or "") for part in _parts(content, "systemInstruction"))


def _parts(content: Json, where: str) -> list[Mapping[str, Json]]:
    parts = content.get("parts") if isinstance(content, dict) else None
    if isinstance(parts, dict):
        parts = [parts]
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        raise UsageError(f'{where} must be an object with a list of parts, such as {{"parts": [{{"text": "…"}}]}}')
    return parts


class _Calls:
    """Ids for calls of tools, which Gemini may leave out: a result belongs to the oldest open call of its name."""

    def __init__(self) -> None:
        self._open: dict[str, list[str]] = {}
        self._count = 0

    def made(self, call: Mapping[str, Json]) -> str:
        """The id of a call."""
        self._count += 1
        found = str(call.get("id") or f"call_{self._count}")
        self._open.setdefault(str(call.get("name") or ""), []).append(found)
        return found

    def ended(self, result: Mapping[str, Json]) -> str:
        """The id of the call that a result belongs to."""
        waiting = self._open.get(str(result.get("name") or ""), [])
        found = waiting.pop(0) if waiting else ""
        return str(result.get("id") or found)


def _messages(content: Json, where: str, calls: _Calls, asked: Asked) -> Iterator[Message]:
    """One content: results of tools become messages of their own, which stand first."""
    role = {"model": "assistant", "function": "user"}.get(str(content.get("role")), "user") if isinstance(content, dict) else "user"
    said: list[Mapping[str, Json]] = []
    made: list[dict[str, Json]] = []
    for part in _parts(content, where):
        call, result = field_of(part, "functionCall"), field_of(part, "functionResponse")
        if isinstance(call, dict):
            function = {"name": str(call.get("name") or ""), "arguments": json.dumps(call.get("args") or {}, ensure_ascii=False)}
            made.append({"id": calls.made(call), "type": "function", "function": function})
        elif isinstance(result, dict):
            text = json.dumps(result.get("response"), ensure_ascii=False)
            yield Message("tool", text, {"tool_call_id": calls.ended(result)})
        elif part.get("thought") is True:
            asked.hints.append("thought")
        else:
            said.extend(_part(part, where, asked))
    if said or made:
        texts = [str(part["text"]) for part in said if part.get("type") == "text"]
        content = "".join(texts) if len(texts) == len(said) else tuple(said)
        yield Message(role, content or None if made else content, {"tool_calls": made} if made else {})


def _part(part: Mapping[str, Json], where: str, asked: Asked) -> Iterator[Mapping[str, Json]]:
    inline, there = field_of(part, "inlineData"), field_of(part, "fileData")
    if isinstance(part.get("text"), str):
        yield {"type": "text", "text": part["text"]}
        return
    found = _inline(inline) if isinstance(inline, dict) else _linked(there) if isinstance(there, dict) else None
    if found is not None:
        yield found
        return
    if not part:
        raise UsageError(f"{where} holds an empty part")
    asked.native.append(f"{where} ({', '.join(sorted(part))[:60]})")


def _inline(data: Mapping[str, Json]) -> Mapping[str, Json] | None:
    kind, coded = str(field_of(data, "mimeType") or ""), str(data.get("data") or "")
    url = f"data:{kind};base64,{coded}"
    if kind.startswith("image/"):
        return {"type": "image_url", "image_url": {"url": url}}
    if kind in _AUDIO:
        return {"type": "input_audio", "input_audio": {"data": coded, "format": _AUDIO[kind]}}
    if kind == "application/pdf":
        return {"type": "file", "file": {"filename": str(field_of(data, "displayName") or "document.pdf"), "file_data": url}}
    return None


def _linked(data: Mapping[str, Json]) -> Mapping[str, Json] | None:
    url = str(field_of(data, "fileUri") or "")
    if str(field_of(data, "mimeType") or "").startswith("image/") and url.startswith(("https://", "http://")):
        return {"type": "image_url", "image_url": {"url": url}}
    return None


# --- settings ---------------------------------------------------------------------------------------------------------


def _tools(body: Mapping[str, Json], asked: Asked) -> None:
    tools: list[dict[str, Json]] = []
    given = body.get("tools") or []
    if not isinstance(given, list) or not all(isinstance(tool, dict) for tool in given):
        raise UsageError("the field 'tools' must be a list of objects")
    for index, tool in enumerate(given):
        functions = field_of(tool, "functionDeclarations") or []
        if not isinstance(functions, list) or not all(isinstance(one, dict) for one in functions):
            raise UsageError(f"tools[{index}].functionDeclarations must be a list of objects")
        tools.extend(_function(one) for one in functions)
        asked.native.extend(f"tools[{index}].{camel(name)}"[:60] for name in tool if camel(name) != "functionDeclarations")
    if tools:
        asked.settings["tools"] = tools
    config = field_of(body, "toolConfig")
    calling = field_of(config, "functionCallingConfig") if isinstance(config, dict) else None
    if not isinstance(calling, dict):
        return
    names = field_of(calling, "allowedFunctionNames") or []
    mode = str(calling.get("mode") or "AUTO").upper()
    if mode == "ANY" and isinstance(names, list) and len(names) == 1:
        asked.settings["tool_choice"] = {"type": "function", "function": {"name": str(names[0])}}
        return
    if names:
        asked.native.append("toolConfig.functionCallingConfig.allowedFunctionNames")
    asked.settings["tool_choice"] = _MODES.get(mode, "auto")


def _function(function: Mapping[str, Json]) -> dict[str, Json]:
    schema = field_of(function, "parametersJsonSchema")
    if not schema:
        schema = json_schema(function.get("parameters") or {"type": "object", "properties": {}})
    made = {"name": str(function.get("name") or ""), "parameters": schema}
    described = {"description": function["description"]} if function.get("description") else {}
    return {"type": "function", "function": {**made, **described}}


def json_schema(schema: Json, level: int = 0) -> Json:
    """A schema in Google's spelling as JSON Schema: types in lower case, `nullable` as a type, numbers that are no texts."""
    if level > MOST_LEVELS:
        return schema
    if isinstance(schema, list):
        return [json_schema(one, level + 1) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made: dict[str, Json] = {}
    for name, value in schema.items():
        known = camel(name)
        if known in ("properties", "defs", "$defs") and isinstance(value, dict):
            made[name] = {key: json_schema(one, level + 1) for key, one in value.items()}
        elif known == "type" and isinstance(value, str):
            made["type"] = value.lower()
        elif known in ("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties") and str(value).isdigit():
            made[known] = int(value)
        elif known in ("items", "anyOf", "prefixItems", "additionalProperties"):
            made[known] = json_schema(value, level + 1)
        elif known not in ("nullable", "propertyOrdering", "example"):
            made[name] = value
    if schema.get("nullable") is True and isinstance(made.get("type"), str):
        made["type"] = [made["type"], "null"]
    return made


def _config(body: Mapping[str, Json], asked: Asked) -> None:
    config = field_of(body, "generationConfig") or {}
    if not isinstance(config, dict):
        raise UsageError("the field 'generationConfig' must be an object")
    named = {name if name.startswith("_") else camel(name): value for name, value in config.items() if value is not None}
    limit = named.get("maxOutputTokens")
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int)):
        raise UsageError("the field 'generationConfig.maxOutputTokens' must be a whole number")
    for name, value in named.items():
        if name in _SAME:
            asked.settings[_SAME[name]] = value
        elif name == "thinkingConfig" and isinstance(value, dict):
            _thinking(value, asked)
        elif name == "responseModalities" and [str(one).upper() for one in _listed(value)] == ["TEXT"]:
            continue
        elif name in _CONFIG_HINTS:
            asked.hints.append(name)
        elif name not in _SHAPES:
            asked.native.append(f"generationConfig.{name}"[:60])
    _shape(named, asked)


def _listed(value: Json) -> Sequence[Json]:
    return value if isinstance(value, list) else [value]


def _thinking(config: Mapping[str, Json], asked: Asked) -> None:
    level, budget = field_of(config, "thinkingLevel"), field_of(config, "thinkingBudget")
    if isinstance(level, str) and level:
        asked.settings["reasoning_effort"] = level.lower()
    elif isinstance(budget, int) and budget >= 0:
        asked.settings["reasoning_effort"] = next((word for most, word in _BUDGETS if budget <= most), "high")
    if field_of(config, "includeThoughts"):
        asked.hints.append("includeThoughts")


def _shape(config: Mapping[str, Json], asked: Asked) -> None:
    """What form the answer must have."""
    kind = str(config.get("responseMimeType") or "text/plain")
    schema = config.get("responseJsonSchema") or config.get("_responseJsonSchema")
    schema = schema or (json_schema(config["responseSchema"]) if config.get("responseSchema") else None)
    if kind == "application/json" and isinstance(schema, dict):
        asked.settings["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    elif kind == "application/json":
        asked.settings["response_format"] = {"type": "json_object"}
    elif kind != "text/plain":
        asked.native.append(f"generationConfig.responseMimeType ({kind[:40]})")
