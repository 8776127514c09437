"""The names of models as cells write them: our own, and those of notebooks that were written for jupyter-ai."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from aiplat_lab.core.errors import AiplatError, UsageError

if TYPE_CHECKING:
    from aiplat_lab.magic._cell import Session
    from aiplat_lab.magic._magics import AiMagics

_OLD: Mapping[str, str] = {
    "chatgpt": "openai",
    "gpt3": "openai",
    "gpt4": "openai",
    "gpt2": "huggingface_hub",
    "ernie-bot": "qianfan",
    "ernie-bot-4": "qianfan",
    "titan": "bedrock",
}
"""The names that jupyter-ai 2 has for models by itself, with whose models they were; nearly all of those are gone."""
_TWICE = ("-chat", "-chat-new", "-custom")
"""What jupyter-ai puts behind the name of a provider that it knows in more than one way."""


class Named(NamedTuple):
    """The model that a cell asks."""

    name: str
    """As the gateway knows it."""
    notice: str = ""
    """What the person should know, in one sentence."""


def aliases(magics: AiMagics) -> dict[str, str]:
    """The aliases of this kernel; jupyter-ai 3 keeps an object for each, of which the target counts."""
    both = {**magics.initial_aliases, **magics.aliases}
    return {str(name): str(target.get("target", "")) if isinstance(target, Mapping) else str(target) for name, target in both.items()}


def resolve(magics: AiMagics, typed: str) -> Named:
    """The model that a name stands for: aliases followed, `provider:model` as `provider/model`, a bare model at its provider.

    Raises:
        AiplatError: the gateway cannot be asked.
    """
    name = typed or magics.default_language_model or magics.initial_language_model or ""
    known = aliases(magics)
    for _ in range(len(known)):
        if name not in known:
            break
        name = known[name]
    session = magics.session()
    if not name:
        return Named(session.default_model())
    if "/" in name and ":" not in name.partition("/")[0]:
        return Named(name)
    models = _models(session, name)
    if any(model["name"] == name for model in models):
        return Named(name)
    if ":" in name:
        return Named(_with_provider(name, models))
    found = next((str(model["name"]) for model in models if any(one["model"] == name for one in model["deployments"])), "")
    if found or name not in _OLD:
        return Named(found or name)
    now = _of_family(models, _OLD[name], session.default_model())
    return Named(now, f"{name} is jupyter-ai's name for a model of the past; {now} is asked. `%ai alias {name} MODEL` chooses another.")


def address(magics: AiMagics, base: str, model: str) -> str:
    """The name of the model at the provider of an address (`--api-base`), which must be one that is set up.

    Raises:
        UsageError: no provider has that address; nothing was sent, least of all to another place.
    """
    session = magics.session()
    wanted = _place(base)
    try:
        providers = {} if session.client.url else session.client.home.load().providers
    except AiplatError:  # the gateway says what is wrong with the settings
        providers = {}
    there = [name for name, one in providers.items() if one.base_url and _place(one.base_url) == wanted]
    provider, _, bare = model.partition("/")
    if provider in there or any(_answers(session, model, name) for name in there):
        return model
    if there:
        return f"{there[0]}/{bare or model}"
    raise UsageError(
        f"no provider has the address {base[:120]!r}, so nothing was sent. Set one up in aiplat.toml: "
        f'[providers.NAME] with kind = "openai" and base_url = "{base[:120]}", and name its model: NAME/{(bare or model)[:60]}'
    )


def _answers(session: Session, model: str, provider: str) -> bool:
    return any(one["provider"] == provider for entry in _models(session, model) if entry["name"] == model for one in entry["deployments"])


def _place(url: str) -> tuple[str, int | None, str]:
    """Host, port and path of an address, which tell two apart."""
    try:
        parts = urlsplit(url)
        return (parts.hostname or "", parts.port, parts.path.rstrip("/"))
    except ValueError:
        return ("", None, url)


def _models(session: Session, name: str) -> list[dict[str, Any]]:  # Any: JSON
    """The models that are set up; asked again where a name is new, so that cells do not pay for it each time."""
    if not any(name in (model["name"], *(one["model"] for one in model["deployments"])) for model in session.models):
        session.models = session.client.models()
    return session.models


def _with_provider(name: str, models: list[dict[str, Any]]) -> str:  # Any: JSON
    provider, _, model = name.partition(":")
    known = {str(one["provider"]) for entry in models for one in entry["deployments"]}
    for ending in _TWICE:
        short = provider.removesuffix(ending)
        if short != provider and provider not in known:
            return f"{short}/{model}"
    return f"{provider}/{model}"


def _of_family(models: list[dict[str, Any]], family: str, default: str) -> str:  # Any: JSON
    """The configured model that stands for an old one: the default where its provider is the same, else the provider's first."""
    of = [str(model["name"]) for model in models if any(one["provider"] == family for one in model["deployments"])]
    return default if default in of or not of else of[0]
