"""The notebooks of one capability each: shipped clean, listed, and run to their end with the embedded model at one gateway."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from aiplat_lab.client import connect
from aiplat_lab.core.settings import Home, shipped

FOLDER = shipped("notebooks")
NAMES = sorted(path.stem for path in FOLDER.glob("*.ipynb") if path.stem not in {"quickstart", "tour"})
"""Those that have no test of their own."""
SAYS = {
    "ab": {"ab": "No votes yet", "look": "headline"},
    "budgets": {"dry": "Nothing was sent", "plan": "2 cells", "look": "smollm2"},
    "cells": {"sent": r"the {warranty} is over", "parsed": "'name': 'Cem'", "wrong": "Did you mean --temperature"},
    "evaluation": {"compare": "four examples is better than no examples", "gate": "Regression|Inconclusive"},
    "ledger": {"calls": r"there is no model 'no-such-model'", "proof": "chain whole"},
    "prompts": {"first": "mood-of-ticket@1.0.0", "second": "mood-of-ticket@1.0.1", "label": "taken back"},
    "replay": {"same": "the same bytes: True", "only": "Nothing was sent"},
    "review": {"queue": "0 of 2 judged", "corrected": "Mercury"},
    "rows": {"frame": "Billing", "again": "2 known already"},
    "sdks": {"route": "go through the gateway", "look": "sdk"},
}
"""What cells must say, as patterns."""


@pytest.mark.parametrize("name", NAMES)
def test_it_is_shipped_clean(name: str) -> None:
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor, notebook.metadata.kernelspec.name) == (4, 5, "python3")
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)
    assert [cell.id for cell in notebook.cells if cell.cell_type == "code" and (cell.outputs or cell.execution_count)] == []
    assert [cell.id for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])] == ["parameters"]
    assert notebook.cells[0].source.startswith("# ")


def test_the_page_lists_each_of_them() -> None:
    page = (FOLDER / "README.md").read_text()
    assert set(re.findall(r"\]\((\w+)\.ipynb\)", page)) == {path.stem for path in FOLDER.glob("*.ipynb")}
    said = " ".join("".join(cell.source) for path in FOLDER.glob("*.ipynb") for cell in nbformat.read(path, 4).cells)
    assert [name for name in re.findall(r"`([\w-]+\.ipynb)`", said) if not (FOLDER / name).exists()] == []


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Iterator[dict[str, dict[str, list[Any]]]]:
    """What each cell of each notebook gave; two notebooks run at once."""
    folder = tmp_path_factory.mktemp("notebooks")
    home = Home(folder / "home").create()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AIPLAT_GATEWAY", "AIPLAT_KEY", "AIPLAT_TEAM", "AIPLAT_PROJECT", "JPY_SESSION_NAME", "OPENAI_API_KEY", "CI"):
            patch.delenv(name, raising=False)
        patch.setenv("AIPLAT_HOME", str(home.path))
        patch.setenv("AIPLAT_MODELS", str(weights))
        patch.setenv("IPYTHONDIR", str(folder / "ipython"))
        with connect(home) as client:
            client.status()
            try:
                with ThreadPoolExecutor(2) as pool:
                    yield dict(zip(NAMES, pool.map(lambda name: _run(name, folder), NAMES), strict=True))
            finally:
                client.stop()


def _run(name: str, folder: Path) -> dict[str, list[Any]]:
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    about = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, kernel_name="python3", timeout=120, allow_errors=True, resources=about).execute()
    return {cell.id: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}


def _said(shown: list[Any]) -> str:
    return "\n".join(str(one.get("text") or one.get("data", {}).get("text/plain") or "") for one in shown)


@pytest.mark.local_model
@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_it_runs_and_ends_with_something_to_look_at(outputs: dict[str, dict[str, list[Any]]], name: str) -> None:
    cells = outputs[name]
    failed = {ident: one.evalue for ident, shown in cells.items() for one in shown if one.output_type == "error"}
    assert failed == {}
    for ident, pattern in SAYS[name].items():
        assert re.search(pattern, _said(cells[ident])), f"{ident} says {_said(cells[ident])!r}"
    last = {kind for one in cells["look"] for kind in one.get("data", {})}
    assert last & {"text/html", "image/svg+xml"}
