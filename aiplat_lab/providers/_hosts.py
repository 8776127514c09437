"""Every host of OpenAI's wire that we know, one row each: where it is, how it wants its key, and what it does differently.

What a row does not say, the host does as OpenAI does. A host may change: what a refusal teaches is learnt for the rest of the
process, and `lacks` of a deployment adds to what is known here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One host, or one kind of server, that speaks OpenAI's wire."""

    kind: str
    """What users write as `kind`."""
    title: str
    """Its own name."""
    base_url: str = ""
    """Its address; empty where everybody has another, so that `base_url` must be set."""
    example: str = ""
    """An address as it might be, for the text that asks for one."""
    key_header: str = "Authorization"
    """The header that carries the key; `Authorization` carries it as a bearer token."""
    keyless: bool = False
    """Whether it may run without a key."""
    newer_limit: bool = False
    """The limit on output is called `max_completion_tokens`."""
    developer_role: bool = False
    """System messages may have the role `developer`."""
    stream_usage: bool = True
    """A stream gives its usage when `stream_options` asks; else it does so anyway, or never."""
    usage_in: tuple[str, ...] = ()
    """Where a stream's usage stands beside `usage`."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Settings that have another name there, by OpenAI's."""
    without: frozenset[str] = frozenset()
    """Settings that it refuses and an answer can do without; they are left out and flagged."""
    adds: Mapping[str, object] = field(default_factory=dict)
    """What is added to a body that does not say it."""
    lacks: frozenset[str] = frozenset()
    """What it cannot do; a request that needs it is refused before it is sent."""
    reasoning: str = ""
    """The field of a message that holds what was thought, where it shows it."""
    cost_header: str = ""
    """The answer's header that says what the call cost, in US dollars."""
    cost_in_usage: tuple[str, ...] = ()
    """The way to the cost within `usage`, in US dollars."""
    model_header: str = ""
    """The request's header that names the model."""
    wants_headers: Mapping[str, str] = field(default_factory=dict)
    """Headers that must be set, with a value as it might be."""
    azure: bool = False
    """Whether a deployment's name may be part of the address."""


_NO_SCHEMA = frozenset({"json_schema"})
_ONE = frozenset({"n"})
_PLAIN = frozenset({"n", "logprobs"})

