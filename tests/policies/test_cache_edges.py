"""The cache at its edges: damaged and erased payloads, sizes, lifetimes, clearing, HTTP's own headers, and replays on every wire."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from clikit import Line
from faults import FaultServer
from gatewaykit import PRICED, ask, model, world
from served import Served, served

from aiplat_lab.core.errors import ConfigError, LedgerError
from aiplat_lab.core.settings import Home, parse
from aiplat_lab.ledger import Ledger

FAST = model("fast", "echo", more=", " + PRICED)


@pytest.mark.parametrize("damage", [b"{half", b"[1, 2]", b"\xff\xfe", b'{"embeddings": 7}', LedgerError("the block is damaged")])
def test_a_damaged_payload_is_asked_for_again(
    home: Home, upstream: FaultServer, monkeypatch: pytest.MonkeyPatch, damage: bytes | LedgerError
) -> None:
    async def run(*expected: str) -> None:
        async with world(home, upstream, FAST) as here:
            for one in expected:
                answer = await here.gateway.handle(ask("fast", cache="on"))
                assert answer.cache == one
            flagged = ["cache_not_read" in (here.row(row["call_id"])["flags"] or ()) for row in here.rows()]
            assert any(flagged) is (len(expected) > 1)

    def damaged(self: Ledger, digest: str) -> bytes:
        if isinstance(damage, LedgerError):
            raise damage
        return damage

    asyncio.run(run("miss"))
    with monkeypatch.context() as patched:
        patched.setattr(Ledger, "payload", damaged)
        asyncio.run(run("miss", "hit"))  # the new answer is in memory


def test_an_erased_answer_leaves_memory_at_once(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, FAST) as here:
            first = await here.gateway.handle(ask("fast", cache="on"))
            other = await here.gateway.handle(ask("fast", "another", cache="on"))
            assert (await here.gateway.handle(ask("fast", cache="on"))).cache == "hit"
            await asyncio.to_thread(here.ledger.erase_payload, here.row(first.call_id)["response_hash"])
            assert (await here.gateway.handle(ask("fast", cache="on"))).cache == "miss"
            again = await here.gateway.handle(ask("fast", "another", cache="on"))
            assert again.cache == "hit" and again.text == other.text

    asyncio.run(run())


def test_nothing_is_kept_for_no_time(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, "[cache]\nttl_s = 0\n" + model("slow", "echo-100ms")) as here:
            answers = await asyncio.gather(*(here.gateway.handle(ask("slow", cache="on")) for _ in range(4)))
            assert sorted(one.cache for one in answers) == ["hit", "hit", "hit", "miss"], "at the same time is at the same time"
            assert (await here.gateway.handle(ask("slow", cache="on"))).cache == "miss"
            assert here.gateway.cache.state() == []

    asyncio.run(run())


@pytest.mark.parametrize("most", [0, 1])
def test_memory_keeps_to_its_size(home: Home, upstream: FaultServer, most: int) -> None:
    """Answers beyond it are read from the ledger; a huge one does not push out the others."""

    async def run() -> None:
        async with world(home, upstream, f"[cache]\nmax_mb = {most}\n" + FAST) as here:
            texts = [f"{number} " + "word " * 20_000 for number in range(8)]
            for text in texts:
                await here.gateway.handle(ask("fast", text, cache="on"))
            state = here.gateway.cache.state()[0]
            assert state["answers"] == 8 and state["memory_mb"] <= most and state["in_memory"] <= 4
            await here.gateway.handle(ask("fast", "huge " * 300_000, cache="on"))
            assert here.gateway.cache.state()[0]["in_memory"] == state["in_memory"]
            for text in texts:
                answer = await here.gateway.handle(ask("fast", text, cache="on"))
                assert answer.cache == "hit" and answer.text == text.strip()
            assert len(upstream.requests) == 9

    asyncio.run(run())


def test_a_clock_that_goes_back_keeps_answers(home: Home, upstream: FaultServer) -> None:
    at = [datetime(2026, 11, 20, 12, 0, tzinfo=UTC)]

    async def run() -> None:
        async with world(home, upstream, FAST, clock=lambda: at[0]) as here:
            await here.gateway.handle(ask("fast", cache="on"))
            at[0] -= timedelta(days=3)
            assert (await here.gateway.handle(ask("fast", cache="on"))).cache == "hit"

    asyncio.run(run())


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("ttl_s = -1", r"cache\.ttl_s is -1"),
        ("ttl_s = inf", r"cache\.ttl_s is inf"),
        ("max_mb = -5", r"cache\.max_mb is -5"),
        ("semantic_threshold = 0", r"cache\.semantic_threshold is 0"),
        ("semantic_threshold = 1.5", r"cache\.semantic_threshold is 1\.5"),
        ("semantic = true\nsemantic_model = 'minilmm'", r"cache\.semantic_model 'minilmm' is no model\. Did you mean minilm"),
    ],
)
def test_settings_that_cannot_be_meant(toml: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse(f"[cache]\n{toml}\n")


# --- clearing ---------------------------------------------------------------------------------------------------------


def test_what_was_cleared_is_asked_again(home: Home, upstream: FaultServer) -> None:
    async def fill() -> None:
        async with world(home, upstream, FAST) as here:
            for team in "ab":
                await here.gateway.handle(ask("fast", cache="on", team=team))
            await asyncio.sleep(0.002)
            here.ledger.record("cache_cleared", {"id": "c1", "team": "a"})
            assert [row["team"] for row in here.gateway.cache.state()] == ["b"]
            assert (await here.gateway.handle(ask("fast", cache="on", team="b"))).cache == "hit"

    async def again(a: str, b: str) -> None:
        async with world(home, upstream, FAST) as here:
            assert (await here.gateway.handle(ask("fast", cache="on", team="a"))).cache == a
            assert (await here.gateway.handle(ask("fast", cache="on", team="b"))).cache == b
            if a == "hit":
                await asyncio.sleep(0.002)
                here.ledger.record("cache_cleared", {"id": "c2", "team": ""})

    asyncio.run(fill())
    asyncio.run(again("miss", "hit"))
    asyncio.run(again("hit", "hit"))
    asyncio.run(again("miss", "miss"))


def test_an_answer_that_was_under_way_when_the_cache_was_cleared_is_not_kept(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, model("slow", "echo-200ms")) as here:
            first = asyncio.create_task(here.gateway.handle(ask("slow", cache="on")))
            await asyncio.sleep(0.05)
            here.ledger.record("cache_cleared", {"id": "c1", "team": ""})
            here.gateway.cache.state()
            await first
            assert (await here.gateway.handle(ask("slow", cache="on"))).cache == "miss"

    asyncio.run(run())


# --- over HTTP --------------------------------------------------------------------------------------------------------


@dataclass
class Web:
    """A gateway and a key of the team `web`."""

    served: Served
    key: str

    def post(self, path: str, body: dict[str, Any], **headers: str) -> tuple[dict[str, str], bytes]:
        sent = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        with urllib.request.urlopen(urllib.request.Request(self.served.http + path, json.dumps(body).encode(), sent)) as answer:
            return {name.lower(): value for name, value in answer.headers.items()}, answer.read()


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with served(tmp_path_factory.mktemp("cache") / "home") as found:
        yield Web(found, found.key(team="web"))


def chat(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "priced", "temperature": 0, "messages": [{"role": "user", "content": text}], **more}


@pytest.mark.parametrize(
    ("headers", "first", "second"),
    [
        ({}, "miss", "hit"),
        ({"Cache_Control": "no-cache"}, "miss", "miss"),
        ({"Cache_Control": "max-age=0, no-transform"}, "miss", "miss"),
        ({"Cache_Control": "No-Store"}, "off", "off"),
        ({"Cache_Control": "max-age=60"}, "miss", "hit"),
        ({"Cache_Control": "no-store", "x_aiplat_cache": "on"}, "miss", "hit"),
        ({"x_aiplat_cache": "refresh"}, "miss", "miss"),
    ],
)
def test_headers_that_say_how(web: Web, headers: dict[str, str], first: str, second: str) -> None:
    text = f"headers {headers}"
    for expected in (first, second):
        facts, _ = web.post("/v1/chat/completions", chat(text), **headers)
        assert facts["x-aiplat-cache"] == expected
    assert ("x-aiplat-cache-of" in facts) is (second == "hit")
    if second == "hit":
        assert facts["x-aiplat-cost-usd"] == "0"


def events(raw: bytes) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in raw.decode().splitlines() if line.startswith("data: ") and line != "data: [DONE]"]


def test_a_replay_on_openais_chat_wire(web: Web) -> None:
    body = chat("replay chat", stream=True, stream_options={"include_usage": True})
    _, first = web.post("/v1/chat/completions", body)
    facts, raw = web.post("/v1/chat/completions", body)
    assert facts["x-aiplat-cache"] == "hit" and raw.endswith(b"data: [DONE]\n\n")
    told = events(raw)
    deltas = [choice["delta"] for one in told for choice in one["choices"]]
    assert deltas[0]["role"] == "assistant"
    text = "".join(delta.get("content") or "" for delta in deltas)
    assert text == "".join(choice["delta"].get("content") or "" for one in events(first) for choice in one["choices"]) != ""
    assert [choice["finish_reason"] for one in told for choice in one["choices"] if choice["finish_reason"]] == ["stop"]
    assert told[-1]["usage"]["completion_tokens"] == 20 and len({one["id"] for one in told}) == 1


def test_a_replay_of_tool_calls_on_openais_chat_wire(web: Web) -> None:
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
    for expected in ("miss", "hit"):
        facts, raw = web.post("/v1/chat/completions", chat("weather?", model="up/tools", tools=tools, stream=True))
        assert facts["x-aiplat-cache"] == expected
        calls = [call for one in events(raw) for choice in one["choices"] for call in choice["delta"].get("tool_calls") or []]
        assert calls[0]["index"] == 0 and calls[0]["function"]["name"] == "weather"
        assert json.loads("".join(call["function"].get("arguments") or "" for call in calls)) == {"city": "Leeds"}


def test_a_replay_on_openais_responses_wire(web: Web) -> None:
    body = {"model": "priced", "temperature": 0, "input": "replay responses", "stream": True}
    for expected in ("miss", "hit"):
        facts, raw = web.post("/v1/responses", body)
        assert facts["x-aiplat-cache"] == expected
        kinds = [one["type"] for one in events(raw)]
        assert kinds[0] == "response.created" and kinds[-1] == "response.completed" and "response.output_text.delta" in kinds
        done = events(raw)[-1]["response"]
        assert done["output"][-1]["content"][0]["text"].startswith("Hello") and done["usage"]["output_tokens"] == 20


@pytest.mark.parametrize("name", ["priced", "priced-claude"])
def test_a_replay_on_anthropics_wire(web: Web, name: str) -> None:
    body = {"model": name, "temperature": 0, "max_tokens": 50, "messages": [{"role": "user", "content": f"replay {name}"}], "stream": True}
    for expected in ("miss", "hit"):
        facts, raw = web.post("/v1/messages", body)
        assert facts["x-aiplat-cache"] == expected
        kinds = [one["type"] for one in events(raw) if one["type"] != "ping"]
        assert kinds[:2] == ["message_start", "content_block_start"]
        assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
        text = "".join(one["delta"].get("text", "") for one in events(raw) if one["type"] == "content_block_delta")
        assert text.startswith("Hello")


def test_a_stream_of_more_than_text_is_not_answered_from_pieces(web: Web) -> None:
    for more in ({"n": 2}, {"logprobs": True}):
        for _ in range(2):
            facts, _ = web.post("/v1/chat/completions", chat("more than text", stream=True, **more))
            assert facts["x-aiplat-cache"] == "off"
    for expected in ("miss", "hit"):
        facts, _ = web.post("/v1/chat/completions", chat("more than text", n=2))
        assert facts["x-aiplat-cache"] == expected


def test_the_command_shows_and_clears(web: Web, capsys: pytest.CaptureFixture[str]) -> None:
    aiplat, where = Line(capsys, web.served.home.path), ("--home", str(web.served.home.path))
    for _ in range(2):
        web.post("/v1/chat/completions", chat("for the command"))
    shown = aiplat("cache", "show", *where)
    assert "web" in shown.out and "hit rate" in shown.out
    row = next(row for row in aiplat("cache", "show", "--json", *where).rows if row["team"] == "web")
    assert row["answers"] >= 1 and row["hits"] >= 1 and float(row["saved_usd"]) > 0
    assert aiplat("cache", "clear", "--team", "web", "--json", *where).rows == [{"team": "web", "cleared": row["answers"]}]
    assert web.post("/v1/chat/completions", chat("for the command"))[0]["x-aiplat-cache"] == "miss"
    assert aiplat("cache", "clear", *where).code == 0
    aiplat("cache", "report", "--threshold", "2", *where).complains(2, "above 0 and at most 1")
