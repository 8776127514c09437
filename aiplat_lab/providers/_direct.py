"""HTTP/1.1 to one host on the event loop's own connections, read by aiohttp's parser.

A call of a model is one POST and one answer. The clients of httpx and aiohttp wrap it in redirects, cookies, proxies, pools and
objects of their own, which together take longer than all that the gateway itself does for a call; none of it is needed here, but for
proxies, and where one is set aiohttp's client takes over (see `_transports`).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from contextlib import aclosing
from typing import NamedTuple, Protocol

import aiohttp
import httpx
from aiohttp.client_proto import ResponseHandler
from aiohttp.streams import StreamReader

KEEPALIVE_S = 60.0
"""How long a connection is kept that nobody uses."""
_HAPPY_EYEBALLS_S = 0.25
"""After which the next address of a host is tried beside the first (RFC 8305)."""


class Answer(Protocol):
    """An answer whose head was read."""

    status_code: int

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers; their names count in any case."""
        ...

    async def more(self) -> bytes:
        """The next piece of the body, decompressed; empty at its end."""
        ...

    async def whole(self) -> bytes:
        """The rest of the body."""
        ...

    def ready(self) -> bool:
        """Whether the body is here to its end, so that nothing is waited for."""
        ...

    async def aclose(self) -> None:
        """Gives the connection back, or closes it where the body was not read to its end."""
        ...


class OfHttpx:
    """httpx's response as an `Answer`."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self._pieces: AsyncIterator[bytes] | None = None
        self.status_code = response.status_code

    @property
    def headers(self) -> Mapping[str, str]:
        """As httpx gives them."""
        return self._response.headers

    async def more(self) -> bytes:
        """The next piece."""
        if self._pieces is None:
            self._pieces = self._response.aiter_bytes()
        return await anext(self._pieces, b"")

    async def whole(self) -> bytes:
        """The body."""
        return await self._response.aread()

    def ready(self) -> bool:
        """Never known."""
        return False

    async def aclose(self) -> None:
        """Closes the response."""
        if isinstance(self._pieces, AsyncGenerator):
            async with aclosing(self._pieces):
                pass
        await self._response.aclose()


class _Key(NamedTuple):
    """Where a connection leads."""

    secure: bool
    host: str
    port: int


class Direct(httpx.AsyncBaseTransport):
    """Connections that are kept and used again, one call at a time on each.

    It is one of httpx's transports; whoever knows it asks it by `ask`, without httpx's objects.

    Args:
        context: what certificates are checked with; None where nothing is encrypted.
    """

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self._context = context
        self._idle: dict[_Key, list[tuple[float, ResponseHandler]]] = {}
        self._busy: set[ResponseHandler] = set()

    async def ask(
        self, method: str, url: httpx.URL, headers: Iterable[tuple[str, str]], content: bytes, *, connect_s: float
    ) -> DirectAnswer:
        """Sends a request, and gives the answer with its head read.

        Args:
            method: `GET`, `POST` or `DELETE`.
            url: where to; its path and query are sent as they are written, since a signature covers each of their signs.
            headers: without `Host`, `Content-Length` and `Connection`.
            content: the body.
            connect_s: seconds for a new connection.

        Raises:
            httpx.ConnectError, httpx.ConnectTimeout: there is no connection.
            httpx.LocalProtocolError: a header holds what no header can carry.
            aiohttp.ClientError: the connection ended, or what came is not HTTP.
        """
        head = _head(method, url, headers, len(content))
        secure = url.scheme == "https"
        key = _Key(secure, url.host, url.port or (443 if secure else 80))
        connection = self._kept(key)
        if connection is None:
            connection = await self._connect(key, connect_s)
        self._busy.add(connection)
        try:
            connection.set_response_params(read_until_eof=True)
            transport = connection.transport
            if transport is None:
                raise aiohttp.ServerDisconnectedError
            transport.write(head + content)  # one packet, and one call of the system
            message, payload = await connection.read()
            while 100 <= message.code < 200 and message.code != 101:
                message, payload = await connection.read()
        except aiohttp.http.HttpProcessingError as error:
            self._drop(connection)
            raise aiohttp.ClientPayloadError(f"what came is not HTTP: {error.message}") from error
        except BaseException:
            self._drop(connection)
            raise
        return DirectAnswer(self, key, connection, message.code, message.headers, message.raw_headers, payload)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """As httpx's transports do it."""
        timeout = request.extensions.get("timeout") or {}
        own = {"host", "content-length", "connection", "transfer-encoding"}
        headers = [(name, value) for name, value in request.headers.multi_items() if name.lower() not in own]
        content = await request.aread()
        answer = await self.ask(request.method, request.url, headers, content, connect_s=timeout.get("connect") or KEEPALIVE_S)
        plain = [(name, value) for name, value in answer.raw_headers if name.lower() != b"content-encoding"]  # it is decompressed
        return httpx.Response(answer.status_code, headers=plain, stream=_Body(answer), request=request)

    async def aclose(self) -> None:
        """Closes all connections."""
        idle = [connection for kept in self._idle.values() for _, connection in kept]
        self._idle.clear()
        for connection in [*idle, *self._busy]:
            connection.close()
        self._busy.clear()
        await asyncio.sleep(0)  # so that the loop closes the sockets

    def give_back(self, key: _Key, connection: ResponseHandler, *, read: bool) -> None:
        """Keeps a connection for the next call, or closes it."""
        transport = connection.transport
        if not read or transport is None or connection.should_close or transport.get_write_buffer_size():
            self._drop(connection)
            return
        self._busy.discard(connection)
        now = asyncio.get_running_loop().time()
        kept = self._idle.setdefault(key, [])
        kept.append((now, connection))
        while kept[0][0] < now - KEEPALIVE_S:
            kept.pop(0)[1].close()

    def _kept(self, key: _Key) -> ResponseHandler | None:
        """The connection that was used last, if it is still good."""
        kept = self._idle.get(key)
        oldest = asyncio.get_running_loop().time() - KEEPALIVE_S
        while kept:
            since, connection = kept.pop()
            if since >= oldest and connection.is_connected() and not connection.should_close:
                return connection
            connection.close()
        return None

    async def _connect(self, key: _Key, within_s: float) -> ResponseHandler:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(within_s):
                _, connection = await loop.create_connection(
                    lambda: ResponseHandler(loop),
                    key.host,
                    key.port,
                    ssl=self._context if key.secure else None,
                    happy_eyeballs_delay=_HAPPY_EYEBALLS_S,
                )
        except TimeoutError as error:
            raise httpx.ConnectTimeout("the connection timed out") from error
        except (OSError, UnicodeError) as error:
            raise httpx.ConnectError(getattr(error, "strerror", None) or str(error)) from error
        return connection

    def _drop(self, connection: ResponseHandler) -> None:
        self._busy.discard(connection)
        connection.close()


