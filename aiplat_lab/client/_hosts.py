"""Which requests of the SDKs are routed, and what they are at the gateway: pure functions on hosts, paths and headers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import urlsplit

from aiplat_lab.core.errors import AiplatError, UsageError

INSIDE = "aiplat.invalid"
"""The host of a request that goes to the home's own gateway, which has a socket and no name."""
PLACEHOLDER = "aiplat-no-key-needed"
"""What stands where an SDK wants a key; the gateway has the real one."""
KEYS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("OPENAI_API_KEY", ("OPENAI_API_KEY",)),
    ("ANTHROPIC_API_KEY", ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN")),
    ("GEMINI_API_KEY", ("GEMINI_API_KEY", "GOOGLE_API_KEY")),
)
"""The variable that each SDK reads a key from, and those of which one is enough."""
_OPENAI, _ANTHROPIC, _GEMINI = "openai", "anthropic", "gemini"
_HOSTS: Mapping[str, str] = {
    "api.openai.com": _OPENAI,
    "us.api.openai.com": _OPENAI,
    "eu.api.openai.com": _OPENAI,
    "api.anthropic.com": _ANTHROPIC,
    "generativelanguage.googleapis.com": _GEMINI,
}
_GOOGLE_VERSION = re.compile(r"^/v1(alpha|beta)?/")
_SECRET = frozenset(
    {
        "authorization",
        "x-api-key",
        "x-goog-api-key",
        "api-key",
        "proxy-authorization",
        "cookie",
        "openai-organization",
        "openai-project",
        "x-goog-user-project",
    }
)
"""Headers that are the provider's business and never sent to the gateway."""


class Way(NamedTuple):
    """Where a request goes."""

    kind: str
    """The provider's kind: `openai`, `anthropic`, `gemini`."""
    path: str
    """The path at the gateway."""


@dataclass(frozen=True, slots=True)
class Bases:
    """Further base URLs that are routed, each of a service that speaks OpenAI's wire."""

    prefixes: tuple[tuple[str, str], ...] = ()
    """Host with its port, and path without a slash at its end."""

    @classmethod
    def of(cls, urls: Iterable[str]) -> Bases:
        """The base URLs, read.

        Raises:
            UsageError: one is no HTTP address.
        """
        if isinstance(urls, str):
            urls = (urls,)
        found = []
        for url in urls:
            parts = urlsplit(str(url))
            if parts.scheme not in {"http", "https"} or not parts.hostname:
                raise UsageError(f"also holds {str(url)[:80]!r}; write base URLs such as https://llm.example.org/v1")
            found.append((_place(parts.hostname, parts.port, parts.scheme), parts.path.rstrip("/")))
        return cls(tuple(found))


def way(scheme: str, host: str, port: int | None, path: str, bases: Bases) -> Way | None:
    """Where a request to a provider goes at the gateway; None leaves it alone."""
    kind = _HOSTS.get(host) if port in (None, 443) and scheme == "https" else None
    if kind == _GEMINI:
        if path.startswith("/v1beta/openai/"):
            return Way(_GEMINI, "/v1/" + path.removeprefix("/v1beta/openai/"))
        return Way(kind, _GOOGLE_VERSION.sub("/v1beta/", path))
    if kind is not None:
        return Way(kind, path)
    for there, prefix in bases.prefixes:
        if there == _place(host, port, scheme) and (path == prefix or path.startswith(prefix + "/")):
            return Way(_OPENAI, "/v1" + path.removeprefix(prefix))
    return None


def _place(host: str, port: int | None, scheme: str) -> str:
    return f"{host}:{port or (443 if scheme == 'https' else 80)}"


def kept(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The headers of a request without keys, the provider's host, and what would claim another identity."""
    return [(name, value) for name, value in headers if name.lower() not in _SECRET and name.lower() != "host"]


def without_key(query: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The parameters of an address without a key."""
    return [(name, value) for name, value in query if name.lower() not in {"key", "api_key"}]


def told(kind: str, error: AiplatError) -> bytes:
    """The body, in the shape that an SDK reads, of an answer that says why the gateway gives none."""
    text = str(error)
    if kind == _ANTHROPIC:
        body: dict[str, object] = {"type": "error", "error": {"type": "api_error", "message": text}}
    elif kind == _GEMINI:
        body = {"error": {"code": 503, "message": text, "status": "UNAVAILABLE"}}
    else:
        body = {"error": {"message": text, "type": "api_error", "param": None, "code": "gateway_unavailable"}}
    return json.dumps(body, ensure_ascii=False).encode()
