"""The Jupyter server's one link to the gateway, which never holds up the server's loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

from aiplat_lab.client import Client, connect
from aiplat_lab.core.errors import AiplatError, GatewayUnavailable
from aiplat_lab.core.settings import Environment
from aiplat_lab.core.times import period_start
from aiplat_lab.core.types import utc_now
from aiplat_lab.labapp import _shelves

THREADS = 4
_INTO_THE_NEXT = 32
"""So many days after the first of a month lies a day of the next."""
T = TypeVar("T")
Json = dict[str, Any]


class Link:
    """Asks the gateway in threads. Reading never starts one; only `start` does.

    Args:
        environment: which gateway, and which home.
        root: the folder that the server's notebooks lie in.
    """

    def __init__(self, environment: Environment, *, root: Path) -> None:
        self._environment = environment
        self._root = root
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="aiplat-lab")
        self._starting = threading.Event()
        self._failed: AiplatError | None = None
        self._reader: Client = connect(spawn=False)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    # --- the gateway ----------------------------------------------------------------------------------------------------

    async def state(self) -> Json:
        """Whether the gateway runs, why not, its status, and what this month has cost."""
        return self._answer("starting") if self._starting.is_set() else await self._in_thread(self._read_state)

    def start_in_background(self) -> None:
        """Starts the gateway if none runs, without waiting; `state` says `starting` until it answers or has failed."""
        if not self._starting.is_set():
            self._starting.set()
            self._threads.submit(self._start)

    async def start(self) -> Json:
        """Starts the gateway if none runs, and gives the state when it answers or has failed."""
        self._starting.set()
        await self._in_thread(self._start)
        return await self.state()

    async def stop(self) -> Json:
        """Stops the gateway, and gives the state after it."""
        await self._in_thread(self._stop)
        return await self.state()

    def _start(self) -> None:
        try:
            with connect(spawn=True) as starter:
                starter.status()
            self._failed = None
        except AiplatError as error:
            self._failed = error
        finally:
            self._starting.clear()

    def _stop(self) -> None:
        try:
            self._reader.stop()
        except GatewayUnavailable:
            pass  # it is stopped, which is what was asked for
        self._failed = None

    def _read_state(self) -> Json:
        try:
            status = self._reader.status()
            month = self._spent_this_month(status)
        except GatewayUnavailable as error:
            return self._answer("error", self._failed) if self._failed else self._answer("stopped", error if self._remote else None)
        except AiplatError as error:
            return self._answer("error", error)
        forecast = _at_this_pace(month, str(status.get("time_zone") or "UTC"))
        return {**self._answer("running"), "gateway": status, "spend_month_usd": month, "forecast_month_usd": forecast}

    def _answer(self, state: str, error: AiplatError | None = None) -> Json:
        if state == "stopped" and self._remote:
            state = "error"
        return {
            "state": state,
            "message": error.message if error else "",
            "remote": self._remote,
            "gateway": None,
            "spend_month_usd": None,
            "forecast_month_usd": None,
        }

    @property
    def _remote(self) -> bool:
        return bool(self._environment.gateway)

    def _spent_this_month(self, status: Json) -> str | None:
        zone = str(status.get("time_zone") or "UTC")
        since = period_start("month", now=utc_now(), time_zone=zone)
        rows = self._reader.view_rows("totals", since=since.isoformat())
        return None if not rows or rows[0]["cost_usd"] is None else str(rows[0]["cost_usd"])

    # --- calls ----------------------------------------------------------------------------------------------------------

    async def calls(self, notebook: str, *, limit: int, offset: int = 0) -> Json:
        """The last calls of a notebook, newest first.

        Args:
            notebook: its path under the server's root; empty for the calls of all.
            limit: how many at most.
            offset: how many of the newest to leave out.
        """
        filters: Json = {"limit": limit, "offset": offset}
        if notebook:
            # A kernel knows its notebook by the whole path, and other surfaces by the path under the root.
            filters["notebook"] = sorted({notebook, str(self._root / notebook)})
        return {"calls": await self._in_thread(lambda: self._reader.view_rows("recent_calls", **filters))}

    async def call(self, call_id: str) -> Json:
        """One call with its messages and its answer."""
        return await self._in_thread(lambda: self._reader.call(call_id))

    async def cancel(self, call_id: str) -> Json:
        """Cancels a call under way; `cancelled` is false where it has ended meanwhile."""
        return {"cancelled": await self._in_thread(lambda: self._reader.cancel(call_id))}

    async def plan(self, body: Json) -> Json:
        """What would become of `requests`, one plan for each; nothing is sent."""
        return {"plans": await self._in_thread(lambda: self._planned(body))}

    def _planned(self, body: Json) -> list[Any]:
        asked = _shelves.planned(self._reader, body.get("requests"))
        sent = [one for one in asked if not (isinstance(one, dict) and "error" in one)]
        plans = iter(self._reader.post("/api/plan", {"requests": sent})["plans"] if sent else ())
        wrong = (
            {"state": "error", "error": {"message": one["error"]}} if isinstance(one, dict) and "error" in one else None for one in asked
        )
        return [said or next(plans) for said in wrong]

    # --- prompts and evalsets -------------------------------------------------------------------------------------------

    async def prompts(self) -> Json:
        """Every prompt, saved or shipped."""
        return await self._in_thread(lambda: _shelves.prompt_list(self._reader))

    async def prompt(self, reference: str) -> Json:
        """One prompt with its text."""
        return await self._in_thread(lambda: _shelves.prompt_text(self._reader, reference))

    async def save_prompt(self, body: Json) -> Json:
        """Saves a cell as a version of a prompt."""
        return await self._in_thread(lambda: _shelves.save_prompt(self._reader, body))

    async def evalsets(self) -> Json:
        """Every evalset with its last result."""
        return await self._in_thread(lambda: _shelves.evalset_list(self._reader))

    async def models(self) -> Json:
        """The models that a cell may name."""
        return {"models": await self._in_thread(self._reader.models)}


def _at_this_pace(spent: str | None, zone: str) -> str | None:
    """What the month will have cost at its end at the present pace; None before a day of it has passed."""
    if spent is None:
        return None
    now = utc_now()
    begun = period_start("month", now=now, time_zone=zone)
    ends = period_start("month", now=begun + timedelta(days=_INTO_THE_NEXT), time_zone=zone)
    passed = (now - begun) / (ends - begun)
    if now - begun < timedelta(days=1):
        return None
    return f"{Decimal(spent) / Decimal(passed):.9f}"
