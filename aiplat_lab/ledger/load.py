"""From the spool into the tables: a stretch of a segment and the offset behind it commit in one transaction, exactly once."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from aiplat_lab.ledger.database import Warn, quoted
from aiplat_lab.ledger.payloads import PayloadIndex
from aiplat_lab.ledger.rows import columns
from aiplat_lab.ledger.spool import Line, lines

log = logging.getLogger("aiplat_lab.ledger")
BATCH_BYTES = 1 << 20
"""About how much of a segment goes into one transaction."""
_ROW_ERRORS = (duckdb.DataError, duckdb.ProgrammingError, duckdb.IntegrityError)
"""What DuckDB raises for a row it cannot hold; other errors say that it cannot work at all now."""
_LEAST_OBJECT_BYTES = 1 << 20


def _struct(table: str) -> str:
    members = [f"{name} {kind.sql_type.removesuffix(' USING COMPRESSION zstd')}" for name, kind in columns(table).items()]
    return f"STRUCT({', '.join([*members, 'seq BIGINT', 'prev_hash VARCHAR'])})"


def _insert(table: str, name: str) -> str:
    stored = ", ".join(f"t.row.{column}" for column in columns(name))
    link = "CASE WHEN lag(t.row.seq) OVER (ORDER BY t.row.seq) = t.row.seq - 1 THEN NULL ELSE t.row.prev_hash END"
    member = "call" if table == "call_rows" else "record"
    shape = f"{{'{member}': 'VARCHAR', 'row': '{_struct(name)}'}}"
    return (
        f"INSERT INTO {table} ({', '.join(columns(name))}, seq, hash, link) SELECT {stored}, t.row.seq, t.{member}, {link} "
        f"FROM read_json($file, format = 'newline_delimited', columns = {shape}, maximum_object_size = $size) t ORDER BY t.row.seq"
    ).replace("t.row.", 't."row".')


_CALLS = _insert("call_rows", "calls")
_RECORDS = _insert("records", "records")
_PAYLOADS = (
    "INSERT INTO payloads SELECT ('0x' || left(payload, 16))::UBIGINT, body, CASE WHEN sha256(body) = payload THEN NULL ELSE payload END "
    "FROM read_json($file, format = 'newline_delimited', columns = {'payload': 'VARCHAR', 'body': 'VARCHAR'}, "
    "maximum_object_size = $size)"
)


def prefix_of(digest: str) -> int:
    """The first 8 bytes of a hash as a number."""
    return int(digest[:16], 16)


@dataclass(slots=True)
class Loaded:
    """What one call of `Loader.load` did."""

    upto: int
    """The offset behind what was loaded."""
    rows: int = 0
    bad: int = 0
    """Lines that were damaged in the file."""
    quarantined: int = 0


class Loader:
    """Loads into one open file; lives in the ledger's own thread, with that thread's connection."""

    def __init__(self, con: duckdb.DuckDBPyConnection, scratch: Path, *, warn: Warn) -> None:
        self._con = con
        self._scratch = scratch
        self._warn = warn
        self._index: PayloadIndex | None = None
        found = con.execute("SELECT segment, max(upto) FROM loads GROUP BY segment").fetchall()
        self.positions: dict[int, int] = {int(segment): int(upto) for segment, upto in found}
        """For each segment, the offset up to which it is loaded."""

    @property
    def index(self) -> PayloadIndex:
        """The payloads that the file holds."""
        if self._index is None:
            self._index = PayloadIndex.read(self._con)
        return self._index

    def load(self, segment: int, data: bytes) -> Loaded:
        """Loads the bytes of a segment that follow its position.

        Args:
            segment: the segment's number.
            data: bytes from its position on; a last piece without a line break counts as the segment's end.

        Raises:
            duckdb.Error: DuckDB cannot work now (a full disk, a damaged file); what was not committed is loaded another time.
        """
        total = Loaded(self.positions.get(segment, 0))
        start = 0
        while start < len(data):
            end = data.find(b"\n", start + BATCH_BYTES) + 1 if len(data) - start > BATCH_BYTES else len(data)
            end = end or len(data)
            found, bad = lines(data[start:end], offset=total.upto)
            total.upto += end - start
            start = end
            if bad:
                self._warn(f"{bad} damaged line(s) in segment {segment} of the spool before byte {total.upto} were left out")
            total.bad += bad
            rows, refused = self._load_lines(found, segment, total.upto, bad)
            total.rows += rows
            total.quarantined += refused
        return total

    def _load_lines(self, found: list[Line], segment: int, upto: int, bad: int) -> tuple[int, int]:
        try:
            return self._commit(found, (), segment, upto, bad), 0
        except _ROW_ERRORS as error:
            self._rollback()
            log.info("a batch of %d lines is searched for the one that cannot be stored: %s", len(found), error)
        poison: list[tuple[Line, str]] = []
        good = self._good(found, poison)
        for line, reason in poison:
            self._warn(f"a {line.name} at byte {line.offset} of segment {segment} cannot be stored and is in quarantine: {reason}")
        return self._commit(good, poison, segment, upto, bad), len(poison)

    def _good(self, found: list[Line], poison: list[tuple[Line, str]]) -> list[Line]:
        """The lines that can be stored, by halving; the others go to `poison` with the reason."""
        if not found:
            return []
        try:
            self._con.execute("BEGIN")
            self._insert(found)
        except _ROW_ERRORS as error:
            if len(found) == 1:
                poison.append((found[0], str(error).splitlines()[0][:300]))
                return []
        else:
            return found
        finally:
            self._rollback()
        middle = len(found) // 2
        return self._good(found[:middle], poison) + self._good(found[middle:], poison)

    def _commit(self, found: list[Line], poison: Sequence[tuple[Line, str]], segment: int, upto: int, bad: int) -> int:
        """Rows and offset, in one transaction; gives the number of rows of the chain."""
        rows = [line for line in found if line.name in ("call", "record")]
        refused = [(line, reason, _seq(line)) for line, reason in poison]
        count = len(rows) + sum(seq is not None for _, _, seq in refused)
        head: tuple[int, str] | tuple[None, None] = (None, None)
        if rows:
            head = (_seq(rows[-1]) or 0, rows[-1].hash)
        if refused and refused[-1][2] is not None and (head[0] is None or refused[-1][2] > head[0]):
            head = (refused[-1][2], refused[-1][0].hash)
        committed = False
        try:
            self._con.execute("BEGIN")
            fresh = self._insert(found)
            for line, reason, seq in refused:
                text = line.text.decode("utf-8", "replace")
                values = [seq, line.hash, line.name, segment, line.offset, reason, text]
                self._con.execute("INSERT INTO quarantine VALUES ($1, $2, $3, $4, $5, $6, $7)", values)
            at = "now() AT TIME ZONE 'UTC'"
            self._con.execute(f"INSERT INTO loads VALUES ($1, $2, $3, $4, $5, $6, {at})", [segment, upto, count, bad, *head])
            self._con.execute("COMMIT")
            committed = True
        finally:
            if not committed:
                self._rollback()
        if fresh:
            self.index.add(fresh)
        self.positions[segment] = upto
        return count

    def _insert(self, found: list[Line]) -> list[int]:
        """Inserts lines; gives the prefixes of the payloads that were new."""
        calls = [line.text for line in found if line.name == "call"]
        records = [line.text for line in found if line.name == "record"]
        payloads = [line for line in found if line.name == "payload"]
        prefixes = [prefix_of(line.hash) for line in payloads]
        new = self.index.missing(prefixes) if prefixes else []
        for statement, texts in (
            (_PAYLOADS, [line.text for line, wanted in zip(payloads, new, strict=True) if wanted]),
            (_CALLS, calls),
            (_RECORDS, records),
        ):
            self._insert_texts(statement, texts)
        return [prefix for prefix, wanted in zip(prefixes, new, strict=True) if wanted]

    def _insert_texts(self, statement: str, texts: list[bytes]) -> None:
        if not texts:
            return
        path = self._scratch / "load.ndjson"
        path.write_bytes(b"\n".join(texts) + b"\n")
        try:
            size = max(_LEAST_OBJECT_BYTES, 2 * max(map(len, texts)))
            self._con.execute(statement.replace("$file", quoted(path)).replace("$size", str(size)))
        finally:
            path.unlink()

    def _rollback(self) -> None:
        try:
            self._con.execute("ROLLBACK")
        except duckdb.Error:
            pass  # the failed statement ended the transaction itself, or the database; the first error says which


def _seq(line: Line) -> int | None:
    row = json.loads(line.text).get("row")
    return int(row["seq"]) if isinstance(row, dict) else None
