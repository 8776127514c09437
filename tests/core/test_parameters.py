"""Parameters of notebooks: what is declared, and what is refused before anything is run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aiplat_lab.core.errors import ReportError, UsageError
from aiplat_lab.core.parameters import check_parameters, declared_parameters, read_parameters, refuse_secret, report_names, report_notebook

PERIOD = 'snapshot = ""\nsince = "7d"\nuntil = "now"\nout = ""\n'


def book(path: Path, *cells: tuple[str, str]) -> Path:
    listed = [{"cell_type": "code", "metadata": {"tags": [tag] if tag else []}, "source": source.splitlines(True)} for tag, source in cells]
    path.write_text(json.dumps({"cells": listed, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    return path


def test_what_a_notebook_declares(tmp_path: Path):
    path = book(tmp_path / "x.ipynb", ("", "a = 1"), ("parameters", PERIOD + "team: str = 'risk'\nlimits = [1, 2]\nb = f()\n"))
    assert declared_parameters(path) == {
        "snapshot": "",
        "since": "7d",
        "until": "now",
        "out": "",
        "team": "risk",
        "limits": [1, 2],
        "b": None,
    }
    check_parameters(path, {"team": "growth", "limits": [3]})
    for name in report_names():
        check_parameters(report_notebook(name), {})


def test_a_notebook_without_a_parameters_cell(tmp_path: Path):
    with pytest.raises(UsageError, match="tag a cell `parameters`"):
        check_parameters(book(tmp_path / "x.ipynb", ("", "a = 1")), {})


def test_a_parameter_that_is_not_declared(tmp_path: Path):
    path = book(tmp_path / "mine.ipynb", ("parameters", PERIOD + "margin = 0.1"))
    with pytest.raises(UsageError, match=r"no parameter 'margn'\. Did you mean margin"):
        check_parameters(path, {"margn": 1})
    with pytest.raises(UsageError, match="use --since"):
        check_parameters(path, {"since": "3d"})


@pytest.mark.parametrize(
    "source", ["not json", "[]", '{"cells": 3}', json.dumps({"cells": [{"metadata": {"tags": ["parameters"]}, "source": "a ="}]})]
)
def test_what_is_no_notebook(tmp_path: Path, source: str):
    (tmp_path / "x.ipynb").write_text(source)
    with pytest.raises(ReportError, match=r"x\.ipynb cannot be executed"):
        check_parameters(tmp_path / "x.ipynb", {})


KEY = "sk-proj-0123456789abcdef"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("api_key", "x"), ("apiKey", "x"), ("openai_apikey", ""), ("token", "x"), ("github_token", "x"), ("password", 1),
        ("db_passwd", "x"),
        ("client_secret", "x"), ("AUTHORIZATION", "x"), ("note", KEY), ("note", f"use {KEY} here"), ("note", ["a", {"b": KEY}]),
        ("note", {"api_key": "hello"}), ("note", "Bearer abcdefghijkl"), ("note", "AKIAIOSFODNN7EXAMPLE"), ("note", "aiplat-" + "a1" * 12),
        ("note", "Zm9v" * 12), ("url", "postgres://user:hunter2@host/db"), ("note", "-----BEGIN RSA PRIVATE KEY-----"),
        ("note", "eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0"),
    ],
)  # fmt: skip
def test_a_secret_is_refused_and_not_repeated(name: str, value: Any):
    with pytest.raises(UsageError, match="is refused") as caught:
        refuse_secret(name, value)
    assert KEY not in caught.value.message and "hunter2" not in caught.value.message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_tokens", 100), ("tokens", 5), ("key", "month"), ("sort_key", "spend"), ("run", "a" * 64), ("commit", "01234567" * 5),
        ("team", "risk"), ("data", "/home/somebody/a-folder/evalsets/tickets"), ("since", "2026-11-01"), ("author", "Someone"),
        ("run_id", "019ac1e2-1111-7aaa-8bbb-0123456789ab"), ("ratio", 0.25), ("flag", None), ("names", ["smollm2", "smollm2-lite"]),
        ("note", "a sentence with many words, about keys and tokens and secrets, which is not one"),
    ],
)  # fmt: skip
def test_what_is_no_secret_passes(name: str, value: Any):
    refuse_secret(name, value)


def test_words():
    assert read_parameters(["a=1", "b=x=y", "c=", 'd=["p"]', "e=true"]) == {"a": 1, "b": "x=y", "c": "", "d": ["p"], "e": True}
    for word in ("a", "=1", "a b=1", f"{KEY}"):
        with pytest.raises(UsageError) as caught:
            read_parameters([word])
        assert KEY not in caught.value.message


def test_names_of_reports():
    assert "cost" in report_names()
    with pytest.raises(UsageError, match="Did you mean cost"):
        report_notebook("cosst")
    with pytest.raises(UsageError, match="there is no notebook"):
        report_notebook("nowhere/mine.ipynb")
