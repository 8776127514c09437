"""From a report's name to finished files: snapshot, notebook, `report.json`, HTML, PDF, tables."""

from __future__ import annotations

import csv
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiplat_lab.charts import spec_to_svg
from aiplat_lab.client import Client, connect
from aiplat_lab.core.errors import AiplatError, ReportError, UsageError
from aiplat_lab.core.parameters import check_parameters, report_notebook
from aiplat_lab.core.settings import Home
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
from aiplat_lab.reports._publish import keep_failed, making, publish
from aiplat_lab.reports._report import DOCUMENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The files of a finished report."""

    folder: Path
    json: Path
    html: Path
    pdf: Path
    notebook: Path


def run_report(
    name: str,
    *,
    home: Home,
    since: str = "7d",
    until: str = "now",
    parameters: Mapping[str, Any] | None = None,
    out: Path | None = None,
    timeout_s: float | None = None,
) -> Finished:
    """Runs one report on a sealed snapshot of the ledger.

    The files appear in their folder together, when all are finished and the ledger has a record of the report; a report that
    fails leaves none of them, and the notebook as far as it got lies in `failed/` there.

    Args:
        name: one of `report_names()`, or the path of a report notebook of your own.
        home: whose ledger.
        since: where the period begins: `7d`, `today`, a date.
        until: where it ends.
        parameters: further parameters of the notebook.
        out: the folder; a new one under `reports/` in the home when left out.
        timeout_s: the longest the notebook may take, in seconds; `reports.timeout_s` when left out.

    Raises:
        UsageError: there is no such report, a time is not one, or a parameter is not declared or looks like a secret.
        ReportError: a cell failed, the time was over, the disk is full, or a renderer refused.
    """
    notebook = report_notebook(name)
    check_parameters(notebook, parameters or {})
    settings, now = home.load(), utc_now()
    period = {key: moment(value, now=now, time_zone=settings.time_zone) for key, value in (("since", since), ("until", until))}
    if period["since"] >= period["until"]:
        raise UsageError(f"the period begins at {since!r} and ends at {until!r}, which is not after it")
    limit_s = settings.reports.timeout_s if timeout_s is None else timeout_s
    if not 0 < limit_s < math.inf:
        raise UsageError(f"the time-out is {limit_s:g} s; it must be more than 0")
    label = f"{notebook.stem}-{now:%Y%m%d-%H%M%S}"
    folder = out if out is not None else home.path / "reports" / label
    client = connect(home)
    try:
        with making(folder, notebook.stem) as work:
            try:
                client.post("/api/snapshot", {"path": str(work / "snapshot.duckdb")})
                execute(
                    notebook,
                    work / "notebook.ipynb",
                    parameters={
                        **(parameters or {}),
                        **{key: value.isoformat() for key, value in period.items()},
                        "snapshot": str(work / "snapshot.duckdb"),
                        "out": str(work),
                    },
                    folder=work,
                    timeout_s=limit_s,
                    max_output_mb=settings.reports.max_output_mb,
                )
                render(work)
                (work / "notebook.ipynb").rename(work / "report.ipynb")
                (work / "snapshot.duckdb").unlink()
                return _appear(work, folder, client)
            except (ReportError, OSError) as error:
                kept = keep_failed(work, folder, f"{label}.ipynb")
                raise _no_report(error, kept) from None
    except OSError as error:
        raise _no_report(error, None) from None


def _appear(work: Path, folder: Path, client: Client) -> Finished:
    """Lets the finished report appear, and records it."""
    said = (work / DOCUMENT).read_bytes()
    document = read(said.decode("utf-8"))
    published = publish(work, folder)
    folder = published.folder
    try:
        client.record(
            "report",
            {
                "id": folder.name,
                "name": document.name,
                "title": document.title,
                "since": document.since,
                "until": document.until,
                "status": document.status,
                "folder": str(folder),
                "sha256": hashlib.sha256(said).hexdigest(),
                **{key: document.basis.get(key) for key in ("snapshot_sha256", "head_seq", "head_hash")},
            },
        )
    except AiplatError as error:
        published.undo()
        raise ReportError(f"the report cannot be recorded in the ledger: {error.message}") from None
    return Finished(
        folder=folder, json=folder / DOCUMENT, html=folder / "report.html", pdf=folder / "report.pdf", notebook=folder / "report.ipynb"
    )


def _no_report(error: ReportError | OSError, kept: Path | None) -> ReportError:
    text = error.message.split("; see ")[0] if isinstance(error, ReportError) else f"{error.strerror or error} ({error.filename or 'disk'})"
    return ReportError(f"no report was written: {text}" + (f"; the notebook as far as it got: {kept}" if kept else ""))


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
