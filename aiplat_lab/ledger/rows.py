"""What a row holds, and the one text of it that is hashed: the columns of a call and their canonical form.

The chain's hash of a row is the SHA-256 of its canonical JSON: keys sorted, no spaces, what is not known left out. A column
that a later version adds is unknown in older rows, so it leaves their hashes as they are. Amounts and seconds are texts with a
fixed number of decimals and times are ISO 8601 in UTC to the microsecond, so that a database gives back the very same text.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from aiplat_lab.core.errors import LedgerError, did_you_mean
from aiplat_lab.core.types import canonical_json

GENESIS = "0" * 64
"""The `prev_hash` of the first row."""

Row = Mapping[str, Any]  # Any: str, int, float, Decimal, aware time, bool, dict of tags, list of flags, or None
REPLACED = "replaced_characters"
"""The flag of a row that held characters which no UTF-8 text can carry."""


def _text(value: Any) -> str:  # Any: as in `Row`, here and in the functions below
    return value if type(value) is str else str(value)


def _uuid(value: Any) -> str:
    return str(UUID(_text(value)))


def time_text(value: datetime) -> str:
    """An aware time as the ledger writes it: `2026-11-23T09:30:00.000000Z`."""
    if value.tzinfo is None:
        raise ValueError("a time without a zone")
    if value.tzinfo is not UTC:
        value = value.astimezone(UTC)
    return value.isoformat(timespec="microseconds")[:26] + "Z"


def _time(value: Any) -> str:
    return time_text(value if isinstance(value, datetime) else datetime.fromisoformat(value))


def _usd(value: Any) -> str:
    amount = value if isinstance(value, Decimal) else Decimal(str(value))
    if not amount.is_finite():
        raise ValueError("not a number")
    return f"{amount + 0:.9f}"


def _seconds(value: Any) -> str:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("not a number")
    return f"{number + 0.0:.6f}"


def _whole(value: Any) -> int:
    return int(value)


def _bool(value: Any) -> bool:
    return bool(value)


def _tags(value: Any) -> dict[str, str] | None:
    return {str(key): str(text) for key, text in value.items()} or None


def _flags(value: Any) -> list[str] | None:
    return [str(flag) for flag in value] or None


@dataclass(frozen=True, slots=True)
class Kind:
    """How values of one kind are stored, written into the canonical text, and made again from a stored column."""

    sql_type: str
    write: Callable[[Any], Any]
    as_json: str
    """SQL that gives the canonical JSON of a column `{}`."""


_KINDS: Mapping[str, Kind] = {
    "text": Kind("VARCHAR", _text, "to_json({})::VARCHAR"),
    "hash": Kind("VARCHAR USING COMPRESSION zstd", _text, "to_json({})::VARCHAR"),
    "uuid": Kind("UUID", _uuid, "'\"'||{}::VARCHAR||'\"'"),
    "time": Kind("TIMESTAMP", _time, "'\"'||strftime({}, '%Y-%m-%dT%H:%M:%S.%fZ')||'\"'"),
    "usd": Kind("DECIMAL(18,9)", _usd, "'\"'||{}::VARCHAR||'\"'"),
    "seconds": Kind("DOUBLE", _seconds, "'\"'||format('{{:.6f}}', {})||'\"'"),
    "whole": Kind("BIGINT", _whole, "{}::VARCHAR"),
    "bool": Kind("BOOLEAN", _bool, "{}::VARCHAR"),
    "tags": Kind("MAP(VARCHAR, VARCHAR)", _tags, "to_json({})::VARCHAR"),
    "flags": Kind("VARCHAR[]", _flags, "to_json({})::VARCHAR"),
}

_CALL: Mapping[str, str] = {
    "call_id": "uuid", "parent_id": "text", "started_at": "time", "ended_at": "time", "operation": "text", "surface": "text",
    "team": "text", "project": "text", "cost_centre": "text", "user_id": "text", "key_id": "text", "notebook": "text",
    "cell_id": "text", "prompt_name": "text", "prompt_version": "text", "experiment": "text", "variant": "text",
    "request_model": "text", "provider": "text", "response_model": "text", "region": "text", "status": "text",
    "error_type": "text", "error_message": "text", "policy": "text", "attempts": "whole", "input_tokens": "whole",
    "cache_read_tokens": "whole", "cache_write_tokens": "whole", "output_tokens": "whole", "reasoning_tokens": "whole",
    "cost_usd": "usd", "baseline_cost_usd": "usd", "price_version": "text", "input_usd_per_mtok": "usd",
    "output_usd_per_mtok": "usd", "cache_read_usd_per_mtok": "usd", "cache_write_usd_per_mtok": "usd",
    "reasoning_usd_per_mtok": "usd", "latency_s": "seconds", "time_to_first_token_s": "seconds", "queued_s": "seconds",
    "cache": "text", "stream": "bool", "finish_reason": "text", "flags": "flags", "request_hash": "hash",
    "response_hash": "hash", "tags": "tags",
}  # fmt: skip
_CHAIN: Mapping[str, str] = {"seq": "whole", "prev_hash": "hash", "hash": "hash"}
_RECORD: Mapping[str, str] = {"kind": "text", "recorded_at": "time", "id": "text", "data": "text"}

CALL_COLUMNS: Mapping[str, str] = {
    name: _KINDS[kind].sql_type.removesuffix(" USING COMPRESSION zstd") for name, kind in {**_CALL, **_CHAIN}.items()
}
"""The columns of `calls` with their SQL types, in order. Times are UTC."""

_WRITE_CALL = {name: _KINDS[kind].write for name, kind in _CALL.items()}


def columns(table: str) -> dict[str, Kind]:
    """The stored columns of `calls` or `records`, without the chain's."""
    return {name: _KINDS[kind] for name, kind in (_CALL if table == "calls" else _RECORD).items()}


