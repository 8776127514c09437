"""Connections to the gateway: dialled when needed, kept for the next request, and cut at once from any thread."""

from __future__ import annotations

import asyncio
import json
import os
import select
import socket
import sys
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from aiplat_lab.client._http import Incoming, request_bytes
from aiplat_lab.core.errors import ConfigError, GatewayUnavailable
from aiplat_lab.core.settings import Home, Secret
from aiplat_lab.core.version import VERSION
from aiplat_lab.gateway.process import Address, ensure, held, read_address, stopped

_READ_BYTES = 65_536
_KEPT = 8
"""Connections that are kept open for later requests."""
_DIAL_S = 20.0
_KEEP_ALIVE = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
"""A shared gateway that is silent for 15 s is asked whether it is there, three times; after 30 s the connection is lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where requests go: this home's own gateway, or a shared one."""

    home: Home
    url: str = ""
    """A shared gateway's address before `/v1`; empty is the home's own."""
    key: Secret = field(default_factory=lambda: Secret(""))
    spawn: bool = True
    """Whether the home's own gateway is started when none runs."""

    @property
    def prefix(self) -> str:
        """What stands before each path."""
        return urlsplit(self.url).path.rstrip("/") if self.url else ""

    def headers(self, address: Address | None) -> dict[str, str]:
        """The headers of each request."""
        here = address.http.removeprefix("http://") if address is not None and address.token else "aiplat"
        host = urlsplit(self.url).netloc if self.url else here
        headers = {"Host": host, "User-Agent": f"aiplat-lab/{VERSION}"}
        if self.url and self.key:
            headers["Authorization"] = f"Bearer {self.key.reveal()}"
        elif address is not None and address.token:
            headers["X-Aiplat-Token"] = address.token
        return headers

    def locate(self) -> Address | None:
        """The address of the home's own gateway as its file says it, of our version; None for a shared one.

        Raises:
            GatewayUnavailable: none runs and none may be started, or it is of another version and busy.
            ConfigError: it cannot be started because of the settings.
        """
        if self.url:
            return None
        address = read_address(self.home)
        if address is None:
            return self.start()
        return address if address.version == VERSION else self._replace(address)

    def start(self) -> Address:
        """The address of the home's own gateway, started when none answers.

        Raises:
            GatewayUnavailable, ConfigError: as `locate` says.
        """
        if not self.spawn:
            address = read_address(self.home)
            if address is None or not held(self.home):
                raise GatewayUnavailable(f"no gateway runs for {self.home.path}; the first call or `aiplat start` starts it")
            return address
        address = ensure(self.home)
        return address if address.version == VERSION else self._replace(address)

    def _replace(self, address: Address) -> Address:
        """Our own version in place of another one that has nothing to do."""
        if not held(self.home):
            return self.start()
        if not self.spawn:
            return address
        if _parts(address.version) > _parts(VERSION):
            raise GatewayUnavailable(
                f"the running gateway is of version {address.version} and this process of {VERSION}: restart the kernel or program, "
                "so that it loads the newer version"
            )
        with Connection(self, address) as connection:
            status = connection.ask("GET", "/api/status", {}, timeout_s=10.0).json()
            if status.get("in_flight"):
                raise GatewayUnavailable(
                    f"the running gateway is of version {address.version}, this process of {VERSION}, and calls are under way: "
                    "wait for them or run `aiplat stop`, then try again"
                )
            connection.ask("POST", "/api/stop", {}, b"{}", timeout_s=10.0)
        stopped(self.home)
        return self.start()


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdigit() else 0 for part in version.split("."))


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:  # Any: JSON
        """The body, parsed; an empty object where it is not JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return {}


class Connection:
    """One connection for one request at a time."""

    def __init__(self, target: Target, address: Address | None, *, dial_s: float = _DIAL_S) -> None:
        self._target = target
        self.address = address
        self._headers = target.headers(address)
        self._socket = _dial(target, address, dial_s)
        self._closed = False
        self.incoming = Incoming()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @property
    def usable(self) -> bool:
        """Whether another request can be sent: the last answer was whole, and the other side has not hung up."""
        if self._closed or not self.incoming.keep_alive:
            return False
        if sys.platform == "win32":
            return not select.select([self._socket], [], [], 0)[0]
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return not poll.poll(0)

    def send(self, method: str, path: str, headers: dict[str, str], body: bytes = b"", *, timeout_s: float | None = None) -> None:
        """Sends a request and reads until the headers of its answer stand in `incoming`.

        Raises:
            OSError: the connection broke, or nothing came for `timeout_s` seconds.
        """
        self.incoming = Incoming()
        self._socket.settimeout(timeout_s)
        self._socket.sendall(request_bytes(method, self._target.prefix + path, {**self._headers, **headers}, body))

    def pieces(self) -> Iterator[bytes]:
        """The body as it comes, after `send`; begins with an empty piece when the headers stand.

        Raises:
            OSError: the connection broke.
        """
        incoming = self.incoming
        while not incoming.complete:
            begun = incoming.begun
            piece = incoming.feed(self._socket.recv(_READ_BYTES))
            if piece or (incoming.begun and not begun):
                yield piece

    def ask(self, method: str, path: str, headers: dict[str, str], body: bytes = b"", *, timeout_s: float | None = None) -> Reply:
        """Sends a request and gives the whole answer.

        Raises:
            OSError: the connection broke, or nothing came for `timeout_s` seconds.
        """
        self.send(method, path, headers, body, timeout_s=timeout_s)
        content = b"".join(self.pieces())
        return Reply(self.incoming.status, self.incoming.headers, content)

    def cut(self) -> None:
        """Ends the connection at once, from any thread: whoever reads from it is woken, and the gateway notices."""
        self._closed = True
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def close(self) -> None:
        """Closes the connection; by the thread that uses it."""
        self._closed = True
        self._socket.close()


class Pool:
    """Connections kept between requests; each is used by one request at a time, in whatever thread."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._idle: deque[Connection] = deque()
        self._pid = os.getpid()

    def take(self, *, fresh: bool = False, watch: Callable[[Connection], None] | None = None) -> Connection:
        """A usable connection, dialled if none is idle.

        Args:
            fresh: leave the idle ones, which may be as broken as the one that just failed.
            watch: told of the connection at once.

        Raises:
            GatewayUnavailable, ConfigError: there is no gateway, and none can be started.
        """
        if self._pid != os.getpid():  # after a fork the connections belong to the parent
            self._pid, self._idle = os.getpid(), deque()
        connection = self._dial() if fresh else self._kept() or self._dial()
        if watch is not None:
            watch(connection)
        return connection

    def give(self, connection: Connection) -> None:
        """Takes a connection back, or closes it when it cannot be used again."""
        if len(self._idle) < _KEPT and connection.incoming.complete and connection.usable and self._pid == os.getpid():
            self._idle.append(connection)
        else:
            connection.close()

    def close(self) -> None:
        """Closes all that are idle."""
        while self._idle:
            self._idle.pop().close()

    def _kept(self) -> Connection | None:
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None
            if connection.usable:
                return connection
            connection.close()

    def _dial(self) -> Connection:
        address = self.target.locate()
        try:
            return Connection(self.target, address)
        except OSError as error:
            if self.target.url:
                raise unreachable(self.target, error) from None
        try:
            return Connection(self.target, self.target.start())
        except OSError as error:
            raise unreachable(self.target, error) from None


