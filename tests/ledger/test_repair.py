"""Damage of every kind is repaired without a person, and no acknowledged row is lost."""

from __future__ import annotations

import gzip
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ledgerkit import a_call, many_calls, opened

from aiplat_lab.core.errors import LedgerError
from aiplat_lab.core.settings import Home
from aiplat_lab.ledger import Ledger

_CRASH = """
import os, sys; sys.path[:0] = {path!r}
from pathlib import Path
from aiplat_lab.core.settings import Home; from aiplat_lab.ledger import Ledger
from ledgerkit import many_calls
ledger = Ledger.open(Home(Path({home!r})))
for part in range({parts}):
    for row, payloads in many_calls({calls}, seed=part, payloads=True):
        ledger.record("call", row, payloads=payloads)
    ledger.view_rows("totals")
os._exit(9)
"""
CALLS = 40


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose gateway was killed with three committed loads in the write-ahead log, and nothing checkpointed."""
    folder = tmp_path_factory.mktemp("crashed") / "home"
    code = _CRASH.format(path=sys.path, home=str(folder), parts=3, calls=CALLS)
    assert subprocess.run([sys.executable, "-c", code]).returncode == 9
    assert (folder / "ledger.duckdb.wal").stat().st_size > 10_000
    return folder


def _copy(crashed: Path, tmp_path: Path) -> Home:
    return Home(shutil.copytree(crashed, tmp_path / "home"))


def _whole(home: Home, rows: int = 3 * CALLS) -> Ledger:
    """The opened ledger, checked: every call once, every payload there, the chain valid; rows of incidents come on top."""
    ledger = Ledger.open(home)
    calls = ledger.rows("SELECT count(*) AS n, count(DISTINCT call_id) AS ids FROM calls")
    assert calls == [{"n": rows, "ids": rows}]
    assert ledger.verify().ok, ledger.verify()
    assert ledger.rows("SELECT count(*) AS n FROM calls WHERE payload(response_hash) IS NULL OR payload(request_hash) IS NULL") == [
        {"n": 0}
    ]
    return ledger


def test_a_crash_alone_needs_no_repair(crashed: Path, tmp_path: Path) -> None:
    with _whole(_copy(crashed, tmp_path)) as ledger:
        assert ledger.incidents == []


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("damage", ["cut", "zeroed", "flipped"])
def test_a_damaged_write_ahead_log(crashed: Path, tmp_path: Path, damage: str, seed: int) -> None:
    home = _copy(crashed, tmp_path)
    wal = home.path / "ledger.duckdb.wal"
    data = bytearray(wal.read_bytes())
    place = random.Random(seed).randint(len(data) // 4, len(data) - 100)
    if damage == "cut":
        del data[place:]
    elif damage == "zeroed":
        data[place:] = bytes(len(data) - place)
    else:
        data[place] ^= 0x10
    wal.write_bytes(data)
    with _whole(home) as ledger:
        if damage != "cut":
            assert any("write-ahead log" in text or "damaged" in text for text in ledger.incidents)
            assert list(home.path.glob("*.damaged-*")), "a copy is kept"
    with _whole(home) as ledger:
        assert ledger.incidents == []


@pytest.mark.parametrize("damage", ["garbage", "zero length", "cut", "header", "deleted", "foreign"])
def test_a_damaged_file_is_rebuilt(crashed: Path, tmp_path: Path, damage: str) -> None:
    home = _copy(crashed, tmp_path)
    _whole(home).close()
    path = home.ledger_file
    size = path.stat().st_size
    if damage == "garbage":
        path.write_bytes(os.urandom(50_000))
    elif damage == "zero length":
        path.write_bytes(b"")
    elif damage == "cut":
        os.truncate(path, size // 2)
    elif damage == "header":
        with path.open("r+b") as file:
            file.write(b"\0" * 8192)
    elif damage == "deleted":
        path.unlink()
    else:
        path.unlink()
        with opened(path) as con:
            con.execute("CREATE TABLE call_rows (other INTEGER)")
    with _whole(home) as ledger:
        if damage not in ("deleted", "zero length"):
            assert any("rebuilt" in text for text in ledger.incidents)
            assert list(home.path.glob("ledger.duckdb.damaged-*"))


def test_rows_that_are_missing_from_the_tables_come_back(crashed: Path, tmp_path: Path) -> None:
    home = _copy(crashed, tmp_path)
    _whole(home).close()
    with opened(home.ledger_file) as con:
        con.execute("DELETE FROM call_rows WHERE seq BETWEEN 10 AND 20")
    with _whole(home) as ledger:
        assert any("rebuilt" in text for text in ledger.incidents)


def test_an_older_copy_of_the_file_catches_up_from_the_archive(home: Home, tmp_path: Path) -> None:
    rows = list(many_calls(60, payloads=True))
    with Ledger.open(home) as ledger:
        ledger.load_rows(rows[:20])
    shutil.copy(home.ledger_file, tmp_path / "old")
    for start in (20, 40):
        with Ledger.open(home) as ledger:
            ledger.load_rows(rows[start : start + 20])
    shutil.copy(tmp_path / "old", home.ledger_file)
    _whole(home, 60).close()


@pytest.mark.parametrize("how", ["deleted", "exchanged"])
def test_a_file_taken_away_under_the_running_owner(home: Home, how: str) -> None:
    with Ledger.open(home) as ledger:
        for row, payloads in many_calls(30, payloads=True):
            ledger.record("call", row, payloads=payloads)
        assert ledger.view_rows("totals")[0]["calls"] == 30
        home.ledger_file.unlink()
        if how == "exchanged":
            home.ledger_file.write_bytes(b"not a database")
        ledger.record("call", a_call())
        assert ledger.view_rows("totals")[0]["calls"] == 31
        assert any("rebuilt" in text for text in ledger.incidents)
        assert ledger.verify().ok
        assert ledger.rows("SELECT count(*) AS n FROM records WHERE kind = 'incident'")[0]["n"] >= 1
    with Ledger.open(home) as ledger:
        assert ledger.view_rows("totals")[0]["calls"] == 31


def test_a_deleted_file_is_noticed_without_a_question(home: Home) -> None:
    with Ledger.open(home) as ledger:
        ledger.record("call", a_call())
        ledger.view_rows("totals")
        home.ledger_file.unlink()
        deadline = time.monotonic() + 20
        while not home.ledger_file.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert home.ledger_file.exists()
        assert ledger.view_rows("totals")[0]["calls"] == 1


def test_a_segment_taken_away_while_it_is_written(home: Home) -> None:
    with Ledger.open(home) as ledger:
        for row, payloads in many_calls(10, payloads=True):
            ledger.record("call", row, payloads=payloads)
        for path in home.spool.iterdir():
            path.unlink()
        ledger.record("call", a_call())
        assert ledger.view_rows("totals")[0]["calls"] == 11
        ledger.record("call", a_call())
        assert ledger.view_rows("totals")[0]["calls"] == 12
        assert any("segment" in text for text in ledger.incidents)
        assert ledger.verify().ok
    home.ledger_file.unlink()
    with Ledger.open(home) as ledger:
        assert ledger.view_rows("totals")[0]["calls"] == 12


def test_the_whole_spool_folder_taken_away(home: Home) -> None:
    with Ledger.open(home) as ledger:
        ledger.record("call", a_call())
        shutil.rmtree(home.spool)
        ledger.record("call", a_call())
        assert ledger.view_rows("totals")[0]["calls"] == 2
        ledger.record("call", a_call())
    with Ledger.open(home) as ledger:
        assert ledger.view_rows("totals")[0]["calls"] == 3


def test_damage_inside_the_file_is_healed_when_it_is_met(home: Home) -> None:
    """A block whose checksum fails is met by a query, long after the file was opened."""
    with Ledger.open(home) as ledger:
        ledger.load_rows(many_calls(3000, payloads=True))
    size = home.ledger_file.stat().st_size
    with home.ledger_file.open("r+b") as file:
        for place in range(300_000, size - 1000, 262_144):  # somewhere in every block of data
            file.seek(place)
            byte = file.read(1)
            file.seek(place)
            file.write(bytes([byte[0] ^ 0x55]))
    with Ledger.open(home) as ledger:
        assert ledger.view_rows("totals")[0]["calls"] == 3000
        assert ledger.verify().ok
        assert ledger.rows("SELECT count(*) AS n FROM calls WHERE payload(response_hash) IS NULL") == [{"n": 0}]
        assert any("rebuilt" in text for text in ledger.incidents)


def test_a_damaged_line_costs_one_row_and_is_told(crashed: Path, tmp_path: Path) -> None:
    home = _copy(crashed, tmp_path)
    home.ledger_file.unlink()
    (home.path / "ledger.duckdb.wal").unlink()
    (segment,) = home.spool.iterdir()
    data = bytearray(segment.read_bytes())
    place = data.index(b'"call":"', len(data) // 2) + 200
    data[place] ^= 1
    segment.write_bytes(data)
    with Ledger.open(home) as ledger:
        assert ledger.view_rows("totals")[0]["calls"] == 3 * CALLS - 1
        assert any("damaged line" in text for text in ledger.incidents)
        found = ledger.verify()
        assert not found.ok and "missing" in found.reason  # the ledger does not pretend


def test_a_torn_tail_of_the_spool_is_left_out_quietly(crashed: Path, tmp_path: Path) -> None:
    home = _copy(crashed, tmp_path)
    (segment,) = home.spool.iterdir()
    with segment.open("ab") as file:
        file.write(b'{"crc":"12345678","call":"half a li')
    with _whole(home) as ledger:
        assert ledger.incidents == []


def test_a_damaged_archive_gives_what_is_before_the_damage(home: Home) -> None:
    with Ledger.open(home) as ledger:
        ledger.load_rows(many_calls(200, payloads=True))
    (path,) = (home.path / "archive").iterdir()
    os.truncate(path, path.stat().st_size // 2)
    assert Ledger.open(home).close() is None
    home.ledger_file.unlink()
    with Ledger.open(home) as ledger:
        assert 20 < ledger.view_rows("totals")[0]["calls"] < 200
        assert not ledger.verify().ok  # the anchor beside the file knows of more


def test_the_archive_is_plain_gzip_of_the_lines(home: Home) -> None:
    with Ledger.open(home) as ledger:
        ledger.record("call", a_call())
    (path,) = (home.path / "archive").iterdir()
    assert path.name == "000000000001.jsonl.gz"
    assert gzip.decompress(path.read_bytes()).startswith(b'{"crc":"')


def test_without_archive_only_the_file_is_left(home: Home) -> None:
    with Ledger.open(home, archive=False) as ledger:
        ledger.record("call", a_call())
    assert not list((home.path / "archive").iterdir()) and not list(home.spool.iterdir())
    with Ledger.open(home, archive=False) as ledger:
        assert ledger.view_rows("totals")[0]["calls"] == 1
        assert ledger.record("call", a_call()).seq == 2


def test_leftovers_of_a_killed_archiver_are_taken_up(crashed: Path, tmp_path: Path) -> None:
    home = _copy(crashed, tmp_path)
    (segment,) = home.spool.iterdir()
    archive = home.path / "archive"
    (archive / "000000000001.part").write_bytes(b"half")
    (archive / "000000000001.jsonl.gz").write_bytes(gzip.compress(segment.read_bytes()))
    (home.path / "tmp" / "load.ndjson").write_bytes(b"half")
    _whole(home).close()
    _whole(home).close()
    assert not list(home.spool.iterdir()) and not list((home.path / "tmp").iterdir())


def _tmpfs(path: Path, size: str) -> bool:
    path.mkdir()
    if not sys.platform.startswith("linux") or os.getuid() != 0:
        return False
    return subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)], capture_output=True).returncode == 0


def test_a_full_disk_loses_nothing_and_is_told_in_one_sentence(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    if not _tmpfs(disk, "12m"):
        pytest.skip("a small file system needs root; a full disk is tested without one in test_spool.py")
    try:
        home = Home(disk / "home")
        acked: list[str] = []
        ledger = Ledger.open(home)
        refused = 0
        for row, payloads in many_calls(5000, payloads=True):
            try:
                ledger.record("call", row, payloads=payloads)
                acked.append(row["call_id"])
            except LedgerError as error:
                assert "disk is full" in error.message and len(error.message.encode()) <= 800
                refused += 1
                if refused > 20:
                    break
        assert refused > 20 and len(acked) > 100
        with pytest.raises(LedgerError, match=r"disk|space"):
            ledger.view_rows("totals")
        assert any("cannot be loaded now" in text for text in ledger.incidents)
        subprocess.run(["mount", "-o", "remount,size=100m", str(disk)], check=True)
        assert ledger.view_rows("totals")[0]["calls"] == len(acked)
        ledger.record("call", a_call())
        ledger.close()
        with Ledger.open(home) as ledger:
            assert ledger.rows("SELECT count(DISTINCT call_id) AS n, count(*) AS m FROM calls") == [
                {"n": len(acked) + 1, "m": len(acked) + 1}
            ]
            assert ledger.verify().ok
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_home_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Exception, match="AIPLAT_HOME"):
        Ledger.open(Home(tmp_path / "file" / "home"))
