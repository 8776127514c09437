"""The local price book: the `[[prices]]` entries of `aiplat.toml`, which win over the price list."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from aiplat_lab.core.settings import SETTINGS_FILE, PriceSettings
from aiplat_lab.core.types import STANDARD_TIERS, Deployment, Price, content_hash
from aiplat_lab.prices._cost import per_mtok, per_unit
from aiplat_lab.prices._list import Rates, midnight

_CLASSES = tuple(field.name for field in fields(Price) if field.name.endswith("_per_mtok"))
_FREE = Decimal(0)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry, ready to be asked."""

    settings: PriceSettings
    index: int
    """Its place in the file."""
    pattern: re.Pattern[str]
    since: datetime
    until: datetime

    @property
    def version(self) -> str:
        """The entry's id, which stands in each row that it prices: it changes when the entry does."""
        said: dict[str, Any] = {  # Any: JSON
            field.name: getattr(self.settings, field.name)
            for field in fields(self.settings)
            if getattr(self.settings, field.name) is not None
        }
        return f"{SETTINGS_FILE}#{content_hash(said)[:8]}"

    @property
    def rank(self) -> tuple[bool, int, bool, bool, bool, datetime, int]:
        """How specific it is, and then how late: the greatest wins."""
        entry = self.settings
        exact, length = "*" not in entry.model, len(entry.model) - entry.model.count("*")
        return exact, length, bool(entry.provider), bool(entry.region), entry.service_tier != "*", self.since, self.index

    def holds(self, deployment: Deployment, at: datetime, tier: str) -> bool:
        """Whether it speaks of this deployment at this time in this tier."""
        entry = self.settings
        return (
            entry.provider in ("", deployment.provider)
            and entry.region in ("", deployment.region)
            and (entry.service_tier == "*" or _plain(entry.service_tier.lower()) == tier)
            and self.since <= at < self.until
            and self.pattern.fullmatch(deployment.model.lower()) is not None
        )

    def over(self, listed: Rates | None, tier: str) -> Rates | None:
        """The entry's prices where it has some, else the listed ones, less the discount; None where there are neither."""
        entry = self.settings
        base = listed or Rates((), (Price(version="", input_usd_per_mtok=_FREE, output_usd_per_mtok=_FREE),), reads=False, writes=False)
        reads = base.reads or entry.input_usd_per_mtok is not None
        writes = base.writes or entry.output_usd_per_mtok is not None
        prices = tuple(self._priced(price, tier) for price in base.prices)
        if not reads and not prices[0].other_usd:
            return None
        return Rates(base.starts, prices, reads=reads, writes=writes, since=entry.since or (base.since if listed else ""))

    def _priced(self, base: Price, tier: str) -> Price:
        entry = self.settings
        left = 1 - entry.discount
        usd: dict[str, Any] = {}  # Any: mypy cannot tell the fields of a Price apart
        for name in _CLASSES:
            found = getattr(entry, name) if getattr(entry, name) is not None else getattr(base, name)
            usd[name] = None if found is None else per_mtok(found * left)
        units = {unit: per_unit(price * left) for unit, price in {**base.other_usd, **entry.other_usd}.items()}
        version = f"{self.version} on {base.version}" if base.version else self.version
        return replace(base, **usd, other_usd=units, version=version, service_tier=tier, discount=entry.discount)


class LocalBook:
    """The entries, the most specific and latest first."""

    def __init__(self, entries: Sequence[PriceSettings]) -> None:
        made = [
            Entry(
                entry,
                index,
                re.compile(".*".join(re.escape(part) for part in entry.model.lower().split("*")), re.DOTALL),
                midnight(entry.since) if entry.since else datetime.min.replace(tzinfo=UTC),
                midnight(entry.until) if entry.until else datetime.max.replace(tzinfo=UTC),
            )
            for index, entry in enumerate(entries)
        ]
        self._entries = sorted(made, key=lambda entry: entry.rank, reverse=True)

    def find(self, deployment: Deployment, at: datetime, tier: str) -> Entry | None:
        """The entry that holds for a deployment at a time in a tier, if there is one."""
        return next((entry for entry in self._entries if entry.holds(deployment, at, tier)), None)


def _plain(tier: str) -> str:
    return "" if tier in STANDARD_TIERS else tier
