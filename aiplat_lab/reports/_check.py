"""Holds a report against its snapshot: every query is asked again, and every file made again from `report.json`."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path

from aiplat_lab.client import Client, connect
from aiplat_lab.core.errors import AiplatError, ReportError, UsageError
from aiplat_lab.core.settings import Home
from aiplat_lab.reports._document import Document, Query, digest
from aiplat_lab.reports._report import DOCUMENT
from aiplat_lab.reports._run import SNAPSHOT, read, render


def check_report(folder: Path, *, home: Home, snapshot: Path | None = None) -> list[dict[str, str]]:
    """What was compared and found alike.

    Args:
        folder: the report's folder.
        home: whose settings say where a day begins.
        snapshot: its sealed snapshot; the one in the folder when left out.

    Raises:
        UsageError: there is no report there, or no snapshot.
        ReportError: something differs; the text names all of it.
    """
    source = folder / DOCUMENT
    if not source.is_file():
        raise UsageError(f"there is no {DOCUMENT} in {folder}")
    document = read(source.read_text(encoding="utf-8"))
    sealed = snapshot or folder / SNAPSHOT
    if not sealed.is_file():
        wanted = str(document.basis["snapshot_sha256"])[:16]
        raise UsageError(f"the snapshot of this report was not kept in {folder}; give it with --snapshot FILE (its digest begins {wanted})")
    wrong = _unlike_snapshot(document, sealed)
    client = connect(home, snapshot=sealed)
    try:
        wrong += _unlike_chain(document, client)
        again = [query for query in document.queries if query.source == "snapshot"]
        wrong += [said for query in again if (said := _unlike_query(query, client))]
    finally:
        client.close()
    wrong += _unlike_files(folder)
    if wrong:
        raise ReportError(f"the report in {folder} does not hold: {'; '.join(wrong)}")
    beside = len(document.queries) - len(again)
    return [
        {"snapshot": f"{sealed.name}, SHA-256 {str(document.basis['snapshot_sha256'])[:16]}…, as the report names it"},
        {"chain": f"{document.basis['rows']:,} rows, holds up to row {document.basis['head_seq']:,}"},
        {
            "queries": f"{len(again)} asked again, every digest is the same"
            + (f"; {beside} from settings or files, not asked" if beside else "")
        },
        {"files": "report.html, report.pdf and tables are what report.json gives"},
    ]


def _unlike_snapshot(document: Document, sealed: Path) -> list[str]:
    with sealed.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found == document.basis["snapshot_sha256"]:
        return []
    return [f"the snapshot was changed or exchanged: its digest is {found[:16]}…, not {str(document.basis['snapshot_sha256'])[:16]}…"]


def _unlike_chain(document: Document, client: Client) -> list[str]:
    chain, meta = client.verify(), client.view_rows("meta")[0]
    if not chain["ok"]:
        return [f"the chain of the snapshot does not hold: {chain['reason']}"]
    if (meta["head_seq"], meta["head_hash"]) != (document.basis["head_seq"], document.basis["head_hash"]):
        return [f"the head of the chain is row {meta['head_seq']:,}, the report names row {document.basis['head_seq']:,}"]
    return []


def _unlike_query(query: Query, client: Client) -> str:
    try:
        rows = client.view_rows(query.view, **query.filters)
    except AiplatError as error:
        return f"{query.id} ({query.view}) cannot be asked: {error.message}"
    if digest(rows) == query.sha256:
        return ""
    return f"{query.id} ({query.view}) gives other rows: {len(rows):,} now, {query.rows:,} in the report"


def _unlike_files(folder: Path) -> list[str]:
    """The files that are not what `report.json` gives."""
    with tempfile.TemporaryDirectory(prefix="aiplat-check-") as name:
        fresh = Path(name)
        shutil.copyfile(folder / DOCUMENT, fresh / DOCUMENT)
        render(fresh)
        made = sorted(path.relative_to(fresh) for path in fresh.rglob("*") if path.is_file())
        return [
            f"{path} is not what {DOCUMENT} gives"
            for path in made
            if not (folder / path).is_file() or (folder / path).read_bytes() != (fresh / path).read_bytes()
        ]
