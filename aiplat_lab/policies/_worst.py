"""What a call can cost at most, in whole nano-dollars: the arithmetic of reservations, without any state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Any

from aiplat_lab.core.errors import ProviderError
from aiplat_lab.core.types import Call, Deployment, Message, Price, Request, canonical_json

NANO = 10**9
_PER_MTOK = 10**6
ASSUMED_OUTPUT_TOKENS = 8192
"""What a model of unknown limit is allowed to write under a hard budget when the caller sets no `max_tokens`."""
_MESSAGE_TOKENS = 8
REQUEST_TOKENS = 16
_TOOL_TOKENS = 1024
_IMAGE_TOKENS = 50_000
_SEARCHES = 10
"""Searches of the web that a call with such a tool is taken to make at most."""
_INPUT_UNITS = ("input_audio_tokens", "input_image_tokens")
_MOST_PRICES = 1_000
_MOST_CHOICES = 1_000_000
LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
"""The names under which callers limit what is written."""
_SHAPING = ("tools", "functions", "response_format")

_BILLED_FAILURES = frozenset({"cut_off", "timeout", "bad_reply"})

MOST_TOKENS_PER_S = 1000
"""The pace at which a model can think unseen, for the bound on a call that broke off."""
UNDER_WAY_TOKENS = 64
"""Tokens that a provider may have made and not yet sent when a call broke off."""


def to_nano(usd: Decimal) -> int:
    """Whole nano-dollars, rounded up; exact for what the ledger can hold."""
    return int((usd * NANO).to_integral_value(ROUND_CEILING))


def to_usd(nano: int) -> Decimal:
    """US dollars with nine decimals."""
    return Decimal(nano).scaleb(-9)


def usd_text(nano: int) -> str:
    """US dollars with nine decimals, as text."""
    return f"{nano // NANO}.{nano % NANO:09d}" if nano >= 0 else f"-{usd_text(-nano)}"


def input_bound(request: Request) -> int:
    """Tokens that the input can be at most: a tokenizer of bytes makes no more tokens than there are bytes."""
    total = REQUEST_TOKENS + sum(len(text.encode("utf-8", "replace")) + _MESSAGE_TOKENS for text in request.inputs)
    total += sum(message_bound(message) for message in request.messages)
    shaping = {key: request.settings[key] for key in _SHAPING if request.settings.get(key)}
    if shaping:
        total += len(canonical_json(shaping)) + _TOOL_TOKENS
    if request.body is not None and request.wire != "openai.chat":
        total = max(total, _body_bound(request.body))
    return total


def message_bound(message: Message) -> int:
    """Tokens that a message can be at most."""
    total = _MESSAGE_TOKENS
    if isinstance(message.content, str):
        total += len(message.content.encode("utf-8", "replace"))
    elif message.content is not None:
        total += sum(_part_bound(part) for part in message.content)
    if message.extra:
        total += len(canonical_json(dict(message.extra)))
    return total


def _part_bound(part: Mapping[str, Any]) -> int:  # Any: JSON
    if part.get("type") == "text":
        return len(str(part.get("text", "")).encode("utf-8", "replace"))
    return max(_IMAGE_TOKENS, len(canonical_json(dict(part))))


def _body_bound(body: Mapping[str, Any]) -> int:  # Any: JSON
    """For a wire whose body may hold more than the messages: all its bytes, and what a picture or file can take."""
    raw = canonical_json(dict(body))
    return len(raw) + _IMAGE_TOKENS * _media(raw) + (_TOOL_TOKENS if body.get("tools") else 0)


def _media(raw: bytes) -> int:
    return sum(raw.count(mark) for mark in (b'"type":"image', b'"type":"input_image', b'"type":"document', b'"type":"input_file'))


def text_bytes(request: Request) -> bytes:
    """The bytes that a tokenizer will see, as far as they are text: messages, texts to embed, tools and formats."""
    if request.body is not None and request.wire != "openai.chat":
        return canonical_json(dict(request.body))
    parts = list(request.inputs)
    for message in request.messages:
        content = message.content
        if isinstance(content, str):
            parts.append(content)
        elif content is not None:
            parts += [str(part.get("text", "")) for part in content if part.get("type") == "text"]
    raw = "\n".join(parts).encode("utf-8", "replace")
    extra = [dict(message.extra) for message in request.messages if message.extra]
    shaping = {key: request.settings[key] for key in _SHAPING if request.settings.get(key)}
    return raw + (canonical_json(extra) if extra else b"") + (canonical_json(shaping) if shaping else b"")


def has_media(request: Request) -> bool:
    """Whether the input holds pictures, sound or files."""
    if any(
        not isinstance(message.content, str | None) and any(part.get("type") != "text" for part in message.content)
        for message in request.messages
    ):
        return True
    return request.body is not None and request.wire != "openai.chat" and _media(canonical_json(dict(request.body))) > 0


def output_limit(request: Request) -> int | None:
    """The most output tokens the caller asked for, all choices together; None when the caller set no limit.

    Where several names are used, the highest counts, since it is the provider that chooses; 0 and less limit nothing, since some
    providers take them for their own default.
    """
    if not request.settings:
        return None
    found = [value for name in LIMITS if isinstance(value := request.settings.get(name), int) and not isinstance(value, bool) and value > 0]
    return max(found) * choices(request) if found else None


def choices(request: Request) -> int:
    """How many answers the caller asked for, or lets the provider choose from."""
    settings = request.settings
    if "n" not in settings and "best_of" not in settings:
        return 1
    given = (settings.get(name) for name in ("n", "best_of"))
    return max((int(min(value, _MOST_CHOICES)) for value in given if isinstance(value, int | float) and value > 1), default=1)


@dataclass(frozen=True, slots=True)
class _Rate:
    """One deployment's part: nano-dollars times a million."""

    deployment: Deployment
    fixed: int
    per_token: int
    most_tokens: int | None
    into: int
    """For one input token."""

    def nano(self, output_tokens: int) -> int:
        """Whole nano-dollars for an answer of at most so many tokens."""
        written = output_tokens if self.most_tokens is None else min(output_tokens, self.most_tokens)
        return -(-(self.fixed + self.per_token * written) // _PER_MTOK)


@dataclass(frozen=True, slots=True)
class Worst:
    """The dearest that a call can become, as a function of how many tokens it may write."""

    rates: tuple[_Rate, ...]

    def nano(self, output_tokens: int) -> int:
        """Whole nano-dollars for an answer of at most `output_tokens` tokens, at the dearest deployment."""
        if len(self.rates) == 1:
            return self.rates[0].nano(output_tokens)
        return max(rate.nano(output_tokens) for rate in self.rates)

    def fitting_tokens(self, free_nano: int) -> int:
        """How many tokens an answer may have so that the call costs no more than `free_nano`; below zero if none."""
        return min(
            (free_nano * _PER_MTOK - rate.fixed) // rate.per_token
            if rate.per_token
            else (2**62 if rate.fixed <= free_nano * _PER_MTOK else -1)
            for rate in self.rates
        )

    def of_provider(self, provider: str) -> Worst:
        """The part that concerns one provider."""
        return Worst(tuple(rate for rate in self.rates if rate.deployment.provider == provider))

    def of(self, deployment: Deployment | None) -> Worst:
        """The part that concerns one deployment; all of it where that is not known."""
        own = tuple(one for one in self.rates if deployment is not None and one.deployment.name == deployment.name)
        return Worst(own) if own else self

    def likely(self, input_tokens: int, output_tokens: float) -> int:
        """Whole nano-dollars for so many tokens at the first deployment."""
        first = self.rates[0]
        written = output_tokens if first.most_tokens is None else min(output_tokens, first.most_tokens)
        return -(-(first.into * input_tokens + int(first.per_token * written)) // _PER_MTOK)

    @property
    def free(self) -> bool:
        """Whether the call costs nothing, whatever it writes."""
        return all(rate.fixed == 0 and rate.per_token == 0 for rate in self.rates)


def worst(
    request: Request, priced: Iterable[tuple[Deployment, Price]], inputs: Mapping[str, int] | None = None, *, bound: int | None = None
) -> Worst:
    """The worst case of `request` over every deployment that may be tried.

    Args:
        request: the request.
        priced: the deployments with their prices.
        inputs: input tokens by a deployment's name, where more is known than the bound for bytes.
        bound: `input_bound(request)`, where the caller has it.
    """
    bound = input_bound(request) if bound is None else bound
    rates = []
    for deployment, price in priced:
        most = deployment.max_output_tokens
        tokens = (inputs or {}).get(deployment.name, bound)
        into, out = _units(request, price)
        rates.append(
            _Rate(
                deployment=deployment,
                fixed=into * min(tokens, deployment.context_tokens or tokens) + _fees(request, price),
                per_token=out,
                most_tokens=None if most is None else most * choices(request),
                into=to_nano(price.input_usd_per_mtok),
            )
        )
    return Worst(tuple(rates))


_known_units: dict[int, tuple[Price, int, int]] = {}


def _units(request: Request, price: Price) -> tuple[int, int]:
    """Nano-dollars of a million tokens in and out, each of the dearest class that the call may use."""
    found = _known_units.get(id(price))
    if found is None or found[0] is not price:
        if len(_known_units) > _MOST_PRICES:
            _known_units.clear()
        into = (price.input_usd_per_mtok, price.cache_write_usd_per_mtok, price.cache_read_usd_per_mtok, price.cache_write_1h_usd_per_mtok)
        out = (price.output_usd_per_mtok, price.reasoning_usd_per_mtok)
        dearest = [to_nano(max(one for one in several if one is not None)) for several in (into, out)]
        found = _known_units[id(price)] = price, dearest[0], dearest[1]
    _, into_nano, out_nano = found
    if price.other_usd:
        units = price.other_usd
        if has_media(request):
            into_nano = max(into_nano, *(to_nano(units[name] * _PER_MTOK) for name in _INPUT_UNITS if name in units), 0)
        if "audio" in (request.settings.get("modalities") or ()) and "output_audio_tokens" in units:
            out_nano = max(out_nano, to_nano(units["output_audio_tokens"] * _PER_MTOK))
    return into_nano, out_nano if request.operation == "chat" else 0


def _fees(request: Request, price: Price) -> int:
    """What a call costs beside its tokens, in nano-dollars times a million."""
    if not price.other_usd:
        return 0
    usd = price.other_usd.get("requests", Decimal(0))
    tools = request.settings.get("tools")
    if request.settings.get("web_search_options") is not None or (tools and b"web_search" in canonical_json(tools)):
        usd += price.other_usd.get("web_searches", Decimal(0)) * _SEARCHES
    return to_nano(usd) * _PER_MTOK


def written_bound(call: Call) -> int:
    """Tokens that a call can have made the model write until it broke off, as far as can be known from here.

    A token of text has one byte at least; before the first text a model may have thought, at a pace that has a limit;
    and a few tokens may have been under way.
    """
    seen = sum(len(piece.encode("utf-8", "replace")) for piece in call.partial)
    thinking_s = call.time_to_first_token_s if call.time_to_first_token_s is not None else call.latency_s
    return seen + int(thinking_s * MOST_TOKENS_PER_S) + UNDER_WAY_TOKENS


def may_have_cost(call: Call) -> bool:
    """Whether the provider may charge for a call that ended without a count of its tokens."""
    if call.attempts == 0 or call.status == "refused":
        return False
    if isinstance(call.error, ProviderError):
        return call.error.reason in _BILLED_FAILURES or bool(call.partial)
    return True
