"""Residency holds on the first try, on a fallback and on a cached answer."""

from __future__ import annotations

import asyncio

import pytest
from faults import FaultServer
from gatewaykit import ask, model, world

from aiplat_lab.core.errors import ProviderError, ResidencyRefused
from aiplat_lab.core.settings import Home

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
                with pytest.raises(ResidencyRefused, match=r"computed in eu, uk only") as caught:
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
