"""Observing the platform: schedules are set here and read here, and the gateway keeps them; `scan` looks at what is there already."""

from aiplat_lab.observe._export import crontab, systemd
from aiplat_lab.observe._scan import CALLS, OUTPUT_TOKENS, Estimate, Folder, Scan, next_step, scan
from aiplat_lab.observe._scan_read import FoundKey, decoded
from aiplat_lab.observe._schedules import (
    Change,
    add_schedule,
    due_after,
    find_schedule,
    remove_schedule,
    schedule_runs,
    schedules,
    switch_schedule,
)

__all__ = [
    "CALLS",
    "OUTPUT_TOKENS",
    "Change",
    "Estimate",
    "Folder",
    "FoundKey",
    "Scan",
    "add_schedule",
    "crontab",
    "decoded",
    "due_after",
    "find_schedule",
    "next_step",
    "remove_schedule",
    "scan",
    "schedule_runs",
    "schedules",
    "switch_schedule",
    "systemd",
]
