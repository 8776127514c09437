"""Keys in the history of a git repository: what was deleted since is in every clone still."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from aiplat_lab.observe._scan_read import FoundKey, fingerprint
from aiplat_lab.observe._scan_words import keys_in

_MARK = b"\x01commit "
_BLOCK = 256 * 1024
_SAFE = (
    *("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "diff.external=", "-c", "core.quotePath=false"),
    *("-c", "log.showSignature=false", "-c", "core.pager=cat"),
)
"""So that nothing that a repository's own settings name is run."""


@dataclass(slots=True)
class History:
    """What the histories say."""

    keys: list[FoundKey] = field(default_factory=list)
    commits: int = 0
    notes: list[str] = field(default_factory=list)
    """What could not be read, or only in part."""


@dataclass(slots=True)
class _Place:
    commit: str = ""
    file: str = ""
    lines: list[str] = field(default_factory=list)
    size: int = 0


def read_history(repository: Path, *, only: Path | None = None, prefix: str = "", max_bytes: int, max_s: float) -> History:
    """The keys that any commit of any branch ever added.

    Args:
        repository: a folder within the repository.
        only: a folder below it, to whose files the look is limited.
        prefix: put before the names of files.
        max_bytes: the look ends after so much of the history.
        max_s: and after so many seconds.
    """
    found = History()
    git = shutil.which("git")
    if git is None:
        found.notes.append("git is not installed: the history was not looked through")
        return found
    where = ("--", str(only)) if only is not None else ()
    command = [git, "--no-pager", *_SAFE, "-C", str(repository), "log", "--all", "-p", "--unified=0", "--no-color", "--no-ext-diff"]
    command += ["--no-textconv", "--no-renames", "--format=%x01commit %H", *where]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:  # noqa: S603
        timer = threading.Timer(max_s, process.kill)
        timer.start()
        began = time.monotonic()
        try:
            if process.stdout is None or process.stderr is None:
                raise RuntimeError("a pipe was asked for")
            ended = _read(process.stdout, found, prefix=prefix, max_bytes=max_bytes)
            process.kill()
            errors = process.stderr.read(4096).decode("utf-8", "replace").strip()
        finally:
            timer.cancel()
    if not ended:
        found.notes.append(f"the history was looked through for its newest {max_bytes // 1_000_000} MB only")
    elif time.monotonic() - began >= max_s:
        found.notes.append(f"the history was looked through for {max_s:.0f} s only")
    elif errors and not found.commits and "does not have any commits" not in errors:
        found.notes.append(f"the history could not be read: {errors.splitlines()[0][:160]}")
    return found


def _read(stream: IO[bytes], found: History, *, prefix: str, max_bytes: int) -> bool:
    """Reads the log, and says whether it came to its end."""
    seen: set[tuple[str, str, str]] = set()
    place = _Place()
    size = 0
    for raw in _lines(stream):
        size += len(raw)
        if size > max_bytes:
            _flush(place, found, seen, prefix)
            return False
        if raw.startswith(_MARK):
            _flush(place, found, seen, prefix)
            place.commit = raw[len(_MARK) :].strip().decode("ascii", "replace")
            found.commits += 1
        elif raw.startswith(b"+++ "):
            _flush(place, found, seen, prefix)
            place.file = raw[4:].strip().decode("utf-8", "replace").removeprefix("b/").strip('"')
        elif raw.startswith(b"+"):
            place.lines.append(raw[1:].decode("utf-8", "replace"))
            place.size += len(raw)
            if place.size > _BLOCK:
                _flush(place, found, seen, prefix)
    _flush(place, found, seen, prefix)
    return True


def _lines(stream: IO[bytes]) -> Iterator[bytes]:
    """Lines, of which none is longer than a block."""
    while line := stream.readline(_BLOCK):
        yield line


def _flush(place: _Place, found: History, seen: set[tuple[str, str, str]], prefix: str) -> None:
    text = "".join(place.lines)
    place.lines, place.size = [], 0
    for start, end, kind, variable in keys_in(text) if text else ():
        mark = fingerprint(text[start:end])
        known = (kind, mark or place.commit, place.file)
        if known not in seen:
            seen.add(known)
            name = f"{prefix}{place.file}"
            found.keys.append(
                FoundKey(kind=kind, file=name, line=None, where="history", variable=variable, commit=place.commit[:12], fingerprint=mark)
            )
