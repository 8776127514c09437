"""`aiplat eval …` as a person or a pipeline runs it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from served import Served, served

from aiplat_lab.cli import main

MODELS = """
[models.m]
deployments = [{ provider = "up", model = "echo", input_usd_per_mtok = 1000, output_usd_per_mtok = 2000 }]
"""


class Aiplat:
    def __init__(self, place: Served, capsys: pytest.CaptureFixture[str]) -> None:
        self.place = place
        self._capsys = capsys

    def __call__(self, *words: str, code: int = 0) -> str:
        try:
            got = main(["eval", *words, "--home", str(self.place.home.path)])
        except SystemExit as ended:
            got = int(ended.code or 0)
        out, err = self._capsys.readouterr()
        assert got == code, out + err
        assert "Traceback" not in err
        self.err = err
        return out

    def json(self, *words: str, code: int = 0) -> Any:
        return json.loads(self(*words, "--json", code=code))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("evalcli") / "home", tables=MODELS) as found:
        yield found


@pytest.fixture
def aiplat(place: Served, capsys: pytest.CaptureFixture[str]) -> Aiplat:
    return Aiplat(place, capsys)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "tickets.jsonl"
    lines = [{"id": f"s{i}", "input": {"text": f"say {i}"}, "target": f"say {i}", "slices": {"third": str(i % 3)}} for i in range(60)]
    path.write_text("".join(json.dumps(one) + "\n" for one in lines))
    return path


def test_run_show_compare_baseline_and_gate(aiplat: Aiplat, data: Path, tmp_path: Path) -> None:
    text = aiplat("run", str(data), "--model", "m", "--scorer", "exact", "--scorer", "token_f1", "--name", "one")
    assert "100.0 %" in text and "Wilson" in text and "complete" in text
    two = aiplat.json(
        "run", str(data), "--model", "m", "--scorer", "exact", "--scorer", "token_f1", "--name", "two", "--prompt", "no {{ text }}"
    )[0]
    assert two["status"] == "complete" and two["summary"][0]["mean"] == 0.0 and two["cost_usd"] != "0"
    shown = aiplat("show", "one", "--slices")
    assert "third" in shown and "95 % interval" in shown
    assert len(aiplat.json("show", two["run_id"][:18], "--samples")) == 60
    assert json.loads(aiplat("show", "one", "--report"))["summary"][0]["mean"] == 1.0
    compared = aiplat("compare", "one", "two", "--margin", "0.05")
    assert "two is worse than one: −100 points" in compared and "McNemar exact" in compared
    assert aiplat.json("compare", "one", "two", "--slices", "--scorer", "token_f1")[0]["correction"] == "Benjamini-Hochberg"
    aiplat("baseline", "tickets", "one", "--reason", "first")
    junit, markdown = tmp_path / "gate.xml", tmp_path / "gate.md"
    said = aiplat("gate", "two", "--baseline", "tickets", "--junit", str(junit), "--markdown", str(markdown), code=1)
    assert said.startswith("Regression: two is worse than one")
    assert ElementTree.parse(junit).getroot().attrib["failures"] == "1" and "❌" in markdown.read_text()
    found = aiplat.json("gate", "--run-now", str(data), "--model", "m", "--baseline", "tickets", "--margin", "0.1")[0]
    assert found["verdict"] == "pass" and found["baseline"] == "tickets"
    aiplat("gate", "--run-now", str(data), "--model", "m", "--baseline", "tickets", "--margin", "0.01", code=3)
    assert {row["name"] for row in aiplat.json("list", "--runs")} >= {"one", "two"}
    assert aiplat.json("list", "--baselines")[0]["name"] == "tickets"


def test_resume_and_caps(aiplat: Aiplat, data: Path) -> None:
    options = ("--model", "m", "--scorer", "exact", "--cache", "off", "--name", "capped")
    aiplat("run", str(data), *options, "--max-cost-usd", "0.05", code=1)
    assert "aiplat eval run --resume" in aiplat.err
    done = aiplat.json("run", "--resume", "capped", "--max-cost-usd", "5")[0]
    assert done["status"] == "complete" and done["missing"] == 0
    again = aiplat("run", "--resume", "capped")
    assert "nothing was asked" in aiplat.err and "100.0 %" in again
    nothing = aiplat.json("run", str(data), *options, "--max-cost-usd", "0", code=1)[0]
    assert (nothing["status"], nothing["missing"]) == ("capped", 60)


def test_a_dry_run_says_what_it_would_cost(aiplat: Aiplat, data: Path) -> None:
    asked = len(aiplat.place.upstream.requests)
    said = aiplat("run", str(data), "--model", "m", "--scorer", "exact", "--epochs", "2", "--dry-run")
    assert said.startswith("120 calls") and "Nothing was sent" in said and "$" in said
    found = aiplat.json("run", str(data), "--model", "m", "--scorer", "exact", "--dry-run", "--set", "max_tokens=5")[0]
    assert found["calls"] == 60 and found["output_tokens_high"] == 300
    assert len(aiplat.place.upstream.requests) == asked


def test_lists(aiplat: Aiplat) -> None:
    assert any(row["evalset"] == "ticket-sentiment" for row in aiplat.json("list"))
    assert "json_fields" in aiplat("list", "--scorers")


WRONG: list[tuple[tuple[str, ...], int, str]] = [
    (("run",), 2, "which evalset"),
    (("run", "ticket-sentimet"), 2, "Did you mean ticket-sentiment"),
    (("run", "DATA", "--model", "mm"), 2, "there is no model 'mm'"),
    (("run", "DATA", "--model", "m", "--scorer", "exat"), 2, "Did you mean exact"),
    (("run", "DATA", "--model", "m", "--prompt", "Say {{ nothing }}"), 2, "needs nothing"),
    (("run", "DATA", "--model", "m", "--prompt", "no-such-prompt"), 2, "no prompt"),
    (("run", "DATA", "--model", "m", "--prompt", "missing.prompt.md"), 2, "there is no prompt file"),
    (("run", "DATA", "--model", "m", "--epochs", "0"), 2, "whole number of 1 or more"),
    (("run", "DATA", "--model", "m", "--max-cost-usd", "-1"), 2, "0 or more US dollars"),
    (("run", "DATA", "--model", "m", "--set", "temperature"), 2, "write KEY=VALUE"),
    (("run", "--resume", "nobody"), 2, "there is no run 'nobody'"),
    (("show", "nobody"), 2, "there is no run"),
    (("compare", "nobody", "else"), 2, "there is no run"),
    (("baseline", "x", "nobody"), 2, "there is no run"),
    (("gate", "--baseline", "nothing"), 2, "which run"),
    (("gate", "nobody", "--baseline", "nothing"), 2, "there is no baseline"),
    (("gate", "one", "--baseline", "x", "--margin", "5"), 2, "from 0 to 1"),
    (("gat",), 2, "Did you mean gate"),
]


@pytest.mark.parametrize(("words", "code", "said"), WRONG)
def test_a_mistake_is_one_line_and_exit_code_2(aiplat: Aiplat, data: Path, words: tuple[str, ...], code: int, said: str) -> None:
    if words == ("gat",):
        with pytest.raises(SystemExit) as ended:
            main(["eval", "gat"])
        assert ended.value.code == 2
        return
    out = aiplat(*(str(data) if word == "DATA" else word for word in words), code=code)
    assert out == "" and said in aiplat.err
    assert len(aiplat.err.strip().splitlines()) == 1


def test_a_broken_evalset_names_its_line(aiplat: Aiplat, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"id": "a", "input": "x"}\n{"id": "a", "input": "y"}\n')
    aiplat("run", str(bad), "--model", "m", code=1)
    assert "line 2" in aiplat.err and len(aiplat.err.strip().splitlines()) == 1


def test_a_gate_that_could_not_run_says_4(aiplat: Aiplat, data: Path, tmp_path: Path) -> None:
    aiplat("run", str(data), "--model", "m", "--scorer", "exact", "--name", "base4")
    aiplat("gate", "--run-now", str(data), "--model", "up/status-400", "--scorer", "exact", "--baseline", "base4", code=4)
    assert "could not run" in aiplat.err and "no answer" in aiplat.err
    aiplat("gate", "--run-now", str(data), "--model", "m", "--baseline", "base4", "--junit", str(tmp_path / "no" / "x.xml"), code=4)
    assert "x.xml" in aiplat.err
    aiplat("gate", "--run-now", str(tmp_path), "--model", "m", "--baseline", "base4", code=2)


def test_the_command_is_light_to_load() -> None:
    import subprocess

    heavy = ("numpy", "duckdb", "polars", "aiplat_lab.evals")
    code = f"import sys, aiplat_lab.cli as c; c.parser(); print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
