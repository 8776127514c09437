"""What an experiment is, before anything is asked."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from aiplat_lab.widgets._inputs import Input
from aiplat_lab.widgets._variants import Variant


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What an experiment is, as its record says."""

    id: str
    name: str
    variants: tuple[Variant, ...]
    inputs: tuple[Input, ...]
    rater: str
    blind: bool
    alpha: float
    seed: int
    ahead: int
    """How many inputs are asked before the rater comes to them."""
    headless: bool
    currency: str = "USD"
    usd_rate: Decimal = Decimal(1)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the variants."""
        return tuple(variant.name for variant in self.variants)
