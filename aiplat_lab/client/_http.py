"""HTTP/1.1 as bytes: a request that is written in one piece, and a response that is read as its bytes come.

Nothing here touches a socket, so that the blocking and the async face share it. It is a third of the cost of the standard
library's client, which matters for a call that takes a millisecond (see `docs/benchmarks.md`).
"""

from __future__ import annotations

from collections.abc import Mapping

MAX_HEAD_BYTES = 65_536
"""The longest status line and headers that are read."""


class BrokenReply(ConnectionError):
    """What came back is not an HTTP response, or ended before its end."""


def request_bytes(method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    """One whole request."""
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    if body or method != "GET":
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


class Incoming:
    """One response, fed with bytes; `status` and `headers` stand once `begun`."""

    __slots__ = ("_buffer", "_chunked", "_left", "_state", "begun", "complete", "headers", "keep_alive", "status")

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        """By name in lower case."""
        self.begun = False
        self.complete = False
        self.keep_alive = True
        self._buffer = b""
        self._chunked = False
        self._left: int | None = None
        """Bytes of the body, or of the chunk, still to come; None reads to the end of the connection."""
        self._state = "size"

    def feed(self, data: bytes) -> bytes:
        """The bytes of the body in `data`; empty `data` says that the connection has ended.

        Raises:
            BrokenReply: it is not HTTP, or the connection ended too early.
        """
        if not data:
            if self.begun and self._left is None and not self._chunked:
                self.complete = True
                return b""
            raise BrokenReply(
                "the connection ended before the answer was whole" if self.begun else "the connection ended without an answer"
            )
        self._buffer += data
        if not self.begun and not self._read_head():
            return b""
        return self._read_chunks() if self._chunked else self._read_plain()

    def _read_head(self) -> bool:
        while True:
            head, end, rest = self._buffer.partition(b"\r\n\r\n")
            if not end:
                if len(self._buffer) > MAX_HEAD_BYTES:
                    raise BrokenReply("the headers of the answer have no end")
                return False
            lines = head.decode("latin-1").split("\r\n")
            version, _, status = lines[0].partition(" ")
            if not version.startswith("HTTP/1.") or not status[:3].isdigit():
                raise BrokenReply(f"what came back is not HTTP: {lines[0][:60]!r}")
            self._buffer = rest
            self.status = int(status[:3])
            if self.status >= 200:
                break  # 1xx announces the response proper
        for line in lines[1:]:
            name, _, value = line.partition(":")
            self.headers[name.strip().lower()] = value.strip()
        self._measure(version)
        self.begun = True
        return True

    def _measure(self, version: str) -> None:
        """How long the body is, and whether another response can follow on this connection."""
        length = self.headers.get("content-length")
        self._chunked = "chunked" in self.headers.get("transfer-encoding", "").lower()
        if self.status in (204, 304):
            self._chunked, self._left = False, 0
        elif not self._chunked and length is not None:
            if not length.isdigit():
                raise BrokenReply(f"the answer's length is {length[:40]!r}")
            self._left = int(length)
        self.keep_alive = version == "HTTP/1.1" and "close" not in self.headers.get("connection", "").lower()
        if self._left is None and not self._chunked:
            self.keep_alive = False

    def _read_plain(self) -> bytes:
        body, self._buffer = self._buffer, b""
        if self._left is not None:
            body = body[: self._left]
            self._left -= len(body)
            self.complete = self._left == 0
        return body

    def _read_chunks(self) -> bytes:
        found: list[bytes] = []
        while not self.complete:
            if self._state == "data":
                piece = self._buffer[: self._left]
                found.append(piece)
                self._buffer = self._buffer[len(piece) :]
                self._left = (self._left or 0) - len(piece)
                if self._left:
                    break
                self._state = "gap"
            line, end, rest = self._buffer.partition(b"\r\n")
            if not end:
                if len(self._buffer) > MAX_HEAD_BYTES:
                    raise BrokenReply("a chunk of the answer has no end")
                break
            self._buffer = rest
            self._read_line(line)
        return b"".join(found)

    def _read_line(self, line: bytes) -> None:
        """A line between the data: the end of a chunk, the size of the next, or a trailer."""
        if self._state == "gap":
            if line:
                raise BrokenReply("a chunk of the answer is longer than it says")
            self._state = "size"
        elif self._state == "size":
            try:
                self._left = int(line.partition(b";")[0], 16)
            except ValueError:
                raise BrokenReply(f"a chunk's size is {line[:40]!r}") from None
            self._state = "data" if self._left else "trailer"
        elif not line:
            self.complete = True
