"""The lock that lets one process have the ledger."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from aiplat_lab.core.errors import LedgerError


def lock(path: Path) -> int:
    """Takes the lock, and gives the descriptor that holds it.

    Raises:
        LedgerError: another process has it.
    """
    fd = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.read(fd, 32).decode("ascii", "replace").strip()
        os.close(fd)
        raise LedgerError(
            f"the ledger in {path.parent} is open in process {holder or '?'}; use its gateway, or stop it with `aiplat stop`"
        ) from None
    os.ftruncate(fd, 0)
    os.pwrite(fd, str(os.getpid()).encode(), 0)
    return fd
