"""`aiplat budget list | what-if`: what budgets have left, and what another limit or another call would do."""

from __future__ import annotations

import argparse
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from aiplat_lab.cli._frame import Commands, Parser, client_of, command, count, say, show
from aiplat_lab.cli._gateway import budget_line
from aiplat_lab.core.errors import UsageError
from aiplat_lab.core.text import money
from aiplat_lab.core.times import period_end, period_start
from aiplat_lab.core.types import utc_now

_SCOPES = ("team", "project", "key", "user", "prompt", "cost-centre", "tag", "notebook", "provider")
_ATTRIBUTES = {"key": "key_id", "user": "user_id", "prompt": "prompt_name"}
_TINY = timedelta(microseconds=1)


def add(commands: Commands) -> None:
    """Adds the commands of budgets."""
    budget = command(commands, "budget", _list, "show each budget: limit, spent, held, left, forecast, when it begins anew")
    actions = budget.add_subparsers(title="actions", metavar="ACTION", parser_class=Parser)
    command(actions, "list", _list, "the same as `aiplat budget`")
    what_if = command(actions, "what-if", _what_if, "what a limit would have done to past calls, or whether a call would pass now")
    for name in _SCOPES:
        what_if.add_argument(f"--{name}", metavar="NAME=VALUE" if name == "tag" else "NAME", help=f"only calls of this {name}")
    what_if.add_argument("--limit", type=_usd, metavar="USD", help="a hard limit in US dollars, held against what was spent")
    what_if.add_argument("--period", choices=("day", "week", "month", "total"), default="month", help="default: month")
    what_if.add_argument("--periods", type=count, default=6, help="so many periods, this one included (default: 6)")
    what_if.add_argument("--time-zone", default="", help="where its periods begin (default: time_zone of the settings)")
    what_if.add_argument("--model", metavar="NAME", help="ask of a single call of this model instead")
    what_if.add_argument("--tokens", type=_tokens, metavar="IN[,OUT]", help="the call's input tokens, and its max_tokens if it has one")


def _usd(text: str) -> str:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal(-1)
    if not amount.is_finite() or amount < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not an amount of 0 or more")
    return f"{amount:f}"


def _tokens(text: str) -> tuple[int, int | None]:
    into, comma, out = text.partition(",")
    if not into.isdecimal() or (comma and not (out.isdecimal() and int(out))):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of tokens; write 1200 or 1200,300")
    return int(into), int(out) if comma else None


def _list(arguments: argparse.Namespace) -> int:
    rows = client_of(arguments).get("/api/budgets")["rows"]
    shown = rows if arguments.json else [budget_line(row) for row in rows]
    return show(arguments, shown, empty="no budget is set: add a [[budgets]] entry to aiplat.toml")


def _what_if(arguments: argparse.Namespace) -> int:
    scopes = {name.replace("-", "_"): value for name in _SCOPES if (value := getattr(arguments, name.replace("-", "_")))}
    if "tag" in scopes and not all(scopes["tag"].partition("=")):
        raise UsageError(f"--tag {scopes['tag']!r}: write name=value")
    if (arguments.limit is None) == (arguments.model is None):
        raise UsageError("give --limit USD, for what it would have done, or --model NAME --tokens IN,OUT, for a call now")
    return _replay(arguments, scopes) if arguments.model is None else _one_call(arguments, scopes)


def _one_call(arguments: argparse.Namespace, scopes: dict[str, str]) -> int:
    if arguments.tokens is None:
        raise UsageError("--model needs --tokens IN or --tokens IN,OUT: how much it would read and may write")
    if "provider" in scopes:
        raise UsageError("--provider has no place here: the model's deployments say where the call may go")
    into, out = arguments.tokens
    who: dict[str, Any] = {_ATTRIBUTES.get(name, name): value for name, value in scopes.items() if name != "tag"}
    if "tag" in scopes:
        name, _, value = scopes["tag"].partition("=")
        who["tags"] = {name: value}
    asked = {"model": arguments.model, "input_tokens": into, "output_tokens": out, "attribution": who}
    found = client_of(arguments).post("/api/budgets/what-if", asked)
    if not arguments.json:
        found |= {name: None if found.get(name) is None else money(found[name]) for name in ("needed_usd", "left_usd")}
    return show(arguments, [found])


def _replay(arguments: argparse.Namespace, scopes: dict[str, str]) -> int:
    client = client_of(arguments)
    zone = arguments.time_zone or str(client.status()["time_zone"])
    rows = []
    for since, until in _spans(arguments.period, arguments.periods, zone):
        (found,) = client.view_rows("budget_replay", limit_usd=arguments.limit, since=since, until=until, **scopes)
        spent, limit = Decimal(str(found["cost_usd"])), Decimal(arguments.limit)
        rows.append(
            {
                "period": since.isoformat(timespec="minutes") if arguments.period != "total" else "all",
                "calls": found["calls"],
                "spent_usd": str(found["cost_usd"]),
                "of_limit": f"{100 * spent / limit:.0f} %" if limit else "–",
                "reached_at": found["reached_at"],
                "refused_calls": found["refused_calls"],
                "refused_usd": str(found["refused_usd"]),
            }
        )
    show(arguments, rows)
    if not arguments.json:
        say("Refused: the calls from the one on that would have passed the limit. Callers who come again with less are not foreseen.")
    return 0


def _spans(period: str, periods: int, zone: str) -> list[tuple[datetime, datetime | None]]:
    """The last periods, the present one included, oldest first."""
    found: list[tuple[datetime, datetime | None]] = []
    at = utc_now()
    for _ in range(max(1, periods) if period != "total" else 1):
        starts = period_start(period, now=at, time_zone=zone)
        found.append((starts, period_end(period, starts=starts, time_zone=zone)))
        at = starts - _TINY
    return found[::-1]
