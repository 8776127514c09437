"""Who can reach the port: the host that a request names, the page that it comes from, and the address that is listened on."""

from __future__ import annotations

import asyncio
import http.client
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from faults import FaultServer
from gatewaykit import World, world
from served import Served, served, stop, write_settings

from aiplat_lab.client import connect
from aiplat_lab.client._wire import Target
from aiplat_lab.core.errors import ConfigError
from aiplat_lab.core.settings import Home
from aiplat_lab.core.types import utc_now
from aiplat_lab.gateway._door import Door
from aiplat_lab.gateway._threshold import is_loopback
from aiplat_lab.gateway.process import Address, held
from aiplat_lab.gateway.server import ROUTES, fault, listen
from aiplat_lab.ledger import Ledger
from aiplat_lab.policies import KeyRing

CHAT = {"model": "up/instant", "messages": [{"role": "user", "content": "hello"}]}
PATHS = [(method, re.sub(r"\{[^}]*\}", "x", path)) for method, path, *_ in ROUTES] + [
    ("GET", "/nothing"),
    ("OPTIONS", "/v1/chat/completions"),
    ("HEAD", "/healthz"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("doors") / "home") as found:
        yield found


@pytest.fixture(scope="module")
def key(place: Served) -> str:
    return place.key(team="risk", role="owner")


class Reply:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.text = response.read().decode(errors="replace")


def ask(base: str, method: str, path: str, *, host: str | None = "", body: Any = None, **headers: str) -> Reply:
    """A request whose `Host` is what is said: empty for the right one, None for none."""
    there = urlsplit(base)
    connection = http.client.HTTPConnection(there.hostname or "", there.port, timeout=20)
    try:
        connection.putrequest(method, path, skip_host=True)
        if host is not None:
            connection.putheader("Host", host or there.netloc)
        data = b"" if body is None or method != "POST" else body if isinstance(body, bytes) else json.dumps(body).encode()
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        if method == "POST":
            connection.putheader("Content-Length", str(len(data)))
        connection.endheaders(data)
        return Reply(connection.getresponse())
    finally:
        connection.close()


# --- the host ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "LOCALHOST", "[::1]"])
def test_the_names_of_this_machine(place: Served, key: str, name: str):
    port = urlsplit(place.http).port
    assert ask(place.http, "GET", "/v1/models", host=f"{name}:{port}", x_api_key=key).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:{port}",
        "127.0.0.1",
        "localhost:1",
        "127.0.0.1.evil.example:{port}",
        "192.168.1.5:{port}",
        "x" * 5000,
        None,
    ],
)
def test_another_host_is_refused_on_every_path(place: Served, key: str, host: str | None):
    named = host.format(port=urlsplit(place.http).port) if host is not None else None
    for method, path in PATHS:
        reply = ask(place.http, method, path, host=named, body={}, x_api_key=key)
        assert reply.status in ({400, 403} if host is None else {403}), (method, path, reply.status)
        assert "spend" not in reply.text and "version" not in reply.text and len(reply.text) < 1500


def test_a_key_file_that_others_can_read_is_warned_of(place: Served, key: str):
    """It is used all the same: many systems mount secrets so."""
    file = place.home.path / "upstream.key"
    assert file.stat().st_mode & 0o044
    assert f"chmod 600 {file}" in place.home.log_file.read_text()
    assert place.upstream.key not in place.home.log_file.read_text()


# --- the page ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://evil.example:8888",
        "null",
        "file://",
        "http://127.0.0.1.evil.example",
        "http://localhost@evil.example",
        "chrome-extension://abc",
        "http://[::1",
        "",
    ],
)
def test_a_foreign_page_is_refused_on_every_path(place: Served, key: str, origin: str):
    for method, path in PATHS:
        reply = ask(place.http, method, path, body=CHAT, x_api_key=key, Origin=origin, Content_Type="application/json")
        assert reply.status == 403, (method, path, reply.status)
        assert not [name for name in reply.headers if name.startswith("access-control")]


