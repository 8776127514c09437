"""The one thread that writes DuckDB: it loads the spool, keeps the archive, and heals the file.

Whoever records never waits for it. Whoever reads asks it to catch up first, and then reads with a connection of its own.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import duckdb

from aiplat_lab.core.errors import LedgerError
from aiplat_lab.core.settings import Home
from aiplat_lab.ledger.archive import Archive, without_payload
from aiplat_lab.ledger.database import Database, Warn, open_repaired
from aiplat_lab.ledger.load import Loader, prefix_of
from aiplat_lab.ledger.snapshot import compact_to, seal_to
from aiplat_lab.ledger.spool import Spool, read_segment, segments

log = logging.getLogger("aiplat_lab.ledger")
INTERVAL_S = 1.0
"""How often the spool is loaded when nobody asks."""
_CHECKPOINT_BYTES = 64 << 20
"""How much is loaded between two checkpoints at most, in bytes of the spool."""
_DAMAGE = ("hecksum", "orrupt", "erializ", "ecompress", "eserial", "Invalid block", "not a valid DuckDB")
_T = TypeVar("_T")


class Head(NamedTuple):
    """The last row of the chain."""

    seq: int
    hash: str


class Position(NamedTuple):
    """How far the spool is written: the segment and its length."""

    number: int
    size: int


class Writer(Protocol):
    """What the store asks of the one who writes the spool; each happens under the writer's lock."""

    def position(self) -> Position:
        """How far the spool is written."""
        ...

    def rotate(self) -> None:
        """Seals the segment and begins the next."""
        ...

    def rescue(self) -> tuple[int, bytes]:
        """Seals the segment; gives its number and all of its bytes, which may be under no name any more."""
        ...


