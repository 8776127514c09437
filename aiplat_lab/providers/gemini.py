"""Gemini's wire, spoken by Google's AI Studio (`gemini`) and by Google's cloud (`vertex`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar
from urllib.parse import quote

from aiplat_lab.core.errors import ConfigError
from aiplat_lab.core.registry import register
from aiplat_lab.core.settings import SETTINGS_FILE, ProviderSettings
from aiplat_lab.core.types import Deployment, Json, Request, Response, Usage
from aiplat_lab.providers import _gemini_wire as gemini_wire
from aiplat_lab.providers._failures import failure
from aiplat_lab.providers._http import Endpoint
from aiplat_lab.providers._openai_wire import count
from aiplat_lab.providers._wired import NotTranslatable, Sent, StreamReader, Wired

BASE_URL = "https://generativelanguage.googleapis.com/v1beta"
_COLLECTIONS = ("models", "tunedModels")
_MULTI_REGIONS = ("eu", "us")


@register("provider", "gemini")
class Gemini(Wired):
    """Chat, streams, embeddings and token counts in Gemini's format, with a key of AI Studio.

    Args:
        name: the name under `[providers]`.
        settings: its settings; an empty `base_url` takes Google's own.

    Raises:
        ConfigError: the base URL is not an HTTP address.
    """

    wire: ClassVar[str] = gemini_wire.GENERATE
    wires: ClassVar[tuple[str, ...]] = (gemini_wire.GENERATE, gemini_wire.EMBED)

    def __init__(self, name: str, settings: ProviderSettings) -> None:
        super().__init__(name, settings, Endpoint(name, settings, base_url=BASE_URL, auth=lambda key: {"x-goog-api-key": key}))

    async def embed(self, request: Request, deployment: Deployment) -> Response:
        """One vector for each input, in order."""
        if not request.inputs:
            text = "this provider embeds texts, not tokens. Send the texts."
            raise failure(self._endpoint.where(deployment.model), text, reason="bad_request")
        body = gemini_wire.embed_body(request, f"models/{_bare(deployment.model)}")
        data = await self._endpoint.post(self._at(deployment, "batchEmbedContents"), body, request=request, deployment=deployment)
        with self._reading(deployment, data):
            vectors = gemini_wire.read_vectors(data, len(request.inputs))
        if vectors is None:
            raise self._no_answer(data, deployment, what="something that is not one vector for each text")
        return self._embedded(vectors, gemini_wire.read_usage(data.get("usageMetadata")), deployment)

    async def count_tokens(self, request: Request, deployment: Deployment) -> int:
        """How many tokens the request's input has, as the provider counts them; nothing is generated."""
        with self._translating(deployment):
            body = self._count_body(request, deployment)
        data = await self._endpoint.post(self._at(deployment, "countTokens"), body, request=request, deployment=deployment)
        if not isinstance(data.get("totalTokens"), int):
            raise self._no_answer(data, deployment)
        return int(data["totalTokens"])

    async def models(self) -> list[str]:
        """The names of the models that the provider offers to this key."""
        data = await self._endpoint.get("/models?pageSize=1000")
        return sorted(_bare(str(entry["name"])) for entry in data.get("models") or () if isinstance(entry, Mapping) and "name" in entry)

    def _path(self, deployment: Deployment, *, stream: bool) -> str:
        return self._at(deployment, "streamGenerateContent?alt=sse" if stream else "generateContent")

    def _at(self, deployment: Deployment, verb: str) -> str:
        collection, _, name = deployment.model.partition("/")
        if collection not in _COLLECTIONS:
            collection, name = "models", deployment.model
        return f"/{collection}/{quote(name, safe='')}:{verb}"

    def _body(self, request: Request, deployment: Deployment, *, stream: bool) -> Sent:
        if stream and isinstance(request.settings.get("n"), int) and request.settings["n"] > 1 and request.wire != self.wire:
            raise NotTranslatable("several answers (n) cannot be streamed from this provider; ask without stream")
        return gemini_wire.body(request, deployment)

    def _count_body(self, request: Request, deployment: Deployment) -> dict[str, Json]:
        return gemini_wire.count_body(request, deployment, f"models/{_bare(deployment.model)}")

    def _reply(self, data: Mapping[str, Json], request: Request) -> Response | None:
        return gemini_wire.read_reply(data, wire=request.wire)

    def _stream_reader(self, request: Request) -> StreamReader:
        return gemini_wire.Stream(wire=request.wire)

    def _embedded(self, vectors: tuple[tuple[float, ...], ...], usage: Usage | None, deployment: Deployment) -> Response:
        return Response(
            embeddings=vectors,
            finish_reason="stop",
            usage=usage,
            provider=self._name,
            region=deployment.region,
            response_model=deployment.model,
            flags=() if usage else ("no_usage",),
        )


