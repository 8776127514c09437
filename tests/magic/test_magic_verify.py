"""`aiplat verify`: what it says of answers that were left alone, edited by hand, unknown, or erased; and its exit codes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import papermill
import pytest
from magickit import MIME, Lab
from notebookkit import output, run_all, save

import aiplat_lab
from aiplat_lab.cli import main
from aiplat_lab.core.documents import response_document
from aiplat_lab.core.notebooks import shown_hashes
from aiplat_lab.core.types import Response
from aiplat_lab.ledger import Ledger
from aiplat_lab.observe.verify import averify, verify

CELLS = [
    "%%ai echo\n# Title\n\n- *one* & `two` < three",
    '%%ai echo -f json\n{"a": [1, 2]}',
    "%%ai echo -f code\nx = 1",
    "%%ai echo -f html\n<b>bold</b>",
    "%%ai echo -f math\nx^2",
    "%%ai echo -f text --stream\nplain ünïcode",
    "print('nothing asked')",
]


@pytest.fixture
def notebook(lab: Lab, tmp_path: Path) -> Path:
    path = tmp_path / "answers.ipynb"
    run_all(lab, path, CELLS)
    return path


def states(lab: Lab, path: Path) -> list[str]:
    return [one.state for one in verify(path, client=lab.client)]


def change(path: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    """Edits the first output of a notebook file by hand."""
    document = json.loads(path.read_text())
    edit(document["cells"][0]["outputs"][0])
    path.write_text(json.dumps(document), encoding="utf-8")


def test_answers_that_were_left_alone_are_unchanged_in_every_format(lab: Lab, notebook: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert states(lab, notebook) == ["unchanged"] * 6
    assert main(["verify", str(notebook)]) == 0
    seen = capsys.readouterr()
    assert seen.err.strip() == "6 unchanged"
    assert main(["verify", str(notebook), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["cell"] for row in rows] == [1, 2, 3, 4, 5, 6] and set(rows[0]) == {"cell", "call_id", "state", "what"}
    assert [one.state for one in asyncio.run(averify(notebook, client=lab.client))] == ["unchanged"] * 6
    assert aiplat_lab.verify is verify
    replayed = notebook.parent / "replayed.ipynb"
    run_all(lab, replayed, CELLS[:2])
    assert states(lab, replayed) == ["unchanged"] * 2
    assert "unchanged" in lab.run(f"%ai verify {replayed}").outputs[0]["data"]["text/plain"]


def _text(output: dict[str, Any]) -> None:
    output["data"][MIME]["text"] += " and more"


def _plain(output: dict[str, Any]) -> None:
    output["data"]["text/plain"][0] = "# Another title\n"


def _html(output: dict[str, Any]) -> None:
    output["data"]["text/html"] = ["<h1>Another title</h1>"]


def _cost(output: dict[str, Any]) -> None:
    output["data"][MIME]["cost_usd"] = "0.000001"


def _model(output: dict[str, Any]) -> None:
    output["data"][MIME]["response_model"] = "a-better-model"


def _record(output: dict[str, Any]) -> None:
    del output["data"][MIME]


def _whole(output: dict[str, Any]) -> None:
    """A careful hand, which changes the text and every hash that the notebook holds."""

    data = output["data"]
    data[MIME]["text"] = "forged"
    data["text/plain"], data["text/html"], data["text/markdown"] = ["forged"], ["<p>forged</p>"], ["forged"]
    data[MIME]["response_hash"] = response_document(Response(text="forged")).hash
    data[MIME]["shown"] = shown_hashes(data)


def _shown(output: dict[str, Any]) -> None:
    """A hand that changes the page alone, and its hash."""

    output["data"]["text/html"] = ["<p>something quite different</p>"]
    output["data"][MIME]["shown"] = shown_hashes(output["data"])


@pytest.mark.parametrize(
    ("edit", "what"),
    [
        (_text, "the text"),
        (_plain, "what is shown as text/plain"),
        (_html, "what is shown as text/html"),
        (_cost, "its cost: not as recorded"),
        (_model, "response model: not as recorded"),
        (_record, "record was taken out"),
        (_whole, "its hashes: not as recorded; the text"),
        (_shown, "what is shown as text/html"),
    ],
    ids=["text", "plain", "html", "cost", "model", "record", "whole", "shown"],
)
def test_what_a_hand_changed_is_found(
    lab: Lab, notebook: Path, capsys: pytest.CaptureFixture[str], edit: Callable[[dict[str, Any]], None], what: str
) -> None:
    change(notebook, edit)
    first = verify(notebook, client=lab.client)[0]
    assert first.state == "edited" and what in first.what
    assert main(["verify", str(notebook)]) == 1
    assert "1 edited, 5 unchanged" in capsys.readouterr().err


def test_calls_of_another_ledger_and_erased_answers(lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "n.ipynb"
    cells = ["%%ai echo\nerased and plain", '%%ai echo -f json\n{"erased": true}', "%%ai echo\nelsewhere", "%%ai echo\nnot run"]
    runs = [lab.run(cell) for cell in cells[:3]]
    outputs = [output(run) for run in runs]
    outputs[2][0]["data"][MIME]["call_id"] = "01a21ad1-4669-7004-a0b7-8e59a856b55d"
    save(path, cells, [*outputs, []])
    lab.client.stop()
    with Ledger.open(lab.home) as ledger:
        for run in runs[:2]:
            assert ledger.erase_payload(run.call["response_hash"])
    found = verify(path, client=lab.client)
    assert [one.state for one in found] == ["unchanged", "erased", "unknown", "not answered"]
    assert "still fits the recorded hash" in found[0].what and "erased" in found[1].what
    assert main(["verify", str(path)]) == 1
    assert "1 unchanged, 1 erased, 1 unknown, 1 not answered" in capsys.readouterr().err


def test_refused_and_failed_answers_are_held_against_the_ledger_too(lab: Lab, tmp_path: Path) -> None:
    path = tmp_path / "n.ipynb"
    cells = ["%%ai dear --team tight\nrefused", "%%ai up/status-500\nfailed"]
    save(path, cells, [output(lab.run(cell)) for cell in cells])
    assert states(lab, path) == ["unchanged", "unchanged"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read"),
        ("no JSON", "is not a notebook"),
        ("[1, 2]", "is not a notebook"),
        ('{"cells": 3}', "is not a notebook"),
    ],
    ids=["missing", "text", "list", "cells"],
)
def test_what_is_no_notebook_is_refused_in_one_line(
    lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, said: str
) -> None:
    path = tmp_path / "x.ipynb"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    for command in ("verify", "replay status", "replay export"):
        assert main([*command.split(), str(path)]) == 2
        seen = capsys.readouterr()
        assert said in seen.err and seen.err.count("\n") == 1 and not seen.out


def test_notebooks_without_an_answer_and_odd_ones_pass(lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "none.ipynb"
    save(path, ["1 + 1"], [[]])
    assert main(["verify", str(path)]) == 0
    assert "holds no AI answer" in capsys.readouterr().out
    odd = [{"cell_type": "markdown", "source": "%%ai"}, None, {"cell_type": "code", "outputs": [None, {"data": 3}, {"data": {MIME: "x"}}]}]
    path.write_text(json.dumps({"cells": odd}), encoding="utf-8")
    assert main(["verify", str(path)]) == 0


def test_a_notebook_that_papermill_ran_is_verified_and_replays(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "in.ipynb"
    save(source, ["%load_ext aiplat_lab", "%%ai echo\nby papermill"], [[], []])
    document = json.loads(source.read_text())
    document["metadata"] = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    source.write_text(json.dumps(document), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    papermill.execute_notebook(str(source), str(tmp_path / "out.ipynb"), progress_bar=False)
    assert main(["replay", "export", str(tmp_path / "out.ipynb")]) == 0
    papermill.execute_notebook(str(source), str(tmp_path / "again.ipynb"), progress_bar=False)
    first, again = (json.loads((tmp_path / name).read_text())["cells"][1]["outputs"][0] for name in ("out.ipynb", "again.ipynb"))
    assert again["data"][MIME]["text"] == first["data"][MIME]["text"] and again["data"][MIME]["replayed"]
    assert again["metadata"][MIME]["first_call_id"] == first["data"][MIME]["call_id"]
    assert len(lab.upstream.requests) == 1
    assert states(lab, tmp_path / "again.ipynb") == ["unchanged"]
