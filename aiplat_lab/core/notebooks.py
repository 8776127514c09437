"""The cells of a notebook file that ask a model, in the order in which they stand."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from aiplat_lab.core.errors import UsageError

CALL_MIME = "application/vnd.aiplat.call+json"
"""The type under which a cell's output holds its call."""
SHOWN = ("text/plain", "text/markdown", "text/html")
"""The forms in which an answer is shown, and which a hand may have changed."""
_CELL = re.compile(r"%%ai(?:[ \t]+(?P<line>[^\n]*))?(?:\n(?P<body>.*))?\Z", re.DOTALL)
_LINE = re.compile(r"^[ \t]*%ai[ \t]+(?P<line>.*--prompt\b.*)$", re.MULTILINE)
_CONTINUED = re.compile(r"\\\n[ \t]*")


class AiCell(NamedTuple):
    """A cell that asks a model when it runs."""

    number: int
    """Its place among all cells, from 1."""
    cell_id: str
    """The front end's id of it; empty in files older than such ids."""
    line: str
    """What follows `%%ai`."""
    body: str
    """The lines below."""
    call: Mapping[str, Any]  # Any: JSON
    """The call that its saved output holds; empty where there is none."""


def read_cells(path: Path | str) -> list[AiCell]:
    """The cells of a notebook file that ask a model.

    Raises:
        UsageError: there is no such file, or it is no notebook.
    """
    return ai_cells(read_document(path)["cells"])


def read_document(path: Path | str) -> dict[str, Any]:  # Any: JSON
    """A notebook file, which has a list of `cells`.

    Raises:
        UsageError: as `read_cells`.
    """
    try:
        document = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise UsageError(f"the notebook {path} cannot be read ({error.strerror}); save it first, or name its path") from None
    except (ValueError, RecursionError):
        raise UsageError(f"{path} is not a notebook: it is not JSON") from None
    cells = document.get("cells") if isinstance(document, dict) else None
    if not isinstance(document, dict) or not isinstance(cells, list):
        raise UsageError(f"{path} is not a notebook: it has no cells")
    return document


def ai_cells(cells: Iterable[Any]) -> list[AiCell]:
    """Those of a notebook's cells that ask a model.

    Args:
        cells: in the shape of a notebook file: `cell_type`, `id`, `source` (a text, or its lines), `outputs`. A cell of a front
            end's memory may leave out all but `source`; a text alone is a cell too.
    """
    found: list[AiCell] = []
    for number, given in enumerate(cells, 1):
        cell: Mapping[str, Any] = {"source": given} if isinstance(given, str) else given if isinstance(given, Mapping) else {}
        if cell.get("cell_type", "code") != "code":
            continue
        source = cell.get("source") or ""
        text = "".join(map(str, source)) if isinstance(source, list) else str(source)
        about = number, str(cell.get("id") or cell.get("cell_id") or "")
        found.extend(AiCell(*about, line, body, _call(cell.get("outputs"))) for line, body in _asked(text))
    return found


def shown_hashes(data: Mapping[str, Any]) -> dict[str, str]:  # Any: MIME data
    """The hash of each form in which an answer is shown; it stands in the answer's own document."""
    return {name: hashlib.sha256(shown_text(data[name]).encode("utf-8", "replace")).hexdigest() for name in SHOWN if name in data}


def shown_text(value: Any) -> str:  # Any: a text, or its lines as notebook files keep them
    """A text of an output as one piece."""
    return "".join(map(str, value)) if isinstance(value, list) else str(value)


def _asked(text: str) -> list[tuple[str, str]]:
    """Line and body of each question in a cell: the whole of an `%%ai` cell, or the lines that ask a saved prompt."""
    text = text.lstrip("\n").replace("\r\n", "\n")
    whole = _CELL.match(text)
    if whole is not None:
        return [((whole["line"] or "").strip(), whole["body"] or "")]
    if text.startswith("%%"):
        return []
    return [(one["line"].strip(), "") for one in _LINE.finditer(_CONTINUED.sub(" ", text))]


def _call(outputs: Any) -> Mapping[str, Any]:  # Any: JSON
    """The last call among a cell's outputs."""
    for output in reversed(outputs if isinstance(outputs, list) else []):
        data = output.get("data") if isinstance(output, dict) else None
        call = data.get(CALL_MIME) if isinstance(data, dict) else None
        if isinstance(call, dict):
            return call
    return {}
