"""What a report notebook works with: it reads a sealed snapshot, says what it found, and writes `report.json`."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any, Literal

from aiplat_lab.client import Client, connect
from aiplat_lab.core.errors import ReportError
from aiplat_lab.core.settings import SETTINGS_FILE, environment
from aiplat_lab.core.text import money, seconds
from aiplat_lab.core.times import moment
from aiplat_lab.core.types import utc_now
from aiplat_lab.core.version import VERSION
from aiplat_lab.ledger.views import find_view
from aiplat_lab.reports._document import (
    Block,
    Chart,
    Column,
    Cover,
    Document,
    Figure,
    Figures,
    Query,
    Table,
    Text,
    cells,
    digest,
    plain,
)

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

    def __bool__(self) -> bool:
        return bool(self.rows)

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
        sha256: the digest that the snapshot must have, where it is known; another one makes the report a failed one.
        since: where the period begins, as `7d`, `today` or a date; counted from when the snapshot was sealed.
        until: where it ends.
        out: the folder for `report.json`; empty writes nothing.
        whole: compute the hash of every row again, also where the digest says that the snapshot is the one that was sealed.

    Raises:
        UsageError: a time is not one.
        LedgerError: the snapshot is missing or damaged.
    """

    def __init__(
        self,
        *,
        name: str,
        title: str,
        snapshot: str = "",
        sha256: str = "",
        since: str = "7d",
        until: str = "now",
        out: str = "",
        whole: bool = False,
    ) -> None:
        if "aiplat_lab.charts" in sys.modules:  # the notebook draws: Altair loads while DuckDB reads
            Thread(target=import_module, args=("aiplat_lab.charts.cost",), daemon=True).start()
        home = environment().home
        self.settings = home.load()
        self._client = connect(home, snapshot=Path(snapshot)) if snapshot else connect(home)
        self._out = Path(out) if out else None
        meta = self._client.view_rows("meta")[0]
        sealed = self._client.view_rows("sealed")
        digest_found = _digest(Path(snapshot)) if snapshot else None
        deep = whole or (digest_found is not None and digest_found != sha256)
        chain = self._client.verify() if deep else _heads(self._client)
        self.now = datetime.fromisoformat(sealed[0]["sealed_at"]) if sealed else utc_now()
        """When the snapshot was sealed: the present of this report, so that the same snapshot gives the same report."""
        self._period = {
            "since": moment(since, now=self.now, time_zone=self.settings.time_zone).isoformat(),
            "until": moment(until, now=self.now, time_zone=self.settings.time_zone).isoformat(),
        }
        self._results: dict[str, Result] = {}
        self.document = Document(
            name=name,
            title=title,
            since=self._period["since"],
            until=self._period["until"],
            generated_at=self.now.isoformat(timespec="seconds"),
            version=VERSION,
            demo=bool(meta["demo"]),
            basis={
                "snapshot_sha256": digest_found,
                "rows": meta["rows"],
                "head_seq": meta["head_seq"],
                "head_hash": meta["head_hash"],
                "chain_checked": "contents" if deep else "heads",
                "chain_holds": bool(chain["ok"]),
                "chain_reason": chain.get("reason") or "",
                "chain_rows": chain.get("rows"),
                "seal_holds": None if not sealed else sealed[0]["rows"] == meta["rows"] and sealed[0]["head_hash"] == meta["head_hash"],
                "time_zone": self.settings.time_zone,
                "currency": self.settings.currency,
                "usd_rate": str(self.settings.usd_rate),
            },
        )
        self._judge_basis(sha256)

    def _judge_basis(self, sha256: str) -> None:
        basis = self.document.basis
        if not basis["chain_holds"]:
            self.document.lower("failed", f"the snapshot is not as it was recorded: {basis['chain_reason']}")
        if basis["seal_holds"] is False:
            self.document.lower("failed", "the snapshot was changed after it was sealed: its seal names other rows than it holds")
        if sha256 and basis["snapshot_sha256"] != sha256:
            found = (basis["snapshot_sha256"] or "none")[:16]
            self.document.lower("failed", f"the snapshot was changed or exchanged: its digest is {found}…, not {sha256[:16]}…")

    @property
    def since(self) -> datetime:
        """Where the period begins."""
        return datetime.fromisoformat(self._period["since"])

    @property
    def until(self) -> datetime:
        """Where it ends."""
        return datetime.fromisoformat(self._period["until"])

    @property
    def currency(self) -> str:
        """The currency of display, such as `GBP`."""
        return self.settings.currency

    @property
    def usd_rate(self) -> Decimal:
        """Units of that currency for one US dollar."""
        return self.settings.usd_rate

    def view(self, name: str, *, whole: bool = False, **filters: Any) -> Result:
        """Reads a named view over the report's period and cites it; asked for again, it is the same citation.

        Args:
            name: the view.
            whole: read all of the log, not the period alone.
            filters: further filters of the view; `since` and `until` replace the report's.
        """
        merged = {**self._period_of(name, whole=whole), **filters}
        key = json.dumps([name, merged], default=plain, sort_keys=True)
        if key not in self._results:
            identifier = self._next("Q")
            result = self._results[key] = Result(self._client, name, merged, identifier)
            self.document.queries.append(Query(identifier, name, merged, len(result.rows), digest(result.rows)))
        return self._results[key]

    def _period_of(self, name: str, *, whole: bool) -> dict[str, str]:
        view = find_view(name)
        timed = bool(view.source and view.time)
        return {} if not timed else {"until": self._period["until"]} if whole else dict(self._period)

    def _next(self, letter: str) -> str:
        return f"{letter}{1 + sum(query.id.startswith(letter) for query in self.document.queries)}"

    def from_settings(self, section: str, rows: Sequence[Mapping[str, Any]]) -> str:
        """Cites what a section of `aiplat.toml` says, as rows; gives the citation."""
        return self._cite("S", SETTINGS_FILE, {"section": section}, rows, source="settings")

    def from_file(self, path: str, rows: Sequence[Mapping[str, Any]]) -> str:
        """Cites the rows of a file that was given as a parameter; gives the citation."""
        return self._cite("F", Path(path).name, {}, rows, source="file")

    def _cite(
        self, letter: str, name: str, filters: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], *, source: Literal["settings", "file"]
    ) -> str:
        for query in self.document.queries:
            if (query.source, query.view, query.filters) == (source, name, filters):
                return query.id
        found = Query(self._next(letter), name, dict(filters), len(rows), digest(rows), source)
        self.document.queries.append(found)
        return found.id

    def money(self, usd: Any) -> str | None:  # Any: Decimal, text or None, as a view gives it
        """An amount in the currency of display, or None where it is unknown."""
        return None if usd is None else money(usd, currency=self.currency, rate=self.usd_rate)

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

    def figures(self, result: Result | str, items: Sequence[tuple[str, str | None, str]]) -> None:
        """Adds a row of numbers from one result (or one citation): label, shown value or None, note."""
        self.document.blocks.append(Figures(tuple(Figure(label, value, note, _cited(result)) for label, value, note in items)))

    def chart(self, result: Result | str, title: str, chart: Any, *, alt: str) -> None:  # Any: an Altair chart, from charts/
        """Adds a chart; `alt` says in a sentence what it shows, for readers who cannot see it."""
        self.document.blocks.append(Chart(title, alt, chart.to_dict(), _cited(result)))

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

    def rows(
        self,
        cited: Result | str,
        title: str,
        headings: Sequence[str],
        rows: Iterable[Sequence[str | None]],
        *,
        right: Iterable[int] = (),
        note: str = "",
    ) -> None:
        """Adds a table of cells that are written already.

        Args:
            cited: the result, or the citation, behind it; an empty text for a table of words.
            title: above the table.
            headings: one for each column.
            rows: the cells; None shows as *not evidenced*.
            right: the numbers of the columns that hold figures, from 0.
            note: below the table.
        """
        figures = set(right)
        columns = tuple(Column(heading, index in figures) for index, heading in enumerate(headings))
        self.document.blocks.append(Table(title, columns, tuple(tuple(row) for row in rows), _cited(cited), note))

    def add(self, block: Block) -> None:
        """Adds a block that is made already."""
        self.document.blocks.append(block)

    def cover(self, *, organisation: str, scope: str, prepared_by: str) -> None:
        """Gives the report a first page of its own; an empty organisation or preparer shows as *not evidenced*."""
        self.document.cover = Cover(organisation or None, scope, prepared_by or None)

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


def _heads(client: Client) -> dict[str, Any]:
    """What the numbers and heads of the chain say, in the words of a check of the whole."""
    row = client.view_rows("log_heads")[0]
    wrong = {"missing": "numbers are missing", "unlinked": "rows do not follow the one before", "other_heads": "noted heads are not in it"}
    said = [f"{row[name]:,} {words}" for name, words in wrong.items() if row[name]]
    return {"ok": not said, "rows": row["rows"], "reason": "; ".join(said)}


def _cited(source: Result | str) -> str:
    return source if isinstance(source, str) else source.query


def _as_it_is(value: Any) -> Any:  # Any: a value of a view
    return value if not isinstance(value, int) or isinstance(value, bool) else f"{value:,}"


def _decimal(value: Any) -> bool:  # Any: a value of a view
    """Whether a text is a number, as money travels."""
    return isinstance(value, str) and value.replace(".", "", 1).replace("-", "", 1).isdigit()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
