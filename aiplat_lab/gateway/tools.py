"""Answers in pieces: calls of tools that are put together, and whole answers that are taken apart."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from aiplat_lab.core.types import Chunk, Response


def merge_tool_calls(whole: list[dict[str, Any]], pieces: Iterable[Mapping[str, Any]]) -> None:
    """Adds streamed pieces, in the shape of OpenAI's chat wire, to the calls that were begun; `index` says to which."""
    for piece in pieces:
        index = piece.get("index", len(whole) if piece.get("id") else max(0, len(whole) - 1))
        while len(whole) <= index:
            whole.append({"type": "function", "function": {"name": "", "arguments": ""}})
        call = whole[index]
        for key, value in piece.items():
            if key == "function" and isinstance(value, Mapping):
                function = call["function"]
                function["name"] += value.get("name") or ""
                function["arguments"] += value.get("arguments") or ""
            elif key != "index" and value is not None:
                call[key] = value


def arguments_of(function: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a tool call, which are a JSON text in OpenAI's chat wire, as an object; what is none stands under `arguments`."""
    text = function.get("arguments")
    try:
        found = json.loads(text or "{}")
    except (ValueError, TypeError, RecursionError):
        return {"arguments": text}
    return found if isinstance(found, dict) else {"arguments": found}


def replay(answer: Response) -> list[Chunk]:
    """A whole answer as the pieces of a stream."""
    calls: tuple[Mapping[str, Any], ...] = tuple({"index": index, **one} for index, one in enumerate(answer.tool_calls))
    pieces = [Chunk(text=answer.text, response_model=answer.response_model, tool_calls=calls)]
    return [*pieces, Chunk(finish_reason=answer.finish_reason, usage=answer.usage, response_model=answer.response_model)]