def test_a_page_of_another_site_that_shows_no_origin(place: Served, key: str):
    """An image or a script of a page: browsers send no `Origin` with it."""
    assert ask(place.http, "GET", "/healthz", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="no-cors").status == 403
    assert ask(place.http, "POST", "/api/stop", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate", x_api_key=key).status == 403
    assert (
        ask(place.http, "GET", "/healthz", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate").status == 200
    )  # a link that was followed
    assert ask(place.http, "GET", "/healthz", Sec_Fetch_Site="none").status == 200


@pytest.mark.parametrize(
    "kind", ["text/plain", "text/plain;charset=UTF-8", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""]
)
def test_a_page_cannot_post_without_asking_first(place: Served, key: str, kind: str):
    page = {"Origin": "http://localhost:8888", "x_api_key": key}
    reply = ask(place.http, "POST", "/v1/chat/completions", body=CHAT, Content_Type=kind, **page)
    assert reply.status == 403 and "application/json" in reply.text
    preflight = ask(place.http, "OPTIONS", "/v1/chat/completions", Access_Control_Request_Method="POST", **page)
    assert preflight.status == 405 and not [name for name in preflight.headers if name.startswith("access-control")]


def test_a_page_of_this_machine_that_sends_json_and_programs_of_every_kind(place: Served, key: str):
    page = {"Origin": "http://127.0.0.1:8888", "Content_Type": "application/json"}
    reply = ask(place.http, "POST", "/v1/chat/completions", body=CHAT, x_api_key=key, **page)
    assert reply.status == 200 and not [name for name in reply.headers if name.startswith("access-control")]
    assert ask(place.http, "POST", "/v1/chat/completions", body=CHAT, **page).status == 401
    for kind in ("application/json", "text/plain", "application/x-www-form-urlencoded"):  # curl and scripts say what they like
        assert ask(place.http, "POST", "/v1/chat/completions", body=CHAT, x_api_key=key, Content_Type=kind).status == 200


def test_what_is_refused_at_the_door_asks_nobody(place: Served, key: str):
    before = len(place.upstream.requests)
    calls = place.client.view_rows("totals")[0]["calls"]
    for headers in ({"Origin": "https://evil.example"}, {"Sec_Fetch_Site": "cross-site"}):
        ask(place.http, "POST", "/v1/chat/completions", body=CHAT, x_api_key=key, Content_Type="application/json", **headers)
    assert len(place.upstream.requests) == before and place.client.view_rows("totals")[0]["calls"] == calls


# --- the address ------------------------------------------------------------------------------------------------------


@pytest.fixture
def open_home(tmp_path: Path) -> Iterator[tuple[Home, FaultServer]]:
    home = Home(tmp_path / "home").create()
    with FaultServer() as upstream:
        write_settings(home, upstream, tables='[gateway]\nhost = "0.0.0.0"\nnames = ["ai.example.org", "tunnel:9000"]\n')
        yield home, upstream
        stop(home)


def made(home: Home, **about: Any) -> str:
    ledger = Ledger.open(home)
    try:
        return KeyRing(ledger).create(**about).text
    finally:
        ledger.close()


def door_of(here: World, home: Home) -> Door:
    return Door(home=home, settings=here.gateway._settings, ledger=here.ledger, gateway=here.gateway, started_at=utc_now(), fault=fault)


def test_an_open_address_needs_a_live_key(home: Home, upstream: FaultServer):
    async def run() -> None:
        async with world(home, upstream, '[gateway]\nhost = "0.0.0.0"\n') as here:
            keys = here.gateway.keys
            for _ in range(2):
                with pytest.raises(ConfigError, match=r"no live virtual key.*aiplat keys create"):
                    await listen(door_of(here, home))
                keys.revoke(keys.create(name="old").key.id)
            keys.create(name="new")
            listening = await listen(door_of(here, home))
            await listening.aclose()

    asyncio.run(run())


def test_an_open_address_takes_its_own_names_and_keys_alone(open_home: tuple[Home, FaultServer]):
    home, _ = open_home
    with pytest.raises(ConfigError, match="no live virtual key"), connect(home) as client:
        client.status()
    assert not held(home)
    key = made(home, team="risk", role="owner")
    with connect(home) as client:
        base = client.status()["http"]
        assert base.startswith("http://127.0.0.1:")
        port = urlsplit(base).port
        for host in (
            "",
            f"localhost:{port}",
            "192.168.7.9",
            f"10.0.0.3:{port}",
            f"[fe80::1]:{port}",
            "ai.example.org",
            "AI.example.org:443",
            "tunnel:9000",
        ):
            assert ask(base, "GET", "/v1/models", host=host, x_api_key=key).status == 200, host
        for host in ("evil.example", f"evil.example:{port}", "tunnel:9001", "ai.example.org.evil", "300.1.1.1", "localhost:1x"):
            assert ask(base, "GET", "/v1/models", host=host, x_api_key=key).status == 403, host
        for headers in ({}, {"x_aiplat_token": ""}, {"x_aiplat_token": "guess"}):
            assert ask(base, "GET", "/api/status", **headers).status == 401
        assert "home" in json.loads(ask(base, "GET", "/api/status", x_api_key=key).text)  # the owner's key does what the socket does


def test_the_owners_token_and_an_open_address_do_not_go_together(home: Home, upstream: FaultServer):
    async def run() -> None:
        async with world(home, upstream, '[gateway]\nhost = "0.0.0.0"\n') as here:
            here.gateway.keys.create(name="k")
            door = door_of(here, home)
            with pytest.raises(ConfigError, match="only a loopback address"):
                await listen(door, unix=False)

    asyncio.run(run())


def test_the_owner_comes_by_tcp_with_a_token_where_there_are_no_sockets(home: Home, upstream: FaultServer):
    async def run() -> None:
        async with world(home, upstream) as here:
            door = door_of(here, home)
            listening = await listen(door, unix=False)
            try:
                address = Address(pid=1, socket="", http=listening.http, version="0", token=listening.token, started_at="")
                sent = Target(home=home).headers(address)
                answers = []
                for token in (sent["X-Aiplat-Token"], "guess"):
                    host = sent["Host"]
                    answers.append(await asyncio.to_thread(ask, listening.http, "GET", "/api/keys", host=host, x_aiplat_token=token))
                assert [one.status for one in answers] == [200, 401]
            finally:
                await listening.aclose()

    asyncio.run(run())


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
def test_a_loopback_address_needs_no_key(home: Home, upstream: FaultServer, host: str):
    async def run() -> None:
        async with world(home, upstream, f'[gateway]\nhost = "{host}"\n') as here:
            door = door_of(here, home)
            listening = await listen(door)
            try:
                assert (await asyncio.to_thread(ask, listening.http, "GET", "/healthz")).status == 200
            finally:
                await listening.aclose()

    asyncio.run(run())


def test_an_address_that_is_none(home: Home, upstream: FaultServer):
    async def run() -> None:
        async with world(home, upstream, '[gateway]\nhost = "no.such.host.invalid"\n') as here:
            here.gateway.keys.create(name="k")
            with pytest.raises(ConfigError, match=r"no\.such\.host\.invalid"):
                await listen(door_of(here, home))

    asyncio.run(run())


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("", False),
        ("10.0.0.1", False),
        ("localhost.evil", False),
    ],
)
def test_what_is_loopback(host: str, local: bool):
    assert is_loopback(host) is local
