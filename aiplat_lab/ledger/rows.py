"""What a row holds, and the one text of it that is hashed: the columns of a call and their canonical form.

The chain's hash of a row is the SHA-256 of its canonical JSON: keys sorted, no spaces, what is not known left out. A column
that a later version adds is unknown in older rows, so it leaves their hashes as they are. Amounts and seconds are texts with a
fixed number of decimals and times are ISO 8601 in UTC to the microsecond, so that a database gives back the very same text.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from aiplat_lab.core.errors import LedgerError, did_you_mean
from aiplat_lab.core.types import canonical_json

GENESIS = "0" * 64
"""The `prev_hash` of the first row."""

Row = Mapping[str, Any]  # Any: str, int, float, Decimal, aware time, bool, dict of tags, list of flags, or None
REPLACED = "replaced_characters"
"""The flag of a row that held characters which no UTF-8 text can carry."""


_quote: Callable[[str], str] = json.encoder.encode_basestring
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def _text(value: Any) -> str:  # Any: as in `Row`, here and in the functions below
    return _quote(value if type(value) is str else str(value))


def _uuid(value: Any) -> str:
    text = value if type(value) is str else str(value)
    return f'"{text}"' if _UUID.fullmatch(text) else f'"{UUID(text)}"'


def time_text(value: datetime) -> str:
    """An aware time as the ledger writes it: `2026-11-23T09:30:00.000000Z`.

    Raises:
        ValueError: the time has no zone.
    """
    if value.tzinfo is not UTC:
        if value.tzinfo is None:
            raise ValueError("a time without a zone")
        value = value.astimezone(UTC)
    return value.isoformat(timespec="microseconds")[:26] + "Z"


def _time(value: Any) -> str:
    return f'"{time_text(value if isinstance(value, datetime) else datetime.fromisoformat(value))}"'


def _usd(value: Any) -> str:
    text = f"{value if type(value) is Decimal else Decimal(str(value)):.9f}"
    if text[0] not in _DIGITS:
        if not Decimal(text).is_finite():
            raise ValueError("not a number")
        text = f"{Decimal(text) + 0:.9f}"
    return f'"{text}"'


_DIGITS = frozenset("0123456789")


def _seconds(value: Any) -> str:
    text = f"{float(value):.6f}"
    if text[0] not in _DIGITS:
        if not math.isfinite(float(text)):
            raise ValueError("not a number")
        text = f"{float(text) + 0.0:.6f}"
    return f'"{text}"'


def _whole(value: Any) -> str:
    return str(int(value))


def _bool(value: Any) -> str:
    return "true" if value else "false"


def _tags(value: Any) -> str:
    tags = {str(key): str(text) for key, text in value.items()}
    return "{" + ",".join(f"{_quote(key)}:{_quote(tags[key])}" for key in sorted(tags)) + "}" if tags else ""


def _flags(value: Any) -> str:
    return "[" + ",".join(_quote(str(flag)) for flag in value) + "]" if value else ""


@dataclass(frozen=True, slots=True)
class Kind:
    """How values of one kind are stored, written into the canonical text, and made again from a stored column."""

    sql_type: str
    write: Callable[[Any], str]
    """The canonical JSON of a value; an empty text leaves it out."""
    as_json: str
    """SQL that gives the canonical JSON of a column `{}`."""


_KINDS: Mapping[str, Kind] = {
    "text": Kind("VARCHAR", _text, "to_json({})::VARCHAR"),
    "hash": Kind("VARCHAR USING COMPRESSION zstd", _text, "to_json({})::VARCHAR"),
    "uuid": Kind("UUID", _uuid, "'\"'||{}::VARCHAR||'\"'"),
    "time": Kind("TIMESTAMP", _time, "'\"'||strftime({}, '%Y-%m-%dT%H:%M:%S.%fZ')||'\"'"),
    "usd": Kind("DECIMAL(18,9)", _usd, "'\"'||{}::VARCHAR||'\"'"),
    "seconds": Kind("DOUBLE", _seconds, "'\"'||TRY_CAST({} AS DECIMAL(18,6))::VARCHAR||'\"'"),
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
    "response_hash": "hash", "tags": "tags", "service_tier": "text", "other_units": "tags", "other_prices_usd": "tags",
    "route": "text", "findings": "tags", "batch_id": "text",
}  # fmt: skip
_CHAIN: Mapping[str, str] = {"seq": "whole", "prev_hash": "hash", "hash": "hash"}
_RECORD: Mapping[str, str] = {"kind": "text", "recorded_at": "time", "id": "text", "data": "text"}

CALL_COLUMNS: Mapping[str, str] = {
    name: _KINDS[kind].sql_type.removesuffix(" USING COMPRESSION zstd") for name, kind in {**_CALL, **_CHAIN}.items()
}
"""The columns of `calls` with their SQL types, in order. Times are UTC."""

_KNOWN = frozenset(_CALL)
_FIRST, _SECOND = "prev_hash", "seq"


def _writers(low: str, high: str) -> tuple[tuple[str, str, Callable[[Any], str]], ...]:
    """For the columns of a call whose names stand between two others: the name, its JSON, and what writes a value."""
    names = sorted(name for name in _CALL if low < name < high)
    return tuple((name, f'"{name}":', _KINDS[_CALL[name]].write) for name in names)


_BEFORE_KIND, _AFTER_KIND = _writers("", "kind"), _writers("kind", _FIRST)
_MIDDLE, _TAIL = _writers(_FIRST, _SECOND), _writers(_SECOND, "~")


def columns(table: str) -> dict[str, Kind]:
    """The stored columns of `calls` or `records`, without the chain's."""
    return {name: _KINDS[kind] for name, kind in (_CALL if table == "calls" else _RECORD).items()}


