"""A scorer in a distribution of its own, installed as anybody would, is found by name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from evalkit import place, rows, write

PLUGIN = Path(__file__).resolve().parents[1] / "plugin"
ROOT = PLUGIN.parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "--target",
        str(folder),
        str(PLUGIN),
    ]
    subprocess.run(command, check=True, capture_output=True)
    return folder


def test_an_installed_scorer_is_listed_and_scores(installed: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(installed), str(ROOT)])}

    def run(*words: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "aiplat_lab.cli", *words], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr

    listed = {row["scorer"]: row["what"] for row in json.loads(run("eval", "list", "--scorers", "--json"))}
    assert listed["at_most_words"] == "Whether the answer has at most `limit` words."
    with place(tmp_path) as served:
        data, home = write(tmp_path / "data.jsonl", rows(6)), str(served.home.path)
        scorers = ["--scorer", "at_most_words:limit=1", "--scorer", "words"]
        found = json.loads(run("eval", "run", str(data), "--model", "m", *scorers, "--home", home, "--json"))[0]
        passes, measured = found["summary"]
        assert (passes["scorer"], passes["mean"], passes["measure"]) == ("at_most_words:limit=1", 0.0, False)
        assert (measured["scorer"], measured["mean"], measured["measure"]) == ("words", 2.0, True)
        said = run("eval", "run", str(data), "--model", "m", "--scorer", "at_most_words:limt=3", "--home", home, code=2)
        assert "no option" in said or "limt=3" in said


def test_a_small_plug_in_is_small() -> None:
    assert len((PLUGIN / "aiplat_words" / "__init__.py").read_text().splitlines()) <= 40
