"""How `%ai` commands show what they found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from aiplat_lab.core.text import table
from aiplat_lab.core.types import Message, Request

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


def sent(shell: Any, request: Request) -> None:  # Any: IPython's shell, which comes without types
    """What a cell sends, above its answer (`--show-request`); what is no text is named by its kind."""
    lines = [f"{message.role}: {_said(message)}" for message in request.messages]
    settings = {name: value for name, value in request.settings.items() if name not in ("tools", "response_format")}
    lines.append(" · ".join([f"to {request.model}", *(f"{name} {value}" for name, value in settings.items())]))
    text = "\n".join(lines)
    body = f'<pre style="white-space:pre-wrap">{escape(text)}</pre>'
    html = f'<details open class="tex2jax_ignore"><summary>What is sent</summary>{body}</details>'
    shell.display_pub.publish({"text/plain": text, "text/html": html})


def _said(message: Message) -> str:
    parts = () if message.content is None or isinstance(message.content, str) else message.content
    others = [f"[{part.get('type')}]" for part in parts if part.get("type") != "text"]
    calls = [f"[asks for {(call.get('function') or {}).get('name')}]" for call in message.extra.get("tool_calls") or ()]
    return " ".join(filter(None, [*others, message.text(), *calls]))
