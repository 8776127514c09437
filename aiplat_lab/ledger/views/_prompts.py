"""Views over prompts: the versions of each, and where their labels point."""

from __future__ import annotations

from collections.abc import Mapping

from aiplat_lab.ledger.views._costs import CALLS, INPUT, KNOWN, LATENCY, OUTPUT, UNPRICED
from aiplat_lab.ledger.views._view import View

_BY_NAME: Mapping[str, str] = {"prompt": "name", "version": "version", "label": "label"}

VIEWS: Mapping[str, View] = {
    "prompt_catalogue": View(
        "Every saved version of every prompt, without its text: name, version, content hash, what the change was and why it counts so, "
        "who saved it and when; oldest first. A version that was saved twice stands once.",
        "SELECT name, version, content_hash, change, reason, author, message, recorded_at FROM versions "
        "QUALIFY row_number() OVER (PARTITION BY id ORDER BY seq) = 1 ORDER BY name, seq",
        source="prompt_versions",
        rows_as="versions",
        time="recorded_at",
        columns={"prompt": "name", "version": "version"},
    ),
    "prompt_texts": View(
        "The text of saved versions of prompts, as they were saved: name, version, content hash, text.",
        "SELECT name, version, content_hash, text, recorded_at FROM versions "
        "QUALIFY row_number() OVER (PARTITION BY id ORDER BY seq) = 1 ORDER BY name, seq",
        source="prompt_versions",
        rows_as="versions",
        time="recorded_at",
        columns={"prompt": "name", "version": "version"},
    ),
    "prompt_labels_now": View(
        "Where each label of each prompt points now: prompt, label, version, since when and who moved it.",
        "SELECT name, label, version, recorded_at AS since, moved_by, reason FROM moves "
        "QUALIFY row_number() OVER (PARTITION BY name, label ORDER BY seq DESC) = 1 ORDER BY name, label",
        source="prompt_labels",
        rows_as="moves",
        time="recorded_at",
        columns=_BY_NAME,
    ),
    "prompt_label_history": View(
        "Every move of every label: prompt, label, from which version to which, who, when and why, and the evaluation run that speaks for "
        "it; newest first.",
        "SELECT name, label, from_version, version, moved_by, reason, evidence_run, recorded_at, seq FROM moves ORDER BY seq DESC",
        source="prompt_labels",
        rows_as="moves",
        time="recorded_at",
        columns=_BY_NAME,
    ),
    "prompt_use": View(
        "What was done with each version of each prompt: calls, failed and refused calls, cache hits, cost in US dollars, answered calls "
        "without a known price, tokens in and out, median and 95th percentile of the latency of answered calls in seconds, first and "
        "last call; the most used first.",
        f"SELECT prompt_name, prompt_version, {CALLS}, count(*) FILTER (status = 'refused') AS refused, {UNPRICED} AS unpriced_calls, "
        f"sum({INPUT}) FILTER ({KNOWN}) AS input_tokens, sum({OUTPUT}) FILTER ({KNOWN}) AS output_tokens, "
        f"{LATENCY}[1] AS latency_p50_s, {LATENCY}[2] AS latency_p95_s, min(started_at) AS first_at, max(started_at) AS last_at "
        "FROM calls WHERE prompt_name IS NOT NULL AND prompt_name <> '' GROUP BY prompt_name, prompt_version "
        "ORDER BY calls DESC, prompt_name, prompt_version",
    ),
    "prompt_days": View(
        "Calls of each version of each prompt by day (UTC), with their cost in US dollars; oldest first.",
        f"SELECT started_at::DATE AS day, prompt_name, prompt_version, {CALLS} FROM calls "
        "WHERE prompt_name IS NOT NULL AND prompt_name <> '' GROUP BY ALL ORDER BY day, prompt_name, prompt_version",
    ),
}
