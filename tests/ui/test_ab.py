"""The A/B comparison in a real browser: judged by keyboard, stored while answers stream, and readable without a kernel."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Any

import nbformat
from labdriver import Lab
from playwright.sync_api import Locator, expect

from aiplat_lab.client import connect

MIME = "application/vnd.aiplat.ab+json"
GOOD = """## Refund for order 1042

The customer was **charged twice** and asks for the second payment back.

1. Apologise, and confirm the amount.
2. Refund to the card within `3` working days."""
BETTER = """The customer was charged twice for order 1042 and asks for a refund of the second payment.

- Confirm the amount today.
- Refund to the card within `3` working days."""
BEGIN = "import aiplat_lab\nresult = aiplat_lab.ab({variants}, {inputs!r}, name={name!r}, rater='ann', seed=7{more})"


def begin(lab: Lab, file: str, variants: list[Any], inputs: Any, name: str, *, more: str = "", wait: bool = True) -> Locator:
    lab.run(file, BEGIN.format(variants=variants, inputs=inputs, name=name, more=more), wait=wait)
    control = lab.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .aab")
    expect(control.locator(".aab-card").first).to_be_visible(timeout=30_000)
    return control


def client(folder: Path) -> Any:
    return connect(folder / "aiplat", spawn=False)


def dress(lab: Lab, theme: str) -> None:
    """Changes the theme, and waits until JupyterLab has drawn it."""
    lab.theme(theme)
    lab.page.wait_for_selector("#jupyterlab-splash", state="detached")


def texts(*prompts: str) -> list[dict[str, str]]:
    return [{"name": name, "model": "echo", "prompt": prompt} for name, prompt in zip(("careful", "short"), prompts, strict=True)]


def test_a_comparison_is_judged_blind_by_keyboard_and_read_again_without_a_kernel(lab: Lab, folder: Path, axe: Any) -> None:
    control = begin(lab, "compare.ipynb", texts(GOOD + " {{ input }}", BETTER + " {{ input }}"), ["Ticket 1", "Ticket 2"], "Ticket replies")
    cards = control.locator(".aab-card")
    expect(cards).to_have_count(2)
    expect(cards.nth(0).locator(".aab-answer")).to_contain_text("charged twice")
    expect(control.locator(".aab-answer strong")).to_have_text("charged twice")
    text = control.inner_text()
    for secret in ("careful", "short", "echo", "tokens", "£"):
        assert secret not in text, f"{secret} is visible before the vote"
    assert axe(lab, ".aab") == []
    control.focus()
    lab.shot("ab-blind-light")
    lab.page.keyboard.press("d")
    expect(control.locator("ins").first).to_be_visible()
    lab.shot("ab-differences-light")
    dress(lab, "dark")
    lab.shot("ab-differences-dark")
    lab.page.keyboard.press("d")
    lab.shot("ab-blind-dark")
    assert axe(lab, ".aab") == []
    control.get_by_label("Why, in a few words (optional)").fill("says what to do 1 n d")
    lab.page.keyboard.press("Escape")
    lab.page.keyboard.press("2")
    expect(control.locator(".aab-stored")).to_contain_text("Stored")
    expect(control.locator(".aab-card[data-chosen='true'] .aab-name")).to_have_text(re.compile("careful|short"))
    expect(control.locator(".aab-facts").first).to_contain_text("£")
    expect(control.locator(".aab-verdict")).to_contain_text("more votes needed")
    lab.shot("ab-revealed-dark")
    assert axe(lab, ".aab") == []
    dress(lab, "light")
    lab.shot("ab-revealed-light")
    assert axe(lab, ".aab") == []
    lab.page.keyboard.press("1")  # voted already
    lab.page.keyboard.press("Enter")
    expect(control.locator(".aab-label")).to_have_text("Input 2")
    lab.page.keyboard.press("0")
    expect(control.locator(".aab-stored")).to_contain_text("All inputs are judged")
    with client(folder) as gateway:
        (experiment,) = [row for row in gateway.view_rows("experiment_list") if row["name"] == "Ticket replies"]
        votes = gateway.view_rows("vote_list", experiment=experiment["id"])
    assert [vote["winner"] in ("careful", "short", "tie") for vote in votes] == [True, True] and votes[1]["winner"] == "tie"
    assert (votes[0]["reason"], votes[0]["rater"], votes[0]["blind"]) == ("says what to do 1 n d", "ann", True)
    twin = lab.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .aiplat-Ab")
    expect(twin).to_have_count(1)
    expect(twin).to_contain_text("2 of 2 judged")
    expect(twin).to_contain_text("says what to do")
    lab.execute("docmanager:save")
    saved = nbformat.read(lab.folder / "compare.ipynb", as_version=4)
    record = next(out.data for out in saved.cells[-1].outputs if MIME in out.get("data", {}))
    for kind in ("text/html", "text/markdown"):
        for wanted in ("careful", "short", "echo", votes[0]["winner"], "says what to do", experiment["id"]):
            assert wanted in record[kind], (kind, wanted)
    again(lab, axe)


def again(lab: Lab, axe: Any) -> None:
    lab.clear()
    lab.open("compare.ipynb", kernel=False)
    twin = lab.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .aiplat-Ab")
    expect(twin).to_contain_text("2 of 2 judged")
    expect(twin.locator(".aiplat-Ab-table tbody tr")).to_have_count(2)
    expect(twin.locator(".aiplat-Ab-card")).to_have_count(4)
    expect(twin.locator("strong", has_text="charged twice").first).to_be_visible()
    outputs = lab.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-OutputArea-child")
    expect(outputs.locator("visible=true")).to_have_count(1)
    assert lab.page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.session") is None
    assert axe(lab, ".aiplat-Ab") == []
    lab.shot("ab-record-light")
    dress(lab, "dark")
    lab.shot("ab-record-dark")
    assert axe(lab, ".aiplat-Ab") == []
    dress(lab, "light")
    twin.locator("summary").first.click()
    expect(twin.locator("details").first).not_to_have_attribute("open", "")


STOPWATCH = """() => {
    const box = document.querySelector('.jp-NotebookPanel:not(.lm-mod-hidden) .aab');
    window.watch = {};
    box.addEventListener('keydown', () => { window.watch.pressed ??= Date.now(); }, true);
    const look = () => {
        if (box.querySelector('.aab-stored').textContent.includes('Stored')) { window.watch.stored ??= Date.now(); }
    };
    new MutationObserver(look).observe(box, { subtree: true, childList: true, characterData: true });
}"""


def vote_and_time(lab: Lab, control: Locator, key: str) -> dict[str, float]:
    """Votes by one key; the browser's clock at the key and when the control said that the vote is stored, in seconds."""
    lab.page.evaluate(STOPWATCH)
    control.focus()
    lab.page.keyboard.press(key)
    lab.page.wait_for_function("window.watch.stored", timeout=15_000)
    return {name: at / 1000 for name, at in lab.page.evaluate("window.watch").items()}


