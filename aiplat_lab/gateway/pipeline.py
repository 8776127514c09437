"""One trip through the gateway: policies, the model, the price, and always the ledger."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from threading import Thread
from types import TracebackType
from typing import Any

from aiplat_lab.core.documents import request_document
from aiplat_lab.core.errors import (
    AiplatError,
    CallCancelled,
    CallRefused,
    LedgerError,
    UnknownCall,
    UnknownModel,
    UsageError,
    did_you_mean,
    redact,
)
from aiplat_lab.core.ids import is_id
from aiplat_lab.core.prompts import Shelf
from aiplat_lab.core.registry import check, find
from aiplat_lab.core.settings import Settings
from aiplat_lab.core.types import Call, Chunk, Clock, Deployment, Pieces, Policy, Provider, Request, Response, Usage, utc_now
from aiplat_lab.gateway._explain import described, explained
from aiplat_lab.gateway._meanings import embedder
from aiplat_lab.gateway._plan import planned
from aiplat_lab.gateway._trip import Trip, typed
from aiplat_lab.gateway.booking import book
from aiplat_lab.gateway.counting import Counted
from aiplat_lab.gateway.fence import available, fenced
from aiplat_lab.gateway.memory import Memory
from aiplat_lab.gateway.route import Route, Upstream
from aiplat_lab.gateway.row import begin_row, end_row
from aiplat_lab.gateway.tools import merge_tool_calls, replay
from aiplat_lab.ledger import Ledger
from aiplat_lab.policies import CHECKS, FIRST, Auth, Budget, Cache, KeyRing, Limits, Prompts, Redact, Replay, make
from aiplat_lab.prices import Prices, load

logger = logging.getLogger(__name__)

_CLOSE_S = 0.4
"""How long a provider may take to close a connection; the caller is not kept waiting for more."""
_DRAIN_S = 1.0
"""How long the last pieces of a finished stream are waited for when the caller has left: they hold the usage."""


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
        self.cache = next(policy for policy in self._policies if isinstance(policy, Cache))
        """The cache."""
        self.cache.embed = embedder(self.handle, settings.cache.semantic_model)
        self.replay = next(policy for policy in self._policies if isinstance(policy, Replay))
        self._prompts = next(policy for policy in self._policies if isinstance(policy, Prompts))
        self._deployments = {name: settings.deployments(name) for name in settings.models}
        self._prices = Prices(settings)
        self._providers: dict[str, Provider] = {}
        check("transport", settings.transports())
        self._answered = [policy.answered for policy in self._policies if hasattr(policy, "answered")]
        self._filters = [policy.pieces for policy in self._policies if hasattr(policy, "pieces")]
        self.budget = next(policy for policy in self._policies if isinstance(policy, Budget))
        """The budgets and their counters."""
        self.limits = next(policy for policy in self._policies if isinstance(policy, Limits))
        """The limits and their queues."""
        self._route = Route(self._provider, settings=settings, prices=self._prices, gate=self.limits, clock=clock)
        self._trips: dict[str, Trip] = {}
        self._masking = next(policy for policy in self._policies if isinstance(policy, Redact))
        self._memory = Memory(ledger, twin=self._masking.twin, clock=clock)
        if any(model.strategy == "fastest" for model in settings.models.values()):
            self._route.speeds.fold(
                ledger.view_rows("speed_by_deployment", {}), [one for all_ in self._deployments.values() for one in all_]
            )
        self.elsewhere: Callable[[str], str] = lambda call_id: ""
        """Says where a call waits that is under way but not here, such as in a batch; an empty text for any other."""
        self.ended: Callable[[Call, Mapping[str, Any]], None] | None = None
        outside = {name for name, provider in settings.providers.items() if provider.kind != "local"}
        named = [one for deployments in self._deployments.values() for one in deployments if one.provider in outside]
        if outside and (not named or any(one.price is None for one in named)):
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
            self._ledger.flush()
            if call.response is None:
                call.response = await self._route.answer(call)
                for answered in self._answered:
                    await answered(call)
            else:
                await self._masking.answered(call)  # what holds for an answer holds for one from the cache
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
        await self._before(call, [policy for policy in self._policies if policy.name in CHECKS])
        for deployment in call.deployments:
            count = getattr(self._provider(deployment.provider), "count_tokens", None)
            if count is not None:
                return int(await count(call.request, deployment))
        return None

    # --- calls that wait elsewhere, such as in a batch --------------------------------------------------------------

    def open_call(self, request: Request, *, started_at: datetime | None = None) -> Call:
        """A call that nobody waits for here: `judge` it, and `close_call` it when its answer has come."""
        call = Call(request=self._prompts.named(request), started_at=started_at or self._clock(), deployments=self._behind(request.model))
        call.state["request_hash"] = request_document(request).hash
        call.state["began"] = asyncio.get_running_loop().time() - (self._clock() - call.started_at).total_seconds()
        return call

    async def judge(self, call: Call, *, without: Collection[str] = ()) -> None:
        """Passes the call through the policies, but for those named.

        Raises:
            AiplatError: one says no.
        """
        await self._before(call, [policy for policy in self._policies if policy.name not in without])

    async def close_call(self, call: Call, *, error: BaseException | None = None) -> None:
        """Books and records a call that `open_call` gave, with its answer in `call.response` or the error that it ended with."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a call needs a running task")
        trip = Trip(call, float(call.state["began"]), request_document(call.request), task, task.cancelling())
        try:
            for answered in self._answered if error is None else ():
                await answered(call)
        except AiplatError as refused:
            error = refused
        if error is not None:
            self._failed(trip, error)
        await self._end(trip)

    def provider(self, name: str) -> Provider:
        """The provider of that name.

        Raises:
            ConfigError: it cannot be made.
        """
        return self._provider(name)

    def deployments(self, model: str) -> tuple[Deployment, ...]:
        """What a model's name stands for; empty if unknown."""
        return self._behind(model)

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
                "deployments": [described(one, self._prices.of(one, now), self._route.standing(one)) for one in deployments],
                "region": deployments[0].region,
                "available": any(available(self._settings, one) for one in deployments),
            }
            for name, deployments in self._deployments.items()
        ]

    async def explain(self, request: Request, *, input_tokens: int | None = None) -> dict[str, Any]:  # Any: JSON
        """Which deployments a call would try, in which order and why; nothing is sent and no row is written.

        Args:
            request: the call.
            input_tokens: the length of its input, where the request is given without its text.

        Raises:
            AiplatError: the call would be refused.
        """
        call = Call(request=self._prompts.named(request), started_at=self._clock(), deployments=self._behind(request.model))
        call.state["input_tokens"] = input_tokens
        listed = call.deployments
        await self._before(call, self._policies[: len(FIRST)])
        return explained(call, listed, route=self._route, prices=self._prices, settings=self._settings)

    async def plan(self, request: Request, *, max_usd: Decimal | None = None) -> dict[str, Any]:  # Any: JSON
        """What would become of a call, by every policy; nothing is sent, held or recorded. With the longest answer within `max_usd`."""
        call = Call(request=self._prompts.named(request), started_at=self._clock(), deployments=self._behind(request.model))
        if not call.deployments or not (request.messages or request.inputs or request.body is not None):
            await self._before(call, ())  # raises what a call would
        return await planned(call, self._policies, orders=self._route.orders, prices=self._prices, max_usd=max_usd)

    def breakers(self) -> list[dict[str, Any]]:
        """The deployments that failed lately, with the state of their breakers."""
        return self._route.breakers.describe()

    def budgets(self) -> list[dict[str, Any]]:
        """Every budget with what was spent and is held: the figures that enforcement uses; money as text."""
        return self.budget.counters()

    def in_flight(self) -> list[dict[str, Any]]:
        """The calls under way, the oldest first; one that waits in a queue says where and at which place."""
        return [trip.shown(queued=self.limits.queued(trip.call)) for trip in self._trips.values()]

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
        if where := self.elsewhere(request.call_id):
            raise UnknownCall(f"the call {request.call_id} waits in {where}; its answer is there when that is over")
        while True:
            trip = self._trips.get(request.call_id)
            if trip is not None:
                await trip.ended.wait()
            known = request.call_id in self._memory
            answer = await self._memory.recall(request)
            begun_meanwhile = request.call_id in self._trips or (request.call_id in self._memory) is not known
            if answer is not None or not begun_meanwhile:
                return answer

    def _begin(self, request: Request) -> Trip:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a call needs a running task")
        call = Call(request=self._prompts.named(request), started_at=self._clock(), deployments=self._behind(request.model))
        trip = Trip(call, asyncio.get_running_loop().time(), request_document(request), task, task.cancelling())
        call.state["began"] = trip.began
        call.state["request_hash"] = trip.asked.hash
        self._ledger.begin(begin_row(call), soon=True)  # with what a budget holds, in one line; else before anything else happens
        asyncio.get_running_loop().call_soon(self._noted)
        self._trips[call.id] = trip
        return trip

    def _noted(self) -> None:
        """Writes down that calls began which wait for something before they are sent."""
        try:
            self._ledger.flush()
        except LedgerError as error:
            logger.warning("calls under way are not noted: %s", error)

    async def _before(self, call: Call, policies: Sequence[Policy]) -> None:
        request = call.request
        if not call.deployments:
            call.deployments = self.replay.elsewhere(request)
            call.state["elsewhere"] = True
        if not call.deployments:
            known = self._settings.models
            raise UnknownModel(
                f"there is no model {redact(request.model)!r}.{did_you_mean(request.model, known)} "
                "Models are named under [models] in aiplat.toml, or written provider/model; `aiplat model list` lists them."
            )
        if not request.messages and not request.inputs and request.body is None:
            raise UsageError("the request holds no message and no input, so there is nothing to ask the model")
        for index, policy in enumerate(policies):
            if index == len(FIRST) and not call.state.get(
                "elsewhere"
            ):  # who may ask whom is settled, and every further rule sees the deployments in their order
                self._route.orders.plan(call)
            try:
                await policy.before(call)
            except CallRefused:
                call.policy = policy.name
                raise
            if call.response is not None:
                return

    def _failed(self, trip: Trip, error: BaseException) -> BaseException:
        """Notes in the call why it ended, and gives the error that its caller should see."""
        call = trip.call
        error = call.error = typed(error, call.id)
        if isinstance(error, CallRefused):
            call.status = "refused"
            call.policy = error.policy or call.policy
        elif isinstance(error, CallCancelled) or not isinstance(error, Exception):
            call.status = "cancelled"
        else:
            call.status = "error"
        return error

    async def _end(self, trip: Trip) -> None:
        """Books and records a call, however it ended."""
        trip.closing = True
        call = trip.call
        call.ended_at = call.started_at + timedelta(seconds=asyncio.get_running_loop().time() - trip.began)
        try:
            book(call, prices=self._prices, first=self._reference(call.request.model))
            await self._after(call, len(self._policies) - 1)
        finally:
            self._trips.pop(call.id, None)
            row, payloads = end_row(call, trip.asked)
            try:
                self._ledger.record("call", row, payloads=payloads)
                if self.ended is not None:
                    self.ended(call, row)
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

    # --- parts ------------------------------------------------------------------------------------------------------

    def _reference(self, model: str) -> Deployment | None:
        """What the model would be without routing; its cost is the baseline."""
        behind = self._behind(model)
        return self._route.orders.reference(model, behind) if behind else None

    def _behind(self, model: str) -> tuple[Deployment, ...]:
        return self._deployments.get(model) or self._settings.deployments(model)

    def _provider(self, name: str) -> Provider:
        provider = self._providers.get(name)
        if provider is None:
            settings = self._settings.providers[name]
            if not settings.transport:
                settings = replace(settings, transport=self._settings.gateway.transport)
            provider = self._providers[name] = fenced(find("provider", settings.kind)(name, settings), self._policies)
        return provider


