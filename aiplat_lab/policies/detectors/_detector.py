"""A detector, what it finds, and what becomes of findings that overlap."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

Span: TypeAlias = tuple[int, int]
Find: TypeAlias = Callable[[str], Iterator[Span]]
Group: TypeAlias = Literal["uk", "contact", "payment", "key", "name"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Detector:
    """One kind of thing that can be found in a text."""

    name: str
    """Its name in settings and findings; in capitals it is the word of its placeholders."""
    title: str
    """What it finds, for a person."""
    group: Group
    find: Find
    hints: tuple[str, ...] = ()
    """One of these stands, in lower case, in every text that holds one; empty where there is no such thing."""
    digits: bool = False
    """Whether every text that holds one has several digits close together."""
    rank: int = 1
    """How much is behind a finding: 3 a checksum or the form of a key, 2 a pattern of its own, 1 a pattern with a word nearby."""

    @property
    def label(self) -> str:
        """The word of its placeholders: `EMAIL` of `<EMAIL_1>`."""
        return self.name.upper()


class Finding(NamedTuple):
    """Where something was found; never what."""

    start: int
    end: int
    detector: Detector


def disjoint(findings: Iterable[Finding]) -> list[Finding]:
    """The findings in order without overlaps: those that overlap become one over all of them, named for the best founded.

    So nothing of either is left over when the one is replaced.
    """
    found: list[Finding] = []
    for one in sorted(findings, key=lambda one: (one.start, -one.end)):
        if found and one.start < found[-1].end:
            last = found[-1]
            best = max(last, one, key=lambda each: (each.detector.rank, each.end - each.start))
            found[-1] = Finding(last.start, max(last.end, one.end), best.detector)
        else:
            found.append(one)
    return found


def matches(pattern: re.Pattern[str], keep: Callable[[re.Match[str]], bool] | None = None, *, group: int = 0) -> Find:
    """A search for `pattern` that keeps what `keep` admits.

    Args:
        pattern: it must not take more than a bounded time from any start.
        keep: all matches, when left out.
        group: the group of the pattern that is the finding.
    """

    def find(text: str) -> Iterator[Span]:
        for match in pattern.finditer(text):
            if keep is None or keep(match):
                yield match.span(group)

    return find


def said_near(match: re.Match[str], words: re.Pattern[str], *, before: int = 40, after: int = 0) -> bool:
    """Whether one of `words` stands within so many characters before the match, with no other figure between, or after it."""
    start, end = match.span()
    text = match.string
    place = -1
    for word in words.finditer(text, max(0, start - before), start):
        place = word.end()
    if place >= 0 and not _FIGURE.search(text, place, start):
        return True
    return bool(after) and words.search(text, end, min(len(text), end + after)) is not None


def said_around(match: re.Match[str], words: re.Pattern[str], *, before: int = 80, after: int = 40) -> bool:
    """Whether one of `words` stands within so many characters of the match."""
    start, end = match.span()
    text = match.string
    return words.search(text, max(0, start - before), start) is not None or words.search(text, end, min(len(text), end + after)) is not None


_FIGURE = re.compile("[0-9]")
