"""The kernel is killed in the middle of a run: nothing is lost, nothing is paid twice, and the report is the same."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from evalkit import Killed, kill_and_resume, rows, write
from evalkit import place as make_place
from served import Served, wait_for

from aiplat_lab.evals import evaluate


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with make_place(tmp_path_factory.mktemp("kills")) as found:
        yield found


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_run_that_was_killed_is_taken_up_without_losing_or_paying_twice(place: Served, tmp_path: Path, share: float) -> None:
    data = write(tmp_path / "data.jsonl", rows(200))
    whole = evaluate(
        str(data), model="slow", scorers="exact", concurrency=16, cache="off", client=place.client, progress=False, name="whole"
    )
    found: Killed = kill_and_resume(place, data, share=share, concurrency=16)
    assert found.at_kill < found.samples, "it was killed in the middle"
    assert (found.lost, found.twice, found.asked) == (0, 0, 200)
    assert found.run.status == "complete"
    assert found.run.report() == whole.report()
    assert found.run.cost_usd == whole.cost_usd
    calls = place.client.sql("SELECT count(*) AS n, count(DISTINCT tags['sample']) AS d FROM calls WHERE experiment = ?", [found.run.id])
    assert calls.row(0) == (200, 200)


def test_a_judge_is_not_paid_twice_either(place: Served, tmp_path: Path) -> None:
    data = write(tmp_path / "data.jsonl", rows(40))
    found = kill_and_resume(place, data, share=1.0, scorers="exact judge", concurrency=4)
    judged = place.client.sql(
        "SELECT count(*) AS n, count(DISTINCT tags['sample']) AS d FROM calls WHERE experiment = ? AND parent_id <> ''", [found.run.id]
    )
    answers = place.client.sql("SELECT count(*) AS n FROM calls WHERE experiment = ? AND tags['scorer'] IS NULL", [found.run.id])
    assert answers.item() == 40
    assert judged.row(0)[1] == 40
    assert found.run.status == "errors" and found.run.summary()[1].errors == 40, "an echo is a judge out of form: errors, not zeros"
    assert found.run.summary()[1].mean is None


def test_a_gateway_that_is_killed_loses_no_sample(place: Served, tmp_path: Path) -> None:
    data = write(tmp_path / "data.jsonl", rows(120))
    before = len(place.upstream.requests)
    pid = place.client.status()["pid"]

    def kill() -> None:
        if wait_for(lambda: len(place.upstream.requests) - before >= 60, 60):
            os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    found = evaluate(str(data), model="slow", scorers="exact", concurrency=8, cache="off", client=place.client, progress=False)
    killer.join()
    if found.status != "complete":
        found = evaluate(resume=found.id, client=place.client, progress=False)
    assert found.status == "complete" and len(found.rows) == 120 and found.summary()[0].mean == pytest.approx(0.8)
    assert len(place.upstream.requests) - before <= 120 + 8, "at most the calls in flight are paid twice"
