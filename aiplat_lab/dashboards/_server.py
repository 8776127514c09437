"""Serving: behind Jupyter's proxy on a socket, or alone on the loopback with a token."""

from __future__ import annotations

import hmac
import logging
import secrets
import signal
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import panel as pn
from panel.io.server import get_server
from tornado.httputil import HTTPServerRequest
from tornado.routing import Matcher, Rule
from tornado.web import RedirectHandler, RequestHandler

from aiplat_lab.client import connect
from aiplat_lab.core.errors import ConfigError, UsageError
from aiplat_lab.core.settings import Home
from aiplat_lab.dashboards._cost import COST
from aiplat_lab.dashboards._data import Reader
from aiplat_lab.dashboards._evaluation import EVALUATION
from aiplat_lab.dashboards._page import Plan, open_page
from aiplat_lab.dashboards._prompts import PROMPTS

LOOPBACK = "127.0.0.1"
PLANS = (COST, EVALUATION, PROMPTS)
"""The pages, the first of which is the one that opens."""
_REFUSED = (
    "<!doctype html><html lang=en><meta charset=utf-8><title>Not open</title>"
    "<body style='font:16px/1.5 sans-serif;max-width:36em;margin:4em auto;padding:0 1em'><h1>This page is not open to you</h1>"
    "<p>It shows what your calls cost, so it opens once, with the address that was printed when it was started. "
    "Run <code>aiplat dashboard</code> for a new one.</p></body></html>"
)


class Door(Matcher):  # type: ignore[misc]  # Tornado comes without types
    """Lets in who shows the token once, by a cookie from then on; matches every request that may not pass."""

    def __init__(self) -> None:
        self.token = secrets.token_urlsafe(24)
        """Opens the door once."""
        self._pass = secrets.token_urlsafe(32)
        self.cookie = f"aiplat-dashboard-{secrets.token_hex(4)}"
        """The cookie's name, one of this process alone, since cookies do not tell ports apart."""

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        """None lets the request pass to the page."""
        shown = request.cookies.get(self.cookie)
        return None if shown is not None and hmac.compare_digest(shown.value.encode(), self._pass.encode()) else {}

    def redeem(self, token: str) -> str | None:
        """The cookie's value for the right token, which is then used up."""
        if not self.token or not hmac.compare_digest(token.encode(), self.token.encode()):
            return None
        self.token = ""
        return self._pass


class DoorHandler(RequestHandler):  # type: ignore[misc]  # as above
    """Answers whoever is not let in yet."""

    def initialize(self, door: Door) -> None:
        """Keeps the door that this handler stands at."""
        self._door = door

    def prepare(self) -> None:
        """Takes the token, or refuses."""
        value = self._door.redeem(self.get_query_argument("token", "")) if self.request.method == "GET" else None
        if value is None:
            self.set_status(403)
            self.finish(_REFUSED)
            return
        rest = [(name, item.decode()) for name, items in self.request.query_arguments.items() if name != "token" for item in items]
        self.set_cookie(self._door.cookie, value, httponly=True, samesite="Strict", path="/")
        self.redirect(self.request.path + ("?" + urlencode(rest) if rest else ""))


def serve(
    home: Home,
    *,
    unix_socket: Path | None = None,
    port: int = 0,
    prefix: str = "",
    origins: Sequence[str] = (),
    warm: bool = False,
    tell: Callable[[str], object] = sys.stdout.write,
) -> None:
    """Serves the Cost page until the process is interrupted or terminated.

    Args:
        home: whose ledger is read, through its gateway.
        unix_socket: listen there for a proxy that checks who asks, in place of a port of the loopback.
        port: 0 takes a free one.
        prefix: the path that the page stands under.
        origins: `host:port` of pages from which browsers may connect; without one, a socket takes all, since the
            proxy before it checks them, and a port takes itself alone.
        warm: make the page once before the first reader comes.
        tell: is given the line with the address.

    Raises:
        UsageError: the socket's folder is open to others, or the address cannot be bound.
    """
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    pn.extension("vega")

    @cache
    def reader() -> Reader:
        return connect(home)

    def page(plan: Plan) -> Callable[[], Any]:
        def made() -> Any:  # Panel takes a function, and no other callable
            return open_page(plan, reader)

        return made

    _check_home(home)
    base = prefix.rstrip("/")
    options: dict[str, Any] = {"include_headers": [], "include_cookies": [], "keep_alive_milliseconds": 20_000}
    options |= {
        "use_index": False,
        "redirect_root": False,
        "extra_patterns": [(r"/?", RedirectHandler, {"url": f"{base}/{PLANS[0].name}"})],
    }
    try:
        if unix_socket is not None:
            _check_folder(unix_socket)
            options |= {"unix_socket": str(unix_socket), "allow_websocket_origin": list(origins) or ["*"]}
        else:
            options |= {"port": port, "address": LOOPBACK}
            if origins:
                options["allow_websocket_origin"] = list(origins)
        server = get_server({plan.name: page(plan) for plan in PLANS}, prefix=base, title="aiplat", warm=warm, **options)
    except OSError as error:
        where = unix_socket if unix_socket is not None else f"{LOOPBACK}:{port}"
        raise UsageError(f"the dashboard cannot listen on {where}: {error.strerror or error}") from None
    if unix_socket is None:
        door = Door()
        server._tornado.add_handlers(r".*", [Rule(door, DoorHandler, {"door": door})])
        tell(f"Cost dashboard: http://{LOOPBACK}:{server.port}{server.prefix}/cost?token={door.token}\n")
        sys.stdout.flush()
    loop = server.io_loop.asyncio_loop
    signal.signal(signal.SIGTERM, lambda *_: loop.call_soon_threadsafe(server.io_loop.stop))
    server.start()
    server.io_loop.start()


def _check_home(home: Home) -> None:
    if home.path.exists() and not home.path.is_dir():
        raise ConfigError(f"AIPLAT_HOME {str(home.path)!r} is not a folder")


def _check_folder(unix_socket: Path) -> None:
    """Makes sure that only the owner can reach the socket."""
    folder = unix_socket.parent
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if folder.stat().st_mode & 0o077:
        raise UsageError(f"the folder {str(folder)!r} is open to others: chmod 700 it, since whoever reaches the socket reads the costs")
