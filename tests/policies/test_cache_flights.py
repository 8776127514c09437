"""Identical questions at the same time: one is asked, and whatever becomes of it, everybody gets what is theirs."""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal

import pytest
from faults import FaultServer
from gatewaykit import PRICED, World, ask, model, world

from aiplat_lab.core.errors import AiplatError, BudgetExceeded, CallCancelled, ProviderError
from aiplat_lab.core.settings import Home
from aiplat_lab.core.types import Call, Request, Response, utc_now

SLOW = model("slow", "echo-150ms", more=", " + PRICED)


def same(**more: object) -> Request:
    return ask("slow", "one two three", cache="on", **{"team": "a", **more})  # type: ignore[arg-type]


async def all_of(here: World, *requests: Request) -> list[Response | BaseException]:
    """Everybody's answer or error, the requests sent in this order."""
    tasks = []
    for request in requests:
        tasks.append(asyncio.create_task(here.gateway.handle(request)))
        await asyncio.sleep(0.002)
    return list(await asyncio.gather(*tasks, return_exceptions=True))


def test_one_is_asked_and_the_others_pay_nothing(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, SLOW) as here:
            first, *others = await all_of(here, *(same() for _ in range(20)))
            assert isinstance(first, Response) and first.cache == "miss" and first.cost_usd
            assert len(upstream.requests) == 1
            for other in others:
                assert isinstance(other, Response) and other.text == first.text and other.usage == first.usage
                assert (other.cache, other.cost_usd, other.baseline_cost_usd) == ("hit", Decimal(0), first.cost_usd)
                assert other.notes["cache-of"] == first.call_id and other.call_id != first.call_id
                row = here.row(other.call_id)
                assert (row["status"], row["cache"], row["policy"], row["attempts"]) == ("ok", "hit", "cache", 0)
                assert str(row["parent_id"]) == first.call_id and row["baseline_cost_usd"] == first.cost_usd
            assert len(here.gateway.cache._flights) == 0
            assert here.ledger.view_rows("cache_use", {}) == [
                {"team": "a", "hits": 19, "semantic_hits": 0, "misses": 1, "saved_usd": 19 * (first.cost_usd or 0)}
            ]

    asyncio.run(run())


def test_a_parent_that_the_caller_named_stays(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, SLOW) as here:
            first = await here.gateway.handle(same())
            other = await here.gateway.handle(same(parent_id=ask("x").call_id))
            assert other.notes["cache-of"] == first.call_id and str(here.row(other.call_id)["parent_id"]) != first.call_id

    asyncio.run(run())


def test_the_next_one_takes_over_from_one_that_failed(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream) as here:
            first, *others = await all_of(here, *(ask("up/status-400-once", cache="on") for _ in range(8)))
            assert isinstance(first, ProviderError)
            answers = [one for one in others if isinstance(one, Response)]
            assert len(answers) == 7 and len(upstream.requests) == 2
            assert sorted(one.cache for one in answers) == ["hit"] * 6 + ["miss"]

    asyncio.run(run())


def test_a_provider_that_always_fails_keeps_nobody_waiting_in_line(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream) as here:
            began = time.monotonic()
            errors = await all_of(here, *(ask("up/status-400", cache="on") for _ in range(10)))
            assert all(isinstance(one, ProviderError) for one in errors) and time.monotonic() - began < 3.0
            assert len(upstream.requests) == 10 and len(here.rows(status="error")) == 10
            assert len(here.gateway.cache._flights) == 0

    asyncio.run(run())


def test_the_next_one_takes_over_from_one_that_was_cancelled(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, SLOW) as here:
            requests = [same() for _ in range(6)]
            tasks = [asyncio.create_task(here.gateway.handle(request)) for request in requests]
            await asyncio.sleep(0.05)
            for index in (0, 1):  # the one that asks, and one that waits
                assert here.gateway.cancel(requests[index].call_id)
            first, second, *others = await asyncio.gather(*tasks, return_exceptions=True)
            assert isinstance(first, CallCancelled) and isinstance(second, CallCancelled)
            assert sorted(one.cache for one in others if isinstance(one, Response)) == ["hit", "hit", "hit", "miss"]
            assert len(upstream.requests) == 2

    asyncio.run(run())


