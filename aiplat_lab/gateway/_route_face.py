"""`POST /api/route/explain`: where a call would go, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from aiohttp import web

from aiplat_lab.core.errors import AuthRefused, UsageError
from aiplat_lab.core.types import Json, Message, Request
from aiplat_lab.gateway._door import Caller, Door, Fields, check_fields, json_reply, read_json
from aiplat_lab.gateway._openai_face import read_messages

_ASKED: Fields = {
    "model": (str, "the name of a model"),
    "messages": (list, "a list of messages"),
    "inputs": (list, "a list of texts"),
    "settings": (dict, "an object"),
    "attribution": (dict, "an object"),
    "input_tokens": (int, "a whole number"),
}
_NO_TEXT = "(no text is given)"


async def explain(door: Door, request: web.Request, caller: Caller) -> web.StreamResponse:
    """Which deployments would be tried, in which order and why; nothing is sent. A virtual key asks for its own team."""
    body = await read_json(request)
    check_fields(body, _ASKED)
    tokens = body.get("input_tokens")
    if tokens is not None and tokens < 0:
        raise UsageError("the field 'input_tokens' must be 0 or more")
    asked = _request(body, default_model=door.settings.default_model)
    if not caller.owner:
        if caller.key is None:
            raise AuthRefused("a virtual key is missing", policy="auth")
        asked = replace(asked, attribution=caller.key.attribute(asked.attribution))
    return json_reply(await door.gateway.explain(asked, input_tokens=tokens))


def _request(body: Mapping[str, Json], *, default_model: str) -> Request:
    """The request, in our own shape or as a body of OpenAI's chat wire."""
    read_messages(body.get("messages") or ())
    given = {"model": body.get("model") or default_model, "operation": body.get("operation") or "chat"}
    if given["operation"] not in ("chat", "embed"):
        raise UsageError(f"the field 'operation' must be chat or embed, not {str(given['operation'])[:40]!r}")
    ours = {"model", "messages", "inputs", "settings", "attribution", "operation", "input_tokens", "stream"}
    settings = {**{name: value for name, value in body.items() if name not in ours}, **(body.get("settings") or {})}
    shape = {**given, "messages": body.get("messages"), "inputs": body.get("inputs"), "settings": settings}
    asked = Request.from_json({**shape, "stream": bool(body.get("stream")), "attribution": body.get("attribution") or {}})
    if asked.messages or asked.inputs:
        return asked
    return replace(asked, inputs=(_NO_TEXT,)) if asked.operation == "embed" else replace(asked, messages=(Message("user", _NO_TEXT),))
