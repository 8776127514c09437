"""Hard budgets are never overspent and never refuse what fits; one counter for enforcement and display."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from faults import FaultServer
from gatewaykit import CANARY, PRICED, World, ask, model, world

from aiplat_lab.core.errors import BudgetExceeded, ProviderError
from aiplat_lab.core.settings import Home

CALL = Decimal("0.0002625")
"""What 25 tokens in and 20 out cost at 2.5 and 10 dollars a million."""
LIMITED = {"max_tokens": 20}


def budget(limit: str, *, hard: bool = True, period: str = "total", **scope: str) -> str:
    lines = "".join(f'{key} = "{value}"\n' for key, value in scope.items())
    return f'[[budgets]]\nlimit_usd = {limit}\nperiod = "{period}"\nhard = {str(hard).lower()}\n{lines}'


def instant(*names: str, more: str = "") -> str:
    return model("m", *(names or ("instant",)), more=", " + PRICED + more)


async def many(here: World, count: int, **more: object) -> tuple[int, int]:
    """How many of `count` simultaneous calls were answered and how many refused."""
    results = await asyncio.gather(*(here.gateway.handle(ask("m", "x", **more)) for _ in range(count)), return_exceptions=True)
    refused = sum(isinstance(one, BudgetExceeded) for one in results)
    wrong = [one for one in results if isinstance(one, BaseException) and not isinstance(one, BudgetExceeded)]
    assert not wrong, wrong[0]
    return count - refused, refused


def spent(here: World) -> Decimal:
    """What the ledger says, which must be what the counter says."""
    total = sum((row["cost_usd"] or Decimal(0) for row in here.rows()), Decimal(0))
    assert Decimal(here.gateway.budgets()[0]["spent_usd"]) == total
    assert Decimal(here.gateway.budgets()[0]["held_usd"]) == 0
    return total


@pytest.mark.parametrize("settings", [LIMITED, {}], ids=["with max_tokens", "without"])
def test_64_callers_and_a_budget_for_8(home: Home, upstream: FaultServer, settings: dict[str, object]) -> None:
    limit = CALL * 8

    async def run() -> None:
        async with world(home, upstream, budget(f"{limit}", team="a") + instant(more=", max_output_tokens = 16384")) as here:
            answered, refused = await many(here, 64, team="a", settings=settings)
            assert spent(here) <= limit, "overspent"
            assert answered == 8 and refused == 56, "a call that fitted was refused"
            assert len(here.rows()) == 64 and here.asked("instant") == answered

    asyncio.run(run())


def test_64_callers_and_a_budget_for_all(home: Home, upstream: FaultServer) -> None:
    """Their worst cases together are far over the limit, their costs are not: nobody is refused."""

    async def run() -> None:
        limit = CALL * 63 + Decimal("0.006")
        async with world(home, upstream, budget(f"{limit}") + instant(more=", max_output_tokens = 500")) as here:
            assert await many(here, 64, settings={"max_tokens": 500}) == (64, 0)
            assert spent(here) == CALL * 64

    asyncio.run(run())


def test_a_budget_on_each_scope_and_nested(home: Home, upstream: FaultServer) -> None:
    toml = budget(f"{CALL * 20}") + budget(f"{CALL * 5}", team="a") + budget(f"{CALL * 3}", project="p") + budget(f"{CALL * 2}", user="u")
    toml += budget(f"{CALL}", prompt="q")

    async def run() -> None:
        async with world(home, upstream, toml + instant()) as here:
            assert (await many(here, 4, prompt_name="q", settings=LIMITED))[0] == 1
            assert (await many(here, 4, user_id="u", team="a", settings=LIMITED))[0] == 2
            assert (await many(here, 4, project="p", team="a", settings=LIMITED))[0] == 3
            assert (await many(here, 4, team="a", settings=LIMITED))[0] == 0
            assert (await many(here, 20, settings=LIMITED))[0] == 14
            assert spent(here) == CALL * 20
            figures = {(one["scope"], one["name"]): Decimal(one["spent_usd"]) / CALL for one in here.gateway.budgets()}
            assert figures == {("everyone", ""): 20, ("team", "a"): 5, ("project", "p"): 3, ("user", "u"): 2, ("prompt", "q"): 1}

    asyncio.run(run())


def test_the_refusal_says_what_and_what_to_do(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, budget("0.0006", team="a", period="month") + instant()) as here:
            await here.gateway.handle(ask("m", team="a", settings=LIMITED))
            request = ask("m", team="a", settings={"max_tokens": 400})
            with pytest.raises(BudgetExceeded) as caught:
                await here.gateway.handle(request)
            text = str(caught.value)
            assert "this month's budget of team a" in text and "limit $0.0006" in text and "spent $0.0002625" in text
            assert "Lower max_tokens to " in text and "[[budgets]]" in text and len(text.encode()) <= 800
            assert caught.value.details["scope"] == "team" and caught.value.details["limit_usd"] == "0.000600000"
            row = here.row(request.call_id)
            assert (row["status"], row["policy"], row["error_type"], row["cost_usd"]) == ("refused", "budget", "budget_exceeded", 0)
            assert here.asked("instant") == 1

    asyncio.run(run())


def test_a_call_without_a_limit_gets_one_that_fits(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, budget("0.001") + instant(more=", max_output_tokens = 16384")) as here:
            answer = await here.gateway.handle(ask("m"))
            assert "max_tokens_fitted" in answer.flags and "max_tokens_fitted" in here.row(answer.call_id)["flags"]
            sent = upstream.requests[0].body
            assert 50 < (sent.get("max_tokens") or sent.get("max_completion_tokens")) < 100
            plenty = await here.gateway.handle(ask("m", settings={"max_tokens": 30}))
            assert "max_tokens_fitted" not in plenty.flags

    asyncio.run(run())


def test_with_money_enough_nothing_is_changed(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, budget("5") + instant(more=", max_output_tokens = 16384")) as here:
            answer = await here.gateway.handle(ask("m"))
            assert answer.flags == () and not {"max_tokens", "max_completion_tokens"} & set(upstream.requests[0].body)

    asyncio.run(run())


def test_a_model_of_unknown_limit_is_given_one(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, budget("5") + instant()) as here:
            await here.gateway.handle(ask("m"))
            sent = upstream.requests[0].body
            assert (sent.get("max_tokens") or sent.get("max_completion_tokens")) == 8192

    asyncio.run(run())


def test_an_unpriced_model_under_a_hard_budget_is_refused(home: Home, upstream: FaultServer) -> None:
    toml = budget("5", team="a") + budget("5", team="b", hard=False) + model("m", "no-such-model@x", "instant, " + PRICED)

    async def run() -> None:
        async with world(home, upstream, toml) as here:
            with pytest.raises(BudgetExceeded, match="no price is known for up/instant-unheard-of"):
                await here.gateway.handle(ask("up/instant-unheard-of", team="a"))
            assert upstream.requests == []
            assert (await here.gateway.handle(ask("up/instant", team="b"))).cost_usd is None
            answer = await here.gateway.handle(ask("m", team="a"))
            assert "unpriced_skipped" in answer.flags and answer.response_model == "instant"

    asyncio.run(run())


def test_a_soft_budget_only_flags(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, budget("0.0003", hard=False) + instant()) as here:
            answers = [await here.gateway.handle(ask("m")) for _ in range(3)]
            assert ["over_budget" in answer.flags for answer in answers] == [False, True, True]
            assert spent(here) == CALL * 3

    asyncio.run(run())


def test_a_provider_that_writes_too_much_is_flagged_and_booked(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, budget("0.01") + instant("overuse")) as here:
            answer = await here.gateway.handle(ask("m", settings={"max_tokens": 100}))
            assert "over_reservation" in answer.flags and answer.cost_usd == Decimal("0.0040625")
            assert spent(here) == answer.cost_usd

    asyncio.run(run())


def test_the_counter_is_rebuilt_from_the_ledger(home: Home, upstream: FaultServer) -> None:
    toml = budget(f"{CALL * 3}", team="a") + instant()

    async def run(answered: int) -> None:
        async with world(home, upstream, toml) as here:
            assert (await many(here, 2, team="a", settings=LIMITED))[0] == answered
            spent(here)

    asyncio.run(run(2))
    asyncio.run(run(1))
    asyncio.run(run(0))


def test_periods_begin_in_the_time_zone_of_the_settings(home: Home, upstream: FaultServer) -> None:
    now = [datetime(2026, 7, 31, 22, 30, tzinfo=UTC)]
    toml = 'time_zone = "Europe/London"\n' + budget(f"{CALL}", period="day") + budget(f"{CALL * 2}", period="month") + instant()

    async def run() -> None:
        async with world(home, upstream, toml, clock=lambda: now[0]) as here:

            async def one() -> bool:
                return (await many(here, 1, settings=LIMITED))[0] == 1

            assert await one() and not await one()
            now[0] += timedelta(hours=1)  # 00:30 on the first of August in London
            assert await one(), "a new day and a new month"
            figures = here.gateway.budgets()
            assert [one["starts_at"] for one in figures] == ["2026-07-31T23:00:00Z", "2026-07-31T23:00:00Z"]
            now[0] += timedelta(days=1)
            assert await one()
            assert Decimal(here.gateway.budgets()[1]["spent_usd"]) == CALL * 2
            now[0] += timedelta(days=1)
            assert not await one(), "the month is used up"

    asyncio.run(run())


def test_a_clock_set_back_opens_no_second_budget(home: Home, upstream: FaultServer) -> None:
    now = [datetime(2026, 7, 15, 12, 0, tzinfo=UTC)]

    async def run() -> None:
        async with world(home, upstream, budget(f"{CALL}", period="day") + instant(), clock=lambda: now[0]) as here:
            assert (await many(here, 2, settings=LIMITED))[0] == 1
            now[0] -= timedelta(hours=3)
            assert (await many(here, 1, settings=LIMITED))[0] == 0
            now[0] += timedelta(days=1)
            assert (await many(here, 1, settings=LIMITED))[0] == 1
            now[0] -= timedelta(days=1)
            assert (await many(here, 1, settings=LIMITED))[0] == 0

    asyncio.run(run())


def test_a_failed_call_gives_its_hold_back(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, budget("0.001") + instant("status-401")) as here:
            for _ in range(20):
                with pytest.raises(ProviderError):
                    await here.gateway.handle(ask("m"))
            assert spent(here) == 0

    asyncio.run(run())


def test_a_cancelled_call_takes_what_it_can_have_cost_not_all_that_was_held(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, budget("10", team="a") + instant("slow-stream", more=", max_output_tokens = 100000")) as here:
            async with here.gateway.stream(ask("m", team="a", stream=True)) as pieces:
                async for _ in pieces:
                    break
            row = here.row(pieces.call_id)
            assert row["status"] == "cancelled" and row["cost_usd"] is None and "budget_booked_bound" in row["flags"]
            booked = Decimal(here.gateway.budgets()[0]["spent_usd"])
            assert Decimal("0.0006") < booked < Decimal("0.02"), "the whole hold would be a dollar"

    asyncio.run(run())


def test_a_call_of_unknown_cost_takes_its_whole_hold(home: Home, upstream: FaultServer) -> None:
    """A broken stream: the provider may charge for it, and nobody can know how much. It is never booked as nothing."""

    async def run() -> Decimal:
        async with world(home, upstream, budget("0.01", team="a") + instant("cut-stream")) as here:
            with pytest.raises(ProviderError):
                async with here.gateway.stream(ask("m", team="a", stream=True, settings={"max_tokens": 50})) as pieces:
                    async for _ in pieces:
                        pass
            row = here.row(pieces.call_id)
            assert row["cost_usd"] is None and "budget_booked_bound" in row["flags"]
            booked = Decimal(here.gateway.budgets()[0]["spent_usd"])
            assert Decimal("0.0005") < booked < Decimal("0.0006") and Decimal(here.gateway.budgets()[0]["held_usd"]) == 0
            return booked

    async def after_a_restart() -> Decimal:
        async with world(home, upstream, budget("0.01", team="a") + instant("cut-stream")) as here:
            return Decimal(here.gateway.budgets()[0]["spent_usd"])

    assert asyncio.run(run()) == asyncio.run(after_a_restart())


def test_a_call_waits_for_others_and_is_served_in_order(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, budget(f"{CALL * 3 + Decimal('0.0011')}") + instant("slow-headers-0.3s")) as here:
            began = time.monotonic()
            tasks = []
            for _ in range(4):
                tasks.append(asyncio.create_task(here.gateway.handle(ask("m", settings={"max_tokens": 100}))))
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)
            assert Decimal(here.gateway.budgets()[0]["held_usd"]) > 0
            answers = await asyncio.gather(*tasks)
            assert time.monotonic() - began > 0.5
            ended = [here.row(answer.call_id) for answer in answers]
            assert [row["ended_at"] for row in ended] == sorted(row["ended_at"] for row in ended)
            assert ended[-1]["queued_s"] > 0.2 and ended[0]["queued_s"] == 0
            assert spent(here) == CALL * 4

    asyncio.run(run())


def test_waiting_ends_with_the_time_of_the_call(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, budget("0.001") + instant("hang")) as here:
            holder = asyncio.create_task(here.gateway.handle(ask("m", settings={"max_tokens": 60})))
            await asyncio.to_thread(upstream.wait_for, lambda: upstream.open_requests == 1)
            with pytest.raises(BudgetExceeded, match="held by calls under way"):
                await here.gateway.handle(ask("m", settings={"max_tokens": 60}, timeout_s=0.2))
            waiting = asyncio.create_task(here.gateway.handle(ask("m", settings={"max_tokens": 60})))
            await asyncio.sleep(0.05)
            waiting.cancel()
            holder.cancel()
            await asyncio.gather(holder, waiting, return_exceptions=True)
            assert Decimal(here.gateway.budgets()[0]["held_usd"]) == 0
            assert sorted(row["status"] for row in here.rows()) == ["cancelled", "cancelled", "refused"]

    asyncio.run(run())


def test_a_cached_answer_needs_no_budget(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, budget(f"{CALL + CALL / 2}") + instant()) as here:
            await here.gateway.handle(ask("m", cache="on", settings=LIMITED))
            assert (await here.gateway.handle(ask("m", cache="on", settings=LIMITED))).cache == "hit"
            assert spent(here) == CALL

    asyncio.run(run())


def test_alerts_are_recorded_once(home: Home, upstream: FaultServer) -> None:
    async def run(calls: int) -> None:
        async with world(home, upstream, budget(f"{CALL * 4}", team="a") + instant()) as here:
            for _ in range(calls):
                await here.gateway.handle(ask("m", team="a", settings=LIMITED))

    asyncio.run(run(2))
    asyncio.run(run(2))

    async def read() -> list[dict[str, object]]:
        async with world(home, upstream) as here:
            return here.ledger.rows("SELECT data FROM records WHERE kind = 'budget_alert' ORDER BY seq")

    shares = [str(row["data"]).split('"share":')[1].split('"')[1] for row in asyncio.run(read())]
    assert shares == ["0.5", "1.0"]


def test_a_free_model_needs_no_limit(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, budget("0.0001") + model("m", "instant, input_usd_per_mtok = 0, output_usd_per_mtok = 0")) as here:
            answer = await here.gateway.handle(ask("m"))
            assert answer.cost_usd == 0 and not {"max_tokens", "max_completion_tokens"} & set(upstream.requests[0].body)

    asyncio.run(run())


def test_a_storm_leaves_the_books_right(home: Home, upstream: FaultServer) -> None:
    """Calls of every kind at once, many cancelled at a random moment: no hold is left, and the counter is what the ledger says."""
    rng = random.Random(5)
    toml = budget("0.02") + budget("0.008", team="a")
    toml += "".join(
        model(f"m{index}", *names, more=", max_output_tokens = 300, " + PRICED)
        for index, names in enumerate(
            (["instant"], ["slow-headers-0.05s"], ["slow-stream"], ["cut-stream"], ["status-503", "instant@2"], ["no-usage"])
        )
    )

    async def run() -> Decimal:
        async with world(home, upstream, toml) as here:
            begun = 0

            async def one(index: int) -> None:
                nonlocal begun
                begun += 1
                settings = {"max_tokens": 20} if index % 3 else {}
                request = ask(
                    f"m{index % 6}", f"{index % 7}", team="ab"[index % 2], settings=settings, stream=index % 4 == 0, timeout_s=8.0
                )
                if not request.stream:
                    await here.gateway.handle(request)
                    return
                async with here.gateway.stream(request) as pieces:
                    async for _ in pieces:
                        if index % 5 == 0:
                            return

            tasks = [asyncio.create_task(one(index)) for index in range(120)]
            for task in tasks:
                if rng.random() < 0.3:
                    asyncio.get_running_loop().call_later(rng.random() * 0.4, task.cancel)
            await asyncio.gather(*tasks, return_exceptions=True)
            assert here.gateway.in_flight() == [] and await asyncio.to_thread(upstream.wait_for, lambda: upstream.open_requests == 0, 1.0)
            everyone, team = here.gateway.budgets()
            assert Decimal(everyone["held_usd"]) == Decimal(team["held_usd"]) == 0
            # These models write what they like: what a provider charges beyond its limit is flagged, and all that is over.
            over = [row for row in here.rows(status="ok") if "over_reservation" in (here.row(row["call_id"])["flags"] or ())]
            excess = sum(row["output_tokens"] for row in over) * Decimal("0.00001")
            for figures in (everyone, team):
                assert Decimal(figures["spent_usd"]) <= Decimal(figures["limit_usd"]) + excess
            assert len(here.rows()) == begun and {row["status"] for row in here.rows()} >= {"ok", "error", "cancelled"}
            return Decimal(everyone["spent_usd"])

    async def after_a_restart() -> Decimal:
        async with world(home, upstream, toml) as here:
            return Decimal(here.gateway.budgets()[0]["spent_usd"])

    booked = asyncio.run(run())
    assert booked > 0 and asyncio.run(after_a_restart()) == booked


def test_a_call_that_a_killed_gateway_lost_stays_booked(home: Home, upstream: FaultServer) -> None:
    """Nobody knows what it cost, so the worst case counts, and the budget is not overspent by the next ones."""
    toml = budget(f"{CALL * 4}", team="a") + instant()
    code = f"""
