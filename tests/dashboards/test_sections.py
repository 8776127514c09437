"""What the parts of the page say, and that nothing from the ledger is taken for HTML."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from html import unescape
from html.parser import HTMLParser

import pytest

from aiplat_lab.dashboards import _call, _sections
from aiplat_lab.dashboards._html import compact, count, share
from aiplat_lab.dashboards._query import PAGE_ROWS, Query
from aiplat_lab.dashboards._sections import Show

POUNDS = Show(query=Query(), currency="GBP", rate=Decimal("0.8"))
EVIL = "<img src=x onerror=alert(1)>\"'&"
TOTALS = {
    "calls": 1200,
    "answered": 1150,
    "refused": 10,
    "errors": 30,
    "cancelled": 10,
    "cache_hits": 240,
    "cost_usd": Decimal("100"),
    "saved_usd": Decimal("25"),
    "unpriced_calls": 0,
    "latency_p50_s": 0.8,
    "latency_p95_s": 3.25,
}


def read(html: str) -> str:
    """What a person reads."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def test_the_headline_compares_with_the_period_before() -> None:
    text = read(_sections.headline(TOTALS, {**TOTALS, "cost_usd": Decimal("80"), "calls": 1500}, POUNDS))
    assert text == (
        "Spend £80.00 ▲ 25.0 % more than in the period before "
        "Calls 1,200 ▼ 20.0 % less than in the period before "
        "Saved by cache £20.00 240 hits, 20.0 % of calls; 20.0 % of the bill "
        "Errors and refusals 40 3.3 % of calls; 30 failed, 10 refused "
        "Time to answer 800 ms median; 95 % of calls within 3.2 s"
    )


def test_what_was_not_measured_is_never_a_zero() -> None:
    unknown = {**TOTALS, "cost_usd": None, "saved_usd": None, "latency_p50_s": None, "latency_p95_s": None, "unpriced_calls": 1200}
    text = read(_sections.headline(unknown, None, POUNDS))
    assert text.count("not measured") == 3
    assert "£0" not in text
    assert "1,200 calls have no known price , so the spend shown leaves their cost out" in text


def test_nothing_before_is_said_and_not_computed() -> None:
    assert "nothing to compare" in read(_sections.headline(TOTALS, {**TOTALS, "cost_usd": None, "calls": 0}, POUNDS))
    assert "12 times the period before" in read(_sections.headline(TOTALS, {**TOTALS, "calls": 100}, POUNDS))
    assert "as in the period before" in read(_sections.headline(TOTALS, TOTALS, POUNDS))


def names_row(**changes: object) -> dict:
    row = {
        "team": "risk",
        "cost_usd": Decimal("4"),
        "calls": 10,
        "errors": 1,
        "cache_hits": 2,
        "saved_usd": Decimal("1"),
        "input_tokens": 12_345_678,
        "output_tokens": None,
        "latency_p95_s": None,
    }
    return {**row, **changes}


def test_names_are_ranked_linked_and_an_unknown_cost_is_a_dash() -> None:
    rows = [names_row(team="small", cost_usd=Decimal("1")), names_row(), names_row(team=None, cost_usd=None)]
    html = _sections.names(rows, "team", POUNDS)
    assert read(html) == "Spend by team Team Spend Share Calls risk £3.20 80.0 % 10 small £0.800 20.0 % 10 none given – 0.0 % 10"
    assert re.findall(r'href="([^"]+)"', html) == ["?team=risk", "?team=small", "?team=%28none%29"]
    assert re.findall(r"width:([\d.]+)%", html) == ["100.0", "25.0", "0.0"]
    assert read(_sections.names([names_row()], "team", POUNDS, wide=True)).endswith(
        "risk £3.20 100.0 % 10 12.3 M not measured £0.800 10.0 % –"
    )


def test_calls_without_a_price_are_counted_beside_the_spend() -> None:
    rows = [names_row(unpriced_calls=3), names_row(team="house", cost_usd=Decimal(0), unpriced_calls=7)]
    assert read(_sections.names(rows, "team", POUNDS)).endswith("risk £3.20 3 unpriced 100.0 % 10 house – 7 unpriced 0.0 % 10")


