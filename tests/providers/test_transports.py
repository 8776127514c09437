"""The way requests travel is a setting: aiohttp's, httpx's, or a plug-in's."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from faults import FaultServer
from gatewaykit import ask, model, world
from wirekit import chat, make

from aiplat_lab.core import registry
from aiplat_lab.core.errors import ConfigError
from aiplat_lab.core.registry import names, register
from aiplat_lab.core.settings import Home
from aiplat_lab.providers._transports import plain

REPLY = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}]}


@pytest.mark.parametrize("transport", ["aiohttp", "httpx"])
def test_both_send_the_same(transport: str) -> None:
    talk = chat("groq", REPLY, transport=transport)
    assert talk.response.text == "x"
    assert talk.seen.headers["content-type"] == "application/json"
    assert talk.seen.headers["user-agent"].startswith("aiplat-lab/")
    assert {"aiohttp", "httpx"} <= set(names("transport"))


def test_a_plug_ins_transport_is_used_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []

    class Counted(httpx.AsyncBaseTransport):
        def __init__(self) -> None:
            self._inner = plain(secure=False, trust_env=False)

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            sent.append(str(request.url))
            return await self._inner.handle_async_request(request)

        async def aclose(self) -> None:
            await self._inner.aclose()

    monkeypatch.setitem(registry._found, ("transport", "counted"), None)  # so that it is gone after

    @register("transport", "counted")
    def counted(*, secure: bool, trust_env: bool) -> httpx.AsyncBaseTransport:
        assert (secure, trust_env) == (False, False)  # plain HTTP to this machine
        return Counted()

    assert chat("groq", REPLY, transport="counted").response.text == "x"
    assert len(sent) == 1


def test_an_unknown_transport_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match=r"no transport called 'aiohtp'. Did you mean aiohttp"):
        chat("groq", REPLY, transport="aiohtp")


@pytest.mark.parametrize("transport", ["aiohttp", "httpx"])
def test_the_gateways_setting_reaches_every_provider(tmp_path: Any, transport: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UP_KEY", "k")

    async def inside(upstream: FaultServer) -> str:
        toml = model("m", "echo") + f'[gateway]\ntransport = "{transport}"\n'
        async with world(Home(tmp_path).create(), upstream, toml) as there:
            assert (await there.gateway.handle(ask("m", "hello"))).text == "hello"
            provider: Any = there.gateway._providers["up"]
            return type(provider._endpoint.transport()).__module__.partition(".")[0]

    with FaultServer() as upstream:
        module = asyncio.run(inside(upstream))
    assert (module == "httpx") is (transport == "httpx")


def test_the_gateway_refuses_an_unknown_transport_at_its_start(tmp_path: Any) -> None:
    async def inside(upstream: FaultServer) -> None:
        async with world(Home(tmp_path).create(), upstream, '[gateway]\ntransport = "htpx"\n'):
            pass

    with FaultServer() as upstream, pytest.raises(ConfigError, match=r"gateway.transport .* Did you mean httpx"):
        asyncio.run(inside(upstream))


def test_a_provider_may_have_a_transport_of_its_own() -> None:
    async def inside() -> list[str]:
        found = []
        for own in ("aiohttp", "httpx"):
            provider = make("groq", type("U", (), {"url": "http://127.0.0.1:9"})(), transport=own)
            found.append(type(provider._endpoint.transport()).__name__)
            await provider.aclose()
        return found

    assert asyncio.run(inside()) == ["Direct", "AsyncHTTPTransport"]
