"""The named views: what each gives, and what filters do."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars
import pytest
from ledgerkit import START, a_call

from aiplat_lab.core.errors import LedgerError
from aiplat_lab.core.settings import Home
from aiplat_lab.ledger import CALL_COLUMNS, FILTERS, VIEWS, Ledger

USD = Decimal("0.001")
CALLS: tuple[dict[str, Any], ...] = (
    {"team": "risk", "request_model": "fast", "cost_usd": 3 * USD, "baseline_cost_usd": 3 * USD, "latency_s": 1.0},
    {"team": "risk", "request_model": "fast", "cost_usd": Decimal(0), "baseline_cost_usd": 3 * USD, "cache": "hit", "latency_s": 0.1},
    {"team": "claims", "request_model": "careful", "cost_usd": 5 * USD, "baseline_cost_usd": 5 * USD, "project": "fraud", "latency_s": 2.0},
    {"team": None, "request_model": "own", "cost_usd": None, "baseline_cost_usd": None, "user_id": None, "latency_s": 3.0},
    {"team": "risk", "status": "refused", "policy": "budget", "error_type": "budget_exceeded", "attempts": 0, "cost_usd": None},
    {"team": "claims", "status": "error", "error_type": "timeout", "error_message": "too slow", "cost_usd": None, "input_tokens": None,
     "cache_read_tokens": None, "cache_write_tokens": None, "output_tokens": None, "reasoning_tokens": None},
    {"team": "claims", "status": "cancelled", "error_type": "cancelled", "cost_usd": 1 * USD, "baseline_cost_usd": 1 * USD},
)  # fmt: skip


def _rows() -> list[dict[str, Any]]:
    found = []
    for number, values in enumerate(CALLS):
        row = a_call(started_at=START + timedelta(days=number // 2, hours=number), prompt_name="hello" if number % 2 else None, **values)
        if row["status"] != "ok":
            row |= {"baseline_cost_usd": values.get("baseline_cost_usd"), "finish_reason": None, "cache": "off"}
        found.append(row | {"request_hash": f"{number:064x}", "response_hash": f"{number + 100:064x}" if row["status"] == "ok" else None})
    return found


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    with Ledger.open(Home(tmp_path_factory.mktemp("views") / "home")) as opened:
        for row in _rows():
            opened.record("call", row)
        yield opened


def _by(ledger: Ledger, view: str, column: str, **filters: Any) -> dict[Any, dict[str, Any]]:
    return {row[column]: row for row in ledger.view_rows(view, filters)}


def test_totals(ledger: Ledger) -> None:
    (row,) = ledger.view_rows("totals")
    assert [row[name] for name in ("calls", "answered", "refused", "errors", "cancelled", "cache_hits", "unpriced_calls")] == [
        7,
        4,
        1,
        1,
        1,
        1,
        1,
    ]
    assert row["cost_usd"] == 9 * USD and row["saved_usd"] == 3 * USD
    assert row["input_tokens"] == 6 * 130 and row["output_tokens"] == 6 * 45
    assert row["latency_p50_s"] == pytest.approx(1.5) and row["latency_p95_s"] == pytest.approx(2.85)
    assert row["first_call_at"] == START and row["last_call_at"] == START + timedelta(days=3, hours=6)


def test_totals_of_nothing(ledger: Ledger) -> None:
    (row,) = ledger.view_rows("totals", {"team": "nobody"})
    assert row["calls"] == 0 and row["cost_usd"] == 0 and row["latency_p50_s"] is None and row["first_call_at"] is None


def test_what_is_not_known_is_not_zero(ledger: Ledger) -> None:
    assert _by(ledger, "spend_by_team", "team")[None]["cost_usd"] is None
    (row,) = ledger.view_rows("totals", {"status": "error"})
    assert row["cost_usd"] is None and row["errors"] == 1
    (refused,) = ledger.view_rows("totals", {"status": "refused"})
    assert refused["cost_usd"] == 0  # nothing was sent


def test_spend_by_names(ledger: Ledger) -> None:
    teams = _by(ledger, "spend_by_team", "team")
    assert list(teams) == ["claims", "risk", None]
    assert (teams["risk"]["cost_usd"], teams["risk"]["calls"], teams["risk"]["cache_hits"], teams["risk"]["saved_usd"]) == (
        3 * USD,
        3,
        1,
        3 * USD,
    )
    assert (teams["claims"]["cost_usd"], teams["claims"]["errors"]) == (6 * USD, 1)
    models = _by(ledger, "spend_by_model", "model")
    assert set(models) == {"fast", "careful", "own"} and models["fast"]["latency_p95_s"] == pytest.approx(0.955)
    assert _by(ledger, "spend_by_project", "project")["fraud"]["cost_usd"] == 5 * USD
    assert _by(ledger, "spend_by_user", "user_id")[None]["calls"] == 1
    for name in ("spend_by_team", "spend_by_project", "spend_by_model", "spend_by_user"):
        assert sum(row["calls"] for row in ledger.view_rows(name)) == 7


def test_spend_by_day(ledger: Ledger) -> None:
    rows = ledger.view_rows("spend_by_day")
    assert [row["day"] for row in rows] == sorted(row["day"] for row in rows)
    assert rows[0]["day"] == date(2026, 5, 1) and rows[0]["team"] == "risk" and rows[0]["calls"] == 2
    assert sum(row["calls"] for row in ledger.view_rows("spend_by_day_model")) == 7


def test_errors_by_type(ledger: Ledger) -> None:
    rows = _by(ledger, "errors_by_type", "error_type")
    assert set(rows) == {"budget_exceeded", "timeout", "cancelled"}
    assert rows["timeout"]["message"] == "too slow" and rows["budget_exceeded"]["policy"] == "budget"
    assert ledger.view_rows("call", {"call_id": rows["timeout"]["example_call_id"]})[0]["error_type"] == "timeout"


def test_recent_calls_are_newest_first_and_counted_whole(ledger: Ledger) -> None:
    rows = ledger.view_rows("recent_calls")
    assert [row["started_at"] for row in rows] == sorted((row["started_at"] for row in rows), reverse=True)
    assert rows[-1]["input_tokens"] == 130 and rows[-1]["output_tokens"] == 45
    assert _by(ledger, "recent_calls", "status")["error"]["input_tokens"] is None
    page = [row["call_id"] for row in ledger.view_rows("recent_calls", {"limit": 2, "offset": 2})]
    assert page == [row["call_id"] for row in rows][2:4]
    assert ledger.view_rows("recent_calls", {"limit": 0}) == []


def test_one_call_has_every_column(ledger: Ledger) -> None:
    chosen = ledger.view_rows("recent_calls")[2]["call_id"]
    (row,) = ledger.view_rows("call", {"call_id": chosen})
    assert list(row) == list(CALL_COLUMNS)
    (same,) = ledger.rows("SELECT * FROM calls WHERE call_id = $1", [chosen])
    assert same == row and len(row["prev_hash"]) == 64
    assert ledger.view_rows("call", {"call_id": "not an id"}) == []
    assert ledger.view_rows("call", {"call_id": chosen[:-1] + ("0" if chosen[-1] != "0" else "1")}) == []
    with pytest.raises(LedgerError, match="needs call_id"):
        ledger.view_rows("call")


def test_filter_values(ledger: Ledger) -> None:
    rows = {(row["kind"], row["value"]): row["calls"] for row in ledger.view_rows("filter_values")}
    assert rows["team", "risk"] == 3 and rows["team", None] == 1 and rows["model", "own"] == 1
    assert rows["status", "ok"] == 4 and rows["surface", "magic"] == 7 and rows["project", "fraud"] == 1 and rows["user_id", "ada"] == 6


def test_the_cache_index_holds_what_may_be_given_again(ledger: Ledger) -> None:
    rows = ledger.view_rows("cache_index", {"limit": 10})
    assert [row["request_hash"][-1] for row in rows] == ["3", "2", "0"]  # answered, no hit, newest first
    assert rows[0]["response_hash"] and rows[0]["ended_at"].tzinfo is not None
    assert len(ledger.view_rows("cache_index", {"since": START + timedelta(days=1)})) == 2


def test_spend_by_scope(ledger: Ledger) -> None:
    def spent(**scope: object) -> Decimal:
        (row,) = ledger.view_rows("spend_by_scope", scope)
        return Decimal(row["cost_usd"])

    assert spent() == 9 * USD and spent(team="risk") == 3 * USD and spent(user="ada") == 9 * USD
    assert spent(since=START + timedelta(days=1)) == 6 * USD
    assert spent(team="risk", user="bob") == 0 and spent(tag="no=such") == 0 and spent(key="none", cost_centre="x", notebook="y") == 0
    with pytest.raises(LedgerError, match="no filter 'user_id'"):
        spent(user_id="ada")
    assert ledger.view_rows("spend_by_key") == []


def test_what_a_limit_would_have_done(ledger: Ledger) -> None:
    (row,) = ledger.view_rows("budget_replay", {"limit_usd": 4 * USD})
    calls = [one["cost_usd"] for one in ledger.view_rows("recent_calls") if one["cost_usd"]][::-1]
    running, refused = Decimal(0), []
    for usd in calls:
        running += usd
        refused += [usd] if running > 4 * USD else []
    assert (row["calls"], row["cost_usd"]) == (len(calls), 9 * USD)
    assert (row["refused_calls"], row["refused_usd"]) == (len(refused), sum(refused)) and refused
    (none,) = ledger.view_rows("budget_replay", {"limit_usd": 1000, "team": "risk"})
    assert (none["refused_calls"], none["reached_at"]) == (0, None)
    for wrong in (None, -1, "much", "nan", 10**12):
        with pytest.raises(LedgerError, match="limit_usd is"):
            ledger.view_rows("budget_replay", {"limit_usd": wrong})


def test_meta(ledger: Ledger) -> None:
    (row,) = ledger.view_rows("meta")
    assert (row["schema_version"], row["demo"], row["rows"], row["head_seq"]) == (2, False, 7, 7)
    assert row["head_hash"] == ledger.head.hash


@pytest.mark.parametrize(
    ("filters", "calls"),
    [
        ({"team": "risk"}, 3),
        ({"team": ["risk", "claims"]}, 6),
        ({"team": ""}, 1),
        ({"team": ["", "risk"]}, 4),
        ({"team": None}, 7),
        ({"team": []}, 7),
        ({"team": "it's'; --"}, 0),
        ({"model": "fast", "team": "risk"}, 3),
        ({"status": ["error", "refused"]}, 2),
        ({"prompt": "hello"}, 3),
        ({"user_id": ""}, 1),
        ({"since": "2026-05-02"}, 5),
        ({"since": "2026-05-02T00:00:00+00:00", "until": "2026-05-03"}, 2),
        ({"since": datetime(2026, 5, 1, 8, tzinfo=UTC), "until": datetime(2026, 5, 1, 9, tzinfo=UTC)}, 1),
        ({"since": datetime(2026, 5, 1, 10, tzinfo=UTC).astimezone(__import__("zoneinfo").ZoneInfo("Asia/Tokyo"))}, 5),
        ({"until": START}, 0),
        ({"provider": "up", "surface": "magic", "notebook": "churn.ipynb"}, 7),
    ],
)
def test_filters(ledger: Ledger, filters: dict[str, Any], calls: int) -> None:
    assert ledger.view_rows("totals", filters)[0]["calls"] == calls


@pytest.mark.parametrize(
    ("filters", "text"),
    [
        ({"teams": "x"}, "Did you mean team"),
        ({"since": "yesterday"}, "not a time"),
        ({"limit": "many"}, "whole number"),
        ({"limit": -1}, "negative"),
    ],
)
def test_a_wrong_filter_is_named(ledger: Ledger, filters: dict[str, Any], text: str) -> None:
    with pytest.raises(LedgerError, match=text):
        ledger.view("recent_calls", filters)


def test_an_unknown_view_offers_the_nearest(ledger: Ledger) -> None:
    with pytest.raises(LedgerError, match="Did you mean totals"):
        ledger.view("total")


@pytest.mark.parametrize("name", [name for name, view in VIEWS.items() if view.whole])
def test_a_view_means_the_same_in_sql(ledger: Ledger, name: str) -> None:
    here = ledger.view_rows(name, {"limit": 100_000})
    there = ledger.rows(f"SELECT * FROM {name}")
    assert sorted(map(repr, here)) == sorted(map(repr, there))
    frame = polars.read_ipc_stream(io.BytesIO(ledger.view(name, {"limit": 100_000})))
    assert frame.height == len(here)
    assert not here or frame.columns == list(here[0])


def test_every_view_says_what_it_gives() -> None:
    for name, view in VIEWS.items():
        assert len(view.doc) > 20 and view.doc.endswith("."), name
    assert {"since", "until", "team", "limit", "offset", "call_id"} <= set(FILTERS)