def test_cancelled_at_the_moment_of_taking_over(home: Home, upstream: FaultServer) -> None:
    """Whoever is to ask and leaves in the same moment hands it on."""

    async def run() -> None:
        async with world(home, upstream, SLOW) as here:
            requests = [same() for _ in range(4)]
            tasks = [asyncio.create_task(here.gateway.handle(request)) for request in requests]
            await asyncio.sleep(0.05)
            cache = here.gateway.cache
            for question, flight in list(cache._flights._flights.items()):
                cache._flights.ended(question, flight.leader, None, failed=True, cancelled=True)
            tasks[1].cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert isinstance(results[1], asyncio.CancelledError)
            assert all(isinstance(results[index], Response) for index in (0, 2, 3))
            assert len(cache._flights) == 0

    asyncio.run(run())


def test_answers_that_cannot_be_shared_are_asked_for_at_once(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, SLOW) as here:
            began = time.monotonic()
            answers = await all_of(here, *(same(settings={"max_tokens": 1}) for _ in range(8)))
            assert [one.cache for one in answers if isinstance(one, Response)] == ["miss"] * 8
            assert len(upstream.requests) == 8 and time.monotonic() - began < 1.0

    asyncio.run(run())


@pytest.mark.parametrize(("shared", "asked"), [(False, 2), (True, 1)])
def test_teams_share_only_when_they_are_told_to(home: Home, upstream: FaultServer, shared: bool, asked: int) -> None:
    async def run() -> None:
        async with world(home, upstream, f"[cache]\nshared = {str(shared).lower()}\n" + SLOW) as here:
            await all_of(here, *(same(team=team) for team in "abab"))
            assert len(upstream.requests) == asked
            assert (await here.gateway.handle(same(team="a"))).cache == "hit"

    asyncio.run(run())


def test_shared_answers_are_found_after_a_restart(home: Home, upstream: FaultServer) -> None:
    async def run(team: str, expected: str) -> None:
        async with world(home, upstream, "[cache]\nshared = true\n" + SLOW) as here:
            assert (await here.gateway.handle(same(team=team))).cache == expected

    asyncio.run(run("a", "miss"))
    asyncio.run(run("b", "hit"))


def test_an_answer_from_another_region_is_not_taken(home: Home, upstream: FaultServer) -> None:
    toml = "[cache]\nshared = true\n[teams.eu]\nresidency = ['eu']\n" + model("slow", "echo-150ms@a", "echo-150ms@b, region = 'eu'")

    async def run() -> None:
        async with world(home, upstream, toml) as here:
            anywhere, european = await all_of(here, same(team="x"), same(team="eu"))
            assert isinstance(anywhere, Response) and isinstance(european, Response)
            assert (anywhere.region, european.region) == ("uk", "eu") and european.cache == "miss"

    asyncio.run(run())


def test_a_follower_waits_no_longer_than_its_own_time(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, model("slow", "echo-900ms")) as here:
            first = asyncio.create_task(here.gateway.handle(same()))
            await asyncio.sleep(0.02)
            began = time.monotonic()
            with pytest.raises(AiplatError):
                await here.gateway.handle(same(timeout_s=0.2))
            assert time.monotonic() - began < 0.7 and not first.done()
            assert (await first).text == "one two three"

    asyncio.run(run())


def test_a_follower_whose_turn_it_is_keeps_to_its_own_budget(home: Home, upstream: FaultServer) -> None:
    toml = "[[budgets]]\nuser = 'poor'\nlimit_usd = 0.000000001\n" + model("m", "status-400-once", more=", " + PRICED)

    async def run() -> None:
        async with world(home, upstream, toml) as here:
            poor = ask("m", cache="on", user_id="poor")
            first, second, third = await all_of(here, ask("m", cache="on"), poor, ask("m", cache="on"))
            assert isinstance(first, ProviderError) and isinstance(second, BudgetExceeded) and isinstance(third, Response)
            assert (await here.gateway.handle(ask("m", cache="on", user_id="poor"))).cache == "hit", "what costs nothing fits"

    asyncio.run(run())


