"""The way to an answer: the deployments of a call in order, each within its time limits, until one answers.

Nothing is tried again once a piece of the answer has been passed on. What is known to fail is gone round at no cost (`_breaker`);
whatever else is tried again comes out of one budget, retries and fallbacks alike.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from aiplat_lab.core.errors import AiplatError, ConfigError, ProviderError, RateLimited
from aiplat_lab.core.settings import Settings
from aiplat_lab.core.types import Call, Chunk, Clock, Deployment, Gate, Provider, Response, Usage, utc_now
from aiplat_lab.gateway import _hedge
from aiplat_lab.gateway._breaker import Breaker, Breakers, Budget, RetryBudgets, counts
from aiplat_lab.gateway._order import Orders
from aiplat_lab.gateway._speed import Speeds
from aiplat_lab.prices import Prices

BACKOFF_S = 0.25
"""The first pause between two tries; it doubles with each."""
MAX_BACKOFF_S = 8.0
FALLBACK_RATHER_THAN_WAIT_S = 1.0
"""A longer pause than this is not made while another deployment is left to try."""
SHARE_OF_TIME = 2 / 3
"""What one deployment may use of the caller's own time limit while another is left to try."""
HOLD_BACK_S = 1.0
"""How long a provider that says "too many" and no time is left alone; it doubles with each, up to `MAX_HOLD_BACK_S`."""
MAX_HOLD_BACK_S = 30.0
SHORT_S = 1.0
"""A silence within a caller's own, shorter limit speaks against a deployment that was never measured."""
_PASSED_ON = frozenset({"auth", "rate_limited", "unavailable", "timeout", "cut_off", "bad_reply"})
_HELD_CHUNKS = 4

_T = TypeVar("_T")
Attempt = Callable[[Provider, Deployment, AbstractAsyncContextManager[None], float], Awaitable[_T]]
"""One try: the provider, the deployment, its place under the limits, and the deadline."""


class Providers(Protocol):
    """Finds the provider of a deployment."""

    def __call__(self, name: str) -> Provider:
        """The provider called `name`.

        Raises:
            ConfigError: it cannot be made.
        """
        ...


@dataclass(slots=True)
class Upstream:
    """An answer that has begun to come: the first pieces, and the rest."""

    manager: AbstractAsyncContextManager[AsyncIterator[Chunk]]
    rest: AsyncIterator[Chunk]
    deployment: Deployment
    slot: AbstractAsyncContextManager[None]
    """Its place under the limits, held until it is closed."""
    deadline: float
    """On the event loop's clock."""
    began: float
    breaker: Breaker
    first: list[Chunk] = field(default_factory=list)
    first_at: float = 0.0
    broke: ProviderError | None = None
    """What ended it before its end."""
    finished: bool = False
    """Whether a finish reason came."""

    async def next(self) -> Chunk:
        """The next piece.

        Raises:
            StopAsyncIteration: it has ended, and said why.
            ProviderError: it broke, or ended without saying why.
        """
        try:
            chunk = await anext(self.rest)
        except StopAsyncIteration:
            if self.finished:
                raise
            self.broke = without_end(self.deployment)
            raise self.broke from None
        except ProviderError as error:
            self.broke = error
            raise
        if chunk.finish_reason:
            self.finished = True
        return chunk

    async def close(self, error: BaseException | None = None) -> None:
        """Closes the connection, so that the provider stops."""
        try:
            await self.manager.__aexit__(type(error) if error else None, error, error.__traceback__ if error else None)
        finally:
            await self.slot.__aexit__(None, None, None)


