"""`%%ai --prompt NAME`: a saved prompt, with the values that the cell and the notebook give its variables."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from aiplat_lab import prompts
from aiplat_lab.client import Client
from aiplat_lab.core.errors import PromptError
from aiplat_lab.core.types import Json
from aiplat_lab.magic._interpolate import Held, as_value, hold, is_value
from aiplat_lab.prompts import Prompt, Variable

_MAPPING = re.compile(r"""\s*(\{|["']?[A-Za-z_]\w*["']?\s*:)""")


class Prompted(NamedTuple):
    """A prompt and what its variables are in one cell."""

    prompt: Prompt
    values: Mapping[str, Any]  # Any: whatever the notebook holds; the prompt checks it
    warnings: tuple[str, ...]


def prompted(
    reference: str,
    body: str,
    names: Mapping[str, Any],  # Any: whatever the user's variables hold
    client: Client,
    *,
    strict: bool,
    lenient: bool,
) -> Prompted:
    """The prompt that a cell asks, with its values.

    The cell's text is names and values in YAML or JSON; or, where the prompt has exactly one required variable and the text names no
    variable, that one's value. References such as `{name}` are replaced after the text was read, so that a value never changes what
    it says. A variable that the cell does not name is taken from the notebook where that has one of its name.

    Args:
        reference: `name`, `name@label`, …
        body: the cell's text.
        names: the notebook's variables.
        client: whose registry.
        strict: as for `interpolate`.
        lenient: as for `interpolate`.

    Raises:
        PromptError: there is no such prompt, or the cell's text is not what it takes.
    """
    prompt = prompts.get(reference, client)
    held = hold(body.rstrip(), names, strict=strict, lenient=lenient)
    values = _given(prompt, held)
    for name, variable in prompt.variables.items():
        if name not in values and name in names and is_value(names[name]):
            values[name] = as_value(names[name], text=variable.type == "string")
    warnings = held.warnings
    if prompt.last_copy:
        warnings = (*warnings, f"the gateway does not answer; {prompt.reference} is the last copy that is known.")
    return Prompted(prompt, values, warnings)


def _given(prompt: Prompt, held: Held) -> dict[str, Any]:  # Any: as in `prompted`
    """The values that the cell's text gives."""
    if not held.text.strip():
        return {}
    required = [variable for variable in prompt.variables.values() if variable.required]
    sole = required[0] if len(required) == 1 else None
    data = _read(prompt, held, sole)
    if isinstance(data, dict) and (sole is None or any(name in prompt.variables for name in data)):
        return {name: held.fill(value) for name, value in data.items()}
    if sole is None:
        raise PromptError(_takes(prompt))
    if sole.type == "string":
        return {sole.name: as_value(held.fill(held.text.strip("\n").rstrip()), text=True)}
    return {sole.name: held.fill(prompts.read_values(held.text, source="the cell"))}


def _read(prompt: Prompt, held: Held, sole: Variable | None) -> Json:
    """What the cell's text says as YAML or JSON; None where it is a plain text."""
    if sole is not None and not _MAPPING.match(held.text):
        return None
    texts = frozenset(name for name, variable in prompt.variables.items() if variable.type == "string")
    try:
        return prompts.read_values(held.text, source="the cell", texts=texts)
    except PromptError:
        if sole is not None and sole.type == "string" and not _names_one(prompt, held.text):
            return None
        raise


def _names_one(prompt: Prompt, text: str) -> bool:
    """Whether a line of a text begins as a variable's value does."""
    return any(re.search(rf"""^\s*[{{,]?\s*["']?{re.escape(name)}["']?\s*:""", text, re.MULTILINE) for name in prompt.variables)


def _takes(prompt: Prompt) -> str:
    if not prompt.variables:
        return f"{prompt.reference} takes no variables, so there is nothing to write in the cell: %ai --prompt {prompt.name} asks it."
    lines = ", ".join(f"`{name}: …`" for name in prompt.variables)
    return f"{prompt.reference} takes more than one variable: write each on a line of the cell as {lines}. Nothing was sent."