def call_values(row: Row) -> dict[str, Any]:
    """The known values of a call in their canonical forms.

    Raises:
        LedgerError: there is no such column, or a value does not fit its column.
    """
    values: dict[str, Any] = {"kind": "call"}
    for name, value in row.items():
        if value is None:
            continue
        try:
            written = _WRITE_CALL[name](value)
        except KeyError:
            raise LedgerError(f"calls have no column {name!r}.{did_you_mean(name, CALL_COLUMNS)}") from None
        except (ValueError, TypeError, ArithmeticError, AttributeError) as error:
            raise LedgerError(f"{name} of a call cannot be {value!r}: {error}") from None
        if written is not None:
            values[name] = written
    if "call_id" not in values or "started_at" not in values:
        raise LedgerError("a call needs call_id and started_at")
    return values


def record_values(kind: str, row: Row, *, at: datetime) -> dict[str, Any]:
    """The values of a record that is no call: its kind, time, id, and the whole row as one JSON text."""
    when = row.get("at")
    data = canonical_json({key: value for key, value in row.items() if value is not None}).decode("utf-8")
    values = {"kind": kind, "recorded_at": _time(when) if when is not None else time_text(at), "data": data}
    if row.get("id") is not None:
        values["id"] = str(row["id"])
    return values


def canonical(values: dict[str, Any]) -> bytes:
    """The canonical JSON of a row's values; characters that UTF-8 cannot carry become `?`, and a call is flagged."""
    text = _dumps(values)
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        if values.get("kind") == "call":
            values["flags"] = [*values.get("flags", ()), REPLACED]
            text = _dumps(values)
        return text.encode("utf-8", "replace")


_dumps = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, check_circular=False).encode


def row_hash(canonical_row: bytes) -> str:
    """The chain's hash of a row: the SHA-256 of its canonical JSON, in lower-case hexadecimal."""
    return hashlib.sha256(canonical_row).hexdigest()
