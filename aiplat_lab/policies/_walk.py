"""Every text that a request or an answer carries, in whatever wire it came: found, and replaced, without knowing the wire."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TypeAlias

from aiplat_lab.core.errors import ContentRefused
from aiplat_lab.core.types import Json, Message, Request, Response

Change: TypeAlias = Callable[[str, bool], str]
"""A text, and whether it is JSON inside a text, so that what is put in must be escaped; gives what stands there instead."""

MAX_DEPTH = 100
_MAX_INSIDE = 3
"""How deep JSON within a text within JSON is followed."""
_WORDS = frozenset({"role", "type", "model", "media_type", "mimeType", "mime_type"})
"""Fields whose text is a word of the wire, where it looks like one."""
_OPAQUE = frozenset({"signature", "thoughtSignature", "thought_signature", "encrypted_content"})
"""What a service signed or encrypted: nobody's text."""
_BASE64, _LONG = re.compile("[A-Za-z0-9+/]+={0,2}"), 1_000
"""So much without a space or a stop is bytes, and no detector finds anything within it."""
_LOG_PROBS = frozenset({"logprobs", "logprobsResult"})
_ENCODED = frozenset({"arguments", "partial_json"})
"""Fields whose text is JSON."""
_BINARY = frozenset({"media_type", "mime_type", "mimeType", "format"})
"""Beside one of these, `data` holds bytes in base64."""


def request_texts(request: Request) -> list[str]:
    """Every text of the request, the same text once."""
    found: dict[str, None] = {}

    def note(text: str, encoded: bool) -> str:
        found[text] = None
        return text

    changed_request(request, note)
    return list(found)


def changed_request(request: Request, change: Change) -> Request:
    """The request with every text in messages, inputs, settings and body changed; the same one where nothing changes.

    Raises:
        ContentRefused: it is nested too deep to be looked through.
    """
    messages = tuple(changed_message(message, change) for message in request.messages)
    inputs = tuple(change(text, False) for text in request.inputs)
    settings, body = changed(request.settings, change), changed(request.body, change)
    same = settings is request.settings and body is request.body and inputs == request.inputs
    if same and all(new is old for new, old in zip(messages, request.messages, strict=True)):
        return request
    return replace(request, messages=messages, inputs=inputs, settings=settings, body=body)


def changed_message(message: Message, change: Change) -> Message:
    """The message with every text changed; the same one where nothing changes."""
    content = changed(list(message.content) if isinstance(message.content, tuple) else message.content, change)
    extra = changed(message.extra, change)
    if isinstance(content, list):
        parts = tuple(content)
        unchanged = isinstance(message.content, tuple) and all(new is old for new, old in zip(parts, message.content, strict=True))
        return message if unchanged and extra is message.extra else replace(message, content=parts, extra=extra)
    return message if content is message.content and extra is message.extra else replace(message, content=content, extra=extra)


def changed_response(response: Response, change: Change) -> Response:
    """The answer with every text changed: its text, the arguments of its tool calls, and the provider's own body."""
    return replace(
        response,
        text=change(response.text, looks_like_json(response.text)),
        tool_calls=tuple(changed(call, change) for call in response.tool_calls),
        body=changed(response.body, change),
    )


def looks_like_json(text: str) -> bool:
    """Whether a text begins as an object or a list of JSON does."""
    return text.lstrip()[:1] in ("{", "[")


def changed(value: Json, change: Change, *, encoded: bool = False, depth: int = 0) -> Json:
    """`value` with every text in it changed; the same object where nothing changes."""
    if isinstance(value, str):
        return _text(value, change, encoded=encoded)
    if not isinstance(value, Mapping | list | tuple):
        return value
    if depth > MAX_DEPTH:
        raise ContentRefused(f"what was sent is nested deeper than {MAX_DEPTH} levels, too deep to be looked through", policy="redact")
    if isinstance(value, Mapping):
        return _mapping(value, change, depth)
    items = [changed(item, change, encoded=encoded, depth=depth + 1) for item in value]
    return value if all(new is old for new, old in zip(items, value, strict=True)) else items


def _mapping(value: Mapping[str, Json], change: Change, depth: int) -> Mapping[str, Json]:
    binary = "data" in value and not _BINARY.isdisjoint(value)
    found: dict[str, Json] = {}
    same = True
    for key, item in value.items():
        if isinstance(item, str) and (key in _OPAQUE or (key in _WORDS and _is_word(item))):
            found[key] = item
            continue
        bytes_of = binary and key == "data" and isinstance(item, str)
        new = item if bytes_of else changed(item, change, encoded=key in _ENCODED, depth=depth + 1)
        name = change(key, False) if len(key) >= 20 or not key.isidentifier() else key
        same = same and new is item and name == key
        found[name] = new
    return value if same else found


def _is_word(text: str) -> bool:
    return text.replace("-", "_").replace(".", "_").replace("/", "_").replace(":", "_").isidentifier()