@register("provider", "vertex")
class Vertex(Gemini):
    """Gemini in a project and a location of Google's cloud, with a short-lived token.

    Args:
        name: the name under `[providers]`.
        settings: its settings; `project` and `location` make the address unless `base_url` is given whole, up to the models.

    Raises:
        ConfigError: the project or the location is missing.
    """

    wires: ClassVar[tuple[str, ...]] = (gemini_wire.GENERATE,)

    def __init__(self, name: str, settings: ProviderSettings) -> None:
        address = _vertex_address(name, settings)
        endpoint = Endpoint(name, settings, base_url=address, auth=lambda key: {"Authorization": f"Bearer {key}"})
        Wired.__init__(self, name, settings, endpoint)

    async def embed(self, request: Request, deployment: Deployment) -> Response:
        """One vector for each input, in order; some models take one text at a time, which is kept to."""
        if not request.inputs:
            text = "this provider embeds texts, not tokens. Send the texts."
            raise failure(self._endpoint.where(deployment.model), text, reason="bad_request")
        together = 1 if deployment.model.startswith("gemini-embedding") else 100
        vectors: list[tuple[float, ...]] = []
        tokens = 0
        for start in range(0, len(request.inputs), together):
            texts = request.inputs[start : start + together]
            size = request.settings.get("dimensions")
            body = {"instances": [{"content": text} for text in texts]} | ({"parameters": {"outputDimensionality": size}} if size else {})
            data = await self._endpoint.post(self._at(deployment, "predict"), body, request=request, deployment=deployment)
            with self._reading(deployment, data):
                found = [one["embeddings"] for one in data.get("predictions") or ()]
                vectors += [tuple(float(number) for number in one["values"]) for one in found]
                tokens += sum(count((one.get("statistics") or {}).get("token_count")) for one in found)
            if len(found) != len(texts):
                raise self._no_answer(data, deployment, what="something that is not one vector for each text")
        return self._embedded(tuple(vectors), Usage(input_tokens=tokens) if tokens else None, deployment)

    async def models(self) -> list[str]:
        """Nothing: the cloud lists no models of a publisher to a project."""
        return []

    def _at(self, deployment: Deployment, verb: str) -> str:
        publisher, _, name = deployment.model.rpartition("/")
        return f"/publishers/{quote(publisher or 'google', safe='')}/models/{quote(name, safe='')}:{verb}"

    def _count_body(self, request: Request, deployment: Deployment) -> dict[str, Json]:
        wanted = {"contents", "systemInstruction", "tools", "generationConfig"}
        return {name: value for name, value in gemini_wire.body(request, deployment).data.items() if name in wanted}


def _bare(model: str) -> str:
    return model.rpartition("/")[2]


def _vertex_address(name: str, settings: ProviderSettings) -> str:
    if settings.base_url:
        return settings.base_url
    for key in ("project", "location"):
        if not getattr(settings, key):
            example = "my-project-123" if key == "project" else "europe-west2"
            raise ConfigError(f'{SETTINGS_FILE}: providers.{name} needs {key}, such as {key} = "{example}"')
    place = settings.location
    host = f"{place}-aiplatform.googleapis.com"
    if place == "global":
        host = "aiplatform.googleapis.com"
    elif place in _MULTI_REGIONS:
        host = f"aiplatform.{place}.rep.googleapis.com"
    return f"https://{host}/v1/projects/{quote(settings.project, safe='')}/locations/{quote(place, safe='')}"
