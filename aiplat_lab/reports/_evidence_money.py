"""Evidence on money: budgets and what became of them, prices that are not known, forecast, unit costs and waste (report R8)."""

from __future__ import annotations

import math
from calendar import monthrange
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from statistics import fmean, stdev
from typing import Any
from zoneinfo import ZoneInfo

from aiplat_lab.core.settings import BudgetSettings
from aiplat_lab.core.times import period_start
from aiplat_lab.reports._finding import Finding, counted
from aiplat_lab.reports._report import Report

_FEWEST_DAYS = 7
"""Whole days that a forecast needs."""
_Z80 = 1.2815515655446004
_FILTER = {"team": "team", "project": "project", "user": "user_id", "prompt": "prompt"}


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetUse:
    """One budget and what became of it in its period that holds the end of the report."""

    scope: str
    name: str
    period: str
    hard: bool
    limit_usd: Decimal
    spent_usd: Decimal
    began: datetime
    low_usd: Decimal | None
    """The lower end of the forecast for the end of the period, where there is one."""
    forecast_usd: Decimal | None
    high_usd: Decimal | None
    query: str

    @property
    def share(self) -> float | None:
        """The share of the limit that is spent; None for a limit of nothing."""
        return float(self.spent_usd / self.limit_usd) if self.limit_usd else None


def budget_uses(report: Report) -> list[BudgetUse]:
    """Every budget of `aiplat.toml`, with what was spent in its period up to the end of the report."""
    return [_use(report, budget) for budget in report.settings.budgets]


def _use(report: Report, budget: BudgetSettings) -> BudgetUse:
    zone = budget.time_zone or report.settings.time_zone
    end = min(report.until, report.now)
    began = period_start(budget.period, now=end - timedelta(microseconds=1), time_zone=zone)
    kind, name = budget.scope
    scopes: dict[str, Any] = {**budget.scopes, "since": began.isoformat(), "until": end.isoformat()}
    spent = report.view("spend_by_scope", **scopes)
    usd = Decimal(str(spent.rows[0]["cost_usd"]))
    query = spent.query
    ends: tuple[Decimal, Decimal, Decimal] | tuple[None, None, None] = (None, None, None)
    if budget.period in ("week", "month") and kind in ("everyone", *_FILTER):
        filters: dict[str, Any] = {_FILTER[kind]: name} if kind in _FILTER else {}
        days = report.view("spend_by_day", since=began.isoformat(), until=end.isoformat(), **filters)
        query += f" {days.query}"
        ends = forecast(_each_day(days.rows, began, end), spent=usd, left=_days_left(budget.period, began, end, zone))
    return BudgetUse(
        scope=kind,
        name=name,
        period=budget.period,
        hard=budget.hard,
        limit_usd=budget.limit_usd,
        spent_usd=usd,
        began=began,
        low_usd=ends[0],
        forecast_usd=ends[1],
        high_usd=ends[2],
        query=query,
    )


def _each_day(rows: Sequence[dict[str, Any]], began: datetime, end: datetime) -> list[float]:
    """Spend of each whole day (UTC) of the period so far; a day without a call cost nothing."""
    sums: dict[str, float] = {}
    for row in rows:
        sums[row["day"][:10]] = sums.get(row["day"][:10], 0.0) + float(row["cost_usd"] or 0)
    day, found = began.date(), []
    while day < end.date():
        found.append(sums.get(day.isoformat(), 0.0))
        day += timedelta(days=1)
    return found


def _days_left(period: str, began: datetime, end: datetime, zone: str) -> float:
    first = began.astimezone(ZoneInfo(zone))
    length = 7 if period == "week" else monthrange(first.year, first.month)[1]
    return max(0.0, length - (end - began) / timedelta(days=1))


def forecast(days: Sequence[float], *, spent: Decimal, left: float) -> tuple[Decimal, Decimal, Decimal] | tuple[None, None, None]:
    """The spend at the end of a period: low, expected, high (80 %), from whole days that are taken to be alike.

    Nothing is said from fewer than seven days.
    """
    if len(days) < _FEWEST_DAYS:
        return None, None, None
    mean, spread = fmean(days), stdev(days) * math.sqrt(left + left * left / len(days)) * _Z80
    expected = float(spent) + mean * left
    low = max(float(spent), expected - spread)
    return Decimal(f"{low:.9f}"), Decimal(f"{expected:.9f}"), Decimal(f"{expected + spread:.9f}")


def budgets(report: Report) -> Finding:
    """Whether there are budgets and none was overspent."""
    cited = _budgets_cited(report)
    uses = budget_uses(report)
    if not uses:
        return Finding("missing", "no budget is set", cited)
    query = " ".join([cited, *(use.query for use in uses)])
    over = [use for use in uses if use.spent_usd > use.limit_usd]
    hard_over = [use for use in over if use.hard]
    if hard_over:
        said = f"{counted(len(hard_over), 'hard budget')} spent beyond the limit, such as {label_of(hard_over[0])}"
        return Finding("against", said, query)
    if over:
        return Finding("part", f"{counted(len(over), 'soft budget')} overspent, such as {label_of(over[0])}; soft budgets only show", query)
    hard = sum(use.hard for use in uses)
    if not hard:
        return Finding("part", f"{counted(len(uses), 'budget')} set and kept, but none of them is hard", query)
    return Finding("supports", f"{counted(hard, 'hard budget')} of {len(uses)}, none overspent in its period", query)


