"""The tables of the ledger's file, and how an older file becomes a current one.

The tables are append-only and in the order of the chain, without primary key or index. A change of a table stands between two
checkpoints, since a write-ahead log that holds one is what a database most often fails to read again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from aiplat_lab.core.errors import LedgerError
from aiplat_lab.core.version import VERSION
from aiplat_lab.ledger.kinds import KINDS
from aiplat_lab.ledger.rows import CALL_COLUMNS, columns
from aiplat_lab.ledger.views import VIEWS

STORAGE_VERSION = "v1.5.0"
"""The layout of the file: every DuckDB that this package allows can open it."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step from the version before to `version`."""

    version: int
    statements: tuple[str, ...]


def _table(name: str) -> str:
    stored = ", ".join(f"{column} {kind.sql_type}" for column, kind in columns(name).items())
    table = "call_rows" if name == "calls" else name
    return f"CREATE TABLE {table} ({stored}, seq BIGINT NOT NULL, hash VARCHAR USING COMPRESSION zstd, link VARCHAR USING COMPRESSION zstd)"


MIGRATIONS: Sequence[Migration] = (
    Migration(
        1,
        (
            "CREATE TABLE schema_versions (version BIGINT, applied_at TIMESTAMP, package VARCHAR, views VARCHAR)",
            # `link` holds the hash of the row before where that one is no call of the same table; elsewhere it can be read there
            _table("calls"),
            _table("records"),
            "CREATE TABLE quarantine (seq BIGINT, hash VARCHAR, name VARCHAR, segment BIGINT, byte_offset BIGINT, reason VARCHAR, "
            "line VARCHAR)",
            # `hash` is unknown where it is the digest of the body, which is nearly always
            "CREATE TABLE payloads (prefix UBIGINT NOT NULL, body VARCHAR USING COMPRESSION zstd, hash VARCHAR)",
            "CREATE TABLE loads (segment BIGINT NOT NULL, upto BIGINT NOT NULL, rows BIGINT NOT NULL, bad BIGINT NOT NULL, "
            "head_seq BIGINT, head_hash VARCHAR, loaded_at TIMESTAMP)",
            # where a snapshot says what it holds; empty in the live file
            "CREATE TABLE seal (sealed_at TIMESTAMP, rows BIGINT, head_seq BIGINT, head_hash VARCHAR, package VARCHAR)",
        ),
    ),
    Migration(
        2,
        tuple(
            f"ALTER TABLE call_rows ADD COLUMN IF NOT EXISTS {name} {columns('calls')[name].sql_type}"
            for name in ("service_tier", "other_units", "other_prices_usd", "route", "findings", "batch_id")
        ),
    ),
)
"""Every step so far, oldest first; steps are added and never edited."""
TABLES = ("schema_versions", "call_rows", "records", "quarantine", "payloads", "loads", "seal")

_OUT = ", ".join("coalesce(link, lag(hash) OVER (ORDER BY seq)) AS prev_hash" if c == "prev_hash" else c for c in CALL_COLUMNS)
_DEFINITIONS: tuple[str, ...] = (
    f"CREATE OR REPLACE VIEW calls AS SELECT {_OUT} FROM call_rows",
    "CREATE OR REPLACE VIEW chain AS SELECT seq, 'call' AS kind, hash FROM call_rows UNION ALL "
    "SELECT seq, kind, hash FROM records UNION ALL SELECT seq, 'quarantined', hash FROM quarantine WHERE seq IS NOT NULL",
    "CREATE OR REPLACE MACRO payload(wanted) AS (SELECT any_value(p.body) FROM payloads p "
    "WHERE p.prefix = ('0x' || left(wanted, 16))::UBIGINT AND coalesce(p.hash, wanted) = wanted)",
    *(f"CREATE OR REPLACE VIEW {kind.view} AS {kind.as_view(name)}" for name, kind in KINDS.items()),
    *(f"CREATE OR REPLACE VIEW {name} AS {view.as_view()}" for name, view in VIEWS.items() if view.whole),
)
_DIGEST = hashlib.sha256("\n".join(_DEFINITIONS).encode()).hexdigest()


def version_of(con: duckdb.DuckDBPyConnection) -> int:
    """The schema version of the file; 0 for a new one."""
    known = con.execute("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'schema_versions' AND database_name = current_database()")
    if _one(known) == 0:
        return 0
    return int(_one(con.execute("SELECT coalesce(max(version), 0) FROM schema_versions")))


def migrate(con: duckdb.DuckDBPyConnection, *, migrations: Sequence[Migration] = MIGRATIONS) -> list[int]:
    """Brings the file to the newest version; gives the versions that were applied.

    Raises:
        LedgerError: the file was made by a newer version of this package.
    """
    have, newest = version_of(con), migrations[-1].version
    if have > newest:
        raise LedgerError(f"the ledger's file has schema version {have}, and this version of aiplat-lab knows {newest}: upgrade aiplat-lab")
    steps = [step for step in migrations if step.version > have]
    for step in steps:
        con.execute("CHECKPOINT")
        con.execute("BEGIN")
        for statement in step.statements:
            con.execute(statement)
        con.execute("INSERT INTO schema_versions VALUES ($1, now() AT TIME ZONE 'UTC', $2, NULL)", [step.version, VERSION])
        con.execute("COMMIT")
        con.execute("CHECKPOINT")
    _define(con, newest)
    return [step.version for step in steps]


def _define(con: duckdb.DuckDBPyConnection, version: int) -> None:
    """Makes the views and macros anew when the file has others."""
    if con.execute(
        "SELECT 1 FROM schema_versions WHERE views = $1 AND rowid = (SELECT max(rowid) FROM schema_versions)", [_DIGEST]
    ).fetchone():
        return
    con.execute("CHECKPOINT")
    con.execute("BEGIN")
    for statement in _DEFINITIONS:
        con.execute(statement)
    con.execute("INSERT INTO schema_versions VALUES ($1, now() AT TIME ZONE 'UTC', $2, $3)", [version, VERSION, _DIGEST])
    con.execute("COMMIT")
    con.execute("CHECKPOINT")


def _one(result: duckdb.DuckDBPyConnection) -> int:
    row = result.fetchone()
    return int(row[0]) if row else 0
