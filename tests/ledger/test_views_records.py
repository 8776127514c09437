"""The views that the Evaluation and Prompts pages read, against values worked out by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from aiplat_lab.core.ids import new_id
from aiplat_lab.core.settings import Home
from aiplat_lab.ledger import Ledger
from aiplat_lab.stats import cluster_se

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture
def ledger(home: Home) -> Iterator[Ledger]:
    with Ledger.open(home, archive=False) as opened:
        yield opened


def sample(run: str, name: str, score: float | None, *, epoch: int = 1, **more: object) -> dict[str, object]:
    fields = {"run_id": run, "sample_id": name, "epoch": epoch, "status": "error" if score is None else "ok", "score": score}
    return {"id": f"{run}/{name}/{epoch}", "cost_usd": "0.01", "latency_s": 2.0, "cached": False, **fields, **more}


def put(ledger: Ledger, *rows: dict[str, object]) -> None:
    for row in rows:
        ledger.record("eval_sample", row)


def test_a_run_of_right_and_wrong_samples_keeps_errors_apart(ledger: Ledger) -> None:
    put(ledger, sample("r", "a", 1.0), sample("r", "b", 0.0), sample("r", "c", 1.0, cached=True), sample("r", "d", None, error="timeout"))
    (row,) = ledger.view_rows("eval_scores")
    assert (row["samples"], row["asked"], row["errors"], row["scored"], row["cached"]) == (4, 4, 1, 3, 1)
    assert row["score"] == pytest.approx(2 / 3)
    assert (row["scores"], row["clusters"]) == ([1.0, 0.0, 1.0], None)
    assert (row["cost_usd"], row["latency_s"]) == (Decimal("0.04"), 2.0)


def test_an_error_is_not_a_wrong_answer_and_a_run_without_answers_has_no_score(ledger: Ledger) -> None:
    put(ledger, sample("r", "a", None), sample("r", "b", None))
    (row,) = ledger.view_rows("eval_scores")
    assert (row["errors"], row["scored"], row["score"], row["scores"]) == (2, 0, None, None)


def test_the_standard_error_of_clusters_is_the_published_one(ledger: Ledger) -> None:
    scores, clusters = "1110001101", "0001112233"
    put(ledger, *(sample("r", f"s{i}", float(x), cluster=c) for i, (x, c) in enumerate(zip(scores, clusters, strict=True))))
    (row,) = ledger.view_rows("eval_scores", {"run": "r"})
    assert cluster_se(row["scores"], row["clusters"], small_sample=True) == pytest.approx(0.267333, abs=1e-6)


def test_scores_are_added_up_exactly_whatever_their_order(ledger: Ledger) -> None:
    """A sum of fractions depends on its order, which threads decide; a report's bytes must not."""
    put(ledger, *(sample("r", f"s{i}", 0.1, latency_s=0.1) for i in range(10)))
    (row,) = ledger.view_rows("eval_scores")
    assert sum([0.1] * 10) / 10 != 0.1
    assert (row["score"], row["latency_s"]) == (0.1, 0.1)


def test_an_empty_cluster_is_none(ledger: Ledger) -> None:
    put(ledger, sample("r", "a", 1.0, cluster=""), sample("r", "b", 0.0, cluster=""), sample("r", "c", 0.0, cluster="one"))
    (row,) = ledger.view_rows("eval_scores")
    assert row["clusters"] is None
    assert [one["cluster"] for one in ledger.view_rows("eval_sample_means", {"run": "r"})] == [None, None, "one"]


def test_repetitions_are_averaged_before_samples_are(ledger: Ledger) -> None:
    put(ledger, sample("r", "a", 1.0), sample("r", "a", 0.0, epoch=2), sample("r", "b", 1.0), sample("r", "b", None, epoch=2))
    (row,) = ledger.view_rows("eval_scores")
    assert (row["samples"], row["asked"], row["errors"], row["score"]) == (2, 4, 1, 0.75)
    assert row["scores"] == [0.5, 1.0]


