"""Which price holds for a deployment at a time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

from aiplat_lab.core.settings import Settings
from aiplat_lab.core.types import Deployment, Price, Usage

_NOT_BY_TOKEN = ("requests_kcount", "output_citation_mtok")
"""Fees that five prices by token cannot say; a model that has one stays unpriced rather than too cheap."""


class Prices:
    """Every price of these settings: the one place that the pipeline, the budgets and the routing ask.

    Args:
        settings: the settings, with providers, deployments' own prices and the local price book.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def of(
        self, deployment: Deployment, at: datetime, *, usage: Usage | None = None, options: Mapping[str, str] | None = None
    ) -> Price | None:
        """The price of a deployment at a time; arguments and meaning as `price_for`."""
        provider = self._settings.providers[deployment.provider]
        return price_for(deployment, provider.kind, at, usage=usage, base_url=provider.base_url, options=options)


class _Book(NamedTuple):
    version: str
    snapshot: Any  # Any: genai_prices comes without a stable type for it


_book: _Book | None = None


def load() -> None:
    """Reads the price list, which takes a third of a second once; a long-lived process does so before its first call."""
    _open()


def price_for(
    deployment: Deployment,
    provider_kind: str,
    at: datetime,
    *,
    usage: Usage | None = None,
    base_url: str | None = None,
    options: Mapping[str, str] | None = None,
) -> Price | None:
    """The price of a deployment's model at a time, or None where none is known: unknown is never free.

    The deployment's own price wins. Else the provider is told by its base URL, by the name the user gave it, or by its
    kind where neither says, and the dated list answers.

    Args:
        deployment: the model, its provider and perhaps its own price.
        provider_kind: the provider's wire format, such as `openai`.
        at: when the call began; aware.
        usage: what the call used or may use. Some models cost more beyond a length of input; without it, the price of
            a short one is given.
        base_url: the provider's address as set; empty for the kind's own, None when the caller does not know it.
        options: what was paid extra or less for, in the list's words: `service_tier` (`flex`, `priority`), `speed`
            (`fast`), `processing` (`batch`); without them, the standard price.
    """
    if deployment.price is not None:
        return deployment.price
    if provider_kind == "local":
        return None
    found = _find(deployment.provider, deployment.model, provider_kind, base_url)
    if found is None:
        return None
    listed = vars(found.get_prices(at, options))
    if any(listed.get(name) is not None for name in _NOT_BY_TOKEN):
        return None
    length = usage.total_input_tokens if usage is not None else 0
    units = {name: _at_length(listed.get(f"{name}_mtok"), length) for name in ("input", "output", "cache_read", "cache_write")}
    fresh, output = units["input"], units["output"]
    if fresh is None or (output is None and usage is not None and usage.total_output_tokens):
        return None
    return Price(
        version=_open().version,
        input_usd_per_mtok=fresh,
        output_usd_per_mtok=Decimal(0) if output is None else output,
        cache_read_usd_per_mtok=units["cache_read"],
        cache_write_usd_per_mtok=units["cache_write"],
        reasoning_usd_per_mtok=_at_length(listed.get("output_reasoning_mtok"), length),
    )


def _open() -> _Book:
    global _book
    if _book is None:
        import genai_prices  # a third of a second that only a call with a listed price need pay
        from genai_prices.data_snapshot import get_snapshot

        _book = _Book(f"genai-prices {genai_prices.__version__}", get_snapshot())
    return _book


@lru_cache(maxsize=1024)
def _find(name: str, model: str, kind: str, base_url: str | None) -> Any:  # Any: a model of genai_prices
    """The listed model, or None."""
    snapshot = _open().snapshot
    asked: list[tuple[str | None, str | None]] = [(None, base_url), (name, None)] if base_url else [(name, None), (kind, None)]
    for provider_id, url in asked:
        try:
            provider = snapshot.find_provider(None, provider_id, url)
        except LookupError:
            continue
        return provider.find_model(model, all_providers=snapshot.providers)
    return None


def _at_length(price: Any, input_tokens: int) -> Decimal | None:  # Any: a Decimal, tiers, or None
    """The price that holds for a call with so many input tokens in all."""
    if price is None or isinstance(price, Decimal):
        return price
    held: Decimal = price.base
    for tier in price.tiers:  # in rising order; the last that begins below holds for all tokens
        if input_tokens > tier.start:
            held = tier.price
    return held
