"""The arithmetic of reservations: whole nano-dollars that are never too few."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from aiplat_lab.core.types import Deployment, Message, Price, Request, Usage
from aiplat_lab.policies._worst import input_bound, output_limit, to_nano, to_usd, worst
from aiplat_lab.prices import cost

usd = st.decimals(min_value=0, max_value=500, places=9, allow_nan=False, allow_infinity=False)
tokens = st.integers(min_value=0, max_value=2_000_000)
prices = st.builds(
    Price,
    version=st.just("test"),
    input_usd_per_mtok=usd,
    output_usd_per_mtok=usd,
    cache_read_usd_per_mtok=st.none() | usd,
    cache_write_usd_per_mtok=st.none() | usd,
    reasoning_usd_per_mtok=st.none() | usd,
)


@given(st.integers(min_value=0, max_value=10**18))
def test_nano_and_dollars_are_the_same_money(nano: int) -> None:
    assert to_nano(to_usd(nano)) == nano


@given(st.decimals(min_value=0, max_value=10**6, places=12, allow_nan=False))
def test_rounding_never_loses_a_part(amount: Decimal) -> None:
    assert 0 <= to_usd(to_nano(amount)) - amount < Decimal("0.000000001")


@given(prices, st.text(max_size=200), tokens, st.data())
def test_no_answer_within_its_limit_costs_more_than_was_held(price: Price, text: str, limit: int, data: st.DataObject) -> None:
    request = Request(model="m", messages=(Message("user", text),))
    held = worst(request, [(Deployment(provider="p", model="m"), price)]).nano(limit)
    most = input_bound(request)
    read = data.draw(st.integers(0, most))
    written = data.draw(st.integers(0, most - read))
    reasoned = data.draw(st.integers(0, limit))
    usage = Usage(
        input_tokens=most - read - written,
        cache_read_tokens=read,
        cache_write_tokens=written,
        output_tokens=limit - reasoned,
        reasoning_tokens=reasoned,
    )
    assert to_nano(cost(usage, price)) <= held


@given(st.lists(prices, min_size=1, max_size=4), st.text(max_size=100), st.integers(0, 10**12))
def test_the_limit_that_is_sent_fits_and_one_more_does_not(several: list[Price], text: str, free: int) -> None:
    request = Request(model="m", messages=(Message("user", text),))
    bound = worst(request, [(Deployment(provider="p", model="m"), price) for price in several])
    fits = bound.fitting_tokens(free)
    if fits >= 0 and fits < 2**60:
        assert bound.nano(fits) <= free
        assert bound.nano(fits + 2) > free
    elif fits < 0:
        assert bound.nano(0) > free


@given(st.text())
def test_the_bound_covers_a_token_for_each_byte(text: str) -> None:
    request = Request(model="m", messages=(Message("user", text),))
    assert input_bound(request) >= len(text.encode("utf-8", "replace")) + 8


def test_limits_and_choices() -> None:
    assert output_limit(Request(model="m")) is None
    assert output_limit(Request(model="m", settings={"max_tokens": 7})) == 7
    assert output_limit(Request(model="m", settings={"max_completion_tokens": 7, "n": 3})) == 21


def test_pictures_and_tools_are_not_free() -> None:
    picture = Request(model="m", messages=(Message("user", ({"type": "image_url", "image_url": {"url": "https://x/y.png"}},)),))
    assert input_bound(picture) > 10_000
    tools = Request(model="m", messages=(Message("user", "x"),), settings={"tools": [{"type": "function", "function": {"name": "f"}}]})
    assert input_bound(tools) > 1000


def test_a_context_limits_the_input() -> None:
    request = Request(model="m", messages=(Message("user", "x" * 100_000),))
    price = Price(version="t", input_usd_per_mtok=Decimal(1), output_usd_per_mtok=Decimal(0))
    small = worst(request, [(Deployment(provider="p", model="m", context_tokens=1000), price)])
    assert small.nano(0) == 1_000_000
