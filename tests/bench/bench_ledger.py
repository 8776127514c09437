"""Measures the ledger: `python tests/bench/bench_ledger.py [--calls 1000000] [--payload-calls 100000] [--kills 0]`.

Prints the time of an acknowledgement, calls a second into DuckDB with 3 KB of payloads, bytes a call, the time of each view over
`--calls` calls, and the time of a check of the whole chain. Times depend on the machine; bytes do not.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2]))

from ledgerkit import a_call, many_calls

from aiplat_lab.core.settings import Home
from aiplat_lab.ledger import VIEWS, Ledger
from aiplat_lab.ledger.spool import Spool


def say(what: str, value: str) -> None:
    print(f"{what:<58} {value}", flush=True)


def acks(folder: Path, *, durability: str, count: int) -> None:
    rows = list(islice(many_calls(count, payloads=True), count))
    with Ledger.open(Home(folder), durability=durability) as ledger:  # type: ignore[arg-type]
        times = []
        for row, payloads in rows:
            begin = time.perf_counter()
            ledger.record("call", row, payloads=payloads)
            times.append(time.perf_counter() - begin)
        times.sort()
        p50, p99 = times[count // 2] * 1e6, times[int(count * 0.99)] * 1e6
        say(f"ack of a call with 3 KB, {durability}, p50 / p99", f"{p50:,.0f} / {p99:,.0f} µs")
        times = []
        for row, _ in rows:
            begin = time.perf_counter()
            ledger.record("call", row)
            times.append(time.perf_counter() - begin)
        times.sort()
        p50, p99 = times[count // 2] * 1e6, times[int(count * 0.99)] * 1e6
        say(f"ack of a call without payload, {durability}, p50 / p99", f"{p50:,.0f} / {p99:,.0f} µs")


def loading(folder: Path, count: int) -> None:
    """Rows and payloads stand in the spool, and a new process loads them."""
    home = Home(folder).create()
    rows = list(many_calls(count, payloads=True))
    raw = sum(len(body) for _, payloads in rows for body in payloads.values()) / count
    ledger = Ledger.open(home)
    ledger._store.catch_up = lambda: None  # type: ignore[method-assign]  # nothing is loaded while the spool is written
    ledger._store._load_quietly = lambda: None  # type: ignore[method-assign]
    begin = time.perf_counter()
    ledger.load_rows(iter(rows))
    say(f"{count:,} calls written to the spool, {raw:,.0f} B of payloads each", f"{count / (time.perf_counter() - begin):,.0f} calls/s")
    begin = time.perf_counter()
    ledger._store.run(ledger._store._load_all)
    took = time.perf_counter() - begin
    say("loaded from the spool into DuckDB (bar: 5,000)", f"{count / took:,.0f} calls/s")
    begin = time.perf_counter()
    assert ledger.view_rows("totals")[0]["calls"] == count
    ledger.close()
    sizes(home, count)


def sizes(home: Home, count: int) -> None:
    import duckdb

    whole = home.ledger_file.stat().st_size
    con = duckdb.connect(":memory:")
    con.execute(f"ATTACH '{home.ledger_file}' AS l (READ_ONLY)")
    parts = {}
    for table, columns in {
        "metadata": "FROM l.call_rows SELECT * EXCLUDE (request_hash, response_hash)",
        "names of payloads": "FROM l.call_rows SELECT request_hash, response_hash",
        "payloads": "FROM l.payloads SELECT *",
    }.items():
        path = home.path / f"{table}.duckdb"
        con.execute(f"ATTACH '{path}' AS part (STORAGE_VERSION 'v1.5.0')")
        con.execute("PRAGMA force_compression = 'auto'")
        named = con.execute(f"DESCRIBE {columns}").fetchall()
        zstd = {"hash", "link", "request_hash", "response_hash", "body"}
        shape = ", ".join(f'"{c[0]}" {c[1]}{" USING COMPRESSION zstd" if c[0] in zstd and c[1] == "VARCHAR" else ""}' for c in named)
        con.execute(f"CREATE TABLE part.t ({shape})")
        con.execute(f"INSERT INTO part.t {columns}")
        con.execute("DETACH part")
        parts[table] = path.stat().st_size / count
        path.unlink()
    con.close()
    say("bytes a call: metadata with the chain (bar: 100)", f"{parts['metadata']:,.0f} B")
    say("bytes a call: hashes that name the payloads", f"{parts['names of payloads']:,.0f} B")
    say("bytes a call: payloads, compressed", f"{parts['payloads']:,.0f} B")
    say("bytes a call in all: the file (bar: 700)", f"{whole / count:,.0f} B")
    archive = sum(path.stat().st_size for path in (home.path / "archive").iterdir())
    say("bytes a call: the archive beside it", f"{archive / count:,.0f} B")


def views(folder: Path, count: int) -> None:
    home = Home(folder)
    with Ledger.open(home, archive=False) as ledger:
        begin = time.perf_counter()
        ledger.load_rows(many_calls(count), demo=True)
        say(f"{count:,} calls made, chained and loaded", f"{time.perf_counter() - begin:,.1f} s")
        last = ledger.view_rows("recent_calls", {"limit": 1})[0]
        for name, view in VIEWS.items():
            for label, filters in (
                (" (all)", {}),
                (" (30 days, one team)", {"since": "2026-09-01", "until": "2026-10-01", "team": "risk"}),
            ):
                given = {**({"call_id": last["call_id"]} if view.needs else {}), **(filters if view.source else {})}
                if label != " (all)" and (not view.source or view.needs):
                    continue
                if name == "cache_index":
                    given["limit"] = 100
                times = []
                for _ in range(5):
                    begin = time.perf_counter()
                    ledger.view(name, given)
                    times.append(time.perf_counter() - begin)
                say(f"view {name}{label}", f"{statistics.median(times) * 1000:,.0f} ms")
        begin = time.perf_counter()
        found = ledger.verify()
        assert found.ok, found
        say(f"check of {found.rows:,} rows (bar: 60 s)", f"{time.perf_counter() - begin:,.1f} s")
        begin = time.perf_counter()
        made = ledger.snapshot(folder / "snapshot.duckdb")
        say(f"sealed snapshot of {made['rows']:,} rows", f"{time.perf_counter() - begin:,.1f} s")


def disk(folder: Path) -> None:
    """The disk's own promise, for scale."""
    folder.mkdir()
    spool = Spool(folder, number=1, durability="power")
    times = []
    for _ in range(300):
        spool.append(b"x" * 3000 + b"\n")
        begin = time.perf_counter()
        spool.sync()
        times.append(time.perf_counter() - begin)
    spool.close()
    times.sort()
    say("fdatasync of 3 KB, p50 / p99", f"{times[150] * 1e6:,.0f} / {times[297] * 1e6:,.0f} µs")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--payload-calls", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=0)
    given = parser.parse_args()
    a_call()
    with tempfile.TemporaryDirectory() as temp:
        work = Path(temp)
        if given.kills:
            from ledger.killing import kill_rounds

            result = kill_rounds(work / "kill", rounds=given.kills)
            counts = f"{result.acked:,} / {result.lost} / {result.doubled} / {result.broken}"
            say(f"{given.kills} kills: acknowledged / lost / doubled / broken chains", counts)
            return
        acks(work / "acks", durability="process", count=5_000)
        disk(work / "disk")
        acks(work / "power", durability="power", count=300)
        if given.payload_calls:
            loading(work / "loading", given.payload_calls)
        if given.calls:
            views(work / "views", given.calls)


if __name__ == "__main__":
    main()
