"""The HTTP surface as an OpenAPI document, made of the routes themselves and of what each face says its bodies hold."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from aiplat_lab.core.types import Json
from aiplat_lab.core.version import VERSION
from aiplat_lab.gateway import (
    _anthropic_face,
    _gemini_face,
    _import_route,
    _key_routes,
    _openai_face,
    _own_routes,
    _plan_route,
    _replay_route,
    _responses_face,
)

_NAMED = re.compile(r"{(\w+)(?::[^}]*)?}")
_SCHEMAS: Mapping[str, dict[str, Json]] = {
    **_openai_face.SCHEMAS,
    **_responses_face.SCHEMAS,
    **_anthropic_face.SCHEMAS,
    **_gemini_face.SCHEMAS,
    **_own_routes.SCHEMAS,
    **_key_routes.SCHEMAS,
    **_import_route.SCHEMAS,
    **_plan_route.SCHEMAS,
    **_replay_route.SCHEMAS,
}
_HEADERS = {
    "x-aiplat-project": "The project that the call is booked to.",
    "x-aiplat-prompt": "The prompt that the call uses, written name@version.",
    "x-aiplat-tags": "Tags of the call, written name=value,name=value.",
    "x-aiplat-cache": "on, off, refresh or auto.",
}
_SECURITY: dict[str, Json] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A virtual key."},
    "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key", "description": "A virtual key, as Anthropic's SDKs send it."},
    "x-goog-api-key": {
        "type": "apiKey",
        "in": "header",
        "name": "x-goog-api-key",
        "description": "A virtual key, as Google's SDKs send it.",
    },
}


def document(routes: Iterable[tuple[str, str, Any, Any, Any]]) -> dict[str, Json]:  # Any: the rows of the server's table
    """The OpenAPI 3.1 document of routes, each a method, a path, its function, its face and who may use it."""
    paths: dict[str, dict[str, Json]] = {}
    for method, path, route, face, access in routes:
        plain = _NAMED.sub(r"{\1}", path)
        paths.setdefault(plain, {})[method.lower()] = _operation(method, plain, route, face, access)
    return {
        "openapi": "3.1.0",
        "info": {"title": "aiplat-lab gateway", "version": VERSION},
        "paths": paths,
        "components": {"securitySchemes": _SECURITY},
    }


def _operation(method: str, path: str, route: Any, face: Any, access: Any) -> dict[str, Json]:  # Any: as in `document`
    meaning = " ".join(str(route.__doc__ or "").split("\n\n")[0].split())
    parameters: list[Json] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}} for name in _NAMED.findall(path)
    ]
    calls = method == "POST" and path.startswith(("/v1/", "/v1beta/"))
    if calls:
        parameters += [{"name": name, "in": "header", "description": told, "schema": {"type": "string"}} for name, told in _HEADERS.items()]
    if path.endswith(":streamGenerateContent"):
        parameters.append({"name": "alt", "in": "query", "schema": {"enum": ["sse", "json"]}})
    found: dict[str, Json] = {
        "operationId": f"{route.__module__.rsplit('.', 1)[-1].strip('_')}.{route.__name__}",
        "summary": meaning,
        "tags": [type(face).__name__.removesuffix("Face")],
        "parameters": parameters,
        "responses": {"200": {"description": "The answer."}, "default": {"description": "What went wrong, in the wire's own shape."}},
        "security": [] if access.everybody else [{name: []} for name in _SECURITY] if access.keys else [],
        "x-aiplat-access": "everybody" if access.everybody else "keys" if access.keys else "owner",
    }
    if method == "POST":
        schema = _SCHEMAS.get(path, {"type": "object"})
        found["requestBody"] = {"required": path in _SCHEMAS, "content": {"application/json": {"schema": schema}}}
    return found
