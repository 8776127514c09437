"""The way to an answer: deployments in order, each with its time limit and retries, until one answers.

Nothing is tried again once a piece of the answer has been passed on.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from aiplat_lab.core.errors import AiplatError, ConfigError, ProviderError
from aiplat_lab.core.types import Call, Chunk, Clock, Deployment, Gate, Provider, Response, utc_now

BACKOFF_S = 0.25
"""The first pause between two tries; it doubles with each."""
MAX_BACKOFF_S = 8.0
FALLBACK_RATHER_THAN_WAIT_S = 1.0
"""A longer pause than this is not made while another deployment is left to try."""
SHARE_OF_TIME = 2 / 3
"""What one deployment may use of the caller's own time limit while another is left to try."""
_PASSED_ON = frozenset({"auth", "rate_limited", "unavailable", "timeout", "cut_off", "bad_reply"})
_HELD_CHUNKS = 4

_T = TypeVar("_T")
Attempt = Callable[[Provider, Deployment], Awaitable[_T]]


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
    deadline: float
    """On the event loop's clock."""
    first: list[Chunk] = field(default_factory=list)

    async def close(self, error: BaseException | None = None) -> None:
        """Closes the connection, so that the provider stops."""
        await self.manager.__aexit__(type(error) if error else None, error, error.__traceback__ if error else None)


class Route:
    """Walks the deployments of a call."""

    def __init__(self, providers: Providers, *, gate: Gate, clock: Clock = utc_now) -> None:
        self._providers = providers
        self._gate = gate
        self._clock = clock
        self._random = random.Random()  # noqa: S311 (it spreads retries; nothing secret)

    async def answer(self, call: Call) -> Response:
        """The whole answer of the first deployment that gives one.

        Raises:
            ProviderError: none did.
            ConfigError: a provider cannot be made or has no key.
        """

        async def attempt(provider: Provider, deployment: Deployment) -> Response:
            if call.request.operation == "embed":
                return _named(await provider.embed(call.request, deployment), deployment)
            return _flagged(_named(await provider.chat(call.request, deployment), deployment))

        return await self._walk(call, attempt)

    async def open(self, call: Call) -> Upstream:
        """The first answer that begins to come; the caller closes it.

        Raises:
            ProviderError: none began.
            ConfigError: a provider cannot be made or has no key.
        """
        loop = asyncio.get_running_loop()

        async def attempt(provider: Provider, deployment: Deployment) -> Upstream:
            manager = provider.stream(call.request, deployment)
            rest = await manager.__aenter__()
            upstream = Upstream(manager, rest, deployment, loop.time() + self._time_s(call, deployment, more=False))
            try:
                await _first(upstream)
            except BaseException as error:
                await upstream.close(error)
                raise
            return upstream

        return await self._walk(call, attempt)

    async def _walk(self, call: Call, attempt: Attempt[_T]) -> _T:
        failed: list[str] = []
        for index, deployment in enumerate(call.deployments):
            more = index + 1 < len(call.deployments)
            call.deployment = deployment
            try:
                return await self._try(call, deployment, attempt, more=more)
            except AiplatError as error:
                if not more or not _passed_on(error):
                    raise _with_history(error, failed) from error.__cause__
                failed.append(f"{deployment.name} ({getattr(error, 'reason', 'settings')})")
                if "fallback" not in call.flags:
                    call.flags.append("fallback")
        raise ConfigError(f"the model {call.request.model!r} has no deployment; name one under [models] in aiplat.toml")

    async def _try(self, call: Call, deployment: Deployment, attempt: Attempt[_T], *, more: bool) -> _T:
        """One deployment: its retries, all within its time limit."""
        provider = self._providers(deployment.provider)
        loop = asyncio.get_running_loop()
        limit_s = self._time_s(call, deployment, more=more)
        deadline = loop.time() + limit_s
        try:
            async with asyncio.timeout_at(deadline):
                for tried in range(deployment.retries + 1):
                    call.attempts += 1
                    try:
                        return await attempt(provider, deployment)
                    except ProviderError as error:
                        pause_s = self._pause_s(error, tried, last=tried == deployment.retries, more=more, left_s=deadline - loop.time())
                        if pause_s is None:
                            raise
                    if "retried" not in call.flags:
                        call.flags.append("retried")
                    await asyncio.sleep(pause_s)
        except TimeoutError:
            own_s = None if more else call.request.timeout_s  # what is left of it is a little less, and nobody's figure
            raise ProviderError(
                f"{deployment.name} gave no answer within {own_s or limit_s:.3g} s. Try again, raise the time limit, or use another model.",
                provider=deployment.provider,
                model=deployment.model,
                retryable=True,
                reason="timeout",
            ) from None
        raise AssertionError("the last try returns or raises")

    def _pause_s(self, error: ProviderError, tried: int, *, last: bool, more: bool, left_s: float) -> float | None:
        """Seconds until the next try of the same deployment, or None when there is none.

        Raises:
            ProviderError: the provider wants a longer wait than the call has time for.
        """
        if last or not error.retryable or error.reason == "timeout":
            return None
        backoff_s = min(MAX_BACKOFF_S, BACKOFF_S * 2.0**tried) * self._random.uniform(0.5, 1.0)
        pause_s = max(backoff_s, error.retry_after_s or 0.0)
        if more and pause_s > FALLBACK_RATHER_THAN_WAIT_S:
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
        if chunk.text or chunk.tool_calls or chunk.finish_reason or len(upstream.first) >= _HELD_CHUNKS:
            return


def _passed_on(error: AiplatError) -> bool:
    """Whether the next deployment may do better."""
    if isinstance(error, ProviderError):
        return error.retryable or error.reason in _PASSED_ON or error.status == 404
    return isinstance(error, ConfigError)


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
