"""Silence, ends and cancellation with the OpenAI provider, against a real upstream."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from faults import FIXED_TEXT, FaultServer
from openaikit import ask, at, chat, failing, run, stream, text_of

from aiplat_lab.core.settings import ProviderSettings
from aiplat_lab.core.types import Message, Response
from aiplat_lab.providers.openai import OpenAI


@pytest.mark.parametrize("mode", [chat, stream])
def test_silence_is_bounded(upstream: FaultServer, mode: Any) -> None:
    began = time.monotonic()
    with failing("timeout") as caught:
        mode(upstream, "hang", read_timeout_s=0.3)
    assert time.monotonic() - began < 2
    assert "providers.acme.read_timeout_s" in caught.value.message
    assert caught.value.retryable


@pytest.mark.parametrize("mode", [chat, stream])
def test_the_whole_call_is_bounded(upstream: FaultServer, mode: Any) -> None:
    model = "hang" if mode is chat else "endless-stream"
    with failing("timeout") as caught:
        mode(upstream, model, timeout_s=0.4)
    assert "providers.acme.timeout_s" in caught.value.message
    with failing("timeout") as caught:
        mode(upstream, model, request=ask(timeout_s=0.3))
    assert "0.3 s" in caught.value.message
    assert upstream.wait_for(lambda: len(upstream.disconnects) == 2), (upstream.disconnects, upstream.open_requests)


def test_a_silent_stream_keeps_what_came(upstream: FaultServer) -> None:
    with failing("timeout") as caught:
        stream(upstream, "hang-stream", read_timeout_s=0.3)
    assert text_of(caught.value.details["got"]).startswith("Hello from the")


def test_a_slow_first_answer_is_waited_for(upstream: FaultServer) -> None:
    assert chat(upstream, "slow-first-0.3s", read_timeout_s=2).text == FIXED_TEXT
    assert text_of(stream(upstream, "slow-headers-0.3s")) == FIXED_TEXT


@pytest.mark.parametrize("model", ["cut-stream", "cut-clean"])
def test_a_stream_cut_half_way_is_no_answer(upstream: FaultServer, model: str) -> None:
    with failing("cut_off") as caught:
        stream(upstream, model)
    assert text_of(caught.value.details["got"]) == "Hello from the "
    assert caught.value.retryable


def test_a_stream_cut_before_its_first_chunk(upstream: FaultServer) -> None:
    with failing("cut_off") as caught:
        stream(upstream, "cut-first")
    assert caught.value.details["got"] == []


def test_a_chunk_that_is_not_json(upstream: FaultServer) -> None:
    with failing("bad_reply") as caught:
        stream(upstream, "bad-chunk")
    assert text_of(caught.value.details["got"]) == "Hello from the "


def test_an_error_event_within_a_stream(upstream: FaultServer) -> None:
    with failing("unavailable") as caught:
        stream(upstream, "stream-error")
    assert "the upstream is overloaded" in caught.value.message
    assert caught.value.retryable


@pytest.mark.parametrize("model", ["hang", "endless-stream", "hang-stream", "slow-stream"])
@pytest.mark.parametrize("mode", ["plain", "stream"])
def test_cancelling_closes_the_connection_within_half_a_second(upstream: FaultServer, model: str, mode: str) -> None:
    if mode == "plain":
        model = "hang"

    async def use(provider: OpenAI) -> float:
        async def consume() -> None:
            if mode == "plain":
                await provider.chat(ask(), at(model))
                return
            async with provider.stream(ask(), at(model)) as chunks:
                async for _ in chunks:
                    pass

        task = asyncio.create_task(consume())
        await asyncio.sleep(0.3)
        assert upstream.open_requests == 1
        cancelled_at = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(upstream.wait_for, lambda: upstream.disconnects, 2.0)
        return upstream.disconnects[0] - cancelled_at

    assert run(upstream, use) < 0.5


def test_fifty_cancelled_streams_leave_nothing_behind(upstream: FaultServer) -> None:
    async def use(provider: OpenAI) -> float:
        async def consume() -> None:
            async with provider.stream(ask(), at("endless-stream")) as chunks:
                async for _ in chunks:
                    pass

        tasks = [asyncio.create_task(consume()) for _ in range(50)]
        assert await asyncio.to_thread(upstream.wait_for, lambda: upstream.open_requests == 50)
        cancelled_at = time.monotonic()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert await asyncio.to_thread(upstream.wait_for, lambda: len(upstream.disconnects) == 50)
        return upstream.disconnects[-1] - cancelled_at

    assert run(upstream, use) < 1.0
    assert upstream.wait_for(lambda: upstream.open_connections == 0)


def test_leaving_a_stream_early_closes_the_connection(upstream: FaultServer) -> None:
    async def use(provider: OpenAI) -> None:
        async with provider.stream(ask(), at("endless-stream")) as chunks:
            async for _ in chunks:
                break
        assert await asyncio.to_thread(upstream.wait_for, lambda: upstream.disconnects, 2.0)
        assert (await provider.chat(ask(), at("echo"))).text == "one two three"

    run(upstream, use)


def test_one_connection_serves_calls_one_after_another(upstream: FaultServer) -> None:
    async def use(provider: OpenAI) -> None:
        for _ in range(5):
            await provider.chat(ask(), at("instant"))
            async with provider.stream(ask(), at("instant")) as chunks:
                assert [chunk async for chunk in chunks]

    run(upstream, use)
    assert len({seen.peer for seen in upstream.requests}) == 1


def test_cookies_do_not_pass_from_one_call_to_the_next(upstream: FaultServer) -> None:
    async def use(provider: OpenAI) -> None:
        for _ in range(2):
            await provider.chat(ask(), at("instant"))

    run(upstream, use)
    assert not any("cookie" in seen.headers for seen in upstream.requests)


def test_many_calls_at_once(upstream: FaultServer) -> None:
    async def use(provider: OpenAI) -> list[Response]:
        return await asyncio.gather(*(provider.chat(ask(), at("instant")) for _ in range(150)))

    assert {response.text for response in run(upstream, use)} == {FIXED_TEXT}


def test_a_second_event_loop_gets_its_own_client(upstream: FaultServer) -> None:
    provider = OpenAI("acme", ProviderSettings(kind="openai", base_url=upstream.openai_url, api_key="env:TEST_PROVIDER_KEY"))

    async def once() -> str:
        text = (await provider.chat(ask(), at("instant"))).text
        await provider.aclose()
        return text

    assert [asyncio.run(once()), asyncio.run(once())] == [FIXED_TEXT] * 2


def test_a_prompt_with_a_lone_surrogate_is_sent(upstream: FaultServer) -> None:
    assert chat(upstream, "echo", request=ask(messages=(Message("user", "a \ud800 b"),))).text == "a ? b"
