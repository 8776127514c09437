"""The three pages of the dashboards as a reader meets them: a real gateway, the demo ledger, a real browser."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dashkit import Dashboard, charts, dashboard, settled

from aiplat_lab.client import Client, connect
from aiplat_lab.core.settings import Home
from aiplat_lab.ledger.demo import build_demo

pytestmark = pytest.mark.ui


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    home = Home(tmp_path_factory.mktemp("pages") / "home")
    build_demo(home, calls=2000, days=90)
    client = connect(home)
    yield client
    client.stop()


@pytest.fixture(scope="module")
def served(demo: Client) -> Iterator[Dashboard]:
    with dashboard(Home(Path(demo.status()["home"]))) as running:
        yield running
    assert running.outside == []
    assert running.broken == []


@pytest.fixture(scope="module")
def entered(served: Dashboard, browser: Browser) -> Page:
    return served.open(browser)


@pytest.fixture
def page(entered: Page) -> Page:
    entered.set_viewport_size({"width": 1360, "height": 900})
    return entered


def visit(page: Page, served: Dashboard, address: str) -> None:
    page.goto(f"{served.url.removesuffix('cost')}{address}")
    settled(page)


def shot(page: Page, name: str) -> None:
    """Keeps a picture of the page where a folder for pictures is named."""
    if folder := os.environ.get("AIPLAT_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png")


def text_of(page: Page, css: str) -> str:
    return " ".join(page.locator(css).first.inner_text().split())


def serious(page: Page) -> list[tuple[str, str]]:
    found = Axe().run(page).response["violations"]
    return [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in {"serious", "critical"}]


# --- Evaluation -----------------------------------------------------------------------------------------------------


def test_the_evaluation_page_shows_runs_the_verdict_and_a_sample_of_both(page: Page, served: Dashboard, demo: Client) -> None:
    visit(page, served, "evaluation?since=all")
    charts(page, 2)
    runs = demo.view_rows("eval_run_list")
    assert f"Runs {len(runs)}" in text_of(page, ".figures")
    expect(page.locator(".verdict")).to_contain_text("is better than help-answer@1.1.1 on fast")
    for part in ("Paired difference", "95 % interval", "Test", "Samples in both", "Smallest difference to be seen"):
        expect(page.locator(".facts.two")).to_contain_text(part)
    expect(page.locator(".opened ins").first).to_be_visible()
    expect(page.locator(".opened .side")).to_have_count(2)
    expect(page.locator("table.runs").first).to_contain_text("not finished")
    expect(page.locator(".banner.demo")).to_be_visible()
    shot(page, "dashboard-evaluation")


def test_a_regression_and_an_open_question_are_told_apart(page: Page, served: Dashboard, demo: Client) -> None:
    runs = {(row["evalset"], row["prompt_version"], row["model"]): row["run_id"] for row in reversed(demo.view_rows("eval_run_list"))}
    worse = f"run={runs['help-desk', '1.1.1', 'fast']}&against={runs['help-desk', '1.1.0', 'fast']}"
    visit(page, served, f"evaluation?since=all&{worse}")
    expect(page.locator(".verdict.worse .badge")).to_have_text("Worse")
    even = f"run={runs['claims-triage', '2.0.1', 'fast']}&against={runs['claims-triage', '2.0.0', 'fast']}"
    visit(page, served, f"evaluation?since=all&{even}")
    expect(page.locator(".verdict .badge").first).to_have_text(re.compile("Cannot tell|Not worse"))
    capped = runs["help-desk", "1.1.0", "frontier"]
    visit(page, served, f"evaluation?since=all&run={capped}")
    expect(page.locator(".note.warn").first).to_contain_text("capped: the cap of $0.25 was reached")


def test_a_filter_narrows_the_runs_and_the_link_restores_it(page: Page, served: Dashboard) -> None:
    visit(page, served, "evaluation")
    page.get_by_label("Evalset", exact=True).select_option("claims-triage")
    page.wait_for_url(re.compile(r"evaluation\?evalset=claims-triage$"))
    expect(page.locator("table.runs").first).not_to_contain_text("help-desk")
    expect(page.locator(".verdict")).to_contain_text("triage@")
    page.locator("table.runs").first.get_by_role("link", name="2.0.0 before staging").click()
    page.wait_for_url(re.compile(r"evalset=claims-triage&run="))
    expect(page.locator(".side").nth(1)).to_contain_text("2.0.0 before staging")
    said, address = text_of(page, ".verdict"), page.url
    page.go_back()
    expect(page.locator(".side").nth(1)).not_to_contain_text("2.0.0 before staging")
    visit(page, served, f"evaluation{address[address.index('?') :]}")
    expect(page.get_by_label("Evalset", exact=True)).to_have_value("claims-triage")
    assert text_of(page, ".verdict") == said


def test_a_sample_leads_to_its_call_and_back(page: Page, served: Dashboard) -> None:
    visit(page, served, "evaluation?since=all&which=all")
    second = page.locator("table.samples th a").nth(1)
    name = second.inner_text()
    second.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".opened h3")).to_contain_text(name)
    page.locator(".opened").get_by_role("link", name="Open the call").first.click()
    expect(page.locator(".call h2")).to_be_visible()
    expect(page.locator(".call")).to_contain_text(f"sample={name}")
    page.get_by_role("link", name="Back to the overview").click()
    expect(page.locator(".opened h3")).to_contain_text(name)


def test_a_run_that_is_not_there_and_a_period_without_runs_say_so(page: Page, served: Dashboard) -> None:
    visit(page, served, "evaluation?run=gone")
    expect(page.locator("main")).to_contain_text("The run in the link is not in this ledger")
    visit(page, served, "evaluation?since=2020-01-01&until=2020-02-01")
    expect(page.locator("main")).to_contain_text("No evaluation run matches this period")


# --- Prompts --------------------------------------------------------------------------------------------------------


def test_the_prompts_page_shows_versions_the_diff_and_the_evidence(page: Page, served: Dashboard) -> None:
    visit(page, served, "prompts?prompt=triage")
    charts(page, 2)
    expect(page.locator("table.prompts tbody tr")).to_have_count(6)
    expect(page.locator("table.versions tbody tr")).to_have_count(4)
    expect(page.locator("table.versions")).to_contain_text("claims-triage, n = ")
    expect(page.locator("table.diff ins").first).to_contain_text("short")
    expect(page.locator(".history")).to_contain_text("1.1.0 → 2.0.0 evidence")
    expect(page.locator(".verdict")).to_contain_text("B is preferred to A")
    shot(page, "dashboard-prompts")


def test_another_prompt_and_other_versions_follow_the_link(page: Page, served: Dashboard) -> None:
    visit(page, served, "prompts")
    page.get_by_label("Prompt", exact=True).select_option("triage")
    page.wait_for_url(re.compile(r"prompts\?prompt=triage$"))
    expect(page.locator("table.versions")).to_contain_text("2.0.1")
    page.locator("table.versions tr").filter(has_text="Scottish claims").get_by_role("link", name="Changes").click()
    page.wait_for_url(re.compile(r"version=1\.1\.0"))
    expect(page.locator("table.diff")).to_contain_text("put in: region:".replace("put in: ", ""))
    expect(page.locator(".from")).to_contain_text("From 1.0.0 to 1.1.0")
    visit(page, served, "prompts?prompt=triage&version=2.0.0&base=1.0.0&theme=dark")
    expect(page.locator(".from")).to_contain_text("From 1.0.0 to 2.0.0")
    page.locator("table.experiments").get_by_role("link", name="Help answers: is careful worth its price?").click()
    expect(page.locator(".verdict")).to_contain_text("No winner yet")


def test_a_moved_label_leads_to_its_evidence(page: Page, served: Dashboard) -> None:
    visit(page, served, "prompts?prompt=triage&theme=dark")
    page.locator(".history").get_by_role("link", name="evidence").click()
    page.wait_for_url(re.compile(r"/evaluation\?since=all&run=.*theme=dark"))
    settled(page)
    expect(page.locator(".side:has(.value)").last).to_contain_text("triage@2.0.0")


# --- all pages ------------------------------------------------------------------------------------------------------


def test_the_pages_lead_to_each_other_with_the_shared_filters(page: Page, served: Dashboard) -> None:
    visit(page, served, "cost?since=90d&team=risk&by=model")
    page.get_by_label("Prompt", exact=True).select_option("triage")
    page.wait_for_url(re.compile("prompt=triage"))
    nav = page.get_by_role("navigation", name="Dashboards")
    nav.get_by_role("link", name="Evaluation").click()
    page.wait_for_url(re.compile(r"/evaluation\?since=90d&team=risk&prompt=triage$"))
    settled(page)
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("triage")
    expect(page.locator("table.runs").first).to_contain_text("triage@")
    nav.get_by_role("link", name="Prompts").click()
    page.wait_for_url(re.compile(r"/prompts\?since=90d&team=risk&prompt=triage$"))
    settled(page)
    expect(page.get_by_role("heading", level=1)).to_have_text("Prompts")
    expect(nav.get_by_role("link", name="Prompts")).to_have_attribute("aria-current", "page")


def test_a_prompt_is_a_filter_of_costs(page: Page, served: Dashboard, demo: Client) -> None:
    visit(page, served, "cost?since=all&prompt=copy-draft")
    calls = demo.view_rows("totals", prompt="copy-draft")[0]["calls"]
    expect(page.locator(".figures")).to_contain_text(f"{calls:,}")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("address", ["cost", "evaluation?since=all", "prompts?prompt=triage"])
def test_axe_finds_nothing_serious_on_any_page(page: Page, served: Dashboard, address: str, theme: str) -> None:
    visit(page, served, f"{address}{'&' if '?' in address else '?'}theme={theme}")
    charts(page, 2)
    assert serious(page) == []


@pytest.mark.parametrize("address", ["cost", "evaluation", "prompts"])
def test_a_narrow_page_does_not_scroll_sideways(page: Page, served: Dashboard, address: str) -> None:
    page.set_viewport_size({"width": 420, "height": 900})
    visit(page, served, address)
    assert page.evaluate("document.documentElement.scrollWidth") <= 420


def test_empty_pages_teach_how_to_begin(tmp_path: Path, browser: Browser) -> None:
    home = Home(tmp_path / "home")
    with dashboard(home) as running:
        page = running.open(browser)
        for address, teaches in (("evaluation", "aiplat eval run"), ("prompts", "aiplat prompts save"), ("cost", "%load_ext aiplat_lab")):
            visit(page, running, address)
            expect(page.locator(".empty")).to_contain_text(teaches)
            assert page.get_by_role("heading", level=2).count() == 1
            assert serious(page) == []
        page.context.close()
    connect(home).stop()
    assert (running.outside, running.broken) == ([], [])
