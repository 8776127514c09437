"""Anthropic's Messages wire."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import ClassVar

from aiplat_lab.core.registry import register
from aiplat_lab.core.settings import ProviderSettings
from aiplat_lab.core.types import Chunk, Deployment, Json, Request, Response
from aiplat_lab.providers import _anthropic_wire as messages_wire
from aiplat_lab.providers._batches import AnthropicBatches, Batched
from aiplat_lab.providers._http import Endpoint
from aiplat_lab.providers._sse import Event
from aiplat_lab.providers._wired import NOTHING, Sent, StreamReader, Wired

BASE_URL = "https://api.anthropic.com"
VERSION = "2023-06-01"
"""The version of the wire, as its header names it."""


@register("provider", "anthropic")
class Anthropic(Batched, Wired):
    """Chat and streams in Anthropic's format.

    Args:
        name: the name under `[providers]`.
        settings: its settings; an empty `base_url` takes Anthropic's own, and one may end in `/v1` or before it.

    Raises:
        ConfigError: the base URL is not an HTTP address.
    """

    wire: ClassVar[str] = messages_wire.MESSAGES
    lacks: ClassVar[frozenset[str]] = frozenset({"n", "logprobs", "seed", "audio", "embeddings"})
    """What the format cannot say; asked alone, without routing, it leaves out what an answer can do without, and flags it."""
    strict: ClassVar[bool] = False

    def __init__(self, name: str, settings: ProviderSettings) -> None:
        bare = replace(settings, base_url=settings.base_url.rstrip("/").removesuffix("/v1"))
        headers = {"anthropic-version": VERSION}
        super().__init__(name, bare, Endpoint(name, bare, base_url=BASE_URL, auth=lambda key: {"x-api-key": key}, headers=headers))
        self.batches = True
        self._batch_api = AnthropicBatches(self._endpoint, partial(messages_wire.read_reply, own=False))

    async def count_tokens(self, request: Request, deployment: Deployment) -> int:
        """How many tokens the request's input has, as the provider counts them; nothing is generated."""
        with self._translating(deployment):
            body = messages_wire.count_body(request, deployment)
        data = await self._endpoint.post("/v1/messages/count_tokens", body, request=request, deployment=deployment)
        if not isinstance(data.get("input_tokens"), int):
            raise self._no_answer(data, deployment)
        return int(data["input_tokens"])

    async def models(self) -> list[str]:
        """The names of the models that the provider offers to this key."""
        data = await self._endpoint.get("/v1/models")
        return sorted(str(entry["id"]) for entry in data.get("data") or () if isinstance(entry, Mapping) and "id" in entry)

    def _batch_body(self, request: Request, deployment: Deployment) -> dict[str, Json]:
        return self._asked(request, deployment, stream=False).data

    def _path(self, deployment: Deployment, *, stream: bool) -> str:
        return "/v1/messages"

    def _body(self, request: Request, deployment: Deployment, *, stream: bool) -> Sent:
        return messages_wire.body(request, deployment, stream=stream)

    def _reply(self, data: Mapping[str, Json], request: Request) -> Response | None:
        return messages_wire.read_reply(data, own=request.wire == messages_wire.MESSAGES)

    def _stream_reader(self, request: Request) -> StreamReader:
        return messages_wire.StreamReader(own=request.wire == messages_wire.MESSAGES)

    def _error_in(self, event: Event, data: Mapping[str, Json]) -> Json:
        told = data.get("type") == "error" or event.name == "error"
        return (data.get("error") or data) if told else None

    def _whole(self, event: Event, request: Request, deployment: Deployment) -> list[Chunk]:
        """A plain answer to a request for a stream, as the chunks of the events that should have been sent."""
        data = self._object(event, deployment)
        with self._reading(deployment, data):
            if messages_wire.read_reply(data, own=False) is None:
                raise self._no_answer(data, deployment)
            reader = self._stream_reader(request)
            return [chunk for one in messages_wire.whole_as_events(data) if (chunk := reader.read(one, "")) != NOTHING]
