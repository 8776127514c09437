"""The saved record of a review queue: JSON, HTML, Markdown and plain text. Everything in it is escaped."""

from __future__ import annotations

from html import escape
from typing import Any

from aiplat_lab.widgets._pages import plain_line
from aiplat_lab.widgets._record import Bundle
from aiplat_lab.widgets._review import Item, Review

MIME = "application/vnd.aiplat.review+json"
SCHEMA = 1
_MOST_SHOWN, _MOST_CHARS = 40, 400
_LINE = "1px solid var(--jp-border-color2,#bdbdbd)"
_CELL = f"border:{_LINE};padding:.25em .6em;text-align:left;vertical-align:top;white-space:pre-wrap;overflow-wrap:break-word"
_HEAD = ("answer", "rating", "labels", "correction", "comment", "call")


def bundle(made: Review) -> Bundle:
    """The MIME bundle of a review queue: who has judged what; what waits is not shown."""
    found = document(made)
    return {MIME: found, "text/html": _html(found), "text/markdown": _markdown(found), "text/plain": "\n".join(_lines(found))}


def document(made: Review) -> dict[str, Any]:  # Any: JSON
    """What is known of the queue: this reviewer's judgements, the latest forty of them with their texts shortened."""
    judged = [one for one in made.items() if one.mine.given]
    return {
        "schema": SCHEMA,
        "queue": made.queue,
        "reviewer": made.form.reviewer,
        "scale": made.form.scale,
        "items": len(made.items()),
        "judged": len(judged),
        "left": made.left(),
        "unstored": made.unstored(),
        "agreement": made.agreement().sentence("answer"),
        "reviews": [_row(one) for one in judged[-_MOST_SHOWN:]],
    }


def _row(one: Item) -> dict[str, Any]:
    mine = one.mine
    return {
        "answer": _short(one.answer),
        "rating": mine.rating,
        "labels": list(mine.labels),
        "correction": _short(mine.correction),
        "comment": _short(mine.comment),
        "call": one.call_id,
    }


def _short(text: str) -> str:
    return text if len(text) <= _MOST_CHARS else text[: _MOST_CHARS - 1] + "…"


def _lines(found: dict[str, Any]) -> list[str]:
    said = f"{found['judged']} of {found['items']} judged by {found['reviewer']}, {found['left']} left"
    if found["unstored"]:
        said += f"; {found['unstored']} not stored yet, kept and tried again"
    if found["judged"] > len(found["reviews"]):
        said += f"; the last {len(found['reviews'])} are shown"
    again = f"aiplat_lab.review({found['queue']!r}) goes on with it; its result's reviews() has all."
    return [f"Review queue {found['queue']}", f"{said}.", *([found["agreement"]] if found["agreement"] else []), again]


def _cells(row: dict[str, Any]) -> list[str]:
    return ["" if row[name] is None else ", ".join(row[name]) if isinstance(row[name], list) else str(row[name]) for name in _HEAD]


def _html(found: dict[str, Any]) -> str:
    name, *lines = (escape(line) for line in _lines(found))
    head = "".join(f'<th scope="col" style="{_CELL}">{word}</th>' for word in _HEAD)
    body = "".join(
        "<tr>" + "".join(f'<td style="{_CELL}">{escape(text)}</td>' for text in _cells(row)) + "</tr>" for row in found["reviews"]
    )
    table = f'<table style="border-collapse:collapse"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>' if body else ""
    said = "".join(f'<p style="margin:.3em 0">{line}</p>' for line in lines)
    frame = f'class="tex2jax_ignore mathjax_ignore" style="border:{_LINE};border-radius:4px;padding:.8em 1em"'
    return f'<section {frame}><p style="margin:0;font-weight:600">{name}</p>{said}{table}</section>'


def _markdown(found: dict[str, Any]) -> str:
    name, *lines = (plain_line(line) for line in _lines(found))
    parts = [f"**{name}**", *lines]
    if found["reviews"]:
        rows = [_HEAD, ["---"] * len(_HEAD), *(_cells(row) for row in found["reviews"])]
        parts.append("\n".join("| " + " | ".join(plain_line(cell).replace("|", "\\|") for cell in row) + " |" for row in rows))
    return "\n\n".join(parts)
