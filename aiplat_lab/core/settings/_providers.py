"""Settings of providers, models and their deployments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSettings:
    """`[providers.NAME]`: where a provider is, and the reference to its key."""

    kind: str
    """The wire format or the host: `openai`, `anthropic`, `gemini`, `bedrock`, …, `local`, or a plug-in's name;
    `docs/providers.md` lists them."""
    base_url: str = ""
    """Empty takes the kind's own address."""
    api_key: str = ""
    """A reference, never the key itself: `vault:NAME`, `keyring:NAME`, `env:NAME`, `file:PATH` or `command:PROGRAM …`."""
    region: str = ""
    """Where the provider computes: `uk`, `eu`, `us`, `local`, …; empty is what `docs/providers.md` says of its kind, else unknown."""
    timeout_s: float = 120.0
    """The longest a call may take, in seconds."""
    first_token_timeout_s: float = 60.0
    """The longest to wait for the first piece of a streamed answer, in seconds."""
    connect_timeout_s: float = 10.0
    """The longest to wait for a connection, in seconds."""
    read_timeout_s: float = 60.0
    """The longest silence within an answer, in seconds."""
    retries: int = 2
    """How often a call that failed in a passing way is sent again."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Further request headers, such as an organisation's id."""
    transport: str = ""
    """How requests travel to it; empty takes `gateway.transport`."""
    breaker_failures: int = 5
    """Failures in a row after which a deployment is left alone for a while; 0 never does."""
    breaker_open_s: float = 10.0
    """Seconds for which it is left alone before a single call tries it again."""
    api_version: str = ""
    """`azure` only: the version of its API; empty takes the current one."""
    project: str = ""
    """`vertex` only: the cloud project."""
    location: str = ""
    """`vertex` and `bedrock` only: the cloud's own name of the place, such as `europe-west2` or `eu-west-2`."""
    threads: int = 1
    """`local` only: compute threads of the worker."""
    slots: int = 2
    """`local` only: how many calls the worker computes at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentSettings:
    """One entry of `deployments` under `[models.NAME]`."""

    provider: str
    """The name under `[providers]`."""
    model: str
    """The model's name at that provider."""
    region: str = ""
    """Overrides the provider's region."""
    rpm: int | None = None
    """Requests a minute that the provider allows."""
    tpm: int | None = None
    """Tokens a minute that the provider allows."""
    parallel: int | None = None
    """Calls at once that the provider allows."""
    weight: float = 1.0
    """Share of the calls under the strategy `weighted`."""
    max_output_tokens: int | None = None
    """The most the model can write; the worst case when a caller sets no limit."""
    context_tokens: int | None = None
    """The largest prompt and answer together."""
    input_usd_per_mtok: Decimal | None = None
    """Own price of a million input tokens, in US dollars; wins over the price list."""
    output_usd_per_mtok: Decimal | None = None
    """Own price of a million output tokens, in US dollars."""
    cache_read_usd_per_mtok: Decimal | None = None
    """Own price of a million input tokens read from the provider's prompt cache, in US dollars."""
    cache_write_usd_per_mtok: Decimal | None = None
    """Own price of a million input tokens written to the provider's prompt cache, in US dollars."""
    cache_write_1h_usd_per_mtok: Decimal | None = None
    """Own price of a million input tokens written to the provider's prompt cache for an hour, in US dollars."""
    reasoning_usd_per_mtok: Decimal | None = None
    """Own price of a million reasoning tokens, in US dollars."""
    service_tier: str = ""
    """The tier that is asked for and paid: `flex`, `priority`, …; empty is the standard one."""
    lacks: tuple[str, ...] = ()
    """What it cannot do, beyond what is known of its model: `tools`, `json_schema`, `images`, `audio`, `logprobs`, `n`, `seed`, …"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSettings:
    """One entry of `rules` under `[models.NAME]`: calls that fit everything it names go where it says."""

    use: tuple[str, ...]
    """The deployments to use, written provider/model, in order."""
    team: str = ""
    """The team of the call."""
    project: str = ""
    """The project of the call."""
    prompt: str = ""
    """The prompt of the call."""
    tag: str = ""
    """A tag of the call, written name=value."""
    modality: str = ""
    """What the call holds beside text: `image` or `audio`."""
    tools: bool | None = None
    """Whether the call brings tools."""
    min_input_tokens: int | None = None
    """The shortest input, in tokens as estimated."""
    max_input_tokens: int | None = None
    """The longest input, in tokens as estimated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """`[models.NAME]`: a name that users type, and the deployments behind it."""

    deployments: tuple[DeploymentSettings, ...]
    """One or more; later ones are tried when earlier ones fail."""
    strategy: Literal["ordered", "cheapest", "fastest", "weighted", "complexity"] = "ordered"
    """The order in which the deployments are tried."""
    rules: tuple[RuleSettings, ...] = ()
    """Which deployments certain calls use, the first rule that fits first."""
    hedge_after_s: float | None = None
    """Seconds without an answer after which the next deployment is asked too; empty never does."""


_REGIONS = {"mistral": "eu", "deepseek": "cn"}
"""Where services compute that have one address for everybody and name its place."""
_SERVERS = frozenset({"ollama", "vllm", "llamacpp", "lmstudio", "sglang"})
"""Kinds of server that people run themselves."""
_HERE = ("http://127.0.0.1", "http://localhost", "http://[::1]")


def region_of(provider: ProviderSettings) -> str:
    """Where a provider computes: as set, else as its kind and address show, else empty, which no residency rule matches."""
    if provider.region:
        return provider.region
    if provider.kind in _SERVERS and (not provider.base_url or provider.base_url.startswith(_HERE)):
        return "local"
    return "" if provider.base_url else _REGIONS.get(provider.kind, "")


_FREE = Decimal(0)


def _local(model: str) -> ModelSettings:
    entry = DeploymentSettings(
        provider="local", model=model, input_usd_per_mtok=_FREE, output_usd_per_mtok=_FREE, max_output_tokens=1024, context_tokens=2048
    )
    return ModelSettings(deployments=(entry,))


BUILT_IN_PROVIDERS: Mapping[str, ProviderSettings] = {"local": ProviderSettings(kind="local", region="local")}
BUILT_IN_MODELS: Mapping[str, ModelSettings] = {name: _local(name) for name in ("smollm2", "smollm2-lite", "smollm2-broken", "minilm")}
"""The embedded models, there without any settings; an entry of the same name in `aiplat.toml` replaces one."""
