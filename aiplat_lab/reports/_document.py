"""What a report says, apart from how it looks: the typed content of `report.json`.

Every figure, chart and table names the query behind it. A value that was not measured is None, and every renderer
shows it as *not evidenced*, never as zero.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal, TypeAlias

NOT_EVIDENCED = "not evidenced"
SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Query:
    """One read of the snapshot: a named view with its filters, and a digest of what it gave."""

    id: str
    """`Q1`, `Q2`, … in the order of the report."""
    view: str
    filters: Mapping[str, Any]
    rows: int
    sha256: str
    """Of the result as canonical JSON, so that a second run can be compared."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One number with a name."""

    label: str
    value: str | None
    """As shown, with its unit; None was not measured."""
    note: str
    query: str


@dataclass(frozen=True, slots=True)
class Figures:
    """A row of numbers."""

    items: tuple[Figure, ...]
    kind: Literal["figures"] = "figures"


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph, or a heading."""

    text: str
    kind: Literal["text", "heading"] = "text"


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart as a Vega-Lite document, with the sentence that says what it shows."""

    title: str
    alt: str
    spec: Mapping[str, Any]
    query: str
    kind: Literal["chart"] = "chart"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table."""

    label: str
    numeric: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table; cells are shown as they stand, None as *not evidenced*."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str | None, ...], ...]
    query: str
    note: str = ""
    kind: Literal["table"] = "table"


Block: TypeAlias = Figures | Text | Chart | Table


@dataclass(slots=True, kw_only=True)
class Document:
    """A whole report."""

    name: str
    title: str
    since: str
    """Where the period begins, ISO 8601 in UTC."""
    until: str
    """Where it ends; the end is not included."""
    generated_at: str
    version: str
    """The version of aiplat-lab that made it."""
    basis: dict[str, Any]
    """The sealed snapshot behind it: digest, rows, head of the chain, and whether the chain was checked and holds."""
    status: Literal["complete", "partial"] = "complete"
    demo: bool = False
    """Whether the ledger is the demo ledger; a report of it says so on its first page."""
    summary: list[str] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    queries: list[Query] = field(default_factory=list)
    schema: int = SCHEMA

    def to_json(self) -> str:
        """The document as JSON text: the same content gives the same bytes."""
        return json.dumps(asdict(self), default=plain, ensure_ascii=False, indent=1, sort_keys=True)


def plain(value: Any) -> str:
    """Money and times as text, for JSON."""
    if isinstance(value, datetime | date):
        return value.isoformat()
    return str(value)


def cells(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, Any]) -> tuple[tuple[str | None, ...], ...]:
    """Rows as shown cells.

    Args:
        rows: what a view gave.
        columns: for each column of the view, the function that writes its value; it gives None for what was not measured.
    """
    return tuple(tuple(_shown(write(row[name])) for name, write in columns.items()) for row in rows)


def _shown(value: Any) -> str | None:  # Any: what a column's function wrote
    return None if value is None else str(value)


def is_number(value: Any) -> bool:
    """Whether a value belongs to the right of its column."""
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)
