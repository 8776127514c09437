"""The status item, the panel, the commands and the tabs in a real browser."""

from __future__ import annotations

import re
from typing import Any

from labdriver import Lab
from playwright.sync_api import expect


def test_the_status_bar_shows_spend_and_opens_the_panel(lab: Lab, axe: Any) -> None:
    lab.open_panel()
    lab.execute("filebrowser:activate")
    expect(lab.panel).to_be_hidden()
    expect(lab.status).to_have_text(re.compile(r"^AI: £\d+\.\d+ today$"))
    expect(lab.status).to_have_class(re.compile("jp-StatusBar-TextItem"))
    assert axe(lab, "#aiplat-status") == []
    lab.status.focus()
    lab.page.keyboard.press("Enter")
    expect(lab.panel).to_be_visible()


def test_budgets_are_bars_with_words(lab: Lab) -> None:
    panel = lab.open_panel()
    bar = panel.get_by_role("meter", name="Spend of Everyone, a day")
    expect(bar).to_have_attribute("aria-valuetext", re.compile(r"£\d+\.\d+ of £395\.00, \d+ percent"))
    expect(panel.get_by_role("meter", name="Spend of project tiny, a month")).to_have_attribute("aria-valuenow", "0")
    expect(panel.locator(".aiplat-Budget").first).to_contain_text("stops at the limit")


def test_an_empty_notebook_teaches_and_gives_a_first_cell(lab: Lab, axe: Any) -> None:
    lab.open(lab.write("empty.ipynb", ""))
    panel = lab.open_panel()
    expect(panel).to_contain_text("No AI calls here yet. Write a cell that begins with %%ai, and run it:")
    assert axe(lab, "#aiplat-panel") == []
    lab.shot("empty-light")
    panel.get_by_role("button", name="Insert this cell").click()
    sources = "window.jupyterapp.shell.currentWidget.content.widgets.map(cell => cell.model.sharedModel.getSource())"
    assert lab.page.evaluate(sources)[0] == "%load_ext aiplat_lab"
    assert lab.page.evaluate(sources)[1].startswith("%%ai\n")
    lab.execute("notebook:run-all-cells")
    expect(lab.answers.first).to_contain_text("p-value")
    expect(panel.locator(".aiplat-Call")).to_have_count(1)


def test_each_notebook_has_its_own_calls(lab: Lab) -> None:
    lab.run("one.ipynb", "%%ai echo\nan old call", "%%ai instant\nthe call before", "%%ai status-500\nthe last call")
    lab.run("two.ipynb", "%%ai echo\nsecond notebook")
    panel = lab.open_panel()
    expect(panel.locator(".aiplat-Calls-name")).to_have_text("two.ipynb")
    expect(panel.locator(".aiplat-Call")).to_have_count(1)
    lab.execute("docmanager:open", path="one.ipynb")
    expect(panel.locator(".aiplat-Call-model")).to_have_text(["status-500", "instant", "echo"])


def test_the_palette_lists_our_commands(lab: Lab) -> None:
    lab.execute("apputils:activate-command-palette")
    box = lab.page.locator(".lm-CommandPalette-input:visible")
    for words in ("Open the AI Panel", "Open the AI Cost Dashboard", "New AI Notebook", "Stop the AI Gateway"):
        box.fill(words)
        expect(lab.page.locator(".lm-CommandPalette-item:visible", has_text=words).first).to_be_visible()
    lab.page.keyboard.press("Escape")


def test_the_launcher_makes_an_ai_notebook(lab: Lab) -> None:
    lab.execute("launcher:create")
    for words in ("AI notebook", "AI calls", "AI costs"):
        expect(lab.page.locator(".jp-LauncherCard:visible", has_text=words)).to_have_count(1)
    lab.shot("launcher-light")
    lab.page.locator(".jp-LauncherCard:visible", has_text="AI notebook").click()
    lab.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-CodeCell").nth(1).wait_for(timeout=20_000)
    assert lab.mimes()[1] == "text/x-aiplat-ai"


def test_the_gateway_is_stopped_and_started_from_here(lab: Lab, axe: Any) -> None:
    panel = lab.open_panel()
    lab.execute("aiplat:stop-gateway")
    expect(lab.status).to_have_text("AI: stopped")
    expect(panel).to_contain_text("Gateway stopped")
    assert axe(lab, "#aiplat-panel") == []
    lab.shot("stopped-light")
    panel.get_by_role("button", name="Start gateway").click()
    expect(panel).to_contain_text("Gateway running", timeout=20_000)
    expect(lab.status).to_have_text(re.compile("today$"))
