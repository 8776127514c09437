"""The local price book: each mistake is one sentence that names the entry, and the most specific and latest entry counts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiplat_lab.core.errors import ConfigError
from aiplat_lab.core.settings import parse
from aiplat_lab.core.types import Deployment, Price, Usage
from aiplat_lab.prices import Prices, cost

NOW = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
HOSTS = '[providers.up]\nkind = "openai"\nbase_url = "http://127.0.0.1:9/v1"\n[providers.openai]\nkind = "openai"\n'


def entry(**values: object) -> str:
    text = {name: f'"{value}"' if isinstance(value, str) else str(value) for name, value in values.items()}
    return "[[prices]]\n" + "".join(f"{name} = {value}\n" for name, value in text.items())


PRICED = {"input_usd_per_mtok": 1, "output_usd_per_mtok": 2}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (entry(model="gpt*"), "prices[0] (model 'gpt*') has no price and no discount"),
        (entry(model="", **PRICED), "names no model"),
        (entry(model="m", discount=1.5), "discount is 1.5; it is a share between 0 and 1"),
        (entry(model="m", discount=-0.1), "prices[0].discount must be a number of 0 or more"),
        (entry(model="m", discount="all"), "prices[0].discount must be a number"),
        (entry(model="m", since="tomorrow", **PRICED), "since is 'tomorrow', which is not a day"),
        (entry(model="m", since="2026-02-30", **PRICED), "since is '2026-02-30', which is not a day"),
        (entry(model="m", since="20260201", **PRICED), "which is not a day"),
        (entry(model="m", until="2026-1-1", **PRICED), "until is '2026-1-1', which is not a day"),
        (entry(model="m", since="2026-03-01", until="2026-03-01", **PRICED), "ends on 2026-03-01, before it begins on 2026-03-01"),
        (entry(model="m", provider="nobody", **PRICED), "names the provider 'nobody', which is not set up"),
        (entry(model="m", **PRICED) * 2, "prices[1] (model 'm') speaks of the same calls from the same day as prices[0]"),
        (entry(model="m", **PRICED) + entry(model="M", until="2026-01-01", discount=0.5), "prices[1] (model 'M') speaks of the same calls"),
        (entry(model="m", input_usd_per_mtok="free"), "prices[0].input_usd_per_mtok must be a number"),
        (entry(model="m", input_usd_per_mtok=20_000_000, output_usd_per_mtok=1), "no price is above 10,000,000 US dollars"),
        (entry(model="m", input_usd_per_mtok="nan").replace('"nan"', "nan"), "must be a number of 0 or more"),
        (entry(model="m") + 'other_usd = { "web searches" = 1 }', "'web searches' is no unit"),
        (entry(model="m") + "other_usd = { discount = 1 }", "'discount' is no unit"),
        (entry(model="m") + "other_usd = { images = -1 }", "other_usd.images must be a number of 0 or more"),
        (entry(model="m", modell="x"), "there is no setting 'modell'. Did you mean model"),
        (entry(input_usd_per_mtok=1), "the setting 'model' is missing"),
        ('[models.x]\ndeployments = [{ provider = "up", model = "m", input_usd_per_mtok = 1 }]', "without output_usd_per_mtok"),
        ('[models.x]\ndeployments = [{ provider = "up", model = "m", cache_read_usd_per_mtok = 1 }]', "write 0 where it is free"),
    ],
)
def test_a_mistake_names_the_entry(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(HOSTS + text)
    assert said in caught.value.message
    assert "aiplat.toml" in caught.value.message
    assert "\n" not in caught.value.message


def of(text: str, model: str = "m", *, provider: str = "up", region: str = "", at: datetime = NOW, tier: str = "") -> Price | None:
    return Prices(parse(HOSTS + text)).of(Deployment(provider=provider, model=model, region=region), at, tier=tier)


def usd(price: Price | None) -> Decimal | None:
    return None if price is None else price.input_usd_per_mtok


def test_the_most_specific_entry_counts_and_then_the_latest() -> None:
    book = (
        entry(model="*", input_usd_per_mtok=1, output_usd_per_mtok=1)
        + entry(model="tuned-*", input_usd_per_mtok=2, output_usd_per_mtok=1)
        + entry(model="tuned-*", provider="up", input_usd_per_mtok=3, output_usd_per_mtok=1)
        + entry(model="tuned-*", provider="up", region="uk", input_usd_per_mtok=4, output_usd_per_mtok=1)
        + entry(model="tuned-7b", input_usd_per_mtok=5, output_usd_per_mtok=1)
        + entry(model="tuned-7b", since="2026-01-01", input_usd_per_mtok=6, output_usd_per_mtok=1)
        + entry(model="tuned-7b", since="2026-11-01", until="2026-11-10", input_usd_per_mtok=7, output_usd_per_mtok=1)
    )
    assert usd(of(book, "other")) == 1
    assert usd(of(book, "tuned-x", provider="openai")) == 2
    assert usd(of(book, "tuned-x")) == 3
    assert usd(of(book, "tuned-x", region="uk")) == 4
    assert usd(of(book, "tuned-7b", at=NOW.replace(year=2025))) == 5
    assert usd(of(book, "tuned-7b", at=NOW.replace(month=5))) == 6
    assert usd(of(book, "TUNED-7B")) == 7
    assert usd(of(book, "tuned-7b", at=NOW.replace(day=10))) == 6


@pytest.mark.parametrize(
    ("at", "price"),
    [
        (datetime(2026, 2, 28, 23, 59, 59, 999_999, tzinfo=UTC), None),
        (datetime(2026, 3, 1, tzinfo=UTC), Decimal(1)),
        (datetime(2026, 3, 31, 23, 59, 59, 999_999, tzinfo=UTC), Decimal(1)),
        (datetime(2026, 4, 1, tzinfo=UTC), None),
    ],
)
def test_an_entry_holds_from_its_first_day_to_before_its_last(at: datetime, price: Decimal | None) -> None:
    book = Prices(parse(HOSTS + entry(model="m", since="2026-03-01", until="2026-04-01", **PRICED)))
    for shift in (0, 3, -3):  # the same moment in another zone is the same moment
        from datetime import timezone

        assert usd(book.of(Deployment(provider="up", model="m"), at.astimezone(timezone(timedelta(hours=shift))))) == price


def test_a_tier_has_entries_of_its_own() -> None:
    book = entry(model="m", **PRICED) + entry(model="m", service_tier="flex", input_usd_per_mtok=0.5, output_usd_per_mtok=1)
    assert (usd(of(book)), usd(of(book, tier="flex")), usd(of(book, tier="default"))) == (1, Decimal("0.5"), 1)
    assert of(book, tier="priority") is None
    assert usd(of(book + entry(model="m", service_tier="*", discount=0.1, **PRICED), tier="priority")) == Decimal("0.9")
    listed = entry(model="gpt-5", provider="openai", service_tier="*", discount=0.1)
    assert usd(of(listed, "gpt-5", provider="openai", tier="flex")) == Decimal("0.5625")


def test_half_a_price_is_unknown_where_the_list_has_none() -> None:
    assert of(entry(model="m", output_usd_per_mtok=2)) is None
    assert of(entry(model="m", discount=0.5)) is None
    half = Prices(parse(HOSTS + entry(model="m", input_usd_per_mtok=2)))
    here = Deployment(provider="up", model="m")
    assert usd(half.of(here, NOW, usage=Usage(input_tokens=5))) == 2  # such as an embedding
    assert half.of(here, NOW, usage=Usage(input_tokens=5, output_tokens=1)) is None


def test_a_free_model_costs_nothing_and_a_full_discount_too() -> None:
    usage = Usage(input_tokens=10**9, output_tokens=10**9)
    for book, model, provider in (
        (entry(model="m", input_usd_per_mtok=0, output_usd_per_mtok=0), "m", "up"),
        (entry(model="gpt-4o", discount=1), "gpt-4o", "openai"),
    ):
        price = of(book, model, provider=provider)
        assert price is not None
        assert cost(usage, price) == 0


def test_units_that_the_deployments_own_price_lacks_come_from_the_price_book() -> None:
    text = '[models.x]\ndeployments = [{ provider = "up", model = "m", input_usd_per_mtok = 1, output_usd_per_mtok = 2 }]\n'
    settings = parse(HOSTS + text + entry(model="m", input_usd_per_mtok=9) + "other_usd = { images = 0.04 }")
    (deployment,) = settings.deployments("x")
    price = Prices(settings).of(deployment, NOW, usage=Usage(input_tokens=1_000_000, other={"images": 2}))
    assert price is not None
    assert cost(Usage(input_tokens=1_000_000, other={"images": 2}), price) == Decimal("1.08")


@given(st.decimals(0, 1, places=6), st.integers(0, 10**7), st.integers(0, 10**7))
def test_a_discount_never_makes_dearer(share: Decimal, into: int, out: int) -> None:
    usage = Usage(input_tokens=into, output_tokens=out)
    whole = of("", "gpt-4o", provider="openai")
    less = of(f'[[prices]]\nmodel = "gpt-4o"\ndiscount = {share:f}\n' if share else "", "gpt-4o", provider="openai")
    assert whole is not None
    assert less is not None
    assert 0 <= cost(usage, less) <= cost(usage, whole)


def test_more_prices_than_are_kept_in_memory() -> None:
    prices = Prices(parse(HOSTS + entry(model="*", **PRICED)))
    for number in range(5000):
        assert prices.of(Deployment(provider="up", model=f"m{number}"), NOW) is not None
    assert len(prices._kept) <= 4096
