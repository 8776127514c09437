"""The charts of evaluations, prompts and votes: the schema they obey, what they carry, and what they leave out."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import altair as alt
import polars as pl
import pytest

from aiplat_lab import charts
from aiplat_lab.charts import DARK, LIGHT, Look

START = datetime(2026, 11, 1, 9, tzinfo=UTC)
RUNS = [
    {
        "name": f"run {i}",
        "started_at": START + timedelta(days=i),
        "score": 0.5 + i / 10,
        "low": 0.4 + i / 10,
        "high": 0.6 + i / 10,
        "scored": 80,
        "series": "fast" if i != 2 else "careful",
        "version": "triage@1.0.0" if i < 2 else "triage@2.0.0",
        "each_usd": Decimal("0.0001") * (i + 1),
    }
    for i in range(4)
]
DAYS = [
    {"day": date(2026, 11, 1) + timedelta(days=i), "prompt_version": version, "calls": 10 + i}
    for i in range(3)
    for version in ("1.0.0", "1.1.0")
]
VOTES = [{"vote": n, "share": 0.6, "low": 0.6 - 1 / (n + 2), "high": min(1.0, 0.6 + 1 / (n + 2))} for n in range(1, 30)]
ALL = {
    "score_by_run": (charts.score_by_run, RUNS, {}),
    "score_trend": (charts.score_trend, RUNS, {}),
    "cost_quality": (charts.cost_quality, RUNS, {}),
    "calls_by_version": (charts.calls_by_version, DAYS, {}),
    "vote_evidence": (charts.vote_evidence, VOTES, {"ahead": "B"}),
}


def drawn(chart: object) -> list[dict]:
    """The rows of the chart's own data, without those of its marks."""
    spec = chart.to_dict()  # type: ignore[attr-defined]
    return list(spec["datasets"][spec["data"]["name"]])


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
@pytest.mark.parametrize("name", ALL)
def test_each_obeys_the_schema_has_a_description_and_draws_as_svg(name: str, theme: charts.Theme) -> None:
    function, rows, more = ALL[name]
    spec = function(rows, look=Look(theme=theme), **more).to_dict()
    kind = alt.LayerChart if "layer" in spec else alt.Chart
    assert kind.from_dict(spec).to_dict()["description"]
    svg = charts.spec_to_svg(spec)
    assert svg.startswith("<svg") and "http" not in svg.replace("http://www.w3.org/", "")


@pytest.mark.parametrize("name", ALL)
def test_a_frame_and_rows_give_the_same_and_no_rows_an_empty_one(name: str) -> None:
    function, rows, more = ALL[name]
    assert function(pl.DataFrame(rows), **more).to_dict() == function(rows, **more).to_dict()
    assert drawn(function([], **more)) == []
    charts.spec_to_svg(function([], **more).to_dict())


def test_a_run_without_a_score_is_left_out_and_never_drawn_at_zero() -> None:
    rows = [{**RUNS[0], "score": None, "low": None, "high": None}, RUNS[1]]
    for function in (charts.score_by_run, charts.score_trend, charts.cost_quality):
        assert [row["name"] for row in drawn(function(rows))] == ["run 1"]


def test_a_score_without_an_interval_is_a_point_that_says_so() -> None:
    (row,) = drawn(charts.score_by_run([{**RUNS[0], "low": None, "high": None}]))
    assert (row["low"], row["high"], row["said"]) == (0.5, 0.5, "50.0 %, no interval")


def test_the_trend_marks_the_first_run_of_another_version() -> None:
    spec = charts.score_trend(RUNS).to_dict()
    marks = [rows for name, rows in spec["datasets"].items() if name != spec["data"]["name"]]
    assert marks[0] == [{"at": "2026-11-03T09:00:00Z", "version": "triage@2.0.0"}]
    one = charts.score_trend(RUNS[:2]).to_dict()
    assert len(one["datasets"]) == 1


def test_the_scale_of_rates_stays_between_none_and_all() -> None:
    rows = [{**RUNS[0], "score": 0.99, "low": 0.95, "high": 1.0}]
    domain = charts.score_by_run(rows).to_dict()["layer"][0]["encoding"]["x"]["scale"]["domain"]
    assert domain[1] == 1.0 and 0.9 < domain[0] < 0.95
    seconds = [{**RUNS[0], "score": 12.0, "low": 10.0, "high": 14.0}]
    assert charts.score_by_run(seconds).to_dict()["layer"][0]["encoding"]["x"]["scale"]["domain"][1] > 14


def test_the_frontier_is_what_nothing_beats_in_both() -> None:
    rows = [
        {"name": "cheap", "each_usd": Decimal("0.001"), "score": 0.5},
        {"name": "worse and dearer", "each_usd": Decimal("0.002"), "score": 0.4},
        {"name": "good", "each_usd": Decimal("0.003"), "score": 0.8},
        {"name": "as good and dearer", "each_usd": Decimal("0.004"), "score": 0.8},
        {"name": "free", "each_usd": Decimal(0), "score": 0.2},
    ]
    assert charts.frontier(rows) == ["free", "cheap", "good"]


def test_a_configuration_of_unknown_cost_is_no_point_at_zero() -> None:
    rows = [{**RUNS[0], "each_usd": None}, RUNS[1]]
    (row,) = drawn(charts.cost_quality(rows, look=Look(currency="GBP", rate=Decimal("0.8"))))
    assert (row["name"], row["each"], row["spend"]) == ("run 1", 0.16, "£0.160 for 1,000 answers")


def test_points_on_top_of_each_other_carry_one_name() -> None:
    rows = [{**RUNS[0], "name": name, "score": 0.7 + i / 1000} for i, name in enumerate("abc")]
    assert [row["name"] for row in drawn(charts.cost_quality(rows)) if row["named"]] == ["c"]


def test_a_version_keeps_its_colour_when_others_have_no_calls() -> None:
    scale = charts.calls_by_version(DAYS, versions=["0.9.0", "1.0.0", "1.1.0"]).to_dict()["encoding"]["color"]["scale"]
    assert dict(zip(scale["domain"], scale["range"], strict=True)) == {"1.0.0": LIGHT.series[1], "1.1.0": LIGHT.series[2]}


def test_a_hundred_runs_are_a_small_picture() -> None:
    rows = [{**RUNS[0], "name": f"run {i}", "started_at": START + timedelta(hours=7 * i)} for i in range(100)]
    assert len(json.dumps(charts.score_trend(rows).to_dict(), separators=(",", ":"))) < 30_000