def unreachable(target: Target, error: OSError, *, call_id: str = "") -> GatewayUnavailable:
    """The error for a gateway that does not answer."""
    where = target.url or f"of {target.home.path}"
    after = "check AIPLAT_GATEWAY and that the gateway there runs" if target.url else "`aiplat status` and `aiplat doctor` look further"
    why = error.strerror or str(error) or type(error).__name__
    return GatewayUnavailable(f"the gateway {where} does not answer ({why}); {after}", call_id=call_id)


def _dial(target: Target, address: Address | None, dial_s: float) -> socket.socket:
    if address is not None:
        return address.dial()
    parts, secure = _split(target.url)
    wire = socket.create_connection(parts, dial_s)
    wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    _keep_alive(wire)
    if not secure:
        return wire
    import ssl  # 20 ms, for a shared gateway alone

    try:
        secured: socket.socket = ssl.create_default_context().wrap_socket(wire, server_hostname=parts[0])
        return secured
    except BaseException:
        wire.close()
        raise


def _keep_alive(wire: socket.socket) -> None:
    """Lets the system find out that the other side has gone without a word: a cable, a sleeping laptop, a firewall that forgot.

    Without it, whoever waits for an answer waits for ever.
    """
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEP_ALIVE.items():
        if hasattr(socket, name):  # not every system has each of them
            wire.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _split(url: str) -> tuple[tuple[str, int], bool]:
    """Host and port of a URL, and whether it is secure.

    Raises:
        ConfigError: it is not an HTTP address.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigError(f"AIPLAT_GATEWAY {url!r} is not an address such as http://127.0.0.1:8080")
    secure = parts.scheme == "https"
    return (parts.hostname, port or (443 if secure else 80)), secure


async def open_async(target: Target) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, dict[str, str]]:
    """A connection for one request on this event loop, and the headers to send.

    Raises:
        OSError: nobody answers.
        GatewayUnavailable, ConfigError: there is no gateway, and none can be started.
    """
    if target.url:
        (host, port), secure = _split(target.url)
        reader, writer = await asyncio.open_connection(host, port, ssl=secure or None)
        return reader, writer, target.headers(None)
    address = read_address(target.home)
    if address is None or address.version != VERSION:
        address = await asyncio.to_thread(target.locate)
    for last in (False, True):
        if address is None:
            raise GatewayUnavailable(f"no gateway runs for {target.home.path}")
        try:
            if address.socket:
                reader, writer = await asyncio.open_unix_connection(address.socket)
            else:
                (host, port), _ = _split(address.http)
                reader, writer = await asyncio.open_connection(host, port)
            return reader, writer, target.headers(address)
        except OSError:
            if last:
                raise
            address = await asyncio.to_thread(target.start)
    raise AssertionError("the last try returns or raises")