class Stream(AbstractAsyncContextManager["Stream"]):
    """The pieces of one answer. Leaving before the end cancels the call and keeps what had come."""

    def __init__(self, gateway: Gateway, request: Request) -> None:
        self._gateway = gateway
        self._request = request
        self._trip: Trip | None = None
        self._upstream: Upstream | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._pending: list[Chunk] = []
        self._filters: list[Pieces] = []
        self._error: BaseException | None = None
        self._ended = False
        self._finish_reason = ""
        self._response_model = ""
        self._usage: Usage | None = None
        self._counted = Counted()
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

    @property
    def facts(self) -> Call | Response:
        """What holds the call's flags and notes, as far as they are known by now."""
        return self._trip.call if self._trip else self.response or Response()

    async def __aenter__(self) -> Stream:
        gateway = self._gateway
        again = await gateway._again(self._request)
        if again is not None:
            self.response, self._pending, self._ended = again, replay(again), True
            return self
        trip = self._trip = gateway._begin(self._request)
        try:
            await gateway._before(trip.call, gateway._policies)
            gateway._ledger.flush()
            if trip.call.response is not None:
                await gateway._masking.answered(trip.call)
                self._pending, self._ended = replay(trip.call.response), True
            else:
                self._upstream = await gateway._route.open(trip.call)
                self._filters = [one for one in (pieces(trip.call) for pieces in gateway._filters) if one is not None]
                self._pending = self._filtered(self._upstream.first)
                self._timer = asyncio.get_running_loop().call_at(self._upstream.deadline, trip.interrupt, "timeout")
        except BaseException as error:  # as in `Gateway.handle`
            self._trip = None
            await self._close(error)  # a filter may have stopped an answer that had begun
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
                self._error = typed(trip.turned(error), trip.call.id)
                raise self._error from None
        return self._passed(self._pending.pop(0))

    async def _more(self, upstream: Upstream) -> None:
        """The next piece, or what the filters held back until the end."""
        try:
            self._pending = self._filtered([await upstream.next()])
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

    def _why_left(self, trip: Trip, error: BaseException | None) -> BaseException | None:
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

    def _settle(self, trip: Trip, cause: BaseException | None) -> None:
        if self._upstream is not None and (cause is None or self._upstream.broke is not None):
            self._gateway._route.ended(trip.call, self._upstream, self._usage)
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
            if chunk.usage is not None:
                self._usage = self._counted.add(chunk.usage)
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
