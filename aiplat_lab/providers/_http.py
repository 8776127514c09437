"""HTTP to one provider: one shared client, the key read at the last moment, deadlines, and failures in plain words."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Any, NamedTuple, Protocol

import httpx

from aiplat_lab.core.errors import ConfigError, ProviderError
from aiplat_lab.core.registry import find
from aiplat_lab.core.settings import SETTINGS_FILE, ProviderSettings
from aiplat_lab.core.types import Deployment, Json, Request, wire_json
from aiplat_lab.core.version import VERSION
from aiplat_lab.providers._direct import Answer, Direct, OfHttpx
from aiplat_lab.providers._failures import Where, bad_reply, cut_off, from_status, too_slow, unreachable
from aiplat_lab.providers._keys import KeptKey
from aiplat_lab.providers._sse import BadStream, Event, EventReader, Reader
from aiplat_lab.providers._transports import FAILURES

MAX_REPLY_BYTES = 256 * 1024 * 1024
"""The largest plain answer that is taken."""
_MOST_URLS = 500
"""Addresses that are kept ready; a model's name is part of some, and callers choose it."""
_SHORT_BYTES = 1_000_000
"""A body that says it is no longer is read in one go."""
_HEADERS = {
    "Content-Type": "application/json",
    "User-Agent": f"aiplat-lab/{VERSION}",
    "Accept": "*/*",
    "Accept-Encoding": "gzip, deflate",
}
_DRAIN_S = 0.05
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_PARTS = re.compile(r"[A-Za-z0-9/+=_.~-]{16,}")
_REFERENCE = re.compile(r"((?:Bearer |Basic )?)((?:env|keyring|file|command|vault):.+)")
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


class Reply(NamedTuple):
    """A JSON object and the headers it came with."""

    data: dict[str, Json]
    headers: Mapping[str, str]


class Sign(Protocol):
    """Makes the headers that prove who asks, for wires that sign the whole request."""

    def __call__(self, method: str, url: httpx.URL, content: bytes, key: str) -> Mapping[str, str]:
        """The headers to add."""
        ...


class Form(NamedTuple):
    """A file to upload, with the fields beside it."""

    name: str
    data: bytes
    fields: Mapping[str, str] = {}


