"""What the commands share: options, printing rows, and asking the gateway."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

from aiplat_lab.client import Client, connect
from aiplat_lab.core.errors import UsageError, did_you_mean
from aiplat_lab.core.settings import Home, environment
from aiplat_lab.core.text import table
from aiplat_lab.core.times import moment
from aiplat_lab.core.types import utc_now
from aiplat_lab.gateway.reading import plain_row

Commands: TypeAlias = "argparse._SubParsersAction[Parser]"
Rows: TypeAlias = Sequence[Mapping[str, Any]]


class Parser(argparse.ArgumentParser):
    """A parser whose error is one line, with the nearest command where one was mistyped."""

    def error(self, message: str) -> NoReturn:
        """Prints the mistake and ends with exit code 2."""
        if "invalid choice:" in message and "(choose from" in message:
            wrong = message.split("invalid choice: ")[1].split(" (choose")[0].strip("'\"")
            known = message.split("(choose from ")[1].rstrip(")").replace("'", "").split(", ")
            near = did_you_mean(wrong, known) or f" There are {', '.join(known)}."
            message = f"there is no {wrong!r}.{near} See `{self.prog} --help`."
        self.exit(2, f"{self.prog}: {message}\n")


def command(commands: Commands, name: str, run: Callable[[argparse.Namespace], int | None], help_text: str) -> Parser:
    """Adds a command with `--json` and `--home`, and gives its parser for further options."""
    sub = commands.add_parser(name, help=help_text, description=help_text[0].upper() + help_text[1:] + ".")
    sub.add_argument("--json", action="store_true", help="print rows as a JSON array")
    sub.add_argument("--home", type=Path, default=None, help="the folder with settings and ledger (default: AIPLAT_HOME)")
    sub.set_defaults(run=run)
    return sub


def home_of(arguments: argparse.Namespace) -> Home:
    """The home that `--home` or the environment names."""
    return Home(arguments.home.expanduser().absolute()) if arguments.home else environment().home


def client_of(arguments: argparse.Namespace) -> Client:
    """A client of the shared gateway that `AIPLAT_GATEWAY` names, unless `--home` is given; else of that home's own gateway."""
    return connect(home_of(arguments) if arguments.home else None)


def local_client_of(arguments: argparse.Namespace, *, spawn: bool = True) -> Client:
    """A client of that home's own gateway, which is started when it is needed and `spawn` is true."""
    return connect(home_of(arguments), spawn=spawn)


def add_filters(sub: Parser) -> None:
    """The options that narrow what is read, the same for every command."""
    sub.add_argument("--since", type=_when, metavar="WHEN", help="7d, 24h, today, 2026-11-01 (default: all)")
    sub.add_argument("--until", type=_when, metavar="WHEN", help="the same forms; the end is not included")
    for name in ("team", "project", "model", "status", "surface"):
        sub.add_argument(f"--{name}", action="append", metavar="NAME", help=f"only this {name}; may be repeated")


def _when(text: str) -> str:
    """The text as it is, if it names a time; which time that is, the ledger's own home says."""
    try:
        moment(text, now=utc_now())
    except UsageError as error:
        raise argparse.ArgumentTypeError(error.message) from None
    return text


def count(text: str) -> int:
    """A whole number of 0 or more."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 0 or more")
    return int(text)


def seconds(text: str) -> float:
    """A number of seconds above 0."""
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0 < found < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return found


def share(text: str) -> float:
    """A number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1; 0.05 is 5 points")
    return value


def filters_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """The filters that were given, as a named view takes them."""
    names = ("since", "until", "team", "project", "model", "status", "surface")
    return {name: getattr(arguments, name) for name in names if getattr(arguments, name)}


def show(arguments: argparse.Namespace, rows: Rows, *, columns: Iterable[str] | None = None, empty: str = "nothing yet") -> int:
    """Prints rows as a table, or as a JSON array under `--json`; gives exit code 0."""
    if arguments.json:
        print(json.dumps([plain_row(row) for row in rows], ensure_ascii=False, indent=1))
    else:
        print(table(rows, columns=columns) or empty)
    return 0


def say(text: str) -> None:
    """A line for the person who watches; on standard error, so that it never mixes with rows."""
    print(text, file=sys.stderr, flush=True)
