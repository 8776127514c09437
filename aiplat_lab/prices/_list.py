"""The price list that comes with the package: what `genai-prices` says of a model at a time, under our names."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

from aiplat_lab.core.types import STANDARD_TIERS, Price, Usage
from aiplat_lab.prices._cost import per_mtok, per_unit, unpriced_units

_CLASSES: Mapping[str, str] = {
    "input_mtok": "input_usd_per_mtok",
    "output_mtok": "output_usd_per_mtok",
    "cache_read_mtok": "cache_read_usd_per_mtok",
    "cache_write_mtok": "cache_write_usd_per_mtok",
    "cache_write_1h_mtok": "cache_write_1h_usd_per_mtok",
    "output_reasoning_mtok": "reasoning_usd_per_mtok",
}
_UNITS: Mapping[str, tuple[str, int]] = {
    "input_audio_mtok": ("input_audio_tokens", 1_000_000),
    "input_image_mtok": ("input_image_tokens", 1_000_000),
    "input_video_mtok": ("input_video_tokens", 1_000_000),
    "cache_audio_read_mtok": ("cache_audio_read_tokens", 1_000_000),
    "cache_image_read_mtok": ("cache_image_read_tokens", 1_000_000),
    "output_audio_mtok": ("output_audio_tokens", 1_000_000),
    "output_image_mtok": ("output_image_tokens", 1_000_000),
    "output_video_mtok": ("output_video_tokens", 1_000_000),
    "output_citation_mtok": ("citation_tokens", 1_000_000),
    "web_searches_kcount": ("web_searches", 1_000),
    "social_searches_kcount": ("social_searches", 1_000),
    "storage_searches_kcount": ("storage_searches", 1_000),
    "code_executions_kcount": ("code_executions", 1_000),
    "rerank_searches_kcount": ("search_units", 1_000),
    "requests_kcount": ("requests", 1_000),
    "input_text_messages_kcount": ("input_text_messages", 1_000),
    "input_document_kpages": ("input_document_pages", 1_000),
    "input_annotated_document_kpages": ("input_annotated_document_pages", 1_000),
    "audio_hours": ("audio_seconds", 3_600),
    "input_audio_hours": ("input_audio_seconds", 3_600),
    "output_audio_hours": ("output_audio_seconds", 3_600),
    "input_mchars": ("input_characters", 1_000_000),
    "input_gpixels": ("input_pixels", 1_000_000_000),
}
"""The list's other prices: our unit, and for how many of it the price is."""
_STANDARD_PRICE = frozenset({("groq", "flex")})
"""Tiers that cost what the standard one costs."""


@dataclass(frozen=True, slots=True)
class Rates:
    """What one model costs at a moment, by the length of the input."""

    starts: tuple[int, ...]
    """Lengths beyond which the next price holds, rising."""
    prices: tuple[Price, ...]
    """One more than `starts`."""
    reads: bool = True
    """Whether input has a price."""
    writes: bool = True
    """Whether output has a price."""
    since: str = ""
    """The day from which they hold, where that is known."""

    def price(self, usage: Usage | None) -> Price | None:
        """The price for a usage, or of a short call; None where something of it has none."""
        if usage is None:
            return self.prices[0] if self.reads else None
        into = usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens
        if (into and not self.reads) or (not self.writes and usage.output_tokens + usage.reasoning_tokens):
            return None
        found = self.prices[bisect_left(self.starts, into) if self.starts else 0]
        return None if usage.other and unpriced_units(usage, found) else found


class _Book(NamedTuple):
    version: str
    snapshot: Any  # Any: genai_prices comes without a stable type for it


class Listed(NamedTuple):
    """A model of the list."""

    provider: str
    """The list's own name of the provider."""
    model: Any  # Any: as in `_Book`
    own: bool
    """Whether the provider itself lists it; the price of another one's model is that of its standard tier."""


_book: _Book | None = None


def load() -> None:
    """Reads the price list, which takes a third of a second once; a long-lived process does so before its first call."""
    opened()


def opened() -> _Book:
    """The list, read on first use."""
    global _book
    if _book is None:
        import genai_prices  # a third of a second that only a call with a listed price need pay
        from genai_prices.data_snapshot import get_snapshot

        _book = _Book(f"genai-prices {genai_prices.__version__}", get_snapshot())
    return _book


