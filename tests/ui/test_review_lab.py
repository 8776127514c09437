"""Comparing from the cell's first line, votes of a colleague, and the review of answers, in a real browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from labdriver import Lab
from playwright.sync_api import expect

from aiplat_lab import prompts
from aiplat_lab.client import connect
from aiplat_lab.core.types import Attribution, Message, Request

VS = "%%ai echo --vs instant --team ui\nWhich of these answers a customer best, and why?"


def dress(lab: Lab, theme: str) -> None:
    """Changes the theme, and waits until JupyterLab has drawn it."""
    lab.theme(theme)
    lab.page.wait_for_selector("#jupyterlab-splash", state="detached")


def test_a_cell_with_vs_is_voted_on_by_two_notebooks_and_its_winner_kept(lab: Lab, folder: Path, axe: Any) -> None:
    lab.run("versus.ipynb", VS)
    control = lab.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .aab")
    expect(control.locator(".aab-card")).to_have_count(2)
    expect(control.locator(".aab-keep").first).to_be_hidden()
    expect(control.locator(".aab-card[data-state='ok']")).to_have_count(2)
    control.focus()
    lab.page.keyboard.press("1")
    expect(control.locator(".aab-stored")).to_contain_text("Stored")
    with connect(folder / "aiplat", spawn=False) as gateway:
        experiment = next(row for row in gateway.view_rows("experiment_list") if row["name"] == "echo or instant")
        votes = gateway.view_rows("vote_list", experiment=experiment["id"])
        assert len(votes) == 1
        # A colleague, in another kernel.
        order = votes[0]["winner"]
        joined = aiplat_ab(experiment["id"], gateway)
        joined.vote(order)
        assert joined.wait(10)
        joined.stop()
        expect(control.locator(".aab-raters")).to_contain_text("2 raters; on the 1 input that several judged, they agree in 100 % of pairs")
        expect(control.locator(".aab-verdict")).to_contain_text("2")
        twin = lab.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .aiplat-Ab")
        expect(twin).to_contain_text("bob")
        keep = control.locator(f".aab-keep[aria-label^='Keep {order} as a draft']")
        keep.click()
        expect(control.locator(".aab-keep:disabled")).to_contain_text("Kept as echo-or-instant@1.0.0 (draft)")
        assert prompts.get("echo-or-instant@draft", gateway).model == order
    assert axe(lab, ".aab") == []
    lab.shot("ab-two-raters-light")
    dress(lab, "dark")
    lab.shot("ab-two-raters-dark")
    assert axe(lab, ".aab") == []
    dress(lab, "light")


def aiplat_ab(experiment: str, gateway: Any) -> Any:
    """The same experiment as another rater sees it."""
    from abkit import WATCHED

    from aiplat_lab.widgets._begin import Options, prepare

    made = prepare(None, None, Options(resume=experiment, rater="bob"), here=WATCHED, client=gateway)
    made.start()
    return made


def test_answers_are_reviewed_by_keyboard_alone_and_a_restart_goes_on(lab: Lab, folder: Path, axe: Any) -> None:
    texts = (
        "## Refund\n\nThe customer was **charged twice**; refund within `3` days.",
        "Nothing to say.",
        "Third <img src=x onerror=alert(1)>",
    )
    with connect(folder / "aiplat", spawn=False) as gateway:
        who = Attribution(surface="magic")
        calls = [gateway.chat(Request(model="echo", messages=(Message("user", text),), attribution=who)).call_id for text in texts]
        begin = f"import aiplat_lab\nmade = aiplat_lab.review('Ticket replies', calls={calls}, reviewer='ann')"
        lab.run("review.ipynb", begin)
        control = lab.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .arv")
        expect(control.locator(".arv-answer strong")).to_have_text("charged twice")
        assert axe(lab, ".arv") == []
        lab.shot("review-light")
        control.focus()
        keys = lab.page.keyboard
        keys.press("Enter")  # nothing is said yet
        for key in ("2", "s", "m"):
            keys.press(key)
        keys.type("too long 5 d")
        keys.press("Escape")
        keys.press("c")
        expect(control.get_by_label("The answer as it should have been (optional)")).to_be_focused()
        keys.press("End")
        keys.type("Refund it.")
        keys.press("Control+Enter")
        expect(control.locator(".arv-answer")).to_contain_text("Nothing to say.")
        expect(control.locator(".arv-count")).to_have_text("1 of 3 reviewed by you · 2 left")
        (row,) = gateway.view_rows("review_list", queue="Ticket replies")
        assert (row["rating"], row["comment"]) == (2, "too long 5 d") and row["correction"].endswith("Refund it.")
        keys.press("n")  # skip
        expect(control.locator(".arv-answer")).to_contain_text("Third <img")
        expect(control.locator(".arv-answer img")).to_have_count(0)
        for key in ("5", "a", "Enter"):
            keys.press(key)
        expect(control.locator(".arv-count")).to_have_text("2 of 3 reviewed by you · 1 left")
        dress(lab, "dark")
        lab.shot("review-dark")
        assert axe(lab, ".arv") == []
        dress(lab, "light")
        lab.run("review2.ipynb", "import aiplat_lab\nagain = aiplat_lab.review('Ticket replies', reviewer='ann')")
        again = lab.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .arv")
        expect(again.locator(".arv-count")).to_have_text("2 of 3 reviewed by you · 1 left")
        expect(again.locator(".arv-answer")).to_contain_text("Nothing to say.")
        again.focus()
        keys.press("3")
        keys.press("Enter")
        expect(again.locator(".arv-count")).to_have_text("3 of 3 reviewed by you · none left")
        assert len(gateway.view_rows("review_list", queue="Ticket replies")) == 3
        record = lab.page.locator(
            ".jp-NotebookPanel:not(.lm-mod-hidden) .jp-OutputArea-output section", has_text="Review queue Ticket replies"
        )
        expect(record.last).to_contain_text("3 of 3 judged by ann")
