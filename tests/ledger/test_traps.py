"""What DuckDB does that is not obvious: each of these was met, and the ledger is built around it."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import duckdb
import pytest
from ledgerkit import a_call

from aiplat_lab.core.errors import LedgerError
from aiplat_lab.core.settings import Home
from aiplat_lab.ledger import Ledger, Snapshot

_OPEN = "import duckdb, sys; c = duckdb.connect(':memory:'); c.execute(f\"ATTACH '{sys.argv[1]}' AS l {sys.argv[2]}\"); print('open')"


def _another_process_opens(path: Path, mode: str = "") -> bool:
    done = subprocess.run([sys.executable, "-c", _OPEN, str(path), mode], capture_output=True, text=True)
    assert done.returncode == 0 or "lock" in done.stderr, done.stderr
    return done.returncode == 0


def test_nobody_else_can_open_the_live_file_not_even_to_read(home: Home) -> None:
    with Ledger.open(home):
        assert not _another_process_opens(home.ledger_file)
        assert not _another_process_opens(home.ledger_file, "(READ_ONLY)")
    assert _another_process_opens(home.ledger_file, "(READ_ONLY)")


def test_nothing_that_the_ledger_does_gives_up_the_files_lock(home: Home, tmp_path: Path) -> None:
    """Merely closing another handle of the file in this process would: nothing here opens it a second time."""
    with Ledger.open(home) as ledger:
        ledger.record("call", a_call())
        ledger.view("totals")
        ledger.verify()
        ledger.snapshot(tmp_path / "s.duckdb")
        ledger.export(tmp_path / "x.parquet")
        ledger.erase_payload("0" * 64)
        ledger.query("SELECT 1")
        assert not _another_process_opens(home.ledger_file)


def test_a_file_held_by_another_program_is_said_and_not_called_damaged(home: Home) -> None:
    Ledger.open(home).close()
    code = _OPEN + "; sys.stdout.flush(); sys.stdin.read()"
    holder = subprocess.Popen([sys.executable, "-c", code, str(home.ledger_file), ""], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout is not None and holder.stdout.readline() == b"open\n"
    try:
        with pytest.raises(LedgerError, match="open in another program") as error:
            Ledger.open(home)
        assert len(error.value.message.encode()) <= 800
        assert not list(home.path.glob("*.damaged-*"))
    finally:
        holder.communicate()
    Ledger.open(home).close()


def test_a_snapshot_is_read_by_several_processes_at_once(home: Home, tmp_path: Path) -> None:
    with Ledger.open(home) as ledger:
        ledger.record("call", a_call())
        ledger.snapshot(tmp_path / "s.duckdb")
        snapshot = Snapshot(tmp_path / "s.duckdb")
        assert _another_process_opens(tmp_path / "s.duckdb", "(READ_ONLY)")
        assert snapshot.view_rows("totals")[0]["calls"] == 1
        snapshot.close()


def test_a_snapshot_is_taken_while_rows_come_in(home: Home, tmp_path: Path) -> None:
    """Copying file and log while they are written fails now and then; the owner's own copy does not."""
    with Ledger.open(home) as ledger:
        stop = threading.Event()

        def write() -> None:
            while not stop.is_set():
                ledger.record("call", a_call())

        writer = threading.Thread(target=write)
        writer.start()
        try:
            made = [ledger.snapshot(tmp_path / f"{number}.duckdb") for number in range(3)]
        finally:
            stop.set()
            writer.join()
    for one in made:
        copy = Snapshot(one["path"], sha256=one["sha256"])
        assert copy.verify().ok and copy.verify().rows == one["rows"]
        copy.close()


def test_a_snapshot_opened_before_a_fork_refuses_the_child(home: Home, tmp_path: Path) -> None:
    import os

    with Ledger.open(home) as ledger:
        ledger.snapshot(tmp_path / "s.duckdb")
    snapshot = Snapshot(tmp_path / "s.duckdb")
    child = os.fork()
    if child == 0:
        try:
            snapshot.view_rows("totals")
        except LedgerError:
            os._exit(3)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
    snapshot.close()


def test_one_batch_with_one_poison_row_is_refused_whole_by_duckdb(tmp_path: Path) -> None:
    """Why the loader halves a batch that fails."""
    path = tmp_path / "batch.ndjson"
    path.write_text('{"a":1}\n{"a":1' + "0" * 30 + "}\n")
    with pytest.raises(duckdb.Error):
        duckdb.connect(":memory:").execute(f"SELECT * FROM read_json('{path}', columns = {{a: 'BIGINT'}})").fetchall()


@pytest.mark.parametrize("text", ["a\u0000b", "😀 é \u2028 \x1f \x7f", "x" * 5_000_000, '"\\', "", "\r\n\t"])
def test_odd_texts_are_stored_exactly(home: Home, text: str) -> None:
    row = a_call(error_message=text)
    with Ledger.open(home) as ledger:
        ledger.record("call", row)
        assert ledger.view_rows("call", {"call_id": row["call_id"]})[0]["error_message"] == text
        assert ledger.verify().ok


def test_reading_goes_on_while_a_snapshot_is_made(home: Home, tmp_path: Path) -> None:
    with Ledger.open(home) as ledger:
        ledger.load_rows((a_call(), {}) for _ in range(500))
        failed: list[BaseException] = []

        def read() -> None:
            try:
                for _ in range(10):
                    assert ledger.view_rows("totals")[0]["calls"] >= 500
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=read) for _ in range(3)]
        for thread in threads:
            thread.start()
        ledger.snapshot(tmp_path / "s.duckdb")
        for thread in threads:
            thread.join()
        assert not failed


def test_a_snapshot_is_whole_while_a_reader_holds_an_older_state(home: Home, tmp_path: Path) -> None:
    with Ledger.open(home) as ledger:
        ledger.load_rows((a_call(), {}) for _ in range(50))
        with ledger._store.cursor() as reader:
            reader.execute("BEGIN TRANSACTION READ ONLY")
            assert reader.execute("SELECT count(*) FROM call_rows").fetchone() == (50,)
            ledger.load_rows((a_call(), {}) for _ in range(50))
            assert ledger.snapshot(tmp_path / "one.duckdb")["rows"] == 100
            assert reader.execute("SELECT count(*) FROM call_rows").fetchone() == (50,), "a reader goes on with what it saw"
        ledger.snapshot(tmp_path / "two.duckdb")
    for name in ("one", "two"):
        sealed = Snapshot(tmp_path / f"{name}.duckdb")
        assert sealed.view_rows("totals")[0]["calls"] == 100 and sealed.verify().ok
        sealed.close()
