"""Report runs that fail, each in its own way, through a real gateway; and what they leave behind."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import nbformat
from served import stop, wait_for

from aiplat_lab.client import Client, connect
from aiplat_lab.core.errors import GatewayUnavailable
from aiplat_lab.core.settings import Home
from aiplat_lab.ledger import Ledger
from aiplat_lab.observe import schedule_runs

PERIOD = 'snapshot = ""\nsince = "7d"\nuntil = "now"\nout = ""'
FINISHED = """
from aiplat_lab.reports import Report
report = Report(name="mine", title="Mine", snapshot=snapshot, since=since, until=until, out=out)
report.summary("All is well.")
report.finish()
"""
KILL = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"
HANG = "import signal, time\nsignal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})\ntime.sleep(600)"
ERROR = "raise ValueError('the data is not there')"
FLOOD = "while True: print('x' * 10_000, flush=True)"
FILL = """
import errno, os
with open({filler!r}, "wb", buffering=0) as file:
    for size in (65_536, 4_096, 512):
        try:
            while True: file.write(b"x" * size)
        except OSError as error:
            assert error.errno == errno.ENOSPC
"""
STATUS = {"missed": "missed", "kill": "failed", "hang": "timeout", "error": "failed", "flood": "failed"}
"""How each kind of failure ends. `missed` is first, since the gateway is stopped for it; `disk` is apart: it needs one of its own."""
SETTINGS = "[reports]\nmax_output_mb = 1\n"
HANG_S = 20.0


def write_notebook(path: Path, *cells: str) -> Path:
    """A report notebook with a parameters cell and these cells."""
    book = nbformat.v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}})
    book.cells = [
        nbformat.v4.new_code_cell(PERIOD, metadata={"tags": ["parameters"]}),
        *(nbformat.v4.new_code_cell(cell) for cell in cells),
    ]
    nbformat.write(book, path)
    return path


@dataclass
class Home6:
    """A home whose gateway runs what fails."""

    home: Home
    client: Client

    def start(self, kind: str, number: int = 0) -> str:
        """Starts a run of that kind by its schedule; gives the schedule's name."""
        name = f"{kind}-{number}"
        folder = self.home.path / "notebooks"
        folder.mkdir(exist_ok=True)
        cells = {
            "kill": (FINISHED, KILL),
            "hang": (FINISHED, HANG),
            "error": (FINISHED, ERROR),
            "flood": (FINISHED, FLOOD),
            "missed": (FINISHED,),
        }
        fill = (FINISHED, FILL.format(filler=str(self.home.path / "filler")))
        notebook = write_notebook(folder / f"{name}.ipynb", *cells.get(kind, fill))
        row: dict[str, Any] = {
            "id": name, "report": str(notebook), "cron": "0 0 1 1 *", "time_zone": "UTC", "parameters": {"since": "1d"}, "enabled": True,
            "catch_up": "latest", "timeout_s": HANG_S if kind == "hang" else 240.0,
        }  # fmt: skip
        if kind == "missed":  # set the day before yesterday, since when no gateway has run
            stop(self.home)
            with Ledger.open(self.home) as ledger:
                ledger.record("schedule", {**row, "cron": "0 12 * * *", "catch_up": "none", "at": datetime.now(UTC) - timedelta(days=2)})
            self.client.status()
            return name
        self.client.record("schedule", row)
        self.client.post(f"/api/schedules/{name}/run")
        return name

    def end(self, name: str, timeout_s: float = 240.0) -> dict[str, Any]:
        """How the newest run of a schedule ended."""
        until = time.monotonic() + timeout_s
        while True:
            found = schedule_runs(self.client, name)
            if found and found[0]["status"] != "started":
                return found[0]
            assert time.monotonic() < until, found
            time.sleep(0.2)

    def published(self) -> list[str]:
        """What a person would take for a finished report: a record of one, or its files."""
        recorded = [f"record {row['id']}" for row in self.client.view_rows("report_list")]
        return recorded + [str(path) for path in finished_files(self.home.path / "reports")]

    def left(self) -> list[str]:
        """Kernels of this home that live on, and folders that are still being made."""
        return [*kernels(self.home), *(str(path) for path in self.home.path.glob("**/.making-*"))]


def finished_files(folder: Path) -> list[Path]:
    """Files in a folder that look like those of a finished report: not those that are kept aside or still being made."""
    aside = [(path, path.parts[len(folder.parts) :]) for path in folder.glob("**/*") if path.is_file()]
    return [path for path, parts in aside if "failed" not in parts and not any(part.startswith(".making-") for part in parts)]


def kernels(home: Home) -> list[str]:
    """The kernels that run for a home."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            said, mine = (folder / "cmdline").read_bytes(), f"AIPLAT_HOME={home.path}\0".encode() in (folder / "environ").read_bytes()
        except OSError:
            continue
        if mine and b"ipykernel" in said:
            found.append(f"kernel {folder.name}")
    return found


@contextmanager
def failing_home(folder: Path) -> Iterator[Home6]:
    """A home with a gateway that runs."""
    home = Home(folder).create()
    home.settings_file.write_text(SETTINGS)
    try:
        with connect(home) as client:
            yield Home6(home, client)
    finally:
        stop(home)


@contextmanager
def small_disk(folder: Path, size: str = "24m") -> Iterator[Path | None]:
    """A disk of its own that is soon full; None where this machine lets nobody mount one."""
    folder.mkdir(parents=True)
    if os.geteuid() != 0 or shutil.which("mount") is None:
        yield None
        return
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True, check=False)
    if done.returncode:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill_and_recover(place: Home6, number: int = 0) -> tuple[dict[str, Any], list[str]]:
    """A run that fills the disk, its end when there is room again, and what looked finished before that."""
    name = place.start("disk", number)
    filler = place.home.path / "filler"
    assert wait_for(lambda: kernels(place.home), 120)
    ended = lambda: not place.left() and not place.client.status()["schedules"]["running"]  # noqa: E731
    assert wait_for(lambda: ended() or time.sleep(0.2), 240) and filler.exists(), "the run has ended, with the disk full"
    meanwhile = finished_files(place.home.path / "reports")
    filler.unlink()
    return place.end(name), [str(path) for path in meanwhile]


def limited_run(folder: Path, limit_bytes: int = 4096) -> tuple[subprocess.CompletedProcess[str], list[Path]]:
    """A run whose process may write no file larger than that, as the next thing to a full disk."""
    home = Home(folder).create()
    notebook = write_notebook(folder / "book.ipynb", FINISHED)
    try:
        connect(home).status()
        done = subprocess.run(
            [sys.executable, "-m", "aiplat_lab.cli", "report", "run", str(notebook), "--home", str(home.path)],
            capture_output=True, text=True, check=False,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes)),
        )  # fmt: skip
        return done, finished_files(home.path / "reports")
    finally:
        try:
            connect(home, spawn=False).stop()
        except GatewayUnavailable:
            pass
