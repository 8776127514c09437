"""Evaluation: evalsets, scorers, runs that cost nothing twice, comparisons with honest statistics, regression gates.

Each name is loaded when it is first used: a run at work needs neither NumPy nor DuckDB.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aiplat_lab.evals._compare import Pairing, RunComparison, compare
    from aiplat_lab.evals._evalset import Evalset, Sample, load
    from aiplat_lab.evals._evaluate import evaluate
    from aiplat_lab.evals._gate import GateResult, baseline, baseline_run, gate
    from aiplat_lab.evals._keep import Kept, keep
    from aiplat_lab.evals._plan import Estimate
    from aiplat_lab.evals._run import Run, ScorerSummary, run
    from aiplat_lab.evals._runner import Progress
    from aiplat_lab.evals._savings import Savings, savings
    from aiplat_lab.evals._schema import check_schema, problem
    from aiplat_lab.evals._score import Answer, Ask, Score, Scorer, measure, scorer

__all__ = [
    "Answer",
    "Ask",
    "Estimate",
    "Evalset",
    "GateResult",
    "Kept",
    "Pairing",
    "Progress",
    "Run",
    "RunComparison",
    "Sample",
    "Savings",
    "Score",
    "Scorer",
    "ScorerSummary",
    "baseline",
    "baseline_run",
    "check_schema",
    "compare",
    "evaluate",
    "gate",
    "keep",
    "load",
    "measure",
    "problem",
    "run",
    "savings",
    "scorer",
]

_HOMES = {
    "_compare": ("Pairing", "RunComparison", "compare"),
    "_evaluate": ("evaluate",),
    "_evalset": ("Evalset", "Sample", "load"),
    "_gate": ("GateResult", "baseline", "baseline_run", "gate"),
    "_keep": ("Kept", "keep"),
    "_plan": ("Estimate",),
    "_run": ("Run", "ScorerSummary", "run"),
    "_runner": ("Progress",),
    "_schema": ("check_schema", "problem"),
    "_savings": ("Savings", "savings"),
    "_score": ("Answer", "Ask", "Score", "Scorer", "measure", "scorer"),
}


def __getattr__(name: str) -> Any:  # Any: what a module of ours exports
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"aiplat_lab.evals.{module}"), name)
    raise AttributeError(f"module 'aiplat_lab.evals' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