def without_log_probs(body: Json, *, depth: int = 0) -> Json:
    """The body without the probabilities of its tokens, which spell out what was replaced in the text beside them."""
    if depth > MAX_DEPTH:
        return body
    if isinstance(body, Mapping):
        return {key: None if key in _LOG_PROBS else without_log_probs(value, depth=depth + 1) for key, value in body.items()}
    return [without_log_probs(value, depth=depth + 1) for value in body] if isinstance(body, list) else body


def _text(text: str, change: Change, *, encoded: bool) -> str:
    if not text or (text.startswith("data:") and ";base64," in text[:200]):
        return text
    if len(text) >= _LONG and _BASE64.fullmatch(text):
        return text
    if "\\" in text and (encoded or looks_like_json(text)):
        return _inside(text, change)
    new = change(text, encoded or looks_like_json(text))
    return text if new == text else new


def _inside(text: str, change: Change, level: int = 0) -> str:
    """JSON in a text: its own escapes hide what it says, so its texts are looked at one by one."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return change(text, True)
    if not isinstance(value, dict | list) or level >= _MAX_INSIDE:
        return change(text, True)

    def inner(part: str, encoded: bool) -> str:
        if "\\" in part and looks_like_json(part):
            return _inside(part, change, level + 1)
        return change(part, looks_like_json(part))

    new = changed(value, inner)
    return text if new is value else json.dumps(new, ensure_ascii=False)


# --- the pieces of a stream -------------------------------------------------------------------------------------------

Path: TypeAlias = tuple[str | int, ...]
_CONTENT = ("content", "refusal", "reasoning_content", "reasoning")


def deltas(body: Mapping[str, Json]) -> Iterator[tuple[Path, Path, bool]]:
    """Where the event of a stream carries a piece of a longer text: which text, where in the event, and whether it is JSON."""
    if isinstance(body.get("choices"), list):
        yield from _openai(body["choices"])
    elif isinstance(body.get("candidates"), list):
        yield from _gemini(body["candidates"])
    kind = body.get("type")
    if isinstance(kind, str) and kind.endswith(".delta") and isinstance(body.get("delta"), str):
        place = tuple(body.get(name) for name in ("item_id", "output_index", "content_index", "summary_index"))
        yield (kind, *map(str, place)), ("delta",), "arguments" in kind
    elif kind == "content_block_delta" and isinstance(body.get("delta"), Mapping):
        for name in ("text", "partial_json", "thinking"):
            if isinstance(body["delta"].get(name), str):
                yield ("block", str(body.get("index")), name), ("delta", name), name == "partial_json"
    elif isinstance(body.get("contentBlockDelta"), Mapping):
        yield from _bedrock(body["contentBlockDelta"])


def _openai(choices: list[Json]) -> Iterator[tuple[Path, Path, bool]]:
    for place, choice in enumerate(choices):
        delta = choice.get("delta") if isinstance(choice, Mapping) else None
        if not isinstance(delta, Mapping):
            continue
        which = str(choice.get("index", 0))
        for name in _CONTENT:
            if isinstance(delta.get(name), str):
                yield ("choice", which, name), ("choices", place, "delta", name), False
        for spot, call in enumerate(delta.get("tool_calls") or ()):
            function = call.get("function") if isinstance(call, Mapping) else None
            if isinstance(function, Mapping) and isinstance(function.get("arguments"), str):
                where = ("choices", place, "delta", "tool_calls", spot, "function", "arguments")
                yield ("choice", which, "tool", str(call.get("index", spot))), where, True


def _gemini(candidates: list[Json]) -> Iterator[tuple[Path, Path, bool]]:
    for place, candidate in enumerate(candidates):
        content = candidate.get("content") if isinstance(candidate, Mapping) else None
        parts = content.get("parts") if isinstance(content, Mapping) else None
        for spot, part in enumerate(parts if isinstance(parts, list) else ()):
            if isinstance(part, Mapping) and isinstance(part.get("text"), str):
                key = ("candidate", str(candidate.get("index", place)), str(bool(part.get("thought"))))
                yield key, ("candidates", place, "content", "parts", spot, "text"), False


def _bedrock(event: Mapping[str, Json]) -> Iterator[tuple[Path, Path, bool]]:
    delta = event.get("delta")
    index = str(event.get("contentBlockIndex"))
    if isinstance(delta, Mapping) and isinstance(delta.get("text"), str):
        yield ("block", index, "text"), ("contentBlockDelta", "delta", "text"), False
    tool = delta.get("toolUse") if isinstance(delta, Mapping) else None
    if isinstance(tool, Mapping) and isinstance(tool.get("input"), str):
        yield ("block", index, "input"), ("contentBlockDelta", "delta", "toolUse", "input"), True


def at(value: Json, path: Path) -> Json:
    """What stands at `path`."""
    for step in path:
        value = value[step]
    return value


def put(value: Json, path: Path, text: str) -> Json:
    """A copy of `value` with `text` at `path`; what lies beside the path is shared."""
    if not path:
        return text
    step, rest = path[0], path[1:]
    copy: Json = dict(value) if isinstance(value, Mapping) else list(value)
    copy[step] = put(value[step], rest, text)
    return copy
