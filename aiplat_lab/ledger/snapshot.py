"""Sealed snapshots and exports: what leaves the ledger as a file that others may open."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

from aiplat_lab.core.errors import LedgerError
from aiplat_lab.core.version import VERSION
from aiplat_lab.ledger import query, schema
from aiplat_lab.ledger.database import connect, lock_down, quoted
from aiplat_lab.ledger.focus import FOCUS, FOCUS_VERSION
from aiplat_lab.ledger.verify import Anchor, Verification, verify
from aiplat_lab.ledger.views import View, find_view

_COPY = """
import shutil, sys
try:
    shutil.copyfile(sys.argv[1], sys.argv[2])
except OSError as error:
    sys.exit(error.strerror)
"""
_COPIED = [table for table in schema.TABLES if table not in ("schema_versions", "seal")]


def compact_to(con: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Writes all of the open ledger row by row into a new file, in no block of which stands what was deleted.

    Args:
        con: the connection of the thread that loads.
        path: a file that does not exist, in the folder that DuckDB may write to.

    Raises:
        duckdb.Error: the disk is full, or the ledger's file cannot be read.
    """
    with _fresh(con, path):
        con.execute("USE fresh")
        schema.migrate(con)
        con.execute("BEGIN")
        for table in _COPIED:
            con.execute(f"INSERT INTO fresh.{table} BY NAME FROM ledger.{table}")
        con.execute("COMMIT")
        con.execute("CHECKPOINT fresh")


def seal_to(con: duckdb.DuckDBPyConnection, live: Path, path: Path) -> None:
    """Copies the open ledger's file block by block, and notes in the copy what it holds; arguments and errors as `compact_to`.

    The thread that loads does nothing else meanwhile, so after its checkpoint the file stands still. Another process copies it,
    since closing a handle of the file in this one would give up DuckDB's lock on it. A copy of a file that a reader's open
    transaction keeps from being written out whole is made row by row.

    Raises:
        LedgerError: the copy cannot be written.
    """
    con.execute("CHECKPOINT ledger")
    wal = live.with_name(live.name + ".wal")
    if wal.exists() and wal.stat().st_size:
        compact_to(con, path)
    else:
        done = subprocess.run([sys.executable, "-I", "-S", "-c", _COPY, live, path], capture_output=True, check=False)  # noqa: S603
        if done.returncode:
            path.unlink(missing_ok=True)
            raise LedgerError(f"{live.name} cannot be copied: {done.stderr.decode('utf-8', 'replace').strip()[-200:]}")
    with _fresh(con, path):
        con.execute(
            "INSERT INTO fresh.seal SELECT now() AT TIME ZONE 'UTC', coalesce(sum(rows), 0), coalesce(max(head_seq), 0), "
            "arg_max(head_hash, head_seq), $1 FROM ledger.loads",
            [VERSION],
        )
        con.execute("CHECKPOINT fresh")


@contextmanager
def _fresh(con: duckdb.DuckDBPyConnection, path: Path) -> Iterator[None]:
    """The file attached as `fresh`."""
    con.execute(f"ATTACH {quoted(path)} AS fresh (STORAGE_VERSION '{schema.STORAGE_VERSION}')")
    try:
        yield
    finally:
        try:
            con.execute("ROLLBACK")
        except duckdb.TransactionException:
            pass  # it was committed
        con.execute("USE ledger")
        con.execute("DETACH fresh")


