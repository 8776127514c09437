"""Schedules as people set and read them: each change is a record, and the gateway acts on it at once."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from aiplat_lab.client import Client
from aiplat_lab.core.cron import parse_cron, time_zone
from aiplat_lab.core.errors import UsageError, did_you_mean
from aiplat_lab.core.parameters import check_parameters, declared_parameters, report_notebook
from aiplat_lab.core.settings import environment
from aiplat_lab.core.times import moment
from aiplat_lab.core.types import utc_now

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_FIELDS = ("report", "cron", "time_zone", "parameters", "enabled", "timeout_s", "catch_up")
_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class Change:
    """What became of a schedule."""

    after: Mapping[str, Any]
    """As it is now: a record of the kind `schedule`."""
    before: Mapping[str, Any] | None
    """As it was; None for a new one."""


def add_schedule(
    report: str,
    *,
    cron: str,
    client: Client,
    zone: str = "",
    name: str = "",
    since: str = "",
    parameters: Mapping[str, Any] | None = None,
    timeout_s: float | None = None,
    catch_up: Literal["latest", "none"] = "latest",
) -> Change:
    """Sets a schedule; one of the same name is changed.

    Args:
        report: a report that ships with the package, or the path of a notebook of one's own.
        cron: when, such as `0 7 * * 1`, or a word such as `@daily`.
        client: of the gateway that shall keep it.
        zone: the IANA zone of the cron line; empty takes the one in the settings.
        name: what the schedule is called; empty takes the report's name.
        since: where the period of each report begins, counted from when it is due; empty takes what the
            notebook declares.
        parameters: further parameters of the report.
        timeout_s: the longest a run may take, in seconds; then all of it is killed.
        catch_up: `latest` runs once after slots that were missed, `none` only notes them.

    Raises:
        UsageError: there is no such report or zone, the cron line has an error, a parameter is not declared or looks like a
            secret, or a figure or name is not one.
    """
    notebook = report_notebook(report)
    check_parameters(notebook, parameters or {})
    parse_cron(cron)
    if zone:
        time_zone(zone)
    if timeout_s is not None and not 0 < timeout_s < math.inf:
        raise UsageError(f"the time-out is {timeout_s:g} s; it must be more than 0")
    if catch_up not in ("latest", "none"):
        raise UsageError(f"catch-up is {catch_up!r}; it must be latest or none.{did_you_mean(catch_up, ('latest', 'none'))}")
    begins = since or str((declared_parameters(notebook) or {}).get("since") or "7d")
    if moment(begins, now=utc_now()) >= utc_now():
        raise UsageError(f"the period begins at {begins!r}, which is not before the report is due")
    chosen = name or re.sub(r"[^A-Za-z0-9._-]+", "-", notebook.stem).strip("-._") or "report"
    if not _NAME.fullmatch(chosen):
        raise UsageError(f"{chosen[:60]!r} cannot name a schedule: write letters, digits, `-`, `_` and `.`, at most 64")
    before = next((row for row in _rows(client) if row["id"] == chosen), None)
    row = {
        "report": report if not report.endswith(".ipynb") else str(Path(report).expanduser().absolute()),
        "cron": cron.strip(),
        "time_zone": zone or str(client.status()["time_zone"]),
        "parameters": {"since": begins, **(parameters or {})},
        "enabled": True,
        "timeout_s": timeout_s,
        "catch_up": catch_up,
    }
    return Change(_record(client, chosen, row), before)


def schedules(client: Client, *, now: datetime | None = None) -> list[dict[str, Any]]:
    """Every schedule: its columns in the view `schedule_state`, and `next_due`, or None where it is paused."""
    at = now or utc_now()
    return [{**row, "next_due": due_after(row, at) if row["enabled"] is not False else None} for row in _rows(client)]


def find_schedule(client: Client, name: str) -> dict[str, Any]:
    """One schedule, as `schedules` gives it.

    Raises:
        UsageError: there is none of that name; the text offers the nearest.
    """
    rows = {str(row["id"]): row for row in schedules(client)}
    if name not in rows:
        raise UsageError(f"there is no schedule {name[:60]!r}.{did_you_mean(name, rows)} See `aiplat schedule list`.")
    return rows[name]


def switch_schedule(client: Client, name: str, *, enabled: bool) -> Change:
    """Pauses a schedule or lets it go on; what was due while it was paused is not caught up with.

    Raises:
        UsageError: there is none of that name.
    """
    before = find_schedule(client, name)
    return Change(_record(client, name, {**before, "enabled": enabled}), before)


def remove_schedule(client: Client, name: str) -> Change:
    """Takes a schedule away; its runs and reports stay.

    Raises:
        UsageError: there is none of that name.
    """
    before = find_schedule(client, name)
    return Change(_record(client, name, before, removed=True), before)


def schedule_runs(client: Client, name: str, *, limit: int = 20) -> list[dict[str, Any]]:
    """The runs of a schedule, newest first, also of one that was removed.

    Raises:
        UsageError: there is none of that name and there never was.
    """
    rows = client.view_rows("schedule_run_list", schedule=name, limit=limit)
    if not rows:
        find_schedule(client, name)
    return rows


def due_after(row: Mapping[str, Any], now: datetime) -> datetime | None:
    """When a schedule is due next after `now`, in UTC; None where its cron line or zone is not one."""
    try:
        return parse_cron(str(row["cron"])).next(now, time_zone(str(row["time_zone"])))
    except UsageError:
        return None


def _rows(client: Client) -> list[dict[str, Any]]:
    rows = client.view_rows("schedule_state", limit=_KEPT)
    for row in rows:
        if isinstance(row["parameters"], str):
            row["parameters"] = json.loads(row["parameters"])
    return rows


def _record(client: Client, name: str, row: Mapping[str, Any], *, removed: bool = False) -> dict[str, Any]:
    said = {"id": name, **{field: row[field] for field in _FIELDS}, "removed": removed, "set_by": environment().attribution.user_id}
    client.record("schedule", said)
    return said
