"""Observing the platform: schedules are set here and read here; the gateway keeps them."""

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
    "Change",
    "add_schedule",
    "crontab",
    "due_after",
    "find_schedule",
    "remove_schedule",
    "schedule_runs",
    "schedules",
    "switch_schedule",
    "systemd",
]
