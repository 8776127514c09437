"""The payload documents of a call: what was asked and what came back, as JSON under its own hash.

A row of the ledger names them by `request_hash` and `response_hash`. Each message is a payload of its own, so that a
conversation that grows is stored once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from aiplat_lab.core.types import TOKEN_CLASSES, Json, Message, Request, Response, Usage, canonical_json

_TRANSPORT = frozenset({"stream", "stream_options"})


@dataclass(frozen=True, slots=True)
class Document:
    """One document and the payloads it consists of."""

    hash: str
    """The SHA-256 of the document's own bytes."""
    payloads: Mapping[str, bytes]
    """The document and whatever it refers to, by hash."""


def request_document(request: Request) -> Document:
    """What decides the answer to `request`: the same hash for the same question, whoever asks and whenever."""
    payloads: dict[str, bytes] = {}
    document: dict[str, Json] = {
        "operation": request.operation,
        "model": request.model,
        "messages": [_put(payloads, message.to_json()) for message in request.messages],
        "settings": dict(request.settings),
    }
    if request.inputs:
        document["inputs"] = list(request.inputs)
    if request.wire:
        document["wire"] = request.wire
    if request.body is not None:
        body = {key: value for key, value in request.body.items() if key not in _TRANSPORT}
        document["body_hash"] = hashlib.sha256(canonical_json(body)).hexdigest()
    return Document(_put(payloads, document), payloads)


def response_document(response: Response) -> Document:
    """What came back: the text, and whatever holds more than it."""
    document: dict[str, Json] = {"text": response.text}
    if response.tool_calls:
        document["tool_calls"] = [dict(call) for call in response.tool_calls]
    if response.embeddings:
        document["embeddings"] = [list(vector) for vector in response.embeddings]
    elif response.body is not None:
        document["body"] = dict(response.body)
    payloads: dict[str, bytes] = {}
    return Document(_put(payloads, document), payloads)


def read_response(row: Mapping[str, Any], document: bytes) -> Response:  # Any: a row's values
    """The response that a row and its response document hold, as it was first given.

    Args:
        row: a row of `calls`, as the view `call` gives it.
        document: the payload of the row's `response_hash`.

    Raises:
        ValueError: `document` is not a response document.
    """
    data = json.loads(document)
    known = row.get("input_tokens") is not None or row.get("output_tokens") is not None
    cost, baseline = row.get("cost_usd"), row.get("baseline_cost_usd")
    return Response(
        text=str(data.get("text", "")),
        embeddings=tuple(tuple(vector) for vector in data.get("embeddings") or ()),
        finish_reason=row.get("finish_reason") or "",
        usage=_usage(row) if known else None,
        provider=row.get("provider") or "",
        region=row.get("region") or "",
        response_model=row.get("response_model") or "",
        body=data.get("body"),
        tool_calls=tuple(data.get("tool_calls") or ()),
        flags=tuple(row.get("flags") or ()),
        call_id=str(row.get("call_id") or ""),
        cost_usd=None if cost is None else Decimal(cost),
        baseline_cost_usd=None if baseline is None else Decimal(baseline),
        cache=row.get("cache") or "off",
        attempts=int(row.get("attempts") or 0),
        latency_s=float(row.get("latency_s") or 0.0),
        time_to_first_token_s=row.get("time_to_first_token_s"),
    )


def _usage(row: Mapping[str, Any]) -> Usage:  # Any: a row's values
    other = {str(unit): int(count) for unit, count in (row.get("other_units") or {}).items()}
    hour = other.pop("cache_write_1h_tokens", 0)
    classes: dict[str, Any] = {name: int(row.get(name) or 0) for name in TOKEN_CLASSES}  # Any: fields of Usage, of several types
    return Usage(**classes, cache_write_1h_tokens=hour, other=other, service_tier=row.get("service_tier") or "")


def read_message(payload: bytes) -> Message:
    """The message that a request document refers to.

    Raises:
        ValueError: `payload` is not a message.
    """
    return Message.from_json(json.loads(payload))


def _put(payloads: dict[str, bytes], value: Json) -> str:
    data = canonical_json(value)
    digest = hashlib.sha256(data).hexdigest()
    payloads[digest] = data
    return digest
