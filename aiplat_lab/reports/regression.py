"""Regression: the latest runs against their baselines, with a gate's verdict on each, and the history of both."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aiplat_lab import stats
from aiplat_lab.core.errors import ReportError, did_you_mean
from aiplat_lab.reports._finding import counted
from aiplat_lab.reports._report import Report
from aiplat_lab.reports.quality import Run, all_runs, pair_of, points, sample_means, share


@dataclass(frozen=True, slots=True)
class Check:
    """One latest run against what it has to hold up to."""

    against: str
    """The baseline's name, or `the run before` where none is named."""
    base: Run
    latest: Run | None
    """None where no later run fits the baseline."""
    comparison: stats.Comparison | None
    gate: stats.GateVerdict | None
    query: str

    @property
    def outcome(self) -> str | None:
        """`pass`, `regression`, `inconclusive`, or None where nothing could be compared."""
        return self.gate.outcome if self.gate else None


def checks(report: Report, *, baseline: str = "", evalset: str = "", margin: float = 0.05) -> list[Check]:
    """Every baseline with the latest run that fits it; without any baseline, each latest run with the one before.

    Raises:
        ReportError: the baseline that is named is not in the log.
    """
    runs, query = all_runs(report)
    named = report.view("eval_baselines_now", whole=True)
    query = f"{query} {named.query}"
    if baseline and baseline not in {row["name"] for row in named.rows}:
        raise ReportError(f"there is no baseline {baseline!r} in the log.{did_you_mean(baseline, [row['name'] for row in named.rows])}")
    whole = [run for run in runs if run.status == "complete" and run.scored and evalset in ("", run.evalset)]
    by_id = {run.run_id: run for run in runs}
    wanted = [(row["name"], by_id.get(row["run_id"])) for row in named.rows if baseline in ("", row["name"])]
    pairs = [(name, base, _latest_like(whole, base)) for name, base in wanted if base is not None and evalset in ("", base.evalset)]
    if not named:
        pairs = _runs_before(whole)
    return [_check(report, name, base, latest, margin=margin, query=query) for name, base, latest in pairs]


def _latest_like(runs: Sequence[Run], base: Run) -> Run | None:
    """The newest run after `base` of the same prompt, model, scorer and version of the evalset."""
    fits = [run for run in runs if _alike(run) == _alike(base) and run.started_at > base.started_at]
    return fits[0] if fits else None


def _alike(run: Run) -> tuple[str, ...]:
    return (run.evalset, run.evalset_hash, run.scorer, run.model, run.prompt.partition("@")[0])


def _runs_before(runs: Sequence[Run]) -> list[tuple[str, Run, Run | None]]:
    found: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        found.setdefault(_alike(run), []).append(run)
    return [("the run before", group[1], group[0]) for group in found.values() if len(group) > 1]


def _check(report: Report, name: str, base: Run, latest: Run | None, *, margin: float, query: str) -> Check:
    if latest is None:
        return Check(name, base, None, None, None, query)
    samples = sample_means(report, (base, latest))
    found = pair_of(samples, base, latest, names=(f"{base.prompt} ({name})", f"{latest.prompt} (latest)"), margin=margin).comparison
    gate = stats.gate_verdict(found, margin) if found is not None else None
    return Check(name, base, latest, found, gate, f"{query} {samples.query}")


def summarise(report: Report, found: Sequence[Check]) -> None:
    """The first page in words."""
    judged = [check for check in found if check.outcome is not None]
    if not judged:
        report.summary(
            "Whether anything got worse is not evidenced: no run in the log has an earlier one or a baseline to be held against."
        )
        return
    count = {word: [check for check in judged if check.outcome == word] for word in ("pass", "regression", "inconclusive")}
    report.summary(
        f"Of {counted(len(judged), 'check')}, {len(count['pass'])} passed, {len(count['regression'])} are regressions and "
        f"{len(count['inconclusive'])} are inconclusive."
    )
    for check in [*count["regression"], *count["inconclusive"]]:
        report.summary(f"{_title(check)}: {check.gate.reason if check.gate else ''}")
    if any(check.against == "the run before" for check in judged):
        report.summary("No baseline is named; each latest run is held against the run before it.")
    waiting = [check.against for check in found if check.latest is None]
    if waiting:
        report.summary(f"No run after its baseline for {', '.join(waiting)}: not evidenced.")


