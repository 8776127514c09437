"""What a request needs of a model, and what is known that a deployment cannot do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from aiplat_lab.core.errors import ConfigError
from aiplat_lab.core.registry import find
from aiplat_lab.core.settings import ProviderSettings
from aiplat_lab.core.types import Deployment, Request

CAPABILITIES: Mapping[str, str] = {
    "chat": "text",
    "embeddings": "embeddings",
    "tools": "calling tools",
    "images": "reading images",
    "audio": "reading sound",
    "files": "reading files",
    "json_schema": "answers by a JSON schema",
    "logprobs": "log-probabilities",
    "n": "more than one answer a call (n)",
    "seed": "a seed",
    "stream": "streams",
    "reasoning": "a reasoning effort",
}
"""Every capability that is checked, in words."""

_BY_KIND: Mapping[str, frozenset[str]] = {
    "anthropic": frozenset({"embeddings", "audio", "logprobs", "n", "seed"}),
}
"""What a wire format has no word for, where its provider does not say so itself by `lacks`."""
_LOCAL_TEXT = frozenset({"embeddings", "tools", "images", "audio", "files"})
_LOCAL_EMBEDDER = frozenset(CAPABILITIES) - {"embeddings"}
_IMAGES = frozenset({"image_url", "image", "input_image"})
_AUDIO = frozenset({"input_audio", "audio"})
_FILES = frozenset({"file", "input_file", "document"})


def needs(request: Request) -> frozenset[str]:
    """What the request asks of a model beyond plain text."""
    if request.operation == "embed":
        return frozenset({"embeddings"})
    found = {"chat"}
    if request.stream:
        found.add("stream")
    if request.settings:
        found |= _needs_of_settings(request)
    for message in request.messages:
        if message.content is not None and not isinstance(message.content, str):
            for part in message.content:
                kind = part.get("type", "text")
                found |= {"images"} if kind in _IMAGES else {"audio"} if kind in _AUDIO else {"files"} if kind in _FILES else set()
    return frozenset(found)


def _needs_of_settings(request: Request) -> set[str]:
    settings = request.settings
    found = set()
    if settings.get("tools") or settings.get("functions"):
        found.add("tools")
    shape = settings.get("response_format")
    if isinstance(shape, Mapping) and shape.get("type") == "json_schema":
        found.add("json_schema")
    if settings.get("logprobs") or settings.get("top_logprobs"):
        found.add("logprobs")
    wanted = settings.get("n")
    if isinstance(wanted, int) and wanted > 1:
        found.add("n")
    if settings.get("seed") is not None:
        found.add("seed")
    if settings.get("reasoning_effort"):
        found.add("reasoning")
    return found


def lacks(deployment: Deployment, settings: ProviderSettings) -> frozenset[str]:
    """What the deployment cannot do: what its settings say, what its wire has no word for, what is certain of its model."""
    if settings.kind == "local":
        return deployment.lacks | (_LOCAL_EMBEDDER if deployment.model == "minilm" else _LOCAL_TEXT)
    try:
        said = getattr(find("provider", settings.kind), "lacks", None)
    except ConfigError:  # whoever calls it is told
        said = None
    return deployment.lacks | (_BY_KIND.get(settings.kind, frozenset()) if said is None else frozenset(said))


def words(names: Iterable[str]) -> str:
    """Capabilities in words, as a list for a sentence."""
    return " and ".join(CAPABILITIES.get(name, name) for name in sorted(names))
