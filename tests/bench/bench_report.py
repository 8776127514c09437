"""A report of 20 cells over a ledger of a million calls: seconds from the command to HTML and PDF, and processor time by part.

Run: `python tests/bench/bench_report.py [--calls 1000000] [--home PATH] [--report platform-review] [--runs 5]`

The home is a demo ledger; it is made when it is missing, which takes some minutes for a million calls, and kept when `--home`
names it. A run is what a person starts: the command in a process of its own, with a fresh snapshot from the running gateway. The
processor time says what a quiet machine would need, also where this one is busy. The last check is that two runs on one
snapshot give the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from aiplat_lab.client import connect
from aiplat_lab.core.parameters import report_notebook
from aiplat_lab.core.settings import Home
from aiplat_lab.ledger.demo import build_demo

BAR_S = 8.0
FILES = ("report.json", "report.html", "report.pdf")


def children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def process_s(pid: int) -> float:
    """Processor seconds of another process so far; 0 where the system does not say."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run(home: Home, report: str, out: Path, *options: str) -> tuple[float, float, float]:
    """Wall seconds, processor seconds of the command with its kernel, and of the gateway."""
    gateway = json.loads(home.gateway_file.read_text())["pid"]
    before, theirs, began = children_s(), process_s(gateway), time.perf_counter()
    command = [sys.executable, "-m", "aiplat_lab.cli", "report", "run", report, "--home", str(home.path), "--out", str(out), *options]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began, children_s() - before, process_s(gateway) - theirs


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--home", type=Path, default=None)
    parser.add_argument("--report", default="platform-review")
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="aiplat-bench-") as name:
        folder = Path(name)
        home = Home((arguments.home or folder / "home").absolute())
        if not home.ledger_file.exists():
            build_demo(home, calls=arguments.calls, days=90)
        print(f"{connect(home).view_rows('meta')[0]['rows']:,} rows; {len(cells(arguments.report))} cells of {arguments.report}")
        found = []
        for number in range(arguments.runs):
            out = folder / f"run-{number}"
            found.append(run(home, arguments.report, out, *(["--keep-snapshot"] if number == 0 else [])))
            print(f"run {number}: {found[-1][0]:.2f} s; processor: command and kernel {found[-1][1]:.2f} s, gateway {found[-1][2]:.2f} s")
            if number:
                shutil.rmtree(out)
        digests = set()
        for number in range(2):
            out = folder / f"same-{number}"
            run(home, arguments.report, out, "--snapshot", str(folder / "run-0" / "snapshot.duckdb"))
            digests.add(tuple(hashlib.sha256((out / file).read_bytes()).hexdigest() for file in FILES))
        median = statistics.median(wall for wall, _, _ in found)
        same = "same bytes" if len(digests) == 1 else "OTHER BYTES"
        print(f"median {median:.2f} s (bar {BAR_S:.0f} s); two runs on one snapshot: {same}")
        connect(home).stop()
        return 0 if median <= BAR_S and len(digests) == 1 else 1


def cells(report: str) -> list[object]:
    """The cells of a report's notebook."""
    found: list[object] = json.loads(report_notebook(report).read_text())["cells"]
    return found


if __name__ == "__main__":
    raise SystemExit(main())
