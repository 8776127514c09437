"""An answer in pieces, for blocking callers."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from aiplat_lab.client._http import BrokenReply
from aiplat_lab.client._sending import HEADERS, PATH, Sending, error_of
from aiplat_lab.client._wire import Connection, Pool, Reply
from aiplat_lab.core.errors import AiplatError, CallCancelled, from_wire
from aiplat_lab.core.types import Request, Response


class Lines:
    """Whole lines out of pieces of bytes, each a JSON object."""

    def __init__(self) -> None:
        self._rest = b""
        self._whole: list[bytes] = []

    def feed(self, piece: bytes) -> None:
        """Takes a piece."""
        *whole, self._rest = (self._rest + piece).split(b"\n")
        self._whole.extend(whole)

    def pop(self) -> dict[str, Any] | None:
        """The next line, or None when more bytes are needed."""
        while self._whole:
            line = self._whole.pop(0)
            if line.strip():
                found: dict[str, Any] = json.loads(line)
                return found
        return None


class Stream:
    """The answer as pieces of text: `with client.stream(…) as pieces: for text in pieces: …`.

    Leaving before the end cancels the call at the provider. `response` stands after the end.
    """

    def __init__(self, pool: Pool, request: Request) -> None:
        self.response: Response | None = None
        """The whole answer with usage and cost, once the stream has ended."""
        self._pool = pool
        self._sending = Sending(request, pool.target)
        self._connection: Connection | None = None
        self._pieces: Iterator[bytes] = iter(())
        self._lines = Lines()
        self._shown: list[str] = []
        self._cancelled = False

    @property
    def call_id(self) -> str:
        """The call's id in the ledger."""
        return self._sending.request.call_id

    @property
    def text(self) -> str:
        """What has come until now."""
        return "".join(self._shown)

    def cancel(self) -> None:
        """Cancels the call at once, from any thread; whoever reads the stream gets `CallCancelled`."""
        self._cancelled = True
        if self._connection is not None:
            self._connection.cut()

    def __enter__(self) -> Stream:
        try:
            self._open()
        finally:
            if not self._opened:
                self._drop()
        return self

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        while self.response is None:
            try:
                data = self._read()
            except OSError as error:
                self._broke(error)
                self._open()
                continue
            if data.get("text"):
                self._shown.append(data["text"])
                return str(data["text"])
            if "end" in data:
                self._end(Response.from_json(data["end"]))
            elif "error" in data:
                self._drop()
                self._sending.failed(from_wire(data["error"]), shown=bool(self._shown))
                self._open()
        raise StopIteration

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._drop()

    @property
    def _opened(self) -> bool:
        return self._connection is not None and self._connection.incoming.begun

    def _open(self) -> None:
        """Sends the call until an answer begins."""
        while True:
            try:
                error = self._send()
            except OSError as broken:
                self._broke(broken)
                continue
            if error is None:
                return
            self._drop()
            if self._cancelled:
                raise self._cancellation()
            self._sending.failed(error)

    def _send(self) -> AiplatError | None:
        connection = self._pool.take(fresh=self._sending.sent > 0, watch=self._watch)
        connection.send("POST", PATH, HEADERS, self._sending.body())
        self._pieces, self._lines = connection.pieces(), Lines()
        first = next(self._pieces, b"")
        if connection.incoming.status == 200:
            self._lines.feed(first)
            return None
        return error_of(Reply(connection.incoming.status, connection.incoming.headers, first + b"".join(self._pieces)))

    def _watch(self, connection: Connection) -> None:
        self._connection = connection
        if self._cancelled:
            connection.cut()

    def _read(self) -> dict[str, Any]:
        while True:
            data = self._lines.pop()
            if data is not None:
                return data
            piece = next(self._pieces, None)
            if piece is None:
                raise BrokenReply("the answer ended without its end")
            self._lines.feed(piece)

    def _broke(self, error: OSError) -> None:
        self._drop()
        if self._cancelled:
            raise self._cancellation() from None
        time.sleep(self._sending.broke(error, shown=bool(self._shown)))

    def _cancellation(self) -> CallCancelled:
        return CallCancelled("the call was cancelled; what had come until then is in the ledger", call_id=self.call_id)

    def _end(self, response: Response) -> None:
        self.response = response
        try:
            for _ in self._pieces:
                pass
        except OSError:
            pass  # the answer is whole; the connection is not used again
        if self._connection is not None:
            self._pool.give(self._connection)
            self._connection = None

    def _drop(self) -> None:
        """Ends the connection, so that an unfinished call is cancelled at the provider."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.cut()
            connection.close()
