"""The Cost page: figures, charts and tables of what calls cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from aiplat_lab import charts
from aiplat_lab.dashboards import _sections
from aiplat_lab.dashboards._data import Answer, Ask, by_day, by_name, totals, view
from aiplat_lab.dashboards._html import failure, note
from aiplat_lab.dashboards._page import Page, Part, Plan
from aiplat_lab.dashboards._query import PAGE_ROWS, Period, Query


def asks(query: Query, period: Period, answers: Mapping[str, Answer]) -> dict[str, Ask]:
    """The questions that a state of the page needs, by the place of their answer."""
    filters: dict[str, Any] = {**query.filters(), **period.filters()}
    before = period.before()
    return {
        **({} if before is None else {"before": view("spend_by_day", {**query.filters(), **before.filters()})}),
        "spend": view("breakdown", filters),
        "latency": view("latency_by_model", filters),
        "errors": view("errors_by_type", filters),
        "calls": view("recent_calls", {**filters, "limit": PAGE_ROWS, "offset": query.offset}),
    }


def _headline(page: Page) -> str:
    now = totals(by_day(page.rows("spend"), "team"))
    if not now["calls"]:
        return _sections.nothing(page.query)
    before = page.answers.get("before", Answer())
    every = next((row for row in page.rows("latency") if row["every"]), {"latency_p50_s": None, "latency_p95_s": None})
    return _sections.headline({**now, **every}, totals(before.rows) if before.rows else None, page.show)


def _days(page: Page) -> str:
    rows = by_day(page.rows("spend"), "team")
    if not rows:
        return note("No calls in this period.")
    said = "" if any(row["cost_usd"] for row in rows) else note("Nothing was spent in this period, as far as prices are known.")
    return said + _sections.days(rows, page.show)


def _days_chart(page: Page) -> Any:
    by = page.query.by or "team"
    rows = by_day(page.rows("spend"), by)
    names = page.names(by) or None
    spent = any(row["cost_usd"] for row in rows)
    return charts.spend_by_day(rows, by=by, look=page.look, names=names, days=page.days()) if spent else None


def _savings(page: Page) -> str:
    if any(row["saved_usd"] for row in page.rows("spend")):
        return ""
    return note("The cache saved nothing that was measured in this period. A question that was asked before is answered from the ledger.")


def _savings_chart(page: Page) -> Any:
    rows = by_day(page.rows("spend"), "team")
    small = replace(page.look, height=180)
    return charts.savings_by_day(rows, look=small, days=page.days()) if any(row["saved_usd"] for row in rows) else None


def _errors_chart(page: Page) -> Any:
    rows = [{**row, "errors": row["errors"] + row["refused"]} for row in by_day(page.rows("spend"), "team")]
    small = replace(page.look, height=180)
    return charts.errors_by_day(rows, look=small, days=page.days()) if any(row["errors"] for row in rows) else None


def _names(by: str, page: Page) -> str:
    rows = by_name(page.rows("spend"), by)
    if by == "model":
        slow = {row["model"]: row["latency_p95_s"] for row in page.rows("latency") if not row["every"]}
        rows = [{**row, "latency_p95_s": slow.get(row["model"])} for row in rows]
    return _sections.names(rows, by, page.show, wide=by == "model")


def _budgets(page: Page) -> str:
    status = page.answers["status"]
    return failure("Budgets", status.error) if status.error else _sections.budgets(status.first().get("budgets") or (), page.show)


COST = Plan(
    name="cost",
    title="Cost",
    filters=("team", "project", "model", "prompt", "status"),
    asks=asks,
    asked=("team", "project", "model", "prompt", "status"),
    helpful=("before",),
    is_empty=lambda page: page.has_no_calls,
    empty=_sections.empty,
    parts=(
        Part(place="headline", title="The figures", needs=("spend", "latency", "before", "values", "status"), html=_headline),
        Part(
            place="days",
            title="Spend by day",
            needs=("spend", "values", "status"),
            html=_days,
            chart=_days_chart,
        ),
        Part(place="stack", title="The choice of bars", needs=(), html=lambda page: _sections.stack_choice(page.show)),
        Part(place="team", title="Spend by team", needs=("spend", "status"), html=partial(_names, "team")),
        Part(place="project", title="Spend by project", needs=("spend", "status"), html=partial(_names, "project")),
        Part(place="model", title="Spend by model", needs=("spend", "latency", "status"), html=partial(_names, "model")),
        Part(place="savings", title="Cache savings", needs=("spend", "status"), html=_savings, chart=_savings_chart),
        Part(place="failing", title="Errors by day", needs=("spend",), html=lambda page: "", chart=_errors_chart),
        Part(place="errors", title="Errors by kind", needs=("errors",), html=lambda page: _sections.errors(page.rows("errors"), page.show)),
        Part(place="budgets", title="Budgets", needs=("status",), html=_budgets),
        Part(place="calls", title="Calls", needs=("calls", "status"), html=lambda page: _sections.calls(page.rows("calls"), page.show)),
    ),
)
"""What things cost, who spent it, and the calls behind it."""
