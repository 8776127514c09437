"""A report from real calls: the files, the figures in them, and what a failure leaves behind."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import nbformat
import pytest
from faults import FaultServer

from aiplat_lab.client import Client, connect
from aiplat_lab.core.errors import CallRefused, ProviderError, ReportError, UsageError
from aiplat_lab.core.settings import Home
from aiplat_lab.reports import execute, report_names, run_report
from aiplat_lab.reports._html import render_html
from aiplat_lab.reports._run import read

SETTINGS = """
[providers.up]
kind = "openai"
base_url = "{url}"
retries = 0
[models.fast]
deployments = [{{ provider = "up", model = "instant", input_usd_per_mtok = 1000, output_usd_per_mtok = 2000 }}]
[models.broken]
deployments = [{{ provider = "up", model = "status-500", input_usd_per_mtok = 1000, output_usd_per_mtok = 2000 }}]
[teams.small]
models = ["broken"]
"""


@pytest.fixture
def used(home: Home) -> Iterator[Client]:
    """A home whose gateway has answered, failed and refused a few calls."""
    with FaultServer() as upstream:
        home.settings_file.write_text(SETTINGS.format(url=upstream.openai_url))
        client = connect(home)
        for number in range(3):
            client.chat(f"question {number}", model="fast", attribution={"team": "risk", "project": "churn"})
        client.chat("question <b>&</b> more", model="fast", attribution={"team": "growth <script>alert(1)</script>"})
        client.chat("question 0", model="fast", attribution={"team": "risk", "project": "churn"})
        with pytest.raises(ProviderError):
            client.chat("x", model="broken", attribution={"team": "risk"})
        with pytest.raises(CallRefused):
            client.chat("x", model="fast", attribution={"team": "small"})
        yield client


@pytest.mark.slow
def test_the_cost_report_holds_what_the_ledger_says(used: Client, home: Home, tmp_path: Path) -> None:
    done = run_report("cost", home=home, since="1d", out=tmp_path / "out")
    assert sorted(path.name for path in done.folder.iterdir()) == ["report.html", "report.ipynb", "report.json", "report.pdf", "tables"]

    data = json.loads(done.json.read_text())
    totals = used.view_rows("totals")[0]
    shown = {item["label"]: item["value"] for block in data["blocks"] if block["kind"] == "figures" for item in block["items"]}
    assert shown["Calls"] == "7"
    assert Decimal(shown["Spend"].lstrip("$")) == Decimal(str(totals["cost_usd"])).quantize(Decimal("0.001"))
    assert Decimal(str(totals["cost_usd"])) == 4 * (25 * Decimal("0.001") + 20 * Decimal("0.002"))
    assert data["basis"]["chain_holds"] is True
    assert re.fullmatch("[0-9a-f]{64}", data["basis"]["snapshot_sha256"])
    cited = {block["query"] for block in data["blocks"] if "query" in block}
    assert cited <= {query["id"] for query in data["queries"]}
    assert any("the cache answered 1 call" in sentence.lower() for sentence in data["summary"])

    teams = next(block for block in data["blocks"] if block.get("title") == "By team")
    with (done.folder / "tables" / "table-1.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == [column["label"] for column in teams["columns"]]
    assert {row[0] for row in rows[1:]} == {"risk", "small", "growth <script>alert(1)</script>"}


@pytest.mark.slow
def test_the_page_shows_no_code_and_asks_nobody(used: Client, home: Home, tmp_path: Path) -> None:
    done = run_report("cost", home=home, since="1d", out=tmp_path / "out")
    html = done.html.read_text()
    assert "<script" not in html
    assert "report.view(" not in html
    assert "<svg" in html
    assert set(re.findall(r"https?://[^\"' <)]+", html)) <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert "growth &lt;script&gt;" in html
    pdf = done.pdf.read_bytes()
    assert pdf.startswith(b"%PDF")
    assert b"report.json" in pdf
    assert b"pdfaid" in pdf


@pytest.mark.slow
def test_an_empty_ledger_gives_a_report_that_says_so(home: Home, tmp_path: Path) -> None:
    done = run_report("cost", home=home, out=tmp_path / "out")
    data = json.loads(done.json.read_text())
    assert "No call was made" in data["summary"][0]
    shown = {item["label"]: item["value"] for block in data["blocks"] if block["kind"] == "figures" for item in block["items"]}
    assert shown["Spend"] is None
    assert "not evidenced" in done.html.read_text()


def _notebook(path: Path, *cells: str) -> Path:
    book = nbformat.v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}})
    book.cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
    book.cells.insert(0, nbformat.v4.new_code_cell('snapshot = since = until = out = ""', metadata={"tags": ["parameters"]}))
    nbformat.write(book, path)
    return path


def _execute(notebook: Path, tmp_path: Path, **limits: Any) -> None:
    execute(notebook, tmp_path / "done.ipynb", parameters={}, folder=tmp_path, **{"timeout_s": 60, "max_output_mb": 5, **limits})


@pytest.mark.parametrize(
    ("cell", "limits", "said"),
    [
        ("raise ValueError('the data is not there')", {}, "ValueError: the data is not there"),
        ("import time; time.sleep(60)", {"timeout_s": 2}, "longer than 2 s"),
        ("for _ in range(10_000): print('x' * 1000, flush=True)", {"max_output_mb": 1}, "more than 1 MB"),
    ],
)
def test_a_notebook_that_fails_is_kept_aside(cell: str, limits: dict[str, Any], said: str, tmp_path: Path) -> None:
    notebook = _notebook(tmp_path / "book.ipynb", "1 + 1", cell)
    with pytest.raises(ReportError, match=re.escape(said)) as caught:
        _execute(notebook, tmp_path, **limits)
    assert len(caught.value.message.encode()) <= 800
    assert not (tmp_path / "done.ipynb").exists()
    assert (tmp_path / "done.failed.ipynb").exists()


def test_a_kernel_that_dies_is_one_sentence(home: Home, tmp_path: Path) -> None:
    notebook = _notebook(tmp_path / "book.ipynb", "import os; os._exit(3)")
    words = ["execute", str(notebook), "--out", str(tmp_path / "done.ipynb"), "--home", str(home.path)]
    done = subprocess.run([sys.executable, "-m", "aiplat_lab.reports", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Kernel died" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "done.ipynb").exists()


def test_a_file_that_is_no_notebook(tmp_path: Path) -> None:
    (tmp_path / "x.ipynb").write_text("not a notebook")
    with pytest.raises(ReportError, match="cannot be executed"):
        _execute(tmp_path / "x.ipynb", tmp_path)
    with pytest.raises(ReportError, match="there is no notebook"):
        _execute(tmp_path / "y.ipynb", tmp_path)


@pytest.mark.slow
def test_a_failing_report_exits_1_and_leaves_nothing_that_looks_finished(home: Home, tmp_path: Path) -> None:
    bad = _notebook(tmp_path / "mine.ipynb", "from aiplat_lab.reports import Report", "1 / 0")
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-m", "aiplat_lab.cli", "report", "run", str(bad), "--home", str(home.path), "--out", str(out)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in out.iterdir()] == ["failed"]
    assert list((out / "failed").glob("mine-*.ipynb"))


@pytest.mark.slow
def test_a_notebook_that_never_finishes_its_report_fails(home: Home, tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=r"without report\.finish"):
        run_report(str(_notebook(tmp_path / "mine.ipynb", "1")), home=home, out=tmp_path / "out")


def test_used_wrongly(home: Home, tmp_path: Path) -> None:
    assert "cost" in report_names()
    for name, options in (("cosst", {}), ("cost", {"since": "whenever"}), ("cost", {"since": "now", "until": "7d"})):
        with pytest.raises(UsageError):
            run_report(name, home=home, out=tmp_path / "out", **options)
    with pytest.raises(ReportError, match="not a report"):
        read("{}")


def test_what_was_not_measured_is_never_a_zero() -> None:
    text = json.dumps(
        {
            "schema": 1, "name": "x", "title": "X", "since": "2026-11-01T00:00:00+00:00", "until": "2026-11-02T00:00:00+00:00",
            "generated_at": "2026-11-02T00:00:00+00:00", "version": "0", "status": "partial", "demo": True, "summary": ["S"],
            "basis": {"snapshot_sha256": None, "rows": 0, "head_seq": 0, "head_hash": "", "chain_holds": False, "chain_reason": "row 3",
                      "currency": "USD", "usd_rate": "1"},
            "blocks": [{"kind": "figures", "items": [{"label": "Spend", "value": None, "note": "", "query": "Q1"}]}],
            "queries": [],
        }
    )  # fmt: skip
    html = render_html(read(text), {})
    assert "not evidenced" in html
    assert "BROKEN: row 3" in html
    assert "Demo ledger" in html
