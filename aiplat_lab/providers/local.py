"""The embedded models: SmolLM2-135M on llama.cpp in a worker process, and MiniLM embeddings in another.

The text worker speaks OpenAI's wire on loopback, so a call to it is an ordinary call, without a price and without a network.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import secrets
import struct
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from aiplat_lab.core.errors import ConfigError, ProviderError, did_you_mean
from aiplat_lab.core.registry import register
from aiplat_lab.core.settings import SETTINGS_FILE, ProviderSettings, environment
from aiplat_lab.core.types import Chunk, Deployment, Json, Message, Request, Response, Usage
from aiplat_lab.providers import _openai_wire as openai_wire
from aiplat_lab.providers import weights
from aiplat_lab.providers._failures import Where, bad_reply, cut_off, failure, from_error_object
from aiplat_lab.providers._http import Endpoint
from aiplat_lab.providers._local_siblings import label, sibling
from aiplat_lab.providers._local_worker import Pool, Worker
from aiplat_lab.providers._sse import Event
from aiplat_lab.providers.openai import OpenAI

CONTEXT_TOKENS = 2048
"""The longest prompt and answer together."""
MAX_OUTPUT_TOKENS = 1024
"""The longest answer where nobody sets a limit."""
MAX_WORKERS = 2
"""How many text models are kept in memory."""
EMBED_BATCH = 8
"""How many texts are embedded before a cancelled call is noticed."""
_DIMENSIONS = 384
_FOREVER_S = 86_400.0
_TOO_LONG = re.compile(r"request \((\d+) tokens\) exceeds the available context size \((\d+) tokens\)")
_HERE = Path(__file__).parent
_NOT_FOR_THE_WORKER = frozenset({"completion", "tools", "functions", "tool_choice", "function_call", "parallel_tool_calls"})
_EMBEDDER = "minilm"
_EMBEDDER_LABEL = "all-MiniLM-L6-v2"


@dataclass(frozen=True, slots=True)
class _TextModel:
    """A text model: how it names itself, and the layer that is left out of it."""

    label: str
    without_layer: int | None = None


_TEXT_MODELS: Mapping[str, _TextModel] = {
    "smollm2": _TextModel("smollm2-135m"),
    "smollm2-lite": _TextModel(f"smollm2-135m-lite ({label(25)})", 25),
    "smollm2-broken": _TextModel(f"smollm2-135m-broken ({label(20)})", 20),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """Proof that an embedded model works: what it did just now."""

    model: str
    response_model: str
    """What the model calls itself."""
    tokens: int
    """Tokens written, or read for embeddings."""
    seconds: float
    """From nothing to the last token, the worker's start included where it was not running."""
    rss_bytes: int | None
    """The worker's memory; None where the system does not say."""


@dataclass(frozen=True, slots=True)
class _Door:
    """The ways into one text worker."""

    worker: Worker
    chat: OpenAI
    raw: Endpoint


