"""The exact cache: what is answered from the ledger, what is not, and what it saves."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from faults import FaultServer
from gatewaykit import PRICED, ask, model, world

from aiplat_lab.core.settings import Home
from aiplat_lab.core.types import Message, Request

FAST = model("fast", "echo", more=", " + PRICED)
NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def test_the_same_question_costs_once(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, FAST) as here:
            first = await here.gateway.handle(ask("fast", "one two", cache="auto", team="a"))
            second = await here.gateway.handle(ask("fast", "one two", cache="auto", team="a"))
            assert (first.cache, second.cache) == ("miss", "hit")
            assert second.text == first.text and second.usage == first.usage and second.call_id != first.call_id
            assert second.cost_usd == 0 and second.baseline_cost_usd == first.cost_usd and first.cost_usd
            row = here.row(second.call_id)
            assert (row["status"], row["cache"], row["policy"], row["attempts"]) == ("ok", "hit", "cache", 0)
            assert (row["cost_usd"], row["baseline_cost_usd"]) == (0, first.cost_usd)
            assert row["response_hash"] == here.row(first.call_id)["response_hash"]
            assert len(upstream.requests) == 1

    asyncio.run(run())


def test_an_answer_survives_a_restart(home: Home, upstream: FaultServer) -> None:
    async def first() -> Decimal | None:
        async with world(home, upstream, FAST) as here:
            return (await here.gateway.handle(ask("fast", cache="on"))).cost_usd

    async def second(cost: Decimal | None) -> None:
        async with world(home, upstream, FAST) as here:
            for _ in range(2):
                answer = await here.gateway.handle(ask("fast", cache="on"))
                assert answer.cache == "hit" and answer.text == "Say something" and answer.baseline_cost_usd == cost
                assert answer.finish_reason == "stop" and answer.usage is not None and answer.provider == "up"

    asyncio.run(second(asyncio.run(first())))
    assert len(upstream.requests) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"text": "another"},
        {"team": "b"},
        {"settings": {"temperature": 0.5}},
        {"cache": "off"},
        {"cache": "refresh"},
        {"model": "up/echo"},
    ],
)
def test_another_question_is_asked(home: Home, upstream: FaultServer, change: dict[str, object]) -> None:
    async def run() -> None:
        async with world(home, upstream, FAST) as here:
            base: dict[str, object] = {"model": "fast", "text": "x", "cache": "on", "team": "a"}
            await here.gateway.handle(ask(**base))  # type: ignore[arg-type]
            other = await here.gateway.handle(ask(**{**base, **change}))  # type: ignore[arg-type]
            assert other.cache == ("off" if change.get("cache") == "off" else "miss") and len(upstream.requests) == 2

    asyncio.run(run())


def test_refresh_asks_again_and_keeps(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, FAST) as here:
            await here.gateway.handle(ask("fast", cache="on"))
            fresh = await here.gateway.handle(ask("fast", cache="refresh"))
            assert fresh.cache == "miss" and len(upstream.requests) == 2
            assert (await here.gateway.handle(ask("fast", cache="on"))).cache == "hit"

    asyncio.run(run())


@pytest.mark.parametrize(
    ("surface", "settings", "expected"),
    [
        ("magic", {}, "hit"),
        ("report", {}, "hit"),
        ("http", {}, "off"),
        ("http", {"temperature": 0}, "hit"),
        ("http", {"temperature": 0.7}, "off"),
        ("http", {"seed": 0}, "hit"),
    ],
)
def test_what_auto_means(home: Home, upstream: FaultServer, surface: str, settings: dict[str, object], expected: str) -> None:
    async def run() -> None:
        async with world(home, upstream, FAST) as here:
            for _ in range(2):
                answer = await here.gateway.handle(ask("fast", cache="auto", surface=surface, settings=settings))
            assert answer.cache == expected

    asyncio.run(run())


@pytest.mark.parametrize(("name", "settings"), [("echo", {"max_tokens": 1}), ("no-finish", {}), ("filtered", {}), ("status-500", {})])
def test_what_is_not_whole_is_not_kept(home: Home, upstream: FaultServer, name: str, settings: dict[str, object]) -> None:
    async def run(expected: int) -> None:
        async with world(home, upstream, model("m", name, "echo@2")) as here:
            for _ in range(2):
                answer = await here.gateway.handle(ask("m", "one two three", cache="on", settings=settings))
                assert answer.cache == "miss"
            assert len(here.rows()) == expected

    asyncio.run(run(2))
    asyncio.run(run(4))


def test_a_broken_stream_is_not_kept(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream) as here:
            for _ in range(2):
                async with here.gateway.stream(ask("up/slow-stream", stream=True, cache="on")) as pieces:
                    await anext(pieces)
            assert len(upstream.requests) == 2

    asyncio.run(run())


def test_streams_replay_and_share_with_plain_calls(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, FAST) as here:
            async with here.gateway.stream(ask("fast", "a b c", stream=True, cache="on")) as pieces:
                whole = "".join([piece.text async for piece in pieces])
            plain = await here.gateway.handle(ask("fast", "a b c", cache="on"))
            assert plain.cache == "hit" and plain.text == whole
            async with here.gateway.stream(ask("fast", "a b c", stream=True, cache="on")) as again:
                assert again.cache == "hit"
                seen = [piece async for piece in again]
            assert "".join(piece.text for piece in seen) == whole and seen[-1].finish_reason == "stop"
            assert again.response is not None and again.response.cache == "hit" and again.response.cost_usd == 0
            assert len(upstream.requests) == 1

    asyncio.run(run())


@pytest.mark.parametrize("restarted", [False, True])
def test_tool_calls_and_embeddings_replay(home: Home, upstream: FaultServer, restarted: bool) -> None:
    tools = ask("up/tools", cache="on")
    vectors = Request(model="up/instant", operation="embed", inputs=("one", "two"), cache="on", attribution=tools.attribution)

    async def run(expected: str) -> list[object]:
        async with world(home, upstream) as here:
            given: list[object] = []
            for request in (tools, vectors):
                answer = await here.gateway.handle(replace(request, call_id=ask("x").call_id))
                assert answer.cache == expected
                given += [answer.tool_calls, answer.embeddings, answer.finish_reason]
            if not restarted and expected == "miss":
                for request in (tools, vectors):
                    answer = await here.gateway.handle(replace(request, call_id=ask("x").call_id))
                    assert answer.cache == "hit"
            return given

    first = asyncio.run(run("miss"))
    assert asyncio.run(run("hit")) == first
    assert len(upstream.requests) == 2


def test_answers_grow_old(home: Home, upstream: FaultServer) -> None:
    now = [NOW]

    async def run() -> None:
        async with world(home, upstream, "[cache]\nttl_s = 60\n" + FAST, clock=lambda: now[0]) as here:
            await here.gateway.handle(ask("fast", cache="on"))
            now[0] += timedelta(seconds=50)
            assert (await here.gateway.handle(ask("fast", cache="on"))).cache == "hit"
            now[0] += timedelta(seconds=20)
            assert (await here.gateway.handle(ask("fast", cache="on"))).cache == "miss"

    asyncio.run(run())


def test_the_cache_can_be_switched_off(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, "[cache]\nenabled = false\n" + FAST) as here:
            for _ in range(2):
                assert (await here.gateway.handle(ask("fast", cache="on"))).cache == "off"

    asyncio.run(run())


def test_an_erased_answer_is_asked_for_again(home: Home, upstream: FaultServer) -> None:
    async def run(expected: str) -> str:
        async with world(home, upstream, FAST) as here:
            answer = await here.gateway.handle(ask("fast", cache="on"))
            assert answer.cache == expected
            return str(here.row(answer.call_id)["response_hash"])

    digest = asyncio.run(run("miss"))

    async def erase() -> None:
        async with world(home, upstream, FAST) as here:
            here.ledger.erase_payload(digest)

    asyncio.run(erase())
    asyncio.run(run("miss"))


def test_two_at_once_are_safe(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, FAST) as here:
            answers = await asyncio.gather(*(here.gateway.handle(ask("fast", cache="on")) for _ in range(8)))
            assert {answer.text for answer in answers} == {"Say something"}
            assert (await here.gateway.handle(ask("fast", cache="on"))).cache == "hit"
            assert len(here.rows()) == 9

    asyncio.run(run())


def test_who_asks_with_pictures(home: Home, upstream: FaultServer) -> None:
    def picture(url: str) -> Request:
        parts = ({"type": "text", "text": "what is it"}, {"type": "image_url", "image_url": {"url": url}})
        return replace(ask("fast", cache="on"), messages=(Message("user", parts),))

    async def run() -> None:
        async with world(home, upstream, FAST) as here:
            assert (await here.gateway.handle(picture("https://x/a.png"))).cache == "miss"
            assert (await here.gateway.handle(picture("https://x/b.png"))).cache == "miss"
            assert (await here.gateway.handle(picture("https://x/a.png"))).cache == "hit"

    asyncio.run(run())
