"""Data frames in a prompt: a few rows, the schema, or a Markdown table; polars and pandas, neither imported here."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from aiplat_lab.core.errors import PromptError

_REQUEST = re.compile(r"(head|tail)(?: (\d{1,5}))?|schema|md")
_FRAMES = frozenset({"DataFrame", "Series"})
_LIBRARIES = frozenset({"polars", "pandas"})
_DEFAULT_ROWS = 5
_MOST_ROWS = 100
_MOST_ROWS_ASKED = 5000
_MOST_BYTES = 200_000


def is_request(spec: str) -> bool:
    """Whether `spec` asks for a view of a frame: `head 5`, `tail`, `schema`, `md`."""
    return _REQUEST.fullmatch(spec) is not None


def is_frame(value: Any) -> bool:  # Any: a user's value of any library
    """Whether `value` is a data frame or a series of polars or pandas."""
    return any(_is(kind, _FRAMES) for kind in type(value).__mro__)  # GeoPandas and others build on pandas


def is_lazy(value: Any) -> bool:  # Any: as in `is_frame`
    """Whether `value` is a frame of polars that has not been computed."""
    return any(_is(kind, {"LazyFrame"}) for kind in type(value).__mro__)


def refuse_lazy(written: str) -> PromptError:
    """The error of a frame that holds no rows yet."""
    name = _name(written)
    return PromptError(f"{written} is a lazy frame, which holds no rows yet; nothing was sent. Compute it first: {name} = {name}.collect()")


def _is(kind: type, names: Collection[str]) -> bool:
    return kind.__name__ in names and kind.__module__.split(".")[0] in _LIBRARIES


def _name(written: str) -> str:
    return written.strip("{}").partition(":")[0].partition("!")[0]


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
        return _small_enough(_schema(frame), written)
    if found is not None and found[1] is not None:
        part = getattr(frame, found[1])(int(found[2] or _DEFAULT_ROWS))
        return _markdown(part, written)
    most = _MOST_ROWS_ASKED if request == "md" else _MOST_ROWS
    if rows > most:
        name = _name(written)
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
    return _small_enough("\n".join(lines), written)


def _small_enough(text: str, written: str) -> str:
    if len(text) > _MOST_BYTES:
        raise PromptError(
            f"{written} is {len(text) // 1000:,} kB of text, more than the {_MOST_BYTES // 1000} kB of a frame that are sent; nothing was "
            f"sent. Take fewer rows, such as {{{_name(written)}:head 5}}, or fewer columns, or aggregate first."
        )
    return text


def _line(cells: Iterable[Any]) -> str:  # Any: the values of a row
    shown = ("" if cell is None else str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells)
    return "| " + " | ".join(shown) + " |"
