"""Restart and Run All costs nothing: replay from the cell, staleness, bundles for others, and what is refused."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell
from magickit import CANARY, MIME, Lab, make_shell
from notebookkit import run_all

from aiplat_lab import replay
from aiplat_lab.client import connect
from aiplat_lab.core.errors import UsageError
from aiplat_lab.core.replays import pack, unpack
from aiplat_lab.core.settings import Home
from aiplat_lab.ledger import Ledger

CELLS = [
    "mail = 'I was charged twice'",
    "%%ai echo\nSummarise {mail} in a word of the desk",
    '%%ai echo -f json --stream\n{"answer": [1, 2]}',
    "print('no question')",
]


@pytest.fixture
def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The notebook that the front end says it runs."""
    path = tmp_path / "report.ipynb"
    monkeypatch.setenv("JPY_SESSION_NAME", str(path))
    monkeypatch.chdir(tmp_path)
    return path


@pytest.fixture
def colleague(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, lab: Lab) -> Iterator[Lab]:
    """Somebody else: another home with no provider, no key and another default model, in a kernel of their own."""
    folder = tmp_path_factory.mktemp("colleague")
    home = Home(folder / "home").create()
    home.settings_file.write_text("", encoding="utf-8")
    monkeypatch.setenv("AIPLAT_HOME", str(home.path))
    monkeypatch.delenv("UP_KEY")
    client = connect(home)
    yield Lab(home, lab.upstream, client, lab.shell)
    client.stop()
    client.close()


def fresh(lab: Lab) -> Lab:
    """The same after a restart of the kernel."""
    return Lab(lab.home, lab.upstream, lab.client, make_shell())


def said(lab: Lab, line: str) -> str:
    ran = lab.run(line)
    assert ran.error is None, ran.error
    return "\n".join(one["data"]["text/plain"] for one in ran.outputs)


def states(lab: Lab) -> list[str]:
    """The states and reasons that `%ai replay status` lists."""
    lines = said(lab, "%ai replay status").splitlines()
    return [" ".join(line.split()) for line in lines[2:-1]]


def test_run_all_again_costs_nothing_and_says_so(lab: Lab, report: Path) -> None:
    first = run_all(lab, report, CELLS)
    asked = len(lab.upstream.requests)
    again = run_all(fresh(lab), report, CELLS)
    assert asked == 2 == len(lab.upstream.requests)
    for before, after in zip(first[1:3], again[1:3], strict=True):
        old, new = (ran.outputs[-1]["data"] for ran in (before, after))
        assert new[MIME]["text"] == old[MIME]["text"] and new[MIME]["response_hash"] == old[MIME]["response_hash"]
        assert new[MIME]["replayed"] and not old[MIME]["replayed"] and new[MIME]["first_call_id"] == old[MIME]["call_id"]
        assert new[MIME]["cost_usd"] == "0" and new[MIME]["saved_usd"] == old[MIME]["cost_usd"]
        foot = new["text/plain"].splitlines()[-1]
        assert "replayed, first asked just now, saved £0.0" in foot and "cache" not in foot
        row = lab.row(new[MIME]["call_id"])
        assert (row["policy"], row["cost_usd"]) == ("replay", "0.000000000")
    about = again[1].outputs[-1]["metadata"]
    assert about[MIME] == about["aiplat"] and about["aiplat"]["first_call_id"] == first[1].call["call_id"]
    assert about["aiplat"]["model"] == "echo" and about["jupyter_ai"] == {"provider_id": "up", "model_id": "echo"}


def test_modes_from_the_line_and_from_config(lab: Lab) -> None:
    only = lab.run("%%ai echo --replay only\nnever asked before in this home")
    assert "there is nothing to replay" in str(only.error) and "Nothing was sent" in str(only.error)
    assert len(str(only.error)) < 800 and "\n" not in str(only.error)
    lab.run("%config AiMagics.replay = 'only'")
    assert "nothing to replay" in str(lab.run("%%ai echo\nnever asked before either").error)
    assert not lab.upstream.requests
    lab.run("%%ai echo --replay auto\nasked by mode")
    assert lab.run("%%ai echo\nasked by mode").call["replayed"]
    lab.run("%config AiMagics.replay = ''")
    assert not lab.run("%%ai echo --fresh\nasked by mode").call["replayed"]
    assert not lab.run("%%ai echo --replay refresh\nasked by mode").call["replayed"]
    assert len(lab.upstream.requests) == 3
    assert "keep one of them" in str(lab.run("%%ai echo --fresh --replay only\nx").error)
    lab.run("%config AiMagics.replay = 'onyl'")
    assert "Did you mean only" in str(lab.run("%%ai echo\nx").error)


