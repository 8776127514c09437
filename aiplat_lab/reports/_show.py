"""A report from a notebook: run as the command would run it, and shown in the cell."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from aiplat_lab.core.errors import ReportError, UsageError, shorten
from aiplat_lab.core.settings import environment


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A finished report; a notebook shows its page."""

    name: str
    folder: Path
    status: str
    """As on its cover, with the reasons where it is not complete."""
    summary: tuple[str, ...]
    """The sentences of its first page."""

    @property
    def html(self) -> Path:
        """The page."""
        return self.folder / "report.html"

    @property
    def pdf(self) -> Path:
        """The archival PDF."""
        return self.folder / "report.pdf"

    @property
    def json(self) -> Path:
        """Every figure with the query behind it."""
        return self.folder / "report.json"

    def __repr__(self) -> str:
        return "\n".join([f"{self.name} ({self.status}) in {self.folder}", *self.summary])

    def _repr_html_(self) -> str:
        page = escape(self.html.read_text(encoding="utf-8"))
        return f'<iframe title="{escape(self.name)}" sandbox srcdoc="{page}" style="width:100%;height:70vh;border:0"></iframe>'


def report(name: str, *, since: str | None = None, until: str | None = None, out: Path | str | None = None, **parameters: Any) -> Shown:
    """Runs a report on a sealed snapshot of the ledger, in a process of its own, and gives what it says.

    Args:
        name: a report of `aiplat report list`, or the path of a notebook of your own.
        since: where its period begins; as the report declares when left out.
        until: where it ends; now when left out.
        out: the folder; a new one under `reports/` in the home when left out.
        parameters: the notebook's own parameters.

    Raises:
        UsageError: there is no such report or parameter, or a time is not one.
        ReportError: it could not be made, or its snapshot does not hold.
    """
    given = [f"{key}={json.dumps(value)}" for key, value in parameters.items()]
    words: list[str] = [name, *(word for one in given for word in ("-p", one))]
    for option, value in (("--since", since), ("--until", until), ("--out", out)):
        words += [option, str(value)] if value is not None else []
    found = _run(words)
    folder = Path(found["folder"])
    document = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return Shown(name=document["name"], folder=folder, status=found["status"], summary=tuple(document["summary"]))


def _run(words: Sequence[str]) -> dict[str, str]:
    command = [sys.executable, "-m", "aiplat_lab.reports", "run", *words, "--home", str(environment().home.path), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 (our own module, no shell)
    if done.returncode:
        said = shorten((done.stderr.strip().splitlines() or ["the report could not be made"])[-1].removeprefix("aiplat: "), 800)
        raise (UsageError if done.returncode == 2 else ReportError)(said)
    rows: list[dict[str, str]] = json.loads(done.stdout)
    return rows[0]
