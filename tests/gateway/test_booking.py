"""What a call cost, through the whole pipeline: tiers, the price book, the day it began, units, and the baseline."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from faults import FaultServer
from gatewaykit import ask, model, world

from aiplat_lab.core.settings import Home, parse
from aiplat_lab.core.types import Call, Deployment, Response, Usage
from aiplat_lab.gateway.booking import book
from aiplat_lab.prices import Prices, reprice

NOW = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
HOSTS = '[providers.openai]\nkind = "openai"\n[providers.up]\nkind = "openai"\nbase_url = "http://127.0.0.1:9/v1"\n'
GPT5 = Deployment(provider="openai", model="gpt-5")
FLEX = replace(GPT5, service_tier="flex")
MINI = Deployment(provider="openai", model="gpt-5-mini")
OURS = Deployment(provider="up", model="m")


def booked(
    deployment: Deployment, usage: Usage | None, *, first: Deployment = GPT5, toml: str = "", at: datetime = NOW, **more: object
) -> Call:
    request = ask("x", settings=more.pop("settings", {}))
    call = Call(request=request, started_at=at, ended_at=at, deployment=deployment, attempts=1)
    call.response = Response(text="x", usage=usage, finish_reason="stop")
    call.state.update(more)
    book(call, prices=Prices(parse(HOSTS + toml)), first=first)
    return call


THOUSAND = Usage(input_tokens=1000, output_tokens=1000)


@pytest.mark.parametrize(
    ("call", "cost", "baseline"),
    [
        (booked(GPT5, THOUSAND), "0.01125", "0.01125"),
        (booked(MINI, THOUSAND), "0.00225", "0.01125"),  # routed to a cheaper one
        (booked(GPT5, THOUSAND, first=MINI), "0.01125", "0.00225"),  # a fallback to a dearer one
        (booked(FLEX, THOUSAND, first=FLEX), "0.005625", "0.01125"),  # flex against the standard tier
        (booked(GPT5, replace(THOUSAND, service_tier="flex")), "0.005625", "0.01125"),
        (booked(GPT5, replace(THOUSAND, service_tier="priority")), "0.0225", "0.0225"),  # a dearer tier is not a loss
        (booked(GPT5, replace(THOUSAND, service_tier="default"), settings={"service_tier": "flex"}), "0.01125", "0.01125"),
        (booked(GPT5, THOUSAND, settings={"service_tier": "flex"}), "0.005625", "0.01125"),
        (booked(GPT5, THOUSAND, settings={"service_tier": "auto"}), "0.01125", "0.01125"),
        (booked(GPT5, replace(THOUSAND, service_tier="default"), batch_id="b"), "0.005625", "0.01125"),
        (booked(MINI, THOUSAND, batch_id="b"), "0.001125", "0.01125"),
        (booked(OURS, THOUSAND), None, "0.01125"),  # unknown, though the baseline is known
        (booked(GPT5, THOUSAND, first=OURS), "0.01125", None),
        (booked(GPT5, replace(THOUSAND, service_tier="scale")), None, None),
        (booked(GPT5, replace(THOUSAND, other={"images": 1})), None, None),
        (booked(GPT5, None), None, None),
    ],
    ids=range(16),
)  # fmt: skip
def test_cost_and_baseline(call: Call, cost: str | None, baseline: str | None) -> None:
    assert call.cost_usd == (None if cost is None else Decimal(cost))
    if baseline is not None:
        assert call.baseline_cost_usd == Decimal(baseline)
    assert ("no_price" in call.flags) == (cost is None and call.response is not None and call.response.usage is not None)


def test_a_call_that_spans_a_change_of_price_costs_what_held_when_it_began() -> None:
    toml = '[[prices]]\nmodel = "m"\ninput_usd_per_mtok = 1\noutput_usd_per_mtok = 1\n'
    toml += '[[prices]]\nmodel = "m"\nsince = "2026-11-02"\ninput_usd_per_mtok = 5\noutput_usd_per_mtok = 5\n'
    midnight = datetime(2026, 11, 2, tzinfo=UTC)
    before = booked(OURS, THOUSAND, toml=toml, at=midnight - timedelta(microseconds=1))
    after = booked(OURS, THOUSAND, toml=toml, at=midnight)
    assert (before.cost_usd, after.cost_usd) == (Decimal("0.002"), Decimal("0.01"))


def test_a_hedge_that_is_billed_too_is_in_the_cost_and_the_row_prices_itself() -> None:
    from aiplat_lab.core.documents import request_document
    from aiplat_lab.gateway.row import end_row

    call = booked(GPT5, THOUSAND, hedge=(MINI, THOUSAND))
    assert (call.cost_usd, call.baseline_cost_usd) == (Decimal("0.0135"), Decimal("0.01125"))
    row, _ = end_row(call, request_document(call.request))
    assert reprice(row) == call.cost_usd
    assert "hedge_billed" in row["flags"]
    unknown = booked(GPT5, THOUSAND, hedge=(OURS, THOUSAND))
    assert (unknown.cost_usd, "no_price" in unknown.flags) == (None, True)


def test_a_cost_that_no_row_can_hold_is_unknown() -> None:
    toml = '[[prices]]\nmodel = "m"\ninput_usd_per_mtok = 100_000\noutput_usd_per_mtok = 1\n'
    call = booked(OURS, Usage(input_tokens=10**10), toml=toml)
    assert call.cost_usd is None
    assert call.flags == ["no_price"]


BOOK = """
[[prices]]
provider = "up"
model = "tiered"
input_usd_per_mtok = 10
output_usd_per_mtok = 20
other_usd = { requests = 0.001 }
[[prices]]
provider = "up"
model = "tiered"
service_tier = "flex"
discount = 0.5
input_usd_per_mtok = 10
output_usd_per_mtok = 20
"""


def test_the_row_prices_itself_again_and_the_tier_is_sent(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        toml = BOOK + model("cheap", 'tiered, service_tier = "flex"') + model("plain", "tiered")
        async with world(home, upstream, toml) as here:
            for name, tier in (("cheap", "flex"), ("plain", None)):
                answer = await here.gateway.handle(ask(name))
                row = here.row(answer.call_id)
                assert row["service_tier"] == tier
                assert row["cost_usd"] == answer.cost_usd == reprice(row)
                assert row["price_version"].startswith("aiplat.toml#")
                assert upstream.requests[-1].body.get("service_tier") == tier
            assert here.ledger.view_rows("repriced")[0]["differ"] == 0
            assert row["other_prices_usd"] == {"requests": "0.001"}

    asyncio.run(run())


@pytest.mark.parametrize("name", ["usage-on-choice-chunk", "usage-on-every-chunk", "cached", "reasoning", "cache-write"])
def test_a_stream_costs_what_the_same_answer_costs_in_one_piece(home: Home, upstream: FaultServer, name: str) -> None:
    async def run() -> None:
        toml = f'[[prices]]\nmodel = "{name}"\ninput_usd_per_mtok = 3\noutput_usd_per_mtok = 15\ncache_read_usd_per_mtok = 0.3\n'
        async with world(home, upstream, toml + model("m", name)) as here:
            whole = await here.gateway.handle(ask("m"))
            stream = here.gateway.stream(ask("m"))
            async with stream as pieces:
                async for _ in pieces:
                    pass
            assert stream.response is not None
            assert (stream.response.cost_usd, stream.response.usage) == (whole.cost_usd, whole.usage)
            assert whole.cost_usd

    asyncio.run(run())


def test_unknown_costs_are_flagged_and_counted(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, model("m", "echo")) as here:
            answer = await here.gateway.handle(ask("m", team="risk"))
            row = here.row(answer.call_id)
            assert (answer.cost_usd, row["cost_usd"], row["flags"]) == (None, None, ["no_price"])
            for view in ("totals", "spend_by_team", "spend_by_model", "breakdown"):
                assert here.ledger.view_rows(view)[0]["unpriced_calls"] == 1
            (found,) = here.ledger.view_rows("allocation", {"by": "team"})
            assert (found["cost_usd"], found["unpriced_calls"], found["share"]) == (0, 1, None)

    asyncio.run(run())
