"""One trip through the gateway: policies, the model, the price, and always the ledger."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from threading import Thread
from types import TracebackType
from typing import Any, Literal

from aiplat_lab.core.documents import Document, request_document
from aiplat_lab.core.errors import (
    AiplatError,
    CallCancelled,
    CallRefused,
    ConfigError,
    LedgerError,
    ProviderError,
    UnknownModel,
    UsageError,
    did_you_mean,
    redact,
)
from aiplat_lab.core.ids import is_id
from aiplat_lab.core.prompts import Shelf
from aiplat_lab.core.registry import find
from aiplat_lab.core.settings import Settings, secret
from aiplat_lab.core.types import Call, Chunk, Clock, Deployment, Pieces, Policy, Price, Provider, Request, Response, Usage, utc_now
from aiplat_lab.gateway.memory import Memory
from aiplat_lab.gateway.route import Route, Upstream
from aiplat_lab.gateway.row import begin_row, end_row
from aiplat_lab.gateway.tools import merge_tool_calls
from aiplat_lab.ledger import Ledger
from aiplat_lab.policies import FIRST, Auth, Budget, KeyRing, Limits, Prompts, make
from aiplat_lab.policies.budget import may_have_cost
from aiplat_lab.prices import Prices, cost, load

logger = logging.getLogger(__name__)

_ZERO = Decimal(0)
_CLOSE_S = 0.4
"""How long a provider may take to close a connection; the caller is not kept waiting for more."""
_DRAIN_S = 1.0
"""How long the last pieces of a finished stream are waited for when the caller has left: they hold the usage."""


@dataclass(slots=True)
class _Trip:
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


class Gateway:
    """The one road from a request to an answer. All of it runs in one event loop.

    Raises:
        ConfigError, LedgerError: when made, a policy or its part of the ledger cannot be read.
    """

    def __init__(self, settings: Settings, ledger: Ledger, *, clock: Clock = utc_now) -> None:
        self._settings = settings
        self._ledger = ledger
        self._clock = clock
        self._policies = make(settings, ledger, clock=clock)
        self._prompts = next(policy for policy in self._policies if isinstance(policy, Prompts))
        self._deployments = {name: settings.deployments(name) for name in settings.models}
        self._prices = Prices(settings)
        self._providers: dict[str, Provider] = {}
        self._answered = [policy.answered for policy in self._policies if hasattr(policy, "answered")]
        self._filters = [policy.pieces for policy in self._policies if hasattr(policy, "pieces")]
        self._limits = next(policy for policy in self._policies if isinstance(policy, Limits))
        self._route = Route(self._provider, gate=self._limits, clock=clock)
        self._trips: dict[str, _Trip] = {}
        self._memory = Memory(ledger, clock=clock)
        if any(provider.kind != "local" for provider in settings.providers.values()):
            Thread(target=load, name="prices", daemon=True).start()  # so that no call waits for the price list

    @property
    def keys(self) -> KeyRing:
        """The virtual keys."""
        return next(policy for policy in self._policies if isinstance(policy, Auth)).keys

    @property
    def prompts(self) -> Shelf:
        """Every saved prompt's versions and labels, as they stand now."""
        return self._prompts.shelf

    def guards(self, kind: str) -> bool:
        """Whether a policy judges records of this kind, so that they are written one after another."""
        return any(kind in getattr(policy, "guards", ()) for policy in self._policies)

    def admit(self, kind: str, row: Mapping[str, Any]) -> None:  # Any: JSON
        """Lets a record pass that every policy that judges its kind admits.

        Raises:
            AiplatError: one does not.
        """
        for policy in self._policies:
            if kind in getattr(policy, "guards", ()):
                policy.admit(kind, row)  # type: ignore[attr-defined]  # whoever has `guards` has `admit`

    async def handle(self, request: Request) -> Response:
        """The answer to a chat or an embedding; a request whose `call_id` was answered before gets the same answer.

        Raises:
            AiplatError: it was refused, failed or was cancelled by id; the error carries `call_id`, and a row is in the ledger.
        """
        again = await self._again(request)
        if again is not None:
            return again
        trip = self._begin(request)
        call = trip.call
        try:
            await self._before(call, self._policies)
            if call.response is None:
                call.response = await self._route.answer(call)
                for answered in self._answered:
                    await answered(call)
        except BaseException as error:  # the one place that sees everything; it re-raises
            raise self._failed(trip, trip.turned(error)) from None
        finally:
            await self._end(trip)
        return call.answer()

    def stream(self, request: Request) -> Stream:
        """The answer in pieces: `async with gateway.stream(request) as pieces: async for chunk in pieces: …`.

        Entering waits for the first piece, so that whatever fails before it is raised there, as by `handle`.
        """
        return Stream(self, request)

    async def count_tokens(self, request: Request) -> int | None:
        """The input's tokens as the provider counts them, by the rules of who may ask whom; None where it cannot count.

        Raises:
            AiplatError: refused, or the provider failed. Nothing is generated or spent, so no row is written.
        """
        call = Call(request=request, started_at=self._clock(), deployments=self._settings.deployments(request.model))
        await self._before(call, self._policies[: len(FIRST)])
        for deployment in call.deployments:
            count = getattr(self._provider(deployment.provider), "count_tokens", None)
            if count is not None:
                return int(await count(request, deployment))
        return None

    def cancel(self, call_id: str) -> bool:
        """Stops a call in flight and closes its connection to the provider; false when there is no such call."""
        trip = self._trips.get(call_id)
        if trip is None or trip.closing:
            return False
        trip.interrupt("cancel")
        return True

    def models(self) -> list[dict[str, Any]]:
        """Every name a user can type, with its deployments and their prices (US dollars per million tokens, as text)."""
        now = self._clock()
        return [
            {
                "name": name,
                "deployments": [self._describe(one, now) for one in deployments],
                "region": deployments[0].region,
                "available": any(self._available(one) for one in deployments),
            }
            for name, deployments in self._deployments.items()
        ]

    @property
    def budget(self) -> Budget:
        """What keeps calls within their budgets."""
        return next(policy for policy in self._policies if isinstance(policy, Budget))

    def budgets(self) -> list[dict[str, Any]]:
        """Every budget with what was spent and is held: the figures that enforcement uses; money as text."""
        return self.budget.counters()

    def in_flight(self) -> list[dict[str, Any]]:
        """The calls under way, the oldest first."""
        return [
            {
                "call_id": trip.call.id,
                "started_at": trip.call.started_at.isoformat().replace("+00:00", "Z"),
                "team": trip.call.request.attribution.team,
                "surface": trip.call.request.attribution.surface,
                "model": trip.call.request.model,
                "stream": trip.call.request.stream,
                "provider": trip.call.deployment.provider if trip.call.deployment else "",
            }
            for trip in self._trips.values()
        ]

    async def aclose(self) -> None:
        """Cancels what is under way, and closes the providers."""
        for trip in list(self._trips.values()):
            trip.interrupt("cancel")
        await asyncio.gather(*(trip.ended.wait() for trip in list(self._trips.values())))
        for provider in self._providers.values():
            await provider.aclose()
        self._providers.clear()

    # --- a trip -----------------------------------------------------------------------------------------------------

    async def _again(self, request: Request) -> Response | None:
        """The answer to a call that was begun before under the same id; None for a new one."""
        if not is_id(request.call_id):
            raise UsageError(f"{request.call_id!r} is not a call id; leave it out, or send a UUIDv7")
        while True:
            trip = self._trips.get(request.call_id)
            if trip is not None:
                await trip.ended.wait()
            known = request.call_id in self._memory
            answer = await self._memory.recall(request)
            begun_meanwhile = request.call_id in self._trips or (request.call_id in self._memory) is not known
            if answer is not None or not begun_meanwhile:
                return answer

    def _begin(self, request: Request) -> _Trip:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a call needs a running task")
        call = Call(request=self._prompts.named(request), started_at=self._clock(), deployments=self._behind(request.model))
        trip = _Trip(call, asyncio.get_running_loop().time(), request_document(request), task, task.cancelling())
        call.state["began"] = trip.began
        call.state["request_hash"] = trip.asked.hash
        self._ledger.begin(begin_row(call))
        self._trips[call.id] = trip
        return trip

    async def _before(self, call: Call, policies: Sequence[Policy]) -> None:
        request = call.request
        if not call.deployments:
            known = self._settings.models
            raise UnknownModel(
                f"there is no model {redact(request.model)!r}.{did_you_mean(request.model, known)} "
                "Models are named under [models] in aiplat.toml, or written provider/model; `aiplat model list` lists them."
            )
        if not request.messages and not request.inputs and request.body is None:
            raise UsageError("the request holds no message and no input, so there is nothing to ask the model")
        for policy in policies:
            try:
                await policy.before(call)
            except CallRefused:
                call.policy = policy.name
                raise
            if call.response is not None:
                return

    def _failed(self, trip: _Trip, error: BaseException) -> BaseException:
        """Notes in the call why it ended, and gives the error that its caller should see."""
        call = trip.call
        error = call.error = _typed(error, call.id)
        if isinstance(error, CallRefused):
            call.status = "refused"
        elif isinstance(error, CallCancelled) or not isinstance(error, Exception):
            call.status = "cancelled"
        else:
            call.status = "error"
        return error

    async def _end(self, trip: _Trip) -> None:
        """Books and records a call, however it ended."""
        trip.closing = True
        call = trip.call
        call.ended_at = call.started_at + timedelta(seconds=asyncio.get_running_loop().time() - trip.began)
        try:
            self._book(call)
            await self._after(call, len(self._policies) - 1)
        finally:
            self._trips.pop(call.id, None)
            row, payloads = end_row(call, trip.asked)
            try:
                self._ledger.record("call", row, payloads=payloads)
            except LedgerError as error:
                error.call_id = call.id
                raise
            finally:
                self._memory.keep(call.id)
                trip.ended.set()

    async def _after(self, call: Call, index: int) -> None:
        """Every policy's `after`, the last first; one that fails does not keep the others from running."""
        try:
            await self._policies[index].after(call)
        finally:
            if index:
                await self._after(call, index - 1)

    def _book(self, call: Call) -> None:
        """Prices the call; unknown stays unknown."""
        if call.cache == "hit":
            return
        if call.attempts == 0 or (call.response is None and not may_have_cost(call)):
            call.cost_usd = call.baseline_cost_usd = _ZERO
            return
        usage: Usage | None = call.response.usage if call.response is not None else call.state.get("usage")
        if call.deployment is None:
            return
        call.price = self._prices.of(call.deployment, call.started_at, usage=usage)
        if usage is None:
            if call.response is not None and "no_usage" not in call.response.flags:
                call.flags.append("no_usage")
            return
        call.cost_usd = _cost(usage, call.price)
        if call.cost_usd is None:
            call.flags.append("no_price")
        first = self._behind(call.request.model)[0]
        call.baseline_cost_usd = (
            call.cost_usd if first == call.deployment else _cost(usage, self._prices.of(first, call.started_at, usage=usage))
        )

    # --- parts ------------------------------------------------------------------------------------------------------

    def _behind(self, model: str) -> tuple[Deployment, ...]:
        return self._deployments.get(model) or self._settings.deployments(model)

    def _provider(self, name: str) -> Provider:
        provider = self._providers.get(name)
        if provider is None:
            settings = self._settings.providers[name]
            provider = self._providers[name] = find("provider", settings.kind)(name, settings)
        return provider

    def _available(self, deployment: Deployment) -> bool:
        """Whether a call could be sent: the wire format is known, and the key is there where that is quick to tell."""
        settings = self._settings.providers[deployment.provider]
        try:
            find("provider", settings.kind)
            if not settings.api_key.startswith("keyring:"):
                secret(settings.api_key)
        except ConfigError:
            return False
        return True

    def _describe(self, deployment: Deployment, now: datetime) -> dict[str, Any]:  # Any: JSON
        price = self._prices.of(deployment, now)
        return {
            "provider": deployment.provider,
            "model": deployment.model,
            "region": deployment.region,
            "input_usd_per_mtok": str(price.input_usd_per_mtok) if price else None,
            "output_usd_per_mtok": str(price.output_usd_per_mtok) if price else None,
            "price_version": price.version if price else None,
            "max_output_tokens": deployment.max_output_tokens,
            "context_tokens": deployment.context_tokens,
        }


