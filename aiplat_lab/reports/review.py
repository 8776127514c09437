"""The monthly review: what happened on the platform, and which actions the data ask for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from aiplat_lab.reports._evidence_money import BudgetUse, budget_uses, label_of
from aiplat_lab.reports._finding import counted
from aiplat_lab.reports._report import Report, Result
from aiplat_lab.reports.regression import Check

_FAILING = 0.02
"""The share of failed calls from which an action is asked for."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the review speaks of, read once."""

    totals: Result
    before: Result
    """The same for the period of the same length before."""
    uses: list[BudgetUse]
    errors: Result
    schedules: Result
    incidents: Result
    checks: Sequence[Check]


def facts(report: Report, checks: Sequence[Check]) -> Facts:
    """Reads what the review needs."""
    earlier = (report.since - (report.until - report.since)).isoformat()
    return Facts(
        totals=report.view("totals"),
        before=report.view("totals", since=earlier, until=report.since.isoformat()),
        uses=budget_uses(report),
        errors=report.view("errors_by_type"),
        schedules=report.view("schedule_run_list"),
        incidents=report.view("log_incidents"),
        checks=checks,
    )


def summarise(report: Report, found: Facts) -> None:
    """The month in words; nothing is said that no row shows."""
    row, earlier = found.totals.row, found.before.row
    if not row["calls"]:
        report.summary("No call was made in this period: spend, use and errors are not evidenced.")
    else:
        report.summary(
            f"{row['calls']:,} calls cost {report.money(row['cost_usd']) or 'an amount that is not known'}{_change(row, earlier)}; "
            f"{row['answered'] / row['calls']:.1%} were answered, {row['errors']:,} failed and {row['refused']:,} were refused."
        )
        if row["cache_hits"]:
            report.summary(f"The cache answered {counted(row['cache_hits'], 'call')} and saved {report.money(row['saved_usd'])}.")
    report.summary(_said_of_budgets(found), _said_of_quality(found), _said_of_schedules(found))
    own = len(found.incidents.rows)
    report.summary(
        f"The log noted {counted(own, 'incident')} of its own."
        if own
        else "The log noted no incident of its own; others are not evidenced."
    )


def _change(row: dict[str, Any], earlier: dict[str, Any]) -> str:
    if not earlier["calls"] or not float(earlier["cost_usd"] or 0) or row["cost_usd"] is None:
        return " (the period before is not evidenced)"
    return f", {float(row['cost_usd']) / float(earlier['cost_usd']) - 1:+.0%} against the period before"


def _said_of_budgets(found: Facts) -> str:
    if not found.uses:
        return "Spend against budget is not evidenced: no budget is set."
    over = [use for use in found.uses if use.spent_usd > use.limit_usd]
    if over:
        return f"{len(over)} of {counted(len(found.uses), 'budget')} overspent: {', '.join(label_of(use) for use in over)}."
    first = max(found.uses, key=lambda use: use.share or 0)
    most = f"{first.share:.0%}" if first.share is not None else "an unknown share"
    return f"{counted(len(found.uses), 'budget')} kept; the one most used is {label_of(first)} at {most}."


def _said_of_quality(found: Facts) -> str:
    judged = [check for check in found.checks if check.outcome]
    if not judged:
        return "Whether quality held is not evidenced: no evaluation run has an earlier one or a baseline."
    bad = [check for check in judged if check.outcome == "regression"]
    open_ = sum(check.outcome == "inconclusive" for check in judged)
    return f"Of {counted(len(judged), 'check')} of quality, {len(bad)} show a regression and {open_} cannot tell."


def _said_of_schedules(found: Facts) -> str:
    rows = found.schedules.rows
    if not rows:
        return "Scheduled work is not evidenced: no schedule ran in this period."
    bad = sum(row["status"] not in ("ok", "started") for row in rows)
    return f"{counted(len(rows), 'scheduled run')}, {bad} of them failed, were lost or missed."


