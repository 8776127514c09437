"""What changed from one version of a prompt to the next, and which version that makes.

| change | version |
| --- | --- |
| a variable removed, retyped, made required, new and required, or taking fewer values; the output schema new, gone or narrower | major |
| a variable new and optional, no longer required, taking more values, with another default; model; settings; output schema wider | minor |
| texts of messages; descriptions and examples; evalset and scorers | patch |
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from aiplat_lab.core.errors import shorten
from aiplat_lab.core.prompts import version_key
from aiplat_lab.core.types import Json
from aiplat_lab.prompts import _schema
from aiplat_lab.prompts._prompt import Prompt
from aiplat_lab.prompts._variables import Variable, same

Level: TypeAlias = Literal["first", "major", "minor", "patch", "none"]
_LEVELS: tuple[Level, ...] = ("major", "minor", "patch")
_FIRST = "1.0.0"


class Reason(NamedTuple):
    """One thing that changed."""

    level: Level
    text: str


@dataclass(frozen=True, slots=True)
class Change:
    """All that changed."""

    reasons: tuple[Reason, ...]

    @property
    def level(self) -> Level:
        """The weightiest of them."""
        return next((level for level in _LEVELS if any(reason.level == level for reason in self.reasons)), "none")

    @property
    def sentence(self) -> str:
        """What changed, in words, the weightiest first."""
        ordered = [reason.text for level in _LEVELS for reason in self.reasons if reason.level == level]
        return "; ".join(ordered) or "nothing changed"

    def after(self, version: str) -> str:
        """The version that follows `version`."""
        major, minor, patch = version_key(version)
        if self.level == "major":
            return f"{major + 1}.0.0"
        return f"{major}.{minor + 1}.0" if self.level == "minor" else f"{major}.{minor}.{patch + 1}"


def first_version() -> str:
    """The version of a prompt that is saved for the first time."""
    return _FIRST


def compare(before: Prompt, after: Prompt) -> Change:
    """What changed from one prompt to another."""
    reasons: list[Reason] = []
    _variables(before.variables, after.variables, reasons)
    _schemas(before.output_schema, after.output_schema, reasons)
    if before.model != after.model:
        reasons.append(Reason("minor", f"the model is {after.model or 'the default'}, not {before.model or 'the default'}"))
    _settings(before.settings, after.settings, reasons)
    _messages(before, after, reasons)
    for name in ("description", "evalset", "scorers"):
        if getattr(before, name) != getattr(after, name):
            reasons.append(Reason("patch", f"{name} changed; calls are the same"))
    return Change(tuple(reasons))


def _variables(before: Mapping[str, Variable], after: Mapping[str, Variable], reasons: list[Reason]) -> None:
    for name in [*before, *(name for name in after if name not in before)]:
        old, new = before.get(name), after.get(name)
        if new is None:
            reasons.append(Reason("major", f"the variable {name} was removed"))
        elif old is None:
            kind = "required" if new.required else "optional"
            reasons.append(Reason("major" if new.required else "minor", f"the {kind} variable {name} was added"))
        else:
            _variable(old, new, reasons)


def _variable(old: Variable, new: Variable, reasons: list[Reason]) -> None:
    name = new.name
    if old.type != new.type:
        reasons.append(Reason("major", f"the variable {name} is of type {new.type}, not {old.type}"))
    if old.required != new.required:
        reasons.append(
            Reason("major" if new.required else "minor", f"the variable {name} is {'required now' if new.required else 'optional now'}")
        )
    elif not _equal(old.default, new.default):
        reasons.append(Reason("minor", f"the default of {name} is {_shown(new.default)}, not {_shown(old.default)}"))
    if old.enum != new.enum and old.type == new.type:
        _enum(old, new, reasons)
    for about in ("description", "example"):
        if not _equal(getattr(old, about), getattr(new, about)):
            reasons.append(Reason("patch", f"the {about} of {name} changed; calls are the same"))


def _enum(old: Variable, new: Variable, reasons: list[Reason]) -> None:
    name = new.name
    if not old.enum:
        reasons.append(Reason("major", f"the variable {name} takes only listed values now"))
    elif not new.enum:
        reasons.append(Reason("minor", f"the variable {name} takes every {new.type} now"))
    else:
        gone = [one for one in old.enum if not any(same(one, other) for other in new.enum)]
        come = [one for one in new.enum if not any(same(one, other) for other in old.enum)]
        if gone:
            reasons.append(Reason("major", f"the variable {name} no longer takes {', '.join(map(_shown, gone))}"))
        if come:
            reasons.append(Reason("minor", f"the variable {name} takes {', '.join(map(_shown, come))} too"))
        if not gone and not come:
            reasons.append(Reason("patch", f"the values of {name} stand in another order; calls are the same"))


def _schemas(before: Mapping[str, Json] | None, after: Mapping[str, Json] | None, reasons: list[Reason]) -> None:
    if before is None or after is None:
        if before is not None:
            reasons.append(Reason("major", "the output schema was removed"))
        if after is not None:
            reasons.append(Reason("major", "an output schema was added"))
        return
    found = _schema.compare(before, after)
    reasons.extend(Reason("major", f"output schema narrower: {text}") for text in found.narrower)
    reasons.extend(Reason("minor", f"output schema wider: {text}") for text in found.wider)
    reasons.extend(Reason("patch", f"output schema: {text}") for text in found.notes)
    if _schema.canonical(before) != _schema.canonical(after) and not (found.narrower or found.wider or found.notes):
        reasons.append(Reason("patch", "the output schema is written another way and takes the same answers"))


def _settings(before: Mapping[str, Json], after: Mapping[str, Json], reasons: list[Reason]) -> None:
    for name in sorted({*before, *after}):
        if name not in after:
            reasons.append(Reason("minor", f"the setting {name} was removed (it was {_shown(before[name])})"))
        elif name not in before:
            reasons.append(Reason("minor", f"the setting {name} is {_shown(after[name])}"))
        elif not _equal(before[name], after[name]):
            reasons.append(Reason("minor", f"the setting {name} is {_shown(after[name])}, not {_shown(before[name])}"))


def _messages(before: Prompt, after: Prompt, reasons: list[Reason]) -> None:
    old, new = [block.role for block in before.messages], [block.role for block in after.messages]
    if old != new:
        reasons.append(Reason("patch", f"the messages are {', '.join(new)}, not {', '.join(old)}"))
        return
    changed = [block.role for one, block in zip(before.messages, after.messages, strict=True) if one.text != block.text]
    if changed:
        reasons.append(Reason("patch", f"the text of the {' and '.join(dict.fromkeys(changed))} message changed"))


def text_diff(before: Prompt, after: Prompt) -> list[str]:
    """The difference of two prompts' texts as lines of a unified diff; empty where there is none."""
    old, new = [prompt.text.replace("\r\n", "\n").rstrip("\n").split("\n") for prompt in (before, after)]
    return list(difflib.unified_diff(old, new, before.source or before.reference, after.source or after.reference, lineterm=""))


def _equal(one: Json, other: Json) -> bool:
    return _schema.canonical(one) == _schema.canonical(other) or (one == other and same(one, other))


def _shown(value: Json) -> str:
    return "nothing" if value is None else shorten(repr(value) if isinstance(value, str) else _schema.canonical(value), 60)
