"""How figures are written for people: one way in the notebook, the terminal, the dashboard and the report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from html import escape
from typing import Any

SIGNS: Mapping[str, str] = {"USD": "$", "GBP": "£", "EUR": "€"}


def money(usd: Decimal | str | int | float | None, *, currency: str = "USD", rate: Decimal = Decimal(1)) -> str:
    """An amount for display: `£1,204.50`, `£0.0031`, `unknown`.

    Args:
        usd: US dollars; None is unknown and never shown as zero.
        currency: the currency to show, `USD`, `GBP` or `EUR`.
        rate: units of that currency for one US dollar.
    """
    if usd is None:
        return "unknown"
    amount = Decimal(str(usd)) * rate
    sign, size = ("-" if amount < 0 else ""), abs(amount)
    if size == 0:
        shown = "0.00"
    elif size >= 1:
        shown = f"{size:,.2f}"
    elif size >= Decimal("0.01"):
        shown = f"{size:.3f}"
    else:
        shown = f"{size:.2g}" if size < Decimal("0.000001") else f"{size:.6f}".rstrip("0")
    return f"{sign}{SIGNS.get(currency, currency + ' ')}{shown}"


def seconds(value: float | None) -> str:
    """A length of time for display: `340 ms`, `2.1 s`, `3 min 5 s`, `unknown`."""
    if value is None:
        return "unknown"
    if value < 1:
        return f"{value * 1000:.0f} ms"
    if value < 60:
        return f"{value:.1f} s"
    whole = round(value)
    return f"{whole // 60} min {whole % 60} s"


_UNITS = ((86_400 * 365, "year"), (86_400 * 30, "month"), (86_400, "day"), (3_600, "hour"), (60, "minute"))


def ago(passed_s: float) -> str:
    """A length of time since: `just now`, `5 minutes ago`, `3 days ago`."""
    for length, name in _UNITS:
        number = int(passed_s // length)
        if number >= 1:
            return f"{number} {name}{'' if number == 1 else 's'} ago"
    return "just now"


def table(rows: Sequence[Mapping[str, Any]], *, columns: Iterable[str] | None = None) -> str:
    """Rows as aligned plain text with a heading; numbers to the right, an unknown value as `–`."""
    if not rows:
        return ""
    names = list(columns) if columns is not None else list(rows[0])
    cells = [[_cell(row.get(name)) for name in names] for row in rows]
    right = [all(isinstance(row.get(name), int | float | Decimal | None) for row in rows) for name in names]
    widths = [max(len(name), *(len(line[i]) for line in cells)) for i, name in enumerate(names)]

    def line(texts: Sequence[str]) -> str:
        return "  ".join(t.rjust(w) if r else t.ljust(w) for t, w, r in zip(texts, widths, right, strict=True)).rstrip()

    return "\n".join([line(names), line(["-" * width for width in widths]), *map(line, cells)])


def _cell(value: Any) -> str:  # Any: whatever a row holds
    if value is None:
        return "–"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def html_table(sentence: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """A sentence and rows as HTML for a notebook's output, which sets the style of tables itself."""
    said = f"<p>{escape(sentence)}</p>"
    if not rows:
        return said
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in rows[0])
    body = "".join(
        "<tr>" + "".join(f"<td>{'–' if value is None else escape(str(value))}</td>" for value in row.values()) + "</tr>" for row in rows
    )
    return f"{said}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
