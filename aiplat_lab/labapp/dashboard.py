"""The dashboard behind the Jupyter server's proxy: one process, on a socket of its own, behind Jupyter's authentication."""

from __future__ import annotations

import sys
from typing import Any

NAME = "aiplat-dashboard"
"""The path of the dashboard under the server's base URL."""
START_TIMEOUT_S = 60


def dashboard_server() -> dict[str, Any]:  # Any: the proxy's own settings
    """What jupyter-server-proxy needs to start the dashboard on its first request.

    The server has already refused a websocket from a foreign page when the proxy passes one on, and only the proxy can
    reach the socket. So the page's address, which differs with host, port and hub, is replaced by one fixed name, and
    the dashboard takes no other.
    """
    serve = [sys.executable, "-m", "aiplat_lab.dashboards", "serve"]
    place = ["--unix-socket", "{unix_socket}", "--prefix", "{base_url}" + NAME, "--origin", NAME]
    return {
        "command": [*serve, *place, "--warm"],
        "unix_socket": True,
        "absolute_url": True,
        "timeout": START_TIMEOUT_S,
        "new_browser_tab": False,
        "request_headers_override": {"Origin": f"http://{NAME}"},
        "launcher_entry": {"enabled": False, "title": "AI costs"},
    }
