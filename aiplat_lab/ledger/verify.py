"""Proof that no row was changed, removed or moved: every hash is computed again from what the tables hold.

DuckDB makes the canonical text of the rows and hashes it; a row for which that differs is computed once more by the same
function that wrote it, so that a difference in how two JSON writers escape a character is never called a broken chain.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from aiplat_lab.ledger.rows import GENESIS, Kind, columns, prepare_call, row_hash, stored_record
from aiplat_lab.ledger.spool import row_of

_STEP = 500_000
"""Rows that are checked at once: several row groups, which DuckDB shares among its threads."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What a check of the chain found."""

    ok: bool
    rows: int
    """How many rows were checked."""
    first_bad_seq: int | None = None
    """The first row that is missing or not as it was written."""
    reason: str = ""
    """What is wrong there, in words; empty when all is well."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """A row's hash that was noted outside of the tables."""

    seq: int
    hash: str


_HEX = re.compile(r"[0-9a-f]{64}")


def read_anchors(path: Path) -> list[Anchor]:
    """The anchors in a file, one a line; none where there is no file."""
    try:
        text = path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return []
    found = (line.split() for line in text.splitlines())
    return [Anchor(int(words[0]), words[1]) for words in found if len(words) >= 2 and words[0].isdecimal() and _HEX.fullmatch(words[1])]


def _text_of(kinds: dict[str, Kind], *, call: bool) -> str:
    parts = {name: kind.as_json.format(name) for name, kind in kinds.items()}
    parts |= {"seq": "seq::VARCHAR", "prev_hash": "'\"' || prev || '\"'"}
    if call:
        parts["kind"] = "'\"call\"'"
    members = ", ".join(f"'\"{name}\":' || {parts[name]}" for name in sorted(parts))
    return f"'{{' || concat_ws(',', {members}) || '}}'"


def _bad_rows(table: str, name: str) -> str:
    # The row before is joined rather than taken from a window, which would sort whole rows on one thread.
    return (
        f"WITH rows AS (SELECT r.*, coalesce(r.link, p.hash) AS prev FROM {table} r LEFT JOIN (SELECT seq + 1 AS seq, hash FROM {table} "
        "WHERE seq BETWEEN $1 - 1 AND $2 - 1) p USING (seq) WHERE r.seq BETWEEN $1 AND $2) SELECT seq, prev FROM rows WHERE "
        f"prev IS NULL OR sha256({_text_of(columns(name), call=name == 'calls')}) IS DISTINCT FROM hash ORDER BY seq LIMIT 1000"
    )


_BAD_CALLS = _bad_rows("call_rows", "calls")
_BAD_RECORDS = _bad_rows("records", "records")
_CHANGED = "row {seq} is not as it was written"


def verify(con: duckdb.DuckDBPyConnection, *, anchors: Iterable[Anchor] = ()) -> Verification:
    """Checks the whole chain.

    Args:
        con: a connection to a ledger's file or a snapshot.
        anchors: hashes noted elsewhere that the chain must still hold.

    Raises:
        duckdb.Error: the file cannot be read.
    """
    con.execute("BEGIN TRANSACTION READ ONLY")  # what is loaded meanwhile must not look like rows that are missing
    try:
        return _verify(con, anchors)
    finally:
        con.execute("ROLLBACK")


def _verify(con: duckdb.DuckDBPyConnection, anchors: Iterable[Anchor]) -> Verification:
    rows, last = _pair(con.execute("SELECT count(*), coalesce(max(seq), 0) FROM chain"))
    first = _first_bad(con, last)
    if first is not None:
        return Verification(ok=False, rows=rows, first_bad_seq=first[0], reason=first[1])
    noted = [Anchor(int(seq), str(digest)) for seq, digest in con.execute(_OWN_ANCHORS).fetchall()]
    for anchor in sorted([*noted, *anchors], key=lambda one: one.seq):
        if anchor.seq > last:
            reason = f"the rows {last + 1} to {anchor.seq} are missing at the end"
            return Verification(ok=False, rows=rows, first_bad_seq=last + 1, reason=reason)
    missed = _unlike(con, [*noted, *anchors])
    if missed is not None:
        reason = f"row {missed} has another hash than the one that was noted when it was written: the rows up to it were written anew"
        return Verification(ok=False, rows=rows, first_bad_seq=missed, reason=reason)
    return Verification(ok=True, rows=rows)


_OWN_ANCHORS = (
    "SELECT head_seq, head_hash FROM loads WHERE head_seq IS NOT NULL UNION ALL SELECT head_seq, head_hash FROM seal WHERE head_seq > 0"
)


def _first_bad(con: duckdb.DuckDBPyConnection, last: int) -> tuple[int, str] | None:
    for start in range(1, last + 1, _STEP):
        end = min(start + _STEP - 1, last)
        found = [bad for bad in (_gap(con, start, end), _changed(con, start, end)) if bad is not None]
        if found:
            return min(found)
    return None


