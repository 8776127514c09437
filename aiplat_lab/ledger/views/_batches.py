"""Views over batches and the calls that wait in them."""

from __future__ import annotations

from collections.abc import Mapping

from aiplat_lab.ledger.views._view import CALL_FILTERS, View

VIEWS: Mapping[str, View] = {
    "batch_list": View(
        "Batches, newest first, each with its last state: model, provider, how many calls it holds and how many were answered.",
        "FROM states QUALIFY row_number() OVER (PARTITION BY id ORDER BY seq DESC) = 1 ORDER BY submitted_at DESC, id",
        source="batches",
        rows_as="states",
        time="recorded_at",
        columns={"batch": "id", "status": "status", "team": "team"},
    ),
    "batch_waiting": View(
        "Calls of a batch that have no row yet: their ids, and the payload that holds the request.",
        "SELECT id, batch, request FROM kept WHERE NOT EXISTS "
        "(SELECT 1 FROM call_rows WHERE call_rows.call_id = kept.id::UUID) ORDER BY seq",
        source="batch_calls",
        rows_as="kept",
        time="recorded_at",
        columns={"batch": "batch"},
    ),
    "batch_call_list": View(
        "Every call of a batch in the order in which it was handed in, with its status (none while it waits), tokens and cost.",
        "SELECT kept.id AS call_id, batch, status, error_message, output_tokens + reasoning_tokens AS output_tokens, cost_usd FROM kept "
        "LEFT JOIN call_rows ON call_rows.call_id = kept.id::UUID ORDER BY kept.seq",
        source="batch_calls",
        rows_as="kept",
        time="recorded_at",
        columns={"batch": "batch"},
    ),
    "batch_outcome": View(
        "What became of the calls of batches: by batch and status, how many, their tokens and what they cost.",
        "SELECT batch_id AS batch, status, count(*) AS calls, "
        "coalesce(sum(input_tokens + cache_read_tokens + cache_write_tokens), 0)::BIGINT AS input_tokens, "
        "coalesce(sum(output_tokens + reasoning_tokens), 0)::BIGINT AS output_tokens, sum(cost_usd) AS cost_usd FROM calls "
        "WHERE batch_id IS NOT NULL GROUP BY ALL ORDER BY ALL",
        columns={**CALL_FILTERS, "batch": "batch_id"},
    ),
}
