"""Replay in the gateway: what is given again whatever its age, what is asked again, and which rules hold all the same."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from faults import FaultServer
from gatewaykit import PRICED, World, ask, model, world

from aiplat_lab.core.errors import AuthRefused, NothingToReplay, ResidencyRefused
from aiplat_lab.core.ids import new_id
from aiplat_lab.core.settings import Home
from aiplat_lab.core.types import Request, Response

FAST = model("fast", "echo", more=", " + PRICED)
NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def cell(text: str = "one two", *, name: str = "fast", replay: str = "auto", **more: Any) -> Request:
    """What a cell asks, with the exact cache off so that only replay can answer."""
    return replace(ask(name, text, surface="magic", **more), replay=replay)  # type: ignore[arg-type]


async def streamed(here: World, request: Request) -> tuple[str, Response | None]:
    async with (stream := here.gateway.stream(replace(request, stream=True))) as pieces:
        text = "".join([chunk.text async for chunk in pieces])
    return text, stream.response


def test_an_answer_of_last_year_is_given_again_for_nothing(home: Home, upstream: FaultServer) -> None:
    async def at(now: datetime) -> tuple[Response, dict[str, Any]]:
        async with world(home, upstream, FAST, clock=lambda: now) as here:
            answer = await here.gateway.handle(cell(cache="auto"))
            return answer, here.row(answer.call_id)

    first, _ = asyncio.run(at(NOW))
    again, row = asyncio.run(at(NOW + timedelta(days=400)))
    assert len(upstream.requests) == 1 and first.cost_usd
    assert again.text == first.text and again.usage == first.usage and again.finish_reason == first.finish_reason
    assert (again.cache, again.cost_usd, again.baseline_cost_usd) == ("hit", 0, first.cost_usd)
    assert again.notes["replay-of"] == first.call_id and again.notes["replay-asked-at"].startswith("2026-11-20T12:00")
    assert (row["policy"], row["cost_usd"], row["baseline_cost_usd"], row["parent_id"]) == ("replay", 0, first.cost_usd, first.call_id)


@pytest.mark.parametrize(
    "change",
    [
        {"text": "another"},
        {"team": "b"},
        {"settings": {"temperature": 0.5}},
        {"settings": {"tools": [{"type": "function", "function": {"name": "f"}}]}},
        {"name": "up/echo"},
        {"tags": {"draw": "2"}},
        {"replay": "refresh"},
        {"replay": "off"},
    ],
    ids=["text", "team", "settings", "tools", "model", "draw", "refresh", "off"],
)
def test_what_differs_is_asked(home: Home, upstream: FaultServer, change: dict[str, Any]) -> None:
    async def run() -> None:
        async with world(home, upstream, FAST) as here:
            await here.gateway.handle(cell())
            other = await here.gateway.handle(cell(**{"text": "one two", **change}))
            assert other.cache != "hit" and len(upstream.requests) == 2

    asyncio.run(run())


def test_an_alias_that_stands_for_another_model_is_asked_and_only_says_why(home: Home, upstream: FaultServer) -> None:
    async def run(settings: str, *modes: str) -> list[Any]:
        async with world(home, upstream, settings) as here:
            found: list[Any] = []
            for mode in modes:
                try:
                    found.append(await here.gateway.handle(cell(replay=mode)))
                except NothingToReplay as refused:
                    found.append(refused)
            return found

    asyncio.run(run(FAST, "auto"))
    moved = model("fast", "echo@b", "echo", more=", " + PRICED)
    refused, live = asyncio.run(run(moved, "only", "auto"))
    assert "'fast' stood for up/echo when it was answered, and stands for up/echo@b now" in refused.message
    assert live.cache != "hit" and [seen.model for seen in upstream.requests] == ["echo", "echo@b"]
    [back] = asyncio.run(run(FAST, "only"))
    assert back.cache == "hit" and len(upstream.requests) == 2
    [kept] = asyncio.run(run(model("fast", "echo", "instant", more=", " + PRICED), "only"))
    assert kept.cache == "hit", "a further fallback does not make an answer stale"


def test_only_never_sends(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, FAST) as here:
            with pytest.raises(NothingToReplay, match="it was not answered before") as refused:
                await here.gateway.handle(cell(replay="only"))
            row = here.row(refused.value.call_id)
            assert (row["status"], row["policy"], row["cost_usd"]) == ("refused", "replay", 0)
            with pytest.raises(NothingToReplay):
                await streamed(here, cell(replay="only"))
            assert not upstream.requests

    asyncio.run(run())


def test_streams_replay_and_so_do_answers_cut_at_a_limit(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, FAST + model("cut", "length")) as here:
            for name in ("fast", "cut"):
                text, first = await streamed(here, cell("one two three", name=name))
                for _ in range(2):
                    again, response = await streamed(here, cell("one two three", name=name))
                    assert again == text and response is not None and first is not None
                    assert response.cache == "hit" and response.finish_reason == first.finish_reason
                whole = await here.gateway.handle(cell("one two three", name=name))
                assert whole.text == text and whole.cache == "hit"
            assert len(upstream.requests) == 2

    asyncio.run(run())


def test_what_broke_off_is_asked_again(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, FAST) as here:
            async with here.gateway.stream(replace(cell("one two three"), stream=True)) as pieces:
                await anext(pieces)
            assert here.rows()[0]["status"] == "cancelled"
            assert (await here.gateway.handle(cell("one two three"))).cache != "hit"

    asyncio.run(run())


def test_other_surfaces_do_not_replay_by_themselves_and_the_setting_counts(home: Home, upstream: FaultServer) -> None:
    async def run(settings: str, request: Request) -> str:
        async with world(home, upstream, settings) as here:
            await here.gateway.handle(replace(request, replay="auto", call_id=new_id()))
            return (await here.gateway.handle(request)).cache

    assert asyncio.run(run(FAST, cell(replay=""))) == "hit"
    assert asyncio.run(run('[replay]\nmode = "off"\n' + FAST, cell("b", replay=""))) == "off"
    assert asyncio.run(run('[replay]\nmode = "refresh"\n' + FAST, cell("c", replay=""))) == "off"
    http = replace(ask("fast", "d", surface="http"), replay="")
    assert asyncio.run(run(FAST, http)) == "off"


def test_residency_and_who_may_ask_hold_on_replay(home: Home, upstream: FaultServer) -> None:
    abroad = '[teams.a]\nresidency = ["eu"]\n'
    others = '[teams.a]\nmodels = ["careful"]\n'

    async def run(settings: str) -> Response:
        async with world(home, upstream, settings + FAST) as here:
            return await here.gateway.handle(cell(team="a", replay="only"))

    async def first() -> None:
        async with world(home, upstream, FAST) as here:
            await here.gateway.handle(cell(team="a"))

    asyncio.run(first())
    assert asyncio.run(run("")).cache == "hit"
    with pytest.raises(ResidencyRefused):
        asyncio.run(run(abroad))
    with pytest.raises(AuthRefused):
        asyncio.run(run(others))
    assert len(upstream.requests) == 1


def test_what_was_erased_is_gone(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, FAST) as here:
            first = await here.gateway.handle(cell())
            assert (await here.gateway.handle(cell(replay="only"))).text == first.text
            assert here.ledger.erase_payload(here.row(first.call_id)["response_hash"])
            with pytest.raises(NothingToReplay, match="its answer was erased"):
                await here.gateway.handle(cell(replay="only"))
            assert (await here.gateway.handle(cell())).cache != "hit"
            assert len(upstream.requests) == 2

    asyncio.run(run())


def test_clearing_concerns_one_notebook_and_the_cache_too(home: Home, upstream: FaultServer) -> None:
    def of(notebook: str, replay: str = "auto") -> Request:
        request = cell(cache="auto", replay=replay)
        return replace(request, attribution=replace(request.attribution, notebook=notebook))

    async def run() -> None:
        async with world(home, upstream, FAST) as here:
            first = await here.gateway.handle(of("a.ipynb"))
            assert (await here.gateway.handle(of("b.ipynb"))).notes["replay-of"] == first.call_id, "the same cell of two notebooks"
            here.gateway.replay.clear(team="", notebook="a.ipynb")
            with pytest.raises(NothingToReplay, match="cleared"):
                await here.gateway.handle(of("a.ipynb", "only"))
            assert (await here.gateway.handle(of("b.ipynb", "only"))).cache == "hit"
            fresh = await here.gateway.handle(of("a.ipynb"))
            assert fresh.cache == "miss" and len(upstream.requests) == 2
            assert (await here.gateway.handle(of("a.ipynb", "only"))).notes["replay-of"] == fresh.call_id
        async with world(home, upstream, FAST) as here:
            assert (await here.gateway.handle(of("a.ipynb", "only"))).notes["replay-of"] == fresh.call_id
            here.gateway.replay.clear(team="", notebook="")
        async with world(home, upstream, FAST) as here:
            with pytest.raises(NothingToReplay, match="cleared"):
                await here.gateway.handle(of("b.ipynb", "only"))

    asyncio.run(run())


def test_masked_questions_replay_with_their_own_values_and_nothing_personal_is_kept(home: Home, upstream: FaultServer) -> None:
    settings = '[redaction]\ninput = "mask"\n' + FAST

    async def run() -> None:
        async with world(home, upstream, settings) as here:
            text = "Write to anna@example.org today"
            first = await here.gateway.handle(cell(text))
            again = await here.gateway.handle(cell(text, replay="only"))
            assert again.text == first.text and "anna@example.org" in again.text
            recorded = here.ledger.payload(here.row(again.call_id)["response_hash"])
            assert recorded is not None and b"anna" not in recorded
            assert len(upstream.requests) == 1

    asyncio.run(run())


def test_a_plan_says_what_would_be_replayed(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, FAST) as here:
            first = await here.gateway.handle(cell())
            known = await here.gateway.plan(cell())
            other = await here.gateway.plan(cell("another", replay="only"))
            assert (known["state"], known["replay_of"], known["high_usd"]) == ("replay", first.call_id, "0")
            assert other["state"] == "refused"

    asyncio.run(run())
