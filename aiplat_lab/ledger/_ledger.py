"""The ledger: what the gateway records with and everybody reads through."""

from __future__ import annotations

import fcntl
import logging
import os
import re
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import duckdb

from aiplat_lab.core.errors import LedgerError
from aiplat_lab.core.settings import Home
from aiplat_lab.core.types import Clock, utc_now
from aiplat_lab.ledger.query import Params, arrow, check, dicts
from aiplat_lab.ledger.rows import GENESIS, Prepared, Row, prepare_call, prepare_record, row_hash
from aiplat_lab.ledger.snapshot import digest_of, export_statement, export_target, place, read_payload
from aiplat_lab.ledger.spool import HELD, SEGMENT_BYTES, Durability, Spool, begin_line, held_line, lines, payload_line, row_line, segments
from aiplat_lab.ledger.store import Position, Store
from aiplat_lab.ledger.verify import Anchor, Verification, verify
from aiplat_lab.ledger.views import find_view

log = logging.getLogger("aiplat_lab.ledger")
GATEWAY_LOST = "gateway_lost"
"""The `error_type` of a call that was begun by a gateway which ended before the call did."""
_LOST_MESSAGE = "the gateway ended while the call was under way"
_CALL_ID = re.compile(rb'"call_id":"([0-9a-f-]{36})"')
_HEX = re.compile(r"[0-9a-f]{64}")
_BULK = 2_000
_T = TypeVar("_T")


class Receipt(NamedTuple):
    """The place in the chain that a recorded row took."""

    seq: int
    hash: str


