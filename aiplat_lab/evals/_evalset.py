"""An evalset: samples with what is expected of an answer, one JSON object a line, and a card beside them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from aiplat_lab.core.errors import EvalError, UsageError, did_you_mean
from aiplat_lab.core.settings import shipped
from aiplat_lab.core.types import Json, content_hash
from aiplat_lab.evals._schema import check_schema

DATA = "data.jsonl"
CARD = "card.md"
_FIELDS = ("id", "input", "target", "slices", "cluster", "rationale", "known_bad", "metadata")
_SHAPES: Mapping[str, tuple[tuple[type, ...], str]] = {
    "id": ((str,), "a text"),
    "input": ((str, dict), "a text, or an object of variables"),
    "slices": ((dict,), "an object"),
    "cluster": ((str,), "a text"),
    "rationale": ((str,), "a text"),
    "known_bad": ((list,), "a list"),
    "metadata": ((dict,), "an object"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One case of an evalset."""

    id: str
    input: Mapping[str, Json]
    """The prompt's variables; a plain text in the file is the variable `input`."""
    target: Json = None
    """What is expected: a text, a list of texts of which each is right, or an object; None where nothing is."""
    slices: Mapping[str, str] = field(default_factory=dict)
    cluster: str = ""
    """Samples of one cluster (a document, a customer) are not independent."""
    rationale: str = ""
    known_bad: tuple[Json, ...] = ()
    """Answers that are wrong, to try scorers with."""
    metadata: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evalset:
    """The samples of an evalset, and its version."""

    name: str
    samples: tuple[Sample, ...]
    hash: str
    """SHA-256 over the samples sorted by id: their id, input, target, slices and cluster. The card, the order of the lines, and
    what only explains (rationale, known bad answers, metadata) are no part of it."""
    path: str = ""
    """The data file, where there is one."""
    card: Mapping[str, Json] = field(default_factory=dict)
    """The fields at the top of the card."""

    @property
    def variables(self) -> tuple[str, ...]:
        """The names of the input's variables."""
        return tuple(self.samples[0].input)

    @property
    def scorers(self) -> tuple[str, ...]:
        """The scorers that the card names, the main one first."""
        named = self.card.get("scorers") or self.card.get("scorer") or ()
        return (named,) if isinstance(named, str) else tuple(str(one) for one in named)

    def __len__(self) -> int:
        return len(self.samples)


def names() -> list[str]:
    """The evalsets that come with the package."""
    folder = shipped("evalsets")
    return sorted(path.parent.name for path in folder.glob(f"*/{DATA}"))


def load(evalset: str | Path | Evalset | Iterable[Mapping[str, Json]], *, name: str = "") -> Evalset:
    """An evalset by the name of a shipped one, by path (its folder or its JSONL file), or out of samples in memory.

    Raises:
        UsageError: there is none of that name or at that path.
        EvalError: it is empty, or a line of it is wrong; the text names the line.
    """
    if isinstance(evalset, Evalset):
        return evalset
    if not isinstance(evalset, str | Path):
        rows = [(index, row) for index, row in enumerate(evalset, 1)]
        return _build(name or "samples", rows, where="sample", path="", card={})
    path = _find(evalset)
    rows = _read(path)
    known = path.parent.name if path.name == DATA else path.stem
    found = _build(name or known, rows, where=f"{path}, line", path=str(path), card=_card(path))
    return _with_schemas(found, path.parent) if path.name == DATA else found


def _with_schemas(evalset: Evalset, folder: Path) -> Evalset:
    """Each sample with the JSON Schema of its answer, where the folder has one: `KIND.schema.json` by its variable `kind`, or
    `schema.json` for all."""
    schemas: dict[str, Json] = {}
    for path in sorted(folder.glob("*schema.json")):
        try:
            schemas[path.name] = json.loads(path.read_text(encoding="utf-8"))
            check_schema(schemas[path.name])
        except ValueError as error:
            raise EvalError(f"{path} is no JSON Schema: {error}") from None

    def told(sample: Sample) -> Sample:
        schema = schemas.get(f"{sample.input.get('kind')}.schema.json", schemas.get("schema.json"))
        if schema is None or "schema" in sample.metadata:
            return sample
        return replace(sample, metadata={**sample.metadata, "schema": schema})

    return replace(evalset, samples=tuple(map(told, evalset.samples))) if schemas else evalset


def _find(evalset: str | Path) -> Path:
    given = Path(evalset).expanduser()
    text = str(evalset)
    if isinstance(evalset, str) and "/" not in text and "\\" not in text and not text.endswith((".jsonl", ".json")):
        own = shipped("evalsets", text, DATA)
        if own.is_file():
            return own
        if not given.exists():
            raise UsageError(f"there is no evalset {text!r}.{did_you_mean(text, names())} There are {', '.join(names())}, or give a path.")
    path = given / DATA if given.is_dir() else given
    if not path.is_file():
        what = f"the folder {given} holds no {DATA}" if given.is_dir() else f"there is no file {given}"
        raise UsageError(f"{what}: an evalset is a JSONL file, or a folder with {DATA} and {CARD}")
    return path.absolute()


