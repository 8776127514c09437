"""The sides of a comparison: a prompt, a model and settings under a name, checked before anything is spent."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from typing import Any

from aiplat_lab import prompts
from aiplat_lab.client import Client
from aiplat_lab.core.errors import PromptError, UnknownModel, UsageError, did_you_mean
from aiplat_lab.core.types import Attribution, Json, Message, Request, content_hash
from aiplat_lab.prompts import LIBRARY, Prompt
from aiplat_lab.widgets._inputs import Input

FEWEST, MOST = 2, 4
RESERVED = ("tie", "none")
_REFERENCE = re.compile(r"[A-Za-z0-9][\w.-]*@[\w.-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One side of a comparison."""

    prompt: str | Prompt = ""
    """A text with `{{ variables }}`, a `Prompt`, `name@label`, or `library:name`. A text input fills the only variable, whatever its
    name, else `{{ input }}`; a text without variables is followed by it, and an empty one sends the input alone."""
    model: str = ""
    """Empty takes the prompt's own model, else the default model."""
    settings: Mapping[str, Json] = field(default_factory=dict)
    """Under OpenAI's names: `temperature`, `max_tokens`, …"""
    name: str = ""
    """What results call it; made of what tells the variants apart where it is empty."""
    system: str = ""
    """A system message; a saved prompt has its own."""

    def with_system(self, text: str) -> Variant:
        """The same with a system message, where it names neither one nor a saved prompt."""
        return self if self.system or not isinstance(self.prompt, str) else replace(self, system=text)

    def describe(self) -> dict[str, Json]:
        """The variant as its experiment's record keeps it."""
        about: dict[str, Json] = {"name": self.name, "model": self.model, "settings": dict(self.settings)}
        if self.system:
            about["system"] = self.system
        if isinstance(self.prompt, str):
            return {**about, "prompt_text": self.prompt, "prompt_hash": content_hash(self.prompt)}
        prompt = self.prompt
        named = {"prompt_name": prompt.name, "prompt_version": prompt.recorded_version, "prompt_hash": prompt.content_hash}
        return {**about, **named, **({} if prompt.version else {"prompt_text": prompt.text})}

    def asks(self) -> str:
        """The model that it names, itself or by its prompt; empty for the default."""
        return self.model or ("" if isinstance(self.prompt, str) else self.prompt.model)

    def template(self) -> Prompt | None:
        """The prompt, read; None where the input alone is sent.

        Raises:
            PromptError: the text is no template.
        """
        if not isinstance(self.prompt, str):
            return self.prompt
        try:
            return _parsed(self.prompt) if self.prompt.strip() else None
        except PromptError as error:
            raise PromptError(f"variant {self.name!r}: {error.message}") from None

    def said(self) -> str:
        """The prompt in a few words."""
        if not isinstance(self.prompt, str):
            return self.prompt.reference
        return " ".join(self.prompt.split())

    def request(self, one: Input, attribution: Attribution) -> Request:
        """What this variant is asked about one input.

        Raises:
            PromptError: a variable of the prompt has no value.
        """
        if not isinstance(self.prompt, str):
            values = _wanted(self.prompt, one.values) if one.values is not None else {_text_variable(self.prompt): one.text}
            return self.prompt.request(values, model=self.model or None, settings=dict(self.settings), attribution=attribution)
        template = self.template()
        try:
            messages = (Message("user", one.text),) if template is None else _messages(template, one)
        except PromptError as error:
            raise PromptError(f"variant {self.name!r}: {error.message}") from None
        if self.system:
            messages = (Message("system", self.system), *messages)
        return Request(model=self.model, messages=messages, settings=dict(self.settings), attribution=attribution)


def read_variants(given: Any, client: Client) -> tuple[Variant, ...]:  # Any: whatever a user hands over
    """The variants, named and with their prompts found.

    Raises:
        UsageError: there are not two to four, two have one name, or one is written wrongly.
        PromptError: there is no such prompt or version.
        UnknownModel: there is no such model; the nearest is named.
    """
    if isinstance(given, str | Mapping) or not isinstance(given, Iterable):
        raise UsageError("the variants must be a list of two to four, each a Variant or a dict such as {'model': 'fast', 'prompt': '…'}")
    listed = list(given)
    if not FEWEST <= len(listed) <= MOST:
        one = "one variant has" if len(listed) == 1 else f"{len(listed)} variants have"
        raise UsageError(f"a comparison takes two to four variants; {one} been given")
    found = [_with_prompt(_one(each, number), client) for number, each in enumerate(listed, 1)]
    _check_models(found, client)
    return _named(found)


