"""`%%ai` cells and their outputs in a real browser."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import nbformat
import pytest
from faults import FaultServer
from labdriver import Lab
from playwright.sync_api import expect

AI = "text/x-aiplat-ai"
PYTHON = "text/x-ipython"
MARKED = "els => els.map(el => el.textContent)"
ANSWER = {
    "schema": 1,
    "call_id": "01936f0e-7b3a-7c1e-9d2f-0123456789ab",
    "status": "ok",
    "text": "## Kept\n\nAn answer **from before**.",
    "format": "markdown",
    "model": "echo",
    "provider": "upstream",
    "response_model": "echo",
    "input_tokens": 1204,
    "output_tokens": 20,
    "cost_usd": "0.0183",
    "currency": "GBP",
    "usd_rate": "0.79",
    "latency_s": 4.21,
    "cache": "miss",
    "region": "uk",
    "flags": ["no_finish_reason"],
    "request_hash": "",
    "response_hash": "",
    "prompt_name": "",
    "prompt_version": "",
    "error": None,
}


def output_of(**changes: Any) -> Any:
    """A cell's output as the magic leaves it in the file."""
    data = {"application/vnd.aiplat.call+json": {**ANSWER, **changes}, "text/html": "<b>fallback</b>", "text/plain": "fallback"}
    return nbformat.v4.new_output("display_data", data=data)


def test_a_call_is_answered_listed_and_shown_in_full(lab: Lab, axe: Any) -> None:
    notebook = lab.run("first.ipynb", 'name = "Ada"', "%%ai echo\n## Hello {name}\n\nThis is **bold**.")
    answer = lab.answers.first
    expect(answer.locator("h2")).to_contain_text("Hello Ada")
    expect(answer.locator("strong")).to_have_text("bold")
    expect(answer).to_have_attribute("data-status", "ok")
    facts = answer.locator(".aiplat-Answer-facts")
    expect(facts).to_contain_text(re.compile(r"echo.*\d+ → \d+ tokens.*£0\.\d+.*\d+ m?s"))
    assert "fallback" not in notebook.inner_text()

    panel = lab.open_panel()
    calls = panel.locator(".aiplat-Call")
    expect(calls).to_have_count(1)
    expect(calls.first).to_contain_text(re.compile(r"Answered.*echo", re.DOTALL))
    assert axe(lab, ".aiplat-Answer") == []
    assert axe(lab, "#aiplat-panel") == []
    lab.shot("call-light")

    calls.first.click()
    expect(lab.record.locator("h2")).to_contain_text("echo")
    expect(lab.record.locator("[data-kind=user] pre")).to_have_text("## Hello Ada\n\nThis is **bold**.")
    expect(lab.record.locator("[data-kind=answer] pre")).to_contain_text("Hello Ada")
    call_id = lab.record.locator("header code").inner_text()
    lab.record.get_by_role("button", name="Copy call id").click()
    assert lab.page.evaluate("navigator.clipboard.readText()") == call_id
    expect(lab.record).to_contain_text("request_hash")
    assert axe(lab, "#aiplat-record") == []
    lab.shot("record-light")

    lab.theme("dark")
    assert axe(lab, "#aiplat-record") == []
    assert axe(lab, "#aiplat-panel") == []
    assert axe(lab, ".aiplat-Answer") == []
    lab.shot("record-dark")
    lab.theme("light")


@pytest.mark.local_model
@pytest.mark.slow
def test_the_embedded_model_answers(lab: Lab, weights: Path) -> None:
    assert weights.is_dir()
    lab.run("embedded.ipynb", "%%ai smollm2 --max-tokens 24\nSay hello.", wait=False)
    expect(lab.answers.first).to_have_attribute("data-status", "ok", timeout=90_000)
    expect(lab.answers.first.locator(".aiplat-Answer-facts")).to_contain_text("£0.00")
    expect(lab.open_panel().locator(".aiplat-Call")).to_contain_text("smollm2")
    lab.shot("embedded")


def test_the_call_id_in_the_output_opens_the_same_record(lab: Lab) -> None:
    lab.run("id.ipynb", "%%ai echo\nFind me again")
    button = lab.answers.first.get_by_role("button", name=re.compile("Show the full record of call"))
    short = button.inner_text()
    button.press("Enter")
    expect(lab.record.locator("header code")).to_have_text(re.compile(f"{short}$"))


def test_the_body_of_an_ai_cell_is_text(lab: Lab) -> None:
    body = '%%ai echo\n# Summarise\nimport {name} for {{kept}} as {"a": 1} while we return the class'
    notebook = lab.open(lab.write("text.ipynb", "import json", body, "%ai models\nimport re"))
    assert lab.mimes() == [PYTHON, AI, PYTHON]
    cell = notebook.locator(".jp-CodeCell").nth(1)
    spans = cell.locator(".cm-line span").evaluate_all(MARKED)
    assert spans[:2] == ["%%ai echo", "# Summarise"]
    assert "{name}" in spans
    assert not {"import", "for", "as", "while", "return", "class", '"a"'} & {span.strip() for span in spans}
    expect(cell.locator(".cm-content")).to_have_class(re.compile("cm-lineWrapping"))

    lab.source(0, "%%ai echo\nimport this")
    lab.source(1, "import this")
    assert lab.mimes() == [AI, PYTHON, PYTHON]
    expect(cell.locator(".cm-content")).not_to_have_class(re.compile("cm-lineWrapping"))
    lab.execute("notebook:insert-cell-below")
    index = lab.page.evaluate("window.jupyterapp.shell.currentWidget.content.activeCellIndex")
    lab.source(index, "%%ai\nadded later")
    assert lab.mimes()[index] == AI
    lab.page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
    lab.page.wait_for_timeout(1200)
    assert lab.mimes()[0] == AI


