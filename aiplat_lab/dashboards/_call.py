"""One call on the page: the full record in groups, then what was asked and answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from aiplat_lab.core.text import seconds
from aiplat_lab.core.types import Json, canonical_json
from aiplat_lab.dashboards._html import Row, count, esc, link, note, when
from aiplat_lab.dashboards._sections import Show, outcome

_GROUPS: Mapping[str, Sequence[tuple[str, str]]] = {
    "Who": (
        ("team", "Team"),
        ("project", "Project"),
        ("cost_centre", "Cost centre"),
        ("user_id", "User"),
        ("key_id", "Key"),
        ("surface", "Surface"),
        ("notebook", "Notebook"),
        ("cell_id", "Cell"),
    ),
    "What": (
        ("operation", "Operation"),
        ("request_model", "Model asked for"),
        ("provider", "Provider"),
        ("response_model", "Model that answered"),
        ("region", "Region"),
        ("status", "Outcome"),
        ("finish_reason", "Finish reason"),
        ("policy", "Policy"),
        ("error_type", "Error"),
        ("error_message", "Message"),
        ("flags", "Flags"),
        ("cache", "Cache"),
        ("attempts", "Attempts"),
        ("stream", "Streamed"),
        ("prompt_name", "Prompt"),
        ("prompt_version", "Prompt version"),
        ("experiment", "Experiment"),
        ("variant", "Variant"),
        ("parent_id", "Part of call"),
        ("tags", "Tags"),
    ),
    "When": (
        ("started_at", "Started (UTC)"),
        ("ended_at", "Ended (UTC)"),
        ("latency_s", "Took"),
        ("time_to_first_token_s", "First text after"),
        ("queued_s", "Waited in the queue"),
    ),
}
_CHAIN = (
    ("seq", "Place in the chain"),
    ("hash", "Hash of this record"),
    ("prev_hash", "Hash of the record before"),
    ("request_hash", "Hash of the request"),
    ("response_hash", "Hash of the answer"),
)
_NUM = ' class="num"'
_CHAINED = "Each record holds the hash of the one before it: <code>aiplat audit verify</code> proves that none was changed or left out."
_TOKENS = (
    ("Fresh input", "input_tokens", "input_usd_per_mtok"),
    ("Read from the provider's cache", "cache_read_tokens", "cache_read_usd_per_mtok"),
    ("Written to the provider's cache", "cache_write_tokens", "cache_write_usd_per_mtok"),
    ("Output", "output_tokens", "output_usd_per_mtok"),
    ("Reasoning", "reasoning_tokens", "reasoning_usd_per_mtok"),
)


def call(row: Row, show: Show) -> str:
    """The whole record of one call."""
    made = {title: _group(title, entries, row, show) for title, entries in _GROUPS.items()}
    groups = f'<div class="pile">{made["Who"]}{made["When"]}</div>{made["What"]}{_cost(row, show)}'
    return (
        f'<div class="call"><h2>Call <code>{esc(row["call_id"])}</code> {outcome(row)}</h2>'
        f'<div class="groups">{groups}</div>'
        f'<div class="talk">{_asked(row)}{_answered(row)}</div>'
        f'<section class="card"><h3>Evidence</h3><dl class="facts wide">{_facts(_CHAIN, row, show)}</dl>'
        f"{note(_CHAINED)}"
        "</section></div>"
    )


def _group(title: str, entries: Sequence[tuple[str, str]], row: Row, show: Show) -> str:
    return f'<section class="card"><h3>{title}</h3><dl class="facts">{_facts(entries, row, show)}</dl></section>'


def _facts(entries: Sequence[tuple[str, str]], row: Row, show: Show) -> str:
    shown = [(title, _value(name, row[name], show)) for name, title in entries if row.get(name) not in (None, "", [], {})]
    return (
        "".join(f"<div><dt>{title}</dt><dd>{value}</dd></div>" for title, value in shown) or "<div><dt>Nothing</dt><dd>was given</dd></div>"
    )


def _value(name: str, value: Any, show: Show) -> str:  # Any: a cell of the ledger
    if name in {"team", "project"}:
        return link(show.query.link(call="", **{name: value}), value)
    if name == "parent_id":
        return link(show.query.link(call=value), value)
    if name.endswith("_s"):
        return esc(seconds(value))
    if name.endswith("_at"):
        return when(value if isinstance(value, datetime) else datetime.fromisoformat(value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{esc(key)}={esc(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(_pair(item) for item in value)
    return f"<code>{esc(value)}</code>" if name.endswith(("hash", "_id")) else esc(value)


def _pair(item: Any) -> str:  # Any: a MAP cell comes as a list of key and value pairs, a list cell as its items
    return f"{esc(item['key'])}={esc(item['value'])}" if isinstance(item, Mapping) and set(item) == {"key", "value"} else esc(item)


def _cost(row: Row, show: Show) -> str:
    """What was paid for: tokens of each class, their unit price, their cost."""
    cost, baseline = _decimal(row.get("cost_usd")), _decimal(row.get("baseline_cost_usd"))
    remarks = []
    if cost is not None and baseline is not None and baseline > cost:
        remarks.append(note(f"It would have cost {esc(show.money(baseline))} without cache and routing."))
    if row.get("price_version"):
        remarks.append(note(f"Prices from {esc(row['price_version'])}."))
    elif cost is None:
        remarks.append(note("No price is known for this model, so its cost was not measured.", kind="warn"))
    titles = ("Tokens", "Number", "Per million", "Cost")
    head = "".join(f'<th scope="col"{_NUM if index else ""}>{title}</th>' for index, title in enumerate(titles))
    hit = " (answered from the cache)" if row["cache"] == "hit" else ""
    foot = f'<th scope="row" colspan="3">Charged{hit}</th><td{_NUM}><strong>{esc(show.money(cost))}</strong></td>'
    return (
        '<section class="card"><h3>Cost</h3><table class="plain"><caption class="sr">Tokens, unit prices and cost</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{_token_lines(row, show)}</tbody><tfoot><tr>{foot}</tr></tfoot></table>"
        f"{''.join(remarks)}</section>"
    )


def _token_lines(row: Row, show: Show) -> str:
    lines = []
    for title, tokens_name, price_name in _TOKENS:
        tokens, price = row.get(tokens_name), _decimal(row.get(price_name))
        if tokens is None or (tokens == 0 and tokens_name not in {"input_tokens", "output_tokens"}):
            continue
        if price is None and tokens_name not in {"input_tokens", "output_tokens"}:
            price = _decimal(row.get("output_usd_per_mtok" if tokens_name == "reasoning_tokens" else "input_usd_per_mtok"))
        cells = (count(tokens), show.short(price), show.short(None if price is None else price * tokens / 1_000_000))
        lines.append(f'<tr><th scope="row">{title}</th>{"".join(f"<td{_NUM}>{cell}</td>" for cell in cells)}</tr>')
    return "".join(lines) or f'<tr><th scope="row">Tokens</th><td colspan="3"{_NUM}>not measured</td></tr>'


def _decimal(value: Any) -> Decimal | None:  # Any: a Decimal, or its text
    return None if value is None else Decimal(str(value))


def _asked(row: Row) -> str:
    messages: Sequence[Mapping[str, Json]] = row.get("messages") or []
    turns = [
        _turn(str(message.get("role") or "message"), _text(message.get("content")), gone=bool(message.get("erased")))
        for message in messages
    ]
    turns += [_turn("text", text) for text in row.get("inputs") or ()]
    return "".join(turns) or _turn("request", "", gone=True)


def _text(content: Json) -> str:
    if isinstance(content, str) or content is None:
        return content or ""
    return "\n".join(str(part.get("text") or f"[{part.get('type', 'part')}]") for part in content)


def _answered(row: Row) -> str:
    text = row.get("text")
    tools = "".join(_turn("tool call", canonical_json(call).decode()) for call in row.get("tool_calls") or ())
    return _turn("answer", text or "", gone=text is None) + tools


def _turn(role: str, text: str, *, gone: bool = False) -> str:
    body = '<p class="quiet">No text is kept for this call: none was stored, or it was erased.</p>' if gone else f"<pre>{esc(text)}</pre>"
    return f'<section class="card turn {esc(role.split()[0])}"><h3>{esc(role.capitalize())}</h3>{body}</section>'
