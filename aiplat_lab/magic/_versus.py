"""`%%ai --vs`: the cell and what it is held against, asked side by side. The comparison itself is `aiplat_lab.ab()`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any, NamedTuple

from aiplat_lab.client import Client
from aiplat_lab.core.errors import UsageError, did_you_mean
from aiplat_lab.magic import _formats
from aiplat_lab.magic._interpolate import interpolate
from aiplat_lab.magic._options import Options

_MOST_OTHERS = 3
_NOT_BESIDE = {
    "schema": "--schema", "tools": "--tools", "images": "--image", "files": "--file", "thread": "--thread", "history": "--history",
    "retries": "--retries", "max_cost": "--max-cost", "dry_run": "--dry-run", "show_request": "--show-request",
    "background": "--bg", "quiet": "--quiet", "into": "--into", "workers": "--workers",
}  # fmt: skip
"""What a comparison does not do, by field and option."""


class Cell(NamedTuple):
    """What a comparison needs to know of the cell that begins it."""

    options: Options
    body: str
    names: Mapping[str, Any]
    """The notebook's variables."""
    client: Client
    model: Callable[[str], str]
    """The gateway's name of a model as it was typed; of an empty text, the default."""
    headless: bool


def run(cell: Cell) -> Any:  # Any: `ab()` lives in a sibling of this package, which is not imported here
    """Begins the comparison, or goes on with the one of the same variants and inputs, and shows it.

    Raises:
        UsageError: an option that a comparison does not have, too many variants, or a row source that is none.
        AiplatError: as `ab()`.
    """
    options = cell.options
    _check(options)
    variants = _variants(cell)
    inputs = _rows(cell) if options.each else [_value(cell, {})]
    ab = import_module("aiplat_lab").ab
    return ab(
        variants,
        inputs,
        resume="auto",
        repeat=options.repeat or 1,
        system=options.system,
        fresh=options.cache == "refresh",
        timeout_s=options.timeout_s,
        team=options.team,
        project=options.project,
        tags=options.tags,
        client=cell.client,
    )


def _check(options: Options) -> None:
    empty = Options()
    for field, name in _NOT_BESIDE.items():
        if getattr(options, field) != getattr(empty, field):
            raise UsageError(f"{name} has no place beside --vs. Leave it out, or ask with aiplat_lab.ab(). Nothing was sent.")
    if options.system and options.prompt:
        raise UsageError("--system has no place beside --prompt: the saved prompt has its own messages. Leave it out.")
    if len(options.versus) > _MOST_OTHERS:
        raise UsageError(f"--vs stands {len(options.versus)} times; a comparison takes the cell and up to {_MOST_OTHERS} others.")


def _variants(cell: Cell) -> list[dict[str, Any]]:  # Any: as a variant is written
    options = cell.options
    prompt = _saved(options.prompt, cell) if options.prompt else ""
    own = {"prompt": prompt, "model": cell.model(options.model) if options.model or not options.prompt else ""}
    listed = [(options.prompt or options.model or str(own["model"]), own)]
    for word in options.versus:
        if _is_prompt(word, cell):
            listed.append((word, {"prompt": _saved(word, cell), "model": own["model"] if options.model else ""}))
        else:
            listed.append((word, {"prompt": prompt, "model": cell.model(word)}))
    names = [name for name, _ in listed]
    distinct = len({name.lower() for name in names}) == len(names) and not {"tie", "none"} & {name.lower() for name in names}
    settings = dict(options.settings)
    return [{**about, "settings": settings, **({"name": name} if distinct else {})} for name, about in listed]


def _is_prompt(word: str, cell: Cell) -> bool:
    """Whether a word after `--vs` names a saved prompt: it has a version or a label, or no model has its name and a prompt has."""
    if word.startswith("library:"):
        return True
    models = [str(model["name"]) for model in cell.client.models()]
    if word in models or cell.model(word) in models:
        return False
    name, at, _ = word.partition("@")
    if "/" in name or ":" in name:
        return False
    from aiplat_lab import prompts  # brings the template engine, which a comparison of models alone does not need

    known = {*prompts.shelf(cell.client).entries, *prompts.library_names()}
    if name in known or at:
        return True
    raise UsageError(
        f"--vs {word!r} is neither a model nor a saved prompt.{did_you_mean(word, [*models, *known])} Nothing was asked. "
        "`%ai models` and `%ai prompts` list them."
    )


def _saved(reference: str, cell: Cell) -> Any:  # Any: a prompt, whose module is not loaded for models alone
    """A saved prompt. It is looked up here, since `ab()` takes a bare word for a model."""
    from aiplat_lab import prompts  # as in `_is_prompt`

    return prompts.get(reference, cell.client)


def _value(cell: Cell, row: Mapping[str, Any]) -> Any:  # Any: a text, or values of a prompt's variables
    """One input: the cell's text with the notebook's variables, and a row's, in it."""
    options, names = cell.options, {**cell.names, **row}
    if options.prompt:
        from aiplat_lab.magic._saved import prompted  # as in `_is_prompt`

        asked = prompted(options.prompt, cell.body, names, cell.client, strict=cell.headless, lenient=options.lenient)
        _warn(asked.warnings)
        return dict(asked.prompt.check(asked.values))
    if not cell.body.strip():
        raise UsageError("the cell has no text, so nothing was sent. Write the prompt on the lines below %%ai.")
    said = interpolate(cell.body.strip("\n").rstrip(), names, strict=cell.headless, lenient=options.lenient)
    _warn(said.warnings)
    form = "" if options.format is None else _formats.INSTRUCTIONS[options.format]
    return f"{said.text}\n\n{form}" if form else said.text


def _warn(warnings: Sequence[str]) -> None:
    for warning in warnings:
        sys.stderr.write(f"%%ai: {warning}\n")


def _rows(cell: Cell) -> list[Any]:  # Any: as `_value`
    """One input a row of `--each`: `{row}` stands for it, and so does the name of the column, or of each column of a frame."""
    name, _, column = cell.options.each.partition(".")
    if name not in cell.names:
        raise UsageError(f"--each {name!r} is no variable of this notebook.{did_you_mean(name, cell.names)}")
    rows = _listed(cell.names[name], column, cell.options.each)
    if not rows:
        raise UsageError(f"--each {cell.options.each} has no rows, so there is nothing to ask.")
    return [_value(cell, {"row": row, **(row if isinstance(row, dict) else {column or "row": row})}) for row in rows]


def _listed(source: Any, column: str, said: str) -> list[Any]:  # Any: whatever the notebook holds
    columns = [str(one) for one in getattr(source, "columns", ())]
    if column and columns and column not in columns:
        raise UsageError(f"--each {said}: there is no column {column!r}.{did_you_mean(column, columns)}")
    if columns and not column:
        found = source.to_dicts() if hasattr(source, "to_dicts") else source.to_dict("records")
        return [{str(key): value for key, value in row.items()} for row in found]
    try:
        values = source[column] if column else source
    except (KeyError, TypeError, IndexError):
        raise UsageError(f"--each {said}: {said.partition('.')[0]} has no column {column!r}.") from None
    if isinstance(values, str | bytes | Mapping) or not hasattr(values, "__iter__"):
        raise UsageError(f"--each {said} must be a column, a list or a frame, not {type(values).__name__}.")
    return list(values)
