"""Views over evaluation runs: the runs, their samples, and what the scores add up to."""

from __future__ import annotations

from collections.abc import Mapping

from aiplat_lab.ledger.views._view import View

_RUNS: Mapping[str, str] = {
    "run": "id", "name": "name", "evalset": "evalset", "model": "model", "prompt": "prompt_name", "team": "team", "project": "project",
}  # fmt: skip

_OF_A_RUN: Mapping[str, str] = {"run": "split_part(id, '/', 1)", "sample": "sample_id"}
"""A sample's id begins with its run's, which is read far faster than what is inside the record."""
_LAST = "FROM samples QUALIFY row_number() OVER (PARTITION BY id ORDER BY seq DESC) = 1"
_PER_SAMPLE = (
    "SELECT run_id, sample_id, any_value(cluster) AS cluster, count(*) AS asked, count(*) FILTER (status <> 'ok') AS errors, "
    "avg(score) FILTER (status = 'ok') AS score, sum(cost_usd) AS cost_usd, sum(latency_s) FILTER (status = 'ok') AS latency_s, "
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
        columns={"run": "run_id", "sample": "sample_id", "status": "status"},
    ),
    "eval_scores": View(
        "What the scores of each run add up to: samples, answers asked for, errors (kept apart: no answer to score), samples with a score, "
        "mean score over samples, each sample's score (`scores`) and cluster (`clusters`, only where samples share one), cost in US "
        "dollars, mean latency in seconds and answers from the cache. A sample that was asked several times counts once, with its mean.",
        "SELECT run_id, count(*) AS samples, sum(asked)::BIGINT AS asked, sum(errors)::BIGINT AS errors, count(score) AS scored, "
        "avg(score) AS score, list(score ORDER BY sample_id) FILTER (score IS NOT NULL) AS scores, "
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
        "SELECT run_id, sample_id, any_value(cluster) AS cluster, any_value(slices)::VARCHAR AS slices, count(*) AS asked, "
        "count(*) FILTER (status <> 'ok') AS errors, avg(score) FILTER (status = 'ok') AS score, sum(cost_usd) AS cost_usd, "
        "avg(latency_s) FILTER (status = 'ok') AS latency_s, arg_min(call_id, epoch) AS call_id, "
        f"arg_min(scores, epoch)::VARCHAR AS scores, arg_min(notes, epoch)::VARCHAR AS notes, "
        f"arg_min(error, epoch) AS error FROM ({_LAST}) "
        "GROUP BY run_id, sample_id ORDER BY run_id, sample_id",
        source="eval_samples",
        rows_as="samples",
        time="recorded_at",
        columns=_OF_A_RUN,
    ),
}
