"""Views of what budgets need: where a counter begins, what a limit would have done, how long answers are.

A call whose cost nobody knows counts with what its budgets booked for it.
"""

from __future__ import annotations

from collections.abc import Mapping

from aiplat_lab.ledger.views._view import View

_TAG = "tags[split_part({}, '=', 1)] = substr({}, strpos({}, '=') + 1)"
_SCOPES: Mapping[str, str] = {
    "team": "team",
    "project": "project",
    "key": "key_id",
    "user": "user_id",
    "prompt": "prompt_name",
    "cost_centre": "cost_centre",
    "tag": _TAG,
    "notebook": "notebook",
    # a call that its gateway lost names no provider where it could have gone to several: it counts for each of them
    "provider": "(provider = {} OR (provider IS NULL AND cost_usd IS NULL))",
}
"""Everything that a budget can hold, as filters; `tag` is written name=value."""
_BOOKED = (
    "(SELECT TRY_CAST(id AS UUID) AS id, max((data->>'usd')::DECIMAL(18,9)) AS booked_usd FROM records WHERE kind = 'budget_booked' "
    "GROUP BY ALL)"
)
_COST = f"FROM calls LEFT JOIN {_BOOKED} booked ON cost_usd IS NULL AND booked.id = calls.call_id"
_USD = "coalesce(cost_usd, booked_usd)"

VIEWS: Mapping[str, View] = {
    "spend_by_scope": View(
        "One row: cost in US dollars of the calls that fit the filters, which are everything that a budget can hold: `team`, `project`, "
        "`key`, `user`, `prompt`, `cost_centre`, `tag` (name=value), `notebook` and `provider`; and how many calls cost something. A call "
        "whose cost nobody knows counts with what its budgets booked for it.",
        f"SELECT coalesce(sum({_USD}), 0)::DECIMAL(38,9) AS cost_usd, count(*) FILTER ({_USD} > 0) AS calls {_COST}",
        columns=_SCOPES,
    ),
    "spend_by_key": View(
        "Cost in US dollars by virtual key, with what budgets booked for calls of unknown cost; dearest first.",
        f"SELECT key_id, coalesce(sum({_USD}), 0)::DECIMAL(38,9) AS cost_usd, count(*) AS calls {_COST} "
        "WHERE key_id IS NOT NULL GROUP BY key_id ORDER BY cost_usd DESC, key_id",
        columns=_SCOPES,
    ),
    "budget_replay": View(
        "One row: what a hard limit (`limit_usd` is needed) would have done to the calls that fit the filters: their number and cost, "
        "when the limit would have been reached, and the number and cost of the calls from the one on that would have passed it.",
        "SELECT count(*) AS calls, coalesce(sum(usd), 0)::DECIMAL(38,9) AS cost_usd, "
        "count(*) FILTER (running > :limit_usd) AS refused_calls, "
        "coalesce(sum(usd) FILTER (running > :limit_usd), 0)::DECIMAL(38,9) AS refused_usd, "
        "min(started_at) FILTER (running > :limit_usd) AS reached_at FROM (SELECT started_at, usd, "
        "sum(usd) OVER (ORDER BY started_at, seq ROWS UNBOUNDED PRECEDING) AS running "
        f"FROM (SELECT started_at, seq, {_USD} AS usd {_COST}) WHERE usd > 0)",
        whole=False,
        columns=_SCOPES,
        amounts=("limit_usd",),
    ),
    "answer_sizes": View(
        "The newest answered chats, newest first: provider, requested model, surface, prompt and all output tokens. Two thousand unless "
        "`limit` says otherwise.",
        "SELECT provider, request_model, response_model, surface, prompt_name, coalesce(output_tokens, 0) + coalesce(reasoning_tokens, 0) "
        "AS output_tokens FROM calls WHERE status = 'ok' AND operation = 'chat' AND cache <> 'hit' AND output_tokens IS NOT NULL "
        "ORDER BY started_at DESC",
        limit=2_000,
    ),
}
