"""What the tests of the OpenAI provider share: ways to ask, and what is expected of a failure."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from faults import FaultServer

from aiplat_lab.core.errors import ProviderError
from aiplat_lab.core.settings import ProviderSettings
from aiplat_lab.core.types import Chunk, Deployment, Message, Request, Response, Usage
from aiplat_lab.providers.openai import OpenAI

USER = (Message("user", "one two three"),)


def ask(**more: Any) -> Request:
    return Request(model="m", **{"messages": USER, **more})


def at(model: str, **more: Any) -> Deployment:
    return Deployment(provider="acme", model=model, region="uk", **more)


def run(upstream: FaultServer, use: Callable[[OpenAI], Awaitable[Any]], **settings: Any) -> Any:
    """What `use` gives, with a provider that is closed after."""

    async def inside() -> Any:
        known = {"kind": "openai", "base_url": upstream.openai_url, "api_key": "env:TEST_PROVIDER_KEY"}
        provider = OpenAI("acme", ProviderSettings(**{**known, **settings}))
        try:
            return await use(provider)
        finally:
            await provider.aclose()

    return asyncio.run(inside())


def chat(upstream: FaultServer, model: str, *, request: Request | None = None, timeout_s: float = 20.0, **settings: Any) -> Response:
    return run(upstream, lambda provider: provider.chat(request or ask(), at(model, timeout_s=timeout_s)), **settings)


def stream(upstream: FaultServer, model: str, *, request: Request | None = None, timeout_s: float = 20.0, **settings: Any) -> list[Chunk]:
    got: list[Chunk] = []

    async def use(provider: OpenAI) -> list[Chunk]:
        async with provider.stream(request or ask(), at(model, timeout_s=timeout_s)) as chunks:
            async for chunk in chunks:
                got.append(chunk)
        return got

    try:
        return run(upstream, use, **settings)
    except ProviderError as error:
        error.details["got"] = got
        raise


def text_of(chunks: list[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks)


def usage_of(chunks: list[Chunk]) -> Usage | None:
    return next((chunk.usage for chunk in reversed(chunks) if chunk.usage), None)


def finish_of(chunks: list[Chunk]) -> str:
    return next((chunk.finish_reason for chunk in reversed(chunks) if chunk.finish_reason), "")


@contextmanager
def failing(reason: str, status: int | None = None) -> Iterator[Any]:
    """Expects a `ProviderError` of that reason, with one line that a person can act on and no key in it."""
    with pytest.raises(ProviderError) as caught:
        yield caught
    error = caught.value
    assert (error.reason, error.status) == (reason, status), error.message
    assert error.provider == "acme"
    assert error.message.startswith("acme: ")
    assert "\n" not in error.message
    assert len(error.message.encode()) <= 800
    assert "odd:key" not in f"{error.message}{error.to_wire()}{error!r}"
