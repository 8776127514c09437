"""What is wrong with a price: of a deployment, or of an entry of the local price book."""

from __future__ import annotations

from dataclasses import fields
from datetime import date
from decimal import Decimal

from aiplat_lab.core.errors import ConfigError
from aiplat_lab.core.settings._all import Settings
from aiplat_lab.core.settings._parts import PriceSettings
from aiplat_lab.core.settings._providers import DeploymentSettings

DEAREST_USD = Decimal(10**7)
"""Beyond it a price is a slip of the pen, and a cost would not fit into its column."""
_NOT_UNITS = frozenset({"discount", "cache_write_1h_usd_per_mtok"})
_CLASSES = tuple(field.name for field in fields(PriceSettings) if field.name.endswith("_usd_per_mtok"))


def check_prices(settings: Settings, source: str) -> None:
    """Lets prices pass that can be meant.

    Raises:
        ConfigError: an entry has no number, a wrong date or discount, or says again what another one says; half an own price.
    """
    for name, model in settings.models.items():
        for index, deployment in enumerate(model.deployments):
            _check_own(deployment, f"{source}: models.{name}.deployments[{index}]")
    seen: dict[tuple[str, ...], int] = {}
    for index, entry in enumerate(settings.prices):
        where = f"{source}: prices[{index}] (model {entry.model!r})"
        _check_entry(entry, where)
        if entry.provider and entry.provider not in settings.providers:
            raise ConfigError(f"{where} names the provider {entry.provider!r}, which is not set up")
        same = (entry.model.lower(), entry.provider, entry.region, entry.service_tier.lower(), entry.since)
        if same in seen:
            raise ConfigError(
                f"{where} speaks of the same calls from the same day as prices[{seen[same]}], so that nobody can tell which holds. "
                "Give the newer one a since, or take one away."
            )
        seen[same] = index


def _check_own(deployment: DeploymentSettings, where: str) -> None:
    given = {name for name in _CLASSES if getattr(deployment, name) is not None}
    lacking = {"input_usd_per_mtok", "output_usd_per_mtok"} - given
    if given and lacking:
        raise ConfigError(f"{where} has a price of its own without {' and '.join(sorted(lacking))}; write 0 where it is free")
    for name in given:
        _check_usd(getattr(deployment, name), f"{where}.{name}")


def _check_entry(entry: PriceSettings, where: str) -> None:
    if not entry.model.strip():
        raise ConfigError(f"{where} names no model; write its name at the provider, with * for any text")
    prices = {name: getattr(entry, name) for name in _CLASSES if getattr(entry, name) is not None}
    if not prices and not entry.other_usd and not entry.discount:
        raise ConfigError(f"{where} has no price and no discount, so it says nothing")
    if entry.discount > 1:
        raise ConfigError(f"{where}.discount is {entry.discount}; it is a share between 0 and 1, such as 0.15")
    for name, usd in [*prices.items(), *((f"other_usd.{unit}", usd) for unit, usd in entry.other_usd.items())]:
        _check_usd(usd, f"{where}.{name}")
    for unit in entry.other_usd:
        if unit in _NOT_UNITS or not unit.isidentifier():
            raise ConfigError(f"{where}.other_usd: {unit!r} is no unit; write one such as images, web_searches or requests")
    since, until = (_day(getattr(entry, name), f"{where}.{name}") for name in ("since", "until"))
    if since is not None and until is not None and since >= until:
        raise ConfigError(f"{where} ends on {entry.until}, before it begins on {entry.since}; until is the first day without it")


def _check_usd(usd: Decimal, where: str) -> None:
    if usd > DEAREST_USD:
        raise ConfigError(f"{where} is {usd}; no price is above {DEAREST_USD:,} US dollars")


def _day(text: str, where: str) -> date | None:
    if not text:
        return None
    try:
        if len(text) != 10:
            raise ValueError(text)
        return date.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{where} is {text!r}, which is not a day; write one such as 2026-01-31") from None
