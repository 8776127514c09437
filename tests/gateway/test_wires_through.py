"""Every new wire through a whole gateway: the answer, the row, the price; and a reported cost where no price is known."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from faults import FaultServer
from gatewaykit import World, ask, world
from mutations import TEXT, WIRES, Wire
from wirekit import Upstream, listening

from aiplat_lab.core.settings import Home
from aiplat_lab.core.types import Usage
from aiplat_lab.prices import cost, reported

PROVIDER = """
[providers.{kind}]
kind = "{kind}"
base_url = "{url}"
api_key = "env:UP_KEY"
location = "eu-west-2"
region = "uk"
[models.{kind}]
deployments = [{{ provider = "{kind}", model = "m", input_usd_per_mtok = 1, output_usd_per_mtok = 10, max_output_tokens = 100 }}]
"""
REPORTING = """
[providers.router]
kind = "openrouter"
base_url = "{url}"
api_key = "env:UP_KEY"
[models.router]
deployments = [{{ provider = "router", model = "somebody/unheard-of" }}]
[models.priced]
deployments = [{{ provider = "router", model = "somebody/unheard-of", input_usd_per_mtok = 1, output_usd_per_mtok = 1 }}]
"""


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UP_KEY", "AKIDEXAMPLE:SECRET")


@asynccontextmanager
async def there(home: Path, toml: str, kinds: tuple[str, ...]) -> AsyncIterator[tuple[World, Upstream]]:
    with FaultServer() as faults:
        async with listening() as upstream:
            tables = "".join(toml.format(kind=kind, url=upstream.url) for kind in kinds)
            async with world(Home(home).create(), faults, tables) as made:
                yield made, upstream


def test_every_wire_streams_through_the_gateway_and_is_booked(tmp_path: Path) -> None:
    async def one(made: World, upstream: Upstream, wire: Wire) -> None:
        upstream.answers[:] = [(200, wire.content_type, b"".join(wire.events), {})]
        request = ask(wire.kind, stream=True)
        async with made.gateway.stream(request) as pieces:
            text = "".join([piece.text async for piece in pieces])
        row = made.row(request.call_id)
        assert (text, row["status"], row["provider"], row["region"]) == (TEXT, "ok", wire.kind, "uk"), wire.kind
        assert row["input_tokens"] + row["cache_read_tokens"] == 30
        assert row["output_tokens"] + row["reasoning_tokens"] == 12
        assert row["cost_usd"] == Decimal("0.000150000"), wire.kind

    async def inside() -> None:
        async with there(tmp_path, PROVIDER, tuple(wire.kind for wire in WIRES)) as (made, upstream):
            for wire in WIRES:
                await one(made, upstream, wire)

    asyncio.run(inside())


def _reply(cost_usd: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}
    return {"model": "m", "choices": [choice], "usage": {"prompt_tokens": 10, "completion_tokens": 4, "cost": cost_usd}}


def test_a_reported_cost_is_booked_where_no_price_is_known(tmp_path: Path) -> None:
    async def inside() -> list[dict[str, Any]]:
        rows = []
        async with there(tmp_path, REPORTING, ("router",)) as (made, upstream):
            for model, told in (("router", 0.001234), ("router", None), ("priced", 0.001234)):
                upstream.answers.clear()
                upstream.says(_reply(told))
                request = ask(model)
                answer = await made.gateway.handle(request)
                rows.append({**made.row(request.call_id), "notes": answer.notes})
        return rows

    told, silent, priced = asyncio.run(inside())
    assert (told["cost_usd"], told["price_version"], told["flags"]) == (Decimal("0.001234000"), "reported by router", None)
    assert told["notes"]["provider-cost-usd"] == "0.001234"
    assert (told["input_tokens"], told["output_tokens"]) == (10, 4)
    assert (silent["cost_usd"], silent["price_version"], silent["flags"]) == (None, None, ["no_price"])
    assert (priced["cost_usd"], priced["price_version"]) == (Decimal("0.000014000"), "aiplat.toml")
    assert priced["notes"]["provider-cost-usd"] == "0.001234"


@pytest.mark.parametrize("told", ["0", "0.000000001", "0.0123456789", "12.5", "999999"])
def test_a_reported_cost_can_be_priced_again_from_its_row(told: str) -> None:
    found = reported(Usage(input_tokens=3, reported_usd=Decimal(told)), "x")
    assert found is not None
    assert abs(found.cost_usd - Decimal(told)) <= Decimal("5e-10")
    again = sum((count * found.price.other_usd[unit] for unit, count in found.usage.other.items()), cost(found.usage, found.price))
    assert found.cost_usd in {again, cost(found.usage, found.price)}
    assert reported(Usage(input_tokens=3), "x") is None
