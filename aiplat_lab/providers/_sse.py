"""Server-sent events, read from the bytes of a stream."""

from __future__ import annotations

from typing import NamedTuple

MAX_EVENT_BYTES = 32 * 1024 * 1024
"""The longest event that is taken; a stream that never ends its line must not fill the memory."""


class Event(NamedTuple):
    """One event: its name, empty where none is given, and its data."""

    name: str
    data: bytes


class EventTooLong(ValueError):
    """An event is longer than `MAX_EVENT_BYTES`."""


class EventReader:
    """Splits bytes into events, whatever the pieces they arrive in; lines end in LF or CRLF."""

    def __init__(self) -> None:
        self._rest: list[bytes] = []
        self._size = 0
        self._name = ""
        self._data: list[bytes] = []

    def feed(self, piece: bytes) -> list[Event]:
        """The events that `piece` completes.

        Raises:
            EventTooLong: an event has no end.
        """
        self._size += len(piece)
        if self._size > MAX_EVENT_BYTES:
            raise EventTooLong
        self._rest.append(piece)
        if b"\n" not in piece:
            return []
        lines = b"".join(self._rest).split(b"\n")
        self._rest = [lines.pop()]
        self._size = len(self._rest[0]) + sum(map(len, self._data))
        return [event for line in lines if (event := self._take(line)) is not None]

    def end(self) -> list[Event]:
        """What is left at the end of the stream, for servers that leave out the last empty line."""
        found = [event for line in (b"".join(self._rest), b"") if (event := self._take(line)) is not None]
        self._rest = []
        return found

    def _take(self, line: bytes) -> Event | None:
        line = line.removesuffix(b"\r").removeprefix(b"\xef\xbb\xbf")
        if line:
            field, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if field == b"data":
                self._data.append(value)
            elif field == b"event":
                self._name = value.decode("utf-8", "replace")
            return None
        if not self._data:
            self._name = ""
            return None
        event = Event(self._name, b"\n".join(self._data))
        self._name, self._data = "", []
        return event
