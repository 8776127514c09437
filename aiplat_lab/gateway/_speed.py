"""How fast each deployment answers, as measured: by every call of this process, and before it by the calls in the ledger."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from aiplat_lab.core.types import Deployment

NEWEST = 0.2
"""What the newest answer counts beside all before it."""
NOMINAL_TOKENS = 100
"""Deployments are compared by the time of an answer of so many tokens."""
ENOUGH = 3
"""So many answers tell how fast a deployment is; until then it is tried."""
EXPLORE_EVERY = 20
"""One call of so many goes to the deployment that was measured longest ago."""
_MOST = 2_000


@dataclass(slots=True)
class Speed:
    """What was measured of one deployment; None where nothing was."""

    first_s: float | None = None
    """Until the first piece of a stream, in seconds."""
    token_s: float | None = None
    """For each output token, in seconds."""
    whole_s: float | None = None
    """Until a plain answer was there, in seconds."""
    started: int = 0
    """Calls that went there."""
    measured: int = 0
    measured_at: int = 0
    """The number of the measurement, to tell which is oldest."""

    def seconds(self) -> float | None:
        """The time of an answer of `NOMINAL_TOKENS` tokens, or None when too little is known."""
        if self.measured < ENOUGH or self.token_s is None:
            return None
        return (self.first_s or 0.0) + NOMINAL_TOKENS * self.token_s


class Speeds:
    """The speeds of all deployments."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, Speed] = OrderedDict()
        self._count = 0

    def of(self, name: str) -> Speed:
        """The speed of a deployment."""
        found = self._known.get(name)
        if found is None:
            found = self._known[name] = Speed()
            if len(self._known) > _MOST:
                self._known.popitem(last=False)
        return found

    def plain(self, name: str, *, seconds: float, tokens: int) -> None:
        """Notes a plain answer that took `seconds` and has `tokens` tokens (0 is unknown)."""
        speed = self.of(name)
        speed.whole_s = _mixed(speed.whole_s, seconds)
        if tokens:
            writing_s = seconds - (speed.first_s or 0.0)
            self._noted(speed, (writing_s if writing_s > 0 else seconds) / tokens)

    def streamed(self, name: str, *, first_s: float, seconds: float, tokens: int) -> None:
        """Notes a stream whose first piece came after `first_s`, its end after `seconds`."""
        speed = self.of(name)
        speed.first_s = _mixed(speed.first_s, first_s)
        if tokens > 1:
            self._noted(speed, (seconds - first_s) / (tokens - 1))

    def fold(self, rows: Iterable[Mapping[str, Any]], deployments: Iterable[Deployment]) -> None:
        """Takes what the ledger knows: one row a provider and model, as the view `speed_by_deployment` gives it."""
        by_provider: dict[str, list[Mapping[str, Any]]] = {}
        for row in rows:
            by_provider.setdefault(str(row["provider"]), []).append(row)
        for deployment in deployments:
            found = [one for one in by_provider.get(deployment.provider, ()) if _same(deployment.model, str(one["model"]))]
            if found:
                self._take(self.of(deployment.name), found[0])

    def _take(self, speed: Speed, row: Mapping[str, Any]) -> None:
        speed.first_s, speed.whole_s = row["first_s"], row["whole_s"]
        speed.measured = int(row["calls"] or 0)
        speed.started = max(speed.started, speed.measured)
        speed.token_s = row["stream_token_s"] if row["stream_token_s"] is not None else row["token_s"]

    def _noted(self, speed: Speed, token_s: float) -> None:
        self._count += 1
        speed.token_s = _mixed(speed.token_s, max(token_s, 0.0))
        speed.measured += 1
        speed.measured_at = self._count


def _mixed(old: float | None, new: float) -> float:
    return new if old is None else old + NEWEST * (new - old)


def _same(model: str, answered: str) -> bool:
    """Whether a provider's own name of the model is a dated form of ours."""
    return answered == model or answered.startswith(f"{model}-")
