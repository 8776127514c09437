"""From a report's name to finished files: snapshot, notebook, `report.json`, HTML, PDF, tables."""

from __future__ import annotations

import csv
import hashlib
import json
import math
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any

from aiplat_lab.charts import spec_to_svg
from aiplat_lab.client import Client, connect
from aiplat_lab.core.errors import AiplatError, ReportError, UsageError
from aiplat_lab.core.parameters import check_parameters, declared_parameters, report_notebook
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
    Status,
    Table,
    Text,
)
from aiplat_lab.reports._html import render_html
from aiplat_lab.reports._pdf import render_pdf
from aiplat_lab.reports._publish import keep_failed, making, publish
from aiplat_lab.reports._report import DOCUMENT

SNAPSHOT = "snapshot.duckdb"
"""The sealed snapshot beside a report, where it was kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The files of a finished report."""

    folder: Path
    json: Path
    html: Path
    pdf: Path
    notebook: Path
    status: Status
    """As on its cover: `failed` where the snapshot does not hold."""
    reasons: tuple[str, ...]
    """Why the status is not `complete`."""
    snapshot: Path | None
    """The snapshot, where it was kept beside the report."""


def run_report(
    name: str,
    *,
    home: Home,
    since: str | None = None,
    until: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    out: Path | None = None,
    timeout_s: float | None = None,
    snapshot: Path | None = None,
    sha256: str = "",
    keep_snapshot: bool | None = None,
) -> Finished:
    """Runs one report on a sealed snapshot of the ledger.

    The files appear in their folder together, when all are finished and the ledger has a record of the report; a report that
    fails leaves none of them, and the notebook as far as it got lies in `failed/` there.

    Args:
        name: one of `report_names()`, or the path of a report notebook of your own.
        home: whose ledger.
        since: where the period begins: `7d`, `today`, a date; what the notebook declares when left out.
        until: where it ends; now when left out. With a snapshot that was made before, both are counted from its seal.
        parameters: further parameters of the notebook.
        out: the folder; a new one under `reports/` in the home when left out.
        timeout_s: the longest the notebook may take, in seconds; `reports.timeout_s` when left out.
        snapshot: a sealed snapshot that was made before; a fresh one when left out.
        sha256: the digest that it must have, where it is known; another one makes the report a failed one.
        keep_snapshot: whether a fresh snapshot is kept beside the report; as the notebook's metadata say when left out.

    Raises:
        UsageError: there is no such report, a time is not one, or a parameter is not declared or looks like a secret.
        ReportError: a cell failed, the time was over, the disk is full, or a renderer refused.
    """
    notebook = report_notebook(name)
    check_parameters(notebook, parameters or {})
    settings, now = home.load(), utc_now()
    period = _period(notebook, since, until)
    times = {key: moment(value, now=now, time_zone=settings.time_zone) for key, value in period.items()}
    if times["since"] >= times["until"]:
        raise UsageError(f"the period begins at {period['since']!r} and ends at {period['until']!r}, which is not after it")
    if snapshot is None:
        period = {key: value.isoformat() for key, value in times.items()}
    elif not snapshot.is_file():
        raise UsageError(f"there is no snapshot {snapshot}; `aiplat export FILE --format snapshot` makes one")
    limit_s = settings.reports.timeout_s if timeout_s is None else timeout_s
    if not 0 < limit_s < math.inf:
        raise UsageError(f"the time-out is {limit_s:g} s; it must be more than 0")
    label = f"{notebook.stem}-{now:%Y%m%d-%H%M%S}"
    folder = out if out is not None else home.path / "reports" / label
    client = connect(home)
    try:
        with making(folder, notebook.stem) as work:
            sealed = snapshot or work / SNAPSHOT
            try:
                digest, execute = _seal_and_load(client, sealed if snapshot is None else None)
                given = {**period, "snapshot": str(sealed), "out": str(work)}
                if "sha256" in (declared_parameters(notebook) or {}):
                    given["sha256"] = sha256 or digest
                execute(
                    notebook,
                    work / "notebook.ipynb",
                    parameters={**(parameters or {}), **given},
                    folder=work,
                    timeout_s=limit_s,
                    max_output_mb=settings.reports.max_output_mb,
                )
                render(work)
                (work / "notebook.ipynb").rename(work / "report.ipynb")
                if not (_metadata(notebook).get("keep_snapshot") is True if keep_snapshot is None else keep_snapshot):
                    (work / SNAPSHOT).unlink(missing_ok=True)
                return _appear(work, folder, client)
            except (ReportError, OSError) as error:
                kept = keep_failed(work, folder, f"{label}.ipynb")
                raise _no_report(error, kept) from None
    except OSError as error:
        raise _no_report(error, None) from None


def _seal_and_load(client: Client, target: Path | None) -> tuple[str, Callable[..., None]]:
    """Seals a snapshot while papermill is loaded; gives the snapshot's digest and what executes a notebook."""
    with ThreadPoolExecutor(1) as beside:
        sealing = beside.submit(client.post, "/api/snapshot", {"path": str(target)}) if target else None
        execute: Callable[..., None] = import_module("aiplat_lab.reports._execute").execute
        digest = str(sealing.result()["sha256"]) if sealing else ""
    Thread(target=_warm, daemon=True).start()
    return digest, execute


def _warm() -> None:
    """Loads the renderers while the notebook runs; what is missing is told when it is needed."""
    try:
        spec_to_svg({"data": {"values": [{"x": 1}]}, "mark": "point", "encoding": {"x": {"field": "x", "type": "quantitative"}}})
        import_module("typst")
    except ImportError:
        pass


def _period(notebook: Path, since: str | None, until: str | None) -> dict[str, str]:
    """The period as it was asked for, or as the notebook declares it."""
    declared = declared_parameters(notebook) or {}
    return {"since": since or str(declared.get("since") or "7d"), "until": until or str(declared.get("until") or "now")}


def _metadata(notebook: Path) -> dict[str, Any]:  # Any: JSON
    """What a notebook says of itself: `about`, and `keep_snapshot` where its snapshot is kept beside the report."""
    said = json.loads(notebook.read_text(encoding="utf-8")).get("metadata", {}).get("aiplat")
    return said if isinstance(said, dict) else {}


def about(name: str) -> str:
    """What a shipped report shows, in a few words."""
    return str(_metadata(report_notebook(name)).get("about", ""))


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
    kept = folder / SNAPSHOT
    return Finished(
        folder=folder,
        json=folder / DOCUMENT,
        html=folder / "report.html",
        pdf=folder / "report.pdf",
        notebook=folder / "report.ipynb",
        status=document.status,
        reasons=tuple(document.reasons),
        snapshot=kept if kept.exists() else None,
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
