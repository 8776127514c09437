"""HTTP to one provider: one shared client, the key read at the last moment, deadlines, and failures in plain words."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from http.cookiejar import CookieJar
from typing import Any

import httpx

from aiplat_lab.core.errors import ConfigError, ProviderError
from aiplat_lab.core.settings import SETTINGS_FILE, ProviderSettings, Secret, secret
from aiplat_lab.core.types import Deployment, Json, Request
from aiplat_lab.core.version import VERSION
from aiplat_lab.providers._failures import Where, bad_reply, cut_off, from_status, too_slow, unreachable
from aiplat_lab.providers._sse import Event, EventReader, EventTooLong

try:  # a fifth of the processor time of httpx's own transport
    import aiohttp
    from httpx_aiohttp import AiohttpTransport

    LEAN = True
except ImportError:  # httpx alone does the same, slower
    LEAN = False

MAX_REPLY_BYTES = 256 * 1024 * 1024
"""The largest plain answer that is taken."""
_KEEPALIVE_S = 60.0
_KEYRING_S = 300.0
_VAULT_S = 5.0
_DRAIN_S = 0.05
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_FAILURES: tuple[type[Exception], ...] = (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL) + (
    (aiohttp.ClientError,) if aiohttp else ()
)


class Endpoint:
    """Where one provider is reached.

    The client is made inside the running loop when first needed, and once for each loop.

    Args:
        name: the name under `[providers]`.
        settings: its settings.
        base_url: the kind's own address, for settings that name none.
        auth: the headers that carry a key.
        headers: further headers of the wire format.
        transport: how requests travel; chosen here when left out.

    Raises:
        ConfigError: the base URL is not an HTTP address, or a header cannot be sent.
    """

    def __init__(
        self,
        name: str,
        settings: ProviderSettings,
        *,
        base_url: str,
        auth: Callable[[str], Mapping[str, str]],
        headers: Mapping[str, str] | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.name = name
        self.settings = settings
        self._own_address = not settings.base_url
        self._base = _base(name, settings.base_url or base_url)
        self._auth = auth
        for header, value in settings.headers.items():
            if not (_HEADER.fullmatch(header) and value.isascii() and value.isprintable()):
                raise ConfigError(f"{SETTINGS_FILE}: providers.{name}.headers: {header!r} or its value holds what no header can carry")
        self._headers = {"Content-Type": "application/json", "User-Agent": f"aiplat-lab/{VERSION}", **(headers or {}), **settings.headers}
        self._transport = transport
        self._client: httpx.AsyncClient | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._urls: dict[str, httpx.URL] = {}
        self._kept_key: tuple[float, Secret] | None = None

    @property
    def host(self) -> str:
        """Host and port."""
        return self._base.netloc.decode("ascii", "replace")

    def where(self, model: str) -> Where:
        """This provider and that model, as error texts name them."""
        return Where(self.name, model, self.host, self.settings.api_key)

    async def post(self, path: str, body: Mapping[str, Json], *, request: Request, deployment: Deployment) -> dict[str, Json]:
        """The JSON object that answers a POST.

        Raises:
            ProviderError: whatever went wrong there.
            ConfigError: the key's reference leads nowhere.
        """
        exchange = _Exchange(self, deployment.model, request, deployment)
        async with exchange.send("POST", path, body) as response:
            raw = await exchange.whole(response)
        return exchange.json_object(raw, response)

    async def get(self, path: str, *, timeout_s: float = 20.0) -> dict[str, Json]:
        """The JSON object that answers a GET, within `timeout_s` seconds; errors as `post`."""
        exchange = _Exchange(self, "", Request(model="", timeout_s=timeout_s), None)
        async with exchange.send("GET", path, None) as response:
            raw = await exchange.whole(response)
        return exchange.json_object(raw, response)

    @asynccontextmanager
    async def events(
        self, path: str, body: Mapping[str, Json], *, request: Request, deployment: Deployment
    ) -> AsyncIterator[AsyncGenerator[Event, None]]:
        """The server-sent events that answer a POST; a plain JSON answer comes as one event called `whole`.

        Leaving the context closes the connection. Errors as `post`.
        """
        exchange = _Exchange(self, deployment.model, request, deployment)
        async with exchange.send("POST", path, body) as response, aclosing(exchange.events(response)) as events:
            yield events

    async def aclose(self) -> None:
        """Closes all connections."""
        client, self._client = self._client, None
        if client is not None and self._loop is asyncio.get_running_loop():
            await client.aclose()

    async def key(self) -> str:
        """The key, read now; one from a keyring is kept for five minutes and one from the vault for five seconds, since to look is slow.

        Raises:
            ConfigError: there is none, or it holds characters that no header can carry.
        """
        reference = self.settings.api_key
        if not reference:
            if self._own_address:
                example = f'api_key = "env:{self.name.upper().replace("-", "_")}_API_KEY"'
                raise ConfigError(f"{self.name}: {SETTINGS_FILE} names no key: under [providers.{self.name}] write {example}")
            return ""
        if self._kept_key is not None and self._kept_key[0] > time.monotonic():
            return self._kept_key[1].reveal()
        try:
            kept_s = _KEYRING_S if reference.startswith("keyring:") else _VAULT_S if reference.startswith("vault:") else 0.0
            if kept_s:
                found = await asyncio.to_thread(secret, reference)
                self._kept_key = (time.monotonic() + kept_s, found)
            else:
                found = secret(reference)
        except ConfigError as error:
            raise ConfigError(f"providers.{self.name}.api_key: {error.message}") from None
        value = found.reveal().strip()
        if not (value.isascii() and value.isprintable()):
            raise ConfigError(f"providers.{self.name}.api_key: what {reference} names holds characters that no key has; set it again")
        return value

    def forget_key(self) -> None:
        """Makes the next call read the key anew."""
        self._kept_key = None

    def build(self, method: str, path: str, body: Mapping[str, Json] | None, key: str) -> httpx.Request:
        """The HTTP request, ready to send."""
        url = self._urls.get(path)
        if url is None:
            url = self._urls[path] = self._base.copy_with(path=self._base.path.rstrip("/") + path)
        content = None if body is None else json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
        headers = {**self._headers, **(self._auth(key) if key else {})}
        return self.client().build_request(method, url, content=content, headers=headers)

    def client(self) -> httpx.AsyncClient:
        """The shared client of the running loop."""
        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:
            trust_env = self._base.host not in _LOOPBACK  # proxies and certificates of the organisation, for the world outside
            transport = self._transport or _transport(secure=self._base.scheme == "https", trust_env=trust_env)
            timeout = httpx.Timeout(None, connect=self.settings.connect_timeout_s)
            self._client = httpx.AsyncClient(
                transport=transport, timeout=timeout, trust_env=trust_env, follow_redirects=False, cookies=_NoCookies()
            )
            self._loop = loop
        return self._client


class _NoCookies(CookieJar):
    """Keeps nothing: what one caller's answer sets must not go out with the next one's request."""

    def extract_cookies(self, response: Any, request: Any) -> None:  # Any: as the base class has it
        """Does nothing."""


async def drain(events: AsyncGenerator[Event, None]) -> None:
    """Reads the little that follows an end marker, so that the connection can serve the next call."""
    try:
        async with asyncio.timeout(_DRAIN_S):
            async for _ in events:
                pass
    except (TimeoutError, ProviderError):
        return  # the answer is complete; the connection is closed instead of kept


def _base(name: str, text: str) -> httpx.URL:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise ConfigError(f"{SETTINGS_FILE}: providers.{name}.base_url {_shown(text)} is not a URL: {error}") from None
    if url.scheme not in {"http", "https"} or not url.host:
        raise ConfigError(
            f"{SETTINGS_FILE}: providers.{name}.base_url is {_shown(text)}; it must begin with http:// or https:// and a host"
        )
    return url


def _shown(url: str) -> str:
    """The URL for a message, without a user's name and password."""
    return repr(re.sub(r"//[^/@]*@", "//***@", url))


