"""One registry for plug-ins: `@register(kind, name)` for ours, the entry-point group `aiplat_lab` for others'."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Literal, TypeVar

from aiplat_lab.core.errors import ConfigError, did_you_mean

Kind = Literal["provider", "policy", "scorer", "report", "transport"]
KINDS: tuple[Kind, ...] = ("provider", "policy", "scorer", "report", "transport")
GROUP = "aiplat_lab"
_SCORERS = (
    *("contains", "cost", "exact", "json_fields", "json_schema", "keywords", "latency", "normalised", "numeric", "refusal", "regex"),
    *("rouge_l", "token_f1"),
)
_HOSTS = (
    *("azure", "cerebras", "databricks", "deepinfra", "deepseek", "fireworks", "github", "groq", "huggingface", "llamacpp", "lmstudio"),
    *("mistral", "moonshot", "nvidia", "ollama", "openrouter", "perplexity", "sambanova", "sglang", "together", "vllm", "xai"),
    *("envoy", "helicone", "kong", "litellm", "portkey"),
)
BUILT_IN: Mapping[tuple[Kind, str], str] = {
    ("provider", "openai"): "aiplat_lab.providers.openai",
    ("provider", "anthropic"): "aiplat_lab.providers.anthropic",
    ("provider", "local"): "aiplat_lab.providers.local",
    ("provider", "gemini"): "aiplat_lab.providers.gemini",
    ("provider", "vertex"): "aiplat_lab.providers.gemini",
    ("provider", "bedrock"): "aiplat_lab.providers.bedrock",
    ("provider", "cohere"): "aiplat_lab.providers.cohere",
    ("provider", "openai-responses"): "aiplat_lab.providers.responses",
    **{("provider", name): "aiplat_lab.providers.hosts" for name in _HOSTS},
    ("transport", "aiohttp"): "aiplat_lab.providers._transports",
    ("transport", "httpx"): "aiplat_lab.providers._transports",
    **{("scorer", name): "aiplat_lab.evals.scorers" for name in _SCORERS},
    ("scorer", "judge"): "aiplat_lab.evals.judge",
    ("scorer", "similarity"): "aiplat_lab.evals.judge",
}
"""Our own plug-ins and the modules that register them, so that one is found without installed metadata and alone."""

_T = TypeVar("_T")
_found: dict[tuple[str, str], Any] = {}
_loaded: set[str] = set()


def register(kind: Kind, name: str) -> Callable[[_T], _T]:
    """A decorator that makes a class or function known as the `kind` called `name`; the last one wins."""

    def keep(thing: _T) -> _T:
        _found[kind, name] = thing
        return thing

    return keep


def find(kind: Kind, name: str) -> Any:  # Any: a plug-in is whatever its kind's protocol says
    """The plug-in of that kind and name, loading installed plug-ins on first need.

    Raises:
        ConfigError: there is none; the text offers the nearest names.
    """
    if (kind, name) not in _found and (kind, name) in BUILT_IN:
        import_module(BUILT_IN[kind, name])
    if (kind, name) not in _found:
        _load_plugins()
    if (kind, name) not in _found:
        raise ConfigError(f"there is no {kind} called {name!r}.{did_you_mean(name, names(kind))}")
    return _found[kind, name]


def names(kind: Kind) -> list[str]:
    """The names registered for a kind, sorted."""
    _load_plugins()
    return sorted({name for known, name in [*_found, *BUILT_IN] if known == kind})


def check(kind: Kind, named: Mapping[str, str]) -> None:
    """Lets settings pass that name plug-ins there are.

    Args:
        kind: what they name.
        named: the names, by the setting that holds each.

    Raises:
        ConfigError: there is none of that name; better said at the start than by each call.
    """
    for setting, name in named.items():
        if (kind, name) not in _found and name not in (known := names(kind)):
            raise ConfigError(f"{setting} is {name!r}; a {kind} is one of {', '.join(known)}.{did_you_mean(name, known)}")


def _load_plugins() -> None:
    """Imports every module that an installed distribution lists under the group, each once; ours come when first wanted."""
    ours = set(BUILT_IN.values())
    for point in entry_points(group=GROUP):
        if point.value not in _loaded and point.value not in ours:
            _loaded.add(point.value)
            import_module(point.value.split(":")[0])
