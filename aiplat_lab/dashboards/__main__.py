"""`python -m aiplat_lab.dashboards serve`: the dashboards' process."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from aiplat_lab.core.errors import AiplatError, UsageError
from aiplat_lab.core.light import leave_out_grammars
from aiplat_lab.core.settings import Home, environment


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m aiplat_lab.dashboards", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="serve the Cost page until interrupted")
    serve.add_argument(
        "--unix-socket", type=Path, metavar="PATH", help="listen there, in an owner-only folder, for a proxy that checks who asks"
    )
    serve.add_argument("--port", type=int, default=0, metavar="N", help="listen on this port of the loopback; a free one when left out")
    serve.add_argument(
        "--prefix", default="", metavar="PREFIX", help="the path that the page stands under, such as /user/x/aiplat-dashboard"
    )
    serve.add_argument("--origin", action="append", metavar="ORIGIN", help="a host:port from which browsers may connect; may be repeated")
    serve.add_argument("--warm", action="store_true", help="make the page once before the first reader comes")
    serve.add_argument("--home", type=Path, metavar="PATH", help="read this home in place of AIPLAT_HOME")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; the exit code is 0, 1 (it failed) or 2 (used wrongly)."""
    given = _parser().parse_args(arguments)
    home = Home(given.home.expanduser().absolute()) if given.home else environment().home
    leave_out_grammars()
    try:
        from aiplat_lab.dashboards._server import serve  # two seconds of imports that a wrong option need not wait for

        serve(home, unix_socket=given.unix_socket, port=given.port, prefix=given.prefix, origins=given.origin or (), warm=given.warm)
    except AiplatError as error:
        sys.stderr.write(f"{error.message}\n")
        return 2 if isinstance(error, UsageError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
