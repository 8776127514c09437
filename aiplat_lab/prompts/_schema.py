"""Output schemas: whether one is well formed, and whether another one is narrower or wider.

Wider means that more answers fit; narrower that fewer do, or that a field is no longer named, on which whoever reads the answers
may rely. What this cannot compare counts as narrower, so that a change is never understated.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from aiplat_lab.core.errors import shorten
from aiplat_lab.core.types import Json

_TYPES = ("string", "integer", "number", "boolean", "array", "object", "null")
_LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_NOTES = frozenset(
    {"title", "description", "examples", "example", "default", "$comment", "$schema", "$id", "$defs", "definitions", "deprecated"}
)
_COMPARED = frozenset(
    {"type", "enum", "const", "properties", "required", "additionalProperties", "items", "anyOf", "oneOf", *_LOWER, *_UPPER}
)
_MOST_DEEP = 24


class Problem(NamedTuple):
    """What is wrong with a schema, and the way to it."""

    text: str
    way: tuple[str, ...]


@dataclass(slots=True)
class Difference:
    """How a schema differs from an earlier one, in sentences."""

    narrower: list[str] = field(default_factory=list)
    wider: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Changes of texts that fit the same answers."""


def problem(schema: Json, way: tuple[str, ...] = ()) -> Problem | None:
    """What is wrong with a schema, or None."""
    if isinstance(schema, bool):
        return None
    if not isinstance(schema, dict):
        return Problem(f"a schema is a mapping, not {shorten(repr(schema), 40)}", way)
    if len(way) > _MOST_DEEP:
        return Problem("it is nested too deep", way)
    kinds = schema.get("type", [])
    for kind in kinds if isinstance(kinds, list) else [kinds]:
        if kind not in _TYPES:
            return Problem(f"there is no type {shorten(str(kind), 40)!r}; there are {', '.join(_TYPES)}", (*way, "type"))
    for key, kind_of, said in (
        ("properties", dict, "a mapping"), ("required", list, "a list of names"), ("enum", list, "a list"),
        ("anyOf", list, "a list of schemas"),
        ("oneOf", list, "a list of schemas"), ("allOf", list, "a list of schemas"), ("$defs", dict, "a mapping"),
    ):  # fmt: skip
        if key in schema and not isinstance(schema[key], kind_of):
            return Problem(f"{key} must be {said}", (*way, key))
    if not all(isinstance(name, str) for name in schema.get("required", [])):
        return Problem("required must be a list of names", (*way, "required"))
    return next((found for deeper, one in _inner(schema, way) if (found := problem(one, deeper)) is not None), None)


def _inner(schema: Mapping[str, Json], way: tuple[str, ...]) -> list[tuple[tuple[str, ...], Json]]:
    found: list[tuple[tuple[str, ...], Json]] = []
    for key in ("properties", "$defs"):
        found.extend(((*way, key, name), one) for name, one in schema.get(key, {}).items())
    for key in ("anyOf", "oneOf", "allOf"):
        found.extend(((*way, key, str(index)), one) for index, one in enumerate(schema.get(key, [])))
    found.extend(((*way, key), schema[key]) for key in ("items", "additionalProperties") if key in schema)
    return found


def compare(before: Json, after: Json) -> Difference:
    """How `after` differs from `before`."""
    difference = Difference()
    _Comparison(before, after, difference).run(before, after, "", 0)
    return difference


