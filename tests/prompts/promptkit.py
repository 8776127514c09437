"""A prompt to save, and its changes."""

from __future__ import annotations

SUMMARISE = """\
---
name: {name}
description: A text in a sentence.
model: priced
settings: {{temperature: 0}}
variables:
  text: {{type: string, description: the text, example: It rained.}}
  tone: {{type: string, default: plain, enum: [plain, formal]}}
---

# system

You are {how}.

# user

Summarise this in a {{{{ tone }}}} tone: {{{{ text }}}}
"""


def summarise(name: str = "summarise", how: str = "brief") -> str:
    return SUMMARISE.format(name=name, how=how)


def required(name: str = "summarise") -> str:
    """With one more variable, which is a major change."""
    return (
        summarise(name)
        .replace("variables:\n", "variables:\n  reader: {type: string}\n")
        .replace("tone: {{ text", "tone for {{ reader }}: {{ text")
    )


def warmer(name: str = "summarise") -> str:
    """With another setting, which is a minor change."""
    return summarise(name).replace("temperature: 0", "temperature: 0.5")
