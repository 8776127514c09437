"""The ledger through its front door."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
import threading
import time
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import polars
import pytest
from ledgerkit import START, a_call, digest, many_calls, put

from aiplat_lab.core.errors import LedgerError
from aiplat_lab.core.ids import new_id
from aiplat_lab.core.settings import Home
from aiplat_lab.core.types import utc_now
from aiplat_lab.ledger import Ledger, Snapshot


def _frame(data: bytes) -> polars.DataFrame:
    return polars.read_ipc_stream(io.BytesIO(data))


def test_what_was_recorded_is_read_at_once(home: Home) -> None:
    with Ledger.open(home) as ledger:
        for number in range(5):
            receipt = ledger.record("call", a_call(cost_usd=Decimal("0.1")))
            assert receipt.seq == number + 1
            frame = _frame(ledger.query("SELECT count(*) AS n, sum(cost_usd) AS usd FROM calls"))
            assert frame.row(0) == (number + 1, Decimal("0.1") * (number + 1))


def test_a_row_comes_back_as_it_was_given(home: Home) -> None:
    row = a_call(tags={"b": "2", "a": "ü\u0000\u001f"}, flags=["retried", "no_price"], cost_usd=None, notebook="é 😀.ipynb", parent_id="p")
    with Ledger.open(home) as ledger:
        receipt = ledger.record("call", row)
        (found,) = ledger.view_rows("call", {"call_id": row["call_id"]})
    assert found["hash"] == receipt.hash and found["seq"] == 1 and found["prev_hash"] == "0" * 64
    for name, value in row.items():
        assert found[name] == value, name
    assert found["started_at"].tzinfo is not None
    assert found["error_type"] is None


def test_arrow_times_are_utc_and_money_is_decimal(home: Home) -> None:
    with Ledger.open(home) as ledger:
        ledger.record("call", a_call())
        frame = _frame(ledger.query("SELECT started_at, cost_usd, call_id, tags, latency_s FROM calls"))
        assert frame.schema["started_at"] == polars.Datetime("us", "UTC")
        assert frame.schema["cost_usd"] == polars.Decimal(18, 9)
        assert frame.schema["call_id"] == polars.String and frame.schema["latency_s"] == polars.Float64
        assert frame["started_at"][0] == START


def test_records_of_other_kinds_share_the_chain(home: Home) -> None:
    with Ledger.open(home) as ledger:
        first = ledger.record("call", a_call())
        second = ledger.record("key", {"id": "k1", "name": "one", "models": ["fast"], "revoked_at": None})
        third = ledger.record("key", {"id": "k1", "name": "one", "models": [], "revoked_at": "2026-11-01T00:00:00Z"})
        assert [first.seq, second.seq, third.seq] == [1, 2, 3]
        (row,) = ledger.rows("SELECT * FROM records WHERE seq = 2")
        assert json.loads(row["data"]) == {"id": "k1", "name": "one", "models": ["fast"]}
        (key,) = ledger.view_rows("live_keys")
        assert key["models"] == [] and key["revoked_at"] == "2026-11-01T00:00:00Z"
        assert ledger.verify().ok


def test_a_call_that_never_ended_is_a_row_after_the_next_start(home: Home) -> None:
    lost, kept = a_call(team="risk"), a_call()
    begun = [lost["call_id"], kept["call_id"]]
    code = f"""
import os, sys; sys.path[:0] = {sys.path!r}
from pathlib import Path; from aiplat_lab.core.settings import Home; from aiplat_lab.ledger import Ledger
ledger = Ledger.open(Home(Path({str(home.path)!r})))
for call_id in {begun!r}: ledger.begin({{"call_id": call_id, "started_at": "2026-05-01T08:00:00Z", "team": "risk"}})
ledger.record("call", {{"call_id": {kept["call_id"]!r}, "started_at": "2026-05-01T08:00:00Z", "status": "ok"}})
os._exit(9)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == 9
    for _ in range(2):
        with Ledger.open(home) as ledger:
            (row,) = ledger.view_rows("call", {"call_id": lost["call_id"]})
            assert (row["status"], row["error_type"], row["team"]) == ("error", "gateway_lost", "risk")
            assert row["ended_at"] >= row["started_at"] and row["cost_usd"] is None
            assert ledger.view_rows("call", {"call_id": kept["call_id"]})[0]["status"] == "ok"
            assert ledger.view_rows("totals")[0]["calls"] == 2
            assert ledger.verify().ok