@dataclass(slots=True)
class _Comparison:
    """One comparison of two schemas."""

    before: Json
    after: Json
    found: Difference

    def run(self, before: Json, after: Json, where: str, depth: int) -> None:
        """Compares two schemas that stand in the same place."""
        if depth > _MOST_DEEP:
            self.found.narrower.append(f"{_at(where)} is nested too deep to be compared")
            return
        before, after = self._whole(self.before, before, depth), self._whole(self.after, after, depth)
        if canonical(before) == canonical(after):
            return
        if before is True or before == {}:
            self.found.narrower.append(f"{_at(where)} took anything and now takes less")
        elif after is True or after == {}:
            self.found.wider.append(f"{_at(where)} takes anything now")
        elif isinstance(before, bool) or isinstance(after, bool):
            (self.found.wider if after else self.found.narrower).append(f"{_at(where)} is {'allowed' if after else 'no longer allowed'}")
        else:
            self._mappings(before, after, where, depth)

    def _mappings(self, before: Mapping[str, Json], after: Mapping[str, Json], where: str, depth: int) -> None:
        self._types(before, after, where)
        self._values(before, after, where)
        for keys, tighter in ((_LOWER, lambda old, new: new > old), (_UPPER, lambda old, new: new < old)):
            self._bounds(keys, tighter, before, after, where)
        self._properties(before, after, where, depth)
        if "items" in before or "items" in after:
            self.run(before.get("items", True), after.get("items", True), f"{where}[]", depth + 1)
        for key in ("anyOf", "oneOf"):
            self._ways(key, before, after, where)
        for key in sorted({*before, *after} - _COMPARED):
            if canonical(before.get(key)) != canonical(after.get(key)):
                if key in _NOTES:
                    self.found.notes.append(f"{key} of {_at(where)} changed")
                else:
                    self.found.narrower.append(f"{key} of {_at(where)} changed, which cannot be compared")

    def _types(self, before: Mapping[str, Json], after: Mapping[str, Json], where: str) -> None:
        old, new = _types(before), _types(after)
        gone, come = _beyond(old, new), _beyond(new, old)
        if gone:
            self.found.narrower.append(f"{_at(where)} can no longer be {' or '.join(gone)}")
        if come:
            self.found.wider.append(f"{_at(where)} can be {' or '.join(come)} now")

    def _values(self, before: Mapping[str, Json], after: Mapping[str, Json], where: str) -> None:
        old, new = _enum(before), _enum(after)
        if old is None and new is None:
            return
        if old is None:
            self.found.narrower.append(f"{_at(where)} takes only listed values now")
        elif new is None:
            self.found.wider.append(f"{_at(where)} takes more than the listed values now")
        else:
            gone, come = [one for one in old if one not in new], [one for one in new if one not in old]
            if gone:
                self.found.narrower.append(f"{_at(where)} can no longer be {shorten(', '.join(gone), 120)}")
            if come:
                self.found.wider.append(f"{_at(where)} can be {shorten(', '.join(come), 120)} now")

    def _bounds(
        self, keys: Sequence[str], tighter: Callable[[Json, Json], bool], before: Mapping[str, Json], after: Mapping[str, Json], where: str
    ) -> None:
        for key in keys:
            old, new = before.get(key), after.get(key)
            if old == new:
                continue
            if old is None or (new is not None and not _numeric(old, new)) or (new is not None and tighter(old, new)):
                self.found.narrower.append(f"{key} of {_at(where)} is {new} now{'' if old is None else f', not {old}'}")
            else:
                self.found.wider.append(f"{key} of {_at(where)} is {'gone' if new is None else f'{new} now, not {old}'}")

    def _properties(self, before: Mapping[str, Json], after: Mapping[str, Json], where: str, depth: int) -> None:
        old, new = before.get("properties", {}), after.get("properties", {})
        must_old, must_new = set(before.get("required", ())), set(after.get("required", ()))
        for name in sorted({*old, *new, *must_old, *must_new}):
            field_name = f"{where}.{name}" if where else name
            if name in old and name not in new:
                self.found.narrower.append(f"the field {field_name} was removed")
            elif name in new and name not in old:
                added = self.found.narrower if name in must_new else self.found.wider
                added.append(f"the {'required' if name in must_new else 'optional'} field {field_name} was added")
            else:
                if name in must_new and name not in must_old:
                    self.found.narrower.append(f"the field {field_name} is required now")
                if name in must_old and name not in must_new:
                    self.found.wider.append(f"the field {field_name} is no longer required")
                if name in old:
                    self.run(old[name], new[name], field_name, depth + 1)
        self._others(before.get("additionalProperties", True), after.get("additionalProperties", True), where, depth)

    def _others(self, old: Json, new: Json, where: str, depth: int) -> None:
        if canonical(old) == canonical(new):
            return
        if new is False:
            self.found.narrower.append(f"{_at(where)} takes no further fields now")
        elif old is False:
            self.found.wider.append(f"{_at(where)} takes further fields now")
        else:
            self.run(old, new, f"{where}.*" if where else "*", depth + 1)

    def _ways(self, key: str, before: Mapping[str, Json], after: Mapping[str, Json], where: str) -> None:
        if canonical(before.get(key)) == canonical(after.get(key)):
            return
        if key not in before or key not in after:
            (self.found.wider if key not in after else self.found.narrower).append(
                f"{key} of {_at(where)} {'is gone' if key in before else 'is new'}"
            )
            return
        old, new = [{canonical(one) for one in side[key]} for side in (before, after)]
        if old - new or key == "oneOf":
            self.found.narrower.append(f"{_at(where)} lost or changed one of its forms ({key})")
        if new - old and key == "anyOf":
            self.found.wider.append(f"{_at(where)} has another form ({key})")

    def _whole(self, root: Json, schema: Json, depth: int) -> Json:
        """The schema, with a reference to `$defs` followed."""
        for _ in range(_MOST_DEEP):
            reference = schema.get("$ref") if isinstance(schema, dict) else None
            if not isinstance(reference, str) or not reference.startswith("#/$defs/") or not isinstance(root, dict):
                break
            target = root.get("$defs", {}).get(reference.removeprefix("#/$defs/"))
            if target is None:
                break
            schema = target
        return schema


def canonical(value: Json) -> str:
    """A value as text that is the same for the same value."""
    return json.dumps(value, sort_keys=True, default=str)


def _at(where: str) -> str:
    return where or "the answer"


def _types(schema: Mapping[str, Json]) -> set[str]:
    kinds = schema.get("type")
    if kinds is None:
        return set(_TYPES)
    return set(kinds) if isinstance(kinds, list) else {str(kinds)}


def _beyond(one: set[str], other: set[str]) -> list[str]:
    """The types of one that the other does not hold; a number holds integers."""
    held = other | ({"integer"} if "number" in other else set())
    return sorted(one - held)


def _enum(schema: Mapping[str, Json]) -> list[str] | None:
    if "const" in schema:
        return [canonical(schema["const"])]
    return [canonical(one) for one in schema["enum"]] if "enum" in schema else None


def _numeric(*values: Json) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
