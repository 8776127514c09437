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
_PER_CLUSTER = (
    "SELECT run_id, count(*) AS samples, count(score) AS n, sum(score) AS total, sum(asked) AS asked, sum(errors) AS errors, "
    "count(score) FILTER (score NOT IN (0, 1)) AS graded, sum(cost_usd) AS cost_usd, sum(latency_s) AS latency_s, sum(cached) AS cached, "
    "count(*) > count(DISTINCT cluster) AND any_value(cluster) IS NOT NULL AS shared "
    "FROM per_sample GROUP BY run_id, coalesce(cluster, sample_id)"
)
_PER_RUN = (
    "SELECT run_id, sum(samples)::BIGINT AS samples, sum(asked)::BIGINT AS asked, sum(errors)::BIGINT AS errors, sum(n)::BIGINT AS scored, "
    "sum(total) / nullif(sum(n), 0) AS score, sum(graded) = 0 AND NOT bool_or(shared) AND sum(asked) = sum(samples) AS counts_only, "
    "count(*) FILTER (n > 0) AS clusters, sum(total * total) AS tt, sum(total * n) AS tn, sum(n * n) AS nn, "
    "sum(cost_usd) AS cost_usd, sum(latency_s) / nullif(sum(asked - errors), 0) AS latency_s, sum(cached)::BIGINT AS cached "
    "FROM per_cluster GROUP BY run_id"
)

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
        "mean score over samples, its standard error (by cluster, where samples share one), whether each sample is plainly right or "
        "wrong (`counts_only`), cost in US dollars, mean latency in seconds and answers from the cache. A sample that was asked several times "
        "counts once, with its mean.",
        "SELECT run_id, samples, asked, errors, scored, score, counts_only, clusters, CASE WHEN clusters > 1 THEN "
        "sqrt(greatest(tt - 2 * score * tn + score * score * nn, 0) * clusters / (clusters - 1)) / scored END AS standard_error, "
        f"cost_usd, latency_s, cached FROM (WITH per_sample AS ({_PER_SAMPLE}), per_cluster AS ({_PER_CLUSTER}) {_PER_RUN}) ORDER BY run_id",
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
        "avg(latency_s) FILTER (status = 'ok') AS latency_s, arg_min(call_id, epoch) AS call_id, arg_min(scores, epoch)::VARCHAR AS scores, "
        f"arg_min(notes, epoch)::VARCHAR AS notes, arg_min(error, epoch) AS error FROM ({_LAST}) "
        "GROUP BY run_id, sample_id ORDER BY run_id, sample_id",
        source="eval_samples",
        rows_as="samples",
        time="recorded_at",
        columns=_OF_A_RUN,
    ),
}
