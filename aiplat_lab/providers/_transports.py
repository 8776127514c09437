"""How requests travel to providers: httpx's transports, one a name, chosen by `gateway.transport`.

A plug-in registers a function as `@register("transport", name)`; it is called as `make(secure=…, trust_env=…)`.
"""

from __future__ import annotations

from urllib.request import getproxies

import httpx

from aiplat_lab.core.registry import register

try:  # a fifth of the processor time of httpx's own transport
    import aiohttp
    from httpx_aiohttp.transport import AiohttpResponseStream, AiohttpTransport, map_aiohttp_exceptions
    from yarl import URL

    from aiplat_lab.providers._direct import KEEPALIVE_S, Direct

    LEAN = True
except ImportError:  # httpx alone does the same, slower
    LEAN = False
    KEEPALIVE_S = 60.0

FAILURES: tuple[type[Exception], ...] = (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL) + ((aiohttp.ClientError,) if LEAN else ())
"""What a transport raises when there is no connection, or none any more."""


@register("transport", "httpx")
def plain(*, secure: bool, trust_env: bool) -> httpx.AsyncBaseTransport:
    """httpx's own transport, which needs no other package; no limit on connections, since the gateway has its own."""
    # It looks at every idle connection before and after each call: sixty of them cost five times what twenty do.
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=20, keepalive_expiry=KEEPALIVE_S)
    return httpx.AsyncHTTPTransport(verify=secure, trust_env=trust_env, limits=limits)


@register("transport", "aiohttp")
def lean(*, secure: bool, trust_env: bool) -> httpx.AsyncBaseTransport:
    """Connections of our own, read by aiohttp's parser; behind a proxy, aiohttp's client. Neither has a limit of its own.

    Args:
        secure: whether certificates are needed at all; reading them takes a while.
        trust_env: whether the organisation's proxies and certificates count.
    """
    if not LEAN:
        return plain(secure=secure, trust_env=trust_env)
    if trust_env and any(name in getproxies() for name in ("http", "https", "all")):
        return _Lean(verify=secure, trust_env=trust_env)
    return Direct(httpx.create_ssl_context(trust_env=trust_env) if secure else None)


if LEAN:

    class _Lean(AiohttpTransport):
        """The transport of httpx-aiohttp, with addresses sent as they were written: a signature covers each of their signs."""

        def __init__(self, *, verify: bool, trust_env: bool) -> None:
            super().__init__(verify=verify, trust_env=trust_env)
            self._trust_env = trust_env

        def get_client(self) -> aiohttp.ClientSession:
            """The session, made when first needed."""
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_S, ssl=self.ssl_context)
            return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=self._trust_env)

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            """The answer, with its head read."""
            if not isinstance(self.client, aiohttp.ClientSession):
                self.client = self.get_client()
            timeout = request.extensions.get("timeout") or {}
            with map_aiohttp_exceptions():
                answer = await self.client.request(
                    request.method,
                    URL(str(request.url), encoded=True),
                    headers=request.headers,
                    data=request.content or None,
                    allow_redirects=False,
                    auto_decompress=False,
                    timeout=aiohttp.ClientTimeout(sock_connect=timeout.get("connect")),
                )
            return httpx.Response(answer.status, headers=answer.raw_headers, stream=AiohttpResponseStream(answer), request=request)