def test_an_interrupt_keeps_the_text_so_far(lab: Lab, upstream: FaultServer) -> None:
    lab.run("stop.ipynb", "%%ai slow-stream\nCount", "after = 6 * 7", wait=False)
    expect(lab.answers.first).to_contain_text("three", timeout=20_000)
    expect(lab.answers.first).to_have_attribute("data-status", "running")
    began = time.monotonic()
    lab.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) [data-jp-item-name=interrupt] jp-button").click()
    expect(lab.answers.first).to_have_attribute("data-status", "cancelled", timeout=5000)
    assert time.monotonic() - began < 3
    expect(lab.answers.first).to_contain_text("three")
    expect(lab.answers.first.locator(".aiplat-Answer-reason")).to_contain_text("Cancelled")
    expect(lab.open_panel().locator(".aiplat-Call [data-status=cancelled]")).to_have_count(1)
    lab.shot("cancelled")


def test_a_failed_call_says_so_in_one_line(lab: Lab, axe: Any) -> None:
    notebook = lab.run("fails.ipynb", "%%ai status-500\nHello")
    answer = lab.answers.first
    expect(answer).to_have_attribute("data-status", "error")
    expect(answer.locator(".aiplat-Answer-reason")).to_contain_text("Failed")
    raised = notebook.locator("[data-mime-type='application/vnd.jupyter.stderr']")
    expect(raised).to_contain_text("ProviderError")
    expect(raised).to_be_hidden()  # the same sentence stands in the answer already
    expect(lab.open_panel().locator(".aiplat-Call [data-status=error]")).to_have_count(1)
    assert axe(lab, ".aiplat-Answer") == []
    lab.shot("failed")


def test_an_answer_runs_nothing_and_loads_nothing(lab: Lab, foreign: list[str]) -> None:
    hostile = (
        "before <script>window.owned = 1</script> ![a cat](https://evil.example/cat.png) "
        '<img src="https://evil.example/x" onerror="window.owned = 2"> <a href="javascript:window.owned=3">x</a> '
        '<button data-commandlinker-command="notebook:restart-kernel">y</button> after'
    )
    html = output_of(text=hostile, format="html")
    both = [output_of(text=hostile), html]
    lab.open(lab.write("hostile.ipynb", "%%ai echo\nx", outputs=both), kernel=False)
    expect(lab.answers).to_have_count(2)
    for index in range(2):
        answer = lab.answers.nth(index)
        expect(answer).to_contain_text("before")
        expect(answer).to_contain_text("after")
        expect(answer).to_contain_text("[image not loaded:")
        assert answer.locator("img, script, [onerror], [data-commandlinker-command], [href^='javascript']").count() == 0
    lab.page.wait_for_timeout(300)
    assert lab.page.evaluate("window.owned") is None
    assert foreign == []


def test_a_notebook_opened_again_without_a_kernel_shows_its_answers(lab: Lab, axe: Any) -> None:
    outputs = [
        output_of(),
        output_of(format="code", text="def f(x):\n    return x"),
        output_of(format="json", text=json.dumps({"a": [1, 2]})),
        output_of(format="text", text="*not* markdown"),
        output_of(status="refused", text="", error={"type": "BudgetExceeded", "message": "The budget of everyone is used up."}),
        output_of(status="cancelled", text="half an ans"),
        output_of(status="strange", format="strange", text="still shown", cost_usd=None),
    ]
    lab.open(lab.write("again.ipynb", "%%ai echo\nx", outputs=outputs), kernel=False)
    expect(lab.answers).to_have_count(len(outputs))
    expect(lab.answers.nth(0).locator("h2")).to_contain_text("Kept")
    expect(lab.answers.nth(0)).to_contain_text("1,204 → 20 tokens")
    expect(lab.answers.nth(0)).to_contain_text("£0.014")
    expect(lab.answers.nth(0)).to_contain_text("no finish reason")
    expect(lab.answers.nth(1).locator("pre code")).to_contain_text("return x")
    expect(lab.answers.nth(2).locator("pre code")).to_contain_text('"a"')
    expect(lab.answers.nth(3).locator("pre")).to_have_text("*not* markdown")
    expect(lab.answers.nth(4)).to_contain_text("The budget of everyone is used up.")
    expect(lab.answers.nth(5)).to_contain_text("The text so far is kept.")
    expect(lab.answers.nth(6)).to_contain_text("still shown")
    assert lab.page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.session") is None
    assert axe(lab, ".jp-NotebookPanel:not(.lm-mod-hidden) .jp-OutputArea") == []
    lab.shot("again-light")


def test_what_is_no_record_is_said_to_be_none(lab: Lab) -> None:
    broken = nbformat.v4.new_output("display_data", data={"application/vnd.aiplat.call+json": ["x"], "text/plain": "x"})
    lab.open(lab.write("broken.ipynb", "%%ai echo\nx", outputs=[broken]), kernel=False)
    expect(lab.answers).to_contain_text("not a record of an AI call")
