"""Markdown to HTML that is safe to show: every sign of the answer is escaped, nothing in it is loaded or run.

An answer is a text by somebody else. Its images become their description, since fetching one could carry the prompt to
another host; its links stay, to be clicked.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from html import escape

_MOST_CHARACTERS = 200_000
_LONGEST_HEADING = 500
_FENCE = re.compile(r"[ \t]*(`{3,}|~{3,})[ \t]*([\w+#.-]*)[^`\n]*$")
_HEADING = re.compile(r" {0,3}(#{1,6})[ \t]+(.*?)[ \t]*#*[ \t]*$")
_RULE = re.compile(r" {0,3}(?:(?:-[ \t]*){3,}|(?:\*[ \t]*){3,}|(?:_[ \t]*){3,})$")
_ITEM = re.compile(r"([ \t]*)([-*+]|\d{1,9}[.)])[ \t]+(.*)$")
_ROW = re.compile(r"[ \t]*\|?.*\|.*$")
_DIVIDER = re.compile(r"[ \t]*\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$")
_VERBATIM = re.compile(
    r"(?<!`)(?P<ticks>`{1,8})(?!`)(?P<code>[^`\n]+)(?P=ticks)(?!`)|(?P<math>\$\$[^$]+\$\$|\\\([^\n]+?\\\)|\\\[[^\n]+?\\\])"
)
_LINK = re.compile(
    r"!\[(?P<image>[^\[\]\n]{0,300})\]\([^()\n]{0,2000}\)|\[(?P<label>[^\[\]\n]{1,300})\]\((?P<address>https?://[^\s()<>\"]{1,1500})\)"
)
_BOLD = re.compile(r"\*\*(?=\S)([^*\n]+?)(?<=\S)\*\*|__(?=\S)([^_\n]+?)(?<=\S)__(?!\w)")
_ITALIC = re.compile(r"(?<![\w*])\*(?=\S)([^*\n]+?)(?<=\S)\*(?![\w*])|(?<![\w_])_(?=\S)([^_\n]+?)(?<=\S)_(?![\w_])")
_STRIKE = re.compile(r"~~(?=\S)([^~\n]+?)(?<=\S)~~")
_MATH = re.compile(r"\$\$|\\\(|\\\[|\$[^$\n]{0,200}[\\^_{][^$\n]{0,200}\$")
_CELL = "border:1px solid var(--jp-border-color2,#bdbdbd);padding:.2em .6em;text-align:left"

PRE = "white-space:pre-wrap;overflow-wrap:anywhere;margin:0"
_SET_OFF = ";margin:.5em 0;padding:.4em .6em;background:var(--jp-layout-color2,#f5f5f5)"
NO_MATH = "tex2jax_ignore mathjax_ignore"
"""Classes that keep a page's formula typesetter away, so that `$5 and $6` stays two prices."""


def has_math(text: str) -> bool:
    """Whether `text` holds formulas in LaTeX."""
    return _MATH.search(text) is not None


def preformatted(text: str, *, monospace: bool = False) -> str:
    """`text` as it is, with its lines kept."""
    font = "" if monospace else ";font-family:inherit"
    return f'<pre class="{NO_MATH}" style="{PRE}{font}">{escape(text)}</pre>'


def to_html(text: str) -> str:
    """Markdown as HTML: headings, paragraphs, lists, tables, quotes, code, emphasis and links."""
    if len(text) > _MOST_CHARACTERS:
        return preformatted(text)
    blocks = _Blocks(text.split("\n"))
    inside = blocks.html()
    return inside if has_math(text) else f'<div class="{NO_MATH}">{inside}</div>'


