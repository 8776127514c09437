"""Templates: Jinja2 cut down to what a prompt needs, sandboxed, with a place for every mistake and a limit for every cost.

What a template may hold is a list of what is allowed (`_ALLOWED`, `_FILTERS`), not of what is forbidden. Values are plain JSON
data, nothing in them is called, and a value is written once and never read again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NoReturn, TypeAlias

from jinja2 import StrictUndefined, TemplateError, TemplateRuntimeError, TemplateSyntaxError, Undefined, UndefinedError, meta, nodes
from jinja2.lexer import Lexer
from jinja2.runtime import LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from aiplat_lab.core.errors import PromptError, did_you_mean, shorten
from aiplat_lab.core.types import Json
from aiplat_lab.prompts._filters import FILTERS, Budget, check_text, length_of, to_json
from aiplat_lab.prompts._front import Place

_LOOP = frozenset({"index", "index0", "revindex", "revindex0", "first", "last", "length", "previtem", "nextitem"})
_TESTS = (
    "defined", "undefined", "none", "string", "number", "mapping", "sequence", "boolean", "true", "false", "integer", "float", "iterable",
    "odd", "even", "divisibleby", "eq", "equalto", "==", "ne", "!=", "lt", "<", "lessthan", "le", "<=", "gt", ">", "greaterthan", "ge",
    ">=", "in", "lower", "upper",
)  # fmt: skip
_ALLOWED: tuple[type[nodes.Node], ...] = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.Getattr, nodes.Getitem, nodes.Slice, nodes.Filter,
    nodes.Test, nodes.If, nodes.For, nodes.CondExpr, nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not, nodes.Add, nodes.Sub,
    nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod, nodes.Neg, nodes.Pos, nodes.Concat, nodes.List, nodes.Tuple, nodes.Dict, nodes.Pair,
    nodes.Keyword, nodes.Assign, nodes.With, nodes.Scope,
)  # fmt: skip
_WHY: Mapping[type[nodes.Node], str] = {
    nodes.Call: "nothing is called in a prompt: use a filter, such as {{ items|join(', ') }} or {{ data|items }}",
    nodes.Macro: "macros are not used in a prompt: write the text itself",
    nodes.CallBlock: "macros are not used in a prompt: write the text itself",
    nodes.Include: "a prompt is one file: nothing is included",
    nodes.Import: "a prompt is one file: nothing is imported",
    nodes.FromImport: "a prompt is one file: nothing is imported",
    nodes.Extends: "a prompt is one file: it extends nothing",
    nodes.Block: "blocks are not used in a prompt: write the text itself",
    nodes.Pow: "** is not used in a prompt",
}
_RAW = re.compile(r"\{%[-+]?\s*raw\b.*?(?:\{%[-+]?\s*endraw\s*[-+]?%\}|\Z)", re.DOTALL)
_TAG = re.compile(r"\{%.*?%\}|\{#.*?#\}")
_ENDS = re.compile(r"(?<![-+])[%#]\}$")
_BEGINS = re.compile(r"[ \t]+\{[%#](?![-+])")
_JINJA_NAMES = frozenset({"self", "super", "caller", "varargs", "kwargs"})
_BY_NAME = frozenset({"map", "select", "reject", "selectattr", "rejectattr", "groupby", "sort", "sum", "unique", "min", "max", "join"})
"""Filters that take the name of a filter or of an attribute."""
_Any: TypeAlias = Any  # Jinja2 passes values of every kind


class _Line(int):
    """A line number that knows its column: Jinja2 carries it from the lexer into tokens, nodes and errors."""

    column: int = 1


class _Lexer(Lexer):
    """Jinja2's lexer, with a column for every token.

    A line that holds nothing but tags vanishes; a tag beside a text leaves the text's spaces and its line's end as they are.
    """

    def tokeniter(
        self, source: str, name: str | None, filename: str | None = None, state: str | None = None
    ) -> Iterator[tuple[int, str, str]]:
        """The raw tokens with their lines."""
        text, moved = _keep_lines(source.replace("\r\n", "\n").replace("\r", "\n"))
        at = 0
        try:
            for _, token, value in super().tokeniter(text, name, filename, state):
                found = text.find(value, at)
                start = at if found < 0 else found
                yield _line(text, start, moved), token, value
                at = start + len(value)
        except TemplateSyntaxError as error:
            while at < len(text) - 1 and text[at].isspace():
                at += 1
            error.lineno = _line(text, min(at, max(len(text) - 1, 0)), moved)
            raise


def _keep_lines(text: str) -> tuple[str, Mapping[int, int]]:
    """The text with a `+` in tags that stand beside a text, and for each line that has one at its beginning, after which column.

    Jinja2 would take away the spaces before such a tag and the line's end after it.
    """
    if "{%" not in text and "{#" not in text:
        return text, {}
    kept = [(found.start(), found.end()) for found in _RAW.finditer(text)]
    lines, moved, at = text.split("\n"), {}, 0
    for index, line in enumerate(lines):
        begin, at = at, at + len(line) + 1
        if any(start < begin + len(line) and begin < end for start, end in kept) or not _TAG.sub("", line).strip():
            continue
        if _ENDS.search(line):
            line = _ENDS.sub(r"+\g<0>", line)
        begins = _BEGINS.match(line)
        if begins:
            line = f"{begins[0]}+{line[begins.end() :]}"
            moved[index + 1] = begins.end()
        lines[index] = line
    return "\n".join(lines), moved


def _line(text: str, at: int, moved: Mapping[int, int]) -> _Line:
    line = _Line(text.count("\n", 0, at) + 1)
    column = at - text.rfind("\n", 0, at)
    line.column = column - 1 if column > moved.get(line, column) else column
    return line


class _Rewrite(NodeTransformer):
    """Puts limits where the language has none: `~` and loops go through filters of ours."""

    def visit_Concat(self, node: nodes.Concat, *args: _Any, **kwargs: _Any) -> nodes.Node:
        """`a ~ b` as a filter that counts."""
        self.generic_visit(node, *args, **kwargs)
        items = nodes.List(node.nodes, lineno=node.lineno)
        return nodes.Filter(items, "_concat", [], [], None, None, lineno=node.lineno)

    def visit_For(self, node: nodes.For, *args: _Any, **kwargs: _Any) -> nodes.Node:
        """A loop over what a filter counts."""
        self.generic_visit(node, *args, **kwargs)
        node.iter = nodes.Filter(node.iter, "_loop", [], [], None, None, lineno=node.lineno)
        return node


class _Environment(ImmutableSandboxedEnvironment):
    """Jinja2 as prompts use it."""

    intercepted_binops = frozenset({"+", "*", "%", "/", "//", "-"})

    def __init__(self) -> None:
        super().__init__(
            undefined=StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
            finalize=_written, cache_size=0, loader=None,
        )  # fmt: skip
        self.globals = {}
        self.filters = dict(FILTERS)
        self.tests = {name: self.tests[name] for name in _TESTS}
        self._own_lexer = _Lexer(self)

    @property
    def lexer(self) -> Lexer:
        """The lexer with columns."""
        return self._own_lexer

    def getattr(self, obj: _Any, attribute: str) -> _Any:
        """`a.b`: a value of an object by its name, or a fact of a loop; never an attribute of Python."""
        if isinstance(obj, Mapping) and attribute in obj:
            return obj[attribute]
        if isinstance(obj, LoopContext) and attribute in _LOOP:
            return getattr(obj, attribute)
        return self.undefined(obj=obj, name=attribute)

    def getitem(self, obj: _Any, argument: _Any) -> _Any:
        """`a[b]`: an item of a list, text or object."""
        if isinstance(obj, dict | list | tuple | str):
            try:
                return obj[argument]
            except (LookupError, TypeError):
                pass
        return self.undefined(obj=obj, name=argument)

    def call_binop(self, context: _Any, operator: str, left: _Any, right: _Any) -> _Any:
        """A sum, product or remainder, within limits."""
        if operator == "%" and isinstance(left, str):
            raise TemplateRuntimeError("% does not format texts here: write {{ value }}")
        if operator == "*" and not (_number(left) and _number(right)):
            raise TemplateRuntimeError("* multiplies numbers alone")
        if operator == "+" and not (_number(left) and _number(right)):
            check_text(length_of(left) + length_of(right))
        return super().call_binop(context, operator, left, right)


def _number(value: _Any) -> bool:
    return isinstance(value, int | float) and abs(value) < 1e15


def _written(value: _Any) -> _Any:
    """Nothing for an optional value that was not given, and JSON for a list or an object."""
    if value is None:
        return ""
    if isinstance(value, Undefined):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list | tuple):
        return to_json(value)
    if isinstance(value, str | int | float):
        return value
    raise TemplateRuntimeError(f"a {type(value).__name__} cannot be written into a prompt")


_environment = _Environment()


@dataclass(frozen=True, slots=True)
class Parsed:
    """A template that was read and found allowed."""

    names: Mapping[str, tuple[int, int]]
    """Every variable it uses, with line and column of the first use."""


def check(text: str, *, source: str, first_line: int = 1) -> Parsed:
    """What a template uses.

    Args:
        text: the template.
        source: the file, for messages.
        first_line: the file's line on which the template begins.

    Raises:
        PromptError: a mistake, or something a prompt may not hold; the text names file, line and column.
    """
    try:
        tree = _environment._parse(text, None, None)
    except TemplateSyntaxError as error:
        _place(error.lineno, source, first_line).fail(_said(error))
    except RecursionError:
        Place(source, first_line, 1).fail("the template is nested too deep")
    for node in _walk(tree):
        problem = _problem(node)
        if problem:
            _place(node.lineno, source, first_line).fail(problem)
    undeclared = meta.find_undeclared_variables(tree)
    first: dict[str, tuple[int, int]] = {}
    for name in tree.find_all(nodes.Name):
        if name.name in undeclared and name.ctx == "load" and name.name not in first:
            place = _place(name.lineno, source, first_line)
            first[name.name] = (place.line, place.column)
    try:
        _compiled(text)
    except (SyntaxError, RecursionError, TemplateError):
        Place(source, first_line, 1).fail("the template is nested too deep")
    return Parsed(first)


def render(text: str, values: Mapping[str, Json], *, source: str, first_line: int = 1, budget: Budget | None = None) -> str:
    """A template with the values in it.

    Args:
        text: a template that `check` found right.
        values: every variable it uses, as plain data.
        source: what to call it in messages.
        first_line: the file's line on which the template begins.
        budget: what the render may still cost; a new one by default.

    Raises:
        PromptError: a value lacks what the template asks of it, or the template costs too much.
    """
    budget = budget or Budget()
    pieces: list[str] = []
    size = 0
    with budget:
        try:
            for piece in _compiled(text).generate(values):
                size += len(piece)
                check_text(size)
                pieces.append(piece)
        except UndefinedError as error:
            _fail_at(error, source, first_line, f"{str(error.message).rstrip('.')}: a value lacks what the template asks of it")
        except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, RecursionError, MemoryError) as error:
            _fail_at(error, source, first_line, str(error))
    return "".join(pieces)


def _fail_at(error: BaseException, source: str, first_line: int, problem: str) -> NoReturn:
    line, trace = 1, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<template>":
            line = trace.tb_lineno
        trace = trace.tb_next
    raise PromptError(f"{source}:{first_line + line - 1}: {shorten(problem, 300)}. Nothing was sent.") from None


@lru_cache(maxsize=512)
def _compiled(text: str) -> Any:  # Any: Jinja2's Template, whose `generate` is typed loosely
    tree = _Rewrite().visit(_environment._parse(text, None, None))
    return _environment.from_string(tree)


def _walk(tree: nodes.Node) -> Iterator[nodes.Node]:
    """Every node, in the order of the text."""
    yield tree
    for child in tree.iter_child_nodes():
        yield from _walk(child)


def _problem(node: nodes.Node) -> str:
    """Why a node may not stand in a prompt; empty where it may."""
    if not isinstance(node, _ALLOWED):
        kind = type(node)
        return _WHY.get(kind, f"{re.sub(r'(?<!^)(?=[A-Z])', ' ', kind.__name__).lower()} is not used in a prompt")
    if isinstance(node, nodes.Name) and node.name in _JINJA_NAMES:
        return f"{node.name!r} means something else in a template; give the variable another name"
    if isinstance(node, nodes.For) and node.recursive:
        return "a loop in a prompt cannot be recursive"
    name = getattr(node, "attr", None) if isinstance(node, nodes.Getattr) else getattr(node, "name", None)
    if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
        name = node.arg.value
    if isinstance(name, str) and name.startswith("_"):
        return f"{shorten(name, 40)!r} is private: names in a prompt do not begin with _"
    if isinstance(node, nodes.Filter) and node.name not in FILTERS:
        return f"there is no filter {node.name!r} in prompts.{did_you_mean(str(node.name), _public(FILTERS))}"
    if isinstance(node, nodes.Filter) and node.name in _BY_NAME:
        named = [*(node.args if node.name != "join" else ()), *(pair.value for pair in node.kwargs)]
        private = [one.value for one in named if isinstance(one, nodes.Const) and str(one.value).startswith("_")]
        if private:
            return f"{shorten(str(private[0]), 40)!r} is private: names in a prompt do not begin with _"
    if isinstance(node, nodes.Test) and node.name not in _TESTS:
        return f"there is no test {node.name!r} in prompts.{did_you_mean(str(node.name), _TESTS)}"
    if isinstance(node, nodes.Filter | nodes.Test) and (node.dyn_args is not None or node.dyn_kwargs is not None):
        return "* and ** do not unpack arguments in a prompt"
    return ""


def _public(names: Iterable[str]) -> list[str]:
    return [name for name in names if not name.startswith("_")]


def _place(line: int | None, source: str, first_line: int) -> Place:
    return Place(source, first_line + int(line or 1) - 1, line.column if isinstance(line, _Line) else 1)


def _said(error: TemplateSyntaxError) -> str:
    said = str(error.message or "the template is wrong")
    said = re.sub(r" at \d+$", "", said)
    return said if said.endswith(".") else f"{said}."
