"""From whatever a person calls a prompt to the requests of a run: one function from a sample's variables to a request."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from aiplat_lab import prompts
from aiplat_lab.client import Client
from aiplat_lab.core.errors import AiplatError, PromptError, UsageError
from aiplat_lab.core.types import Json, Message, Request, content_hash
from aiplat_lab.prompts import Prompt

PromptLike: TypeAlias = Any
"""A name of the registry (`name`, `name@label`, `name@1.2.0`), a path of a `.prompt.md`, a prompt, a template text, messages with
templates in them, or a function from the variables to a text, messages or a request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """How a run asks."""

    request: Callable[[Mapping[str, Json]], Request]
    """The request for one sample's variables; its attribution names the prompt and its version."""
    name: str = ""
    """The prompt's name; empty for one that is not in the registry."""
    version: str = ""
    hash: str = ""
    """SHA-256 of what is asked; empty for a function."""
    model: str = ""
    """The model that the prompt names."""
    text: str = ""
    """What to find the prompt by when the run is taken up again: a name with its version, a path, or the template itself."""
    scorers: tuple[str, ...] = ()


def asking(prompt: PromptLike, *, client: Client | None = None) -> Asking:
    """How to ask with this prompt.

    Raises:
        UsageError, PromptError: there is no such prompt, or it cannot be read.
    """
    if prompt is None:
        return Asking(request=_only_input, hash=content_hash("input"))
    if isinstance(prompt, Path):
        return _of_prompt(prompts.load(prompt), text=str(prompt.absolute()))
    if isinstance(prompt, str):
        return _of_text(prompt, client)
    if isinstance(prompt, Prompt):
        return _of_prompt(prompt, text=f"{prompt.name}@{prompt.version}" if prompt.version else prompt.text)
    if callable(prompt):
        return Asking(request=_of_function(prompt), text="")
    if isinstance(prompt, Sequence):
        return _of_messages(prompt)
    raise UsageError(f"{str(prompt)[:40]!r} is no prompt: give a name, a path of a .prompt.md, a template text, messages or a function")


def _of_text(prompt: str, client: Client | None) -> Asking:
    if prompt.lstrip().startswith("---\n"):
        return _of_prompt(prompts.parse(prompt), text=prompt)
    if "\n" not in prompt and prompt.endswith(".md"):
        path = Path(prompt).expanduser()
        if not path.is_file():
            raise UsageError(f"there is no prompt file {prompt}")
        return _of_prompt(prompts.load(path), text=str(path.absolute()))
    if "{{" in prompt or "{%" in prompt or any(sign.isspace() for sign in prompt):
        return _of_template(prompt)
    found = prompts.get(prompt, client=client)
    by_name = found.source if found.source.startswith(prompts.LIBRARY) else f"{found.name}@{found.version}" if found.version else prompt
    return _of_prompt(found, text=by_name)


def _of_template(text: str) -> Asking:
    """A template without a name: its variables are those that it uses."""
    prompt = prompts.parse(text, source="template")

    def request(values: Mapping[str, Json]) -> Request:
        return Request(model="", messages=prompt.render({name: _text(values[name]) for name in prompt.variables if name in values}))

    return Asking(request=request, hash=prompt.content_hash, text=text)


def _text(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _of_prompt(prompt: Prompt, *, text: str) -> Asking:
    def request(values: Mapping[str, Json]) -> Request:
        return prompt.request({name: value for name, value in values.items() if name in prompt.variables})

    return Asking(
        request=request,
        name=prompt.name,
        version=prompt.recorded_version,
        hash=prompt.content_hash,
        model=prompt.model,
        text=text,
        scorers=tuple(_scorer(one) for one in prompt.scorers),
    )


def _scorer(named: Json) -> str:
    """A scorer as a prompt's file names it: `exact`, `{numeric: {tolerance: 1}}` or `{name: numeric, tolerance: 1}`."""
    if isinstance(named, str):
        return named
    options = dict(named)
    name = options.pop("name", None)
    if name is None:
        name, options = next(iter(named.items()))
    said = ",".join(f"{key}={str(value).lower() if isinstance(value, bool) else value}" for key, value in (options or {}).items())
    return f"{name}:{said}" if said else str(name)


def _of_messages(messages: Sequence[Mapping[str, Json]]) -> Asking:
    try:
        parsed = tuple(Message.from_json(one) for one in messages)
    except (KeyError, TypeError, AttributeError):
        raise UsageError('messages are written as {"role": "user", "content": "…"}') from None
    texts = [_of_template(one.content).request if isinstance(one.content, str) and one.content.strip() else None for one in parsed]

    def request(values: Mapping[str, Json]) -> Request:
        filled = (
            one if fill is None else replace(one, content=fill(values).messages[0].content) for one, fill in zip(parsed, texts, strict=True)
        )
        return Request(model="", messages=tuple(filled))

    return Asking(request=request, hash=content_hash([one.to_json() for one in parsed]))


def _of_function(function: Callable[..., Any]) -> Callable[[Mapping[str, Json]], Request]:
    name = getattr(function, "__name__", "the prompt")

    def request(values: Mapping[str, Json]) -> Request:
        try:
            made = function(dict(values))
        except AiplatError:
            raise
        except Exception as error:  # foreign code: whatever it raises, the person who wrote it reads it
            raise PromptError(f"the function {name} raised {type(error).__name__}: {error}") from None
        if isinstance(made, Request):
            return made
        if isinstance(made, str):
            return Request(model="", messages=(Message("user", made),))
        try:
            return Request(model="", messages=tuple(one if isinstance(one, Message) else Message.from_json(one) for one in made))
        except (KeyError, TypeError, AttributeError):
            raise PromptError(f"the function {name} must give a text, messages or a Request, not {str(made)[:40]!r}") from None

    return request


def _only_input(values: Mapping[str, Json]) -> Request:
    if len(values) != 1:
        raise UsageError(f"the samples have {len(values)} variables ({', '.join(values)}), so a prompt must say what to do with them")
    return Request(model="", messages=(Message("user", str(next(iter(values.values())))),))
