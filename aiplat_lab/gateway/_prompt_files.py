"""The saved prompts as files of the home: kernels read them in microseconds, and when no gateway runs."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from aiplat_lab.core.prompts import Shelf
from aiplat_lab.core.settings import Home

if TYPE_CHECKING:
    from aiplat_lab.ledger import Ledger  # loads DuckDB, and kernels read these files too

logger = logging.getLogger(__name__)
KINDS = ("prompt_version", "prompt_label")
"""The records after which the files change."""
INDEX = "index.json"
SUFFIX = ".prompt.md"


class PromptFiles:
    """`prompts/` in the home: one file for each version, and `index.json` with versions, labels and the SHA-256 of each file."""

    def __init__(self, home: Home, ledger: Ledger) -> None:
        self._folder = home.prompts
        self._ledger = ledger
        self._texts: dict[str, str] = {}
        """SHA-256 of each file that is known to be right, by `name@version`."""

    def write(self, shelf: Shelf) -> None:
        """Brings the files to what stands on the shelf; one call at a time. What cannot be written is logged and does no further harm."""
        if not shelf.entries and not self._folder.exists():
            return
        try:
            self._write_texts(shelf)
            write_index(self._folder, shelf, self._texts)
        except OSError as error:
            logger.warning("the prompts could not be written to %s: %s", self._folder, error)

    def _write_texts(self, shelf: Shelf) -> None:
        self._folder.mkdir(mode=0o700, exist_ok=True)
        known = {name: set(entry.versions) for name, entry in shelf.entries.items()}
        missing = {name: gone for name, there in known.items() if (gone := {one for one in there if f"{name}@{one}" not in self._texts})}
        if not missing:
            return
        for row in self._ledger.view_rows("prompt_texts", {"prompt": sorted(missing), "version": sorted(set().union(*missing.values()))}):
            reference = f"{row['name']}@{row['version']}"
            if row["version"] in missing[str(row["name"])]:
                self._texts[reference] = write_text(self._folder, reference, str(row["text"]))


def write_text(folder: Path, reference: str, text: str) -> str:
    """Writes a version's file, unless it is there as it should be; gives its SHA-256."""
    data = text.encode("utf-8", "replace")
    digest = hashlib.sha256(data).hexdigest()
    path = folder / f"{reference}{SUFFIX}"
    try:
        if hashlib.sha256(path.read_bytes()).hexdigest() == digest:
            return digest
    except OSError:
        pass
    _replace(path, data)
    return digest


def write_index(folder: Path, shelf: Shelf, texts: Mapping[str, str]) -> None:
    """Writes the index in one step."""
    data = {"schema": 1, "prompts": shelf.to_json(), "texts": dict(texts)}
    _replace(folder / INDEX, json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode())


def _replace(path: Path, data: bytes) -> None:
    made = path.with_name(f".{path.name}.{os.getpid()}")
    made.write_bytes(data)
    made.chmod(0o600)
    made.replace(path)
