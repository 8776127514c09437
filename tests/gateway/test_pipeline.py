"""Every call begun is in the ledger, once, with what it was and how it ended."""

from __future__ import annotations

import asyncio
import json
import resource
from datetime import UTC
from decimal import Decimal

import pytest
from faults import FIXED_TEXT, FaultServer
from gatewaykit import CANARY, PRICED, ask, model, world

from aiplat_lab.core.documents import read_message
from aiplat_lab.core.errors import (
    AiplatError,
    AuthRefused,
    CallCancelled,
    CallLost,
    CallRefused,
    LedgerError,
    ProviderError,
    UnknownModel,
    UsageError,
)
from aiplat_lab.core.settings import Home
from aiplat_lab.core.types import Attribution, Request, utc_now


def test_an_answer_and_its_row(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, model("fast", "instant", more=", " + PRICED)) as here:
            request = ask("fast", "Hallo, Welt ✓", team="risk", project="p1", user_id="u", tags={"run": "7"}, settings={"temperature": 0})
            before = utc_now()
            answer = await here.gateway.handle(request)
            assert answer.text == FIXED_TEXT
            assert answer.call_id == request.call_id
            assert answer.cost_usd == Decimal("0.0002625") == answer.baseline_cost_usd
            assert answer.attempts == 1 and answer.finish_reason == "stop" and answer.cache == "off"
            row = here.row(request.call_id)
            assert row["status"] == "ok" and row["error_type"] is None
            assert (row["team"], row["project"], row["user_id"], row["surface"]) == ("risk", "p1", "u", "python")
            assert dict(row["tags"]) == {"run": "7"}
            assert (row["request_model"], row["provider"], row["response_model"], row["region"]) == ("fast", "up", "instant", "uk")
            assert (row["input_tokens"], row["cache_read_tokens"], row["output_tokens"], row["reasoning_tokens"]) == (25, 0, 20, 0)
            assert row["cost_usd"] == Decimal("0.000262500") and row["price_version"] == "aiplat.toml"
            assert row["input_usd_per_mtok"] == Decimal("2.5") and row["output_usd_per_mtok"] == 10
            assert row["finish_reason"] == "stop" and row["stream"] is False and not row["flags"]
            assert before <= row["started_at"].astimezone(UTC) <= row["ended_at"].astimezone(UTC)
            assert 0 < row["latency_s"] < 5
            asked = json.loads(here.ledger.payload(row["request_hash"]) or b"")
            assert asked["settings"] == {"temperature": 0}
            assert read_message(here.ledger.payload(asked["messages"][0]) or b"").text() == "Hallo, Welt ✓"
            assert json.loads(here.ledger.payload(row["response_hash"]) or b"")["text"] == FIXED_TEXT
            assert here.gateway.in_flight() == []

    asyncio.run(run())


def test_an_embedding(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream) as here:
            request = Request(model="up/instant", operation="embed", inputs=("one two", "three"), cache="off")
            answer = await here.gateway.handle(request)
            assert len(answer.embeddings) == 2 and len(answer.embeddings[0]) == 8
            row = here.row(request.call_id)
            assert row["operation"] == "embed" and row["status"] == "ok" and row["input_tokens"] == 3
            assert len(json.loads(here.ledger.payload(row["response_hash"]) or b"")["embeddings"]) == 2

    asyncio.run(run())


def test_an_unknown_price_is_not_zero(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream) as here:
            answer = await here.gateway.handle(ask("up/instant"))
            assert answer.cost_usd is None and "no_price" in answer.flags
            assert here.row(answer.call_id)["cost_usd"] is None

    asyncio.run(run())


def test_a_missing_count_is_not_zero(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, model("m", "no-usage", more=", " + PRICED)) as here:
            answer = await here.gateway.handle(ask("m"))
            assert answer.usage is None and answer.cost_usd is None and "no_usage" in answer.flags
            row = here.row(answer.call_id)
            assert row["input_tokens"] is None and row["output_tokens"] is None and row["cost_usd"] is None

    asyncio.run(run())


def test_an_unknown_model_is_a_row_and_offers_near_names(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, model("careful", "instant")) as here:
            request = ask("carefull")
            with pytest.raises(UnknownModel, match=r"no model 'carefull'\. Did you mean careful\?") as caught:
                await here.gateway.handle(request)
            assert caught.value.call_id == request.call_id
            row = here.row(request.call_id)
            assert (row["status"], row["error_type"], row["attempts"], row["cost_usd"]) == ("error", "unknown_model", 0, 0)
            with pytest.raises(UnknownModel):
                async with here.gateway.stream(ask("carefull", stream=True)):
                    pytest.fail("a stream of an unknown model began")
            assert len(here.rows()) == 2

    asyncio.run(run())


