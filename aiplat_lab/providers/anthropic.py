"""Anthropic's Messages wire."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from aiplat_lab.core.batches import BatchAnswer, BatchState
from aiplat_lab.core.errors import ProviderError
from aiplat_lab.core.registry import register
from aiplat_lab.core.settings import ProviderSettings
from aiplat_lab.core.types import Chunk, Deployment, Json, Request, Response
from aiplat_lab.providers import _anthropic_wire as messages_wire
from aiplat_lab.providers._batches import AnthropicBatches
from aiplat_lab.providers._chat_shape import sound
from aiplat_lab.providers._failures import bad_reply, cut_off, failure, from_error_object
from aiplat_lab.providers._http import Endpoint, drain
from aiplat_lab.providers._sse import Event
from aiplat_lab.providers._wired import MISSHAPEN

BASE_URL = "https://api.anthropic.com"
VERSION = "2023-06-01"
"""The version of the wire, as its header names it."""


@register("provider", "anthropic")
class Anthropic:
    """Chat and streams in Anthropic's format.

    Args:
        name: the name under `[providers]`.
        settings: its settings; an empty `base_url` takes Anthropic's own, and one may end in `/v1` or before it.

    Raises:
        ConfigError: the base URL is not an HTTP address.
    """

    wire: ClassVar[str] = messages_wire.MESSAGES
    batches = True
    """Whether it has a batch API here."""
    lacks: ClassVar[frozenset[str]] = frozenset({"n", "logprobs", "seed", "audio", "embeddings"})
    """What the format cannot say; asked alone, without routing, it leaves out what an answer can do without, and flags it."""

    def __init__(self, name: str, settings: ProviderSettings) -> None:
        self._name = name
        self._endpoint = Endpoint(
            name,
            replace(settings, base_url=settings.base_url.rstrip("/").removesuffix("/v1")),
            base_url=BASE_URL,
            auth=lambda key: {"x-api-key": key},
            headers={"anthropic-version": VERSION},
        )
        self._batches = AnthropicBatches(self._endpoint, partial(messages_wire.read_reply, own=False))

    async def chat(self, request: Request, deployment: Deployment) -> Response:
        """The whole answer."""
        body = self._body(request, deployment, stream=False)
        data = await self._endpoint.post("/v1/messages", body.data, request=request, deployment=deployment)
        try:
            response = messages_wire.read_reply(data, own=request.wire == messages_wire.MESSAGES)
        except MISSHAPEN:
            response = None
        if response is None:
            raise self._no_answer(data, deployment)
        return replace(response, provider=self._name, region=deployment.region, flags=(*response.flags, *body.flags))

    @asynccontextmanager
    async def stream(self, request: Request, deployment: Deployment) -> AsyncIterator[AsyncIterator[Chunk]]:
        """The answer in pieces; leaving the context closes the connection."""
        body = self._body(request, deployment, stream=True)
        opening = self._endpoint.events("/v1/messages", body.data, request=request, deployment=deployment)
        async with opening as events, aclosing(self._chunks(events, request, deployment)) as chunks:
            yield chunks

    async def embed(self, request: Request, deployment: Deployment) -> Response:
        """Nothing: Anthropic has no embeddings.

        Raises:
            ProviderError: always, before anything is sent.
        """
        text = "this provider has no embeddings. Use a model of a provider that has, such as minilm."
        raise failure(self._endpoint.where(deployment.model), text, reason="bad_request")

    async def count_tokens(self, request: Request, deployment: Deployment) -> int:
        """How many tokens the request's input has, as the provider counts them; nothing is generated."""
        try:
            body = messages_wire.count_body(request, deployment)
        except messages_wire.NotTranslatable as error:
            raise failure(self._endpoint.where(deployment.model), f"{error}.", reason="bad_request") from None
        data = await self._endpoint.post("/v1/messages/count_tokens", body, request=request, deployment=deployment)
        if not isinstance(data.get("input_tokens"), int):
            raise self._no_answer(data, deployment)
        return int(data["input_tokens"])

    async def submit_batch(self, batch_id: str, requests: Sequence[Request], deployment: Deployment) -> str:
        """Hands the requests in as one batch; gives its name there."""
        bodies = {one.call_id: self._body(one, deployment, stream=False).data for one in requests}
        return await self._batches.submit(batch_id, bodies, self._endpoint.where(deployment.model))

    async def batch_state(self, remote_id: str, deployment: Deployment) -> BatchState:
        """How far the batch is."""
        return await self._batches.state(remote_id, self._endpoint.where(deployment.model))

    async def batch_answers(self, remote_id: str, deployment: Deployment) -> list[BatchAnswer]:
        """What has come of a batch that is over."""
        found = await self._batches.answers(remote_id, self._endpoint.where(deployment.model))
        return [one.of(self._name, deployment.region) for one in found]

    async def cancel_batch(self, remote_id: str, deployment: Deployment) -> None:
        """Asks the provider to stop the batch."""
        await self._batches.cancel(remote_id, self._endpoint.where(deployment.model))

    async def models(self) -> list[str]:
        """The names of the models that the provider offers to this key."""
        data = await self._endpoint.get("/v1/models")
        return sorted(str(entry["id"]) for entry in data.get("data") or () if isinstance(entry, Mapping) and "id" in entry)

    async def aclose(self) -> None:
        """Closes all connections."""
        await self._endpoint.aclose()

    def _body(self, request: Request, deployment: Deployment, *, stream: bool) -> messages_wire.Body:
        try:
            return messages_wire.body(request, deployment, stream=stream)
        except messages_wire.NotTranslatable as error:
            raise failure(self._endpoint.where(deployment.model), f"{error}.", reason="bad_request") from None

    def _no_answer(self, data: Mapping[str, Json], deployment: Deployment) -> ProviderError:
        where = self._endpoint.where(deployment.model)
        if data.get("error"):
            return from_error_object(where, data["error"])
        return bad_reply(where, "JSON that holds no answer", json.dumps(data)[:400].encode())

    async def _chunks(self, events: AsyncGenerator[Event, None], request: Request, deployment: Deployment) -> AsyncGenerator[Chunk, None]:
        """The events as chunks, up to the end marker, which must come unless a stop reason came."""
        reader = messages_wire.StreamReader(own=request.wire == messages_wire.MESSAGES)
        async for event in events:
            for data in self._read(event, deployment):
                try:
                    chunk = reader.read(data)
                    if chunk.tool_calls and not sound(chunk.tool_calls):
                        raise ValueError("a call of a tool that is none")
                except MISSHAPEN:
                    where = self._endpoint.where(deployment.model)
                    raise bad_reply(where, "JSON of another shape than its format has", event.data) from None
                if chunk != _NOTHING:
                    yield chunk
            if reader.ended:
                await drain(events)
                return
        if not reader.complete:
            raise cut_off(self._endpoint.where(deployment.model))

    def _read(self, event: Event, deployment: Deployment) -> list[Mapping[str, Json]]:
        """The JSON objects of an event: one, or those that a plain reply stands for.

        Raises:
            ProviderError: it is not JSON, or an error.
        """
        where = self._endpoint.where(deployment.model)
        try:
            data: Any = json.loads(event.data)  # Any: JSON from outside, narrowed here
        except (ValueError, RecursionError):
            raise bad_reply(where, "a piece of a stream that is not JSON", event.data) from None
        if not isinstance(data, dict):
            raise bad_reply(where, f"a JSON {type(data).__name__} within a stream", event.data)
        if data.get("type") == "error" or event.name == "error":
            raise from_error_object(where, data.get("error") or data)
        if event.name != "whole":
            return [data]
        try:
            if messages_wire.read_reply(data, own=False) is not None:
                return messages_wire.whole_as_events(data)
        except MISSHAPEN:
            pass  # said below
        raise bad_reply(where, "JSON that holds no answer", event.data)


_NOTHING = Chunk()
