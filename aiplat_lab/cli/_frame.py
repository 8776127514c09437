"""What the commands share: options, printing rows, and asking the gateway."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

from aiplat_lab.client import Client, connect
from aiplat_lab.core.errors import did_you_mean
from aiplat_lab.core.settings import Home, environment
from aiplat_lab.core.text import table
from aiplat_lab.core.times import moment
from aiplat_lab.core.types import utc_now

Commands: TypeAlias = "argparse._SubParsersAction[Parser]"
Rows: TypeAlias = Sequence[Mapping[str, Any]]


class Parser(argparse.ArgumentParser):
    """A parser whose error is one line, with the nearest command where one was mistyped."""

    def error(self, message: str) -> NoReturn:
        """Prints the mistake and ends with exit code 2."""
        if "invalid choice:" in message and "(choose from" in message:
            wrong = message.split("invalid choice: ")[1].split(" (choose")[0].strip("'\"")
            known = message.split("(choose from ")[1].rstrip(")").replace("'", "").split(", ")
            message = f"there is no {wrong!r}.{did_you_mean(wrong, known)} See `{self.prog} --help`."
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


def client_of(arguments: argparse.Namespace, *, spawn: bool = True) -> Client:
    """A client of that home's gateway, which is started when it is needed and `spawn` is true."""
    return connect(home_of(arguments), spawn=spawn)


def add_filters(sub: Parser) -> None:
    """The options that narrow what is read, the same for every command."""
    sub.add_argument("--since", metavar="WHEN", help="7d, 24h, today, 2026-11-01 (default: all)")
    sub.add_argument("--until", metavar="WHEN", help="the same forms; the end is not included")
    for name in ("team", "project", "model", "status", "surface"):
        sub.add_argument(f"--{name}", action="append", metavar="NAME", help=f"only this {name}; may be repeated")


def filters_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """The filters that were given, as a named view takes them.

    Raises:
        UsageError: a time is not one.
    """
    zone = home_of(arguments).load().time_zone
    found: dict[str, Any] = {}
    for name in ("since", "until"):
        if getattr(arguments, name):
            found[name] = moment(getattr(arguments, name), now=utc_now(), time_zone=zone).isoformat()
    for name in ("team", "project", "model", "status", "surface"):
        if getattr(arguments, name):
            found[name] = getattr(arguments, name)
    return found


def plain(value: Any) -> Any:
    """A value of a row as JSON holds it: money and times as text."""
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    return str(value)


def show(arguments: argparse.Namespace, rows: Rows, *, columns: Iterable[str] | None = None, empty: str = "nothing yet") -> int:
    """Prints rows as a table, or as a JSON array under `--json`; gives exit code 0."""
    if arguments.json:
        print(json.dumps([dict(row) for row in rows], default=plain, ensure_ascii=False, indent=1))
    else:
        print(table(rows, columns=columns) or empty)
    return 0


def say(text: str) -> None:
    """A line for the person who watches; on standard error, so that it never mixes with rows."""
    print(text, file=sys.stderr, flush=True)
