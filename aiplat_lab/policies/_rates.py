"""What is counted by the minute: buckets that fill evenly, and how many tokens a call will take."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass

from aiplat_lab.core.types import Message, Request, Usage

TOKENS_PER_BYTE = 0.4
"""What a byte of input counts until a model's own share is known; ordinary text is below it."""
OUTPUT_TOKENS = 512
"""What an answer counts when neither its caller nor earlier answers of the model say more."""
_MESSAGE_TOKENS = 6
_IMAGE_TOKENS = 1000
_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
_MAX_MODELS = 1000
_WEIGHT = 0.1
_NEARLY = 1e-9


class Bucket:
    """Room for `per_minute` units, which fills evenly: all of it may go at once, and is back a minute later.

    More than what is there may be taken, for a single call that is larger than a whole minute; what follows waits until that is
    made good. Time is the event loop's, so a clock that is put back or forward changes nothing.
    """

    __slots__ = ("_at", "_level", "per_minute")

    def __init__(self, per_minute: int) -> None:
        self.per_minute = per_minute
        self._level = float(per_minute)
        self._at = -math.inf

    def level(self, now: float) -> float:
        """What may be taken now; less than nothing after a call larger than a minute."""
        passed = now - self._at
        if passed > 0:
            self._level = min(self.per_minute, self._level + passed * self.per_minute / 60.0)
            self._at = now
        return self._level

    def wait_s(self, amount: float, now: float, *, ahead: float = 0.0) -> float:
        """Seconds until `amount` may be taken, after others have taken `ahead`; what is larger than a minute waits for a full bucket."""
        lacking = (amount if amount < self.per_minute else self.per_minute) + ahead - (self._level if now == self._at else self.level(now))
        return lacking * 60.0 / self.per_minute if lacking > _NEARLY else 0.0

    def take(self, amount: float, now: float) -> None:
        """Takes it, even beyond what is there."""
        if now != self._at:
            self.level(now)
        self._level -= amount

    def give(self, amount: float, now: float) -> None:
        """Gives back what was not used; a negative amount takes what was used beyond."""
        self._level = min(self.per_minute, self.level(now) + amount)


@dataclass(slots=True)
class _Known:
    per_byte: float
    output: float


class Estimates:
    """How many tokens calls take, learned for each model from what its providers counted."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, _Known] = OrderedDict()

    def of(self, request: Request, *, asked: bool = False) -> int:
        """Input and output together, as expected.

        Args:
            request: the request.
            asked: count the output as the caller's limit says, as providers do, rather than as long as answers are.
        """
        known = self._known.get(request.model)
        size, fixed = _size(request)
        total = fixed + size * (known.per_byte if known else TOKENS_PER_BYTE)
        if request.operation == "chat":
            limit = _limit(request)
            usual = known.output if known else OUTPUT_TOKENS
            if limit is None:
                total += usual
            else:
                total += limit if asked or known is None else min(limit, usual)
        return max(1, math.ceil(total))

    def learn(self, request: Request, usage: Usage) -> None:
        """Notes what was counted."""
        size, fixed = _size(request)
        per_byte = max(0.0, usage.total_input_tokens - fixed) / max(size, 1)
        output = float(usage.total_output_tokens)
        known = self._known.get(request.model)
        if known is None:
            self._known[request.model] = _Known(per_byte, output)
            if len(self._known) > _MAX_MODELS:
                self._known.popitem(last=False)
            return
        known.per_byte += _WEIGHT * (per_byte - known.per_byte)
        known.output += _WEIGHT * (output - known.output)


def _size(request: Request) -> tuple[int, int]:
    """Bytes of text, and tokens that go by rule."""
    size = sum(len(text.encode("utf-8", "replace")) for text in request.inputs)
    fixed = 0
    for message in request.messages:
        more, by_rule = _message(message)
        size, fixed = size + more, fixed + by_rule
    for name in ("tools", "functions", "response_format"):
        if request.settings.get(name):
            size += len(str(request.settings[name]))
    return size, fixed


def _message(message: Message) -> tuple[int, int]:
    if isinstance(message.content, str):
        return len(message.content.encode("utf-8", "replace")), _MESSAGE_TOKENS
    images = sum(part.get("type") != "text" for part in message.content or ())
    return len(message.text().encode("utf-8", "replace")) + len(str(message.extra or "")), _MESSAGE_TOKENS + _IMAGE_TOKENS * images


def _limit(request: Request) -> int | None:
    for name in _LIMITS:
        value = request.settings.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            wanted = request.settings.get("n")
            return value * (wanted if isinstance(wanted, int) and wanted > 1 else 1)
    return None
