"""`aiplat start | stop | status | logs`."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections import deque

from aiplat_lab.cli._frame import Commands, command, count, home_of, local_client_of, say, show
from aiplat_lab.core.errors import GatewayUnavailable
from aiplat_lab.core.text import money
from aiplat_lab.core.types import Json


def add(commands: Commands) -> None:
    """Adds the commands of the gateway process."""
    start = command(commands, "start", _start, "start the local gateway, unless it runs")
    start.add_argument("--foreground", action="store_true", help="stay in this terminal instead of the background")
    command(commands, "stop", _stop, "stop the local gateway; calls in flight are ended and recorded")
    command(commands, "status", _status, "show the gateway, the spend of today and the budgets; starts nothing")
    logs = command(commands, "logs", _logs, "show the gateway's log")
    logs.add_argument("-n", "--lines", type=count, default=40, help="how many of the last lines (default: 40)")
    logs.add_argument("-f", "--follow", action="store_true", help="go on with what is added")


def _start(arguments: argparse.Namespace) -> int:
    if arguments.foreground:
        return subprocess.call([sys.executable, "-m", "aiplat_lab.gateway", "--home", str(home_of(arguments).path)])  # noqa: S603
    status = local_client_of(arguments).status()
    return show(arguments, [_line(status, plain=arguments.json)])


def _stop(arguments: argparse.Namespace) -> int:
    client = local_client_of(arguments, spawn=False)
    try:
        client.stop()
    except GatewayUnavailable:
        say("the gateway was not running")
    return show(arguments, [{"gateway": "stopped", "home": str(home_of(arguments).path)}])


def _status(arguments: argparse.Namespace) -> int:
    try:
        status = local_client_of(arguments, spawn=False).status()
    except GatewayUnavailable:
        show(arguments, [{"gateway": "stopped", "home": str(home_of(arguments).path)}])
        if not arguments.json:
            say("it starts with the first call, or with `aiplat start`")
        return 0
    show(arguments, [_line(status, plain=arguments.json)])
    if not arguments.json:
        for incident in status.get("incidents", []):
            say(f"incident: {incident}")
        queued = [queued_line(call) for call in status.get("calls_in_flight", []) if call.get("queued")]
        if queued:
            print()
            show(arguments, queued)
        if status.get("budgets"):
            print()
            show(arguments, [budget_line(budget) for budget in status["budgets"]])
    return 0


def _line(status: dict[str, Json], *, plain: bool) -> dict[str, Json]:
    spend = status["spend_today_usd"]
    return {
        "gateway": "running",
        "version": status["version"],
        "pid": status["pid"],
        "http": status["http"],
        **({"spend_today_usd": spend} if plain else {"spend_today": money(spend)}),
        "calls_today": status["calls_today"],
        **({"unpriced_today": status["unpriced_today"]} if status.get("unpriced_today") else {}),
        "in_flight": status["in_flight"],
        **_due(status.get("schedules") or {}, plain=plain),
        "home": status["home"],
    }


def _due(schedules: dict[str, Json], *, plain: bool) -> dict[str, Json]:
    """The schedule that is due next, where one is switched on."""
    if plain:
        return {"schedules": schedules}
    coming = schedules.get("next")
    return {"next_run": f"{coming['schedule']} {str(coming['due'])[:16]}Z"} if coming else {}


def queued_line(call: dict[str, Json]) -> dict[str, Json]:
    """A call that waits in a queue, as a row for people."""
    where = call["queued"]
    return {
        "waiting": call["call_id"],
        "team": call["team"],
        "model": call["model"],
        "for": where["limit"],
        "position": where["position"],
        "expected_s": f"{where['expected_s']:.1f}",
    }


def budget_line(budget: dict[str, Json]) -> dict[str, Json]:
    """A budget as a row for people."""
    limit, spent = float(budget["limit_usd"]), float(budget["spent_usd"])
    return {
        "budget": " ".join(part for part in (str(budget["scope"]), str(budget["name"])) if part),
        "period": budget["period"],
        "limit": money(budget["limit_usd"]),
        "spent": money(budget["spent_usd"]),
        "held": money(budget["held_usd"]),
        "used": f"{100 * spent / limit:.0f} %" if limit else "–",
        "kind": "hard" if budget["hard"] else "soft",
    }


def _logs(arguments: argparse.Namespace) -> int:
    path = home_of(arguments).log_file
    if not path.exists():
        say(f"there is no log yet at {path}")
        return 0
    with path.open(encoding="utf-8", errors="replace") as log:
        for line in deque(log, maxlen=arguments.lines):
            print(line, end="")
        while arguments.follow:
            line = log.readline()
            if line:
                print(line, end="", flush=True)
            else:
                time.sleep(0.3)
    return 0
