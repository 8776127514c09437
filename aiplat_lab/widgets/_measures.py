"""What was measured of the variants, paired over the inputs: cost, latency and length, each with an interval."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

from aiplat_lab.core.text import money, seconds
from aiplat_lab.stats import Comparison, compare_paired
from aiplat_lab.widgets._answers import Answer
from aiplat_lab.widgets._plan import Plan

FEWEST_PAIRS = 2
_DRAWS = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One measure of one variant, minus that of the first variant on the same inputs."""

    variant: str
    base: str
    measure: str
    """`cost_usd`, `latency_s` or `output_tokens`, each of one answer."""
    n: int
    """Inputs that both answered, and of which the measure is known."""
    difference: float
    low: float
    high: float
    level: float
    p_value: float
    shown: bool
    """Whether the test says that they differ at all."""

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def differences(plan: Plan, answers: Mapping[tuple[str, str], Answer], inputs: Iterable[str]) -> list[Difference]:
    """Each measure of each variant against the first, over these inputs; one that too few answers have is left out."""
    listed = list(inputs)
    base, *others = plan.names
    found = []
    for name in others:
        pairs = [(answers[base, one], answers[name, one]) for one in listed]
        for measure in ("cost_usd", "latency_s", "output_tokens"):
            known = [(_measure(a, measure), _measure(b, measure)) for a, b in pairs]
            both = tuple((a, b) for a, b in known if a is not None and b is not None)
            if len(both) >= FEWEST_PAIRS:
                found.append(_difference(base, name, measure, _compared(both, 1 - plan.alpha)))
    return found


def in_words(found: Sequence[Mapping[str, Any]], *, currency: str, usd_rate: Any) -> list[str]:
    """A line for each variant: what its answers take more or less than those of the first."""
    lines: dict[tuple[str, str], list[str]] = {}
    for one in found:
        lines.setdefault((one["variant"], one["base"]), []).append(_said(one, currency=currency, usd_rate=usd_rate))
    return [f"{variant} against {base}, input by input: {'; '.join(said)}." for (variant, base), said in lines.items()]


def _said(one: Mapping[str, Any], *, currency: str, usd_rate: Any) -> str:
    def amount(value: float) -> str:
        if one["measure"] == "cost_usd":
            return money(f"{abs(value):.9f}", currency=currency, rate=usd_rate)
        return seconds(abs(value)) if one["measure"] == "latency_s" else f"{abs(value):,.0f} tokens"

    def signed(value: float) -> str:
        return ("−" if value < 0 else "+") + amount(value)

    name = {"cost_usd": "cost", "latency_s": "time", "output_tokens": "length"}[one["measure"]]
    pairs = f"{100 * one['level']:.0f} % interval {signed(one['low'])} to {signed(one['high'])}, n = {one['n']}"
    return f"{name} {signed(one['difference'])} an answer ({pairs}{'' if one['shown'] else '; no difference is shown'})"


def _measure(answer: Answer, name: str) -> float | None:
    if answer.state != "ok":
        return None
    if name == "cost_usd":
        return None if answer.full_cost_usd is None else float(answer.full_cost_usd)
    if name == "latency_s":
        return answer.latency_s if answer.cache != "hit" else None
    return answer.output_tokens


@lru_cache(maxsize=256)
def _compared(both: tuple[tuple[float, float], ...], level: float) -> Comparison:
    """The comparison; kept, since the record is shown again with each vote."""
    first, second = zip(*both, strict=True)
    return compare_paired(list(first), list(second), level=level, lower_is_better=True, margin=0.0, draws=_DRAWS)


def _difference(base: str, name: str, measure: str, found: Comparison) -> Difference:
    return Difference(
        variant=name,
        base=base,
        measure=measure,
        n=found.n,
        difference=found.difference,
        low=found.low,
        high=found.high,
        level=found.level,
        p_value=found.p_value,
        shown=found.shown,
    )