@lru_cache(maxsize=1024)
def find(name: str, model: str, kind: str, base_url: str | None) -> Listed | None:
    """The listed model: the provider is told by its base URL, by the name the user gave it, or by its kind."""
    snapshot = opened().snapshot
    asked: list[tuple[str | None, str | None]] = [(None, base_url), (name, None)] if base_url else [(name, None), (kind, None)]
    for provider_id, url in asked:
        try:
            provider = snapshot.find_provider(None, provider_id, url)
        except LookupError:
            continue
        found = provider.find_model(model, all_providers=snapshot.providers)
        return None if found is None else Listed(provider.id, found, any(found is one for one in provider.models))
    return None


def rates(listed: Listed, at: datetime, tier: str, options: Mapping[str, str] | None = None) -> Rates | None:
    """What a listed model costs at a time in a tier of service; None where the list does not know the tier or gives no price.

    Args:
        listed: the model.
        at: when the call began; aware.
        tier: `flex`, `priority`, `fast`, `batch`, …; a standard one has no price of its own.
        options: further options in the list's words.
    """
    context = {**(options or {}), **_context(tier)} if listed.own else _context(tier)
    if context and tier not in STANDARD_TIERS and not _known(listed, at, tier):
        return None
    priced = {name: value for name, value in vars(listed.model.get_prices(at, context or None)).items() if value is not None}
    starts = tuple(sorted({tier.start for value in priced.values() if not isinstance(value, Decimal) for tier in value.tiers}))
    known = {name: value for name, value in priced.items() if name in _CLASSES or name in _UNITS}
    if not known:
        return None
    return Rates(
        starts=starts,
        prices=tuple(_price(known, length, "" if tier in STANDARD_TIERS else tier) for length in (0, *(start + 1 for start in starts))),
        reads="input_mtok" in priced,
        writes="output_mtok" in priced,
        since=_since(listed.model, at),
    )


def tiers(listed: Listed, at: datetime) -> tuple[str, ...]:
    """The tiers of service that have a price of their own at a time."""
    if not listed.own:
        return ()
    found = [
        value
        for variant in listed.model.price_variants or ()
        if variant.constraint is None or variant.constraint.active(at)
        for key, value in variant.when.items()
        if (key in ("service_tier", "speed") or (key, value) == ("processing", "batch")) and value not in STANDARD_TIERS
    ]
    return tuple(dict.fromkeys(found))


def _context(tier: str) -> dict[str, str]:
    if tier in STANDARD_TIERS:
        return {}
    if tier == "batch":
        return {"processing": "batch"}
    return {"service_tier": tier, "speed": tier}


def _known(listed: Listed, at: datetime, tier: str) -> bool:
    return (listed.provider, tier) in _STANDARD_PRICE or tier in tiers(listed, at)


def _price(priced: Mapping[str, Any], length: int, tier: str) -> Price:
    usd = {name: _at_length(value, length) for name, value in priced.items()}
    classes = {ours: per_mtok(usd[name]) for name, ours in _CLASSES.items() if name in usd}
    classes.setdefault("input_usd_per_mtok", Decimal(0))
    classes.setdefault("output_usd_per_mtok", Decimal(0))
    units = {unit: per_unit(usd[name] / per) for name, (unit, per) in _UNITS.items() if name in usd}
    return Price(version=opened().version, other_usd=units, service_tier=tier, **classes)


def _at_length(price: Any, input_tokens: int) -> Decimal:  # Any: a Decimal, or tiers
    """The price that holds for a call with so many input tokens in all."""
    if isinstance(price, Decimal):
        return price
    held: Decimal = price.base
    for tier in price.tiers:  # in rising order; the last that begins below holds for all tokens
        if input_tokens > tier.start:
            held = tier.price
    return held


def _since(model: Any, at: datetime) -> str:
    """The day from which the standard price that holds at `at` holds, where the list says."""
    if not isinstance(model.prices, list):
        return ""
    days = [str(one.constraint.start_date) for one in model.prices if hasattr(one.constraint, "start_date") and one.constraint.active(at)]
    return max(days, default="")


def midnight(day: str) -> datetime:
    """The first moment of a day such as 2026-01-01, in UTC."""
    return datetime.fromisoformat(day).replace(tzinfo=UTC)
