"""Views over what notebooks asked: their cells' calls, and the budgets that were set from them."""

from __future__ import annotations

from collections.abc import Mapping

from aiplat_lab.ledger.views._costs import INPUT, KNOWN, OUTPUT
from aiplat_lab.ledger.views._view import CALL_FILTERS, View

_KEPT = 10

VIEWS: Mapping[str, View] = {
    "cell_calls": View(
        f"The newest calls of each cell of a notebook, up to {_KEPT} a cell, newest first: what was asked (by hash), which model was asked "
        "and which answered, outcome, tokens, cost in US dollars, cache, and the call that a replayed answer came from.",
        "SELECT call_id::VARCHAR AS call_id, started_at, notebook, cell_id, request_model, provider, response_model, status, error_type, "
        f"CASE WHEN {KNOWN} THEN {INPUT} END AS input_tokens, CASE WHEN {KNOWN} THEN {OUTPUT} END AS output_tokens, "
        "cost_usd, latency_s, cache, parent_id, prompt_name, prompt_version, request_hash, response_hash FROM calls "
        "WHERE coalesce(cell_id, '') <> '' "
        f"QUALIFY row_number() OVER (PARTITION BY notebook, cell_id ORDER BY started_at DESC, seq DESC) <= {_KEPT} "
        "ORDER BY started_at DESC, seq DESC",
        limit=10_000,
        columns={**CALL_FILTERS, "cell_id": "cell_id"},
    ),
    "notebook_budgets": View(
        "The budgets that were set from notebooks (`%ai budget`), as each was set last: the notebook or the session's tag, the virtual key "
        "that it holds, the period and the limit in US dollars, which is empty where it was ended.",
        "SELECT id, data->>'notebook' AS notebook, data->>'also' AS also, data->>'tag' AS tag, data->>'key' AS key, "
        "data->>'period' AS period, (data->>'limit_usd')::DECIMAL(18,9) AS limit_usd, recorded_at FROM records "
        "WHERE kind = 'notebook_budget' QUALIFY row_number() OVER (PARTITION BY id ORDER BY seq DESC) = 1 ORDER BY id",
        source="",
    ),
}
