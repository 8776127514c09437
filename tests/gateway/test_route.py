"""Retries, fallback and time limits, each against a real upstream that misbehaves."""

from __future__ import annotations

import asyncio
import time

import pytest
from faults import FIXED_TEXT, FaultServer
from gatewaykit import ask, model, world

from aiplat_lab.core.errors import ConfigError, ProviderError
from aiplat_lab.core.settings import Home
from aiplat_lab.core.types import Request, Response


def test_a_passing_fault_is_tried_again(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream) as here:
            answer = await here.gateway.handle(ask("up/status-503-once"))
            assert answer.text == FIXED_TEXT and answer.attempts == 2 and "retried" in answer.flags
            assert here.row(answer.call_id)["attempts"] == 2

    asyncio.run(run())


def test_retry_after_is_kept(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream) as here:
            began = time.monotonic()
            answer = await here.gateway.handle(ask("up/status-429-after-1"))
            assert answer.attempts == 2 and time.monotonic() - began >= 1.0
            waited = upstream.requests[1].at - upstream.requests[0].at
            assert 1.0 <= waited < 2.0

    asyncio.run(run())


def test_a_longer_wait_than_the_call_has_says_when(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream) as here:
            began = time.monotonic()
            with pytest.raises(ProviderError, match=r"asks to wait 90 s .* Send it again after \d\d:\d\d:\d\d UTC") as caught:
                await here.gateway.handle(ask("up/status-429-after-90"))
            assert time.monotonic() - began < 1.0, "it does not wait in vain"
            error = caught.value
            assert (error.reason, error.status, error.retry_after_s, error.retryable) == ("rate_limited", 429, 90.0, True)
            row = here.row(error.call_id)
            assert (row["status"], row["error_type"], row["attempts"], row["cost_usd"]) == ("error", "rate_limited", 1, 0)

    asyncio.run(run())


def test_another_deployment_is_better_than_a_long_wait(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, model("m", "status-429-after-5", "instant")) as here:
            began = time.monotonic()
            answer = await here.gateway.handle(ask("m"))
            assert answer.response_model == "instant" and "fallback" in answer.flags and time.monotonic() - began < 1.0

    asyncio.run(run())


@pytest.mark.parametrize("name", ["status-500", "status-401", "status-404", "unknown-model", "bad-json", "html-reply", "empty-reply"])
def test_the_next_deployment_answers(home: Home, upstream: FaultServer, name: str) -> None:
    async def run() -> None:
        async with world(home, upstream, model("m", name, "instant")) as here:
            answer = await here.gateway.handle(ask("m"))
            assert answer.text == FIXED_TEXT and "fallback" in answer.flags
            row = here.row(answer.call_id)
            assert row["response_model"] == "instant" and row["attempts"] == len(upstream.requests)

    asyncio.run(run())


def test_a_wrong_request_is_sent_once(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, model("m", "status-400", "instant")) as here:
            with pytest.raises(ProviderError) as caught:
                await here.gateway.handle(ask("m"))
            assert caught.value.reason == "bad_request" and len(upstream.requests) == 1

    asyncio.run(run())


def test_a_prompt_that_is_too_long_is_sent_once(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream) as here:
            with pytest.raises(ProviderError) as caught:
                await here.gateway.handle(ask("up/context-length"))
            assert caught.value.reason == "context_length" and len(upstream.requests) == 1

    asyncio.run(run())


def test_when_all_fail_the_error_names_them(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, model("m", "status-401", "status-500")) as here:
            with pytest.raises(ProviderError, match=r"Tried before it: up/status-401 \(auth\)") as caught:
                await here.gateway.handle(ask("m"))
            assert caught.value.reason == "unavailable" and caught.value.details["tried"] == ["up/status-401 (auth)"]
            row = here.row(caught.value.call_id)
            assert row["attempts"] == 1 + 3 and {"fallback", "retried"} <= set(row["flags"])

    asyncio.run(run())


