"""Views for evidence: what the log holds and since when, its clock and its gaps, what was erased, who used what, and where.

`log_contents`, `log_held` and `quarantined` look at the whole log, whatever the period of a report.
"""

from __future__ import annotations

from collections.abc import Mapping

from aiplat_lab.ledger.views._view import View

_SENT = "(attempts > 0 AND status IN ('ok', 'error', 'cancelled') AND cache IS DISTINCT FROM 'hit')"
_RECORDS: Mapping[str, str] = {"kind": "kind", "id": "id"}

VIEWS: Mapping[str, View] = {
    "sealed": View(
        "One row where the file is a sealed snapshot, none in a live ledger: when it was sealed, its rows, the head of its chain, and the "
        "version of aiplat-lab that made it.",
        "SELECT sealed_at, rows, head_seq, head_hash, package FROM seal",
        source="",
    ),
    "log_heads": View(
        "One row on the numbers and the heads of the chain, without computing a hash: rows, the last number, numbers that are missing, "
        "rows that do not follow the one before, and heads noted while loading and sealing that the chain no longer has.",
        "SELECT count(*) AS rows, coalesce(max(seq), 0) AS head_seq, coalesce(max(seq), 0) - count(DISTINCT seq) AS missing, "
        "(SELECT count(*) FROM (SELECT seq, link FROM call_rows WHERE link IS NOT NULL UNION ALL SELECT seq, link FROM records "
        "WHERE link IS NOT NULL) r LEFT JOIN chain p ON p.seq = r.seq - 1 WHERE r.seq > 1 AND p.hash IS DISTINCT FROM r.link) AS unlinked, "
        "(SELECT count(*) FROM (SELECT head_seq, head_hash FROM loads WHERE head_seq > 0 UNION ALL SELECT head_seq, head_hash FROM seal "
        "WHERE head_seq > 0) l LEFT JOIN chain p ON p.seq = l.head_seq WHERE p.hash IS DISTINCT FROM l.head_hash) AS other_heads "
        "FROM chain",
        source="",
    ),
    "log_contents": View(
        "What the log holds: for calls, for each kind of record and for lines that could not be read, rows, first and last.",
        "SELECT 'call' AS kind, count(*) AS rows, min(started_at) AS first_at, max(started_at) AS last_at FROM call_rows UNION ALL "
        "SELECT kind, count(*), min(recorded_at), max(recorded_at) FROM records GROUP BY kind UNION ALL "
        "SELECT 'quarantined', count(*), NULL, NULL FROM quarantine ORDER BY kind",
        source="",
    ),
    "log_held": View(
        "How long calls are held, for each team and requested model (`kind` says which, `all` is every call): calls, the oldest and the "
        "newest that the log still holds.",
        "SELECT CASE grouping_id(team, request_model) WHEN 3 THEN 'all' WHEN 1 THEN 'team' ELSE 'model' END AS kind, "
        "coalesce(team, request_model) AS name, count(*) AS calls, min(started_at) AS first_at, max(started_at) AS last_at FROM calls "
        "GROUP BY GROUPING SETS ((team), (request_model), ()) ORDER BY kind, name NULLS LAST",
    ),
    "log_clock": View(
        "One row on the clock of the log: calls, calls that end more than a minute before the call recorded before them (`backward`; the "
        "ones that a lost gateway left are not counted), calls that end before they start, and the first such row.",
        "SELECT count(*) AS calls, count(*) FILTER (back) AS backward, count(*) FILTER (negative) AS ends_before_start, "
        "min(seq) FILTER (back OR negative) AS first_seq FROM (SELECT seq, ended_at < started_at AS negative, ended_at < "
        "lag(ended_at) OVER (ORDER BY seq) - INTERVAL 1 MINUTE AND error_type IS DISTINCT FROM 'gateway_lost' AS back FROM calls)",
    ),
    "log_silences": View(
        "The longest times without a call, longest first: from, to, and hours. Ten unless `limit` says otherwise.",
        "SELECT before AS from_at, started_at AS to_at, round(epoch(started_at - before) / 3600, 2) AS hours FROM "
        "(SELECT started_at, lag(started_at) OVER (ORDER BY started_at) AS before FROM calls) WHERE before IS NOT NULL "
        "ORDER BY hours DESC, from_at",
        limit=10,
    ),
    "report_anchors": View(
        "The heads of the chain that earlier reports noted, newest first, and whether the chain still has them.",
        "SELECT m.id, m.name, m.recorded_at, m.head_seq, m.head_hash, p.hash IS NOT DISTINCT FROM m.head_hash AS holds FROM made m "
        "LEFT JOIN chain p ON p.seq = m.head_seq WHERE m.head_seq > 0 ORDER BY m.seq DESC",
        source="reports",
        rows_as="made",
        time="recorded_at",
        columns={"report": "name"},
    ),
    "log_incidents": View(
        "Incidents that the log notes of itself, oldest first: damaged segments, repairs, rows that were set aside.",
        "SELECT seq, recorded_at, id, coalesce(data->>'text', data->>'reason', data::VARCHAR) AS text FROM found "
        "WHERE kind = 'incident' ORDER BY seq",
        source="records",
        rows_as="found",
        time="recorded_at",
        columns={"id": "id"},
    ),
    "quarantined": View(
        "Lines of the spool that could not be read as rows, and were set aside: number in the chain where it has one, segment, place, why.",
        "SELECT seq, name, segment, byte_offset, reason FROM quarantine ORDER BY segment, byte_offset",
        source="",
    ),
    "erasures": View(
        "Texts that were erased, oldest first: when, the digest that the chain keeps, and whether the text is gone from this file.",
        "SELECT seq, recorded_at, id AS digest, payload(id) IS NULL AS gone FROM found WHERE kind = 'payload_erased' ORDER BY seq",
        source="records",
        rows_as="found",
        time="recorded_at",
        columns={"id": "id"},
    ),
    "budget_alerts": View(
        "Alerts of budgets, oldest first: which budget (`id` names it with its period and limit), the share of its limit that was passed, "
        "and the call that passed it.",
        "SELECT seq, recorded_at, id, data->>'scope' AS scope, data->>'name' AS name, data->>'period' AS period, data->>'share' AS share, "
        "data->>'call_id' AS call_id FROM found WHERE kind = 'budget_alert' ORDER BY seq",
        source="records",
        rows_as="found",
        time="recorded_at",
        columns=_RECORDS,
    ),
    "calls_by_provider": View(
        "For each provider, calls that were sent to it (answered, failed or cancelled, not from the cache) and the requests that they "
        "took, retries included: what an invoice of the provider can be held against.",
        f"SELECT provider, count(*) AS calls, sum(attempts)::BIGINT AS requests FROM calls WHERE {_SENT} AND provider IS NOT NULL "
        "GROUP BY provider ORDER BY provider",
    ),
    "models_seen": View(
        "Which model answered which request, and where: requested model, provider, the model that the provider named, region, calls, "
        "failed calls, first and last.",
        "SELECT request_model, provider, response_model, region, count(*) AS calls, count(*) FILTER (status = 'error') AS errors, "
        "min(started_at) AS first_at, max(started_at) AS last_at FROM calls WHERE provider IS NOT NULL "
        "GROUP BY ALL ORDER BY calls DESC, request_model, provider, response_model, region",
    ),
    "uses": View(
        "The register of uses that were seen: team, project, prompt, requested model, with calls, distinct users, first and last.",
        "SELECT team, project, prompt_name, request_model, count(*) AS calls, count(DISTINCT user_id) AS users, "
        "min(started_at) AS first_at, max(started_at) AS last_at FROM calls GROUP BY ALL "
        "ORDER BY calls DESC, team, project, prompt_name, request_model",
    ),
    "use_facts": View(
        "One row on the scale of use: calls, distinct users, teams, projects, models, prompts that were named, calls that name no team, "
        "calls that name no prompt, and distinct keys.",
        "SELECT count(*) AS calls, count(DISTINCT user_id) AS users, count(DISTINCT team) AS teams, count(DISTINCT project) AS projects, "
        "count(DISTINCT request_model) AS models, count(DISTINCT prompt_name) AS prompts, "
        "count(*) FILTER (coalesce(team, '') = '') AS without_team, count(*) FILTER (coalesce(prompt_name, '') = '') AS without_prompt, "
        "count(DISTINCT key_id) AS keys FROM calls",
    ),
    "key_use": View(
        "For each key that calls came with: calls, refused calls, first and last use.",
        "SELECT key_id, count(*) AS calls, count(*) FILTER (status = 'refused') AS refused, min(started_at) AS first_at, "
        "max(started_at) AS last_at FROM calls WHERE key_id IS NOT NULL GROUP BY key_id ORDER BY key_id",
    ),
    "spend_by_prompt_version": View(
        "Spend by prompt and version: calls, failed calls, cost in US dollars, cost for each answered call, and median latency in seconds; "
        "dearest first. Calls without a prompt are one row.",
        "SELECT prompt_name, prompt_version, count(*) AS calls, count(*) FILTER (status = 'error') AS errors, sum(cost_usd) AS cost_usd, "
        "(sum(cost_usd) FILTER (status = 'ok') / nullif(count(*) FILTER (status = 'ok' AND cost_usd IS NOT NULL), 0))::DECIMAL(18,9) "
        "AS each_usd, quantile_cont(latency_s, 0.5) FILTER (status = 'ok') AS latency_p50_s FROM calls "
        "GROUP BY prompt_name, prompt_version ORDER BY cost_usd DESC NULLS LAST, calls DESC, prompt_name, prompt_version",
    ),
    "waste": View(
        "One row on what was paid or tried without use: failed and cancelled calls and their cost, calls that needed a retry, answers "
        "that were cut at the limit of their length and their cost.",
        "SELECT count(*) AS calls, count(*) FILTER (status = 'error') AS failed, sum(cost_usd) FILTER (status = 'error') AS failed_usd, "
        "count(*) FILTER (status = 'cancelled') AS cancelled, sum(cost_usd) FILTER (status = 'cancelled') AS cancelled_usd, "
        "count(*) FILTER (attempts > 1) AS retried, count(*) FILTER (finish_reason = 'length') AS cut, "
        "sum(cost_usd) FILTER (finish_reason = 'length') AS cut_usd FROM calls",
    ),
    "eval_gate_list": View(
        "Verdicts of regression gates, newest first: run, what it was compared with, verdict, margin, comparison and the sentence.",
        "SELECT seq, id, recorded_at, run_id, baseline_run_id, baseline, verdict, margin, comparison, sentence FROM gates "
        "QUALIFY row_number() OVER (PARTITION BY id ORDER BY seq DESC) = 1 ORDER BY seq DESC",
        source="eval_gates",
        rows_as="gates",
        time="recorded_at",
        columns={"run": "run_id", "baseline": "baseline", "verdict": "verdict"},
    ),
    "eval_baselines_now": View(
        "Which run each named baseline stands for now, since when, who set it and why.",
        "SELECT name, run_id, recorded_at AS since, set_by, reason FROM moves "
        "QUALIFY row_number() OVER (PARTITION BY name ORDER BY seq DESC) = 1 ORDER BY name",
        source="eval_baselines",
        rows_as="moves",
        time="recorded_at",
        columns={"name": "name", "run": "run_id"},
    ),
}
