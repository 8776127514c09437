"""What AI use looks like in code: libraries, addresses, names of models, and keys that only their variable's name gives away."""

from __future__ import annotations

import re
from collections.abc import Iterator

from aiplat_lab.policies.detectors import DETECTORS, detect, disjoint

SDKS = {
    "openai": "openai", "anthropic": "anthropic", "google.generativeai": "google-genai", "google.genai": "google-genai",
    "vertexai": "vertexai", "litellm": "litellm", "langchain": "langchain", "langchain_core": "langchain",
    "langchain_community": "langchain", "langchain_openai": "langchain", "langchain_anthropic": "langchain",
    "langgraph": "langgraph", "llama_index": "llama-index",
    "cohere": "cohere", "mistralai": "mistralai", "groq": "groq", "together": "together", "replicate": "replicate", "ollama": "ollama",
    "huggingface_hub": "huggingface-hub", "instructor": "instructor", "dspy": "dspy", "aisuite": "aisuite", "portkey_ai": "portkey",
    "haystack": "haystack", "semantic_kernel": "semantic-kernel", "autogen": "autogen", "crewai": "crewai", "pydantic_ai": "pydantic-ai",
    "guidance": "guidance", "smolagents": "smolagents", "any_llm": "any-llm", "deepseek": "deepseek", "xai_sdk": "xai-sdk",
    "azure.ai.inference": "azure-ai-inference", "voyageai": "voyageai", "fireworks": "fireworks", "aiplat_lab": "aiplat-lab",
}  # fmt: skip
"""Python modules and the library that they are of."""
_SCRIPT = {
    "openai": "openai", "@anthropic-ai/sdk": "anthropic", "@google/generative-ai": "google-genai", "@google/genai": "google-genai",
    "langchain": "langchain", "@langchain/core": "langchain", "@langchain/openai": "langchain", "cohere-ai": "cohere", "ai": "vercel-ai",
    "@ai-sdk/openai": "vercel-ai", "@mistralai/mistralai": "mistralai", "groq-sdk": "groq", "replicate": "replicate", "ollama": "ollama",
    "@aws-sdk/client-bedrock-runtime": "boto3-bedrock",
}  # fmt: skip
_SCRIPT_IMPORT = re.compile(r"""(?:\bfrom\s{1,3}|\brequire\(\s{0,3}|\bimport\s{1,3}|\bimport\(\s{0,3})["']([@\w./-]{2,60})["']""")
_PYTHON_IMPORT = re.compile(r"^[ \t]{0,40}(?:import|from)[ \t]{1,4}([A-Za-z_][\w.]{0,80})", re.M)

_HOSTS = (
    r"api\.openai\.com|api\.anthropic\.com|generativelanguage\.googleapis\.com|[\w-]{1,40}aiplatform\.googleapis\.com"
    r"|[\w-]{1,60}\.openai\.azure\.com"
    r"|[\w-]{1,60}\.(?:services|inference)\.ai\.azure\.com|bedrock(?:-runtime)?\.[\w-]{4,20}\.amazonaws\.com|api\.cohere\.(?:ai|com)|api\.mistral\.ai"
    r"|api\.groq\.com|api\.x\.ai|api\.deepseek\.com|api\.together\.(?:xyz|ai)|openrouter\.ai|api-inference\.huggingface\.co|router\.huggingface\.co"
    r"|api\.fireworks\.ai|api\.perplexity\.ai|api\.replicate\.com|api\.voyageai\.com|integrate\.api\.nvidia\.com"
)
_ENDPOINT = re.compile(rf"https?://({_HOSTS})(?![\w.-])", re.I)

_MODEL = re.compile(
    r"""(?<=["'`:= /])((?:gpt-(?:[0-9]|oss)[\w.-]{0,40}|chatgpt-4o-latest|o[134](?:-(?:mini|pro|preview)[\w-]{0,20})?"""
    r"""|text-embedding-[\w-]{3,30}"""
    r"""|claude-(?:[0-9]|instant|opus|sonnet|haiku)[\w.@-]{0,40}|gemini-[0-9][\w.-]{2,40}|command-(?:r|a|light|nightly)[\w.-]{0,30}"""
    r"""|(?:mistral|ministral|codestral|pixtral|magistral)-(?:large|medium|small|tiny|nemo|latest|[0-9])[\w.-]{0,30}|open-mi[sx]tral-[\w-]{2,20}"""
    r"""|deepseek-(?:chat|reasoner|coder)|grok-[0-9][\w.-]{0,30}|llama-?[23][\w.-]{1,40}))(?=["'`,;)\]}\s]|$)""",
    re.M,
)
_MODEL_HINTS = ("gpt-", "o1", "o3", "o4", "embedding-", "claude-", "gemini-", "command-", "stral-", "deepseek-", "grok-", "llama")

