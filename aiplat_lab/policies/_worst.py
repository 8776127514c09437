"""What a call can cost at most, in whole nano-dollars: the arithmetic of reservations, without any state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Any

from aiplat_lab.core.types import Deployment, Message, Price, Request, canonical_json

NANO = 10**9
_PER_MTOK = 10**6
ASSUMED_OUTPUT_TOKENS = 8192
"""What a model of unknown limit is allowed to write under a hard budget when the caller sets no `max_tokens`."""
_MESSAGE_TOKENS = 8
_REQUEST_TOKENS = 16
_TOOL_TOKENS = 1024
_IMAGE_TOKENS = 50_000
_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens")


def to_nano(usd: Decimal) -> int:
    """Whole nano-dollars, rounded up; exact for what the ledger can hold."""
    return int((usd * NANO).to_integral_value(ROUND_CEILING))


def to_usd(nano: int) -> Decimal:
    """US dollars with nine decimals."""
    return Decimal(nano).scaleb(-9)


def input_bound(request: Request) -> int:
    """Tokens that the input can be at most: a tokenizer of bytes makes no more tokens than there are bytes."""
    total = _REQUEST_TOKENS + sum(len(text.encode("utf-8", "replace")) + _MESSAGE_TOKENS for text in request.inputs)
    total += sum(_message_bound(message) for message in request.messages)
    shaping = {key: request.settings[key] for key in ("tools", "functions", "response_format") if request.settings.get(key)}
    if shaping:
        total += len(canonical_json(shaping)) + _TOOL_TOKENS
    if request.body is not None and request.wire != "openai.chat":
        total = max(total, _body_bound(request.body))
    return total


def _message_bound(message: Message) -> int:
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
    media = sum(raw.count(mark) for mark in (b'"type":"image', b'"type":"input_image', b'"type":"document', b'"type":"input_file'))
    return len(raw) + _IMAGE_TOKENS * media + (_TOOL_TOKENS if body.get("tools") else 0)


def output_limit(request: Request) -> int | None:
    """The most output tokens the caller asked for, all choices together; None when the caller set no limit."""
    for name in _LIMITS:
        value = request.settings.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value * choices(request)
    return None


def choices(request: Request) -> int:
    """How many answers the caller asked for."""
    wanted = request.settings.get("n")
    return wanted if isinstance(wanted, int) and wanted > 1 else 1


@dataclass(frozen=True, slots=True)
class _Rate:
    """One deployment's part: nano-dollars times a million."""

    fixed: int
    per_token: int
    most_tokens: int | None


@dataclass(frozen=True, slots=True)
class Worst:
    """The dearest that a call can become, as a function of how many tokens it may write."""

    rates: tuple[_Rate, ...]

    def nano(self, output_tokens: int) -> int:
        """Whole nano-dollars for an answer of at most `output_tokens` tokens, at the dearest deployment."""
        return max(
            -(
                -(rate.fixed + rate.per_token * (output_tokens if rate.most_tokens is None else min(output_tokens, rate.most_tokens)))
                // _PER_MTOK
            )
            for rate in self.rates
        )

    def fitting_tokens(self, free_nano: int) -> int:
        """How many tokens an answer may have so that the call costs no more than `free_nano`; below zero if none."""
        return min(
            (free_nano * _PER_MTOK - rate.fixed) // rate.per_token
            if rate.per_token
            else (2**62 if rate.fixed <= free_nano * _PER_MTOK else -1)
            for rate in self.rates
        )

    @property
    def free(self) -> bool:
        """Whether the call costs nothing, whatever it writes."""
        return all(rate.fixed == 0 and rate.per_token == 0 for rate in self.rates)


def worst(request: Request, priced: Iterable[tuple[Deployment, Price]], inputs: Mapping[str, int] | None = None) -> Worst:
    """The worst case of `request` over every deployment that may be tried.

    Args:
        request: the request.
        priced: the deployments with their prices.
        inputs: input tokens by a deployment's name, where more is known than the bound for bytes.
    """
    bound = input_bound(request)
    writes = request.operation == "chat"
    rates = []
    for deployment, price in priced:
        into = max(price.input_usd_per_mtok, price.cache_write_usd_per_mtok or 0, price.cache_read_usd_per_mtok or 0)
        out = max(price.output_usd_per_mtok, price.reasoning_usd_per_mtok or 0) if writes else Decimal(0)
        most = deployment.max_output_tokens
        tokens = (inputs or {}).get(deployment.name, bound)
        rates.append(
            _Rate(
                fixed=to_nano(Decimal(into)) * min(tokens, deployment.context_tokens or tokens),
                per_token=to_nano(Decimal(out)),
                most_tokens=None if most is None else most * choices(request),
            )
        )
    return Worst(tuple(rates))
