"""Views over schedules, their runs, and the reports that were made."""

from __future__ import annotations

from collections.abc import Mapping

from aiplat_lab.ledger.views._view import View

_RUNS = "(FROM schedule_runs QUALIFY row_number() OVER (PARTITION BY id ORDER BY seq DESC) = 1)"
_NEWEST = "row_number() OVER (PARTITION BY schedule ORDER BY slot DESC, seq DESC) = 1"

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
    "schedule_state": View(
        "Schedules as they stand now, each with its last run that was not merely missed, its last good one with the folder of that "
        "report, and how many slots were missed since the last good one.",
        "SELECT s.id, s.report, s.cron, s.time_zone, s.parameters, s.enabled, s.timeout_s, s.catch_up, s.set_by, s.recorded_at, "
        "l.slot AS last_slot, l.status AS last_status, l.error AS last_error, l.started_at AS last_started_at, "
        "l.ended_at AS last_ended_at, l.log AS last_log, g.slot AS good_slot, g.ended_at AS good_at, g.folder AS good_folder, "
        f"(SELECT count(*) FROM {_RUNS} m WHERE m.schedule = s.id AND m.status = 'missed' "
        "AND (g.slot IS NULL OR m.slot > g.slot)) AS missed "
        "FROM (FROM states QUALIFY row_number() OVER (PARTITION BY id ORDER BY seq DESC) = 1 AND NOT coalesce(removed, false)) s "
        f"LEFT JOIN (FROM {_RUNS} WHERE status <> 'missed' QUALIFY {_NEWEST}) l ON l.schedule = s.id "
        f"LEFT JOIN (FROM {_RUNS} WHERE status = 'ok' QUALIFY {_NEWEST}) g ON g.schedule = s.id ORDER BY s.id",
        source="schedules",
        rows_as="states",
        time="recorded_at",
        columns={"schedule": "id", "report": "report"},
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
