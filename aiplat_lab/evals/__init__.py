"""Evaluation: evalsets, scorers, runs that cost nothing twice, comparisons with honest statistics, regression gates."""

from aiplat_lab.evals._compare import Pairing, RunComparison, compare
from aiplat_lab.evals._evaluate import evaluate
from aiplat_lab.evals._evalset import Evalset, Sample, load
from aiplat_lab.evals._gate import GateResult, baseline, baseline_run, gate
from aiplat_lab.evals._plan import Estimate
from aiplat_lab.evals._run import Run, ScorerSummary, run
from aiplat_lab.evals._runner import Progress
from aiplat_lab.evals._score import Answer, Ask, Score, Scorer, measure, scorer

__all__ = [
    "Answer",
    "Ask",
    "Estimate",
    "Evalset",
    "GateResult",
    "Pairing",
    "Progress",
    "Run",
    "RunComparison",
    "Sample",
    "Score",
    "Scorer",
    "ScorerSummary",
    "baseline",
    "baseline_run",
    "compare",
    "evaluate",
    "gate",
    "load",
    "measure",
    "run",
    "scorer",
]
