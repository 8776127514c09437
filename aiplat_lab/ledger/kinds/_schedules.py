"""Records of schedules, their runs, and finished reports."""

from __future__ import annotations

from collections.abc import Mapping

from aiplat_lab.ledger.kinds._kind import Field, Kind

KINDS: Mapping[str, Kind] = {
    "schedule": Kind(
        "A schedule was set, changed, switched or removed. Its id is its name.",
        "schedules",
        {
            "report": Field("text", "the report it runs", required=True),
            "cron": Field("text", "five fields: minute, hour, day of month, month, day of week", required=True),
            "time_zone": Field("text", "the IANA zone of the cron line", required=True),
            "parameters": Field("json", "parameters of the report, with its period"),
            "enabled": Field("bool", "whether it runs"),
            "removed": Field("bool", "whether it was taken away"),
            "timeout_s": Field("number", "the longest a run may take, in seconds"),
            "catch_up": Field("text", "`latest` runs once for slots that were missed, `none` only notes them"),
            "set_by": Field("text", "who"),
        },
    ),
    "schedule_run": Kind(
        "The state of one run of a schedule. Its id is `schedule/slot`; the last record counts.",
        "schedule_runs",
        {
            "schedule": Field("text", "the schedule", required=True),
            "slot": Field("time", "the time it was due", required=True),
            "status": Field("text", "`started`, `ok`, `failed`, `timeout`, `lost` or `missed`", required=True),
            "report": Field("text", "the report", required=True),
            "started_at": Field("time", "when it began"),
            "ended_at": Field("time", "when it ended"),
            "exit_code": Field("whole", "of the command"),
            "error": Field("text", "the last line it said, where it failed"),
            "folder": Field("text", "where the report lies"),
            "manual": Field("bool", "whether a person started it"),
            "log": Field("text", "the file with what the command said"),
        },
    ),
    "report": Kind(
        "A report was finished. Its id is the folder's name.",
        "reports",
        {
            "name": Field("text", "the report", required=True),
            "title": Field("text", "its title"),
            "since": Field("time", "where its period begins"),
            "until": Field("time", "where it ends"),
            "status": Field("text", "`complete` or `partial`, as on its cover", required=True),
            "folder": Field("text", "where it lies"),
            "sha256": Field("text", "of `report.json`"),
            "snapshot_sha256": Field("text", "of the sealed snapshot behind it"),
            "head_seq": Field("whole", "the chain's last row in it"),
            "head_hash": Field("text", "that row's hash"),
        },
    ),
}
