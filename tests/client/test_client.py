"""The client against a real gateway process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from faults import FIXED_TEXT
from served import Served, served, wait_for

import aiplat_lab
from aiplat_lab.client import connect
from aiplat_lab.core.errors import (
    AiplatError,
    AuthRefused,
    BudgetExceeded,
    CallCancelled,
    ConfigError,
    GatewayUnavailable,
    LedgerError,
    ProviderError,
    ResidencyRefused,
    UnknownCall,
    UnknownModel,
    UsageError,
)
from aiplat_lab.core.ids import new_id
from aiplat_lab.core.types import Attribution, Message, Request


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("client") / "home") as found:
        yield found


def test_the_import_is_lean_and_connect_contacts_nobody(tmp_path: Path):
    code = (
        "import sys; before = set(sys.modules); from aiplat_lab.client import connect; connect(sys.argv[1]);"
        "heavy = {'httpx', 'duckdb', 'polars', 'pandas', 'aiohttp', 'numpy', 'altair', 'panel', 'papermill'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "home")], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert not (tmp_path / "home").exists()


def test_chat(place: Served):
    answer = place.client.chat(
        "hello there", model="priced", cache="off", attribution={"team": "risk", "notebook": "a.ipynb"}, temperature=0
    )
    assert answer.text == FIXED_TEXT and answer.usage is not None and answer.usage.output_tokens == 20
    assert answer.cost_usd == Decimal("0.0002625") and answer.finish_reason == "stop"
    row = place.client.call(answer.call_id)
    assert (row["team"], row["notebook"], row["surface"], row["settings"]) == ("risk", "a.ipynb", "python", {"temperature": 0})
    assert row["messages"] == [{"role": "user", "content": "hello there"}] and row["text"] == FIXED_TEXT


def test_the_default_model_and_messages(place: Served):
    messages = [{"role": "system", "content": "Say it back."}, {"role": "user", "content": "well then"}]
    assert place.client.chat(messages).text == "well then"
    assert place.upstream.requests[-1].body["messages"] == messages
    with pytest.raises(UsageError, match="messages such as"):
        place.client.chat([{"content": "no role"}])


def test_a_whole_request_keeps_its_own_fields(place: Served):
    asked = Request(model="up/echo", messages=(Message("user", "mine"),), attribution=Attribution(surface="magic", project="p"))
    answer = place.client.chat(asked)
    row = place.client.call(answer.call_id)
    assert (answer.call_id, row["surface"], row["project"]) == (asked.call_id, "magic", "p")
    assert row["user_id"], "the environment fills in who asks"


def test_the_same_call_sent_twice_is_made_once(place: Served):
    asked = Request(model="up/echo", messages=(Message("user", f"once {new_id()}"),))
    first, second = place.client.chat(asked), place.client.chat(asked)
    assert first.text == second.text and first.call_id == second.call_id
    assert len([row for row in place.rows() if row["call_id"] == asked.call_id]) == 1


def test_the_environment_says_who_asks_and_where(place: Served, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AIPLAT_HOME", str(place.home.path))
    monkeypatch.setenv("AIPLAT_TEAM", "surveyors")
    monkeypatch.setenv("AIPLAT_PROJECT", "bridge")
    answer = aiplat_lab.chat("hello", model="up/echo")
    row = place.client.call(answer.call_id)
    assert (row["team"], row["project"]) == ("surveyors", "bridge")
    assert aiplat_lab.calls(team="surveyors")["call_id"].to_list() == [answer.call_id]
    assert aiplat_lab.sql("SELECT count(*) AS n FROM calls WHERE team = ?", ["surveyors"])["n"].to_list() == [1]
    with aiplat_lab.stream("one two", model="up/echo") as pieces:
        assert list(pieces) == ["one ", "two"]
    assert asyncio.run(aiplat_lab.achat("later", model="up/echo")).text == "later"
    assert len(aiplat_lab.embed(["a"], model="up/embedder").embeddings) == 1


def test_stream(place: Served):
    with place.client.stream("count", model="up/stream-20", cache="off") as pieces:
        found = list(pieces)
        assert pieces.response is not None
        assert pieces.response.text == "".join(found) == pieces.text
        assert pieces.response.usage is not None and pieces.response.usage.output_tokens == 20
    assert len(found) == 20
    row = place.client.call(pieces.call_id)
    assert row["status"] == "ok" and row["stream"] and float(row["time_to_first_token_s"]) >= 0


def test_a_call_within_a_stream(place: Served):
    with place.client.stream("count", model="up/stream-20") as pieces:
        inner = [place.client.chat(piece).text for piece in [next(pieces), next(pieces)]]
        rest = list(pieces)
    assert [text.strip() for text in inner] == ["one", "two"] and len(rest) == 18


def test_embed(place: Served):
    answer = place.client.embed(["red", "green"], model="up/embedder")
    assert [len(vector) for vector in answer.embeddings] == [8, 8]
    assert len(place.client.embed("red", model="up/embedder").embeddings) == 1


def test_async(place: Served):
    async def both() -> tuple[list[str], list[str]]:
        whole = await asyncio.gather(*(place.client.achat(f"number {n}") for n in range(12)))
        pieces = []
        async with place.client.astream("one two three") as stream:
            async for piece in stream:
                pieces.append(piece)
            assert stream.response is not None and stream.response.text == "one two three"
        return [answer.text for answer in whole], pieces

    whole, pieces = asyncio.run(both())
    assert whole == [f"number {n}" for n in range(12)] and pieces == ["one ", "two ", "three"]


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "kind", "text"),
    [
        ("prized", UnknownModel, "Did you mean priced"),
        ("up/context-length", ProviderError, "context"),
        ("up/status-401", ProviderError, "401|key"),
        ("up/bad-json", ProviderError, "JSON"),
    ],
)
def test_errors_keep_their_type_and_have_a_row(place: Served, model: str, kind: type[AiplatError], text: str):
    async def later(stream: bool) -> None:
        if not stream:
            await place.client.achat("hello", model=model)
        async with place.client.astream("hello", model=model) as pieces:
            async for _ in pieces:
                pass

    def now(stream: bool) -> None:
        if not stream:
            place.client.chat("hello", model=model)
        with place.client.stream("hello", model=model) as pieces:
            list(pieces)

    for stream in (False, True):
        for ask in (lambda: asyncio.run(later(stream)), lambda: now(stream)):  # noqa: B023 (called at once)
            with pytest.raises(kind, match=text) as caught:
                ask()
            assert len(caught.value.message.encode()) <= 800
            assert place.client.call(caught.value.call_id)["status"] == "error"


def test_rules_refuse_with_their_own_errors(place: Served):
    with pytest.raises(BudgetExceeded) as caught:
        place.client.chat("hello", model="priced", attribution={"team": "poor"})
    assert caught.value.policy == "budget"
    with pytest.raises(ResidencyRefused):
        place.client.chat("hello", model="claude/echo", attribution={"team": "london"})


@pytest.mark.parametrize("model", ["up/cut-stream", "up/stream-error", "up/bad-chunk"])
def test_a_stream_that_breaks_raises_after_what_came(place: Served, model: str):
    with pytest.raises(ProviderError) as caught, place.client.stream("hello", model=model) as pieces:
        list(pieces)
    assert pieces.text.startswith("Hello from the") and pieces.response is None
    row = place.client.call(caught.value.call_id)
    assert row["status"] == "error" and row["text"] == pieces.text


# --- cancelling -------------------------------------------------------------------------------------------------------


def recorded(place: Served, call_id: str) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def look() -> bool:
        with contextlib.suppress(UsageError):
            found.update(place.client.call(call_id))
        return bool(found)

    assert wait_for(look, 3.0)
    return found


def test_cancel_from_another_thread(place: Served):
    place.upstream.reset()
    with pytest.raises(CallCancelled), place.client.stream("hello", model="up/endless-stream") as pieces:
        for count, _ in enumerate(pieces):
            if count == 5:
                begun = time.monotonic()
                threading.Thread(target=pieces.cancel).start()
    assert place.upstream.wait_for(lambda: place.upstream.disconnects, 2.0)
    assert place.upstream.disconnects[0] - begun < 0.5
    row = recorded(place, pieces.call_id)
    assert row["status"] == "cancelled" and row["text"].startswith(pieces.text.strip())


def test_cancel_before_the_first_text(place: Served):
    place.upstream.reset()
    stream = place.client.stream("hello", model="up/slow-first-30s")
    threading.Timer(0.3, stream.cancel).start()
    with pytest.raises(CallCancelled), stream as pieces:
        list(pieces)
    assert place.upstream.wait_for(lambda: place.upstream.disconnects, 1.0)
    assert recorded(place, stream.call_id)["status"] == "cancelled"
    with pytest.raises(CallCancelled), stream as pieces:
        list(pieces)


def test_leaving_a_stream_early_cancels_it(place: Served):
    place.upstream.reset()
    with place.client.stream("hello", model="up/endless-stream") as pieces:
        next(pieces)
        begun = time.monotonic()
    assert place.upstream.wait_for(lambda: place.upstream.disconnects, 2.0)
    assert place.upstream.disconnects[0] - begun < 0.5
    assert recorded(place, pieces.call_id)["status"] == "cancelled"


@pytest.mark.parametrize("stream", [False, True])
def test_an_interrupt_cancels_at_once_and_the_client_goes_on(place: Served, stream: bool):
    place.upstream.reset()
    fired: list[float] = []

    def interrupt(*_: object) -> None:
        fired.append(time.monotonic())
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.4)
    try:
        with pytest.raises(KeyboardInterrupt):
            if stream:
                with place.client.stream("hello", model="up/endless-stream") as pieces:
                    list(pieces)
            else:
                place.client.chat("hello", model="up/hang")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert place.upstream.wait_for(lambda: place.upstream.disconnects, 2.0)
    assert place.upstream.disconnects[0] - fired[0] < 0.5
    assert place.client.chat("and on").text == "and on"


def test_a_cancelled_task_cancels_the_call(place: Served):
    async def run() -> float:
        tasks = [asyncio.create_task(place.client.achat(f"hello {number}", model="up/hang")) for number in range(2)]

        async def read() -> None:
            async with place.client.astream("hello", model="up/endless-stream") as pieces:
                async for _ in pieces:
                    pass

        tasks.append(asyncio.create_task(read()))  # type: ignore[arg-type]
        await asyncio.sleep(0.5)
        begun = time.monotonic()
        for task in tasks:
            task.cancel()
        assert all(isinstance(end, asyncio.CancelledError) for end in await asyncio.gather(*tasks, return_exceptions=True))
        return begun

    place.upstream.reset()
    begun = asyncio.run(run())
    assert place.upstream.wait_for(lambda: len(place.upstream.disconnects) == 3, 2.0)
    assert place.upstream.disconnects[-1] - begun < 0.5


def test_cancel_by_id(place: Served):
    call_id = new_id()
    asked = Request(model="up/hang", messages=(Message("user", "hello"),), call_id=call_id)
    place.upstream.reset()
    threading.Timer(0.4, lambda: place.client.cancel(call_id)).start()
    with pytest.raises(CallCancelled):
        place.client.chat(asked)
    assert place.client.cancel(call_id) is False


# --- reading ----------------------------------------------------------------------------------------------------------


def test_reading_in_both_forms_and_from_a_snapshot(place: Served, tmp_path: Path):
    answer = place.client.chat("for the record", model="priced", cache="off", attribution={"team": "readers"})
    rows = place.client.view_rows("recent_calls", team="readers")
    frame = place.client.view("recent_calls", team="readers")
    assert [row["call_id"] for row in rows] == frame["call_id"].to_list() == [answer.call_id]
    assert Decimal(rows[0]["cost_usd"]) == frame["cost_usd"][0] == answer.cost_usd
    made = place.client.post("/api/snapshot", {"path": str(tmp_path / "sealed.duckdb")})
    with connect(place.home, snapshot=made["path"]) as sealed:
        assert sealed.view_rows("recent_calls", team="readers") == rows
        assert sealed.view("recent_calls", team="readers").equals(frame)
        assert sealed.call(answer.call_id) == place.client.call(answer.call_id)
        assert sealed.sql("SELECT count(*) AS n FROM calls WHERE team = 'readers'")["n"].to_list() == [1]
        assert sealed.verify()["ok"]
        with pytest.raises(UsageError, match="reads the snapshot"):
            sealed.chat("hello")
        with pytest.raises(LedgerError, match="no call"):
            sealed.call(new_id())


@pytest.mark.parametrize("query", ["DELETE FROM calls", "SELEC 1", "SELECT * FROM nothing_like_it", "COPY calls TO '/tmp/x'"])
def test_a_statement_that_only_reads_or_is_refused(place: Served, query: str):
    with pytest.raises(LedgerError) as caught:
        place.client.sql(query)
    assert len(caught.value.message.encode()) <= 800


def a_version(number: int) -> dict[str, Any]:
    version = f"1.0.{number}"
    fields = {"name": "hello", "version": version, "content_hash": f"{number:064x}", "text": "Hello {{ who }}", "change": "patch"}
    return {"id": f"hello@{version}", **fields}


def test_a_record_is_in_the_chain(place: Served):
    receipt = place.client.record("prompt_version", a_version(0))
    assert receipt["seq"] > 0
    assert place.client.record_all("prompt_version", [a_version(1), a_version(2)])["seq"] == receipt["seq"] + 2
    found = place.client.view("prompt_catalogue", prompt="hello")
    assert found["version"].to_list() == ["1.0.0", "1.0.1", "1.0.2"]
    assert place.client.sql("SELECT text FROM prompt_versions WHERE version = '1.0.2'")["text"].to_list() == ["Hello {{ who }}"]
    assert place.client.verify()["ok"]


def test_of_two_that_want_to_be_first_one_is_told(place: Served):
    row = a_version(7)
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: _outcome(lambda: place.client.record("prompt_version", row, first=True)), range(8)))
    assert made.count("RecordExists") == 7
    assert place.client.view("prompt_catalogue", prompt="hello", version="1.0.7").height == 1


def _outcome(act: Callable[[], object]) -> str:
    try:
        act()
    except AiplatError as error:
        return type(error).__name__
    return "done"


@pytest.mark.parametrize(
    ("kind", "change", "said"),
    [
        ("prompt_versions", {}, "no kind of record 'prompt_versions'. Did you mean prompt_version"),
        ("call", {}, "no kind of record 'call'"),
        ("prompt_version", {"autor": "me"}, "no field 'autor'. Did you mean author"),
        ("prompt_version", {"text": None}, "needs text: the whole file"),
        ("prompt_version", {"text": 3}, "text of a prompt_version must be a text, not '3'"),
        ("prompt_version", {"id": ""}, "needs an id"),
    ],
)
def test_a_record_of_another_shape_is_refused(place: Served, kind: str, change: dict[str, Any], said: str):
    with pytest.raises(UsageError, match=said):
        place.client.record(kind, {**a_version(9), **change})


def test_status_and_models(place: Served):
    status = place.client.status()
    assert (status["home"], status["default_model"], status["demo"], status["in_flight"]) == (str(place.home.path), "up/echo", False, 0)
    assert {"name": "poor", "hard": True}.items() <= status["budgets"][0].items()
    assert {"priced", "smollm2"} <= {entry["name"] for entry in place.client.models()}


# --- other ways in ----------------------------------------------------------------------------------------------------


def test_a_shared_gateway_with_a_key(place: Served, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AIPLAT_GATEWAY", place.http + "/")
    monkeypatch.setenv("AIPLAT_KEY", place.key(team="remote"))
    with connect() as client:
        answer = client.chat("hello", attribution={"team": "somebody else", "project": "p"})
        assert answer.text == "hello"
        row = client.call(answer.call_id)
        assert (row["team"], row["project"]) == ("remote", "p"), "the key says which team pays"
        with client.stream("one two") as pieces:
            assert "".join(pieces) == "one two"
        assert asyncio.run(client.achat("later")).text == "later"
        assert {row["team"] for row in client.view_rows("recent_calls", team="readers")} == {"remote"}
        assert client.status()["calls_today"] == 3 and "budgets" not in client.status()
        other = place.client.chat("secret of others")
        with pytest.raises(UnknownCall, match="there is no call"):
            client.call(other.call_id)
        for forbidden in (lambda: client.sql("SELECT 1"), lambda: client.get("/api/keys"), lambda: client.post("/api/stop"), client.verify):
            with pytest.raises(AuthRefused, match="owner"):
                forbidden()
        with pytest.raises(AuthRefused, match="cannot read the view"):
            client.view_rows("live_keys")
    monkeypatch.setenv("AIPLAT_KEY", "aiplat-wrong-key-0000000000")
    with connect() as client, pytest.raises(AuthRefused):
        client.chat("hello")


def test_a_shared_gateway_that_is_none(place: Served):
    for url, kind, text in (
        ("127.0.0.1:80", ConfigError, "is not an address"),
        ("http://127.0.0.1:9", GatewayUnavailable, "does not answer"),
        (place.upstream.url, GatewayUnavailable, "not an aiplat-lab gateway"),
    ):
        with connect(url=url, key="aiplat-x") as client:
            with pytest.raises(kind, match=text):
                client.chat("hello")
            with pytest.raises(AiplatError):
                asyncio.run(client.achat("hello"))


def test_after_a_fork_the_child_has_connections_of_its_own(place: Served):
    place.client.chat("in the parent")
    child = os.fork()
    if child == 0:
        code = 1
        with contextlib.suppress(AiplatError):
            code = 0 if place.client.chat("in the child").text == "in the child" else 2
        os._exit(code)
    for _ in range(5):
        assert place.client.chat("in the parent").text == "in the parent"
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_body_that_is_too_large(tmp_path: Path):
    with served(tmp_path / "home", tables="[gateway]\nmax_body_mb = 1\n") as small:
        with pytest.raises(UsageError, match="larger than 1 MB"):
            small.client.chat("x" * 1_100_000)
        assert small.client.chat("fits").text == "fits"


def test_odd_texts_go_through(place: Served):
    for text in ("{a} {{b}} \\frac{1}{2} $x$", "\ud800 lone", "null \x00 byte", "emoji 🙂 數據", "line\nbreak\r\n"):
        assert place.client.chat(text).text.split() == text.encode("utf-8", "replace").decode().split()