def write_actions(report: Report, found: Facts) -> None:
    """What the data ask for, each with its reason; none is listed that no row asks for."""
    finders: tuple[Callable[[Report, Facts], list[tuple[str, str, str]]], ...] = (_money_actions, _trouble_actions, _quality_actions)
    actions = [action for finder in finders for action in finder(report, found)]
    cited = " ".join(
        dict.fromkeys(
            f"{found.totals.query} {found.errors.query} {found.schedules.query} "
            f"{' '.join(use.query for use in found.uses)} {' '.join(check.query for check in found.checks)}".split()
        )
    )
    report.rows(
        cited,
        "Recommended actions",
        ["Action", "Because", "Owner (role)"],
        actions,
        note="Made by fixed rules from the figures of this report; an empty list means that no rule fired, not that all is well.",
    )


def _money_actions(report: Report, found: Facts) -> list[tuple[str, str, str]]:
    actions = []
    for use in found.uses:
        if use.spent_usd > use.limit_usd:
            why = f"{report.money(use.spent_usd)} spent of {report.money(use.limit_usd)}"
            actions.append((f"Decide on the budget of {label_of(use)}: raise it or cut the use", why, "Budget owner"))
        elif use.forecast_usd is not None and use.forecast_usd > use.limit_usd:
            why = f"{report.money(use.forecast_usd)} expected at the end of the {use.period}, the limit is {report.money(use.limit_usd)}"
            actions.append((f"Look at {label_of(use)} before the limit is reached", why, "Budget owner"))
    row = found.totals.row
    if row["unpriced_calls"]:
        why = f"{counted(row['unpriced_calls'], 'answered call')} in no sum"
        actions.append(("Set prices for models without one in aiplat.toml", why, "Platform lead"))
    if not found.uses and row["calls"]:
        actions.append(("Set a budget", "none is set, so spend is held by nothing", "Finance partner"))
    return actions


def _trouble_actions(report: Report, found: Facts) -> list[tuple[str, str, str]]:
    actions = []
    row = found.totals.row
    if row["calls"] and row["errors"] / row["calls"] >= _FAILING:
        failed = [one for one in found.errors.rows if one["status"] == "error"]
        why = f"{row['errors'] / row['calls']:.1%} of calls failed" + (f", most as {failed[0]['error_type']}" if failed else "")
        actions.append(("Find the cause of failed calls, and add a second deployment for the model", why, "Platform lead"))
    bad = [one for one in found.schedules.rows if one["status"] not in ("ok", "started")]
    if bad:
        actions.append((f"Repair the schedule {bad[0]['schedule']}", f"{len(bad)} runs did not end well", "Report owner"))
    if found.incidents:
        actions.append(
            ("Read the log's own incidents and look at its disk", counted(len(found.incidents.rows), "incident"), "Platform lead")
        )
    return actions


def _quality_actions(report: Report, found: Facts) -> list[tuple[str, str, str]]:
    actions = []
    for check in found.checks:
        where = f"{check.base.evalset} with {check.base.model}"
        if check.outcome == "regression":
            actions.append(
                (
                    f"Do not promote {check.latest.prompt if check.latest else ''} on {where}",
                    check.gate.reason if check.gate else "",
                    "Prompt owner",
                )
            )
        elif check.outcome == "inconclusive":
            needed = check.comparison.samples_needed if check.comparison else None
            why = f"about {needed:,} samples would tell" if needed else "too few samples to tell"
            actions.append((f"Add samples to {where}", why, "Evaluation lead"))
    if not found.checks:
        actions.append(("Run an evaluation of each prompt in use, and name a baseline", "quality is not evidenced", "Evaluation lead"))
    return actions


