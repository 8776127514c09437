"""Budgets on anything and on several things at once; periods, alerts, keys with limits of their own, and what is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from faults import FaultServer
from gatewaykit import PRICED, World, ask, model, world

from aiplat_lab.core.errors import BudgetExceeded, ProviderError
from aiplat_lab.core.settings import Home
from aiplat_lab.core.settings._rules import BUDGET_SCOPES
from aiplat_lab.core.types import Request

CALL = Decimal("0.0002625")
LIMITED = {"max_tokens": 20}
INSTANT = model("m", "instant", more=", " + PRICED)
BOTH = f"""[models.m]
deployments = [{{ provider = "up", model = "instant", {PRICED} }}, {{ provider = "claude", model = "instant", {PRICED} }}]
"""


def budget(limit: object, **about: object) -> str:
    values = {"period": "total", **about}
    lines = "".join(f"{key} = {str(value).lower() if isinstance(value, bool) else repr(value)}\n" for key, value in values.items())
    return f"[[budgets]]\nlimit_usd = {limit}\n{lines}"


def of(request: Request, **who: Any) -> Request:
    return replace(request, attribution=replace(request.attribution, **who))


REPLAY_OFF = '\n[replay]\nmode = "off"\n'
"""Calls of a notebook that ask the same would cost nothing else."""


async def answered(here: World, count: int = 1, *, at_once: bool = False, **who: Any) -> int:
    """How many of `count` calls of 25 tokens in and 20 out were answered; the others were refused by a budget."""
    calls = [here.gateway.handle(of(ask("m", "x", settings=LIMITED), **who)) for _ in range(count)]
    if at_once:
        results = await asyncio.gather(*calls, return_exceptions=True)
    else:
        results = []
        for call in calls:
            results += await asyncio.gather(call, return_exceptions=True)
    wrong = [one for one in results if isinstance(one, BaseException) and not isinstance(one, BudgetExceeded)]
    assert not wrong, wrong[0]
    return sum(not isinstance(one, BaseException) for one in results)


def spent(here: World, index: int = 0) -> Decimal:
    figures = here.gateway.budgets()[index]
    assert Decimal(figures["held_usd"]) == Decimal(figures["expected_usd"]) == 0 == figures["waiting"]
    return Decimal(figures["spent_usd"])


def in_world(home: Home, upstream: FaultServer, toml: str, run: Callable[[World], Any], **more: Any) -> Any:
    async def whole() -> Any:
        async with world(home, upstream, toml, **more) as here:
            return await run(here)

    return asyncio.run(whole())


SCOPES = [
    ({"team": "a"}, {"team": "a"}, {"team": "b"}),
    ({"project": "p"}, {"project": "p"}, {"project": ""}),
    ({"user": "ada"}, {"user_id": "ada"}, {"user_id": "bob"}),
    ({"prompt": "q"}, {"prompt_name": "q"}, {"prompt_name": "r"}),
    ({"cost_centre": "CC-1"}, {"cost_centre": "CC-1"}, {"cost_centre": "CC-2"}),
    ({"tag": "run=night"}, {"tags": {"run": "night", "other": "x"}}, {"tags": {"run": "day"}}),
    ({"notebook": "a/b.ipynb"}, {"notebook": "a/b.ipynb"}, {"notebook": "b.ipynb"}),
    ({"provider": "up"}, {}, None),
    ({"team": "a", "project": "p"}, {"team": "a", "project": "p"}, {"team": "a", "project": "other"}),
    ({"provider": "up", "tag": "run=night", "user": "ada"}, {"tags": {"run": "night"}, "user_id": "ada"}, {"user_id": "ada"}),
]


@pytest.mark.parametrize(("scope", "under", "beside"), SCOPES, ids=lambda one: "+".join(one) if one else "none")
def test_every_scope(
    home: Home, upstream: FaultServer, scope: dict[str, str], under: dict[str, Any], beside: dict[str, Any] | None
) -> None:
    toml = budget(CALL * 2, **scope) + INSTANT + REPLAY_OFF

    async def first(here: World) -> None:
        if beside is not None:
            assert await answered(here, 3, **beside) == 3
            assert spent(here) == 0
        assert await answered(here, 4, at_once=True, **under) == 2
        assert spent(here) == CALL * 2
        named = [name for name in BUDGET_SCOPES if name in scope]
        assert here.gateway.budgets()[0]["scope"] == " + ".join(named)

    in_world(home, upstream, toml, first)

    async def later(here: World) -> None:
        assert spent(here) == CALL * 2, "a restart changes nothing"
        assert await answered(here, **under) == 0

    in_world(home, upstream, toml, later)


def test_the_cost_centre_of_a_team_counts(home: Home, upstream: FaultServer) -> None:
    toml = '[teams.a]\ncost_centre = "CC-7"\n' + budget(CALL, cost_centre="CC-7") + INSTANT

    async def run(here: World) -> None:
        assert await answered(here, 2, team="a") == 1 and await answered(here, team="b") == 1
        assert spent(here) == CALL

    in_world(home, upstream, toml, run)


def test_nested_budgets_of_every_kind_at_once(home: Home, upstream: FaultServer) -> None:
    limits = [("team", "a", 12), ("project", "p", 9), ("tag", "t=1", 7), ("cost_centre", "CC", 6), ("user", "u", 5)]
    toml = budget(CALL * 20) + "".join(budget(CALL * most, **{kind: name}) for kind, name, most in limits) + INSTANT
    who = {"team": "a", "project": "p", "tags": {"t": "1"}, "cost_centre": "CC", "user_id": "u"}

    async def run(here: World) -> None:
        assert await answered(here, 64, at_once=True, **who) == 5
        assert await answered(here, 64, at_once=True, **{**who, "user_id": "v"}) == 1
        assert await answered(here, 64, at_once=True, team="a") == 6
        assert [spent(here, index) / CALL for index in range(6)] == [12, 12, 6, 6, 6, 5]

    in_world(home, upstream, toml, run)


def test_a_call_beyond_its_providers_budget_goes_to_the_next_one(home: Home, upstream: FaultServer) -> None:
    toml = budget(CALL * 2, provider="up") + budget(CALL * 3, provider="claude") + BOTH

    async def run(here: World) -> None:
        assert await answered(here, 7) == 5
        assert spent(here, 0) == CALL * 2 and spent(here, 1) == CALL * 3
        rows = [here.row(one["call_id"]) for one in here.rows(status="ok")]
        assert sorted(row["provider"] for row in rows) == ["claude"] * 3 + ["up"] * 2
        assert all(("provider_budget_skipped" in (row["flags"] or ())) == (row["provider"] == "claude") for row in rows)

    in_world(home, upstream, toml, run)


def test_a_fallback_is_booked_to_the_provider_that_answered(home: Home, upstream: FaultServer) -> None:
    toml = budget(1, provider="up") + budget(1, provider="claude") + BOTH.replace('"up", model = "instant"', '"up", model = "status-401"')

    async def run(here: World) -> None:
        assert await answered(here, 2) == 2
        assert spent(here, 0) == 0 and spent(here, 1) == CALL * 2

    in_world(home, upstream, toml, run)


def test_a_call_that_breaks_off_takes_no_more_of_its_providers_budget_than_was_held_there(home: Home, upstream: FaultServer) -> None:
    """Its bound is that of the deployment that was asked, with the limit that was sent; the other one is dearer."""
    worst = (37 * Decimal("2.5") + 50 * 10) / 10**6
    cut = BOTH.replace('"up", model = "instant"', '"up", model = "cut-stream"')
    dear = cut.replace(f'"instant", {PRICED}', '"instant", input_usd_per_mtok = 1, output_usd_per_mtok = 30')

    async def run(here: World) -> None:
        with pytest.raises(ProviderError):
            async with here.gateway.stream(ask("m", stream=True, settings={"max_tokens": 50})) as pieces:
                async for _ in pieces:
                    pass
        row = here.row(pieces.call_id)
        assert row["provider"] == "up" and row["cost_usd"] is None
        assert "budget_booked_bound" in row["flags"] and "over_reservation" not in row["flags"]
        assert spent(here, 0) == spent(here, 1) == worst and spent(here, 2) == 0

    async def after_a_restart(here: World) -> None:
        assert spent(here, 0) == spent(here, 1) == worst

    toml = budget(worst, provider="up") + budget(1) + budget(1, provider="claude") + dear
    in_world(home, upstream, toml, run)
    in_world(home, upstream, toml, after_a_restart)


def test_a_providers_budget_leaves_an_unpriced_model_of_another_alone(home: Home, upstream: FaultServer) -> None:
    toml = budget(1, provider="claude") + BOTH.replace(f'"up", model = "instant", {PRICED}', '"up", model = "instant"')

    async def run(here: World) -> None:
        answer = await here.gateway.handle(ask("m", settings=LIMITED))
        assert answer.provider == "up" and answer.cost_usd is None and spent(here) == 0

    in_world(home, upstream, toml, run)


def limited_key(here: World, **about: object) -> str:
    key = here.gateway.keys.create(name="k", team="a").key
    here.ledger.record("key", {**key.to_json(), "sha256": key.sha256, "event": "changed", **about})
    return key.id


def test_a_virtual_keys_own_limit(home: Home, upstream: FaultServer) -> None:
    toml = budget(CALL * 5, team="a") + INSTANT

    async def run(here: World) -> str:
        key = limited_key(here, limit_usd=f"{CALL * 2}", limit_period="month")
        assert await answered(here, 64, at_once=True, key_id=key) == 2, "the key inside its team"
        assert [(row["scope"], row["name"]) for row in here.gateway.budgets()] == [("team", "a"), ("key", key)]
        here.ledger.record(
            "key", {**here.gateway.keys.live(key).to_json(), "sha256": "0" * 64, "limit_usd": f"{CALL * 3}", "limit_period": "month"}
        )
        assert await answered(here, 2, key_id=key) == 1, "a raised limit holds at once"
        here.ledger.record("key", {**here.gateway.keys.live(key).to_json(), "sha256": "0" * 64, "limit_usd": None})
        assert await answered(here, 4, key_id=key) == 2, "without a limit its team's holds"
        return limited_key(here, limit_usd=f"{CALL * 2}", limit_period="total")

    second = in_world(home, upstream, toml, run)

    async def later(here: World) -> None:
        assert [row["name"] for row in here.gateway.budgets()] == ["a", second] and await answered(here, key_id=second) == 0

    in_world(home, upstream, toml, later)

    async def without_budgets(here: World) -> None:
        assert await answered(here, 3, at_once=True, key_id=second) == 2
        with pytest.raises(BudgetExceeded, match=f"the total budget of key {second}"):
            await here.gateway.handle(of(ask("m", "x", settings=LIMITED), key_id=second))

    in_world(home, upstream, INSTANT, without_budgets)


# --- periods ----------------------------------------------------------------------------------------------------------


def test_a_call_belongs_to_the_day_in_which_it_began(home: Home, upstream: FaultServer) -> None:
    now = [datetime(2026, 11, 25, 23, 59, 59, tzinfo=UTC)]
    toml = budget(CALL, period="day") + model("m", "slow-headers-0.3s", more=", " + PRICED)

    async def run(here: World) -> None:
        late = asyncio.create_task(answered(here))
        await asyncio.to_thread(upstream.wait_for, lambda: upstream.open_requests == 1)
        now[0] += timedelta(seconds=2)
        early = asyncio.create_task(answered(here))
        await asyncio.to_thread(upstream.wait_for, lambda: upstream.open_requests == 2)
        assert await late == await early == 1, "the new day is not held by the old one's call"
        assert spent(here) == CALL and await answered(here) == 0
        by_day = {row["day"].isoformat(): row["cost_usd"] for row in here.ledger.view_rows("spend_by_day")}
        assert by_day == {"2026-11-25": CALL, "2026-11-26": CALL}

    in_world(home, upstream, toml, run, clock=lambda: now[0])

    async def the_clock_goes_back(here: World) -> None:
        assert await answered(here) == 0
        now[0] += timedelta(days=1)
        assert await answered(here) == 1
        now[0] -= timedelta(days=2)
        assert await answered(here) == 0, "the day before is spent as well"

    in_world(home, upstream, toml, the_clock_goes_back, clock=lambda: now[0])


def test_a_restart_with_the_clock_set_back_still_knows_what_was_spent(home: Home, upstream: FaultServer) -> None:
    now = [datetime(2026, 11, 25, 12, tzinfo=UTC)]
    toml = budget(CALL, period="day") + INSTANT

    async def one(here: World) -> int:
        return await answered(here)

    assert in_world(home, upstream, toml, one, clock=lambda: now[0]) == 1
    now[0] -= timedelta(days=1)

    async def then_the_right_day(here: World) -> None:
        now[0] += timedelta(days=1)
        assert await answered(here) == 0

    in_world(home, upstream, toml, then_the_right_day, clock=lambda: now[0])


@pytest.mark.parametrize(
    ("zone", "now", "period", "starts", "ends"),
    [
        ("Europe/London", "2026-10-25T12:00", "day", "2026-10-24T23:00:00Z", "2026-10-26T00:00:00Z"),
        ("Europe/London", "2026-03-29T00:30", "day", "2026-03-29T00:00:00Z", "2026-03-29T23:00:00Z"),
        ("America/New_York", "2026-11-01T05:30", "month", "2026-11-01T04:00:00Z", "2026-12-01T05:00:00Z"),
        ("America/Havana", "2026-11-01T05:30", "day", "2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z"),
        ("Asia/Kolkata", "2026-11-22T18:29", "week", "2026-11-15T18:30:00Z", "2026-11-22T18:30:00Z"),
        ("Pacific/Apia", "2026-12-31T10:30", "month", "2026-12-31T11:00:00Z", None),
    ],
)
def test_periods_in_a_zone_of_their_own(
    home: Home, upstream: FaultServer, zone: str, now: str, period: str, starts: str, ends: str | None
) -> None:
    at = datetime.fromisoformat(now).replace(tzinfo=UTC)

    async def run(here: World) -> None:
        (figures,) = here.gateway.budgets()
        began, resets = (datetime.fromisoformat(figures[name]) for name in ("starts_at", "resets_at"))
        assert began <= at < resets and figures["time_zone"] == zone
        if ends is not None:
            assert (figures["starts_at"], figures["resets_at"]) == (starts, ends)

    in_world(home, upstream, 'time_zone = "Asia/Tokyo"\n' + budget(1, period=period, time_zone=zone) + INSTANT, run, clock=lambda: at)


def test_the_forecast_follows_the_pace(home: Home, upstream: FaultServer) -> None:
    now = [datetime(2026, 11, 1, 0, 1, tzinfo=UTC)]

    async def run(here: World) -> None:
        assert await answered(here, 3) == 3
        assert here.gateway.budgets()[0]["forecast_usd"] is None, "a minute says nothing of a month"
        now[0] = datetime(2026, 11, 11, tzinfo=UTC)
        month, whole = here.gateway.budgets()
        assert abs(Decimal(month["forecast_usd"]) - CALL * 9) < Decimal("0.0000001") and whole["forecast_usd"] is None

    in_world(home, upstream, budget(5, period="month") + budget(5) + INSTANT, run, clock=lambda: now[0])


def test_alerts_are_not_told_again_after_a_restart_and_not_forgotten_either(home: Home, upstream: FaultServer) -> None:
    async def two(here: World) -> None:
        await answered(here, 2)

    async def alerts(here: World) -> list[tuple[str, str]]:
        return [(row["scope"], row["share"]) for row in here.ledger.view_rows("budget_alerts")]

    toml = budget(CALL * 4, team="a", alert_at=[0.25, 0.5, 1.0])

    async def under(here: World) -> None:
        await answered(here, 2, team="a")

    in_world(home, upstream, toml + INSTANT, under)
    assert in_world(home, upstream, toml + INSTANT, alerts) == [("team", "0.25"), ("team", "0.5")]
    for _ in range(2):
        in_world(home, upstream, toml + INSTANT, under)
    assert in_world(home, upstream, toml + INSTANT, alerts) == [("team", "0.25"), ("team", "0.5"), ("team", "1.0")]
    raised = toml.replace(str(CALL * 4), str(CALL * 8))
    in_world(home, upstream, raised + INSTANT, under)
    assert in_world(home, upstream, raised + INSTANT, alerts)[3:] == [("team", "0.5")], "of the new limit, once"


# --- what is sent -----------------------------------------------------------------------------------------------------


def sent(upstream: FaultServer) -> list[int | None]:
    return [seen.body.get("max_tokens") or seen.body.get("max_completion_tokens") for seen in upstream.requests]


def test_the_headers_say_what_was_sent_and_what_is_left(home: Home, upstream: FaultServer) -> None:
    async def run(here: World) -> None:
        fitted = await here.gateway.handle(ask("m", "x"))
        assert fitted.notes["max-tokens"] == str(sent(upstream)[0]) and 16 <= int(fitted.notes["max-tokens"]) < 200
        assert Decimal(fitted.notes["budget-left-usd"]) == Decimal("0.002") - CALL
        own = await here.gateway.handle(ask("m", "x", settings=LIMITED))
        assert "max-tokens" not in own.notes and Decimal(own.notes["budget-left-usd"]) == Decimal("0.002") - CALL * 2

    in_world(home, upstream, budget("0.002") + model("m", "instant", more=f", {PRICED}, max_output_tokens = 16384"), run)


def test_a_budget_that_may_not_fit_calls_refuses_or_waits(home: Home, upstream: FaultServer) -> None:
    toml = model("m", "instant", more=f", {PRICED}, max_output_tokens = 500")

    async def run(here: World) -> None:
        with pytest.raises(BudgetExceeded, match="an answer of 500 tokens"):
            await here.gateway.handle(ask("m", "x"))
        assert await answered(here) == 1 and sent(upstream) == [20]

    in_world(home, upstream, budget("0.002", fit=False) + toml, run)

    async def enough(here: World) -> None:
        results = await asyncio.gather(*(here.gateway.handle(ask("m", "x")) for _ in range(8)))
        assert len(results) == 8 and sent(upstream)[1:] == [None] * 8

    in_world(home, upstream, budget("0.01", fit=False) + toml, enough)


@pytest.mark.parametrize(
    ("settings", "each"),
    [
        ({"max_tokens": 0}, True),
        ({"max_tokens": -1}, True),
        ({"max_completion_tokens": 0, "max_tokens": None}, True),
        ({"max_tokens": "many"}, True),
        ({"max_tokens": 30, "max_completion_tokens": 50}, False),
        ({"n": 3}, True),
        ({"n": -3, "max_tokens": 40}, False),
    ],
)
def test_strange_limits_are_not_believed(home: Home, upstream: FaultServer, settings: dict[str, Any], each: bool) -> None:
    async def run(here: World) -> None:
        answer = await here.gateway.handle(ask("m", "x", settings=settings))
        assert ("max_tokens_fitted" in answer.flags) is each
        limit = next(one for one in sent(upstream) if one is not None)
        held = Decimal("0.0000625") + limit * (3 if settings.get("n") == 3 else 1) * Decimal("0.00001")
        assert held <= Decimal("0.002") and spent(here) == CALL

    in_world(home, upstream, budget("0.002") + model("m", "instant", more=f", {PRICED}, max_output_tokens = 16384"), run)


@pytest.mark.parametrize("settings", [{"max_tokens": 10**30}, {"n": 10**30}, {"n": 1e300, "max_tokens": 5}])
def test_absurd_limits_are_refused(home: Home, upstream: FaultServer, settings: dict[str, Any]) -> None:
    async def run(here: World) -> None:
        with pytest.raises(BudgetExceeded):
            await here.gateway.handle(ask("m", "x", settings=settings))
        assert upstream.requests == [] and spent(here) == 0

    in_world(home, upstream, budget("0.002") + model("m", "instant", more=f", {PRICED}"), run)


def test_a_limit_of_nothing_lets_only_what_is_free_through(home: Home, upstream: FaultServer) -> None:
    free = model("free", "instant", more=", input_usd_per_mtok = 0, output_usd_per_mtok = 0")

    async def run(here: World) -> None:
        assert await answered(here, 2) == 0
        assert (await here.gateway.handle(ask("free", "x"))).cost_usd == 0
        assert here.ledger.view_rows("budget_alerts") == []

    in_world(home, upstream, budget(0) + budget(0, hard=False) + INSTANT + free, run)


def test_two_budgets_of_the_same_scope_both_hold(home: Home, upstream: FaultServer) -> None:
    toml = budget(CALL * 3, team="a") + budget(CALL * 2, team="a") + budget(CALL, team="a", hard=False)

    async def run(here: World) -> None:
        assert await answered(here, 8, at_once=True, team="a") == 2
        assert [spent(here, index) for index in range(3)] == [CALL * 2] * 3

    in_world(home, upstream, toml + INSTANT, run)


def test_no_hold_outlives_its_lease(home: Home, upstream: FaultServer) -> None:
    async def run(here: World) -> None:
        stuck = asyncio.create_task(here.gateway.handle(ask("hang", "x", settings=LIMITED, timeout_s=5.0)))
        await asyncio.to_thread(upstream.wait_for, lambda: upstream.open_requests == 1)
        (hold,) = here.gateway.budget._book.holds.values()
        left_s = hold.lease_ends - asyncio.get_running_loop().time()
        assert 34 < left_s <= 35, "its deadline and half a minute"
        hold.lease_ends = 0.0
        assert await answered(here) == 1, "what the stuck call held is free again"
        stuck.cancel()
        await asyncio.gather(stuck, return_exceptions=True)
        assert Decimal(here.gateway.budgets()[0]["held_usd"]) == 0

    in_world(home, upstream, budget(CALL) + INSTANT + model("hang", "hang", more=", " + PRICED), run)


def test_what_is_known_of_a_task_lets_more_calls_through_at_once(home: Home, upstream: FaultServer) -> None:
    toml = budget("0.025", team="a") + model("m", "slow-headers-0.3s", more=f", {PRICED}, max_output_tokens = 16384")

    async def learn(here: World) -> None:
        await asyncio.gather(*(here.gateway.handle(ask("m", "x", prompt_name="q", settings=LIMITED)) for _ in range(20)))

    in_world(home, upstream, model("m", "slow-headers-0.3s", more=", " + PRICED), learn)

    async def most_at_once(here: World) -> int:
        tasks = [asyncio.create_task(here.gateway.handle(ask("m", "x", team="a", prompt_name="q"))) for _ in range(8)]
        most = 0
        while not all(task.done() for task in tasks):
            most = max(most, upstream.open_requests)
            await asyncio.sleep(0.005)
        assert all(task.exception() is None for task in tasks) and spent(here) == CALL * 8
        return most

    assert in_world(home, upstream, toml, most_at_once) >= 4, "the first takes what it may; those that waited fit beside one another"


def test_a_growing_conversation_is_held_at_what_was_counted(home: Home, upstream: FaultServer) -> None:
    """Its first part was counted before, so that only what is new can be as many tokens as bytes."""
    long = "word " * 400

    async def run(here: World) -> None:
        first = ask("echo", long, settings={"max_tokens": 5})
        await here.gateway.handle(first)
        more = replace(ask("echo", "and?", settings={"max_tokens": 5}), messages=(*first.messages, *ask("echo", "and?").messages))
        assert (await here.gateway.handle(more)).usage is not None

    # 2,000 bytes are at most 2,024 tokens, $0.0051; the provider counted 400, $0.0010, so that the second still fits
    in_world(home, upstream, budget("0.0063") + model("echo", "echo", more=", " + PRICED), run)


def test_would_pass_says_what_would_happen(home: Home, upstream: FaultServer) -> None:
    toml = budget("0.001", team="a") + model("m", "hang", more=", " + PRICED) + model("unpriced", "instant")

    async def run(here: World) -> None:
        would = here.gateway.budget.would_pass
        who, nobody = ask("m", team="a").attribution, ask("m").attribution
        assert would("m", nobody, input_tokens=10**6, output_tokens=None)["passes"] == "yes"
        fits = would("m", who, input_tokens=100, output_tokens=None)
        assert (fits["passes"], fits["max_tokens"], fits["left_usd"]) == ("yes", 75, "0.001000000")
        assert would("m", who, input_tokens=100, output_tokens=76)["passes"] == "no"
        assert would("unpriced", who, input_tokens=100, output_tokens=5)["passes"] == "no"
        holder = asyncio.create_task(here.gateway.handle(ask("m", "x", team="a", settings={"max_tokens": 60})))
        await asyncio.to_thread(upstream.wait_for, lambda: upstream.open_requests == 1)
        before = here.gateway.budgets()
        assert 0 < Decimal(before[0]["expected_usd"]) <= Decimal(before[0]["held_usd"])
        assert would("m", who, input_tokens=100, output_tokens=70)["passes"] == "waits"
        assert here.gateway.budgets() == before and upstream.open_requests == 1
        holder.cancel()
        await asyncio.gather(holder, return_exceptions=True)

    in_world(home, upstream, toml, run)
