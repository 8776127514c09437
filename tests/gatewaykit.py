"""A gateway in the test's own process: real policies, real ledger, and the fault server as its upstream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from faults import FaultServer

from aiplat_lab.core.settings import Home, parse
from aiplat_lab.core.types import Attribution, Clock, Message, Request, utc_now
from aiplat_lab.gateway.pipeline import Gateway
from aiplat_lab.ledger import Ledger

UP = """
[providers.up]
kind = "openai"
base_url = "{url}"
api_key = "env:UP_KEY"
region = "uk"
timeout_s = 20.0
[providers.claude]
kind = "anthropic"
base_url = "{anthropic}"
api_key = "env:UP_KEY"
region = "uk"
"""
CANARY = "sk-canary-0123456789abcdef0123456789abcdef"
PRICED = "input_usd_per_mtok = 2.5, output_usd_per_mtok = 10"


@dataclass
class World:
    """A gateway and what stands around it."""

    gateway: Gateway
    ledger: Ledger
    upstream: FaultServer

    def row(self, call_id: str) -> dict[str, Any]:
        rows = self.ledger.view_rows("call", {"call_id": call_id})
        assert len(rows) == 1, f"{len(rows)} rows for {call_id}"
        return rows[0]

    def rows(self, **filters: Any) -> list[dict[str, Any]]:
        return self.ledger.view_rows("recent_calls", {"limit": 100_000, **filters})

    def asked(self, model: str) -> int:
        return sum(seen.model == model for seen in self.upstream.requests)


@asynccontextmanager
async def world(home: Home, upstream: FaultServer, toml: str = "", *, clock: Clock = utc_now) -> AsyncIterator[World]:
    settings = parse(toml + UP.format(url=upstream.openai_url, anthropic=upstream.url))
    ledger = Ledger.open(home, clock=clock)
    try:
        gateway = Gateway(settings, ledger, clock=clock)
        await asyncio.sleep(0.002)  # so that every id made from here on is younger than the gateway
        try:
            yield World(gateway, ledger, upstream)
        finally:
            await gateway.aclose()
    finally:
        ledger.close()


def model(name: str, *deployments: str, more: str = "") -> str:
    """A `[models]` entry of models of the fault server; each deployment is `model` or `model, key = value, …`."""
    entries = []
    for one in deployments:
        there, _, rest = one.partition(",")
        entries.append(f'{{ provider = "up", model = "{there.strip()}"{"," + rest if rest else ""}{more} }}')
    return f"[models.{name}]\ndeployments = [{', '.join(entries)}]\n"


def ask(model: str, text: str = "Say something", *, cache: str = "off", team: str = "", surface: str = "python", **more: Any) -> Request:
    """A request of one user message."""
    who = {key: more.pop(key) for key in ("project", "user_id", "key_id", "prompt_name", "tags") if key in more}
    settings = more.pop("settings", {})
    return Request(
        model=model,
        messages=(Message("user", text),),
        settings=settings,
        cache=cache,  # type: ignore[arg-type]
        attribution=Attribution(surface=surface, team=team, **who),
        **more,
    )
