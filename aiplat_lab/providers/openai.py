"""OpenAI's wire, spoken by OpenAI and by every compatible base URL."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from aiplat_lab.core.batches import BatchAnswer, BatchState
from aiplat_lab.core.errors import ProviderError
from aiplat_lab.core.registry import register
from aiplat_lab.core.settings import ProviderSettings
from aiplat_lab.core.types import Chunk, Deployment, Json, Request, Response
from aiplat_lab.providers import _openai_wire as openai_wire
from aiplat_lab.providers._batches import OpenAIBatches
from aiplat_lab.providers._failures import Where, bad_reply, cut_off, from_error_object
from aiplat_lab.providers._http import Endpoint, drain
from aiplat_lab.providers._sse import Event

BASE_URL = "https://api.openai.com/v1"


@register("provider", "openai")
class OpenAI:
    """Chat, streams and embeddings in OpenAI's format.

    Args:
        name: the name under `[providers]`.
        settings: its settings; an empty `base_url` takes OpenAI's own.

    Raises:
        ConfigError: the base URL is not an HTTP address.
    """

    wire: ClassVar[str] = openai_wire.CHAT

    def __init__(self, name: str, settings: ProviderSettings) -> None:
        self._name = name
        self._endpoint = Endpoint(name, settings, base_url=BASE_URL, auth=lambda key: {"Authorization": f"Bearer {key}"})
        official = self._endpoint.host.endswith("api.openai.com")
        self._official = openai_wire.Quirks(newer_limit=official, developer_role=official)
        self._quirks: dict[str, openai_wire.Quirks] = {}
        self._batches = OpenAIBatches(self._endpoint, partial(openai_wire.read_reply, own=False))

    async def chat(self, request: Request, deployment: Deployment) -> Response:
        """The whole answer."""
        quirks = self._quirks_of(deployment)
        body = openai_wire.chat_body(request, deployment, quirks, stream=False)
        try:
            data = await self._endpoint.post("/chat/completions", body, request=request, deployment=deployment)
        except ProviderError as error:
            if not _learn(quirks, error, body, request):
                raise
            body = openai_wire.chat_body(request, deployment, quirks, stream=False)
            data = await self._endpoint.post("/chat/completions", body, request=request, deployment=deployment)
        response = openai_wire.read_reply(data, own=request.wire == openai_wire.CHAT)
        if response is None:
            raise self._no_answer(data, deployment)
        return replace(response, provider=self._name, region=deployment.region)

    @asynccontextmanager
    async def stream(self, request: Request, deployment: Deployment) -> AsyncIterator[AsyncIterator[Chunk]]:
        """The answer in pieces; leaving the context closes the connection."""
        quirks = self._quirks_of(deployment)
        async with AsyncExitStack() as stack:
            for last in (False, True):
                body = openai_wire.chat_body(request, deployment, quirks, stream=True)
                opening = self._endpoint.events("/chat/completions", body, request=request, deployment=deployment)
                try:
                    events = await stack.enter_async_context(opening)
                    break
                except ProviderError as error:
                    if last or not _learn(quirks, error, body, request):
                        raise
            yield await stack.enter_async_context(aclosing(self._chunks(events, request, deployment)))

    async def embed(self, request: Request, deployment: Deployment) -> Response:
        """One vector for each input, in order."""
        body = openai_wire.embed_body(request, deployment)
        data = await self._endpoint.post("/embeddings", body, request=request, deployment=deployment)
        vectors = openai_wire.read_vectors(data, len(request.inputs) or None)
        if vectors is None:
            raise self._no_answer(data, deployment, what="something that is not one vector for each text")
        usage = openai_wire.read_usage(data.get("usage"))
        return Response(
            embeddings=vectors,
            finish_reason="stop",
            usage=usage,
            provider=self._name,
            region=deployment.region,
            response_model=str(data.get("model") or ""),
            body=data if request.wire == openai_wire.EMBEDDINGS else None,
            flags=() if usage else ("no_usage",),
        )

    async def submit_batch(self, batch_id: str, requests: Sequence[Request], deployment: Deployment) -> str:
        """Hands the requests in as one batch; gives its name there."""
        quirks = self._quirks_of(deployment)
        bodies = {one.call_id: openai_wire.chat_body(one, deployment, quirks, stream=False) for one in requests}
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
        data = await self._endpoint.get("/models")
        return sorted(str(entry["id"]) for entry in data.get("data") or () if isinstance(entry, Mapping) and "id" in entry)

    async def aclose(self) -> None:
        """Closes all connections."""
        await self._endpoint.aclose()

    def _quirks_of(self, deployment: Deployment) -> openai_wire.Quirks:
        return self._quirks.setdefault(deployment.model, replace(self._official))

    def _no_answer(self, data: Mapping[str, Json], deployment: Deployment, *, what: str = "JSON that holds no answer") -> ProviderError:
        where = self._endpoint.where(deployment.model)
        if data.get("error"):
            return from_error_object(where, data["error"])
        return bad_reply(where, what, json.dumps(data)[:400].encode())

    async def _chunks(self, events: AsyncGenerator[Event, None], request: Request, deployment: Deployment) -> AsyncGenerator[Chunk, None]:
        """The events as chunks, up to the end marker, which must come unless a finish reason came."""
        where = self._endpoint.where(deployment.model)
        own = request.wire == openai_wire.CHAT
        asked = (request.body or {}).get("stream_options") if own else None
        usage_wanted = isinstance(asked, Mapping) and bool(asked.get("include_usage"))
        complete = False
        async for event in events:
            if event.data == b"[DONE]":
                await drain(events)
                return
            for data in _read(event, where):
                chunk = openai_wire.read_chunk(data, own=own, usage_wanted=usage_wanted)
                complete = complete or bool(chunk.finish_reason) or event.name == "whole"
                if chunk != _NOTHING:
                    yield chunk
        if not complete:
            raise cut_off(where)


_NOTHING = Chunk()


def _read(event: Event, where: Where) -> list[Mapping[str, Json]]:
    """The JSON objects of an event: one, or those that a plain reply stands for.

    Raises:
        ProviderError: it is not JSON, or an error.
    """
    try:
        data: Any = json.loads(event.data)  # Any: JSON from outside, narrowed here
    except (ValueError, RecursionError):
        raise bad_reply(where, "a piece of a stream that is not JSON", event.data) from None
    if not isinstance(data, dict):
        raise bad_reply(where, f"a JSON {type(data).__name__} within a stream", event.data)
    if data.get("error") or event.name == "error":
        raise from_error_object(where, data.get("error") or data)
    if event.name != "whole":
        return [data]
    if not data.get("choices"):
        raise bad_reply(where, "JSON that holds no answer", event.data)
    return openai_wire.whole_as_chunks(data)


def _learn(quirks: openai_wire.Quirks, error: ProviderError, body: Mapping[str, Json], request: Request) -> bool:
    """Whether a refusal taught how this host spells an option of ours, so that one more try is worth while."""
    if error.status not in {400, 422}:
        return False
    text = error.message
    theirs = (request.body or {}) if request.wire == openai_wire.CHAT else {}
    if "stream_options" in text and "stream_options" in body and quirks.stream_usage:
        quirks.stream_usage = False
        return True
    if "max_completion_tokens" in text and "max_tokens" in body and "max_tokens" not in theirs and not quirks.newer_limit:
        quirks.newer_limit = True
        return True
    return False
