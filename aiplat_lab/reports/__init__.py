"""Reports: a notebook computes on a sealed snapshot and writes `report.json`; one renderer makes HTML and PDF of it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from aiplat_lab.core.parameters import report_names
from aiplat_lab.reports._report import Report, Result

if TYPE_CHECKING:
    from aiplat_lab.reports._execute import execute
    from aiplat_lab.reports._run import Finished, run_report
    from aiplat_lab.reports._show import Shown, report

__all__ = ["Finished", "Report", "Result", "Shown", "execute", "report", "report_names", "run_report"]


def __getattr__(name: str) -> Any:  # Any: what a module of ours exports; a report's kernel needs none of papermill
    if name == "execute":
        return import_module("aiplat_lab.reports._execute").execute
    if name in ("Shown", "report"):
        return getattr(import_module("aiplat_lab.reports._show"), name)
    if name in __all__:
        return getattr(import_module("aiplat_lab.reports._run"), name)
    raise AttributeError(f"module 'aiplat_lab.reports' has no attribute {name!r}")
