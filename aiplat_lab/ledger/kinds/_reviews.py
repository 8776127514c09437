"""Records of reviews: what waits for a person, and what a person said of it."""

from __future__ import annotations

from collections.abc import Mapping

from aiplat_lab.ledger.kinds._kind import Field, Kind

KINDS: Mapping[str, Kind] = {
    "review_item": Kind(
        "An answer was put into a review queue. Its id is `queue/call`, so that putting it in twice counts once.",
        "review_items",
        {
            "queue": Field("text", "the queue's name", required=True),
            "call_id": Field("text", "the call whose answer is to be reviewed", required=True),
            "source": Field("text", "`eval`, `sample`, `flag` or `given`", required=True),
            "why": Field("text", "why it is there, for the reviewer"),
            "run_id": Field("text", "the evaluation run that it comes from"),
            "sample_id": Field("text", "the sample of that run"),
            "score": Field("number", "its score in that run"),
            "added_by": Field("text", "who put it there"),
        },
    ),
    "review": Kind(
        "One reviewer's judgement of one answer. Its id is made before it is sent, so that sending it twice counts once; a later one of "
        "the same reviewer on the same item takes the place of the earlier.",
        "reviews",
        {
            "queue": Field("text", "the queue", required=True),
            "item_id": Field("text", "the item of the queue", required=True),
            "call_id": Field("text", "the call that was judged", required=True),
            "reviewer": Field("text", "who judged", required=True),
            "rating": Field("whole", "from 1, which is worst"),
            "labels": Field("json", "the labels that were set, as a list"),
            "correction": Field("text", "the answer as it should have been"),
            "comment": Field("text", "what else the reviewer said"),
        },
    ),
}
