"""The notebooks on evaluations: which runs they compare, what they say of them, and what they say when there are none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from ledgerkit import a_call
from reportkit import demo_snapshot, played, reading, table

from aiplat_lab import stats
from aiplat_lab.core.errors import ReportError
from aiplat_lab.core.settings import Home
from aiplat_lab.ledger import Ledger
from aiplat_lab.reports import quality

NOTEBOOKS = ("model-comparison", "prompt-comparison", "regression", "platform-review")


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIPLAT_HOME", "")  # the helpers set it; this puts it back


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Home, Path]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIPLAT_HOME", "")
        yield demo_snapshot(tmp_path_factory.mktemp("demo"))


def a_run(ledger: Ledger, run: str, scores: list[float | None], **fields: Any) -> None:
    """A run with one score a sample; None is an answer that never came."""
    row = {
        "id": run, "name": f"name of {run}", "evalset": "tickets", "evalset_hash": "a" * 64, "samples": len(scores), "epochs": 1,
        "prompt_name": "triage", "prompt_version": "1.0.0", "model": "fast", "scorers": ["exact"],
    }  # fmt: skip
    status = fields.pop("status", "complete")
    ledger.record("eval_run", {**row, **fields})
    for number, score in enumerate(scores):
        ledger.record(
            "eval_sample",
            {
                "id": f"{run}/s{number:02d}/1", "run_id": run, "sample_id": f"s{number:02d}", "epoch": 1, "call_id": f"call-{run}-{number}",
                "status": "ok" if score is not None else "error", "score": score, "slices": {"class": "odd" if number % 2 else "even"},
                "cost_usd": "0.002", "latency_s": 0.5,
            },
        )  # fmt: skip
    if status:
        ledger.record("eval_end", {"id": f"{run}/1", "run_id": run, "status": status})


def sealed(home: Home) -> tuple[Ledger, Path]:
    return Ledger.open(home), home.path / "snapshot.duckdb"


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_an_empty_ledger_is_said_in_words(name: str, home: Home, tmp_path: Path) -> None:
    ledger, snapshot = sealed(home)
    with ledger:
        ledger.snapshot(snapshot)
    data = json.loads(played(name, home, snapshot, tmp_path).read_text())
    assert data["status"] == "complete"
    assert "not evidenced" in " ".join(data["summary"])
    assert not [block for block in data["blocks"] if block["kind"] == "chart"]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_full_ledger_gives_words_tables_and_charts(name: str, demo: tuple[Home, Path], tmp_path: Path) -> None:
    home, snapshot = demo
    data = json.loads(played(name, home, snapshot, tmp_path).read_text())
    kinds = {block["kind"] for block in data["blocks"]}
    assert {"heading", "table", "chart"} <= kinds
    assert len(data["summary"]) >= 3
    cited = {word for block in data["blocks"] for word in str(block.get("query", "")).split()}
    assert cited and cited <= {query["id"] for query in data["queries"]}
    assert all(block["alt"] for block in data["blocks"] if block["kind"] == "chart")


def test_a_comparison_is_paired_and_says_what_it_could_have_shown(home: Home, tmp_path: Path) -> None:
    first = [1.0] * 20 + [0.0] * 10
    second: list[float | None] = [*([1.0] * 18), *([0.0] * 2), *([1.0] * 9), None]
    ledger, snapshot = sealed(home)
    with ledger:
        a_run(ledger, "run-a", first)
        a_run(ledger, "run-old", [0.0] * 30, model="careful")
        a_run(ledger, "run-b", second, model="careful")
        a_run(ledger, "run-other", [1.0] * 30, model="third", evalset_hash="b" * 64)
        a_run(ledger, "run-open", [1.0] * 30, model="fourth", status="")
        ledger.snapshot(snapshot)
    data = json.loads(played("model-comparison", home, snapshot, tmp_path).read_text())
    rows = table(tmp_path / "report.json", "Differences on the same samples")
    assert len(rows) == 1 and rows[0][0] == "careful against fast" and rows[0][1] == "29"
    expected = stats.compare_paired(first[:29], [score for score in second if score is not None], names=("fast", "careful"), margin=0.05)
    assert expected.sentence in data["summary"]
    assert rows[0][2] == f"{100 * expected.difference:+.1f}"
    scores = {row[0]: row for row in table(tmp_path / "report.json", "What each scored")}
    assert set(scores) == {"fast", "careful"}
    assert scores["careful"][2:4] == ["29 of 30", "1"]
    worst = table(tmp_path / "report.json", "Samples with the lowest scores")
    assert worst[0][0] in {f"s{number}" for number in range(20, 30)}
    slices = {row[0] for row in table(tmp_path / "report.json", "Score by slice, the lowest first")}
    assert slices == {"class: odd", "class: even"}
    assert any("never came" in sentence for sentence in data["summary"])


def test_what_is_named_has_to_be_there_and_comparable(home: Home) -> None:
    ledger, snapshot = sealed(home)
    with ledger:
        a_run(ledger, "run-a", [1.0, 0.0])
        a_run(ledger, "run-b", [1.0, 0.0], model="careful", evalset_hash="b" * 64)
        ledger.snapshot(snapshot)
    report = reading(home, snapshot)
    with pytest.raises(ReportError, match=r"no run of the evalset 'ticket'.*tickets"):
        quality.choose(report, by="model", evalset="ticket")
    with pytest.raises(ReportError, match="no run of the model 'fst'"):
        quality.choose(report, by="model", values=["fst"])
    with pytest.raises(ReportError, match="no run 'run-z'"):
        quality.choose(report, by="model", runs=["run-z"])
    chosen = quality.choose(report, by="model", runs=["run-a", "run-b"])
    with pytest.raises(ReportError, match="different versions of an evalset"):
        quality.compare(report, chosen)
    with pytest.raises(ReportError, match="there is no experiment 'x'"):
        quality.write_votes(report, experiments=["x"])
    alone = quality.choose(report, by="model", runs=["run-a"])
    assert quality.compare(report, alone)[0] == []


def test_a_regression_is_called_one_and_a_baseline_counts(home: Home, tmp_path: Path) -> None:
    good, bad = [1.0] * 38 + [0.0] * 2, [1.0] * 14 + [0.0] * 26
    ledger, snapshot = sealed(home)
    with ledger:
        a_run(ledger, "run-1", good)
        a_run(ledger, "run-2", good)
        a_run(ledger, "run-3", bad, prompt_version="1.1.0")
        ledger.record("eval_baseline", {"id": "m1", "name": "release", "run_id": "run-1", "set_by": "ada"})
        gate = {"run_id": "run-3", "baseline_run_id": "run-1", "baseline": "release", "verdict": "regression", "margin": 0.05}
        ledger.record("eval_gate", {"id": "g1", **gate, "comparison": {"n": 40}, "sentence": "It is worse."})
        ledger.snapshot(snapshot)
    data = json.loads(played("regression", home, snapshot, tmp_path, baseline="release").read_text())
    row = table(tmp_path / "report.json", "Latest runs against their baselines")
    assert len(row) == 1 and row[0][3] == "release" and row[0][-1] == "regression"
    assert "1 are regressions" in data["summary"][0]
    assert table(tmp_path / "report.json", "Gates asked in the period")[0][1:3] == ["release", "regression"]
    with pytest.raises(ReportError, match=r"no baseline 'relase'.*release"):
        played("regression", home, snapshot, tmp_path, baseline="relase")
    actions = table(played("platform-review", home, snapshot, tmp_path / "review"), "Recommended actions")
    assert any("Do not promote triage@1.1.0" in str(action[0]) for action in actions)


def test_votes_have_a_verdict_that_holds_at_any_look(home: Home, tmp_path: Path) -> None:
    ledger, snapshot = sealed(home)
    with ledger:
        ledger.record("experiment", {"id": "e1", "name": "short or long", "variants": [{"name": "short"}, {"name": "long"}]})
        for number in range(40):
            winner = "short" if number < 34 else "tie" if number < 36 else "long"
            ledger.record("vote", {"id": f"v{number}", "experiment": "e1", "input_id": f"i{number}", "rater": "ada", "winner": winner})
        ledger.snapshot(snapshot)
    data = json.loads(played("prompt-comparison", home, snapshot, tmp_path).read_text())
    said = stats.vote_verdict({"short": 34, "long": 4}, ties=2).sentence
    assert any(said in sentence for sentence in data["summary"])
    row = table(tmp_path / "report.json", "Votes of people in A/B experiments")[0]
    assert row[2] == "40" and "short 34" in str(row[3])


def test_actions_come_from_the_figures_alone(home: Home, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    ledger, snapshot = sealed(home)
    with ledger:
        for number in range(20):
            failed = {"status": "error", "error_type": "timeout", "cost_usd": None, "finish_reason": None} if number < 4 else {}
            ledger.record("call", a_call(started_at=now, **failed))
        run = {"schedule": "weekly", "slot": now, "report": "cost", "status": "failed", "error": "it broke"}
        ledger.record("schedule", {"id": "weekly", "report": "cost", "cron": "0 7 * * 1", "time_zone": "UTC"})
        ledger.record("schedule_run", {"id": "weekly/1", **run})
        ledger.snapshot(snapshot)
    data = json.loads(played("platform-review", home, snapshot, tmp_path).read_text())
    actions = {row[0]: row[1] for row in table(tmp_path / "report.json", "Recommended actions")}
    assert "20.0% of calls failed, most as timeout" in actions["Find the cause of failed calls, and add a second deployment for the model"]
    assert "Repair the schedule weekly" in actions
    assert "Set a budget" in actions
    assert "1 scheduled run, 1 of them failed" in " ".join(data["summary"])
