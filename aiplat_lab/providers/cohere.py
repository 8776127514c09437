"""Cohere's wire (v2): chat, streams and embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from aiplat_lab.core.registry import register
from aiplat_lab.core.settings import ProviderSettings
from aiplat_lab.core.types import Deployment, Json, Request, Response, Usage
from aiplat_lab.providers import _cohere_wire as cohere_wire
from aiplat_lab.providers._failures import failure
from aiplat_lab.providers._http import Endpoint
from aiplat_lab.providers._sse import Event
from aiplat_lab.providers._wired import Sent, StreamReader, Wired

BASE_URL = "https://api.cohere.com"


@register("provider", "cohere")
class Cohere(Wired):
    """Chat, streams and embeddings in Cohere's format.

    Args:
        name: the name under `[providers]`.
        settings: its settings; an empty `base_url` takes Cohere's own.

    Raises:
        ConfigError: the base URL is not an HTTP address.
    """

    wire: ClassVar[str] = cohere_wire.COHERE
    lacks: ClassVar[frozenset[str]] = frozenset({"n", "audio", "files"})

    def __init__(self, name: str, settings: ProviderSettings) -> None:
        bare = replace(settings, base_url=settings.base_url.rstrip("/").removesuffix("/v2"))
        super().__init__(name, bare, Endpoint(name, bare, base_url=BASE_URL, auth=lambda key: {"Authorization": f"Bearer {key}"}))

    async def embed(self, request: Request, deployment: Deployment) -> Response:
        """One vector for each input, in order; many inputs are sent as several calls."""
        if not request.inputs:
            text = "this provider embeds texts, not tokens. Send the texts."
            raise failure(self._endpoint.where(deployment.model), text, reason="bad_request")
        vectors: list[tuple[float, ...]] = []
        tokens = 0
        for start in range(0, len(request.inputs), cohere_wire.MOST_TEXTS):
            texts = request.inputs[start : start + cohere_wire.MOST_TEXTS]
            body = cohere_wire.embed_body(texts, request, deployment)
            data = await self._endpoint.post("/v2/embed", body, request=request, deployment=deployment)
            with self._reading(deployment, data):
                found = cohere_wire.read_vectors(data, len(texts))
                usage = cohere_wire.read_usage(data.get("meta"))
            if found is None:
                raise self._no_answer(data, deployment, what="something that is not one vector for each text")
            vectors += found
            tokens += usage.input_tokens if usage else 0
        return Response(
            embeddings=tuple(vectors),
            finish_reason="stop",
            usage=Usage(input_tokens=tokens) if tokens else None,
            provider=self._name,
            region=deployment.region,
            response_model=deployment.model,
            flags=() if tokens else ("no_usage",),
        )

    async def models(self) -> list[str]:
        """The names of the models that the provider offers to this key."""
        data = await self._endpoint.get("/v1/models?page_size=1000")
        return sorted(str(entry["name"]) for entry in data.get("models") or () if isinstance(entry, Mapping) and "name" in entry)

    def _path(self, deployment: Deployment, *, stream: bool) -> str:
        return "/v2/chat"

    def _body(self, request: Request, deployment: Deployment, *, stream: bool) -> Sent:
        return cohere_wire.body(request, deployment, stream=stream)

    def _reply(self, data: Mapping[str, Json], request: Request) -> Response | None:
        return cohere_wire.read_reply(data, wire=request.wire)

    def _stream_reader(self, request: Request) -> StreamReader:
        return cohere_wire.Stream(wire=request.wire)

    def _error_in(self, event: Event, data: Mapping[str, Json]) -> Json:
        delta = data.get("delta")
        failed = isinstance(delta, Mapping) and delta.get("finish_reason") in {"ERROR", "TIMEOUT"}
        if isinstance(delta, Mapping) and failed:
            return {"type": "server_error", "message": delta.get("error") or f"the answer ended with {delta['finish_reason']}"}
        return data.get("error")
