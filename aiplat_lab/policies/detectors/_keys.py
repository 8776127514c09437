"""Keys of model providers, clouds and other services, and private keys."""

from __future__ import annotations

import re
from collections.abc import Iterator

from aiplat_lab.policies.detectors._detector import Detector, Find, Span, matches, said_around, said_near

_EDGE = r"(?<![A-Za-z0-9_-])"
_END = r"(?![A-Za-z0-9_-])"
_OPENAI = re.compile(rf"{_EDGE}sk-(?:(?:proj|svcacct|admin|service|None)-[A-Za-z0-9_-]{{20,200}}|[A-Za-z0-9]{{20,100}}){_END}")
_ANTHROPIC = re.compile(rf"{_EDGE}sk-ant-[A-Za-z0-9_-]{{20,200}}{_END}")
_GOOGLE = re.compile(rf"{_EDGE}(?:AIza[A-Za-z0-9_-]{{35}}|GOCSPX-[A-Za-z0-9_-]{{28}}|AQ\.[A-Za-z0-9_-]{{40,120}}){_END}")
_AWS_ID = re.compile(r"(?<![A-Za-z0-9])(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}(?![A-Za-z0-9])")
_AWS_SECRET = re.compile(r"(?<![A-Za-z0-9/+])[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])")
_AWS_WORDS = re.compile(r"secret[ _-]?access[ _-]?key|aws[ _-]?secret|secretaccesskey|(?:AKIA|ASIA)[A-Z2-7]{16}", re.I)
_AZURE = re.compile(
    r"(?<![A-Za-z0-9])[A-Za-z0-9]{52}JQQJ99[A-Za-z0-9]{26}(?![A-Za-z0-9])"
    r"|(?<=AccountKey=)[A-Za-z0-9+/]{86}==|(?<=SharedAccessKey=)[A-Za-z0-9+/]{43}="
    r"|(?<![\w~.-])[\w~.-]{3}8Q~[\w~.-]{31,34}(?![\w~.-])"
)
_HEX = re.compile(r"(?<![A-Za-z0-9-])[0-9a-fA-F]{32}(?![A-Za-z0-9-])")
_AZURE_WORDS = re.compile(r"azure[\w ./:\"'-]{0,30}key|ocp-apim-subscription-key|azure_openai|api-key", re.I)
_HUGGING_FACE = re.compile(rf"{_EDGE}(?:hf|api_org)_[A-Za-z0-9]{{34,40}}{_END}")
_GITHUB = re.compile(rf"{_EDGE}(?:gh[pousr]_[A-Za-z0-9]{{36,255}}|github_pat_[A-Za-z0-9_]{{60,100}}){_END}")
_SLACK = re.compile(
    rf"{_EDGE}(?:xox[abeoprs](?:\.xox[bp])?-[A-Za-z0-9-]{{10,250}}|xapp-[0-9]-[A-Za-z0-9-]{{20,200}}){_END}"
    r"|(?<=hooks\.slack\.com/services/)T[A-Z0-9]{6,14}/B[A-Z0-9]{6,14}/[A-Za-z0-9]{20,30}"
)
_STRIPE = re.compile(rf"{_EDGE}(?:(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{{16,250}}|whsec_[A-Za-z0-9+/=]{{24,80}}){_END}")
_OTHERS = re.compile(
    rf"{_EDGE}(?:gsk_[A-Za-z0-9]{{40,60}}|xai-[A-Za-z0-9]{{60,100}}|sk-or-v1-[0-9a-f]{{64}}|pplx-[A-Za-z0-9]{{40,60}}"
    rf"|r8_[A-Za-z0-9]{{37,40}}|fw_[A-Za-z0-9]{{22,30}}|nvapi-[A-Za-z0-9_-]{{60,80}}|csk-[a-z0-9]{{40,60}}|glpat-[A-Za-z0-9_-]{{20,60}}"
    rf"|dapi[0-9a-f]{{32}}(?:-[0-9])?|SG\.[A-Za-z0-9_-]{{22}}\.[A-Za-z0-9_-]{{43}}|npm_[A-Za-z0-9]{{36}}|pypi-AgEI[A-Za-z0-9_-]{{50,250}}){_END}"
)
_OURS = re.compile(rf"{_EDGE}aiplat-[A-Za-z0-9_-]{{32,64}}{_END}")
_JWT = re.compile(rf"{_EDGE}eyJ[A-Za-z0-9_-]{{8,4000}}\.eyJ[A-Za-z0-9_-]{{8,8000}}\.[A-Za-z0-9_-]{{16,1024}}{_END}")

