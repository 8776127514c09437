"""Rows and the background in a real browser: a bar that moves, its button, and an output that is filled in later."""

from __future__ import annotations

import re
from typing import Any

from labdriver import Lab
from playwright.sync_api import expect

ROWS = "rows = {'text': [f'number {index}' for index in range(900)]}"
EACH = "%%ai echo-100ms --each rows.text --into rows.new --workers 2\nSay {text}"


def test_the_bar_moves_and_its_button_stops_and_keeps_what_is_done(lab: Lab, axe: Any) -> None:
    notebook = lab.run("rows.ipynb", ROWS, EACH, wait=False)
    bar = notebook.get_by_role("progressbar", name="rows")
    expect(bar).to_have_attribute("aria-valuetext", re.compile(r"^[1-9]\d* of 900 rows, .* so far, about .* left"), timeout=20_000)
    lab.shot("rows-light")
    assert axe(lab, ".aiplat-progress") == []
    lab.theme("dark")
    lab.shot("rows-dark")
    assert axe(lab, ".aiplat-progress") == []
    lab.theme("light")
    notebook.get_by_role("button", name="Stop", exact=True).click()
    said = notebook.locator(".jp-OutputArea").last
    expect(said).to_contain_text("Stopped by hand: what is done is kept", timeout=5_000)
    expect(said).to_contain_text("CallCancelled")
    expect(bar).to_have_count(0)
    lab.shot("rows-stopped")


def test_an_answer_in_the_background_is_filled_in_while_the_notebook_goes_on(lab: Lab) -> None:
    notebook = lab.run("aside.ipynb", "%%ai echo-1500ms --bg -o later\nSay **later** please", "print('the notebook goes on', later.done)")
    outputs = notebook.locator(".jp-OutputArea")
    expect(notebook).to_contain_text("the notebook goes on False")
    answer = lab.answers.first
    expect(answer.locator("strong")).to_have_text("later", timeout=15_000)
    expect(outputs.first).not_to_contain_text("Asked in the background")
    lab.shot("background")