class _Blocks:
    """The lines of a text, read block by block."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        self.at = 0

    def html(self) -> str:
        pieces: list[str] = []
        readers: tuple[Callable[[str], str | None], ...] = (
            self._fence, self._heading, self._quote, self._list, self._table, self._paragraph,
        )  # fmt: skip
        while self.at < len(self.lines):
            line = self.lines[self.at]
            if not line.strip():
                self.at += 1
                continue
            pieces.append(next(html for read in readers if (html := read(line)) is not None))
        return "\n".join(pieces)

    def _fence(self, line: str) -> str | None:
        found = _FENCE.match(line)
        if found is None:
            return None
        self.at += 1
        begin = self.at
        while self.at < len(self.lines) and not self.lines[self.at].strip().startswith(found[1]):
            self.at += 1
        code = "\n".join(self.lines[begin : self.at])
        self.at += 1
        return f'<pre class="{NO_MATH}" style="{PRE}{_SET_OFF}"><code>{escape(code)}</code></pre>'

    def _heading(self, line: str) -> str | None:
        if _RULE.match(line):
            self.at += 1
            return "<hr>"
        found = _HEADING.match(line) if len(line) < _LONGEST_HEADING else None
        if found is None:
            return None
        self.at += 1
        level = min(len(found[1]) + 2, 6)
        return f"<h{level}>{inline(found[2])}</h{level}>"

    def _quote(self, line: str) -> str | None:
        if not line.lstrip().startswith(">"):
            return None
        kept = []
        while self.at < len(self.lines) and self.lines[self.at].lstrip().startswith(">"):
            kept.append(self.lines[self.at].lstrip()[1:].removeprefix(" "))
            self.at += 1
        # Marks beyond the first stay signs of the text: an answer of a thousand of them is not a thousand levels deep.
        return f"<blockquote>{'<br>'.join(inline(one) for one in kept)}</blockquote>"

    def _list(self, line: str) -> str | None:
        if _ITEM.match(line) is None:
            return None
        items: list[tuple[int, str, list[str]]] = []
        while self.at < len(self.lines):
            line = self.lines[self.at]
            found = _ITEM.match(line)
            if found is not None and not _RULE.match(line):
                items.append((len(found[1].expandtabs(4)), "ul" if found[2] in "-*+" else "ol", [found[3]]))
            elif line.strip() and line[:1] in " \t" and _FENCE.match(line) is None:
                items[-1][2].append(line.strip())
            else:
                break
            self.at += 1
        return _nested(items)

    def _table(self, line: str) -> str | None:
        ahead = self.lines[self.at + 1] if self.at + 1 < len(self.lines) else ""
        if not (_ROW.match(line) and "-" in ahead and "|" in ahead and _DIVIDER.match(ahead)):
            return None
        head = _cells(line)
        self.at += 2
        rows = []
        while self.at < len(self.lines) and self.lines[self.at].strip() and "|" in self.lines[self.at]:
            rows.append(_cells(self.lines[self.at]))
            self.at += 1
        top = "".join(f'<th style="{_CELL}">{inline(cell)}</th>' for cell in head)
        body = "".join(f"<tr>{''.join(f'<td style={_CELL!r}>{inline(cell)}</td>' for cell in row)}</tr>" for row in rows)
        return f'<table style="border-collapse:collapse;margin:.5em 0"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>'

    def _paragraph(self, line: str) -> str:
        kept: list[str] = []
        while self.at < len(self.lines) and self.lines[self.at].strip():
            line = self.lines[self.at]
            if kept and (_FENCE.match(line) or _HEADING.match(line) or _ITEM.match(line) or line.lstrip().startswith(">")):
                break
            kept.append(line)
            self.at += 1
        return f"<p>{inline(chr(10).join(kept)).replace(chr(10), '<br>')}</p>"


def inline(text: str) -> str:
    """One run of text: code, formulas, links and emphasis; everything escaped."""
    pieces: list[str] = []
    at = 0
    for found in _VERBATIM.finditer(text):
        pieces.append(_emphasis(text[at : found.start()]))
        pieces.append(escape(found["math"]) if found["math"] else f'<code class="{NO_MATH}">{escape(found["code"].strip())}</code>')
        at = found.end()
    pieces.append(_emphasis(text[at:]))
    return "".join(pieces)


def _emphasis(text: str) -> str:
    pieces: list[str] = []
    at = 0
    for found in _LINK.finditer(text):
        pieces.append(_styled(text[at : found.start()]))
        if found["address"]:
            pieces.append(f'<a href="{escape(found["address"])}" target="_blank" rel="noopener noreferrer">{_styled(found["label"])}</a>')
        else:
            pieces.append(f"[image: {escape(found['image']) or 'without description'}]")
        at = found.end()
    pieces.append(_styled(text[at:]))
    return "".join(pieces)


def _styled(text: str) -> str:
    html = escape(text)
    html = _BOLD.sub(lambda found: f"<strong>{found[1] or found[2]}</strong>", html)
    html = _ITALIC.sub(lambda found: f"<em>{found[1] or found[2]}</em>", html)
    return _STRIKE.sub(lambda found: f"<del>{found[1]}</del>", html)


def _cells(line: str) -> list[str]:
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip().removeprefix("|").removesuffix("|"))]


def _nested(items: list[tuple[int, str, list[str]]]) -> str:
    """Lists within lists, by the depth of their marks."""
    pieces: list[str] = []
    open_lists: list[tuple[int, str]] = []
    for depth, kind, lines in items:
        while open_lists and depth < open_lists[-1][0] and len(open_lists) > 1:
            pieces.append(f"</li></{open_lists.pop()[1]}>")
        if not open_lists or (depth > open_lists[-1][0] + 1 and len(open_lists) < 8):
            pieces.append(f"<{kind}>")
            open_lists.append((depth, kind))
        else:
            pieces.append("</li>")
        pieces.append(f"<li>{inline(chr(10).join(lines)).replace(chr(10), '<br>')}")
    while open_lists:
        pieces.append(f"</li></{open_lists.pop()[1]}>")
    return "".join(pieces)