class Stream(AbstractAsyncContextManager["Stream"]):
    """The pieces of one answer. Leaving before the end cancels the call and keeps what had come."""

    def __init__(self, gateway: Gateway, request: Request) -> None:
        self._gateway = gateway
        self._request = request
        self._trip: _Trip | None = None
        self._upstream: Upstream | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._pending: list[Chunk] = []
        self._filters: list[Pieces] = []
        self._error: BaseException | None = None
        self._ended = False
        self._finish_reason = ""
        self._response_model = ""
        self._usage: Usage | None = None
        self._tool_calls: list[dict[str, Any]] = []
        self.response: Response | None = None
        """The whole answer with what it cost, once the stream has ended and was left."""

    @property
    def call_id(self) -> str:
        """The call's id."""
        return self._request.call_id

    @property
    def cache(self) -> str:
        """`hit`, `miss` or `off`; known once the stream is entered."""
        return self._trip.call.cache if self._trip else (self.response.cache if self.response else "off")

    async def __aenter__(self) -> Stream:
        gateway = self._gateway
        again = await gateway._again(self._request)
        if again is not None:
            self.response, self._pending, self._ended = again, _replay(again), True
            return self
        trip = self._trip = gateway._begin(self._request)
        try:
            await gateway._before(trip.call, gateway._policies)
            if trip.call.response is not None:
                self._pending, self._ended = _replay(trip.call.response), True
            else:
                self._upstream = await gateway._route.open(trip.call)
                self._filters = [one for one in (pieces(trip.call) for pieces in gateway._filters) if one is not None]
                self._pending = self._filtered(self._upstream.first)
                self._timer = asyncio.get_running_loop().call_at(self._upstream.deadline, trip.interrupt, "timeout")
        except BaseException as error:  # as in `Gateway.handle`
            self._trip = None
            failed = gateway._failed(trip, trip.turned(error))
            await gateway._end(trip)
            raise failed from None
        return self

    def __aiter__(self) -> AsyncIterator[Chunk]:
        return self

    async def __anext__(self) -> Chunk:
        trip = self._trip
        if self._error is not None:
            raise self._error
        if trip is not None and trip.interrupted:
            self._error = trip.reason()
            raise self._error
        while not self._pending:
            if trip is None or self._ended or self._upstream is None:
                raise StopAsyncIteration
            try:
                await self._more(self._upstream)
            except (Exception, asyncio.CancelledError) as error:  # as in `Gateway.handle`
                self._error = _typed(trip.turned(error), trip.call.id)
                raise self._error from None
        return self._passed(self._pending.pop(0))

    async def _more(self, upstream: Upstream) -> None:
        """The next piece, or what the filters held back until the end."""
        try:
            self._pending = self._filtered([await anext(upstream.rest)])
        except StopAsyncIteration:
            self._ended = True
            for index, one in enumerate(self._filters):
                held = one.end()
                for later in self._filters[index + 1 :]:
                    held = [piece for chunk in held for piece in later.of(chunk)]
                self._pending += held

    def _filtered(self, chunks: list[Chunk]) -> list[Chunk]:
        for one in self._filters:
            chunks = [piece for chunk in chunks for piece in one.of(chunk)]
        return chunks

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        trip = self._trip
        if trip is None:
            return
        trip.closing = True
        if self._timer is not None:
            self._timer.cancel()
        cause = self._error or self._why_left(trip, error)
        try:
            if cause is None:
                await self._drain()
        finally:
            try:
                await self._close(cause)
            finally:
                self._settle(trip, cause)
                await self._gateway._end(trip)
        if cause is None:
            self.response = trip.call.answer()
        elif isinstance(error, asyncio.CancelledError) and cause is not error:
            raise cause from None

    def _why_left(self, trip: _Trip, error: BaseException | None) -> BaseException | None:
        """Why the caller leaves, or None when the answer is whole."""
        if isinstance(error, asyncio.CancelledError):
            return trip.turned(error)
        if trip.interrupted:
            return trip.reason()
        if error is None and (self._ended or self._finish_reason):
            return None
        return CallCancelled("the caller left before the end of the answer", call_id=self.call_id)

    async def _drain(self) -> None:
        """Reads the last pieces of an answer that is whole already, for its usage."""
        if self._ended or self._upstream is None:
            return
        try:
            async with asyncio.timeout(_DRAIN_S):
                async for _ in self:
                    pass
        except (TimeoutError, AiplatError):
            pass

    async def _close(self, cause: BaseException | None) -> None:
        if self._upstream is None:
            return
        try:
            async with asyncio.timeout(_CLOSE_S):
                await self._upstream.close(cause)
        except (TimeoutError, AiplatError):
            pass

    def _settle(self, trip: _Trip, cause: BaseException | None) -> None:
        if cause is None:
            self._finish(trip.call)
            return
        self._gateway._failed(trip, cause)
        if self._finish_reason:
            trip.call.state["usage"] = self._usage

    def _passed(self, chunk: Chunk) -> Chunk:
        """Notes what a piece says before it is passed on."""
        trip = self._trip
        if trip is not None and self._upstream is not None:
            call = trip.call
            if call.first_token_at is None and (chunk.text or chunk.tool_calls):
                call.first_token_at = call.started_at + timedelta(seconds=asyncio.get_running_loop().time() - trip.began)
            if chunk.text:
                call.partial.append(chunk.text)
            if chunk.tool_calls:
                merge_tool_calls(self._tool_calls, chunk.tool_calls)
            self._usage = chunk.usage or self._usage
        self._finish_reason = chunk.finish_reason or self._finish_reason
        self._response_model = chunk.response_model or self._response_model
        return chunk

    def _finish(self, call: Call) -> None:
        if call.response is not None or self._upstream is None:
            return
        deployment = self._upstream.deployment
        call.response = Response(
            text="".join(call.partial),
            finish_reason=self._finish_reason,
            usage=self._usage,
            provider=deployment.provider,
            region=deployment.region,
            response_model=self._response_model or deployment.model,
            tool_calls=tuple(self._tool_calls),
            flags=() if self._finish_reason else ("no_finish_reason",),
        )


def _typed(error: BaseException, call_id: str) -> BaseException:
    """The error as one of ours with the call's id; a cancellation and the like stay what they are."""
    if isinstance(error, Exception) and not isinstance(error, AiplatError):
        logger.error("call %s failed inside the gateway", call_id, exc_info=error)
        error = AiplatError(f"the gateway failed inside ({type(error).__name__}: {redact(str(error))}); gateway.log has more")
    if isinstance(error, AiplatError):
        error.call_id = call_id
    return error


def _replay(answer: Response) -> list[Chunk]:
    """A whole answer as the pieces of a stream."""
    calls: tuple[Mapping[str, Any], ...] = tuple({"index": index, **one} for index, one in enumerate(answer.tool_calls))
    pieces = [Chunk(text=answer.text, response_model=answer.response_model, tool_calls=calls)]
    return [*pieces, Chunk(finish_reason=answer.finish_reason, usage=answer.usage, response_model=answer.response_model)]


def _cost(usage: Usage, price: Price | None) -> Decimal | None:
    return None if price is None else cost(usage, price)
