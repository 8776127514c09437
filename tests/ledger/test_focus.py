"""The export in FOCUS columns: what the specification demands is there, and the sums are the ledger's."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from ledgerkit import START, a_call

from aiplat_lab.core.documents import request_document
from aiplat_lab.core.errors import LedgerError
from aiplat_lab.core.ids import new_id
from aiplat_lab.core.settings import Home
from aiplat_lab.core.types import Call, Deployment, Price, Request, Response, Usage
from aiplat_lab.gateway.row import end_row
from aiplat_lab.ledger import Ledger
from aiplat_lab.ledger.focus import COLUMNS, FOCUS_VERSION
from aiplat_lab.prices import cost

# columns that version 1.3 of the specification demands of every data set, or of one with usage, list prices and sub-accounts
DEMANDED = (
    "BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency", "BillingPeriodEnd", "BillingPeriodStart", "ChargeCategory",
    "ChargeClass", "ChargeDescription", "ChargePeriodEnd", "ChargePeriodStart", "ConsumedQuantity", "ConsumedUnit", "ContractedCost",
    "ContractedUnitPrice", "EffectiveCost", "HostProviderName", "InvoiceIssuerName", "ListCost", "ListUnitPrice", "PricingCategory",
    "PricingQuantity", "PricingUnit", "ProviderName", "PublisherName", "RegionId", "ResourceId", "ServiceCategory", "ServiceName",
    "ServiceProviderName", "ServiceSubcategory", "SkuId", "SkuMeter", "SkuPriceDetails", "SkuPriceId", "SubAccountId", "Tags",
)  # fmt: skip


def row_of(usage: Usage, price: Price, **more: Any) -> dict[str, Any]:
    request = Request(model="fast")
    deployment = Deployment(provider="up", model="m")
    call = Call(request=request, started_at=START, ended_at=START + timedelta(seconds=2), deployment=deployment, attempts=1)
    call.response = Response(text="x", usage=usage, provider="up", region="uk", response_model="m-1", finish_reason="stop")
    call.price, call.cost_usd = price, cost(usage, price)
    return {**end_row(call, request_document(request))[0], **more}


PRICE = Price(
    version="aiplat.toml#0123abcd on genai-prices 0.2.3",
    input_usd_per_mtok=Decimal("2.125"),
    output_usd_per_mtok=Decimal("8.5"),
    cache_read_usd_per_mtok=Decimal("0.2125"),
    other_usd={"web_searches": Decimal("0.0085")},
    discount=Decimal("0.15"),
)


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    dice = random.Random(11)
    with Ledger.open(Home(tmp_path_factory.mktemp("focus") / "home")) as opened:
        for number in range(400):
            usage = Usage(
                input_tokens=dice.randrange(5000), cache_read_tokens=dice.randrange(3000), output_tokens=dice.randrange(900),
                reasoning_tokens=dice.randrange(100), other={"web_searches": dice.randrange(3)},
            )  # fmt: skip
            price = replace(PRICE, input_usd_per_mtok=Decimal(dice.randrange(10**9)).scaleb(-8))
            tags = {"stage": "pro'd", "ü": '"x",\ny'} if number % 3 else {}
            opened.record("call", row_of(usage, price, call_id=new_id(), team=dice.choice(["risk", None, "=1+1"]), tags=tags))
        opened.record("call", a_call(cost_usd=Decimal("0.25")))  # without unit prices
        opened.record("call", a_call(cost_usd=None, price_version=None))  # nobody knows
        opened.record("call", a_call(cost_usd=Decimal(0), cache="hit"))
        opened.record("call", a_call(cost_usd=Decimal(0), status="refused", attempts=0, input_tokens=None, output_tokens=None))
        yield opened


def read(path: Path) -> list[dict[str, Any]]:
    con = duckdb.connect()
    how = f"read_csv('{path}', all_varchar=true)" if path.suffix == ".csv" else f"read_parquet('{path}')"
    result = con.execute(f"SELECT * FROM {how}")
    names = [column[0] for column in result.description]
    return [dict(zip(names, values, strict=True)) for values in result.fetchall()]


@pytest.mark.parametrize("name", ["focus.csv", "focus.parquet"])
def test_the_sums_are_those_of_the_ledger(ledger: Ledger, tmp_path: Path, name: str) -> None:
    made = ledger.export(tmp_path / name, format="focus")
    rows = read(tmp_path / name)
    assert (len(rows), made["unpriced_calls"]) == (made["rows"], 1)
    per_call: dict[str, Decimal] = {}
    for row in rows:
        assert row["BilledCost"] == row["EffectiveCost"]
        per_call[row["x_CallId"]] = per_call.get(row["x_CallId"], Decimal(0)) + Decimal(row["BilledCost"])
    paid = ledger.rows("SELECT call_id::VARCHAR AS call_id, cost_usd FROM calls WHERE cost_usd <> 0")
    booked = {row["call_id"]: row["cost_usd"] for row in paid}
    assert {call: usd for call, usd in per_call.items() if usd} == booked
    assert sum(per_call.values()) == ledger.view_rows("totals")[0]["cost_usd"]


def test_every_row_has_what_the_specification_demands(ledger: Ledger, tmp_path: Path) -> None:
    assert set(DEMANDED) <= set(COLUMNS)
    own = [name.startswith("x_") for name in COLUMNS]
    assert own == sorted(own), "the specification's columns stand before our own"
    ledger.export(tmp_path, format="focus")
    rows = read(tmp_path / "focus.parquet")
    may_be_null = {"ChargeClass", "RegionId", "SubAccountId"}
    for row in rows:
        assert all(row[name] is not None for name in DEMANDED if name not in may_be_null)
        assert row["BilledCost"] >= 0
        assert row["ContractedCost"] == row["ContractedUnitPrice"] * row["PricingQuantity"]
        assert row["ListCost"] == pytest.approx(row["ListUnitPrice"] * row["PricingQuantity"], abs=Decimal("1e-15"))
        assert row["ListCost"] >= row["ContractedCost"]
        assert row["ChargePeriodStart"] < row["ChargePeriodEnd"]
        assert row["BillingPeriodStart"] <= row["ChargePeriodStart"] < row["BillingPeriodEnd"]
        json.loads(row["Tags"]), json.loads(row["SkuPriceDetails"])
    con = duckdb.connect()
    meta = dict(con.execute(f"SELECT key, value FROM parquet_kv_metadata('{tmp_path}/focus.parquet')").fetchall())
    assert meta[b"focus_version"] == FOCUS_VERSION.encode()


def test_one_call_by_hand(tmp_path: Path) -> None:
    with Ledger.open(Home(tmp_path / "home")) as ledger:
        usage = Usage(input_tokens=1000, output_tokens=100, other={"web_searches": 2})
        ledger.record("call", row_of(usage, PRICE, team="risk", project="churn", service_tier="flex"))
        ledger.export(tmp_path / "one.parquet", format="focus")
    rows = {row["SkuMeter"]: row for row in read(tmp_path / "one.parquet")}
    assert {name: row["BilledCost"] for name, row in rows.items()} == {
        "input tokens": Decimal("0.002125"), "output tokens": Decimal("0.00085"), "web searches": Decimal("0.017"),
    }  # fmt: skip
    tokens, searches = rows["input tokens"], rows["web searches"]
    assert (tokens["ConsumedQuantity"], tokens["ConsumedUnit"]) == (1000, "Tokens")
    assert (tokens["PricingQuantity"], tokens["PricingUnit"]) == (Decimal("0.001"), "1000000 Tokens")
    assert (tokens["ListUnitPrice"], tokens["ContractedUnitPrice"]) == (Decimal("2.5"), Decimal("2.125"))
    assert (searches["ConsumedUnit"], searches["ListUnitPrice"], searches["ListCost"]) == ("Web Searches", Decimal("0.01"), Decimal("0.02"))
    assert (tokens["SubAccountId"], tokens["x_Project"], tokens["SkuId"]) == ("risk", "churn", "up/m-1/input_tokens/flex")


def test_what_an_export_refuses(ledger: Ledger, tmp_path: Path) -> None:
    for path, format, said in (
        (tmp_path / "x.xlsx", "focus", ".csv or .parquet"),
        (tmp_path / "x.parquet", "fokus", "parquet or focus"),
    ):
        with pytest.raises(LedgerError, match=said):
            ledger.export(path, format=format)
    (tmp_path / "there.csv").write_text("")
    with pytest.raises(LedgerError, match="there already"):
        ledger.export(tmp_path / "there.csv", format="focus")


def test_an_empty_period_has_a_heading_and_no_rows(ledger: Ledger, tmp_path: Path) -> None:
    made = ledger.export(tmp_path / "none.csv", "2030-01-01", None, format="focus")
    assert made["rows"] == 0
    assert (tmp_path / "none.csv").read_text().strip() == ",".join(COLUMNS)
