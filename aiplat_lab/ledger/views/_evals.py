"""Views over evaluation runs: the runs, their samples, and what the scores add up to."""

from __future__ import annotations

from collections.abc import Mapping

from aiplat_lab.ledger.views._view import View

_RUNS: Mapping[str, str] = {
    "run": "id", "name": "name", "evalset": "evalset", "model": "model", "prompt": "prompt_name", "team": "team", "project": "project",
}  # fmt: skip

VIEWS: Mapping[str, View] = {
    "eval_run_list": View(
        "Evaluation runs, newest first: what was asked for (evalset and its content hash, prompt and version, model, scorers, epochs) and "
        "how it ended; a run without an end is still under way or was killed.",
        "SELECT r.id AS run_id, r.name, r.evalset, r.evalset_hash, r.samples, r.epochs, r.prompt_name, r.prompt_version, r.model, "
        "r.scorers, r.team, r.project, r.user_id, r.recorded_at AS started_at, e.status, e.reason, e.recorded_at AS ended_at FROM runs r "
        "LEFT JOIN (FROM eval_ends QUALIFY row_number() OVER (PARTITION BY run_id ORDER BY seq DESC) = 1) e ON e.run_id = r.id "
        "QUALIFY row_number() OVER (PARTITION BY r.id ORDER BY r.seq) = 1 ORDER BY r.recorded_at DESC, r.id",
        source="eval_runs",
        rows_as="runs",
        time="recorded_at",
        columns=_RUNS,
    ),
    "eval_sample_list": View(
        "The samples of evaluation runs as they were scored, each sample and epoch once: answered call, status (`ok` or `error`), scores "
        "by scorer as JSON, main score, whether it passed, slices, cluster, cost in US dollars and latency in seconds.",
        "FROM samples QUALIFY row_number() OVER (PARTITION BY id ORDER BY seq DESC) = 1 ORDER BY run_id, sample_id, epoch",
        source="eval_samples",
        rows_as="samples",
        time="recorded_at",
        columns={"run": "run_id", "sample": "sample_id"},
    ),
    "eval_run_record": View(
        "What an evaluation run was begun with, whole: what it takes to take it up again or to do it once more (`run` is needed).",
        "FROM runs QUALIFY row_number() OVER (PARTITION BY id ORDER BY seq) = 1",
        whole=False,
        needs="run",
        source="eval_runs",
        rows_as="runs",
        time="",
        columns={"run": "id"},
    ),
    "eval_calls": View(
        "The calls of an evaluation run (`run` is needed): sample, epoch, the scorer that asked (empty for the answer itself), outcome, "
        "cost in US dollars and cache.",
        "SELECT call_id::VARCHAR AS call_id, tags['sample'] AS sample_id, tags['epoch'] AS epoch, coalesce(tags['scorer'], '') AS scorer, "
        "status, cost_usd, cache FROM calls ORDER BY started_at, seq",
        whole=False,
        needs="run",
        columns={"run": "experiment"},
    ),
    "eval_costs": View(
        "What evaluation runs cost, for each run and the scorer that asked (empty for the answers themselves): calls, cost in US "
        "dollars, calls without a known price, answers from the cache, and calls that failed.",
        "SELECT experiment AS run_id, coalesce(tags['scorer'], '') AS scorer, count(*) AS calls, coalesce(sum(cost_usd), 0) AS cost_usd, "
        "count(*) FILTER (status = 'ok' AND cost_usd IS NULL) AS unpriced_calls, count(*) FILTER (cache = 'hit') AS cached, "
        "count(*) FILTER (status <> 'ok') AS failed FROM calls WHERE surface = 'eval' AND experiment <> '' "
        "GROUP BY ALL ORDER BY run_id, scorer",
        columns={"run": "experiment"},
    ),
    "eval_baseline_list": View(
        "The baselines of regression gates: the run that each name stands for now, who set it, when and why.",
        "SELECT b.name, b.run_id, b.set_by, b.reason, b.recorded_at AS set_at FROM baselines b "
        "QUALIFY row_number() OVER (PARTITION BY b.name ORDER BY b.seq DESC) = 1 ORDER BY b.name",
        source="eval_baselines",
        rows_as="baselines",
        time="recorded_at",
        columns={"name": "name"},
    ),
    "eval_gate_list": View(
        "Regression gates that were asked, newest first: the run, what it was compared with, verdict, margin and sentence.",
        "SELECT g.run_id, g.baseline, g.baseline_run_id, g.verdict, g.margin, g.sentence, g.comparison, g.recorded_at AS asked_at "
        "FROM gates g QUALIFY row_number() OVER (PARTITION BY g.id ORDER BY g.seq) = 1 ORDER BY g.recorded_at DESC, g.id",
        source="eval_gates",
        rows_as="gates",
        time="recorded_at",
        columns={"run": "run_id", "baseline": "baseline", "verdict": "verdict"},
    ),
}
