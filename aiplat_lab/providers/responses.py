"""OpenAI's Responses wire as an upstream, spoken by OpenAI, Azure and vLLM."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from aiplat_lab.core.registry import register
from aiplat_lab.core.settings import ProviderSettings
from aiplat_lab.core.types import Deployment, Json, Request, Response
from aiplat_lab.providers import _responses_wire as responses_wire
from aiplat_lab.providers._http import Endpoint
from aiplat_lab.providers._openai_embed import embeddings
from aiplat_lab.providers._sse import Event
from aiplat_lab.providers._wired import Sent, StreamReader, Wired

BASE_URL = "https://api.openai.com/v1"


@register("provider", "openai-responses")
class Responses(Wired):
    """Chat and streams in OpenAI's Responses format, and embeddings.

    Args:
        name: the name under `[providers]`.
        settings: its settings; an empty `base_url` takes OpenAI's own.

    Raises:
        ConfigError: the base URL is not an HTTP address.
    """

    wire: ClassVar[str] = responses_wire.RESPONSES
    lacks: ClassVar[frozenset[str]] = frozenset({"n", "seed", "stop", "audio"})

    def __init__(self, name: str, settings: ProviderSettings) -> None:
        endpoint = Endpoint(name, settings, base_url=BASE_URL, auth=lambda key: {"Authorization": f"Bearer {key}"})
        super().__init__(name, settings, endpoint)

    async def embed(self, request: Request, deployment: Deployment) -> Response:
        """One vector for each input, in order."""
        return await embeddings(self._endpoint, "/embeddings", request, deployment)

    async def models(self) -> list[str]:
        """The names of the models that the provider offers to this key."""
        data = await self._endpoint.get("/models")
        return sorted(str(entry["id"]) for entry in data.get("data") or () if isinstance(entry, Mapping) and "id" in entry)

    def _path(self, deployment: Deployment, *, stream: bool) -> str:
        return "/responses"

    def _body(self, request: Request, deployment: Deployment, *, stream: bool) -> Sent:
        return responses_wire.body(request, deployment, stream=stream)

    def _reply(self, data: Mapping[str, Json], request: Request) -> Response | None:
        return responses_wire.read_reply(data, wire=request.wire)

    def _stream_reader(self, request: Request) -> StreamReader:
        return responses_wire.Stream(wire=request.wire)

    def _error_in(self, event: Event, data: Mapping[str, Json]) -> Json:
        answer = data.get("response")
        if data.get("type") == "response.failed" and isinstance(answer, Mapping):
            return answer.get("error") or {"type": "server_error", "message": "the answer failed"}
        if data.get("type") == "error" or event.name == "error":
            return data.get("error") or {name: data[name] for name in ("code", "message") if data.get(name)} or {"type": "error"}
        return data.get("error")
