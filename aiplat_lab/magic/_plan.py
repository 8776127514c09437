"""`%ai plan`: every cell of a notebook that asks a model, with what becomes of it on the next Run All."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiplat_lab.core.errors import AiplatError, PromptError, UsageError
from aiplat_lab.core.notebooks import AiCell, ai_cells, read_cells
from aiplat_lab.core.place import Place, notebook
from aiplat_lab.core.types import Request
from aiplat_lab.magic import _cell
from aiplat_lab.magic._interpolate import variables
from aiplat_lab.magic._options import Options, parse
from aiplat_lab.magic._planned import SENDS, Plan, Row

if TYPE_CHECKING:
    from aiplat_lab.magic._cell import Session
    from aiplat_lab.magic._magics import AiMagics

_MOST_CHARACTERS = 60
_NAME = re.compile(r"^(\{[^{}]*\})")
_BASE = re.compile(r"\{([^\W\d]\w*)")
_MOST_REQUESTS = 500
_LOOKED_AT = 200


@dataclass(slots=True)
class _Read:
    """A cell that was read, on its way to a row."""

    cell: AiCell
    options: Options = field(default_factory=Options)
    requests: list[Request] = field(default_factory=list)
    """One for each variant."""
    error: str = ""
    missing: str = ""
    each: int | None = None
    """How many rows it asks; None for a cell that asks none, and -1 where the rows are not there yet."""
    model: str = ""


def plan(magics: AiMagics, given: str | Path | Iterable[Any] | None = None) -> Plan:
    """The plan of this notebook, of a notebook file, or of cells out of a front end's memory.

    Raises:
        UsageError: there is no such notebook.
        AiplatError: the gateway cannot be asked.
    """
    cells, path = cells_here(magics, given)
    return Plan(tuple(rows_of(magics, cells, path=path)), *magics.session().money(), path)


def rows_of(magics: AiMagics, cells: Sequence[AiCell], *, path: str) -> list[Row]:
    """The plan of a notebook's cells, with the notebook's variables as they are now.

    Raises:
        AiplatError: the gateway cannot be asked.
    """
    session = magics.session()
    read = [_read(magics, cell, path) for cell in cells]
    flat = [request for one in read for request in one.requests]
    plans: list[dict[str, Any]] = []  # Any: JSON
    for at in range(0, len(flat), _MOST_REQUESTS):
        plans += session.client.plan(flat[at : at + _MOST_REQUESTS])
    last = _last_asked(session, path) if any(cell.cell_id for cell in cells) else {}
    rows: list[Row] = []
    renewed: dict[str, int] = {}
    for one in read:
        own, plans = plans[: len(one.requests)], plans[len(one.requests) :]
        row = _row(one, own, str(one.cell.call.get("request_hash") or last.get(one.cell.cell_id, "")), renewed)
        rows.append(row)
        if one.options.out and row.state in SENDS:
            renewed[one.options.out] = row.number
    return rows


def cells_here(magics: AiMagics, given: str | Path | Iterable[Any] | None) -> tuple[list[AiCell], str]:
    """The cells of a notebook and its path: of the one that runs here, of a file, or out of a front end's memory.

    Raises:
        UsageError: there is no notebook here, or none at that path.
    """
    session = magics.session()
    path = notebook(session.shell, session.environment)
    if given is not None and not isinstance(given, str | Path):
        return ai_cells(given), path
    if given:
        return read_cells(Path(given).expanduser()), path
    file = here(session)
    if file is None:
        raise UsageError("this kernel does not know its notebook's file; write %ai plan NOTEBOOK.ipynb")
    return read_cells(file), path


def here(session: Session) -> Path | None:
    """The file of the notebook that runs here; None where it is not known."""
    own = session.environment.attribution.notebook or str(session.shell.user_ns.get("__vsc_ipynb_file__") or "")
    if not own:
        return None
    paths = [Path(own), Path.cwd() / Path(own).name]
    return next((one for one in paths if one.is_file()), paths[0])


def _read(magics: AiMagics, cell: AiCell, path: str) -> _Read:
    """A cell as it would be sent now; whatever is wrong with it becomes its own text."""
    place = Place(notebook=path, cell_id=cell.cell_id, headless=False, kernel=True)
    try:
        each, also = _first_row(magics.session(), cell.line)
        ready = _cell.ready(magics, cell.line, cell.body, here=place, also=also)
        found = _Read(cell, ready.options, [ready.request], model=ready.request.model, each=each)
        found.requests += [_variant(magics, ready.request, name) for name in ready.options.versus]
    except AiplatError as error:
        return _Read(cell, error=error.message, model=_named(cell.line))
    names = [name[0] for warning in ready.warnings if (name := _NAME.match(warning)) and "is not a variable" in warning]
    found.missing = ", ".join(dict.fromkeys(names))
    return found


def _first_row(session: Session, line: str) -> tuple[int | None, dict[str, Any]]:  # Any: the user's values
    """How many rows a cell with `--each` asks, and what stands for one of them: the longest of the first."""
    each = parse(line).each
    if not each:
        return None, {}
    name, _, column = each.partition(".")
    names = variables(session.shell)
    if name not in names:
        return -1, {"row": "", **({column: ""} if column else {})}
    values = names[name]
    try:
        values = values[column] if column else values
        count = len(values)
        first = (
            [values[index] for index in range(min(count, _LOOKED_AT))] if not hasattr(values, "iloc") else list(values.iloc[:_LOOKED_AT])
        )
    except Exception as error:  # a frame's or a list's own code runs here and may raise anything; the person reads it as one line
        raise PromptError(f"--each {each} has no rows that can be read ({type(error).__name__})") from None
    longest = max(first, key=lambda value: len(str(value)), default="")
    return count, {"row": longest, **({column: longest} if column else {})}


def _variant(magics: AiMagics, request: Request, name: str) -> Request:
    """What another model is asked beside the cell's own; a saved prompt is taken to be as long as the cell's."""
    known = magics.session().model_names()
    return replace(request, model=_cell.model_name(magics, name)) if name in known or "/" in name or ":" in name else request


def _named(line: str) -> str:
    words = line.split()
    return words[0] if words and not words[0].startswith("-") else ""


def _row(one: _Read, plans: Sequence[Mapping[str, Any]], before: str, renewed: Mapping[str, int]) -> Row:  # Any: JSON
    title = _title(one.cell)
    wrong = one.error or next((str(plan["error"]["message"]) for plan in plans if plan["state"] == "error"), "")
    if wrong:
        return Row(one.cell.number, one.cell.cell_id, title, one.model, "error", calls=0, note=wrong)
    state, note = _state(one, plans, before, renewed)
    if one.each == -1:
        return Row(one.cell.number, one.cell.cell_id, title, one.model, state, calls=0, note=note)
    times = max(one.options.repeat, 1) * (1 if one.each is None else max(one.each, 0))
    sent = [plan for plan in plans if plan["state"] == "live"] if state in SENDS else []
    low, high = (_total([plan[name] for plan in sent], times) for name in ("low_usd", "high_usd"))
    refused = state == "refused"
    return Row(
        one.cell.number,
        one.cell.cell_id,
        title,
        one.model,
        state,
        calls=0 if refused else len(plans) * times,
        input_tokens=0 if refused else sum(plan["input_tokens"] for plan in sent) * times,
        output_tokens_most=0 if refused else sum(plan["output_tokens_most"] for plan in sent) * times,
        low_usd=low,
        high_usd=high,
        note=note,
        budgets=_budgets(sent),
    )


def _state(one: _Read, plans: Sequence[Mapping[str, Any]], before: str, renewed: Mapping[str, int]) -> tuple[str, str]:  # Any: JSON
    """The state of a cell, and what should be said of it."""
    refusal = next((said["said"] for plan in plans for said in plan["policies"] if said["verdict"] == "refuses"), "")
    if refusal:
        return "refused", str(refusal)
    if one.each == -1:
        return "waits", f"the rows of {one.options.each} are not there yet: run the cells above first"
    if one.missing:
        return "waits", f"{one.missing} not there yet: run the cells above first"
    earlier = [f"cell {renewed[name]}" for name in dict.fromkeys(_BASE.findall(one.cell.body)) if name in renewed]
    if earlier:
        return "waits", f"uses the answer of {', '.join(earlier)}, which will be a new one"
    if all(plan["state"] == "replay" for plan in plans):
        return "replay", ""
    notes = [] if all(plan["priced"] for plan in plans) else ["no price is known"]
    notes += ["one of its variants is known already"] if any(plan["state"] == "replay" for plan in plans) else []
    waits = [f"{said['policy']}: {said['said']}" for plan in plans for said in plan["policies"] if said["verdict"] == "waits"]
    notes += list(dict.fromkeys(waits))
    notes += [] if one.each is None else [f"{one.each:,} rows, each taken to be as long as the longest of the first {_LOOKED_AT}"]
    if one.options.cache in ("refresh", "off") or one.options.replay in ("refresh", "off"):
        return "live", "; ".join([*notes, "asks again each time, as its first line says"])
    if before and all(plan["request_hash"] != before for plan in plans):
        return "stale", "; ".join([*notes, "its text, a value, a setting or the model changed since its last answer"])
    return "live", "; ".join(notes)


def _total(amounts: Sequence[str | None], times: int) -> Decimal | None:
    found = [Decimal(one) for one in amounts if one is not None]
    return sum(found, Decimal(0)) * times if len(found) == len(amounts) else None


def _budgets(plans: Sequence[Mapping[str, Any]]) -> dict[str, Decimal]:  # Any: JSON
    said = [plan["budget"] for plan in plans if plan["budget"]]
    return {str(one["budget"]): Decimal(one["left_usd"]) for one in said if one["budget"] and one["left_usd"]}


def _last_asked(session: Session, path: str) -> dict[str, str]:
    """The hash of what each cell of the notebook asked last, where it was answered."""
    rows = session.client.view_rows("cell_calls", **({"notebook": path} if path else {}), status="ok")
    found: dict[str, str] = {}
    for row in rows:
        found.setdefault(str(row["cell_id"]), str(row["request_hash"]))
    return found


def _title(cell: AiCell) -> str:
    text = next((line.strip() for line in cell.body.splitlines() if line.strip()), "") or cell.line
    return text if len(text) <= _MOST_CHARACTERS else f"{text[: _MOST_CHARACTERS - 1]}…"