def test_a_deployment_that_hangs_leaves_time_for_the_next(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, model("m", "hang", "instant")) as here:
            began = time.monotonic()
            answer = await here.gateway.handle(ask("m", timeout_s=1.2))
            assert answer.text == FIXED_TEXT and "fallback" in answer.flags
            assert 0.7 < time.monotonic() - began < 1.3 and here.asked("hang") == 1

    asyncio.run(run())


def test_a_hang_alone_ends_at_the_time_limit(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream) as here:
            request = ask("up/hang", timeout_s=0.4)
            with pytest.raises(ProviderError, match=r"no answer within 0\.4 s") as caught:
                await here.gateway.handle(request)
            assert caught.value.reason == "timeout" and here.asked("hang") == 1
            assert 0.35 < here.row(request.call_id)["latency_s"] < 1
            assert await asyncio.to_thread(upstream.wait_for, lambda: upstream.open_requests == 0, 0.5)

    asyncio.run(run())


def test_a_first_piece_that_does_not_come_falls_back(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, model("m", "slow-first-5s", "instant")) as here:
            async with here.gateway.stream(ask("m", stream=True, timeout_s=2.0)) as pieces:
                assert "".join([piece.text async for piece in pieces]) == FIXED_TEXT
            assert pieces.response is not None and "fallback" in pieces.response.flags

    asyncio.run(run())


def test_an_endpoint_that_is_down(home: Home, upstream: FaultServer) -> None:
    toml = '[providers.down]\nkind = "openai"\nbase_url = "http://127.0.0.1:9/v1"\nretries = 1\n'

    async def run() -> None:
        async with world(home, upstream, toml) as here:
            with pytest.raises(ProviderError) as caught:
                await here.gateway.handle(ask("down/x"))
            assert caught.value.reason == "unavailable" and here.row(caught.value.call_id)["attempts"] == 2

    asyncio.run(run())


def test_a_missing_key(home: Home, upstream: FaultServer) -> None:
    toml = '[providers.nokey]\nkind = "openai"\nbase_url = "http://127.0.0.1:9/v1"\napi_key = "env:NO_SUCH_KEY"\n'
    toml += '[models.both]\ndeployments = [{ provider = "nokey", model = "x" }, { provider = "up", model = "instant" }]\n'

    async def run() -> None:
        async with world(home, upstream, toml) as here:
            request = ask("nokey/x")
            with pytest.raises((ConfigError, ProviderError), match="NO_SUCH_KEY"):
                await here.gateway.handle(request)
            assert here.row(request.call_id)["status"] == "error"
            assert (await here.gateway.handle(ask("both"))).text == FIXED_TEXT

    asyncio.run(run())


def test_a_fallback_keeps_the_baseline_of_the_first(home: Home, upstream: FaultServer) -> None:
    toml = model(
        "m", "status-404, input_usd_per_mtok = 10, output_usd_per_mtok = 40", "instant, input_usd_per_mtok = 1, output_usd_per_mtok = 4"
    )

    async def run() -> None:
        async with world(home, upstream, toml) as here:
            answer = await here.gateway.handle(ask("m"))
            assert answer.cost_usd is not None and answer.baseline_cost_usd == answer.cost_usd * 10

    asyncio.run(run())


def test_a_plug_in_need_not_say_who_it_is(home: Home, upstream: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    from aiplat_lab.core import registry

    class Shout:
        wire = ""

        def __init__(self, name: str, settings: object) -> None:
            pass

        async def chat(self, request: Request, deployment: object) -> Response:
            return Response(text=request.messages[-1].text().upper())

        async def aclose(self) -> None:
            pass

    monkeypatch.setitem(registry._found, ("provider", "shout"), Shout)

    async def run() -> None:
        async with world(home, upstream, '[providers.loud]\nkind = "shout"\nregion = "eu"\n') as here:
            answer = await here.gateway.handle(ask("loud/x", "hush"))
            assert (answer.text, answer.provider, answer.region, answer.response_model) == ("HUSH", "loud", "eu", "x")
            assert {"no_finish_reason", "no_usage"} <= set(answer.flags)

    asyncio.run(run())
