"""`python -m aiplat_lab.gateway._supervise FOLDER LOCK`: runs one command to its end, within a time and an output size.

It outlives the gateway that started it, so that a run ends and its result is known whatever happens there. In the folder lie
`run.json` (what to run), `run.lock` (held as long as the run lives), `output.log` and, when it is over, `result.json`. Whatever
the command leaves behind, such as a kernel, is killed with it.
"""

from __future__ import annotations

import ctypes
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiplat_lab.core.errors import redact, shorten
from aiplat_lab.core.settings import Home, enter

PLAN, LOCK, LOG, RESULT = "run.json", "run.lock", "output.log", "result.json"
LOG_BYTES = 1_000_000
"""The most that is kept of what a run says."""
GRACE_S = 10.0
"""How long a command that is told to end may take; then it is killed."""
_ROWS_BYTES = 65_536
_TAIL_BYTES = 4_096
_DRAIN_S = 1.0
_REAP_S = 3.0
_PR_SET_CHILD_SUBREAPER = 36


class _Output:
    """What the command says: into the log as far as it has room, the end of it and its rows kept."""

    def __init__(self, path: Path) -> None:
        self._log = path.open("ab", buffering=0)
        self._room = LOG_BYTES
        self.rows, self.tail = b"", b""

    def take(self, data: bytes, *, rows: bool) -> None:
        if rows:
            self.rows = (self.rows + data)[: _ROWS_BYTES + 1]
        else:
            self.tail = (self.tail + data)[-_TAIL_BYTES:]
        if self._room <= 0:
            return
        kept = data[: self._room]
        self._room -= len(kept)
        try:
            self._log.write(kept)
            if self._room <= 0:
                self._log.write(f"\n… more than {LOG_BYTES // 1_000_000} MB was said; the rest is left out\n".encode())
        except OSError:
            self._room = 0  # the disk is full; the run itself may still end well

    def last_line(self) -> str:
        lines = [line for line in self.tail.decode("utf-8", "replace").splitlines() if line.strip()]
        own = [line for line in lines if line.startswith("aiplat: ")]
        return shorten(redact((own or lines or [""])[-1].removeprefix("aiplat: ")), 400)

    def parsed(self) -> list[dict[str, Any]]:  # Any: JSON
        try:
            rows = json.loads(self.rows)
        except ValueError:
            return []
        return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


class _Run:
    """The command while it runs."""

    def __init__(self, plan: dict[str, Any], output: _Output, lock: int) -> None:  # Any: JSON
        self._output = output
        self._told = False
        signal.signal(signal.SIGTERM, self.stop)  # before there is a command that could be left alone
        signal.signal(signal.SIGINT, self.stop)
        self._deadline = time.monotonic() + float(plan["timeout_s"])
        self.ended = "exit"
        self._process = subprocess.Popen(  # noqa: S603 (the gateway's own plan)
            plan["command"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            pass_fds=(lock,),
        )

    def stop(self, *_: object) -> None:
        """Told to end: at the next look."""
        self._told = True

    def wait(self) -> int:
        """Takes what it says until it ends or must; gives its exit code."""
        with selectors.DefaultSelector() as selector:
            for pipe in (self._process.stdout, self._process.stderr):
                if pipe is not None:
                    os.set_blocking(pipe.fileno(), False)
                    selector.register(pipe, selectors.EVENT_READ, pipe is self._process.stdout)
            killing_at = 0.0
            drained_at = 0.0
            while selector.get_map() or self._process.poll() is None:
                self._read(selector)
                now = time.monotonic()
                if self._process.poll() is not None:
                    drained_at = drained_at or now + _DRAIN_S
                    if now > drained_at:
                        break  # something that it left behind holds the pipe
                elif not killing_at and (self._told or now > self._deadline):
                    self.ended = "stopped" if self._told else "timeout"
                    killing_at = now + GRACE_S
                    self._signal(signal.SIGTERM)
                elif killing_at and now > killing_at:
                    self._signal(signal.SIGKILL)
        code = self._process.wait()
        self._signal(signal.SIGKILL)
        return code

    def _read(self, selector: selectors.BaseSelector) -> None:
        for key, _ in selector.select(0.1):
            try:
                data = os.read(key.fd, 65_536)
            except BlockingIOError:
                continue
            if data:
                self._output.take(data, rows=bool(key.data))
            else:
                selector.unregister(key.fileobj)
        if not selector.get_map():
            time.sleep(0.02)

    def _signal(self, name: signal.Signals) -> None:
        try:
            os.killpg(self._process.pid, name)
        except (ProcessLookupError, PermissionError):
            pass  # all of the group are gone


def _adopt() -> None:
    """Makes what the command leaves behind our children, where the system can."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _children() -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            after_name = path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        if after_name and int(after_name[1]) == os.getpid():
            found.append(int(path.parent.name))
    return found


def _kill_left() -> None:
    """Kills what the command left behind: its kernel, and what that started."""
    if sys.platform != "linux":
        return
    deadline = time.monotonic() + _REAP_S
    while time.monotonic() < deadline:
        for pid in _children():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.02)


def _write(folder: Path, result: dict[str, Any]) -> None:  # Any: JSON
    fresh = folder / f"{RESULT}.new"
    fresh.write_text(json.dumps(result), encoding="utf-8")
    fresh.replace(folder / RESULT)


def main(words: list[str]) -> int:
    """Runs the command of a folder; gives 0 when its result is written."""
    folder, lock = Path(words[0]), int(words[1])
    plan = json.loads((folder / PLAN).read_text(encoding="utf-8"))
    enter(Home(Path(plan["home"])), headless=True)
    output = _Output(folder / LOG)
    _adopt()
    try:
        run = _Run(plan, output, lock)
        code = run.wait()
        _kill_left()
        result = {"exit_code": code, "ended": run.ended, "error": output.last_line(), "rows": output.parsed()}
    except OSError as error:
        result = {"exit_code": -1, "ended": "exit", "error": f"it cannot be started: {error.strerror or error}", "rows": []}
    _write(folder, {**result, "ended_at": datetime.now(UTC).isoformat()})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