class Ledger:
    """The ledger of one home, open in one process. Every method may be called from any thread.

    Recording appends to the spool and waits for nothing else; reading loads the spool first, so everybody reads what was
    recorded before.
    """

    def __init__(self, home: Home, *, durability: Durability, clock: Clock, archive: bool) -> None:
        """Use `Ledger.open`."""
        self._home = home
        self._clock = clock
        self._pid = os.getpid()
        self._write = threading.Lock()
        self._open_calls: dict[str, bytes] = {}
        self._unwritten: dict[str, bytes] = {}
        """Of those, what the next line takes with it."""
        self._known: set[str] = set()
        self._seq, self._hash = 0, GENESIS
        self._closed = False
        self._spool: Spool | None = None
        self._watchers: list[tuple[frozenset[str], Callable[[str, Row], None]]] = []
        self.incidents: list[str] = []
        """What was found damaged or went wrong since the ledger was opened, one sentence each."""
        self._lock_fd = _lock(home.path / "ledger.lock")
        try:
            self._store = Store(home, warn=self._warn, archive=archive)
        except BaseException:
            os.close(self._lock_fd)
            raise
        try:
            self._begin(durability)
        except BaseException:
            self._store.abandon()
            os.close(self._lock_fd)
            raise
        _after_fork(self)

    @classmethod
    def open(cls, home: Home, *, durability: Durability = "process", clock: Clock = utc_now, archive: bool = True) -> Ledger:
        """Opens the ledger of a home: repairs the file, loads what earlier processes left, and starts the loading thread.

        Args:
            home: the home; made when it is missing.
            durability: `process`: a recorded row survives the end of the process; `power`: also of the machine.
            clock: what gives the time.
            archive: whether sealed segments are kept, compressed, to rebuild a lost file from.

        Raises:
            LedgerError: another process has it, the file was made by a newer version, or it cannot be written.
            ConfigError: the home cannot be written.
        """
        return cls(home.create(), durability=durability, clock=clock, archive=archive)

    def _begin(self, durability: Durability) -> None:
        lost = self._lost()
        head = self._store.head()
        self._seq, self._hash = head.seq, head.hash or GENESIS
        self._spool = Spool(self._home.spool, number=self._store.highest_segment + 1, durability=durability)
        found, self.incidents = self.incidents, []
        for text in found:
            self._warn(text)
        for row in lost:
            self._record_lost(row)
        self._store.start(self._spool, _Writer(self))

    def close(self) -> None:
        """Loads and archives everything and lets another process open the ledger; calls still under way are marked lost."""
        if self._closed or os.getpid() != self._pid:
            return
        for line in list(self._open_calls.values()):
            self._record_lost(_begun(line))
        with self._write:
            self._closed = True
            spool = self._writing()
            number = spool.number
            spool.close()
        try:
            self._store.close(number)
            self._anchor()
        finally:
            os.close(self._lock_fd)

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- recording --------------------------------------------------------------------------------------------------

    @property
    def head(self) -> Receipt:
        """The last row of the chain; `seq` is 0 when there is none."""
        with self._write:
            return Receipt(self._seq, self._hash)

    def backlog(self) -> int:
        """How many rows of the chain are in the spool and not in DuckDB yet."""
        return max(0, self.head.seq - self._store.head().seq)

    def begin(self, row: Row, *, soon: bool = False) -> None:
        """Notes that a call began. Should the process end before the call is recorded, it becomes a row `gateway_lost`.

        Args:
            row: what is known of it.
            soon: the note goes with the next line that is written, or by `flush`, which the caller sees to before anything is sent.

        Raises:
            LedgerError: the disk is full or the spool cannot be written; then the call should not be made.
        """
        prepared = prepare_call(row)
        line = begin_line(prepared.plain())
        with self._write:
            self._writing().need_room()
            if soon:
                self._unwritten[prepared.id] = line
            else:
                self._append(line)
            self._open_calls[prepared.id] = line

    def flush(self) -> None:
        """Writes the notes of calls that began and were to be written soon.

        Raises:
            LedgerError: as `begin`.
        """
        if self._unwritten:
            with self._write:
                self._append(b"")

    def hold(self, call_id: str, usd: Decimal, *, provider: str = "") -> None:
        """Notes what a call that began may cost at most. Should the process end before the call, its budgets book that.

        Args:
            call_id: the call.
            usd: the most it can cost.
            provider: the only provider it can go to, where there is only one.

        Raises:
            LedgerError: the disk is full or the spool cannot be written; then the call should not be made.
        """
        with self._write:
            begun = self._open_calls.get(call_id)
            if begun is not None:
                line = held_line(begun, usd=f"{usd:f}", provider=provider)
                self._unwritten.pop(call_id, None)
                self._append(line)
                self._open_calls[call_id] = line

    def record(self, kind: str, row: Row, *, payloads: Mapping[str, bytes] | None = None) -> Receipt:
        """Appends a row to the chain; when it returns, the row is acknowledged.

        Args:
            kind: `call`, or the kind of another record (`key`, `budget_alert`, …).
            row: for a call, values by the names of `CALL_COLUMNS`; for another record, anything that JSON can hold, with
                `id` and `at` where it has them.
            payloads: JSON documents by their SHA-256 in hexadecimal; those that are known already are not written again.

        Raises:
            LedgerError: nothing was recorded: an unknown column, a value that does not fit, a full disk, a closed ledger.
        """
        prepared = prepare_call(row) if kind == "call" else prepare_record(kind, row, at=self._clock())
        with self._write:
            before = self._payload_lines(payloads) if payloads else ()
            line, receipt = self._chained(prepared)
            if kind == "call":
                self._unwritten.pop(prepared.id, None)
            self._append(b"".join([*(text for _, text in before), line]) if before else line)
            self._take(receipt, (digest for digest, _ in before))
            if kind == "call":
                self._open_calls.pop(prepared.id, None)
            for kinds, told in self._watchers:
                if kind in kinds:
                    told(kind, row)
            spool = self._writing()
            if spool.size > SEGMENT_BYTES:
                self._next_segment()
        spool.sync()
        return receipt

    def watch(self, kinds: Iterable[str], told: Callable[[str, Row], None]) -> None:
        """Tells of every record of these kinds from now on, in the order of the chain, as soon as it stands there.

        Args:
            kinds: kinds of records; calls are not told.
            told: takes the kind and the row. It is told by whichever thread records, while others wait to write: it is quick, does
                not raise, and leaves the ledger alone.
        """
        self._watchers.append((frozenset(kinds), told))

    def load_rows(self, rows: Iterable[tuple[Row, Mapping[str, bytes]]], *, demo: bool = False) -> int:
        """Records many calls, each with its payloads, through the same chain, and loads them; gives their number.

        Args:
            rows: a row as `record` takes it and its payloads.
            demo: marks the ledger as a demonstration, for good.

        Raises:
            LedgerError: as `record`; rows before the wrong one may be recorded.
        """
        if demo:
            self.record("demo", {"demo": True})
        count = 0
        batch: list[tuple[Row, Mapping[str, bytes]]] = []
        for pair in rows:
            batch.append(pair)
            if len(batch) >= _BULK:
                count += self._record_batch(batch)
                batch = []
        count += self._record_batch(batch)
        self._store.catch_up()
        return count

    def _record_batch(self, batch: Sequence[tuple[Row, Mapping[str, bytes]]]) -> int:
        with self._write:
            parts: list[bytes] = []
            new: list[str] = []
            before = Receipt(self._seq, self._hash)
            try:
                for row, payloads in batch:
                    known = self._payload_lines(payloads)
                    parts += [text for _, text in known]
                    new += [digest for digest, _ in known]
                    self._known.update(digest for digest, _ in known)
                    line, receipt = self._chained(prepare_call(row))
                    self._seq, self._hash = receipt
                    parts.append(line)
                self._append(b"".join(parts))
            except LedgerError:
                self._seq, self._hash = before
                self._known.difference_update(new)
                raise
            if self._writing().size > SEGMENT_BYTES:
                self._next_segment()
        self._writing().sync()
        return len(batch)

    def _chained(self, row: Prepared) -> tuple[bytes, Receipt]:
        text = row.chained(self._seq + 1, self._hash)
        receipt = Receipt(self._seq + 1, row_hash(text))
        return row_line(row.kind, receipt.hash, text), receipt

    def _payload_lines(self, payloads: Mapping[str, bytes]) -> list[tuple[str, bytes]]:
        fresh = []
        for digest, body in payloads.items():
            if digest not in self._known:
                if not _HEX.fullmatch(digest):
                    raise LedgerError(f"a payload stands under its SHA-256 in lower-case hexadecimal, not under {digest!r}")
                fresh.append((digest, payload_line(digest, body)))
        return fresh

    def _take(self, receipt: Receipt, digests: Iterable[str]) -> None:
        self._seq, self._hash = receipt
        self._known.update(digests)

    def _append(self, data: bytes) -> None:
        if not self._unwritten:
            self._writing().append(data)
            return
        self._writing().append(b"".join([*self._unwritten.values(), data]))
        self._unwritten.clear()

    def _writing(self) -> Spool:
        if self._spool is None or (self._closed and self._spool.closed):
            raise LedgerError("the ledger is closed")
        return self._spool

    def _next_segment(self) -> None:
        """Under the lock: seals the segment; calls under way are noted again in the next one."""
        spool = self._writing()
        try:
            spool.rotate()
        except LedgerError as error:
            log.warning("the segment grows on: %s", error)
            return
        self._known.clear()
        self._unwritten.clear()
        if self._open_calls:
            spool.append(b"".join(self._open_calls.values()))

    def _record_lost(self, row: dict[str, Any]) -> None:  # Any: canonical values
        ended = max(self._clock(), datetime.fromisoformat(row["started_at"]))
        known = {key: value for key, value in row.items() if key not in ("kind", HELD)}
        if HELD in row:
            self.record("budget_booked", {"id": row["call_id"], "usd": row[HELD]})
        self.record("call", {**known, "status": "error", "error_type": GATEWAY_LOST, "error_message": _LOST_MESSAGE, "ended_at": ended})

    def _lost(self) -> list[dict[str, Any]]:  # Any: canonical values
        """The calls that earlier processes began and never recorded."""
        begun: dict[str, bytes] = {}
        for path in segments(self._home.spool).values():
            for line in lines(path.read_bytes())[0]:
                found = _CALL_ID.search(line.text) if line.name in ("begin", "call") else None
                if found and line.name == "begin":
                    begun[found[1].decode()] = line.text
                elif found:
                    begun.pop(found[1].decode(), None)
        if not begun:
            return []
        with self._store.cursor() as con:
            known = con.execute("SELECT call_id::VARCHAR FROM call_rows WHERE call_id IN (SELECT unnest($1::UUID[]))", [list(begun)])
            done = {row[0] for row in known.fetchall()}
        return [_begun(line) for call_id, line in begun.items() if call_id not in done]

    def _warn(self, text: str) -> None:
        log.warning("%s", text)
        self.incidents.append(text)
        if self._spool is not None and not self._closed:
            try:
                self.record("incident", {"text": text})
            except LedgerError:
                pass  # it stands in `incidents` and in the log

    # --- reading ----------------------------------------------------------------------------------------------------

    def query(self, sql: str, params: Params = None, *, limit: int | None = None) -> bytes:
        """The result of one read-only statement as an Arrow IPC stream, with everything recorded before in it.

        Args:
            sql: one SELECT, DESCRIBE, SHOW, SUMMARIZE or EXPLAIN.
            params: values for `$1`, `$2`, … or `$name`.
            limit: at most so many rows.

        Raises:
            LedgerError: the statement is not read-only, DuckDB refuses it, or it takes longer than a minute.
        """

        def ask(con: duckdb.DuckDBPyConnection) -> bytes:
            check(con, sql)
            return arrow(con, sql, params, limit=limit)

        return self._read(ask)

    def rows(self, sql: str, params: Params = None) -> list[dict[str, Any]]:
        """As `query`, as Python values: aware times, Decimal, ids as text.

        Raises:
            LedgerError: as `query`.
        """

        def ask(con: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
            check(con, sql)
            return dicts(con, sql, params)

        return self._read(ask)

    def view(self, name: str, filters: Mapping[str, Any] | None = None) -> bytes:
        """The rows of a named view as an Arrow IPC stream.

        Raises:
            LedgerError: there is no such view or filter.
        """
        asked = find_view(name).query(name, filters or {})
        return self._read(lambda con: arrow(con, asked.sql, asked.params))

    def view_rows(self, name: str, filters: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """The rows of a named view as Python values.

        Raises:
            LedgerError: there is no such view or filter.
        """
        asked = find_view(name).query(name, filters or {})
        return self._read(lambda con: dicts(con, asked.sql, asked.params))

    def payload(self, digest: str) -> bytes | None:
        """The payload of that hash, or None when there is none or it was erased."""
        return self._read(lambda con: read_payload(con, digest))

    def verify(self, *, anchors: Iterable[Anchor] = ()) -> Verification:
        """Checks that no row was changed, removed or moved, against the chain and the hashes noted beside the file.

        Args:
            anchors: further hashes that the chain must still hold, for example from a report.
        """
        noted = [*_read_anchors(self._anchor_file), *anchors]
        return self._read(lambda con: verify(con, anchors=noted))

    def _read(self, ask: Callable[[duckdb.DuckDBPyConnection], _T]) -> _T:
        """Asks with everything loaded; a damaged file is healed, and asked once more."""
        if os.getpid() != self._pid:
            raise LedgerError(f"this ledger belongs to process {self._pid}; a forked child cannot read it. Use a client instead.")
        if self._closed:
            raise LedgerError("the ledger is closed")
        self._store.catch_up()
        try:
            with self._store.cursor() as con:
                return ask(con)
        except duckdb.Error as error:
            self._store.heal(error)
        try:
            with self._store.cursor() as con:
                return ask(con)
        except duckdb.Error as error:
            raise LedgerError(f"the ledger's file cannot be read: {str(error).splitlines()[0]}") from None

    # --- copies and erasure -----------------------------------------------------------------------------------------

    def snapshot(self, path: Path | str) -> dict[str, Any]:
        """Writes everything into a new sealed file, and says what it holds: `sha256`, `rows`, `head_seq`, `head_hash`, `until`.

        Raises:
            LedgerError: the file exists or cannot be written.
        """
        target = Path(path)
        _refuse_existing(target)
        made = self._scratch("snapshot.duckdb")
        head = self.head
        self._store_job(lambda: self._store.copy(made), target)
        self._anchor()
        meta = self._sealed_meta(made)
        digest = digest_of(made)
        place(made, target)
        return {"path": str(target), "sha256": digest, **meta, "until": self._clock(), "rows_before": head.seq}

    def _sealed_meta(self, made: Path) -> dict[str, Any]:
        from aiplat_lab.ledger.snapshot import Snapshot

        copy = Snapshot(made)
        try:
            return {name: copy.meta[name] for name in ("rows", "head_seq", "head_hash")}
        finally:
            copy.close()

    def export(
        self,
        path: Path | str,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        *,
        format: str = "parquet",
        filters: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Writes calls to a file, and says what it holds: `path`, `rows`, `sha256`; for FOCUS also the calls of unknown cost left out.

        Args:
            path: a file that does not exist, or a folder, in which `calls.parquet` or `focus.parquet` is made.
            since: the first time, included.
            until: the last time, not included.
            format: `parquet`: a row for each call; `focus`: a row for each charge in FOCUS columns, as CSV where `path` ends so.
            filters: further filters, as a view takes them.

        Raises:
            LedgerError: the file exists or cannot be written, or a filter is wrong.
        """
        target = export_target(Path(path), format)
        _refuse_existing(target)
        made = self._scratch("export.tmp")
        wanted = {**(filters or {}), "since": since, "until": until}
        asked = export_statement(wanted, made, format, csv=target.suffix.lower() == ".csv")

        def write(con: duckdb.DuckDBPyConnection) -> int:
            row = con.execute(asked.sql, asked.params).fetchone()
            return int(row[0]) if row else 0

        rows = self._store_job(lambda: self._read(write), target)
        digest = digest_of(made)
        place(made, target)
        left_out = {"unpriced_calls": self.view_rows("totals", wanted)[0]["unpriced_calls"]} if format == "focus" else {}
        return {"path": str(target), "rows": rows, "sha256": digest, **left_out}

    def erase_payload(self, digest: str) -> bool:
        """Takes a payload out of the file, the spool and the archive; the chain stays valid. Gives whether there was one.

        Snapshots and exports made before keep it. The erasure itself becomes a record.

        Raises:
            LedgerError: the disk is full, or the file cannot be written.
        """
        if not _HEX.fullmatch(digest):
            raise LedgerError(f"a payload stands under its SHA-256 in lower-case hexadecimal, not under {digest!r}")
        there = self._store.erase(digest)
        if there:
            self.record("payload_erased", {"id": digest})
        return there

    def _store_job(self, job: Callable[[], _T], target: Path) -> _T:
        try:
            return job()
        except duckdb.Error as error:
            raise LedgerError(f"{target} cannot be made: {str(error).splitlines()[0]}") from None

    def _scratch(self, name: str) -> Path:
        folder = self._home.path / "tmp"
        folder.mkdir(exist_ok=True, mode=0o700)
        return folder / f"{os.urandom(4).hex()}-{name}"

    # --- anchors ----------------------------------------------------------------------------------------------------

    @property
    def _anchor_file(self) -> Path:
        return self._home.path / "ledger.anchors"

    def _anchor(self) -> None:
        """Notes the head of the chain beside the file."""
        seq, digest = self._seq, self._hash
        noted = _read_anchors(self._anchor_file)
        if seq == 0 or (noted and noted[-1].seq == seq):
            return
        at = self._clock().astimezone(UTC).isoformat(timespec="seconds")
        try:
            with self._anchor_file.open("a", encoding="ascii") as file:
                file.write(f"{seq} {digest} {at}\n")
        except OSError as error:
            log.warning("the head of the chain could not be noted: %s", error)


class _Writer:
    """What the store may ask of the ledger's writing side."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def position(self) -> Position:
        """As `Writer.position`."""
        with self._ledger._write:
            spool = self._ledger._writing()
            return Position(spool.number, spool.size)

    def rotate(self) -> None:
        """As `Writer.rotate`."""
        with self._ledger._write:
            self._ledger._next_segment()

    def rescue(self) -> tuple[int, bytes]:
        """As `Writer.rescue`."""
        with self._ledger._write:
            spool = self._ledger._writing()
            number, data = spool.number, spool.read(spool.number, 0, spool.size)
            self._ledger._next_segment()
            return number, data


def _read_anchors(path: Path) -> list[Anchor]:
    try:
        text = path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return []
    found = (line.split() for line in text.splitlines())
    return [Anchor(int(words[0]), words[1]) for words in found if len(words) >= 2 and words[0].isdecimal() and _HEX.fullmatch(words[1])]


def _begun(line: bytes) -> dict[str, Any]:  # Any: canonical values
    import json

    found: dict[str, Any] = json.loads(line)["begin"]
    return found


def _refuse_existing(target: Path) -> None:
    if target.exists():
        raise LedgerError(f"{target} is there already; name a new file")


def _lock(path: Path) -> int:
    """Takes the lock that lets one process have the ledger."""
    fd = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.read(fd, 32).decode("ascii", "replace").strip()
        os.close(fd)
        raise LedgerError(
            f"the ledger in {path.parent} is open in process {holder or '?'}; use its gateway, or stop it with `aiplat stop`"
        ) from None
    os.ftruncate(fd, 0)
    os.pwrite(fd, str(os.getpid()).encode(), 0)
    return fd


def _after_fork(ledger: Ledger) -> None:
    """Lets a forked child go of the lock, so that it does not keep the ledger when its parent is gone."""
    known = weakref.ref(ledger)

    def release() -> None:
        mine = known()
        if mine is not None and not mine._closed:
            os.close(mine._lock_fd)
            mine._closed = True

    os.register_at_fork(after_in_child=release)
