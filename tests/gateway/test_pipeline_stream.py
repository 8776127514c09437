"""Streams: pieces as they come, and one row however the stream ends."""

from __future__ import annotations

import asyncio
import json
import time
from decimal import Decimal

import pytest
from faults import FIXED_TEXT, FaultServer
from gatewaykit import PRICED, World, ask, model, world

from aiplat_lab.core.errors import CallCancelled, ProviderError
from aiplat_lab.core.settings import Home


async def _text(here: World, call_id: str) -> str:
    row = here.row(call_id)
    return str(json.loads(here.ledger.payload(row["response_hash"]) or b"{}")["text"]) if row["response_hash"] else ""


def test_the_pieces_and_the_row(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, model("m", "instant", more=", " + PRICED)) as here:
            request = ask("m", stream=True)
            async with here.gateway.stream(request) as pieces:
                assert pieces.call_id == request.call_id and pieces.cache == "off"
                texts = [piece.text async for piece in pieces]
            assert "".join(texts) == FIXED_TEXT and len([text for text in texts if text]) > 3
            answer = pieces.response
            assert answer is not None and answer.text == FIXED_TEXT and answer.finish_reason == "stop"
            assert answer.cost_usd == Decimal("0.0002625") and answer.usage is not None and answer.usage.output_tokens == 20
            assert answer.time_to_first_token_s is not None and 0 < answer.time_to_first_token_s <= answer.latency_s
            row = here.row(request.call_id)
            assert row["status"] == "ok" and row["stream"] is True and row["time_to_first_token_s"] > 0
            assert await _text(here, request.call_id) == FIXED_TEXT

    asyncio.run(run())


def test_calls_of_tools_are_put_together(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream) as here:
            async with here.gateway.stream(ask("up/tools", stream=True)) as pieces:
                async for _ in pieces:
                    pass
            answer = pieces.response
            assert answer is not None and answer.finish_reason == "tool_calls"
            assert answer.tool_calls[0]["function"]["name"] == "weather"
            assert json.loads(answer.tool_calls[0]["function"]["arguments"]) == {"city": "Leeds"}

    asyncio.run(run())


def test_leaving_early_cancels_and_keeps_the_text(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, model("m", "slow-stream", more=", " + PRICED)) as here:
            request = ask("m", stream=True)
            seen = []
            async with here.gateway.stream(request) as pieces:
                async for piece in pieces:
                    seen.append(piece.text)
                    if len(seen) == 4:
                        break
            left = time.monotonic()
            assert await asyncio.to_thread(upstream.wait_for, lambda: upstream.open_requests == 0, 0.5)
            assert time.monotonic() - left < 0.5
            row = here.row(request.call_id)
            assert (row["status"], row["error_type"]) == ("cancelled", "cancelled")
            assert row["cost_usd"] is None and row["output_tokens"] is None, "unknown is not zero"
            assert await _text(here, request.call_id) == "".join(seen)
            assert pieces.response is None and here.gateway.in_flight() == []

    asyncio.run(run())


@pytest.mark.parametrize("provider", ["up", "claude"])
@pytest.mark.parametrize("by", ["task", "id", "error"])
def test_interrupting_a_stream(home: Home, upstream: FaultServer, by: str, provider: str) -> None:
    async def run() -> None:
        async with world(home, upstream) as here:
            request = ask(f"{provider}/slow-stream", stream=True)
            first = asyncio.Event()

            async def caller() -> None:
                async with here.gateway.stream(request) as pieces:
                    async for piece in pieces:
                        if piece.text:
                            first.set()
                        if piece.text and by == "error":
                            raise ConnectionResetError("the browser is gone")

            task = asyncio.create_task(caller())
            await first.wait()
            began = time.monotonic()
            if by == "task":
                task.cancel()
            elif by == "id":
                assert here.gateway.cancel(request.call_id)
            expected = {"task": asyncio.CancelledError, "id": CallCancelled, "error": ConnectionResetError}[by]
            with pytest.raises(expected):
                await task
            assert await asyncio.to_thread(upstream.wait_for, lambda: upstream.open_requests == 0, 0.5)
            assert time.monotonic() - began < 0.5
            assert task.cancelled() is (by == "task")
            row = here.row(request.call_id)
            assert row["status"] == "cancelled" and (await _text(here, request.call_id)).startswith("one")

    asyncio.run(run())


def test_cancel_by_id_reaches_a_caller_who_is_busy_elsewhere(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream) as here:
            request = ask("up/slow-stream", stream=True)
            began = asyncio.Event()

            async def caller() -> None:
                async with here.gateway.stream(request) as pieces:
                    await anext(pieces)
                    began.set()
                    await asyncio.sleep(60)  # such as a write to a browser that does not read

            task = asyncio.create_task(caller())
            await began.wait()
            assert here.gateway.cancel(request.call_id)
            with pytest.raises(CallCancelled):
                await task
            assert await asyncio.to_thread(upstream.wait_for, lambda: upstream.open_requests == 0, 0.5)

    asyncio.run(run())


def test_cancel_by_the_caller_itself_within_the_loop(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream) as here:
            request = ask("up/slow-stream", stream=True)
            with pytest.raises(CallCancelled):
                async with here.gateway.stream(request) as pieces:
                    async for _ in pieces:
                        here.gateway.cancel(request.call_id)
            assert here.row(request.call_id)["status"] == "cancelled"

    asyncio.run(run())


