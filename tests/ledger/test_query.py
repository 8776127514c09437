"""Read-only SQL: one reading statement, no files, no settings, no other database."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import polars
import pytest
from ledgerkit import START, a_call

from aiplat_lab.core.errors import LedgerError
from aiplat_lab.core.settings import Home
from aiplat_lab.ledger import Ledger


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    with Ledger.open(Home(tmp_path_factory.mktemp("query") / "home")) as opened:
        for number in range(20):
            opened.record("call", a_call(started_at=START + timedelta(hours=number), team="risk" if number % 2 else "claims"))
        yield opened


ALLOWED = (
    "SELECT count(*) FROM calls",
    "  -- a comment\n select 1;",
    "FROM calls LIMIT 1",
    "WITH x AS (SELECT 1 AS a) SELECT * FROM x",
    "VALUES (1)",
    "TABLE calls",
    "DESCRIBE calls",
    "SHOW TABLES",
    "SUMMARIZE calls",
    "EXPLAIN SELECT * FROM calls",
    "EXPLAIN ANALYZE SELECT * FROM calls",
    "/* note */ EXPLAIN (FORMAT json) SELECT 1",
    "PIVOT calls ON team IN ('risk', 'claims') USING count(*)",
    "SELECT unnest(flags), list_transform([1], lambda x: x + 1) FROM calls",
    "FROM range(3)",
    "SELECT 'write_log(1) from read_blob(x)' AS text",
    "SELECT * FROM duckdb_columns()",
    "SELECT date_trunc('day', started_at) AS day, sum(cost_usd) FROM calls GROUP BY day",
    "SELECT tags['a'], len(flags) FROM calls",
    "SELECT * FROM totals",
    "SELECT * FROM meta",
    "SELECT started_at > now() - INTERVAL 7 DAY FROM calls",
)


@pytest.mark.parametrize("sql", ALLOWED)
def test_reading_is_allowed(ledger: Ledger, sql: str) -> None:
    assert polars.read_ipc_stream(io.BytesIO(ledger.query(sql))).width > 0


@pytest.mark.parametrize("text", ["DATE 'infinity'", "TIMESTAMP '-infinity'", "TIMESTAMP '290000-01-01'", "DATE '200000-01-01'"])
def test_a_day_beyond_the_calendar_can_be_read(ledger: Ledger, text: str) -> None:
    (value,) = polars.read_ipc_stream(io.BytesIO(ledger.query(f"SELECT {text} AS day")))["day"].to_list()
    assert value.year == (1 if "-inf" in text else 9999)


REFUSED = (
    "INSERT INTO call_rows FROM call_rows",
    "UPDATE call_rows SET team = 'x'",
    "DELETE FROM call_rows",
    "DROP TABLE call_rows",
    "CREATE TABLE mine (a INTEGER)",
    "CREATE TEMP TABLE mine (a INTEGER)",
    "ALTER TABLE call_rows ADD COLUMN x INTEGER",
    "TRUNCATE call_rows",
    "WITH z AS (INSERT INTO loads FROM loads RETURNING segment) SELECT * FROM z",
    "EXPLAIN ANALYZE INSERT INTO call_rows FROM call_rows",
    "EXPLAIN ANALYZE COPY call_rows TO '{tmp}/stolen.csv'",
    "EXPLAIN EXPLAIN DELETE FROM call_rows",
    "SELECT 1; DELETE FROM call_rows",
    "",
    "-- nothing",
    "COPY calls TO '{tmp}/stolen.csv'",
    "COPY (SELECT 1) TO '/tmp/stolen.csv'",
    "EXPORT DATABASE '{tmp}/all'",
    "ATTACH '{tmp}/other.duckdb'",
    "ATTACH ':memory:' AS other",
    "DETACH ledger",
    "USE memory",
    "SET threads = 1",
    "RESET threads",
    "SET enable_external_access = true",
    "PRAGMA disable_checkpoint_on_shutdown",
    "PRAGMA database_size",
    "CALL force_checkpoint('ledger')",
    "SELECT * FROM force_checkpoint()",
    "SELECT * FROM checkpoint()",
    "CHECKPOINT",
    "VACUUM",
    "LOAD httpfs",
    "INSTALL httpfs",
    "BEGIN",
    "PREPARE p AS SELECT 1",
    "EXECUTE p",
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM '/etc/passwd'",
    "SELECT * FROM '{tmp}/secret.csv'",
    "SELECT * FROM glob('/etc/*')",
    "SELECT * FROM read_blob('{home}/ledger.duckdb')",
    "SELECT (SELECT max(size) FROM read_text('{home}/ledger.duckdb'))",
    "WITH a AS (FROM read_blob('{home}/ledger.duckdb')) SELECT * FROM a",
    "DESCRIBE SELECT * FROM read_blob('{home}/ledger.duckdb')",
    "SUMMARIZE '{home}/ledger.duckdb'",
    "SELECT * FROM query('FROM read_blob(''{home}/ledger.duckdb'')')",
    "EXPLAIN ANALYZE SELECT * FROM read_blob('{home}/ledger.duckdb')",
    "SELECT * FROM '{home}/ledger.duckdb'",
    "SELECT write_log('x')",
    "PIVOT calls ON team USING count(*)",
    "SELECT * FROM read_json('{home}/spool/*.jsonl')",
    "SELECT * FROM parquet_scan('http://127.0.0.1:1/x.parquet')",
    "SELECT * FROM duckdb_secrets()",
    "SELECT getenv('HOME')",
    "SELECT * FROM local_frame",
    "SELECT * FROM no_such_table",
    "SELEC 1",
    "SELECT 1 +",
    "SELECT * FROM query('DELETE FROM call_rows')",
)


@pytest.mark.parametrize("sql", REFUSED)
def test_whatever_does_not_just_read_is_refused_in_one_sentence(ledger: Ledger, tmp_path: Path, sql: str) -> None:
    local_frame = polars.DataFrame({"secret": [1]})  # a variable of this process is no table
    assert local_frame.height == 1
    (tmp_path / "secret.csv").write_text("a\n1\n")
    with pytest.raises(LedgerError) as error:
        ledger.query(sql.replace("{tmp}", str(tmp_path)).replace("{home}", str(ledger._home.path)))
    assert "\n" not in error.value.message and len(error.value.message.encode()) <= 800
    assert sorted(path.name for path in tmp_path.iterdir()) == ["secret.csv"]
    assert ledger.view_rows("totals")[0]["calls"] == 20
    assert ledger.verify().ok


def test_values_are_bound(ledger: Ledger) -> None:
    frame = polars.read_ipc_stream(
        io.BytesIO(ledger.query("SELECT $1 AS a, $2 AS b FROM calls WHERE team = $3 LIMIT 1", ["'; DROP", 2, "risk"]))
    )
    assert frame.row(0) == ("'; DROP", 2)
    assert len(ledger.rows("SELECT * FROM calls WHERE team = $team", {"team": "claims"})) == 10
    assert len(ledger.rows("SELECT * FROM calls WHERE started_at >= $1", [START + timedelta(hours=15)])) == 5


def test_a_limit_cuts_the_result(ledger: Ledger) -> None:
    assert polars.read_ipc_stream(io.BytesIO(ledger.query("SELECT * FROM calls", limit=3))).height == 3


def test_rows_are_python_values(ledger: Ledger) -> None:
    (row,) = ledger.rows("SELECT call_id, started_at, cost_usd, stream FROM calls ORDER BY seq LIMIT 1")
    assert isinstance(row["call_id"], str) and row["started_at"] == START and row["started_at"].tzinfo is not None
    assert isinstance(row["cost_usd"], Decimal) and row["stream"] is True


def test_a_statement_without_end_is_stopped(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aiplat_lab.ledger.query.TIMEOUT_S", 0.3)
    with pytest.raises(LedgerError, match="stopped"):
        ledger.query("SELECT count(*) FROM range(100000000) a, range(100000) b")
    assert ledger.view_rows("totals")[0]["calls"] == 20


def test_many_threads_read_at_once_each_with_its_own_cursor(ledger: Ledger) -> None:
    failed: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(10):
                assert ledger.rows("SELECT count(*) AS n FROM calls") == [{"n": 20}]
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


def test_a_reader_leaves_no_message_when_its_process_ends(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = f"""
import sys; sys.path[:0] = {sys.path!r}
from pathlib import Path
from aiplat_lab.core.settings import Home; from aiplat_lab.ledger import Ledger, Snapshot
from ledgerkit import a_call
with Ledger.open(Home(Path({str(tmp_path / "home")!r}))) as ledger:
    ledger.record("call", a_call())
    ledger.query("SELECT * FROM calls")
    ledger.snapshot({str(tmp_path / "s.duckdb")!r})
Snapshot({str(tmp_path / "s.duckdb")!r}).view("totals")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONWARNINGS": "error"})
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
