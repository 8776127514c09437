"""The Cost page over a ledger of a million calls: seconds to the first charts, and for a change of a filter.

Run: `python tests/bench/bench_dashboard.py [--calls 1000000] [--home PATH] [--views 7] [--since 30d]`

The home is a demo ledger; it is made when it is missing, which takes some minutes for a million calls, and kept when
`--home` names it. The page is served by its own process from a real gateway, and read in a real Chromium.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dashkit import Dashboard, charts, dashboard, launch, settled
from playwright.sync_api import Page, sync_playwright

from aiplat_lab.client import connect
from aiplat_lab.core.settings import Home
from aiplat_lab.ledger.demo import build_demo

FIRST_BAR_S, FILTER_BAR_S = 3.0, 0.7
READ = """() => {
  for (const pane of document.querySelectorAll('*')) {
    const found = pane.shadowRoot?.querySelector('.figures');
    if (found) return found.textContent;
  }
  return '';
}"""


def first(page: Page, url: str) -> tuple[float, float]:
    """Seconds from the request to the first charts with the headline, and until every part is there."""
    page.goto("about:blank")
    began = time.perf_counter()
    page.goto(url, wait_until="commit")
    charts(page, 1)
    page.wait_for_function(f"() => ({READ})() !== ''")
    drawn = time.perf_counter() - began
    settled(page)
    charts(page, 3)
    return drawn, time.perf_counter() - began


def choose(page: Page, label: str, option: str) -> float:
    """Seconds from the choice until the headline, the tables and the charts show it."""
    before = page.evaluate(READ)
    page.evaluate(
        "() => { window.drawn = 0; const walk = root => root.querySelectorAll('*').forEach(node => {"
        " if (node.matches('.vega-embed')) new MutationObserver(() => { window.drawn = performance.now(); })"
        ".observe(node, { childList: true, subtree: true }); if (node.shadowRoot) walk(node.shadowRoot); }); walk(document); }"
    )
    began = time.perf_counter()
    page.get_by_label(label, exact=True).select_option(option)
    page.wait_for_function(f"() => ({READ})() !== {before!r}", polling=10)
    page.wait_for_function("() => window.drawn > 0", polling=10)
    settled(page)
    return time.perf_counter() - began


def measure(page: Page, served: Dashboard, *, views: int, since: str) -> tuple[list[float], list[float], list[float]]:
    """Seconds to the first charts, to the whole page, and for changes of a filter."""
    address = f"{served.url}?since={since}"
    firsts = [first(page, address) for _ in range(views)]
    changes = []
    for _ in range(max(1, views // 2)):
        for label, option in (("Team", "risk"), ("Model", "fast"), ("Team", "support"), ("Model", "All models"), ("Team", "All teams")):
            changes.append(choose(page, label, option))
            page.wait_for_timeout(300)
    return [drawn for drawn, _ in firsts], [whole for _, whole in firsts], changes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--views", type=int, default=7)
    parser.add_argument("--since", default="30d")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        home = Home((options.home or Path(folder) / "demo").absolute())
        if not home.ledger_file.exists():
            began = time.perf_counter()
            build_demo(home, calls=options.calls)
            print(f"made a demo ledger of {options.calls:,} calls in {time.perf_counter() - began:.0f} s")
        client = connect(home)
        rows = client.view("meta").to_dicts()[0]["rows"]
        browser = launch(playwright)
        try:
            with dashboard(home, "--warm") as served:
                page = served.open(browser)
                firsts, wholes, changes = measure(page, served, views=options.views, since=options.since)
        finally:
            browser.close()
            client.stop()
    for name, values, bar in (
        ("first charts", firsts, FIRST_BAR_S),
        ("whole page", wholes, None),
        ("filter change", changes, FILTER_BAR_S),
    ):
        spread = f"{min(values):.2f} to {max(values):.2f} s"
        print(f"{name}: median {statistics.median(values):.2f} s ({spread}, n={len(values)})" + (f", bar {bar} s" if bar else ""))
    print(f"{rows:,} rows in the ledger, period {options.since}; requests to other hosts: {len(served.outside)}; errors: {served.broken}")
    held = statistics.median(firsts) <= FIRST_BAR_S and statistics.median(changes) <= FILTER_BAR_S and not served.outside
    print("held" if held else "NOT held")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
