"""Records of A/B experiments. The answers themselves are calls, with the experiment's id and the variant's name."""

from __future__ import annotations

from collections.abc import Mapping

from aiplat_lab.ledger.kinds._kind import Field, Kind

KINDS: Mapping[str, Kind] = {
    "experiment": Kind(
        "An A/B experiment and its variants.",
        "experiments",
        {
            "name": Field("text", "what people call it", required=True),
            "variants": Field("json", "for each variant its name, prompt and version, model and settings", required=True),
            "inputs": Field("whole", "how many inputs it has"),
            "blind": Field("bool", "whether raters see which variant is which only after voting"),
            "author": Field("text", "who began it"),
            "notebook": Field("text", "where"),
            "alpha": Field("number", "the share of false winners that is allowed, such as 0.05"),
            "seed": Field("whole", "what the order of the sides is drawn from, with the input and the rater"),
            "input_ids": Field("json", "the ids of its inputs, which are hashes of what they hold"),
        },
    ),
    "vote": Kind(
        "One rater's choice on one input of an experiment. Its id is made before it is sent, so that sending it twice counts once.",
        "votes",
        {
            "experiment": Field("text", "the experiment's id", required=True),
            "input_id": Field("text", "which of its inputs", required=True),
            "rater": Field("text", "who chose", required=True),
            "winner": Field("text", "the variant's name, `tie`, or `none` where all are bad", required=True),
            "order": Field("json", "the variants as they stood, left to right"),
            "call_ids": Field("json", "for each variant, the call that was judged"),
            "reason": Field("text", "why, in the rater's words"),
            "blind": Field("bool", "whether the rater knew the variants"),
        },
    ),
}
