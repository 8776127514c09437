"""`--schema`: an answer that fits a pydantic model or a JSON Schema, or fails the cell."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aiplat_lab.core.errors import ProviderError, UsageError, did_you_mean, shorten
from aiplat_lab.core.types import Json, Message, Request, Response
from aiplat_lab.evals import check_schema, problem
from aiplat_lab.magic._follow import followed
from aiplat_lab.magic._formats import parse_json


class Schema:
    """What an answer must fit.

    A provider that knows JSON Schema is told it by `response_format`, and the model by a sentence in any case. An answer that does not
    fit is sent back once, with what is wrong with it.
    """

    def __init__(self, name: str, schema: Mapping[str, Json], model: Any) -> None:  # Any: a pydantic model, or None
        self.name = name
        self._schema = schema
        self._model = model
        self._repaired = False
        self.value: Any = None  # Any: an instance of the model, or JSON

    @classmethod
    def of(cls, text: str, names: Mapping[str, Any]) -> Schema:  # Any: the user's values
        """The schema that an option names: a variable of the notebook, or the JSON itself.

        Raises:
            UsageError: there is no such variable, or it is no schema.
        """
        if text.lstrip().startswith("{"):
            try:
                given: Any = json.loads(text)
            except ValueError as error:
                raise UsageError(f"--schema is not JSON ({str(error).partition(':')[0].lower()}). Nothing was sent.") from None
            return cls("answer", _sound(given, "--schema"), None)
        if text not in names:
            raise UsageError(
                f"--schema names {text!r}, and the notebook has no such variable.{did_you_mean(text, names)} Nothing was sent."
            )
        given = names[text]
        if isinstance(given, Mapping):
            return cls(text, _sound(given, text), None)
        if isinstance(given, type) and hasattr(given, "model_json_schema") and hasattr(given, "model_validate"):
            return cls(given.__name__, given.model_json_schema(), given)
        raise UsageError(
            f"--schema {text} is a {type(given).__name__}; it takes a pydantic model (the class itself) or a JSON Schema as a dict. "
            "Nothing was sent."
        )

    def asked(self, request: Request) -> Request:
        """The request that asks for such an answer."""
        from dataclasses import replace

        told = f"Answer with one JSON value that fits this JSON Schema, and nothing else:\n{json.dumps(self._schema, ensure_ascii=False)}"
        *before, last = request.messages
        content = f"{last.content}\n\n{told}" if isinstance(last.content, str) else (*(last.content or ()), {"type": "text", "text": told})
        wanted = {"type": "json_schema", "json_schema": {"name": _plain(self.name), "schema": self._schema}}
        settings = {"response_format": wanted, **request.settings}
        return replace(request, messages=(*before, replace(last, content=content)), settings=settings)

    def next(self, request: Request, response: Response) -> Request | None:
        """One repair of an answer that does not fit.

        Raises:
            ProviderError: it does not fit either.
        """
        wrong, self.value = self.read(response.text)
        if not wrong:
            return None
        if self._repaired:
            raise ProviderError(
                f"the answer does not fit {self.name}, also after one repair: {shorten(wrong, 240)}. It is kept in `_ai`. "
                "Use a stronger model, or a simpler schema.",
                provider=response.provider,
                model=response.response_model,
                call_id=response.call_id,
                reason="bad_reply",
            )
        self._repaired = True
        text = f"That does not fit the schema: {wrong}. Answer again with the corrected JSON value, and nothing else."
        return followed(request, (Message("assistant", response.text), Message("user", text)))

    def note(self) -> str:
        """Whether it was repaired."""
        return f"fits {self.name}" + (" after one repair" if self._repaired else "") if self.value is not None else ""

    def check(self, response: Response) -> None:
        """Lets an answer pass that fits, such as one of many rows.

        Raises:
            ProviderError: it does not.
        """
        wrong, _ = self.read(response.text)
        if wrong:
            raise ProviderError(
                f"the answer does not fit {self.name}: {shorten(wrong, 240)}",
                provider=response.provider,
                model=response.response_model,
                call_id=response.call_id,
                reason="bad_reply",
            )

    def read(self, text: str) -> tuple[str, Any]:  # Any: an instance of the model, or JSON
        """What is wrong with an answer, empty where it fits; and its value then."""
        found = parse_json(text)
        if found is None:
            return "it holds no JSON", None
        if self._model is None:
            wrong = problem(found.value, self._schema)
            return wrong, None if wrong else found.value
        try:
            return "", self._model.model_validate(found.value)
        except ValueError as error:  # pydantic's own error is one
            told = getattr(error, "errors", None)
            if told is None:
                return shorten(str(error), 400), None
            return "; ".join(f"{'.'.join(map(str, one['loc'])) or 'the value'}: {one['msg']}" for one in told()[:5]), None


def _sound(schema: Json, name: str) -> Mapping[str, Json]:
    if not isinstance(schema, Mapping):
        raise UsageError(f"{name} is no JSON Schema: it must be an object. Nothing was sent.")
    try:
        check_schema(schema)
        json.dumps(schema)
    except (ValueError, TypeError, AttributeError) as error:
        raise UsageError(f"{name} is no JSON Schema that can be checked here: {shorten(str(error), 300)}. Nothing was sent.") from None
    return schema


def _plain(name: str) -> str:
    """A name as providers take it: letters, digits and underscores."""
    return "".join(sign if sign.isascii() and (sign.isalnum() or sign == "_") else "_" for sign in name)[:60] or "answer"
