"""The asynchronous face: one connection for each call, closed at once when the task is cancelled."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any

from aiplat_lab.client._http import BrokenReply, Incoming, request_bytes
from aiplat_lab.client._sending import HEADERS, PATH, Sending, checked, error_of
from aiplat_lab.client._stream import Lines
from aiplat_lab.client._wire import Reply, Target, open_async
from aiplat_lab.core.errors import AiplatError, CallCancelled, from_wire
from aiplat_lab.core.types import Request, Response

_READ_BYTES = 65_536


class Exchange:
    """One request and its answer on one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.incoming = Incoming()

    @classmethod
    async def send(cls, target: Target, body: bytes) -> Exchange:
        """Sends a call.

        Raises:
            OSError: the connection broke.
        """
        reader, writer, headers = await open_async(target)
        writer.write(request_bytes("POST", target.prefix + PATH, {**headers, **HEADERS, "Connection": "close"}, body))
        return cls(reader, writer)

    async def piece(self) -> bytes:
        """The next bytes of the body; empty when only the headers have come, or at its end.

        Raises:
            OSError: the connection broke.
        """
        if self.incoming.complete:
            return b""
        return self.incoming.feed(await self._reader.read(_READ_BYTES))

    async def rest(self) -> bytes:
        """The whole body.

        Raises:
            OSError: the connection broke.
        """
        found = []
        while not self.incoming.complete:
            found.append(await self.piece())
        return b"".join(found)

    def close(self) -> None:
        """Ends the connection at once."""
        self._writer.transport.abort()


async def chat(target: Target, request: Request) -> Response:
    """The whole answer of one call.

    Raises:
        AiplatError: as the gateway says, or there is no gateway.
    """
    sending = Sending(request, target)
    while True:
        try:
            exchange = await Exchange.send(target, sending.body())
            try:
                body = await exchange.rest()
            finally:
                exchange.close()
        except OSError as error:
            await asyncio.sleep(sending.broke(error))
            continue
        reply = Reply(exchange.incoming.status, exchange.incoming.headers, body)
        if reply.status == 200:
            return Response.from_json(checked(reply))
        sending.failed(error_of(reply))


class AsyncStream:
    """The answer as pieces of text: `async with client.astream(…) as pieces: async for text in pieces: …`.

    Leaving before the end, or cancelling the task, cancels the call at the provider. `response` stands after the end.
    """

    def __init__(self, target: Target, request: Request) -> None:
        self.response: Response | None = None
        """The whole answer with usage and cost, once the stream has ended."""
        self._target = target
        self._sending = Sending(request, target)
        self._exchange: Exchange | None = None
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
        """Cancels the call at once, from the event loop's thread; whoever reads the stream gets `CallCancelled`."""
        self._cancelled = True
        self._drop()

    async def __aenter__(self) -> AsyncStream:
        opened = False
        try:
            await self._open()
            opened = True
        finally:
            if not opened:
                self._drop()
        return self

    def __aiter__(self) -> AsyncStream:
        return self

    async def __anext__(self) -> str:
        while self.response is None:
            try:
                data = await self._read()
            except OSError as error:
                await asyncio.sleep(self._broke(error))
                await self._open()
                continue
            if data.get("text"):
                self._shown.append(data["text"])
                return str(data["text"])
            if "end" in data:
                self.response = Response.from_json(data["end"])
                self._drop()
            elif "error" in data:
                self._drop()
                self._sending.failed(from_wire(data["error"]), shown=bool(self._shown))
                await self._open()
        raise StopAsyncIteration

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._drop()

    async def _open(self) -> None:
        while True:
            try:
                error = await self._send()
            except OSError as broken:
                await asyncio.sleep(self._broke(broken))
                continue
            if error is None:
                return
            self._drop()
            self._sending.failed(error)

    async def _send(self) -> AiplatError | None:
        exchange = self._exchange = await Exchange.send(self._target, self._sending.body())
        self._lines = Lines()
        first = b""
        while not exchange.incoming.begun:
            first += await exchange.piece()
        if exchange.incoming.status == 200:
            self._lines.feed(first)
            return None
        return error_of(Reply(exchange.incoming.status, exchange.incoming.headers, first + await exchange.rest()))

    async def _read(self) -> dict[str, Any]:
        while True:
            data = self._lines.pop()
            if data is not None:
                return data
            if self._exchange is None or self._exchange.incoming.complete:
                raise BrokenReply("the answer ended without its end")
            self._lines.feed(await self._exchange.piece())

    def _broke(self, error: OSError) -> float:
        self._drop()
        if self._cancelled:
            raise CallCancelled("the call was cancelled; what had come until then is in the ledger", call_id=self.call_id) from None
        return self._sending.broke(error, shown=bool(self._shown))

    def _drop(self) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.close()
