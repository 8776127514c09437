"""The nouns: what travels from a surface through the gateway to a model and back.

All are frozen but `Call`, the one trip through the gateway that becomes one row of the ledger.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, ClassVar, Literal, Protocol, TypeAlias

from aiplat_lab.core.ids import new_id

Json: TypeAlias = Any  # JSON values nest without end; the borders parse and narrow them
Operation: TypeAlias = Literal["chat", "embed"]
Status: TypeAlias = Literal["ok", "error", "refused", "cancelled"]
CacheMode: TypeAlias = Literal["auto", "on", "refresh", "off"]
ReplayMode: TypeAlias = Literal["", "auto", "only", "refresh", "off"]
CacheState: TypeAlias = Literal["hit", "miss", "off"]
Clock: TypeAlias = Callable[[], datetime]


def utc_now() -> datetime:
    """Now, as an aware UTC time."""
    return datetime.now(UTC)


def canonical_json(value: Json) -> bytes:
    """`value` as JSON with sorted keys and no spaces: the same bytes for the same value, for hashes.

    A lone surrogate, which JSON text can carry and UTF-8 cannot, becomes `?`.
    """
    return _CANONICAL.encode(value).encode("utf-8", "replace")


def wire_json(value: Json) -> bytes:
    """`value` as JSON without spaces, its keys in their order; a lone surrogate becomes `?`."""
    return _WIRE.encode(value).encode("utf-8", "replace")


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)  # made once: making one costs
_WIRE = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)


def content_hash(value: Json) -> str:
    """The SHA-256 of `canonical_json(value)`, in lower-case hexadecimal."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation."""

    role: str
    """`system`, `user`, `assistant` or `tool`."""
    content: str | tuple[Mapping[str, Json], ...] | None
    """Plain text, or parts in the shape of OpenAI's chat wire (`{"type": "text", "text": …}`, `image_url`, …)."""
    extra: Mapping[str, Json] = field(default_factory=dict)
    """The message's other fields as OpenAI's chat wire names them (`tool_calls`, `tool_call_id`, `name`)."""

    def text(self) -> str:
        """The text of the message, its text parts joined; other parts are left out."""
        if self.content is None:
            return ""
        if isinstance(self.content, str):
            return self.content
        return "".join(str(part.get("text", "")) for part in self.content if part.get("type") == "text")

    def to_json(self) -> dict[str, Json]:
        """The message in the shape of OpenAI's chat wire."""
        content = self.content if isinstance(self.content, str) or self.content is None else [dict(part) for part in self.content]
        return {"role": self.role, "content": content, **self.extra}

    @classmethod
    def from_json(cls, data: Mapping[str, Json]) -> Message:
        """The message that `to_json` wrote."""
        content = data.get("content")
        extra = {key: value for key, value in data.items() if key not in {"role", "content"}}
        return cls(str(data["role"]), tuple(content) if isinstance(content, Sequence) and not isinstance(content, str) else content, extra)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """Who pays for a call and where it came from; an empty text means not known."""

    surface: str = "python"
    """`magic`, `python`, `http`, `cli`, `report`, `eval`, `ab`, …"""
    team: str = ""
    project: str = ""
    cost_centre: str = ""
    user_id: str = ""
    key_id: str = ""
    notebook: str = ""
    """Path of the notebook, relative to its server's root where that is known."""
    cell_id: str = ""
    prompt_name: str = ""
    prompt_version: str = ""
    experiment: str = ""
    variant: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Json]:
        """The fields that are not empty."""
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name)}

    @classmethod
    def from_json(cls, data: Mapping[str, Json]) -> Attribution:
        """The attribution that `to_json` wrote; unknown names are left out."""
        known = {f.name for f in fields(cls)}
        return cls(**{key: value for key, value in data.items() if key in known})


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a caller asks of a model, before any provider's wire format."""

    model: str
    """The name a user types: a name of `[models]`, or `provider/model`."""
    operation: Operation = "chat"
    messages: tuple[Message, ...] = ()
    inputs: tuple[str, ...] = ()
    """The texts to embed, for the operation `embed`."""
    settings: Mapping[str, Json] = field(default_factory=dict)
    """Settings under OpenAI's chat names: `temperature`, `max_tokens`, `top_p`, `seed`, `stop`, `response_format`,
    `tools`, `tool_choice`, …"""
    stream: bool = False
    cache: CacheMode = "auto"
    """`auto`: a surface's default; `on`: answer from the cache; `refresh`: ask again and keep; `off`: neither."""
    replay: ReplayMode = ""
    """Whether an answer is given again however old it is. `auto`: where there is one; `only`: or the call is refused; `refresh`: ask
    again and keep; `off`: neither; empty takes the setting, which notebook cells follow and other surfaces do not."""
    timeout_s: float | None = None
    """Seconds for the whole call; None takes the deployment's setting."""
    attribution: Attribution = field(default_factory=Attribution)
    call_id: str = field(default_factory=new_id)
    """Chosen by the client, so that a repeated send is recognised."""
    parent_id: str = ""
    priority: Literal["", "interactive", "batch"] = ""
    """Its place in a queue; empty goes by the surface: evaluations, reports and detached calls wait behind people."""
    detached: bool = False
    """Whether the gateway finishes and records the call though the caller has left; for a plain call, not for a stream."""
    wire: str = ""
    """The format of `body`: `openai.chat`, `openai.responses`, `openai.embeddings`, `anthropic.messages`, `gemini.generate`, or empty."""
    body: Mapping[str, Json] | None = None
    """The caller's own body, passed on unchanged where the provider speaks the same wire."""
    native: tuple[str, ...] = ()
    """What of `body` only its own wire can say: a deployment of another wire may not answer."""
    hints: tuple[str, ...] = ()
    """What of `body` a deployment of another wire does not get, and can do without; the row is flagged `ignored_NAME`."""

    def fingerprint(self, *, provider: str = "", model: str = "") -> str:
        """A hash of what decides the answer: model, messages or inputs, settings; not who asks or when.

        Args:
            provider: the provider that would answer, when that is part of the question.
            model: the model's name at that provider.
        """
        asked = {
            "operation": self.operation,
            "model": self.model,
            "provider": provider,
            "provider_model": model,
            "messages": [message.to_json() for message in self.messages],
            "inputs": list(self.inputs),
            "settings": dict(self.settings),
            "wire": self.wire,
            "body": {k: v for k, v in self.body.items() if k not in {"stream", "stream_options"}} if self.body else None,
        }
        return content_hash(asked)

    def to_json(self) -> dict[str, Json]:
        """The request as JSON, for our own wire."""
        return {
            "model": self.model,
            "operation": self.operation,
            "messages": [message.to_json() for message in self.messages],
            "inputs": list(self.inputs),
            "settings": dict(self.settings),
            "stream": self.stream,
            "cache": self.cache,
            "replay": self.replay,
            "timeout_s": self.timeout_s,
            "attribution": self.attribution.to_json(),
            "call_id": self.call_id,
            "parent_id": self.parent_id,
            "priority": self.priority,
            "detached": self.detached,
            "wire": self.wire,
            "body": dict(self.body) if self.body is not None else None,
            "native": list(self.native),
            "hints": list(self.hints),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Json]) -> Request:
        """The request that `to_json` wrote.

        Raises:
            KeyError, TypeError: a field is missing or of another type; the border that calls this says so.
        """
        return cls(
            model=data["model"],
            operation=data.get("operation", "chat"),
            messages=tuple(Message.from_json(message) for message in data.get("messages") or ()),
            inputs=tuple(data.get("inputs") or ()),
            settings=data.get("settings") or {},
            stream=bool(data.get("stream", False)),
            cache=data.get("cache") or "auto",
            replay=data.get("replay") or "",
            timeout_s=data.get("timeout_s"),
            attribution=Attribution.from_json(data.get("attribution") or {}),
            call_id=data.get("call_id") or new_id(),
            parent_id=data.get("parent_id") or "",
            priority=data.get("priority") or "",
            detached=bool(data.get("detached", False)),
            wire=data.get("wire") or "",
            body=data.get("body"),
            native=tuple(data.get("native") or ()),
            hints=tuple(data.get("hints") or ()),
        )


