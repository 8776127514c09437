"""What the providers share whose format is neither OpenAI's chat nor Anthropic's: the way of a call; the formats stand elsewhere."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple, Protocol

from aiplat_lab.core.errors import ProviderError
from aiplat_lab.core.settings import ProviderSettings
from aiplat_lab.core.types import Chunk, Deployment, Json, Request, Response
from aiplat_lab.providers._chat_shape import sound
from aiplat_lab.providers._failures import bad_reply, cut_off, failure, from_error_object, no_answer
from aiplat_lab.providers._http import Endpoint, drain
from aiplat_lab.providers._needs import refuse
from aiplat_lab.providers._sse import Event, EventReader, Reader

MISSHAPEN = (TypeError, ValueError, KeyError, AttributeError, IndexError, OverflowError)
"""What reading raises that meets JSON of another shape than the format's."""
NOTHING = Chunk()


class NotTranslatable(ValueError):
    """A request holds what a format cannot say; the text says what."""


class Sent(NamedTuple):
    """A body, and the names of settings that had to be left out."""

    data: dict[str, Json]
    ignored: tuple[str, ...] = ()


class StreamReader(Protocol):
    """Reads the events of one stream."""

    complete: bool
    """Whether the answer is whole."""
    ended: bool
    """Whether the end marker came, after which nothing follows."""

    def read(self, data: Mapping[str, Json], name: str) -> Chunk:
        """What one event says."""
        ...


