"""Where a report is made and how it appears: apart while it is being made, then all of its files at once."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from aiplat_lab.core.errors import ReportError
from aiplat_lab.gateway.process import Lock

_PREFIX = ".making-"
_LOCK = ".lock"
_BEFORE = ".before"
_STALE_S = 3600.0
_TRIES = 15
_AGAIN_S = 0.2


@contextmanager
def making(folder: Path, name: str) -> Iterator[Path]:
    """A folder of its own for a report that is being made, on the same disk as `folder` where it shall appear; it is gone after.

    What a run left there that was killed is removed by a later one.
    """
    beside = folder if folder.is_dir() and any(folder.iterdir()) else folder.parent
    beside.mkdir(parents=True, exist_ok=True)
    _sweep(beside)
    work = beside / f"{_PREFIX}{name}-{os.getpid()}-{time.monotonic_ns()}"
    work.mkdir()
    lock = Lock(work / _LOCK)
    lock.take()
    try:
        yield work
    finally:
        lock.release()
        _remove(work)


def _remove(work: Path) -> None:
    """Removes the folder, also where the gateway still writes a snapshot there that nobody waits for any more."""
    for _ in range(_TRIES):
        shutil.rmtree(work, ignore_errors=True)
        if not work.exists():
            return
        time.sleep(_AGAIN_S)


def _sweep(beside: Path) -> None:
    for left in beside.glob(f"{_PREFIX}*"):
        try:
            if time.time() - left.stat().st_mtime < _STALE_S:
                continue
        except OSError:
            continue  # its own run has just removed it
        lock = Lock(left / _LOCK)
        if (left / _LOCK).exists() and not lock.take():
            continue  # somebody is at work there
        lock.release()
        shutil.rmtree(left, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Published:
    """Files that have appeared."""

    folder: Path
    _work: Path
    _names: tuple[str, ...] | None
    """What was put into a folder that was there before; None for a new folder."""

    def undo(self) -> None:
        """Takes them back; what they took the place of is there again."""
        if self._names is None:
            self.folder.rename(self._work)
        else:
            _put_back(self._work, self.folder, self._names)


def publish(work: Path, folder: Path) -> Published:
    """Lets the files of `work` appear in `folder`, or beside it where that name was just taken by another run.

    A new folder appears whole in one step. In a folder that holds files already, those of the same name are replaced, and
    are there again when something fails.

    Raises:
        OSError: they cannot be moved there; nothing has appeared.
    """
    (work / _LOCK).unlink(missing_ok=True)
    if work.parent == folder:
        return Published(folder, work, _replace(work, folder))
    for number in range(1, 100):
        target = folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
        try:
            work.rename(target)
            return Published(target, work, None)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
    raise ReportError(f"there are too many folders like {folder}")


def _replace(work: Path, folder: Path) -> tuple[str, ...]:
    (work / _BEFORE).mkdir()
    done: list[str] = []
    try:
        for name in [path.name for path in sorted(work.iterdir()) if path.name != _BEFORE]:
            if (folder / name).exists():
                (folder / name).rename(work / _BEFORE / name)
            (work / name).rename(folder / name)
            done.append(name)
    except OSError:
        _put_back(work, folder, done)
        raise
    return tuple(done)


def _put_back(work: Path, folder: Path, names: Iterable[str]) -> None:
    for name in names:
        (folder / name).rename(work / name)
    for old in (work / _BEFORE).iterdir():
        old.rename(folder / old.name)


def keep_failed(work: Path, folder: Path, name: str) -> Path | None:
    """Puts the notebook as far as it got into `failed/` in `folder`; None where there is none or the disk does not let it."""
    for candidate in (work / "notebook.failed.ipynb", work / "notebook.ipynb", work / "report.ipynb"):
        if candidate.exists():
            try:
                (folder / "failed").mkdir(parents=True, exist_ok=True)
                return candidate.replace(folder / "failed" / name)
            except OSError:
                return None
    return None
