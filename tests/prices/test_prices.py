"""Prices and costs: cases worked out by hand from the providers' published prices, and properties that hold for all."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiplat_lab.core.types import Deployment, Price, Usage
from aiplat_lab.prices import COST_PLACES, cost, price_for

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def of(model: str, provider: str = "openai", price: Price | None = None) -> Deployment:
    return Deployment(provider=provider, model=model, price=price)


def used(fresh: int = 0, read: int = 0, written: int = 0, output: int = 0, reasoning: int = 0) -> Usage:
    return Usage(input_tokens=fresh, cache_read_tokens=read, cache_write_tokens=written, output_tokens=output, reasoning_tokens=reasoning)


CASES = [
    # provider, model, usage, dollars; unit prices per million in the comment: fresh / cache read / cache write / output
    ("openai", "gpt-4o", used(1_000_000), "2.5"),  # 2.50 / 1.25 / – / 10
    ("openai", "gpt-4o", used(output=1_000_000), "10"),
    ("openai", "gpt-4o", used(read=1_000_000), "1.25"),
    ("openai", "gpt-4o", used(25, output=20), "0.0002625"),  # 62.5 + 200 millionths
    ("openai", "gpt-4o", used(1), "0.0000025"),
    ("openai", "gpt-4o", used(0), "0"),
    ("openai", "gpt-4o-2024-08-06", used(36, read=64, output=20), "0.00037"),  # 90 + 80 + 200
    ("openai", "gpt-5-mini", used(1000, output=500), "0.00125"),  # 0.25 / 0.025 / – / 2: 250 + 1000
    ("openai", "gpt-5-mini", used(1000, output=100, reasoning=400), "0.00125"),  # reasoning costs what output costs
    ("openai", "gpt-5-mini", used(100, read=900, output=500), "0.0010475"),  # 25 + 22.5 + 1000
    ("openai", "gpt-5-mini", used(1), "0.00000025"),
    ("openai", "gpt-4o-mini", used(123_457, output=7), "0.01852275"),  # 0.15 / 0.075 / – / 0.6: 18518.55 + 4.2
    ("openai", "text-embedding-3-small", used(5), "0.0000001"),  # 0.02
    ("openai", "text-embedding-3-small", used(1_234_567), "0.02469134"),
    ("anthropic", "claude-sonnet-4-5", used(1000, output=1000), "0.018"),  # 3 / 0.3 / 3.75 / 15
    ("anthropic", "claude-sonnet-4-5", used(20, read=64, written=16, output=20), "0.0004392"),  # 60 + 19.2 + 60 + 300
    ("anthropic", "claude-sonnet-4-5", used(200_000, output=1000), "0.615"),  # the last token of the lower tier
    ("anthropic", "claude-sonnet-4-5", used(200_001, output=1000), "1.222506"),  # 6 / 0.6 / 7.5 / 22.5 for all tokens
    ("anthropic", "claude-sonnet-4-5", used(1, read=200_000, output=1000), "0.142506"),  # cached input counts for the tier
    ("anthropic", "claude-sonnet-4-5", used(1, written=200_000), "1.500006"),
    ("anthropic", "claude-opus-4-5-20251101", used(10, read=1_000_000, written=100, output=10), "0.500925"),  # 5 / 0.5 / 6.25 / 25
    ("google", "gemini-2.5-pro", used(100_000, output=1000), "0.135"),  # 1.25 / 0.125 / – / 10
    ("google", "gemini-2.5-pro", used(250_000, output=1000, reasoning=1000), "0.655"),  # 2.5 / 0.25 / – / 15
    ("groq", "llama-3.3-70b-versatile", used(1000, read=1000, output=1000), "0.00197"),  # 0.59 / – / – / 0.79: cached as fresh
]


@pytest.mark.parametrize(("provider", "model", "usage", "dollars"), CASES)
def test_costs_worked_out_by_hand(provider: str, model: str, usage: Usage, dollars: str) -> None:
    price = price_for(of(model, provider), "openai", NOW, usage=usage)
    assert price is not None
    assert cost(usage, price) == Decimal(dollars)


@pytest.mark.parametrize(
    ("at", "dollars"),
    [
        (datetime(2025, 5, 1, tzinfo=UTC), "0.05"),
        (datetime(2025, 6, 9, 23, 59, tzinfo=UTC), "0.05"),
        (datetime(2025, 6, 10, tzinfo=UTC), "0.01"),
        (NOW, "0.01"),
    ],
)
def test_a_call_keeps_the_price_of_its_day(at: datetime, dollars: str) -> None:
    price = price_for(of("o3"), "openai", at)  # 10 / 40 until 9 June 2025, then 2 / 8
    assert price is not None
    assert cost(used(1000, output=1000), price) == Decimal(dollars)


def test_a_price_by_the_time_of_day() -> None:
    night, day = (price_for(of("deepseek-chat", "deepseek"), "openai", NOW.replace(hour=hour)) for hour in (20, 12))
    assert night is not None
    assert day is not None
    assert day.input_usd_per_mtok == 2 * night.input_usd_per_mtok


@pytest.mark.parametrize(
    ("options", "dollars"),
    [
        (None, "0.0125"),  # 2.50 / 10
        ({"service_tier": "default"}, "0.0125"),
        ({"service_tier": "priority"}, "0.02125"),  # 4.25 / 17
        ({"processing": "batch"}, "0.00625"),  # 1.25 / 5
    ],
)
def test_a_tier_of_service_has_its_own_price(options: dict[str, str] | None, dollars: str) -> None:
    price = price_for(of("gpt-4o"), "openai", datetime(2026, 11, 1, tzinfo=UTC), options=options)
    assert price is not None
    assert cost(used(1000, output=1000), price) == Decimal(dollars)


def test_a_tier_that_the_list_does_not_price_is_unknown() -> None:
    assert price_for(of("gpt-4o"), "openai", NOW, options={"service_tier": "unheard-of"}) is None
    assert price_for(of("gpt-4o"), "openai", NOW, options={"service_tier": "flex"}) is None


OWN = Price(version="aiplat.toml", input_usd_per_mtok=Decimal("1.5"), output_usd_per_mtok=Decimal("3"))


def test_an_own_price_wins_even_when_it_is_nothing() -> None:
    assert price_for(of("gpt-4o", price=OWN), "openai", NOW) is OWN
    free = Price(version="aiplat.toml", input_usd_per_mtok=Decimal(0), output_usd_per_mtok=Decimal(0))
    assert price_for(of("smollm2", "local", free), "local", NOW) is free
    assert cost(used(10, output=10), free) == 0


@pytest.mark.parametrize(
    ("provider", "model", "kind"),
    [
        ("openai", "gpt-of-tomorrow", "openai"),
        ("anthropic", "echo", "anthropic"),
        ("vllm", "our-own-finetune", "openai"),
        ("local", "gpt-4o", "local"),
        ("nobody", "gpt-4o", "made-up"),
        ("openai", "whisper-1", "openai"),  # by the hour of sound
    ],
)
def test_unknown_is_none_and_never_nothing(provider: str, model: str, kind: str) -> None:
    assert price_for(of(model, provider), kind, NOW) is None


def test_output_without_a_listed_price_is_unknown() -> None:
    assert price_for(of("text-embedding-3-small"), "openai", NOW, usage=used(5, output=1)) is None


def test_whose_price_it_is() -> None:
    azure = price_for(of("gpt-4o", "work"), "openai", NOW, base_url="https://acme.openai.azure.com/openai/v1")
    assert azure is not None
    assert price_for(of("gpt-4o", "work"), "openai", NOW, base_url="") is not None  # the kind's own address
    assert price_for(of("gpt-4o", "work"), "openai", NOW) is not None  # the address is not known to the caller
    assert price_for(of("gpt-4o", "work"), "openai", NOW, base_url="http://127.0.0.1:8000/v1") is None  # somebody's own server
    assert price_for(of("gpt-4o", "openai"), "openai", NOW, base_url="http://127.0.0.1:8000/v1") is not None  # a relay, by its name
    groq = price_for(of("llama-3.3-70b-versatile", "fast"), "openai", NOW, base_url="https://api.groq.com/openai/v1")
    assert groq is not None
    assert groq.output_usd_per_mtok == Decimal("0.79")


def test_the_version_names_the_list() -> None:
    from importlib.metadata import version

    price = price_for(of("gpt-4o"), "openai", NOW)
    assert price is not None
    assert price.version == f"genai-prices {version('genai-prices')}"


def test_the_list_is_not_read_before_it_is_needed() -> None:
    code = (
        "import sys, aiplat_lab.prices as p; from aiplat_lab.core.types import *; from decimal import Decimal;"
        "own = Price(version='x', input_usd_per_mtok=Decimal(1), output_usd_per_mtok=Decimal(1));"
        "p.price_for(Deployment(provider='local', model='m', price=own), 'local', utc_now());"
        "sys.exit('genai_prices' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- properties -------------------------------------------------------------------------------------------------------

tokens = st.integers(min_value=0, max_value=10**12)
usages = st.builds(used, tokens, tokens, tokens, tokens, tokens)
dollars = st.decimals(min_value=0, max_value=10_000, places=9)
maybe = st.none() | dollars
prices = st.builds(
    Price,
    version=st.just("x"),
    input_usd_per_mtok=dollars,
    output_usd_per_mtok=dollars,
    cache_read_usd_per_mtok=maybe,
    cache_write_usd_per_mtok=maybe,
    reasoning_usd_per_mtok=maybe,
)
CLASSES = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")
HALF = Decimal(5).scaleb(-COST_PLACES - 1)


@given(usages, prices)
def test_a_cost_is_the_sum_of_its_classes(usage: Usage, price: Price) -> None:
    parts = sum(cost(Usage(**{name: getattr(usage, name)}), price) for name in CLASSES)
    assert abs(cost(usage, price) - parts) <= HALF * (len(CLASSES) + 1)


@given(usages, prices)
def test_a_cost_is_never_negative_and_has_nine_places(usage: Usage, price: Price) -> None:
    found = cost(usage, price)
    assert found >= 0
    assert found.as_tuple().exponent == -COST_PLACES


@given(usages, prices, st.sampled_from(CLASSES), tokens)
def test_more_tokens_never_cost_less(usage: Usage, price: Price, name: str, more: int) -> None:
    from dataclasses import replace

    assert cost(replace(usage, **{name: getattr(usage, name) + more}), price) >= cost(usage, price)


@given(usages, prices)
def test_a_cost_is_within_half_a_unit_of_the_exact_fraction(usage: Usage, price: Price) -> None:
    from fractions import Fraction

    unit = {
        "input_tokens": price.input_usd_per_mtok,
        "cache_read_tokens": price.cache_read_usd_per_mtok,
        "cache_write_tokens": price.cache_write_usd_per_mtok,
        "output_tokens": price.output_usd_per_mtok,
        "reasoning_tokens": price.reasoning_usd_per_mtok,
    }
    for name, kind in (
        ("cache_read_tokens", "input_tokens"),
        ("cache_write_tokens", "input_tokens"),
        ("reasoning_tokens", "output_tokens"),
    ):
        unit[name] = unit[kind] if unit[name] is None else unit[name]
    exact = sum(Fraction(getattr(usage, name)) * Fraction(unit[name] or 0) for name in CLASSES) / 10**6
    assert abs(Fraction(cost(usage, price)) - exact) <= Fraction(HALF)


@given(st.sampled_from(CASES), st.integers(min_value=0, max_value=10**7), st.integers(min_value=0, max_value=10**7))
def test_a_longer_input_never_costs_less_across_tiers(case: tuple[str, str, Usage, str], one: int, other: int) -> None:
    def whole(length: int) -> Decimal:
        usage = used(length)
        price = price_for(of(case[1], case[0]), "openai", NOW, usage=usage)
        assert price is not None
        return cost(usage, price)

    assert whole(min(one, other)) <= whole(max(one, other))
