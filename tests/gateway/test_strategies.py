"""In which order deployments are tried, and why: each strategy, the rules, and what a deployment cannot do."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from faults import FaultServer
from gatewaykit import World, ask, model, world

from aiplat_lab.core.errors import CapabilityRefused, ResidencyRefused
from aiplat_lab.core.settings import Home
from aiplat_lab.core.types import Message, Request
from aiplat_lab.gateway import _strategy
from aiplat_lab.gateway._complexity import complexity

TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {}}}]
IMAGE = ({"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": "data:,"}})


def price(into: float) -> str:
    return f"input_usd_per_mtok = {into}, output_usd_per_mtok = {into * 4}"


def run(home: Home, upstream: FaultServer, toml: str, work: Callable[[World], Awaitable[None]]) -> None:
    async def go() -> None:
        async with world(home, upstream, toml) as here:
            await work(here)

    asyncio.run(go())


def test_the_cheapest_is_first_and_the_unpriced_last(home: Home, upstream: FaultServer) -> None:
    toml = model("m", "instant@none", f"instant@dear, {price(9)}", f"instant@cheap, {price(1)}") + 'strategy = "cheapest"\n'

    async def work(here: World) -> None:
        answer = await here.gateway.handle(ask("m"))
        assert answer.response_model == "instant@cheap" and answer.notes["route"].startswith("cheapest: up/instant@cheap, about $")
        row = here.row(answer.call_id)
        assert "1 without a known price come last" in row["route"]
        told = await here.gateway.explain(ask("m"))
        assert [one["deployment"] for one in told["deployments"]] == ["up/instant@cheap", "up/instant@dear", "up/instant@none"]
        assert told["deployments"][2]["why"] == "no known price" and told["deployments"][2]["estimate_usd"] is None
        assert row["baseline_cost_usd"] is None, "what the first listed one would have cost is not known"

    run(home, upstream, toml, work)


def test_when_no_price_is_known_that_is_said(home: Home, upstream: FaultServer) -> None:
    async def work(here: World) -> None:
        answer = await here.gateway.handle(ask("m"))
        assert answer.response_model == "instant@a" and "no price is known" in here.row(answer.call_id)["route"]

    run(home, upstream, model("m", "instant@a", "instant@b") + 'strategy = "cheapest"\n', work)


def test_a_long_answer_can_make_another_one_cheaper(home: Home, upstream: FaultServer) -> None:
    toml = model(
        "m",
        "instant@input, input_usd_per_mtok = 1, output_usd_per_mtok = 100",
        "instant@output, input_usd_per_mtok = 50, output_usd_per_mtok = 10",
    )

    async def work(here: World) -> None:
        long = await here.gateway.explain(ask("m", "word " * 4000, settings={"max_tokens": 4}))
        short = await here.gateway.explain(ask("m", "word"))
        assert long["deployments"][0]["deployment"] == "up/instant@input"
        assert short["deployments"][0]["deployment"] == "up/instant@output"

    run(home, upstream, toml + 'strategy = "cheapest"\n', work)


def test_the_fastest_is_measured_and_found(home: Home, upstream: FaultServer) -> None:
    toml = model("m", "echo-150ms@slow", "echo@quick") + 'strategy = "fastest"\n'

    async def work(here: World) -> None:
        routes = []
        for index in range(16):
            answer = await here.gateway.handle(ask("m", f"one two three {index}"))
            routes.append(here.row(answer.call_id)["route"])
        assert here.asked("echo-150ms@slow") <= 5, routes
        assert "is not measured yet" in routes[0] and any("fastest: up/echo@quick, 0." in route for route in routes[6:])

    run(home, upstream, toml, work)


def test_what_the_ledger_knows_of_speed_is_kept(home: Home, upstream: FaultServer) -> None:
    toml = model("m", "echo-100ms@slow", "echo@quick") + 'strategy = "fastest"\n'

    async def first(here: World) -> None:
        for index in range(8):
            await here.gateway.handle(ask("m", f"one two three {index}"))

    async def second(here: World) -> None:
        told = await here.gateway.explain(ask("m"))
        assert told["deployments"][0]["deployment"] == "up/echo@quick" and "s for 100 tokens" in told["deployments"][0]["why"]

    run(home, upstream, toml, first)
    run(home, upstream, toml, second)


def test_one_call_in_twenty_explores() -> None:
    from aiplat_lab.core.types import Deployment
    from aiplat_lab.gateway._speed import Speeds

    speeds = Speeds()
    both = (Deployment(provider="up", model="a"), Deployment(provider="up", model="b"))
    for _ in range(5):
        for one, seconds in zip(both, (1.0, 2.0), strict=True):
            speeds.of(one.name).started += 1
            speeds.plain(one.name, seconds=seconds, tokens=10)
    first = Counter(_strategy.fastest(both, speeds, call_id=f"call-{index}").deployments[0].model for index in range(2000))
    assert 50 <= first["b"] <= 160, first


def test_weights_are_kept_by_the_id_of_the_call(home: Home, upstream: FaultServer) -> None:
    toml = model("m", "instant@a, weight = 3", "instant@b") + 'strategy = "weighted"\n'

    async def work(here: World) -> None:
        requests = [ask("m", str(index)) for index in range(400)]
        first = [(await here.gateway.explain(one))["deployments"][0]["deployment"] for one in requests]
        again = [(await here.gateway.explain(one))["deployments"][0]["deployment"] for one in requests]
        assert first == again, "the same call always goes the same way"
        assert 260 <= first.count("up/instant@a") <= 340
        answer = await here.gateway.handle(requests[0])
        assert f"up/{answer.response_model}" == first[0]
        assert "% of calls" in here.row(answer.call_id)["route"]

    run(home, upstream, toml, work)


EASY = "Is this ticket positive or negative? The lamp is lovely."
HARD = (
    "Analyse the trade-off between these two designs step by step, compare their complexity, prove the bound and explain why it holds. "
    "The answer must not exceed 200 words, must name at least two risks, should only use the facts below, and never guess.\n"
    "```python\ndef f(x):\n    return f(x - 1)\n```\n" + "Some context about the system. " * 120
)


def test_hard_requests_go_to_the_strongest(home: Home, upstream: FaultServer) -> None:
    toml = model("m", f"instant@weak, {price(1)}", f"instant@mid, {price(3)}", f"instant@strong, {price(9)}") + 'strategy = "complexity"\n'

    async def work(here: World) -> None:
        easy, hard = await here.gateway.handle(ask("m", EASY)), await here.gateway.handle(ask("m", HARD))
        assert (easy.response_model, hard.response_model) == ("instant@weak", "instant@strong")
        assert "complexity 0.0" in here.row(easy.call_id)["route"]
        why = here.row(hard.call_id)["route"]
        assert "code" in why and "constraints" in why and "words of reasoning" in why
        assert easy.cost_usd is not None and easy.baseline_cost_usd == easy.cost_usd * 9, "against the strongest"
        told = await here.gateway.explain(ask("m", EASY))
        assert [one["deployment"][-4:] for one in told["deployments"]] == ["weak", "@mid", "rong"], "then the stronger ones"

    run(home, upstream, toml, work)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"settings": {"tools": TOOLS}}, "1 tools"),
        ({"settings": {"response_format": {"type": "json_schema"}}}, "a JSON schema"),
        ({"settings": {"reasoning_effort": "high"}}, "a reasoning effort"),
        ({"messages": tuple(Message("user", "more") for _ in range(5))}, "5 turns"),
        ({"messages": (Message("user", "```\nx = 1\n```"),)}, "code"),
    ],
)
def test_what_makes_a_request_hard(more: dict[str, Any], reason: str) -> None:
    plain = Request(model="m", messages=(Message("user", "Hello"),))
    found = complexity(Request(**{"model": "m", "messages": plain.messages, **more}), input_tokens=10)
    assert found.score > complexity(plain, input_tokens=10).score and reason in found.reasons


def test_complexity_is_cheap_and_bounded() -> None:
    huge = Request(model="m", messages=(Message("user", "must " * 2_000_000),), settings={"tools": TOOLS * 50, "reasoning_effort": "high"})
    began = time.perf_counter()
    found = complexity(huge, input_tokens=10_000_000)
    assert 0 <= found.score <= 1 and time.perf_counter() - began < 0.1


RULES = """
[[models.m.rules]]
use = ["up/instant@vision"]
modality = "image"
[[models.m.rules]]
use = ["up/instant@long", "up/instant@any"]
min_input_tokens = 1000
[[models.m.rules]]
use = ["up/instant@tools"]
tools = true
team = "risk"
[[models.m.rules]]
use = ["up/instant@tag"]
tag = "stage=test"
project = "churn"
"""
MANY = model("m", "instant@any", "instant@vision", "instant@long", "instant@tools", "instant@tag") + RULES


@pytest.mark.parametrize(
    ("request_", "first", "why"),
    [
        (ask("m"), "any", "as they are listed"),
        (Request(model="m", messages=(Message("user", IMAGE),)), "vision", "rule 1 (modality image)"),
        (ask("m", "word " * 1000), "long", "rule 2 (1000 input tokens or more)"),
        (ask("m", settings={"tools": TOOLS}), "any", "as they are listed"),
        (ask("m", settings={"tools": TOOLS}, team="risk"), "tools", "rule 3 (team risk, tools)"),
        (ask("m", tags={"stage": "test"}), "any", "as they are listed"),
        (ask("m", tags={"stage": "test"}, project="churn"), "tag", "rule 4 (project churn, tag stage=test)"),
    ],
)
def test_the_first_rule_that_fits_says_where(home: Home, upstream: FaultServer, request_: Request, first: str, why: str) -> None:
    async def work(here: World) -> None:
        told = await here.gateway.explain(request_)
        assert told["deployments"][0]["deployment"] == f"up/instant@{first}" and told["reason"].startswith(why), told

    run(home, upstream, MANY, work)


def test_a_rule_leaves_out_the_others(home: Home, upstream: FaultServer) -> None:
    async def work(here: World) -> None:
        answer = await here.gateway.handle(ask("m", "word " * 1000))
        row = here.row(answer.call_id)
        assert row["route"] == "rule 2 (1000 input tokens or more): up/instant@long, up/instant@any"
        told = await here.gateway.explain(ask("m", "word " * 1000))
        assert [one["try"] for one in told["deployments"]] == [1, 2, None, None, None]
        assert told["deployments"][2]["why"] == "the rule leaves it out"

    run(home, upstream, MANY, work)


ABLE = (
    'lacks = ["tools", "images"]',
    'lacks = ["tools"]',
)


def test_what_a_deployment_cannot_do_is_not_asked_of_it(home: Home, upstream: FaultServer) -> None:
    toml = model("m", f"instant@plain, {ABLE[0]}", f"instant@sees, {ABLE[1]}", "tools@all") + model("alone", f"instant@alone, {ABLE[0]}")

    async def work(here: World) -> None:
        assert (await here.gateway.handle(ask("m"))).response_model == "instant@plain"
        answer = await here.gateway.handle(ask("m", settings={"tools": TOOLS}))
        assert answer.response_model == "tools@all" and answer.tool_calls
        assert "left out: up/instant@plain (lacks calling tools)" in here.row(answer.call_id)["route"]
        seen = Request(model="m", messages=(Message("user", IMAGE),))
        assert (await here.gateway.handle(seen)).response_model == "instant@sees"
        request = ask("alone", settings={"tools": TOOLS})
        with pytest.raises(CapabilityRefused, match=r"'alone' \(up/instant@alone\) cannot do .* calling tools\. Use m") as caught:
            await here.gateway.handle(request)
        assert caught.value.details["missing"] == ["tools"] and "m" in caught.value.details["able"]
        row = here.row(request.call_id)
        assert (row["status"], row["policy"], row["error_type"], row["attempts"]) == ("refused", "routing", "capability_refused", 0)
        assert not here.asked("instant@alone")
        with pytest.raises(CapabilityRefused):
            await here.gateway.explain(request)

    run(home, upstream, toml, work)


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"logprobs": True}, "log-probabilities"), ({"n": 3}, r"more than one answer a call \(n\)"), ({"seed": 7}, "a seed")],
)
def test_a_wire_without_a_word_for_it(home: Home, upstream: FaultServer, settings: dict[str, Any], words: str) -> None:
    async def work(here: World) -> None:
        with pytest.raises(CapabilityRefused, match=words):
            await here.gateway.handle(ask("claude/instant", settings=settings))
        assert (await here.gateway.handle(ask("claude/instant", settings={"n": 1}))).text

    run(home, upstream, "", work)


def test_the_embedded_models_know_their_limits(home: Home, upstream: FaultServer) -> None:
    async def work(here: World) -> None:
        with pytest.raises(CapabilityRefused, match="calling tools"):
            await here.gateway.handle(ask("smollm2", settings={"tools": TOOLS}))
        with pytest.raises(CapabilityRefused, match=r"text.*Use smollm2"):
            await here.gateway.handle(ask("minilm"))
        with pytest.raises(CapabilityRefused, match=r"embeddings\. Use minilm"):
            await here.gateway.handle(Request(model="smollm2", operation="embed", inputs=("a",)))

    run(home, upstream, "", work)


REGIONS = """
[teams.eu]
residency = ["eu"]
[teams.uk]
residency = ["uk"]
"""


def test_residency_holds_on_every_order(home: Home, upstream: FaultServer) -> None:
    toml = model("m", f'instant@eu, region = "eu", {price(9)}', f"instant@uk, {price(1)}") + 'strategy = "cheapest"\n'
    toml += '[[models.m.rules]]\nuse = ["up/instant@uk"]\nproject = "home"\n' + REGIONS

    async def work(here: World) -> None:
        assert (await here.gateway.handle(ask("m", team="eu"))).response_model == "instant@eu"
        assert (await here.gateway.handle(ask("m", team="uk"))).response_model == "instant@uk"
        told = await here.gateway.explain(ask("m", team="eu"))
        assert told["deployments"][1]["why"] == "its region (uk) is not allowed here" and told["deployments"][1]["try"] is None
        with pytest.raises(ResidencyRefused, match=r"rule 1 \(project home\) sends this call to up/instant@uk alone"):
            await here.gateway.handle(ask("m", team="eu", project="home"))
        assert here.asked("instant@uk") == 1

    run(home, upstream, toml, work)


def test_nothing_is_decided_where_there_is_nothing_to_decide(home: Home, upstream: FaultServer) -> None:
    async def work(here: World) -> None:
        answer = await here.gateway.handle(ask("m"))
        assert here.row(answer.call_id)["route"] is None and "route" not in answer.notes

    run(home, upstream, model("m", "instant", "echo"), work)
