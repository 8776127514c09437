"""The commands of `%ai` as functions of Python, each with a form that can be awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiplat_lab.core.errors import UsageError
from aiplat_lab.core.place import shell_here
from aiplat_lab.magic._magics import AiMagics

if TYPE_CHECKING:
    from aiplat_lab.evals import Kept
    from aiplat_lab.magic._history import Difference
    from aiplat_lab.magic._planned import Plan
    from aiplat_lab.magic._reply import Reply

__all__ = ["aask", "abudget", "adiff", "aplan", "apromote", "ask", "budget", "diff", "plan", "promote"]


class _Nobody:
    """Stands for the shell where there is none: no variables, and nothing is shown."""

    def __init__(self) -> None:
        self.user_ns: dict[str, Any] = {}
        self.user_ns_hidden: dict[str, Any] = {}

    def push(self, variables: Mapping[str, Any], interactive: bool = True) -> None:
        """Keeps variables, as a shell does."""
        self.user_ns.update(variables)


def _magics() -> AiMagics:
    """The magics of this kernel, loaded where they were not; those of nobody outside of IPython."""
    shell = shell_here()
    if shell is None:
        magics = AiMagics()
        magics.shell = _Nobody()
        return magics
    found = shell.magics_manager.registry.get("AiMagics")
    if found is None:
        shell.run_line_magic("load_ext", "aiplat_lab")
        found = shell.magics_manager.registry["AiMagics"]
    return found  # type: ignore[no-any-return]  # IPython comes without types


def ask(
    prompt: str,
    *,
    model: str = "",
    schema: Any = None,  # Any: a pydantic model or a JSON Schema
    tools: Sequence[Callable[..., Any]] = (),  # Any: the user's functions
    allow_tools: bool = False,
    images: Sequence[Any] = (),  # Any: pictures of the user's libraries
    files: Sequence[str | Path] = (),
    system: str = "",
    thread: str = "",
    history: int | None = None,
    retries: int = 0,
    max_cost: Decimal | str | float | None = None,
    timeout_s: float | None = None,
    **settings: Any,  # Any: JSON
) -> Reply:
    """What a cell with these options would be answered; nothing is shown. As `%%ai`, but the prompt is sent as it stands.

    Args:
        prompt: the text.
        model: as a cell names it; empty takes the default.
        schema: what the answer must fit: `.parsed` of the reply is then an instance of the model, or JSON.
        tools: functions that the model may ask for.
        allow_tools: whether they run unasked.
        images: bytes, paths, or pictures of Pillow, Matplotlib or IPython.
        files: paths of texts and PDFs.
        system: a system message.
        thread: the conversation that this goes on with.
        history: how many turns of it are sent; None sends all.
        retries: how often a failure that may pass is tried again.
        max_cost: the most that it may cost, in the currency of display.
        timeout_s: seconds for each call.
        settings: under OpenAI's names: `temperature`, `max_tokens`, …

    Raises:
        UsageError: an argument is not what it must be; nothing was sent.
        AiplatError: as a cell raises it.
    """
    from aiplat_lab.magic import _ask  # as in `plan`

    asked = _ask.Asked(model=model, schema=schema, tools=tools, images=images, files=files, settings=settings)
    named = {
        "--system": system,
        "--thread": thread,
        "--history": history,
        "--retries": retries or None,
        "--max-cost": max_cost,
        "--timeout": timeout_s,
    }
    return _ask.ask(_magics(), prompt, asked, named, allow_tools=allow_tools)


async def aask(prompt: str, **options: Any) -> Reply:  # Any: as `ask` takes them
    """As `ask`, without holding up the event loop."""
    return await asyncio.to_thread(ask, prompt, **options)


def plan(notebook: str | Path | None = None, *, cells: Iterable[Any] | None = None) -> Plan:
    """What the AI cells of a notebook would do now, and cost; nothing is sent. As `%ai plan`.

    Args:
        notebook: its file; None is the notebook that runs here.
        cells: its cells as a front end has them in memory, in the shape of a notebook file, in place of the file.

    Raises:
        UsageError: there is no such notebook.
        AiplatError: the gateway cannot be asked.
    """
    from aiplat_lab.magic import _plan  # with all that a plan needs, as in `AiMagics.ai`

    if notebook is not None and cells is not None:
        raise UsageError("plan() takes a notebook or cells, not both")
    return _plan.plan(_magics(), cells if cells is not None else notebook)


async def aplan(notebook: str | Path | None = None, *, cells: Iterable[Any] | None = None) -> Plan:
    """As `plan`, without holding up the event loop."""
    return await asyncio.to_thread(plan, notebook, cells=cells)


def budget(amount: Decimal | str | float | None = None, *, per: str = "", off: bool = False) -> list[dict[str, Any]]:  # Any: JSON
    """The budgets that this notebook's calls fall under; with an amount, sets its own. As `%ai budget`.

    Args:
        amount: what the notebook may spend in the period, in the currency of display.
        per: `day` (the default), `week`, `month` or `total`.
        off: whether the notebook's own budgets end.
    """
    from aiplat_lab.magic import _budget  # as in `plan`

    if off and amount is not None:
        raise UsageError("budget() takes an amount or off=True, not both")
    most = None if amount is None else _budget.amount(str(amount))
    return _budget.budget(_magics().session(), most, per=per, off=off)


async def abudget(amount: Decimal | str | float | None = None, *, per: str = "", off: bool = False) -> list[dict[str, Any]]:  # Any: JSON
    """As `budget`, without holding up the event loop."""
    return await asyncio.to_thread(budget, amount, per=per, off=off)


def diff(*calls: str) -> Difference:
    """What changed since the last time that a cell ran, or between two calls. As `%ai diff`."""
    from aiplat_lab.magic import _history  # as in `plan`

    return _history.diff(_magics().session(), *calls)


async def adiff(*calls: str) -> Difference:
    """As `diff`, without holding up the event loop."""
    return await asyncio.to_thread(diff, *calls)


def promote(answer: str | Reply | None = None, *, evalset: str, expected: str | None = None, note: str = "") -> Kept:
    """Keeps an answer as a sample of an evalset. As `%ai promote`.

    Args:
        answer: a reply of `%%ai -o`, or a call id; None is the last answer of this kernel.
        evalset: its name, for the folder `evalsets/NAME`; or the path of its folder.
        expected: what a right answer is; None is the one that was given.
        note: why it is kept.
    """
    from aiplat_lab.magic import _history  # as in `plan`

    return _history.promote(_magics().session(), answer, evalset=evalset, expected=expected, note=note)


async def apromote(answer: str | Reply | None = None, *, evalset: str, expected: str | None = None, note: str = "") -> Kept:
    """As `promote`, without holding up the event loop."""
    return await asyncio.to_thread(promote, answer, evalset=evalset, expected=expected, note=note)
