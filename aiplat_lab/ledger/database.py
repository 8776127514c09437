"""The ledger's DuckDB file: opened by one process, closed against everything but reading, and repaired when it is damaged.

This process opens the file once while it lives: not to copy it, not to hash it. Merely closing another handle of it here would
give up the lock that keeps a second process out.
"""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from aiplat_lab.core.errors import LedgerError
from aiplat_lab.ledger import schema

log = logging.getLogger("aiplat_lab.ledger")
MEMORY_LIMIT = "1GB"
FLUSH_THRESHOLD = "1MB"
"""Memory beyond this that a statement leaves free is given back to the system, which would else be kept for later."""
CHECKPOINT_THRESHOLD = "256MB"
"""DuckDB's own checkpoints wait for so much; the loader makes them when a segment is sealed."""
_CORRUPT_WAL = re.compile(r"byte position (\d+)")
_IN_USE = re.compile(r"[Cc]onflicting lock|[Cc]ould not set lock|already open|being used by another process")
_NO_DAMAGE = re.compile(r"[Pp]ermission denied|No space left|Read-only file system|Disk quota|Too many open files|memory")
_MAX_CUTS = 20
Warn = Callable[[str], None]


class Damaged(Exception):
    """The file cannot be used as it is; it is rebuilt from the spool and the archive."""