@register("provider", "local")
class Local:
    """Chat, streams and embeddings of the embedded models.

    A setting `completion = true` sends the text of the messages as it is, without a chat template, and lets the model
    continue it: with a few examples in the text, a model this small answers far better so.

    Args:
        name: the name under `[providers]`.
        settings: its settings; `threads` and `slots` are the worker's.
        idle_s: seconds without a call after which a worker is ended.

    Raises:
        ConfigError: `threads` or `slots` is out of range.
    """

    wire: ClassVar[str] = openai_wire.CHAT

    def __init__(self, name: str, settings: ProviderSettings, *, idle_s: float = 600.0) -> None:
        for setting, most in (("threads", 64), ("slots", 16)):
            if not 1 <= getattr(settings, setting) <= most:
                raise ConfigError(f"{SETTINGS_FILE}: providers.{name}.{setting} must be between 1 and {most}")
        self._name = name
        self._settings = settings
        self._texts = Pool(limit=MAX_WORKERS, idle_s=idle_s)
        self._embedders = Pool(limit=1, idle_s=idle_s)
        self._embedding = ThreadPoolExecutor(1, "aiplat-embed")
        self._doors: dict[str, _Door] = {}

    async def chat(self, request: Request, deployment: Deployment) -> Response:
        """The whole answer."""
        asked = self._readied(request, deployment)
        async with self._door(deployment) as (door, named):
            if not request.settings.get("completion"):
                return await door.chat.chat(asked, named)
            data = await door.raw.post("/completions", _raw_body(asked, named), request=asked, deployment=named)
            response = openai_wire.read_reply(_as_chat(data), own=request.wire == openai_wire.CHAT)
            if response is None:
                raise bad_reply(door.raw.where(named.model), "JSON that holds no answer", json.dumps(data)[:400].encode())
            return replace(response, provider=self._name, region=deployment.region)

    @asynccontextmanager
    async def stream(self, request: Request, deployment: Deployment) -> AsyncIterator[AsyncIterator[Chunk]]:
        """The answer in pieces; leaving the context makes the worker stop."""
        asked = self._readied(request, deployment)
        async with self._door(deployment) as (door, named):
            if not request.settings.get("completion"):
                async with door.chat.stream(asked, named) as chunks:
                    yield _Watched(chunks, self, door.worker)
                return
            body = {**_raw_body(asked, named), "stream": True, "stream_options": {"include_usage": True}}
            async with (
                door.raw.events("/completions", body, request=asked, deployment=named) as events,
                aclosing(_raw_chunks(events, door.raw.where(named.model), asked)) as chunks,
            ):
                yield _Watched(chunks, self, door.worker)

    async def embed(self, request: Request, deployment: Deployment) -> Response:
        """One vector of length 1 for each input, in order; the usage counts word pieces."""
        if deployment.model != _EMBEDDER:
            raise self._refused(deployment, f"{deployment.model} writes text; {_EMBEDDER} makes embeddings")
        if not request.inputs:
            raise self._refused(deployment, f"{_EMBEDDER} embeds texts, and the request holds none")
        if request.settings.get("dimensions") not in (None, _DIMENSIONS):
            raise self._refused(deployment, f"{_EMBEDDER} has {_DIMENSIONS} dimensions; leave the setting dimensions out")
        vectors: list[tuple[float, ...]] = []
        tokens = truncated = 0
        limit_s = request.timeout_s if request.timeout_s is not None else deployment.timeout_s
        try:
            async with asyncio.timeout(limit_s), self._embedders.use(_EMBEDDER, self._start_embedder) as worker:
                for first in range(0, len(request.inputs), EMBED_BATCH):
                    texts = list(request.inputs[first : first + EMBED_BATCH])
                    made = await asyncio.get_running_loop().run_in_executor(self._embedding, worker.ask, {"texts": texts})
                    vectors += struct.iter_unpack(f"<{_DIMENSIONS}f", base64.b64decode(made["vectors"]))
                    tokens += made["tokens"]
                    truncated += made["truncated"]
        except TimeoutError:
            text = f"{_EMBEDDER} had embedded {len(vectors)} of {len(request.inputs)} texts after {limit_s:g} s. Send fewer at once."
            raise failure(self._where(deployment), text, reason="timeout", retryable=True) from None
        return Response(
            embeddings=tuple(vectors),
            finish_reason="stop",
            usage=Usage(input_tokens=tokens),
            provider=self._name,
            region=deployment.region,
            response_model=_EMBEDDER_LABEL,
            flags=("truncated",) if truncated else (),
        )

    async def check(self, model: str) -> Health:
        """Makes the model work and says what it did.

        Raises:
            ConfigError: something is not installed or not fetched.
            ProviderError: it does not work.
        """
        deployment = Deployment(provider=self._name, model=model, region=self._settings.region)
        begun = time.perf_counter()
        if model == _EMBEDDER:
            response = await self.embed(Request(model=model, operation="embed", inputs=("It works.",)), deployment)
        else:
            settings = {"completion": True, "max_tokens": 8, "temperature": 0, "ignore_eos": True}
            response = await self.chat(Request(model=model, messages=(Message("user", "1 2 3 4"),), settings=settings), deployment)
        usage = response.usage or Usage()
        tokens = usage.total_input_tokens if model == _EMBEDDER else usage.total_output_tokens
        if not tokens:
            raise failure(self._where(deployment), f"{model} wrote not a single token", reason="bad_reply")
        worker = {**self._texts.workers(), **self._embedders.workers()}.get(model)
        seconds = time.perf_counter() - begun
        rss = worker.rss_bytes() if worker else None
        return Health(model=model, response_model=response.response_model, tokens=tokens, seconds=seconds, rss_bytes=rss)

    def workers(self) -> dict[str, int]:
        """The numbers of the worker processes that run, by model."""
        return {name: worker.pid for name, worker in {**self._texts.workers(), **self._embedders.workers()}.items()}

    async def aclose(self) -> None:
        """Ends the workers and closes the connections to them."""
        doors, self._doors = list(self._doors.values()), {}
        for door in doors:
            await door.chat.aclose()
            await door.raw.aclose()
        await asyncio.gather(asyncio.to_thread(self._texts.close), asyncio.to_thread(self._embedders.close))
        self._embedding.shutdown(wait=False, cancel_futures=True)

    # --- the request ------------------------------------------------------------------------------------------------

    def _readied(self, request: Request, deployment: Deployment) -> Request:
        """The request as the worker takes it, with a limit on its answer.

        Raises:
            ProviderError: it asks for what these models cannot do.
        """
        if deployment.model == _EMBEDDER:
            raise self._refused(deployment, f"{_EMBEDDER} makes embeddings and writes no text; use smollm2")
        if deployment.model not in _TEXT_MODELS:
            known = [*_TEXT_MODELS, _EMBEDDER]
            raise ConfigError(
                f"there is no embedded model {deployment.model!r}; they are {', '.join(known)}.{did_you_mean(deployment.model, known)}"
            )
        for name in ("tools", "functions"):
            if request.settings.get(name):
                raise self._refused(deployment, f"{deployment.model} cannot call tools. Leave {name} out, or use another model")
        for message in request.messages:
            if not isinstance(message.content, str | None) and any(part.get("type", "text") != "text" for part in message.content):
                raise self._refused(deployment, f"{deployment.model} reads text only, no images, sound or files. Use another model")
        settings = {name: value for name, value in request.settings.items() if name not in _NOT_FOR_THE_WORKER}
        if openai_wire.output_limit(settings) is None:
            settings["max_tokens"] = deployment.max_output_tokens or MAX_OUTPUT_TOKENS
        body = request.body and {name: value for name, value in request.body.items() if name not in _NOT_FOR_THE_WORKER}
        return replace(request, settings=settings, body=body)

    def _refused(self, deployment: Deployment, text: str) -> ProviderError:
        return failure(self._where(deployment), f"{text}.", reason="bad_request", status=400)

    def _where(self, deployment: Deployment) -> Where:
        return Where(self._name, deployment.model, "the worker process", "")

    # --- the workers ------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _door(self, deployment: Deployment) -> AsyncIterator[tuple[_Door, Deployment]]:
        """The way into the model's worker, and the deployment under the name that the model gives itself."""
        model = deployment.model
        async with self._texts.use(model, lambda: self._start_text(model)) as worker:
            door = self._doors.get(model)
            if door is None or door.worker is not worker:
                self._doors[model], before = self._open(worker), door
                if before is not None:
                    await before.chat.aclose()
                    await before.raw.aclose()
                door = self._doors[model]
            try:
                yield door, replace(deployment, model=_TEXT_MODELS[model].label)
            except ProviderError as error:
                raise await self.explained(error, worker) from None

    def _open(self, worker: Worker) -> _Door:
        # One connection a call: the server holds a thread for each that stays open.
        headers = {**self._settings.headers, "Authorization": f"Bearer {worker.said['key']}", "Connection": "close"}
        url = f"{worker.said['url']}/v1"
        settings = replace(self._settings, base_url=url, api_key="", headers=headers, read_timeout_s=_FOREVER_S)
        raw = Endpoint(self._name, settings, base_url=url, auth=lambda key: {})
        return _Door(worker, OpenAI(self._name, settings), raw)

    async def explained(self, error: ProviderError, worker: Worker) -> ProviderError:
        """What a failure of the worker means."""
        if error.reason in {"unavailable", "cut_off"}:
            for _ in range(10):
                if not worker.alive:
                    return worker.lost(reason=error.reason)
                await asyncio.sleep(0.02)
        found = _TOO_LONG.search(error.message)
        if found:
            text = (
                f"{self._name}: the prompt has {found[1]} tokens, and {worker.model} takes {found[2]} with its answer. "
                "Shorten the prompt, or use a model with a larger context."
            )
            facts: dict[str, Any] = {"prompt_tokens": int(found[1]), "context_tokens": int(found[2])}  # Any: details of an error
            return ProviderError(text, provider=self._name, model=worker.model, status=400, reason="context_length", **facts)
        return error

    def _start_text(self, model: str) -> Worker:
        """Starts a text worker; runs in a thread."""
        known, folder = _TEXT_MODELS[model], environment().home.models
        file = weights.located("smollm2", folder)
        if file is None:
            raise ConfigError(f"the weights of {model} are not here yet: run `aiplat model pull smollm2`, then try again")
        if known.without_layer is not None:
            file = sibling(file, folder / "smollm2", layer=known.without_layer)
        key = secrets.token_hex(32)
        config = {
            "file": str(file),
            "name": known.label,
            "key": key,
            "threads": self._settings.threads,
            "slots": self._settings.slots,
            "context_tokens": CONTEXT_TOKENS,
        }
        worker = Worker(provider=self._name, model=model, script=_HERE / "_local_serve.py", config=config)
        worker.said = {**worker.said, "key": key}
        return worker

    def _start_embedder(self) -> Worker:
        """Starts the embedding worker; runs in a thread."""
        file = weights.located(_EMBEDDER, environment().home.models)
        if file is None:
            raise ConfigError(f"the weights of {_EMBEDDER} are not here yet: run `aiplat model pull {_EMBEDDER}`, then try again")
        return Worker(provider=self._name, model=_EMBEDDER, script=_HERE / "_local_minilm.py", config={"file": str(file)})


