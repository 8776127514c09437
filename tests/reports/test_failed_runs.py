"""Six ways in which a report run fails, through a real gateway: none of them is taken for a success."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from failedkit import (
    ERROR,
    FINISHED,
    HANG,
    STATUS,
    Home6,
    failing_home,
    fill_and_recover,
    finished_files,
    kernels,
    limited_run,
    small_disk,
    write_notebook,
)
from served import wait_for

from aiplat_lab.client import connect
from aiplat_lab.core.errors import AiplatError, LedgerError, ReportError, UsageError
from aiplat_lab.core.settings import Home
from aiplat_lab.reports import _run, run_report
from aiplat_lab.reports._publish import making, publish

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def aftermath(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Home6, dict[str, dict[str, Any]]]]:
    """A home after all of them but the full disk, which needs a disk of its own."""
    with failing_home(tmp_path_factory.mktemp("failed") / "home") as place:
        names = {kind: place.start(kind) for kind in STATUS}
        yield place, {kind: place.end(name) for kind, name in names.items()}


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("kill", "Kernel died"),
        ("hang", "time-out"),
        ("error", "ValueError: the data is not there"),
        ("flood", "more than 1 MB of output"),
        ("missed", "slept"),
    ],
)
def test_a_run_that_fails_is_no_success(aftermath: tuple[Home6, dict[str, dict[str, Any]]], kind: str, said: str):
    place, ends = aftermath
    assert ends[kind]["status"] == STATUS[kind] and said in ends[kind]["error"]
    assert place.published() == [] and wait_for(lambda: place.left() == [], 10), place.left()
    incidents = " ".join(place.client.status()["incidents"])
    assert (f"the schedule {kind}-0 failed" in incidents) is (kind != "missed")
    if kind in ("kill", "error", "flood"):
        assert list(place.home.path.glob(f"reports/{kind}-0-*/failed/*.ipynb")), "the notebook as far as it got is kept"
    if kind != "missed":
        assert ends[kind]["exit_code"] == 1 and Path(ends[kind]["log"]).stat().st_size < 1_000_200


def test_a_disk_that_is_full_is_no_success(tmp_path: Path):
    with small_disk(tmp_path / "disk") as disk:
        if disk is None:
            pytest.skip("mounting needs root; test_a_file_that_may_not_grow stands in")
        with failing_home(disk / "home") as place:
            end, meanwhile = fill_and_recover(place)
            assert end["status"] in ("failed", "lost"), end
            assert meanwhile == [] and place.published() == [] and place.left() == []


def test_a_file_that_may_not_grow(tmp_path: Path):
    done, files = limited_run(tmp_path / "home")
    assert done.returncode == 1 and "no report was written" in done.stderr and "Traceback" not in done.stderr
    assert files == []


def _run_of(home: Home, *cells: str, **options: Any) -> subprocess.Popen[str]:
    notebook = write_notebook(home.path / "book.ipynb", *cells)
    words = [sys.executable, "-m", "aiplat_lab.reports", "run", str(notebook), "--home", str(home.path), "--out", str(home.path / "out")]
    return subprocess.Popen(words, stderr=subprocess.PIPE, text=True, **options)


def test_a_run_that_is_told_to_end_cleans_up(home: Home):
    begun = home.path / "begun"
    run = _run_of(home, FINISHED, f"open({str(begun)!r}, 'w').close()", HANG)
    assert wait_for(begun.exists, 120)
    run.send_signal(signal.SIGTERM)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 1 and "ended from outside" in said and "Traceback" not in said, said
    assert [path.name for path in (home.path / "out").iterdir()] == ["failed"]
    assert wait_for(lambda: not kernels(home), 10)


def test_a_run_that_is_killed_leaves_nothing_that_looks_finished(home: Home):
    begun = home.path / "begun"
    run = _run_of(home, FINISHED, f"open({str(begun)!r}, 'w').close()\nimport time; time.sleep(600)")
    assert wait_for(begun.exists, 120)
    run.kill()
    run.communicate(timeout=60)
    assert not (home.path / "out").exists()
    (left,) = home.path.glob(".making-*")
    assert wait_for(lambda: not kernels(home), 20), "a kernel whose run is gone ends by itself"
    os.utime(left, (time.time() - 7200,) * 2)
    with making(home.path / "out", "x") as work:
        assert not left.exists() and work.exists(), "the next run clears it away"
    assert not work.exists()


def test_what_is_there_stays_when_a_later_run_fails(home: Home, tmp_path: Path):
    good, bad = write_notebook(tmp_path / "mine.ipynb", FINISHED), write_notebook(tmp_path / "bad.ipynb", FINISHED, ERROR)
    out = tmp_path / "out"
    first = run_report(str(good), home=home, out=out)
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    assert {"report.json", "report.html", "report.pdf", "report.ipynb"} == set(before)
    row = connect(home).view_rows("report_list")[0]
    assert row["folder"] == str(first.folder) and row["status"] == "complete" and row["name"] == "mine" and len(row["sha256"]) == 64
    with pytest.raises(ReportError, match="the data is not there"):
        run_report(str(bad), home=home, out=out)
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()} == before
    assert len(connect(home).view_rows("report_list")) == 1


def test_a_report_that_cannot_be_recorded_does_not_appear(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The parts that follow the notebook, on a folder as a notebook leaves it."""

    class Full:
        def record(self, *_: object, **__: object) -> None:
            raise LedgerError("the disk is full")

    document = (
        '{"schema": 1, "name": "mine", "title": "Mine", "since": "2026-11-01T00:00:00+00:00", "until": "2026-11-02T00:00:00+00:00", '
        '"generated_at": "2026-11-02T00:00:00+00:00", "version": "0", "basis": {}, "blocks": [], "queries": []}'
    )
    for out in (tmp_path / "new", tmp_path / "old"):
        if out.name == "old":
            out.mkdir()
            (out / "report.json").write_text("before")
        with making(out, "mine") as work:
            (work / "report.json").write_text(document)
            with pytest.raises(ReportError, match="cannot be recorded in the ledger: the disk is full"):
                _run._appear(work, out, Full())  # type: ignore[arg-type]
            assert (work / "report.json").read_text() == document
        assert finished_files(out) == ([out / "report.json"] if out.name == "old" else [])
    assert (tmp_path / "old" / "report.json").read_text() == "before"