def _read(path: Path) -> list[tuple[int, Any]]:
    """The rows of a JSONL file with their line numbers; empty lines are left out."""
    rows = []
    for number, raw in enumerate(path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        try:
            line = raw.decode("utf-8").strip()
        except UnicodeDecodeError as error:
            raise EvalError(
                f"{path}, line {number} is not UTF-8: byte 0x{raw[error.start]:02x} at column {error.start + 1}. Save the file as UTF-8."
            ) from None
        if not line:
            continue
        try:
            rows.append((number, json.loads(line)))
        except ValueError as error:
            said = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
            column = f", column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
            raise EvalError(f"{path}, line {number}{column} is not JSON: {said}. Each line is one object.") from None
    return rows


def check_rows(rows: Iterable[Mapping[str, Json]], *, name: str) -> None:
    """Lets samples pass that an evalset can hold.

    Raises:
        EvalError: one is wrong.
    """
    _build(name, list(enumerate(rows, 1)), where="sample", path="", card={})


def _build(name: str, rows: Sequence[tuple[int, Any]], *, where: str, path: str, card: Mapping[str, Json]) -> Evalset:
    if not rows:
        raise EvalError(f"the evalset {path or name} is empty: it needs at least one sample")
    samples: list[Sample] = []
    lines: dict[str, int] = {}
    for number, row in rows:
        sample = _sample(row, f"{where} {number}")
        if sample.id in lines:
            raise EvalError(f"{where} {number}: the id {sample.id!r} stands in line {lines[sample.id]} already; each sample needs its own")
        lines[sample.id] = number
        if samples:
            _same_shape(samples[0], sample, rows[0][0], f"{where} {number}")
        samples.append(sample)
    return Evalset(name=name, samples=tuple(samples), hash=version(samples), path=path, card=card)


def _sample(row: Any, where: str) -> Sample:  # Any: JSON, or not
    if not isinstance(row, Mapping):
        raise EvalError(f'{where} is a JSON {type(row).__name__}, not an object such as {{"id": …, "input": …, "target": …}}')
    for key in row:
        if key not in _FIELDS:
            raise EvalError(f"{where} has a field {key!r}.{did_you_mean(str(key), _FIELDS)} A sample holds {', '.join(_FIELDS)}.")
    for key in ("id", "input"):
        if row.get(key) in (None, ""):
            raise EvalError(f"{where} has no {key}: each sample needs an id and an input")
    for key, (kinds, said) in _SHAPES.items():
        if row.get(key) is not None and not isinstance(row[key], kinds):
            raise EvalError(f"{where}: {key} must be {said}, not {str(row[key])[:40]!r}")
    given = row["input"]
    return Sample(
        id=row["id"],
        input={"input": given} if isinstance(given, str) else dict(given),
        target=row.get("target"),
        slices={str(key): str(value) for key, value in (row.get("slices") or {}).items()},
        cluster=row.get("cluster") or "",
        rationale=row.get("rationale") or "",
        known_bad=tuple(row.get("known_bad") or ()),
        metadata=row.get("metadata") or {},
    )


def _same_shape(first: Sample, sample: Sample, line: int, where: str) -> None:
    """Lets a sample pass that has what the first has: variables, and a target or none."""
    missing = [name for name in first.input if name not in sample.input]
    more = [name for name in sample.input if name not in first.input]
    if missing or more:
        said = f"lacks {', '.join(missing)}" if missing else f"has {', '.join(more)} too"
        raise EvalError(f"{where} is ragged: its input {said}, unlike that of line {line}")
    if (first.target is None) is not (sample.target is None):
        which = "no target" if sample.target is None else "a target"
        raise EvalError(f"{where} is ragged: it has {which}, unlike line {line}")


def version(samples: Iterable[Sample]) -> str:
    """The content hash of samples, in whatever order they stand."""
    return content_hash(
        [
            {"id": one.id, "input": one.input, "target": one.target, "slices": one.slices, "cluster": one.cluster}
            for one in sorted(samples, key=lambda sample: sample.id)
        ]
    )


def _card(path: Path) -> dict[str, Json]:
    """The fields between the `---` lines at the top of the card: texts, and lists of texts; what else stands there is left out."""
    file = path.with_name(CARD)
    if path.name != DATA or not file.is_file():
        return {}
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    if not lines or lines[0].strip() != "---":
        return {}
    found: dict[str, Json] = {}
    key = ""
    for line in lines[1:]:
        if line.strip() == "---":
            break
        if line.lstrip().startswith("- ") and key:
            known = found.get(key)
            found[key] = [*(known if isinstance(known, list) else []), _plain(line.lstrip()[2:])]
        elif line[:1].strip() and ":" in line:
            key, _, value = line.partition(":")
            key, value = key.strip(), value.strip()
            found[key] = [_plain(part) for part in value[1:-1].split(",") if part.strip()] if value.startswith("[") else _plain(value)
    return found


def _plain(text: str) -> str:
    return text.strip().strip("\"'")
