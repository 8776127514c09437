"""`map_rows()`: a question for each row, from Python."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import Any, TypeAlias

from aiplat_lab import prompts
from aiplat_lab.client import Client, default
from aiplat_lab.core.errors import AiplatError, PromptError, UsageError
from aiplat_lab.core.progress import Tell, teller
from aiplat_lab.core.types import Attribution, CacheMode, Json, Message, Request, Response
from aiplat_lab.prompts import Prompt
from aiplat_lab.rows._engine import Engine
from aiplat_lab.rows._mapped import Mapped, raised
from aiplat_lab.rows._source import Row, Rows, is_empty, rows_of

Asking: TypeAlias = Any
"""A text with `{column}` or `{{ column }}`, a saved prompt or its name, or a function of a row to a text, messages or a request."""
_REFERENCE = re.compile(r"\{([^\W\d]\w*)(?:\.([^\W\d]\w*)|\[['\"]?([^\[\]'\"{}\n]{1,100})['\"]?\])?\}")
WORKERS = 8
MOST_WORKERS = 64


def map_rows(
    data: Any,  # Any: whatever the user keeps rows in
    prompt: Asking,
    *,
    column: str = "",
    into: str = "answer",
    model: str | None = None,
    workers: int = WORKERS,
    max_cost: Decimal | str | float | None = None,
    parse: Callable[[str], Any] | str | None = None,
    retries: int = 0,
    cache: CacheMode = "auto",
    timeout_s: float | None = None,
    settings: Mapping[str, Json] | None = None,
    tags: Mapping[str, str] | None = None,
    strict: bool = False,
    progress: bool | Tell = True,
    client: Client | None = None,
) -> Mapped:
    """Asks a model once for each row; rows that ask the same are paid once, and so is what was answered before.

    Stopped by an interrupt, it gives what is done; the same call again pays for the rest alone.

    Args:
        data: a frame or series of polars or pandas, a list of values or of dicts, or a dict of columns.
        prompt: a text with `{column}` or `{{ column }}`; a saved prompt or its name; or a function of a row.
        column: the column that is asked about: `{row}` stands for it, and rows without a value in it are skipped.
        into: the column of the answers in `.frame`; their errors stand in `INTO_error`.
        model: the name of a model; None takes the prompt's, or the default model.
        workers: how many rows are asked at once, up to 64.
        max_cost: the most that all of it may cost, in US dollars; nothing is sent that could cost more.
        parse: `"json"` for answers that are JSON, whose keys become columns; or a function of the text.
        retries: how often a row is tried again whose failure may pass.
        cache: as for `chat`.
        timeout_s: seconds for each row.
        settings: settings of every request, under OpenAI's names.
        tags: tags of every call for the ledger.
        strict: whether a row that failed raises at the end; without it, its error stands in its column.
        progress: whether it is shown how far it is; or a function that is told.
        client: the client to ask with.

    Raises:
        UsageError: the rows, the column or the prompt do not fit; nothing was sent.
        ConfigError, BudgetExceeded, GatewayUnavailable, …: what holds for every row; `.details["mapped"]` holds what was done.
    """
    engine, finish = _prepared(
        data, prompt, column=column, into=into, model=model, workers=workers, max_cost=max_cost, parse=parse, retries=retries,
        cache=cache, timeout_s=timeout_s, settings=settings, tags=tags, progress=progress, client=client or default(),
    )  # fmt: skip
    return finish(engine, strict)


async def amap_rows(data: Any, prompt: Asking, *, strict: bool = False, client: Client | None = None, **options: Any) -> Mapped:
    """As `map_rows`; cancelling the task stops it, and what was asked until then is not paid again."""
    known = {**_DEFAULTS, **options}
    engine, finish = _prepared(data, prompt, client=client or default(), **known)
    over = threading.Event()

    def work() -> Mapped:
        try:
            return finish(engine, strict)
        finally:
            over.set()

    try:
        return await asyncio.to_thread(work)
    finally:
        if not over.is_set():
            engine.stop()


_DEFAULTS: Mapping[str, Any] = {
    "column": "", "into": "answer", "model": None, "workers": WORKERS, "max_cost": None, "parse": None, "retries": 0, "cache": "auto",
    "timeout_s": None, "settings": None, "tags": None, "progress": True,
}  # fmt: skip
_Finish: TypeAlias = Callable[[Engine, bool], Mapped]


def _prepared(
    data: Any,  # Any: as in `map_rows`
    prompt: Asking,
    *,
    column: str,
    into: str,
    model: str | None,
    workers: int,
    max_cost: Decimal | str | float | None,
    parse: Callable[[str], Any] | str | None,
    retries: int,
    cache: CacheMode,
    timeout_s: float | None,
    settings: Mapping[str, Json] | None,
    tags: Mapping[str, str] | None,
    progress: bool | Tell,
    client: Client,
) -> tuple[Engine, _Finish]:
    """The engine, ready to run, and what makes its end a result."""
    rows = rows_of(data, column)
    _check(into, workers, retries)
    values = rows.all()
    request = _request_of(prompt, rows, client)
    who = replace(client.who, tags={**client.who.tags, **(tags or {})})

    def ask(index: int) -> Request:
        made = _guarded(prompt, partial(request, Row(values[index], rows.asked)))
        return replace(
            made,
            model=model or made.model,
            settings={**made.settings, **(settings or {})},
            cache=cache,
            timeout_s=timeout_s,
            attribution=_filled(made.attribution, who),
        )

    engine = Engine(
        client,
        len(rows),
        ask,
        skip=[index for index, one in enumerate(values) if is_empty(Row(one, rows.asked).asked_about)],
        read=_reader(parse),
        workers=workers,
        max_usd=_amount(max_cost),
        retries=retries,
        tell=teller(progress),
    )

    def finish(engine: Engine, strict: bool) -> Mapped:
        ending = engine.run()
        found = Mapped(engine.id, rows, engine.results, ending, into, parse == "json")
        error = raised(found, strict=strict)
        if error is not None and (ending.status == "failed" or strict):
            error.details["mapped"] = found
            raise error
        return found

    return engine, finish


def _guarded(prompt: Asking, make: Callable[[], Request]) -> Request:
    """The request for a row; whatever the user's function, or a value's own code, raises becomes one sentence."""
    try:
        return make()
    except AiplatError:
        raise
    except Exception as error:  # foreign code: it stands in the row's error, and the others go on
        what = f"the function {getattr(prompt, '__name__', 'of the prompt')}" if callable(prompt) else "a value of the row"
        raise PromptError(f"{what} raised {type(error).__name__}: {error}") from None


def _check(into: str, workers: int, retries: int) -> None:
    if not into or not isinstance(into, str):
        raise UsageError("into is the name of the new column, such as into='team'. Nothing was sent.")
    if isinstance(workers, bool) or not isinstance(workers, int) or not 1 <= workers <= MOST_WORKERS:
        raise UsageError(f"workers is {workers!r}; it takes a whole number from 1 to {MOST_WORKERS}. Nothing was sent.")
    if isinstance(retries, bool) or not isinstance(retries, int) or retries < 0:
        raise UsageError(f"retries is {retries!r}; it takes a whole number of 0 or more. Nothing was sent.")


def _amount(given: Decimal | str | float | None) -> Decimal | None:
    if given is None:
        return None
    try:
        amount = Decimal(str(given))
    except InvalidOperation:
        amount = Decimal(-1)
    if not amount.is_finite() or amount <= 0:
        raise UsageError(f"max_cost is {given!r}; it takes US dollars above 0, such as 2.50. Nothing was sent.")
    return amount


def _filled(given: Attribution, who: Attribution) -> Attribution:
    return replace(who, prompt_name=given.prompt_name, prompt_version=given.prompt_version, tags={**who.tags, **given.tags})


def _reader(parse: Callable[[str], Any] | str | None) -> Callable[[Response], Any]:
    if parse is None:
        return lambda response: response.text
    if parse == "json":
        return read_json
    if isinstance(parse, str):
        raise UsageError(f'parse is {parse!r}; it takes "json" or a function of the text. Nothing was sent.')
    function = parse

    def read(response: Response) -> Any:  # Any: what the user's function gives
        try:
            return function(response.text)
        except AiplatError:
            raise
        except Exception as error:  # foreign code: it stands in the row's error, and the others go on
            raise PromptError(f"{getattr(function, '__name__', 'parse')} raised {type(error).__name__}: {error}") from None

    return read


def read_json(response: Response) -> Json:
    """The JSON of an answer, bare or in a fence.

    Raises:
        PromptError: it holds none.
    """
    text = response.text.strip()
    fenced = re.search(r"^`{3,}\w*\n(.*?)^`{3,}", text, re.MULTILINE | re.DOTALL)
    for candidate in (text, fenced[1] if fenced else ""):
        try:
            return json.loads(candidate)
        except ValueError:
            continue
    raise PromptError(f"the answer is not JSON: it begins {text[:60]!r}")


# --- from a row to a request ------------------------------------------------------------------------------------------


def _request_of(prompt: Asking, rows: Rows, client: Client) -> Callable[[Row], Request]:
    """The request for a row.

    Raises:
        UsageError, PromptError: the prompt is none, or names no column. Nothing was sent.
    """
    if isinstance(prompt, str):
        if "{{" in prompt or "{%" in prompt:
            return _of_template(prompts.parse(prompt, source="template"))
        if _REFERENCE.search(prompt) or any(sign.isspace() for sign in prompt.strip()):
            return _of_text(prompt, rows)
        return _of_prompt(prompts.get(prompt, client=client))
    if isinstance(prompt, Prompt):
        return _of_prompt(prompt)
    if callable(prompt):
        return _of_function(prompt)
    raise UsageError(f"{str(prompt)[:40]!r} is no prompt: give a text with {{column}}, a saved prompt, or a function. Nothing was sent.")


def _of_text(text: str, rows: Rows) -> Callable[[Row], Request]:
    names = {*rows.columns, "row"}
    used = [found for found in _REFERENCE.finditer(text) if found[1] in names]
    if not used:
        offered = ", ".join(f"{{{name}}}" for name in [rows.asked or "row", *rows.columns][:8])
        raise UsageError(f"the prompt names no column, so each row would ask the same. Name one of {offered}. Nothing was sent.")

    def written(row: Row) -> Callable[[re.Match[str]], str]:
        def one(found: re.Match[str]) -> str:
            name, part = found[1], found[2] or found[3]
            if name == "row" and "row" not in row:
                return str(row) if part is None else str(_of(row, part))
            return found[0] if name not in row or part is not None else str(row[name])

        return one

    def request(row: Row) -> Request:
        return Request(model="", messages=(Message("user", _REFERENCE.sub(written(row), text)),))

    return request


def _of(row: Row, name: str) -> Any:  # Any: the user's values
    try:
        return getattr(row, name) if name not in row else row[name]
    except AttributeError as error:
        raise PromptError(f"{{row.{name}}}: {error}") from None


def _of_template(prompt: Prompt) -> Callable[[Row], Request]:
    """A template without a name; its variables are texts."""

    def request(row: Row) -> Request:
        values = {name: str(row[name]) for name in prompt.variables if name in row}
        if "row" in prompt.variables and "row" not in values:
            values["row"] = str(row)
        return Request(model="", messages=prompt.render(values))

    return request


def _of_prompt(prompt: Prompt) -> Callable[[Row], Request]:
    def request(row: Row) -> Request:
        values = {name: row[name] for name in prompt.variables if name in row}
        if "row" in prompt.variables and "row" not in values:
            values["row"] = row.asked_about
        return prompt.request(values)

    return request


def _of_function(function: Callable[[Row], Any]) -> Callable[[Row], Request]:
    name = getattr(function, "__name__", "the prompt")

    def request(row: Row) -> Request:
        made = function(row)
        if isinstance(made, Request):
            return made
        if isinstance(made, str):
            return Request(model="", messages=(Message("user", made),))
        if not isinstance(made, Sequence):
            raise PromptError(f"the function {name} must give a text, messages or a Request, not {str(made)[:40]!r}")
        try:
            return Request(model="", messages=tuple(one if isinstance(one, Message) else Message.from_json(one) for one in made))
        except (KeyError, TypeError, AttributeError):
            raise PromptError(f"the function {name} must give a text, messages or a Request, not {str(made)[:40]!r}") from None

    return request