def test_stale_answers_are_found_with_their_reason(lab: Lab, report: Path) -> None:
    run_all(lab, report, CELLS)
    assert [line.split(" ")[0] for line in states(lab)] == ["2", "3"]
    assert all("replayable" in line for line in states(lab))
    lab.run("mail = 'Another mail'")
    assert "stale the value of {mail} changed" in states(lab)[0]
    lab.run("mail = 'I was charged twice'")
    report.write_text(report.read_text().replace("in a word of the desk", "in two words"), encoding="utf-8")
    assert "stale its text or its options changed" in states(lab)[0] and "replayable" in states(lab)[1]
    lab.run("del mail")
    [row, _] = replay.status(report, client=lab.client)
    assert (row["cell"], row["state"]) == (2, "stale")


def test_the_ledger_without_the_answer_says_so(lab: Lab, report: Path) -> None:
    ran = run_all(lab, report, ["%%ai echo\nto be erased"])
    digest = lab.row(ran[0].call["call_id"])["response_hash"]
    lab.client.stop()
    with Ledger.open(lab.home) as ledger:
        assert ledger.erase_payload(digest)
    assert "unknown its answer was erased" in states(lab)[0]
    assert "its answer was erased" in str(lab.run("%%ai echo --replay only\nto be erased").error)
    with pytest.raises(UsageError, match=r"has no answer of .* to put into a bundle"):
        replay.export(report, client=lab.client)


