"""The prompt: messages with typed variables, a model and settings, as one frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

from aiplat_lab.core.prompts import CONTENT
from aiplat_lab.core.types import Attribution, Json, Message, Request, content_hash
from aiplat_lab.prompts import _template
from aiplat_lab.prompts._filters import Budget
from aiplat_lab.prompts._variables import Variable, check_all

Role: TypeAlias = Literal["system", "user", "assistant"]
ROLES: tuple[Role, ...] = ("system", "user", "assistant")
_SHORT_HASH = 12


@dataclass(frozen=True, slots=True)
class Block:
    """One message of a prompt, as a template."""

    role: Role
    text: str
    """Without blank lines at its ends and spaces at the ends of lines, so that it is the same on every platform."""
    line: int = 1
    """The file's line on which the text begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """One prompt, read from its text. `get` gives a saved one, `load` one from a file, `library` a shipped one."""

    name: str
    messages: tuple[Block, ...]
    variables: Mapping[str, Variable] = field(default_factory=dict)
    model: str = ""
    """The model it is meant for; empty takes the default model."""
    settings: Mapping[str, Json] = field(default_factory=dict)
    """Settings of the request under OpenAI's chat names."""
    output_schema: Mapping[str, Json] | None = None
    """JSON Schema of the answer, where it is to be JSON."""
    description: str = ""
    evalset: str = ""
    """The evalset it is judged by."""
    scorers: tuple[Json, ...] = ()
    text: str = ""
    """The whole file, as it was written."""
    source: str = ""
    """Where it came from, for messages."""
    content_hash: str = ""
    """SHA-256 of its canonical content: the same for the same content, whatever the line endings and the order of keys."""
    version: str = ""
    """Its semantic version; empty where it was not saved."""
    label: str = ""
    """The label by which it was asked for, if any."""
    last_copy: bool = False
    """Whether the gateway did not answer, and this is the last copy that is known."""

    @property
    def reference(self) -> str:
        """`name@version`; an unsaved one is named by its content."""
        return f"{self.name}@{self.recorded_version}"

    @property
    def recorded_version(self) -> str:
        """What stands as `prompt_version` in the ledger: the version, or `sha256:…` of what was not saved."""
        return self.version or f"{CONTENT}{self.content_hash[:_SHORT_HASH]}"

    def check(self, values: Mapping[str, Any]) -> dict[str, Json]:  # Any: whatever a caller has
        """The values of all variables as plain data, defaults filled in.

        Raises:
            PromptError: one is missing, unknown (the nearest is named), of another type, or not in its enum.
        """
        return check_all(self.name, self.variables, values)

    def render(self, values: Mapping[str, Any] | None = None) -> tuple[Message, ...]:  # Any: as in `check`
        """The messages with the values in them. A value is written once and never read again.

        Raises:
            PromptError: a value does not fit, or lacks what the template asks of it.
        """
        checked = self.check(values or {})
        budget = Budget()
        return tuple(
            Message(
                block.role,
                _template.render(block.text, checked, source=self.source or self.name, first_line=block.line, budget=budget),
            )
            for block in self.messages
        )

    def request(
        self,
        values: Mapping[str, Any] | None = None,  # Any: as in `check`
        *,
        model: str | None = None,
        settings: Mapping[str, Json] | None = None,
        attribution: Attribution | None = None,
    ) -> Request:
        """The request that asks it: `aiplat_lab.chat(prompt.request({"text": …}))`. The call's row names prompt and version.

        The output schema goes with it as `response_format`, unless its settings or the given ones say otherwise (`null`: nothing).

        Args:
            values: of its variables.
            model: another model than its own.
            settings: settings that win over its own.
            attribution: who asks and where.

        Raises:
            PromptError: as `render`.
        """
        return Request(
            model=model or self.model,
            messages=self.render(values),
            settings={**self._shape(), **self.settings, **(settings or {})},
            attribution=self.attribute(attribution or Attribution()),
        )

    def _shape(self) -> dict[str, Json]:
        """The setting that holds an answer to the output schema, where there is one."""
        if self.output_schema is None:
            return {}
        return {"response_format": {"type": "json_schema", "json_schema": {"name": self.name[:64], "schema": dict(self.output_schema)}}}

    def attribute(self, who: Attribution) -> Attribution:
        """The attribution of a call that uses it."""
        return replace(who, prompt_name=self.name, prompt_version=self.recorded_version)

    def canonical(self) -> dict[str, Json]:
        """All that makes its content: everything in the file but the name."""
        return {
            "format": 1,
            "messages": [[block.role, block.text] for block in self.messages],
            "variables": {name: variable.to_json() for name, variable in self.variables.items()},
            "model": self.model,
            "settings": dict(self.settings),
            "output_schema": self.output_schema,
            "description": self.description,
            "evalset": self.evalset,
            "scorers": list(self.scorers),
        }


def hashed(prompt: Prompt) -> str:
    """The content hash of a prompt."""
    return content_hash(_numbers(prompt.canonical()))


def _numbers(value: Json) -> Json:
    """The value with 1.0 as 1, so that a hash does not hang on how a number was written."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return int(value)
    if isinstance(value, dict):
        return {key: _numbers(one) for key, one in value.items()}
    return [_numbers(one) for one in value] if isinstance(value, list | tuple) else value
