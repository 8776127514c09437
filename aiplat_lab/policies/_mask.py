"""Placeholders for what was found: the same one for the same text within a call, and back again."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Mapping
from typing import Literal, TypeAlias

from aiplat_lab.policies.detectors import Detector, Finding, detect, disjoint

Action: TypeAlias = Literal["off", "observe", "mask", "refuse"]

_PLACEHOLDER = re.compile(r"<([A-Z][A-Z0-9_]{0,60}_[0-9]{1,9})>")
_BACK = re.compile(r"(<|&lt;|\\u003[cC])([A-Z][A-Z0-9_]{0,60}_[0-9]{1,9})(>|&gt;|\\u003[eE])")
_OPEN = re.compile(
    r"(?:<|&lt;|\\u003[cC])(?:[A-Z][A-Z0-9_]{0,72})?(?:&(?:g(?:t)?)?|\\(?:u(?:0(?:0(?:3)?)?)?)?)?\Z"
    r"|&(?:l(?:t)?)?\Z|\\(?:u(?:0(?:0(?:3)?)?)?)?\Z"
)
LONGEST = 90
"""No placeholder is longer, in any of the ways in which it may be written."""


class Vault:
    """What stands behind the placeholders of one call; it lives no longer than the call.

    Args:
        texts: the texts of the call: a placeholder that stands in one of them already is the caller's own, and is never ours.
    """

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._taken = {name for text in texts if "<" in text for name in _PLACEHOLDER.findall(text)}
        self._by_value: dict[tuple[str, str], str] = {}
        self._values: dict[str, str] = {}
        self._next: dict[str, int] = {}

    @property
    def restores(self) -> bool:
        """Whether there is anything to put back."""
        return bool(self._values)

    def placeholder(self, detector: Detector, text: str, *, back: bool = True) -> str:
        """The placeholder of `text`.

        Args:
            detector: what found it.
            text: what it stands for.
            back: whether `restored` puts the text back.
        """
        known = self._by_value.get((detector.name, text))
        if known is not None:
            return known
        number = self._next.get(detector.label, 0) + 1
        while f"{detector.label}_{number}" in self._taken:
            number += 1
        self._next[detector.label] = number
        name = f"{detector.label}_{number}"
        if back:
            self._values[name] = text
        made = self._by_value[detector.name, text] = f"<{name}>"
        return made

    def restored(self, text: str, encoded: bool) -> str:
        """`text` with what stands behind each placeholder of ours.

        Args:
            text: what the model wrote.
            encoded: whether it is JSON, so that quotation marks and line ends must be escaped.
        """
        if not self._values or ("<" not in text and "&lt;" not in text and "003" not in text):
            return text
        found = _BACK.sub(lambda match: self._value(match, encoded=encoded), text)
        return found

    def edits(self, text: str, encoded: bool) -> list[tuple[int, int, str]]:
        """What `restored` changes: from where to where, and what stands there instead."""
        found = [(*match.span(), self._value(match, encoded=encoded)) for match in _BACK.finditer(text)]
        return [(start, end, new) for start, end, new in found if text[start:end] != new]

    def _value(self, match: re.Match[str], *, encoded: bool) -> str:
        value = self._values.get(match[2])
        if value is None:
            return match[0]
        if encoded or match[1].startswith("\\"):
            return json.dumps(value, ensure_ascii=False)[1:-1]
        return html.escape(value) if match[1] == "&lt;" else value


def open_end(text: str) -> int:
    """Where a placeholder begins that may go on after the end of `text`; its length where none does."""
    start = max(0, len(text) - LONGEST)
    match = _OPEN.search(text, start)
    return match.start() if match else len(text)


class Examination:
    """What was found in the texts of one side of a call, and the texts without it.

    Args:
        actions: what happens for each detector by name; those that are `off` are not among them.
        detectors: the detectors to use.
        vault: where placeholders come from.
        back: whether placeholders made here are restored later.
        extra: findings of slow detectors by text, made beforehand.
    """

    def __init__(
        self,
        actions: Mapping[str, Action],
        detectors: tuple[Detector, ...],
        vault: Vault,
        *,
        back: bool = True,
        extra: Mapping[str, list[Finding]] | None = None,
    ) -> None:
        self._actions = actions
        self._detectors = detectors
        self._vault = vault
        self._back = back
        self._extra = extra or {}
        self._done: dict[str, str] = {}
        self._found: dict[str, set[str]] = {}

    def change(self, text: str, encoded: bool = False) -> str:
        """`text` with placeholders for what is masked, and for what makes the call refused."""
        known = self._done.get(text)
        if known is None:
            known = self._done[text] = self.changed(text, self.findings(text))
        return known

    def findings(self, text: str) -> list[Finding]:
        """What is found in `text`; findings may overlap."""
        found = detect(text, self._detectors)
        extra = self._extra.get(text)
        return [*found, *extra] if extra else found

    def changed(self, text: str, findings: list[Finding]) -> str:
        """As `change`, for what was found already."""
        if not findings:
            return text
        pieces: list[str] = []
        done = 0
        for start, end, new in self.edits(text, findings):
            pieces += [text[done:start], new]
            done = end
        return "".join([*pieces, text[done:]])

    def edits(self, text: str, findings: list[Finding]) -> list[tuple[int, int, str]]:
        """Notes the findings, and gives what is replaced: from where to where, and by what."""
        for one in disjoint(findings):
            self._found.setdefault(one.detector.name, set()).add(text[one.start : one.end])
        hidden = disjoint(one for one in findings if self._actions.get(one.detector.name) in ("mask", "refuse"))
        return [(one.start, one.end, self._vault.placeholder(one.detector, text[one.start : one.end], back=self._back)) for one in hidden]

    @property
    def counts(self) -> dict[str, int]:
        """How many different texts each detector found."""
        return {name: len(texts) for name, texts in sorted(self._found.items())}

    def with_action(self, action: Action) -> dict[str, int]:
        """The counts of the detectors for which `action` is set."""
        return {name: count for name, count in self.counts.items() if self._actions.get(name) == action}
