"""Reports from real processes: the same bytes for one snapshot, a check that can fail, and exit codes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from reportkit import demo_snapshot, tampered

from aiplat_lab.charts import DARK, LIGHT
from aiplat_lab.core.settings import Home

FILES = ("report.json", "report.html", "report.pdf")


def aiplat(home: Home, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "aiplat_lab.cli", *words, "--home", str(home.path)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_two_processes_give_the_same_bytes_and_a_check_finds_what_differs(tmp_path: Path, home: Home) -> None:
    demo, snapshot = demo_snapshot(tmp_path / "demo", calls=800)
    home.settings_file.write_text(demo.settings_file.read_text())
    words = ["report", "run", "prompt-comparison", "--snapshot", str(snapshot)]
    for name in ("one", "two"):
        done = aiplat(home, *words, "--out", str(tmp_path / name))
        assert done.returncode == 0, done.stderr
    for file in FILES:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes(), file

    html = (tmp_path / "one" / "report.html").read_text()
    assert set(re.findall(r"https?://[^\"' <)]+", html)) <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert "<svg" in html and "<script" not in html
    assert f'svg [fill="{LIGHT.ink}"] {{ fill: {DARK.ink}; }}' in html
    ids = re.findall(r'\sid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r"url\(#([^)]+)\)", html)) <= set(ids)
    pdf = (tmp_path / "one" / "report.pdf").read_bytes()
    assert b"report.json" in pdf and b"pdfaid" in pdf

    check = ["report", "check", str(tmp_path / "one")]
    lost = aiplat(home, *check)
    assert lost.returncode == 2 and "was not kept" in lost.stderr and "--snapshot" in lost.stderr
    good = aiplat(home, *check, "--snapshot", str(snapshot))
    assert good.returncode == 0, good.stderr
    assert "every digest is the same" in good.stdout

    votes = tampered(snapshot, tmp_path / "votes.duckdb", "DELETE FROM records WHERE kind = 'vote' AND seq % 2 = 0")
    bad = aiplat(home, *check, "--snapshot", str(votes))
    assert bad.returncode == 1 and len(bad.stderr.strip().splitlines()) == 1
    assert "changed or exchanged" in bad.stderr and "vote_counts" in bad.stderr and "Traceback" not in bad.stderr

    page = tmp_path / "two" / "report.html"
    page.write_text(page.read_text().replace("is better than", "is far better than"))
    edited = aiplat(home, "report", "check", str(tmp_path / "two"), "--snapshot", str(snapshot))
    assert edited.returncode == 1 and "report.html is not what report.json gives" in edited.stderr


@pytest.mark.slow
def test_the_evidence_report_keeps_its_snapshot_and_fails_on_a_changed_one(tmp_path: Path, home: Home) -> None:
    kept = aiplat(home, "report", "run", "compliance", "--out", str(tmp_path / "kept"), "-p", "organisation=Example Ltd")
    assert kept.returncode == 0, kept.stderr
    assert (tmp_path / "kept" / "snapshot.duckdb").is_file()
    good = aiplat(home, "report", "check", str(tmp_path / "kept"))
    assert good.returncode == 0, good.stderr
    tables = list((tmp_path / "kept" / "tables").glob("*.csv"))
    assert len(tables) >= 10

    changed = tampered(tmp_path / "kept" / "snapshot.duckdb", tmp_path / "changed.duckdb", "UPDATE seal SET rows = rows + 1")
    done = aiplat(home, "report", "run", "compliance", "--snapshot", str(changed), "--out", str(tmp_path / "failed"))
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1 and "failed" in done.stderr and "seal" in done.stderr
    assert json.loads((tmp_path / "failed" / "report.json").read_text())["status"] == "failed"
    assert "status: failed" in (tmp_path / "failed" / "report.html").read_text()


def test_used_wrongly_is_one_line(tmp_path: Path, home: Home) -> None:
    for words, said in (
        (["check", str(tmp_path)], "no report.json"),
        (["run", "cost", "--snapshot", str(tmp_path / "none.duckdb")], "there is no snapshot"),
        (["run", "model-comparison", "-p", "evlset=x"], "evalset"),
    ):
        done = aiplat(home, "report", *words)
        assert done.returncode == 2, done.stderr
        assert said in done.stderr and len(done.stderr.strip().splitlines()) == 1


def test_the_list_says_what_each_report_shows(home: Home) -> None:
    done = aiplat(home, "report", "list", "--json")
    rows = {row["report"]: row["about"] for row in json.loads(done.stdout)}
    assert set(rows) >= {"compliance", "cost", "model-comparison", "platform-review", "prompt-comparison", "regression"}
    assert all(rows.values())


@pytest.mark.slow
def test_a_notebook_runs_a_report_and_shows_it(home: Home, tmp_path: Path) -> None:
    import aiplat_lab
    from aiplat_lab.core.errors import UsageError

    shown = aiplat_lab.report("regression", margin=0.1, out=tmp_path / "out")
    assert shown.status == "complete" and shown.pdf.is_file() and shown.json.is_file()
    assert "not evidenced" in shown.summary[0] and "not evidenced" in repr(shown)
    page = shown._repr_html_()
    assert page.startswith("<iframe") and "sandbox" in page and "<script" not in page
    with pytest.raises(UsageError, match="regression"):
        aiplat_lab.report("regresion")
    with pytest.raises(UsageError, match="margin"):
        aiplat_lab.report("regression", margn=1)
