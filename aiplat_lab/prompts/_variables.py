"""The typed variables of a prompt: what each takes, checked before anything is sent."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, TypeAlias, get_args

from aiplat_lab.core.errors import PromptError, did_you_mean, shorten
from aiplat_lab.core.types import Json

Type: TypeAlias = Literal["string", "integer", "number", "boolean", "array", "object"]
TYPES: tuple[Type, ...] = get_args(Type)
ALIASES: Mapping[str, Type] = {
    "str": "string", "text": "string", "int": "integer", "float": "number", "bool": "boolean", "list": "array", "dict": "object",
}  # fmt: skip
"""Other words for the types; a version is the same whichever is written."""
_SAID: Mapping[Type, str] = {
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object of names and values",
}
_MOST_DEEP = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """One variable of a prompt."""

    name: str
    type: Type = "string"
    required: bool = True
    default: Json = None
    """What stands for a variable that is not given; None where there is none."""
    description: str = ""
    example: Json = None
    enum: tuple[Json, ...] = ()
    """The values it may take; empty allows every one of its type."""

    def check(self, value: Any) -> Json:  # Any: whatever a caller has
        """The value as plain JSON data, if the variable may take it.

        Raises:
            PromptError: it may not.
        """
        try:
            given = plain(value)
        except (TypeError, ValueError, RecursionError):
            raise PromptError(f"{self.name} must be {_SAID[self.type]}, and a {type(value).__name__} is none{_hint(value)}") from None
        if not fits(given, self.type):
            raise PromptError(f"{self.name} must be {_SAID[self.type]}, not {_shown(value)}")
        if self.enum and not any(same(given, allowed) for allowed in self.enum):
            known = ", ".join(str(one) for one in self.enum)
            near = did_you_mean(str(given), [str(one) for one in self.enum])
            raise PromptError(f"{self.name} is {shorten(repr(given), 80)}; it takes one of {shorten(known, 200)}.{near}")
        return float(given) if self.type == "number" and isinstance(given, float) else given

    def to_json(self) -> dict[str, Json]:
        """What the variable takes, without its name and what is usual."""
        found: dict[str, Json] = {"type": self.type, "required": self.required}
        for name in ("default", "example"):
            if getattr(self, name) is not None:
                found[name] = getattr(self, name)
        if self.description:
            found["description"] = self.description
        if self.enum:
            found["enum"] = list(self.enum)
        return found


def check_all(prompt: str, variables: Mapping[str, Variable], values: Mapping[str, Any]) -> dict[str, Json]:  # Any: as in `Variable.check`
    """The values of all variables, defaults filled in.

    Raises:
        PromptError: one is missing, unknown or of another type; nothing was sent.
    """
    problems: list[str] = []
    for name in values:
        if name not in variables:
            takes = f" It takes {', '.join(variables)}." if variables else " It takes none."
            problems.append(f"there is no variable {str(name)[:60]!r}.{did_you_mean(str(name), variables) or takes}")
    checked: dict[str, Json] = {}
    missing: list[str] = []
    for name, variable in variables.items():
        if name in values and (values[name] is not None or variable.required):
            try:
                checked[name] = variable.check(values[name])
            except PromptError as error:
                problems.append(error.message)
        elif variable.required:
            missing.append(f"{name} ({_SAID[variable.type]}{': ' + variable.description if variable.description else ''})")
        else:
            checked[name] = variable.default
    if missing:
        problems.insert(0, f"it needs {shorten(' and '.join(missing), 300)}")
    if problems:
        raise PromptError(
            f"{prompt}: {'; '.join(problems[:4])}. Nothing was sent." if len(problems) > 1 else f"{prompt}: {_closed(problems[0])}"
        )
    return checked


def _closed(sentence: str) -> str:
    return f"{sentence if sentence.endswith(('.', '?')) else sentence + '.'} Nothing was sent."


def fits(value: Json, kind: Type) -> bool:
    """Whether plain data is of a type."""
    if kind == "string":
        return isinstance(value, str)
    if kind == "boolean":
        return isinstance(value, bool)
    if kind == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    if kind == "number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, list) if kind == "array" else isinstance(value, dict)


def same(one: Json, other: Json) -> bool:
    """Whether two values are equal and of one kind; 1 is neither true nor a text."""
    return one == other and isinstance(one, bool) is isinstance(other, bool)


def plain(value: Any, depth: int = 0) -> Json:  # Any: whatever a caller has
    """A copy that holds nothing but JSON data, so that a template sees no object with a life of its own.

    Raises:
        TypeError, ValueError: it is something else.
    """
    if depth > _MOST_DEEP:
        raise ValueError("nested too deep")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real | Decimal):
        number = float(value)
        if not math.isfinite(number):
            raise ValueError("not a finite number")
        return number
    if isinstance(value, Mapping):
        return {_key(key): plain(one, depth + 1) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one, depth + 1) for one in value]
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        return plain(value.tolist(), depth + 1)
    raise TypeError(type(value).__name__)


def _key(key: Any) -> str:  # Any: as in `plain`
    if not isinstance(key, str):
        raise TypeError("a key that is no text")
    return str.__str__(key)


def _hint(value: Any) -> str:  # Any: as in `plain`
    if hasattr(value, "columns"):
        return "; write the frame as a text, such as {df:md} in a cell"
    return "; give a text, number, list or dict"


def _shown(value: Any) -> str:  # Any: as in `plain`
    kind = {str: "the text", bool: "", int: "the number", float: "the number"}.get(type(value), f"a {type(value).__name__}:")
    return f"{kind} {shorten(repr(value), 60)}".strip()
