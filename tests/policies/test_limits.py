"""Limits as a caller meets them: through the pipeline, over HTTP, and at the slots of deployments."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.error
import urllib.request
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from faults import FaultServer
from flowkit import run_fake
from gatewaykit import PRICED, ask, model, world
from served import served, wait_for

from aiplat_lab.core.errors import BudgetExceeded, CallCancelled, ConfigError, ProviderError, RateLimited
from aiplat_lab.core.settings import Home, parse
from aiplat_lab.core.types import Call, Deployment, Response, Usage, utc_now
from aiplat_lab.ledger import Ledger
from aiplat_lab.policies.limits import Limits

FAST = model("fast", "echo-50ms", more=", " + PRICED)


def limits_of(home: Home, toml: str = "") -> tuple[Limits, Ledger]:
    ledger = Ledger.open(home)
    return Limits(parse(toml), ledger), ledger


def call_of(**more: object) -> Call:
    return Call(request=ask("up/echo", **more), started_at=utc_now())  # type: ignore[arg-type]


# --- scopes, through the pipeline -------------------------------------------------------------------------------------


def test_a_burst_waits_and_is_answered(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, "[[limits]]\nteam = 'a'\nparallel = 2\n" + FAST) as here:
            answers = await asyncio.gather(*(here.gateway.handle(ask("fast", f"q {n}", team="a")) for n in range(8)))
            waited = [answer for answer in answers if "queued-s" in answer.notes]
            assert len(waited) == 6
            assert sorted(int(answer.notes["queue-position"]) for answer in waited) == [1, 2, 3, 4, 5, 6]
            rows = [here.row(answer.call_id) for answer in answers]
            assert sum(row["queued_s"] > 0.02 for row in rows) == 6 and max(row["queued_s"] for row in rows) > 0.1
            assert all(row["status"] == "ok" for row in rows)
            assert here.gateway.limits.queues() == [
                {"limit": "team a", "kind": "scope", "figures": "2 calls at once", "running": 0, "waiting": 0, "teams": []}
            ]

    asyncio.run(run())


def test_never_more_at_once_than_allowed(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, "[[limits]]\nparallel = 3\n" + FAST) as here:
            most = 0
            tasks = [asyncio.create_task(here.gateway.handle(ask("fast", f"q {n}", team=str(n % 3)))) for n in range(20)]
            while not all(task.done() for task in tasks):
                most = max(most, upstream.open_requests)
                await asyncio.sleep(0.002)
            assert most == 3

    asyncio.run(run())


@pytest.mark.parametrize("scope", ["team", "project", "user", "everyone"])
def test_each_scope_holds_its_own(home: Home, upstream: FaultServer, scope: str) -> None:
    named = "" if scope == "everyone" else f"{scope} = 'x'\n"

    async def run() -> None:
        async with world(home, upstream, f"[gateway]\nqueue_s = 0\n[[limits]]\n{named}rpm = 2\n" + FAST) as here:
            inside: dict[str, str] = {"team": "team", "project": "project", "user": "user_id"}
            who = {} if scope == "everyone" else {inside[scope]: "x"}
            for number in range(2):
                await here.gateway.handle(ask("fast", f"q {number}", **who))  # type: ignore[arg-type]
            with pytest.raises(RateLimited) as caught:
                await here.gateway.handle(ask("fast", "q 3", **who))  # type: ignore[arg-type]
            assert caught.value.retry_after_s == pytest.approx(30.0, abs=1.0)
            row = here.row(caught.value.call_id)
            assert (row["status"], row["error_type"], row["policy"], row["attempts"]) == ("refused", "rate_limited", "limits", 0)
            if scope != "everyone":
                assert (await here.gateway.handle(ask("fast", "q 4", **{inside[scope]: "y"}))).text  # type: ignore[arg-type]

    asyncio.run(run())


def test_a_deadline_refuses_and_is_a_row(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, "[gateway]\nqueue_s = 0.2\n[[limits]]\nparallel = 1\n" + model("slow", "echo-600ms")) as here:
            first = asyncio.create_task(here.gateway.handle(ask("slow")))
            await asyncio.sleep(0.05)
            began = time.monotonic()
            with pytest.raises(RateLimited, match=r"everyone allows 1 call at once, and this call had no place within 0\.2 s") as caught:
                await here.gateway.handle(ask("slow", "another"))
            assert 0.19 < time.monotonic() - began < 0.5
            row = here.row(caught.value.call_id)
            assert row["status"] == "refused" and row["queued_s"] == pytest.approx(0.2, abs=0.1) and row["cost_usd"] == 0
            assert (await first).text
            assert here.gateway.limits.queues()[0]["running"] == 0

    asyncio.run(run())


def test_the_calls_own_time_is_the_shorter_deadline(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, "[[limits]]\nparallel = 1\n" + model("slow", "echo-600ms")) as here:
            first = asyncio.create_task(here.gateway.handle(ask("slow")))
            await asyncio.sleep(0.05)
            with pytest.raises(RateLimited):
                await here.gateway.handle(ask("slow", "another", timeout_s=0.15))
            assert not first.done()
            await first

    asyncio.run(run())


def test_no_wait_in_vain_where_the_rate_says_so(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, "[gateway]\nqueue_s = 5\n[[limits]]\nrpm = 1\n" + FAST) as here:
            await here.gateway.handle(ask("fast", "one"))
            began = time.monotonic()
            with pytest.raises(RateLimited) as caught:
                await here.gateway.handle(ask("fast", "two"))
            assert time.monotonic() - began < 1.0 and 50 < caught.value.retry_after_s <= 60

    asyncio.run(run())


def test_a_cancelled_wait_leaves_nothing_and_the_next_moves_up(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, "[[limits]]\nparallel = 1\n" + model("slow", "echo-300ms")) as here:
            requests = [ask("slow", f"q {n}") for n in range(3)]
            tasks = [asyncio.create_task(here.gateway.handle(request)) for request in requests]
            await asyncio.sleep(0.05)
            flying = {one["call_id"]: one["queued"] for one in here.gateway.in_flight()}
            assert flying[requests[0].call_id] is None
            assert flying[requests[1].call_id]["position"] == 1 and flying[requests[1].call_id]["limit"] == "everyone"
            assert flying[requests[2].call_id]["position"] == 2
            assert here.gateway.cancel(requests[1].call_id)
            with pytest.raises(CallCancelled):
                await tasks[1]
            flying = {one["call_id"]: one["queued"] for one in here.gateway.in_flight()}
            assert flying[requests[2].call_id]["position"] == 1
            row = here.row(requests[1].call_id)
            assert row["status"] == "cancelled" and row["attempts"] == 0 and row["queued_s"] > 0
            assert (await tasks[2]).text == "q 2"
            assert here.gateway.limits.queues()[0]["running"] == here.gateway.limits.queues()[0]["waiting"] == 0

    asyncio.run(run())


def test_a_stream_keeps_its_place_until_it_ends(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, "[gateway]\nqueue_s = 0.1\n[[limits]]\nparallel = 1\n") as here:
            async with here.gateway.stream(ask("up/slow-stream", stream=True)) as pieces:
                await anext(pieces)
                with pytest.raises(RateLimited):
                    await here.gateway.handle(ask("up/echo"))
            assert (await here.gateway.handle(ask("up/echo"))).text

    asyncio.run(run())


def test_what_was_never_sent_does_not_count(home: Home, upstream: FaultServer) -> None:
    """Calls that another rule refuses take nothing of the rate; answers from the cache do not either."""
    toml = "[gateway]\nqueue_s = 0\n[[limits]]\nteam = 'poor'\nrpm = 2\n[[budgets]]\nteam = 'poor'\nproject = ''\nlimit_usd = 0.0000001\n"

    async def run() -> None:
        async with world(home, upstream, toml + "[[limits]]\nteam = 'a'\nrpm = 1\n" + FAST) as here:
            for _ in range(5):
                with pytest.raises(BudgetExceeded):
                    await here.gateway.handle(ask("fast", "one two three", team="poor"))
            answers = [await here.gateway.handle(ask("fast", "same", team="a", cache="on")) for _ in range(4)]
            assert [answer.cache for answer in answers] == ["miss", "hit", "hit", "hit"]

    asyncio.run(run())


def test_failed_calls_count_as_requests_but_not_their_tokens(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        toml = "[gateway]\nqueue_s = 0\n[[limits]]\nrpm = 3\ntpm = 2000\n" + model("bad", "status-400")
        async with world(home, upstream, toml) as here:
            for _ in range(3):
                with pytest.raises(ProviderError):
                    await here.gateway.handle(ask("bad", settings={"max_tokens": 1900}))
            with pytest.raises(RateLimited):
                await here.gateway.handle(ask("bad"))

    asyncio.run(run())


def test_tokens_are_reserved_and_settled(home: Home, upstream: FaultServer) -> None:
    """The fault server counts few tokens for an answer whose caller allowed many, so later calls pass."""

    async def run() -> None:
        async with world(home, upstream, "[gateway]\nqueue_s = 0\n[[limits]]\ntpm = 1000\n" + FAST) as here:
            many = {"max_tokens": 900}
            for number in range(5):
                await here.gateway.handle(ask("fast", f"one two three {number}", settings=many))
            first = asyncio.create_task(here.gateway.handle(ask("up/echo-300ms", "new model", settings=many)))
            await asyncio.sleep(0.05)
            with pytest.raises(RateLimited, match="1000 tokens a minute"):
                await here.gateway.handle(ask("up/echo", "another new model", settings=many))
            await first

    asyncio.run(run())


def test_a_call_beyond_a_whole_minute_passes_alone(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, "[gateway]\nqueue_s = 0.1\n[[limits]]\ntpm = 100\n" + FAST) as here:
            assert (await here.gateway.handle(ask("fast", "word " * 300))).text
            with pytest.raises(RateLimited) as caught:
                await here.gateway.handle(ask("fast", "one"))
            assert caught.value.retry_after_s > 60

    asyncio.run(run())


def test_people_pass_before_an_evaluation(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, "[[limits]]\nparallel = 1\n" + model("m", "echo-20ms")) as here:
            order: list[str] = []

            async def one(name: str, **more: str) -> None:
                await here.gateway.handle(ask("m", name, **more))  # type: ignore[arg-type]
                order.append(name)

            tasks = [asyncio.create_task(one(f"eval {n}", surface="eval")) for n in range(5)]
            await asyncio.sleep(0)
            tasks += [asyncio.create_task(one(f"cell {n}", surface="magic")) for n in range(3)]
            tasks += [asyncio.create_task(one("urgent", surface="eval", priority="interactive"))]
            await asyncio.gather(*tasks)
            assert order[0] == "eval 0"
            assert order[1:5] == ["cell 0", "cell 1", "cell 2", "urgent"]

    asyncio.run(run())


def test_weights_of_teams_share_a_limit(home: Home, upstream: FaultServer) -> None:
    toml = "[teams.big]\nweight = 3\n[teams.small]\n[[limits]]\nparallel = 2\n" + model("m", "echo-5ms")

    async def run() -> None:
        async with world(home, upstream, toml) as here:
            order: list[str] = []

            async def one(team: str, number: int) -> None:
                await here.gateway.handle(ask("m", f"{team} {number}", team=team))
                order.append(team)

            await asyncio.gather(*(one(team, number) for number in range(40) for team in ("big", "small")))
            counts = Counter(order[:48])
            assert counts["big"] / 48 == pytest.approx(0.75, rel=0.10), counts

    asyncio.run(run())


def test_several_limits_hold_together(home: Home, upstream: FaultServer) -> None:
    toml = "[[limits]]\nteam = 'a'\nparallel = 4\n[[limits]]\nteam = 'a'\nparallel = 2\n[[limits]]\nuser = 'u'\nparallel = 1\n" + FAST

    async def run() -> None:
        async with world(home, upstream, toml) as here:
            most = 0
            tasks = [asyncio.create_task(here.gateway.handle(ask("fast", f"{n}", team="a", user_id="uv"[n % 2]))) for n in range(8)]
            while not all(task.done() for task in tasks):
                most = max(most, upstream.open_requests)
                await asyncio.sleep(0.002)
            assert most == 2
            assert {one["limit"]: one["running"] for one in here.gateway.limits.queues()} == {"team a": 0, "user u": 0}

    asyncio.run(run())


def test_a_clock_that_jumps_changes_no_limit(home: Home, upstream: FaultServer) -> None:
    at = [datetime(2026, 11, 20, 12, 0, tzinfo=UTC)]

    async def run() -> None:
        async with world(home, upstream, "[gateway]\nqueue_s = 0\n[[limits]]\nrpm = 2\n" + FAST, clock=lambda: at[0]) as here:
            for number in range(2):
                await here.gateway.handle(ask("fast", f"q {number}"))
            for jump in (timedelta(hours=2), timedelta(hours=-30)):
                at[0] += jump
                with pytest.raises(RateLimited) as caught:
                    await here.gateway.handle(ask("fast", "q"))
                assert 0 < caught.value.retry_after_s <= 30

    asyncio.run(run())


# --- keys -------------------------------------------------------------------------------------------------------------


def key_record(key_id: str, **figures: int | None) -> dict[str, object]:
    return {"id": key_id, "name": key_id, "sha256": "0" * 64, "created_at": "2026-11-20T00:00:00Z", "event": "created", **figures}


def test_a_keys_own_limits_hold_at_once_and_after_a_restart(home: Home, upstream: FaultServer) -> None:
    async def run(first: bool) -> None:
        async with world(home, upstream, "[gateway]\nqueue_s = 0\n" + FAST) as here:
            limits = here.gateway.limits
            if first:
                here.ledger.record("key", key_record("key-1", rpm=1))
            for key_id, allowed in (("key-1", 1), ("key-2", 3)):
                passed = 0
                for number in range(3):
                    call = Call(request=ask("fast", f"q {number}", key_id=key_id), started_at=utc_now(), attempts=1)
                    try:
                        await limits.before(call)
                        passed += 1
                    except RateLimited as refused:
                        assert "key key-1 allows 1 requests a minute" in refused.message
                    await limits.after(call)
                assert passed == allowed

    asyncio.run(run(True))
    asyncio.run(run(False))


def test_a_key_can_be_given_other_limits(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, FAST) as here:
            limits = here.gateway.limits
            here.ledger.record("key", key_record("key-1", parallel=1))
            calls = [Call(request=ask("fast", key_id="key-1"), started_at=utc_now()) for _ in range(2)]
            await limits.before(calls[0])
            second = asyncio.create_task(limits.before(calls[1]))
            await asyncio.sleep(0)
            assert not second.done()
            here.ledger.record("key", key_record("key-1", parallel=3))
            await limits.after(calls[0])
            await second
            here.ledger.record("key", key_record("key-1"))
            await asyncio.gather(*(limits.before(Call(request=ask("fast", key_id="key-1"), started_at=utc_now())) for _ in range(9)))

    asyncio.run(run())


# --- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("[[limits]]\nrpm = -1", r"limits\[0\]\.rpm is -1; it must be 1 or more"),
        ("[[limits]]\nparallel = 0", r"limits\[0\]\.parallel is 0; it must be 1 or more"),
        ("[[limits]]\ntpm = 0", r"limits\[0\]\.tpm is 0"),
        ("[[limits]]\nteam = 'a'", r"limits\[0\] limits nothing; give it rpm, tpm or parallel"),
        ("[[limits]]\nteam = 'a'\nuser = 'b'\nrpm = 1", "has one scope at most|a limit has one scope"),
        ("[[limits]]\nrpm = 1.5", "must be a whole number"),
        ("[[limits]]\nrmp = 1", "Did you mean rpm"),
        ("[teams.a]\nweight = 0", r"teams\.a\.weight is 0; it must be a number above 0"),
        ("[teams.a]\nweight = nan", r"teams\.a\.weight is nan"),
        ("[gateway]\nqueue_s = -1", r"gateway\.queue_s is -1"),
        ("[models.m]\ndeployments = [{ provider = 'local', model = 'smollm2', rpm = 0 }]", r"models\.m\.deployments\[0\]\.rpm is 0"),
    ],
)
def test_settings_that_cannot_be_meant(toml: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse(toml)


def test_a_limit_of_a_team_that_is_not_listed_holds_that_team_alone(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, "[gateway]\nqueue_s = 0\n[teams.a]\n[[limits]]\nteam = 'ghost'\nrpm = 1\n" + FAST) as here:
            for number in range(3):
                await here.gateway.handle(ask("fast", f"q {number}", team="a"))
            await here.gateway.handle(ask("fast", team="ghost"))
            with pytest.raises(RateLimited):
                await here.gateway.handle(ask("fast", team="ghost"))

    asyncio.run(run())


# --- deployments: the gate of the route -------------------------------------------------------------------------------


def test_a_slot_without_a_limit_is_free(home: Home) -> None:
    limits, ledger = limits_of(home)
    there = Deployment(provider="up", model="m")

    async def run() -> None:
        call = call_of()
        async with limits.slot(call, there, within_s=0.0):
            assert limits.queues() == []
        assert limits.wait_s(there) == 0.0 and "limits" not in call.state

    run_fake(run())
    ledger.close()


def test_slots_keep_a_deployment_within_its_figures(home: Home) -> None:
    limits, ledger = limits_of(home)
    there, other = Deployment(provider="up", model="m", parallel=2, rpm=120), Deployment(provider="up", model="other", parallel=1)

    async def run() -> None:
        inside = most = 0

        async def one() -> None:
            nonlocal inside, most
            call = call_of()
            async with limits.slot(call, there, within_s=100.0):
                inside += 1
                most = max(most, inside)
                await asyncio.sleep(1.0)
                inside -= 1
            await limits.after(call)

        tasks = [asyncio.create_task(one()) for _ in range(6)]
        await asyncio.sleep(0.5)
        assert limits.wait_s(there) > 0 and limits.wait_s(other) == 0
        with pytest.raises(RateLimited) as caught:
            async with limits.slot(call_of(), there, within_s=0.1):
                raise AssertionError("never")
        assert 0 < caught.value.retry_after_s <= 4.0
        await asyncio.gather(*tasks)
        assert most == 2 and limits.wait_s(there) == 0
        assert limits.queues()[0]["running"] == 0

    run_fake(run())
    ledger.close()


def test_tokens_of_a_deployment_are_settled_on_what_was_used(home: Home) -> None:
    limits, ledger = limits_of(home)
    there = Deployment(provider="up", model="m", tpm=1200)

    async def run() -> None:
        for _ in range(5):
            call = call_of(settings={"max_tokens": 900})
            async with limits.slot(call, there, within_s=0.0):
                call.attempts, call.deployment = 1, there
            call.response = Response(usage=Usage(input_tokens=10, output_tokens=20))
            await limits.after(call)
        failed = call_of(settings={"max_tokens": 700})
        with pytest.raises(ProviderError):
            async with limits.slot(failed, there, within_s=0.0):
                raise ProviderError("no", provider="up")
        async with limits.slot(call_of(settings={"max_tokens": 700}), there, within_s=0.0):
            with pytest.raises(RateLimited):
                async with limits.slot(call_of(settings={"max_tokens": 700}), there, within_s=1.0):
                    pass

    run_fake(run())
    ledger.close()


def test_a_pause_is_shared_by_all_callers_of_that_deployment_alone(home: Home) -> None:
    limits, ledger = limits_of(home, "[gateway]\nqueue_s = 60\n")
    there, other = Deployment(provider="up", model="m"), Deployment(provider="up", model="other")

    async def run() -> None:
        loop = asyncio.get_running_loop()
        limits.hold_back(there, 20.0)
        limits.hold_back(there, 5.0)  # a shorter one does not shorten it
        limits.hold_back(there, float("nan"))
        limits.hold_back(there, -3.0)
        assert limits.wait_s(there) == pytest.approx(20.0) and limits.wait_s(other) == 0.0
        began = loop.time()
        with pytest.raises(RateLimited, match=r"up/m asked to wait, and this call had no place within 5 s") as caught:
            async with limits.slot(call_of(), there, within_s=5.0):
                pass
        assert loop.time() == began and caught.value.retry_after_s == pytest.approx(20.0)

        async def one() -> float:
            async with limits.slot(call_of(), there, within_s=50.0):
                return loop.time() - began

        entered = await asyncio.gather(*(one() for _ in range(20)))
        assert min(entered) == pytest.approx(20.0) and max(entered) < 22.0
        await asyncio.sleep(5.0)
        async with limits.slot(call_of(), there, within_s=0.0):
            pass
        assert limits.wait_s(there) == 0.0 and limits.queues() == []

    run_fake(run())
    ledger.close()


def test_a_refusal_keeps_the_next_one_from_its_place(home: Home) -> None:
    """What a provider asks for holds before the place is free, so that no waiting call is sent into it."""
    limits, ledger = limits_of(home, "[gateway]\nqueue_s = 60\n")
    there = Deployment(provider="up", model="m", parallel=1)

    async def run() -> None:
        loop = asyncio.get_running_loop()
        began, entered = loop.time(), []

        async def one(*, refused: bool) -> None:
            async with limits.slot(call_of(), there, within_s=50.0):
                entered.append(loop.time() - began)
                await asyncio.sleep(0.1)
                if refused:
                    raise ProviderError("slow down", provider="up", reason="rate_limited", retry_after_s=7.0)

        results = await asyncio.gather(one(refused=True), one(refused=False), one(refused=False), return_exceptions=True)
        assert isinstance(results[0], ProviderError) and results[1:] == [None, None]
        assert entered[0] == 0.0 and entered[1] == pytest.approx(7.1) and entered[2] == pytest.approx(7.2)

    run_fake(run())
    ledger.close()


def test_a_cancelled_slot_gives_its_place_back(home: Home) -> None:
    limits, ledger = limits_of(home)
    there = Deployment(provider="up", model="m", parallel=1)

    async def run() -> None:
        async def one() -> None:
            async with limits.slot(call_of(), there, within_s=1000.0):
                await asyncio.sleep(10.0)

        tasks = [asyncio.create_task(one()) for _ in range(3)]
        await asyncio.sleep(1.0)
        tasks[0].cancel()
        tasks[1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert tasks[2].exception() is None
        assert limits.queues()[0]["running"] == limits.queues()[0]["waiting"] == 0

    run_fake(run())
    ledger.close()


def test_a_deployments_figures_hold_in_the_pipeline(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, model("m", "echo-50ms, parallel = 2")) as here:
            most = 0
            tasks = [asyncio.create_task(here.gateway.handle(ask("m", f"q {n}"))) for n in range(9)]
            while not all(task.done() for task in tasks):
                most = max(most, upstream.open_requests)
                await asyncio.sleep(0.002)
            assert most == 2
            answers = [task.result() for task in tasks]
            assert sum("queued-s" in answer.notes for answer in answers) == 7
            assert max(here.row(answer.call_id)["queued_s"] for answer in answers) > 0.1
            async with here.gateway.stream(ask("m", "one two", stream=True)) as pieces:
                await anext(pieces)
                assert here.gateway.limits.queues()[0]["running"] == 1
            assert here.gateway.limits.queues()[0]["running"] == 0

    asyncio.run(run())


def test_a_429_costs_its_callers_few_requests(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream) as here:
            await here.gateway.handle(ask("up/instant"))

            async def one(number: int) -> Response:
                await asyncio.sleep(0.03 * number)
                return await here.gateway.handle(ask("up/status-429-until-1", f"q {number}"))

            answers = await asyncio.gather(*(one(number) for number in range(30)))
            assert all(answer.text for answer in answers)
            assert here.asked("status-429-until-1") <= 36
            assert here.asked("instant") == 1

    asyncio.run(run())


# --- over HTTP --------------------------------------------------------------------------------------------------------

TABLES = """
[[limits]]
team = "narrow"
parallel = 1
[[limits]]
team = "slow"
rpm = 1
[models.slow-model]
deployments = [{ provider = "up", model = "echo-400ms" }]
"""


def post(url: str, key: str, text: str) -> tuple[int, dict[str, str], dict[str, object]]:
    body = json.dumps({"model": "slow-model", "messages": [{"role": "user", "content": text}]}).encode()
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    try:
        with urllib.request.urlopen(urllib.request.Request(f"{url}/v1/chat/completions", body, headers)) as answer:
            return answer.status, {k.lower(): v for k, v in answer.headers.items()}, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, {k.lower(): v for k, v in error.headers.items()}, json.load(error)


def test_over_http(tmp_path: Path) -> None:
    with served(tmp_path / "home", tables=TABLES + "[gateway]\nqueue_s = 5\n") as here:
        narrow, slow, http = here.key(team="narrow"), here.key(team="slow"), here.http

        async def burst() -> list[tuple[int, dict[str, str], dict[str, object]]]:
            work = asyncio.gather(*(asyncio.to_thread(post, http, narrow, f"q {n}") for n in range(3)))
            found: list[object] = []

            def waiting() -> bool:
                status = here.client.status()
                found[:] = [one["queued"] for one in status["calls_in_flight"] if one["queued"]]
                return len(found) == 2

            assert await asyncio.to_thread(wait_for, waiting)
            assert {one["position"] for one in found} == {1, 2} and {one["limit"] for one in found} == {"team narrow"}  # type: ignore[index]
            return list(await work)

        answers = asyncio.run(burst())
        assert [status for status, _, _ in answers] == [200, 200, 200]
        assert sorted(headers.get("x-aiplat-queue-position", "") for _, headers, _ in answers) == ["", "1", "2"]
        assert sum(float(headers.get("x-aiplat-queued-s", "0")) > 0.2 for _, headers, _ in answers) == 2
        assert post(http, slow, "one")[0] == 200
        status, headers, body = post(http, slow, "two")
        assert status == 429 and 50 <= int(headers["retry-after"]) <= 60
        assert body["error"]["type"] == "rate_limit_error" and "slow allows 1 requests a minute" in body["error"]["message"]  # type: ignore[index]
        assert [one["figures"] for one in here.client.status()["limits"]] == ["1 call at once", "1 requests a minute"]
