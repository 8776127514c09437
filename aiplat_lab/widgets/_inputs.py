"""What the variants are asked about: one text or many, or values for a prompt's variables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from aiplat_lab.core.errors import UsageError
from aiplat_lab.core.types import Json, content_hash

_ID_LENGTH = 12
_MOST = 2000


@dataclass(frozen=True, slots=True)
class Input:
    """One thing that every variant answers."""

    id: str
    """A hash of what it holds, so that the same input has the same id in every run; a repeated one gets a number."""
    text: str
    """As a rater reads it."""
    values: Mapping[str, Json] | None = None
    """Values of the prompt's variables; None for a plain text."""
    draw: int = 1
    """Which of its repetitions this is: each is answered anew."""


def read_inputs(given: Any) -> tuple[Input, ...]:  # Any: whatever a user hands over
    """The inputs.

    Args:
        given: a text, a dict of variables, a list of these, or a polars or pandas frame with a row for each.

    Raises:
        UsageError: there are none, or one is empty or of another type.
    """
    seen: dict[str, int] = {}
    found = []
    for number, one in enumerate(_listed(given), 1):
        if isinstance(one, Mapping):
            if not one:
                raise UsageError(f"input {number} is an empty dict; give a value for each variable of the prompts")
            values = {str(name): value for name, value in one.items()}
            made = _made(seen, "\n".join(f"{name}: {value}" for name, value in values.items()), values)
        elif isinstance(one, str):
            if not one.strip():
                raise UsageError(f"input {number} is an empty text, so there is nothing to ask")
            made = _made(seen, one, None)
        else:
            raise UsageError(f"input {number} must be a text or a dict of variables, not {type(one).__name__}")
        found.append(made)
    if not found:
        raise UsageError("there are no inputs, so there is nothing to compare; give a text, a dict of variables, or a list of these")
    if len(found) > _MOST:
        raise UsageError(f"{len(found):,} inputs are more than a person can judge; give at most {_MOST:,}, or use aiplat_lab.evaluate()")
    return tuple(found)


def repeated(inputs: tuple[Input, ...], times: int) -> tuple[Input, ...]:
    """Each input so many times: all once, then all again, so that whatever drifts meanwhile meets every variant and input alike.

    Raises:
        UsageError: they become more than a person can judge.
    """
    if len(inputs) * times > _MOST:
        raise UsageError(f"{len(inputs):,} inputs, {times} times each, are more than {_MOST:,}; repeat fewer times")
    return tuple(one if draw == 1 else replace(one, id=f"{one.id}~{draw}", draw=draw) for draw in range(1, times + 1) for one in inputs)


def _listed(given: Any) -> Iterable[Any]:  # Any: as in `read_inputs`
    if isinstance(given, str | Mapping):
        return (given,)
    if hasattr(given, "to_dicts"):
        return list(given.to_dicts())
    if hasattr(given, "to_dict") and hasattr(given, "columns"):
        return list(given.to_dict("records"))
    if isinstance(given, Iterable):
        return given
    raise UsageError(f"the inputs must be a text, a dict of variables, or a list of these, not {type(given).__name__}")


def _made(seen: dict[str, int], text: str, values: Mapping[str, Json] | None) -> Input:
    short = content_hash(values if values is not None else text)[:_ID_LENGTH]
    seen[short] = seen.get(short, 0) + 1
    return Input(short if seen[short] == 1 else f"{short}-{seen[short]}", text, values)
