"""What a request needs of a model, and what is known that a deployment cannot do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from aiplat_lab.core.errors import ConfigError
from aiplat_lab.core.registry import find
from aiplat_lab.core.settings import ProviderSettings
from aiplat_lab.core.types import Deployment, Request
from aiplat_lab.providers._needs import needs as needs_of_wire

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
    "stop": "stop texts",
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


def needs(request: Request) -> frozenset[str]:
    """What the request asks of a model: what the wires know to say or not, and what only routing looks at."""
    found = needs_of_wire(request)
    if request.operation == "embed":
        return found
    more = {"chat", "stream"} if request.stream else {"chat"}
    if request.settings.get("functions"):
        more.add("tools")
    if request.settings.get("reasoning_effort"):
        more.add("reasoning")
    return found | more


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
