"""Observing the platform: schedules are set here and read here; the gateway keeps them. What the cache could be trusted with."""

from aiplat_lab.observe._cache_report import THRESHOLDS, cache_report
from aiplat_lab.observe._export import crontab, systemd
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
    "THRESHOLDS",
    "Change",
    "add_schedule",
    "cache_report",
    "crontab",
    "due_after",
    "find_schedule",
    "remove_schedule",
    "schedule_runs",
    "schedules",
    "switch_schedule",
    "systemd",
]
