"""A real gateway process of a home of its own, with the fault server as its upstream."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faults import FaultServer

from aiplat_lab.client import Client, connect
from aiplat_lab.core.errors import GatewayUnavailable
from aiplat_lab.core.settings import Home
from aiplat_lab.gateway.process import held

KEY = "upstream-key-0123456789"
TOML = """
default_model = "up/echo"
{more}
[providers.up]
kind = "openai"
base_url = "{url}/v1"
api_key = "file:{key_file}"
region = "uk"
timeout_s = 20.0
[providers.claude]
kind = "anthropic"
base_url = "{url}"
api_key = "file:{key_file}"
region = "us"
timeout_s = 20.0
[models.priced]
deployments = [{{ provider = "up", model = "instant", input_usd_per_mtok = 2.5, output_usd_per_mtok = 10, max_output_tokens = 100 }}]
[models.priced-claude]
deployments = [{{ provider = "claude", model = "instant", input_usd_per_mtok = 3, output_usd_per_mtok = 15, max_output_tokens = 100 }}]
[teams.london]
residency = ["uk"]
[teams.poor]
[[budgets]]
team = "poor"
limit_usd = 0.000001
"""


@dataclass
class Served:
    """A gateway and what stands around it."""

    home: Home
    upstream: FaultServer
    client: Client

    @property
    def http(self) -> str:
        return str(self.client.status()["http"])

    def key(self, **about: Any) -> str:
        return str(self.client.post("/api/keys", about)["key"])

    def rows(self, **filters: Any) -> list[dict[str, Any]]:
        return self.client.view_rows("recent_calls", **{"limit": 10_000, **filters})


def write_settings(home: Home, upstream: FaultServer, more: str = "", tables: str = "") -> None:
    key_file = home.path / "upstream.key"
    key_file.write_text(KEY)
    home.settings_file.write_text(TOML.format(url=upstream.url, key_file=key_file, more=more) + tables)


def stop(home: Home) -> None:
    try:
        connect(home, spawn=False).stop()
    except GatewayUnavailable:
        assert not held(home)


@contextmanager
def served(folder: Path, more: str = "", tables: str = "") -> Iterator[Served]:
    home = Home(folder).create()
    with FaultServer(key=KEY) as upstream:
        write_settings(home, upstream, more, tables)
        try:
            with connect(home) as client:
                yield Served(home, upstream, client)
        finally:
            stop(home)


def wait_for(condition: Callable[[], Any], timeout_s: float = 5.0) -> bool:
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True
