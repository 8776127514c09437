"""The dashboard's entry in the Jupyter server's proxy."""

from __future__ import annotations

import sys
from importlib.metadata import entry_points

from jupyter_server_proxy.config import ServerProcess


def test_the_proxy_finds_the_dashboard_and_takes_its_settings() -> None:
    [entry] = [entry for entry in entry_points(group="jupyter_serverproxy_servers") if entry.name == "aiplat-dashboard"]
    settings = entry.load()()
    process = ServerProcess(name=entry.name, **settings)
    assert process.launcher_entry.enabled is False
    assert process.new_browser_tab is False
    assert process.absolute_url is True
    assert process.timeout == 60
    filled = [word.format(unix_socket="/run/s", base_url="/user/x/") for word in settings["command"]]
    assert filled == [
        *(sys.executable, "-m", "aiplat_lab.dashboards", "serve", "--unix-socket", "/run/s"),
        *("--prefix", "/user/x/aiplat-dashboard", "--origin", "aiplat-dashboard", "--warm"),
    ]


def test_the_only_origin_that_the_dashboard_takes_is_the_proxys() -> None:
    """The server checks the real origin of a websocket; what it passes on carries the fixed one."""
    [entry] = [entry for entry in entry_points(group="jupyter_serverproxy_servers") if entry.name == "aiplat-dashboard"]
    settings = entry.load()()
    origin = settings["command"][settings["command"].index("--origin") + 1]
    assert settings["request_headers_override"] == {"Origin": f"http://{origin}"}
    assert "*" not in origin
