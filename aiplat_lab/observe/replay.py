"""Replaying a notebook, from Python: what of it would be given again, its bundle out and in, and forgetting.

```python
from aiplat_lab import replay

replay.status("report.ipynb")  # each cell: replayable, stale and why, or not answered
replay.export("report.ipynb")  # writes report.aiplat-replay beside it
replay.load("report.aiplat-replay")  # for whoever has no key
```
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from aiplat_lab.client import Client, default
from aiplat_lab.core.errors import AiplatError, UsageError
from aiplat_lab.core.notebooks import CALL_MIME, AiCell, ai_cells, read_document
from aiplat_lab.core.replays import beside, pack, source_hash, unpack, value_hash
from aiplat_lab.core.types import Json

__all__ = ["Exported", "aclear", "aexport", "aload", "astatus", "clear", "export", "load", "status", "status_of"]

Values = Callable[[str], str | None]
"""Gives what a reference such as `{mail}` stands for now, or None where that is not known."""
_AT_ONCE = 1_000
_AT_ONCE_BYTES = 4_000_000
_MOST_TITLE = 60


class Exported(NamedTuple):
    """A bundle that was written."""

    path: Path
    answers: int
    bytes: int
    missing: int
    """Answers in the notebook that the ledger cannot give: unknown here, erased, or not kept."""


def status(notebook: Path | str, *, client: Client | None = None) -> list[dict[str, Any]]:
    """Each cell of a notebook file that asks a model: `cell`, `title`, `state` and `why`.

    The state is `replayable`, `stale`, `unknown` (this ledger has no answer to give) or `not answered`. Values of variables are known
    in the notebook's own kernel alone, where `%ai replay status` compares them too.

    Raises:
        UsageError: it is no notebook.
    """
    path = Path(notebook)
    return status_of(ai_cells(read_document(path)["cells"]), client or default(), notebook="", values=None)


def status_of(cells: Sequence[AiCell], client: Client, *, notebook: str, values: Values | None) -> list[dict[str, Any]]:
    """As `status`, of cells.

    Args:
        cells: the cells.
        client: whose ledger.
        notebook: the notebook's path, as its calls name it.
        values: gives the values of references now; None where no kernel is there.
    """
    answered = [cell for cell in cells if cell.call.get("status") == "ok"]
    looks: dict[int, Mapping[str, Any]] = {}  # Any: JSON
    said: Mapping[str, Any] = {}
    for start in range(0, len(answered), _AT_ONCE):
        some = answered[start : start + _AT_ONCE]
        said = client.replay_look([_question(cell) for cell in some], notebook=notebook)
        looks.update({id(cell): row for cell, row in zip(some, said["rows"], strict=True)})
    return [_row(cell, client, looks.get(id(cell)), str(said.get("default_model") or ""), values) for cell in cells]


def _question(cell: AiCell) -> dict[str, Json]:
    call = cell.call
    depends = call.get("depends") or {}
    question = str(call.get("question") or call.get("request_hash") or "")
    return {"question": question, "model": str(call.get("model") or ""), "team": str(depends.get("team") or "")}


def _row(
    cell: AiCell, client: Client, look: Mapping[str, Any] | None, default_model: str, values: Values | None
) -> dict[str, Any]:  # Any: JSON
    title = next((line.strip() for line in cell.body.splitlines() if line.strip()), "") or cell.line
    title = title if len(title) <= _MOST_TITLE else f"{title[: _MOST_TITLE - 1]}…"
    state, why = _state(cell, client, look, default_model, values)
    return {"cell": cell.number, "title": title, "state": state, "why": why, "call_id": str(cell.call.get("call_id") or "")}


def _state(
    cell: AiCell, client: Client, look: Mapping[str, Any] | None, default_model: str, values: Values | None
) -> tuple[str, str]:  # Any: JSON
    if look is None:
        ended = str(cell.call.get("status") or "")
        return "not answered", f"it ended as {ended}" if ended else ""
    changed, notes = _changes(cell, client, look, default_model, values)
    if changed:
        return "stale", "; ".join(changed)
    return ("replayable", "; ".join(notes)) if look["known"] else ("unknown", str(look["why"]))


def _changes(
    cell: AiCell, client: Client, look: Mapping[str, Any], default_model: str, values: Values | None
) -> tuple[list[str], list[str]]:  # Any: JSON
    """What changed since a cell was answered, and what could not be compared."""
    call, depends = cell.call, cell.call.get("depends") or {}
    changed: list[str] = []
    notes: list[str] = []
    if depends.get("source") and depends["source"] != source_hash(cell.line, cell.body):
        changed.append("its text or its options changed")
    for reference, digest in (depends.get("values") or {}).items():
        now = values(reference) if values is not None else None
        if now is None:
            notes.append(f"{reference} was not compared")
        elif value_hash(str(depends.get("salt") or ""), now) != digest:
            changed.append(f"the value of {reference} changed")
    if depends.get("default") and default_model and default_model != call.get("model"):
        changed.append(f"it names no model; that was {call.get('model')}, and is {default_model} now")
    elif call.get("target") and look["target"] and look["target"] != call["target"]:
        changed.append(f"{call.get('model')} stood for {call['target']}, and stands for {look['target']} now")
    version = _prompt_changed(client, str(depends.get("prompt") or ""), str(call.get("prompt_version") or ""))
    if version:
        changed.append(version)
    return changed, notes


def _prompt_changed(client: Client, reference: str, version: str) -> str:
    if not reference:
        return ""
    from aiplat_lab import prompts  # brings the template engine

    try:
        now = prompts.get(reference, client).version
    except AiplatError as error:
        return f"the prompt {reference} cannot be read: {error.message}"
    return f"{reference} was version {version}, and is {now} now" if now != version else ""


def export(
    notebook: Path | str, to: Path | str | None = None, *, client: Client | None = None, path: str = "", also: Sequence[str] = ()
) -> Exported:
    """Writes the bundle of a notebook: with it anyone runs the notebook again without key, cost or network.

    Args:
        notebook: the notebook's file, saved with its answers.
        to: the bundle; None is beside the notebook.
        client: whose ledger.
        path: the notebook as its calls name it; their answers go in too.
        also: further calls whose answers go in.

    Raises:
        UsageError: it is no notebook, or the ledger has none of its answers.
    """
    file = Path(notebook)
    client = client or default()
    firsts: dict[str, str] = {}
    for call in calls_of(read_document(file)):
        if call.get("status") == "ok" and call.get("call_id"):
            firsts[str(call["call_id"])] = str(call.get("first_call_id") or call["call_id"])
    wanted = list(dict.fromkeys([*firsts, *firsts.values(), *also]))
    answers: dict[tuple[str, str], dict[str, Any]] = {}  # Any: JSON
    said = client.replay_export(wanted[:_AT_ONCE], notebook=path)
    for start in range(0, max(len(wanted), 1), _AT_ONCE):
        said = said if start == 0 else client.replay_export(wanted[start : start + _AT_ONCE])
        answers.update({(one["question"], one["target"]): one for one in said["answers"]})
    if not answers:
        raise UsageError(f"the ledger has no answer of {file} to put into a bundle; run the notebook first, with replay on")
    known = {one["call_id"] for one in answers.values()}
    target = Path(to) if to is not None else beside(file)
    data = pack(file.name, list(answers.values()), default_model=str(said["default_model"]))
    _write(target, data)
    return Exported(target, len(answers), len(data), sum(first not in known for first in set(firsts.values())))


def _write(target: Path, data: bytes) -> None:
    """Writes a file whole or not at all."""
    try:
        handle, made = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            Path(made).chmod(0o644)
            Path(made).replace(target)
        except BaseException:
            Path(made).unlink()
            raise
    except OSError as error:
        raise UsageError(f"{target} cannot be written ({error.strerror})") from None


def load(bundle: Path | str, *, client: Client | None = None) -> dict[str, Any]:
    """Takes in a bundle; gives its `notebook`, and how many answers were `taken`, `known` already, and `erased` here before.

    Raises:
        UsageError: it is no bundle, or it was changed or cut off; nothing was taken in.
    """
    content = read_bundle(Path(bundle))
    return take_in(content, client or default())


def read_bundle(path: Path) -> dict[str, Any]:  # Any: JSON
    """What a bundle file holds.

    Raises:
        UsageError: as `load`.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"the bundle {path} cannot be read ({error.strerror})") from None
    return unpack(data, name=path.name)


