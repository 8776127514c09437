"""The tables: their version, how an older file becomes a current one, and which layout is written."""

from __future__ import annotations

from pathlib import Path

import pytest
from ledgerkit import a_call, opened

from aiplat_lab.core.errors import LedgerError
from aiplat_lab.core.settings import Home
from aiplat_lab.ledger import Ledger, schema
from aiplat_lab.ledger.schema import MIGRATIONS, Migration, migrate, version_of

ADD = Migration(MIGRATIONS[-1].version + 1, ("ALTER TABLE call_rows ADD COLUMN carbon_g DOUBLE", "CREATE TABLE notes (text VARCHAR)"))


def test_a_new_file_has_the_newest_version(tmp_path: Path) -> None:
    with opened(tmp_path / "new.duckdb") as con:
        assert version_of(con) == 0
        assert migrate(con) == [step.version for step in MIGRATIONS]
        assert version_of(con) == MIGRATIONS[-1].version
        assert migrate(con) == []


def test_an_older_file_gains_a_column_and_its_chain_still_holds(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    with Ledger.open(home) as ledger:
        for _ in range(5):
            ledger.record("call", a_call())
    monkeypatch.setattr(schema, "MIGRATIONS", (*MIGRATIONS, ADD))
    monkeypatch.setattr(schema.migrate, "__kwdefaults__", {"migrations": (*MIGRATIONS, ADD)})
    with Ledger.open(home) as ledger:
        assert ledger.view_rows("meta")[0]["schema_version"] == ADD.version
        assert ledger.rows("SELECT carbon_g FROM call_rows LIMIT 1") == [{"carbon_g": None}]
        assert ledger.verify().ok
        assert not home.path.joinpath("ledger.duckdb.wal").exists() or home.path.joinpath("ledger.duckdb.wal").stat().st_size < 10_000


def test_a_file_of_the_first_version_takes_todays_calls(home: Home) -> None:
    home.create()
    with opened(home.ledger_file) as con:
        migrate(con, migrations=MIGRATIONS[:1])
        for name in ("service_tier", "other_units", "other_prices_usd", "route", "findings", "batch_id"):
            con.execute(f"ALTER TABLE call_rows DROP COLUMN {name}")
    with Ledger.open(home) as ledger:
        ledger.record("call", {**a_call(), "service_tier": "flex", "other_units": {"images": "2"}, "findings": {"email": "1 masked"}})
        (row,) = ledger.rows("SELECT service_tier, other_units, findings, status FROM calls")
        assert row == {"service_tier": "flex", "other_units": {"images": "2"}, "findings": {"email": "1 masked"}, "status": "ok"}
        assert ledger.verify().ok


def test_a_step_stands_between_two_checkpoints(tmp_path: Path) -> None:
    path = tmp_path / "file.duckdb"
    wal = tmp_path / "file.duckdb.wal"
    with opened(path) as con:
        migrate(con)
        con.execute("INSERT INTO loads VALUES (1, 1, 0, 0, NULL, NULL, NULL)")
        assert wal.stat().st_size > 0
        migrate(con, migrations=(*MIGRATIONS, ADD))
        assert not wal.exists() or wal.stat().st_size == 0


def test_a_file_of_a_newer_version_is_left_alone(home: Home) -> None:
    Ledger.open(home).close()
    with opened(home.ledger_file) as con:
        con.execute("INSERT INTO schema_versions VALUES (99, NULL, '9.9.9', NULL)")
    before = home.ledger_file.read_bytes()
    with pytest.raises(LedgerError, match=r"schema version 99.*upgrade"):
        Ledger.open(home)
    assert home.ledger_file.read_bytes() == before
    assert not list(home.path.glob("*.damaged-*"))


def test_the_layout_is_one_that_every_allowed_version_reads(home: Home, tmp_path: Path) -> None:
    with Ledger.open(home) as ledger:
        ledger.record("call", a_call())
        made = ledger.snapshot(tmp_path / "s.duckdb")
    for path in (home.ledger_file, Path(made["path"])):
        with opened(path) as con:
            tags = con.execute("SELECT tags FROM duckdb_databases() WHERE database_name = 'ledger'").fetchone()
            assert tags is not None and tags[0]["storage_version"].startswith("v1.5.0")


def test_no_table_has_an_index_or_a_key(home: Home) -> None:
    Ledger.open(home).close()
    with opened(home.ledger_file) as con:
        assert con.execute("SELECT count(*) FROM duckdb_indexes()").fetchone() == (0,)
        kinds = con.execute("SELECT DISTINCT constraint_type FROM duckdb_constraints() WHERE database_name = 'ledger'").fetchall()
        assert kinds == [("NOT NULL",)]


def test_hashes_and_payloads_are_compressed(home: Home) -> None:
    with Ledger.open(home) as ledger:
        ledger.load_rows((a_call(request_hash=f"{number:064x}"), {f"{number:064x}": b'{"text":"%d"}' % number}) for number in range(3000))
    with opened(home.ledger_file) as con:
        used = con.execute(
            "SELECT column_name, compression FROM pragma_storage_info('payloads') WHERE segment_type = 'VARCHAR' UNION "
            "SELECT column_name, compression FROM pragma_storage_info('call_rows') WHERE column_name IN ('hash', 'request_hash') "
            "AND segment_type = 'VARCHAR'"
        ).fetchall()
    assert {("body", "ZSTD"), ("hash", "ZSTD"), ("request_hash", "ZSTD")} <= set(used)


def test_a_new_definition_of_a_view_reaches_an_existing_file(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    Ledger.open(home).close()
    monkeypatch.setattr(schema, "_DEFINITIONS", (*schema._DEFINITIONS, "CREATE OR REPLACE VIEW extra AS SELECT 42 AS answer"))
    monkeypatch.setattr(schema, "_DIGEST", "0" * 64)
    with Ledger.open(home) as ledger:
        assert ledger.rows("FROM extra") == [{"answer": 42}]