class Endpoint:
    """Where one provider is reached.

    The client is made inside the running loop when first needed, and once for each loop.

    Args:
        name: the name under `[providers]`.
        settings: its settings.
        base_url: the kind's own address, for settings that name none.
        auth: the headers that carry a key.
        headers: further headers of the wire format.
        sign: makes the headers that carry a key where these depend on the request; `auth` is not asked then.
        keyless: whether the kind's own address answers without a key.
        transport: how requests travel; by the settings when left out.

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
        sign: Sign | None = None,
        keyless: bool = False,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.name = name
        self.settings = settings
        self._base = _base(name, settings.base_url or base_url)
        self._auth = auth
        self._sign = sign
        self._kept = KeptKey(name, settings.api_key, needed=not settings.base_url and not keyless)
        for header, value in settings.headers.items():
            if not (_HEADER.fullmatch(header) and value.isascii() and value.isprintable()):
                raise ConfigError(f"{SETTINGS_FILE}: providers.{name}.headers: {header!r} or its value holds what no header can carry")
        self.kept_headers = _references(name, settings.headers)
        """Headers whose values are references, read when they are sent."""
        plain = {header: value for header, value in settings.headers.items() if header not in self.kept_headers}
        self._headers = {**_HEADERS, **(headers or {}), **plain}
        connect = httpx.Timeout(None, connect=settings.connect_timeout_s)
        self._extensions = {"timeout": connect.as_dict()}
        self._transport = transport
        self._open: httpx.AsyncBaseTransport | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._urls: dict[str, httpx.URL] = {}

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
        return (await self.reply(path, body, request=request, deployment=deployment)).data

    async def reply(
        self,
        path: str,
        body: Mapping[str, Json],
        *,
        request: Request,
        deployment: Deployment,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """As `post`, with further headers to send, and with the answer's headers."""
        exchange = _Exchange(self, deployment.model, request, deployment)
        answer = await exchange.send("POST", path, body, headers)
        try:
            raw = await exchange.whole(answer)
        finally:
            await answer.aclose()
        return Reply(exchange.json_object(raw, answer), answer.headers)

    async def get(self, path: str, *, timeout_s: float = 20.0) -> dict[str, Json]:
        """The JSON object that answers a GET, within `timeout_s` seconds; errors as `post`."""
        return await self._told("GET", path, None, timeout_s)

    async def send_json(self, path: str, body: Mapping[str, Json], *, timeout_s: float = 300.0) -> dict[str, Json]:
        """The JSON object that answers a POST which is no call of a model; errors as `post`."""
        return await self._told("POST", path, body, timeout_s)

    async def _told(self, method: str, path: str, body: Mapping[str, Json] | None, timeout_s: float) -> dict[str, Json]:
        exchange = _Exchange(self, "", Request(model="", timeout_s=timeout_s), None)
        async with exchange.sent(method, path, body) as answer:
            raw = await exchange.whole(answer)
        return exchange.json_object(raw, answer)

    async def fetch(self, method: str, path: str, *, form: Form | None = None, timeout_s: float = 300.0) -> bytes:
        """What a request gives that is no call of a model, such as a file; errors as `post`.

        Args:
            method: `GET`, `POST` or `DELETE`.
            path: below the base URL.
            form: a file to send, with fields beside it.
            timeout_s: seconds for all of it.
        """
        exchange = _Exchange(self, "", Request(model="", timeout_s=timeout_s), None)
        async with exchange.sent(method, path, None, form=form) as answer:
            return await exchange.whole(answer)

    @asynccontextmanager
    async def events(
        self,
        path: str,
        body: Mapping[str, Json],
        *,
        request: Request,
        deployment: Deployment,
        headers: Mapping[str, str] | None = None,
        reader: Callable[[], Reader] = EventReader,
    ) -> AsyncIterator[AsyncGenerator[Event, None]]:
        """The events that answer a POST, server-sent unless `reader` splits them otherwise; a plain JSON answer comes as one event
        called `whole`.

        Leaving the context closes the connection. Errors as `post`.
        """
        exchange = _Exchange(self, deployment.model, request, deployment)
        async with exchange.sent("POST", path, body, headers) as answer, aclosing(exchange.events(answer, reader())) as events:
            yield events

    async def aclose(self) -> None:
        """Closes all connections."""
        transport, self._open = self._open, None
        if transport is not None and self._loop is asyncio.get_running_loop():
            await transport.aclose()

    async def key(self) -> str:
        """The key, read now; one that is slow to get is kept for a while.

        Raises:
            ConfigError: there is none, or it holds characters that no header can carry.
        """
        return await self._kept.get()

    def forget_key(self) -> None:
        """Makes the next call read the key anew."""
        self._kept.forget()

    async def open(
        self,
        method: str,
        path: str,
        body: Mapping[str, Json] | None,
        key: str,
        more: Mapping[str, str] | None = None,
        form: Form | None = None,
    ) -> Answer:
        """Sends a request, and gives the answer with its head read."""
        url = self._url(path)
        content = b"" if body is None else wire_json(body)
        headers = {**self._headers, **(self._auth(key) if key and self._sign is None else {}), **(more or {})}
        if self._sign is not None and key:
            headers.update(self._sign(method, url, content, key))
        transport = self.transport()
        if form is None and isinstance(transport, Direct):
            return await transport.ask(method, url, headers.items(), content, connect_s=self.settings.connect_timeout_s)
        if form is None:
            made = httpx.Request(method, url, content=content if body is not None else None, headers=headers, extensions=self._extensions)
        else:
            del headers["Content-Type"]  # the form says its own, with its boundary
            files = {"file": (form.name, form.data)}
            made = httpx.Request(method, url, data=dict(form.fields), files=files, headers=headers, extensions=self._extensions)
            made.read()
        return OfHttpx(await transport.handle_async_request(made))

    def _url(self, path: str) -> httpx.URL:
        url = self._urls.get(path)
        if url is None:
            if len(self._urls) >= _MOST_URLS:
                self._urls.clear()
            own, _, query = path.encode().partition(b"?")
            base, _, standing = self._base.raw_path.partition(b"?")
            asked = b"&".join(part for part in (standing, query) if part)
            url = self._urls[path] = self._base.copy_with(raw_path=base.rstrip(b"/") + own + (b"?" + asked if asked else b""))
        return url

    def transport(self) -> httpx.AsyncBaseTransport:
        """The shared transport of the running loop. It is asked without httpx's client: redirects, cookies and authentication, which
        that adds, are not wanted here, and they take as long as all the rest."""
        loop = asyncio.get_running_loop()
        if self._open is None or self._loop is not loop:
            trust_env = self._base.host not in _LOOPBACK  # proxies and certificates of the organisation, for the world outside
            transport = self._transport
            if transport is None:
                transport = find("transport", self.settings.transport or "aiohttp")(
                    secure=self._base.scheme == "https", trust_env=trust_env
                )
            self._open = transport
            self._loop = loop
        return self._open


class _KeptHeader(NamedTuple):
    before: str
    """What stands before the key, such as `Bearer `."""
    key: KeptKey


