"""`aiplat scan` and `aiplat redact check`: what stands in files, without showing it."""

from __future__ import annotations

import argparse
from pathlib import Path

from aiplat_lab.cli._frame import Commands, Parser, command


def add(commands: Commands) -> None:
    """Adds the commands that look through files."""
    sub = command(commands, "scan", _scan, "look through a folder for provider keys, AI libraries, models and prompts; shows no key")
    sub.add_argument("path", nargs="?", type=Path, default=Path(), metavar="PATH", help="the folder or file (default: here)")
    sub.add_argument("--no-history", action="store_true", help="leave git's history out")
    sub.add_argument("--max-file-mb", type=int, default=20, metavar="N", help="larger files are counted, not read (default: 20)")
    sub.add_argument("--fail-on", choices=("keys",), help="exit code 1 when a key was found, for continuous integration")
    redact = commands.add_parser("redact", help="what redaction finds in a text")
    actions = redact.add_subparsers(title="actions", metavar="ACTION", required=True, parser_class=Parser)
    check = command(actions, "check", _check, "show what the detectors find in a text file, by place, without showing it")
    check.add_argument("file", type=Path, metavar="FILE", help="a text file")
    check.add_argument("--detector", action="append", default=[], metavar="NAME", help="only this detector; may be repeated")


def _scan(arguments: argparse.Namespace) -> int:
    from aiplat_lab.cli._scanning import run_scan  # the detectors are wanted by these two commands alone

    return run_scan(arguments)


def _check(arguments: argparse.Namespace) -> int:
    from aiplat_lab.cli._scanning import run_check  # as above

    return run_check(arguments)
