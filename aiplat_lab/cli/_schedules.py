"""`aiplat schedule add | list | run | pause | resume | remove | history | export`: reports that are made by themselves."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from aiplat_lab import observe
from aiplat_lab.cli._frame import Commands, Parser, command, count, home_of, local_client_of, say, seconds, show
from aiplat_lab.client import Client
from aiplat_lab.core.cron import time_zone
from aiplat_lab.core.errors import ReportError, UsageError
from aiplat_lab.core.parameters import read_parameters
from aiplat_lab.core.text import seconds as shown_seconds

_POLL_S = 0.2


def add(commands: Commands) -> None:
    """Adds the commands for schedules."""
    schedule = commands.add_parser("schedule", help="make reports by themselves, at set times")
    actions = schedule.add_subparsers(title="actions", metavar="ACTION", required=True, parser_class=Parser)
    new = command(actions, "add", _add, "set a schedule, or change the one of that name; the gateway keeps it")
    new.add_argument("report", help="the report, such as cost, or the path of a report notebook of your own")
    new.add_argument(
        "--cron", required=True, metavar="LINE", help='when: five fields such as "0 7 * * 1", or @hourly, @daily, @weekly, @monthly'
    )
    new.add_argument("--tz", default="", metavar="ZONE", help="the IANA time zone of that (default: time_zone in aiplat.toml)")
    new.add_argument("--name", default="", metavar="ID", help="what the schedule is called (default: as the report)")
    new.add_argument(
        "--since",
        default="",
        metavar="WHEN",
        help="where each report's period begins, counted from when it is due (default: as the notebook says)",
    )
    new.add_argument("-p", "--parameter", action="append", default=[], metavar="KEY=VALUE", help="a parameter of the notebook")
    new.add_argument(
        "--timeout-s", type=seconds, metavar="SECONDS", help="the longest a run may take (default: reports.timeout_s and a minute)"
    )
    new.add_argument("--catch-up", choices=("latest", "none"), default="latest", help="after missed times: run once, or only note them")
    command(actions, "list", _list, "list the schedules: when each is due, how the last run ended, which was the last good one")
    run = _about(command(actions, "run", _run, "run a schedule now and wait for its end; exit code 1 when it fails"))
    run.add_argument("--no-wait", action="store_true", help="do not wait")
    _about(command(actions, "pause", _pause, "pause a schedule"))
    _about(command(actions, "resume", _resume, "let a paused schedule go on; what was due meanwhile is not caught up with"))
    _about(command(actions, "remove", _remove, "take a schedule away; its history and reports stay"))
    history = _about(command(actions, "history", _history, "show the runs of a schedule, newest first"))
    history.add_argument("--limit", type=count, default=20, help="at most so many (default: 20)")
    export = _about(
        command(actions, "export", _export, "write a schedule as a crontab line or a systemd timer, for those who keep their own")
    )
    export.add_argument("--format", choices=("cron", "systemd"), default="cron", help="default: cron")
    export.add_argument("--out", type=Path, metavar="FOLDER", help="write the systemd units there instead of printing them")


def _about(sub: Parser) -> Parser:
    sub.add_argument("id", metavar="ID", help="the schedule's name")
    return sub


def _add(arguments: argparse.Namespace) -> int:
    change = observe.add_schedule(
        arguments.report,
        cron=arguments.cron,
        client=local_client_of(arguments),
        zone=arguments.tz,
        name=arguments.name,
        since=arguments.since,
        parameters=read_parameters(arguments.parameter),
        timeout_s=arguments.timeout_s,
        catch_up=arguments.catch_up,
    )
    before = change.before
    if before is None:
        say(f"the schedule {change.after['id']} is new")
    else:
        fields = [name for name in ("report", "cron", "time_zone", "parameters", "enabled", "timeout_s", "catch_up")]
        moved = [f"{name} was {before[name]!r}" for name in fields if before[name] != change.after[name]]
        say(f"the schedule {change.after['id']} was there and is changed: {', '.join(moved) or 'nothing is different'}")
    return _one(arguments, str(change.after["id"]))


def _one(arguments: argparse.Namespace, name: str) -> int:
    row = observe.find_schedule(local_client_of(arguments), name)
    return show(arguments, [row if arguments.json else _line(row)])


def _list(arguments: argparse.Namespace) -> int:
    rows = observe.schedules(local_client_of(arguments))
    shown = rows if arguments.json else [_line(row) for row in rows]
    return show(arguments, shown, empty='no schedule is set: aiplat schedule add cost --cron "0 7 * * 1"')


def _line(row: Mapping[str, Any]) -> dict[str, Any]:
    last = f"{row['last_status']} {_wall(row['last_slot'], row)}" if row["last_status"] else None
    return {
        "schedule": row["id"],
        "report": row["report"],
        "cron": row["cron"],
        "time_zone": row["time_zone"],
        "next_due": _wall(row["next_due"], row) if row["enabled"] is not False else "paused",
        "last": last,
        "last_good": row["good_folder"],
    }


def _wall(at: datetime | str | None, row: Mapping[str, Any]) -> str | None:
    """A time as the clock in the schedule's zone shows it."""
    if at is None:
        return None
    when = datetime.fromisoformat(at) if isinstance(at, str) else at
    return f"{when.astimezone(time_zone(str(row['time_zone']))):%Y-%m-%d %H:%M %Z}"


