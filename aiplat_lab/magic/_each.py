"""`%%ai --each df.column --into df.new`: the cell's text asked once a row."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from aiplat_lab.core.errors import AiplatError, UsageError, did_you_mean
from aiplat_lab.core.place import Place
from aiplat_lab.core.progress import NOTEBOOK_S, Meter, Output, Tell, teller
from aiplat_lab.core.types import Request, Response
from aiplat_lab.magic import _formats
from aiplat_lab.magic._options import Options
from aiplat_lab.magic._reply import not_json
from aiplat_lab.rows import Engine, Mapped, Row, Rows, is_empty, raised, rows_of

if TYPE_CHECKING:
    from aiplat_lab.magic._cell import Session
    from aiplat_lab.magic._schema import Schema

WORKERS = 8
MOST_WORKERS = 64
_TRIED = 3
"""So many rows are written before anything is sent: what is wrong with each of them is wrong with the cell."""
_MOST_WARNINGS = 3
_ALONE = {
    "versus": "--vs", "thread": "--thread", "history": "--history", "dry_run": "--dry-run", "tools": "--tools",
}  # fmt: skip
"""What has no meaning once a row."""


class _Names(NamedTuple):
    """A variable and perhaps a column of it."""

    variable: str
    column: str

    @property
    def written(self) -> str:
        return f"{self.variable}.{self.column}" if self.column else self.variable


@dataclass(slots=True)
class Each:
    """One cell over many rows, read and ready."""

    session: Session
    options: Options
    here: Place
    rows: Rows
    source: _Names
    target: _Names | None
    engine: Engine
    output: Output
    keyed: bool

    def run(self) -> Mapped:
        """Asks the rows, keeps and shows what came.

        Raises:
            AiplatError: it did not come to its end; or, where nobody watches and without `--lenient`, a row failed. What is done is
                kept all the same.
        """
        ending = self.engine.run()
        currency, rate = self.session.money()
        into = self.target.column if self.target else ("" if self.keyed else "answer")
        found = Mapped(self.engine.id, self.rows, self.engine.results, ending, into, self.keyed, currency, rate)
        self._keep(found)
        if not self.options.quiet:
            self.output.publish(found._repr_mimebundle_())
        error = raised(found, strict=self.here.headless and not self.options.lenient)
        if error is not None and not (self.options.lenient and ending.status == "capped"):
            raise error
        return found

    def stop(self) -> bool:
        """Stops it, from any thread."""
        self.engine.stop()
        return True

    def _keep(self, found: Mapped) -> None:
        shell = self.session.shell
        shell.push({"_ai": found}, interactive=False)
        if self.options.out and not self.options.background:
            shell.push({self.options.out: found})
        if self.target is not None:
            shell.push({self.target.variable: self._written(self.target, found, shell.user_ns)})

    def _written(self, target: _Names, found: Mapped, names: Mapping[str, Any]) -> Any:  # Any: the user's frame, list or dict
        """What the target's variable becomes."""
        if not target.column and not (self.keyed and target.variable == self.source.variable):
            return found.values
        now = self.rows
        if target.variable in names:  # it may have grown other columns meanwhile, in the background
            now = rows_of(names[target.variable], name=target.variable)
            if len(now) != len(self.rows):
                raise UsageError(f"{target.variable} has {len(now):,} rows now, not {len(self.rows):,}: the answers stand in `_ai` alone.")
        return now.with_columns(found.columns)


class Written(NamedTuple):
    """The request of one row."""

    request: Request
    warnings: tuple[str, ...]


def ready(
    session: Session,
    options: Options,
    here: Place,
    *,
    body: str,
    names: Mapping[str, Any],  # Any: the user's values
    write: Callable[[Mapping[str, Any]], Written],
) -> Each:
    """A cell with `--each`, read; nothing is sent yet.

    Args:
        session: what the cells of its kernel share.
        options: its first line.
        here: where it stands.
        body: its text.
        names: the notebook's variables.
        write: gives the request for a row's variables.

    Raises:
        UsageError: a variable or column that does not exist, options that do not go together, a text that names no column.
        PromptError: the text cannot be written for its rows.
    """
    _check(options)
    source, rows = _source(options.each, names)
    keyed = options.format == "json" or bool(options.schema)
    target = _target(options.into, source, rows, names, keyed) if options.into else None
    values = rows.all()
    if not options.prompt:
        _need_reference(body, rows, source)
    heard: list[str] = []

    def ask(index: int) -> Request:
        row = values[index]
        written = write({"row": Row(row, rows.asked), **row})
        for warning in written.warnings:
            if warning not in heard and len(heard) < _MOST_WARNINGS:
                heard.append(warning)
                sys.stderr.write(f"%%ai: {warning}\n")
        return written.request

    skip = [index for index, one in enumerate(values) if is_empty(Row(one, rows.asked).asked_about)]
    _try(ask, rows, set(skip))
    currency, rate = session.money()
    output = Output(session.shell, currency=currency, rate=rate, stop=not options.background)
    engine = Engine(
        session.client,
        len(rows),
        ask,
        skip=skip,
        read=partial(_read, options, _schema_of(options, names)),
        workers=options.workers or WORKERS,
        max_usd=None if options.max_cost is None else options.max_cost / rate,
        retries=options.retries or 0,
        tell=_tell(options, here, output, lambda: teller(True, currency=currency, rate=rate)),
    )
    return Each(session, options, here, rows, source, target, engine, output, keyed)


