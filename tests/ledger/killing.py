"""A process that records and is killed at any moment, again and again; then whatever it was told is kept must be there, once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from aiplat_lab.core.settings import Home  # noqa: E402 (the path stands before it)
from aiplat_lab.ledger import Ledger, _ledger  # noqa: E402


@dataclass
class Kills:
    """What the rounds came to."""

    acked: int = 0
    lost: int = 0
    doubled: int = 0
    broken: int = 0


def writer(folder: str, seed: int) -> None:
    """Records without end from two threads and writes each receipt out; a third reads, which loads and checkpoints."""
    from ledgerkit import many_calls

    _ledger.SEGMENT_BYTES = 60_000
    ledger = Ledger.open(Home(Path(folder)))

    def record(number: int) -> None:
        for row, payloads in many_calls(10**6, seed=seed * 10 + number, payloads=True):
            ledger.begin({"call_id": row["call_id"], "started_at": row["started_at"], "team": row["team"]})
            receipt = ledger.record("call", row, payloads=payloads)
            os.write(1, f"{receipt.seq} {receipt.hash} {row['call_id']}\n".encode())

    for number in range(2):
        threading.Thread(target=record, args=(number,), daemon=True).start()
    rng = random.Random(seed)
    while True:
        ledger.view_rows("totals")
        time.sleep(rng.random() * 0.05)


def kill_rounds(folder: Path, *, rounds: int, seed: int = 7, deadline_s: float = 3600.0) -> Kills:
    """Kills a writer `rounds` times and checks the ledger after each."""
    rng = random.Random(seed)
    result = Kills()
    acked: dict[str, tuple[int, str]] = {}
    begin = time.monotonic()
    for number in range(rounds):
        if time.monotonic() - begin > deadline_s:
            break
        child = subprocess.Popen([sys.executable, __file__, str(folder), str(seed * 1000 + number)], stdout=subprocess.PIPE)
        assert child.stdout is not None
        first = child.stdout.readline()
        threading.Timer(rng.random() * 0.4, os.kill, (child.pid, signal.SIGKILL)).start()
        for line in [first, *child.stdout]:
            words = line.decode().split()
            if line.endswith(b"\n") and len(words) == 3:
                acked[words[2]] = (int(words[0]), words[1])
        child.wait()
        child.stdout.close()
        _check(folder, acked, result)
    result.acked = len(acked)
    return result


def _check(folder: Path, acked: dict[str, tuple[int, str]], result: Kills) -> None:
    with Ledger.open(Home(folder)) as ledger:
        found = ledger.rows("SELECT call_id::VARCHAR AS id, seq, hash, status, error_type FROM calls ORDER BY seq")
        proof = ledger.verify()
        orphans = ledger.rows("SELECT count(*) AS n FROM call_rows WHERE response_hash IS NOT NULL AND payload(response_hash) IS NULL")
    by_id: dict[str, list[tuple[int, str]]] = {}
    for row in found:
        by_id.setdefault(row["id"], []).append((row["seq"], row["hash"]))
    result.lost += sum(1 for call_id, receipt in acked.items() if receipt not in by_id.get(call_id, []))
    result.doubled += sum(1 for rows in by_id.values() if len(rows) != 1)
    result.broken += not proof.ok
    result.lost += orphans[0]["n"] if orphans else 0


if __name__ == "__main__":
    writer(sys.argv[1], int(sys.argv[2]))
