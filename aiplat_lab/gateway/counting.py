"""The usage of a stream, put together from the pieces that carry one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from aiplat_lab.core.types import TOKEN_CLASSES, Usage

_INPUT = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "cache_write_1h_tokens")
_OUTPUT = ("output_tokens", "reasoning_tokens")


class Counted:
    """What a stream has used so far.

    Providers send the usage once at the end, twice, or a running total with every piece, and a later piece may say less than an
    earlier one: which tokens were cached, or the input at all. Some hosts send what each piece used by itself: such counts are added.
    """

    def __init__(self) -> None:
        self.usage: Usage | None = None
        """The usage of all pieces; None before the first."""
        self._last: Usage | None = None
        self._sum: Usage | None = None
        self._by_piece = False

    def add(self, usage: Usage) -> Usage:
        """Takes in a piece's usage, and gives that of all."""
        last, self._last = self._last, usage
        if self.usage is None or last is None or self._sum is None:
            self.usage = self._sum = usage
            return usage
        if usage == last and not self._by_piece:
            return self.usage  # sent twice
        self._sum = _plus(self._sum, usage)
        alone = usage.total_input_tokens == 0 and 0 < usage.total_output_tokens <= last.total_output_tokens
        self._by_piece = self._by_piece or (alone and self.usage.total_input_tokens > 0)
        self.usage = self._sum if self._by_piece else _later(self.usage, usage)
        return self.usage


def _later(before: Usage, usage: Usage) -> Usage:
    """A later running total, with what an earlier one told and this one leaves out."""
    kept: dict[str, Any] = {}  # Any: counts of tokens
    if before.total_input_tokens and usage.total_input_tokens in (0, before.total_input_tokens) and not _split(usage):
        kept |= {name: getattr(before, name) for name in _INPUT}
    if before.total_output_tokens == usage.total_output_tokens and not usage.reasoning_tokens:
        kept |= {name: getattr(before, name) for name in _OUTPUT}
    other = {unit: max(before.other.get(unit, 0), usage.other.get(unit, 0)) for unit in {**before.other, **usage.other}}
    told = before.reported_usd if usage.reported_usd is None else usage.reported_usd
    return replace(usage, **kept, other=other, service_tier=usage.service_tier or before.service_tier, reported_usd=told)


def _split(usage: Usage) -> bool:
    return bool(usage.cache_read_tokens or usage.cache_write_tokens)


def _plus(one: Usage, other: Usage) -> Usage:
    units = {unit: one.other.get(unit, 0) + other.other.get(unit, 0) for unit in {**one.other, **other.other}}
    sums: dict[str, Any] = {name: getattr(one, name) + getattr(other, name) for name in (*TOKEN_CLASSES, "cache_write_1h_tokens")}
    return Usage(
        **sums, other=units, service_tier=other.service_tier or one.service_tier, reported_usd=other.reported_usd or one.reported_usd
    )
