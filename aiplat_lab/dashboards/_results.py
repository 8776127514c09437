"""Evaluation runs as the pages show them: each with its interval, two of them paired, the samples of both side by side."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any

from aiplat_lab import stats
from aiplat_lab.core.errors import UsageError
from aiplat_lab.dashboards._html import Row
from aiplat_lab.dashboards._query import NOTHING_GIVEN, Query

LEVEL = 0.95
MAIN_DRAWS = 4_000
"""Bootstrap draws for two whole runs."""
SLICE_DRAWS = 1_000
"""The same for each of many slices, which are for exploring."""
SMALL_IS_GOOD = frozenset({"latency", "latency_s", "cost", "cost_usd"})
"""Main scorers of which less is better."""
STATES: Mapping[str, str] = {
    "complete": "complete",
    "capped": "capped",
    "interrupted": "interrupted",
    "failed": "failed",
    "": "not finished",
}
_FILTERS: Mapping[str, str] = {"team": "team", "project": "project", "model": "model", "prompt": "prompt_name", "evalset": "evalset"}


# --- one run --------------------------------------------------------------------------------------------------------


def merged(runs: Sequence[Row], scores: Sequence[Row]) -> list[dict[str, Any]]:
    """Each run with what its scores add up to and the interval of their mean; newest first."""
    known = {row["run_id"]: row for row in scores}
    return [
        with_interval({**run, **{key: value for key, value in known.get(run["run_id"], {}).items() if key != "samples"}}) for run in runs
    ]


def with_interval(row: dict[str, Any]) -> dict[str, Any]:
    """The run with `low`, `high` and `method`; None where there are too few scores to say."""
    row = {"score": None, "scored": 0, "errors": 0, "asked": 0, "cost_usd": None, "latency_s": None, "cached": 0, "scores": None, **row}
    estimate = interval(tuple(row["scores"] or ()), tuple(row.get("clusters") or ()) or None)
    found = (None, None, "") if estimate is None else (estimate.low, estimate.high, estimate.method)
    return {**row, **dict(zip(("low", "high", "method"), found, strict=True))}


@lru_cache(maxsize=4096)
def interval(scores: tuple[float, ...], clusters: tuple[str, ...] | None) -> stats.Estimate | None:
    """The interval of a mean score; None where there are too few samples or clusters for one."""
    try:
        if all(score in (0.0, 1.0) for score in scores):
            return stats.rate_interval(scores, clusters=clusters, level=LEVEL)
        bounds = (0.0, 1.0) if all(0 <= score <= 1 for score in scores) else None
        return stats.mean_interval(scores, clusters=clusters, level=LEVEL, bounds=bounds)
    except UsageError:  # no score, or a single one
        return None


def fitting(rows: Sequence[dict[str, Any]], query: Query) -> list[dict[str, Any]]:
    """The runs that the filters let pass."""
    wanted = {column: getattr(query, name) for name, column in _FILTERS.items() if getattr(query, name)}
    return [
        row for row in rows if all((row[column] or "") == ("" if value == NOTHING_GIVEN else value) for column, value in wanted.items())
    ]


def is_whole(row: Row) -> bool:
    """Whether a run asked all it was to ask and ended well."""
    return bool(row["status"] == "complete")


def config(row: Row) -> tuple[str, str, str]:
    """What was evaluated: prompt, version, model."""
    return (row["prompt_name"] or "", row["prompt_version"] or "", row["model"] or "")


def prompt_of(row: Row) -> str:
    """The prompt with its version, or that there was none."""
    if not row["prompt_name"]:
        return "no saved prompt"
    return f"{row['prompt_name']}@{row['prompt_version']}" if row["prompt_version"] else str(row["prompt_name"])


def chosen(rows: Sequence[dict[str, Any]], query: Query, picked: Sequence[dict[str, Any]] = ()) -> dict[str, Any] | None:
    """The run that the link names, or the newest whole one that has answers."""
    if query.run:
        return next((row for row in (*rows, *picked) if row["run_id"] == query.run), None)
    return next((row for row in rows if is_whole(row)), rows[0] if rows else None)


def rival(rows: Sequence[dict[str, Any]], now: Row, query: Query, picked: Sequence[dict[str, Any]] = ()) -> dict[str, Any] | None:
    """The run to compare with: the one that the link names, or the last whole one before on the same evalset.

    Without a name, one of another prompt, version or model comes first, since two runs of the same say little.
    """
    if query.against:
        return next((row for row in (*rows, *picked) if row["run_id"] == query.against), None)
    same = [
        row for row in rows if row["evalset"] == now["evalset"] and row["run_id"] != now["run_id"] and row["started_at"] < now["started_at"]
    ]
    same = [row for row in same if is_whole(row)] or same
    return next((row for row in same if config(row) != config(now)), same[0] if same else None)


# --- two runs -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A sample in two runs; `before` is the run that is compared with."""

    id: str
    before: Row | None
    now: Row | None
    slices: Mapping[str, str] = field(default_factory=dict)

    @property
    def difference(self) -> float | None:
        """How much better it is now; None where a side has no score."""
        if self.before is None or self.now is None or self.before["score"] is None or self.now["score"] is None:
            return None
        return float(self.now["score"] - self.before["score"])

    @property
    def cluster(self) -> str:
        """The cluster, or the sample itself."""
        row = self.now or self.before or {}
        return str(row.get("cluster") or self.id)