class Wired:
    """Chat, streams and embeddings of one format.

    Args:
        name: the name under `[providers]`.
        settings: its settings.
        endpoint: where it is reached.
    """

    wire: ClassVar[str] = ""
    lacks: ClassVar[frozenset[str]] = frozenset()
    """What the format cannot say: `tools`, `json_schema`, `images`, `audio`, `files`, `logprobs`, `n`, `seed`, `embeddings`."""
    strict: ClassVar[bool] = True
    """Whether a request that needs what it lacks is refused here too; routing never sends one."""
    reader: ClassVar[Callable[[], Reader]] = EventReader
    """Splits a stream's bytes into events."""

    def __init__(self, name: str, settings: ProviderSettings, endpoint: Endpoint) -> None:
        self._name = name
        self._settings = settings
        self._endpoint = endpoint

    # --- what a format says ------------------------------------------------------------------------------------------

    def _path(self, deployment: Deployment, *, stream: bool) -> str:
        raise NotImplementedError

    def _body(self, request: Request, deployment: Deployment, *, stream: bool) -> Sent:
        raise NotImplementedError

    def _reply(self, data: Mapping[str, Json], request: Request) -> Response | None:
        """What a whole answer says; None where it holds none."""
        raise NotImplementedError

    def _stream_reader(self, request: Request) -> StreamReader:
        raise NotImplementedError

    def _error_in(self, event: Event, data: Mapping[str, Json]) -> Json:
        """The error that an event tells of; None where it tells of none."""
        return data.get("error")

    # --- the way of a call -------------------------------------------------------------------------------------------

    async def chat(self, request: Request, deployment: Deployment) -> Response:
        """The whole answer."""
        body = self._asked(request, deployment, stream=False)
        path = self._path(deployment, stream=False)
        data = await self._endpoint.post(path, body.data, request=request, deployment=deployment)
        with self._reading(deployment, data):
            response = self._reply(data, request)
        if response is None:
            raise self._no_answer(data, deployment)
        flags = (*response.flags, *(f"ignored_{name}" for name in body.ignored))
        return replace(response, provider=self._name, region=deployment.region, flags=flags)

    @asynccontextmanager
    async def stream(self, request: Request, deployment: Deployment) -> AsyncIterator[AsyncIterator[Chunk]]:
        """The answer in pieces; leaving the context closes the connection."""
        body = self._asked(request, deployment, stream=True)
        path = self._path(deployment, stream=True)
        opening = self._endpoint.events(path, body.data, request=request, deployment=deployment, reader=type(self).reader)
        async with opening as events, aclosing(self._chunks(events, request, deployment)) as chunks:
            yield chunks

    async def embed(self, request: Request, deployment: Deployment) -> Response:
        """Nothing, where the format has no embeddings.

        Raises:
            ProviderError: always, before anything is sent.
        """
        text = "this provider has no embeddings. Use a model of a provider that has, such as minilm."
        raise failure(self._endpoint.where(deployment.model), text, reason="bad_request")

    async def aclose(self) -> None:
        """Closes all connections."""
        await self._endpoint.aclose()

    # --- parts ------------------------------------------------------------------------------------------------------

    def _asked(self, request: Request, deployment: Deployment, *, stream: bool) -> Sent:
        if self.strict and (request.wire != self.wire or request.body is None):
            refuse(self._endpoint.where(deployment.model), request, self.lacks)
        with self._translating(deployment):
            return self._body(request, deployment, stream=stream)

    @contextmanager
    def _translating(self, deployment: Deployment) -> Iterator[None]:
        """Turns what a format cannot say into the refusal that its caller reads."""
        try:
            yield
        except NotTranslatable as error:
            raise failure(self._endpoint.where(deployment.model), f"{error}.", reason="bad_request") from None

    def _reading(self, deployment: Deployment, data: Json) -> _Reading:
        return _Reading(self._endpoint, deployment, data)

    def _no_answer(self, data: Mapping[str, Json], deployment: Deployment, *, what: str = "JSON that holds no answer") -> ProviderError:
        return no_answer(self._endpoint.where(deployment.model), data, what)

    async def _chunks(self, events: AsyncGenerator[Event, None], request: Request, deployment: Deployment) -> AsyncGenerator[Chunk, None]:
        """The events as chunks, up to the end marker, without which the answer is cut off unless it said that it is whole."""
        reader = self._stream_reader(request)
        async for event in events:
            if event.name == "whole":
                for chunk in self._whole(event, request, deployment):
                    yield chunk
                return
            data = self._object(event, deployment)
            with self._reading(deployment, data):
                chunk = reader.read(data, event.name)
                if chunk.tool_calls and not sound(chunk.tool_calls):
                    raise ValueError("a call of a tool that is none")
            if chunk != NOTHING:
                yield chunk
            if reader.ended:
                await drain(events)
                return
        if not reader.complete:
            raise cut_off(self._endpoint.where(deployment.model))

    def _object(self, event: Event, deployment: Deployment) -> dict[str, Json]:
        """The JSON object of an event.

        Raises:
            ProviderError: it is not one, or an error.
        """
        where = self._endpoint.where(deployment.model)
        try:
            data: Any = json.loads(event.data)  # Any: JSON from outside, narrowed here
        except (ValueError, RecursionError):
            raise bad_reply(where, "a piece of a stream that is not JSON", event.data) from None
        if not isinstance(data, dict):
            raise bad_reply(where, f"a JSON {type(data).__name__} within a stream", event.data)
        with self._reading(deployment, data):
            error = self._error_in(event, data)
        if error:
            raise from_error_object(where, error)
        return data

    def _whole(self, event: Event, request: Request, deployment: Deployment) -> list[Chunk]:
        """A plain answer to a request for a stream, as chunks."""
        data = self._object(event, deployment)
        with self._reading(deployment, data):
            response = self._reply(data, request)
        if response is None:
            raise self._no_answer(data, deployment)
        calls = tuple({"index": index, **call} for index, call in enumerate(response.tool_calls))
        own = response.body if request.wire == self.wire else None
        first = Chunk(text=response.text, tool_calls=calls, response_model=response.response_model, body=own)
        return [first, Chunk(finish_reason=response.finish_reason or "stop", usage=response.usage)]


class _Reading:
    """Turns what reading raises at JSON of another shape into a `ProviderError`."""

    def __init__(self, endpoint: Endpoint, deployment: Deployment, data: Json) -> None:
        self._endpoint = endpoint
        self._deployment = deployment
        self._data = data

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:  # Any: a traceback
        if isinstance(error, MISSHAPEN):
            shown = json.dumps(self._data)[:400].encode("utf-8", "replace")
            raise bad_reply(self._endpoint.where(self._deployment.model), "JSON of another shape than its format has", shown) from None