def test_a_call_under_way_survives_the_sealing_of_its_segment(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aiplat_lab.ledger._ledger.SEGMENT_BYTES", 3_000)
    slow = a_call()
    with Ledger.open(home) as ledger:
        ledger.begin({"call_id": slow["call_id"], "started_at": slow["started_at"]})
        for _ in range(30):
            ledger.record("call", a_call())
        ledger.view_rows("totals")
    with Ledger.open(home) as ledger:  # closing marked it
        assert ledger.view_rows("call", {"call_id": slow["call_id"]})[0]["error_type"] == "gateway_lost"


def test_a_clock_set_back_loses_and_doubles_nothing(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aiplat_lab.ledger._ledger.SEGMENT_BYTES", 2_000)
    now = utc_now()
    for hours in (0, -1, -30):
        with Ledger.open(home, clock=lambda hours=hours: now + timedelta(hours=hours)) as ledger:
            ledger.begin({"call_id": new_id(), "started_at": now})
            for number in range(20):
                ledger.record("call", a_call(started_at=now + timedelta(hours=hours, seconds=number)))
    with Ledger.open(home) as ledger:
        assert ledger.view_rows("totals")[0]["calls"] == 63
        assert ledger.verify().ok
        assert ledger.rows("SELECT max(seq) AS n, count(DISTINCT seq) AS m FROM calls") == [{"n": 63, "m": 63}]


def test_payloads_are_stored_once_and_found_by_hash(home: Home) -> None:
    payloads: dict[str, bytes] = {}
    one, two = put(payloads, {"text": 'ü\n"\\ \u0000 \u2028 😀'}), put(payloads, {"text": "x" * 5_000_000})
    with Ledger.open(home) as ledger:
        for _ in range(3):
            ledger.record("call", a_call(request_hash=one, response_hash=two), payloads=payloads)
        assert ledger.payload(one) == payloads[one] and ledger.payload(two) == payloads[two]
        assert ledger.payload("0" * 64) is None and ledger.payload("no hash'; DROP") is None
    with Ledger.open(home) as ledger:
        ledger.record("call", a_call(request_hash=one), payloads=payloads)
        assert ledger.payload(one) == payloads[one]
        assert ledger.rows("SELECT count(*) AS n FROM payloads") == [{"n": 2}]
        assert ledger.rows("SELECT payload($1) AS body", [one])[0]["body"] == payloads[one].decode()


def test_a_payload_under_a_foreign_hash_is_found_too(home: Home) -> None:
    with Ledger.open(home) as ledger:
        ledger.record("call", a_call(), payloads={"ab" * 32: b'{"a":1}'})
        assert ledger.payload("ab" * 32) == b'{"a":1}'
        with pytest.raises(LedgerError, match="SHA-256"):
            ledger.record("call", a_call(), payloads={"AB": b"{}"})
        assert ledger.view_rows("totals")[0]["calls"] == 1


def test_an_erased_payload_is_gone_from_every_file_and_the_chain_holds(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aiplat_lab.ledger._ledger.SEGMENT_BYTES", 20_000)
    secret = os.urandom(2000).hex().encode()
    payloads = {digest(b'"%s"' % secret): b'"%s"' % secret}
    (name,) = payloads
    with Ledger.open(home) as ledger:
        for row, more in many_calls(30, payloads=True):
            ledger.record("call", row, payloads=more)
        ledger.record("call", a_call(request_hash=name), payloads=payloads)
        for row, more in many_calls(30, seed=2, payloads=True):
            ledger.record("call", row, payloads=more)
        assert ledger.payload(name) is not None
        assert ledger.erase_payload(name) is True
        assert ledger.payload(name) is None
        assert ledger.erase_payload(name) is False
        assert ledger.verify().ok
        assert ledger.rows("SELECT id FROM records WHERE kind = 'payload_erased'") == [{"id": name}]
    home.ledger_file.unlink()
    with Ledger.open(home) as ledger:  # rebuilt from the archive: it does not come back
        assert ledger.payload(name) is None
        assert ledger.view_rows("totals")[0]["calls"] == 61
        assert ledger.verify().ok
    for path in home.path.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            data = gzip.decompress(data) if path.suffix == ".gz" else data
            assert secret[:64] not in data, path


def test_an_erased_payload_can_be_recorded_again(home: Home) -> None:
    body = b'{"text":"again"}'
    with Ledger.open(home) as ledger:
        ledger.record("call", a_call(), payloads={digest(body): body})
        assert ledger.erase_payload(digest(body))
        ledger.record("call", a_call(), payloads={digest(body): body})
        assert ledger.payload(digest(body)) == body


def test_threads_record_and_read_at_once(home: Home) -> None:
    failed: list[BaseException] = []
    with Ledger.open(home) as ledger:

        def work(number: int) -> None:
            try:
                for row, payloads in many_calls(40, seed=number, payloads=True):
                    receipt = ledger.record("call", row, payloads=payloads)
                    if receipt.seq % 20 == 0:
                        assert ledger.view_rows("call", {"call_id": row["call_id"]})[0]["seq"] == receipt.seq
                        ledger.view("spend_by_day")
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failed
        assert ledger.view_rows("totals")[0]["calls"] == 320
        assert ledger.verify().ok


def test_recording_never_waits_for_duckdb(home: Home) -> None:
    with Ledger.open(home) as ledger:
        stop = threading.Event()
        blocked = threading.Thread(target=lambda: ledger._store.run(stop.wait))
        blocked.start()
        time.sleep(0.05)
        begin = time.monotonic()
        for _ in range(50):
            ledger.record("call", a_call())
        assert time.monotonic() - begin < 1.0
        stop.set()
        blocked.join()
        assert ledger.view_rows("totals")[0]["calls"] == 50


def test_two_processes_cannot_have_one_ledger(home: Home) -> None:
    with Ledger.open(home), pytest.raises(LedgerError, match=f"open in process {os.getpid()}"):
        Ledger.open(home)
    Ledger.open(home).close()


def test_a_forked_child_can_neither_write_nor_read_nor_keep_the_ledger(home: Home) -> None:
    ledger = Ledger.open(home)
    ledger.record("call", a_call())
    release, wait = os.pipe()
    child = os.fork()
    if child == 0:
        refused = 0
        for attempt in (lambda: ledger.record("call", a_call()), lambda: ledger.view_rows("totals"), lambda: ledger.begin(a_call())):
            try:
                attempt()
            except LedgerError:
                refused += 1
        os.write(wait, bytes([refused]))
        time.sleep(30)
        os._exit(0)
    assert os.read(release, 1) == b"\x03"
    ledger.close()
    with Ledger.open(home) as again:  # the child still lives
        assert again.view_rows("totals")[0]["calls"] == 1
    os.kill(child, 9)
    os.waitpid(child, 0)
    os.close(release)
    os.close(wait)


def test_a_closed_ledger_says_so(home: Home) -> None:
    ledger = Ledger.open(home)
    ledger.close()
    ledger.close()
    for attempt in (lambda: ledger.record("call", a_call()), lambda: ledger.query("SELECT 1"), lambda: ledger.begin(a_call())):
        with pytest.raises(LedgerError, match="closed"):
            attempt()


def test_a_closed_ledger_is_one_file_and_its_archive(home: Home) -> None:
    with Ledger.open(home) as ledger:
        ledger.record("call", a_call())
    left = {path.name for path in home.path.iterdir() if path.name != "aiplat.toml"}
    assert left == {"ledger.duckdb", "ledger.lock", "ledger.anchors", "spool", "archive", "tmp"}
    assert not list(home.spool.iterdir()) and not list((home.path / "tmp").iterdir())
    assert home.ledger_file.stat().st_mode & 0o077 == 0


def test_a_snapshot_says_what_it_holds_and_needs_no_ledger(home: Home, tmp_path: Path) -> None:
    payloads: dict[str, bytes] = {}
    name = put(payloads, {"text": "kept"})
    target = tmp_path / "with spaces é" / "sealed.duckdb"
    with Ledger.open(home) as ledger:
        receipt = ledger.record("call", a_call(response_hash=name), payloads=payloads)
        made = ledger.snapshot(target)
        assert made["sha256"] == digest(target.read_bytes())
        assert (made["rows"], made["head_seq"], made["head_hash"]) == (1, receipt.seq, receipt.hash)
        ledger.record("call", a_call())
        copies = [Snapshot(target), Snapshot(target, sha256=made["sha256"])]
        for copy in copies:
            assert copy.view_rows("totals")[0]["calls"] == 1
            assert copy.payload(name) == payloads[name]
            assert copy.meta["head_hash"] == receipt.hash and copy.meta["demo"] is False
            assert _frame(copy.query("SELECT team FROM calls WHERE team = $1", ["risk"], limit=5)).height == 1
            assert _frame(copy.view("spend_by_team", {"team": "risk"})).height == 1
            with pytest.raises(LedgerError, match="read-only"):
                copy.query("DELETE FROM call_rows")
            assert copy.verify().ok
        for copy in copies:
            copy.close()
        with pytest.raises(LedgerError, match="there already"):
            ledger.snapshot(target)
    assert not list((home.path / "tmp").iterdir())


@pytest.mark.parametrize("what", ["missing", "garbage", "live", "empty"])
def test_what_is_no_snapshot_is_refused_in_one_sentence(home: Home, tmp_path: Path, what: str) -> None:
    path = tmp_path / "file"
    if what == "garbage":
        path.write_bytes(os.urandom(5000))
    elif what == "empty":
        path.touch()
    elif what == "live":
        Ledger.open(home).close()
        path = home.ledger_file
    with pytest.raises(LedgerError) as error:
        Snapshot(path)
    assert "\n" not in error.value.message


def test_an_export_holds_the_calls_of_its_filters(home: Home, tmp_path: Path) -> None:
    with Ledger.open(home) as ledger:
        for number in range(10):
            ledger.record("call", a_call(started_at=START + timedelta(days=number), team="risk" if number % 2 else "claims"))
        made = ledger.export(tmp_path, START + timedelta(days=2), START + timedelta(days=8))
        assert (made["path"], made["rows"]) == (str(tmp_path / "calls.parquet"), 6)
        frame = polars.read_parquet(made["path"])
        assert frame.height == 6 and "prev_hash" in frame.columns
        assert ledger.export(tmp_path / "all.parquet")["rows"] == 10
        assert ledger.export(tmp_path / "risk.parquet", filters={"team": "risk"})["rows"] == 5
        with pytest.raises(LedgerError, match="there already"):
            ledger.export(tmp_path / "all.parquet")
        with pytest.raises(LedgerError, match="parquet"):
            ledger.export(tmp_path / "x.csv", format="csv")


def test_many_rows_go_through_the_same_chain(home: Home) -> None:
    with Ledger.open(home) as ledger:
        assert ledger.load_rows(many_calls(3000, payloads=True), demo=True) == 3000
        assert ledger.view_rows("meta")[0]["demo"] is True
        assert ledger.view_rows("totals")[0]["calls"] == 3000
        assert ledger.verify().rows == 3001
        with pytest.raises(LedgerError, match="no column"):
            ledger.load_rows([(a_call(), {}), ({**a_call(), "wrong": 1}, {})])
        ledger.record("call", a_call())
        assert ledger.verify() == ledger.verify() and ledger.verify().ok
        assert ledger.view_rows("totals")[0]["calls"] == 3001


def test_power_durability_keeps_the_same_rows(home: Home) -> None:
    with Ledger.open(home, durability="power") as ledger:
        for _ in range(5):
            ledger.record("call", a_call())
        assert ledger.view_rows("totals")[0]["calls"] == 5


def test_a_poison_row_stops_nothing_and_is_told(home: Home) -> None:
    with Ledger.open(home) as ledger:
        for number in range(40):
            ledger.record(
                "call", a_call(input_tokens=10**30 if number in (3, 17) else 5, cost_usd=Decimal(10**12) if number == 30 else None)
            )
        assert ledger.view_rows("totals")[0]["calls"] == 37
        assert ledger.rows("SELECT count(*) AS n FROM quarantine") == [{"n": 3}]
        assert sum("quarantine" in text for text in ledger.incidents) == 3
        assert ledger.rows("SELECT count(*) AS n FROM records WHERE kind = 'incident'") == [{"n": 3}]
        surrogate = a_call(error_message="a \ud800 b")
        ledger.record("call", surrogate)
        (row,) = ledger.view_rows("call", {"call_id": surrogate["call_id"]})
        assert row["error_message"] == "a ? b" and row["flags"] == ["replaced_characters"]
        assert ledger.verify().ok


def test_a_home_with_spaces_quotes_and_letters(tmp_path: Path) -> None:
    home = Home(tmp_path / 'it\'s a höme "x"')
    with Ledger.open(home) as ledger:
        ledger.record("call", a_call())
        assert ledger.view_rows("totals")[0]["calls"] == 1
        ledger.snapshot(tmp_path / "o'ne.duckdb")
    with Ledger.open(home) as ledger:
        assert ledger.verify().rows == 1


def test_the_time_it_takes_to_acknowledge(home: Home) -> None:
    rows = [row for row, _ in many_calls(500)]
    with Ledger.open(home) as ledger:
        ledger._store.catch_up()
        begin = time.process_time()
        for row in rows:
            ledger.record("call", row)
        assert (time.process_time() - begin) / len(rows) < 0.001


def test_who_watches_a_kind_is_told_of_it(tmp_path: Path) -> None:
    told: list[tuple[str, str]] = []
    with Ledger.open(Home(tmp_path / "home")) as ledger:
        ledger.watch(["prompt_label"], lambda kind, row: told.append((kind, row["id"])))
        ledger.record("schedule", {"id": "other"})
        ledger.record("call", a_call())
        ledger.record("prompt_label", {"id": "m1", "name": "hello"})
    assert told == [("prompt_label", "m1")]
