"""Views over schedules, their runs, and the reports that were made."""

from __future__ import annotations

from collections.abc import Mapping

from aiplat_lab.ledger.views._view import View

VIEWS: Mapping[str, View] = {
    "schedule_list": View(
        "Schedules as they stand now: id, report, cron line, time zone, parameters, whether it is switched on, who set it and when.",
        "FROM states QUALIFY row_number() OVER (PARTITION BY id ORDER BY seq DESC) = 1 AND NOT coalesce(removed, false) ORDER BY id",
        source="schedules",
        rows_as="states",
        time="recorded_at",
        columns={"schedule": "id", "report": "report"},
    ),
    "schedule_run_list": View(
        "Runs of schedules, newest first, each with its last state: which slot it was for, when it began and ended, and how.",
        "FROM states QUALIFY row_number() OVER (PARTITION BY id ORDER BY seq DESC) = 1 ORDER BY slot DESC, id",
        source="schedule_runs",
        rows_as="states",
        time="recorded_at",
        columns={"schedule": "schedule", "status": "status"},
    ),
    "report_list": View(
        "Reports that were finished, newest first: name, period, folder, status on the cover, digest of `report.json` and of the snapshot.",
        "FROM made ORDER BY seq DESC",
        source="reports",
        rows_as="made",
        time="recorded_at",
        columns={"report": "name"},
    ),
}
