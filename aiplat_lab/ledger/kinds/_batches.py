"""Records of batches: calls that were handed to a provider's batch API. The calls themselves are rows once they come back."""

from __future__ import annotations

from collections.abc import Mapping

from aiplat_lab.ledger.kinds._kind import Field, Kind

KINDS: Mapping[str, Kind] = {
    "batch": Kind(
        "The state of one batch; the last record of an id counts.",
        "batches",
        {
            "status": Field("text", "`submitting`, `running`, `cancelling`, `ended`, `failed` or `lost`", required=True),
            "model": Field("text", "the model as it was asked for", required=True),
            "provider": Field("text", "the provider that has it", required=True),
            "provider_model": Field("text", "the model's name there", required=True),
            "region": Field("text", "where it is computed"),
            "remote_id": Field("text", "the provider's own name of the batch"),
            "calls": Field("whole", "how many calls it holds", required=True),
            "done": Field("whole", "how many were answered"),
            "failed": Field("whole", "how many were not"),
            "team": Field("text", "whose calls they are"),
            "key_id": Field("text", "the virtual key that handed it in"),
            "submitted_at": Field("time", "when it was handed in", required=True),
            "ended_at": Field("time", "when it was over"),
            "error": Field("text", "why it failed, where it did"),
        },
    ),
    "batch_call": Kind(
        "One call that waits in a batch. Its id is the call's.",
        "batch_calls",
        {
            "batch": Field("text", "the batch's id", required=True),
            "request": Field("text", "SHA-256 of the payload that holds the whole request", required=True),
        },
    ),
}
