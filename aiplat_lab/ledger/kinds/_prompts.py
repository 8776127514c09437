"""Records of the prompt registry."""

from __future__ import annotations

from collections.abc import Mapping

from aiplat_lab.ledger.kinds._kind import Field, Kind

KINDS: Mapping[str, Kind] = {
    "prompt_version": Kind(
        "A version of a prompt, saved once and never changed. Its id is `name@version`.",
        "prompt_versions",
        {
            "name": Field("text", "the prompt's name", required=True),
            "version": Field("text", "its semantic version, such as 1.2.0", required=True),
            "content_hash": Field("text", "SHA-256 of its canonical content", required=True),
            "text": Field("text", "the whole file, as it was saved", required=True),
            "parent": Field("text", "the version that stood before, which it was compared with; empty for the first"),
            "change": Field("text", "`first`, `major`, `minor` or `patch`", required=True),
            "reason": Field("text", "why the change counts so"),
            "author": Field("text", "who saved it"),
            "message": Field("text", "what the author says of it"),
        },
    ),
    "prompt_label": Kind(
        "A label of a prompt was moved to a version. Its id is the move's own.",
        "prompt_labels",
        {
            "name": Field("text", "the prompt's name", required=True),
            "label": Field("text", "`production`, `staging`, or an own one", required=True),
            "version": Field("text", "where it points now", required=True),
            "from_version": Field("text", "where it pointed before; empty for a new label"),
            "moved_by": Field("text", "who moved it"),
            "reason": Field("text", "why"),
            "evidence_run": Field("text", "the evaluation run that speaks for it"),
        },
    ),
}