class Prepared(NamedTuple):
    """The canonical JSON of a row, in three parts between which its place in the chain is written."""

    kind: str
    """`call` or `record`: the table."""
    id: str
    """The id of a call."""
    head: bytes
    middle: bytes
    tail: bytes

    def chained(self, seq: int, prev_hash: str) -> bytes:
        """The canonical JSON at a place in the chain."""
        return b'%s,"prev_hash":"%s"%s,"seq":%d%s' % (self.head, prev_hash.encode(), self.middle, seq, self.tail)

    def plain(self) -> bytes:
        """The canonical JSON without a place in the chain."""
        return self.head + self.middle + self.tail


def prepare_call(row: Row) -> Prepared:
    """A call, ready to take its place in the chain; what UTF-8 cannot carry becomes `?`, and the row is flagged.

    Raises:
        LedgerError: there is no such column, or a value does not fit its column.
    """
    if not row.keys() <= _KNOWN:
        name = min(row.keys() - _KNOWN)
        raise LedgerError(f"calls have no column {name!r}.{did_you_mean(str(name), CALL_COLUMNS)}")
    if row.get("call_id") is None or row.get("started_at") is None:
        raise LedgerError("a call needs call_id and started_at")
    before, after = _members(row, _BEFORE_KIND), _members(row, _AFTER_KIND)
    head = f"{{{','.join([*before, _KIND_CALL, *after])}"
    middle = "".join(f",{member}" for member in _members(row, _MIDDLE))
    tail = "".join(f",{member}" for member in _members(row, _TAIL)) + "}"
    try:
        return Prepared("call", str(row["call_id"]), head.encode(), middle.encode(), tail.encode())
    except UnicodeEncodeError:
        clean = {name: _clean(value) for name, value in row.items()}
        return prepare_call({**clean, "flags": [*(clean.get("flags") or ()), REPLACED]})


def check_call(row: Row) -> None:
    """Lets a call pass that a ledger can hold.

    Raises:
        LedgerError: as `prepare_call`.
    """
    prepare_call(row)


_KIND_CALL = '"kind":"call"'


def _members(row: Row, writers: tuple[tuple[str, str, Callable[[Any], str]], ...]) -> list[str]:
    parts = []
    get = row.get
    name, value = "", None
    try:
        for name, prefix, write in writers:
            value = get(name)
            if value is None:
                continue
            if type(value) is str and write is _text:
                parts.append(prefix + _quote(value))
            elif text := write(value):
                parts.append(prefix + text)
    except (ValueError, TypeError, ArithmeticError, AttributeError) as error:
        raise LedgerError(f"{name} of a call cannot be {value!r}: {error}") from None
    return parts


def _clean(value: Any) -> Any:  # Any: as in `Row`
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {_clean(str(key)): _clean(str(text)) for key, text in value.items()}
    return [_clean(str(one)) for one in value] if isinstance(value, list | tuple) else value


def prepare_record(kind: str, row: Row, *, at: datetime) -> Prepared:
    """A record that is no call: its kind, time, id, and the whole row as one JSON text.

    Args:
        kind: any word but `call`.
        row: anything that JSON can hold; a `datetime` under `at` is the record's time.
        at: the time when `row` has none.
    """
    when = row.get("at")
    return stored_record(
        kind,
        recorded_at=when if isinstance(when, datetime) else at,
        id=None if row.get("id") is None else str(row["id"]),
        data=canonical_json({key: value for key, value in row.items() if value is not None}).decode("utf-8"),
    )


def stored_record(kind: str, *, recorded_at: datetime, id: str | None, data: str) -> Prepared:
    """A record of the table `records`, ready to take its place in the chain."""
    known = f',"id":{_text(id)}' if id is not None else ""
    head = f'{{"data":{_text(data)}{known},"kind":{_text(kind)}'
    return Prepared("record", id or "", head.encode("utf-8", "replace"), f',"recorded_at":{_time(recorded_at)}'.encode(), b"}")


def row_hash(canonical_row: bytes) -> str:
    """The chain's hash of a row: the SHA-256 of its canonical JSON, in lower-case hexadecimal."""
    return hashlib.sha256(canonical_row).hexdigest()
