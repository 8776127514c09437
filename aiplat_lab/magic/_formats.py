"""The forms an answer may take: what the model is told, and what of its answer is shown."""

from __future__ import annotations

import json
import re
from typing import NamedTuple

from aiplat_lab.core.types import Json
from aiplat_lab.magic._options import Format

_FENCED = re.compile(r"^[ \t]*(`{3,}|~{3,})[^\n`]*\n(?P<code>.*?)(?:^[ \t]*\1[`~]*[ \t]*$|\Z)", re.MULTILINE | re.DOTALL)
_VALUE = re.compile(r"[\[{]")

INSTRUCTIONS: dict[Format, str] = {
    "code": "Answer with source code only, with no text before or after it.",
    "json": "Answer with one JSON value only, with no text before or after it.",
    "html": "Answer with HTML only, with no text before or after it.",
    "math": "Answer with one LaTeX formula only, with no text before or after it.",
    "text": "Answer in plain text without any markup.",
    "markdown": "Answer in Markdown.",
}


class Parsed(NamedTuple):
    """A JSON value found in an answer."""

    value: Json


def shown(form: Format, text: str) -> str:
    """What of the answer `text` is shown in the form asked for: code and HTML without their fence, JSON laid out."""
    if form == "code":
        return _unfenced(text)
    if form == "html":
        return _unfenced(text).strip()
    if form == "math":
        return f"$$\n{_unfenced(text).strip().strip('$').strip()}\n$$"
    if form == "json":
        found = parse_json(text)
        return text if found is None else json.dumps(found.value, indent=2, ensure_ascii=False)
    return text


def parse_json(text: str) -> Parsed | None:
    """The JSON value in an answer, be it bare, in a fence or after a sentence; None when there is none."""
    for candidate in (text, _unfenced(text)):
        try:
            return Parsed(json.loads(candidate))
        except ValueError:
            continue
    decoder = json.JSONDecoder()
    for found in list(_VALUE.finditer(text))[:20]:
        try:
            value, _ = decoder.raw_decode(text, found.start())
        except ValueError:
            continue
        return Parsed(value)
    return None


def _unfenced(text: str) -> str:
    """The fenced blocks of an answer, or the whole of it where there is none."""
    blocks = [found["code"].rstrip("\n") for found in _FENCED.finditer(text)]
    return "\n\n".join(blocks) if blocks else text.strip("\n")