def _transport(*, secure: bool, trust_env: bool) -> httpx.AsyncBaseTransport | None:
    """The lean transport, without a cookie jar and without a limit of its own; None leaves the choice to httpx."""
    if not LEAN:
        return None
    made = AiohttpTransport(verify=secure, trust_env=trust_env)

    def session() -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEPALIVE_S, ssl=made.ssl_context)
        return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=trust_env)

    made.client = session
    return made


class _Exchange:
    """One request and its answer, with its deadlines and its key."""

    def __init__(self, endpoint: Endpoint, model: str, request: Request, deployment: Deployment | None) -> None:
        self._endpoint = endpoint
        self._where = endpoint.where(model)
        self._total_s = request.timeout_s if request.timeout_s is not None else (deployment.timeout_s if deployment else 60.0)
        self._total_setting = "timeout_s of the request" if request.timeout_s is not None else "timeout_s"
        self._silence_s = endpoint.settings.read_timeout_s
        self._now = asyncio.get_running_loop().time
        self._deadline = self._now() + self._total_s
        self._key = ""

    @asynccontextmanager
    async def send(self, method: str, path: str, body: Mapping[str, Json] | None) -> AsyncIterator[httpx.Response]:
        """The response with its head read and its status 200; the connection is closed or given back at the end."""
        self._key = await self._endpoint.key()
        request = self._endpoint.build(method, path, body, self._key)
        client = self._endpoint.client()
        try:
            async with self._patience():
                response = await client.send(request, stream=True)
        except TimeoutError:
            raise self._too_slow() from None
        except _FAILURES as error:
            raise unreachable(self._where, error) from None
        try:
            if response.status_code != 200:
                await self._refuse(response)
            yield response
        finally:
            await response.aclose()

    async def whole(self, response: httpx.Response) -> bytes:
        """The body."""
        pieces, size = [], 0
        async with aclosing(self._pieces(response)) as source:
            async for piece in source:
                size += len(piece)
                if size > MAX_REPLY_BYTES:
                    raise bad_reply(self._where, f"more than {MAX_REPLY_BYTES} bytes")
                pieces.append(piece)
        return b"".join(pieces)

    async def events(self, response: httpx.Response) -> AsyncGenerator[Event, None]:
        """The events of a stream, or one called `whole` where plain JSON came."""
        kind = response.headers.get("content-type", "").lower()
        if kind.startswith("application/json"):
            yield Event("whole", await self.whole(response))
            return
        if kind.startswith("text/html"):
            raise bad_reply(self._where, "a web page instead of a stream", self._scrub(await self.whole(response)))
        reader = EventReader()
        async with aclosing(self._pieces(response)) as source:
            async for piece in source:
                try:
                    events = reader.feed(piece)
                except EventTooLong:
                    raise bad_reply(self._where, "an event without an end") from None
                for event in events:
                    yield event
        for event in reader.end():
            yield event

    def json_object(self, raw: bytes, response: httpx.Response) -> dict[str, Json]:
        """`raw` as a JSON object."""
        try:
            data: Any = json.loads(raw)  # Any: JSON from outside, narrowed here
        except (ValueError, RecursionError):
            kind = response.headers.get("content-type", "").partition(";")[0] or "no content type"
            what = "nothing" if not raw.strip() else f"something that is not JSON ({kind})"
            raise bad_reply(self._where, what, self._scrub(raw)) from None
        if not isinstance(data, dict):
            raise bad_reply(self._where, f"a JSON {type(data).__name__} instead of an object", self._scrub(raw))
        return data

    async def _pieces(self, response: httpx.Response) -> AsyncGenerator[bytes, None]:
        """The body as it arrives, each piece in time."""
        async with aclosing(response.aiter_bytes()) as source:  # type: ignore[type-var]  # an async generator by its nature
            while True:
                try:
                    async with self._patience():
                        piece = await anext(source, None)
                except TimeoutError:
                    raise self._too_slow() from None
                except _FAILURES:
                    raise cut_off(self._where) from None
                if piece is None:
                    return
                yield piece

    async def _refuse(self, response: httpx.Response) -> None:
        raw = self._scrub(await self.whole(response))
        if response.status_code in {401, 403}:
            self._endpoint.forget_key()
        raise from_status(self._where, response.status_code, response.headers, raw)

    def _patience(self) -> asyncio.Timeout:
        return asyncio.timeout_at(min(self._deadline, self._now() + self._silence_s))

    def _too_slow(self) -> Exception:
        if self._now() >= self._deadline:
            return too_slow(self._where, seconds=self._total_s, setting=self._total_setting)
        return too_slow(self._where, seconds=self._silence_s, setting="read_timeout_s")

    def _scrub(self, raw: bytes) -> bytes:
        """`raw` without the key, which some services repeat in their errors."""
        return raw.replace(self._key.encode(), b"***") if len(self._key) > 3 else raw
