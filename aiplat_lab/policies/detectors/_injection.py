"""Text that looks like an attempt to steer a model against its caller: a small set of signals, each with a reason.

Heuristics for English. They find what is clumsy, they are not proof either way; docs/redaction.md says what was measured.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass

THRESHOLD = 0.6
"""The score from which a text counts as suspicious."""

_OVERRIDE = re.compile(
    r"\b(?:ignore|disregard|forget|override|bypass|do not (?:follow|obey)|don't (?:follow|obey)|stop following)\b[^.\n]{0,40}?"
    r"\b(?:previous|prior|above|earlier|preceding|existing|original|system|developer|your|all|any)\b[^.\n]{0,30}?"
    r"\b(?:instructions?|prompts?|rules?|guidelines?|directions?|directives?|constraints?|programming)\b",
    re.I,
)
_INSTEAD = re.compile(
    r"\b(?:new|updated|real|actual) (?:system )?instructions?\s*(?:[:=]|are\b|follow\b)"
    r"|\bfrom now on,? (?:you|act|respond|answer|ignore)\b|\byour (?:new|real|true|only) "
    r"(?:task|goal|job|purpose|instructions?) (?:is|are)\b",
    re.I,
)
_ROLE = re.compile(
    r"<\|(?:im_start|im_end|system|start_header_id|end_header_id|eot_id)\|?>?|\[/?INST\]|<<SYS>>|</?(?:system|assistant)(?:_?prompt|_message)?>"
    r"|^[ \t>#*]{0,6}(?:system|developer)(?: (?:prompt|message|override|note))?[ \t]{0,3}:|^#{2,4} (?:system|instruction)s?\b",
    re.I | re.M,
)
_PERSONA = re.compile(
    r"\byou are (?:now |no longer )(?:an? )?(?:dan\b|unrestricted|unfiltered|uncensored|jailbroken|free (?:of|from)|bound by|restricted)"
    r"|\b(?:developer|god|jailbreak|dan) mode (?:is )?(?:now )?(?:enabled|activated|on)\b|\benter (?:developer|god|jailbreak|dan) mode\b"
    r"|\bwithout (?:any )?(?:ethical|safety|content) (?:restrictions?|filters?|guidelines?|limits?)\b"
    r"|\bpretend (?:that )?you have no (?:rules|restrictions|limits)\b",
    re.I,
)
_LEAK = re.compile(
    r"\b(?:reveal|print|output|repeat|show|display|tell me|leak|dump|write out|copy)\b[^.\n]{0,30}?\b(?:your|the|its) (?:\w{1,12} ){0,2}?"
    r"(?:system prompt|system message|initial prompt|hidden prompt|initial instructions|hidden instructions"
    r"|original instructions|api keys?|credentials)\b",
    re.I,
)
_SECRECY = re.compile(
    r"\bdo not (?:mention|tell|reveal|disclose|inform|alert)\b[^.\n]{0,30}?"
    r"\b(?:the user|anyone|this instruction|these instructions|this message|this request)\b"
    r"|\bwithout (?:telling|informing|alerting|notifying) the user\b",
    re.I,
)
_SEND = re.compile(
    r"\b(?:send|post|append|encode|embed|include|forward|upload|exfiltrate|transmit|leak)\b[^\n]{0,80}?https?://[^\s)\"'>]{4,200}"
    r"|!\[[^\]\n]{0,80}\]\(https?://[^)\s]{4,200}[?&/=](?:[^)\s]{0,100})?(?:\{|%7B|\$\{|\[|<)[^)\s]{0,60}\)"
    r"|https?://[^\s)\"'>]{4,120}[?&](?:data|secret|leak|exfil|payload|q|d|content|prompt|conversation|history)=(?:\{|\$\{|%7B|\[|<)",
    re.I,
)
_EMAIL_OUT = re.compile(
    r"\b(?:send|forward|e-?mail)\b[^.\n]{0,60}?"
    r"\b(?:conversation|chat history|system prompt|passwords?|credentials|api keys?|secrets|all (?:the )?(?:data|files|emails?|contacts))\b"
    r"[^\n]{0,40}?\b(?:to|at)\b[^\n]{0,20}?(?:@|https?://)",
    re.I,
)
_ZERO_WIDTH = re.compile("[\u200b\u200c\u2060\u2061-\u2064\ufeff]{4,}|(?:[\u200b\u200c\u200d\u2060\ufeff][A-Za-z]){6,}")
_TAGS = re.compile("[\U000e0020-\U000e007e]{4,}")
_BIDI = re.compile("[\u202d\u202e\u2066-\u2068][^\n\u202c\u2069]{0,200}[A-Za-z]")
_BLOB = re.compile(r"(?<![A-Za-z0-9+/=_-])[A-Za-z0-9+/]{40,4096}={0,2}(?![A-Za-z0-9+/=_-])")
_QUOTES = "\"'`“”‘’«»„"
_WEIGHTS = {
    "override": 0.65,
    "new_instructions": 0.35,
    "false_role": 0.4,
    "persona": 0.5,
    "prompt_leak": 0.45,
    "secrecy": 0.35,
    "exfiltration": 0.5,
    "hidden_text": 0.7,
    "encoded": 0.7,
}
_PHRASES: tuple[tuple[str, re.Pattern[str], tuple[str, ...]], ...] = (
    ("override", _OVERRIDE, ("instruction", "prompt", "rule", "guideline", "direction", "directive", "constraint", "programming")),
    ("new_instructions", _INSTEAD, ("instruction", "from now on", "your new", "your real", "your true", "your only")),
    ("false_role", _ROLE, ("<|", "inst]", "<<sys", "system", "developer", "assistant", "# instruction")),
    ("persona", _PERSONA, ("you are n", " mode", "without", "pretend")),
    ("prompt_leak", _LEAK, ("prompt", "instructions", "system message", "api key", "credential")),
    ("secrecy", _SECRECY, ("do not ", "without ")),
    ("exfiltration", _SEND, ("http",)),
    ("exfiltration", _EMAIL_OUT, ("send", "forward", "email", "e-mail")),
)
"""Each signal with the words of which one stands in every text that has it."""
_QUOTED = 0.35
"""What is left of a signal's weight when the phrase stands in quotation marks: talk about it, rather than it."""


