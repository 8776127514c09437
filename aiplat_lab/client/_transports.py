"""How a routed request reaches the home's own gateway from within an SDK's HTTP library: over the owner's socket."""

from __future__ import annotations

import asyncio
import os
import threading
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary

from aiplat_lab.client._hosts import INSIDE
from aiplat_lab.client._wire import Target
from aiplat_lab.core.errors import AiplatError
from aiplat_lab.gateway.process import Address

TARGET = "aiplat_target"
"""The extension of a request that says which gateway it is for."""
TOLD = "aiplat_told"
"""The extension that makes the body of an answer out of an error."""


class Ways:
    """The transports of one library, `httpx` or `httpx2`."""

    def __init__(self, lib: ModuleType) -> None:
        self._lib = lib
        self._sync = _sync_transport(lib)
        self._async = _async_transport(lib)

    def ours(self, url: Any) -> bool:  # Any: the library's own URL
        """Whether a request goes to the home's own gateway."""
        return bool(url.host == INSIDE)

    def of(self, kind: str) -> Any:  # Any: the library's own transport
        """The transport for a blocking or an asynchronous client."""
        return self._sync if kind == "sync" else self._async


class _Pool:
    """One inner transport for each address of the gateway; forgotten by a process that was forked."""

    def __init__(self, make: Any) -> None:  # Any: the library's transport class
        self._make = make
        self._lock = threading.Lock()
        self._key: tuple[object, ...] = ()
        self._inner: Any = None

    def inner(self, address: Address) -> Any:
        """The transport to an address."""
        key = (os.getpid(), address.socket, address.http)
        with self._lock:
            if key != self._key:  # what was open before is left to the calls that still read from it
                self._key = key
                self._inner = self._make(uds=address.socket or None, verify=False, trust_env=False)
            return self._inner


def _at(lib: ModuleType, request: Any, address: Address) -> None:  # Any: the library's own request
    """Says to a request whose door it comes to; only loopback TCP needs a port and a token."""
    if not address.socket:
        host, _, port = address.http.removeprefix("http://").partition(":")
        request.url = request.url.copy_with(scheme="http", host=host, port=int(port))
        request.headers["Host"] = f"{host}:{port}"
        request.headers["X-Aiplat-Token"] = address.token


def _located(target: Target, *, again: bool) -> Address:
    address = target.start() if again else target.locate()
    assert address is not None, "a shared gateway is reached by the SDK's own transport"
    return address


def _no_answer(lib: ModuleType, request: Any, error: AiplatError) -> Any:  # Any: the library's own request and response
    """What an SDK is told where there is no gateway, and none can be started."""
    body = request.extensions[TOLD](error)
    return lib.Response(503, headers={"Content-Type": "application/json", "x-should-retry": "false"}, content=body, request=request)


def _sync_transport(lib: ModuleType) -> Any:  # Any: the library's own base class
    class GatewayTransport(lib.BaseTransport):  # type: ignore[misc,name-defined]  # a module's class, known when it runs
        """To the home's own gateway, started when none runs."""

        def __init__(self) -> None:
            self._pool = _Pool(lib.HTTPTransport)

        def handle_request(self, request: Any) -> Any:
            for again in (False, True):
                try:
                    address = _located(request.extensions[TARGET], again=again)
                except AiplatError as error:
                    return _no_answer(lib, request, error)
                _at(lib, request, address)
                try:
                    return self._pool.inner(address).handle_request(request)
                except lib.ConnectError:
                    if again:
                        raise
            raise AssertionError("the second try returns or raises")

    return GatewayTransport()


def _async_transport(lib: ModuleType) -> Any:  # Any: as in `_sync_transport`
    class AsyncGatewayTransport(lib.AsyncBaseTransport):  # type: ignore[misc,name-defined]  # as in `_sync_transport`
        """As `GatewayTransport`; connections belong to their event loop."""

        def __init__(self) -> None:
            self._pools: WeakKeyDictionary[Any, _Pool] = WeakKeyDictionary()

        async def handle_async_request(self, request: Any) -> Any:
            pool = self._pools.setdefault(asyncio.get_running_loop(), _Pool(lib.AsyncHTTPTransport))
            for again in (False, True):
                try:
                    address = await asyncio.to_thread(_located, request.extensions[TARGET], again=again)
                except AiplatError as error:
                    return _no_answer(lib, request, error)
                _at(lib, request, address)
                try:
                    return await pool.inner(address).handle_async_request(request)
                except lib.ConnectError:
                    if again:
                        raise
            raise AssertionError("the second try returns or raises")

    return AsyncGatewayTransport()
