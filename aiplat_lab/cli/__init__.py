"""The `aiplat` command.

Every command has `--help` and `--json`; the exit code is 0, 1 when it failed, 2 when it was used wrongly. A user's
mistake gets one line and no traceback.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from aiplat_lab.cli import (
    _batch,
    _bench,
    _budget,
    _cache,
    _doctor,
    _evals,
    _gateway,
    _import,
    _keys,
    _ledger,
    _models,
    _prices,
    _prompts,
    _quickstart,
    _reading,
    _replay,
    _route,
    _scan,
    _schedules,
)
from aiplat_lab.cli._frame import Parser
from aiplat_lab.core.errors import AiplatError, UsageError
from aiplat_lab.core.version import VERSION

__all__ = ["main", "parser"]


def parser() -> argparse.ArgumentParser:
    """The parser with every command, for `main` and for the documentation's test."""
    top = Parser(
        prog="aiplat",
        description="The AI platform for notebooks: gateway, ledger, dashboards and reports.",
        epilog="AIPLAT_HOME names the folder with settings and ledger. Documentation: docs/ in the repository.",
    )
    top.add_argument("--version", action="version", version=f"aiplat-lab {VERSION}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for part in (
        _quickstart,
        _gateway,
        _doctor,
        _models,
        _route,
        _keys,
        _prices,
        _budget,
        _cache,
        _replay,
        _scan,
        _import,
        _prompts,
        _evals,
        _batch,
        _bench,
        _ledger,
        _reading,
        _schedules,
    ):
        part.add(commands)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and gives its exit code: 0, 1 (it failed) or 2 (used wrongly)."""
    try:
        try:
            return _run(argv)
        finally:
            sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what could not be written is not tried again at exit
        if isinstance(error, BrokenPipeError):
            return 0  # the reader has gone, as with `aiplat calls | head`
        print(f"aiplat: {error.filename or 'the output'}: {error.strerror or error}", file=sys.stderr)
        return 1


def _run(argv: Sequence[str] | None) -> int:
    arguments = parser().parse_args(argv)
    try:
        return int(arguments.run(arguments) or 0)
    except UsageError as error:
        print(f"aiplat: {error.message}", file=sys.stderr)
        return 2
    except AiplatError as error:
        print(f"aiplat: {error.message}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("aiplat: interrupted", file=sys.stderr)
        return 1