@dataclass(frozen=True, slots=True)
class Suspicion:
    """How much a text looks like an injection, and why."""

    score: float
    """0 to 1; from 0.6 on it counts."""
    reasons: tuple[str, ...]
    """The signals, the strongest first."""

    @property
    def flagged(self) -> bool:
        """Whether the score reaches the threshold."""
        return self.score >= THRESHOLD


def suspicion(text: str, *, depth: int = 0) -> Suspicion:
    """What speaks for an injection in `text`."""
    found: dict[str, float] = {}
    for name, weight in _signals(text, depth):
        found[name] = max(found.get(name, 0.0), weight)
    innocent = 1.0
    for weight in found.values():
        innocent *= 1.0 - weight
    reasons = sorted(found, key=lambda name: (-found[name], name))
    return Suspicion(round(1.0 - innocent, 3), tuple(reasons))


def _signals(text: str, depth: int) -> Iterator[tuple[str, float]]:
    lower = text.lower()
    yield from _phrases(text, lower)
    if not text.isascii():
        yield from _hidden(text, depth)
    if depth == 0:
        for blob in _BLOB.finditer(text):
            inside = _decoded(blob[0])
            if inside and suspicion(inside, depth=1).flagged:
                yield "encoded", _WEIGHTS["encoded"]


def _phrases(text: str, lower: str) -> Iterator[tuple[str, float]]:
    for name, pattern, hints in _PHRASES:
        if any(hint in lower for hint in hints):
            for match in pattern.finditer(text):
                yield name, _WEIGHTS[name] * (_QUOTED if _quoted(match) else 1.0)


def _hidden(text: str, depth: int) -> Iterator[tuple[str, float]]:
    for tags in _TAGS.finditer(text):
        if not text[: tags.start()].endswith("\U0001f3f4"):  # the flags of England, Scotland and Wales are written with tags
            yield "hidden_text", _WEIGHTS["hidden_text"]
            inside = "".join(chr(ord(sign) - 0xE0000) for sign in tags[0][:4096])
            if depth == 0 and suspicion(inside, depth=1).flagged:
                yield "encoded", _WEIGHTS["encoded"]
    for pattern in (_ZERO_WIDTH, _BIDI):
        if pattern.search(text):
            yield "hidden_text", _WEIGHTS["hidden_text"] * (1.0 if pattern is _ZERO_WIDTH else 0.6)


def _quoted(match: re.Match[str]) -> bool:
    """Whether the phrase stands between quotation marks, with a few words around it at most."""
    text, (start, end) = match.string, match.span()
    before, after = text[max(0, start - 30) : start], text[end : end + 60]
    line = before.rpartition("\n")[2]
    return any(sign in _QUOTES for sign in line) and any(sign in _QUOTES for sign in after.partition("\n")[0])


def _decoded(blob: str) -> str:
    """The text that a blob of base64 stands for; empty where it stands for none."""
    try:
        raw = base64.b64decode(blob + "=" * (-len(blob) % 4), validate=True)
    except (binascii.Error, ValueError):
        return ""
    printable = sum(32 <= byte < 127 or byte in b"\n\r\t" for byte in raw)
    return raw.decode("ascii", "replace") if raw and printable / len(raw) > 0.95 else ""