_BEGIN = re.compile(r"-----BEGIN (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_STOP = re.compile(r"-----END (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_BLOCK = re.compile(r"[A-Za-z0-9+/=\s\\:,.\"'-]{0,16384}")
_MAX_BLOCK = 16_384
_PLACEHOLDERS = ("example", "your", "xxxx", "placeholder", "1234567890abcdef1234", "....", "redacted", "dummy")


def genuine(text: str) -> bool:
    """Whether a text with the form of a key may be one: a mixture, and not the kind that stands in documentation."""
    lower = text.lower()
    return (
        len(set(text)) >= 10
        and any(sign.isdigit() for sign in text)
        and any(sign.isalpha() for sign in text)
        and not any(word in lower for word in _PLACEHOLDERS)
    )


def _genuine(match: re.Match[str]) -> bool:
    return genuine(match[0])


def _mixed(match: re.Match[str]) -> bool:
    return len(set(match[0])) >= 12


def _aws_id(match: re.Match[str]) -> bool:
    return not match[0].endswith("EXAMPLE") and len(set(match[0])) >= 8


def _aws_secret(match: re.Match[str]) -> bool:
    text = match[0]
    mixed = any(sign.islower() for sign in text) and any(sign.isupper() for sign in text) and any(sign.isdigit() for sign in text)
    return mixed and "EXAMPLE" not in text and said_around(match, _AWS_WORDS, before=120, after=0)


def _azure(text: str) -> Iterator[Span]:
    for match in _AZURE.finditer(text):
        if genuine(match[0]):
            yield match.span()
    for match in _HEX.finditer(text):
        if said_near(match, _AZURE_WORDS, before=60) and genuine(match[0]):
            yield match.span()


def _private_key(text: str) -> Iterator[Span]:
    start = 0
    while (begin := _BEGIN.search(text, start)) is not None:
        stop = _STOP.search(text, begin.end(), begin.end() + _MAX_BLOCK)
        if stop is not None:
            start = stop.end()
        else:
            block = _BLOCK.match(text, begin.end())
            start = block.end() if block else begin.end()
        if start - begin.end() >= 40:
            yield begin.start(), start


def _after_prefix(match: re.Match[str]) -> bool:
    return genuine(match[0].removeprefix("sk-"))


def _key(name: str, title: str, find: Find, *hints: str, rank: int = 3) -> Detector:
    return Detector(name=name, title=title, group="key", find=find, hints=hints, rank=rank)


KEYS = (
    _key("private_key", "private key block", _private_key, "private key"),
    _key("anthropic_key", "Anthropic key", matches(_ANTHROPIC, _genuine), "sk-ant-"),
    _key("openai_key", "OpenAI key, or one of that form", matches(_OPENAI, _after_prefix), "sk-"),
    _key("google_key", "Google API key or client secret", matches(_GOOGLE, _genuine), "aiza", "gocspx-", "aq."),
    _key("aws_access_key", "AWS access key id", matches(_AWS_ID, _aws_id), "akia", "asia", "abia", "acca"),
    _key("aws_secret_key", "AWS secret access key", matches(_AWS_SECRET, _aws_secret), "secret", "akia", "asia", rank=2),
    _key(
        *("azure_key", "Azure key or client secret", _azure),
        *("jqqj99", "accountkey=", "sharedaccesskey=", "8q~", "azure", "ocp-apim", "api-key"),
    ),
    _key("huggingface_token", "Hugging Face token", matches(_HUGGING_FACE, _mixed), "hf_", "api_org_"),
    _key("github_token", "GitHub token", matches(_GITHUB, _genuine), "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),
    _key("slack_token", "Slack token or webhook", matches(_SLACK, _genuine), "xox", "xapp-", "hooks.slack.com"),
    _key("stripe_key", "Stripe secret key", matches(_STRIPE, _genuine), "sk_live_", "sk_test_", "rk_live_", "rk_test_", "whsec_"),
    _key("jwt", "JSON Web Token", matches(_JWT), "eyj"),
    _key("aiplat_key", "virtual key of this gateway", matches(_OURS, _genuine), "aiplat-"),
    _key(
        *("provider_key", "key of Groq, xAI, OpenRouter, Perplexity, Replicate, NVIDIA, Databricks, GitLab, SendGrid, npm or PyPI"),
        matches(_OTHERS, _genuine),
        *("gsk_", "xai-", "sk-or-v1-", "pplx-", "r8_", "fw_", "nvapi-", "csk-", "glpat-", "dapi", "sg.", "npm_", "pypi-age"),
    ),
)
