"""From a report's name to finished files: snapshot, notebook, `report.json`, HTML, PDF, tables."""

from __future__ import annotations

import csv
import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiplat_lab.charts import spec_to_svg
from aiplat_lab.client import connect
from aiplat_lab.core.errors import ReportError, UsageError, did_you_mean
from aiplat_lab.core.settings import Home, shipped
from aiplat_lab.core.times import moment
from aiplat_lab.core.types import utc_now
from aiplat_lab.reports._document import (
    Block,
    Chart,
    Column,
    Cover,
    Document,
    Figure,
    Figures,
    Light,
    Lights,
    Query,
    SignOff,
    Table,
    Text,
)
from aiplat_lab.reports._execute import execute
from aiplat_lab.reports._html import render_html
from aiplat_lab.reports._pdf import render_pdf
from aiplat_lab.reports._report import DOCUMENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The files of a finished report."""

    folder: Path
    json: Path
    html: Path
    pdf: Path
    notebook: Path


def report_names() -> list[str]:
    """The reports that ship with the package, by name."""
    return sorted(path.stem for path in shipped("notebooks", "reports").glob("*.ipynb"))


def run_report(
    name: str, *, home: Home, since: str = "7d", until: str = "now", parameters: Mapping[str, Any] | None = None, out: Path | None = None
) -> Finished:
    """Runs one report on a sealed snapshot of the ledger.

    The files appear in their folder together, when all are finished; a report that fails leaves none of them, and the
    notebook as far as it got lies in `failed/` there.

    Args:
        name: one of `report_names()`, or the path of a report notebook of your own.
        home: whose ledger.
        since: where the period begins: `7d`, `today`, a date.
        until: where it ends.
        parameters: further parameters of the notebook.
        out: the folder; a new one under `reports/` in the home when left out.

    Raises:
        UsageError: there is no such report, or a time is not one.
        ReportError: a cell failed, the time was over, or a renderer refused.
    """
    notebook = _notebook(name)
    settings, now = home.load(), utc_now()
    period = {key: moment(value, now=now, time_zone=settings.time_zone) for key, value in (("since", since), ("until", until))}
    if period["since"] >= period["until"]:
        raise UsageError(f"the period begins at {since!r} and ends at {until!r}, which is not after it")
    folder = out if out is not None else home.path / "reports" / f"{notebook.stem}-{now:%Y%m%d-%H%M%S}"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".making-", dir=folder) as making:
        work = Path(making)
        snapshot = work / "snapshot.duckdb"
        connect(home).post("/api/snapshot", {"path": str(snapshot)})
        given = {key: value.isoformat() for key, value in period.items()}
        try:
            execute(
                notebook,
                work / "notebook.ipynb",
                parameters={**(parameters or {}), **given, "snapshot": str(snapshot), "out": str(work)},
                folder=work,
                timeout_s=settings.reports.timeout_s,
                max_output_mb=settings.reports.max_output_mb,
            )
            render(work)
        except ReportError as error:
            kept = _keep_failed(work, folder, f"{notebook.stem}-{now:%Y%m%d-%H%M%S}.ipynb")
            text = error.message.split("; see ")[0]
            raise ReportError(f"no report was written: {text}" + (f"; the notebook as far as it got: {kept}" if kept else "")) from None
        snapshot.unlink()
        for path in sorted(work.iterdir()):
            target = folder / ("report.ipynb" if path.name == "notebook.ipynb" else path.name)
            if target.is_dir():
                shutil.rmtree(target)
            path.replace(target)
    return Finished(
        folder=folder, json=folder / DOCUMENT, html=folder / "report.html", pdf=folder / "report.pdf", notebook=folder / "report.ipynb"
    )


def _notebook(name: str) -> Path:
    """The notebook of a report: a shipped one by its name, or one's own by its path."""
    if name.endswith(".ipynb"):
        own = Path(name).expanduser().absolute()
        if not own.is_file():
            raise UsageError(f"there is no notebook {own}")
        return own
    if name not in report_names():
        raise UsageError(f"there is no report {name!r}.{did_you_mean(name, report_names())} See `aiplat report list`.")
    return shipped("notebooks", "reports", f"{name}.ipynb")


def _keep_failed(work: Path, folder: Path, name: str) -> Path | None:
    for candidate in (work / "notebook.failed.ipynb", work / "notebook.ipynb"):
        if candidate.exists():
            (folder / "failed").mkdir(exist_ok=True)
            return candidate.replace(folder / "failed" / name)
    return None


def render(folder: Path) -> None:
    """Writes `report.html`, `report.pdf` and `tables/*.csv` beside the `report.json` in `folder`.

    Raises:
        ReportError: there is no `report.json`, it is not one, or a renderer refuses.
    """
    source = folder / DOCUMENT
    try:
        document = read(source.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ReportError("the notebook ended without report.finish(), so there is nothing to show") from None
    charts = {index: spec_to_svg(block.spec) for index, block in enumerate(document.blocks) if isinstance(block, Chart)}
    (folder / "report.html").write_text(render_html(document, charts), encoding="utf-8")
    render_pdf(source, charts, folder / "report.pdf")
    tables = [block for block in document.blocks if isinstance(block, Table)]
    if tables:
        (folder / "tables").mkdir(exist_ok=True)
    for number, table in enumerate(tables, start=1):
        with (folder / "tables" / f"table-{number}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([column.label for column in table.columns])
            writer.writerows([["" if cell is None else cell for cell in row] for row in table.rows])


def read(text: str) -> Document:
    """The document that `Document.to_json` wrote.

    Raises:
        ReportError: it is not one.
    """
    try:
        data = json.loads(text)
        data["blocks"] = [_block(block) for block in data["blocks"]]
        data["cover"] = Cover(**data["cover"]) if data.get("cover") else None
        data["queries"] = [Query(**query) for query in data["queries"]]
        return Document(**data)
    except (ValueError, KeyError, TypeError) as error:
        raise ReportError(f"report.json is not a report: {error}") from None


def _block(data: dict[str, Any]) -> Block:
    kind = data["kind"]
    if kind == "figures":
        return Figures(tuple(Figure(**item) for item in data["items"]))
    if kind == "chart":
        return Chart(**data)
    if kind == "lights":
        return Lights(**{**data, "items": tuple(Light(**item) for item in data["items"])})
    if kind == "signoff":
        return SignOff(tuple((role, meaning) for role, meaning in data["lines"]))
    if kind == "table":
        rows = tuple(tuple(row) for row in data["rows"])
        return Table(**{**data, "columns": tuple(Column(**column) for column in data["columns"]), "rows": rows})
    return Text(**data)
