"""A second deployment is asked when the first is silent: the first answer wins, seldom and never under a hard budget."""

from __future__ import annotations

import asyncio
import time

import pytest
from faults import FIXED_TEXT, FaultServer
from gatewaykit import PRICED, World, ask, model, world

from aiplat_lab.core.errors import CallCancelled
from aiplat_lab.core.settings import Home

HEDGED = "hedge_after_s = 0.1\n"


def hedged(name: str, *deployments: str) -> str:
    return model(name, *deployments, more=f", {PRICED}") + HEDGED


def test_the_quicker_one_wins_and_the_other_is_cancelled(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, hedged("m", "hang", "instant")) as here:
            began = time.monotonic()
            answer = await here.gateway.handle(ask("m"))
            assert answer.text == FIXED_TEXT and time.monotonic() - began < 1.5
            row = here.row(answer.call_id)
            assert {"hedged", "fallback"} <= set(row["flags"]) and (row["attempts"], row["response_model"]) == (2, "instant")
            assert row["provider"] == "up" and row["cost_usd"] is not None
            assert await asyncio.to_thread(upstream.wait_for, lambda: upstream.disconnects, 2.0), "the loser's provider is told"

    asyncio.run(run())


def test_the_first_may_still_win(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, hedged("m", "echo-300ms@first", "echo-3000ms@second")) as here:
            answer = await here.gateway.handle(ask("m", "one"))
            row = here.row(answer.call_id)
            assert answer.response_model == "echo-300ms@first" and "hedged" in row["flags"] and "fallback" not in row["flags"]

    asyncio.run(run())


def test_a_stream_is_hedged_until_its_first_piece(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, hedged("m", "slow-first-5s", "instant")) as here:
            async with here.gateway.stream(ask("m", stream=True)) as pieces:
                assert "".join([piece.text async for piece in pieces]) == FIXED_TEXT
            row = here.row(pieces.call_id)
            assert "hedged" in row["flags"] and row["response_model"] == "instant" and row["latency_s"] < 2
            assert await asyncio.to_thread(upstream.wait_for, lambda: not upstream.open_requests, 2.0)

    asyncio.run(run())


def test_an_answer_in_time_is_asked_once(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, hedged("m", "instant@a", "instant@b")) as here:
            for _ in range(5):
                assert "hedged" not in (await here.gateway.handle(ask("m"))).flags
            assert not here.asked("instant@b")

    asyncio.run(run())


def test_a_failure_in_time_falls_back_as_ever(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, hedged("m", "status-401", "instant")) as here:
            row = here.row((await here.gateway.handle(ask("m"))).call_id)
            assert "fallback" in row["flags"] and "hedged" not in row["flags"]

    asyncio.run(run())


def test_when_both_fail_a_third_is_asked(home: Home, upstream: FaultServer) -> None:
    short = f'[providers.short]\nkind = "openai"\nbase_url = "{upstream.openai_url}"\nregion = "uk"\ntimeout_s = 0.4\nretries = 0\n'
    toml = hedged("m", "hang@a", "status-401@b", "instant@c").replace('"up", model = "hang@a"', '"short", model = "hang@a"')

    async def run() -> None:
        async with world(home, upstream, short + toml) as here:
            answer = await here.gateway.handle(ask("m"))
            row = here.row(answer.call_id)
            assert (answer.response_model, row["attempts"]) == ("instant@c", 3) and {"hedged", "fallback"} <= set(row["flags"])

    asyncio.run(run())


def test_one_call_in_twenty_at_most_is_doubled(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, hedged("m", "echo-150ms@slow", "echo@quick")) as here:
            calls = 60
            await asyncio.gather(*(here.gateway.handle(ask("m", f"one {index}")) for index in range(calls)))
            assert len(upstream.requests) - calls == here.asked("echo@quick") == calls // 20

    asyncio.run(run())


def test_a_hard_budget_is_never_doubled(home: Home, upstream: FaultServer) -> None:
    budget = '[[budgets]]\nlimit_usd = 1\nperiod = "total"\nhard = {hard}\n'

    async def run(hard: str, expected: bool) -> None:
        toml = budget.format(hard=hard) + hedged("m", f"echo-300ms@{hard}", f"instant@{hard}")
        async with world(home, upstream, toml) as here:
            answer = await here.gateway.handle(ask("m", "one", settings={"max_tokens": 20}))
            assert ("hedged" in answer.flags) is expected and bool(here.asked(f"instant@{hard}")) is expected

    asyncio.run(run("true", False))
    asyncio.run(run("false", True))


def test_a_cancelled_call_leaves_nothing_behind(home: Home, upstream: FaultServer) -> None:
    async def run(here: World) -> None:
        request = ask("m")
        task = asyncio.create_task(here.gateway.handle(request))
        assert await asyncio.to_thread(upstream.wait_for, lambda: len(upstream.requests) == 2, 3.0)
        assert here.gateway.cancel(request.call_id)
        with pytest.raises(CallCancelled):
            await task
        assert await asyncio.to_thread(upstream.wait_for, lambda: not upstream.open_requests, 2.0)
        row = here.row(request.call_id)
        assert (row["status"], row["attempts"]) == ("cancelled", 2) and "hedged" in row["flags"]

    async def go() -> None:
        async with world(home, upstream, hedged("m", "hang@a", "hang@b")) as here:
            await run(here)

    asyncio.run(go())
