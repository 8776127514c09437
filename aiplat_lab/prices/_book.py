"""Which price holds for a deployment at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from aiplat_lab.core.settings import SETTINGS_FILE, Settings
from aiplat_lab.core.types import STANDARD_TIERS, Deployment, Price, Usage
from aiplat_lab.prices._cost import per_mtok, unpriced_units
from aiplat_lab.prices._list import Rates, find, opened, rates, tiers
from aiplat_lab.prices._local import LocalBook

_MOST_KEPT = 4096
_CLASSES = tuple(field.name for field in fields(Price) if field.name.endswith("_per_mtok"))


class Held(NamedTuple):
    """What is known of a deployment's price at a time, for people."""

    rates: Rates | None
    source: str
    """Where it stands: the setting, the entry of the price book, or the list; empty where nowhere."""
    since: str
    """The day from which it holds, where that is known."""
    tiers: tuple[str, ...]
    """The tiers of service that the list prices apart."""


class Prices:
    """Every price of these settings: the one place that the pipeline, the budgets and the routing ask.

    The deployment's own price wins, then the most specific and latest entry of `[[prices]]`, then the dated list.

    Args:
        settings: the settings, with providers, deployments' own prices and the local price book.
    """

    def __init__(self, settings: Settings) -> None:
        self._providers = settings.providers
        self._local = LocalBook(settings.prices)
        self._own: dict[int, tuple[Price, Price]] = {}
        self._kept: dict[tuple[str, str, str, str, str, int], Rates | None] = {}

    def of(
        self,
        deployment: Deployment,
        at: datetime,
        *,
        usage: Usage | None = None,
        options: Mapping[str, str] | None = None,
        tier: str = "",
    ) -> Price | None:
        """The price of a deployment's model at a time, or None where none is known: unknown is never free.

        Args:
            deployment: the model, its provider and perhaps its own price.
            at: when the call began; aware.
            usage: what the call used or may use. Some models cost more beyond a length of input, some tiers of service more or
                less; without it, the price of a short call in the tier that is asked for is given.
            options: what was paid extra or less for, in the list's words: `processing` (`batch`), `service_tier`, `speed`.
            tier: the tier of service that the caller asked for, where that is not the deployment's.
        """
        wanted = _tier(deployment, usage, options, tier)
        if deployment.price is not None:
            return self._own_price(deployment, at, usage, wanted)
        more = "" if not options else ",".join(f"{name}={options[name]}" for name in sorted(options))
        key = (deployment.provider, deployment.model, deployment.region, wanted, more, int(at.timestamp()) // 60)
        if key in self._kept:
            held = self._kept[key]
        else:
            held = self._rates(deployment, at, wanted, options)
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            self._kept[key] = held
        return None if held is None else held.price(usage)

    def held(self, deployment: Deployment, at: datetime) -> Held:
        """What is known of a deployment's price at a time, and where it comes from."""
        wanted = _tier(deployment, None, None, "")
        if deployment.price is not None:
            return Held(Rates((), (_fitted(deployment.price),)), f"{SETTINGS_FILE}, the deployment itself", "", ())
        entry = self._local.find(deployment, at, wanted)
        found = self._rates(deployment, at, wanted, None)
        settings = self._providers[deployment.provider]
        listed = None if settings.kind == "local" else find(deployment.provider, deployment.model, settings.kind, settings.base_url)
        known = tiers(listed, at) if listed is not None else ()
        if found is None:
            return Held(None, "", "", known)
        source = f"{SETTINGS_FILE}, prices[{entry.index}]" if entry is not None else opened().version
        return Held(found, source, found.since, known)

    def _rates(self, deployment: Deployment, at: datetime, tier: str, options: Mapping[str, str] | None) -> Rates | None:
        provider = self._providers[deployment.provider]
        listed = _listed(deployment, provider.kind, provider.base_url, at, tier, options)
        entry = self._local.find(deployment, at, tier)
        if entry is None:
            return listed
        if listed is None and tier not in STANDARD_TIERS:
            listed = _listed(deployment, provider.kind, provider.base_url, at, "", options)
        return entry.over(listed, tier)

    def _fitted(self, price: Price) -> Price:
        """As `_fitted`, once for each price: the pair keeps the price alive, so that its id stays its own."""
        kept = self._own.get(id(price))
        if kept is None:
            if len(self._own) >= _MOST_KEPT:
                self._own.clear()
            kept = self._own[id(price)] = (price, _fitted(price))
        return kept[1]

    def _own_price(self, deployment: Deployment, at: datetime, usage: Usage | None, tier: str) -> Price | None:
        price = self._fitted(deployment.price) if deployment.price is not None else None
        if price is None or usage is None or not usage.other or not unpriced_units(usage, price):
            return price
        entry = self._local.find(deployment, at, tier)
        if entry is None:
            return None
        units = {**entry.settings.other_usd, **price.other_usd}
        price = replace(price, other_usd=units, version=f"{price.version} with {entry.version}")
        return None if unpriced_units(usage, price) else price


def price_for(
    deployment: Deployment,
    provider_kind: str,
    at: datetime,
    *,
    usage: Usage | None = None,
    base_url: str | None = None,
    options: Mapping[str, str] | None = None,
) -> Price | None:
    """The price of a deployment's model at a time without a price book, or None where none is known; otherwise as `Prices.of`.

    Args:
        deployment: the model, its provider and perhaps its own price.
        provider_kind: the provider's wire format, such as `openai`.
        at: when the call began; aware.
        usage: what the call used or may use.
        base_url: the provider's address as set; empty for the kind's own, None when the caller does not know it.
        options: as `Prices.of`.
    """
    if deployment.price is not None:
        return deployment.price
    held = _listed(deployment, provider_kind, base_url, at, _tier(deployment, usage, options, ""), options)
    return None if held is None else held.price(usage)


def _listed(
    deployment: Deployment, kind: str, base_url: str | None, at: datetime, tier: str, options: Mapping[str, str] | None
) -> Rates | None:
    if kind == "local":
        return None
    found = find(deployment.provider, deployment.model, kind, base_url)
    return None if found is None else rates(found, at, tier, options)


def _tier(deployment: Deployment, usage: Usage | None, options: Mapping[str, str] | None, asked: str) -> str:
    """The tier that is paid: a batch, what the provider says it served, what the caller asked for, the deployment's; in that order."""
    found = ""
    if options:
        found = "batch" if options.get("processing") == "batch" else options.get("service_tier") or options.get("speed") or ""
    if not found:
        found = (usage.service_tier if usage is not None else "") or asked or deployment.service_tier
    if not found:
        return ""
    found = found.lower()
    return "" if found in STANDARD_TIERS else found


def _fitted(price: Price) -> Price:
    """The price with as many decimals as a row keeps, so that the row can be priced again from itself."""
    rounded = {name: per_mtok(usd) for name in _CLASSES if isinstance(usd := getattr(price, name), Decimal)}
    changed = {name: usd for name, usd in rounded.items() if usd is not getattr(price, name)}
    return replace(price, **changed) if changed else price  # type: ignore[arg-type]  # mypy sees one type for all fields
