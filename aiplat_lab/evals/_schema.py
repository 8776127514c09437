"""JSON Schema, the part of it that outputs of models are described with."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from aiplat_lab.core.errors import did_you_mean
from aiplat_lab.core.types import Json

_NOTES = frozenset({"$schema", "$id", "title", "description", "examples", "default", "format", "$comment", "deprecated"})
_TYPES: Mapping[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, Mapping),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: not isinstance(value, bool) and (isinstance(value, int) or (isinstance(value, float) and value.is_integer())),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
}
_Rule = Callable[[Any, Any, Mapping[str, Any]], "str | None"]


def check_schema(schema: Json) -> None:
    """Lets a schema pass that `problem` understands.

    Raises:
        ValueError: a word in it is unknown here, or a part of it is no schema.
    """
    if isinstance(schema, bool):
        return
    if not isinstance(schema, Mapping):
        raise ValueError(f"a schema is an object, not {str(schema)[:40]!r}")
    for word, value in schema.items():
        if word not in _RULES and word not in _NOTES and word not in {"$defs"}:
            raise ValueError(f"the schema has {word!r}, which is not understood here.{did_you_mean(str(word), _RULES)}")
        if word == "type":
            wrong = next((one for one in (value if isinstance(value, list) else [value]) if one not in _TYPES), None)
            if wrong is not None:
                raise ValueError(f"the schema has the type {wrong!r}.{did_you_mean(str(wrong), _TYPES)}")
        if word in {"properties", "$defs"}:
            for one in value.values():
                check_schema(one)
        elif word in {"items", "not", "additionalProperties"}:
            check_schema(value)
        elif word in {"anyOf", "allOf", "oneOf"}:
            for one in value:
                check_schema(one)


def problem(value: Json, schema: Json, *, root: Json = None, path: str = "$") -> str:
    """What is wrong with `value` by `schema`, with its place; empty where it fits."""
    if isinstance(schema, bool):
        return "" if schema else f"{path} may not be there"
    root = schema if root is None else root
    for word, wanted in schema.items():
        rule = _RULES.get(word)
        if rule is None:
            continue
        wrong = rule(value, wanted, {"schema": schema, "root": root, "path": path})
        if wrong:
            return wrong if wrong.startswith("$") else f"{path} {wrong}"
    return ""


def _within(value: Json, schema: Json, at: Mapping[str, Any], step: str = "") -> str:
    return problem(value, schema, root=at["root"], path=at["path"] + step)


def _type(value: Any, wanted: Any, at: Mapping[str, Any]) -> str | None:
    kinds = [wanted] if isinstance(wanted, str) else list(wanted)
    return None if any(_TYPES[kind](value) for kind in kinds if kind in _TYPES) else f"is no {' or '.join(kinds)}"


def _enum(value: Any, wanted: Any, at: Mapping[str, Any]) -> str | None:
    return None if any(one == value and type(one) is type(value) for one in wanted) else f"is {str(value)[:40]!r}, not one of {wanted}"


def _required(value: Any, wanted: Any, at: Mapping[str, Any]) -> str | None:
    missing = [name for name in wanted if isinstance(value, Mapping) and name not in value]
    return f"lacks {', '.join(missing)}" if missing else None


def _properties(value: Any, wanted: Any, at: Mapping[str, Any]) -> str | None:
    if not isinstance(value, Mapping):
        return None
    return next(filter(None, (_within(value[name], one, at, f".{name}") for name, one in wanted.items() if name in value)), None)


def _more_properties(value: Any, wanted: Any, at: Mapping[str, Any]) -> str | None:
    if not isinstance(value, Mapping):
        return None
    known = at["schema"].get("properties", {})
    return next(filter(None, (_within(one, wanted, at, f".{name}") for name, one in value.items() if name not in known)), None)


def _items(value: Any, wanted: Any, at: Mapping[str, Any]) -> str | None:
    if not isinstance(value, list):
        return None
    return next(filter(None, (_within(one, wanted, at, f"[{index}]") for index, one in enumerate(value))), None)


def _size(kind: type | tuple[type, ...], what: str, *, least: bool) -> _Rule:
    def rule(value: Any, wanted: Any, at: Mapping[str, Any]) -> str | None:
        if not isinstance(value, kind) or isinstance(value, bool):
            return None
        size: Any = len(value) if isinstance(value, str | list) else value
        return None if (size >= wanted if least else size <= wanted) else f"{what} {size}, {'less' if least else 'more'} than {wanted}"

    return rule


def _pattern(value: Any, wanted: Any, at: Mapping[str, Any]) -> str | None:
    return f"does not match {wanted}" if isinstance(value, str) and re.search(wanted, value) is None else None


def _any_of(value: Any, wanted: Any, at: Mapping[str, Any]) -> str | None:
    return None if any(not _within(value, one, at) for one in wanted) else "fits none of anyOf"


def _all_of(value: Any, wanted: Any, at: Mapping[str, Any]) -> str | None:
    return next(filter(None, (_within(value, one, at) for one in wanted)), None)


def _one_of(value: Any, wanted: Any, at: Mapping[str, Any]) -> str | None:
    fits = sum(not _within(value, one, at) for one in wanted)
    return None if fits == 1 else f"fits {fits} of oneOf, not one"


def _not(value: Any, wanted: Any, at: Mapping[str, Any]) -> str | None:
    return "is what it must not be" if not _within(value, wanted, at) else None


def _ref(value: Any, wanted: Any, at: Mapping[str, Any]) -> str | None:
    there: Any = at["root"]
    for part in str(wanted).removeprefix("#").strip("/").split("/"):
        there = there.get(part) if isinstance(there, Mapping) else None
    return f"refers to {wanted}, which is not there" if there is None else _within(value, there, at) or None


_RULES: Mapping[str, _Rule] = {
    "type": _type,
    "enum": _enum,
    "const": lambda value, wanted, at: _enum(value, [wanted], at),
    "required": _required,
    "properties": _properties,
    "additionalProperties": _more_properties,
    "items": _items,
    "minItems": _size(list, "has a length of", least=True),
    "maxItems": _size(list, "has a length of", least=False),
    "minLength": _size(str, "has a length of", least=True),
    "maxLength": _size(str, "has a length of", least=False),
    "minimum": _size((int, float), "is", least=True),
    "maximum": _size((int, float), "is", least=False),
    "pattern": _pattern,
    "anyOf": _any_of,
    "allOf": _all_of,
    "oneOf": _one_of,
    "not": _not,
    "$ref": _ref,
}