def test_a_vote_is_stored_while_answers_stream_and_while_another_cell_runs(lab: Lab, folder: Path) -> None:
    inputs = ["count", "count again"]
    control = begin(lab, "stream.ipynb", ["slow-stream", "slow-stream"], inputs, "Streams", more=", fresh=True, ahead=0")
    streaming = control.locator(".aab-card[data-state='running'] .aab-answer", has_text="three")
    expect(streaming).to_have_count(2)
    first = vote_and_time(lab, control, "2")
    expect(control.locator(".aab-card[data-state='running']")).to_have_count(2)
    lab.page.keyboard.press("Enter")
    expect(control.locator(".aab-label")).to_have_text("Input 2")
    expect(streaming.first).to_be_visible()
    lab.page.evaluate(BUSY)
    lab.page.wait_for_function("window.busy === 'busy'")
    second = vote_and_time(lab, control, "0")
    assert lab.page.evaluate("window.busy") == "busy", "the other cell still runs"
    with client(folder) as gateway:
        (experiment,) = [row for row in gateway.view_rows("experiment_list") if row["name"] == "Streams"]
        votes = gateway.view_rows("vote_list", experiment=experiment["id"])
    kept = [datetime.fromisoformat(vote["recorded_at"]).timestamp() for vote in votes]
    took = [at - one["pressed"] for at, one in zip(kept, (first, second), strict=True)]
    assert max(took) <= LIMIT_S, took
    assert first["stored"] - first["pressed"] <= LIMIT_S and second["stored"] - second["pressed"] <= LIMIT_S


BUSY = """() => {
    const { kernel } = window.jupyterapp.shell.currentWidget.sessionContext.session;
    window.busy = 'sent';
    const future = kernel.requestExecute({ code: 'import time\\nend = time.time() + 6\\nwhile time.time() < end: time.sleep(0.05)' });
    future.onIOPub = message => { if (message.header.msg_type === 'execute_input') { window.busy = 'busy'; } };
    future.done.then(() => { window.busy = 'done'; });
}"""
LIMIT_S = 2.0
"""The bar is 0.3 s, which the benchmark measures on a quiet machine; a blocked cell would take six."""


def test_a_side_that_breaks_off_says_so_and_the_other_lives_on(lab: Lab, axe: Any) -> None:
    control = begin(lab, "broken.ipynb", ["cut-stream", "echo"], "still here", "Broken", more=", fresh=True")
    failed = control.locator(".aab-card[data-state='error']")
    expect(failed).to_contain_text("This answer broke off")
    expect(control.locator(".aab-card[data-state='ok'] .aab-answer")).to_have_text("still here")
    assert "cut-stream" not in control.inner_text()
    lab.shot("ab-failed-light")
    control.locator(".aab-card[data-state='ok'] .aab-prefer").click()
    expect(control.locator(".aab-stored")).to_contain_text("Stored")
    expect(failed).to_contain_text("upstream")
    assert axe(lab, ".aab") == []
    lab.shot("ab-failed-revealed-light")


def test_four_variants_fit_a_narrow_window(lab: Lab, axe: Any) -> None:
    prompts = [f"Answer {word} to {{{{ input }}}}" for word in ("briefly", "kindly", "formally", "in verse")]
    sides = [{"name": f"v{number}", "model": "echo", "prompt": prompt} for number, prompt in enumerate(prompts, 1)]
    control = begin(lab, "four.ipynb", sides, "the customer", "Four voices")
    expect(control.locator(".aab-card[data-state='ok']")).to_have_count(4)
    lab.shot("ab-four-light")
    lab.page.set_viewport_size({"width": 700, "height": 1200})
    boxes = [control.locator(".aab-card").nth(place).bounding_box() for place in range(4)]
    assert all(box is not None and box["width"] > 150 for box in boxes), boxes
    assert axe(lab, ".aab") == []
    lab.shot("ab-four-narrow-light")
    lab.page.set_viewport_size({"width": 1360, "height": 860})
    control.focus()
    lab.page.keyboard.press("4")
    expect(control.locator(".aab-card").nth(3)).to_have_attribute("data-chosen", "true")
