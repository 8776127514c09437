"""`aiplat calls | sql | audit | export`: what is in the ledger."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from aiplat_lab.cli._frame import Commands, Parser, add_filters, client_of, command, count, filters_of, home_of, say, show
from aiplat_lab.client import Client, connect
from aiplat_lab.core.errors import LedgerError, UsageError

_MOST_SHOWN = 50
_BRIEF = ("call_id", "started_at", "team", "request_model", "status", "input_tokens", "output_tokens", "cost_usd", "latency_s", "cache")


def add(commands: Commands) -> None:
    """Adds the commands that read the ledger."""
    calls = command(commands, "calls", _calls, "list calls, newest first, or show one whole")
    calls.add_argument("call_id", nargs="?", help="show this call with its request and answer")
    calls.add_argument("--limit", type=count, default=20, help="at most so many (default: 20)")
    add_filters(calls)
    _snapshot_option(calls)
    sql = command(commands, "sql", _sql, "run one read-only SQL statement over the ledger")
    sql.add_argument("query", help='such as "SELECT team, sum(cost_usd) FROM calls GROUP BY team"')
    sql.add_argument("--csv", action="store_true", help="print CSV")
    _snapshot_option(sql)
    audit = commands.add_parser("audit", help="prove that no row was changed, removed or moved")
    actions = audit.add_subparsers(title="actions", metavar="ACTION", required=True, parser_class=Parser)
    verify = command(actions, "verify", _verify, "check the hash chain of every row; exit code 1 when it is broken")
    _snapshot_option(verify)
    prices = command(actions, "prices", _reprice, "price every call again from its own row; exit code 1 when one differs")
    add_filters(prices)
    _snapshot_option(prices)
    export = command(
        commands, "export", _export, "write calls to Parquet, charges in FOCUS columns, or the whole ledger to a sealed snapshot"
    )
    export.add_argument("path", type=Path, help="the file or folder to write; it must not exist")
    export.add_argument(
        "--format", choices=("parquet", "focus", "snapshot"), default="parquet", help="focus writes CSV or Parquet, as the file's name ends"
    )
    add_filters(export)


def _snapshot_option(sub: Parser) -> None:
    sub.add_argument("--snapshot", type=Path, metavar="FILE", help="read this sealed snapshot instead of the live ledger")


def _reader(arguments: argparse.Namespace) -> Client:
    if arguments.snapshot:
        return connect(home_of(arguments), snapshot=arguments.snapshot)
    return client_of(arguments)


def _calls(arguments: argparse.Namespace) -> int:
    client = _reader(arguments)
    if arguments.call_id:
        call = client.call(arguments.call_id)
        if arguments.json:
            print(json.dumps([call], ensure_ascii=False, indent=1))
        else:
            for name, value in call.items():
                if value not in (None, "", [], {}):
                    print(f"{name:>22}  {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}")
        return 0
    rows = client.view_rows("recent_calls", limit=arguments.limit, **filters_of(arguments))
    return show(arguments, rows, columns=None if arguments.json else _BRIEF, empty="no calls yet: run an %%ai cell, or `aiplat quickstart`")


def _sql(arguments: argparse.Namespace) -> int:
    frame = _reader(arguments).sql(arguments.query)
    if arguments.csv:
        print(frame.write_csv(), end="")
        return 0
    return show(arguments, frame.rows(named=True), empty="no rows")


def _verify(arguments: argparse.Namespace) -> int:
    result = _reader(arguments).verify()
    show(arguments, [result])
    if not result["ok"]:
        raise LedgerError(f"the chain is broken at row {result['first_bad_seq']}: {result['reason']}")
    if not arguments.json:
        say(f"the chain holds: {result['rows']:,} rows, none changed, removed or moved")
    return 0


def _reprice(arguments: argparse.Namespace) -> int:
    client, filters = _reader(arguments), filters_of(arguments)
    summary = client.view_rows("repriced", **filters)[0]
    if summary["differ"]:
        wrong = client.view_rows("repriced_differences", **filters, limit=_MOST_SHOWN)
        show(arguments, wrong)
        raise LedgerError(f"{summary['differ']:,} of {summary['repriced']:,} calls cost something else than their own row says")
    show(arguments, [summary])
    if not arguments.json:
        say(f"{summary['repriced']:,} calls were priced again from their own rows, all to the last digit")
    return 0


def _export(arguments: argparse.Namespace) -> int:
    filters = filters_of(arguments)
    if arguments.format == "snapshot" and filters:
        raise UsageError(f"a snapshot holds the whole ledger, so --{next(iter(filters))} has no place; write Parquet, or leave it out")
    route = "/api/snapshot" if arguments.format == "snapshot" else "/api/export"
    how = {"format": "focus"} if arguments.format == "focus" else {}
    made = client_of(arguments).post(route, {"path": str(arguments.path.expanduser().absolute()), **how, **filters})
    show(arguments, [made])
    if made.get("unpriced_calls"):
        say(f"{made['unpriced_calls']:,} answered calls are not in the file: nobody knows what they cost (aiplat prices list)")
    return 0
