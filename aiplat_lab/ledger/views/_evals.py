"""Views over evaluation runs: the runs, their samples, and what the scores add up to."""

from __future__ import annotations

from collections.abc import Mapping

from aiplat_lab.ledger.views._view import View

_RUNS: Mapping[str, str] = {
    "run": "id", "name": "name", "evalset": "evalset", "model": "model", "prompt": "prompt_name", "team": "team", "project": "project",
}  # fmt: skip

_OF_A_RUN: Mapping[str, str] = {"run": "split_part(id, '/', 1)", "sample": "sample_id"}
"""A sample's id begins with its run's, which is read far faster than what is inside the record."""
_SCORE, _LATENCY = "TRY_CAST(score AS DECIMAL(38, 15))", "TRY_CAST(latency_s AS DECIMAL(38, 15))"
"""What is added up as exact decimals: the sum of fractions would depend on which thread came first, and so a report's bytes."""
_LAST = "FROM samples QUALIFY row_number() OVER (PARTITION BY id ORDER BY seq DESC) = 1"
_PER_SAMPLE = (
    "SELECT run_id, sample_id, any_value(nullif(cluster, '')) AS cluster, count(*) AS asked, count(*) FILTER (status <> 'ok') AS errors, "
    f"avg({_SCORE}) FILTER (status = 'ok') AS score, sum(cost_usd) AS cost_usd, sum({_LATENCY}) FILTER (status = 'ok') AS latency_s, "
    "count(*) FILTER (cached) AS cached FROM (SELECT run_id, sample_id, cluster, status, score, cost_usd, latency_s, cached "
    f"{_LAST}) GROUP BY run_id, sample_id"
)
_SHARED = "count(cluster) > count(DISTINCT cluster)"

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
    "eval_scores": View(
        "What the scores of each run add up to: samples, answers asked for, errors (kept apart: no answer to score), samples with a score, "
        "mean score over samples, each sample's score (`scores`) and cluster (`clusters`, only where samples share one), cost in US "
        "dollars, mean latency in seconds and answers from the cache. A sample that was asked several times counts once, with its mean.",
        "SELECT run_id, count(*) AS samples, sum(asked)::BIGINT AS asked, sum(errors)::BIGINT AS errors, count(score) AS scored, "
        f"avg({_SCORE}) AS score, list(score ORDER BY sample_id) FILTER (score IS NOT NULL) AS scores, "
        f"CASE WHEN {_SHARED} THEN list(coalesce(cluster, sample_id) ORDER BY sample_id) FILTER (score IS NOT NULL) END AS clusters, "
        "sum(cost_usd) AS cost_usd, sum(latency_s) / nullif(sum(asked - errors), 0) AS latency_s, sum(cached)::BIGINT AS cached "
        f"FROM ({_PER_SAMPLE}) GROUP BY run_id ORDER BY run_id",
        source="eval_samples",
        rows_as="samples",
        time="recorded_at",
        columns=_OF_A_RUN,
    ),
    "eval_sample_means": View(
        "Each sample of a run once, with the mean of its repetitions: score, how often asked and how often without an answer, slices, "
        "cluster, cost in US dollars, latency in seconds; of the first repetition the call, scores by scorer, notes and error.",
        "SELECT run_id, sample_id, any_value(nullif(cluster, '')) AS cluster, any_value(slices)::VARCHAR AS slices, count(*) AS asked, "
        f"count(*) FILTER (status <> 'ok') AS errors, avg({_SCORE}) FILTER (status = 'ok') AS score, sum(cost_usd) AS cost_usd, "
        f"avg({_LATENCY}) FILTER (status = 'ok') AS latency_s, arg_min(call_id, epoch) AS call_id, "
        f"arg_min(scores, epoch)::VARCHAR AS scores, arg_min(notes, epoch)::VARCHAR AS notes, "
        f"arg_min(error, epoch) AS error FROM ({_LAST}) "
        "GROUP BY run_id, sample_id ORDER BY run_id, sample_id",
        source="eval_samples",
        rows_as="samples",
        time="recorded_at",
        columns=_OF_A_RUN,
    ),
}
