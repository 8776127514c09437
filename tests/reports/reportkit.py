"""Ledgers for tests of reports: a small demo ledger, a snapshot of it, and a report of it that is run once."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from aiplat_lab.core.parameters import report_notebook
from aiplat_lab.core.settings import Home
from aiplat_lab.ledger import Ledger
from aiplat_lab.ledger.demo import build_demo
from aiplat_lab.reports import Report

END = datetime(2026, 11, 26, 18, 0, tzinfo=UTC)


def demo_snapshot(folder: Path, *, calls: int = 1500) -> tuple[Home, Path]:
    """A home with the demo ledger, and a sealed snapshot of it."""
    home = Home(folder / "home")
    build_demo(home, calls=calls, days=90, clock=lambda: END)
    path = folder / "snapshot.duckdb"
    with Ledger.open(home) as ledger:
        ledger.snapshot(path)
    return home, path


def reading(home: Home, snapshot: Path, out: Path | None = None, **options: Any) -> Report:
    """A report on a snapshot, as a notebook makes it."""
    os.environ["AIPLAT_HOME"] = str(home.path)
    given = {"name": "test", "title": "Test", "since": "90d", "until": "now", **options}
    return Report(snapshot=str(snapshot), out=str(out or ""), **given)


def played(name: str, home: Home, snapshot: Path, out: Path, **parameters: Any) -> Path:
    """The `report.json` of a shipped notebook, its cells run in this process: all of a report but the kernel."""
    os.environ["AIPLAT_HOME"] = str(home.path)
    names: dict[str, Any] = {}
    for cell in json.loads(report_notebook(name).read_text())["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), name, "exec"), names)
            if "parameters" in cell["metadata"].get("tags", ()):
                unknown = set(parameters) - set(names)
                assert not unknown, unknown
                names.update(snapshot=str(snapshot), out=str(out), **parameters)
    return out / "report.json"


def tampered(snapshot: Path, target: Path, *statements: str) -> Path:
    """A copy of a snapshot that somebody changed by hand."""
    target.write_bytes(snapshot.read_bytes())
    con = duckdb.connect(":memory:")
    try:
        con.execute(f"ATTACH '{target}' AS ledger")
        con.execute("USE ledger")
        for statement in statements:
            con.execute(statement)
        con.execute("CHECKPOINT ledger")
    finally:
        con.close()
    return target


def table(path: Path, title: str) -> list[list[str | None]]:
    """The rows of a table in a `report.json`."""
    return next(block["rows"] for block in json.loads(path.read_text())["blocks"] if block.get("title") == title)


def lights(path: Path) -> dict[str, dict[str, Any]]:
    """The requirements in a `report.json`, by id."""
    data = json.loads(path.read_text())
    return {item["id"]: item for block in data["blocks"] if block["kind"] == "lights" for item in block["items"]}