def write_money(report: Report, found: Facts) -> None:
    """Figures of the month beside the month before, and the budgets."""
    row, earlier = found.totals.row, found.before.row
    was = f"before: {report.money(earlier['cost_usd'])}" if earlier["calls"] else "before: not evidenced"
    p50 = row["latency_p50_s"]
    report.figures(
        f"{found.totals.query} {found.before.query}",
        [
            ("Spend", report.money(row["cost_usd"]) if row["calls"] else None, was),
            ("Calls", f"{row['calls']:,}", f"before: {earlier['calls']:,}"),
            ("Saved by cache", report.money(row["saved_usd"]) if row["calls"] else None, f"{row['cache_hits']:,} calls from the cache"),
            ("Time to answer", report.seconds(p50), "median"),
        ],
    )
    report.rows(
        " ".join(dict.fromkeys(word for use in found.uses for word in use.query.split())),
        "Budgets",
        ["Budget", "Kind", "Limit", "Spent", "Share", "Expected at the end"],
        [
            [
                label_of(use),
                "hard" if use.hard else "soft",
                report.money(use.limit_usd),
                report.money(use.spent_usd),
                None if use.share is None else f"{use.share:.0%}",
                report.money(use.forecast_usd),
            ]
            for use in found.uses
        ],
        right=[2, 3, 4, 5],
        note="Each in its own period up to the end of this report.",
    )


def write_use(report: Report, *, most: int = 10) -> None:
    """Who and what the spend went to: teams, models, prompts."""
    for view, name, heading in (("spend_by_team", "team", "Teams"), ("spend_by_model", "model", "Models")):
        found = report.view(view)
        whole = sum((Decimal(str(row["cost_usd"] or 0)) for row in found.rows), Decimal(0))
        report.rows(
            found,
            f"{heading} by spend",
            [heading[:-1], "Spend", "Share", "Calls", "Failed", "95 % within"],
            [
                [
                    row[name] or "none given",
                    report.money(row["cost_usd"]),
                    f"{Decimal(str(row['cost_usd'])) / whole:.0%}" if row["cost_usd"] is not None and whole else None,
                    f"{row['calls']:,}",
                    f"{row['errors']:,}",
                    report.seconds(row["latency_p95_s"]),
                ]
                for row in found.rows[:most]
            ],
            right=[1, 2, 3, 4, 5],
        )
    prompts = report.view("spend_by_prompt_version")
    report.rows(
        prompts,
        "Prompts by spend",
        ["Prompt", "Version", "Spend", "Calls", "Each answered call"],
        [
            [
                row["prompt_name"],
                row["prompt_version"] or "–",
                report.money(row["cost_usd"]),
                f"{row['calls']:,}",
                report.money(row["each_usd"]),
            ]
            for row in prompts.rows
            if row["prompt_name"]
        ][:most],
        right=[2, 3, 4],
    )


def write_troubles(report: Report) -> None:
    """Errors, refusals, and the incidents of the log itself."""
    errors = report.view("errors_by_type")
    report.rows(
        errors,
        "What did not end in an answer",
        ["Outcome", "Kind", "Rule", "Calls", "Last", "Example call"],
        [
            [
                row["status"],
                row["error_type"] or "–",
                row["policy"] or "–",
                f"{row['calls']:,}",
                row["last_at"][:16].replace("T", " "),
                row["example_call_id"],
            ]
            for row in errors.rows[:20]
        ],
        right=[3],
    )
    incidents = report.view("log_incidents")
    report.rows(
        incidents,
        "Incidents of the log itself",
        ["When", "What happened"],
        [[row["recorded_at"][:16].replace("T", " "), row["text"]] for row in incidents.rows],
        note="Incidents in the use of the systems are not recorded in this version: not evidenced.",
    )


def write_schedules(report: Report) -> None:
    """Each schedule with how its runs ended."""
    listed, runs = report.view("schedule_list", whole=True), report.view("schedule_run_list")
    lines = []
    for row in listed.rows:
        own = [run for run in runs.rows if run["schedule"] == row["id"]]
        ok = [run for run in own if run["status"] == "ok"]
        lines.append(
            [
                row["id"],
                f"{row['cron']} ({row['time_zone']})",
                "on" if row["enabled"] is not False else "off",
                f"{len(own):,}",
                f"{len(own) - len(ok):,}",
                max((str(run["ended_at"])[:16].replace("T", " ") for run in ok if run["ended_at"]), default=None),
            ]
        )
    report.rows(
        f"{listed.query} {runs.query}",
        "Schedules",
        ["Schedule", "When", "Switched", "Runs", "Not well", "Last good"],
        lines,
        right=[3, 4],
    )
