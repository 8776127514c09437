"""The names of a ledger row in OpenTelemetry's GenAI convention: the one place that knows both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiplat_lab.core.types import Message, Request, Response, canonical_json

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

SETTINGS: Mapping[str, str] = {
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "top_k": "gen_ai.request.top_k",
    "max_tokens": "gen_ai.request.max_tokens",
    "max_completion_tokens": "gen_ai.request.max_tokens",
    "seed": "gen_ai.request.seed",
    "frequency_penalty": "gen_ai.request.frequency_penalty",
    "presence_penalty": "gen_ai.request.presence_penalty",
    "n": "gen_ai.request.choice.count",
    "stop": "gen_ai.request.stop_sequences",
}
"""Settings of a request that keep their value under another name."""

PROVIDERS: Mapping[str, str] = {
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "openai-responses": "openai",
    "vertex": "gcp.vertex_ai",
    "xai": "x_ai",
}
"""Kinds of providers that the convention calls otherwise."""

TOKEN_USAGE = "gen_ai.client.token.usage"  # noqa: S105 (tokens of a model)
TOKEN_BUCKETS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)
"""The histogram of tokens a call, and its bounds as the convention advises them."""
DURATION = "gen_ai.client.operation.duration"
DURATION_BUCKETS_S = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
"""The histogram of seconds a call, and its bounds as the convention advises them."""

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
    named["gen_ai.provider.name"] = PROVIDERS.get(kind, kind) or row.get("provider")
    named.update({name: row.get(column) for column, name in ATTRIBUTES.items()})
    named["gen_ai.usage.input_tokens"] = _sum(row, "input_tokens", "cache_read_tokens", "cache_write_tokens")
    named["gen_ai.usage.output_tokens"] = _sum(row, "output_tokens", "reasoning_tokens")
    if row.get("finish_reason"):
        named["gen_ai.response.finish_reasons"] = [row["finish_reason"]]
    if row.get("stream") is not None:
        named["gen_ai.request.stream"] = row["stream"]
    named.update({OWN + column: row.get(column) for column in _OWN_COLUMNS})
    return {name: str(value) if name == OWN + "cost_usd" else value for name, value in named.items() if value is not None and value != ""}


def asked(settings: Mapping[str, Any]) -> dict[str, Any]:  # Any: JSON
    """A request's settings as attributes of its span."""
    found: dict[str, Any] = {}
    for name, known in SETTINGS.items():
        value = settings.get(name)
        if name == "stop" and value:
            found[known] = [value] if isinstance(value, str) else [str(one) for one in value]
        elif isinstance(value, int | float) and not isinstance(value, bool) and (name != "n" or value != 1):
            found[known] = value
    return found


def span_name(row: Mapping[str, Any]) -> str:  # Any: a row's values
    """What a span is called: the operation and the model."""
    operation = OPERATIONS.get(str(row.get("operation")), str(row.get("operation")))
    return f"{operation} {row.get('request_model') or ''}".strip()


def measured(row: Mapping[str, Any], *, kind: str = "") -> dict[str, Any]:  # Any: a row's values
    """The attributes of the two histograms: those of a span that have few values."""
    kept = ("gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model", "gen_ai.response.model", "error.type")
    return {name: value for name, value in attributes(row, kind=kind).items() if name in kept}


def tokens(row: Mapping[str, Any]) -> dict[str, int]:  # Any: a row's values
    """Tokens by the convention's `gen_ai.token.type`; empty where nothing was counted."""
    known = {
        "input": _sum(row, "input_tokens", "cache_read_tokens", "cache_write_tokens"),
        "output": _sum(row, "output_tokens", "reasoning_tokens"),
    }
    return {name: count for name, count in known.items() if count is not None}


def content(request: Request, response: Response | None) -> dict[str, str]:
    """What was asked and answered, as the convention's JSON texts; only for spans that may carry it."""
    said = [{"role": message.role, "parts": _parts(message)} for message in request.messages if message.role not in _SYSTEM]
    system = [part for message in request.messages if message.role in _SYSTEM for part in _parts(message)]
    found: dict[str, Any] = {"gen_ai.system_instructions": system, "gen_ai.input.messages": said}
    if response is not None and request.operation == "chat":
        parts = [*([{"type": "text", "content": response.text}] if response.text else []), *map(_call, response.tool_calls)]
        found["gen_ai.output.messages"] = [{"role": "assistant", "parts": parts, "finish_reason": response.finish_reason}]
    return {name: canonical_json(value).decode() for name, value in found.items() if value}


_SYSTEM = frozenset({"system", "developer"})


def _parts(message: Message) -> list[dict[str, Any]]:
    if message.role == "tool":
        return [{"type": "tool_call_response", "id": message.extra.get("tool_call_id"), "response": message.text()}]
    text = message.text()
    calls = message.extra.get("tool_calls") or ()
    return [*([{"type": "text", "content": text}] if text else []), *(_call(call) for call in calls if isinstance(call, Mapping))]


def _call(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call.get("function") or {}
    return {"type": "tool_call", "id": call.get("id"), "name": function.get("name"), "arguments": function.get("arguments")}


def _sum(row: Mapping[str, Any], *columns: str) -> int | None:  # Any: a row's values
    known = [row[column] for column in columns if row.get(column) is not None]
    return sum(known) if known else None
