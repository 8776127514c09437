"""A scheduler on a real ledger, with a clock that a test sets and commands that are quick to start."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Lock
from typing import Any

from aiplat_lab.core.settings import Home, Settings
from aiplat_lab.gateway.schedule import Scheduler
from aiplat_lab.ledger import Ledger

GOOD = """
import json, pathlib, sys
made = pathlib.Path(sys.argv[1]); made.mkdir(parents=True)
for name in ("json", "html", "pdf"): (made / f"report.{name}").write_text(sys.argv[2])
print(json.dumps([{"report": "x", "folder": str(made), **{name: str(made / f"report.{name}") for name in ("json", "html", "pdf")}}]))
"""
"""A command that does what `aiplat report run` does when all is well: files, and one row that names them."""


@dataclass
class Clock:
    """A clock that stands until it is set."""

    now: datetime

    def __call__(self) -> datetime:
        return self.now

    def set(self, text: str) -> None:
        self.now = at(text)

    def pass_(self, **span: float) -> None:
        self.now += timedelta(**span)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@dataclass
class Kept:
    """A scheduler and what stands around it."""

    home: Home
    ledger: Ledger
    clock: Clock
    scheduler: Scheduler
    code: dict[str, str]
    started: list[tuple[str, datetime]] = field(default_factory=list)

    def set(self, name: str, cron: str, **more: Any) -> None:
        row = {"id": name, "report": name, "cron": cron, "time_zone": "UTC", "parameters": {}, "enabled": True, "catch_up": "latest"}
        self.ledger.record("schedule", {**row, **more})

    def runs(self, name: str = "a") -> list[tuple[str, str]]:
        rows = self.ledger.view_rows("schedule_run_list", {"schedule": name})
        return [(f"{row['slot']:%d %H:%M}", row["status"]) for row in reversed(rows)]

    def row(self, name: str = "a") -> dict[str, Any]:
        return self.ledger.view_rows("schedule_run_list", {"schedule": name})[0]

    async def look(self, text: str) -> float:
        """Sets the clock, looks, and waits until what was started has ended."""
        self.clock.set(text)
        sleep_s = await self.scheduler.look()
        await self.scheduler.settled()
        return sleep_s


@asynccontextmanager
async def kept(home: Home, begin: str, *, code: dict[str, str] | None = None, end: bool = True) -> AsyncIterator[Kept]:
    """A scheduler whose schedule NAME runs the Python text `code[NAME]`, or GOOD."""
    clock = Clock(at(begin))
    texts: dict[str, str] = code or {}
    ledger = Ledger.open(home, clock=clock)
    started: list[tuple[str, datetime]] = []

    def command(row: Mapping[str, Any], slot: datetime, home: Home, settings: Settings, timeout_s: float) -> list[str]:
        started.append((str(row["id"]), slot))
        made = home.path / "made" / f"{row['id']}-{slot:%Y%m%dT%H%M%S.%f}"
        return [sys.executable, "-c", texts.get(str(row["id"]), GOOD), str(made), json.dumps(row["parameters"])]

    scheduler = Scheduler(home, Settings(), ledger, recording=Lock(), clock=clock, command=command)
    try:
        yield Kept(home, ledger, clock, scheduler, texts, started)
    finally:
        if end:
            await scheduler.aclose()
        ledger.close()


def made(home: Home) -> list[Path]:
    folder = home.path / "made"
    return sorted(folder.iterdir()) if folder.exists() else []
