"""Which deployments are known to fail, and how much may be tried again: breakers, the retry budget, the hedge budget."""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from aiplat_lab.core.errors import ProviderError
from aiplat_lab.core.settings import ProviderSettings
from aiplat_lab.core.types import Deployment

RETRY_BURST = 10.0
"""Retries and fallbacks that are always allowed, before any share counts."""
HEDGE_SHARE = 0.05
"""Second questions, as a share of all calls to a model."""
HEDGE_BURST = 10.0
WINDOWS = 4
"""The failure rate is taken over so many times `breaker_failures` answers."""
FAILING_SHARE = 0.5
_OWN_MAKING = frozenset({"bad_request", "context_length"})
_MOST = 2_000

State = Literal["closed", "open", "half-open"]


def counts(error: BaseException) -> bool:
    """Whether a failure speaks against the deployment: not what its caller caused, and not "too many", which has a wait of its own."""
    if not isinstance(error, ProviderError):
        return False
    if error.reason == "rate_limited":
        return not error.retryable  # no credit left: no wait helps
    return error.status == 404 or error.reason not in _OWN_MAKING


class Failure(NamedTuple):
    """What is kept of a failure."""

    message: str
    status: int | None
    reason: str


@dataclass(slots=True)
class Breaker:
    """One deployment: closed while it answers, open after it failed again and again, half-open while one call tries it."""

    failures: int
    """In a row, after which it opens; 0 never does."""
    open_s: float
    in_a_row: int = 0
    opened_at: float | None = None
    """On the event loop's clock."""
    probing: bool = False
    last_error: Failure | None = None
    opened: int = 0
    """How often it has opened."""
    recent: deque[bool] = field(default_factory=deque)
    limited: int = 0
    """How often in a row its provider said "too many" without a time."""

    def state(self, now: float) -> State:
        """Closed, open, or half-open: due for a single try."""
        if self.opened_at is None:
            return "closed"
        return "half-open" if self.probing or now >= self.opened_at + self.open_s else "open"

    def left_s(self, now: float) -> float:
        """Seconds until it may be tried; 0 when it may be now."""
        if self.opened_at is None:
            return 0.0
        left = self.opened_at + self.open_s - now
        return max(left, 0.05) if self.probing else max(left, 0.0)

    def admits(self, now: float) -> bool:
        """Whether a call may go there now."""
        return self.opened_at is None or (not self.probing and now >= self.opened_at + self.open_s)

    def enter(self) -> bool:
        """Notes that a call goes there; true for the single try of a half-open one."""
        if self.opened_at is None:
            return False
        self.probing = True
        return True

    def answered(self) -> None:
        """It began to answer a single try, so others may come again."""
        if self.opened_at is not None:
            self.opened_at, self.probing = None, False
            self.in_a_row = max(0, self.failures - 1)  # one more failure, and it is left alone again
            self.recent.clear()

    def succeeded(self) -> None:
        """It gave a whole answer."""
        self.answered()
        self.in_a_row = self.limited = 0
        self.last_error = None
        self._note(False)

    def failed(self, error: ProviderError, now: float) -> None:
        """It failed in a way that speaks against it."""
        self.in_a_row += 1
        self.last_error = Failure(error.message, error.status, error.reason)
        self._note(True)
        if self.failures == 0:
            return
        probed = self.opened_at is not None and self.probing
        if probed or (self.opened_at is None and (self.in_a_row >= self.failures or self._failing())):
            self.opened_at, self.probing = now, False
            self.opened += 1

    def let_go(self) -> None:
        """The single try ended without a verdict."""
        self.probing = False

    def _note(self, bad: bool) -> None:
        if self.failures:
            self.recent.append(bad)
            if len(self.recent) > self.failures * WINDOWS:
                self.recent.popleft()

    def _failing(self) -> bool:
        full = len(self.recent) == self.failures * WINDOWS
        return full and sum(self.recent) >= FAILING_SHARE * len(self.recent)


class Breakers:
    """The breakers of all deployments, by their settings."""

    def __init__(self, providers: Mapping[str, ProviderSettings]) -> None:
        self._providers = providers
        self._known: OrderedDict[str, Breaker] = OrderedDict()

    def of(self, deployment: Deployment) -> Breaker:
        """The breaker of a deployment."""
        name = deployment.name
        found = self._known.get(name)
        if found is None:
            settings = self._providers[deployment.provider]
            found = self._known[name] = Breaker(settings.breaker_failures, settings.breaker_open_s)
            if len(self._known) > _MOST:  # callers choose names of models, so their number has no end
                self._known.popitem(last=False)
        elif len(self._known) > _MOST // 2:
            self._known.move_to_end(name)
        return found

    def state(self, deployment: Deployment) -> State:
        """Its state now, without making a breaker for it."""
        found = self._known.get(deployment.name)
        return "closed" if found is None else found.state(asyncio.get_running_loop().time())

    def describe(self) -> list[dict[str, Any]]:
        """Every deployment that has failed lately, for people and for metrics."""
        now = asyncio.get_running_loop().time()
        return [
            {
                "deployment": name,
                "state": one.state(now),
                "failures_in_a_row": one.in_a_row,
                "opened": one.opened,
                "again_in_s": round(one.left_s(now), 3),
                "last_error": one.last_error.message if one.last_error else "",
            }
            for name, one in self._known.items()
            if one.in_a_row or one.opened or one.opened_at is not None
        ]


@dataclass(slots=True)
class Budget:
    """What one requested model may send beyond one try a call: a bucket that every call fills a little."""

    share: float
    left: float = RETRY_BURST
    hedges: float = 1 - HEDGE_SHARE
    """What is left for second questions; the first call brings the first whole one."""
    refused: int = 0
    """How often it was empty."""

    def call(self) -> None:
        """A new call came."""
        self.left = min(RETRY_BURST, self.left + self.share)
        self.hedges = min(HEDGE_BURST, self.hedges + HEDGE_SHARE)

    def take(self) -> bool:
        """One retry or fallback; false when there is none left."""
        if self.left < 1.0 - 1e-9:
            self.refused += 1
            return False
        self.left -= 1.0
        return True

    def take_hedge(self) -> bool:
        """One second question; false when there is none left."""
        if self.hedges < 1.0 - 1e-9:
            return False
        self.hedges -= 1.0
        return True


class RetryBudgets:
    """The budget of each requested model."""

    def __init__(self, share: float) -> None:
        self._share = share if math.isfinite(share) else 0.0
        self._known: OrderedDict[str, Budget] = OrderedDict()

    def of(self, model: str) -> Budget:
        """The budget of a requested model."""
        found = self._known.get(model)
        if found is None:
            found = self._known[model] = Budget(self._share)
            if len(self._known) > _MOST:
                self._known.popitem(last=False)
        elif len(self._known) > _MOST // 2:
            self._known.move_to_end(model)
        return found
