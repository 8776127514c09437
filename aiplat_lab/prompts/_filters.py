"""The filters of templates, each with a limit on what it may cost."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any, TypeAlias

from jinja2 import TemplateRuntimeError, pass_context
from jinja2.filters import FILTERS as _JINJA
from jinja2.runtime import Context
from jinja2.utils import _PassArg

MOST_CHARS = 4_000_000
"""The longest text that a template may write or make on its way."""
MOST_STEPS = 1_000_000
"""How many steps of loops, and items that filters look at, one render may take."""
MOST_S = 1.0
"""Seconds of computing that one render may take."""
_EVERY = 64
_TEXT_STEP = 100
_Any: TypeAlias = Any  # Jinja2 passes values of every kind


class Budget:
    """What one render may still cost; used with `with`."""

    def __init__(self) -> None:
        self._steps = MOST_STEPS
        self._began = time.thread_time()
        self._token: Token[Budget | None] | None = None

    def spend(self, steps: int) -> None:
        """Takes steps, and looks at the time.

        Raises:
            TemplateRuntimeError: there are none left, or the time is over.
        """
        self._steps -= steps
        if self._steps < 0:
            raise TemplateRuntimeError(f"the template takes more than {MOST_STEPS:,} steps")
        if time.thread_time() - self._began > MOST_S:
            raise TemplateRuntimeError(f"the template computes for more than {MOST_S:g} s")

    def __enter__(self) -> Budget:
        self._token = _budget.set(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._token is not None:
            _budget.reset(self._token)


_budget: ContextVar[Budget | None] = ContextVar("aiplat_template_budget", default=None)


def spend(steps: int) -> None:
    """Takes steps of the render under way."""
    budget = _budget.get()
    if budget is not None:
        budget.spend(steps)


def check_text(length: int) -> None:
    """Lets a text of that length pass.

    Raises:
        TemplateRuntimeError: it is too long.
    """
    if length > MOST_CHARS:
        raise TemplateRuntimeError(f"the text grows over {MOST_CHARS:,} signs")


def length_of(value: _Any) -> int:
    """How long a text, list or object is; 20 for what has no length."""
    return len(value) if hasattr(value, "__len__") else 20


def to_json(value: _Any, indent: int | None = None) -> str:
    """A value as JSON, with letters of every language as they are."""
    if indent is not None and not 0 <= int(indent) <= 8:
        raise TemplateRuntimeError("tojson indents by 0 to 8")
    return json.dumps(value, ensure_ascii=False, indent=indent)


class _Watched(list[_Any]):
    """The items of a loop, which looks at the time now and then."""

    def __iter__(self) -> Iterator[_Any]:
        for index, item in enumerate(super().__iter__()):
            if not index % _EVERY:
                spend(0)
            yield item


def _loop(value: _Any) -> _Any:
    items = _Watched(() if value is None else value)
    spend(len(items))
    return items


def _concat(items: list[_Any]) -> str:
    return _join(items)


def _join(value: _Any, separator: str = "", attribute: str | None = None) -> str:
    items = list(value) if attribute is None else [item[attribute] for item in value]
    texts = [text(item) for item in items]
    check_text(sum(map(len, texts)) + len(separator) * len(texts))
    return separator.join(texts)


def text(value: _Any) -> str:
    """A value as a template writes it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return to_json(value) if isinstance(value, dict | list | tuple) else str(value)


def _replace(value: _Any, old: str, new: str, count: int = -1) -> str:
    whole = text(value)
    check_text(len(whole) + whole.count(old) * len(new))
    return whole.replace(old, new, count)


def _round(value: float, precision: int = 0) -> float:
    if not 0 <= precision <= 15:
        raise TemplateRuntimeError("round takes 0 to 15 digits")
    return round(value, precision)


def _indent(value: _Any, width: int = 4, first: bool = False) -> str:
    if not 0 <= int(width) <= 40:
        raise TemplateRuntimeError("indent takes 0 to 40 spaces")
    lines = text(value).split("\n")
    check_text(sum(map(len, lines)) + len(lines) * (width + 1))
    pad = " " * width
    return "\n".join((pad if (index or first) and line else "") + line for index, line in enumerate(lines))


_OURS: Mapping[str, Callable[..., _Any]] = {
    "_loop": _loop,
    "_concat": _concat,
    "join": _join,
    "replace": _replace,
    "round": _round,
    "indent": _indent,
    "tojson": to_json,
    "string": text,
}
_THEIRS = (
    "abs", "capitalize", "count", "d", "default", "dictsort", "first", "float", "groupby", "int", "items", "last", "length", "list",
   "lower",
    "map",
    "max", "min", "reject", "rejectattr", "reverse", "select", "selectattr", "sort", "sum", "title", "trim", "truncate", "unique",
    "upper", "wordcount",
)  # fmt: skip


def _limited(function: Callable[..., _Any]) -> Callable[..., _Any]:
    """A filter that pays for what it looks at; with the context as its first argument, so that it never runs at compile time."""
    wants = _PassArg.from_obj(function)

    @pass_context
    def run(context: Context, value: _Any, *args: _Any, **kwargs: _Any) -> _Any:
        spend(1 + (len(value) // _TEXT_STEP if isinstance(value, str) else length_of(value)))
        before: tuple[_Any, ...] = ()
        if wants is _PassArg.context:
            before = (context,)
        elif wants is _PassArg.eval_context:
            before = (context.eval_ctx,)
        elif wants is _PassArg.environment:
            before = (context.environment,)
        result = function(*before, value, *args, **kwargs)
        if isinstance(result, Iterator):
            result = list(result)
        if isinstance(result, str):
            check_text(len(result))
        return result

    return run


FILTERS: Mapping[str, Callable[..., _Any]] = {
    **{name: _limited(_JINJA[name]) for name in _THEIRS},
    **{name: _limited(function) for name, function in _OURS.items()},
}
"""Every filter of a template; those that begin with _ are put in by us."""