class Route:
    """Walks the deployments of a call.

    Args:
        providers: finds the provider of a deployment.
        settings: the settings, with models, rules and time limits.
        prices: what the strategy `cheapest` goes by.
        gate: keeps the calls to a deployment within its limits.
        clock: what time it is.
    """

    def __init__(self, providers: Providers, *, settings: Settings, prices: Prices, gate: Gate, clock: Clock = utc_now) -> None:
        self._providers = providers
        self._settings = settings
        self._prices = prices
        self._gate = gate
        self._clock = clock
        self._random = random.Random()  # noqa: S311 (it spreads retries; nothing secret)
        self._budgets = RetryBudgets(settings.gateway.retry_share)
        self.breakers = Breakers(settings.providers)
        self.speeds = Speeds()
        self.orders = Orders(settings, prices, self.speeds)

    async def answer(self, call: Call) -> Response:
        """The whole answer of the first deployment that gives one.

        Raises:
            ProviderError: none did.
            RateLimited: no deployment has a place for it in time.
            ConfigError: a provider cannot be made or has no key.
        """
        embeds = call.request.operation == "embed"
        loop = asyncio.get_running_loop()

        async def attempt(provider: Provider, deployment: Deployment, slot: AbstractAsyncContextManager[None], deadline: float) -> Response:
            began = loop.time()
            try:
                asked = provider.embed if embeds else provider.chat
                response = _named(await asked(call.request, deployment), deployment)
            finally:
                await slot.__aexit__(None, None, None)
            usage = response.usage
            tokens = usage.total_output_tokens if usage is not None else 0
            self.speeds.plain(deployment.name, seconds=loop.time() - began, tokens=tokens)
            self.breakers.of(deployment).succeeded()
            if embeds:
                return response
            self.orders.learn(call, tokens)
            return _flagged(response)

        async def drop(response: Response) -> None:
            by = next((one for one in call.deployments if one.provider == response.provider), None)
            if by is not None and response.usage is not None:
                call.state["hedge"] = (by, response.usage)

        return await self._walk(call, attempt, drop)

    async def open(self, call: Call) -> Upstream:
        """The first answer that begins to come; the caller closes it, and says how it ended by `ended`.

        Raises:
            ProviderError: none began.
            RateLimited: no deployment has a place for it in time.
            ConfigError: a provider cannot be made or has no key.
        """
        loop = asyncio.get_running_loop()

        async def attempt(provider: Provider, deployment: Deployment, slot: AbstractAsyncContextManager[None], deadline: float) -> Upstream:
            began = loop.time()
            try:
                manager = provider.stream(call.request, deployment)
                rest = await manager.__aenter__()
            except BaseException:
                await slot.__aexit__(None, None, None)
                raise
            breaker = self.breakers.of(deployment)
            ends = began + self._time_s(call, deployment, more=False)
            upstream = Upstream(manager, rest, deployment, slot, ends, began, breaker)
            try:
                await _first(upstream)
            except BaseException as error:
                await upstream.close(error)
                raise
            upstream.first_at = loop.time()
            breaker.answered()
            return upstream

        return await self._walk(call, attempt, Upstream.close)

    def ended(self, call: Call, upstream: Upstream, usage: Usage | None) -> None:
        """Notes how a stream ended: whole, or by `upstream.broke`."""
        if upstream.broke is not None:
            self._failed(upstream.deployment, upstream.breaker, upstream.broke)
            return
        upstream.breaker.succeeded()
        tokens = usage.total_output_tokens if usage is not None else 0
        self.orders.learn(call, tokens)
        now = asyncio.get_running_loop().time()
        first_s = upstream.first_at - upstream.began
        self.speeds.streamed(upstream.deployment.name, first_s=first_s, seconds=now - upstream.began, tokens=tokens)

    def standing(self, deployment: Deployment) -> tuple[str, float]:
        """The state of its breaker, and the seconds until its provider takes another call."""
        return self.breakers.state(deployment), round(self._gate.wait_s(deployment), 3)

    # --- the walk ---------------------------------------------------------------------------------------------------

    async def _walk(self, call: Call, attempt: Attempt[_T], drop: _hedge.Drop[_T]) -> _T:
        budget = self._budgets.of(call.request.model)
        budget.call()
        walk = _Walk(call, budget, self._line(call))
        if not walk.line:
            raise self._none_left(call)
        if walk.line[0] is not call.deployments[0]:
            _flag(call, "fallback")
        after_s = self.orders.hedge_after_s(call.request.model)
        while True:
            deployment = walk.next()
            try:
                if after_s is not None and walk.more and _hedge.affordable(call):
                    return await self._hedged(walk, deployment, attempt, drop, after_s)
                return await self._try(call, deployment, attempt, budget=budget, more=walk.more)
            except AiplatError as error:
                self._go_on(walk, deployment, error)

    def _line(self, call: Call) -> list[Deployment]:
        """The deployments that may be asked now, in order; those whose provider wants a wait come last, the shortest wait first."""
        if len(call.deployments) == 1:
            one = call.deployments[0]
            return [one] if self.breakers.of(one).admits(asyncio.get_running_loop().time()) else []
        now = asyncio.get_running_loop().time()
        ready: list[Deployment] = []
        held: list[tuple[float, Deployment]] = []
        for one in call.deployments:
            if not self.breakers.of(one).admits(now):
                continue
            wait_s = self._gate.wait_s(one)
            if wait_s > FALLBACK_RATHER_THAN_WAIT_S / 4:
                held.append((wait_s, one))
            else:
                ready.append(one)
        return [*ready, *(one for _, one in sorted(held, key=lambda pair: pair[0]))]

    def _go_on(self, walk: _Walk, deployment: Deployment, error: AiplatError) -> None:
        """Lets the walk go on after a failure.

        Raises:
            AiplatError: the call ends with it: nothing is left, the next would not do better, or the budget is used up.
        """
        call = walk.call
        if walk.more and isinstance(error, ProviderError) and error.reason == "context_length":
            walk.only_longer_than(deployment)
        if not walk.more or not _passed_on(error):
            raise _with_history(error, walk.failed) from error.__cause__
        walk.first_error = walk.first_error or error
        walk.failed.append(
            f"{deployment.name} ({getattr(error, 'reason', '') or ('limits' if isinstance(error, RateLimited) else 'settings')})"
        )
        sent = isinstance(error, ProviderError)
        if sent and self._looks_well(deployment) and not walk.budget.take():
            _flag(call, "retry_budget")
            raise walk.first_error from error.__cause__
        _flag(call, "fallback")

    async def _hedged(self, walk: _Walk, first: Deployment, attempt: Attempt[_T], drop: _hedge.Drop[_T], after_s: float) -> _T:
        """The first answer of two deployments, the second asked when the first was silent for `after_s`."""
        call, second = walk.call, walk.line[0]

        def ask(deployment: Deployment, *, more: bool) -> Awaitable[_T]:
            return self._try(call, deployment, attempt, budget=walk.budget, more=more)

        race = _hedge.Race(lambda: ask(first, more=True), lambda: ask(second, more=False), drop)
        try:
            result = await race.run(after_s, may_ask=lambda: self._may_hedge(walk, second))
        finally:
            if race.asked_second:
                _flag(call, "hedged")
                walk.drop(second)
        if race.second_won:
            call.deployment = second
            _flag(call, "fallback")
        else:
            call.deployment = first
        return result

    def _may_hedge(self, walk: _Walk, second: Deployment) -> bool:
        now = asyncio.get_running_loop().time()
        return self.breakers.of(second).state(now) == "closed" and not self._gate.wait_s(second) and walk.budget.take_hedge()

    # --- one deployment ---------------------------------------------------------------------------------------------

    async def _try(self, call: Call, deployment: Deployment, attempt: Attempt[_T], *, budget: Budget, more: bool) -> _T:
        """One deployment: its retries, all within its time limit."""
        call.deployment = deployment
        provider = self._providers(deployment.provider)
        breaker = self.breakers.of(deployment)
        loop = asyncio.get_running_loop()
        limit_s = self._time_s(call, deployment, more=more)
        deadline = loop.time() + limit_s
        for tried in range(deployment.retries + 1):
            try:
                return await self._once(call, deployment, provider, attempt, breaker, deadline, more=more)
            except ProviderError as error:
                left_s = deadline - loop.time()
                pause_s = self._pause_s(error, tried, last=tried == deployment.retries, more=more, left_s=left_s)
                if pause_s is None or not breaker.admits(loop.time()):
                    raise
                if not budget.take():
                    _flag(call, "retry_budget")
                    raise
            _flag(call, "retried")
            await asyncio.sleep(pause_s)
            if not breaker.admits(loop.time()):  # others have found out meanwhile
                raise self._left_alone(deployment)
        raise AssertionError("the last try returns or raises")

    async def _once(
        self, call: Call, deployment: Deployment, provider: Provider, attempt: Attempt[_T], breaker: Breaker, deadline: float, *, more: bool
    ) -> _T:
        """One try, with its place under the limits and its time."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        within_s = 0.0 if more else max(0.0, min(deadline - began, self._settings.gateway.queue_s))
        slot = self._gate.slot(call, deployment, within_s=within_s)
        await slot.__aenter__()
        sent = loop.time()
        ends = deadline
        if call.request.stream:
            ends = min(deadline, sent + self._settings.providers[deployment.provider].first_token_timeout_s)
        probe = breaker.enter()
        call.attempts += 1
        self.speeds.of(deployment.name).started += 1
        failed: ProviderError | None = None
        try:
            async with asyncio.timeout_at(ends):
                return await attempt(provider, deployment, slot, deadline)
        except TimeoutError:
            failed = self._silent(call, deployment, ends - sent, first=ends < deadline, more=more)
            if ends < deadline or self._own_fault(call, deployment, ends - sent):
                breaker.failed(failed, loop.time())
            raise failed from None
        except ProviderError as error:
            failed = error
            self._failed(deployment, breaker, error)
            raise
        finally:
            if probe and breaker.probing:
                breaker.let_go() if failed is None else breaker.answered()

    def _failed(self, deployment: Deployment, breaker: Breaker, error: ProviderError) -> None:
        """Tells everybody else of a failure: the breaker, and by the gate what the provider asks to wait."""
        if counts(error):
            breaker.failed(error, asyncio.get_running_loop().time())
        elif error.reason == "rate_limited":
            wait_s = error.retry_after_s
            if wait_s is None:
                if self._gate.wait_s(deployment) > 0:
                    return  # somebody else has said so already
                wait_s = min(MAX_HOLD_BACK_S, HOLD_BACK_S * 2.0**breaker.limited)
                breaker.limited = min(breaker.limited + 1, 10)
            self._gate.hold_back(deployment, wait_s)

    def _looks_well(self, deployment: Deployment) -> bool:
        """Whether the next call would go there too: what is known to be down is gone round at no cost."""
        now = asyncio.get_running_loop().time()
        return self.breakers.of(deployment).admits(now) and self._gate.wait_s(deployment) <= 0

    def _own_fault(self, call: Call, deployment: Deployment, waited_s: float) -> bool:
        """Whether a silence speaks against the deployment, and not against a caller in a hurry."""
        if call.request.timeout_s is None or waited_s >= deployment.timeout_s * SHARE_OF_TIME:
            return True
        speed = self.speeds.of(deployment.name)
        usual_s = speed.first_s if call.request.stream else speed.whole_s
        return waited_s >= (SHORT_S if usual_s is None else max(SHORT_S, 2 * usual_s))

    def _silent(self, call: Call, deployment: Deployment, waited_s: float, *, first: bool, more: bool) -> ProviderError:
        if first:
            name = f"providers.{deployment.provider}.first_token_timeout_s"
            text = (
                f"{deployment.name} gave no first piece of its answer within {waited_s:.3g} s. Raise {name} in aiplat.toml, or try again."
            )
        else:
            own_s = None if more else call.request.timeout_s  # what is left of it is a little less, and nobody's figure
            shown_s = own_s or self._time_s_set(call, deployment, waited_s)
            text = f"{deployment.name} gave no answer within {shown_s:.3g} s. Try again, raise the time limit, or use another model."
        return ProviderError(text, provider=deployment.provider, model=deployment.model, retryable=True, reason="timeout")

    def _time_s_set(self, call: Call, deployment: Deployment, waited_s: float) -> float:
        return deployment.timeout_s if call.request.timeout_s is None else waited_s

    def _pause_s(self, error: ProviderError, tried: int, *, last: bool, more: bool, left_s: float) -> float | None:
        """Seconds until the next try of the same deployment, or None when there is none.

        Raises:
            ProviderError: the provider wants a longer wait than the call has time for.
        """
        if last or not error.retryable or error.reason == "timeout":
            return None
        backoff_s = min(MAX_BACKOFF_S, BACKOFF_S * 2.0**tried) * self._random.uniform(0.5, 1.0)
        pause_s = max(backoff_s, error.retry_after_s or 0.0)
        if more and (pause_s > FALLBACK_RATHER_THAN_WAIT_S or error.reason == "rate_limited"):
            return None
        if pause_s >= left_s:
            raise _wait_too_long(error, pause_s, left_s, self._clock()) from error
        return pause_s

    def _time_s(self, call: Call, deployment: Deployment, *, more: bool) -> float:
        """Seconds that a deployment may take, its retries included."""
        if call.request.timeout_s is None:
            return deployment.timeout_s
        left_s = max(0.0, call.request.timeout_s - (asyncio.get_running_loop().time() - float(call.state["began"])))
        return min(left_s * SHARE_OF_TIME, deployment.timeout_s) if more else left_s

    # --- endings ----------------------------------------------------------------------------------------------------

    def _none_left(self, call: Call) -> AiplatError:
        if not call.deployments:
            return ConfigError(f"the model {call.request.model!r} has no deployment; name one under [models] in aiplat.toml")
        _flag(call, "breaker_open")
        now = asyncio.get_running_loop().time()
        call.deployment = min(call.deployments, key=lambda one: self.breakers.of(one).left_s(now))
        return self._left_alone(call.deployment)

    def _left_alone(self, deployment: Deployment) -> ProviderError:
        breaker = self.breakers.of(deployment)
        left_s = breaker.left_s(asyncio.get_running_loop().time())
        last = breaker.last_error
        said = f" The last time: {last.message}" if last is not None else ""
        return ProviderError(
            f"{deployment.name} failed {breaker.in_a_row} times in a row and is left alone for {left_s:.0f} s; nothing was sent.{said}",
            provider=deployment.provider,
            model=deployment.model,
            status=last.status if last is not None else None,
            retryable=True,
            retry_after_s=left_s,
            reason=last.reason if last is not None else "unavailable",
        )


@dataclass(slots=True)
class _Walk:
    """Where a call stands on its way along the deployments."""

    call: Call
    budget: Budget
    line: list[Deployment]
    """What is left to try."""
    failed: list[str] = field(default_factory=list)
    first_error: AiplatError | None = None

    @property
    def more(self) -> bool:
        """Whether another deployment is left after the one that was taken last."""
        return bool(self.line)

    def next(self) -> Deployment:
        """Takes the next deployment."""
        return self.line.pop(0)

    def drop(self, deployment: Deployment) -> None:
        """Leaves out a deployment that was asked already."""
        if deployment in self.line:
            self.line.remove(deployment)

    def only_longer_than(self, deployment: Deployment) -> None:
        """Leaves only the deployments that are known to take a longer prompt."""
        most = deployment.context_tokens
        self.line = [one for one in self.line if most is not None and one.context_tokens is not None and one.context_tokens > most]


def _flag(call: Call, name: str) -> None:
    if name not in call.flags:
        call.flags.append(name)


def _named(response: Response, deployment: Deployment) -> Response:
    """The response with who gave it, where the provider does not say."""
    if response.provider and response.response_model:
        return response
    region = response.region or deployment.region
    return replace(response, provider=deployment.provider, region=region, response_model=response.response_model or deployment.model)


def _flagged(response: Response) -> Response:
    """The response, flagged when it does not say why it ended."""
    if response.finish_reason or "no_finish_reason" in response.flags:
        return response
    return replace(response, flags=(*response.flags, "no_finish_reason"))


async def _first(upstream: Upstream) -> None:
    """Reads until something was said, so that a stream that breaks before it can be tried elsewhere."""
    async for chunk in upstream.rest:
        upstream.first.append(chunk)
        upstream.finished = upstream.finished or bool(chunk.finish_reason)
        if chunk.text or chunk.tool_calls or chunk.finish_reason or len(upstream.first) >= _HELD_CHUNKS:
            return
    raise without_end(upstream.deployment)


def without_end(deployment: Deployment) -> ProviderError:
    """A stream that ended and does not say why: nobody can tell it from one that was cut off."""
    return ProviderError(
        f"the answer of {deployment.name} ended without a finish reason, so it may be cut off half-way. Try again.",
        provider=deployment.provider,
        model=deployment.model,
        retryable=True,
        reason="cut_off",
    )


def _passed_on(error: AiplatError) -> bool:
    """Whether the next deployment may do better."""
    if isinstance(error, ProviderError):
        return error.retryable or error.reason in _PASSED_ON or error.status == 404 or error.reason == "context_length"
    return isinstance(error, ConfigError | RateLimited)


def _with_history(error: AiplatError, failed: list[str]) -> AiplatError:
    """The error, with the deployments that failed before it."""
    if not failed or not isinstance(error, ProviderError):
        return error
    facts = {key: value for key, value in error.details.items() if key != "tried"}
    return ProviderError(f"{error.message} Tried before it: {', '.join(failed)}.", tried=failed, **facts)


def _wait_too_long(error: ProviderError, pause_s: float, left_s: float, now: datetime) -> ProviderError:
    again = (now + timedelta(seconds=pause_s)).strftime("%H:%M:%S UTC")
    return ProviderError(
        f"{error.provider} asks to wait {pause_s:.0f} s before the next request, and this call has {max(0.0, left_s):.0f} s left. "
        f"Send it again after {again}, or use another model.",
        provider=error.provider,
        model=error.model,
        status=error.status,
        retryable=True,
        retry_after_s=pause_s,
        reason=error.reason,
    )
