"""Views over prompts: the versions of each, and where their labels point."""

from __future__ import annotations

from collections.abc import Mapping

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
        "Every move of every label: prompt, label, from which version to which, who, when and why; newest first.",
        "SELECT name, label, from_version, version, moved_by, reason, recorded_at, seq FROM moves ORDER BY seq DESC",
        source="prompt_labels",
        rows_as="moves",
        time="recorded_at",
        columns=_BY_NAME,
    ),
}
