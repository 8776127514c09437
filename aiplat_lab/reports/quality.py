"""Evaluation runs in reports: which runs are compared, what they scored, how they differ, and where they fail.

Everything is read from the snapshot, and every comparison is one of `stats`: paired, with its interval, its method and the
smallest difference that it could have shown.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from aiplat_lab import stats
from aiplat_lab.core.errors import ReportError, UsageError, did_you_mean
from aiplat_lab.reports._finding import counted
from aiplat_lab.reports._report import Report, Result

MOST_RUNS = 8
"""How many runs a comparison takes at most."""
By = Literal["model", "prompt"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """An evaluation run and what it scored."""

    run_id: str
    name: str
    evalset: str
    evalset_hash: str
    model: str
    prompt: str
    """Name and version, such as `triage@1.2.0`; the start of its hash where it is not in the registry."""
    status: str
    started_at: str
    scorer: str
    samples: int
    scored: int
    errors: int
    score: float | None
    low: float | None
    """The lower end of the 95 % interval, clustered where samples share a cluster; None without two scores in two clusters."""
    high: float | None
    cost_usd: Decimal | None
    each_usd: Decimal | None
    latency_s: float | None

    def named(self, by: By) -> str:
        """What the comparison calls it."""
        return self.model if by == "model" else self.prompt


@dataclass(frozen=True, slots=True)
class Chosen:
    """The runs that a report compares."""

    runs: tuple[Run, ...]
    by: By
    said: str
    """How they were chosen, or why there are none, in a sentence."""
    query: str

    @property
    def names(self) -> dict[str, str]:
        """For each run what it is called; with its day where several are called the same."""
        plain = [run.named(self.by) for run in self.runs]
        dated = {run.run_id: f"{name} of {run.started_at[:10]}" for run, name in zip(self.runs, plain, strict=True)}
        whole = list(dated.values())
        return {
            run.run_id: name
            if plain.count(name) == 1
            else dated[run.run_id]
            if whole.count(dated[run.run_id]) == 1
            else f"{name}, {run.run_id[-6:]}"
            for run, name in zip(self.runs, plain, strict=True)
        }


def all_runs(report: Report, *, whole: bool = True, **filters: str) -> tuple[list[Run], str]:
    """The evaluation runs, newest first, and the citation of the queries behind them."""
    listed = report.view("eval_run_list", whole=whole, **filters)
    if not listed:
        return [], listed.query
    scores = report.view("eval_scores", whole=True)
    by_run = {row["run_id"]: row for row in scores.rows}
    return [_run(row, by_run.get(row["run_id"])) for row in listed.rows], f"{listed.query} {scores.query}"


def _run(row: Mapping[str, Any], found: Mapping[str, Any] | None) -> Run:
    scores = list(found["scores"] or ()) if found else []
    clusters = found["clusters"] if found else None
    enough = len(scores) > 1 and (clusters is None or len(set(clusters)) > 1)
    interval = stats.score_interval(scores, clusters=clusters) if enough else None
    cost = Decimal(str(found["cost_usd"])) if found and found["cost_usd"] is not None else None
    answers = found["asked"] - found["errors"] if found else 0
    scorers = row["scorers"] if isinstance(row["scorers"], list) else json.loads(row["scorers"] or "[]")
    return Run(
        run_id=row["run_id"],
        name=row["name"],
        evalset=row["evalset"],
        evalset_hash=row["evalset_hash"],
        model=row["model"],
        prompt=f"{row['prompt_name']}@{row['prompt_version']}" if row["prompt_name"] else "a prompt outside the registry",
        status=row["status"] or "not ended",
        started_at=row["started_at"],
        scorer=str(scorers[0]) if scorers else "",
        samples=row["samples"],
        scored=found["scored"] if found else 0,
        errors=found["errors"] if found else 0,
        score=found["score"] if found else None,
        low=interval.low if interval else None,
        high=interval.high if interval else None,
        cost_usd=cost,
        each_usd=cost / answers if cost is not None and answers else None,
        latency_s=found["latency_s"] if found else None,
    )


def choose(
    report: Report,
    *,
    by: By,
    evalset: str = "",
    runs: Sequence[str] = (),
    values: Sequence[str] = (),
    where: Callable[[Run], bool] | None = None,
) -> Chosen:
    """The runs to compare: the named ones, or the latest complete run of each model (or prompt) on one version of an evalset.

    Args:
        report: the report that reads and cites.
        by: whether models or prompts are compared.
        evalset: its name; left out, the newest evalset on which there is something to compare.
        runs: ids or names of runs; these are taken as they are.
        values: the models (or prompts, `name@version`) to compare; left out, all.
        where: which further runs count.

    Raises:
        ReportError: a run, model, prompt or evalset that is named is not in the log.
    """
    known, query = all_runs(report)
    if runs:
        return Chosen(
            tuple(_named(known, name) for name in runs[:MOST_RUNS]), by, "The runs were named by whoever asked for this report.", query
        )
    if evalset and evalset not in {run.evalset for run in known}:
        raise ReportError(f"no run of the evalset {evalset!r} is in the log.{did_you_mean(evalset, {run.evalset for run in known})}")
    for value in values:
        if value not in {run.named(by) for run in known}:
            raise ReportError(f"no run of the {by} {value!r} is in the log.{did_you_mean(value, {run.named(by) for run in known})}")
    fit = [run for run in known if run.status == "complete" and run.scored and evalset in ("", run.evalset)]
    fit = [run for run in fit if (not values or run.named(by) in values) and (where is None or where(run))]
    return _latest(fit, by, query, len(known))


def _latest(fit: Sequence[Run], by: By, query: str, known: int) -> Chosen:
    groups: dict[tuple[str, ...], dict[str, Run]] = {}
    for run in fit:  # newest first; what is not compared has to be alike
        alike = (run.evalset, run.evalset_hash, run.scorer, run.prompt if by == "model" else run.model)
        groups.setdefault(alike, {}).setdefault(run.named(by), run)
    if not groups:
        said = (
            "No evaluation is in the log." if not known else f"None of the {known:,} runs in the log is complete and fits what was asked."
        )
        return Chosen((), by, said, query)
    several = [group for group in groups.values() if len(group) > 1]
    group = several[0] if several else next(iter(groups.values()))
    first = next(iter(group.values()))
    other = "prompt" if by == "model" else "model"
    same = first.prompt if by == "model" else first.model
    said = (
        f"The latest complete run of each {by} on the evalset “{first.evalset}” in its version {first.evalset_hash[:8]}, "
        f"with the same {other} ({same}) and the same scorer ({first.scorer or 'not named'})."
    )
    return Chosen(tuple(list(group.values())[:MOST_RUNS]), by, said, query)


def _named(known: Sequence[Run], name: str) -> Run:
    for run in known:
        if name in (run.run_id, run.name):
            return run
    raise ReportError(f"there is no run {name!r} in the log.{did_you_mean(name, [run.name for run in known])}")


@dataclass(frozen=True, slots=True)
class Pair:
    """One comparison on the samples that both runs scored."""

    reference: Run
    other: Run
    comparison: stats.Comparison | None
    """None where fewer than two samples were scored in both."""
    left_out: int
    """Samples that only one of them has a score for."""
    holm_p: float | None = None
    """The p-value with all comparisons of the report taken into account."""


def compare(report: Report, chosen: Chosen, *, reference: str = "", margin: float = 0.05) -> tuple[list[Pair], str]:
    """Each run against the reference (the named one, else the oldest), and the citation.

    Raises:
        ReportError: the reference is none of the runs.
    """
    if len(chosen.runs) < 2:
        return [], chosen.query
    if len({run.evalset_hash for run in chosen.runs}) > 1:
        raise ReportError("the runs are of different versions of an evalset, so their samples cannot be paired; name runs of one version")
    names = chosen.names
    base = min(chosen.runs, key=lambda run: run.started_at)
    if reference:
        fits = [run for run in chosen.runs if reference in (run.run_id, run.name, names[run.run_id], run.named(chosen.by))]
        if not fits:
            raise ReportError(f"the reference {reference!r} is none of the runs compared.{did_you_mean(reference, names.values())}")
        base = fits[0]
    samples = sample_means(report, chosen.runs)
    pairs = [
        pair_of(samples, base, run, names=(names[base.run_id], names[run.run_id]), margin=margin) for run in chosen.runs if run is not base
    ]
    judged = [pair for pair in pairs if pair.comparison is not None]
    adjusted = iter(stats.holm([pair.comparison.p_value for pair in judged if pair.comparison]).tolist() if judged else [])
    return [
        Pair(pair.reference, pair.other, pair.comparison, pair.left_out, next(adjusted) if pair.comparison else None) for pair in pairs
    ], samples.query


def sample_means(report: Report, runs: Iterable[Run]) -> Result:
    """Each sample of the runs, once."""
    return report.view("eval_sample_means", whole=True, run=[run.run_id for run in runs])


def pair_of(samples: Result, base: Run, other: Run, *, names: tuple[str, str], margin: float) -> Pair:
    """One run against another on the samples that both scored."""
    first, second = ({row["sample_id"]: row for row in samples.rows if row["run_id"] == run.run_id} for run in (base, other))
    every = sorted({*first, *second})
    both = [name for name in every if all(name in side and side[name]["score"] is not None for side in (first, second))]
    clusters = [first[name]["cluster"] or name for name in both]
    comparison = None
    if len(set(clusters)) > 1:  # one sample, or one cluster of them, says nothing about others
        comparison = stats.compare_paired(
            [first[name]["score"] for name in both],
            [second[name]["score"] for name in both],
            clusters=clusters if len(set(clusters)) < len(clusters) else None,
            names=names,
            margin=margin,
        )
    return Pair(base, other, comparison, len(every) - len(both))


# --- what is shown ----------------------------------------------------------------------------------------------------


def share(value: float | None) -> str | None:
    """A score for a reader: a percentage where it lies from 0 to 1."""
    return None if value is None else f"{100 * value:.1f} %" if 0 <= value <= 1 else f"{value:.4g}"


def points(value: float | None) -> str | None:
    """A difference of rates in points."""
    return None if value is None else f"{100 * value:+.1f}"


def chart_rows(chosen: Chosen) -> list[dict[str, Any]]:
    """The runs as `charts.score_by_run` and `charts.cost_quality` take them."""
    return [
        {
            "name": chosen.names[run.run_id],
            "score": run.score,
            "low": run.low if run.low is not None else run.score,
            "high": run.high if run.high is not None else run.score,
            "scored": run.scored,
            "each_usd": run.each_usd,
        }
        for run in chosen.runs
    ]


def write_scores(report: Report, chosen: Chosen) -> None:
    """A table of the runs with their scores, intervals, costs and errors."""
    report.rows(
        chosen.query,
        "What each scored",
        [chosen.by.capitalize(), "Run", "Samples scored", "Errors", "Score", "95 % interval", "Each answer", "Latency"],
        [
            [
                chosen.names[run.run_id],
                f"{run.name}, {run.started_at[:10]}",
                f"{run.scored:,} of {run.samples:,}",
                f"{run.errors:,}",
                share(run.score),
                None if run.low is None else f"{share(run.low)} to {share(run.high)}",
                report.money(run.each_usd),
                report.seconds(run.latency_s),
            ]
            for run in chosen.runs
        ],
        right=[2, 3, 4, 5, 6, 7],
        note="Errors are answers that never came; they are kept apart from wrong answers and are in no score.",
    )


def write_comparisons(report: Report, pairs: Sequence[Pair], cited: str) -> None:
    """Each comparison in a sentence, and all of them in a table."""
    for pair in pairs:
        if pair.comparison is not None:
            report.text(pair.comparison.sentence)
    found = [(pair, pair.comparison) for pair in pairs if pair.comparison is not None]
    left = sum(pair.left_out for pair in pairs)
    several = " p is adjusted after Holm for the number of comparisons." if len(found) > 1 else ""
    report.rows(
        cited,
        "Differences on the same samples",
        ["Compared", "n", "Difference, points", "95 % interval", "p", "Could show", "Verdict", "Method"],
        [
            [
                f"{c.name_b} against {c.name_a}",
                f"{c.n:,}",
                points(c.difference),
                f"{points(c.low)} to {points(c.high)}",
                f"{pair.holm_p:.3f}" if pair.holm_p is not None and pair.holm_p >= 0.001 else "below 0.001",
                f"{100 * c.minimum_detectable_effect:.1f}" if c.minimum_detectable_effect is not None else "nothing: too few samples",
                c.verdict.replace("_", " "),
                f"{c.method}; {c.interval_method}",
            ]
            for pair, c in found
        ],
        right=[1, 2, 3, 4],
        note="“Could show” is the smallest true difference, in points, that so many samples show in four of five trials."
        + several
        + (f" {counted(left, 'sample')} scored on one side only stand in no comparison." if left else ""),
    )
    for pair in pairs:
        if pair.comparison is None:
            report.text(f"{pair.other.name} cannot be compared with {pair.reference.name}: fewer than two samples were scored in both.")


def write_slices(report: Report, chosen: Chosen, *, most: int = 24) -> None:
    """The mean score of each run on each slice; the slices with the lowest score first."""
    samples = sample_means(report, chosen.runs)
    sums: dict[tuple[str, str], dict[str, list[float]]] = {}
    for row in samples.rows:
        slices = row["slices"] if isinstance(row["slices"], dict) else json.loads(row["slices"] or "{}") or {}
        for key, value in slices.items():
            if row["score"] is not None:
                sums.setdefault((str(key), str(value)), {}).setdefault(row["run_id"], []).append(row["score"])
    if not sums:
        report.text("Slices: not evidenced. The samples of these runs name none.")
        return
    lowest = sorted(sums, key=lambda name: (min(_mean(scores) for scores in sums[name].values()), name))
    lines = []
    for name in lowest[:most]:
        found = sums[name]
        cells = [share(_mean(found[run.run_id])) if found.get(run.run_id) else None for run in chosen.runs]
        lines.append([f"{name[0]}: {name[1]}", f"{max(map(len, found.values())):,}", *cells])
    left = f" {len(lowest) - most} further slices scored higher." if len(lowest) > most else ""
    report.rows(
        samples,
        "Score by slice, the lowest first",
        ["Slice", "Samples", *chosen.names.values()],
        lines,
        right=range(1, 2 + len(chosen.runs)),
        note=f"Slices are looked at for where to dig, and not tested: with many slices some differ by chance.{left}",
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def write_worst(report: Report, chosen: Chosen, *, most: int = 12) -> None:
    """The samples on which the runs scored lowest together; their texts stay in the log."""
    samples = sample_means(report, chosen.runs)
    by_sample: dict[str, dict[str, dict[str, Any]]] = {}
    for row in samples.rows:
        by_sample.setdefault(row["sample_id"], {})[row["run_id"]] = row
    scored = {name: [row["score"] for row in rows.values() if row["score"] is not None] for name, rows in by_sample.items()}
    worst = sorted((name for name, scores in scored.items() if scores), key=lambda name: (_mean(scored[name]), name))[:most]
    last = chosen.runs[0]
    lines = []
    for name in worst:
        rows = by_sample[name]
        cells = [share(rows[run.run_id]["score"]) if run.run_id in rows else None for run in chosen.runs]
        call = rows.get(last.run_id, {}).get("call_id")
        lines.append([name, *cells, call or None])
    report.rows(
        samples,
        "Samples with the lowest scores",
        ["Sample", *chosen.names.values(), f"Call of {chosen.names[last.run_id]}"],
        lines,
        right=range(1, 1 + len(chosen.runs)),
        note="Question and answer stay in the log: `aiplat calls show ID` shows them to whoever may read them.",
    )


def write_votes(report: Report, *, experiments: Sequence[str] = (), most: int = 10) -> list[str]:
    """What people chose in A/B experiments, each with a verdict that holds at any look; gives the sentences.

    Raises:
        ReportError: an experiment that is named is not in the log.
    """
    listed, counts = report.view("experiment_list", whole=True), report.view("vote_counts", whole=True)
    known = {name for row in listed.rows for name in (row["id"], row["name"])}
    for name in experiments:
        if name not in known:
            raise ReportError(f"there is no experiment {name!r} in the log.{did_you_mean(name, known)}")
    cited = f"{listed.query} {counts.query}"
    rows = [row for row in listed.rows if not experiments or row["id"] in experiments or row["name"] in experiments]
    said, lines = [], []
    for row in rows[:most]:
        verdict = _votes_of(row, [count for count in counts.rows if count["experiment"] == row["id"]])
        if verdict is None:
            lines.append([row["name"], row["recorded_at"][:10], "0", None, None, "no votes yet"])
            continue
        said.append(f"Experiment “{row['name']}”: {verdict.sentence}")
        won = ", ".join(f"{name} {count}" for name, count in verdict.wins)
        lines.append(
            [
                row["name"],
                row["recorded_at"][:10],
                f"{verdict.votes:,}",
                won + (f", ties {verdict.ties}" if verdict.ties else ""),
                f"{100 * verdict.low:.0f} % to {100 * verdict.high:.0f} %" if verdict.votes else None,
                verdict.state.replace("_", " "),
            ]
        )
    report.rows(
        cited,
        "Votes of people in A/B experiments",
        ["Experiment", "Begun", "Votes", "For", "Share of the one ahead, 95 %", "Verdict"],
        lines,
        right=[2],
        note="The interval holds however often one looks. Votes that a rater changed count once.",
    )
    return said


def _votes_of(row: Mapping[str, Any], counts: Sequence[Mapping[str, Any]]) -> stats.Verdict | None:
    variants = row["variants"] if isinstance(row["variants"], list | dict) else json.loads(row["variants"] or "[]")
    names = [str(one["name"]) if isinstance(one, Mapping) else str(one) for one in variants]
    won = {count["winner"]: count["votes"] for count in counts}
    if not won or len(names) < 2:
        return None
    try:
        return stats.vote_verdict({name: won.get(name, 0) for name in names}, ties=won.get("tie", 0) + won.get("none", 0))
    except UsageError:
        return None


def summarise(report: Report, chosen: Chosen, pairs: Sequence[Pair]) -> None:
    """The first page in words: what was compared, what came out, and what cannot be said."""
    report.summary(chosen.said)
    if not chosen.runs:
        report.summary(f"No {chosen.by} can be compared: quality is not evidenced.")
        return
    best = max((run for run in chosen.runs if run.score is not None), key=lambda run: run.score or 0.0, default=None)
    if best is not None:
        tail = f" (95 % interval {share(best.low)} to {share(best.high)})" if best.low is not None else ""
        report.summary(f"The highest score has {chosen.names[best.run_id]}: {share(best.score)} of {counted(best.scored, 'sample')}{tail}.")
    if len(chosen.runs) < 2:
        report.summary(f"There is only one {chosen.by} to show, so nothing is compared.")
    for pair in pairs:
        if pair.comparison is not None:
            report.summary(pair.comparison.sentence)
    failed = sum(run.errors for run in chosen.runs)
    if failed:
        report.summary(f"{counted(failed, 'answer')} never came; errors are in no score.")


def said_of_frontier(report: Report, chosen: Chosen) -> str:
    """The chart of cost and quality in a sentence, for readers who cannot see it."""
    known = [run for run in chosen.runs if run.each_usd is not None and run.score is not None]
    best = [
        run
        for run in known
        if not any(
            (other.score or 0) >= (run.score or 0)
            and (other.each_usd or 0) <= (run.each_usd or 0)
            and (other.score, other.each_usd) != (run.score, run.each_usd)
            for other in known
        )
    ]
    listed = "; ".join(
        f"{chosen.names[run.run_id]} at {share(run.score)} for {report.money(run.each_usd)}"
        for run in sorted(best, key=lambda run: run.each_usd or 0)
    )
    return f"No other is both as good and as cheap: {listed}."