def _run(arguments: argparse.Namespace) -> int:
    client = local_client_of(arguments)
    observe.find_schedule(client, arguments.id)
    run = str(client.post(f"/api/schedules/{arguments.id}/run")["run"])
    row = _found(client, arguments.id, run)
    while not arguments.no_wait and row["status"] == "started":
        time.sleep(_POLL_S)
        row = _found(client, arguments.id, run)
    show(arguments, [row if arguments.json else _run_line(row)])
    if row["status"] not in ("ok", "started"):
        raise ReportError(f"the run of {arguments.id} ended as {row['status']}: {row['error']}; its log: {row['log']}")
    return 0


def _found(client: Client, schedule: str, run: str) -> dict[str, Any]:
    return next(row for row in observe.schedule_runs(client, schedule, limit=100) if row["id"] == run)


def _run_line(row: Mapping[str, Any]) -> dict[str, Any]:
    took = None
    if row["started_at"] and row["ended_at"]:
        took = (datetime.fromisoformat(row["ended_at"]) - datetime.fromisoformat(row["started_at"])).total_seconds()
    return {
        "due": str(row["slot"])[:16].replace("T", " "),
        "status": row["status"],
        "took": shown_seconds(took) if took is not None else None,
        "by": "a person" if row["manual"] else "the clock",
        "result": row["folder"] or row["error"],
    }


def _pause(arguments: argparse.Namespace) -> int:
    observe.switch_schedule(local_client_of(arguments), arguments.id, enabled=False)
    return _one(arguments, arguments.id)


def _resume(arguments: argparse.Namespace) -> int:
    observe.switch_schedule(local_client_of(arguments), arguments.id, enabled=True)
    return _one(arguments, arguments.id)


def _remove(arguments: argparse.Namespace) -> int:
    observe.remove_schedule(local_client_of(arguments), arguments.id)
    return show(arguments, [{"schedule": arguments.id, "state": "removed"}])


def _history(arguments: argparse.Namespace) -> int:
    rows = observe.schedule_runs(local_client_of(arguments), arguments.id, limit=arguments.limit)
    return show(arguments, rows if arguments.json else [_run_line(row) for row in rows], empty="it has not run yet")


def _export(arguments: argparse.Namespace) -> int:
    if arguments.out is not None and arguments.format != "systemd":
        raise UsageError("--out goes with --format systemd; a crontab line is printed, to be added with `crontab -e`")
    row, home = observe.find_schedule(local_client_of(arguments), arguments.id), home_of(arguments)
    files = observe.systemd(row, home) if arguments.format == "systemd" else {"crontab": observe.crontab(row, home)}
    if arguments.out is not None:
        arguments.out.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (arguments.out / name).write_text(text, encoding="utf-8")
    if arguments.json or arguments.out is not None:
        where = str(arguments.out) if arguments.out is not None else None
        return show(
            arguments, [{"file": name, "folder": where, **({"text": text} if arguments.json else {})} for name, text in files.items()]
        )
    print("\n".join(f"# {name}\n{text}" if len(files) > 1 else text for name, text in files.items()), end="")
    return 0