def label_of(use: BudgetUse) -> str:
    """A budget as a reader knows it."""
    return f"{use.scope} {use.name}, {use.period}" if use.name else f"everyone, {use.period}"


def _budgets_cited(report: Report) -> str:
    rows = [
        {"scope": " ".join(budget.scope).strip(), "limit_usd": str(budget.limit_usd), "period": budget.period, "hard": budget.hard}
        for budget in report.settings.budgets
    ]
    return report.from_settings("budgets", rows)


def prices_known(report: Report) -> Finding:
    """Whether every answered call of the period has a known price."""
    totals = report.view("totals")
    row = totals.row
    if not row["calls"]:
        return Finding("missing", "no call in the period to cost", totals.query)
    if row["unpriced_calls"]:
        return Finding("part", f"{counted(row['unpriced_calls'], 'answered call')} without a known price are in no sum", totals.query)
    return Finding("supports", "every answered call has a known price", totals.query)


def write_money(report: Report) -> None:
    """Report R8: spend against budget with a forecast, unit costs, and what was paid without use."""
    totals = report.view("totals")
    row = totals.row
    calls = row["calls"]
    each = Decimal(str(row["cost_usd"])) / row["answered"] if row["answered"] and row["cost_usd"] is not None else None
    report.figures(
        totals,
        [
            ("Spend", report.money(row["cost_usd"]) if calls else None, "calls with a known price"),
            ("Calls", f"{calls:,}", f"{row['answered']:,} answered"),
            ("Each answered call", report.money(each), "spend over answered calls"),
            ("Saved by cache", report.money(row["saved_usd"]) if calls else None, f"{row['cache_hits']:,} calls from the cache"),
        ],
    )
    _write_budgets(report)
    _write_spend(report)
    _write_waste(report)
    report.text("Anomalies in spend: not evidenced. No detector has run on this ledger, so none are reported and none are ruled out.")


def _write_budgets(report: Report) -> None:
    uses = budget_uses(report)
    report.rows(
        " ".join(dict.fromkeys(" ".join([_budgets_cited(report), *(use.query for use in uses)]).split())),
        "Spend against budget",
        ["Budget", "Kind", "Limit", "Spent", "Share", "Expected at the end", "80 % interval"],
        [
            [
                label_of(use),
                "hard" if use.hard else "soft",
                report.money(use.limit_usd),
                report.money(use.spent_usd),
                None if use.share is None else f"{use.share:.0%}",
                report.money(use.forecast_usd),
                None if use.low_usd is None else f"{report.money(use.low_usd)} to {report.money(use.high_usd)}",
            ]
            for use in uses
        ],
        right=[2, 3, 4, 5, 6],
        note=f"Each in its own period up to the end of this report. A forecast takes days to be alike and needs {_FEWEST_DAYS} of them.",
    )
    alerts = report.view("budget_alerts")
    report.rows(
        alerts,
        "Alerts of budgets in the period",
        ["When", "Budget", "Share of the limit passed"],
        [
            [row["recorded_at"][:16].replace("T", " "), f"{row['scope']} {row['name'] or ''} {row['period']}", f"{float(row['share']):.0%}"]
            for row in alerts.rows
        ],
        right=[2],
    )


def _write_spend(report: Report) -> None:
    for view, name, heading in (("spend_by_team", "team", "Team"), ("spend_by_model", "model", "Model")):
        found = report.view(view)
        report.table(
            found,
            f"Spend by {name}",
            {
                name: (heading, lambda value: value or "none given"),
                "cost_usd": ("Spend", report.money),
                "calls": ("Calls", None),
                "errors": ("Errors", None),
                "saved_usd": ("Saved", report.money),
                "unpriced_calls": ("No price", None),
            },
        )
    prompts = report.view("spend_by_prompt_version")
    report.rows(
        prompts,
        "Spend by prompt and version",
        ["Prompt", "Version", "Calls", "Spend", "Each answered call"],
        [
            [
                row["prompt_name"] or "none given",
                row["prompt_version"] or "–",
                f"{row['calls']:,}",
                report.money(row["cost_usd"]),
                report.money(row["each_usd"]),
            ]
            for row in prompts.rows[:20]
        ],
        right=[2, 3, 4],
    )


def _write_waste(report: Report) -> None:
    waste = report.view("waste")
    row = waste.row
    if not row["calls"]:
        return
    lines = (
        ("Failed calls", row["failed"], report.money(row["failed_usd"]) if row["failed"] else "–"),
        ("Cancelled calls", row["cancelled"], report.money(row["cancelled_usd"]) if row["cancelled"] else "–"),
        ("Answers cut at the limit of their length", row["cut"], report.money(row["cut_usd"]) if row["cut"] else "–"),
        ("Calls that needed a retry", row["retried"], "in the cost of the call"),
    )
    report.rows(
        waste,
        "Paid or tried without full use",
        ["What", "Calls", "Share of calls", "Cost"],
        [[name, f"{count:,}", f"{count / row['calls']:.1%}", cost] for name, count, cost in lines],
        right=[1, 2, 3],
        note="Whether an answer was used by those who got it is not evidenced.",
    )
