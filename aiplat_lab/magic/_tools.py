"""`--tools`: functions of the notebook that the model may ask for; each run needs a person's word, or a setting."""

from __future__ import annotations

import inspect
import json
import types
import typing
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, get_args, get_origin

from aiplat_lab.core.errors import ProviderError, UsageError, did_you_mean, shorten
from aiplat_lab.core.types import Json, Message, Request, Response
from aiplat_lab.magic._follow import followed

MOST_ROUNDS = 8
"""So often a model may ask for tools within one cell."""
MOST_RESULT_CHARACTERS = 20_000
_TYPES: Mapping[Any, str] = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}
Consent = Callable[[str, str], bool]
"""Whether a function may run, given its name and the call as text."""


class Tools:
    """The functions of one cell, and what the model asked of them."""

    def __init__(self, functions: Mapping[str, Callable[..., Any]], consent: Consent) -> None:  # Any: the user's functions
        self._functions = functions
        self._consent = consent
        self._rounds = 0
        self._ran: Counter[str] = Counter()

    @classmethod
    def of(cls, wanted: Sequence[str], names: Mapping[str, Any], consent: Consent) -> Tools:  # Any: the user's values
        """The functions by name.

        Raises:
            UsageError: there is no such function, or the model could not be told of it.
        """
        found = {}
        for name in dict.fromkeys(wanted):
            if name not in names:
                near = did_you_mean(name, [one for one, value in names.items() if inspect.isroutine(value)])
                raise UsageError(f"--tools names {name!r}, and the notebook has no such function.{near} Nothing was sent.")
            if not inspect.isroutine(names[name]):
                raise UsageError(f"--tools names {name!r}, which is a {type(names[name]).__name__} and no function. Nothing was sent.")
            found[name] = names[name]
        tools = cls(found, consent)
        tools.described()  # so that what cannot be described is said now
        return tools

    def described(self) -> list[dict[str, Json]]:
        """The functions in the shape of OpenAI's chat wire, from their signatures and docstrings."""
        return [
            {"type": "function", "function": {"name": name, "description": _said(function), "parameters": _parameters(name, function)}}
            for name, function in self._functions.items()
        ]

    def next(self, request: Request, response: Response) -> Request | None:
        """Runs what the model asked for, and tells it what came out.

        Raises:
            ProviderError: it asks again and again.
        """
        if not response.tool_calls:
            return None
        self._rounds += 1
        if self._rounds > MOST_ROUNDS:
            raise ProviderError(
                f"the model asked for tools {MOST_ROUNDS} times and came to no answer. Ask more plainly, or give it fewer tools.",
                provider=response.provider,
                call_id=response.call_id,
                reason="bad_reply",
            )
        asked = Message("assistant", response.text or None, {"tool_calls": [dict(call) for call in response.tool_calls]})
        told = [Message("tool", self._run(call), {"tool_call_id": str(call.get("id") or "")}) for call in response.tool_calls]
        return followed(request, (asked, *told))

    def note(self) -> str:
        """Which ran how often."""
        return "tools: " + ", ".join(f"{name} ×{count}" for name, count in self._ran.items()) if self._ran else ""

    def _run(self, call: Mapping[str, Json]) -> str:
        """What a call gives, as the model is told it; a failure is told too, so that the model can do better."""
        asked = call.get("function") or {}
        name = str(asked.get("name") or "")
        function = self._functions.get(name)
        if function is None:
            return f"Error: there is no function {name!r}; there are {', '.join(self._functions)}."
        try:
            given = json.loads(asked.get("arguments") or "{}")
            inspect.signature(function).bind(**given)
        except (ValueError, TypeError) as error:
            return f"Error: the arguments of {name} are wrong: {error}."
        shown = f"{name}({', '.join(f'{key}={value!r}' for key, value in given.items())})"
        if not self._consent(name, shorten(shown, 400)):
            return f"Error: the person did not let {name} run. Go on without it."
        self._ran[name] += 1
        try:
            result = function(**given)
        except Exception as error:  # the user's own function: whatever it raises, the model is told, and the cell goes on
            return f"Error: {type(error).__name__}: {shorten(str(error), 400)}"
        return _text(result)


def _text(result: Any) -> str:  # Any: what the user's function gives
    try:
        text = result if isinstance(result, str) else json.dumps(result, ensure_ascii=False, default=str)
    except (TypeError, ValueError):
        text = repr(result)
    if len(text) <= MOST_RESULT_CHARACTERS:
        return text
    return f"{text[:MOST_RESULT_CHARACTERS]}\n(cut: {len(text):,} characters in all)"


def _said(function: Callable[..., Any]) -> str:  # Any: the user's functions, here and below
    return shorten(inspect.getdoc(function) or f"Calls {getattr(function, '__name__', 'the function')}.", 1000)


def _parameters(name: str, function: Callable[..., Any]) -> dict[str, Json]:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        raise UsageError(f"--tools: {name} does not say what it takes; wrap it in a function with named parameters.") from None
    try:
        hints = typing.get_type_hints(function)
    except (NameError, TypeError, AttributeError):
        hints = {}
    properties, required = {}, []
    for key, one in signature.parameters.items():
        if one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD):
            continue
        if one.kind is one.POSITIONAL_ONLY:
            raise UsageError(f"--tools: {name} has the parameter {key!r} that cannot be given by name; give it one that can.")
        properties[key] = _shape(hints.get(key, Any))
        if one.default is one.empty:
            required.append(key)
    return {"type": "object", "properties": properties, "required": required}


def _shape(kind: Any) -> dict[str, Json]:
    """A type hint as JSON Schema; what is not understood may be anything."""
    if kind in _TYPES:
        return {"type": _TYPES[kind]}
    origin, inside = get_origin(kind), get_args(kind)
    if origin is Literal:
        return {"enum": list(inside)}
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [_shape(one) for one in inside]}
    if kind in (list, tuple, set) or origin in (list, tuple, set, frozenset):
        return {"type": "array", "items": _shape(inside[0])} if inside else {"type": "array"}
    if kind is dict or origin is dict:
        return {"type": "object"}
    return {}
