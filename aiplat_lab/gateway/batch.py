"""Calls that can wait: handed to a provider's batch API together, and joined to the ledger when they come back.

Every call passes the policies when it is handed in, so that keys, residency and budgets hold, and its worst case stays held until its
answer is there. What waits is records (`batch`, `batch_call`), so that a gateway that starts again goes on where the last one ended.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from aiplat_lab.core.batches import OPEN, BatchAnswer, BatchProvider, BatchState, BatchStatus
from aiplat_lab.core.documents import request_document
from aiplat_lab.core.errors import AiplatError, BudgetExceeded, CapabilityRefused, ConfigError, ProviderError, UnknownCall, UsageError
from aiplat_lab.core.ids import is_id, new_id
from aiplat_lab.core.types import Call, Clock, Deployment, Request, canonical_json, content_hash, utc_now
from aiplat_lab.gateway.pipeline import Gateway
from aiplat_lab.ledger import Ledger

logger = logging.getLogger(__name__)

MOST_CALLS = 10_000
"""The most calls of one batch."""
DAY_S = 25 * 3600.0
"""The longest that a call of a batch may be under way, with an hour for its answer to be read."""
_HOLD_WAIT_S = 5.0
"""How long a call may wait for budget that other calls hold before it is refused."""
_NOT_FOR_BATCHES = frozenset({"cache", "limits"})
"""Policies for calls that somebody waits for: a batch's answers come a day later, and its provider has limits of its own for it."""


@dataclass(slots=True)
class Batch:
    """One batch and the calls that wait in it."""

    id: str
    model: str
    deployment: Deployment
    submitted_at: datetime
    status: BatchStatus = "submitting"
    remote_id: str = ""
    team: str = ""
    key_id: str = ""
    waiting: dict[str, Call] = field(default_factory=dict)
    calls: int = 0
    done: int = 0
    failed: int = 0
    error: str = ""
    ended_at: datetime | None = None
    taken_up: bool = False
    """Whether an earlier gateway began it."""

    def to_json(self) -> dict[str, Any]:
        """The record of its state."""
        return {
            "id": self.id,
            "status": self.status,
            "model": self.model,
            "provider": self.deployment.provider,
            "provider_model": self.deployment.model,
            "region": self.deployment.region or None,
            "remote_id": self.remote_id or None,
            "calls": self.calls,
            "done": self.done,
            "failed": self.failed,
            "team": self.team or None,
            "key_id": self.key_id or None,
            "submitted_at": _text(self.submitted_at),
            "ended_at": _text(self.ended_at) if self.ended_at else None,
            "error": self.error or None,
        }


