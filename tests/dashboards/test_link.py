"""The page's state is its link, both ways."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiplat_lab.core.errors import UsageError
from aiplat_lab.dashboards._cost import COST
from aiplat_lab.dashboards._data import currency
from aiplat_lab.dashboards._page import questions
from aiplat_lab.dashboards._query import NOTHING_GIVEN, PAGE_ROWS, Period, Query, as_filter

NOW = datetime(2026, 11, 23, 12, 30, tzinfo=UTC)


def test_an_empty_link_is_the_last_thirty_days_of_everything() -> None:
    query = Query.parse("")
    assert query == Query()
    assert query.filters() == {}
    assert query.period(now=NOW) == Period(since=NOW - timedelta(days=30), until=NOW + timedelta(seconds=1))


@given(
    st.fixed_dictionaries(
        {},
        optional={
            **dict.fromkeys(
                ("team", "project", "model", "prompt", "evalset", "run", "against", "sample", "version", "base", "experiment", "call"),
                st.text(st.characters(exclude_categories=["Cs"]), min_size=1).map(str.strip).filter(bool),
            ),
            "status": st.sampled_from(["ok", "error", "refused", "cancelled"]),
            "theme": st.sampled_from(["light", "dark"]),
            "by": st.sampled_from(["team", "model"]),
            "which": st.sampled_from(["differ", "better", "worse", "errors", "all"]),
        },
    )
)
def test_a_link_reads_back_as_the_same_state(parts: dict[str, str]) -> None:
    query = Query(**{name: value[:200].strip() for name, value in parts.items()})
    assert Query.parse(query.link()) == query


def test_words_that_mean_nothing_are_left_out() -> None:
    assert Query.parse("?status=fine&theme=pink&by=hour&team=risk&evil=1") == Query(team="risk")


def test_another_filter_begins_on_the_first_page_and_a_call_keeps_the_place() -> None:
    query = Query(team="risk", page="3")
    assert query.offset == 2 * PAGE_ROWS
    assert query.link(model="fast") == "?team=risk&model=fast"
    assert query.link(call="abc") == "?team=risk&page=3&call=abc"
    assert Query(page="x").offset == 0


def test_another_filter_begins_with_nothing_picked_and_a_sample_keeps_the_place() -> None:
    query = Query(evalset="claims", run="r", against="q", sample="s", which="worse", page="2", version="1.1.0", experiment="e")
    assert query.link(evalset="desk") == "?evalset=desk"
    assert Query.parse(query.link(sample="t")) == Query.parse(query.link().replace("sample=s", "sample=t"))
    assert "page" not in query.link(which="better", sample="")


def test_a_period_of_dates_leaves_its_end_out_and_knows_the_one_before() -> None:
    period = Query(since="2026-11-01", until="2026-11-08").period(now=NOW)
    assert period.filters() == {"since": datetime(2026, 11, 1, tzinfo=UTC), "until": datetime(2026, 11, 8, tzinfo=UTC)}
    assert period.before() == Period(since=datetime(2026, 10, 25, tzinfo=UTC), until=datetime(2026, 11, 1, tzinfo=UTC))


def test_a_length_of_time_ends_at_until() -> None:
    assert Query(since="7d", until="2026-11-08").period(now=NOW).since == datetime(2026, 11, 1, tzinfo=UTC)


def test_the_whole_ledger_has_no_period_before() -> None:
    period = Query(since="all").period(now=NOW)
    assert (period.filters(), period.before()) == ({}, None)


@pytest.mark.parametrize(("since", "until"), [("soon", ""), ("2026-11-08", "2026-11-01"), ("2030-01-01", "")])
def test_a_period_that_makes_no_sense_says_so(since: str, until: str) -> None:
    with pytest.raises(UsageError):
        Query(since=since, until=until).period(now=NOW)


def test_calls_that_name_no_team_can_be_asked_for() -> None:
    assert as_filter(None) == as_filter("") == NOTHING_GIVEN
    assert Query(team=NOTHING_GIVEN).filters() == {"team": ""}
    assert as_filter("risk") == "risk"


def test_only_what_a_change_touches_is_asked_anew() -> None:
    def asked(query: Query) -> dict[str, object]:
        return dict(questions(COST, query, query.period(now=NOW), {}))

    first = asked(Query(team="risk"))
    assert {name for name, ask in asked(Query(team="risk", page="2")).items() if first[name] != ask} == {"calls"}
    assert {name for name, ask in asked(Query(team="support")).items() if first[name] != ask} == {
        "spend",
        "latency",
        "before",
        "errors",
        "calls",
    }
    assert asked(Query(team="risk", by="model", theme="dark")) == first
    assert set(asked(Query(team="risk", call="x"))) == {"status", "values", "call"}
    assert "before" not in asked(Query(since="all"))


def test_the_currency_is_the_status_or_dollars() -> None:
    assert currency({"currency": "GBP", "usd_rate": "0.79"}) == ("GBP", __import__("decimal").Decimal("0.79"))
    assert currency({}) == ("USD", 1)
