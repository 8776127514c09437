"""Damaged streams of every wire: never a crash, never a hang, never a truncated answer as a whole one, never an invented token."""

from __future__ import annotations

import asyncio
import random
from decimal import Decimal
from pathlib import Path

import pytest
from faults import FaultServer
from gatewaykit import ask, world
from mutations import LONGEST_S, TEXT, WIRES, Seen, Wire, asking, damaged, in_pieces, told, within
from wirekit import Upstream, listening, make

from aiplat_lab.core.errors import ProviderError
from aiplat_lab.core.settings import Home

EACH = 300
THROUGH = 15
"""Damaged streams of each wire that go through a whole gateway."""


EVERY = pytest.mark.parametrize("wire", [pytest.param(wire, id=wire.kind) for wire in WIRES])


@EVERY
def test_a_good_stream_is_read_whole_in_whatever_pieces_it_comes(wire: Wire) -> None:
    async def inside() -> None:
        body = b"".join(wire.events)
        async with asking(wire) as (upstream, provider):
            for cut in (lambda body: [body], lambda body: [body[at : at + 1] for at in range(len(body))]):
                upstream.pieces = cut
                seen = await told(upstream, provider, wire, body)
                assert (seen.text, seen.error) == (TEXT, None)
                assert seen.usage is not None
                assert (seen.usage.total_input_tokens, seen.usage.total_output_tokens) == (30, 12)

    asyncio.run(inside())


@EVERY
def test_damaged_streams_end_with_a_provider_error_or_an_answer(wire: Wire) -> None:
    async def inside() -> tuple[int, int]:
        failed = answered = 0
        async with asking(wire) as (upstream, provider):
            right = (await told(upstream, provider, wire, b"".join(wire.events))).usage
            assert right is not None
            for number in range(EACH):
                dice = random.Random(f"{wire.kind} {number}")
                done, body = damaged(dice, wire)
                upstream.pieces = in_pieces(dice)
                seen = await told(upstream, provider, wire, body)
                said = f"{wire.kind} {number}: {done}"
                assert seen.seconds < LONGEST_S, said
                if "misshapen" not in done and "flipped" not in done and "noise" not in done:
                    assert within(seen.usage, right), said
                if seen.error is not None:
                    failed += 1
                    assert seen.error.reason in {"bad_reply", "cut_off", "unavailable", "provider_error", "rate_limited"}, said
                    assert len(seen.error.message.encode()) <= 800
                else:
                    answered += 1
                    if done in {"dropped", "cut"}:  # what is missing is an event between others, or the end marker alone
                        assert done == "dropped" or seen.text == TEXT, said
        return failed, answered

    failed, answered = asyncio.run(inside())
    assert failed > EACH / 10
    assert answered > EACH / 10


@EVERY
def test_a_stream_cut_anywhere_before_its_end_is_no_answer(wire: Wire) -> None:
    async def inside() -> None:
        body = b"".join(wire.events)
        async with asking(wire) as (upstream, provider):
            for number in range(40):
                at = random.Random(f"{wire.kind} {number}").randrange(len(body))
                seen = await told(upstream, provider, wire, body[:at])
                assert seen.error is not None or seen.text == TEXT
                assert seen.error is None or seen.error.reason in {"cut_off", "bad_reply"}

    asyncio.run(inside())


@pytest.mark.parametrize("wire", [pytest.param(wire, id=wire.kind) for wire in WIRES if not wire.binary])
@pytest.mark.parametrize("spelling", ["crlf", "cr", "bom", "comments", "no last line"])
def test_other_spellings_of_a_stream_are_read(wire: Wire, spelling: str) -> None:
    body = b"".join(wire.events)
    spelt = {
        "crlf": body.replace(b"\n", b"\r\n"),
        "cr": body.replace(b"\n", b"\r"),
        "bom": b"\xef\xbb\xbf" + body,
        "comments": b"".join(b": keep-alive\n\n" + event for event in wire.events),
        "no last line": body.rstrip(b"\n"),
    }[spelling]

    async def inside() -> None:
        async with asking(wire) as (upstream, provider):
            for cut in (lambda body: [body], lambda body: [body[at : at + 7] for at in range(0, len(body), 7)]):
                upstream.pieces = cut
                seen = await told(upstream, provider, wire, spelt)
                assert (seen.text, seen.error) == (TEXT, None)
                assert seen.usage is not None

    asyncio.run(inside())


@EVERY
def test_a_silent_stream_is_left_in_time(wire: Wire) -> None:
    half = b"".join(wire.events[: len(wire.events) // 2])

    async def inside() -> Seen:
        stop = asyncio.Event()

        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(f"HTTP/1.1 200 OK\r\nContent-Type: {wire.content_type}\r\n\r\n".encode() + half)
            await stop.wait()
            writer.close()

        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        upstream = Upstream(url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        more = {"location": "eu-west-2"} if wire.kind == "bedrock" else {}
        provider = make(wire.kind, upstream, read_timeout_s=0.2, **more)
        try:
            return await told(upstream, provider, wire, b"")
        finally:
            stop.set()
            await provider.aclose()
            server.close()

    seen = asyncio.run(inside())
    assert seen.error is not None
    assert seen.error.reason == "timeout"
    assert seen.seconds < 1.5


# --- through the gateway ----------------------------------------------------------------------------------------------

PROVIDER = """
[providers.{kind}]
kind = "{kind}"
base_url = "{url}"
api_key = "env:UP_KEY"
location = "eu-west-2"
retries = 0
breaker_failures = 0
read_timeout_s = 1.0
[models.{kind}]
deployments = [{{ provider = "{kind}", model = "m", input_usd_per_mtok = 1, output_usd_per_mtok = 1, max_output_tokens = 100 }}]
"""


def test_every_damaged_stream_is_settled_and_in_the_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UP_KEY", "AKIDEXAMPLE:SECRET")

    async def inside(faults: FaultServer) -> None:
        asked: dict[str, str] = {}
        async with listening() as upstream:
            toml = "".join(PROVIDER.format(kind=wire.kind, url=upstream.url) for wire in WIRES) + "[[budgets]]\nlimit_usd = 1000.0\n"
            async with world(Home(tmp_path).create(), faults, toml) as there:
                for number, wire in ((number, wire) for wire in WIRES for number in range(THROUGH)):
                    dice = random.Random(f"{wire.kind} gateway {number}")
                    done, body = damaged(dice, wire)
                    upstream.pieces = in_pieces(dice)
                    upstream.answers[:] = [(200, wire.content_type, body, {})]
                    request = ask(wire.kind, stream=True)
                    asked[request.call_id] = done
                    try:
                        async with asyncio.timeout(10), there.gateway.stream(request) as pieces:
                            async for _ in pieces:
                                pass
                    except ProviderError:
                        pass
                    assert there.gateway.in_flight() == []
                    assert all(Decimal(budget["held_usd"]) == 0 for budget in there.gateway.budgets()), done
                found = {row["call_id"]: row["status"] for row in there.rows()}
        assert found.keys() == asked.keys()
        assert set(found.values()) == {"ok", "error"}

    with FaultServer() as faults:
        asyncio.run(inside(faults))