def test_a_colleague_runs_it_with_the_bundle_alone(lab: Lab, report: Path, colleague: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = [*CELLS, "%%ai\nno model is named here", "%%ai up/instant --stream\nby its own name"]
    monkeypatch.setenv("AIPLAT_HOME", str(lab.home.path))
    monkeypatch.setenv("UP_KEY", CANARY)
    first = run_all(fresh(lab), report, cells)
    made = said(fresh(lab), "%ai replay export")
    bundle = report.with_suffix(".aiplat-replay")
    assert "holds 4 answers" in made and bundle.stat().st_size < 4_000
    data = bundle.read_bytes()
    replay.export(report, client=lab.client)
    assert bundle.read_bytes() == data, "the same answers make the same bytes"
    asked = len(lab.upstream.requests)
    monkeypatch.setenv("AIPLAT_HOME", str(colleague.home.path))
    monkeypatch.setenv("AIPLAT_HEADLESS", "1")
    again = run_all(fresh(colleague), report, cells)
    assert len(lab.upstream.requests) == asked
    for number in (1, 2, 4, 5):
        old, new = first[number].outputs[-1]["data"], again[number].outputs[-1]["data"]
        assert new[MIME]["text"] == old[MIME]["text"] and new[MIME]["response_hash"] == old[MIME]["response_hash"]
        assert new[MIME]["first_call_id"] == old[MIME]["first_call_id"] and new[MIME]["model"] == old[MIME]["model"]
        assert "replayed from the bundle of report.ipynb, first asked just now" in new["text/plain"]
    changed = fresh(colleague).run("%%ai echo\nanother question")
    assert "there is no model 'echo'" in str(changed.error)
    assert "replayable" in " ".join(states(fresh(colleague)))
    made = replay.export(report, report.parent / "again.aiplat-replay", client=colleague.client)
    assert made.answers == 4 and made.missing == 0, "who was given a bundle can hand it on"


def test_a_bundle_that_was_changed_cut_off_or_is_none_is_refused_in_one_line(lab: Lab, report: Path) -> None:
    run_all(lab, report, ["%%ai echo\nfor a bundle"])
    said(lab, "%ai replay export")
    bundle = report.with_suffix(".aiplat-replay")
    whole = bundle.read_bytes()
    asked = len(lab.upstream.requests)
    for data, what in (
        (whole[:-5], "damaged"),
        (whole[:90] + bytes([whole[90] ^ 1]) + whole[91:], "damaged"),
        (whole[:-1] + b"\0", "damaged"),
        (whole.replace(b"replay 1 ", b"replay 9 ", 1), "version 9"),
        (b"", "not a replay bundle"),
        (b"{}", "not a replay bundle"),
    ):
        bundle.write_bytes(data)
        ran = fresh(lab).run("%%ai echo\nwhich must not be sent now")
        assert what in str(ran.error) and "\n" not in str(ran.error) and bundle.name in str(ran.error)
        with pytest.raises(UsageError, match=what):
            replay.load(bundle, client=lab.client)
    assert len(lab.upstream.requests) == asked


def test_a_bundle_with_another_answer_under_a_right_checksum_is_refused(lab: Lab, report: Path) -> None:
    run_all(lab, report, ["%%ai echo\nfor a forged bundle"])
    replay.export(report, client=lab.client)
    bundle = report.with_suffix(".aiplat-replay")
    content = unpack(bundle.read_bytes(), name="x")
    content["answers"][0]["document"] = json.dumps({"text": "forged"})
    bundle.write_bytes(pack("report.ipynb", content["answers"], default_model="echo"))
    with pytest.raises(UsageError, match="damaged"):
        replay.load(bundle, client=lab.client)
    with pytest.raises(UsageError, match="the answer is not the one that its hash names"):
        lab.client.replay_import(content["answers"], source="report.ipynb")


def test_a_bundle_of_another_notebook_answers_the_same_questions_alone(
    lab: Lab, report: Path, colleague: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIPLAT_HOME", str(lab.home.path))
    monkeypatch.setenv("UP_KEY", CANARY)
    run_all(fresh(lab), report, ["%%ai echo\nof the report"])
    replay.export(report, client=lab.client)
    asked = len(lab.upstream.requests)
    monkeypatch.setenv("AIPLAT_HOME", str(colleague.home.path))
    monkeypatch.setenv("JPY_SESSION_NAME", str(report.parent / "other.ipynb"))
    other = fresh(colleague)
    assert "there is no model 'echo'" in str(other.run("%%ai echo\nof the report").error), (
        "only a bundle of its own name is taken in unasked"
    )
    assert "1 answers taken in, 0 were known. It was made of report.ipynb, not of other.ipynb" in said(
        other, "%ai replay import report.aiplat-replay"
    )
    assert other.run("%%ai echo\nof the report").call["replayed"]
    assert "there is no model 'echo'" in str(other.run("%%ai echo\nof another notebook").error)
    assert len(lab.upstream.requests) == asked


def test_bundles_hold_no_key_no_prompt_and_no_name(lab: Lab, report: Path) -> None:
    run_all(lab, report, CELLS)
    said(lab, "%ai replay export")
    data = report.with_suffix(".aiplat-replay").read_bytes()
    content = json.loads(zlib.decompress(data.partition(b"\n")[2]))
    text = json.dumps(content)
    who = lab.row(replay.status(report, client=lab.client)[0]["call_id"])
    for word in (CANARY, str(lab.home.path), str(report.parent), "messages", "user_id", f'"{who["user_id"]}"'):
        assert word not in text
    assert set(content) == {"notebook", "default_model", "answers"}


def test_what_was_erased_here_does_not_come_back_by_a_bundle(lab: Lab, report: Path) -> None:
    ran = run_all(lab, report, ["%%ai echo\nto be forgotten"])
    said(lab, "%ai replay export")
    lab.client.stop()
    with Ledger.open(lab.home) as ledger:
        assert ledger.erase_payload(ran[0].call["response_hash"])
    assert replay.load(report.with_suffix(".aiplat-replay"), client=lab.client)["erased"] == 1
    assert "its answer was erased" in str(fresh(lab).run("%%ai echo --replay only\nto be forgotten").error)


def test_a_notebook_renamed_while_it_runs_and_wrong_words(lab: Lab, report: Path) -> None:
    run_all(lab, report, ["%%ai echo\nbefore the renaming"])
    report.rename(report.parent / "renamed.ipynb")
    for line in ("%ai replay export", "%ai replay status", "%ai verify"):
        error = str(lab.run(line).error)
        assert "report.ipynb is no longer where it was" in error and "\n" not in error
    assert lab.run("%%ai echo\nbefore the renaming").call["replayed"]
    assert "holds 1 answers" in said(lab, "%ai replay export renamed.ipynb")
    assert "Did you mean status" in str(lab.run("%ai replay statsu").error)
    assert "no bundle lies beside" in str(lab.run("%ai replay import").error)
    assert "cannot be read" in str(lab.run("%ai replay import nothing.aiplat-replay").error)
    assert "1 were known" in said(lab, "%ai replay import renamed.aiplat-replay")
    assert "It was made of renamed.ipynb, not of report.ipynb" in said(lab, "%ai replay import renamed.aiplat-replay")


def test_clearing_asks_again(lab: Lab, report: Path) -> None:
    run_all(lab, report, ["%%ai echo\nto be cleared"])
    assert "is not given again to" in said(lab, "%ai replay clear")
    assert "cleared" in str(lab.run("%%ai echo --replay only\nto be cleared").error)
    asked = len(lab.upstream.requests)
    assert not lab.run("%%ai echo\nto be cleared").call["replayed"]
    assert len(lab.upstream.requests) == asked + 1
    assert lab.run("%%ai echo\nto be cleared").call["replayed"]


@pytest.fixture(autouse=True)
def _no_shell_is_left() -> Iterator[None]:
    yield
    InteractiveShell.clear_instance()
