"""How `%ai` commands show what they found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from aiplat_lab.core.text import table

if TYPE_CHECKING:
    from aiplat_lab.magic._magics import AiMagics

_CELL = "padding:.2em .8em .2em 0;text-align:left"


def say(magics: AiMagics, text: str) -> None:
    """A text as it is."""
    magics.shell.display_pub.publish({"text/plain": text})


def rows(magics: AiMagics, found: Sequence[Mapping[str, Any]], note: str) -> None:  # Any: the values of a view
    """Rows as a table, in plain text and as HTML."""
    if not found:
        say(magics, f"nothing yet. {note}")
        return
    head = "".join(f'<th scope="col" style="{_CELL}">{escape(str(name))}</th>' for name in found[0])
    body = "".join(
        "<tr>" + "".join(f'<td style="{_CELL}">{escape("–" if value is None else str(value))}</td>' for value in row.values()) + "</tr>"
        for row in found
    )
    html = f'<table class="tex2jax_ignore mathjax_ignore"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table><p>{escape(note)}</p>'
    magics.shell.display_pub.publish({"text/plain": f"{table(found)}\n{note}", "text/html": html})
