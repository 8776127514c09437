"""Runs, pairs and verdicts: what the pages compute from the rows of the views."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from aiplat_lab.dashboards import _library, _results, _votes
from aiplat_lab.dashboards._query import NOTHING_GIVEN, Query

START = datetime(2026, 11, 1, 9, tzinfo=UTC)


def run(run_id: str, /, *, day: int = 0, **more: Any) -> dict[str, Any]:
    fields = {"run_id": run_id, "name": run_id, "evalset": "claims", "evalset_hash": "h", "samples": 4, "epochs": 1, "status": "complete"}
    fields |= {"prompt_name": "triage", "prompt_version": "1.0.0", "model": "fast", "scorers": '["exact"]', "team": "risk"}
    fields |= {"project": None, "reason": None, "started_at": START + timedelta(days=day)}
    return {**fields, **more}


def scored(name: str, scores: list[float], **more: Any) -> dict[str, Any]:
    fields = {"run_id": name, "samples": len(scores), "asked": len(scores), "errors": 0, "scored": len(scores), "scores": scores}
    fields |= {"score": sum(scores) / len(scores) if scores else None, "clusters": None, "cost_usd": Decimal("0.01"), "latency_s": 1.0}
    return {**fields, "cached": 0, **more}


def sample(run_id: str, name: str, score: float | None, **more: Any) -> dict[str, Any]:
    fields = {"run_id": run_id, "sample_id": name, "score": score, "errors": int(score is None), "asked": 1, "cluster": None}
    return {**fields, "slices": '{"channel": "web"}', "scores": None, "notes": None, "error": None, **more}


def both(before: str, now: str) -> list[_results.Pair]:
    """Pairs from two strings of right (1), wrong (0) and missing (-) answers."""
    rows = []
    for side, marks in (("q", before), ("r", now)):
        rows += [sample(side, f"s{i:03d}", None if mark == "-" else float(mark)) for i, mark in enumerate(marks)]
    return _results.pairs(rows, "r", "q")


# --- one run --------------------------------------------------------------------------------------------------------


def test_a_rate_has_wilsons_interval() -> None:
    (row,) = _results.merged([run("r")], [scored("r", [1.0] * 17 + [0.0] * 3)])
    assert (row["low"], row["high"]) == (pytest.approx(0.639581, abs=1e-6), pytest.approx(0.947631, abs=1e-6))
    assert row["method"].startswith("Wilson")


def test_a_graded_score_never_leaves_its_scale_and_clusters_widen_it() -> None:
    scores = [0.9, 1.0, 1.0, 0.95, 1.0, 0.5]
    (alone,) = _results.merged([run("r")], [scored("r", scores)])
    (grouped,) = _results.merged([run("r")], [scored("r", scores, clusters=["a", "a", "a", "b", "c", "c"])])
    assert alone["high"] == grouped["high"] == 1.0
    assert grouped["low"] < alone["low"]


@pytest.mark.parametrize("scores", [[], [0.5]])
def test_too_few_scores_have_no_interval(scores: list[float]) -> None:
    (row,) = _results.merged([run("r")], [scored("r", scores)])
    assert (row["low"], row["high"]) == (None, None)


def test_a_run_without_samples_yet_is_not_evidenced() -> None:
    (row,) = _results.merged([run("r", status=None)], [])
    assert (row["score"], row["scored"], row["cost_usd"], row["low"]) == (None, 0, None, None)
    assert row["samples"] == 4


def test_filters_pass_what_they_name_and_what_names_none() -> None:
    rows = [run("a"), run("b", model="careful"), run("c", project="x", prompt_name=None)]
    assert [row["run_id"] for row in _results.fitting(rows, Query(model="careful"))] == ["b"]
    assert [row["run_id"] for row in _results.fitting(rows, Query(prompt=NOTHING_GIVEN))] == ["c"]
    assert [row["run_id"] for row in _results.fitting(rows, Query(project=NOTHING_GIVEN, team="risk"))] == ["a", "b"]


def test_the_newest_whole_run_is_shown_against_the_last_one_of_another_version() -> None:
    rows = [
        run("running", day=5, status=None),
        run("now", day=4, prompt_version="1.1.0"),
        run("same", day=3, prompt_version="1.1.0"),
        run("capped", day=2, status="capped"),
        run("other set", day=2, evalset="desk"),
        run("before", day=1),
    ]
    now = _results.chosen(rows, Query())
    assert now is not None and now["run_id"] == "now"
    rival = _results.rival(rows, now, Query())
    assert rival is not None and rival["run_id"] == "before"
    alone = _results.rival(rows[:3], now, Query())
    assert alone is not None and alone["run_id"] == "same"
    assert _results.rival([now], now, Query()) is None


def test_the_link_may_name_runs_outside_the_period_or_none_at_all() -> None:
    rows, old = [run("now")], run("old")
    assert _results.chosen(rows, Query(run="old"), [old]) is old
    assert _results.chosen(rows, Query(run="gone"), [old]) is None
    assert _results.rival(rows, rows[0], Query(against="old"), [old]) is old
    assert _results.chosen([], Query()) is None


# --- two runs -------------------------------------------------------------------------------------------------------


def test_errors_are_left_out_of_the_comparison_and_counted_apart() -> None:
    pairs = both("1100-", "10-11")
    found = _results.compared(pairs, names=("A", "B"))
    assert found is not None
    assert (found.n, found.only_a, found.only_b) == (3, 1, 1)
    assert [pair.id for pair in _results.matching(pairs, "errors")] == ["s002", "s004"]
    assert sum(pair.difference is None for pair in pairs) == 2


def test_no_shared_sample_is_no_comparison() -> None:
    rows = [sample("q", "a", 1.0), sample("r", "b", 1.0)]
    assert _results.compared(_results.pairs(rows, "r", "q"), names=("A", "B")) is None
    assert _results.compared(both("--", "11"), names=("A", "B")) is None


@pytest.mark.parametrize(
    ("before", "now", "verdict"),
    [("0" * 30 + "1" * 30, "1" * 60, "better"), ("1" * 60, "0" * 30 + "1" * 30, "worse"), ("10" * 30, "01" * 30, "cannot_tell")],
)
def test_the_verdict_and_its_sentence(before: str, now: str, verdict: str) -> None:
    found = _results.compared(both(before, now), names=("old", "new"))
    assert found is not None and found.verdict == verdict
    assert "new" in found.sentence and "old" in found.sentence


def test_clusters_are_passed_on() -> None:
    rows = [
        sample(side, f"s{i}", float((i + side_at) % 3 > 0), cluster=f"c{i // 2}") for side_at, side in enumerate("qr") for i in range(12)
    ]
    found = _results.compared(_results.pairs(rows, "r", "q"), names=("A", "B"))
    assert found is not None and found.clusters == 6


def test_slices_are_corrected_for_their_number() -> None:
    rows = [
        sample(side, f"s{i}", score, slices=json.dumps({"half": "first" if i < 8 else "second"}))
        for side, scores in (("q", [0.0] * 8 + [1.0] * 8), ("r", [1.0] * 16))
        for i, score in enumerate(scores)
    ]
    first, second = _results.by_slice(_results.pairs(rows, "r", "q"), names=("A", "B"))
    assert (first["value"], first["samples"], first["now"]) == ("first", 8, 1.0)
    assert first["comparison"].p_value == pytest.approx(0.0078125)
    assert first["p_value"] == pytest.approx(0.015625)
    assert second["p_value"] == 1.0


@pytest.mark.parametrize("text", ["{not json", "[1, 2]", "3", None, 7])
def test_what_is_no_object_names_no_slices(text: object) -> None:
    assert _results.parsed(text) == {}
    assert (
        _results.by_slice(
            _results.pairs([sample("r", "a", 1.0, slices=text), sample("q", "a", 0.0, slices=text)], "r", "q"), names=("A", "B")
        )
        == []
    )


def test_the_largest_change_comes_first() -> None:
    rows = [
        sample("q", "a", 0.5),
        sample("r", "a", 0.75),
        sample("q", "b", 1.0),
        sample("r", "b", 0.0),
        sample("q", "c", 1.0),
        sample("r", "c", 1.0),
    ]
    pairs = _results.pairs(rows, "r", "q")
    assert [pair.id for pair in _results.matching(pairs, "")] == ["b", "a"]
    assert [pair.id for pair in _results.matching(pairs, "better")] == ["a"]
    assert [pair.id for pair in _results.matching(pairs, "all")] == ["b", "a", "c"]


def test_less_is_better_for_a_measure_of_time_or_cost() -> None:
    assert _results.is_lower_better(run("r", scorers=["latency", "exact"]))
    assert not _results.is_lower_better(run("r", scorers=None))


# --- prompts and votes ----------------------------------------------------------------------------------------------


def test_the_catalogue_holds_what_was_saved_and_what_was_only_used() -> None:
    saved = [{"name": "triage", "version": "1.0.0"}, {"name": "triage", "version": "1.1.0"}, {"name": "new", "version": "1.0.0"}]
    use = [
        {"prompt_name": "triage", "calls": 3, "errors": 1, "refused": 0, "cost_usd": Decimal(1), "last_at": START},
        {"prompt_name": "stray", "calls": 9, "errors": 0, "refused": 0, "cost_usd": None, "last_at": START},
    ]
    rows = _library.catalogue(saved, [{"name": "triage", "label": "production", "version": "1.0.0"}], use)
    assert [(row["name"], len(row["versions"]), row["calls"], row["cost_usd"]) for row in rows] == [
        ("stray", 0, 9, None),
        ("triage", 2, 3, Decimal(1)),
        ("new", 1, 0, None),
    ]
    assert _library.chosen(rows, Query()) == "triage"
    assert _library.chosen(rows, Query(prompt="new")) == "new"
    assert _library.chosen([], Query()) == ""


def test_two_versions_are_those_of_the_link_or_the_last_two() -> None:
    saved = [{"version": version} for version in ("1.0.0", "1.1.0", "2.0.0")]
    assert _library.two_versions(saved, Query()) == ("1.1.0", "2.0.0")
    assert _library.two_versions(saved, Query(version="1.0.0")) == ("", "1.0.0")
    assert _library.two_versions(saved, Query(version="2.0.0", base="1.0.0")) == ("1.0.0", "2.0.0")
    assert _library.two_versions(saved, Query(version="9.9.9")) == ("1.1.0", "2.0.0")
    assert _library.two_versions([], Query()) == ("", "")


def test_a_version_shows_its_newest_whole_run_on_each_evalset() -> None:
    runs = [
        {**run("capped", status="capped"), "score": 0.1},
        {**run("new"), "score": 0.8},
        {**run("old"), "score": 0.5},
        {**run("desk", evalset="desk"), "score": 0.4},
    ]
    (row,) = _library.by_version([{"version": "1.0.0", "name": "triage"}], [], runs, "triage")
    assert [one["run_id"] for one in row["scores"]] == ["new", "desk"]
    assert row["use"] is None


def experiment(**more: Any) -> dict[str, Any]:
    fields = {"id": "e", "name": "Which?", "variants": json.dumps([{"name": "A", "prompt": "triage@1.0.0"}, {"name": "B"}]), "blind": True}
    return {**fields, "recorded_at": START, **more}


def counts(**votes: int) -> list[dict[str, Any]]:
    return [{"experiment": "e", "winner": name, "votes": n, "raters": 1, "last_at": START} for name, n in votes.items()]


def test_the_verdict_of_votes_counts_ties_for_neither() -> None:
    (row,) = _votes.joined([experiment()], counts(A=40, B=10, tie=5, none=2))
    assert (row["votes"], row["verdict"].ties, row["verdict"].winner) == (57, 7, "A")
    (row,) = _votes.joined([experiment()], [])
    assert row["verdict"].state == "open" and "No votes yet" in row["verdict"].sentence


def test_an_experiment_of_one_variant_or_of_an_older_form_is_no_error() -> None:
    (row,) = _votes.joined([experiment(variants='["A"]')], [])
    assert row["verdict"] is None and _votes.evidence(row, []) == []
    assert [item["name"] for item in _votes.variants_of(experiment(variants='{"A": {"model": "fast"}, "B": {}}'))] == ["A", "B"]
    assert _votes.variants_of(experiment(variants=None)) == []


def test_the_evidence_is_the_confidence_sequence_of_each_vote() -> None:
    (row,) = _votes.joined([experiment()], counts(A=5, B=5, tie=1))
    points = _votes.evidence(row, [{"winner": name} for name in ("A", "tie", *"BABABABAB")])
    assert [point["vote"] for point in points] == list(range(1, 11))
    assert (points[-1]["share"], points[-1]["low"]) == (0.5, pytest.approx(0.129219, abs=1e-6))


def test_many_votes_are_a_few_hundred_points_and_the_last_is_among_them() -> None:
    (row,) = _votes.joined([experiment()], counts(A=3000, B=2001))
    points = _votes.evidence(row, [{"winner": "A"}] * 3000 + [{"winner": "B"}] * 2001)
    assert len(points) <= 402 and points[-1]["vote"] == 5001


def test_the_experiment_of_the_prompt_comes_first() -> None:
    rows = [experiment(id="x", variants='[{"name": "A"}, {"name": "B"}]'), experiment()]
    assert _votes.chosen(rows, Query(), "triage")["id"] == "e"  # type: ignore[index]
    assert _votes.chosen(rows, Query(), "other")["id"] == "x"  # type: ignore[index]
    assert _votes.chosen(rows, Query(experiment="gone"), "triage") is None
