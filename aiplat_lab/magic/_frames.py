"""Data frames in a prompt: a few rows, the schema, or a Markdown table; polars and pandas, neither imported here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from aiplat_lab.core.errors import PromptError

_REQUEST = re.compile(r"(head|tail)(?: (\d{1,5}))?|schema|md")
_FRAMES = frozenset({"DataFrame", "Series"})
_DEFAULT_ROWS = 5
_MOST_ROWS = 100
_MOST_ROWS_ASKED = 5000
_MOST_BYTES = 200_000


def is_request(spec: str) -> bool:
    """Whether `spec` asks for a view of a frame: `head 5`, `tail`, `schema`, `md`."""
    return _REQUEST.fullmatch(spec) is not None


def is_frame(value: Any) -> bool:  # Any: a user's value of any library
    """Whether `value` is a data frame or a series of polars or pandas."""
    kind = type(value)
    return kind.__name__ in _FRAMES and kind.__module__.split(".")[0] in {"polars", "pandas"}


def as_text(frame: Any, request: str, written: str) -> str:  # Any: a frame of polars or pandas
    """The frame as text for a prompt.

    Args:
        frame: a data frame or a series.
        request: `head 5`, `tail 5`, `schema`, `md`, or empty for the whole frame as a Markdown table.
        written: the reference as it was typed, for errors.

    Raises:
        PromptError: the frame is too large to be sent whole.
    """
    if hasattr(frame, "to_frame"):
        frame = frame.to_frame()
    rows = int(frame.shape[0])
    found = _REQUEST.fullmatch(request)
    if request == "schema":
        return _schema(frame)
    if found is not None and found[1] is not None:
        part = getattr(frame, found[1])(int(found[2] or _DEFAULT_ROWS))
        return _markdown(part, written)
    most = _MOST_ROWS_ASKED if request == "md" else _MOST_ROWS
    if rows > most:
        name = written.strip("{}").partition(":")[0]
        raise PromptError(
            f"{written} has {rows:,} rows, more than the {most:,} that are sent whole; nothing was sent. "
            f"Write {{{name}:head 20}} or {{{name}:schema}}, or aggregate first."
        )
    return _markdown(frame, written)


def _schema(frame: Any) -> str:  # Any: a frame of polars or pandas
    names = [str(name) for name in frame.columns]
    kinds = [str(kind) for kind in frame.dtypes]
    lines = [f"- {name}: {kind}" for name, kind in zip(names, kinds, strict=True)]
    return "\n".join([f"{int(frame.shape[0]):,} rows, {len(names)} columns:", *lines])


def _markdown(frame: Any, written: str) -> str:  # Any: a frame of polars or pandas
    names = [str(name) for name in frame.columns]
    rows: Iterable[Sequence[Any]] = frame.iter_rows() if hasattr(frame, "iter_rows") else frame.itertuples(index=False, name=None)
    lines = [_line(names), _line(["---"] * len(names)), *(_line(row) for row in rows)]
    text = "\n".join(lines)
    if len(text) > _MOST_BYTES:
        name = written.strip("{}").partition(":")[0]
        raise PromptError(
            f"{written} is {len(text) // 1000:,} kB of text, too much for a prompt; nothing was sent. Write {{{name}:head 5}}."
        )
    return text


def _line(cells: Iterable[Any]) -> str:  # Any: the values of a row
    shown = ("" if cell is None else str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells)
    return "| " + " | ".join(shown) + " |"
