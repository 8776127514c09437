"""What a report notebook works with: it reads a sealed snapshot, says what it found, and writes `report.json`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from aiplat_lab.client import Client, connect
from aiplat_lab.core.errors import ReportError
from aiplat_lab.core.settings import environment
from aiplat_lab.core.text import money, seconds
from aiplat_lab.core.times import moment
from aiplat_lab.core.types import utc_now
from aiplat_lab.core.version import VERSION
from aiplat_lab.reports._document import Chart, Column, Document, Figure, Figures, Query, Table, Text, cells, plain

DOCUMENT = "report.json"


class Result:
    """The rows that a named view gave, and the id under which the report cites them."""

    def __init__(self, client: Client, view: str, filters: Mapping[str, Any], query: str) -> None:
        self.rows: list[dict[str, Any]] = client.view_rows(view, **filters)
        self.query = query
        self._client, self._view, self._filters = client, view, filters

    @property
    def row(self) -> dict[str, Any]:
        """The first row; of a view that gives exactly one.

        Raises:
            ReportError: the view gave none.
        """
        if not self.rows:
            raise ReportError(f"the view {self._view} gave no row")
        return self.rows[0]

    @property
    def frame(self) -> Any:  # Any: a polars frame, which only a notebook that charts needs
        """The rows as a polars frame."""
        return self._client.view(self._view, **self._filters)


class Report:
    """One report being written.

    Args:
        name: the report's name, such as `cost`.
        title: as a reader sees it.
        snapshot: a sealed snapshot; empty reads the live ledger, for trying a notebook out.
        since: where the period begins, as `7d`, `today` or a date.
        until: where it ends.
        out: the folder for `report.json`; empty writes nothing.

    Raises:
        UsageError: a time is not one.
        LedgerError: the snapshot is missing or damaged.
    """

    def __init__(self, *, name: str, title: str, snapshot: str = "", since: str = "7d", until: str = "now", out: str = "") -> None:
        now, home = utc_now(), environment().home
        settings = home.load()
        self._client = connect(home, snapshot=Path(snapshot)) if snapshot else connect(home)
        self._out = Path(out) if out else None
        self._currency, self._rate = settings.currency, settings.usd_rate
        self._period = {
            "since": moment(since, now=now, time_zone=settings.time_zone).isoformat(),
            "until": moment(until, now=now, time_zone=settings.time_zone).isoformat(),
        }
        meta, chain = self._client.view_rows("meta")[0], self._client.verify()
        self.document = Document(
            name=name,
            title=title,
            since=self._period["since"],
            until=self._period["until"],
            generated_at=now.isoformat(timespec="seconds"),
            version=VERSION,
            demo=bool(meta["demo"]),
            basis={
                "snapshot_sha256": _digest(Path(snapshot)) if snapshot else None,
                "rows": meta["rows"],
                "head_seq": meta["head_seq"],
                "head_hash": meta["head_hash"],
                "chain_checked": True,
                "chain_holds": bool(chain["ok"]),
                "chain_reason": chain.get("reason") or "",
                "time_zone": settings.time_zone,
                "currency": settings.currency,
                "usd_rate": str(settings.usd_rate),
            },
        )
        if not chain["ok"]:
            self.document.status = "partial"

    @property
    def currency(self) -> str:
        """The currency of display, such as `GBP`."""
        return self._currency

    @property
    def usd_rate(self) -> Decimal:
        """Units of that currency for one US dollar."""
        return self._rate

    def view(self, name: str, **filters: Any) -> Result:
        """Reads a named view over the report's period and cites it."""
        merged = {**self._period, **filters}
        identifier = f"Q{len(self.document.queries) + 1}"
        result = Result(self._client, name, merged, identifier)
        digest = hashlib.sha256(json.dumps(result.rows, default=plain, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
        self.document.queries.append(Query(identifier, name, merged, len(result.rows), digest))
        return result

    def money(self, usd: Any) -> str | None:  # Any: Decimal, text or None, as a view gives it
        """An amount in the currency of display, or None where it is unknown."""
        return None if usd is None else money(usd, currency=self._currency, rate=self._rate)

    def seconds(self, value: float | None) -> str | None:
        """A length of time for display, or None where it was not measured."""
        return None if value is None else seconds(value)

    def summary(self, *sentences: str) -> None:
        """Adds sentences to the first page."""
        self.document.summary.extend(sentences)

    def heading(self, text: str) -> None:
        """Begins a section."""
        self.document.blocks.append(Text(text, "heading"))

    def text(self, text: str) -> None:
        """Adds a paragraph."""
        self.document.blocks.append(Text(text))

    def figures(self, result: Result, items: Sequence[tuple[str, str | None, str]]) -> None:
        """Adds a row of numbers from one result: label, shown value or None, note."""
        self.document.blocks.append(Figures(tuple(Figure(label, value, note, result.query) for label, value, note in items)))

    def chart(self, result: Result, title: str, chart: Any, *, alt: str) -> None:  # Any: an Altair chart, from charts/
        """Adds a chart; `alt` says in a sentence what it shows, for readers who cannot see it."""
        self.document.blocks.append(Chart(title, alt, chart.to_dict(), result.query))

    def table(
        self, result: Result, title: str, columns: Mapping[str, tuple[str, Callable[[Any], Any] | None]], *, note: str = "", most: int = 50
    ) -> None:
        """Adds a table.

        Args:
            result: the rows.
            title: above the table.
            columns: for each column of the view, its heading and how a value is written (None for as it is).
            note: below the table.
            most: how many rows are shown; the note says how many were left out.
        """
        numeric = {
            name: all(isinstance(row[name], int | float) or _decimal(row[name]) for row in result.rows if row[name] is not None)
            for name in columns
        }
        left_out = len(result.rows) - most
        if left_out > 0:
            note = f"{note} {left_out:,} further rows are in the query's result.".strip()
        shown = cells(result.rows[:most], {name: write or _as_it_is for name, (_, write) in columns.items()})
        headings = tuple(Column(heading, numeric[name] and bool(result.rows)) for name, (heading, _) in columns.items())
        self.document.blocks.append(Table(title, headings, shown, result.query, note))

    def said_by_day(self, result: Result) -> str:
        """A spend-by-day result in a sentence, for readers who cannot see its chart."""
        days: dict[str, Decimal] = {}
        for row in result.rows:
            days[str(row["day"])[:10]] = days.get(str(row["day"])[:10], Decimal(0)) + Decimal(str(row["cost_usd"] or 0))
        if not days:
            return "No call in this period."
        most, least = max(days, key=lambda name: days[name]), min(days, key=lambda name: days[name])
        return (
            f"Spend on {len(days):,} days with calls, between {self.money(days[least])} on {least} and {self.money(days[most])} on {most}."
        )

    def finish(self) -> Path | None:
        """Writes `report.json` and gives its path; None when the report was only tried out."""
        if not self.document.summary:
            raise ReportError(f"the report {self.document.name} has no summary; a reader needs one sentence at least")
        if self._out is None:
            return None
        self._out.mkdir(parents=True, exist_ok=True)
        path = self._out / DOCUMENT
        path.write_text(self.document.to_json(), encoding="utf-8")
        return path


def _as_it_is(value: Any) -> Any:  # Any: a value of a view
    return value if not isinstance(value, int) or isinstance(value, bool) else f"{value:,}"


def _decimal(value: Any) -> bool:  # Any: a value of a view
    """Whether a text is a number, as money travels."""
    return isinstance(value, str) and value.replace(".", "", 1).replace("-", "", 1).isdigit()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