def _one(given: Any, number: int) -> Variant:  # Any: as in `read_variants`
    if isinstance(given, Variant):
        return given
    if isinstance(given, str):
        is_prompt = bool(re.search(r"\s|\{\{", given)) or _is_reference(given)
        return Variant(prompt=given) if is_prompt else Variant(model=given)
    if isinstance(given, Prompt):
        return Variant(prompt=given)
    if not isinstance(given, Mapping):
        raise UsageError(f"variant {number} must be a Variant or a dict such as {{'model': 'fast'}}, not {type(given).__name__}")
    known = [f.name for f in fields(Variant)]
    for name in given:
        if name not in known:
            hint = did_you_mean(str(name), known) or f" A setting of the model goes into 'settings': {{'settings': {{'{name}': …}}}}."
            raise UsageError(f"variant {number} has no {name!r}.{hint} A variant holds {', '.join(known)}.")
    made = Variant(**given)
    if not isinstance(made.settings, Mapping):
        raise UsageError(f"settings of variant {number} must be a dict such as {{'temperature': 0}}")
    if not (isinstance(made.prompt, str | Prompt) and all(isinstance(text, str) for text in (made.model, made.name, made.system))):
        raise UsageError(f"prompt, model, name and system of variant {number} must be texts (a prompt may be a Prompt)")
    if made.system and (isinstance(made.prompt, Prompt) or _is_reference(made.prompt)):
        raise UsageError(f"variant {number} has a saved prompt, which has messages of its own: leave its system message out")
    return made


def _with_prompt(variant: Variant, client: Client) -> Variant:
    if isinstance(variant.prompt, str) and _is_reference(variant.prompt):
        return replace(variant, prompt=prompts.get(variant.prompt, client=client))
    return variant


def _check_models(variants: Sequence[Variant], client: Client) -> None:
    """Refuses a model that is not there before any other is asked."""
    status = client.status()
    names = {str(model["name"]) for model in client.models()}
    providers = {str(one["name"]) for one in status.get("providers") or ()}
    for variant in variants:
        model = variant.asks() or str(status.get("default_model") or "")
        if not model:
            raise UsageError("a variant names no model, and aiplat.toml has no default_model; nothing was asked")
        provider, slash, rest = model.partition("/")
        if model not in names and not (slash and rest and (provider in providers or not providers)):
            raise UnknownModel(
                f"there is no model {model[:80]!r}.{did_you_mean(model, names)} Nothing was asked. `aiplat model list` lists them."
            )


def _named(variants: Sequence[Variant]) -> tuple[Variant, ...]:
    given = [variant.name for variant in variants]
    for name in given:
        if name and given.count(name) > 1:
            raise UsageError(f"two variants are called {name!r}; give each a name of its own")
        if name.lower() in RESERVED:
            raise UsageError(f"a variant cannot be called {name!r}: that word is a vote of its own")
    models = [variant.model for variant in variants]
    texts = ["" if isinstance(variant.prompt, str) else variant.said() for variant in variants]
    letters = [chr(ord("A") + place) for place in range(len(variants))]
    made = next(kind for kind in (models, texts, letters) if all(kind) and len(set(kind)) == len(kind))
    names = [own or made[place] for place, own in enumerate(given)]
    if len(set(names)) < len(names):
        names = [own or letters[place] for place, own in enumerate(given)]
    if len(set(names)) < len(names):
        raise UsageError(f"the variants need names that differ: {', '.join(names)}")
    return tuple(replace(variant, name=name) for variant, name in zip(variants, names, strict=True))


def check_values(variants: Sequence[Variant], inputs: Sequence[Input]) -> None:
    """Refuses a value that no variant asks for: its name is a mistake.

    Raises:
        PromptError: there is one; the nearest name is told.
    """
    known: set[str] = set()
    for variant in variants:
        prompt = variant.template()
        if prompt is None or not prompt.variables:
            return  # the whole input is sent
        known |= set(prompt.variables)
    for number, one in enumerate(inputs, 1):
        for name in one.values or ():
            if name not in known:
                raise PromptError(
                    f"input {number} gives {name[:60]!r}, which no variant asks for.{did_you_mean(name, known)} Nothing was asked."
                )


def _is_reference(text: str) -> bool:
    return text.startswith(LIBRARY) or _REFERENCE.fullmatch(text) is not None


def _text_variable(prompt: Prompt) -> str:
    """The variable that a text input fills: the only one that must be given, or `input`."""
    needed = [name for name, variable in prompt.variables.items() if variable.required]
    return needed[0] if len(needed) == 1 else "input"


@lru_cache(maxsize=64)
def _parsed(text: str) -> Prompt:
    return prompts.parse(text)


def _messages(prompt: Prompt, one: Input) -> tuple[Message, ...]:
    """The messages of a prompt that was written on the spot. A value is written once and never read again."""
    if not prompt.variables:
        *before, last = prompt.render()
        return (
            (*before, Message(last.role, f"{last.text()}\n\n{one.text}"))
            if last.role == "user"
            else (*before, last, Message("user", one.text))
        )
    values: Mapping[str, Json] = one.values if one.values is not None else {_text_variable(prompt): one.text}
    return prompt.render({name: _as_text(value) for name, value in _wanted(prompt, values).items()})


def _wanted(prompt: Prompt, values: Mapping[str, Json]) -> dict[str, Json]:
    """The values that a prompt asks for: an input may hold more, for the sake of another variant."""
    return {name: value for name, value in values.items() if name in prompt.variables}


def _as_text(value: Json) -> str:
    return value if isinstance(value, str) else str(value)
