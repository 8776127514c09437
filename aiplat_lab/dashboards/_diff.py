"""What differs between two texts, as HTML: by word within a text, by line and word between two files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import NamedTuple

from aiplat_lab.dashboards._html import esc, note

_WORDS = re.compile(r"\w+|\s+|[^\w\s]")
_MOST_WORDS = 6_000
"""Longer texts are compared by line alone."""
_ALIKE = 0.35
"""Lines less alike than this are shown as taken out and put in, without marks inside."""


class Line(NamedTuple):
    """A line of a diff: its number on each side, whether it stands on both, its HTML."""

    before: int | None
    now: int | None
    kind: str
    """`same`, `out` or `in`."""
    html: str


def words(before: str, now: str) -> tuple[str, str]:
    """Both texts, with what one alone has marked: `del` in the first, `ins` in the second."""
    if before == now:
        return esc(before), esc(now)
    first, second = (_WORDS.findall(text) for text in (before, now))
    if len(first) + len(second) > _MOST_WORDS:
        return esc(before), esc(now)
    old, new = [], []
    for tag, a, b, c, d in SequenceMatcher(None, first, second, autojunk=False).get_opcodes():
        gone, come = esc("".join(first[a:b])), esc("".join(second[c:d]))
        old.append(gone if tag == "equal" or not gone else f"<del>{gone}</del>")
        new.append(come if tag == "equal" or not come else f"<ins>{come}</ins>")
    return "".join(old), "".join(new)


def lines(before: str, now: str) -> list[Line]:
    """The lines of both texts in one column, changed ones with their words marked."""
    first, second = before.splitlines(), now.splitlines()
    found: list[Line] = []
    for tag, a, b, c, d in SequenceMatcher(None, first, second, autojunk=False).get_opcodes():
        if tag == "equal":
            found += [Line(a + i + 1, c + i + 1, "same", esc(text)) for i, text in enumerate(first[a:b])]
        else:
            found += _changed(first[a:b], second[c:d], a, c)
    return found


def _changed(gone: Sequence[str], come: Sequence[str], a: int, c: int) -> Iterator[Line]:
    """Lines that changed: those that are alike stand under one another with their words marked."""
    paired = {i: i for i in range(min(len(gone), len(come))) if SequenceMatcher(None, gone[i], come[i], autojunk=False).ratio() >= _ALIKE}
    marked = {i: words(gone[i], come[i]) for i in paired}
    for i, text in enumerate(gone):
        yield Line(a + i + 1, None, "out", marked[i][0] if i in marked else esc(text))
    for i, text in enumerate(come):
        yield Line(None, c + i + 1, "in", marked[i][1] if i in marked else esc(text))


def table(before: str, now: str, *, names: tuple[str, str]) -> str:
    """The diff of two files as a table that a screen reader can follow: each line says whether it was taken out or put in."""
    if before == now:
        return note(f"The texts of {esc(names[0])} and {esc(names[1])} are the same.")
    said = {"same": "", "out": '<span class="sr">taken out: </span>', "in": '<span class="sr">put in: </span>'}
    signs = {"same": " ", "out": "−", "in": "+"}
    rows = "".join(
        f'<tr class="{line.kind}"><td class="num">{line.before or ""}</td><td class="num">{line.now or ""}</td>'
        f'<td class="sign" aria-hidden="true">{signs[line.kind]}</td><td class="text">{said[line.kind]}{line.html or " "}</td></tr>'
        for line in lines(before, now)
    )
    caption = f"What changed from {names[0]} to {names[1]}"
    heads = "".join(
        f'<th scope="col"{kind}>{title}</th>'
        for title, kind in (
            (esc(names[0]), ' class="num"'),
            (esc(names[1]), ' class="num"'),
            ('<span class="sr">Change</span>', ""),
            ("Text", ""),
        )
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{esc(caption)}"><table class="diff">'
        f'<caption class="sr">{esc(caption)}</caption>'
        f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>"
    )
