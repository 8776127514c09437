"""Observing the platform: schedules, which the gateway keeps, and what comes from another gateway.

Heavier, and so imported by themselves: `observe.scanning`, what is there already, and `observe.cache`, how far the semantic cache can
be trusted.
"""

from aiplat_lab.observe._export import crontab, systemd
from aiplat_lab.observe._litellm_config import Converted
from aiplat_lab.observe._litellm_config import convert as convert_litellm
from aiplat_lab.observe._litellm_spend import Imported
from aiplat_lab.observe._litellm_spend import import_spend as import_litellm_spend
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
    "Converted",
    "Imported",
    "add_schedule",
    "convert_litellm",
    "crontab",
    "due_after",
    "find_schedule",
    "import_litellm_spend",
    "remove_schedule",
    "schedule_runs",
    "schedules",
    "switch_schedule",
    "systemd",
]
