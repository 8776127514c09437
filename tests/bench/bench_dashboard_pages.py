"""The Evaluation and Prompts pages over 100 runs of 1,000 samples and a million calls: seconds to the first picture, and for a filter.

Run: `python tests/bench/bench_dashboard_pages.py [--calls 1000000] [--runs 100] [--samples 1000] [--home PATH] [--views 5]`

The home is a demo ledger with more runs, prompts and votes put in; it is made when it is missing and kept when `--home` names
it. The pages are served by their own process from a real gateway, and read in a real Chromium.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dashkit import Dashboard, charts, dashboard, launch, settled
from playwright.sync_api import Page, sync_playwright

from aiplat_lab.client import connect
from aiplat_lab.core.ids import new_id
from aiplat_lab.core.settings import Home
from aiplat_lab.ledger import Ledger
from aiplat_lab.ledger.demo import build_demo

FIRST_BAR_S, FILTER_BAR_S = 3.0, 0.7
MARK = "bench-00"
TEXT = """css => {
  for (const pane of document.querySelectorAll('.bk-panel-models-markup-HTML')) {
    const found = pane.shadowRoot?.querySelector(css);
    if (found) return found.textContent;
  }
  return '';
}"""
"""The text of the first part that fits."""
Change = tuple[str, str, str]
"""A label, an option of its choice, and the part whose text changes with it."""
CHANGES: dict[str, list[Change]] = {
    "evaluation": [
        ("Evalset", "bench-rate", "table.runs"),
        ("Model", "careful", "table.runs"),
        ("Model", "All models", "table.runs"),
        ("Evalset", "bench-graded", "table.runs"),
        ("Evalset", "All evalsets", "table.runs"),
    ],
    "prompts": [
        ("Prompt", "bench-03", "table.versions"),
        ("Team", "risk", "table.prompts"),
        ("Prompt", "triage", "table.versions"),
        ("Team", "All teams", "table.prompts"),
        ("Prompt", "All prompts", "table.versions"),
    ],
}


def fill(home: Home, *, runs: int, samples: int) -> int:
    """Puts runs with samples, prompts with versions, and experiments with votes into a ledger; gives the number of records."""
    dice, now, count = random.Random(5), datetime.now(UTC).replace(microsecond=0), 0
    with Ledger.open(home, archive=False) as ledger:
        calls = [str(row["call_id"]) for row in ledger.rows("SELECT call_id FROM calls WHERE status = 'ok' LIMIT 20000")]
        for number in range(20):
            name = f"bench-{number:02d}"
            for minor in range(10):
                at = now - timedelta(days=80 - 8 * minor)
                body = "\n".join(f"Rule {line}: keep to {(line * (minor + 1)) % 7} sentences." for line in range(40))
                fields = {"name": name, "version": f"1.{minor}.0", "content_hash": f"{number:032x}{minor:032x}", "change": "minor"}
                ledger.record(
                    "prompt_version", {"id": f"{name}@1.{minor}.0", "at": at, "text": f"---\nname: {name}\n---\n# user\n{body}\n", **fields}
                )
                ledger.record(
                    "prompt_label",
                    {"id": f"{name}-{minor}", "at": at, "name": name, "label": "production", "version": f"1.{minor}.0"},
                )
                count += 2
            variants = [{"name": side, "prompt": f"{name}@1.{8 + place}.0", "model": "fast"} for place, side in enumerate("AB")]
            at = now - timedelta(days=number)
            ledger.record("experiment", {"id": f"exp-{number}", "at": at, "name": f"Experiment {number}", "variants": variants})
            for vote in range(200):
                row = {"id": f"exp-{number}/{vote}", "at": at, "experiment": f"exp-{number}", "input_id": str(vote), "rater": "user-01"}
                ledger.record("vote", {**row, "winner": dice.choices(["A", "B", "tie"], [5, 4 + number % 4, 1])[0]})
                count += 1
        for number in range(runs):
            at = now - timedelta(days=28 * (runs - number) / runs + 0.1)
            graded = number % 2 == 1
            evalset = "bench-graded" if graded else "bench-rate"
            run = new_id(at)
            head = {
                "id": run,
                "at": at,
                "name": f"run {number}",
                "evalset": evalset,
                "evalset_hash": evalset,
                "samples": samples,
                "epochs": 1,
            }
            head |= {
                "prompt_name": f"bench-{number % 4:02d}",
                "prompt_version": f"1.{number // 10}.0",
                "model": ("fast", "careful")[number % 3 == 0],
            }
            ledger.record("eval_run", {**head, "scorers": ["exact"], "team": "risk"})
            for sample in range(samples):
                hard = ((sample * 7919) % samples) / samples
                level = 0.6 + 0.002 * number - hard + dice.gauss(0, 0.1) + 0.4
                score = min(1.0, max(0.0, round(level, 2))) if graded else float(level > 0.5)
                name = f"s{sample:04d}"
                row = {
                    "run_id": run,
                    "sample_id": name,
                    "epoch": 1,
                    "status": "ok",
                    "scores": {"exact": score, "length": 1.0},
                    "score": score,
                }
                row |= {
                    "call_id": calls[(number * samples + sample) % len(calls)],
                    "passed": score > 0.5,
                    "cost_usd": "0.00012",
                    "latency_s": 1.2,
                }
                row |= {"slices": {"kind": "abc"[sample % 3], "channel": "xy"[sample % 2]}, "cached": False}
                if graded:
                    row["cluster"] = f"c{sample // 4}"
                ledger.record("eval_sample", {"id": f"{run}/{name}/1", "at": at, **row})
            ledger.record("eval_end", {"id": f"{run}/1", "at": at + timedelta(minutes=4), "run_id": run, "status": "complete"})
            count += samples + 2
    return count


def timed(page: Page, act: Callable[[], object], done: Callable[[], object]) -> float:
    """Seconds from an act until the page shows what follows from it."""
    began = time.perf_counter()
    act()
    done()
    return time.perf_counter() - began


def first(page: Page, url: str, least: int) -> tuple[float, float]:
    """Seconds to the figures with the first chart, and until every part is there."""
    page.goto("about:blank")
    began = time.perf_counter()
    page.goto(url, wait_until="commit")
    page.wait_for_function(f"() => ({TEXT})('.figures') !== ''", polling=20)
    charts(page, 1)
    drawn = time.perf_counter() - began
    settled(page)
    charts(page, least)
    return drawn, time.perf_counter() - began


def choose(page: Page, label: str, option: str, part: str) -> float:
    """Seconds from the choice of an option until that part of the page shows something else and nothing waits."""
    before = page.evaluate(TEXT, part)

    def done() -> None:
        page.wait_for_function(f"before => ({TEXT})({part!r}) !== before", arg=before, polling=10)
        settled(page)

    return timed(page, lambda: page.get_by_label(label, exact=True).select_option(option), done)


def measure(page: Page, served: Dashboard, name: str, *, views: int) -> tuple[list[float], list[float], list[float]]:
    """Seconds to the first picture, to the whole page, and for changes of a filter."""
    address = f"{served.url.rsplit('/', 1)[0]}/{name}"
    firsts = [first(page, address, 2) for _ in range(views)]
    changes = []
    for _ in range(max(1, views // 2)):
        for label, option, part in CHANGES[name]:
            changes.append(choose(page, label, option, part))
            page.wait_for_timeout(300)
    return [drawn for drawn, _ in firsts], [whole for _, whole in firsts], changes


def report(name: str, values: list[float], bar: float | None) -> bool:
    """Prints a line; gives whether its bar holds."""
    spread = f"{min(values):.2f} to {max(values):.2f} s"
    middle = statistics.median(values)
    print(f"{name}: median {middle:.2f} s ({spread}, n={len(values)})" + (f", bar {bar} s" if bar else ""))
    return bar is None or middle <= bar


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--samples", type=int, default=1_000)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--views", type=int, default=5)
    options = parser.parse_args()
    held = True
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        home = Home((options.home or Path(folder) / "demo").absolute())
        began = time.perf_counter()
        if not home.ledger_file.exists():
            build_demo(home, calls=options.calls)
        with Ledger.open(home, archive=False) as ledger:
            filled = bool(ledger.view_rows("prompt_catalogue", {"prompt": MARK}))
        if not filled:
            count = fill(home, runs=options.runs, samples=options.samples)
            print(f"made a ledger of {options.calls:,} calls and {count:,} records in {time.perf_counter() - began:.0f} s")
        client = connect(home)
        browser = launch(playwright)
        try:
            with dashboard(home, "--warm") as served:
                page = served.open(browser)
                for name in CHANGES:
                    firsts, wholes, changes = measure(page, served, name, views=options.views)
                    held &= report(f"{name}, first picture", firsts, FIRST_BAR_S)
                    report(f"{name}, whole page", wholes, None)
                    held &= report(f"{name}, filter change", changes, FILTER_BAR_S)
            rows = client.view("meta").to_dicts()[0]["rows"]
        finally:
            browser.close()
            client.stop()
    print(f"{rows:,} rows in the ledger; requests to other hosts: {len(served.outside)}; errors: {served.broken}")
    held = held and not served.outside and not served.broken
    print("held" if held else "NOT held")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
