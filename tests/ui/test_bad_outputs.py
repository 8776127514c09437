"""Hostile, huge and right-to-left answers, two tabs, and a notebook that is renamed while it runs, in a real browser."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import nbformat
from faults import FaultServer
from labdriver import KERNEL_IDLE, Lab
from playwright.sync_api import expect

MIME = "application/vnd.aiplat.call+json"
FOOT = "echo · 5 → 5 tokens · £0.00 · 1 ms"
HOSTILE = (
    "before <script>window.owned = 1</script> <img src=x onerror='window.owned = 2'> <svg onload='window.owned = 3'></svg> "
    "<iframe srcdoc='<script>parent.owned = 4</script>'></iframe> <a href='javascript:window.owned = 5'>press</a> "
    "<div class='aiplat-Answer-foot jp-Cell lm-Widget' id='aiplat-panel'>"
    f"<div class='aiplat-Answer-facts' style='margin-top:-80px'>{FOOT}</div>"
    "</div> <form action='https://evil.example/'><button>go</button></form> after"
)
LONG_TASKS = """() => {
    window.longest = 0;
    new PerformanceObserver(list => {
        for (const entry of list.getEntries()) { window.longest = Math.max(window.longest, entry.duration); }
    }).observe({ type: 'longtask' });
}"""
STYLE = "(el, name) => getComputedStyle(el)[name]"
NOTHING_OWNED = "window.owned === undefined"


def test_an_answer_with_html_runs_nothing_and_is_no_part_of_the_page(lab: Lab, foreign: list[str]) -> None:
    lab.run("html.ipynb", f"%%ai echo --fresh\n{HOSTILE}", f"%%ai echo --fresh -f html\n{HOSTILE}")
    expect(lab.answers).to_have_count(2)
    for index in range(2):
        answer = lab.answers.nth(index)
        expect(answer).to_have_attribute("data-status", "ok")
        expect(answer).to_contain_text("before")
        expect(answer).to_contain_text("after")
        for made in ("script", "iframe", "svg", "form", "[onerror]", "[onload]", "[href^='javascript']"):
            assert answer.locator(f".aiplat-Answer-body {made}").count() == 0, made
        body = answer.locator(".aiplat-Answer-body")
        assert body.locator("[class*=aiplat-], [class*=lm-], [id^=aiplat]").count() == 0, "it wears none of our names"
        assert answer.locator(".aiplat-Answer-facts").count() == 1, "one line says what the call was, and it is ours"
        place, facts = body.bounding_box(), answer.locator(".aiplat-Answer-facts").bounding_box()
        assert place is not None and facts is not None and place["y"] + place["height"] <= facts["y"] + 1
        assert body.evaluate(STYLE, "contain") == "paint"
    assert lab.page.evaluate(NOTHING_OWNED) and foreign == []
    lab.shot("hostile")


def test_the_saved_html_runs_nothing_where_our_extension_is_missing(lab: Lab) -> None:
    lab.run("fallback.ipynb", f"%%ai echo --fresh\n{HOSTILE}", f"%%ai echo --fresh -f html\n{HOSTILE}")
    expect(lab.answers).to_have_count(2)
    lab.execute("docmanager:save")
    saved = nbformat.read(lab.folder / "fallback.ipynb", 4)
    html = "".join(output.data["text/html"] for cell in saved.cells for output in cell.outputs if "text/html" in output.get("data", {}))
    page = lab.page.context.new_page()
    try:
        page.set_content(f"<!doctype html><body>{html}</body>")
        page.wait_for_timeout(300)
        assert page.evaluate(NOTHING_OWNED)
        assert page.locator("body > div script, body > div svg, body > div form").count() == 0
    finally:
        page.close()


def test_right_to_left_text_cannot_turn_the_line_under_it(lab: Lab) -> None:
    trick = "\u202e\u2066 5 > 5 tokens \u202e"
    lab.run("rtl.ipynb", f"%%ai echo --fresh\nשלום עולם 👩‍🔬 {trick}", f"%%ai echo --fresh -f text\nمرحبا بالعالم {trick}")
    expect(lab.answers).to_have_count(2)
    for index in range(2):
        answer = lab.answers.nth(index)
        body, facts = answer.locator(".aiplat-Answer-body"), answer.locator(".aiplat-Answer-facts")
        expect(facts).to_contain_text("tokens")
        assert body.evaluate(STYLE, "direction") == "rtl", "it reads as its script does"
        assert facts.evaluate(STYLE, "direction") == "ltr"
        assert answer.locator(".aiplat-Answer-foot").evaluate(STYLE, "unicodeBidi") == "isolate"
        lefts = facts.locator(".aiplat-Answer-fact").evaluate_all("els => els.map(el => el.getBoundingClientRect().left)")
        assert len(lefts) >= 3 and lefts == sorted(lefts), "model, tokens, cost and time stand in their order"
    lab.shot("right-to-left")


def test_a_megabyte_is_shown_while_it_comes_and_saved_whole(lab: Lab) -> None:
    source = "long = ' '.join(['The.quick.**brown**.fox.<b>jumps</b>.over.it.' * 25] * 1_000)"
    lab.run("large.ipynb", source, "%%ai echo --fresh --stream -o said\n{long}", wait=False)
    lab.page.evaluate(LONG_TASKS)
    expect(lab.answers.first).to_have_attribute("data-status", "ok", timeout=30_000)
    blocks = lab.answers.first.locator(".aiplat-Answer-block")
    expect(blocks.first).to_contain_text("**brown**")
    assert blocks.count() > 50
    begun = time.monotonic()
    lab.page.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done, 0)))")
    assert time.monotonic() - begun < 1.0, "the page answers"
    whole = "".join(blocks.all_text_contents())
    assert len(whole) > 1_000_000 and whole.count("brown") == 25_000
    longest = lab.page.evaluate("window.longest")
    assert longest <= 1000, f"the page stood still for {longest} ms"
    lab.execute("docmanager:save")
    saved = nbformat.read(lab.folder / "large.ipynb", 4)
    (output,) = saved.cells[2].outputs
    assert output.data[MIME]["text"] == whole and output.data["text/plain"].startswith(whole)
    lab.shot("megabyte")


def test_two_tabs_on_one_notebook(lab: Lab, server: str, upstream: FaultServer) -> None:
    name = lab.write("both.ipynb", "%load_ext aiplat_lab", "%%ai stream-1000 --fresh\nfrom the first", "%%ai echo\nfrom the second")
    lab.open(name)
    other = lab.page.context.new_page()
    try:
        other.goto(f"{server}/lab/workspaces/second?reset", wait_until="domcontentloaded")  # signed in by the first
        other.wait_for_function("window.jupyterapp !== undefined", timeout=60_000)
        second = Lab(other, lab.folder, lab.shots)
        other.evaluate("window.jupyterapp.restored.then(() => true)")
        other.wait_for_selector("#jupyterlab-splash", state="detached", timeout=60_000)
        second.open(name)
        upstream.reset()
        lab.page.evaluate("void window.jupyterapp.commands.execute('notebook:run-all-cells')")
        other.evaluate("window.jupyterapp.shell.currentWidget.content.activeCellIndex = 2")
        other.evaluate("void window.jupyterapp.commands.execute('notebook:run-cell')")
        expect(lab.answers.nth(1)).to_have_attribute("data-status", "ok", timeout=20_000)
        expect(second.answers.last).to_have_attribute("data-status", "ok", timeout=20_000)
        other.wait_for_function(KERNEL_IDLE, timeout=20_000)
        expect(lab.answers.nth(0)).to_have_attribute("data-status", "ok")
        expect(lab.answers.nth(1)).to_contain_text("from the second")
        expect(second.answers.last).to_contain_text("from the second")
        assert "from the first" not in second.answers.last.inner_text()
        assert sum(seen.model == "echo" for seen in upstream.requests) == 1, "the same question in the other tab costs nothing"
        assert sum(seen.model == "stream-1000" for seen in upstream.requests) == 1
    finally:
        other.close()


def test_a_notebook_that_is_renamed_while_it_runs(lab: Lab, upstream: FaultServer) -> None:
    upstream.reset()
    lab.run("before.ipynb", "%%ai echo -o one\nwhere am I", wait=True)
    expect(lab.answers).to_have_count(1)
    lab.execute("notebook:insert-cell-below")
    index = lab.page.evaluate("window.jupyterapp.shell.currentWidget.content.activeCellIndex")
    lab.source(index, "%%ai slow-stream --fresh\nstill the old name")
    lab.page.evaluate("void window.jupyterapp.commands.execute('notebook:run-cell')")
    expect(lab.answers.nth(1)).to_have_attribute("data-status", "running", timeout=20_000)
    lab.page.evaluate("async () => { await window.jupyterapp.shell.currentWidget.context.rename('after it.ipynb') }")
    lab.execute("notebook:interrupt-kernel")
    expect(lab.answers.nth(1)).to_have_attribute("data-status", "cancelled", timeout=20_000)
    lab.execute("notebook:insert-cell-below")
    index = lab.page.evaluate("window.jupyterapp.shell.currentWidget.content.activeCellIndex")
    lab.source(index, "%%ai echo -o two\nwhere am I")
    lab.execute("notebook:run-cell")
    expect(lab.answers).to_have_count(3)
    lab.execute("notebook:insert-cell-below")
    index = lab.page.evaluate("window.jupyterapp.shell.currentWidget.content.activeCellIndex")
    check = (
        "import json\nfrom aiplat_lab import connect\n"
        "rows = [connect().call(one.call_id) for one in (one, two)]\n"
        "print(json.dumps([[row['notebook'], row['cache']] for row in rows]))"
    )
    lab.source(index, check)
    lab.execute("notebook:run-cell")
    said = lab.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) [data-mime-type='application/vnd.jupyter.stdout']").last
    expect(said).to_contain_text("after it.ipynb")
    names = json.loads(said.inner_text())
    assert names == [["before.ipynb", "miss"], ["after it.ipynb", "hit"]], "known under its new name, and the answer costs nothing again"
    assert sum(seen.model == "echo" for seen in upstream.requests) == 1
    panel = lab.open_panel()
    expect(panel.locator(".aiplat-Call").first).to_be_visible()


def test_an_answer_that_broke_off_says_that_its_cost_is_unknown(lab: Lab, axe: Any) -> None:
    lab.run("broke.ipynb", "%%ai cut-stream --fresh\nx")
    answer = lab.answers.first
    expect(answer).to_have_attribute("data-status", "error")
    expect(answer.locator(".aiplat-Answer-facts")).to_contain_text(re.compile("cost unknown"))
    assert axe(lab, ".aiplat-Answer") == []
