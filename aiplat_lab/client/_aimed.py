"""A request that is routed: what of it changes, in each HTTP library's own terms."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any

from aiplat_lab.client._hosts import INSIDE, Way, kept, told, without_key
from aiplat_lab.client._transports import TARGET, TOLD
from aiplat_lab.client._wire import Target
from aiplat_lab.core.errors import AiplatError
from aiplat_lab.gateway.process import Address

CACHE = "x-aiplat-cache"


@dataclass(frozen=True, slots=True, kw_only=True)
class Aimed:
    """One request on its way to the gateway."""

    target: Target
    way: Way
    who: Mapping[str, str]
    """The headers that say who asks."""
    cache: str
    """How the cache is used, where the code itself does not say."""

    def headers(self, sent: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """The headers of the request: no provider's key, and who asks. What the code itself set under `x-aiplat-` wins."""
        own = kept(sent)
        names = {name.lower() for name, _ in own}
        more = {**self.who, "x-aiplat-sdk": self.way.kind}
        if self.cache != "auto" and CACHE not in names:
            more[CACHE] = self.cache
        return [*own, *((name, value) for name, value in more.items() if name not in names), *self.target.headers(None).items()]

    def httpx(self, lib: ModuleType, request: Any) -> None:  # Any: the library's own request
        """Turns a request of `httpx` or `httpx2`."""
        query = without_key(request.url.params.multi_items())
        base = self.target.url.rstrip("/") or f"http://{INSIDE}"
        sent = [(name, value) for name, value in request.headers.multi_items() if name.lower() != "user-agent"]
        request.url = lib.URL(base + self.way.path, params=query) if query else lib.URL(base + self.way.path)
        request.headers = lib.Headers([(name.encode(), value.encode()) for name, value in self.headers(sent)])
        request.extensions = {**request.extensions, TARGET: self.target, TOLD: partial(told, self.way.kind)}

    async def aiohttp(
        self, lib: ModuleType, original: Any, session: Any, method: str, url: Any, options: dict[str, Any]
    ) -> Any:  # Any: the library's own types
        """Sends a request of `aiohttp` over a connection of its own, which ends with its answer."""
        headers = session._prepare_headers(options.pop("headers", None))
        sent = self.headers([(name, value) for name, value in headers.items() if name.lower() != "user-agent"])
        query = without_key([*url.query.items(), *_pairs(options.pop("params", None))])
        options = {name: value for name, value in options.items() if name not in {"proxy", "proxy_auth", "ssl"}}
        for again in (False, True):
            try:
                address = await asyncio.to_thread(self._address, again=again)
            except AiplatError as error:
                raise lib.ClientConnectionError(str(error)) from None
            base, token, connector = self._door(lib, address)
            own = lib.ClientSession(connector=connector, connector_owner=False, timeout=session.timeout)
            try:
                return await original(own, method, type(url)(base + self.way.path), params=query, headers=[*sent, *token], **options)
            except lib.ClientConnectorError:
                if again or self.target.url:
                    raise
            finally:
                own.detach()  # the answer keeps its connection, and needs nothing else
        raise AssertionError("the second try returns or raises")

    def _address(self, *, again: bool) -> Address | None:
        return self.target.start() if again else self.target.locate()

    def _door(self, lib: ModuleType, address: Address | None) -> tuple[str, list[tuple[str, str]], Any]:
        if address is not None and address.socket:
            return f"http://{INSIDE}", [], lib.UnixConnector(path=address.socket, force_close=True)
        base = self.target.url.rstrip("/") if address is None else address.http
        token = [("X-Aiplat-Token", address.token)] if address is not None and address.token else []
        return base, token, lib.TCPConnector(force_close=True)


def _pairs(params: Any) -> list[tuple[str, str]]:  # Any: a mapping, pairs, a text or nothing
    if not params:
        return []
    if isinstance(params, str):
        from urllib.parse import parse_qsl

        return parse_qsl(params)
    return [(str(name), str(value)) for name, value in (params.items() if hasattr(params, "items") else params)]
