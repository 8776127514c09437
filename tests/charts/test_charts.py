"""What each chart shows, that it obeys the schema, and that it carries little."""

from __future__ import annotations

import json
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import altair as alt
import polars as pl
import pytest

from aiplat_lab import charts
from aiplat_lab.charts import DARK, LIGHT, Look
from aiplat_lab.core.errors import UsageError

POUNDS = Look(currency="GBP", rate=Decimal("0.8"))


def day_rows(days: int = 3, teams: tuple[str, ...] = ("risk", "support", "")) -> list[dict]:
    return [
        {
            "day": date(2026, 9, 1) + timedelta(days=i),
            "team": team,
            "cost_usd": Decimal(10) / (j + 1),
            "calls": 10 + i,
            "errors": j,
            "cache_hits": 2,
            "saved_usd": Decimal("0.5"),
        }
        for i in range(days)
        for j, team in enumerate(teams)
    ]


NAMES = [
    {"model": "careful", "cost_usd": Decimal("12.5"), "calls": 40, "latency_p95_s": 8.25},
    {"model": "fast", "cost_usd": Decimal("99.123456789"), "calls": 4000, "latency_p95_s": 0.9},
    {"model": "own", "cost_usd": None, "calls": 7, "latency_p95_s": None},
]
ERRORS = [
    {"status": "error", "error_type": "timeout", "policy": "", "calls": 1200},
    {"status": "refused", "error_type": "", "policy": "budget", "calls": 3},
]
BUDGETS = [
    {"scope": "team", "name": "risk", "period": "month", "limit_usd": "100", "spent_usd": "85"},
    {"scope": "everyone", "name": "", "period": "day", "limit_usd": "10", "spent_usd": "12"},
]
ALL = {
    "spend_by_day": lambda look: charts.spend_by_day(day_rows(), look=look, days=(date(2026, 8, 30), date(2026, 9, 4))),
    "savings_by_day": lambda look: charts.savings_by_day(day_rows(), look=look),
    "errors_by_day": lambda look: charts.errors_by_day(day_rows(), look=look),
    "spend_by_name": lambda look: charts.spend_by_name(NAMES, by="model", look=look),
    "latency_by_name": lambda look: charts.latency_by_name(NAMES, look=look),
    "errors_by_type": lambda look: charts.errors_by_type(ERRORS, look=look),
    "budget_use": lambda look: charts.budget_use(BUDGETS, look=look),
}


def drawn(chart: object) -> list[dict]:
    spec = chart.to_dict()  # type: ignore[attr-defined]
    (values,) = spec["datasets"].values()
    return list(values)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
@pytest.mark.parametrize("name", ALL)
def test_each_chart_obeys_the_schema_has_a_description_and_draws_as_svg(name: str, theme: charts.Theme) -> None:
    chart = ALL[name](Look(theme=theme))
    spec = (
        alt.Chart.from_dict(chart.to_dict()).to_dict()
        if "layer" not in chart.to_dict()
        else alt.LayerChart.from_dict(chart.to_dict()).to_dict()
    )
    assert spec["description"]
    svg = charts.to_svg(chart)
    assert svg.startswith("<svg") and "http" not in svg.replace("http://www.w3.org/", "")
    assert 'font-family="sans-serif"' in svg


@pytest.mark.parametrize("name", ALL)
def test_a_frame_and_rows_give_the_same_chart_and_no_rows_an_empty_one(name: str) -> None:
    function = getattr(charts, name)
    rows = {"spend_by_name": NAMES, "latency_by_name": NAMES, "errors_by_type": ERRORS, "budget_use": BUDGETS}.get(name, day_rows())
    more = {"by": "model"} if name == "spend_by_name" else {}
    if name != "budget_use":
        assert function(pl.DataFrame(rows), **more).to_dict() == function(rows, **more).to_dict()
    assert drawn(function([], **more)) == []


def test_the_rows_that_the_spend_chart_draws() -> None:
    assert drawn(charts.spend_by_day(day_rows(days=1), look=POUNDS)) == [
        {"day": "2026-09-01", "name": "risk", "calls": 10, "amount": 8.0, "spend": "£8.00", "rank": 0},
        {"day": "2026-09-01", "name": "support", "calls": 10, "amount": 4.0, "spend": "£4.00", "rank": 1},
        {"day": "2026-09-01", "name": "none given", "calls": 10, "amount": 2.66667, "spend": "£2.67", "rank": 2},
    ]