HOSTS: tuple[Host, ...] = (
    Host(
        kind="azure",
        title="Azure OpenAI",
        example="https://NAME.openai.azure.com",
        key_header="api-key",
        newer_limit=True,
        developer_role=True,
        azure=True,
    ),
    Host(
        kind="mistral",
        title="Mistral",
        base_url="https://api.mistral.ai/v1",
        stream_usage=False,
        names={"seed": "random_seed"},
        without=frozenset({"user", "logit_bias", "store", "service_tier", "stream_options"}),
        lacks=frozenset({"logprobs"}),
        reasoning="content parts of type thinking",
    ),
    Host(
        kind="groq",
        title="Groq",
        base_url="https://api.groq.com/openai/v1",
        newer_limit=True,
        usage_in=("x_groq", "usage"),
        without=frozenset({"logit_bias"}),
        lacks=_PLAIN,
        reasoning="reasoning",
    ),
    Host(kind="xai", title="xAI", base_url="https://api.x.ai/v1", newer_limit=True, reasoning="reasoning_content"),
    Host(
        kind="deepseek",
        title="DeepSeek",
        base_url="https://api.deepseek.com/v1",
        lacks=frozenset({"n", "seed", "json_schema", "images"}),
        reasoning="reasoning_content",
    ),
    Host(kind="together", title="Together", base_url="https://api.together.xyz/v1", reasoning="reasoning"),
    Host(kind="fireworks", title="Fireworks", base_url="https://api.fireworks.ai/inference/v1", reasoning="reasoning_content"),
    Host(
        kind="openrouter",
        title="OpenRouter",
        base_url="https://openrouter.ai/api/v1",
        adds={"usage": {"include": True}},
        lacks=_ONE,
        reasoning="reasoning",
        cost_in_usage=("cost",),
    ),
    Host(
        kind="perplexity",
        title="Perplexity",
        base_url="https://api.perplexity.ai",
        stream_usage=False,
        without=frozenset({"seed", "user", "logit_bias", "service_tier", "stream_options"}),
        lacks=frozenset({"n", "logprobs", "tools", "seed", "embeddings"}),
        cost_in_usage=("cost", "total_cost"),
    ),
    Host(kind="cerebras", title="Cerebras", base_url="https://api.cerebras.ai/v1", newer_limit=True, lacks=_ONE, reasoning="reasoning"),
    Host(kind="nvidia", title="NVIDIA NIM", base_url="https://integrate.api.nvidia.com/v1", lacks=_ONE, reasoning="reasoning_content"),
    Host(kind="sambanova", title="SambaNova", base_url="https://api.sambanova.ai/v1", lacks=frozenset({"n", "logprobs", "seed"})),
    Host(
        kind="deepinfra",
        title="DeepInfra",
        base_url="https://api.deepinfra.com/v1/openai",
        cost_in_usage=("estimated_cost",),
        lacks=_NO_SCHEMA,
    ),
    Host(
        kind="moonshot",
        title="Moonshot",
        base_url="https://api.moonshot.ai/v1",
        lacks=frozenset({"logprobs", "seed"}),
        reasoning="reasoning_content",
    ),
    Host(kind="huggingface", title="Hugging Face Inference Providers", base_url="https://router.huggingface.co/v1", lacks=_ONE),
    Host(kind="github", title="GitHub Models", base_url="https://models.github.ai/inference", lacks=_ONE),
    Host(
        kind="databricks",
        title="Databricks",
        example="https://WORKSPACE.cloud.databricks.com/serving-endpoints",
        without=frozenset({"user"}),
    ),
    Host(
        kind="ollama",
        title="Ollama",
        base_url="http://127.0.0.1:11434/v1",
        keyless=True,
        without=frozenset({"logit_bias", "user"}),
        lacks=_ONE,
        reasoning="reasoning",
    ),
    Host(kind="vllm", title="vLLM", base_url="http://127.0.0.1:8000/v1", keyless=True, reasoning="reasoning"),
    Host(kind="llamacpp", title="llama.cpp server", base_url="http://127.0.0.1:8080/v1", keyless=True, reasoning="reasoning_content"),
    Host(
        kind="lmstudio", title="LM Studio", base_url="http://127.0.0.1:1234/v1", keyless=True, lacks=_PLAIN, reasoning="reasoning_content"
    ),
    Host(kind="sglang", title="SGLang", base_url="http://127.0.0.1:30000/v1", keyless=True, reasoning="reasoning_content"),
    # Gateways that stand before others
    Host(
        kind="litellm",
        title="LiteLLM proxy",
        base_url="http://127.0.0.1:4000/v1",
        keyless=True,
        reasoning="reasoning_content",
        cost_header="x-litellm-response-cost",
        cost_in_usage=("cost",),
    ),
    Host(
        kind="portkey",
        title="Portkey",
        base_url="https://api.portkey.ai/v1",
        key_header="x-portkey-api-key",
        wants_headers={"x-portkey-provider": "@openai-prod", "x-portkey-config": "pc-my-config", "x-portkey-virtual-key": "my-virtual-key"},
    ),
    Host(
        kind="helicone",
        title="Helicone",
        base_url="https://oai.helicone.ai/v1",
        newer_limit=True,
        developer_role=True,
        wants_headers={"Helicone-Auth": "Bearer env:HELICONE_API_KEY"},
    ),
    Host(kind="kong", title="Kong AI Gateway", example="https://kong.example.org/openai", key_header="apikey", keyless=True),
    Host(kind="envoy", title="Envoy AI Gateway", example="http://envoy.example.org/v1", keyless=True, model_header="x-ai-eg-model"),
)
"""The rows, the hosts of models first."""
