"""How fast calls may come: requests and tokens a minute, and calls at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiplat_lab.core.errors import RateLimited
from aiplat_lab.core.registry import register
from aiplat_lab.core.settings import Settings
from aiplat_lab.core.types import Call, Clock, Deployment, utc_now
from aiplat_lab.ledger import Ledger


@register("policy", "limits")
class Limits:
    """Keeps what a provider asks for: after its Retry-After, nothing goes to that deployment before the time."""

    name = "limits"

    def __init__(self, settings: Settings, ledger: Ledger, *, clock: Clock = utc_now) -> None:
        self._not_before: dict[str, float] = {}

    async def before(self, call: Call) -> None:
        """Nothing yet."""

    async def after(self, call: Call) -> None:
        """Nothing is left to do."""

    # --- deployments ------------------------------------------------------------------------------------------------

    def wait_s(self, deployment: Deployment) -> float:
        """Seconds until a call could be sent there, as far as is known; 0 is now."""
        return max(0.0, self._not_before.get(deployment.name, 0.0) - asyncio.get_running_loop().time())

    def hold_back(self, deployment: Deployment, seconds: float) -> None:
        """Keeps every call from the deployment for so long: what its provider asked for."""
        until = asyncio.get_running_loop().time() + seconds
        self._not_before[deployment.name] = max(until, self._not_before.get(deployment.name, 0.0))

    @asynccontextmanager
    async def slot(self, call: Call, deployment: Deployment, *, within_s: float) -> AsyncIterator[None]:
        """A place among the calls to the deployment.

        Raises:
            RateLimited: on entering: there is none within so many seconds.
        """
        pause_s = self.wait_s(deployment)
        if pause_s > within_s:
            text = f"{deployment.name} asked to wait {pause_s:.0f} s, and this call has {within_s:.0f} s left"
            raise RateLimited(text, policy=self.name, retry_after_s=pause_s)
        if pause_s:
            await asyncio.sleep(pause_s)
        yield