def _references(name: str, headers: Mapping[str, str]) -> dict[str, _KeptHeader]:
    """The headers whose values are references to keys."""
    found = {}
    for header, value in headers.items():
        match = _REFERENCE.fullmatch(value)
        if match:
            found[header] = _KeptHeader(match[1], KeptKey(name, match[2], needed=True, setting=f"headers.{header}"))
    return found


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
        self._secrets: tuple[str, ...] = ()

    async def send(
        self, method: str, path: str, body: Mapping[str, Json] | None, headers: Mapping[str, str] | None = None, *, form: Form | None = None
    ) -> Answer:
        """The answer with its head read and its status 200; whoever gets it closes it."""
        endpoint = self._endpoint
        self._key = await endpoint.key()
        if endpoint.kept_headers:
            referred = {name: kept.before + await kept.key.get() for name, kept in endpoint.kept_headers.items()}
            self._secrets = tuple(referred.values())
            headers = {**(headers or {}), **referred}
        try:
            async with self._patience():
                answer = await endpoint.open(method, path, body, self._key, headers, form)
        except TimeoutError:
            raise self._too_slow() from None
        except FAILURES as error:
            raise unreachable(self._where, error) from None
        if answer.status_code != 200:
            try:
                await self._refuse(answer)
            finally:
                await answer.aclose()
        return answer

    @asynccontextmanager
    async def sent(
        self, method: str, path: str, body: Mapping[str, Json] | None, headers: Mapping[str, str] | None = None, *, form: Form | None = None
    ) -> AsyncIterator[Answer]:
        """As `send`; the connection is closed or given back at the end."""
        answer = await self.send(method, path, body, headers, form=form)
        try:
            yield answer
        finally:
            await answer.aclose()

    async def whole(self, answer: Answer) -> bytes:
        """The body."""
        length = answer.headers.get("content-length", "")
        if length.isdecimal() and int(length) <= _SHORT_BYTES and "content-encoding" not in answer.headers:
            return await self._short(answer)
        pieces, size = [], 0
        async with aclosing(self._pieces(answer)) as source:
            async for piece in source:
                size += len(piece)
                if size > MAX_REPLY_BYTES:
                    raise bad_reply(self._where, f"more than {MAX_REPLY_BYTES} bytes")
                pieces.append(piece)
        return b"".join(pieces)

    async def _short(self, answer: Answer) -> bytes:
        try:
            if answer.ready():
                return await answer.whole()
            async with self._patience():
                return await answer.whole()
        except TimeoutError:
            raise self._too_slow() from None
        except FAILURES:
            raise cut_off(self._where) from None

    async def events(self, answer: Answer, reader: Reader) -> AsyncGenerator[Event, None]:
        """The events of a stream, or one called `whole` where plain JSON came."""
        kind = answer.headers.get("content-type", "").lower()
        if kind.startswith("application/json"):
            yield Event("whole", await self.whole(answer))
            return
        if kind.startswith("text/html"):
            raise bad_reply(self._where, "a web page instead of a stream", self._scrub(await self.whole(answer)))
        async with aclosing(self._pieces(answer)) as source:
            async for piece in source:
                try:
                    events = reader.feed(piece)
                except BadStream as error:
                    raise bad_reply(self._where, str(error)) from None
                for event in events:
                    yield event
        for event in reader.end():
            yield event

    def json_object(self, raw: bytes, answer: Answer) -> dict[str, Json]:
        """`raw` as a JSON object."""
        try:
            data: Any = json.loads(raw)  # Any: JSON from outside, narrowed here
        except (ValueError, RecursionError):
            kind = answer.headers.get("content-type", "").partition(";")[0] or "no content type"
            what = "nothing" if not raw.strip() else f"something that is not JSON ({kind})"
            raise bad_reply(self._where, what, self._scrub(raw)) from None
        if not isinstance(data, dict):
            raise bad_reply(self._where, f"a JSON {type(data).__name__} instead of an object", self._scrub(raw))
        return data

    async def _pieces(self, answer: Answer) -> AsyncGenerator[bytes, None]:
        """The body as it arrives, each piece in time."""
        while True:
            try:
                if answer.ready():
                    piece = await answer.more()
                else:
                    async with self._patience():
                        piece = await answer.more()
            except TimeoutError:
                raise self._too_slow() from None
            except FAILURES:
                raise cut_off(self._where) from None
            if not piece:
                return
            yield piece

    async def _refuse(self, answer: Answer) -> None:
        raw = self._scrub(await self.whole(answer))
        if answer.status_code in {401, 403}:
            self._endpoint.forget_key()
        raise from_status(self._where, answer.status_code, answer.headers, raw)

    def _patience(self) -> asyncio.Timeout:
        return asyncio.timeout_at(min(self._deadline, self._now() + self._silence_s))

    def _too_slow(self) -> Exception:
        if self._now() >= self._deadline:
            return too_slow(self._where, seconds=self._total_s, setting=self._total_setting)
        return too_slow(self._where, seconds=self._silence_s, setting="read_timeout_s")

    def _scrub(self, raw: bytes) -> bytes:
        """`raw` without the key, which some services repeat in their errors."""
        for secret in (self._key, *self._secrets):
            if len(secret) > 3:
                raw = raw.replace(secret.encode(), b"***")
            for part in _PARTS.findall(secret):  # a key may be made of several
                raw = raw.replace(part.encode(), b"***")
        return raw