@pytest.mark.parametrize("mode", ["off", "refresh"])
def test_who_wants_a_fresh_answer_does_not_wait(home: Home, upstream: FaultServer, mode: str) -> None:
    async def run() -> None:
        async with world(home, upstream, SLOW) as here:
            fresh = ask("slow", "one two three", team="a", cache=mode)
            first, second = await all_of(here, same(), fresh)
            assert isinstance(first, Response) and isinstance(second, Response) and second.cache != "hit"
            assert len(upstream.requests) == 2

    asyncio.run(run())


# --- streams ----------------------------------------------------------------------------------------------------------


async def read(here: World, request: Request, *, pieces: int | None = None) -> tuple[str, str, int]:
    """What a stream gives, its cache state, and in how many pieces."""
    async with here.gateway.stream(request) as stream:
        found = []
        async for piece in stream:
            found.append(piece)
            if pieces is not None and len(found) == pieces:
                break
        return "".join(piece.text for piece in found), stream.cache, len(found)


def paced(**more: object) -> Request:
    return ask("up/paced-10-20ms", cache="on", **{"stream": True, **more})  # type: ignore[arg-type]


def test_streams_and_plain_calls_share_one_stream(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream) as here:
            first = asyncio.create_task(read(here, paced()))
            await asyncio.sleep(0.03)
            others = [asyncio.create_task(read(here, paced())) for _ in range(3)]
            plain = await here.gateway.handle(paced(stream=False))
            text, state, count = await first
            assert state == "miss" and count >= 10 and len(upstream.requests) == 1
            assert plain.text == text and plain.cache == "hit"
            for other in others:
                assert (await other)[:2] == (text, "hit")

    asyncio.run(run())


def test_a_stream_that_is_left_is_taken_over(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream) as here:
            first = asyncio.create_task(read(here, paced(), pieces=3))
            await asyncio.sleep(0.03)
            second = asyncio.create_task(read(here, paced()))
            await first
            text, state, _ = await second
            assert state == "miss" and len(text.split()) == 10 and len(upstream.requests) == 2

    asyncio.run(run())


def test_a_stream_that_breaks_is_taken_over(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream) as here:
            results = await asyncio.gather(
                *(read(here, ask("up/cut-stream", stream=True, cache="on")) for _ in range(3)), return_exceptions=True
            )
            assert all(isinstance(one, ProviderError) for one in results)
            assert len(here.rows(status="error")) == 3 and len(here.gateway.cache._flights) == 0

    asyncio.run(run())


def test_the_gateway_can_be_closed_while_many_wait(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, model("slow", "hang")) as here:
            tasks = [asyncio.create_task(here.gateway.handle(same())) for _ in range(10)]
            await asyncio.sleep(0.05)
            await asyncio.wait_for(here.gateway.aclose(), 5.0)
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(one, CallCancelled) for one in results) and len(here.rows(status="cancelled")) == 10

    asyncio.run(run())


# --- masked -----------------------------------------------------------------------------------------------------------


def test_a_masked_call_is_neither_looked_up_nor_kept(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, SLOW) as here:
            cache = here.gateway.cache
            deployments = here.gateway._behind("slow")
            before = Call(request=same(), started_at=utc_now(), deployments=deployments, flags=["masked"])
            await cache.before(before)
            assert before.cache == "off" and before.response is None
            await cache.after(before)
            later = Call(request=same(), started_at=utc_now(), deployments=deployments)
            await cache.before(later)
            waits = asyncio.create_task(here.gateway.handle(same()))
            await asyncio.sleep(0.01)
            later.flags.append("masked")  # found in the answer
            later.response = Response(text="x", finish_reason="stop", provider="up", region="uk")
            await cache.after(later)
            assert (await waits).cache == "miss" and cache.state()[0]["answers"] == 1

    asyncio.run(run())


def test_what_redaction_masks_is_asked_each_time(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, "[redaction]\ninput = 'mask'\n" + SLOW) as here:
            texts = ["Write to jo.bloggs@example.com today"] * 3
            answers = await all_of(here, *(ask("slow", text, cache="on") for text in texts))
            assert [one.cache for one in answers if isinstance(one, Response)] == ["off"] * 3
            assert len(upstream.requests) == 3 and here.gateway.cache.state() == []
            plain = await all_of(here, *(ask("slow", "Write to nobody", cache="on") for _ in range(2)))
            assert [one.cache for one in plain if isinstance(one, Response)] == ["miss", "hit"]

    asyncio.run(run())
