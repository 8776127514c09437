"""The few pieces of HTML that the sections are made of; whatever comes from the ledger is escaped here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from typing import Any

Row = Mapping[str, Any]


def esc(value: object) -> str:
    """`value` as text of a page."""
    return escape(str(value), quote=True)


def link(query: str, text: str, *, title: str = "", kind: str = "", sets: str = "") -> str:
    """A link to another state of the page, followed without loading it anew.

    Args:
        query: the link.
        text: what it says; escaped here.
        title: what it says on hover.
        kind: a CSS class.
        sets: the parts of the link that it changes, with spaces between; what else changed since it was made then stays.
    """
    extra = (f' title="{esc(title)}"' if title else "") + (f' class="{kind}"' if kind else "")
    return f'<a href="{esc(query)}" data-go="{sets}"{extra}>{esc(text)}</a>'


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a table."""

    title: str
    cell: Callable[[Row], str]
    """The cell as HTML, its texts escaped."""
    number: bool = False
    """Figures stand to the right, in figures of one width."""
    heading: bool = False
    """The cell names its row."""
    kind: str = ""
    """A further CSS class."""


def table(columns: Sequence[Column], rows: Sequence[Row], *, caption: str, kind: str = "") -> str:
    """An accessible table; its caption is for screen readers, since a heading stands above it."""

    def classes(column: Column) -> str:
        names = " ".join(name for name in ("num" if column.number else "", column.kind) if name)
        return f' class="{names}"' if names else ""

    head = "".join(f'<th scope="col"{classes(column)}>{esc(column.title)}</th>' for column in columns)
    body = []
    for row in rows:
        cells = [
            f'<th scope="row"{classes(column)}>{column.cell(row)}</th>'
            if column.heading
            else f"<td{classes(column)}>{column.cell(row)}</td>"
            for column in columns
        ]
        body.append(f"<tr>{''.join(cells)}</tr>")
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{esc(caption)}">'
        f'<table class="{kind}"><caption class="sr">{esc(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def note(text: str, *, kind: str = "") -> str:
    """A short remark; `text` is HTML."""
    return f'<p class="note {kind}">{text}</p>'


def failure(what: str, message: str) -> str:
    """The box that stands where a part of the page could not be made."""
    return (
        f'<div class="failure" role="alert"><strong>{esc(what)} cannot be shown</strong>'
        f'<p>{esc(message)}</p><p><a href="" data-again>Try again</a></p></div>'
    )


def count(value: int | None) -> str:
    """A number of things: `12,345`; None says that it was not measured."""
    return "not measured" if value is None else f"{value:,}"


def compact(value: int | None) -> str:
    """A large number in short: `950`, `12.3 k`, `4.1 M`."""
    if value is None:
        return "not measured"
    for size, unit in ((1_000_000_000, "G"), (1_000_000, "M"), (10_000, "k")):
        if value >= size:
            return f"{value / (1000 if unit == 'k' else size):,.1f} {unit}"
    return f"{value:,}"


def share(part: int | float, whole: int | float) -> str:
    """A part in per cent with one decimal; `<0.1 %` rather than a zero that is none."""
    if not whole:
        return "–"
    percent = 100 * part / whole
    return "<0.1 %" if 0 < percent < 0.1 else f"{percent:.1f} %"


def when(at: datetime | None) -> str:
    """A time in UTC as an element that scripts and screen readers understand."""
    if at is None:
        return "–"
    return f'<time datetime="{at.isoformat()}">{at:%-d %b %Y, %H:%M:%S}</time>'
