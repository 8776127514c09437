"""What a request needs of a model, and the refusal, before anything is sent, of what a wire cannot say."""

from __future__ import annotations

from collections.abc import Mapping

from aiplat_lab.core.types import Json, Request
from aiplat_lab.providers._failures import Where, failure

_PARTS = {"image_url": "images", "input_audio": "audio", "file": "files"}
_WORDS = {
    "tools": "tools",
    "json_schema": "a JSON schema for the answer",
    "images": "images",
    "audio": "sound",
    "files": "files",
    "logprobs": "log-probabilities",
    "n": "several answers to one request (n)",
    "seed": "a seed",
    "embeddings": "embeddings",
    "stop": "stop texts",
}


def needs(request: Request) -> frozenset[str]:
    """What the request cannot be answered without, in the words of `lacks`."""
    found = set()
    settings = request.settings
    if request.operation == "embed":
        return frozenset({"embeddings"})
    if settings.get("tools"):
        found.add("tools")
    shape = settings.get("response_format")
    if isinstance(shape, Mapping) and shape.get("type") == "json_schema":
        found.add("json_schema")
    if settings.get("logprobs") or settings.get("top_logprobs"):
        found.add("logprobs")
    if isinstance(settings.get("n"), int) and settings["n"] > 1:
        found.add("n")
    found.update(name for name in ("seed", "stop") if settings.get(name) not in (None, "", []))
    for message in request.messages:
        if not isinstance(message.content, str) and message.content:
            found.update(_PARTS[kind] for part in message.content if (kind := part.get("type")) in _PARTS)
    return frozenset(found)


def refuse(where: Where, request: Request, lacks: frozenset[str]) -> None:
    """Lets a request pass that needs nothing of what is lacking.

    Raises:
        ProviderError: it needs something; the text says what.
    """
    missing = sorted(needs(request) & lacks)
    if missing:
        named = " or ".join(_WORDS.get(name, name) for name in missing)
        raise failure(where, f"this provider cannot do {named}. Leave it out, or use a model of another provider.", reason="bad_request")


def lacking(name: str, where: Where, settings: Mapping[str, Json], todo: str) -> None:
    """Refuses one setting that is given.

    Raises:
        ProviderError: it is.
    """
    if settings.get(name):
        raise failure(where, f"this provider has no setting like {name!r}. {todo}", reason="bad_request")