def _gap(con: duckdb.DuckDBPyConnection, start: int, end: int) -> tuple[int, str] | None:
    """The first number that stands for no row, or for two."""
    row = con.execute(
        "WITH c AS (SELECT seq, count(*) AS times FROM chain WHERE seq BETWEEN $1 AND $2 GROUP BY seq) "
        "SELECT min(n) FROM range($1::BIGINT, $2::BIGINT + 1) r(n) LEFT JOIN c ON c.seq = n WHERE times IS DISTINCT FROM 1",
        [start, end],
    ).fetchone()
    if row is None or row[0] is None:
        return None
    seq = int(row[0])
    twice = _pair(con.execute("SELECT count(*), 0 FROM chain WHERE seq = $1", [seq]))[0]
    return seq, f"row {seq} stands there {twice} times" if twice else f"row {seq} is missing"


def _changed(con: duckdb.DuckDBPyConnection, start: int, end: int) -> tuple[int, str] | None:
    """The first row whose content, place or predecessor is another than its hash says."""
    bad: list[tuple[int, str]] = []
    linked = con.execute(
        "SELECT min(r.seq) FROM (SELECT seq, link FROM call_rows WHERE link IS NOT NULL UNION ALL "
        "SELECT seq, link FROM records WHERE link IS NOT NULL) r LEFT JOIN chain p ON p.seq = r.seq - 1 "
        f"WHERE r.seq BETWEEN $1 AND $2 AND coalesce(p.hash, CASE WHEN r.seq = 1 THEN '{GENESIS}' END) IS DISTINCT FROM r.link",
        [start, end],
    ).fetchone()
    if linked is not None and linked[0] is not None:
        bad.append((int(linked[0]), f"row {linked[0]} does not follow the row before it"))
    for statement, table in ((_BAD_CALLS, "call_rows"), (_BAD_RECORDS, "records")):
        for seq, prev in con.execute(statement, [start, end]).fetchall():
            if prev is None or not _holds(con, table, int(seq), str(prev)):
                bad.append((int(seq), _CHANGED.format(seq=seq)))
                break
    bad += [(seq, _CHANGED.format(seq=seq)) for seq in _bad_quarantine(con, start, end)]
    return min(bad) if bad else None


def _holds(con: duckdb.DuckDBPyConnection, table: str, seq: int, prev: str) -> bool:
    """Whether one row's hash is right, computed by the function that wrote it."""
    found = con.execute(f"SELECT * EXCLUDE (seq, link) FROM {table} WHERE seq = $1", [seq])
    names = [column[0] for column in found.description or ()]
    row = found.fetchone()
    if row is None:
        return False
    values: dict[str, Any] = {name: _aware(value) for name, value in zip(names, row, strict=True) if value is not None}
    digest = str(values.pop("hash", ""))
    if table == "call_rows":
        prepared = prepare_call(values)
    else:
        prepared = stored_record(values["kind"], recorded_at=values["recorded_at"], id=values.get("id"), data=values["data"])
    return row_hash(prepared.chained(seq, prev)) == digest


def _aware(value: Any) -> Any:  # Any: a value of DuckDB
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) else value


def _bad_quarantine(con: duckdb.DuckDBPyConnection, start: int, end: int) -> list[int]:
    found = con.execute(
        "SELECT q.seq, q.hash, q.line, p.hash FROM quarantine q LEFT JOIN chain p ON p.seq = q.seq - 1 WHERE q.seq BETWEEN $1 AND $2",
        [start, end],
    ).fetchall()
    bad = []
    for seq, digest, line, before in found:
        text = row_of(line.encode())
        row = json.loads(text)
        if row["seq"] != seq or row["prev_hash"] != (before or GENESIS) or row_hash(text) != digest:
            bad.append(int(seq))
    return bad


def _unlike(con: duckdb.DuckDBPyConnection, anchors: list[Anchor]) -> int | None:
    """The first anchor whose row has another hash."""
    wanted: dict[int, str] = {}
    for anchor in anchors:
        if wanted.setdefault(anchor.seq, anchor.hash) != anchor.hash:
            return anchor.seq
    seqs = sorted(seq for seq in wanted if seq > 0)
    for start in range(0, len(seqs), _STEP):
        part = seqs[start : start + _STEP]
        found = con.execute("SELECT seq, hash FROM chain WHERE seq IN (SELECT unnest($1::BIGINT[]))", [part]).fetchall()
        have = {int(seq): digest for seq, digest in found}
        for seq in part:
            if have.get(seq) != wanted[seq]:
                return seq
    return None


def _pair(result: duckdb.DuckDBPyConnection) -> tuple[int, int]:
    row = result.fetchone()
    return (int(row[0]), int(row[1])) if row else (0, 0)
