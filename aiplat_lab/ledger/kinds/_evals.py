"""Records of evaluation runs. The answers themselves are calls, with the run's id as `experiment`."""

from __future__ import annotations

from collections.abc import Mapping

from aiplat_lab.ledger.kinds._kind import Field, Kind

KINDS: Mapping[str, Kind] = {
    "eval_run": Kind(
        "An evaluation run began.",
        "eval_runs",
        {
            "name": Field("text", "what people call it", required=True),
            "evalset": Field("text", "the evalset's name", required=True),
            "evalset_hash": Field("text", "SHA-256 of its content, which is its version", required=True),
            "evalset_path": Field("text", "its file, for one that is not shipped"),
            "samples": Field("whole", "how many samples it has", required=True),
            "epochs": Field("whole", "how often each is asked", required=True),
            "prompt_name": Field("text", "the prompt"),
            "prompt_version": Field("text", "its version"),
            "prompt_hash": Field("text", "SHA-256 of the prompt; for a function, of all that it asks"),
            "prompt_text": Field("text", "what the prompt is found by when the run is taken up again: name, path or template"),
            "model": Field("text", "the model that was asked", required=True),
            "settings": Field("json", "settings of the requests"),
            "scorers": Field("json", "the names of the scorers, the main one first", required=True),
            "max_cost_usd": Field("usd", "the cap on what it may cost"),
            "team": Field("text", "the team"),
            "project": Field("text", "the project"),
            "user_id": Field("text", "who"),
            "notebook": Field("text", "where"),
            "seed": Field("whole", "what resampling starts from"),
            "cache": Field("text", "whether answers may come from the cache"),
        },
    ),
    "eval_sample": Kind(
        "One sample of a run was scored. Its id is `run/sample/epoch`; a later record of the same id takes the place of the earlier.",
        "eval_samples",
        {
            "run_id": Field("text", "the run", required=True),
            "sample_id": Field("text", "the sample", required=True),
            "epoch": Field("whole", "which repetition, from 1", required=True),
            "call_id": Field("text", "the call that answered"),
            "status": Field("text", "`ok`, or `error` where there was no answer to score or a scorer failed", required=True),
            "error": Field("text", "what went wrong"),
            "scores": Field("json", "for each scorer its value, from 0 to 1 or a measure"),
            "notes": Field("json", "for each scorer that says more, why"),
            "score": Field("number", "the main scorer's value"),
            "passed": Field("bool", "whether the main scorer calls it right"),
            "slices": Field("json", "the sample's slices"),
            "cluster": Field("text", "samples of one cluster are not independent"),
            "cost_usd": Field("usd", "what the answer cost"),
            "latency_s": Field("number", "how long it took"),
            "cached": Field("bool", "whether the answer came from the cache"),
            "answered": Field("bool", "whether there is an answer, whatever became of its scores"),
            "attempt": Field("whole", "how often it was tried, from 1"),
            "errors": Field("json", "for each scorer that failed, how"),
        },
    ),
    "eval_end": Kind(
        "A run ended, or was taken up again and ended anew. Its id is the run's, with a number.",
        "eval_ends",
        {
            "run_id": Field("text", "the run", required=True),
            "status": Field(
                "text", "`complete`; `errors` where samples have no answer; `capped`, `interrupted` or `failed`", required=True
            ),
            "reason": Field("text", "why it is not complete"),
        },
    ),
    "eval_baseline": Kind(
        "A name now stands for a run, to compare others with. Its id is the move's own.",
        "eval_baselines",
        {
            "name": Field("text", "the baseline's name", required=True),
            "run_id": Field("text", "the run", required=True),
            "set_by": Field("text", "who set it"),
            "reason": Field("text", "why"),
        },
    ),
    "eval_gate": Kind(
        "A regression gate was asked.",
        "eval_gates",
        {
            "run_id": Field("text", "the run that was judged", required=True),
            "baseline_run_id": Field("text", "what it was compared with", required=True),
            "baseline": Field("text", "the baseline's name"),
            "verdict": Field("text", "`pass`, `regression`, `inconclusive`", required=True),
            "margin": Field("number", "how much worse still passes"),
            "comparison": Field("json", "n, difference, interval, method, minimum detectable effect"),
            "sentence": Field("text", "the verdict in words"),
        },
    ),
}