def test_two_reports_of_one_second_stand_apart(tmp_path: Path):
    folders = []
    for text in ("one", "two"):
        with making(tmp_path / "made", "x") as work:
            (work / "report.json").write_text(text)
            shutil.rmtree(tmp_path / "empty", ignore_errors=True)
            folders.append(
                publish(work, tmp_path / "made").folder
                if text == "one"
                else publish(work.rename(tmp_path / ".w"), tmp_path / "made").folder
            )
    assert [folder.name for folder in folders] == ["made", "made-2"]
    assert [(folder / "report.json").read_text() for folder in folders] == ["one", "two"]


def test_used_wrongly_nothing_is_begun(home: Home, tmp_path: Path):
    import json

    plain = tmp_path / "plain.ipynb"
    book = json.loads(write_notebook(plain, "1").read_text())
    book["cells"] = book["cells"][1:]
    plain.write_text(json.dumps(book))
    mine = str(write_notebook(tmp_path / "mine.ipynb", "1"))
    wrong: list[tuple[str, dict[str, Any], str]] = [
        (str(plain), {}, "tag a cell `parameters`"),
        (mine, {"parameters": {"margn": 1}}, "has no parameter 'margn'"),
        (mine, {"timeout_s": -1.0}, "more than 0"),
        (mine, {"timeout_s": float("nan")}, "more than 0"),
    ]
    for name, options, said in wrong:
        with pytest.raises(AiplatError, match=said) as caught:
            run_report(name, home=home, out=tmp_path / "out", **options)
        assert isinstance(caught.value, UsageError)
    assert not (tmp_path / "out").exists() and not home.gateway_file.exists()
