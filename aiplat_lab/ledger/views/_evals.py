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
        columns={"run": "run_id", "sample": "sample_id", "status": "status"},
    ),
}
