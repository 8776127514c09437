"""The chain: whatever is changed, removed, moved or added behind the ledger's back is found, with its place."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import duckdb
import pytest
from ledgerkit import START, a_call, many_calls, opened

from aiplat_lab.core.settings import Home
from aiplat_lab.ledger import Anchor, Ledger, Snapshot, Verification

ROWS = 60


def _fill(home: Home) -> None:
    with Ledger.open(home, archive=False) as ledger:
        for number in range(ROWS):
            if number % 10 == 9:
                ledger.record("note", {"id": f"n{number}", "text": 'a\n\u0001"note" \\ ü'})
            else:
                ledger.record("call", a_call(started_at=START + timedelta(minutes=number), tags={"step": str(number)}))


def _verify(home: Home, **more: object) -> Verification:
    with Ledger.open(home, archive=False) as ledger:
        return ledger.verify(**more)  # type: ignore[arg-type]


def _fix_counts(con: duckdb.DuckDBPyConnection) -> None:
    """What a forger who knows the tables would do too: the noted numbers of rows fit again."""
    con.execute("UPDATE loads SET rows = (SELECT count(*) FROM chain) WHERE rowid = 0")
    con.execute("UPDATE loads SET rows = 0 WHERE rowid > 0")


TAMPERING: dict[str, tuple[str, int]] = {
    "a cost": ("UPDATE call_rows SET cost_usd = 0 WHERE seq = 17", 17),
    "a time": ("UPDATE call_rows SET started_at = started_at + INTERVAL 1 MICROSECOND WHERE seq = 5", 5),
    "a tag": ("UPDATE call_rows SET tags = MAP {'step': 'x'} WHERE seq = 33", 33),
    "a status to unknown": ("UPDATE call_rows SET status = NULL WHERE seq = 2", 2),
    "the first row": ("UPDATE call_rows SET team = 'mine' WHERE seq = 1", 1),
    "the last row": (f"UPDATE records SET data = '{{}}' WHERE seq = {ROWS}", ROWS),
    "a record": ("UPDATE records SET kind = 'key' WHERE seq = 30", 30),
    "a hash": ("UPDATE call_rows SET hash = repeat('a', 64) WHERE seq = 22", 22),
    "a link": ("UPDATE call_rows SET link = repeat('a', 64) WHERE seq = 41", 41),
    "a removed row": ("DELETE FROM call_rows WHERE seq = 25", 25),
    "a removed record": ("DELETE FROM records WHERE seq = 20", 20),
    "a removed first row": ("DELETE FROM call_rows WHERE seq = 1", 1),
    "removed last rows": (f"DELETE FROM call_rows WHERE seq > {ROWS - 5}; DELETE FROM records WHERE seq > {ROWS - 5}", ROWS - 4),
    "two rows in each other's place": ("UPDATE call_rows SET seq = CASE seq WHEN 12 THEN 13 ELSE 12 END WHERE seq IN (12, 13)", 12),
    "a row twice": ("INSERT INTO call_rows FROM call_rows WHERE seq = 14", 14),
    "an added row": ("INSERT INTO call_rows SELECT * REPLACE (61 AS seq) FROM call_rows WHERE seq = 14", 61),
    "a removed row and closed ranks": (
        "DELETE FROM call_rows WHERE seq = 25; UPDATE call_rows SET seq = seq - 1 WHERE seq BETWEEN 26 AND 29",
        25,
    ),
}


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    home = Home(tmp_path_factory.mktemp("chain") / "home")
    _fill(home)
    return home.ledger_file.read_bytes()


@pytest.mark.parametrize("what", TAMPERING)
def test_tampering_is_found_at_its_place(tmp_path: Path, filled: bytes, what: str) -> None:
    sql, seq = TAMPERING[what]
    path = tmp_path / "copy.duckdb"
    path.write_bytes(filled)
    with opened(path) as con:
        for statement in sql.split(";"):
            con.execute(statement)
        _fix_counts(con)
    from aiplat_lab.ledger.verify import verify

    with opened(path) as con:
        found = verify(con)
    assert not found.ok
    assert found.first_bad_seq == seq, found
    assert found.reason


def test_an_untouched_ledger_holds(home: Home) -> None:
    _fill(home)
    found = _verify(home)
    assert found.ok and found.first_bad_seq is None and found.reason == ""
    assert found.rows == ROWS


def test_an_empty_ledger_holds(home: Home) -> None:
    assert _verify(home) == Verification(ok=True, rows=0)


def test_the_chain_goes_on_over_restarts_and_segments(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aiplat_lab.ledger._ledger.SEGMENT_BYTES", 2_000)
    last = None
    for _ in range(3):
        with Ledger.open(home) as ledger:
            assert last is None or ledger.head == last
            for row, payloads in many_calls(20, payloads=True):
                last = ledger.record("call", row, payloads=payloads)
    assert last is not None and last.seq == 60
    assert _verify(home).ok
    assert len(list((home.path / "archive").iterdir())) > 3


def test_a_chain_written_anew_is_found_by_what_was_noted_elsewhere(home: Home, tmp_path: Path) -> None:
    """Whoever can write every file can forge a whole chain; a hash that stands elsewhere, as in a report, still finds it."""
    _fill(home)
    with Ledger.open(home) as ledger:
        noted = Anchor(ledger.head.seq, ledger.head.hash)
    forged = Home(tmp_path / "forged")
    _fill(forged)  # the same calls with other ids
    assert _verify(forged).ok
    found = _verify(forged, anchors=[noted])
    assert not found.ok and found.first_bad_seq == noted.seq and "noted" in found.reason


def test_a_file_exchanged_for_another_is_found_by_the_anchors_beside_it(home: Home, tmp_path: Path) -> None:
    _fill(home)
    other = Home(tmp_path / "other")
    _fill(other)
    home.ledger_file.write_bytes(other.ledger_file.read_bytes())
    assert not _verify(home).ok


def test_a_cut_chain_is_found_by_the_anchors_beside_it(home: Home) -> None:
    _fill(home)
    with opened(home.ledger_file) as con:
        con.execute("DELETE FROM call_rows WHERE seq > 40")
        con.execute("DELETE FROM records WHERE seq > 40")
        con.execute("UPDATE loads SET head_seq = 40, head_hash = (SELECT hash FROM chain WHERE seq = 40)")
        _fix_counts(con)
    found = _verify(home)
    assert not found.ok and found.first_bad_seq == 41 and "missing at the end" in found.reason


@pytest.mark.parametrize("check", ["rows", "bytes"])
def test_a_tampered_snapshot_is_found(home: Home, tmp_path: Path, check: str) -> None:
    _fill(home)
    with Ledger.open(home) as ledger:
        made = ledger.snapshot(tmp_path / "sealed.duckdb")
    assert Snapshot(made["path"], sha256=made["sha256"]).verify().ok
    with opened(Path(made["path"])) as con:
        con.execute("UPDATE call_rows SET team = 'other' WHERE seq = 7")
    if check == "rows":
        assert Snapshot(made["path"]).verify().first_bad_seq == 7
    else:
        with pytest.raises(Exception, match="changed or exchanged"):
            Snapshot(made["path"], sha256=made["sha256"])


def test_a_quarantined_row_keeps_its_place(home: Home) -> None:
    with Ledger.open(home) as ledger:
        ledger.record("call", a_call())
        poison = ledger.record("call", a_call(input_tokens=10**30))
        ledger.record("call", a_call())
        assert ledger.verify().ok
    with opened(home.ledger_file) as con:
        assert con.execute("SELECT seq FROM quarantine").fetchall() == [(poison.seq,)]
        con.execute("UPDATE quarantine SET line = replace(line, '\"risk\"', '\"other\"')")
    assert _verify(home).first_bad_seq == poison.seq