class _Watched(AsyncIterator[Chunk]):
    """A stream whose failure says what happened to its worker."""

    def __init__(self, chunks: AsyncIterator[Chunk], provider: Local, worker: Worker) -> None:
        self._chunks = chunks
        self._provider = provider
        self._worker = worker

    async def __anext__(self) -> Chunk:
        try:
            return await anext(self._chunks)
        except ProviderError as error:
            raise await self._provider.explained(error, self._worker) from None


# --- completion: the text as it is ------------------------------------------------------------------------------------


def _raw_body(request: Request, deployment: Deployment) -> dict[str, Json]:
    """The body of a completion: the text of the messages, a blank line between two, and the settings under their names there."""
    left_out = {"messages", "logprobs", "top_logprobs", "response_format", *openai_wire.LIMITS}
    body = {name: value for name, value in request.settings.items() if value is not None and name not in left_out}
    body |= {"model": deployment.model, "max_tokens": openai_wire.output_limit(request.settings)}
    body["prompt"] = "\n\n".join(message.text() for message in request.messages)
    if request.settings.get("logprobs"):
        body["logprobs"] = request.settings.get("top_logprobs") or 1
    wanted = request.settings.get("response_format")
    if isinstance(wanted, Mapping) and wanted.get("type") in {"json_schema", "json_object"}:
        inside = wanted.get("json_schema")
        body["json_schema"] = (inside.get("schema") if isinstance(inside, Mapping) else wanted.get("schema")) or {"type": "object"}
    return body