class Store:
    """The file, its loader and the archive. Public methods may be called from any thread but its own."""

    def __init__(self, home: Home, *, warn: Warn, archive: bool = True) -> None:
        """Opens, repairs and catches up with what earlier processes left.

        Raises:
            LedgerError: the file cannot be used.
        """
        self._home = home
        self._scratch = home.path / "tmp"
        self._warn = warn
        self.archive = Archive(home.path / "archive")
        self._keep_archive = archive
        self._archiver = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger-archive")
        self._archiving = threading.Lock()
        self._sealed: dict[int, Path] = segments(home.spool)
        self._spool: Spool | None = None
        self._writer: Writer
        self._since_checkpoint = 0
        self._jobs: deque[tuple[Callable[[], Any], Future[Any]]] = deque()  # Any: what a job gives
        self._wake = threading.Condition()
        self._closing = False
        self._thread: threading.Thread | None = None
        self._done = Position(0, 0)
        self._trouble = ""
        if self._scratch.is_dir():
            for old in self._scratch.iterdir():
                old.unlink(missing_ok=True)
        self._open()

    # --- life -------------------------------------------------------------------------------------------------------

    @property
    def highest_segment(self) -> int:
        """The highest segment number that was ever used."""
        return max([0, *self._sealed, *self.archive.files(), *self._loader.positions])

    def head(self) -> Head:
        """The last row that is loaded."""
        with self._database.cursor() as con:
            row = con.execute("SELECT coalesce(max(head_seq), 0), coalesce(arg_max(head_hash, head_seq), '') FROM loads").fetchone()
        return Head(int(row[0]), str(row[1])) if row else Head(0, "")

    def start(self, spool: Spool, writer: Writer) -> None:
        """Begins to follow what this process writes."""
        self._spool, self._writer = spool, writer
        self._thread = threading.Thread(target=self._run, name="ledger-store", daemon=True)
        self._thread.start()

    def close(self, last: int) -> None:
        """Loads what is left, checkpoints, archives, and closes the file.

        Args:
            last: the segment that was sealed when writing ended.
        """
        try:
            self.run(lambda: self._finish(last))
        finally:
            with self._wake:
                self._closing = True
                self._wake.notify_all()
            if self._thread is not None:
                self._thread.join()
            self._archiver.shutdown(wait=True)
            self._con.close()
            self._database.close()

    def abandon(self) -> None:
        """Closes what opening left, when the ledger could not be opened whole."""
        self._archiver.shutdown(wait=True)
        self._con.close()
        self._database.close()

    # --- for readers ------------------------------------------------------------------------------------------------

    def run(self, job: Callable[[], _T]) -> _T:
        """Runs a job in the store's thread and gives its result, or raises what it raised."""
        future: Future[_T] = Future()
        with self._wake:
            if self._closing:
                raise LedgerError("the ledger is closed")
            self._jobs.append((job, future))
            self._wake.notify_all()
        return future.result()

    def catch_up(self) -> None:
        """Returns when everything that was recorded before can be read.

        Raises:
            LedgerError: the disk is full, or the file cannot be written.
        """
        if self._done == self._writer.position() and not self._trouble:
            return
        self.run(self._load_all)
        if self._trouble:
            raise LedgerError(
                f"the ledger cannot load what was recorded: {self._trouble}. Nothing is lost; free some space, then ask again."
            )

    @contextmanager
    def cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection for the calling thread."""
        if self._closing:
            raise LedgerError("the ledger is closed")
        with self._database.cursor() as con:
            yield con

    def heal(self, error: duckdb.Error) -> None:
        """Opens the file again after an error that speaks of the file, or makes it anew when it is damaged."""
        damaged = any(word in str(error) for word in _DAMAGE)
        self.run(lambda: self._reopen(str(error), rebuild=damaged))

    # --- jobs -------------------------------------------------------------------------------------------------------

    def copy(self, path: Path) -> None:
        """Writes everything into a new sealed file."""
        self.run(lambda: self._copy(path))

    def erase(self, digest: str) -> bool:
        """Takes a payload out of the file and of the archive; gives whether there was one."""
        there = self.run(lambda: self._erase(digest))
        self._archiver.submit(lambda: None).result()  # what was sealed before is archived
        with self._archiving:
            archived = self.archive.erase(digest)
        return there or archived > 0

    def _erase(self, digest: str) -> bool:
        self._writer.rotate()
        self._load_all()
        prefix = prefix_of(digest)
        self._con.execute("CHECKPOINT")
        count = self._con.execute(
            "DELETE FROM payloads WHERE prefix = $1 AND coalesce(hash, sha256(body)) = $2 RETURNING prefix", [prefix, digest]
        ).fetchall()
        self._con.execute("DELETE FROM quarantine WHERE name = 'payload' AND hash = $1", [digest])
        self._con.execute("CHECKPOINT")
        for path in self._sealed.values():
            path.write_bytes(without_payload(path.read_bytes(), digest))
        if count:
            self._compact()
        self._archive_sealed()
        return bool(count)

    def _compact(self) -> None:
        """Writes the file anew, so that what was deleted is in no block of it."""
        fresh = self._scratch / "compact.duckdb"
        fresh.unlink(missing_ok=True)
        compact_to(self._con, fresh)
        self._con.close()
        self._database.close()
        wal = self._home.ledger_file.with_name(self._home.ledger_file.name + ".wal")
        wal.unlink(missing_ok=True)
        fresh.replace(self._home.ledger_file)
        self._open_file()

    def _copy(self, path: Path) -> None:
        self._load_all()
        seal_to(self._con, self._home.ledger_file, path)

    def _finish(self, last: int) -> None:
        self._sealed[last] = self._home.spool / f"{last:012d}.jsonl"
        if not self._sealed[last].exists():
            del self._sealed[last]
        self._spool = None
        self._load_all()
        if not self._trouble:
            self._con.execute("CHECKPOINT")
            self._archive_sealed()

    # --- the thread -------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._wake:
                if not self._jobs and not self._closing:
                    self._wake.wait(INTERVAL_S)
                jobs = list(self._jobs)
                self._jobs.clear()
                if self._closing and not jobs:
                    return
            if not jobs:
                self._load_quietly()
            for job, future in jobs:
                _settle(future, job)

    def _load_quietly(self) -> None:
        """Loads; an error is told once and tried again with the next turn."""
        try:
            self._load_all()
        except Exception as error:  # the end of the thread: whatever it is, a person sees it, and the thread lives on
            log.exception("the spool could not be loaded")
            self._trouble_is(str(error).splitlines()[0] if str(error) else type(error).__name__)

    def _load_all(self) -> None:
        """Loads everything that is written, and seals, checkpoints and archives where it is time."""
        if not self._database.is_there():
            self._reopen("it was deleted or exchanged while the gateway ran", rebuild=False)
        try:
            self._load_sealed()
            self._load_active()
            if self._since_checkpoint > _CHECKPOINT_BYTES or (self._sealed and self._spool is not None):
                self._con.execute("CHECKPOINT")
                self._since_checkpoint = 0
                self._archive_sealed()
        except duckdb.OperationalError as error:
            if any(word in str(error) for word in _DAMAGE):
                self._reopen(str(error), rebuild=True)
                return
            self._trouble_is(str(error).splitlines()[0])
        except (duckdb.FatalException, duckdb.InternalException) as error:
            self._reopen(str(error), rebuild=any(word in str(error) for word in _DAMAGE))
        except OSError as error:
            self._trouble_is(str(error))
        else:
            self._trouble = ""

    def _trouble_is(self, text: str) -> None:
        if text != self._trouble:
            self._trouble = text
            self._warn(f"what was recorded cannot be loaded now: {text}. It is safe in the spool and is loaded later.")

    def _load_sealed(self) -> None:
        active = self._spool.number if self._spool is not None else -1
        for number, path in sorted(self._sealed.items()):
            if number == active:
                continue
            position = self._loader.positions.get(number, 0)
            if path.exists() and path.stat().st_size > position:
                self._note(self._loader.load(number, read_segment(path, position)).upto - position)

    def _load_active(self) -> None:
        spool = self._spool
        if spool is None:
            return
        if not spool.is_there():
            self._rescue()
        at = self._writer.position()
        if at.number in self._sealed:  # pragma: no cover (a rotation between the two lines above)
            return
        for number in range(self._done.number, at.number):
            path = self._home.spool / f"{number:012d}.jsonl"
            if number > 0 and number not in self._sealed and path.exists():
                self._sealed[number] = path
        self._load_sealed()
        position = self._loader.positions.get(at.number, 0)
        if at.size > position:
            self._note(self._loader.load(at.number, spool.read(at.number, position, at.size)).upto - position)
        self._done = at

    def _rescue(self) -> None:
        """Keeps the rows of a segment whose file was taken away, and goes on in a new one."""
        number, data = self._writer.rescue()
        self._loader.load(number, data[self._loader.positions.get(number, 0) :])
        self._con.execute("CHECKPOINT")
        if self._keep_archive and data:
            self.archive.keep(number, data)
        self._warn(f"segment {number} of the spool was deleted while it was written; its {len(data)} bytes were kept")

    def _note(self, count: int) -> None:
        self._since_checkpoint += count

    def _archive_sealed(self) -> None:
        """Hands segments that a checkpoint made safe to the archiver, which then deletes them."""
        for number, path in list(self._sealed.items()):
            del self._sealed[number]
            self._archiver.submit(self._archive_one, number, path)

    def _archive_one(self, number: int, path: Path) -> None:
        try:
            with self._archiving:
                data = path.read_bytes()
                if data and self._keep_archive:
                    self.archive.keep(number, data)
                path.unlink()
        except OSError as error:
            self._warn(f"segment {number} could not be archived: {error.strerror or error}. It stays in the spool.")

    # --- opening and healing ----------------------------------------------------------------------------------------

    def _open_file(self) -> None:
        self._database: Database = open_repaired(self._home.ledger_file, self._scratch, warn=self._warn)
        self._con = self._database.own_cursor()
        self._loader = Loader(self._con, self._scratch, warn=self._warn)

    def _open(self) -> None:
        """Opens the file and loads whatever it lacks from the archive and the sealed segments."""
        self._open_file()
        spare = {number: path for number, path in self.archive.files().items() if number not in self._sealed}
        loaded = 0
        for number, path in sorted({**spare, **self._sealed}.items()):
            position = self._loader.positions.get(number, 0)
            archived = number in spare
            if (self.archive.size_of(path) if archived else path.stat().st_size) <= position:
                continue
            data = self.archive.read(path) if archived else path.read_bytes()
            if len(data) > position:
                loaded += self._loader.load(number, data[position:]).rows
                self._con.execute("CHECKPOINT")
        if loaded:
            log.info("loaded %d rows that the file did not hold", loaded)

    def _reopen(self, reason: str, *, rebuild: bool) -> None:
        log.warning("the ledger's file is opened again: %s", reason)
        self._con.close()
        self._database.close()
        path = self._home.ledger_file
        for one in (path, path.with_name(path.name + ".wal")):
            if rebuild and one.exists():
                one.rename(_free_name(one))
        self._warn(f"{path.name} was {'rebuilt' if rebuild or not path.exists() else 'opened again'}: {reason.splitlines()[0][:200]}")
        self._archiver.submit(lambda: None).result()
        self._open()
        self._done = Position(0, 0)
        self._load_sealed()
        self._load_active()


def _free_name(path: Path) -> Path:
    number = 1
    while (target := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    return target


def _settle(future: Future[Any], job: Callable[[], Any]) -> None:  # Any: what a job gives
    try:
        result = job()
    except BaseException as error:  # it is raised again where the job was asked for
        future.set_exception(error)
    else:
        future.set_result(result)