def test_a_request_without_a_message_and_a_wrong_id(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream) as here:
            empty = Request(model="up/instant")
            with pytest.raises(UsageError, match="no message"):
                await here.gateway.handle(empty)
            assert here.row(empty.call_id)["status"] == "error"
            with pytest.raises(UsageError, match="is not a call id"):
                await here.gateway.handle(ask("up/instant", call_id="42"))
            assert len(here.rows()) == 1, "a call that cannot be named is not begun"

    asyncio.run(run())


def test_a_refusal_is_a_row_that_cost_nothing(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, model("m", "instant") + '[teams.a]\nmodels = ["other"]\n') as here:
            request = ask("m", team="a")
            with pytest.raises(CallRefused, match="may not use the model 'm'"):
                await here.gateway.handle(request)
            row = here.row(request.call_id)
            assert (row["status"], row["policy"], row["error_type"], row["cost_usd"]) == ("refused", "auth", "auth_refused", 0)
            assert upstream.requests == []

    asyncio.run(run())


def test_no_secret_reaches_a_row_or_an_error(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream) as here:
            request = ask("up/leaky")
            with pytest.raises(ProviderError) as caught:
                await here.gateway.handle(request)
            assert "canary" not in str(caught.value) and "canary" not in json.dumps(caught.value.to_wire())
            assert "canary" not in json.dumps(here.row(request.call_id), default=str)
            assert any(CANARY in value for value in upstream.requests[0].headers.values()), "the upstream did get the key"
        assert all(b"canary" not in path.read_bytes() for path in home.path.rglob("*") if path.is_file())

    asyncio.run(run())


# --- cancelling ---------------------------------------------------------------------------------------------------------