def _title(check: Check) -> str:
    return f"{check.base.evalset}, {check.base.model}, {check.against}"


def write_checks(report: Report, found: Sequence[Check]) -> None:
    """A table of the checks, and each comparison in a sentence."""
    for check in found:
        if check.comparison is not None and check.outcome != "pass":
            report.text(check.comparison.sentence)
    cited = " ".join(dict.fromkeys(word for check in found for word in check.query.split()))
    report.rows(
        cited,
        "Latest runs against their baselines",
        ["Evalset", "Model", "Prompt", "Against", "n", "Was", "Is", "Difference, points", "95 % interval", "Verdict"],
        [_line(check) for check in found],
        right=[4, 5, 6, 7, 8],
        note="pass: not worse by more than the margin; regression: worse by more than it; inconclusive: the samples do not say.",
    )


def _line(check: Check) -> list[str | None]:
    c = check.comparison
    return [
        check.base.evalset,
        check.base.model,
        (check.latest or check.base).prompt,
        check.against,
        f"{c.n:,}" if c else None,
        share(check.base.score),
        share(check.latest.score) if check.latest else None,
        points(c.difference) if c else None,
        f"{points(c.low)} to {points(c.high)}" if c else None,
        check.outcome,
    ]


@dataclass(frozen=True, slots=True)
class Trend:
    """Scores over time, as `charts.score_trend` takes them."""

    rows: list[dict[str, Any]]
    said: str
    query: str


def trend(report: Report, *, evalset: str = "", most: int = 5) -> Trend:
    """The complete runs of the period, a line for each evalset, model and prompt."""
    runs, query = all_runs(report, whole=False)
    whole = [run for run in runs if run.status == "complete" and run.score is not None and evalset in ("", run.evalset)]
    series = _series(whole)
    lines = list(dict.fromkeys(series.values()))[:most]
    rows = [
        {
            "started_at": run.started_at,
            "score": run.score,
            "low": run.low if run.low is not None else run.score,
            "high": run.high if run.high is not None else run.score,
            "scored": run.scored,
            "series": series[run.run_id],
            "version": run.prompt.partition("@")[2],
            "name": run.name,
        }
        for run in whole
        if series[run.run_id] in lines
    ]
    if not rows:
        return Trend([], "The trend of quality is not evidenced: no complete evaluation in this period.", query)
    newest = {name: next(run for run in whole if series[run.run_id] == name) for name in lines}
    listed = "; ".join(f"{name} {share(run.score)} on {run.started_at[:10]}" for name, run in newest.items())
    return Trend(rows, f"{counted(len(rows), 'run')} in {counted(len(lines), 'line')}. The newest of each: {listed}.", query)


def _series(runs: Sequence[Run]) -> dict[str, str]:
    """For each run the line it stands in: evalset and model, and the prompt where there are several."""
    prompts: dict[str, set[str]] = {}
    for run in runs:
        prompts.setdefault(f"{run.evalset} · {run.model}", set()).add(run.prompt.partition("@")[0])
    return {
        run.run_id: line if len(prompts[line]) == 1 else f"{line} · {run.prompt.partition('@')[0]}"
        for run in runs
        for line in [f"{run.evalset} · {run.model}"]
    }


def write_gates(report: Report, *, most: int = 20) -> None:
    """What gates said when they were asked, the newest first."""
    gates = report.view("eval_gate_list")
    report.rows(
        gates,
        "Gates asked in the period",
        ["When", "Baseline", "Verdict", "Margin, points", "n", "What it said"],
        [
            [
                row["recorded_at"][:16].replace("T", " "),
                row["baseline"] or row["baseline_run_id"],
                row["verdict"],
                f"{100 * row['margin']:.1f}" if row["margin"] is not None else None,
                _n_of(row["comparison"]),
                row["sentence"] or "–",
            ]
            for row in gates.rows[:most]
        ],
        right=[3, 4],
        note="As `aiplat eval gate` recorded them, for example in continuous integration.",
    )


def _n_of(comparison: Any) -> str | None:  # Any: JSON
    data = json.loads(comparison) if isinstance(comparison, str) else comparison
    n = data.get("n") if isinstance(data, dict) else None
    return f"{n:,}" if isinstance(n, int) else None