def _tell(options: Options, here: Place, output: Output, elsewhere: Callable[[], Tell]) -> Tell:
    if options.quiet or here.headless:
        return lambda _: None
    return Meter(output, every_s=NOTEBOOK_S) if here.kernel else elsewhere()


def _check(options: Options) -> None:
    for field, name in _ALONE.items():
        if getattr(options, field) not in ("", (), None, False):
            raise UsageError(f"{name} has no meaning beside --each, which asks many rows. Leave one of them out. Nothing was sent.")
    if options.repeat is not None and options.repeat > 1:
        raise UsageError("--repeat has no meaning beside --each: rows that ask the same are asked once. Nothing was sent.")
    if options.workers is not None and options.workers > MOST_WORKERS:
        raise UsageError(f"--workers is {options.workers}; it takes up to {MOST_WORKERS}. Nothing was sent.")


def _parsed(text: str, name: str) -> _Names:
    variable, dot, column = text.partition(".")
    if not variable.isidentifier() or (dot and not column.strip()):
        raise UsageError(f"{name} is {text!r}; it takes a variable, and perhaps a column of it, such as {name} df.text")
    return _Names(variable, column)


def _source(text: str, names: Mapping[str, Any]) -> tuple[_Names, Rows]:  # Any: the user's values
    source = _parsed(text, "--each")
    if source.variable not in names:
        known = [name for name in names if not name.startswith("_")]
        raise UsageError(f"--each: {source.variable} is not a variable of this notebook.{did_you_mean(source.variable, known)}")
    return source, rows_of(names[source.variable], source.column, name=source.variable)


def _target(text: str, source: _Names, rows: Rows, names: Mapping[str, Any], keyed: bool) -> _Names:  # Any: as in `_source`
    """Where the answers go, looked at before anything is sent."""
    target = _parsed(text, "--into")
    own = target.variable == source.variable
    if not target.column:
        if own and not (keyed and rows.kind != "list"):
            raise UsageError(f"--into {text} would put the answers in the place of the rows: name a new column, {text}.answer")
        return target
    if not own and target.variable not in names:
        if rows.kind == "list":
            raise UsageError(f"--into {text}: a list has no columns; write --into {target.variable}. Nothing was sent.")
        return target
    there = rows_of(names[target.variable], name=target.variable)
    if there.kind == "list" or type(names[target.variable]).__name__ == "Series":
        raise UsageError(f"--into {text}: {target.variable} has no columns; name a variable for the list of answers. Nothing was sent.")
    if len(there) != len(rows):
        raise UsageError(f"--into {text}: {target.variable} has {len(there):,} rows, {source.written} {len(rows):,}. Nothing was sent.")
    return target


def _need_reference(body: str, rows: Rows, source: _Names) -> None:
    offered = ["row", *(name for name in rows.columns if name.isidentifier())]
    if not re.search(r"\{(?:" + "|".join(map(re.escape, offered)) + r")\b", body):
        said = ", ".join(f"{{{name}}}" for name in offered[:8])
        raise UsageError(f"the text names no column of {source.variable}, so each row would ask the same. Name one of {said}.")


def _try(ask: Callable[[int], Request], rows: Rows, skip: set[int]) -> None:
    """Writes the first rows' prompts.

    Raises:
        AiplatError: none of them can be written.
    """
    first: AiplatError | None = None
    for index in [index for index in range(min(len(rows), 1000)) if index not in skip][:_TRIED]:
        try:
            ask(index)
        except AiplatError as error:
            first = first or error
        else:
            return
    if first is not None:
        raise first


def _schema_of(options: Options, names: Mapping[str, Any]) -> Schema | None:  # Any: the user's values
    if not options.schema:
        return None
    from aiplat_lab.magic._schema import Schema  # which other rows do not need

    return Schema.of(options.schema, names)


def _read(options: Options, schema: Schema | None, response: Response) -> Any:  # Any: a text, or JSON
    if schema is not None:
        schema.check(response)
    form = options.format or "markdown"
    if form == "json" or options.schema:
        found = _formats.parse_json(response.text)
        if found is None:
            raise not_json(response, response.text)
        return found.value
    return _formats.shown(form, response.text)
