"""Prices as they stood on a day, as plain data, so that a change of the list or of the price book is seen before it is paid."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from datetime import datetime

from aiplat_lab.core.types import Deployment, Json, Price
from aiplat_lab.prices._book import Prices

_CLASSES = tuple(field.name for field in fields(Price) if field.name.endswith("_per_mtok"))


def frozen(prices: Prices, deployments: Iterable[Deployment], at: datetime) -> dict[str, Json]:
    """What each deployment costs at a time, under its name: None where nobody knows, else one entry for each length of input."""
    found: dict[str, Json] = {}
    for deployment in deployments:
        held = prices.held(deployment, at).rates
        name = f"{deployment.name} ({deployment.service_tier})" if deployment.service_tier else deployment.name
        if held is None:
            found[name] = None
            continue
        found[name] = [{"beyond_input_tokens": start, **_plain(price)} for start, price in zip((0, *held.starts), held.prices, strict=True)]
    return dict(sorted(found.items()))


def _plain(price: Price) -> dict[str, Json]:
    usd = {name: getattr(price, name) for name in _CLASSES}
    said: dict[str, Json] = {name: f"{value.normalize():f}" for name, value in usd.items() if value is not None}
    if price.other_usd:
        said["other_usd"] = {unit: f"{value.normalize():f}" for unit, value in sorted(price.other_usd.items())}
    return said


def differences(before: Mapping[str, Json], now: Mapping[str, Json]) -> list[dict[str, Json]]:
    """What differs between two frozen sets of prices, one row for each price that came, went or changed."""
    found: list[dict[str, Json]] = []
    for name in sorted({*before, *now}):
        old, new = _flat(before.get(name)), _flat(now.get(name))
        if name not in before or name not in now:
            found.append({"deployment": name, "price": "all", "before": _word(name in before), "now": _word(name in now)})
            continue
        for key in sorted({*old, *new}):
            if old.get(key) != new.get(key):
                found.append({"deployment": name, "price": key, "before": old.get(key), "now": new.get(key)})
    return found


def _word(there: bool) -> str:
    return "listed" if there else "not listed"


def _flat(bands: Json) -> dict[str, str]:
    found: dict[str, str] = {} if bands else {"known": "no"}
    for band in bands or ():
        beyond = f" beyond {band['beyond_input_tokens']:,} input tokens" if band["beyond_input_tokens"] else ""
        for name, usd in {**band, **(band.get("other_usd") or {})}.items():
            if name not in ("beyond_input_tokens", "other_usd"):
                found[f"{name}{beyond}"] = str(usd)
    return found