_NAMED = re.compile(
    r"\b((?:OPENAI|ANTHROPIC|AZURE_OPENAI|AZURE_AI|COHERE|CO|MISTRAL|GEMINI|GOOGLE|GROQ|TOGETHER|DEEPSEEK|HF|HUGGINGFACE|REPLICATE|OPENROUTER|XAI"
    r"|FIREWORKS|PERPLEXITY|VOYAGE|JINA|AI21|NVIDIA|LITELLM|PORTKEY|HELICONE|LANGCHAIN|LANGSMITH)(?:_[A-Z0-9]{1,12}){0,3}_?(?:KEY|TOKEN|SECRET))"
    r"[\"']?\]?\s{0,3}[=:]\s{0,3}[\"']?([A-Za-z0-9_\-+/=.~]{20,200})",
    re.I,
)
KEYS = tuple(one for one in DETECTORS.values() if one.group == "key")
"""The detectors of keys."""
ADOPT = {
    "openai_key": "OPENAI_API_KEY", "anthropic_key": "ANTHROPIC_API_KEY", "google_key": "GEMINI_API_KEY",
    "azure_key": "AZURE_OPENAI_API_KEY",
    "aws_access_key": "AWS_ACCESS_KEY_ID", "aws_secret_key": "AWS_SECRET_ACCESS_KEY", "huggingface_token": "HF_TOKEN",
    "provider_key": "PROVIDER_API_KEY",
}  # fmt: skip
"""The variable under which `aiplat keys adopt` takes a key of a kind."""

_PROMPT_WORDS = re.compile(
    r"\byou are\b|\byour (?:task|job|role|goal)\b|\b(?:summari[sz]e|classify|translate|extract|rewrite"
    r"|answer|respond|reply|write|generate|explain|list|act as"
    r"|return only|output only|given the|based on the|use the following|step by step|do not|as json|in json|the user|the following)\b",
    re.I,
)
MIN_PROMPT_CHARS, MIN_PROMPT_WORDS = 60, 10
"""What is shorter is not counted as a prompt."""


def keys_in(text: str) -> Iterator[tuple[int, int, str, str]]:
    """Each key in a text: from where to where, its kind, and the variable that it was given to where only that tells it."""
    taken: list[tuple[int, int]] = []
    for one in disjoint(detect(text, KEYS)):
        taken.append((one.start, one.end))
        yield one.start, one.end, one.detector.name, ""
    lower = text.lower()
    if "key" in lower or "token" in lower or "secret" in lower:
        for match in _NAMED.finditer(text):
            start, end = match.span(2)
            if not any(first < end and start < last for first, last in taken) and _random(match[2]):
                yield start, end, "named_key", match[1].upper()


def _random(text: str) -> bool:
    """Whether a value was made by a machine, rather than being a name, a path or a place to fill in."""
    lower = text.lower()
    figures = sum(sign.isdigit() for sign in text)
    return (
        figures >= 3
        and len(set(text)) >= 10
        and not any(
            word in lower for word in ("your", "example", "xxxx", "placeholder", "os.", "environ", "getenv", "secret", "config", "settings")
        )
    )


def endpoints_in(text: str) -> Iterator[str]:
    """The host of each raw address of a provider."""
    if "http" in text:
        for match in _ENDPOINT.finditer(text):
            yield match[1].lower()


def models_in(text: str) -> Iterator[str]:
    """Each name of a model."""
    if any(hint in text for hint in _MODEL_HINTS):
        for match in _MODEL.finditer(text):
            yield match[1].rstrip(".-")


def scripts_in(text: str) -> Iterator[str]:
    """Libraries that JavaScript or TypeScript imports."""
    for match in _SCRIPT_IMPORT.finditer(text):
        name = _SCRIPT.get(match[1])
        if name:
            yield name


def imports_in(text: str) -> Iterator[str]:
    """Modules that a text imports which does not parse as Python."""
    for match in _PYTHON_IMPORT.finditer(text):
        yield match[1]


def sdk_of(module: str) -> str:
    """The library that a module is of; empty for all others."""
    parts = module.split(".")
    for count in range(min(3, len(parts)), 0, -1):
        name = SDKS.get(".".join(parts[:count]))
        if name:
            return name
    return ""


def is_prompt(text: str, *, named: bool) -> bool:
    """Whether a text is likely a prompt.

    Args:
        text: a string of the code.
        named: whether it is given to something called prompt, system, content, instructions or the like.
    """
    if len(text) < MIN_PROMPT_CHARS or text.count(" ") < MIN_PROMPT_WORDS - 1:
        return False
    told = len({match[0].lower() for match in _PROMPT_WORDS.finditer(text, 0, 4_000)})
    return told >= (1 if named else 2)
