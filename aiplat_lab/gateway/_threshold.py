"""Who may come near a door at all: no page of another site, and nobody who was led here under a foreign name.

A web page that the owner visits can send requests to a loopback port, and under a name that it controls it can read the answers
(DNS rebinding). Programs send no `Origin`, and the name that they dialled; both are looked at before anything else of a request.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from urllib.parse import urlsplit

from aiohttp import hdrs, web

from aiplat_lab.core.errors import AuthRefused

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
"""The names of this machine that only it can dial."""
WILDCARD = frozenset({"0.0.0.0", "::"})  # noqa: S104 (compared with, not listened on)
"""Addresses to listen on that nobody can dial."""
_FETCH_SITE, _FETCH_MODE = "Sec-Fetch-Site", "Sec-Fetch-Mode"
_POLICY = "door"


class Threshold:
    """What a request has to show at a door that others can reach.

    Args:
        host: the address that the door listens on.
        names: further names under which it is reached, with a port or for every port.
    """

    def __init__(self, host: str, names: Sequence[str] = ()) -> None:
        self._host = host.lower()
        self._names = frozenset(name.lower() for name in names)
        self._known: frozenset[str] = frozenset()
        self.open(0)

    def open(self, port: int) -> None:
        """Takes requests that name this port."""
        hosts = LOOPBACK if self._host in LOOPBACK else {self._host, *LOOPBACK}
        self._known = frozenset(
            {f"{_bracketed(host)}:{port}" for host in hosts} | ({_bracketed(host) for host in hosts} if port == 80 else set())
        )

    def check(self, request: web.Request) -> None:
        """Lets a request pass that no foreign page can have sent.

        Raises:
            AuthRefused: it names another host, or comes from a web page.
        """
        headers = request.headers
        host = headers.get(hdrs.HOST, "")
        if host not in self._known and not self._may_name(host.lower()):
            raise AuthRefused(
                f"the request names the host {host[:80]!r}, which is none of this gateway's; gateway.names in aiplat.toml takes more",
                policy=_POLICY,
                denied=True,
            )
        if hdrs.ORIGIN in headers or _FETCH_SITE in headers:
            _check_page(request)

    def _may_name(self, host: str) -> bool:
        if host in self._known or host in self._names:
            return True
        name = _name(host)
        if name in self._names:
            return True
        return self._host in WILDCARD and _is_address(name)  # an address cannot be made to mean another machine


def _check_page(request: web.Request) -> None:
    """Lets a request of a page on this machine pass, if it could not have been sent without asking first."""
    headers = request.headers
    origin = headers.get(hdrs.ORIGIN)
    if origin is not None and (_origin_host(origin) not in LOOPBACK):
        raise AuthRefused(
            f"the web page {origin[:80]!r} may not use this gateway: it takes requests of programs", policy=_POLICY, denied=True
        )
    opened = request.method == hdrs.METH_GET and headers.get(_FETCH_MODE) == "navigate"  # a link that a person followed
    if headers.get(_FETCH_SITE) == "cross-site" and not opened:
        raise AuthRefused("a page of another site may not use this gateway: it takes requests of programs", policy=_POLICY, denied=True)
    if request.method not in (hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_OPTIONS) and request.content_type != "application/json":
        raise AuthRefused(
            f"a web page sent {request.content_type}, which needs no leave of anybody; send application/json", policy=_POLICY, denied=True
        )


def _origin_host(origin: str) -> str:
    """The host of an origin; empty where it has none, as `null`."""
    try:
        parts = urlsplit(origin)
        return (parts.hostname or "") if parts.scheme in ("http", "https") else ""
    except ValueError:
        return ""


def _name(host: str) -> str:
    """The host without its port and brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if host.count(":") == 1 else host


def is_loopback(host: str) -> bool:
    """Whether only this machine can dial the address."""
    return host == "localhost" or (_is_address(host) and ip_address(host).is_loopback)


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
