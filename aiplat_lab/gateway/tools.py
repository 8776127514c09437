"""Calls of tools that come in pieces."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


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
