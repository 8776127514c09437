"""Keeps an answer as a sample of an evalset, so that the next run says whether it still comes out like that."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiplat_lab.core.errors import EvalError, UsageError
from aiplat_lab.core.types import Json, content_hash
from aiplat_lab.evals._evalset import CARD, DATA, Evalset, check_rows, load, names

FOLDER = "evalsets"
"""Where evalsets of one's own stand, under the folder that one works in."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
_SIZE = re.compile(r"^size:.*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Kept:
    """A sample that was added."""

    id: str
    path: Path
    """The evalset's folder."""
    size: int
    """How many samples it has now."""


def keep(evalset: str | Path, text: str, expected: str, *, note: str = "", about: Mapping[str, Json] | None = None) -> Kept:
    """Adds a sample to an evalset of one's own; makes the evalset, with its card, where there is none.

    Args:
        evalset: its name, for the folder `evalsets/NAME`; or the path of its folder.
        text: what was asked.
        expected: what a right answer is: a text, or JSON where the other samples expect an object or a list.
        note: why, for the sample's `rationale`.
        about: what else is known of it, for the sample's `metadata`.

    Raises:
        UsageError: the name is none, or that of an evalset that comes with the package.
        EvalError: the same question is in it already, its samples have another shape, or its files are damaged.
    """
    folder = _folder(evalset)
    data = folder / DATA
    known = load(folder) if data.exists() else None
    variable = _variable(known, folder)
    sample: dict[str, Json] = {
        "id": f"kept-{content_hash(text)[:12]}",
        "input": text if variable == "input" else {variable: text},
        "target": _target(known, expected, folder),
        **({"rationale": note} if note else {}),
        "metadata": dict(about or {}),
    }
    for one in known.samples if known is not None else ():
        if one.id == sample["id"] or one.input.get(variable) == text:
            raise EvalError(f"{folder} has this question already, as sample {one.id}. Nothing was added; change that line to change it.")
    check_rows([sample], name=folder.name)
    size = (len(known) if known is not None else 0) + 1
    _write(data, sample)
    _card(folder, size, made=known is None)
    return Kept(str(sample["id"]), folder, size)


def _folder(evalset: str | Path) -> Path:
    text = str(evalset).strip()
    if isinstance(evalset, Path) or "/" in text or "\\" in text:
        path = Path(evalset).expanduser()
        folder = path.parent if path.name == DATA else path
        if folder.suffix in (".jsonl", ".json"):
            raise UsageError(f"{folder} is a file; a sample is kept in an evalset's folder, with {DATA} and {CARD}")
        return folder
    if not _NAME.fullmatch(text):
        raise UsageError(f"{text[:60]!r} is not a name for an evalset: letters, digits, dots, dashes and underscores, such as refunds")
    if text in names():
        raise UsageError(f"{text!r} comes with the package and stays as it is; give your evalset another name")
    return Path(FOLDER) / text


def _variable(known: Evalset | None, folder: Path) -> str:
    if known is None:
        return "input"
    if len(known.variables) > 1:
        raise EvalError(f"the samples of {folder} have the variables {', '.join(known.variables)}; an answer is kept where there is one")
    return known.variables[0]


def _target(known: Evalset | None, expected: str, folder: Path) -> Json:
    first = known.samples[0].target if known is not None else ""
    if first is None:
        raise EvalError(f"the samples of {folder} expect nothing; an answer is kept where the others have a target")
    if isinstance(first, str):
        return expected
    try:
        target = json.loads(expected)
    except ValueError:
        target = None
    if not isinstance(target, type(first)):
        kind = "an object" if isinstance(first, dict) else "a list"
        raise EvalError(f"the samples of {folder} expect {kind}; give --expected as JSON of that kind")
    return target


def _write(data: Path, sample: Mapping[str, Json]) -> None:
    """Appends a line in one write, after a line break where the last line has none."""
    line = json.dumps(sample, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
    try:
        data.parent.mkdir(parents=True, exist_ok=True)
        before = data.read_bytes()[-1:] if data.exists() else b""
        handle = os.open(data, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(handle, (b"\n" if before not in (b"", b"\n") else b"") + line)
        finally:
            os.close(handle)
    except OSError as error:
        raise EvalError(f"{data} cannot be written ({error.strerror}); nothing was kept") from None


def _card(folder: Path, size: int, *, made: bool) -> None:
    """Makes the card, or corrects the size that it names."""
    card = folder / CARD
    if not made:
        if card.is_file():
            text = card.read_text(encoding="utf-8")
            card.write_text(_SIZE.sub(f"size: {size}", text, count=1), encoding="utf-8")
        return
    fields: dict[str, Any] = {
        "name": folder.name,
        "title": folder.name.replace("-", " "),
        "language": "unknown",
        "licence": "not for others until one is named here",
        "source": "answers that were kept from notebooks",
        "purpose": "say here what the samples measure",
        "size": size,
        "made_by": "%ai promote",
        "limits": "kept by hand, so not a sample of any population",
        "scorers": "[normalised, token_f1]",
    }
    top = "\n".join(f"{name}: {value}" for name, value in fields.items())
    body = "Each sample holds what was asked, what is expected, and in `metadata` the call that it came from."
    card.write_text(f"---\n{top}\n---\n\n# {folder.name}\n\n{body}\n", encoding="utf-8")
