"""What a map over rows costs beyond its calls: overhead a row, duplicates, asking again, and the display.

    python tests/bench/bench_rows.py [ROWS]

Every figure is of one run against the fault server, the kernel's own work in it; ratios are to the same calls by a plain loop of as
many threads with one client, which does none of it.
"""

from __future__ import annotations

import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from faults import FaultServer
from served import stop, write_settings

from aiplat_lab.client import connect
from aiplat_lab.core.progress import NOTEBOOK_S, Meter, Progress
from aiplat_lab.core.settings import Home
from aiplat_lab.rows import Mapped, map_rows

WORKERS = 16
TABLES = """
[models.cheap]
deployments = [{ provider = "up", model = "echo", input_usd_per_mtok = 10, output_usd_per_mtok = 100, max_output_tokens = 50 }]
"""


def main(rows: int) -> None:
    """Prints the figures."""
    home = Home(Path(tempfile.mkdtemp()) / "home").create()
    with FaultServer() as upstream, connect(home) as client:
        write_settings(home, upstream, tables=TABLES)
        client.chat("warm", model="cheap", cache="off")
        shown: list[Progress] = []

        def go(name: str, texts: list[str], **options: object) -> tuple[Mapped, float, float, int]:
            upstream.requests.clear()
            begun, cpu = time.perf_counter(), time.process_time()
            found = map_rows({"text": texts}, "Say {text}", model="cheap", workers=WORKERS, client=client, **options)  # type: ignore[arg-type]
            took, used = time.perf_counter() - begun, time.process_time() - cpu
            asked = len(upstream.requests)
            print(
                f"{name:<34} {took:6.2f} s  {1000 * took / rows:6.2f} ms a row  cpu {1000 * used / rows:5.2f} ms a row  "
                f"{asked:5d} at the model  ${found.cost_usd}"
            )
            return found, took, used, asked

        begun = time.perf_counter()
        with ThreadPoolExecutor(WORKERS) as pool:
            list(pool.map(lambda index: client.chat(f"Say loop {index}", model="cheap"), range(rows)))
        loop = time.perf_counter() - begun
        print(f"{'a plain loop of threads':<34} {loop:6.2f} s  {1000 * loop / rows:6.2f} ms a row")
        fresh = [f"fresh {index}" for index in range(rows)]
        _, took, _, asked = go("map_rows, every row new", fresh, progress=Meter(shown.append, every_s=NOTEBOOK_S))
        assert asked == rows
        states = len(shown)
        found, again, _, asked = go("asked again", fresh, progress=False)
        assert asked == 0 and found.cost_usd == 0
        found, tenth, _, asked = go("nine of ten rows the same", [f"dup {index % (rows // 10)}" for index in range(rows)], progress=False)
        assert asked == rows // 10 and found.counts()["duplicates"] == rows - asked
        _, capped, _, _ = go("with a cap, every row new", [f"cap {index}" for index in range(rows)], progress=False, max_cost=1000)
        print(f"\nto a plain loop {took / loop:.2f}x (bar 1.25x) · with a cap {capped / loop:.2f}x · asked again {again / took:.2f} of it")
        print(f"duplicates {tenth / took:.2f} of it (0.1 is the floor) · {states} states of the bar, {states / took:.1f} a second")
    stop(home)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
