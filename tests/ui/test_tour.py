"""The ten-minute tour in a real JupyterLab with the embedded model: every cell, a vote, the reports; and the README's pictures.

`AIPLAT_SCREENSHOTS=docs/images pytest tests/ui/test_tour.py tests/ui/test_dashboard_pages.py` makes the pictures anew.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from labdriver import Lab
from playwright.sync_api import Browser, Locator, expect

from aiplat_lab.client import connect
from aiplat_lab.core.settings import shipped

pytestmark = [pytest.mark.local_model, pytest.mark.slow]
TOUR = shipped("notebooks", "tour.ipynb")
CALL, AB = "application/vnd.aiplat.call+json", "application/vnd.aiplat.ab+json"
LAST_DONE = """() => {
    const { content, sessionContext } = window.jupyterapp.shell.currentWidget;
    const cells = content.widgets.filter(cell => cell.model.type === 'code');
    const failed = cells.some(cell => cell.model.outputs.toJSON().some(output => output.output_type === 'error'));
    return failed || (cells.at(-1).model.executionCount !== null && sessionContext.session?.kernel?.status === 'idle');
}"""


def test_it_is_shipped_clean() -> None:
    notebook = nbformat.read(TOUR, as_version=4)
    nbformat.validate(notebook)
    assert [cell.id for cell in notebook.cells if cell.cell_type == "code" and (cell.outputs or cell.execution_count)] == []
    assert [cell.id for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])] == ["parameters"]


@pytest.fixture(scope="module")
def tour(session: Lab, weights: Path) -> Iterator[Lab]:
    """JupyterLab with the tour open and every cell run."""
    session.clear()
    shutil.copy(TOUR, session.folder / "tour.ipynb")
    session.open("tour.ipynb")
    session.page.evaluate("void window.jupyterapp.commands.execute('notebook:run-all-cells')")
    session.page.wait_for_function(LAST_DONE, timeout=280_000)
    yield session


@pytest.fixture(scope="module")
def outputs(tour: Lab) -> dict[str, list[Any]]:
    tour.execute("docmanager:save")
    saved = nbformat.read(tour.folder / "tour.ipynb", as_version=4)
    return {cell.id: cell.outputs for cell in saved.cells if cell.cell_type == "code"}


def said(shown: list[Any]) -> str:
    """All that a cell's outputs say in words."""
    return "\n".join(str(out.get("text") or out.get("data", {}).get("text/plain") or "") for out in shown)


def cell(tour: Lab, text: str) -> Locator:
    found = tour.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-CodeCell").filter(has_text=text).first
    found.scroll_into_view_if_needed()
    return found


@pytest.mark.timeout(400)
def test_every_cell_says_what_the_text_promises(tour: Lab, outputs: dict[str, list[Any]], foreign: list[str]) -> None:
    failed = {name: out for name, shown in outputs.items() for out in shown if out.output_type == "error"}
    assert failed == {}
    assert "ticket-mood@1.0.0" in said(outputs["save"])
    assert re.search(r"ticket-mood@1\.1\.0: .*completion is true", said(outputs["better"]))
    (call,) = [out.data[CALL] for out in outputs["cell"] if CALL in out.get("data", {})]
    assert call["text"].strip() == "positive"
    assert "show examples is better than ask for one word" in said(outputs["compare"])
    assert "production set" in outputs["label"][0].data["text/html"]
    lines = dict(re.findall(r"(smollm2-\w+): (\w+):", said(outputs["gate"])))
    assert lines == {"smollm2-lite": "Inconclusive", "smollm2-broken": "Regression"}
    assert "ticket-mood@1.1.0 is better than ticket-mood@1.0.0" in said(outputs["report"])
    assert re.search(r"Of \d+ requirements, evidence supports", said(outputs["compliance"]))
    assert "tour-review: platform-review" in said(outputs["schedule"])
    assert "ticket-mood@1.1.0" in said(outputs["cost"])
    assert foreign == [], f"requests left the machine: {foreign}"


def test_the_ledger_holds_all_of_it(tour: Lab, folder: Path) -> None:
    with connect(folder / "aiplat", spawn=False) as gateway:
        kept = {row["prompt_version"] for row in gateway.view_rows("recent_calls", prompt="ticket-mood", limit=500)}
        assert kept == {"1.0.0", "1.1.0"}
        assert [row["version"] for row in gateway.view_rows("prompt_labels_now", prompt="ticket-mood")] == ["1.1.0"]
        assert {row["name"] for row in gateway.view_rows("report_list")} >= {"prompt-comparison", "compliance"}
        assert gateway.view_rows("schedule_list") == []
        assert gateway.verify()["ok"]


def test_a_vote_in_the_tour_is_kept_and_the_pictures_are_taken(tour: Lab, folder: Path, axe: Any) -> None:
    verdict = cell(tour, "aiplat_lab.compare(asked, shown)")
    expect(verdict).to_contain_text("show examples is better")
    control = tour.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .aab")
    control.scroll_into_view_if_needed()
    expect(control.locator(".aab-card[data-state='ok']")).to_have_count(2, timeout=60_000)
    control.focus()
    tour.page.keyboard.press("1")
    expect(control.locator(".aab-stored")).to_contain_text("Stored")
    control.screenshot(path=tour.shots / "tour-ab.png")
    assert axe(tour, ".aab") == []
    with connect(folder / "aiplat", spawn=False) as gateway:
        (experiment,) = [row for row in gateway.view_rows("experiment_list") if row["name"] == "sentence or headline"]
        assert len(gateway.view_rows("vote_list", experiment=experiment["id"])) == 1


def test_the_reports_of_the_tour_open_by_themselves(tour: Lab, folder: Path, browser: Browser) -> None:
    (report,) = sorted((folder / "aiplat" / "reports").glob("compliance-*/report.html"))[-1:]
    asked: list[str] = []
    page = browser.new_page(viewport={"width": 1000, "height": 760})
    page.on("request", lambda request: asked.append(request.url))
    page.goto(report.as_uri())
    expect(page.locator("h1")).to_be_visible()
    page.screenshot(path=tour.shots / "tour-report.png")
    page.close()
    assert asked == [report.as_uri()], "a report asks for nothing beside itself"
    assert (report.with_name("report.pdf")).read_bytes().startswith(b"%PDF")
