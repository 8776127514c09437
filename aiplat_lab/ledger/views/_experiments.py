"""Views over A/B experiments and the votes in them."""

from __future__ import annotations

from collections.abc import Mapping

from aiplat_lab.ledger.views._costs import CALLS, INPUT, KNOWN, LATENCY, OUTPUT, UNPRICED
from aiplat_lab.ledger.views._view import CALL_FILTERS, View

_COUNTING_VOTES = (
    "(FROM votes_ QUALIFY row_number() OVER (PARTITION BY id ORDER BY seq) = 1) "
    "QUALIFY row_number() OVER (PARTITION BY experiment, input_id, rater ORDER BY seq DESC) = 1"
)

VIEWS: Mapping[str, View] = {
    "experiment_list": View(
        "A/B experiments, newest first: id, name, variants, number of inputs, who began it, and in which notebook.",
        "SELECT id, name, variants, inputs, blind, author, notebook, alpha, seed, input_ids, recorded_at FROM experiments_ "
        "QUALIFY row_number() OVER (PARTITION BY id ORDER BY seq DESC) = 1 ORDER BY recorded_at DESC, id",
        source="experiments",
        rows_as="experiments_",
        time="recorded_at",
        columns={"experiment": "id", "name": "name"},
    ),
    "vote_list": View(
        "Votes of A/B experiments in the order they came; a vote that was sent twice counts once, and a later vote of the same rater on "
        "the same input takes the place of the earlier.",
        f"SELECT * FROM {_COUNTING_VOTES} ORDER BY seq",
        source="votes",
        rows_as="votes_",
        time="recorded_at",
        columns={"experiment": "experiment", "rater": "rater"},
    ),
    "experiment_answers": View(
        "Answers in an A/B experiment, oldest first: the variant, the input's id, the call, its outcome, model, tokens in and out, cost in "
        "US dollars, latency in seconds, and whether it came from the cache. `call` gives the text of each.",
        "SELECT experiment, variant, tags['input'] AS input_id, call_id::VARCHAR AS call_id, started_at, status, error_type, "
        "error_message, finish_reason, request_model, provider, response_model, region, prompt_name, prompt_version, "
        f"CASE WHEN {KNOWN} THEN {INPUT} END AS input_tokens, CASE WHEN {KNOWN} THEN {OUTPUT} END AS output_tokens, cost_usd, "
        "baseline_cost_usd, latency_s, time_to_first_token_s, cache FROM calls WHERE coalesce(variant, '') <> '' ORDER BY seq",
        columns={**CALL_FILTERS, "variant": "variant"},
    ),
    "vote_counts": View(
        "How the votes of each experiment fell: for each winner (a variant, `tie` or `none`) the votes, the raters and the last vote; "
        "votes count as in `vote_list`.",
        "SELECT experiment, winner, count(*) AS votes, count(DISTINCT rater) AS raters, max(recorded_at) AS last_at "
        f"FROM (FROM {_COUNTING_VOTES}) GROUP BY experiment, winner ORDER BY experiment, votes DESC, winner",
        source="votes",
        rows_as="votes_",
        time="recorded_at",
        columns={"experiment": "experiment", "rater": "rater"},
    ),
    "experiment_variants": View(
        "What the answers of each variant of an experiment took: calls, failed calls, cost in US dollars, answered calls without a known "
        "price, tokens in and out, median and 95th percentile of the latency of answered calls in seconds.",
        f"SELECT experiment, variant, {CALLS}, {UNPRICED} AS unpriced_calls, sum({INPUT}) FILTER ({KNOWN}) AS input_tokens, "
        f"sum({OUTPUT}) FILTER ({KNOWN}) AS output_tokens, {LATENCY}[1] AS latency_p50_s, {LATENCY}[2] AS latency_p95_s "
        "FROM calls WHERE experiment IS NOT NULL AND variant IS NOT NULL AND variant <> '' GROUP BY experiment, variant "
        "ORDER BY experiment, variant",
    ),
}
