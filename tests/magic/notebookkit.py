"""Notebook files made of cells that really ran."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from magickit import Lab, Ran


def output(ran: Ran) -> list[dict[str, Any]]:
    """The outputs of a cell as a notebook file keeps them: texts as lists of lines, and of updates the last."""
    last: dict[str, dict[str, Any]] = {}
    for number, one in enumerate(ran.outputs):
        last[str((one["transient"] or {}).get("display_id", number))] = one
    return [
        {
            "output_type": "display_data",
            "data": {name: value.splitlines(keepends=True) if isinstance(value, str) else value for name, value in one["data"].items()},
            "metadata": one["metadata"],
        }
        for one in last.values()
    ]


def run_all(lab: Lab, path: Path, cells: list[str]) -> list[Ran]:
    """Runs cells and saves them as a notebook."""
    runs = [lab.run(cell) for cell in cells]
    assert not [run.error for run in runs if run.error]
    save(path, cells, [output(run) for run in runs])
    return runs


def save(path: Path, cells: list[str], outputs: list[list[dict[str, Any]]]) -> None:
    """Writes a notebook file."""
    made = [
        {"cell_type": "code", "id": f"cell-{number}", "metadata": {}, "execution_count": number, "source": cell, "outputs": out}
        for number, (cell, out) in enumerate(zip(cells, outputs, strict=True), 1)
    ]
    path.write_text(json.dumps({"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}), encoding="utf-8")
