"""What a report says, apart from how it looks: the typed content of `report.json`.

Every figure, chart and table names the query behind it. A value that was not measured is None, and every renderer
shows it as *not evidenced*, never as zero. What was found on a requirement is one of four words, and a colour never says
it alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from typing import Any, Literal, TypeAlias

NOT_EVIDENCED = "not evidenced"
SCHEMA = 2
State: TypeAlias = Literal["supports", "part", "against", "missing"]
STATES: Mapping[State, str] = {
    "supports": "evidence supports",
    "part": "evidence in part",
    "against": "evidence against",
    "missing": NOT_EVIDENCED,
}
"""How far the evidence goes for a requirement, with the words that a reader sees."""
Status: TypeAlias = Literal["complete", "partial", "failed"]
CHECKED: Mapping[str, str] = {
    "contents": "every row's hash computed again, holds",
    "heads": "numbers and noted heads checked, hold; this is the snapshot that was sealed, so its rows were not computed again",
}
"""How deep the chain was looked at, for a reader."""
COVERAGE: Mapping[str, str] = {
    "A": "generated",
    "P": "generated in part; a person adds the rest",
    "H": "a person's record only",
}
"""How much of a requirement's evidence a ledger can give at all."""


@dataclass(frozen=True, slots=True)
class Query:
    """One read: a named view of the snapshot with its filters, or a source beside it, and a digest of what it gave."""

    id: str
    """`Q1`, `Q2`, … for the snapshot, `S1` for the settings, `F1` for a file, in the order of the report."""
    view: str
    """The named view; `aiplat.toml` for settings, the file's name for a file."""
    filters: Mapping[str, Any]
    rows: int
    sha256: str
    """Of the result as canonical JSON, so that a second run can be compared."""
    source: Literal["snapshot", "settings", "file"] = "snapshot"
    """Where it was read; only what came from the snapshot can be read from it again."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One number with a name."""

    label: str
    value: str | None
    """As shown, with its unit; None was not measured."""
    note: str
    query: str
    """The id of the query, or several with blanks between them."""


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


@dataclass(frozen=True, slots=True)
class Light:
    """One requirement and how far the evidence goes."""

    id: str
    requirement: str
    source: str
    """The framework and its place, such as `EU AI Act, Art. 12`."""
    state: State
    reason: str
    coverage: str
    """`A`, `P` or `H`, see `COVERAGE`; `A/P` where it depends."""
    query: str
    stale: bool = False
    """Whether the rule is past the day by which it had to be checked again."""


@dataclass(frozen=True, slots=True)
class Lights:
    """The requirements on one page."""

    title: str
    items: tuple[Light, ...]
    note: str = ""
    kind: Literal["lights"] = "lights"


@dataclass(frozen=True, slots=True)
class SignOff:
    """Lines to be signed by people, each with the role and what the signature means."""

    lines: tuple[tuple[str, str], ...]
    kind: Literal["signoff"] = "signoff"


@dataclass(frozen=True, slots=True)
class Cover:
    """A first page of its own."""

    organisation: str | None
    scope: str
    """Which systems the report speaks of."""
    prepared_by: str | None


Block: TypeAlias = Figures | Text | Chart | Table | Lights | SignOff


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
    status: Status = "complete"
    """`failed` where the evidence itself does not hold, `partial` where a part of the report could not be made."""
    reasons: list[str] = field(default_factory=list)
    """Why the status is not `complete`."""
    cover: Cover | None = None
    demo: bool = False
    """Whether the ledger is the demo ledger; a report of it says so on its first page."""
    summary: list[str] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    queries: list[Query] = field(default_factory=list)
    schema: int = SCHEMA

    def lower(self, status: Status, reason: str) -> None:
        """Lowers the status, and says why."""
        order: tuple[Status, ...] = ("complete", "partial", "failed")
        self.status = max(self.status, status, key=order.index)
        if reason not in self.reasons:
            self.reasons.append(reason)

    def to_json(self) -> str:
        """The document as JSON text: the same content gives the same bytes."""
        return json.dumps(asdict(self), default=plain, ensure_ascii=False, indent=1, sort_keys=True)


def plain(value: Any) -> str:
    """Money and times as text, for JSON."""
    if isinstance(value, datetime | date):
        return value.isoformat()
    return str(value)


def digest(rows: Any) -> str:  # Any: rows of a view, or what a file or a section of the settings holds
    """The SHA-256 of rows as canonical JSON. Floats count to ten digits, since a sum's last ones depend on its order."""
    text = json.dumps(_canonical(rows), default=plain, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _canonical(value: Any) -> Any:  # Any: as in `digest`
    if isinstance(value, float):
        return float(f"{value:.10g}")
    if isinstance(value, Mapping):
        return {str(key): _canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    return value


def cells(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, Any]) -> tuple[tuple[str | None, ...], ...]:
    """Rows as shown cells.

    Args:
        rows: what a view gave.
        columns: for each column of the view, the function that writes its value; it gives None for what was not measured.
    """
    return tuple(tuple(_shown(write(row[name])) for name, write in columns.items()) for row in rows)


def _shown(value: Any) -> str | None:  # Any: what a column's function wrote
    return None if value is None else str(value)
