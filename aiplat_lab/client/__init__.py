"""The one way in, blocking and asynchronous: ask models, read the ledger.

`connect()` gives a client; the functions here use one for the environment's own home or shared gateway.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from aiplat_lab.client._async import AsyncStream
from aiplat_lab.client._client import Client, Prompt, connect
from aiplat_lab.client._dry import DryRun
from aiplat_lab.client._routing import Routing, route_sdks, routed
from aiplat_lab.client._stream import Stream
from aiplat_lab.core.settings import environment
from aiplat_lab.core.types import Response

if TYPE_CHECKING:
    import polars

__all__ = [
    "AsyncStream",
    "Client",
    "DryRun",
    "Routing",
    "Stream",
    "achat",
    "adry_run",
    "astream",
    "calls",
    "chat",
    "connect",
    "default",
    "dry_run",
    "embed",
    "route_sdks",
    "routed",
    "sql",
    "stream",
]

_clients: dict[tuple[object, ...], Client] = {}


def default() -> Client:
    """The client of this process for what the environment says now; the same one each time."""
    known = environment()
    about = (os.getpid(), known.home.path, known.gateway, known.key.reveal(), known.attribution.team, known.attribution.project)
    client = _clients.get(about)
    if client is None:
        client = _clients[about] = connect()
    return client


def chat(prompt: Prompt, *, model: str | None = None, **options: Any) -> Response:
    """The answer of a model; options as for `Client.chat`."""
    return default().chat(prompt, model=model, **options)


async def achat(prompt: Prompt, *, model: str | None = None, **options: Any) -> Response:
    """As `chat`; cancelling the task cancels the call at the provider."""
    return await default().achat(prompt, model=model, **options)


def stream(prompt: Prompt, *, model: str | None = None, **options: Any) -> Stream:
    """The answer in pieces: `with stream(…) as pieces: for text in pieces: …`; options as for `Client.chat`."""
    return default().stream(prompt, model=model, **options)


def astream(prompt: Prompt, *, model: str | None = None, **options: Any) -> AsyncStream:
    """As `stream`: `async with astream(…) as pieces: async for text in pieces: …`."""
    return default().astream(prompt, model=model, **options)


def dry_run(prompt: Prompt, *, model: str | None = None, **options: Any) -> DryRun:
    """What would become of a call, asked as by `chat`: the request, tokens, price, each policy's verdict. Nothing is sent."""
    return default().dry_run(prompt, model=model, **options)


async def adry_run(prompt: Prompt, *, model: str | None = None, **options: Any) -> DryRun:
    """As `dry_run`, without holding up the event loop."""
    return await asyncio.to_thread(dry_run, prompt, model=model, **options)


def embed(texts: str | Sequence[str], *, model: str = "minilm", **options: Any) -> Response:
    """One vector for each text, in `embeddings`; options as for `Client.embed`."""
    return default().embed(texts, model=model, **options)


def calls(**filters: Any) -> polars.DataFrame:
    """The calls in the ledger, newest first; filters `since`, `until`, `team`, `model`, `status`, `limit`, …"""
    return default().view("recent_calls", **filters)


def sql(query: str, params: Sequence[Any] | Mapping[str, Any] | None = None) -> polars.DataFrame:
    """The rows of one read-only SQL statement over the ledger."""
    return default().sql(query, params)
