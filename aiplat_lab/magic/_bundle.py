"""The saved output of a cell: our own MIME type, and HTML, Markdown and plain text for whoever does not know it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from html import escape
from typing import Any, Literal, TypeAlias

from aiplat_lab.core.documents import request_document, response_document
from aiplat_lab.core.errors import AiplatError
from aiplat_lab.core.notebooks import CALL_MIME, shown_hashes
from aiplat_lab.core.text import ago, money, seconds
from aiplat_lab.core.types import Request, Response, utc_now
from aiplat_lab.magic import _markup
from aiplat_lab.magic._options import Format

MIME = CALL_MIME
SCHEMA = 1
Status: TypeAlias = Literal["ok", "cancelled", "error", "refused", "running"]
Bundle: TypeAlias = dict[str, Any]  # Any: MIME data is text or JSON

_PROVENANCE = (
    "call_id", "status", "model", "response_model", "provider", "prompt_name", "prompt_version", "cost_usd", "request_hash",
    "response_hash", "replayed", "first_call_id",
)  # fmt: skip
_FORMATS: Mapping[Format, str] = {"math": "markdown"}
_FLAGS = {"no_finish_reason": "the provider gave no finish reason", "no_usage": "the provider counted no tokens"}
_FOOT = "margin-top:.4em;font-size:.85em;color:var(--jp-ui-font-color2,#616161)"
_CODE = re.compile(r"^(?P<fence>`{3,}|~{3,}).*?(?:^(?P=fence)|\Z)|(?<!`)(?P<ticks>`+)(?!`)[^`\n]+(?P=ticks)(?!`)", re.MULTILINE | re.DOTALL)
_NOTHING_LOADS = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one cell has to show."""

    request: Request
    text: str
    """As it is shown, in the form asked for."""
    format: Format
    status: Status
    response: Response | None = None
    """None when the call did not come to its end."""
    error: AiplatError | None = None
    currency: str = "USD"
    usd_rate: Decimal = Decimal(1)
    """Units of `currency` for one US dollar."""
    notes: tuple[str, ...] = ()
    """What else the line under the answer says."""
    earlier: tuple[Response, ...] = ()
    """The answers before the last one, of a cell that asked more than once."""
    depends: Mapping[str, Any] = field(default_factory=dict)  # Any: JSON
    """What the answer depends on: hashes of the cell's text and of the values that went into it, and the saved prompt as named."""


def bundle(answer: Answer) -> Bundle:
    """The MIME bundle of an answer, whole."""
    foot = footer(answer)
    shown = {
        "text/html": f'{_html(answer)}<div class="{_markup.NO_MATH}" style="{_FOOT}" title="{escape(_title(answer))}">{escape(foot)}</div>',
        "text/markdown": _markdown(answer, foot),
        "text/plain": f"{answer.text}\n\n{foot}" if answer.text else foot,
    }
    return {MIME: {**document(answer), "shown": shown_hashes(shown)}, **shown}


def partial(answer: Answer) -> Bundle:
    """The MIME bundle of an answer that is still coming."""
    return {MIME: _running(answer), "text/html": _html(answer), "text/plain": answer.text}


def document(answer: Answer) -> dict[str, Any]:  # Any: JSON
    """The content of our own MIME type."""
    response, request = answer.response, answer.request
    usage = response.usage if response else None
    cost = response.cost_usd if response else None
    details = answer.error.details if answer.error else {}
    return {
        "schema": SCHEMA,
        "call_id": request.call_id,
        "status": answer.status,
        "text": answer.text,
        "format": _FORMATS.get(answer.format, answer.format),
        "model": request.model,
        "provider": response.provider if response else str(details.get("provider") or ""),
        "response_model": response.response_model if response else "",
        "input_tokens": usage.total_input_tokens if usage else None,
        "output_tokens": usage.total_output_tokens if usage else None,
        "cost_usd": None if cost is None else str(cost),
        "currency": answer.currency,
        "usd_rate": str(answer.usd_rate),
        "latency_s": response.latency_s if response else None,
        "cache": response.cache if response else "off",
        "region": response.region if response else "",
        "flags": list(response.flags) if response else [],
        "request_hash": request_document(request).hash,
        "response_hash": response_document(response).hash if response else "",
        "prompt_name": request.attribution.prompt_name,
        "prompt_version": request.attribution.prompt_version,
        "notes": list(answer.notes),
        "earlier_call_ids": [one.call_id for one in answer.earlier],
        **_replayed(answer),
        "depends": dict(answer.depends),
        "error": {"type": type(answer.error).__name__, "message": answer.error.message} if answer.error else None,
    }


def provenance(call: Mapping[str, Any]) -> dict[str, Any]:  # Any: JSON
    """What an output's metadata says of its call."""
    return {name: call[name] for name in _PROVENANCE if call.get(name) not in (None, "")}


def _replayed(answer: Answer) -> dict[str, Any]:  # Any: JSON
    """Whether the answer was given before, which call was asked first, and what the question was."""
    response = answer.response
    notes = response.notes if response else {}
    first = notes.get("replay-of") or notes.get("cache-of") or answer.request.call_id
    saved = response.baseline_cost_usd if response and response.cache == "hit" else None
    return {
        "replayed": "replay-of" in notes,
        "first_call_id": first,
        "first_asked_at": notes.get("replay-asked-at", ""),
        "replayed_from": notes.get("replay-from", ""),
        "saved_usd": None if saved is None else str(saved),
        "question": notes.get("question", ""),
        "target": notes.get("target", ""),
    }