@pytest.mark.parametrize(("name", "reason"), [("cut-stream", "cut_off"), ("cut-clean", "cut_off"), ("bad-chunk", "bad_reply")])
def test_a_stream_that_breaks_is_an_error_with_the_partial_text(home: Home, upstream: FaultServer, name: str, reason: str) -> None:
    async def run() -> None:
        async with world(home, upstream, model("m", name, "instant", more=", " + PRICED)) as here:
            request = ask("m", stream=True)
            texts = []
            with pytest.raises(ProviderError) as caught:
                async with here.gateway.stream(request) as pieces:
                    async for piece in pieces:
                        texts.append(piece.text)
            assert caught.value.reason == reason and caught.value.call_id == request.call_id
            row = here.row(request.call_id)
            assert (row["status"], row["error_type"], row["cost_usd"]) == ("error", reason, None)
            assert await _text(here, request.call_id) == "".join(texts) != ""
            assert here.asked("instant") == 0 and here.asked(name) == 1, "nothing is tried again after the first piece"

    asyncio.run(run())


def test_an_error_caught_inside_is_recorded_all_the_same(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream) as here:
            request = ask("up/cut-stream", stream=True)
            async with here.gateway.stream(request) as pieces:
                with pytest.raises(ProviderError):
                    async for _ in pieces:
                        pass
                with pytest.raises(ProviderError):
                    await anext(pieces)
            assert pieces.response is None
            assert here.row(request.call_id)["status"] == "error"

    asyncio.run(run())


def test_a_stream_without_end_is_ended(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream) as here:
            request = ask("up/endless-stream", stream=True, timeout_s=0.6)
            with pytest.raises(ProviderError, match="still writing") as caught:
                async with here.gateway.stream(request) as pieces:
                    async for _ in pieces:
                        pass
            assert caught.value.reason == "timeout"
            row = here.row(request.call_id)
            assert (row["status"], row["error_type"]) == ("error", "timeout") and 0.5 < row["latency_s"] < 2
            assert len(await _text(here, request.call_id)) > 20
            assert await asyncio.to_thread(upstream.wait_for, lambda: upstream.open_requests == 0, 0.5)

    asyncio.run(run())


@pytest.mark.parametrize("name", ["cut-first", "status-503", "bad-json-never", "status-401"])
def test_what_fails_before_the_first_piece_falls_back(home: Home, upstream: FaultServer, name: str) -> None:
    if name == "bad-json-never":
        name = "status-404"

    async def run() -> None:
        async with world(home, upstream, model("m", name, "instant", more=", " + PRICED) + "\n") as here:
            async with here.gateway.stream(ask("m", stream=True)) as pieces:
                assert "".join([piece.text async for piece in pieces]) == FIXED_TEXT
            answer = pieces.response
            assert answer is not None and "fallback" in answer.flags and answer.response_model == "instant"
            assert answer.attempts >= 2

    asyncio.run(run())


def test_an_error_before_the_first_piece_is_raised_on_entering(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream) as here:
            request = ask("up/status-401", stream=True)
            with pytest.raises(ProviderError) as caught:
                async with here.gateway.stream(request):
                    pytest.fail("it began")
            assert caught.value.status == 401 and caught.value.call_id == request.call_id
            assert here.row(request.call_id)["status"] == "error" and here.row(request.call_id)["cost_usd"] == 0

    asyncio.run(run())


def test_a_stream_without_a_finish_reason_is_no_success(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream) as here:
            stream, said = here.gateway.stream(ask("up/no-finish", stream=True)), []
            with pytest.raises(ProviderError, match="ended without a finish reason") as caught:
                async with stream as pieces:
                    said = [piece.text async for piece in pieces]
            assert caught.value.reason == "cut_off" and said == []
            row = here.row(stream.call_id)
            assert (row["status"], row["error_type"]) == ("error", "cut_off")

    asyncio.run(run())


def test_leaving_once_the_answer_is_whole_is_no_cancellation(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, model("m", "instant", more=", " + PRICED)) as here:
            async with here.gateway.stream(ask("m", stream=True)) as pieces:
                async for piece in pieces:
                    if piece.finish_reason:
                        break
            assert pieces.response is not None and pieces.response.cost_usd == Decimal("0.0002625")
            assert here.row(pieces.call_id)["status"] == "ok"

    asyncio.run(run())


def test_the_first_count_of_a_broken_stream_is_not_its_cost(home: Home, upstream: FaultServer) -> None:
    """Anthropic's wire counts the input at the start: what that leaves out is unknown, and so is the cost."""
    toml = '[models.m]\ndeployments = [{ provider = "claude", model = "cut-stream", input_usd_per_mtok = 3, output_usd_per_mtok = 15 }]\n'

    async def run() -> None:
        async with world(home, upstream, toml) as here:
            with pytest.raises(ProviderError):
                async with here.gateway.stream(ask("m", stream=True)) as pieces:
                    async for _ in pieces:
                        pass
            row = here.row(pieces.call_id)
            assert (row["status"], row["cost_usd"], row["output_tokens"]) == ("error", None, None)

    asyncio.run(run())


def test_classes_of_tokens_have_their_own_prices(home: Home, upstream: FaultServer) -> None:
    price = "input_usd_per_mtok = 3, output_usd_per_mtok = 15, cache_read_usd_per_mtok = 0.3, cache_write_usd_per_mtok = 3.75"
    toml = f'[models.m]\ndeployments = [{{ provider = "claude", model = "cache-write", {price} }}]\n'

    async def run() -> None:
        async with world(home, upstream, toml) as here:
            async with here.gateway.stream(ask("m", stream=True)) as pieces:
                async for _ in pieces:
                    pass
            row = here.row(pieces.call_id)
            assert [row[name] for name in ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens")] == [20, 64, 16, 20]
            assert row["cost_usd"] == (20 * 3 + 64 * Decimal("0.3") + 16 * Decimal("3.75") + 20 * 15) / 1_000_000

    asyncio.run(run())