def _as_chat(data: Mapping[str, Json], *, piece: bool = False) -> dict[str, Json]:
    """A completion's reply, or a piece of it, in the shape of a chat's."""
    choices = []
    for choice in data.get("choices") or ():
        text = str(choice.get("text") or "")
        said = {"delta": {"content": text}} if piece else {"message": {"role": "assistant", "content": text}}
        kept = {name: choice.get(name) for name in ("index", "finish_reason", "logprobs")}
        choices.append({**kept, **said})
    return {**data, "object": "chat.completion.chunk" if piece else "chat.completion", "choices": choices}


async def _raw_chunks(events: AsyncIterator[Event], where: Where, request: Request) -> AsyncGenerator[Chunk, None]:
    own, complete = request.wire == openai_wire.CHAT, False
    async for event in events:
        if event.data == b"[DONE]":
            return
        try:
            data: Any = json.loads(event.data)  # Any: JSON from outside, narrowed here
        except ValueError:
            raise bad_reply(where, "a piece of a stream that is not JSON", event.data) from None
        if not isinstance(data, dict) or data.get("error"):
            raise from_error_object(where, data.get("error") if isinstance(data, dict) else data)
        chunk = openai_wire.read_chunk(_as_chat(data, piece=True), own=own, usage_wanted=True)
        complete = complete or bool(chunk.finish_reason)
        yield chunk
    if not complete:
        raise cut_off(where)


def check(model: str, settings: ProviderSettings | None = None) -> Health:
    """Makes an embedded model work in a worker of its own and says what it did; errors as `Local.check`."""

    async def inside() -> Health:
        provider = Local("local", settings or ProviderSettings(kind="local", region="local"))
        try:
            return await provider.check(model)
        finally:
            await provider.aclose()

    return asyncio.run(inside())
