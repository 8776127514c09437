"""Views of money: every row is priced again from itself, what is allocated adds up, and savings have reasons."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledgerkit import START, a_call

from aiplat_lab.core.ids import new_id
from aiplat_lab.core.settings import Home
from aiplat_lab.core.types import TOKEN_PARTS, Call, Deployment, Price, Request, Response, Usage
from aiplat_lab.gateway.row import end_row
from aiplat_lab.ledger import Ledger
from aiplat_lab.prices import cost, reprice

# --- a row priced again from itself -----------------------------------------------------------------------------------------

tokens = st.one_of(st.integers(0, 3), st.integers(0, 10**6), st.integers(0, 10**9))
mtok = st.one_of(st.decimals(0, 1000, places=9), st.sampled_from([Decimal(0), Decimal("0.5"), Decimal("2.5"), Decimal("0.000000001")]))
unit = st.decimals(0, 10, places=18)
UNITS = (*TOKEN_PARTS, "web_searches", "requests", "images", "citation_tokens")
usages = st.builds(
    Usage,
    input_tokens=tokens,
    cache_read_tokens=tokens,
    cache_write_tokens=tokens,
    output_tokens=tokens,
    reasoning_tokens=tokens,
    cache_write_1h_tokens=tokens,
    other=st.dictionaries(st.sampled_from(UNITS), st.integers(0, 10**6), max_size=5),
)
prices = st.builds(
    Price,
    version=st.just("genai-prices 0.2.3"),
    input_usd_per_mtok=mtok,
    output_usd_per_mtok=mtok,
    cache_read_usd_per_mtok=st.none() | mtok,
    cache_write_usd_per_mtok=st.none() | mtok,
    reasoning_usd_per_mtok=st.none() | mtok,
    cache_write_1h_usd_per_mtok=st.none() | mtok,
    other_usd=st.dictionaries(st.sampled_from(UNITS), unit, max_size=6),
    discount=st.sampled_from([Decimal(0), Decimal("0.15")]),
)
HERE = Deployment(provider="up", model="m")


def as_row(usage: Usage, price: Price) -> dict[str, Any]:
    """The row that a gateway writes of a call that used so much at that price."""
    from aiplat_lab.core.documents import request_document

    request = Request(model="m")
    call = Call(request=request, started_at=START, ended_at=START, deployment=HERE, attempts=1)
    call.response = Response(text="x", usage=usage, provider="up", finish_reason="stop")
    call.price, call.cost_usd = price, cost(usage, price)
    return end_row(call, request_document(request))[0]


@given(usages, prices)
def test_a_row_costs_by_itself_what_was_booked(usage: Usage, price: Price) -> None:
    row = as_row(usage, price)
    assert reprice(row) == row["cost_usd"]


@pytest.fixture(scope="module")
def filling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    with Ledger.open(Home(tmp_path_factory.mktemp("filling") / "home")) as opened:
        yield opened


@settings(max_examples=5, deadline=None)
@given(pairs=st.lists(st.tuples(usages, prices), min_size=40, max_size=60))
def test_the_ledger_prices_every_row_again_to_the_last_digit(filling: Ledger, pairs: list[tuple[Usage, Price]]) -> None:
    before = filling.view_rows("repriced")[0]["calls"]
    rows = [row for row in (as_row(usage, price) for usage, price in pairs) if row["cost_usd"] < 10**9]
    for row in rows:
        filling.record("call", row)
    summary = filling.view_rows("repriced")[0]
    assert (summary["calls"], summary["repriced"], summary["differ"]) == (before + len(rows), before + len(rows), 0)
    assert filling.view_rows("repriced_differences") == []
    for row in filling.rows("SELECT * FROM calls"):
        assert reprice(row) == row["cost_usd"]


def test_a_half_is_rounded_to_the_even_neighbour(ledger: Ledger) -> None:
    even = {"input_usd_per_mtok": Decimal("0.0005"), "output_usd_per_mtok": Decimal(0), "other_prices_usd": {}, "output_tokens": 0}
    even |= {"cache_read_tokens": 0, "reasoning_tokens": 0}
    for number in (1, 3, 5, 7):  # half a billionth, one and a half, two and a half, …
        usage, price = Usage(input_tokens=number), Price(version="x", input_usd_per_mtok=Decimal("0.0005"), output_usd_per_mtok=Decimal(0))
        ledger.record("call", a_call(**even, input_tokens=number, cost_usd=cost(usage, price)))
    assert [row["cost_usd"] for row in ledger.rows("SELECT cost_usd FROM calls ORDER BY seq")] == [
        Decimal("0E-9"), Decimal("2E-9"), Decimal("2E-9"), Decimal("4E-9"),
    ]  # fmt: skip
    assert ledger.view_rows("repriced")[0]["differ"] == 0


@pytest.fixture
def ledger(tmp_path: Any) -> Iterator[Ledger]:
    with Ledger.open(Home(tmp_path / "home")) as opened:
        yield opened


def test_a_wrong_cost_is_found(ledger: Ledger) -> None:
    right = as_row(
        Usage(input_tokens=1000, output_tokens=10), Price(version="x", input_usd_per_mtok=Decimal("2.5"), output_usd_per_mtok=Decimal(10))
    )
    wrong = {**right, "call_id": new_id(), "cost_usd": right["cost_usd"] + Decimal("0.000000001")}
    bare = a_call(cost_usd=Decimal("1"))  # a cost without unit prices
    unknown = a_call(cost_usd=None, baseline_cost_usd=None, price_version=None)
    never_sent = a_call(cost_usd=Decimal(0), status="refused", attempts=0, input_tokens=None, output_tokens=None, price_version=None)
    for row in (right, wrong, bare, unknown, never_sent):
        ledger.record("call", row)
    summary = ledger.view_rows("repriced")[0]
    assert (summary["calls"], summary["repriced"], summary["differ"]) == (5, 2, 1)
    assert (summary["without_prices"], summary["unpriced_calls"]) == (1, 1)
    assert summary["largest_difference_usd"] == Decimal("0.000000001")
    (found,) = ledger.view_rows("repriced_differences")
    assert (found["call_id"], found["repriced_usd"]) == (wrong["call_id"], right["cost_usd"])
    assert found["difference_usd"] == Decimal("-0.000000001")


def test_the_views_stand_odd_values_of_the_maps(ledger: Ledger) -> None:
    odd = {"input_usd_per_mtok": Decimal(1), "output_usd_per_mtok": Decimal(1)}
    for units, usd in (
        ({"web_searches": "many"}, {"web_searches": "free"}),
        ({"'; DROP": "1"}, {"'; DROP": "1"}),
        ({"": "1"}, {"": "nan"}),
    ):
        ledger.record("call", a_call(**odd, other_units=units, other_prices_usd=usd))
    assert ledger.view_rows("repriced")[0]["repriced"] == 3
    assert ledger.view_rows("charges")


# --- charges, savings, allocation -------------------------------------------------------------------------------------------


def test_charges_name_the_meters(ledger: Ledger) -> None:
    usage = Usage(
        input_tokens=1000, cache_read_tokens=100, cache_write_tokens=50, cache_write_1h_tokens=20, output_tokens=30, reasoning_tokens=7,
        other={"input_audio_tokens": 400, "web_searches": 2, "input_image_tokens": 5},
    )  # fmt: skip
    price = Price(
        version="x", input_usd_per_mtok=Decimal(2), output_usd_per_mtok=Decimal(8), cache_read_usd_per_mtok=Decimal("0.2"),
        cache_write_usd_per_mtok=Decimal("2.5"), cache_write_1h_usd_per_mtok=Decimal(4),
        other_usd={"input_audio_tokens": Decimal("0.00001"), "web_searches": Decimal("0.01"), "requests": Decimal("0.005")},
    )  # fmt: skip
    ledger.record("call", as_row(usage, price))
    rows = {row["meter"]: (row["quantity"], row["exact_usd"]) for row in ledger.view_rows("charges")}
    assert rows == {
        "input_tokens": (600, Decimal("0.0012")),  # 1000 less 400 of sound; pictures have no price of their own
        "input_audio_tokens": (400, Decimal("0.004")),
        "cache_read_tokens": (100, Decimal("0.00002")),
        "cache_write_tokens": (30, Decimal("0.000075")),
        "cache_write_1h_tokens": (20, Decimal("0.00008")),
        "output_tokens": (30, Decimal("0.00024")),
        "reasoning_tokens": (7, Decimal("0.000056")),
        "web_searches": (2, Decimal("0.02")),
        "requests": (1, Decimal("0.005")),
    }
    assert sum(usd for _, usd in rows.values()) == cost(usage, price)


def test_savings_have_a_reason(ledger: Ledger) -> None:
    one, two = Decimal("0.01"), Decimal("0.02")
    for more in (
        {"cache": "hit", "cost_usd": Decimal(0), "baseline_cost_usd": one},
        {"service_tier": "batch", "cost_usd": one, "baseline_cost_usd": two},
        {"service_tier": "flex", "cost_usd": one, "baseline_cost_usd": two},
        {"cost_usd": one, "baseline_cost_usd": two},
        {"cost_usd": two, "baseline_cost_usd": one},  # a fallback to a dearer one
        {"cost_usd": one, "baseline_cost_usd": one},
        {"cost_usd": None, "baseline_cost_usd": two},
    ):
        ledger.record("call", a_call(**more))
    found = {row["reason"]: (row["calls"], row["saved_usd"]) for row in ledger.view_rows("savings")}
    assert found == {"cache": (1, one), "batch": (1, one), "tier": (1, one), "routing": (2, Decimal(0))}
    assert sum(usd for _, usd in found.values()) == ledger.view_rows("totals")[0]["saved_usd"]


def test_every_way_to_allocate_adds_up_to_all_calls(ledger: Ledger) -> None:
    dice = random.Random(7)
    for number in range(300):
        tags = {key: dice.choice(["a", "b", ""]) for key in ("stage", "client", "odd ' name") if dice.random() < 0.5}
        ledger.record(
            "call",
            a_call(
                team=dice.choice(["risk", "claims", None, ""]), project=dice.choice(["p", None]), user_id=dice.choice(["u", "v", None]),
                cost_centre=dice.choice(["CC-1", None]), notebook=dice.choice([None, "n.ipynb"]), tags=tags,
                cost_usd=None if number % 17 == 0 else Decimal(dice.randrange(10**9)).scaleb(-9),
            ),
        )  # fmt: skip
    totals = ledger.view_rows("totals")[0]
    groups: dict[tuple[str, str | None], list[dict[str, Any]]] = {}
    for row in ledger.view_rows("allocation"):
        groups.setdefault((row["by"], row["tag"]), []).append(row)
    assert {by for by, _ in groups} == {
        "team",
        "project",
        "cost_centre",
        "user",
        "notebook",
        "key",
        "prompt",
        "surface",
        "model",
        "provider",
        "tag",
    }
    assert {tag for by, tag in groups if by == "tag"} == {"stage", "client", "odd ' name"}
    for rows in groups.values():
        for measure in ("calls", "cost_usd", "unpriced_calls"):
            assert sum(row[measure] for row in rows) == totals[measure]
        assert sum(row["share"] for row in rows) == pytest.approx(1)
        assert sum(row["name"] is None for row in rows) <= 1
    (asked,) = {(row["by"], row["tag"]) for row in ledger.view_rows("allocation", {"by": "tag", "tag": "stage", "team": ["risk", ""]})}
    assert asked == ("tag", "stage")
    assert ledger.view_rows("allocation", {"by": "planet"}) == []


def test_an_empty_ledger_has_no_costs(ledger: Ledger) -> None:
    assert ledger.view_rows("allocation") == [] or all(row["calls"] == 0 for row in ledger.view_rows("allocation"))
    assert ledger.view_rows("savings") == []
    assert ledger.view_rows("repriced")[0]["calls"] == 0


def test_the_demo_ledger_is_priced_again_too(tmp_path: Any) -> None:
    from aiplat_lab.ledger.demo import build_demo

    home = Home(tmp_path / "demo")
    build_demo(home, calls=400, days=20)
    with Ledger.open(home) as opened:
        summary = opened.view_rows("repriced")[0]
    assert summary["repriced"] > 100
    assert (summary["differ"], summary["without_prices"]) == (0, 0)


def test_a_price_of_the_day_the_call_began(ledger: Ledger) -> None:
    """Two calls around a change of price keep their own."""
    for usd, day in (("10", 9), ("2", 10)):
        price = Price(version="x", input_usd_per_mtok=Decimal(usd), output_usd_per_mtok=Decimal(1))
        row = as_row(Usage(input_tokens=1_000_000), price)
        ledger.record("call", {**row, "call_id": new_id(), "started_at": datetime(2025, 6, day, 23, 59, tzinfo=UTC)})
    assert [row["cost_usd"] for row in ledger.rows("SELECT cost_usd FROM calls ORDER BY seq")] == [Decimal(10), Decimal(2)]
    assert ledger.view_rows("repriced")[0]["differ"] == 0


def test_units_of_a_price_that_were_not_used_do_not_lengthen_the_row() -> None:
    price = Price(version="x", input_usd_per_mtok=Decimal(1), output_usd_per_mtok=Decimal(1), other_usd={"web_searches": Decimal("0.01")})
    assert as_row(Usage(input_tokens=1), price)["other_prices_usd"] == {}
    assert as_row(replace(Usage(input_tokens=1), other={"web_searches": 1}), price)["other_prices_usd"] == {"web_searches": "0.01"}
