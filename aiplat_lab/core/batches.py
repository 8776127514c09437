"""What a provider's batch API takes and gives: many calls handed in together, answered within a day, at a lower price."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol, runtime_checkable

from aiplat_lab.core.errors import ProviderError
from aiplat_lab.core.types import Deployment, Request, Response

BatchStatus = Literal["submitting", "running", "cancelling", "ended", "failed", "lost"]
OPEN: frozenset[str] = frozenset({"submitting", "running", "cancelling"})
"""The states of a batch that is not over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchState:
    """How far a batch is, as its provider says."""

    over: bool
    """Whether no more answers will come."""
    done: int = 0
    failed: int = 0
    error: str = ""
    """Why the whole batch failed, where it did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchAnswer:
    """What became of one call of a batch: an answer, or why there is none."""

    call_id: str
    response: Response | None = None
    error: ProviderError | None = None

    def of(self, provider: str, region: str) -> BatchAnswer:
        """The same, with who gave it."""
        if self.response is None:
            return self
        return replace(self, response=replace(self.response, provider=provider, region=region))


@runtime_checkable
class BatchProvider(Protocol):
    """A provider with a batch API. Every method raises `ProviderError` for what goes wrong there."""

    batches: bool
    """Whether it has one: a class may speak for hosts with and without."""

    async def submit_batch(self, batch_id: str, requests: Sequence[Request], deployment: Deployment) -> str:
        """Hands the requests in, each under its call id; gives the provider's own name of the batch."""
        ...

    async def batch_state(self, remote_id: str, deployment: Deployment) -> BatchState:
        """How far the batch is."""
        ...

    async def batch_answers(self, remote_id: str, deployment: Deployment) -> list[BatchAnswer]:
        """What has come of a batch that is over; calls that it says nothing of were not answered."""
        ...

    async def cancel_batch(self, remote_id: str, deployment: Deployment) -> None:
        """Asks the provider to stop; calls that were answered until then stay answered and paid."""
        ...
