"""The canonical text of a row: what is hashed, and what a database gives back."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledgerkit import a_call

from aiplat_lab.core.errors import LedgerError
from aiplat_lab.core.settings import Home
from aiplat_lab.core.types import canonical_json
from aiplat_lab.ledger import CALL_COLUMNS, Ledger
from aiplat_lab.ledger.rows import REPLACED, prepare_call, prepare_record

TEXT = st.text(alphabet=st.characters(codec="utf-8"), max_size=30)
MONEY = st.decimals(min_value=Decimal("-1000"), max_value=Decimal("100000000"), places=9)
TIMES = st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC))
ROWS = st.fixed_dictionaries(
    {"started_at": TIMES},
    optional={
        "ended_at": TIMES,
        "team": TEXT,
        "notebook": TEXT,
        "error_message": TEXT,
        "input_tokens": st.integers(-(2**63), 2**63 - 1),
        "cost_usd": MONEY,
        "latency_s": st.floats(0, 1e6),
        "queued_s": st.floats(0, 1),
        "stream": st.booleans(),
        "flags": st.lists(TEXT, max_size=3),
        "tags": st.dictionaries(TEXT, TEXT, max_size=3),
    },
)


@given(ROWS)
def test_the_text_is_canonical_json(values: dict[str, Any]) -> None:
    text = prepare_call({**a_call(), **values}).chained(12, "ab" * 32)
    parsed = json.loads(text)
    assert text == canonical_json(parsed)
    assert parsed["kind"] == "call" and parsed["seq"] == 12 and parsed["prev_hash"] == "ab" * 32
    assert None not in parsed.values()


@given(st.dictionaries(st.sampled_from(["id", "name", "models", "text"]), st.one_of(TEXT, st.integers(), st.lists(TEXT, max_size=2))))
def test_the_text_of_a_record_is_canonical_json(row: dict[str, Any]) -> None:
    text = prepare_record("key", row, at=datetime(2026, 1, 1, tzinfo=UTC)).chained(1, "00" * 32)
    assert text == canonical_json(json.loads(text))
    assert json.loads(json.loads(text)["data"]) == {key: value for key, value in row.items() if value is not None}


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(ROWS, min_size=1, max_size=12))
def test_a_database_gives_back_what_was_hashed(home: Home, rows: list[dict[str, Any]]) -> None:
    with Ledger.open(home) as ledger:
        for row in rows:
            ledger.record("call", {**a_call(), **row})
            ledger.record("note", {"id": "n", "text": row.get("team", "")})
        found = ledger.verify()
    assert found.ok, found


def test_an_unknown_value_and_a_missing_one_are_the_same() -> None:
    row = a_call(call_id="01a20a4f-4774-732f-9cfc-d440a04bd892")
    assert prepare_call({**row, "variant": None, "tags": {}, "flags": []}) == prepare_call(
        {key: value for key, value in row.items() if key not in ("variant", "tags", "flags")}
    )


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("cost_usd", Decimal("0.00123"), "0.001230000"),
        ("cost_usd", Decimal("-0"), "0.000000000"),
        ("cost_usd", "1.5", "1.500000000"),
        ("latency_s", 1.23456789, "1.234568"),
        ("latency_s", Decimal("0.5"), "0.500000"),
        ("started_at", datetime(2026, 1, 2, 3, tzinfo=timezone(timedelta(hours=2))), "2026-01-02T01:00:00.000000Z"),
        ("started_at", "2026-01-02T03:04:05Z", "2026-01-02T03:04:05.000000Z"),
        ("call_id", "01A20A4F-4774-732F-9CFC-D440A04BD892", "01a20a4f-4774-732f-9cfc-d440a04bd892"),
    ],
)
def test_one_value_has_one_text(name: str, value: Any, text: str) -> None:
    assert json.loads(prepare_call(a_call() | {name: value}).plain())[name] == text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("call_id", "not-an-id"),
        ("started_at", datetime(2026, 1, 1)),
        ("cost_usd", Decimal("NaN")),
        ("cost_usd", "cheap"),
        ("latency_s", float("inf")),
        ("input_tokens", "many"),
        ("tags", "a=b"),
    ],
)
def test_a_value_that_does_not_fit_names_its_column(name: str, value: Any) -> None:
    with pytest.raises(LedgerError, match=name):
        prepare_call(a_call(started_at=datetime(2026, 1, 1, tzinfo=UTC)) | {name: value})


def test_an_unknown_column_offers_the_nearest() -> None:
    with pytest.raises(LedgerError, match=r"cost_usdd.*Did you mean cost_usd"):
        prepare_call(a_call(cost_usdd=1))
    with pytest.raises(LedgerError, match="needs call_id"):
        prepare_call({"team": "risk"})


def test_a_lone_surrogate_is_replaced_and_flagged() -> None:
    row = json.loads(prepare_call(a_call(error_message="bad \ud800 text", tags={"k\udfff": "v"}, flags=["x"])).plain())
    assert row["error_message"] == "bad ? text" and row["tags"] == {"k?": "v"}
    assert row["flags"] == ["x", REPLACED]


def test_the_columns_are_those_of_the_contract() -> None:
    assert list(CALL_COLUMNS)[:4] == ["call_id", "parent_id", "started_at", "ended_at"]
    assert list(CALL_COLUMNS)[-3:] == ["seq", "prev_hash", "hash"]
    assert CALL_COLUMNS["cost_usd"] == "DECIMAL(18,9)" and CALL_COLUMNS["tags"] == "MAP(VARCHAR, VARCHAR)"
