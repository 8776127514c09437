"""Views over answers that are given again: what notebooks replay."""

from __future__ import annotations

from collections.abc import Mapping

from aiplat_lab.ledger.views._view import CALL_FILTERS, View

VIEWS: Mapping[str, View] = {
    "answer": View(
        "Answered calls with the document of their answer (`document` is empty where it was erased), newest first: every column of "
        "`calls` but those of the chain.",
        "SELECT * EXCLUDE (call_id, link, seq, hash), call_id::VARCHAR AS call_id, payload(response_hash) AS document FROM calls "
        "WHERE status = 'ok' AND request_hash IS NOT NULL AND response_hash IS NOT NULL ORDER BY started_at DESC, seq DESC",
        limit=10_000,
        whole=False,
        columns={**CALL_FILTERS, "request_hash": "request_hash"},
    ),
    "replay_index": View(
        "Answers that replay may give again, newest first: the call that was asked first, the hash of the question, the deployment that "
        "the model's name stood for, the team, and for answers out of a bundle the key that took them in, the notebook they came from, "
        "and what a row would say of them.",
        "SELECT id, data->>'question' AS question, data->>'target' AS target, data->>'team' AS team, data->>'asked_at' AS asked_at, "
        "data->>'holder' AS holder, data->>'source' AS source, CAST(data->'facts' AS VARCHAR) AS facts, recorded_at FROM records "
        "WHERE kind = 'replay_answer' ORDER BY seq DESC",
        source="",
    ),
    "replay_clearings": View(
        "Until when answers were cleared from replay, by team and notebook; an empty text stands for all of them.",
        "SELECT data->>'team' AS team, data->>'notebook' AS notebook, max(data->>'until') AS until FROM records "
        "WHERE kind = 'replay_cleared' GROUP BY ALL ORDER BY team, notebook",
        source="",
    ),
}
