"""Residency holds on the first try, on a fallback and on a cached answer."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from faults import FaultServer
from gatewaykit import ask, model, world

from aiplat_lab.core.errors import ConfigError, ProviderError, ResidencyRefused
from aiplat_lab.core.settings import Home, parse

TEAM = '[teams.risk]\nresidency = ["uk", "eu"]\n'


def test_only_allowed_regions_are_asked(home: Home, upstream: FaultServer) -> None:
    toml = TEAM + model("m", 'echo@us, region = "us"', 'status-500, region = "eu"', "echo@uk")

    async def run() -> None:
        async with world(home, upstream, toml) as here:
            answer = await here.gateway.handle(ask("m", team="risk"))
            assert answer.region == "uk" and here.asked("echo@us") == 0
            assert here.row(answer.call_id)["region"] == "uk"
            assert (await here.gateway.handle(ask("m", team="free"))).region == "us"

    asyncio.run(run())


def test_a_fallback_does_not_leave_the_regions(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, TEAM + model("m", "status-401", 'echo@us, region = "us"')) as here:
            with pytest.raises(ProviderError):
                await here.gateway.handle(ask("m", team="risk"))
            assert here.asked("echo@us") == 0

    asyncio.run(run())


@pytest.mark.parametrize("region", ["us", ""])
def test_an_unknown_or_wrong_region_is_refused(home: Home, upstream: FaultServer, region: str) -> None:
    toml = TEAM + f'[providers.else]\nkind = "openai"\nbase_url = "http://127.0.0.1:9"\nregion = "{region}"\n'

    async def run() -> None:
        async with world(home, upstream, toml) as here:
            for request in (ask("else/x", team="risk"), ask("else/x", team="risk", stream=True)):
                with pytest.raises(ResidencyRefused, match=r"may compute in eu, uk only") as caught:
                    if request.stream:
                        async with here.gateway.stream(request):
                            pass
                    else:
                        await here.gateway.handle(request)
                assert len(str(caught.value).encode()) <= 800
                row = here.row(request.call_id)
                assert (row["status"], row["policy"]) == ("refused", "residency")

    asyncio.run(run())


def test_a_cached_answer_from_elsewhere_is_not_given(home: Home, upstream: FaultServer) -> None:
    """The rule came after the answer: the settings changed between two runs."""

    async def run(toml: str, expected: str) -> None:
        async with world(home, upstream, toml) as here:
            answer = await here.gateway.handle(ask("m", team="risk", cache="on"))
            assert (answer.cache, answer.region) == ("miss", expected)

    both = model("m", 'echo@us, region = "us"', "echo@uk")
    asyncio.run(run(both, "us"))
    asyncio.run(run(TEAM + both, "uk"))


RULES = """
[teams.risk]
residency = ["uk", "eu"]
[projects.churn]
team = "risk"
residency = ["uk"]
[[residency]]
prompt = "triage"
regions = ["eu"]
[[residency]]
tag = "data=pii"
regions = ["uk"]
"""
PLACES = model("m", 'echo@us, region = "us"', 'echo@eu, region = "eu"', "echo@uk")


@pytest.mark.parametrize(
    ("who", "region"),
    [
        ({}, "us"),
        ({"team": "risk"}, "eu"),
        ({"team": "risk", "project": "churn"}, "uk"),
        ({"project": "churn"}, "uk"),
        ({"prompt_name": "triage"}, "eu"),
        ({"tags": {"data": "pii"}}, "uk"),
        ({"tags": {"data": "open"}}, "us"),
        ({"team": "risk", "tags": {"data": "pii"}}, "uk"),
        ({"team": "risk", "prompt_name": "triage"}, "eu"),
    ],
)
def test_all_rules_that_fit_are_intersected(home: Home, upstream: FaultServer, who: dict[str, Any], region: str) -> None:
    async def run() -> None:
        async with world(home, upstream, RULES + PLACES) as here:
            answer = await here.gateway.handle(ask("m", **who))
            assert answer.region == region and here.row(answer.call_id)["region"] == region
            assert len(here.upstream.requests) == 1

    asyncio.run(run())


def test_rules_without_a_common_region_refuse_and_say_which(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, RULES + PLACES) as here:
            request = ask("m", project="churn", prompt_name="triage")
            with pytest.raises(ResidencyRefused, match="no region in common") as caught:
                await here.gateway.handle(request)
            for rule in ("teams.risk.residency (eu, uk)", "projects.churn.residency (uk)", "residency[0] (eu)"):
                assert rule in str(caught.value)
            assert "residency[1]" not in str(caught.value)
            assert here.row(request.call_id)["status"] == "refused" and here.upstream.requests == []

    asyncio.run(run())


def test_a_key_binds_what_its_holder_cannot_leave_out(home: Home, upstream: FaultServer) -> None:
    """The team and project of a key hold; a prompt and tags are what the caller says they are, and can only narrow."""

    async def run() -> None:
        async with world(home, upstream, RULES + PLACES) as here:
            key = here.gateway.keys.create(project="churn").key
            for claimed in ({}, {"team": "free"}, {"project": "other"}):
                answer = await here.gateway.handle(ask("m", key_id=key.id, **claimed))
                assert answer.region == "uk"
            assert await here.gateway.count_tokens(replace(ask("m", key_id=key.id), model="claude/echo")) == 2
            with pytest.raises(ResidencyRefused):
                await here.gateway.count_tokens(ask("m", key_id=key.id, prompt_name="triage"))

    asyncio.run(run())


def test_a_rule_without_regions_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match=r"residency\[0\]\.regions is empty"):
        parse('[[residency]]\nteam = "risk"\nregions = []\n')