def test_a_day_of_unknown_cost_is_left_out_and_never_drawn_as_zero() -> None:
    rows = [{**row, "cost_usd": None} for row in day_rows(days=1)]
    assert drawn(charts.spend_by_day(rows)) == []
    assert [row["name"] for row in drawn(charts.savings_by_day(rows))] == ["Saved by cache"]


def test_many_names_fold_into_the_rest_with_nothing_lost() -> None:
    teams = tuple(f"team-{i:02d}" for i in range(12))
    values = drawn(charts.spend_by_day(day_rows(days=2, teams=teams)))
    assert {row["name"] for row in values} == {*teams[:7], charts.OTHER_LABEL}
    assert sum(row["amount"] for row in values) == pytest.approx(2 * sum(10 / (j + 1) for j in range(12)), rel=1e-5)
    assert [row["name"] for row in drawn(charts.spend_by_name(NAMES, by="model", most=1))] == ["fast", charts.OTHER_LABEL]


def test_a_colour_stays_with_its_name_when_a_filter_leaves_others_out() -> None:
    names = ["risk", "support", ""]
    both = charts.spend_by_day(day_rows(), names=names).to_dict()["encoding"]["color"]["scale"]
    one = charts.spend_by_day(day_rows(teams=("support",)), names=names).to_dict()["encoding"]["color"]["scale"]
    assert dict(zip(both["domain"], both["range"], strict=True))["support"] == LIGHT.series[1]
    assert (one["domain"], one["range"]) == (["support"], [LIGHT.series[1]])


def test_named_bars_are_ranked_and_an_unknown_cost_says_so() -> None:
    assert [(row["name"], row["spend"]) for row in drawn(charts.spend_by_name(NAMES, by="model"))] == [
        ("fast", "$99.12"),
        ("careful", "$12.50"),
        ("own", "unknown"),
    ]
    assert [row["name"] for row in drawn(charts.latency_by_name(NAMES))] == ["careful", "fast"]
    assert [(row["name"], row["spend"]) for row in drawn(charts.errors_by_type(ERRORS))] == [("timeout", "1,200"), ("budget", "3")]


def test_a_budget_over_its_limit_is_full_and_in_the_warning_colour() -> None:
    near, over = drawn(charts.budget_use(BUDGETS))
    assert (near["amount"], near["share"], near["tone"]) == (0.85, "85%", LIGHT.warn)
    assert (over["amount"], over["share"], over["tone"], over["name"]) == (1.0, "120%", LIGHT.bad, "everyone · day")


@pytest.mark.parametrize(("usd", "digits"), [("1200", 0), ("5", 2), ("0.05", 4), ("0.00001", 6)])
def test_the_axis_has_the_decimals_that_its_values_need(usd: str, digits: int) -> None:
    rows = [{"day": date(2026, 9, 1), "team": "risk", "cost_usd": Decimal(usd), "calls": 1}]
    axis = charts.spend_by_day(rows, look=Look(currency="EUR")).to_dict()["encoding"]["y"]["axis"]
    assert axis["labelExpr"] == f"'€' + format(datum.value, ',.{digits}f')"


def test_a_quarter_of_a_year_of_seven_teams_is_small() -> None:
    chart = charts.spend_by_day(day_rows(days=90, teams=tuple("abcdefg")))
    assert len(json.dumps(chart.to_dict(), separators=(",", ":"))) < 65_000


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("look", [LIGHT, DARK], ids=lambda look: look.name)
def test_text_can_be_read_on_the_surface(look: charts.Theme) -> None:
    for colour in (look.ink, look.quiet, look.bad, look.warn, look.saved, look.accent):
        assert contrast(colour, look.surface) >= 4.5, colour


def test_an_unknown_theme_is_refused_with_the_known_ones() -> None:
    assert charts.theme("dark") is DARK
    with pytest.raises(UsageError, match=r"there is no theme 'drak'; write light or dark\. Did you mean dark"):
        charts.theme("drak")


def test_the_package_exports_what_it_lists() -> None:
    assert len(set(charts.__all__)) == len(charts.__all__)
    assert all(hasattr(charts, name) for name in charts.__all__)
    home = Path(charts.__file__).parent
    assert all("duckdb" not in path.read_text(encoding="utf-8") for path in home.glob("*.py"))