def pairs(samples: Sequence[Row], now: str, before: str) -> list[Pair]:
    """The samples of both runs, matched by their id."""
    sides: dict[str, dict[str, Row]] = {}
    for row in samples:
        sides.setdefault(row["sample_id"], {})[row["run_id"]] = row
    return [
        Pair(id=name, before=side.get(before), now=side.get(now), slices=parsed((side.get(now) or side.get(before) or {}).get("slices")))
        for name, side in sorted(sides.items())
    ]


def parsed(text: object) -> dict[str, Any]:
    """A JSON object from the ledger; whatever else stands there is nothing."""
    try:
        found = json.loads(text) if isinstance(text, str) else text
    except ValueError:
        return {}
    return dict(found) if isinstance(found, Mapping) else {}


def compared(
    shared: Sequence[Pair], *, names: tuple[str, str], lower_is_better: bool = False, draws: int = MAIN_DRAWS
) -> stats.Comparison | None:
    """The paired comparison on the samples that have a score on both sides; None where there are none."""
    both = [pair for pair in shared if pair.difference is not None]
    if not both:
        return None
    clusters = tuple(pair.cluster for pair in both)
    return _compared(
        tuple(float(pair.before["score"]) for pair in both if pair.before),
        tuple(float(pair.now["score"]) for pair in both if pair.now),
        clusters if len(set(clusters)) < len(clusters) else None,
        names,
        lower_is_better,
        draws,
    )


@lru_cache(maxsize=512)
def _compared(
    before: tuple[float, ...],
    now: tuple[float, ...],
    clusters: tuple[str, ...] | None,
    names: tuple[str, str],
    lower_is_better: bool,
    draws: int,
) -> stats.Comparison:
    return stats.compare_paired(before, now, clusters=clusters, names=names, lower_is_better=lower_is_better, level=LEVEL, draws=draws)


def by_slice(shared: Sequence[Pair], *, names: tuple[str, str], lower_is_better: bool = False) -> list[dict[str, Any]]:
    """For each slice the comparison on its samples, with the p-value corrected for how many slices are looked at."""
    groups: dict[tuple[str, str], list[Pair]] = {}
    for pair in shared:
        for key, value in pair.slices.items():
            groups.setdefault((key, str(value)), []).append(pair)
    rows: list[dict[str, Any]] = []
    for (key, value), group in sorted(groups.items()):
        comparison = compared(group, names=names, lower_is_better=lower_is_better, draws=SLICE_DRAWS)
        now = [pair.now["score"] for pair in group if pair.now and pair.now["score"] is not None]
        rows.append(
            {"key": key, "value": value, "samples": len(group), "comparison": comparison, "now": sum(now) / len(now) if now else None}
        )
    told = [row for row in rows if row["comparison"] is not None]
    corrected = stats.benjamini_hochberg([row["comparison"].p_value for row in told]) if told else ()
    for row, p_value in zip(told, corrected, strict=True):
        row["p_value"] = float(p_value)
    return rows


def one_sided(shared: Sequence[Pair]) -> list[dict[str, Any]]:
    """For each slice of a run that stands alone, its mean score with the interval."""
    groups: dict[tuple[str, str], list[Pair]] = {}
    for pair in shared:
        for key, value in pair.slices.items():
            groups.setdefault((key, str(value)), []).append(pair)
    rows = []
    for (key, value), group in sorted(groups.items()):
        scored = [pair for pair in group if pair.now and pair.now["score"] is not None]
        scores = tuple(float(pair.now["score"]) for pair in scored if pair.now)
        clusters = tuple(pair.cluster for pair in scored)
        estimate = interval(scores, clusters if len(set(clusters)) < len(clusters) else None)
        mean = sum(scores) / len(scores) if scores else None
        ends = (None, None) if estimate is None else (estimate.low, estimate.high)
        rows.append({"key": key, "value": value, "samples": len(group), "now": mean, "low": ends[0], "high": ends[1]})
    return rows


def matching(shared: Sequence[Pair], which: str) -> list[Pair]:
    """The samples that a choice of `WHICH` names, the largest difference first."""
    tests: Mapping[str, Callable[[Pair], bool]] = {
        "differ": lambda pair: bool(pair.difference),
        "better": lambda pair: (pair.difference or 0) > 0,
        "worse": lambda pair: (pair.difference or 0) < 0,
        "errors": lambda pair: any(row is not None and row["errors"] for row in (pair.before, pair.now)),
        "all": lambda pair: True,
    }
    found = [pair for pair in shared if tests[which or "differ"](pair)]
    return sorted(found, key=lambda pair: (-abs(pair.difference or 0), pair.id))


def is_lower_better(row: Row) -> bool:
    """Whether the run's main scorer measures something of which less is good."""
    return main_scorer(row) in SMALL_IS_GOOD


def main_scorer(row: Row) -> str:
    """The name of the scorer that `score` comes from."""
    names = row.get("scorers")
    found = json.loads(names) if isinstance(names, str) else names
    return str(found[0]) if isinstance(found, Sequence) and found and not isinstance(found, str) else "score"


def moment_of(row: Row) -> datetime:
    """When a run began."""
    began: datetime = row["started_at"]
    return began