class Batches:
    """The batches of this home, open ones looked at every so often.

    Args:
        gateway: the pipeline whose rules the calls pass.
        ledger: the ledger.
        poll_s: seconds between two looks at an open batch.
        clock: tells the time.
    """

    def __init__(self, gateway: Gateway, ledger: Ledger, *, poll_s: float = 60.0, clock: Clock = utc_now) -> None:
        self._gateway = gateway
        self._ledger = ledger
        self._poll_s = poll_s
        self._clock = clock
        self._open: dict[str, Batch] = {}
        self._look = asyncio.Event()
        self._turn = asyncio.Lock()
        gateway.elsewhere = self._batch_of

    @property
    def keeps_awake(self) -> bool:
        """Whether the gateway must stay: a batch is open."""
        return bool(self._open)

    def _batch_of(self, call_id: str) -> str:
        """The id of the open batch in which a call waits, or an empty text."""
        return next((batch.id for batch in self._open.values() if call_id in batch.waiting), "")

    async def submit(self, requests: Sequence[Request]) -> list[Batch]:
        """Hands calls in: one batch for each deployment that they go to. A refused call is a row like any other.

        A call that waits in a batch or was made before is not handed in again; the batch that it waits in is given too.

        Raises:
            UsageError: nothing to hand in, too much of it, a call that cannot wait, or one call twice.
            AiplatError: every call was refused, for the first one's reason.
        """
        self._check(requests)
        waiting = {batch.id: batch for one in requests if (batch := self._open.get(self._batch_of(one.call_id)))}
        new = await self._new(requests)
        groups: dict[tuple[str, str], list[Call]] = {}
        first: AiplatError | None = None
        for request in new:
            call = self._begin(request)
            try:
                deployment = await self._admit(call)
            except AiplatError as error:
                first = first or error
                await self._settle(call, error=error)
                continue
            groups.setdefault((request.model, deployment.name), []).append(call)
        if first is not None and not groups and not waiting:
            raise first
        made = [await self._hand_in(model, calls) for (model, _), calls in groups.items()]
        return [*waiting.values(), *made]

    async def _new(self, requests: Sequence[Request]) -> list[Request]:
        """Those that neither wait nor were made before."""
        ids = [one.call_id for one in requests]
        rows = await asyncio.to_thread(self._ledger.view_rows, "recent_calls", {"call_id": ids, "limit": len(ids)})
        known = {str(row["call_id"]) for row in rows}
        return [one for one in requests if one.call_id not in known and not self._batch_of(one.call_id)]

    async def cancel(self, batch_id: str) -> Batch:
        """Asks the provider to stop a batch; what was answered until then is still booked.

        Raises:
            UnknownCall: there is no open batch of that id.
            ProviderError: the provider would not.
        """
        batch = self._open.get(batch_id)
        if batch is None:
            raise UnknownCall(f"there is no open batch {batch_id[:60]}; `aiplat batch list` lists them")
        if batch.remote_id:
            await self._provider(batch.deployment).cancel_batch(batch.remote_id, batch.deployment)
        batch.status = "cancelling"
        self._record(batch)
        self._look.set()
        return batch

    def restore(self) -> None:
        """Takes up the batches that an earlier gateway left open."""
        for row in self._ledger.view_rows("batch_list", {}):
            if str(row["status"]) in OPEN:
                self._restore(row)

    async def run(self) -> None:
        """Looks at the open batches every so often, for as long as the gateway lives."""
        await self._readmit()
        while True:
            await self.look()
            self._look.clear()
            try:
                async with asyncio.timeout(self._poll_s):
                    await self._look.wait()
            except TimeoutError:
                pass

    async def look(self) -> None:
        """Asks after every open batch once, and joins what has come."""
        async with self._turn:
            for batch in list(self._open.values()):
                try:
                    await self._ask_after(batch)
                except AiplatError as error:  # the provider, its key, or a disk that is full: it is looked at again
                    logger.warning("batch %s: %s", batch.id, error.message)

    # --- handing in -------------------------------------------------------------------------------------------------

    def _check(self, requests: Sequence[Request]) -> None:
        if not requests:
            raise UsageError("the batch holds no call")
        if len(requests) > MOST_CALLS:
            raise UsageError(f"the batch holds {len(requests)} calls; hand in at most {MOST_CALLS} at once")
        seen: set[str] = set()
        for index, request in enumerate(requests):
            if request.operation != "chat" or request.stream:
                raise UsageError(
                    f"requests[{index}] is {'a stream' if request.stream else request.operation}; a batch takes whole chats only"
                )
            if not is_id(request.call_id):
                raise UsageError(f"requests[{index}]: {request.call_id[:60]!r} is not a call id; leave it out, or send a UUIDv7")
            if request.call_id in seen:
                raise UsageError(f"requests[{index}]: the call {request.call_id} stands in the batch twice")
            seen.add(request.call_id)

    def _begin(self, request: Request) -> Call:
        return self._gateway.open_call(replace(request, timeout_s=DAY_S))

    async def _admit(self, call: Call) -> Deployment:
        """Passes the call through the rules; gives the deployment that takes its batch.

        Raises:
            AiplatError: a rule says no, or no deployment has a batch API.
        """
        try:
            async with asyncio.timeout(_HOLD_WAIT_S):
                await self._gateway.judge(call, without=_NOT_FOR_BATCHES)
        except TimeoutError:
            call.policy = "budget"
            raise BudgetExceeded(
                "what is left of a budget is held by calls under way, so the call cannot be handed in now. Try again later.",
                policy="budget",
            ) from None
        for deployment in call.deployments:
            provider = self._gateway.provider(deployment.provider)
            if isinstance(provider, BatchProvider) and provider.batches:
                call.deployment = deployment
                return deployment
        names = ", ".join(deployment.name for deployment in call.deployments)
        raise CapabilityRefused(f"{names} has no batch API here; openai and anthropic have. Send the call without a batch.", policy="batch")

    async def _hand_in(self, model: str, calls: Sequence[Call]) -> Batch:
        who, deployment = calls[0].request.attribution, calls[0].deployment
        if deployment is None:
            raise RuntimeError("a call was not admitted")
        batch = Batch(f"batch-{new_id()[-12:]}", model, deployment, self._clock(), team=who.team, key_id=who.key_id)
        batch.waiting = {call.id: call for call in calls}
        batch.calls = len(calls)
        self._open[batch.id] = batch
        self._record(batch)
        for call in calls:
            self._keep(batch, call)
        try:
            batch.remote_id = await self._provider(deployment).submit_batch(batch.id, [call.request for call in calls], deployment)
        except (ProviderError, ConfigError) as error:
            batch.error = error.message
            await self._end(batch, "failed", {call.id: error for call in calls})
            raise
        batch.status = "running"
        self._record(batch)
        for call in calls:
            call.attempts = 1
        self._look.set()
        return batch

    def _keep(self, batch: Batch, call: Call) -> None:
        """Records that a call waits, with what it takes to know it again."""
        kept = {**(call.recorded_request or call.request).to_json(), "started_at": _text(call.started_at), "flags": call.flags}
        digest = content_hash(kept)
        row = {"id": call.id, "batch": batch.id, "request": digest}
        payloads = {digest: canonical_json(kept), **request_document(call.request).payloads}
        self._ledger.record("batch_call", row, payloads=payloads)

    # --- coming back ------------------------------------------------------------------------------------------------

    async def _ask_after(self, batch: Batch) -> None:
        provider = self._provider(batch.deployment)
        if not batch.remote_id and not batch.taken_up:
            return  # it is just being handed in
        if not batch.remote_id:
            lost = ProviderError(
                "the gateway stopped while the batch was handed in, and nobody knows whether the provider has it",
                provider=batch.deployment.provider,
                model=batch.deployment.model,
                reason="unavailable",
            )
            batch.error = lost.message
            await self._end(batch, "lost", dict.fromkeys(batch.waiting, lost))
            return
        state = await provider.batch_state(batch.remote_id, batch.deployment)
        if not state.over:
            self._note(batch, state)
            return
        answers = {one.call_id: one for one in await provider.batch_answers(batch.remote_id, batch.deployment)}
        for call_id, answer in answers.items():
            call = batch.waiting.get(call_id)
            if call is not None:
                await self._join(batch, call, answer)
        batch.error = state.error
        unanswered = ProviderError(
            f"the batch {batch.id} ended without an answer to this call{': ' + state.error if state.error else ''}. Hand it in again.",
            provider=batch.deployment.provider,
            model=batch.deployment.model,
            reason="unavailable",
            retryable=True,
        )
        failed = bool(state.error) and not batch.done
        await self._end(batch, "failed" if failed else "ended", dict.fromkeys(batch.waiting, unanswered))

    def _note(self, batch: Batch, state: BatchState) -> None:
        if (state.done, state.failed) != (batch.done, batch.failed):
            batch.done, batch.failed = state.done, state.failed
            self._record(batch)

    async def _join(self, batch: Batch, call: Call, answer: BatchAnswer) -> None:
        call.response = answer.response
        call.state["batch_id"] = batch.id
        await self._settle(call, error=answer.error)
        del batch.waiting[call.id]

    async def _end(self, batch: Batch, status: BatchStatus, left: Mapping[str, AiplatError]) -> None:
        for call_id, error in left.items():
            call = batch.waiting.pop(call_id, None)
            if call is not None:
                call.state["batch_id"] = batch.id
                await self._settle(call, error=error)
        rows = await asyncio.to_thread(self._ledger.view_rows, "batch_outcome", {"batch": batch.id})
        batch.done = sum(int(row["calls"]) for row in rows if row["status"] == "ok")
        batch.failed = batch.calls - batch.done
        batch.status, batch.ended_at = status, self._clock()
        self._record(batch)
        self._open.pop(batch.id, None)

    async def _settle(self, call: Call, *, error: AiplatError | None) -> None:
        await self._gateway.close_call(call, error=error)

    # --- after a restart --------------------------------------------------------------------------------------------

    def _restore(self, row: Mapping[str, Any]) -> None:  # Any: a row's values
        model = str(row["model"])
        known = self._gateway.deployments(model)
        wanted = (str(row["provider"]), str(row["provider_model"]))
        deployment = next((one for one in known if (one.provider, one.model) == wanted), None)
        if deployment is None:
            logger.error("batch %s waits at %s, which aiplat.toml names no more: its calls are not joined", row["id"], "/".join(wanted))
            return
        submitted = row["submitted_at"] if row["submitted_at"].tzinfo else row["submitted_at"].replace(tzinfo=UTC)
        batch = Batch(str(row["id"]), model, deployment, submitted, status=row["status"], taken_up=True)
        batch.remote_id = str(row["remote_id"] or "")
        batch.team, batch.key_id, batch.calls = str(row["team"] or ""), str(row["key_id"] or ""), int(row["calls"])
        for kept in self._ledger.view_rows("batch_waiting", {"batch": batch.id}):
            payload = self._ledger.payload(str(kept["request"]))
            if payload is None:
                logger.error("call %s of batch %s: its request was erased, so its answer cannot be joined", kept["id"], batch.id)
                continue
            data = json.loads(payload)
            call = self._gateway.open_call(Request.from_json(data), started_at=datetime.fromisoformat(data["started_at"]))
            call.deployment, call.attempts = deployment, 1
            call.flags += [flag for flag in data.get("flags") or () if flag not in call.flags]
            batch.waiting[call.id] = call
        self._open[batch.id] = batch

    async def _readmit(self) -> None:
        """Holds what the calls taken up again may cost; one whose budget has no room is answered all the same, since it is paid."""
        for batch in list(self._open.values()):
            for call in batch.waiting.values():
                try:
                    async with asyncio.timeout(_HOLD_WAIT_S):
                        await self._gateway.judge(call, without=_NOT_FOR_BATCHES)
                except (AiplatError, TimeoutError):
                    call.flags.append("not_held")
                call.deployments = (batch.deployment,)
                call.deployment, call.response, call.policy = batch.deployment, None, ""

    # --- parts ------------------------------------------------------------------------------------------------------

    def _provider(self, deployment: Deployment) -> BatchProvider:
        provider = self._gateway.provider(deployment.provider)
        if not isinstance(provider, BatchProvider):
            raise ConfigError(f"{deployment.provider} has no batch API")
        return provider

    def _record(self, batch: Batch) -> None:
        self._ledger.record("batch", {name: value for name, value in batch.to_json().items() if value is not None})


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


__all__ = ["MOST_CALLS", "Batch", "Batches"]
