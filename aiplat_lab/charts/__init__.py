"""Charts: from a frame of a named view to an Altair chart, without reading data.

Each function takes a `polars.DataFrame` (or rows) with the columns of a ledger view and a `Look`. A chart carries only
the aggregated rows that it draws, needs nothing from outside, and renders in the browser as well as to SVG. Altair is
imported with the first chart, so that who only draws a finished specification does without it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from aiplat_lab.charts.svg import spec_to_svg, to_svg
from aiplat_lab.charts.theme import DARK, LIGHT, Look, Theme, colours, theme

if TYPE_CHECKING:
    from aiplat_lab.charts.cost import (
        budget_use,
        errors_by_day,
        errors_by_type,
        latency_by_name,
        savings_by_day,
        spend_by_day,
        spend_by_name,
    )
    from aiplat_lab.charts.evals import cost_quality, frontier, score_by_run, score_trend
    from aiplat_lab.charts.frames import NONE_LABEL, OTHER_LABEL, Frame, add, label, records
    from aiplat_lab.charts.prompts import calls_by_version, vote_evidence

_HOMES = ("cost", "evals", "frames", "prompts")
__all__ = [
    "DARK",
    "LIGHT",
    "NONE_LABEL",
    "OTHER_LABEL",
    "Frame",
    "Look",
    "Theme",
    "add",
    "budget_use",
    "calls_by_version",
    "colours",
    "cost_quality",
    "errors_by_day",
    "errors_by_type",
    "frontier",
    "label",
    "latency_by_name",
    "records",
    "savings_by_day",
    "score_by_run",
    "score_trend",
    "spec_to_svg",
    "spend_by_day",
    "spend_by_name",
    "theme",
    "to_svg",
    "vote_evidence",
]


def __getattr__(name: str) -> Any:  # Any: what a module of ours exports
    if name in __all__:
        for home in _HOMES:
            module = import_module(f"aiplat_lab.charts.{home}")
            if hasattr(module, name):
                return getattr(module, name)
    raise AttributeError(f"module 'aiplat_lab.charts' has no attribute {name!r}")
