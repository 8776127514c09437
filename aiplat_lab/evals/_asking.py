"""From whatever a person calls a prompt to the requests of a run: one function from a sample's variables to a request."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from aiplat_lab.client import Client
from aiplat_lab.core.errors import AiplatError, PromptError, UsageError
from aiplat_lab.core.types import Json, Message, Request, content_hash

PromptLike: TypeAlias = Any
"""A name of the registry (`name`, `name@label`, `name@1.2.0`), a path of a `.prompt.md`, a prompt, a template text, messages with
templates in them, or a function from the variables to a text, messages or a request."""
_HOLE = re.compile(r"\{\{\s*([A-Za-z_]\w*)\s*\}\}")


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
    settings: Mapping[str, Json] | None = None
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
        return _of_prompt(_prompts().load(prompt), text=str(Path(prompt).absolute()))
    if isinstance(prompt, str):
        return _of_text(prompt, client)
    if hasattr(prompt, "request") and hasattr(prompt, "content_hash"):
        return _of_prompt(prompt, text=getattr(prompt, "text", ""))
    if callable(prompt):
        return Asking(request=_of_function(prompt), text="")
    if isinstance(prompt, Sequence):
        return _of_messages(prompt)
    raise UsageError(f"{str(prompt)[:40]!r} is no prompt: give a name, a path of a .prompt.md, a template text, messages or a function")


def _prompts() -> Any:  # Any: the registry's module
    from importlib import import_module

    return import_module("aiplat_lab.prompts")


def _of_text(prompt: str, client: Client | None) -> Asking:
    if prompt.lstrip().startswith("---\n"):
        return _of_prompt(_prompts().parse(prompt), text=prompt)
    if "\n" not in prompt and prompt.endswith(".md"):
        path = Path(prompt).expanduser()
        if not path.is_file():
            raise UsageError(f"there is no prompt file {prompt}")
        return _of_prompt(_prompts().load(path), text=str(path.absolute()))
    if "{{" in prompt or any(sign.isspace() for sign in prompt):
        return _of_messages([{"role": "user", "content": prompt}], text=prompt)
    found = _prompts().get(prompt, client=client)
    version = getattr(found, "version", "")
    return _of_prompt(found, text=f"{found.name}@{version}" if version else prompt)


def _of_prompt(prompt: Any, *, text: str) -> Asking:  # Any: the registry's prompt
    def request(values: Mapping[str, Json]) -> Request:
        known = set(prompt.variables)
        made: Request = prompt.request({name: value for name, value in values.items() if name in known})
        return made

    scorers = getattr(prompt, "scorers", ()) or ()
    return Asking(
        request=request,
        name=prompt.name or "",
        version=getattr(prompt, "version", "") or "",
        hash=prompt.content_hash,
        model=prompt.model or "",
        settings=dict(prompt.settings or {}),
        text=text,
        scorers=(scorers,) if isinstance(scorers, str) else tuple(scorers),
    )


def _of_messages(messages: Sequence[Mapping[str, Json]], *, text: str = "") -> Asking:
    try:
        parsed = tuple(Message.from_json(one) for one in messages)
    except (KeyError, TypeError, AttributeError):
        raise UsageError('messages are written as {"role": "user", "content": "…"}') from None
    known = content_hash([one.to_json() for one in parsed])

    def request(values: Mapping[str, Json]) -> Request:
        filled = tuple(replace(one, content=_filled(one.content, values)) if isinstance(one.content, str) else one for one in parsed)
        return Request(model="", messages=filled)

    return Asking(request=request, hash=known, text=text)


def _filled(template: str, values: Mapping[str, Json]) -> str:
    """The template with its `{{ name }}` replaced, once: a value that looks like a template stays as it is."""

    def put(match: re.Match[str]) -> str:
        if match[1] not in values:
            raise PromptError(f"the prompt wants the variable {match[1]!r}, which the sample has not; it has {', '.join(values)}")
        return str(values[match[1]])

    return _HOLE.sub(put, template)


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
