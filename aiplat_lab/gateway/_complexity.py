"""How hard a request looks, from 0 to 1, with the reasons: a cheap estimate that reads no more than the ends of two texts.

It counts what tends to make a task hard: length, code, words of reasoning, constraints, tools, structure of the answer, turns.
It does not understand the task: a short riddle looks easy. `aiplat route explain` shows the figure of a request.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from aiplat_lab.core.types import Request

READ_CHARACTERS = 2_000
"""How much of a text is looked at: two thirds of it at its beginning, the rest at its end."""
_REASONING = (
    *("step by step", "prove", "derive", "explain why", "analys", "analyz", "compare", "trade-off", "tradeoff", "optimi", "refactor"),
    *("debug", "plan", "strategy", "root cause", "evaluate", "reason", "design", "algorithm", "implications", "in depth", "calculate"),
)
_CONSTRAINTS = frozenset({"must", "should", "only", "exactly", "without", "ensure", "don't", "never", "always", "unless"})
_CONSTRAINTS_OF_TWO = ("at least", "at most", "no more than", "do not")
_CODE = ("```", "def ", "class ", "function ", "import ", "SELECT ", "#include", "=> ", "();", "</")


class Complexity(NamedTuple):
    """How hard a request looks, and why."""

    score: float
    """0 is easy, 1 is hard."""
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.score:.2f} ({', '.join(self.reasons) or 'short and plain'})"


def complexity(request: Request, *, input_tokens: int) -> Complexity:
    """How hard the request looks.

    Args:
        request: the request; its last user message and its system message are read.
        input_tokens: the estimated length of the input.
    """
    text = _text(request)
    lower = text.lower()
    score, reasons = 0.0, []
    length = min(1.0, input_tokens / 4_000)
    score += 0.25 * length
    if input_tokens >= 400:
        reasons.append(f"about {input_tokens} tokens")
    if sum(mark in text for mark in _CODE) >= 2 or "```" in text:
        score += 0.25
        reasons.append("code")
    thinking = sum(word in lower for word in _REASONING)
    if thinking:
        score += min(0.45, 0.1 + 0.12 * thinking)
        reasons.append(f"{thinking} words of reasoning")
    rules = sum(map(_CONSTRAINTS.__contains__, lower.split())) + sum(map(lower.count, _CONSTRAINTS_OF_TWO))
    if rules >= 2:
        score += min(0.25, 0.05 * rules)
        reasons.append(f"{rules} constraints")
    more = _asked(request)
    score += sum(share for share, _ in more)
    reasons += [reason for _, reason in more]
    return Complexity(round(min(1.0, score), 3), tuple(reasons))


def _asked(request: Request) -> list[tuple[float, str]]:
    """What the settings and the conversation add."""
    found: list[tuple[float, str]] = []
    tools = request.settings.get("tools")
    if isinstance(tools, (list, tuple)) and tools:
        found.append((min(0.25, 0.1 + 0.03 * len(tools)), f"{len(tools)} tools"))
    shape = request.settings.get("response_format")
    if isinstance(shape, Mapping) and shape.get("type") == "json_schema":
        found.append((0.1, "a JSON schema"))
    if request.settings.get("reasoning_effort") in {"medium", "high", "xhigh"}:
        found.append((0.3, "a reasoning effort"))
    turns = sum(message.role == "user" for message in request.messages)
    if turns > 2:
        found.append((min(0.15, 0.03 * turns), f"{turns} turns"))
    return found


def _text(request: Request) -> str:
    """What is looked at of the system message and of the last user message."""
    system = next((message.text() for message in request.messages if message.role in {"system", "developer"}), "")
    last = next((message.text() for message in reversed(request.messages) if message.role == "user"), "")
    return f"{_ends(system)}\n{_ends(last)}" if system else _ends(last)


def _ends(text: str) -> str:
    if len(text) <= READ_CHARACTERS:
        return text
    return f"{text[: READ_CHARACTERS * 2 // 3]}\n{text[-READ_CHARACTERS // 3 :]}"