def test_a_cancelled_task_is_a_row_and_closes_the_upstream(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream) as here:
            request = ask("up/hang")
            task = asyncio.create_task(here.gateway.handle(request))
            assert await asyncio.to_thread(upstream.wait_for, lambda: upstream.open_requests == 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await asyncio.to_thread(upstream.wait_for, lambda: upstream.open_requests == 0, 0.5)
            assert here.row(request.call_id)["status"] == "cancelled"

    asyncio.run(run())


def test_cancel_by_id_raises_a_typed_error_and_leaves_the_task_alone(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream) as here:
            request = ask("up/hang")

            async def caller() -> str:
                with pytest.raises(CallCancelled) as caught:
                    await here.gateway.handle(request)
                await asyncio.sleep(0)
                return caught.value.call_id

            task = asyncio.create_task(caller())
            assert await asyncio.to_thread(upstream.wait_for, lambda: upstream.open_requests == 1)
            assert [one["call_id"] for one in here.gateway.in_flight()] == [request.call_id]
            assert here.gateway.cancel(request.call_id)
            assert await task == request.call_id and task.cancelling() == 0
            assert await asyncio.to_thread(upstream.wait_for, lambda: upstream.open_requests == 0, 0.5)
            row = here.row(request.call_id)
            assert (row["status"], row["error_type"]) == ("cancelled", "cancelled")
            assert not here.gateway.cancel(request.call_id), "it is no longer in flight"

    asyncio.run(run())


def test_closing_the_gateway_ends_calls_in_flight(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream) as here:
            request = ask("up/hang")
            task = asyncio.create_task(here.gateway.handle(request))
            assert await asyncio.to_thread(upstream.wait_for, lambda: upstream.open_requests == 1)
            await here.gateway.aclose()
            with pytest.raises(CallCancelled):
                await task
            assert here.row(request.call_id)["status"] == "cancelled"

    asyncio.run(run())


# --- the same call again ------------------------------------------------------------------------------------------------


def test_a_call_sent_again_gets_the_first_answer(home: Home, upstream: FaultServer) -> None:
    request = ask("fast", "again")
    toml = model("fast", "echo", more=", " + PRICED)

    async def first() -> None:
        async with world(home, upstream, toml) as here:
            both = await asyncio.gather(here.gateway.handle(request), here.gateway.handle(request))
            third = await here.gateway.handle(request)
            assert both[0].text == both[1].text == third.text == "again"
            assert both[0].cost_usd == both[1].cost_usd == third.cost_usd
            assert both[1].usage == both[0].usage and both[1].latency_s == pytest.approx(both[0].latency_s, abs=1e-5)

    async def after_a_restart() -> None:
        async with world(home, upstream, toml) as here:
            answer = await here.gateway.handle(request)
            assert answer.text == "again" and answer.call_id == request.call_id
            async with here.gateway.stream(request) as pieces:
                assert "".join([piece.text async for piece in pieces]) == "again"
            assert pieces.response is not None and pieces.response.text == "again"
            assert len(here.rows()) == 1

    asyncio.run(first())
    asyncio.run(after_a_restart())
    assert len(upstream.requests) == 1


def test_a_call_sent_many_times_at_once_is_made_once(home: Home, upstream: FaultServer) -> None:
    """Also one that is older than the gateway, as after a restart, for which the ledger has to be asked first."""

    async def run(requests: list[Request]) -> None:
        async with world(home, upstream) as here:
            for request in requests:
                answers = await asyncio.gather(*(here.gateway.handle(request) for _ in range(5)))
                assert {round(answer.latency_s, 5) for answer in answers} == {round(here.row(request.call_id)["latency_s"], 5)}

    asyncio.run(run([ask("up/instant") for _ in range(20)]))
    assert len(upstream.requests) == 20


def test_a_failed_call_sent_again_fails_in_the_same_way(home: Home, upstream: FaultServer) -> None:
    failed, refused = ask("up/status-401"), ask("m", team="a")

    async def run() -> None:
        async with world(home, upstream, model("m", "instant") + '[teams.a]\nmodels = ["other"]\n') as here:
            for _ in range(2):
                with pytest.raises(ProviderError) as caught:
                    await here.gateway.handle(failed)
                assert caught.value.reason == "auth" and caught.value.call_id == failed.call_id
                with pytest.raises(CallRefused) as said:
                    await here.gateway.handle(refused)
                assert type(said.value).__name__ == "AuthRefused" and said.value.policy == "auth"
            assert len(here.rows()) == 2 and len(upstream.requests) == 1

    asyncio.run(run())


def test_a_call_id_cannot_be_used_for_something_else(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream) as here:
            request = ask("up/echo", "mine")
            await here.gateway.handle(request)
            with pytest.raises(UsageError, match="used for another request"):
                await here.gateway.handle(ask("up/echo", "other", call_id=request.call_id))
            key = here.gateway.keys.create(name="k").key
            with pytest.raises(AuthRefused, match="somebody else"):
                await here.gateway.handle(ask("up/echo", "mine", call_id=request.call_id, surface="http", key_id=key.id))
            assert len(here.rows()) == 1

    asyncio.run(run())


def test_a_call_that_a_stopped_gateway_lost(home: Home, upstream: FaultServer) -> None:
    lost = ask("up/instant")

    async def killed() -> None:
        async with world(home, upstream) as here:
            here.ledger.begin({"call_id": lost.call_id, "started_at": utc_now(), "request_model": "up/instant", "surface": "python"})

    async def later() -> None:
        async with world(home, upstream) as here:
            with pytest.raises(CallLost, match="parent_id") as caught:
                await here.gateway.handle(lost)
            assert caught.value.call_id == lost.call_id
            again = ask("up/instant", parent_id=lost.call_id)
            await here.gateway.handle(again)
            assert str(here.row(again.call_id)["parent_id"]) == lost.call_id

    asyncio.run(killed())
    asyncio.run(later())


def test_a_cancelled_call_sent_again_says_so(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream) as here:
            request = ask("up/slow-stream", stream=True)
            async with here.gateway.stream(request) as pieces:
                await anext(pieces)
            with pytest.raises(CallCancelled, match="new call id"):
                await here.gateway.handle(request)

    asyncio.run(run())


# --- when something inside goes wrong -----------------------------------------------------------------------------------


class _Broken:
    """A provider with a mistake of its own."""

    wire = ""

    def __init__(self, name: str, settings: object) -> None:
        pass

    async def chat(self, request: Request, deployment: object) -> None:
        raise ZeroDivisionError("Bearer " + CANARY)

    def stream(self, request: Request, deployment: object) -> None:
        raise ZeroDivisionError("no stream")

    async def aclose(self) -> None:
        pass


def test_a_mistake_in_a_plug_in_is_a_row_and_one_clear_error(home: Home, upstream: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    from aiplat_lab.core import registry

    monkeypatch.setitem(registry._found, ("provider", "broken"), _Broken)

    async def run() -> None:
        async with world(home, upstream, '[providers.b]\nkind = "broken"\n') as here:
            request = ask("b/x")
            with pytest.raises(AiplatError, match="failed inside") as caught:
                await here.gateway.handle(request)
            assert "canary" not in str(caught.value) and caught.value.call_id == request.call_id
            row = here.row(request.call_id)
            assert row["status"] == "error" and row["error_type"] == "aiplat_error" and "canary" not in row["error_message"]
            streamed = ask("b/x", stream=True)
            with pytest.raises(AiplatError, match="failed inside"):
                async with here.gateway.stream(streamed):
                    pass
            assert here.row(streamed.call_id)["status"] == "error"

    asyncio.run(run())


def test_a_policy_that_fails_afterwards_does_not_lose_the_row(home: Home, upstream: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    from aiplat_lab.core import registry

    class Faulty:
        name = "faulty"

        def __init__(self, settings: object, ledger: object, *, clock: object) -> None:
            pass

        async def before(self, call: object) -> None:
            pass

        async def after(self, call: object) -> None:
            raise KeyError("a mistake")

    monkeypatch.setitem(registry._found, ("policy", "faulty"), Faulty)

    async def run() -> None:
        budget = "[[budgets]]\nlimit_usd = 1\n"
        async with world(home, upstream, budget + model("m", "instant", more=", max_output_tokens = 100, " + PRICED)) as here:
            request = ask("m")
            with pytest.raises(KeyError):
                await here.gateway.handle(request)
            assert here.row(request.call_id)["status"] == "ok"
            assert here.gateway.budgets()[0]["held_usd"] == "0.000000000"

    asyncio.run(run())


def test_a_disk_that_is_full(home: Home, upstream: FaultServer) -> None:
    """What cannot be recorded is not given as an answer; nothing stays held, and it works again once there is room."""

    async def run() -> None:
        toml = "[[budgets]]\nlimit_usd = 1\n" + model("m", "instant", more=", max_output_tokens = 100, " + PRICED)
        async with world(home, upstream, toml) as here:
            await here.gateway.handle(ask("m"))
            used = max(path.stat().st_size for path in home.spool.iterdir())
            before = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (used + 1500, before[1]))
            try:
                for _ in range(3):
                    request = ask("m")
                    try:
                        await here.gateway.handle(request)
                    except LedgerError as error:
                        failed = error
                        break
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, before)
            assert len(str(failed).encode()) <= 800 and failed.call_id in (request.call_id, "")
            assert here.gateway.in_flight() == [] and here.gateway.budgets()[0]["held_usd"] == "0.000000000"
            assert (await here.gateway.handle(ask("m"))).text == FIXED_TEXT

    asyncio.run(run())


def test_models_lists_names_with_prices(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        keyless = (
            '[providers.k]\nkind = "openai"\napi_key = "env:NO_SUCH_KEY"\n[models.none]\ndeployments = [{ provider = "k", model = "x" }]\n'
        )
        async with world(home, upstream, keyless + model("fast", "instant", more=", " + PRICED)) as here:
            assert not next(one for one in here.gateway.models() if one["name"] == "none")["available"]
            fast = next(one for one in here.gateway.models() if one["name"] == "fast")
            assert fast["available"] and fast["region"] == "uk"
            assert fast["deployments"][0]["input_usd_per_mtok"] == "2.5"
            assert {"smollm2", "minilm"} <= {one["name"] for one in here.gateway.models()}

    asyncio.run(run())


def test_attribution_is_kept_as_it_was_claimed(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, '[teams.risk]\ncost_centre = "CC-104"\n') as here:
            who = Attribution(
                surface="magic",
                team="risk",
                notebook="n.ipynb",
                cell_id="c1",
                prompt_name="p",
                prompt_version="1.2.0",
                experiment="e",
                variant="b",
            )
            request = Request(model="up/instant", messages=ask("x").messages, attribution=who, cache="off")
            await here.gateway.handle(request)
            row = here.row(request.call_id)
            assert row["cost_centre"] == "CC-104"
            for name in ("surface", "notebook", "cell_id", "prompt_name", "prompt_version", "experiment", "variant"):
                assert row[name] == getattr(who, name)

    asyncio.run(run())
