"""What the page asks of the gateway: named views, side by side, each answer or error by itself."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol

import polars

from aiplat_lab.charts import add, records
from aiplat_lab.core.errors import AiplatError

log = logging.getLogger("aiplat_lab.dashboards")
POOL = ThreadPoolExecutor(max_workers=6, thread_name_prefix="views")
"""Views are asked for side by side; the client keeps a connection for each thread."""


class Reader(Protocol):
    """The part of a client that the page reads through."""

    def view(self, name: str, /, **filters: Any) -> polars.DataFrame:
        """The rows of a named view."""
        ...

    def status(self) -> dict[str, Any]:
        """The gateway's status."""
        ...

    def call(self, call_id: str) -> dict[str, Any]:
        """One call with its texts."""
        ...


@dataclass(frozen=True, slots=True)
class Ask:
    """One question to the gateway; equal questions are asked once."""

    kind: str
    """`view`, `status` or `call`."""
    name: str = ""
    filters: tuple[tuple[str, Any], ...] = ()

    def answer(self, reader: Reader) -> Answer:
        """The rows, or the error in the words a person reads; never raises."""
        try:
            if self.kind == "status":
                return Answer(rows=[reader.status()])
            if self.kind == "call":
                return Answer(rows=[reader.call(self.name)])
            return Answer(rows=records(reader.view(self.name, **dict(self.filters))))
        except AiplatError as error:
            return Answer(error=error.message)
        except Exception as error:  # the border to the page: whatever it is, it is shown where the part would stand
            log.exception("%s %s failed", self.kind, self.name)
            return Answer(error=f"{type(error).__name__}: {error}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back: rows, or why there are none."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    error: str = ""

    def first(self) -> dict[str, Any]:
        """The one row of a view of totals, or an empty one."""
        return self.rows[0] if self.rows else {}


def view(name: str, filters: Mapping[str, Any]) -> Ask:
    """The question for a named view."""
    return Ask("view", name, tuple(sorted((key, tuple(value) if isinstance(value, list) else value) for key, value in filters.items())))


MEASURES = ("cost_usd", "saved_usd", "calls", "errors", "refused", "cache_hits", "unpriced_calls", "input_tokens", "output_tokens")


def totals(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The sum of each measure; None where it is known in no row."""
    found = list(rows)
    return {name: add(row[name] for row in found) for name in MEASURES if not found or name in found[0]}


def by_day(rows: Iterable[Mapping[str, Any]], kind: str) -> list[dict[str, Any]]:
    """The rows of a kind of the view `breakdown`, with the name under the kind's own column, as `spend_by_day` has them."""
    return [{**row, kind: row["name"]} for row in rows if row["kind"] == kind]


def by_name(rows: Iterable[Mapping[str, Any]], kind: str) -> list[dict[str, Any]]:
    """The same, with the days of each name added up."""
    groups: dict[Any, list[Mapping[str, Any]]] = {}
    for row in by_day(rows, kind):
        groups.setdefault(row[kind], []).append(row)
    return [{kind: name, **totals(group)} for name, group in groups.items()]


def currency(status: Mapping[str, Any]) -> tuple[str, Decimal]:
    """The currency of display and its units for one US dollar; dollars when the status is not known."""
    return str(status.get("currency") or "USD"), Decimal(str(status.get("usd_rate") or 1))
