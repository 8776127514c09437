"""The quickstart notebook: as it is shipped, and run to its end with the embedded model alone."""

from __future__ import annotations

import time
from pathlib import Path

import nbformat
import papermill
import pytest
from magickit import MIME

from aiplat_lab.core.settings import Home, shipped

NOTEBOOK = shipped("notebooks", "quickstart.ipynb")


def test_it_is_shipped_clean() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert notebook.metadata.kernelspec.name == "python3"
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)
    assert [cell.id for cell in notebook.cells if cell.cell_type == "code" and (cell.outputs or cell.execution_count)] == []
    assert [cell.id for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])] == ["parameters"]
    assert notebook.cells[0].source.startswith("# ")


@pytest.mark.local_model
@pytest.mark.slow
def test_it_runs_with_the_embedded_model(home: Home, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    begun = time.monotonic()
    done = papermill.execute_notebook(
        NOTEBOOK,
        tmp_path / "out.ipynb",
        parameters={"review": "The tea was cold and the waiter was rude."},
        progress_bar=False,
        cwd=tmp_path,
    )
    took = time.monotonic() - begun
    outputs = {cell.id: cell.outputs for cell in done.cells if cell.cell_type == "code"}
    calls = {name: output.data[MIME] for name, shown in outputs.items() for output in shown if MIME in output.get("data", {})}
    assert set(calls) == {"first", "variable", "summary", "again"}
    assert {call["status"] for call in calls.values()} == {"ok"} and {call["response_model"] for call in calls.values()} == {"smollm2-135m"}
    assert calls["first"]["text"].strip() == "negative" == calls["variable"]["text"].strip()
    assert (calls["again"]["cache"], calls["again"]["text"]) == ("hit", calls["summary"]["text"])
    assert "night train" in calls["summary"]["text"]
    assert "True" in outputs["compare"][0].text and "negative" in outputs["reply"][0].text
    assert "smollm2" in outputs["by-model"][0].data["text/plain"] and "all, today" in outputs["cost"][0].data["text/plain"]
    assert took < 120, "60 s on a quiet machine is the bar"
