"""Views over review queues, the reviews in them, and calls that may be worth one."""

from __future__ import annotations

from collections.abc import Mapping

from aiplat_lab.ledger.views._view import CALL_FILTERS, View

_ONCE = "QUALIFY row_number() OVER (PARTITION BY id ORDER BY seq) = 1"
_COUNTING = f"(FROM reviews_ {_ONCE}) QUALIFY row_number() OVER (PARTITION BY queue, item_id, reviewer ORDER BY seq DESC) = 1"
_GIVEN = (
    "(SELECT item_id, count(*) AS reviews, string_agg(reviewer, ', ' ORDER BY reviewer) AS reviewers, max(recorded_at) AS last_at "
    f"FROM (FROM {_COUNTING.replace('reviews_', 'reviews')}) GROUP BY item_id)"
)

VIEWS: Mapping[str, View] = {
    "review_queue": View(
        "The items of review queues in the order they were put there, each once: call, where it comes from and why, and how many have "
        "reviewed it, and who.",
        "SELECT i.id, i.queue, i.call_id, i.source, i.why, i.run_id, i.sample_id, i.score, i.added_by, i.recorded_at, "
        "coalesce(r.reviews, 0) AS reviews, coalesce(r.reviewers, '') AS reviewers, r.last_at AS last_reviewed_at "
        f"FROM (FROM items {_ONCE}) i LEFT JOIN {_GIVEN} r ON r.item_id = i.id ORDER BY i.seq",
        source="review_items",
        rows_as="items",
        time="recorded_at",
        columns={"queue": "queue"},
    ),
    "review_list": View(
        "Reviews of answers in the order they came: queue, item, call, reviewer, rating, labels, correction and comment. One that was "
        "sent twice counts once, and a later one of the same reviewer on the same item takes the place of the earlier.",
        f"SELECT * FROM {_COUNTING} ORDER BY seq",
        source="reviews",
        rows_as="reviews_",
        time="recorded_at",
        columns={"queue": "queue", "reviewer": "reviewer"},
    ),
    "review_queue_list": View(
        "Review queues, the newest first: items, items that were reviewed, reviews, and when the last came.",
        "SELECT i.queue, count(*) AS items, count(r.item_id) AS reviewed, coalesce(sum(r.reviews), 0)::BIGINT AS reviews, "
        "min(i.recorded_at) AS begun_at, max(r.last_at) AS last_reviewed_at "
        f"FROM (FROM items {_ONCE}) i LEFT JOIN {_GIVEN} r ON r.item_id = i.id GROUP BY i.queue ORDER BY begun_at DESC, i.queue",
        source="review_items",
        rows_as="items",
        time="recorded_at",
        columns={"queue": "queue"},
    ),
    "review_candidates": View(
        "Answered calls of daily use, newest first, of which a sample may be reviewed: where they came from, model, prompt, and the flags "
        "that policies and routing have set. Evaluations and comparisons are not among them. Ten thousand unless `limit` says otherwise.",
        "SELECT call_id::VARCHAR AS call_id, started_at, team, project, surface, request_model, prompt_name, prompt_version, "
        "to_json(coalesce(flags, [])) AS flags FROM calls WHERE status = 'ok' AND operation = 'chat' AND response_hash IS NOT NULL "
        "AND coalesce(surface, '') NOT IN ('eval', 'ab') ORDER BY started_at DESC, seq DESC",
        limit=10_000,
        columns=CALL_FILTERS,
    ),
}
