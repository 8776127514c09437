"""Views over the calls: spend, savings, errors, latency, single calls, and what policies remember.

Sums of dollars leave out calls whose cost is unknown; `unpriced_calls` counts them. A call that was never sent to a model
cost nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

from aiplat_lab.ledger.rows import CALL_COLUMNS
from aiplat_lab.ledger.views._view import View

_SPENT = "CASE WHEN cost_usd IS NULL AND (status = 'refused' OR attempts = 0) THEN 0::DECIMAL(18,9) ELSE cost_usd END"
_SAVED = "(sum(baseline_cost_usd) FILTER (cost_usd IS NOT NULL) - sum(cost_usd) FILTER (baseline_cost_usd IS NOT NULL))"
SPENT, SAVED = _SPENT, _SAVED
CALLS = (
    f"sum({_SPENT}) AS cost_usd, count(*) AS calls, count(*) FILTER (status = 'error') AS errors, "
    f"count(*) FILTER (cache = 'hit') AS cache_hits, coalesce({_SAVED}, 0) AS saved_usd"
)
UNPRICED = "count(*) FILTER (status = 'ok' AND cost_usd IS NULL)"
LATENCY = "(quantile_cont(latency_s, [0.5, 0.95]) FILTER (status = 'ok'))"
INPUT = "coalesce(input_tokens, 0) + coalesce(cache_read_tokens, 0) + coalesce(cache_write_tokens, 0)"
OUTPUT = "coalesce(output_tokens, 0) + coalesce(reasoning_tokens, 0)"
KNOWN = "input_tokens IS NOT NULL OR output_tokens IS NOT NULL"
_MEASURES = ("calls", "errors", "refused", "cache_hits", "unpriced_calls", "input_tokens", "output_tokens")
_BREAKDOWN = (
    f"WITH fine AS (SELECT started_at::DATE AS day, team, project, request_model, {CALLS}, "
    f"count(*) FILTER (status = 'refused') AS refused, {UNPRICED} AS unpriced_calls, "
    f"sum({INPUT}) FILTER ({KNOWN}) AS input_tokens, sum({OUTPUT}) FILTER ({KNOWN}) AS output_tokens FROM calls GROUP BY ALL) "
    "SELECT CASE grouping_id(day, team, project, request_model) WHEN 3 THEN 'team' WHEN 6 THEN 'model' ELSE 'project' END AS kind, day, "
    "coalesce(team, project, request_model) AS name, sum(cost_usd) AS cost_usd, sum(saved_usd) AS saved_usd, "
    + ", ".join(f"sum({name})::BIGINT AS {name}" for name in _MEASURES)
    + " FROM fine GROUP BY GROUPING SETS ((day, team), (day, request_model), (project)) ORDER BY kind, day, name"
)


def _spend_by(column: str, *, name: str | None = None) -> str:
    return (
        f"SELECT {column}{f' AS {name}' if name else ''}, {CALLS}, {UNPRICED} AS unpriced_calls, "
        f"sum({INPUT}) FILTER ({KNOWN}) AS input_tokens, "
        f"sum({OUTPUT}) FILTER ({KNOWN}) AS output_tokens, "
        f"quantile_cont(latency_s, 0.95) FILTER (status = 'ok') AS latency_p95_s "
        f"FROM calls GROUP BY {column} ORDER BY cost_usd DESC NULLS LAST, calls DESC, 1"
    )


_SPEND_DOC = (
    "Spend by {}: cost in US dollars, calls, failed calls, cache hits, what the cache saved, answered calls without a known price, "
    "tokens in and out, and the 95th percentile of the latency of answered calls in seconds; dearest first."
)

VIEWS: Mapping[str, View] = {
    "totals": View(
        "One row: how many calls, how many of each outcome, cost and savings in US dollars, answered calls without a known price, "
        "tokens in and out, median and 95th percentile of the latency of answered calls in seconds, first and last call.",
        "SELECT count(*) AS calls, count(*) FILTER (status = 'ok') AS answered, count(*) FILTER (status = 'refused') AS refused, "
        "count(*) FILTER (status = 'error') AS errors, count(*) FILTER (status = 'cancelled') AS cancelled, "
        "count(*) FILTER (cache = 'hit') AS cache_hits, "
        f"CASE WHEN count(*) = 0 THEN 0 ELSE sum({_SPENT}) END AS cost_usd, "
        "CASE WHEN count(*) = 0 THEN 0 ELSE sum(coalesce(baseline_cost_usd, "
        f"{_SPENT})) END AS baseline_cost_usd, coalesce({_SAVED}, 0) AS saved_usd, "
        f"{UNPRICED} AS unpriced_calls, "
        f"coalesce(sum({INPUT}), 0) AS input_tokens, coalesce(sum({OUTPUT}), 0) AS output_tokens, "
        f"{LATENCY}[1] AS latency_p50_s, {LATENCY}[2] AS latency_p95_s, "
        "min(started_at) AS first_call_at, max(started_at) AS last_call_at FROM calls",
    ),
    "spend_by_day": View(
        "Spend by day (UTC) and team: cost in US dollars, calls, failed calls, cache hits and what the cache saved; oldest first.",
        f"SELECT started_at::DATE AS day, team, {CALLS} FROM calls GROUP BY day, team ORDER BY day, team",
    ),
    "spend_by_day_model": View(
        "Spend by day (UTC) and requested model: cost in US dollars, calls, failed calls, cache hits and what the cache saved; "
        "oldest first.",
        f"SELECT started_at::DATE AS day, request_model AS model, {CALLS} FROM calls GROUP BY day, request_model ORDER BY day, model",
    ),
    "spend_by_team": View(_SPEND_DOC.format("team"), _spend_by("team")),
    "spend_by_project": View(_SPEND_DOC.format("project"), _spend_by("project")),
    "spend_by_model": View(_SPEND_DOC.format("requested model"), _spend_by("request_model", name="model")),
    "spend_by_user": View(_SPEND_DOC.format("user"), _spend_by("user_id")),
    "cache_use": View(
        "What the cache did, by team: calls that it answered, those of them that only meant the same, calls that it could not answer, "
        "and what the answered ones would have cost in US dollars.",
        "SELECT team, count(*) FILTER (cache = 'hit') AS hits, "
        "count(*) FILTER (cache = 'hit' AND list_contains(coalesce(flags, []), 'semantic_hit')) AS semantic_hits, "
        "count(*) FILTER (cache = 'miss') AS misses, coalesce(sum(baseline_cost_usd) FILTER (cache = 'hit'), 0) AS saved_usd "
        "FROM calls WHERE cache IN ('hit', 'miss') GROUP BY team ORDER BY saved_usd DESC, hits DESC, team",
    ),
    "breakdown": View(
        "What a page of costs needs, in one pass: for each day and team, each day and model, and each project (`kind` says which), "
        "cost in US dollars, calls, failed and refused calls, cache hits, what the cache saved, answered calls without a known "
        "price, tokens in and out. Each kind adds up to all calls.",
        f"FROM ({_BREAKDOWN})",
    ),
    "latency_by_model": View(
        "Median and 95th percentile of the latency of answered calls in seconds, for each requested model and, with `every` true, for all.",
        "SELECT request_model AS model, grouping(request_model) = 1 AS every, quantile_cont(latency_s, [0.5, 0.95])[1] AS latency_p50_s, "
        "quantile_cont(latency_s, [0.5, 0.95])[2] AS latency_p95_s FROM calls WHERE status = 'ok' "
        "GROUP BY GROUPING SETS ((request_model), ()) ORDER BY every, model",
    ),
    "errors_by_type": View(
        "Calls that were not answered, by outcome, type of error and refusing policy, with the last of each kind as an example.",
        "SELECT status, error_type, policy, count(*) AS calls, max(started_at) AS last_at, "
        "arg_max(call_id, started_at)::VARCHAR AS example_call_id, arg_max(error_message, started_at) AS message "
        "FROM calls WHERE status <> 'ok' GROUP BY status, error_type, policy ORDER BY calls DESC, last_at DESC",
    ),
    "recent_calls": View(
        "Calls, newest first, one line each: who, where, which model, outcome, all tokens in and out, cost in US dollars, latency "
        "in seconds, cache and prompt. A hundred unless `limit` says otherwise.",
        "SELECT call_id::VARCHAR AS call_id, started_at, team, project, user_id, notebook, surface, request_model, provider, "
        "response_model, status, error_type, "
        f"CASE WHEN {KNOWN} THEN {INPUT} END AS input_tokens, CASE WHEN {KNOWN} THEN {OUTPUT} END AS output_tokens, "
        "cost_usd, latency_s, cache, prompt_name, prompt_version FROM calls ORDER BY started_at DESC, seq DESC",
        limit=100,
    ),
    "call": View(
        "One call (`call_id` is needed): every column of `calls`, with its place in the chain.",
        "SELECT "
        + ", ".join(
            "coalesce(link, (SELECT any_value(p.hash) FROM chain p WHERE p.seq = calls.seq - 1)) AS prev_hash"
            if name == "prev_hash"
            else "call_id::VARCHAR AS call_id"
            if name == "call_id"
            else name
            for name in CALL_COLUMNS
        )
        + " FROM calls ORDER BY seq",
        whole=False,
        needs="call_id",
    ),
    "filter_values": View(
        "What the filters can be set to: each value of team, project, model, surface, status, user and prompt with its number of calls.",
        "SELECT CASE grouping_id(team, project, request_model, surface, status, user_id, prompt_name) WHEN 63 THEN 'team' "
        "WHEN 95 THEN 'project' WHEN 111 THEN 'model' WHEN 119 THEN 'surface' WHEN 123 THEN 'status' WHEN 125 THEN 'user_id' "
        "ELSE 'prompt' END AS kind, coalesce(team, project, request_model, surface, status, user_id, prompt_name) AS value, "
        "count(*) AS calls FROM calls GROUP BY GROUPING SETS ((team), (project), (request_model), (surface), (status), (user_id), "
        "(prompt_name)) ORDER BY kind, calls DESC, value",
    ),
    "cache_index": View(
        "Answers that the exact cache may give again: complete, asked for with the cache on, not answers from the cache "
        "themselves, and younger than the last clearing of the cache; newest first.",
        "SELECT request_hash, team, call_id::VARCHAR AS call_id, response_hash, ended_at, surface, tags['epoch'] AS epoch, "
        "tags['draw'] AS draw FROM calls "
        "WHERE status = 'ok' AND cache = 'miss' AND request_hash IS NOT NULL AND response_hash IS NOT NULL "
        "AND (operation = 'embed' OR finish_reason IN ('stop', 'tool_calls')) AND list_has_all("
        "['retried', 'no_price', 'no_usage', 'over_budget', 'over_reservation', 'max_tokens_fitted', "
        "'cache_not_read', 'semantic_not_read'], coalesce(flags, [])) "
        "AND NOT EXISTS (SELECT 1 FROM (SELECT coalesce(data->>'team', '') AS team, max(recorded_at) AS at FROM records "
        "WHERE kind = 'cache_cleared' GROUP BY ALL) cleared WHERE cleared.at >= calls.started_at AND cleared.team IN ('', calls.team)) "
        "ORDER BY started_at DESC, seq DESC",
    ),
    "speed_by_deployment": View(
        "How fast each provider's model answered, for the routing strategy `fastest`: over answered calls of the last seven days that "
        "took one attempt and waited in no queue, medians of the time to the first token of streams, of the time for each output token "
        "of streams and of plain answers, and of the time of plain answers, in seconds.",
        "SELECT provider, response_model AS model, count(*) AS calls, median(time_to_first_token_s) AS first_s, "
        f"median((latency_s - time_to_first_token_s) / ({OUTPUT} - 1)) FILTER (time_to_first_token_s IS NOT NULL AND {OUTPUT} > 1) "
        f"AS stream_token_s, median(latency_s / ({OUTPUT})) FILTER (time_to_first_token_s IS NULL AND {OUTPUT} > 0) AS token_s, "
        "median(latency_s) FILTER (time_to_first_token_s IS NULL) AS whole_s "
        "FROM calls WHERE status = 'ok' AND attempts = 1 AND coalesce(queued_s, 0) < 0.05 AND provider IS NOT NULL "
        "AND response_model IS NOT NULL AND started_at > now() - INTERVAL 7 DAY GROUP BY provider, response_model ORDER BY provider, model",
    ),
    "spend_by_scope": View(
        "Cost in US dollars by everything that a budget can hold: `everyone`, `team`, `project`, `key`, `user` and `prompt`. A call "
        "whose cost nobody knows counts with what its budgets booked for it.",
        "SELECT CASE grouping_id(team, project, key_id, user_id, prompt_name) WHEN 31 THEN 'everyone' WHEN 15 THEN 'team' "
        "WHEN 23 THEN 'project' WHEN 27 THEN 'key' WHEN 29 THEN 'user' ELSE 'prompt' END AS scope, "
        "coalesce(team, project, key_id, user_id, prompt_name) AS name, coalesce(sum(coalesce(cost_usd, booked_usd)), 0) AS cost_usd "
        "FROM calls LEFT JOIN (SELECT id, max((data->>'usd')::DECIMAL(18,9)) AS booked_usd FROM records WHERE kind = 'budget_booked' "
        "GROUP BY id) booked ON booked.id = calls.call_id::VARCHAR "
        "GROUP BY GROUPING SETS ((), (team), (project), (key_id), (user_id), (prompt_name)) ORDER BY scope, name",
    ),
    "live_keys": View(
        "The last record of each virtual key: its id, name, hash, last four characters, attribution, models, when it was made, "
        "expires and was revoked, its role and its limits.",
        "SELECT id, data->>'name' AS name, data->>'sha256' AS sha256, data->>'last_four' AS last_four, data->>'team' AS team, "
        "data->>'project' AS project, data->>'user_id' AS user_id, "
        "coalesce(json_extract_string(data, '$.models[*]'), []) AS models, "
        "data->>'created_at' AS created_at, data->>'expires_at' AS expires_at, data->>'revoked_at' AS revoked_at, "
        "coalesce(data->>'role', 'member') AS role, (data->>'limit_usd')::DECIMAL(18,9) AS limit_usd, "
        "data->>'limit_period' AS limit_period, "
        "(data->>'rpm')::BIGINT AS rpm, (data->>'tpm')::BIGINT AS tpm, (data->>'parallel')::BIGINT AS parallel, "
        "data->>'replaces' AS replaces "
        "FROM records WHERE kind = 'key' QUALIFY row_number() OVER (PARTITION BY id ORDER BY seq DESC) = 1 ORDER BY created_at, id",
        source="",
    ),
    "record": View(
        "Records that are no calls, as they were written (`kind` is needed): number in the chain, time, id, and all of it as JSON.",
        "SELECT seq, recorded_at, kind, id, data FROM found ORDER BY seq",
        whole=False,
        needs="kind",
        source="records",
        rows_as="found",
        time="recorded_at",
        columns={"kind": "kind", "id": "id"},
    ),
    "meta": View(
        "One row: the file's schema version, whether it is a demonstration, how many rows the chain has, first and last call, and "
        "the head of the chain.",
        "SELECT (SELECT max(version) FROM schema_versions) AS schema_version, "
        "EXISTS (FROM records WHERE kind = 'demo') AS demo, "
        "(SELECT coalesce(sum(rows), 0)::BIGINT FROM loads) AS rows, (SELECT min(started_at) FROM call_rows) AS first_at, "
        "(SELECT max(started_at) FROM call_rows) AS last_at, (SELECT coalesce(max(head_seq), 0) FROM loads) AS head_seq, "
        "(SELECT arg_max(head_hash, head_seq) FROM loads) AS head_hash",
        source="",
    ),
}
