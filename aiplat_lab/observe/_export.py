"""A schedule for those who keep their own: as a crontab line, or as a systemd timer and its service."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from aiplat_lab.core.cron import Cron, parse_cron
from aiplat_lab.core.errors import UsageError
from aiplat_lab.core.settings import Home

_MONTHS = ("", "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")
_LONGEST_LINE = 998
"""What the oldest crons take."""
_LINES = "\\\n\r\0"


def command(row: Mapping[str, Any], home: Home) -> list[str]:
    """The command that makes the report of a schedule, for the period that ends when it is run."""
    parameters = dict(row["parameters"] or {})
    words = [sys.executable, "-m", "aiplat_lab.cli", "report", "run", str(row["report"]), "--since", str(parameters.pop("since", "7d"))]
    if "until" in parameters:
        words += ["--until", str(parameters.pop("until"))]
    for name, value in parameters.items():
        words += ["-p", f"{name}={_written(value)}"]
    if row["timeout_s"]:
        words += ["--timeout-s", f"{float(row['timeout_s']):g}"]
    return [*words, "--home", str(home.path)]


def _written(value: Any) -> str:  # Any: JSON
    """A value so that `-p` reads it back as it is."""
    if isinstance(value, str):
        try:
            json.loads(value)
        except ValueError:
            return value
    return json.dumps(value, ensure_ascii=False)


def crontab(row: Mapping[str, Any], home: Home) -> str:
    """The lines of a crontab that run a schedule.

    Raises:
        UsageError: a crontab cannot hold its command.
    """
    cron, words = parse_cron(str(row["cron"])), command(row, home)
    bad = next((word for word in words if any(sign in word for sign in _LINES)), None)
    if bad is not None:
        raise UsageError(
            f"a crontab cannot hold {bad[:60]!r}, since crons read a backslash or a line break differently; use --format systemd"
        )
    line = f"{_numbered(cron.line)} {shlex.join(words)}".replace("%", r"\%")
    if len(line.encode()) > _LONGEST_LINE:
        raise UsageError(
            f"the crontab line would have {len(line.encode())} bytes, and some crons take {_LONGEST_LINE}; use --format systemd"
        )
    note = f"# aiplat-lab: schedule {row['id']}. CRON_TZ is read by cronie; other crons use the machine's own zone."
    return f"{note}\nCRON_TZ={row['time_zone']}\n{line}\n"


def _numbered(line: str) -> str:
    """A cron line with numbers in the place of names, which not every cron reads in lists and ranges."""
    fields = line.split(" ")
    fields[3] = re.sub("[a-z]+", lambda found: str(_MONTHS.index(found[0])), fields[3])
    fields[4] = re.sub("-sun", "-7", fields[4])
    fields[4] = re.sub("[a-z]+", lambda found: str(_DAYS.index(found[0].capitalize())), fields[4])
    return " ".join(fields)


def systemd(row: Mapping[str, Any], home: Home) -> dict[str, str]:
    """The unit files that run a schedule, by their names: a timer and a service."""
    unit = f"aiplat-{row['id']}"
    times = "".join(f"OnCalendar={text}\n" for text in calendar(parse_cron(str(row["cron"])), str(row["time_zone"])))
    started, *given = command(row, home)
    execute = " ".join([_quoted(started, variables=False), *(_quoted(word) for word in given)])
    limit = f"{float(row['timeout_s']) + 60:g}" if row["timeout_s"] else "infinity"
    title = f"aiplat-lab schedule {row['id']}".replace("%", "%%")
    return {
        f"{unit}.timer": (
            f"[Unit]\nDescription={title}\n\n[Timer]\n{times}AccuracySec=1s\n"
            f"Persistent={'false' if row['catch_up'] == 'none' else 'true'}\n\n[Install]\nWantedBy=timers.target\n"
        ),
        f"{unit}.service": f"[Unit]\nDescription={title}\n\n[Service]\nType=oneshot\nTimeoutStartSec={limit}\nExecStart={execute}\n",
    }


def calendar(cron: Cron, zone: str) -> list[str]:
    """The times of a cron line as systemd's `OnCalendar` takes them; two where a day may count by number or by weekday."""
    time = f"{_listed(cron.hours, 24, width=2)}:{_listed(cron.minutes, 60, width=2)}:00 {zone}"
    month = _listed(cron.months, 12, width=2)
    days, names = _listed(cron.days, 31, width=2), ",".join(_DAYS[day] for day in cron.weekdays)
    if cron.either_day:
        return [f"*-{month}-{days} {time}", f"{names} *-{month}-* {time}"]
    return [f"{names + ' ' if len(cron.weekdays) < len(_DAYS) else ''}*-{month}-{days} {time}"]


def _listed(numbers: Sequence[int], whole: int, *, width: int) -> str:
    return "*" if len(numbers) == whole else ",".join(f"{number:0{width}}" for number in numbers)


def _quoted(word: str, *, variables: bool = True) -> str:
    """A word of `ExecStart`: systemd reads `%`, and `$` but in the command's own path, unless they are doubled."""
    text = word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r").replace("%", "%%")
    if variables:
        text = text.replace("$", "$$")
    return f'"{text}"'
