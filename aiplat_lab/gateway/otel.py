"""The names of a ledger row in OpenTelemetry's GenAI convention: the one place that knows both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CONVENTION = "gen-ai 1.42.0 (development)"
"""The version of the semantic conventions for generative AI that the names below follow."""

ATTRIBUTES: Mapping[str, str] = {
    "request_model": "gen_ai.request.model",
    "response_model": "gen_ai.response.model",
    "error_type": "error.type",
    "cache_read_tokens": "gen_ai.usage.cache_read.input_tokens",
    "cache_write_tokens": "gen_ai.usage.cache_creation.input_tokens",
    "reasoning_tokens": "gen_ai.usage.reasoning.output_tokens",
    "time_to_first_token_s": "gen_ai.response.time_to_first_chunk",
    "prompt_name": "gen_ai.prompt.name",
}
"""Columns that keep their value under another name."""

OPERATIONS: Mapping[str, str] = {"chat": "chat", "embed": "embeddings"}
"""The column `operation` in the convention's words."""

OWN = "aiplat."
"""The prefix of what the convention has no name for, such as `aiplat.cost_usd`."""
_OWN_COLUMNS = (
    "call_id",
    "team",
    "project",
    "cost_centre",
    "surface",
    "status",
    "policy",
    "region",
    "cost_usd",
    "cache",
    "attempts",
    "prompt_version",
)


def attributes(row: Mapping[str, Any], *, kind: str = "") -> dict[str, Any]:  # Any: a row's values
    """A row's facts as the attributes of a span; what is unknown is left out.

    The convention counts cached tokens within the input and reasoning within the output; our five classes are disjoint.

    Args:
        row: a row of `calls`.
        kind: the provider's wire format, which is the convention's provider name where it has one; without it the row's.
    """
    named: dict[str, Any] = {"gen_ai.operation.name": OPERATIONS.get(str(row.get("operation")), str(row.get("operation")))}
    named["gen_ai.provider.name"] = kind or row.get("provider")
    named.update({name: row.get(column) for column, name in ATTRIBUTES.items()})
    named["gen_ai.usage.input_tokens"] = _sum(row, "input_tokens", "cache_read_tokens", "cache_write_tokens")
    named["gen_ai.usage.output_tokens"] = _sum(row, "output_tokens", "reasoning_tokens")
    if row.get("finish_reason"):
        named["gen_ai.response.finish_reasons"] = [row["finish_reason"]]
    if row.get("stream") is not None:
        named["gen_ai.request.stream"] = row["stream"]
    named.update({OWN + column: row.get(column) for column in _OWN_COLUMNS})
    return {name: str(value) if name == OWN + "cost_usd" else value for name, value in named.items() if value is not None and value != ""}


def _sum(row: Mapping[str, Any], *columns: str) -> int | None:  # Any: a row's values
    known = [row[column] for column in columns if row.get(column) is not None]
    return sum(known) if known else None
