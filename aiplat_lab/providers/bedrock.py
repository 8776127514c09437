"""Amazon Bedrock: Converse and ConverseStream, signed here, and embeddings of Titan and Cohere models."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import ClassVar
from urllib.parse import quote

import httpx

from aiplat_lab.core.errors import ConfigError
from aiplat_lab.core.registry import register
from aiplat_lab.core.settings import SETTINGS_FILE, ProviderSettings
from aiplat_lab.core.types import Deployment, Json, Request, Response, Usage, utc_now
from aiplat_lab.providers import _bedrock_wire as bedrock_wire
from aiplat_lab.providers._failures import failure
from aiplat_lab.providers._frames import FAILED, FrameReader
from aiplat_lab.providers._http import Endpoint
from aiplat_lab.providers._openai_wire import count
from aiplat_lab.providers._sigv4 import credentials, signed
from aiplat_lab.providers._sse import Event, Reader
from aiplat_lab.providers._wired import Sent, StreamReader, Wired

_REGION_IN_HOST = re.compile(r"bedrock-runtime(?:-fips)?\.([a-z0-9-]+)\.amazonaws\.")
_TEXTS_TOGETHER = 96
_STATUS = {
    "throttlingException": 429,
    "internalServerException": 500,
    "modelStreamErrorException": 500,
    "serviceUnavailableException": 503,
    "modelTimeoutException": 408,
    "validationException": 400,
    "accessDeniedException": 403,
}


@register("provider", "bedrock")
class Bedrock(Wired):
    """Chat, streams, embeddings and token counts in Bedrock's format.

    The key's reference leads to `AKID:SECRET`, `AKID:SECRET:TOKEN`, the JSON of AWS's tools, or an API key of Bedrock.

    Args:
        name: the name under `[providers]`.
        settings: its settings; `location` is the cloud's region, such as `eu-west-2`.

    Raises:
        ConfigError: the location is missing.
    """

    wire: ClassVar[str] = bedrock_wire.CONVERSE
    lacks: ClassVar[frozenset[str]] = frozenset({"n", "seed", "logprobs", "audio"})
    reader: ClassVar[Callable[[], Reader]] = FrameReader

    def __init__(self, name: str, settings: ProviderSettings) -> None:
        found = _REGION_IN_HOST.search(settings.base_url)
        self._place = settings.location or (found[1] if found else "")
        if not self._place:
            raise ConfigError(f'{SETTINGS_FILE}: providers.{name} needs location, such as location = "eu-west-2"')
        address = f"https://bedrock-runtime.{quote(self._place, safe='')}.amazonaws.com"
        super().__init__(name, settings, Endpoint(name, settings, base_url=address, auth=lambda key: {}, sign=self._sign))

    async def embed(self, request: Request, deployment: Deployment) -> Response:
        """One vector for each input, in order: one call a text for Titan models, up to 96 texts a call for Cohere's."""
        if not request.inputs:
            text = "this provider embeds texts, not tokens. Send the texts."
            raise failure(self._endpoint.where(deployment.model), text, reason="bad_request")
        together = _TEXTS_TOGETHER if "cohere." in deployment.model else 1
        vectors: list[tuple[float, ...]] = []
        tokens = 0
        for start in range(0, len(request.inputs), together):
            texts = request.inputs[start : start + together]
            body = _embed_body(texts, request, deployment)
            data, headers = await self._endpoint.reply(self._at(deployment, "invoke"), body, request=request, deployment=deployment)
            with self._reading(deployment, data):
                found = _vectors(data)
                said = headers.get("x-amzn-bedrock-input-token-count") or ""
                tokens += int(said) if said.isdecimal() else count(data.get("inputTextTokenCount"))
            if len(found) != len(texts):
                raise self._no_answer(data, deployment, what="something that is not one vector for each text")
            vectors += found
        return Response(
            embeddings=tuple(vectors),
            finish_reason="stop",
            usage=Usage(input_tokens=tokens) if tokens else None,
            provider=self._name,
            region=deployment.region,
            response_model=deployment.model,
            flags=() if tokens else ("no_usage",),
        )

    async def count_tokens(self, request: Request, deployment: Deployment) -> int:
        """How many tokens the request's input has, as the provider counts them; nothing is generated."""
        with self._translating(deployment):
            asked = bedrock_wire.body(request, deployment).data
        body = {"input": {"converse": {name: value for name, value in asked.items() if name in {"messages", "system", "toolConfig"}}}}
        data = await self._endpoint.post(self._at(deployment, "count-tokens"), body, request=request, deployment=deployment)
        if not isinstance(data.get("inputTokens"), int):
            raise self._no_answer(data, deployment)
        return int(data["inputTokens"])

    def _path(self, deployment: Deployment, *, stream: bool) -> str:
        return self._at(deployment, "converse-stream" if stream else "converse")

    def _at(self, deployment: Deployment, verb: str) -> str:
        return f"/model/{quote(deployment.model, safe='')}/{verb}"

    def _body(self, request: Request, deployment: Deployment, *, stream: bool) -> Sent:
        return bedrock_wire.body(request, deployment)

    def _reply(self, data: Mapping[str, Json], request: Request) -> Response | None:
        return bedrock_wire.read_reply(data, wire=request.wire)

    def _stream_reader(self, request: Request) -> StreamReader:
        return bedrock_wire.Stream(wire=request.wire)

    def _error_in(self, event: Event, data: Mapping[str, Json]) -> Json:
        if not event.name.startswith(FAILED):
            return None
        kind = event.name.removeprefix(FAILED)
        status = _STATUS.get(kind[:1].lower() + kind[1:], 500)
        return {"code": status, "type": kind, "message": data.get("message") or kind or "the stream failed"}

    def _sign(self, method: str, url: httpx.URL, content: bytes, key: str) -> Mapping[str, str]:
        who = credentials(key)
        if who is None:
            return {"Authorization": f"Bearer {key}"}
        path, _, query = url.raw_path.decode().partition("?")
        headers = {"Host": url.netloc.decode(), "Content-Type": "application/json"}
        return signed(who, method, path, query=query, headers=headers, content=content, region=self._place, service="bedrock", at=utc_now())


def _embed_body(texts: tuple[str, ...], request: Request, deployment: Deployment) -> dict[str, Json]:
    size = request.settings.get("dimensions")
    if "cohere." in deployment.model:
        more = {"output_dimension": size} if size else {}
        return {"texts": list(texts), "input_type": request.settings.get("input_type") or "search_document", **more}
    return {"inputText": texts[0]} | ({"dimensions": size} if size else {})


def _vectors(data: Mapping[str, Json]) -> list[tuple[float, ...]]:
    """The vectors of one call, in the shape of either family."""
    found = data.get("embeddings")
    if isinstance(found, Mapping):
        found = found.get("float")
    if found is None and isinstance(data.get("embedding"), list):
        found = [data["embedding"]]
    return [tuple(float(number) for number in vector) for vector in found or ()]
