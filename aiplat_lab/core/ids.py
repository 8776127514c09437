"""Identifiers of calls: UUIDv7, so that an id sorts by time and a look-up can prune by it."""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from datetime import UTC, datetime

_ID = re.compile(r"^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$")


def new_id(at: datetime | None = None, *, bits: int | None = None) -> str:
    """A new UUIDv7 (RFC 9562 §5.7): 48 bits of Unix milliseconds, then random bits.

    Args:
        at: the time to put in; now when left out.
        bits: 80 bits in place of random ones, for data that must come out the same again.
    """
    millis = time.time_ns() // 1_000_000 if at is None else int(at.timestamp() * 1000)
    value = (millis & (1 << 48) - 1) << 80 | (secrets.randbits(80) if bits is None else bits)
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    digits = f"{value:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def derived_id(at: datetime, *about: object) -> str:
    """The UUIDv7 that always comes out for the same time and the same `about`: who asks again asks by the same id."""
    digest = hashlib.sha256("\0".join(map(str, about)).encode("utf-8", "replace")).digest()
    return new_id(at, bits=int.from_bytes(digest[:10], "big"))


def is_id(text: str) -> bool:
    """Whether `text` is a UUIDv7 in its canonical form."""
    return _ID.match(text) is not None


def id_time(call_id: str) -> datetime:
    """The time inside a UUIDv7, to the millisecond.

    Raises:
        ValueError: `call_id` is not a UUIDv7.
    """
    if not is_id(call_id):
        raise ValueError(f"{call_id!r} is not a call id (a UUIDv7 such as {new_id()})")
    return datetime.fromtimestamp(int(call_id.replace("-", "")[:12], 16) / 1000, UTC)
