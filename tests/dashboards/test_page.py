"""The Cost page as a reader meets it: a real gateway, a demo ledger, a real browser."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from dashkit import Dashboard, charts, dashboard, launch, settled
from playwright.sync_api import Browser, Page, expect, sync_playwright

from aiplat_lab.client import Client, connect
from aiplat_lab.core.settings import Home
from aiplat_lab.ledger.demo import build_demo

pytestmark = [
    pytest.mark.ui,
    pytest.mark.skipif(shutil.which("chromium") is None and not os.environ.get("AIPLAT_REQUIRE_BROWSER"), reason="needs chromium"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        found = launch(playwright)
        yield found
        found.close()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    home = Home(tmp_path_factory.mktemp("demo") / "home")
    build_demo(home, calls=3000, days=60)
    client = connect(home)
    yield client
    client.stop()


@pytest.fixture(scope="module")
def served(demo: Client) -> Iterator[Dashboard]:
    with dashboard(Home(Path(demo.status()["home"])), "--warm") as running:
        yield running
    assert running.outside == []
    assert running.broken == []


@pytest.fixture(scope="module")
def entered(served: Dashboard, browser: Browser) -> Page:
    return served.open(browser)


@pytest.fixture
def page(served: Dashboard, entered: Page) -> Page:
    entered.set_viewport_size({"width": 1360, "height": 900})
    visit(entered, served, "")
    return entered


def visit(page: Page, served: Dashboard, query: str) -> None:
    page.goto(served.url + query)
    settled(page)


def text_of(page: Page, css: str) -> str:
    return " ".join(page.locator(css).first.inner_text().split())


def test_the_figures_are_the_ledgers(page: Page, served: Dashboard, demo: Client) -> None:
    visit(page, served, "?since=all")
    totals = demo.view_rows("totals")[0]
    pounds = float(totals["cost_usd"]) * 0.79
    assert text_of(page, ".figure.hero .value") == f"£{pounds:,.2f}"
    assert f"{totals['calls']:,}" in text_of(page, ".figures")
    assert f"{totals['unpriced_calls']:,} calls have no known price" in text_of(page, ".note.warn")
    expect(page.locator(".banner.demo")).to_contain_text("Every call here is invented")
    charts(page, 3)
    expect(page.locator("table.calls tbody tr")).to_have_count(25)


def test_a_filter_changes_link_and_figures_and_back_undoes_it(page: Page, served: Dashboard, demo: Client) -> None:
    visit(page, served, "?since=all")
    before = text_of(page, ".figures")
    page.get_by_label("Team", exact=True).select_option("risk")
    page.wait_for_url(re.compile(r"\?since=all&team=risk$"))
    page.wait_for_function(f"() => !document.body.innerText.includes({before!r})")
    settled(page)
    calls = demo.view_rows("totals", team="risk")[0]["calls"]
    expect(page.locator(".figures")).to_contain_text(f"{calls:,}")
    # Each part of the page arrives on its own: the figures may be there before the calls.
    expect(page.locator("table.calls tbody tr td:nth-child(4)")).to_have_text(["risk"] * 25, timeout=15_000)

    page.locator("table.names").filter(has_text="careful").get_by_role("link", name="careful").click()
    page.wait_for_url(re.compile("team=risk&model=careful$"))
    expect(page.get_by_label("Model", exact=True)).to_have_value("careful")
    page.go_back()
    expect(page.get_by_label("Model", exact=True)).to_have_value("All models")
    page.get_by_role("link", name="Take the filter team off").click()
    page.wait_for_url(re.compile(r"\?since=all$"))
    expect(page.get_by_label("Team", exact=True)).to_have_value("All teams")


def test_a_link_opens_the_same_page_for_another_reader(page: Page, served: Dashboard) -> None:
    visit(page, served, "?since=all&team=support&by=model&theme=dark&page=2")
    expect(page.get_by_label("Team", exact=True)).to_have_value("support")
    expect(page.get_by_label("Period", exact=True)).to_have_value("Whole ledger")
    expect(page.locator(".choice a[aria-current]")).to_have_text("Model")
    expect(page.locator("#page")).to_have_attribute("data-theme", "dark")
    expect(page.locator(".pager")).to_contain_text("Calls 26 to 50")


def test_a_call_opens_with_its_texts_and_leads_back(page: Page, served: Dashboard, demo: Client) -> None:
    visit(page, served, "?team=risk")  # a team without embeddings, which have no messages
    page.locator("table.calls tbody a").first.click()
    expect(page.locator(".call h2")).to_be_visible()
    expect(page.locator("table.calls")).not_to_be_visible()
    row = demo.call(re.search(r"call=([0-9a-f-]+)", page.url)[1])
    record = text_of(page, ".call")
    for part in (row["call_id"], row["hash"], row["prev_hash"], row["user_id"], row["messages"][-1]["content"][:40]):
        assert part in record
    page.get_by_role("link", name="Back to the overview").click()
    expect(page.locator("table.calls")).to_be_visible()
    charts(page, 2)


def test_an_error_leads_to_an_example(page: Page, served: Dashboard) -> None:
    visit(page, served, "?since=all")
    page.get_by_role("link", name="Open", exact=True).first.click()
    expect(page.locator(".call .badge").first).to_have_text(re.compile("failed|refused|cancelled"))


def test_the_theme_button_keeps_the_filters(page: Page, served: Dashboard) -> None:
    visit(page, served, "?team=risk")
    page.get_by_role("button", name="Dark theme").click()
    page.wait_for_url(re.compile(r"\?team=risk&theme=dark$"))
    page.get_by_role("button", name="Light theme").click()
    page.wait_for_url(re.compile("theme=light$"))


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("?since=soon", "'soon' is not a time"),
        ("?since=2026-02-01&until=2026-01-01", "would end before it begins"),
        ("?team=nobody", "No call matches this period and these filters"),
        ("?call=nothing", "This call cannot be shown"),
    ],
)
def test_an_impossible_link_says_so_and_offers_a_way_on(page: Page, served: Dashboard, query: str, says: str) -> None:
    visit(page, served, query)
    expect(page.locator("main")).to_contain_text(says)
    assert page.locator("main a:visible").count() >= 1
    assert page.locator("h2:visible").count() == 0


def test_a_failing_view_is_said_in_its_place_and_the_rest_works(page: Page, served: Dashboard, demo: Client) -> None:
    visit(page, served, "?since=all")
    demo.stop()
    home = Home(Path(str(served.process.args[-2])) if served.process.args[-1] == "--warm" else Path(str(served.process.args[-1])))
    settings = home.settings_file.read_text(encoding="utf-8")
    home.settings_file.write_text("currency = 3\n", encoding="utf-8")
    try:
        page.get_by_role("button", name="Refresh").click()
        expect(page.locator(".failure").first).to_be_visible(timeout=60_000)
        expect(page.locator("h1")).to_have_text("Cost")
    finally:
        home.settings_file.write_text(settings, encoding="utf-8")
    page.get_by_role("link", name="Try again").first.click()
    expect(page.locator(".failure")).to_have_count(0, timeout=60_000)
    expect(page.locator(".figures")).to_be_visible()


@pytest.mark.parametrize("query", ["", "?theme=dark", "?call=LAST", "?theme=dark&call=LAST", "?team=nobody", "?call=nothing"])
def test_axe_finds_nothing_serious(page: Page, served: Dashboard, demo: Client, query: str) -> None:
    last = demo.view_rows("recent_calls", limit=1)[0]["call_id"]
    visit(page, served, query.replace("LAST", last))
    found = Axe().run(page).response["violations"]
    assert [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in {"serious", "critical"}] == []


def test_a_narrow_page_does_not_scroll_sideways(page: Page) -> None:
    page.set_viewport_size({"width": 420, "height": 900})
    settled(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 420


def test_an_empty_ledger_teaches_the_first_call(home: Home, browser: Browser) -> None:
    with dashboard(home) as running:
        page = running.open(browser)
        expect(page.locator(".empty")).to_contain_text("%load_ext aiplat_lab")
        expect(page.locator(".empty")).to_contain_text("aiplat demo")
        assert page.get_by_role("heading", name="Latest calls").count() == 0
        found = Axe().run(page).response["violations"]
        assert [one["id"] for one in found if one["impact"] in {"serious", "critical"}] == []
    assert (running.outside, running.broken) == ([], [])