def test_many_names_fold_away_with_none_lost() -> None:
    rows = [names_row(team=f"team-{i:02d}", cost_usd=Decimal(20 - i)) for i in range(20)]
    html = _sections.names(rows, "team", POUNDS)
    assert "<summary>12 more</summary>" in html
    assert all(f"team-{i:02d}" in html for i in range(20))


def test_days_add_up_and_lead_to_the_day() -> None:
    row = {"day": date(2026, 11, 1), "team": "a", "cost_usd": Decimal("1"), "calls": 2, "errors": 0, "cache_hits": 1, "saved_usd": None}
    html = _sections.days([row, {**row, "team": "b", "cost_usd": None}], Show(query=Query()))
    assert read(html).endswith("Sun 1 Nov 2026 $1.00 – 4 2 0")
    assert 'href="?since=2026-11-01&amp;until=2026-11-02"' in html


def test_budgets_say_what_is_spent_and_held_and_when_they_are_over() -> None:
    rows = [
        {"scope": "team", "name": "risk", "period": "month", "limit_usd": "100", "spent_usd": "85", "held_usd": "0", "hard": True},
        {"scope": "everyone", "name": "", "period": "total", "limit_usd": "10", "spent_usd": "11", "held_usd": "1", "hard": False},
    ]
    html = _sections.budgets(rows, POUNDS)
    assert read(html) == (
        "team risk each month, refuses beyond the limit £68.00 of £80.00 85% "
        "everyone in total, shows only £8.80 of £8.00, £0.800 held by calls in flight 120%"
    )
    assert html.count('role="meter"') == 2 and 'class="budget warn"' in html and 'class="budget bad"' in html
    assert "[[budgets]]" in _sections.budgets([], POUNDS)


def call_row(**changes: object) -> dict:
    row = {
        "call_id": "01920000-0000-7000-8000-000000000001",
        "started_at": datetime(2026, 11, 1, 9, 5, 7, tzinfo=UTC),
        "team": "risk",
        "project": "claims",
        "notebook": "a.ipynb",
        "surface": "magic",
        "request_model": "fast",
        "provider": "openai",
        "response_model": "gpt-5-mini",
        "status": "ok",
        "error_type": None,
        "input_tokens": 1200,
        "output_tokens": 80,
        "cost_usd": Decimal("0.0012"),
        "latency_s": 1.25,
        "cache": "miss",
        "prompt_name": "triage",
        "prompt_version": "1.0.0",
    }
    return {**row, **changes}


def test_the_table_of_calls_opens_each_and_turns_pages() -> None:
    html = _sections.calls([call_row()] * PAGE_ROWS, Show(query=Query(team="risk", page="2")))
    assert "1 Nov 2026, 09:05:07 answered fast gpt-5-mini risk claims a.ipynb · triage 1.0.0 1,200 80 $0.0012 1.2 s" in read(html)
    assert 'href="?team=risk&amp;page=2&amp;call=01920000' in html
    assert "Calls 26 to 50, newest first ← Newer Older →" in read(html)
    last = _sections.calls([call_row(cache="hit", cost_usd=None)], Show(query=Query()))
    assert "Older" not in last and "cache hit" in last and "not measured" in last


def whole(**changes: object) -> dict:
    row = call_row(
        started_at="2026-11-01T09:05:07Z",
        ended_at="2026-11-01T09:05:08Z",
        attempts=1,
        cache_read_tokens=500,
        cache_write_tokens=0,
        reasoning_tokens=0,
        input_usd_per_mtok="0.25",
        output_usd_per_mtok="2",
        cache_read_usd_per_mtok=None,
        price_version="demo prices",
        cost_usd="0.0012",
        baseline_cost_usd="0.0020",
        seq=41,
        hash="a" * 64,
        prev_hash="b" * 64,
        messages=[{"role": "user", "content": [{"type": "text", "text": "Sort this."}, {"type": "image_url"}]}],
        text="simple",
        tags={"run": "7"},
        flags=["x", "y"],
    )
    return {**row, **changes}