TOKEN_CLASSES = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")
"""The five disjoint classes of tokens."""
TOKEN_PARTS: Mapping[str, str] = {
    "input_audio_tokens": "input_tokens",
    "input_image_tokens": "input_tokens",
    "input_video_tokens": "input_tokens",
    "cache_audio_read_tokens": "cache_read_tokens",
    "cache_image_read_tokens": "cache_read_tokens",
    "output_audio_tokens": "output_tokens",
    "output_image_tokens": "output_tokens",
    "output_video_tokens": "output_tokens",
}
"""Units of `Usage.other` that are part of a class of tokens, with that class; a price of their own takes the place of the class's."""
STANDARD_TIERS = frozenset({"", "default", "standard", "auto", "standard_only", "on_demand", "ondemand"})
"""How providers call the tier of service that needs no name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one call as the provider counted them, in five classes that do not overlap."""

    input_tokens: int = 0
    """Fresh input: neither read from nor written to the provider's prompt cache."""
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    """Output that is not reasoning."""
    reasoning_tokens: int = 0
    cache_write_1h_tokens: int = 0
    """Of `cache_write_tokens`, those written to be kept for an hour; they have a price of their own."""
    other: Mapping[str, int] = field(default_factory=dict)
    """Whatever else is paid for, by unit: `images`, `web_searches`, `storage_searches`, `requests` (one a call unless it says
    otherwise), `citation_tokens`, `audio_seconds`, `input_characters`, `input_document_pages`, …; and, as part of the tokens above,
    the units of `TOKEN_PARTS`. A unit without a price makes the cost of the call unknown, a part of tokens does not."""
    service_tier: str = ""
    """The tier that the provider says it served, in its own word (`default`, `flex`, `priority`, …); empty where it says nothing."""
    reported_usd: Decimal | None = None
    """What the provider says the call cost, in US dollars, where it says; booked where no price is known."""

    @property
    def total_input_tokens(self) -> int:
        """All that went in, cached or not."""
        return self.input_tokens + self.cache_read_tokens + self.cache_write_tokens

    @property
    def total_output_tokens(self) -> int:
        """All that came out, reasoning included."""
        return self.output_tokens + self.reasoning_tokens

    def to_json(self) -> dict[str, Json]:
        """The five counts by name, and whatever else there is."""
        rest: dict[str, Json] = {"cache_write_1h_tokens": self.cache_write_1h_tokens, "other": dict(self.other)}
        rest["service_tier"] = self.service_tier
        rest["reported_usd"] = str(self.reported_usd) if self.reported_usd is not None else None
        return {**{name: getattr(self, name) for name in TOKEN_CLASSES}, **{name: value for name, value in rest.items() if value}}

    @classmethod
    def from_json(cls, data: Mapping[str, Json]) -> Usage:
        """The usage that `to_json` wrote; unknown names are left out."""
        known = {f.name for f in fields(cls)}
        kept = {key: value for key, value in data.items() if key in known}
        if kept.get("reported_usd") is not None:
            kept["reported_usd"] = Decimal(kept["reported_usd"])
        return cls(**kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What came back, with what it cost."""

    text: str = ""
    embeddings: tuple[tuple[float, ...], ...] = ()
    finish_reason: str = ""
    """`stop`, `length`, `tool_calls`, `content_filter`; empty when the provider gave none, which is flagged."""
    usage: Usage | None = None
    """None when the provider counted nothing: unknown, never zero."""
    provider: str = ""
    region: str = ""
    response_model: str = ""
    """The model the provider says it used."""
    body: Mapping[str, Json] | None = None
    """The provider's own body, where it spoke the caller's wire or holds more than text (tool calls, log-probs)."""
    tool_calls: tuple[Mapping[str, Json], ...] = ()
    """Calls of tools in the shape of OpenAI's chat wire."""
    flags: tuple[str, ...] = ()
    """What a reader should know: `no_finish_reason`, `no_usage`, `over_reservation`, …"""
    notes: Mapping[str, str] = field(default_factory=dict)
    """Facts of the call that go into the answer's headers as `x-aiplat-NAME`: `max-tokens`, `queued-s`, `route`, …"""
    call_id: str = ""
    cost_usd: Decimal | None = None
    """US dollars; None when the price is unknown."""
    baseline_cost_usd: Decimal | None = None
    """What the same call would have cost without cache and routing."""
    cache: CacheState = "off"
    attempts: int = 0
    latency_s: float = 0.0
    time_to_first_token_s: float | None = None

    def to_json(self) -> dict[str, Json]:
        """The response as JSON, for our own wire; money as text."""
        data: dict[str, Json] = {f.name: getattr(self, f.name) for f in fields(self)}
        data["usage"] = self.usage.to_json() if self.usage else None
        data["embeddings"] = [list(vector) for vector in self.embeddings]
        data["tool_calls"] = [dict(call) for call in self.tool_calls]
        data["flags"] = list(self.flags)
        data["notes"] = dict(self.notes)
        for name in ("cost_usd", "baseline_cost_usd"):
            data[name] = None if data[name] is None else str(data[name])
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Json]) -> Response:
        """The response that `to_json` wrote; unknown names are left out."""
        known = {f.name for f in fields(cls)}
        kept = {key: value for key, value in data.items() if key in known}
        kept["usage"] = Usage.from_json(data["usage"]) if data.get("usage") else None
        kept["embeddings"] = tuple(tuple(vector) for vector in data.get("embeddings") or ())
        kept["tool_calls"] = tuple(data.get("tool_calls") or ())
        kept["flags"] = tuple(data.get("flags") or ())
        for name in ("cost_usd", "baseline_cost_usd"):
            kept[name] = None if data.get(name) is None else Decimal(data[name])
        return cls(**kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """One piece of a streamed answer; a field that says nothing is empty or None."""

    text: str = ""
    finish_reason: str = ""
    usage: Usage | None = None
    response_model: str = ""
    tool_calls: tuple[Mapping[str, Json], ...] = ()
    """Pieces of tool calls, as OpenAI's chat wire streams them."""
    body: Mapping[str, Json] | None = None
    """The provider's own event, passed on unchanged to a caller of the same wire."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Prices of one model, in US dollars per million tokens, with the book they come from."""

    version: str
    """The price book and its date, such as `genai-prices 0.2.3` or `aiplat.toml`; it stands in each row."""
    input_usd_per_mtok: Decimal
    output_usd_per_mtok: Decimal
    cache_read_usd_per_mtok: Decimal | None = None
    """None charges cached input as fresh input."""
    cache_write_usd_per_mtok: Decimal | None = None
    reasoning_usd_per_mtok: Decimal | None = None
    """None charges reasoning as output."""
    cache_write_1h_usd_per_mtok: Decimal | None = None
    """None charges what is kept for an hour as other writes."""
    other_usd: Mapping[str, Decimal] = field(default_factory=dict, hash=False)
    """US dollars for one of each unit of `Usage.other`; a token of a part of `TOKEN_PARTS` too."""
    service_tier: str = ""
    """The tier that these are the prices of; empty is the standard one."""
    discount: Decimal = Decimal(0)
    """The share that was taken off the listed price; these prices are what was left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A model at a provider, in a region, with a price and limits."""

    provider: str
    """The name under `[providers]`."""
    model: str
    """The model's name at that provider."""
    region: str = ""
    """`uk`, `eu`, `us`, `local`, …; empty is unknown and never matches a residency rule."""
    price: Price | None = None
    """The user's own price, which wins over the price list."""
    max_output_tokens: int | None = None
    """The most the model can write, for the worst case of a reservation."""
    context_tokens: int | None = None
    rpm: int | None = None
    tpm: int | None = None
    parallel: int | None = None
    weight: float = 1.0
    service_tier: str = ""
    """The tier that is asked for; empty is the standard one."""
    lacks: frozenset[str] = frozenset()
    """What its model cannot do: `tools`, `json_schema`, `images`, …"""
    timeout_s: float = 120.0
    retries: int = 2

    @property
    def name(self) -> str:
        """`provider/model`."""
        return f"{self.provider}/{self.model}"


class Provider(Protocol):
    """A wire format: sends a request to one deployment and reads the answer. It never sees the ledger.

    Made as `cls(name, settings)` with a `ProviderSettings`. Every method raises `ProviderError` and nothing else
    for what goes wrong there. Cancelling the task closes the connection, so that the provider stops working.
    """

    wire: ClassVar[str]
    """The format in which a caller's body can pass through unchanged, such as `openai.chat`; empty for none."""

    async def chat(self, request: Request, deployment: Deployment) -> Response:
        """The whole answer."""
        ...

    def stream(self, request: Request, deployment: Deployment) -> AbstractAsyncContextManager[AsyncIterator[Chunk]]:
        """The answer in pieces; the last carry `finish_reason`, without which it counts as cut off, and `usage` when there is one."""
        ...

    async def embed(self, request: Request, deployment: Deployment) -> Response:
        """One vector for each of `request.inputs`, in order."""
        ...

    async def aclose(self) -> None:
        """Closes connections and ends child processes."""
        ...


class Policy(Protocol):
    """One rule. The pipeline calls `before` in order and `after` in reverse, each once for every call.

    A policy may have two more: `async answered(call)`, which sees the whole answer of a provider in `call.response` and may replace
    it or raise `ContentRefused`; and `pieces(call)`, which gives what a stream passes through (`Pieces`), or None.
    """

    name: str

    async def before(self, call: Call) -> None:
        """May raise a `CallRefused`, replace `call.request`, or set `call.response`, which ends the loop."""
        ...

    async def after(self, call: Call) -> None:
        """Runs however the call ended; must not raise."""
        ...


class Pieces(Protocol):
    """What the pieces of one streamed answer pass through before the caller gets them."""

    def of(self, chunk: Chunk) -> list[Chunk]:
        """What becomes of a piece; it may be held back, so that the list is empty.

        Raises:
            ContentRefused: the answer may not go on.
        """
        ...

    def end(self) -> list[Chunk]:
        """What was held back."""
        ...


class Gate(Protocol):
    """What keeps calls to one deployment within what its provider allows."""

    def wait_s(self, deployment: Deployment) -> float:
        """Seconds until a call could be sent there, as far as is known; 0 is now."""
        ...

    def hold_back(self, deployment: Deployment, seconds: float) -> None:
        """Keeps every call from the deployment for so long: what its provider asked for."""
        ...

    def slot(self, call: Call, deployment: Deployment, *, within_s: float) -> AbstractAsyncContextManager[None]:
        """A place among the calls to the deployment, for as long as the context is open.

        Raises:
            RateLimited: on entering: there is none within so many seconds.
        """
        ...


@dataclass(slots=True, kw_only=True)
class Call:
    """One trip through the gateway; the only noun that changes, and one row of the ledger."""

    request: Request
    started_at: datetime
    response: Response | None = None
    error: BaseException | None = None
    status: Status = "ok"
    deployments: tuple[Deployment, ...] = ()
    """What the requested model stands for, in the order of the routing strategy."""
    deployment: Deployment | None = None
    """The one that answered, or that was tried last."""
    ended_at: datetime | None = None
    first_token_at: datetime | None = None
    attempts: int = 0
    queued_s: float = 0.0
    cache: CacheState = "off"
    price: Price | None = None
    cost_usd: Decimal | None = None
    baseline_cost_usd: Decimal | None = None
    policy: str = ""
    """The policy that refused, or answered."""
    partial: list[str] = field(default_factory=list)
    """The text passed on so far, kept when a stream breaks or is cancelled."""
    flags: list[str] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)
    """Facts that go into the answer's headers as `x-aiplat-NAME`."""
    route: str = ""
    """Why the deployments stand in their order, in words."""
    findings: dict[str, str] = field(default_factory=dict)
    """What detectors found, by name: how often and what was done, never the text itself."""
    recorded_request: Request | None = None
    """What the ledger keeps in place of the request, where a policy says so."""
    recorded_response: Response | None = None
    """What the ledger keeps in place of the answer, where a policy says so."""
    state: dict[str, Any] = field(default_factory=dict)
    """A policy's own notes between `before` and `after`, under the policy's name."""

    @property
    def id(self) -> str:
        """The call's id."""
        return self.request.call_id

    def answer(self) -> Response:
        """The response with the facts of this call in it.

        Raises:
            RuntimeError: there is no response.
        """
        if self.response is None:
            raise RuntimeError("the call has no response")
        return replace(
            self.response,
            call_id=self.id,
            cost_usd=self.cost_usd,
            baseline_cost_usd=self.baseline_cost_usd,
            cache=self.cache,
            attempts=self.attempts,
            latency_s=self.latency_s,
            time_to_first_token_s=self.time_to_first_token_s,
            flags=tuple(dict.fromkeys([*self.response.flags, *self.flags])),
            notes={**self.response.notes, **self.notes},
        )

    @property
    def latency_s(self) -> float:
        """Seconds from the start to the end, or to now."""
        return ((self.ended_at or utc_now()) - self.started_at).total_seconds()

    @property
    def time_to_first_token_s(self) -> float | None:
        """Seconds from the start to the first text passed on, or None."""
        return None if self.first_token_at is None else (self.first_token_at - self.started_at).total_seconds()
