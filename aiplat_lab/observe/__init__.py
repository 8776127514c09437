"""Observing the platform: schedules, which the gateway keeps; what is there already (`scan`); what comes from another gateway; and how
far the semantic cache can be trusted (`cache_report`)."""

from aiplat_lab.observe._cache_report import THRESHOLDS, cache_report
from aiplat_lab.observe._export import crontab, systemd
from aiplat_lab.observe._litellm_config import Converted
from aiplat_lab.observe._litellm_config import convert as convert_litellm
from aiplat_lab.observe._litellm_spend import Imported
from aiplat_lab.observe._litellm_spend import import_spend as import_litellm_spend
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
    "THRESHOLDS",
    "Change",
    "Converted",
    "Estimate",
    "Folder",
    "FoundKey",
    "Imported",
    "Scan",
    "add_schedule",
    "cache_report",
    "convert_litellm",
    "crontab",
    "decoded",
    "due_after",
    "find_schedule",
    "import_litellm_spend",
    "next_step",
    "remove_schedule",
    "scan",
    "schedule_runs",
    "schedules",
    "switch_schedule",
    "systemd",
]
