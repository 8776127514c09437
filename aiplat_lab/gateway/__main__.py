"""`python -m aiplat_lab.gateway`: runs the gateway of one home until it is stopped or has nothing to do."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from pathlib import Path

from aiplat_lab.core.settings import Home, environment


def main(arguments: list[str] | None = None) -> int:
    """Runs the gateway; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m aiplat_lab.gateway", description="Runs the local gateway of one home.")
    parser.add_argument("--home", type=Path, default=None, help="the folder with settings and ledger (default: AIPLAT_HOME)")
    parser.add_argument("--background", action="store_true", help="say on standard output that it is ready, then detach from it")
    parsed = parser.parse_args(arguments)
    home = Home(parsed.home.expanduser().absolute()) if parsed.home else environment().home
    if parsed.background and hasattr(os, "fork") and os.fork():
        os._exit(0)  # the gateway is nobody's child, so that it leaves no dead process behind in a kernel
    gc.disable()  # a start makes no rubbish worth collecting; `run` turns it on when it is ready
    from aiplat_lab.gateway.run import run  # after the fork: what it loads would be copied for nothing

    return run(home, background=parsed.background)


if __name__ == "__main__":
    sys.exit(main())