import asyncio, os, sys; sys.path[:0] = {sys.path!r}
from decimal import Decimal; from pathlib import Path
from aiplat_lab.core.settings import Home, parse
from aiplat_lab.gateway.pipeline import Gateway; from aiplat_lab.ledger import Ledger
from gatewaykit import UP, ask
async def run():
    settings = parse({toml.replace("instant", "hang")!r} + UP.format(url={upstream.openai_url!r}, anthropic={upstream.url!r}))
    gateway = Gateway(settings, Ledger.open(Home(Path({str(home.path)!r}))))
    calls = [asyncio.create_task(gateway.handle(ask("m", "x", team="a", settings={LIMITED!r}))) for _ in range(2)]
    while len(gateway.in_flight()) < 2 or Decimal(gateway.budgets()[0]["held_usd"]) == 0:
        await asyncio.sleep(0.01)
    os.write(1, gateway.budgets()[0]["held_usd"].encode()); os._exit(9)
asyncio.run(run())
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, env={**os.environ, "UP_KEY": CANARY})
    assert ended.returncode == 9, ended.stderr.decode()[-800:]

    async def later() -> None:
        async with world(home, upstream, toml) as here:
            held = Decimal(ended.stdout.decode())
            assert Decimal(here.gateway.budgets()[0]["spent_usd"]) == held > 0
            answered, refused = await many(here, 4, team="a", settings=LIMITED)
            assert refused > 0 and Decimal(here.gateway.budgets()[0]["spent_usd"]) <= CALL * 4
            assert answered > 0 and here.ledger.verify().ok

    asyncio.run(later())
