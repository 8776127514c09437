"""`python -m aiplat_lab.reports run|check|execute|list`: what `aiplat report` and schedules start."""

from __future__ import annotations

import argparse
import json
import logging
import math
import signal
import sys
from pathlib import Path

from aiplat_lab.core.light import leave_out_grammars

leave_out_grammars()  # before papermill comes

from aiplat_lab.core.errors import AiplatError, ReportError, UsageError  # noqa: E402
from aiplat_lab.core.parameters import read_parameters, report_names  # noqa: E402
from aiplat_lab.core.settings import Home, enter, environment  # noqa: E402
from aiplat_lab.reports._check import check_report  # noqa: E402
from aiplat_lab.reports._run import about, run_report  # noqa: E402


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="aiplat report")
    parser.set_defaults(home=None, json=False)
    actions = parser.add_subparsers(dest="action", required=True)
    run = actions.add_parser("run")
    run.add_argument("name")
    run.add_argument("--since", default=None)
    run.add_argument("--until", default=None)
    run.add_argument("-p", "--parameter", action="append", default=[])
    run.add_argument("--out", type=Path, default=None)
    run.add_argument("--timeout-s", type=_seconds, default=None)
    run.add_argument("--snapshot", type=Path, default=None)
    run.add_argument("--sha256", default="")
    run.add_argument("--keep-snapshot", action="store_true", default=None)
    check = actions.add_parser("check")
    check.add_argument("folder", type=Path)
    check.add_argument("--snapshot", type=Path, default=None)
    one = actions.add_parser("execute")
    one.add_argument("notebook", type=Path)
    one.add_argument("--out", type=Path, required=True)
    for action in (run, check, one, actions.add_parser("list")):
        action.add_argument("--home", type=Path, default=None)
        action.add_argument("--json", action="store_true")
    return parser.parse_args()


def _seconds(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0 < found < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return found


def _act(arguments: argparse.Namespace) -> list[dict[str, str]]:
    home = Home(arguments.home.expanduser().absolute()) if arguments.home else environment().home
    enter(home, headless=True)
    if arguments.action == "list":
        return [{"report": name, "about": about(name)} for name in report_names()]
    if arguments.action == "execute":
        from aiplat_lab.reports._execute import execute  # papermill takes a second to load

        limits = home.load().reports
        notebook, out = arguments.notebook.absolute(), arguments.out.expanduser().absolute()
        execute(notebook, out, parameters={}, folder=notebook.parent, timeout_s=limits.timeout_s, max_output_mb=limits.max_output_mb)
        return [{"notebook": str(out)}]
    given = arguments.snapshot.expanduser().absolute() if arguments.snapshot else None
    if arguments.action == "check":
        return check_report(arguments.folder.expanduser().absolute(), home=home, snapshot=given)
    out = arguments.out.expanduser().absolute() if arguments.out else None
    done = run_report(
        arguments.name,
        home=home,
        since=arguments.since,
        until=arguments.until,
        parameters=read_parameters(arguments.parameter),
        out=out,
        timeout_s=arguments.timeout_s,
        snapshot=given,
        sha256=arguments.sha256,
        keep_snapshot=arguments.keep_snapshot,
    )
    if done.status == "failed":
        raise ReportError(f"the report says that it failed: {'; '.join(done.reasons)}; see {done.html}")
    return [
        {
            "report": arguments.name,
            "folder": str(done.folder),
            "status": "; ".join([done.status, *done.reasons]),
            **{name: str(getattr(done, name)) for name in ("html", "pdf", "json", "notebook")},
            **({"snapshot": str(done.snapshot)} if done.snapshot else {}),
        }
    ]


def _end(*_: object) -> None:
    """SIGTERM ends a run as Ctrl-C does: its kernel is killed, what is half done is put away."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def main() -> int:
    """Runs one action and gives the exit code: 0, 1 (it failed) or 2 (used wrongly)."""
    arguments = _arguments()
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # nbclient's watch over a kernel that died ends with an error of its own
    signal.signal(signal.SIGTERM, _end)
    try:
        rows = _act(arguments)
    except AiplatError as error:
        sys.stderr.write(f"aiplat: {error.message}\n")
        return 2 if isinstance(error, UsageError) else 1
    except KeyboardInterrupt:
        sys.stderr.write("aiplat: the run was ended before it was done; no report was written\n")
        return 1
    if arguments.json:
        sys.stdout.write(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
    else:
        sys.stdout.writelines(f"{name:>9}  {value}\n" for row in rows for name, value in row.items())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
