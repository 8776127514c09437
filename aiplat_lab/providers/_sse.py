"""Server-sent events, read from the bytes of a stream."""

from __future__ import annotations

from typing import NamedTuple, Protocol

MAX_EVENT_BYTES = 32 * 1024 * 1024
"""The longest event that is taken; a stream that never ends its line must not fill the memory."""


class Event(NamedTuple):
    """One event: its name, empty where none is given, and its data."""

    name: str
    data: bytes


class BadStream(ValueError):
    """The bytes are not a stream of this kind; the text says what they are instead."""


class EventTooLong(BadStream):
    """An event is longer than `MAX_EVENT_BYTES`."""

    def __init__(self) -> None:
        super().__init__("an event without an end")


class Reader(Protocol):
    """Splits the bytes of a stream into events, whatever the pieces they arrive in."""

    def feed(self, piece: bytes) -> list[Event]:
        """The events that `piece` completes.

        Raises:
            BadStream: the bytes are something else.
        """
        ...

    def end(self) -> list[Event]:
        """What is left at the end of the stream."""
        ...


class EventReader:
    """Splits bytes into events, whatever the pieces they arrive in; lines end in LF, CRLF or CR."""

    def __init__(self) -> None:
        self._rest: list[bytes] = []
        self._size = 0
        self._name = ""
        self._data: list[bytes] = []
        self._after_cr = False

    def feed(self, piece: bytes) -> list[Event]:
        """The events that `piece` completes.

        Raises:
            EventTooLong: an event has no end.
        """
        if self._after_cr or b"\r" in piece:
            piece = self._as_lf(piece)
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

    def _as_lf(self, piece: bytes) -> bytes:
        """The piece with every line ended by LF, also where CR and LF came in two pieces."""
        if self._after_cr:
            piece = piece.removeprefix(b"\n")
        self._after_cr = piece.endswith(b"\r") or (self._after_cr and not piece)
        return piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _take(self, line: bytes) -> Event | None:
        line = line.removeprefix(b"\xef\xbb\xbf")
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