def digest_of(path: Path) -> str:
    """The SHA-256 of a file that no process writes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def place(made: Path, target: Path) -> None:
    """Moves a finished file to where it was asked for, whole or not at all.

    Raises:
        LedgerError: the target exists or cannot be written.
    """
    if target.exists():
        made.unlink(missing_ok=True)
        raise LedgerError(f"{target} is there already; name a new file")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            made.rename(target)
        except OSError:  # another file system
            part = target.with_name(target.name + ".part")
            shutil.copyfile(made, part)
            part.rename(target)
            made.unlink()
    except OSError as error:
        raise LedgerError(f"{target} cannot be written: {error.strerror or error}") from None


class Export(NamedTuple):
    """How the calls of an export are chosen."""

    sql: str
    params: list[Any]  # Any: bound values


EXPORTS: Mapping[str, str] = {"parquet": "SELECT * FROM calls ORDER BY seq", "focus": FOCUS}
"""What calls can be exported as, with the statement that chooses its rows."""


def export_target(path: Path, format: str) -> Path:
    """The file that an export writes: `path`, or one in the folder `path`.

    Raises:
        LedgerError: there is no such format, or it cannot be written under such a name.
    """
    if format not in EXPORTS:
        raise LedgerError(f"calls are exported as {' or '.join(EXPORTS)}, not as {format!r}; for the whole ledger make a snapshot")
    target = path / {"parquet": "calls.parquet", "focus": "focus.parquet"}[format] if path.is_dir() else path
    if format == "focus" and target.suffix.lower() not in (".csv", ".parquet"):
        raise LedgerError(f"{target.name!r} must end in .csv or .parquet, which says how FOCUS rows are written")
    return target


def export_statement(filters: Mapping[str, Any], path: Path, format: str, *, csv: bool) -> Export:  # Any: as `View.query`
    """The statement that writes the calls of these filters to a file: Parquet, or CSV."""
    chosen = View(doc="", sql=EXPORTS[format], source="ledger.main.calls", whole=False).query("export", filters)
    if csv:
        how = "FORMAT csv, HEADER, TIMESTAMPFORMAT '%Y-%m-%dT%H:%M:%SZ'"
    else:
        how = "FORMAT parquet, COMPRESSION zstd" + (f", KV_METADATA {{focus_version: '{FOCUS_VERSION}'}}" if format == "focus" else "")
    return Export(f"COPY ({chosen.sql}) TO {quoted(path)} ({how})", chosen.params)


class Snapshot:
    """A sealed copy of a ledger, open for reading; any number of processes may read it at once.

    Raises:
        LedgerError: the file is missing, damaged, no snapshot, or not the one whose digest was given.
    """

    def __init__(self, path: Path | str, *, sha256: str = "") -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise LedgerError(f"there is no snapshot {self.path}; `aiplat export FILE --format snapshot` makes one")
        if sha256 and digest_of(self.path) != sha256:
            raise LedgerError(f"{self.path} is not the snapshot with the digest {sha256}: it was changed or exchanged")
        self._pid = os.getpid()
        self._root = connect()
        try:
            self._root.execute(f"ATTACH {quoted(self.path)} AS ledger (READ_ONLY)")
            self._root.execute("USE ledger")
            lock_down(self._root, allowed=None)
            row = self._root.execute("SELECT sealed_at, rows, head_seq, head_hash, package FROM seal").fetchone()
            if row is None:
                raise LedgerError(f"{self.path} is a ledger, not a sealed snapshot; `aiplat export FILE --format snapshot` makes one")
            self.meta: dict[str, Any] = self.view_rows("meta", {})[0]
            """The row of the view `meta`."""
        except duckdb.Error as error:
            self._root.close()
            raise LedgerError(f"{self.path} cannot be read as a snapshot: {str(error).splitlines()[0]}") from None
        except LedgerError:
            self._root.close()
            raise

    def query(self, sql: str, params: query.Params = None, *, limit: int | None = None) -> bytes:
        """The result of one read-only statement as an Arrow IPC stream.

        Raises:
            LedgerError: the statement is not read-only, or DuckDB refuses it.
        """
        with self._cursor() as con:
            query.check(con, sql)
            return query.arrow(con, sql, params, limit=limit)

    def view(self, name: str, filters: Mapping[str, Any] | None = None) -> bytes:
        """The rows of a named view as an Arrow IPC stream.

        Raises:
            LedgerError: there is no such view or filter.
        """
        asked = find_view(name).query(name, filters or {})
        with self._cursor() as con:
            return query.arrow(con, asked.sql, asked.params)

    def view_rows(self, name: str, filters: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """The rows of a named view as Python values.

        Raises:
            LedgerError: there is no such view or filter.
        """
        asked = find_view(name).query(name, filters or {})
        with self._cursor() as con:
            return query.dicts(con, asked.sql, asked.params)

    def payload(self, digest: str) -> bytes | None:
        """The payload of that hash, or None when there is none or it was erased."""
        with self._cursor() as con:
            return read_payload(con, digest)

    def verify(self, *, anchors: Iterable[Anchor] = ()) -> Verification:
        """Checks the chain of every row; `anchors` are hashes noted elsewhere that it must still hold."""
        with self._cursor() as con:
            return verify(con, anchors=anchors)

    def close(self) -> None:
        """Closes the file."""
        self._root.close()

    @contextmanager
    def _cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        if os.getpid() != self._pid:
            raise LedgerError("this snapshot was opened before a fork; open it again in this process")
        con = self._root.cursor()
        try:
            con.execute("USE ledger")
            yield con
        except duckdb.Error as error:
            raise LedgerError(f"{self.path} cannot be read: {str(error).splitlines()[0]}") from None
        finally:
            con.close()


def read_payload(con: duckdb.DuckDBPyConnection, digest: str) -> bytes | None:
    """The payload of that hash in an open file."""
    if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
        return None
    row = con.execute("SELECT payload($1)", [digest]).fetchone()
    return row[0].encode() if row and row[0] is not None else None


def refuse_existing(target: Path) -> None:
    """Lets a file be made that is not there yet.

    Raises:
        LedgerError: it is.
    """
    if target.exists():
        raise LedgerError(f"{target} is there already; name a new file")
