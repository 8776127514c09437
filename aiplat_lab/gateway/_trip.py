"""A call in flight: the task that carries it, how it is interrupted, and how it is told again."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Any, Literal

from aiplat_lab.core.documents import Document
from aiplat_lab.core.errors import AiplatError, CallCancelled, ProviderError, redact
from aiplat_lab.core.types import Call

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Trip:
    """A call in flight."""

    call: Call
    began: float
    """On the event loop's clock."""
    asked: Document
    task: asyncio.Task[Any]  # Any: the caller's own task
    cancelling: int
    """How often the task had been cancelled when the trip began."""
    interrupted: Literal["", "cancel", "timeout"] = ""
    closing: bool = False
    """Whether it is over but for the books, and can no longer be interrupted."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def interrupt(self, reason: Literal["cancel", "timeout"]) -> None:
        """Stops the trip wherever it is; the first reason counts."""
        if not self.interrupted and not self.closing:
            self.interrupted = reason
            if self.task is not asyncio.current_task():
                self.task.cancel()

    def turned(self, error: BaseException) -> BaseException:
        """The error that the caller should see: a cancellation of our own making becomes a typed one."""
        if not isinstance(error, asyncio.CancelledError) or not self.interrupted:
            return error
        return self.reason() if self.task.uncancel() <= self.cancelling else error

    def reason(self) -> AiplatError:
        """Why the trip was interrupted."""
        call = self.call
        if self.interrupted == "cancel":
            return CallCancelled(f"the call {call.id} was cancelled; what had come until then is in the ledger", call_id=call.id)
        deployment = call.deployment
        name = deployment.name if deployment else call.request.model
        return ProviderError(
            f"{name} was still writing when the time of the call was over; the text until then is in the ledger. "
            "Set max_tokens, or raise the time limit.",
            provider=deployment.provider if deployment else "",
            model=deployment.model if deployment else "",
            retryable=True,
            reason="timeout",
            call_id=call.id,
        )

    def shown(self, *, queued: dict[str, Any] | None) -> dict[str, Any]:  # Any: JSON
        """The trip for people.

        Args:
            queued: where it waits, if it does.
        """
        call = self.call
        return {
            "call_id": call.id,
            "started_at": call.started_at.isoformat().replace("+00:00", "Z"),
            "team": call.request.attribution.team,
            "surface": call.request.attribution.surface,
            "model": call.request.model,
            "stream": call.request.stream,
            "provider": call.deployment.provider if call.deployment else "",
            "queued": queued,
        }


def typed(error: BaseException, call_id: str) -> BaseException:
    """The error as one of ours with the call's id; a cancellation and the like stay what they are."""
    if isinstance(error, Exception) and not isinstance(error, AiplatError):
        logger.error("call %s failed inside the gateway", call_id, exc_info=error)
        error = AiplatError(f"the gateway failed inside ({type(error).__name__}: {redact(str(error))}); gateway.log has more")
    if isinstance(error, AiplatError):
        error.call_id = call_id
    return error
