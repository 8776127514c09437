"""In which order the deployments of a model are tried: one function a strategy, each with the figures that it went by."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from aiplat_lab.core.types import Deployment, Request, Usage
from aiplat_lab.gateway._complexity import complexity
from aiplat_lab.gateway._speed import ENOUGH, EXPLORE_EVERY, Speeds
from aiplat_lab.prices import Prices, cost

MEDIA_TOKENS = 1_000
"""What a picture, a sound or a file is taken for."""
TOOL_TOKENS = 150
"""What the description of a tool is taken for."""
MESSAGE_TOKENS = 4
TOKENS_A_CHARACTER = 0.25
TOKENS_A_BYTE = 0.33
"""For text that is not plain ASCII."""


class Order(NamedTuple):
    """Deployments in the order in which they are tried, and why."""

    deployments: tuple[Deployment, ...]
    reason: str
    figures: Mapping[str, str] = {}
    """What the strategy knows of each deployment, by name."""


def input_tokens(request: Request) -> int:
    """The length of the input in tokens, estimated from its characters."""
    total = sum(_tokens(text) for text in request.inputs)
    for message in request.messages:
        total += MESSAGE_TOKENS
        content = message.content
        if isinstance(content, str):
            total += _tokens(content)
        elif content is not None:
            for part in content:
                total += _tokens(str(part.get("text") or "")) if part.get("type", "text") == "text" else MEDIA_TOKENS
    tools = request.settings.get("tools")
    return total + (TOOL_TOKENS * len(tools) if isinstance(tools, (list, tuple)) else 0)


def output_tokens(request: Request, usual: int) -> int:
    """The length of the answer in tokens: the usual one, unless the caller set a lower limit."""
    if request.operation != "chat":
        return 0
    for name in ("max_tokens", "max_completion_tokens", "max_output_tokens"):
        limit = request.settings.get(name)
        if isinstance(limit, int) and limit > 0:
            return min(limit, usual)
    return usual


def _tokens(text: str) -> int:
    if text.isascii():
        return math.ceil(len(text) * TOKENS_A_CHARACTER)
    return math.ceil(len(text.encode("utf-8", "replace")) * TOKENS_A_BYTE)


def cheapest(deployments: Sequence[Deployment], prices: Prices, at: datetime, *, into: int, out: int) -> Order:
    """By the estimated price of this call; those without a known price come last, as they are listed."""
    found: dict[str, Decimal | None] = {}
    for one in deployments:
        usage = Usage(input_tokens=into, output_tokens=min(out, one.max_output_tokens or out))
        price = prices.of(one, at, usage=usage)
        found[one.name] = None if price is None else cost(usage, price)
    ordered = sorted(deployments, key=lambda one: (found[one.name] is None, found[one.name] or Decimal(0)))
    figures = {name: "no known price" if usd is None else f"about ${usd.normalize():f}" for name, usd in found.items()}
    first = ordered[0]
    unknown = sum(usd is None for usd in found.values())
    last = f"; {unknown} without a known price come last" if unknown and unknown < len(ordered) else ""
    reason = f"cheapest: {first.name}, {figures[first.name]} for {into} tokens in and {out} out{last}"
    if unknown == len(ordered):
        reason = "cheapest: no price is known, so as they are listed"
    return Order(tuple(ordered), reason, figures)


def fastest(deployments: Sequence[Deployment], speeds: Speeds, *, call_id: str) -> Order:
    """By the measured time of an answer; what was hardly tried is tried, and a call now and then checks the others."""
    known = {one.name: speeds.of(one.name) for one in deployments}
    seconds = {name: speed.seconds() for name, speed in known.items()}
    figures = {name: "not measured yet" if value is None else f"{value:.2f} s for 100 tokens" for name, value in seconds.items()}
    listed = {one.name: index for index, one in enumerate(deployments)}
    fresh = [one for one in deployments if seconds[one.name] is None and known[one.name].started < ENOUGH]

    def rank(one: Deployment) -> tuple[bool, float, int]:
        value = seconds[one.name]
        return (value is None, value or 0.0, listed[one.name])

    ordered = sorted(deployments, key=rank)
    if fresh:
        chosen = min(fresh, key=lambda one: (known[one.name].started, listed[one.name]))
        reason = f"fastest: {chosen.name} is tried, since it is not measured yet"
    elif len(ordered) > 1 and share(call_id, "explore") < 1 / EXPLORE_EVERY:
        chosen = min(ordered[1:], key=lambda one: known[one.name].measured_at)
        reason = f"fastest: {chosen.name} is measured again; one call of {EXPLORE_EVERY} does so"
    else:
        chosen = ordered[0]
        reason = f"fastest: {chosen.name}, {figures[chosen.name]}"
    return Order((chosen, *(one for one in ordered if one is not chosen)), reason, figures)


def weighted(deployments: Sequence[Deployment], *, call_id: str) -> Order:
    """Each first for its share of the calls, by the call's id: the same call always goes the same way."""
    drawn = {one.name: -math.log(1.0 - share(call_id, one.name)) / one.weight for one in deployments}
    ordered = tuple(sorted(deployments, key=lambda one: drawn[one.name]))
    total = sum(one.weight for one in deployments)
    figures = {one.name: f"{100 * one.weight / total:.3g} % of calls" for one in deployments}
    return Order(ordered, f"weighted: {ordered[0].name} has {figures[ordered[0].name]}", figures)


def by_complexity(deployments: Sequence[Deployment], request: Request, *, into: int) -> Order:
    """From weakest to strongest as listed: the score says which is first, then come the stronger ones, then the weaker."""
    found = complexity(request, input_tokens=into)
    place = min(int(found.score * len(deployments)), len(deployments) - 1)
    ordered = (*deployments[place:], *reversed(deployments[:place]))
    step = 1 / len(deployments)
    figures = {one.name: f"from {index * step:.2f}" for index, one in enumerate(deployments)}
    return Order(ordered, f"complexity {found}: {ordered[0].name}", figures)


def share(call_id: str, what: str) -> float:
    """A number from 0 up to 1 that the call's id decides."""
    digest = hashlib.blake2b(f"{call_id}\0{what}".encode("utf-8", "replace"), digest_size=7).digest()
    return int.from_bytes(digest) / 2**56
