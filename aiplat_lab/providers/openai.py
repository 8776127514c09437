"""OpenAI's wire, spoken by OpenAI and by every compatible base URL; what known hosts do differently stands in `_hosts.py`."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import Any, ClassVar
from urllib.parse import quote

from aiplat_lab.core.errors import ConfigError, ProviderError
from aiplat_lab.core.registry import register
from aiplat_lab.core.settings import SETTINGS_FILE, ProviderSettings
from aiplat_lab.core.types import Chunk, Deployment, Json, Request, Response, Usage
from aiplat_lab.providers import _openai_wire as openai_wire
from aiplat_lab.providers._batches import Batched, OpenAIBatches
from aiplat_lab.providers._chat_shape import sound
from aiplat_lab.providers._failures import Where, bad_reply, cut_off, from_error_object, no_answer
from aiplat_lab.providers._hosts import Host
from aiplat_lab.providers._http import Endpoint, drain
from aiplat_lab.providers._needs import refuse
from aiplat_lab.providers._openai_embed import embeddings
from aiplat_lab.providers._sse import Event
from aiplat_lab.providers._wired import MISSHAPEN

BASE_URL = "https://api.openai.com/v1"


@register("provider", "openai")
class OpenAI(Batched):
    """Chat, streams and embeddings in OpenAI's format.

    Args:
        name: the name under `[providers]`.
        settings: its settings; an empty `base_url` takes OpenAI's own.

    Raises:
        ConfigError: the base URL is not an HTTP address.
    """

    wire: ClassVar[str] = openai_wire.CHAT
    host: ClassVar[Host] = Host(kind="openai", title="OpenAI", base_url=BASE_URL)
    """What is known of the host."""
    lacks: ClassVar[frozenset[str]] = frozenset()
    """What the host cannot do."""

    def __init__(self, name: str, settings: ProviderSettings) -> None:
        self._name = name
        self._azure_version = settings.api_version
        _complete(self.host, name, settings)
        self._endpoint = Endpoint(
            name, settings, base_url=self.host.base_url, auth=_auth(self.host, settings.api_key), keyless=self.host.keyless
        )
        official = self._endpoint.host.endswith("api.openai.com")
        self._known = openai_wire.Quirks(
            newer_limit=official or self.host.newer_limit,
            developer_role=official or self.host.developer_role,
            stream_usage=self.host.stream_usage,
        )
        self._quirks: dict[str, openai_wire.Quirks] = {}
        self._whole_base = settings.base_url.rstrip("/").endswith("/v1")
        self._batch_api = OpenAIBatches(self._endpoint, partial(openai_wire.read_reply, own=False))
        self.batches = self.host.kind == "openai"

    async def chat(self, request: Request, deployment: Deployment) -> Response:
        """The whole answer."""
        quirks = self._quirks_of(deployment)
        body, left_out = self._body(request, deployment, quirks, stream=False)
        path, headers = self._path("/chat/completions", deployment), self._headers(deployment)
        try:
            reply = await self._endpoint.reply(path, body, request=request, deployment=deployment, headers=headers)
        except ProviderError as error:
            if not _learn(quirks, error, body, request):
                raise
            body, left_out = self._body(request, deployment, quirks, stream=False)
            reply = await self._endpoint.reply(path, body, request=request, deployment=deployment, headers=headers)
        data = reply.data
        try:
            response = openai_wire.read_reply(data, own=request.wire == openai_wire.CHAT)
        except MISSHAPEN:
            response = None
        if response is None:
            raise self._no_answer(data, deployment)
        cost = self._cost(data.get("usage"), reply.headers)
        usage = response.usage
        if cost is not None:
            usage = replace(usage or Usage(), reported_usd=cost) if usage or cost else usage
            response = replace(response, notes={**response.notes, "provider-cost-usd": format(cost, "f")})
        flags = (*response.flags, *left_out) if left_out else response.flags
        return replace(response, provider=self._name, region=deployment.region, usage=usage, flags=flags)

    @asynccontextmanager
    async def stream(self, request: Request, deployment: Deployment) -> AsyncIterator[AsyncIterator[Chunk]]:
        """The answer in pieces; leaving the context closes the connection."""
        quirks = self._quirks_of(deployment)
        async with AsyncExitStack() as stack:
            for last in (False, True):
                body, _ = self._body(request, deployment, quirks, stream=True)
                path, headers = self._path("/chat/completions", deployment), self._headers(deployment)
                opening = self._endpoint.events(path, body, request=request, deployment=deployment, headers=headers)
                try:
                    events = await stack.enter_async_context(opening)
                    break
                except ProviderError as error:
                    if last or not _learn(quirks, error, body, request):
                        raise
            yield await stack.enter_async_context(aclosing(self._chunks(events, request, deployment)))

    async def embed(self, request: Request, deployment: Deployment) -> Response:
        """One vector for each input, in order."""
        refuse(self._endpoint.where(deployment.model), request, self.lacks)
        return await embeddings(
            self._endpoint, self._path("/embeddings", deployment), request, deployment, headers=self._headers(deployment)
        )

    async def models(self) -> list[str]:
        """The names of the models that the provider offers to this key."""
        data = await self._endpoint.get(self._path("/models", None))
        return sorted(str(entry["id"]) for entry in data.get("data") or () if isinstance(entry, Mapping) and "id" in entry)

    async def aclose(self) -> None:
        """Closes all connections."""
        await self._endpoint.aclose()

    def _quirks_of(self, deployment: Deployment) -> openai_wire.Quirks:
        found = self._quirks.get(deployment.model)
        if found is None:
            if len(self._quirks) > _MOST_MODELS:
                self._quirks.clear()
            found = self._quirks[deployment.model] = replace(self._known)
        return found

    def _path(self, path: str, deployment: Deployment | None) -> str:
        if not self.host.azure:
            return path
        if not self._azure_version:
            return path if self._whole_base else f"/openai/v1{path}"
        version = quote(self._azure_version, safe="")
        named = f"/openai/deployments/{quote(deployment.model, safe='')}" if deployment else "/openai"
        return f"{named}{path}?api-version={version}"

    def _headers(self, deployment: Deployment) -> Mapping[str, str]:
        return {self.host.model_header: deployment.model} if self.host.model_header else {}

    def _body(
        self, request: Request, deployment: Deployment, quirks: openai_wire.Quirks, *, stream: bool
    ) -> tuple[dict[str, Json], tuple[str, ...]]:
        """The body as the host wants it, and flags that tell of what was left out."""
        host = self.host
        if host.lacks:
            refuse(self._endpoint.where(deployment.model), request, host.lacks)
        body = openai_wire.chat_body(request, deployment, quirks, stream=stream)
        for ours, theirs in host.names.items():
            if ours in body:
                body[theirs] = body.pop(ours)
        left_out = tuple(f"ignored_{name}" for name in sorted(host.without & body.keys()))
        for name in host.without & body.keys():
            del body[name]
        for name, value in host.adds.items():
            body.setdefault(name, value)
        return body, left_out

    def _cost(self, usage: Json, headers: Mapping[str, str]) -> Decimal | None:
        """What the host says that the call cost, in US dollars; None where it does not say."""
        told: Json = headers.get(self.host.cost_header) if self.host.cost_header else None
        if told is None and self.host.cost_in_usage:
            told = usage
            for name in self.host.cost_in_usage:
                told = told.get(name) if isinstance(told, Mapping) else None
        if isinstance(told, bool) or not isinstance(told, str | int | float):
            return None
        try:
            cost = Decimal(str(told))
        except InvalidOperation:
            return None
        return cost if cost.is_finite() and 0 <= cost < _MOST_USD else None

    def _usage(self, chunk: Chunk, data: Mapping[str, Json]) -> Chunk:
        """The chunk with a usage that the host puts elsewhere, and with the cost that it reports."""
        usage, found = chunk.usage, data.get("usage")
        if usage is None and self.host.usage_in:
            found = data
            for name in self.host.usage_in:
                found = found.get(name) if isinstance(found, Mapping) else None
            usage = openai_wire.read_usage(found)
        cost = self._cost(found, {}) if usage is not None else None
        if usage is not None and cost is not None:
            usage = replace(usage, reported_usd=cost)
        return chunk if usage is chunk.usage else replace(chunk, usage=usage)

    def _batch_body(self, request: Request, deployment: Deployment) -> dict[str, Json]:
        return openai_wire.chat_body(request, deployment, self._quirks_of(deployment), stream=False)

    def _no_answer(self, data: Mapping[str, Json], deployment: Deployment, *, what: str = "JSON that holds no answer") -> ProviderError:
        return no_answer(self._endpoint.where(deployment.model), data, what)

    async def _chunks(self, events: AsyncGenerator[Event, None], request: Request, deployment: Deployment) -> AsyncGenerator[Chunk, None]:
        """The events as chunks, up to the end marker, which must come unless a finish reason came."""
        where = self._endpoint.where(deployment.model)
        own = request.wire == openai_wire.CHAT
        asked = (request.body or {}).get("stream_options") if own else None
        usage_wanted = isinstance(asked, Mapping) and bool(asked.get("include_usage"))
        complete, reported = False, bool(self.host.usage_in or self.host.cost_in_usage)
        async for event in events:
            if event.data == b"[DONE]":
                await drain(events)
                return
            for data in _read(event, where):
                try:
                    chunk = openai_wire.read_chunk(data, own=own, usage_wanted=usage_wanted)
                    if chunk.tool_calls and not sound(chunk.tool_calls):
                        raise ValueError("a call of a tool that is none")
                except MISSHAPEN:
                    raise bad_reply(where, "JSON of another shape than its format has", event.data) from None
                if reported:
                    chunk = self._usage(chunk, data)
                complete = complete or bool(chunk.finish_reason) or event.name == "whole"
                if chunk != _NOTHING:
                    yield chunk
        if not complete:
            raise cut_off(where)


_NOTHING = Chunk()
_MOST_MODELS = 1000
_MOST_USD = 1_000_000
"""A reported cost beyond this is a mistake, and not believed."""


def _complete(host: Host, name: str, settings: ProviderSettings) -> None:
    """Lets settings pass that hold what the host needs.

    Raises:
        ConfigError: an address or a header is missing.
    """
    if not host.base_url and not settings.base_url:
        raise ConfigError(f'{SETTINGS_FILE}: providers.{name} needs base_url, such as base_url = "{host.example}"')
    given = {header.lower() for header in settings.headers}
    if host.wants_headers and not given & {header.lower() for header in host.wants_headers} and not settings.base_url:
        examples = " or ".join(f'"{header}" = "{value}"' for header, value in host.wants_headers.items())
        raise ConfigError(f"{SETTINGS_FILE}: providers.{name} needs a header for {host.title}: headers = {{ {examples} }}")


def _auth(host: Host, reference: str) -> Callable[[str], Mapping[str, str]]:
    """How the host wants its key; a token that a command gives is always a bearer's."""
    if host.key_header == "Authorization" or reference.startswith("command:"):
        return lambda key: {"Authorization": f"Bearer {key}"}
    return lambda key: {host.key_header: key}


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
    try:
        if openai_wire.read_reply(data, own=False) is not None:
            return openai_wire.whole_as_chunks(data)
    except MISSHAPEN:
        pass  # said below
    raise bad_reply(where, "JSON that holds no answer", event.data)


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
    if "max_completion_tokens" in text and "max_completion_tokens" in body and "max_completion_tokens" not in theirs and quirks.newer_limit:
        quirks.newer_limit = False
        return True
    return False