class Database:
    """One open file. A cursor belongs to the thread that took it."""

    def __init__(self, path: Path, scratch: Path) -> None:
        """Opens or makes the file.

        Raises:
            duckdb.Error: DuckDB cannot read it.
            LedgerError: it is in use, made by a newer version, or cannot be written.
        """
        self._path = path
        scratch.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.scratch = scratch
        """The one folder in which DuckDB may write other files."""
        self._root = connect(temp=scratch)
        try:
            self._root.execute(f"ATTACH {quoted(path)} AS ledger (STORAGE_VERSION '{schema.STORAGE_VERSION}')")
            self._root.execute("USE ledger")
            self.migrated = schema.migrate(self._root)
            """The schema versions that opening applied."""
            lock_down(self._root, allowed=scratch)
            path.chmod(0o600)
        except duckdb.IOException as error:
            self._root.close()
            if _IN_USE.search(str(error)):
                raise LedgerError(
                    f"{path} is open in another program, which keeps the ledger out. Close that program; to look into the "
                    "ledger with other tools, use a copy made by `aiplat export --format snapshot`."
                ) from None
            raise
        except BaseException:
            self._root.close()
            raise
        self._identity = identity(path)

    def is_there(self) -> bool:
        """Whether the open file still stands under its name."""
        return self._identity == identity(self._path)

    @contextmanager
    def cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection of its own for the calling thread."""
        con = self.own_cursor()
        try:
            yield con
        finally:
            con.close()

    def own_cursor(self) -> duckdb.DuckDBPyConnection:
        """A connection that its taker closes."""
        con = self._root.cursor()
        con.execute("USE ledger")
        return con

    def close(self) -> None:
        """Closes the file; cursors still in use keep it open until they end."""
        self._root.close()


def connect(*, temp: Path | None = None) -> duckdb.DuckDBPyConnection:
    """A DuckDB of its own in memory, to which a file is then attached."""
    config: dict[str, str | bool | int | float | list[str]] = {
        "python_enable_replacements": False,
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "allow_community_extensions": False,
        "memory_limit": MEMORY_LIMIT,
        "allocator_flush_threshold": FLUSH_THRESHOLD,
        "allocator_bulk_deallocation_flush_threshold": FLUSH_THRESHOLD,
    }
    if temp is not None:
        config["temp_directory"] = str(temp)
    con = duckdb.connect(":memory:", config=config)
    con.execute("SET GLOBAL TimeZone = 'UTC'")
    con.execute(f"SET GLOBAL checkpoint_threshold = '{CHECKPOINT_THRESHOLD}'")
    return con


def lock_down(con: duckdb.DuckDBPyConnection, *, allowed: Path | None) -> None:
    """Closes the file system but for one folder, and then every setting, for all connections and for good."""
    if allowed is not None:
        con.execute(f"SET allowed_directories = [{quoted(allowed)}]")
    con.execute("SET enable_external_access = false")
    con.execute("SET lock_configuration = true")


def quoted(path: Path | str) -> str:
    """A text as an SQL literal."""
    return "'" + str(path).replace("'", "''") + "'"


def identity(path: Path) -> tuple[int, int] | None:
    """Which file stands under a name, without opening it; None for none."""
    try:
        seen = path.stat()
    except OSError:
        return None
    return seen.st_ino, seen.st_dev


def open_repaired(path: Path, scratch: Path, *, warn: Warn) -> Database:
    """Opens the file, whatever state it is in: a damaged write-ahead log is cut, a damaged file is moved aside.

    Args:
        path: the ledger's file.
        scratch: the folder for temporary files.
        warn: takes one sentence for each thing that was found and done.

    Raises:
        LedgerError: as `Database` says, or a damaged file cannot be moved.
    """
    wal = path.with_name(path.name + ".wal")
    kept: Path | None = None
    moved = False
    for _ in range(_MAX_CUTS):
        try:
            return _checked(path, scratch)
        except Damaged as error:
            _start_over(path, wal, str(error), warn)
        except duckdb.Error as error:
            if _NO_DAMAGE.search(str(error)) or not (path.exists() or wal.exists()):
                raise LedgerError(f"{path} cannot be opened: {str(error).splitlines()[0]}") from None
            found = _CORRUPT_WAL.search(str(error))
            size = wal.stat().st_size if wal.exists() else 0
            if found and 0 < int(found[1]) < size:
                kept = kept or _copy_aside(wal)
                with wal.open("r+b") as file:
                    file.truncate(int(found[1]))
                warn(f"the write-ahead log of {path.name} was damaged at byte {found[1]}; it was cut there, and a copy is in {kept.name}")
            elif size and "WAL" in str(error):
                warn(f"the write-ahead log of {path.name} could not be read; it was moved to {_aside(wal).name}")
            elif moved:
                raise LedgerError(f"{path} cannot be opened: {str(error).splitlines()[0]}") from None
            else:
                moved = True
                _start_over(path, wal, str(error), warn)
    raise LedgerError(f"{path} could not be opened after {_MAX_CUTS} repairs; move it away, and the ledger is rebuilt from its archive")


def _checked(path: Path, scratch: Path) -> Database:
    """The open file, when its tables hold as many rows as its loads say."""
    database = Database(path, scratch)
    try:
        with database.cursor() as con:
            row = con.execute(
                "SELECT (SELECT coalesce(sum(rows), 0) FROM loads), (SELECT count(*) FROM call_rows) + (SELECT count(*) FROM records) "
                "+ (SELECT count(seq) FROM quarantine), (SELECT max(seq) FROM (SELECT max(seq) AS seq FROM call_rows UNION ALL "
                "SELECT max(seq) FROM records UNION ALL SELECT max(seq) FROM quarantine))"
            ).fetchone()
        if row is None or row[0] != row[1]:
            raise Damaged(f"it holds {row[1] if row else 0} rows where its loads say {row[0] if row else 0}")
    except BaseException:
        database.close()
        raise
    return database


def _start_over(path: Path, wal: Path, reason: str, warn: Warn) -> None:
    moved = [_aside(one).name for one in (path, wal) if one.exists()]
    log.warning("moved %s aside: %s", path, reason)
    warn(f"{path.name} was damaged; it was moved to {' and '.join(moved) or 'nowhere'} and rebuilt from the archive and the spool")


def _aside(path: Path) -> Path:
    """Moves a file to a free name beside it."""
    target = _free(path)
    try:
        path.rename(target)
    except OSError as error:
        raise LedgerError(f"{path} is damaged and cannot be moved away: {error.strerror}. Move it, and start again.") from None
    return target


def _copy_aside(path: Path) -> Path:
    target = _free(path)
    shutil.copyfile(path, target)
    return target


def _free(path: Path) -> Path:
    number = 1
    while (target := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    return target