def _running(answer: Answer) -> dict[str, Any]:  # Any: JSON
    return {
        "schema": SCHEMA,
        "call_id": answer.request.call_id,
        "status": "running",
        "text": answer.text,
        "format": _FORMATS.get(answer.format, answer.format),
        "model": answer.request.model,
    }


def footer(answer: Answer) -> str:
    """The one line under an answer: model, prompt, tokens, cost, time, cache, call."""
    response = answer.response
    call = f"call {answer.request.call_id[-8:]}"
    if response is None:
        policy = str(answer.error.details.get("policy") or "") if answer.error else ""
        said = f"refused by {policy}, nothing spent" if answer.status == "refused" and policy else answer.status
        return " · ".join([said, answer.request.model, *_prompt(answer.request), call])
    usage = response.usage
    tokens = f"{usage.total_input_tokens:,} → {usage.total_output_tokens:,} tokens" if usage else "tokens unknown"
    parts = [
        _model(answer.request.model, response),
        *_prompt(answer.request),
        tokens,
        *([] if "replay-of" in response.notes else [_cost(answer, response)]),
        seconds(response.latency_s),
        _known(answer, response) or f"cache {response.cache}",
        call,
    ]
    if answer.status not in {"ok", "running"}:
        parts.insert(0, answer.status)
    if answer.earlier:
        parts.append(_in_all(answer, response))
    parts.extend(answer.notes)
    if response.finish_reason == "length":
        parts.append("cut at the token limit")
    parts.extend(_FLAGS.get(flag, flag.replace("_", " ")) for flag in response.flags)
    return " · ".join(parts)


def _model(asked: str, response: Response) -> str:
    answered = response.response_model
    return answered if not asked or not answered or answered == asked.rpartition("/")[2] else f"{asked} ({answered})"


def _prompt(request: Request) -> list[str]:
    who = request.attribution
    return [f"{who.prompt_name}@{who.prompt_version}"] if who.prompt_name else []


def _cost(answer: Answer, response: Response) -> str:
    cost = response.cost_usd
    if cost is None:
        return "cost unknown"
    shown = money(cost, currency=answer.currency, rate=answer.usd_rate)
    saved = (response.baseline_cost_usd or cost) - cost
    return f"{shown}, saved {money(saved, currency=answer.currency, rate=answer.usd_rate)}" if saved > 0 else shown


def _in_all(answer: Answer, response: Response) -> str:
    """What a cell cost that asked more than once."""
    costs = [one.cost_usd for one in (*answer.earlier, response)]
    known = [cost for cost in costs if cost is not None]
    total = money(sum(known, Decimal(0)), currency=answer.currency, rate=answer.usd_rate) if len(known) == len(costs) else "cost unknown"
    return f"{len(costs)} calls, {total} in all"


def _known(answer: Answer, response: Response) -> str:
    """What is said of an answer that was replayed; nothing of any other."""
    asked_at = response.notes.get("replay-asked-at")
    if not asked_at or "replay-of" not in response.notes:
        return ""
    since = ago(max(0.0, (utc_now() - datetime.fromisoformat(asked_at)).total_seconds()))
    first = response.baseline_cost_usd
    saved = "its cost then is unknown" if first is None else f"saved {money(first, currency=answer.currency, rate=answer.usd_rate)}"
    source = response.notes.get("replay-from")
    return f"replayed{' from the bundle of ' + source if source else ''}, first asked {since}, {saved}"


def _title(answer: Answer) -> str:
    response = answer.response
    where = f" at {response.provider}" if response and response.provider else ""
    region = f" in {response.region}" if response and response.region else ""
    return f"asked {answer.request.model}{where}{region}; call {answer.request.call_id}"


def _html(answer: Answer) -> str:
    text = answer.text
    if not text:
        return ""
    if answer.format == "markdown":
        return _markup.to_html(text)
    if answer.format == "math":
        return f"<div>{escape(text)}</div>"
    if answer.format == "html" and answer.status != "running":
        return _framed(text)
    return _markup.preformatted(text, monospace=answer.format in {"code", "json", "html"})


def _framed(html: str) -> str:
    """HTML of a model in a frame that runs no script and loads nothing."""
    page = f'<!doctype html><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{_NOTHING_LOADS}">{html}'
    lines = min(max(html.count("\n") + 1, 8), 30)
    style = f"width:100%;height:{lines * 1.5:g}em;border:1px solid var(--jp-border-color2,#bdbdbd);background:#fff"
    return f'<iframe sandbox="" referrerpolicy="no-referrer" title="HTML from the model" style="{style}" srcdoc="{escape(page)}"></iframe>'


def _markdown(answer: Answer, foot: str) -> str:
    text = answer.text
    if not text:
        body = ""
    elif answer.format in {"code", "json", "html"}:
        fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", text)), default=0))
        body = f"{fence}{'' if answer.format == 'code' else answer.format}\n{text}\n{fence}\n\n"
    else:
        body = f"{_without_tags(text)}\n\n"
    return f"{body}*{_without_tags(foot)}*"


def _without_tags(text: str) -> str:
    """Markdown in which no HTML tag is left outside of code."""
    if "<" not in text:
        return text
    pieces: list[str] = []
    at = 0
    for found in _CODE.finditer(text):
        pieces.extend((text[at : found.start()].replace("<", "&lt;"), found[0]))
        at = found.end()
    pieces.append(text[at:].replace("<", "&lt;"))
    return "".join(pieces)
