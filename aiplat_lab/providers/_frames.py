"""AWS's binary event stream: frames with a head, typed headers, a payload and two checksums."""

from __future__ import annotations

import struct
import zlib

from aiplat_lab.providers._sse import MAX_EVENT_BYTES, BadStream, Event

FAILED = "failed:"
"""What the name of an event begins with that tells of a failure."""
_HEAD = 12
_TAIL = 4
_FIXED = {2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
"""The sizes of header values by their type: byte, short, integer, long, timestamp, UUID; 0 and 1 are true and false, without bytes."""
_SIZED = (6, 7)
"""Types whose value has its size before it: bytes and text."""


class FrameReader:
    """Splits bytes into events, whatever the pieces they arrive in; a frame whose checksums are wrong ends the stream."""

    def __init__(self) -> None:
        self._rest = b""
        self._pieces: list[bytes] = []
        self._waiting = 0
        """Bytes until the next frame can be complete."""

    def feed(self, piece: bytes) -> list[Event]:
        """The events that `piece` completes.

        Raises:
            BadStream: the bytes are not frames, or damaged.
        """
        self._pieces.append(piece)
        self._waiting -= len(piece)
        if self._waiting > 0:
            return []
        data = b"".join([self._rest, *self._pieces])
        self._pieces = []
        events, start = [], 0
        while len(data) - start >= _HEAD:
            size = _size(data, start)
            if len(data) - start < size:
                self._waiting = size - (len(data) - start)
                break
            event = _event(data[start : start + size])
            if event is not None:
                events.append(event)
            start += size
        else:
            self._waiting = 0
        self._rest = data[start:]
        return events

    def end(self) -> list[Event]:
        """Nothing: half a frame is no event, and the answer is then cut off."""
        return []


def _size(data: bytes, start: int) -> int:
    """The size of the frame that begins there, whose head is checked."""
    size, _, checksum = struct.unpack_from(">III", data, start)
    if zlib.crc32(data[start : start + 8]) != checksum:
        raise BadStream("a frame whose head is damaged")
    if not _HEAD + _TAIL <= size <= MAX_EVENT_BYTES:
        raise BadStream(f"a frame of {size} bytes")
    return int(size)


def _event(frame: bytes) -> Event | None:
    """The event of a whole frame; None for one that is of no use."""
    (length,) = struct.unpack_from(">I", frame, 4)
    (checksum,) = struct.unpack_from(">I", frame, len(frame) - _TAIL)
    if zlib.crc32(frame[:-_TAIL]) != checksum:
        raise BadStream("a frame that is damaged")
    if _HEAD + length > len(frame) - _TAIL:
        raise BadStream("a frame whose headers are longer than itself")
    headers = _headers(frame[_HEAD : _HEAD + length])
    payload = frame[_HEAD + length : -_TAIL]
    kind = headers.get(":message-type", "event")
    if kind == "exception":
        return Event(FAILED + headers.get(":exception-type", ""), payload or b"{}")
    if kind == "error":
        return Event(FAILED + headers.get(":error-code", ""), b"{}")
    return Event(headers.get(":event-type", ""), payload or b"{}") if kind == "event" else None


def _headers(data: bytes) -> dict[str, str]:
    """The headers whose values are texts, by name."""
    found: dict[str, str] = {}
    at = 0
    try:
        while at < len(data):
            size = data[at]
            name = data[at + 1 : at + 1 + size].decode()
            kind = data[at + 1 + size]
            at += 2 + size
            length = _FIXED.get(kind, 0)
            if kind in _SIZED:
                (length,) = struct.unpack_from(">H", data, at)
                at += 2
            elif kind > 1 and kind not in _FIXED:
                raise BadStream(f"a frame with a header of the unknown type {kind}")
            if at + length > len(data):
                raise BadStream("a frame with half a header")
            if kind == _SIZED[1]:
                found[name] = data[at : at + length].decode()
            at += length
    except (IndexError, struct.error, UnicodeDecodeError):
        raise BadStream("a frame whose headers cannot be read") from None
    return found