def test_one_call_shows_who_what_when_cost_texts_and_chain() -> None:
    text = read(_call.call(whole(), POUNDS))
    for part in (
        "Team risk",
        "Model asked for fast",
        "Started (UTC) 1 Nov 2026, 09:05:07",
        "Fresh input 1,200 £0.200 £0.00024",
        "Read from the provider's cache 500 £0.200 £0.0001",
        "Output 80 £1.60 £0.000128",
        "Charged £0.00096",
        "It would have cost £0.0016 without cache and routing",
        "User Sort this. [image_url]",
        "Answer simple",
        "Place in the chain 41",
        "Tags run=7",
        "Flags x, y",
        f"Hash of the record before {'b' * 64}",
    ):
        assert part in text, part


def test_a_call_without_texts_usage_or_price_says_so() -> None:
    bare = whole(messages=[], text=None, cost_usd=None, baseline_cost_usd=None, price_version=None)
    bare |= dict.fromkeys(("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens"))
    text = read(_call.call(bare, POUNDS))
    assert text.count("No text is kept for this call") == 2
    assert "Tokens not measured" in text and "Charged not measured" in text and "its cost was not measured" in text


@pytest.mark.parametrize(
    "html",
    [
        _sections.names([names_row(team=EVIL)], "team", POUNDS),
        _sections.calls([call_row(notebook=EVIL, team=EVIL, request_model=EVIL, error_type=EVIL, prompt_name=EVIL, status=EVIL)], POUNDS),
        _sections.errors(
            [
                {
                    "status": "error",
                    "error_type": EVIL,
                    "policy": EVIL,
                    "message": EVIL,
                    "calls": 1,
                    "last_at": None,
                    "example_call_id": EVIL,
                }
            ],
            POUNDS,
        ),
        _sections.crumbs(Query(team=EVIL, call=EVIL)),
        _sections.crumbs(Query(model=EVIL)),
        _sections.banner(demo=True, incidents=[EVIL]),
        _sections.impossible(EVIL, Query(since=EVIL)),
        _sections.budgets([{"scope": EVIL, "name": EVIL, "period": EVIL, "limit_usd": 1, "spent_usd": 0}], POUNDS),
        _call.call(
            whole(text=EVIL, messages=[{"role": EVIL, "content": EVIL}], tags={EVIL: EVIL}, error_message=EVIL, project=EVIL), POUNDS
        ),
    ],
)
def test_nothing_from_the_ledger_becomes_an_element(html: str) -> None:
    met: list[tuple[str, list[str]]] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attrs: met.append((tag, [name for name, _ in attrs]))  # type: ignore[method-assign]
    parser.feed(html)
    assert met
    assert not [tag for tag, attrs in met if tag == "img" or "onerror" in attrs]


def test_the_empty_page_teaches_the_first_call_and_the_demo() -> None:
    text = read(_sections.empty())
    assert "%load_ext aiplat_lab" in text and "%%ai" in text and "aiplat demo" in text and "aiplat quickstart --headless" in text


def test_crumbs_lead_back_step_by_step() -> None:
    html = _sections.crumbs(Query(team="risk", model="fast", call="abc"))
    assert [unescape(link) for link in re.findall(r'href="([^"]+)"', html)] == [
        "?",
        "?team=risk",
        "?team=risk&model=fast",
        "?team=risk&model=fast",
    ]
    assert read(html) == "All calls team: risk model: fast Call abc Back to the overview"
    assert _sections.crumbs(Query()) == ""


def test_figures_are_short_and_honest() -> None:
    assert [compact(n) for n in (None, 950, 9_999, 12_345, 4_100_000, 2_000_000_000)] == [
        "not measured",
        "950",
        "9,999",
        "12.3 k",
        "4.1 M",
        "2.0 G",
    ]
    assert (count(None), share(1, 0), share(1, 100_000), share(1, 4)) == ("not measured", "–", "<0.1 %", "25.0 %")
