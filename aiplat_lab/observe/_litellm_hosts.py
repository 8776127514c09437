"""LiteLLM's names of providers, and what they are called here."""

from __future__ import annotations

from collections.abc import Mapping

KINDS: Mapping[str, str] = {
    "anthropic": "anthropic",
    "azure": "azure",
    "bedrock": "bedrock",
    "bedrock_converse": "bedrock",
    "cerebras": "cerebras",
    "cohere": "cohere",
    "cohere_chat": "cohere",
    "custom_openai": "openai",
    "databricks": "databricks",
    "deepinfra": "deepinfra",
    "deepseek": "deepseek",
    "fireworks_ai": "fireworks",
    "gemini": "gemini",
    "github": "github",
    "groq": "groq",
    "hosted_vllm": "vllm",
    "huggingface": "huggingface",
    "litellm_proxy": "litellm",
    "lm_studio": "lmstudio",
    "mistral": "mistral",
    "moonshot": "moonshot",
    "nvidia_nim": "nvidia",
    "ollama": "ollama",
    "ollama_chat": "ollama",
    "openai": "openai",
    "openai_like": "openai",
    "openrouter": "openrouter",
    "perplexity": "perplexity",
    "sambanova": "sambanova",
    "together_ai": "together",
    "vertex_ai": "vertex",
    "vllm": "vllm",
    "xai": "xai",
}
"""The prefix of a model there, and the `kind` of a provider here."""

VARIABLES: Mapping[str, str] = {
    "bedrock": "AWS_BEDROCK_KEY",
    "bedrock_converse": "AWS_BEDROCK_KEY",
    "cohere_chat": "COHERE_API_KEY",
    "custom_openai": "OPENAI_API_KEY",
    "huggingface": "HF_TOKEN",
    "openai_like": "OPENAI_LIKE_API_KEY",
    "together_ai": "TOGETHERAI_API_KEY",
    "vertex_ai": "VERTEX_TOKEN",
}
"""The environment variable that holds a key, where it is not NAME_API_KEY."""

KEYLESS = frozenset({"hosted_vllm", "lm_studio", "ollama", "ollama_chat", "vllm"})
"""Servers that people run themselves, often without a key."""
