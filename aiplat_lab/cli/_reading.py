"""`aiplat dashboard | report | demo`: what others read. Each runs as its own process, as the gateway's schedules do."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from aiplat_lab.cli._frame import Commands, Parser, command, count, home_of, say, seconds, show
from aiplat_lab.core.settings import Home, data_folder


def add(commands: Commands) -> None:
    """Adds the commands that open or write what others read."""
    dashboard = command(commands, "dashboard", _dashboard, "open the dashboards on a loopback address")
    dashboard.add_argument("--port", type=count, default=0, help="the port; 0 takes a free one")
    dashboard.add_argument("--demo", action="store_true", help="show the demo ledger, which is made when it is missing")
    report = commands.add_parser("report", help="write reports: JSON, HTML and PDF")
    actions = report.add_subparsers(title="actions", metavar="ACTION", required=True, parser_class=Parser)
    run = command(actions, "run", _report_run, "run a report notebook on a sealed snapshot of the ledger")
    run.add_argument("name", help="the report, such as cost, or the path of a report notebook of your own")
    run.add_argument("--since", default=None, metavar="WHEN", help="where its period begins: 7d, 2026-11-01 (default: as the report says)")
    run.add_argument("--until", default=None, metavar="WHEN", help="where it ends (default: now)")
    run.add_argument("-p", "--parameter", action="append", default=[], metavar="KEY=VALUE", help="a parameter of the notebook")
    run.add_argument("--out", type=Path, default=None, metavar="FOLDER", help="where to write it (default: reports/ in the home)")
    run.add_argument(
        "--timeout-s", type=seconds, default=None, metavar="SECONDS", help="the longest it may take (default: reports.timeout_s)"
    )
    run.add_argument("--snapshot", type=Path, default=None, metavar="FILE", help="read this sealed snapshot (default: a fresh one)")
    run.add_argument("--sha256", default="", metavar="HEX", help="the digest that the snapshot must have; another one fails the report")
    run.add_argument("--keep-snapshot", action="store_true", help="keep the snapshot beside the report (compliance always does)")
    check = command(actions, "check", _report_check, "read a report's snapshot again and compare every figure's query with it")
    check.add_argument("folder", type=Path, help="the report's folder")
    check.add_argument("--snapshot", type=Path, default=None, metavar="FILE", help="its snapshot, where it does not lie in the folder")
    command(actions, "list", _report_list, "list the reports there are")
    demo = command(commands, "demo", _demo, "make a demo ledger in a home of its own, marked as such")
    demo.add_argument("--calls", type=count, default=20_000, help="how many everyday calls (default: 20,000)")
    demo.add_argument("--days", type=count, default=90, help="over how many days (default: 90)")


def _module(arguments: argparse.Namespace, module: str, *words: str) -> int:
    home = [] if arguments.home is None else ["--home", str(home_of(arguments).path)]
    output = ["--json"] if arguments.json else []
    done = subprocess.run([sys.executable, "-m", f"aiplat_lab.{module}", *words, *home, *output], stdout=subprocess.PIPE, check=False)  # noqa: S603
    print(done.stdout.decode("utf-8", "replace"), end="")
    return done.returncode


def demo_home() -> Home:
    """The demo ledger's own home, apart from the user's."""
    return Home(data_folder() / "demo")


def _dashboard(arguments: argparse.Namespace) -> int:
    if arguments.demo:
        arguments.home = arguments.home or demo_home().path
        if not home_of(arguments).ledger_file.exists():
            arguments.calls, arguments.days = 20_000, 90
            _demo(arguments)
    words = ["serve", "--port", str(arguments.port)]
    home = [] if arguments.home is None else ["--home", str(home_of(arguments).path)]
    try:
        return subprocess.call([sys.executable, "-m", "aiplat_lab.dashboards", *words, *home])  # noqa: S603
    except KeyboardInterrupt:
        return 0


def _report_run(arguments: argparse.Namespace) -> int:
    words = ["run", arguments.name]
    for option in ("since", "until", "snapshot", "sha256"):
        if getattr(arguments, option):
            words += [f"--{option}", str(getattr(arguments, option))]
    words += ["--keep-snapshot"] if arguments.keep_snapshot else []
    for parameter in arguments.parameter:
        words += ["-p", parameter]
    if arguments.out is not None:
        words += ["--out", str(arguments.out)]
    if arguments.timeout_s is not None:
        words += ["--timeout-s", f"{arguments.timeout_s:g}"]
    return _module(arguments, "reports", *words)


def _report_check(arguments: argparse.Namespace) -> int:
    words = ["check", str(arguments.folder)]
    return _module(arguments, "reports", *words, *(["--snapshot", str(arguments.snapshot)] if arguments.snapshot else []))


def _report_list(arguments: argparse.Namespace) -> int:
    return _module(arguments, "reports", "list")


def _demo(arguments: argparse.Namespace) -> int:
    from aiplat_lab.ledger.demo import build_demo  # brings DuckDB, which no other command of this process needs

    home = Home(arguments.home.expanduser().absolute()) if arguments.home else demo_home()
    say(f"making a demo ledger of {arguments.calls:,} calls in {home.path} …")
    build_demo(home, calls=arguments.calls, days=arguments.days)
    show(arguments, [{"home": str(home.path), "calls": arguments.calls, "days": arguments.days}])
    say(f'look at it: aiplat dashboard --home "{home.path}"')
    return 0