def test_a_sample_that_was_scored_anew_counts_once(ledger: Ledger) -> None:
    put(ledger, sample("r", "a", None), sample("r", "a", 1.0))
    (row,) = ledger.view_rows("eval_scores")
    assert (row["asked"], row["errors"], row["score"]) == (1, 0, 1.0)


def test_samples_of_two_runs_stand_side_by_side(ledger: Ledger) -> None:
    call = new_id(NOON)
    put(ledger, sample("r", "a", 1.0, call_id=call, slices={"channel": "post"}, scores={"exact": 1.0}, notes={"exact": "same"}))
    put(ledger, sample("q", "a", 0.5), sample("q", "a", 1.0, epoch=2), sample("other", "a", 1.0))
    first, second = ledger.view_rows("eval_sample_means", {"run": ["r", "q"]})
    assert (first["run_id"], first["score"], first["asked"]) == ("q", 0.75, 2)
    assert (second["call_id"], json.loads(second["slices"]), json.loads(second["notes"])) == (call, {"channel": "post"}, {"exact": "same"})
    assert [row["run_id"] for row in ledger.view_rows("eval_sample_means", {"run": "r", "sample": "a"})] == ["r"]


def call(at: datetime, prompt: str | None, version: str | None, **more: object) -> dict[str, object]:
    fields = {"call_id": new_id(at), "started_at": at, "ended_at": at + timedelta(seconds=1), "operation": "chat", "surface": "magic"}
    fields |= {"request_model": "fast", "status": "ok", "attempts": 1, "input_tokens": 100, "output_tokens": 10, "latency_s": 1.0}
    return {**fields, "cost_usd": Decimal("0.5"), "prompt_name": prompt, "prompt_version": version, **more}


def test_the_use_of_prompt_versions(ledger: Ledger) -> None:
    rows = [
        call(NOON, "triage", "1.0.0"),
        call(NOON + timedelta(days=1), "triage", "1.1.0", latency_s=3.0, cost_usd=None),
        call(NOON + timedelta(days=1), "triage", "1.1.0", status="error", cost_usd=Decimal(0), input_tokens=None, output_tokens=None),
        call(NOON + timedelta(days=1), None, None),
    ]
    for row in rows:
        ledger.record("call", row)
    new, old = ledger.view_rows("prompt_use")
    assert (new["prompt_version"], new["calls"], new["errors"], new["unpriced_calls"]) == ("1.1.0", 2, 1, 1)
    assert (new["cost_usd"], new["input_tokens"], new["latency_p50_s"]) == (Decimal(0), 100, 3.0)
    assert (old["prompt_version"], old["calls"], old["cost_usd"], old["last_at"]) == ("1.0.0", 1, Decimal("0.5"), NOON)
    days = [(row["day"].day, row["prompt_version"], row["calls"]) for row in ledger.view_rows("prompt_days", {"prompt": "triage"})]
    assert days == [(20, "1.0.0", 1), (21, "1.1.0", 2)]
    kinds = {(row["kind"], row["value"]): row["calls"] for row in ledger.view_rows("filter_values")}
    assert kinds["prompt", "triage"] == 3 and kinds["prompt", None] == 1 and kinds["model", "fast"] == 4


def vote(name: str, rater: str, input_id: str, winner: str) -> dict[str, object]:
    return {"id": name, "experiment": "e", "rater": rater, "input_id": input_id, "winner": winner}


def test_votes_are_counted_once_and_the_last_of_a_rater_on_an_input_stands(ledger: Ledger) -> None:
    for row in (vote("1", "ann", "x", "A"), vote("1", "ann", "x", "A"), vote("2", "ann", "x", "B"), vote("3", "bob", "x", "tie")):
        ledger.record("vote", row)
    counts = [(row["winner"], row["votes"], row["raters"]) for row in ledger.view_rows("vote_counts", {"experiment": "e"})]
    assert counts == [("B", 1, 1), ("tie", 1, 1)]