class DirectAnswer:
    """An answer of `Direct`."""

    __slots__ = ("_connection", "_key", "_owner", "_payload", "headers", "raw_headers", "status_code")

    def __init__(
        self,
        owner: Direct,
        key: _Key,
        connection: ResponseHandler,
        status_code: int,
        headers: Mapping[str, str],
        raw_headers: tuple[tuple[bytes, bytes], ...],
        payload: StreamReader,
    ) -> None:
        self._owner = owner
        self._key = key
        self._connection: ResponseHandler | None = connection
        self._payload = payload
        self.status_code = status_code
        self.headers = headers
        self.raw_headers = raw_headers

    async def more(self) -> bytes:
        """The next piece of the body, all that has come; empty at its end.

        Raises:
            aiohttp.ClientError: the connection ended before the body did.
        """
        return await self._payload.readany()

    async def whole(self) -> bytes:
        """The rest of the body; errors as `more`."""
        return await self._payload.read()

    def ready(self) -> bool:
        """Whether the body is here to its end."""
        return self._payload.is_eof()

    async def aclose(self) -> None:
        """Gives the connection back, or closes it where the body was not read to its end."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._owner.give_back(self._key, connection, read=self._payload.is_eof())


class _Body(httpx.AsyncByteStream):
    """The body for httpx."""

    def __init__(self, answer: DirectAnswer) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while piece := await self._answer.more():
            yield piece

    async def aclose(self) -> None:
        await self._answer.aclose()


def _head(method: str, url: httpx.URL, headers: Iterable[tuple[str, str]], length: int) -> bytes:
    """The request's head.

    Raises:
        httpx.LocalProtocolError: a header holds what no header can carry.
    """
    told = [f"{name}: {value}\r\n" for name, value in headers]
    lines = "".join(told)
    if not (lines.count("\n") == lines.count("\r") == len(told)) or "\0" in lines:
        raise httpx.LocalProtocolError("a header holds a sign that no header can carry")
    host = url.netloc.decode("ascii")
    target = url.raw_path.decode("ascii") or "/"
    return f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n{lines}Content-Length: {length}\r\n\r\n".encode()
