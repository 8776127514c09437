"""Every kind of bad input, each through a door that a user has.

Whatever is wrong: one clear sentence of at most 800 bytes that says what to do, the right HTTP status or exit code, a row in the
ledger wherever a call was begun, nothing lost, and no key anywhere.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from badkit import GOOD, Place, bad_place, clear, no_key_in, said
from faults import FIXED_TEXT, FaultServer
from gatewaykit import ask, model, world
from served import stop, wait_for

from aiplat_lab.client import connect
from aiplat_lab.core.errors import (
    AiplatError,
    AuthRefused,
    ConfigError,
    LedgerError,
    PromptError,
    ProviderError,
    UnknownModel,
    UsageError,
)
from aiplat_lab.core.settings import Home
from aiplat_lab.gateway.process import held, read_address


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with bad_place(tmp_path_factory.mktemp("bad")) as place:
        place.key = str(place.client.post("/api/keys", {"team": "risk"})["key"])
        yield place
        place.is_well()


@pytest.fixture
def place(shared: Place) -> Iterator[Place]:
    """The shared gateway; after each test it works as before."""
    shared.upstream.reset()
    yield shared
    assert shared.client.chat("all is well").text == "all is well"


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Place]:
    """A gateway for one test, which may break it."""
    with bad_place(tmp_path) as place:
        yield place


# --- the model's side -------------------------------------------------------------------------------------------------

FAULTS = [
    # model, the error's type, its word in the ledger, HTTP status, what the sentence holds
    ("fien", UnknownModel, "unknown_model", 404, "Did you mean fine?"),
    ("up/unknown-model", ProviderError, "bad_request", 404, "does not exist"),
    ("nokey/echo", ConfigError, "config_error", 500, "export AIPLAT_TEST_KEY_THAT_IS_NOT_SET"),
    ("wrong/echo", ProviderError, "auth", 502, "wrong"),
    ("up/status-429", ProviderError, "rate_limited", 429, "429"),
    ("up/status-429-no-header", ProviderError, "rate_limited", 429, "429"),
    ("up/status-500", ProviderError, "unavailable", 503, "500"),
    ("up/status-503", ProviderError, "unavailable", 503, "503"),
    ("brief/hang", ProviderError, "timeout", 504, "0.5 s"),
    ("down/echo", ProviderError, "unavailable", 503, "127.0.0.1:9"),
    ("up/bad-json", ProviderError, "bad_reply", 502, "JSON"),
    ("up/html-reply", ProviderError, "bad_reply", 502, ""),
    ("up/empty-reply", ProviderError, "bad_reply", 502, ""),
    ("up/list-reply", ProviderError, "bad_reply", 502, ""),
    ("up/context-length", ProviderError, "context_length", 400, "context"),
    ("up/leaky", ProviderError, "bad_request", 400, "***"),
]
_PLAIN_REPLIES = {"up/bad-json", "up/html-reply", "up/empty-reply", "up/list-reply"}
"""Whole replies that are none; streams have faults of their own below."""


def _at(*doors: str) -> Any:
    """Every fault at every door, but for plain replies at the doors of streams."""
    rows = [(door, *row) for door in doors for row in FAULTS if "stream" not in door or row[0] not in _PLAIN_REPLIES]
    return pytest.mark.parametrize(("door", "name", "kind", "word", "status", "text"), rows, ids=[f"{row[0]} {row[1]}" for row in rows])


@_at("chat", "stream", "achat")
def test_from_python(place: Place, door: str, name: str, kind: type[AiplatError], word: str, status: int, text: str):
    before = place.calls()
    with pytest.raises(kind) as caught:
        if door == "chat":
            place.client.chat("hello there", model=name)
        elif door == "achat":
            asyncio.run(place.client.achat("hello there", model=name))
        else:
            with place.client.stream("hello there", model=name) as pieces:
                list(pieces)
    assert type(caught.value) is kind and text in said(caught.value)
    row = place.row(caught.value.call_id)
    assert (row["status"], row["error_type"], row["surface"], row["request_model"]) == ("error", word, "python", name)
    assert clear(row["error_message"]) and place.calls() == before + 1


@_at("openai", "anthropic", "openai-stream")
def test_by_http(place: Place, door: str, name: str, kind: type[AiplatError], word: str, status: int, text: str):
    more = {"max_tokens": 20} if door == "anthropic" else {"stream": door == "openai-stream"}
    told = place.http(name, wire=door, **more)
    assert told.status == status, told.body
    assert text in clear(told.message)
    assert told.headers["content-type"].startswith("application/json")
    if door == "anthropic":
        assert json.loads(told.body)["type"] == "error" and told.error["type"]
    row = place.row(told.call_id)
    assert (row["status"], row["error_type"], row["surface"], row["team"]) == ("error", word, "http", "risk")
    assert ("retry-after" in told.headers) == (name == "up/status-429")


def test_a_claude_that_fails(place: Place):
    for name, status in (("status-529", 503), ("status-401", 502), ("hang", 504), ("bad-json", 502), ("context-length", 400)):
        told = place.http(f"claude/{name}", wire="anthropic", max_tokens=20)
        assert told.status == status and clear(told.message), (name, told)
        assert place.row(told.call_id)["status"] == "error"


@pytest.mark.parametrize("name", ["again/status-429-after-1", "again/status-500-once"])
def test_a_fault_that_passes_is_waited_for_and_said(place: Place, name: str):
    answer = place.client.chat("hello", model=name)
    row = place.row(answer.call_id)
    assert answer.text == FIXED_TEXT and (row["status"], row["attempts"], row["flags"]) == ("ok", 2, ["retried", "no_price"])


@pytest.mark.parametrize(
    ("name", "word", "text"),
    [
        ("up/cut-stream", "cut_off", "one "),
        ("up/cut-clean", "cut_off", "one "),
        ("up/cut-first", "cut_off", ""),
        ("brief/hang-stream", "timeout", "one "),
        ("brief/endless-stream", "timeout", "one "),
        ("up/bad-chunk", "bad_reply", ""),
        ("up/stream-error", "unavailable", ""),
        ("claude/cut-stream", "cut_off", ""),
        ("claude/endless-stream", "timeout", ""),
    ],
)
def test_a_stream_that_does_not_end_well(place: Place, name: str, word: str, text: str):
    """It is an error and no short answer; what came is shown, and kept in the ledger."""
    shown: list[str] = []
    with pytest.raises(ProviderError) as caught, place.client.stream("hello there", model=name) as pieces:
        shown.extend(pieces)
    assert said(caught.value) and caught.value.reason == word
    row = place.client.call(caught.value.call_id)
    assert (row["status"], row["error_type"]) == ("error", word)
    assert (row["text"] or "") == "".join(shown)
    told = place.http(name, stream=True)
    if told.status == 200:
        last = [json.loads(line[6:]) for line in told.body.splitlines() if line.startswith("data: {")][-1]
        assert clear(last["error"]["message"]) and "[DONE]" not in told.body
    else:
        assert clear(told.message)
    assert place.row(told.call_id)["error_type"] == word
    assert place.upstream.wait_for(lambda: not place.upstream.open_requests, 3.0), "the provider was left to write"


# --- the caller's side ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "text"),
    [("", "missing"), ("aiplat-" + "x" * 43, "unknown"), (GOOD, "not a virtual key"), ("Bearer", "not a virtual key")],
    ids=["none", "wrong", "a provider's", "odd"],
)
@pytest.mark.parametrize("wire", ["openai", "anthropic"])
def test_a_virtual_key_that_is_missing_or_wrong(place: Place, key: str, text: str, wire: str):
    before, asked = place.calls(), len(place.upstream.requests)
    told = place.http("fine", key=key, wire=wire, max_tokens=5)
    assert told.status == 401 and text in clear(told.message) and "aiplat keys create" in told.message
    assert (place.calls(), len(place.upstream.requests)) == (before, asked), "no call was begun"
    with connect(url=str(place.client.status()["http"]), key=key) as client, pytest.raises(AuthRefused) as caught:
        client.chat("hello")
    assert said(caught.value)


def test_a_prompt_that_is_larger_than_the_context(place: Place):
    """The provider's own word, and the embedded model's limit, which is known before anything is computed."""
    with pytest.raises(ProviderError, match="context") as caught:
        place.client.chat("word " * 5000, model="up/context-length")
    assert said(caught.value) and place.row(caught.value.call_id)["error_type"] == "context_length"
    with bad_place(place.home.path.parent, "[gateway]\nmax_body_mb = 1\n", name="small") as small:
        with pytest.raises(UsageError, match="larger than 1 MB") as refused:
            small.client.chat("x" * 1_100_000)
        assert said(refused.value)
        small.key = str(small.client.post("/api/keys", {})["key"])
        told = small.http("fine", "x" * 1_100_000)
        assert told.status == 413 and "gateway.max_body_mb" in clear(told.message)
        small.is_well()


def test_an_empty_prompt(place: Place):
    with pytest.raises(UsageError, match="nothing to ask") as caught:
        place.client.chat([])
    assert said(caught.value) and place.row(caught.value.call_id)["status"] == "error"
    told = place.post("/v1/chat/completions", json.dumps({"model": "fine", "messages": []}), place.key)
    assert told.status == 400 and "messages" in clear(told.message)


# --- the notebook -----------------------------------------------------------------------------------------------------


@pytest.fixture
def cell(place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """Runs a cell where nobody watches; gives the error, what was printed and what was shown."""
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.utils.capture import capture_output
    from magickit import make_shell

    for name in ("AIPLAT_GATEWAY", "AIPLAT_KEY", "AIPLAT_TEAM", "AIPLAT_PROJECT", "JPY_SESSION_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AIPLAT_HOME", str(place.home.path))
    monkeypatch.setenv("AIPLAT_HEADLESS", "1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    shell = make_shell()
    shell.push({"customer": "Ann", "sneaky": "{customer} {secret} {{x}}", "secret": GOOD})

    def run(text: str) -> tuple[BaseException | None, str, list[Any]]:
        with capture_output() as seen:
            result = shell.run_cell(text)
        return result.error_in_exec or result.error_before_exec, seen.stdout, seen.outputs

    yield run
    InteractiveShell.clear_instance()


@pytest.mark.parametrize(
    ("text", "kind", "told"),
    [
        ("%%ai\n   \n", UsageError, "no text"),
        ("%%ai --fromat code\nhello", UsageError, "--format"),
        ("%%ai --temperature hot\nhello", UsageError, "hot"),
        ("%%ai\nDear {custmer}", PromptError, "customer"),
        ("%%ai fien\nhello", UnknownModel, "fine"),
        ("%%ai nokey/echo\nhello", ConfigError, "export"),
        ("%%ai wrong/echo\nhello", ProviderError, "key"),
        ("%%ai up/status-429\nhello", ProviderError, "429"),
        ("%%ai brief/hang\nhello", ProviderError, "0.5 s"),
        ("%%ai down/echo\nhello", ProviderError, "127.0.0.1:9"),
        ("%%ai up/cut-stream --stream\nhello", ProviderError, ""),
    ],
)
def test_a_cell_that_fails_where_nobody_watches(place: Place, cell: Any, text: str, kind: type[AiplatError], told: str):
    before = place.calls()
    error, printed, outputs = cell(text)
    assert type(error) is kind and len(printed.strip().splitlines()) == 1
    assert told in clear(printed.strip())
    assert place.calls() == before + (kind not in {UsageError, PromptError})
    assert GOOD not in json.dumps([output.data for output in outputs])


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ('Give {{"a": [1, 2]}}', 'Give {"a": [1, 2]}'),
        (r"Solve \frac{1}{2} and $x_{i}$", r"Solve \frac{1}{2} and $x_{i}$"),
        ("say {sneaky}", "say {customer} {secret} {{x}}"),
        ("Dear {customer}", "Dear Ann"),
        ("{ not a name } {}", "{ not a name } {}"),
    ],
)
def test_braces_in_a_prompt_arrive_as_they_are_meant(place: Place, cell: Any, text: str, sent: str):
    error, printed, _ = cell(f"%%ai --fresh\n{text}")
    assert error is None, printed
    assert place.upstream.requests[-1].body["messages"][-1]["content"] == sent


# --- settings and the home --------------------------------------------------------------------------------------------

WRONG_SETTINGS = [
    ("defualt_model = 'x'", "Did you mean default_model"),
    ("[providers.a]\nkind = 'openai'\napi_kye = 'env:X'", "Did you mean api_key"),
    ("currency = 'GBP", "not valid TOML"),
    ("[gateway]\nport = 'high'", "gateway.port"),
    ("[gateway]\nport = 80000", "gateway.port"),
    (f"[providers.a]\nkind = 'openai'\napi_key = '{GOOD}'", "never the key itself"),
    ("[providers.a]\nkind = 'opnai'", "openai"),
    ("[models.m]\ndeployments = [{ provider = 'uup', model = 'x' }]", "'uup'"),
    ("time_zone = 'Europe/Lodnon'", "Europe/London"),
    ("\x00", ""),
]


@pytest.mark.parametrize(("text", "told"), WRONG_SETTINGS, ids=[row[1] or "binary" for row in WRONG_SETTINGS])
def test_settings_that_are_wrong(home: Home, text: str, told: str, capsys: pytest.CaptureFixture[str]):
    from aiplat_lab import cli

    home.settings_file.write_text(text + "\n")
    with connect(home) as client, pytest.raises(AiplatError) as caught:
        client.chat("hello", model="a/b" if "providers.a" in text else "smollm2-none")
    assert isinstance(caught.value, ConfigError) and told in said(caught.value)
    if "opnai" not in text:
        assert "aiplat.toml" in caught.value.message
        assert cli.main(["start"]) == 1
        out, err = capsys.readouterr()
        assert out == "" and told in clear(err.strip()) and err.count("\n") == 1
        assert wait_for(lambda: not held(home))


def test_a_second_gateway(own: Place):
    pid = own.client.status()["pid"]
    words = [sys.executable, "-m", "aiplat_lab.gateway", "--home", str(own.home.path)]
    second = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
    assert second.returncode == 1 and second.stdout == ""
    line = second.stderr.strip().splitlines()[-1]
    assert "already runs" in clear(line) and str(pid) in line and "aiplat stop" in line
    assert own.client.status()["pid"] == pid
    own.is_well()


def test_a_home_with_spaces_quotes_and_letters_beyond_ascii(tmp_path: Path):
    with bad_place(tmp_path, name="Mein Büro 数据 'q\" $HOME %20 ; 🙂") as odd:
        odd.is_well()
        made = odd.client.post("/api/snapshot", {"path": str(odd.home.path / "séaled 'x'.duckdb")})
        with connect(odd.home, snapshot=made["path"]) as sealed:
            assert sealed.verify()["ok"]
        assert odd.client.post("/api/export", {"path": str(odd.home.path / "c 'x'.parquet")})["rows"] == 1
        odd.client.stop()
        odd.is_well()
        words = [sys.executable, "-m", "aiplat_lab.cli", "calls", "--json", "--home", str(odd.home.path)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
        assert len(json.loads(done.stdout)) == 2


def _mount(*words: str) -> None:
    if os.name != "posix" or os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting needs root")
    done = subprocess.run(["mount", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"this machine does not let root mount: {done.stderr.strip()}")


def _unmount(path: Path) -> None:
    subprocess.run(["umount", "-l", str(path)], check=True)


def test_a_home_that_is_read_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    from aiplat_lab import cli

    path = tmp_path / "read only"
    path.mkdir()
    _mount("-t", "tmpfs", "-o", "ro,size=1m", "tmpfs", str(path))
    try:
        for home in (path, path / "deeper" / "still"):
            with connect(home) as client, pytest.raises(ConfigError, match="AIPLAT_HOME") as caught:
                client.chat("hello")
            assert "read-only" in said(caught.value).lower() and "a folder you can write" in caught.value.message
            assert cli.main(["start", "--home", str(home)]) == 1
            assert "Read-only" in clear(capsys.readouterr().err.strip())
    finally:
        _unmount(path)


def test_a_home_that_is_a_file(tmp_path: Path):
    (tmp_path / "file").write_text("")
    for home in (tmp_path / "file", tmp_path / "file" / "inside"):
        with connect(home) as client, pytest.raises(ConfigError, match="AIPLAT_HOME") as caught:
            client.chat("hello")
        assert said(caught.value)


# --- the disk and the ledger ------------------------------------------------------------------------------------------


def test_a_disk_that_fills_up(tmp_path: Path):
    """Refused before anything is spent, nothing recorded is lost, and it goes on when there is room again."""
    disk = tmp_path / "disk"
    disk.mkdir()
    _mount("-t", "tmpfs", "-o", "size=24m", "tmpfs", str(disk))
    try:
        with bad_place(tmp_path, name="disk/home") as full:
            full.key = str(full.client.post("/api/keys", {})["key"])
            kept = [full.client.chat(f"number {number}", cache="off").call_id for number in range(5)]
            filler = disk / "filler"
            with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
                while True:
                    file.write(b"x" * 4096)
            asked = len(full.upstream.requests)
            for _ in range(3):
                with pytest.raises(LedgerError) as caught:
                    full.client.chat("no room " * 1000, cache="off")
                assert "disk is full" in said(caught.value) and "Free some space" in caught.value.message
            state = full.client.status()
            assert state["http"] and any("space" in clear(text) for text in state["incidents"])
            told = full.http("fine", "no room " * 1000)
            assert told.status in {500, 507} and "disk is full" in clear(told.message)
            assert len(full.upstream.requests) == asked, "nothing was sent that cannot be recorded"
            filler.unlink()
            answer = full.client.chat("room again", cache="off")
            ids = {row["call_id"] for row in full.client.view_rows("recent_calls", limit=1000)}
            assert {*kept, answer.call_id} <= ids
            full.is_well()
            full.client.stop()
            full.is_well()
            assert {row["call_id"] for row in full.client.view_rows("recent_calls", limit=1000)} >= ids
    finally:
        _unmount(disk)


def test_a_file_that_may_not_grow(own: Place):
    """Where nothing can be mounted: the limit of one process on the size of its files."""
    kept = [own.client.chat(f"number {number}", cache="off").call_id for number in range(3)]
    pid = int(own.client.status()["pid"])
    own.client.view_rows("totals")
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    size = max(path.stat().st_size for path in own.home.spool.iterdir())
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size + 100, before[1]))
    try:
        for _ in range(2):
            with pytest.raises(LedgerError) as caught:
                own.client.chat("too long " * 500, cache="off")
            assert "the ledger in" in said(caught.value)
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
    own.is_well()
    assert set(kept) <= {row["call_id"] for row in own.client.view_rows("recent_calls")}


def _answered(place: Place, count: int = 5) -> list[str]:
    return [place.client.chat(f"before {number}", cache="off").call_id for number in range(count)]


def _all_there(place: Place, kept: list[str]) -> None:
    found = [row["call_id"] for row in place.client.view_rows("recent_calls", limit=1000)]
    assert sorted(found) == sorted(set(found)), "no call stands there twice"
    assert set(kept) <= set(found)
    assert place.client.call(kept[0])["text"] == "before 0"


@pytest.mark.parametrize("what", ["zeroed", "cut", "deleted", "deleted with its log", "replaced by a folder"])
def test_a_ledger_file_that_is_damaged_while_the_gateway_runs(own: Place, what: str):
    kept = _answered(own)
    own.client.view_rows("totals")
    file = own.home.ledger_file
    wal = file.with_name(file.name + ".wal")
    if what == "zeroed":
        with file.open("r+b") as damaged:
            damaged.seek(4096)
            damaged.write(b"\0" * 65_536)
    elif what == "cut":
        os.truncate(file, 5000)
    else:
        file.unlink()
        if what != "deleted":
            wal.unlink(missing_ok=True)
        if what == "replaced by a folder":
            file.mkdir()
    try:
        kept.append(own.client.chat("after the damage", cache="off").call_id)
        _all_there(own, kept)
    except LedgerError as error:
        assert what == "replaced by a folder" and str(file) in said(error)
        file.rmdir()
    _all_there(own, kept)
    own.is_well()
    own.client.stop()
    _all_there(own, kept)
    own.is_well()


@pytest.mark.parametrize("what", ["ledger", "write-ahead log", "both", "spool"])
def test_a_ledger_that_was_damaged_after_a_kill(own: Place, what: str):
    kept = _answered(own)
    own.client.view_rows("totals")
    address = read_address(own.home)
    assert address is not None
    os.kill(address.pid, signal.SIGKILL)
    assert wait_for(lambda: not held(own.home))
    file = own.home.ledger_file
    wal = file.with_name(file.name + ".wal")
    if what in {"ledger", "both"}:
        file.write_bytes(b"this is no database" * 1000)
    if what in {"write-ahead log", "both"} and wal.exists():
        data = bytearray(wal.read_bytes())
        data[len(data) // 2 :] = b"\xff" * (len(data) - len(data) // 2)
        wal.write_bytes(data)
    if what == "spool":
        newest = max(path for path in own.home.spool.iterdir() if path.suffix == ".jsonl")
        with newest.open("ab") as half:
            half.write(b'{"crc":"00000000","call":"half a li')
    _all_there(own, kept)
    own.is_well()
    for text in own.client.status()["incidents"]:
        clear(text)


def test_a_clock_that_is_set_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The order of the rows is that of what happened, whatever the clock says; no row is lost and none is negative."""
    from gatewaykit import CANARY

    monkeypatch.setenv("UP_KEY", CANARY)
    now = [datetime(2026, 11, 23, 12, tzinfo=UTC)]

    async def run(upstream: FaultServer) -> None:
        async with world(Home(tmp_path / "home"), upstream, model("fast", "echo"), clock=lambda: now[0]) as around:
            ids = []
            for step in (timedelta(0), timedelta(hours=-1), timedelta(days=-400), timedelta(days=500)):
                now[0] += step
                ids.append((await around.gateway.handle(ask("fast", f"at {now[0]}"))).call_id)
            rows = [around.row(call_id) for call_id in ids]
            seqs = [row["seq"] for row in rows]
            assert seqs == sorted(seqs) and len(set(ids)) == 4
            assert all(row["status"] == "ok" and row["latency_s"] >= 0 and row["ended_at"] >= row["started_at"] for row in rows)
            assert around.ledger.verify().ok

    with FaultServer() as upstream:
        asyncio.run(run(upstream))
        asyncio.run(run(upstream))
    assert no_key_in(tmp_path / "home")


def test_nothing_was_leaked(shared: Place):
    """The log and the spool while the gateway runs; the ledger's file follows when it has stopped."""
    assert no_key_in(shared.home.path) > 3
    clear(" ".join(shared.client.status()["incidents"])[-700:])
    stop(shared.home)
    assert no_key_in(shared.home.path) > 3
    assert shared.client.verify()["ok"]
