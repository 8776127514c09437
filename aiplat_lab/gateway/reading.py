"""Rows as JSON holds them, and one call put together from its row and its payloads."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

Row = Mapping[str, Any]  # Any: what a column can hold


def plain(value: Any) -> Any:  # Any: what a column can hold, and JSON
    """A value as JSON holds it: money as text, times as ISO 8601 in UTC with `Z`, a number that is none as null."""
    if isinstance(value, datetime):
        at = value if value.tzinfo else value.replace(tzinfo=UTC)
        return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int) else str(value)


def plain_row(row: Row) -> dict[str, Any]:
    """A row as JSON holds it."""
    return {name: plain(value) for name, value in row.items()}


def whole_call(row: Row, payload: Callable[[str], bytes | None]) -> dict[str, Any]:
    """A call as a person reads it: its row, and what was asked and answered as far as it was kept.

    Args:
        row: a row of the view `call`.
        payload: gives the bytes of a payload, or None when it was erased.
    """
    found = plain_row(row)
    asked = _document(row.get("request_hash"), payload)
    answered = _document(row.get("response_hash"), payload)
    messages = [_document(digest, payload) for digest in asked.get("messages") or ()]
    return {
        **found,
        "messages": [message or {"role": "", "content": None, "erased": True} for message in messages],
        "inputs": asked.get("inputs") or [],
        "settings": asked.get("settings") or {},
        "text": answered.get("text"),
        "tool_calls": answered.get("tool_calls") or [],
        "body": answered.get("body"),
    }


def _document(digest: Any, payload: Callable[[str], bytes | None]) -> dict[str, Any]:  # Any: a column's value
    data = payload(str(digest)) if digest else None
    found = json.loads(data) if data else {}
    return found if isinstance(found, dict) else {}