def take_in(content: Mapping[str, Any], client: Client) -> dict[str, Any]:  # Any: JSON
    """Gives the answers of a bundle to the gateway."""
    counts = {"taken": 0, "known": 0, "erased": 0}
    for some in _portions(content["answers"]):
        for name, number in client.replay_import(some, source=str(content.get("notebook") or "")).items():
            counts[name] += number
    return {"notebook": str(content.get("notebook") or ""), **counts}


def _portions(answers: Sequence[Mapping[str, Json]]) -> Iterator[list[Mapping[str, Json]]]:
    some: list[Mapping[str, Json]] = []
    size = 0
    for answer in answers:
        length = len(str(answer["document"]))
        if some and (size + length > _AT_ONCE_BYTES or len(some) >= _AT_ONCE):
            yield some
            some, size = [], 0
        some.append(answer)
        size += length
    if some:
        yield some


def clear(notebook: str = "", *, client: Client | None = None) -> dict[str, Any]:
    """Gives no answer again that is known now: to the notebook of that path, as its calls name it, or to all. The ledger keeps all."""
    return (client or default()).replay_clear(notebook=notebook)


def calls_of(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:  # Any: JSON
    """Every call in the outputs of a notebook."""
    found: list[Mapping[str, Any]] = []
    for cell in document["cells"]:
        for output in (cell.get("outputs") if isinstance(cell, dict) else None) or ():
            data = output.get("data") if isinstance(output, dict) else None
            call = data.get(CALL_MIME) if isinstance(data, dict) else None
            if isinstance(call, dict):
                found.append(call)
    return found


async def astatus(notebook: Path | str, *, client: Client | None = None) -> list[dict[str, Any]]:
    """As `status`, to be awaited."""
    return await asyncio.to_thread(status, notebook, client=client)


async def aexport(notebook: Path | str, to: Path | str | None = None, *, client: Client | None = None) -> Exported:
    """As `export`, to be awaited."""
    return await asyncio.to_thread(export, notebook, to, client=client)


async def aload(bundle: Path | str, *, client: Client | None = None) -> dict[str, Any]:
    """As `load`, to be awaited."""
    return await asyncio.to_thread(load, bundle, client=client)


async def aclear(notebook: str = "", *, client: Client | None = None) -> dict[str, Any]:
    """As `clear`, to be awaited."""
    return await asyncio.to_thread(clear, notebook, client=client)
