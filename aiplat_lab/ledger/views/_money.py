"""Views over what calls cost and why: charges by meter, costs priced again, savings, and who pays."""

from __future__ import annotations

from collections.abc import Mapping

from aiplat_lab.ledger.charges import CHARGES, COST_NANO, PRICED, REPRICED
from aiplat_lab.ledger.views._costs import INPUT, KNOWN, OUTPUT, SAVED, SPENT, UNPRICED
from aiplat_lab.ledger.views._view import View

_USD = "({} * 0.000000001::DECIMAL(10,9))::DECIMAL(18,9)"
_AGAIN = (
    f"WITH again AS ({REPRICED}), pairs AS (SELECT c.*, coalesce(again.nano, 0) AS nano, {COST_NANO} AS cost_nano "
    f"FROM calls c LEFT JOIN again ON again.seq = c.seq WHERE {PRICED}) "
)
_REASON = (
    "CASE WHEN cache = 'hit' THEN 'cache' WHEN service_tier = 'batch' THEN 'batch' WHEN service_tier <> '' THEN 'tier' ELSE 'routing' END"
)

_MEASURES = (
    f"count(*) AS calls, coalesce(sum({SPENT}), 0) AS cost_usd, {UNPRICED} AS unpriced_calls, coalesce({SAVED}, 0) AS saved_usd, "
    f"coalesce(sum({INPUT}) FILTER ({KNOWN}), 0)::BIGINT AS input_tokens, "
    f"coalesce(sum({OUTPUT}) FILTER ({KNOWN}), 0)::BIGINT AS output_tokens"
)
_SUMMED = ("calls", "cost_usd", "unpriced_calls", "saved_usd", "input_tokens", "output_tokens")
ALLOCATED: Mapping[str, str] = {
    "team": "team",
    "project": "project",
    "cost_centre": "cost_centre",
    "user": "user_id",
    "notebook": "notebook",
    "key": "key_id",
    "prompt": "prompt_name",
    "surface": "surface",
    "model": "request_model",
    "provider": "provider",
}
"""What costs can be allocated by beside tags, with its column."""
_BY = " UNION ALL ".join(
    f"SELECT '{name}' AS by, NULL::VARCHAR AS tag, nullif({column}, '') AS name, {_MEASURES} FROM calls GROUP BY nullif({column}, '')"
    for name, column in ALLOCATED.items()
)
_TAGGED = (
    f"SELECT 'tag' AS by, entry.key AS tag, entry.value AS name, {_MEASURES} "
    "FROM (SELECT *, unnest(map_entries(tags)) AS entry FROM calls) GROUP BY entry.key, entry.value"
)
_UNTAGGED = (
    "SELECT 'tag' AS by, tag, NULL AS name, "
    + ", ".join(f"any_value(every.{name}) - sum(tagged.{name}) AS {name}" for name in _SUMMED)
    + f" FROM tagged, (SELECT {_MEASURES} FROM calls) every GROUP BY tag HAVING any_value(every.calls) > sum(tagged.calls)"
)
_ALLOCATION = (
    f'WITH tagged AS ({_TAGGED}) SELECT *, cost_usd::DOUBLE / nullif(sum(cost_usd) OVER (PARTITION BY "by", tag), 0)::DOUBLE AS share '
    f"FROM ({_BY} UNION ALL FROM tagged UNION ALL {_UNTAGGED})"
)

VIEWS: Mapping[str, View] = {
    "charges": View(
        "What each call was charged for: one row for each call and meter (a class of tokens, a part of one that is priced apart, searches, "
        "requests, …) with quantity, price of one unit and exact amount in US dollars. Unrounded; a call's cost is their sum, rounded "
        "once to nine places. Calls whose cost is unknown or nothing have no row.",
        "SELECT seq, call_id::VARCHAR AS call_id, started_at, team, project, request_model, provider, response_model, service_tier, "
        f"price_version, meter, quantity, unit_usd, exact_usd FROM ({CHARGES}) ORDER BY seq, meter",
    ),
    "repriced": View(
        "One row: every call priced again from its own row. How many calls, how many hold what their cost is made of, how many of those "
        "differ from what was booked and by how much at most; how many have a cost without unit prices and so cannot be checked; how many "
        "were answered without a known price.",
        f"FROM ({_AGAIN}SELECT (SELECT count(*) FROM calls) AS calls, count(*) AS repriced, count(*) FILTER (nano <> cost_nano) AS differ, "
        f"coalesce({_USD.format('max(abs(nano - cost_nano))')}, 0) AS largest_difference_usd, "
        "(SELECT count(*) FROM calls WHERE cost_usd <> 0 AND input_usd_per_mtok IS NULL) AS without_prices, "
        f"(SELECT {UNPRICED} FROM calls) AS unpriced_calls FROM pairs)",
    ),
    "repriced_differences": View(
        "Calls whose cost is not what their own row says it should be, priced again: what was booked, what it should be, and the prices' "
        "version; the greatest difference first.",
        f"FROM ({_AGAIN}SELECT call_id::VARCHAR AS call_id, started_at, team, request_model, cost_usd, "
        f"{_USD.format('nano')} AS repriced_usd, {_USD.format('(nano - cost_nano)')} AS difference_usd, price_version "
        "FROM pairs WHERE nano <> cost_nano)",
        order="abs(difference_usd) DESC, call_id",
    ),
    "savings": View(
        "What was saved, by team, requested model and reason: `cache` (answered from the cache), `batch` and `tier` (a cheaper tier of "
        "service), `routing` (another deployment than the first; below zero where it was dearer). The baseline is what the same call "
        "would have cost at the first deployment. Calls whose cost or baseline is unknown are left out; the largest saving first.",
        f"SELECT team, request_model AS model, {_REASON} AS reason, count(*) AS calls, sum(baseline_cost_usd) AS baseline_cost_usd, "
        "sum(cost_usd) AS cost_usd, sum(baseline_cost_usd - cost_usd) AS saved_usd FROM calls WHERE baseline_cost_usd <> cost_usd "
        "GROUP BY ALL ORDER BY saved_usd DESC, team, model, reason",
    ),
    "allocation": View(
        "Who pays: cost in US dollars by `by`, which is "
        + ", ".join(ALLOCATED)
        + " or tag (then `tag` is the tag's name), with its share, "
        "calls, answered calls without a known price, what was saved, and tokens. Each `by`, and each tag, adds up to all calls: the row "
        "without a name is what is not allocated. Ask with `by` for one of them.",
        f"FROM ({_ALLOCATION})",
        then={"by": '"by"', "tag": "tag"},
        order='"by", tag NULLS FIRST, cost_usd DESC, calls DESC, name',
    ),
}
