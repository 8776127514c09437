"""`python -m aiplat_lab.gateway`: runs the gateway of one home until it is stopped or has nothing to do."""

from __future__ import annotations

import argparse
import ctypes
import gc
import os
import sys
from pathlib import Path

from aiplat_lab.core.settings import Home, environment

_M_ARENA_MAX = -8
"""The option of glibc's `mallopt` for the number of heaps."""
_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD = -3, -1
_LARGE_BYTES = 512 * 1024
"""What is larger is given back at once: a sealed segment is read whole, and would leave a hole of its size in the heap."""


def main(arguments: list[str] | None = None) -> int:
    """Runs the gateway; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m aiplat_lab.gateway", description="Runs the local gateway of one home.")
    parser.add_argument("--home", type=Path, default=None, help="the folder with settings and ledger (default: AIPLAT_HOME)")
    parser.add_argument("--background", action="store_true", help="say on standard output that it is ready, then detach from it")
    parsed = parser.parse_args(arguments)
    home = Home(parsed.home.expanduser().absolute()) if parsed.home else environment().home
    if parsed.background and hasattr(os, "fork") and os.fork():
        os._exit(0)  # the gateway is nobody's child, so that it leaves no dead process behind in a kernel
    _few_arenas()
    gc.disable()  # a start makes no rubbish worth collecting; `run` turns it on when it is ready
    from aiplat_lab.gateway.run import run  # after the fork: what it loads would be copied for nothing

    return run(home, background=parsed.background)


def _few_arenas() -> None:
    """Keeps glibc from giving each thread a heap of its own and from keeping what is free: a process of a few threads pays for both
    with tens of megabytes."""
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # another C library has none
        if mallopt is not None:
            mallopt(_M_ARENA_MAX, 1)
            mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
            mallopt(_M_TRIM_THRESHOLD, _LARGE_BYTES)


if __name__ == "__main__":
    sys.exit(main())
