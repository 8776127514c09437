"""The record of an experiment for whoever does not know our own MIME type: HTML, Markdown and plain text.

Everything in it is escaped: an answer is a text by somebody else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from html import escape
from typing import Any

from aiplat_lab.core.text import money, seconds
from aiplat_lab.widgets._agreement import Agreement
from aiplat_lab.widgets._measures import in_words

Doc = Mapping[str, Any]  # Any: JSON
_LINE = "1px solid var(--jp-border-color2,#bdbdbd)"
_TABLE = "border-collapse:collapse;margin:.5em 0;text-align:left"
_TEXT = "white-space:pre-wrap;overflow-wrap:anywhere"
_QUIET = "color:var(--jp-ui-font-color2,#616161);font-size:.85em"
_WORDS = {"tie": "a tie", "none": "none is good"}
_STATES = {"error": "failed", "refused": "refused", "cancelled": "cancelled", "waiting": "not asked", "running": "not whole yet"}
_HIDDEN = "The variants are named with the first vote."
_MARKDOWN_CHARS, _LEAST_CHARS = 6_000, 200
"""Characters of all texts together in the Markdown, and the fewest of one."""
_NO_MATH = "tex2jax_ignore mathjax_ignore"


def choice(winner: str) -> str:
    """A vote in words."""
    return _WORDS.get(winner, winner)


def progress(found: Doc) -> str:
    """How far it is, in one sentence."""
    judged = sum(one["vote"] is not None for one in found["inputs"])
    text = f"{judged} of {len(found['inputs'])} inputs judged by {found['rater'] or 'this rater'}"
    if found["unstored_votes"]:
        text += f"; {found['unstored_votes']} not stored yet, kept and tried again"
    return text


def side_rows(found: Doc) -> list[dict[str, str]]:
    """The table of the variants."""
    return [
        {
            "variant": side["name"] + (" (preferred)" if side["name"] == found["verdict"]["winner"] else ""),
            "votes": str(side["votes"]),
            "prompt": _short(side["prompt"], 60) or "the input alone",
            "model": side["model"] or "default",
            "settings": ", ".join(f"{key}={value}" for key, value in side["settings"].items()) or "–",
            "cost an answer": _money(found, side["mean_cost_usd"]) if side["answered"] else "–",
            "latency (median)": "–" if side["median_latency_s"] is None else seconds(side["median_latency_s"]),
            "tokens out (mean)": "–" if side["mean_output_tokens"] is None else f"{side['mean_output_tokens']:,.0f}",
            "failed": str(side["failed"]),
        }
        for side in found["variants"]
    ]


def answer_line(found: Doc, answer: Doc) -> str:
    """Model, tokens, cost, time and call of one answer."""
    parts = [] if answer["status"] == "ok" else [_STATES.get(answer["status"], answer["status"])]
    asked, answered = answer["model"], answer["response_model"]
    parts.append(asked if not answered or answered == asked.rpartition("/")[2] else f"{asked} ({answered})" if asked else answered)
    if answer["status"] == "ok":
        known = answer["input_tokens"] is not None and answer["output_tokens"] is not None
        parts.append(f"{answer['input_tokens']:,} → {answer['output_tokens']:,} tokens" if known else "tokens unknown")
        parts.append("cost unknown" if answer["cost_usd"] is None else _money(found, answer["cost_usd"]))
        parts.append(seconds(answer["latency_s"]))
        parts.extend(["from the cache"] if answer["cache"] == "hit" else [])
        parts.extend(["cut at the token limit"] if answer["finish_reason"] == "length" else [])
    if answer["call_id"]:
        parts.append(f"call {answer['call_id']}")
    return " · ".join(part for part in parts if part)


def notes(found: Doc) -> list[str]:
    """What else there is to say of the whole: agreement of the raters, paired differences, what was promoted."""
    agreement = Agreement(**found["agreement"]).sentence()
    kept = [f"{one['variant']} is kept as {one['prompt']}, label {one['label']}." for one in found["promoted"]]
    money_of = {"currency": found["currency"], "usd_rate": Decimal(found["usd_rate"])}
    return [*([agreement] if agreement else []), *in_words(found["measured"], **money_of), *kept]


def vote_lines(one: Doc) -> list[str]:
    """Who voted how on one input, and why."""
    votes = ([one["vote"]] if one["vote"] else []) + list(one["others"])
    return [
        f"{vote['rater'] or 'a rater'}: {choice(vote['winner'])}" + (f" – {vote['reason']}" if vote["reason"] else "") for vote in votes
    ]


def to_html(found: Doc) -> str:
    """As HTML with its style in place, so that it stands in any page."""
    parts = [
        f'<section class="{_NO_MATH}" style="border:{_LINE};border-radius:4px;padding:.8em 1em;{_TEXT}">',
        f'<p style="margin:0;font-weight:600">{escape(found["name"])}</p>',
        f'<p style="margin:.4em 0">{escape(found["verdict"]["sentence"])}</p>',
        _html_sides(found),
        *(f'<p style="margin:.3em 0;{_QUIET}">{escape(line)}</p>' for line in notes(found)),
        *(_html_input(found, one, number) for number, one in enumerate(found["inputs"], 1)),
        f'<p style="margin:.6em 0 0;{_QUIET}">{escape(_foot(found))}</p></section>',
    ]
    return "".join(parts)


def _html_sides(found: Doc) -> str:
    rows = side_rows(found)
    if not rows:
        return f'<p style="{_QUIET}">{_HIDDEN}</p>'
    head = "".join(f'<th scope="col" align="left">{escape(name)}</th>' for name in rows[0])
    body = "".join('<tr valign="top">' + "".join(f"<td>{escape(text)}</td>" for text in row.values()) + "</tr>" for row in rows)
    return f'<table border="1" cellpadding="5" style="{_TABLE}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _html_input(found: Doc, one: Doc, number: int) -> str:
    """An input with its answers. Style is inherited from the section: said for each answer again, it would weigh more than the texts."""
    short = _short(one["text"], 90)
    title = f"<summary>{number}. {escape(short)} <small>{escape(_said(one))}</small></summary>"
    whole = "" if short == one["text"] else f"<blockquote>{escape(one['text'])}</blockquote>"
    if not one["answers"]:
        return f"<details>{title}{whole}</details>"
    cells = "".join(
        f"<td><strong>{escape(answer['variant'])}</strong>{_mark(one, answer)}<p>{escape(answer['text'])}</p>"
        f"{_html_error(answer)}<small>{escape(answer_line(found, answer))}</small></td>"
        for answer in one["answers"]
    )
    votes = "".join(f"<br>{escape(line)}" for line in vote_lines(one))
    frame = f'border="1" cellpadding="5" style="{_TABLE};width:100%;table-layout:fixed"'
    table = f'<table {frame}><tr valign="top" align="left">{cells}</tr></table>'
    return f"<details open>{title}{whole}{table}{f'<small>{votes[4:]}</small>' if votes else ''}</details>"


def _mark(one: Doc, answer: Doc) -> str:
    return " – preferred" if one["vote"] and one["vote"]["winner"] == answer["variant"] else ""


def _html_error(answer: Doc) -> str:
    return f"<p><strong>{escape(answer['error_type'])}</strong>: {escape(answer['error'])}</p>" if answer["error"] else ""


def to_markdown(found: Doc) -> str:
    """As Markdown in which no tag of an answer is alive: each text stands in a fence. Long texts are cut, since HTML has them whole."""
    rows = side_rows(found)
    texts = sum(1 + len(one["answers"]) for one in found["inputs"])
    room = max(_LEAST_CHARS, _MARKDOWN_CHARS // max(texts, 1))
    parts = [
        f"**{plain_line(found['name'])}**",
        plain_line(found["verdict"]["sentence"]),
        "\n".join([_row(rows[0]), _row(["---"] * len(rows[0])), *(_row(row.values()) for row in rows)]) if rows else _HIDDEN,
        *(plain_line(line) for line in notes(found)),
    ]
    for number, one in enumerate(found["inputs"], 1):
        parts.append(f"**Input {number}** – {plain_line(_said(one))}\n\n{_fenced(_cut(one['text'], room))}")
        for answer in one["answers"]:
            said = f"\n\n{_fenced(_cut(answer['text'], room))}" if answer["text"] else ""
            error = f"\n\n{plain_line(answer['error_type'])}: {plain_line(answer['error'])}" if answer["error"] else ""
            parts.append(f"*{plain_line(answer['variant'])}*{_mark(one, answer)}{said}{error}\n\n{plain_line(answer_line(found, answer))}")
        parts.extend(f"Vote of {plain_line(line)}" for line in vote_lines(one))
    return "\n\n".join([*parts, f"*{plain_line(_foot(found))}*"])


def to_plain(found: Doc) -> str:
    """As plain text: the verdict and one line a variant."""
    lines = [found["name"], found["verdict"]["sentence"]]
    lines += [
        f"{row['variant']}: {row['votes']} votes, {row['cost an answer']} an answer, {row['latency (median)']}, {row['model']}"
        for row in side_rows(found)
    ]
    return "\n".join([*lines, *notes(found), _foot(found)])


def _said(one: Doc) -> str:
    if one["vote"]:
        return f"vote: {choice(one['vote']['winner'])}"
    if one["hidden"]:
        return f"{one['hidden']} answers, hidden until the vote"
    return {"answered": "not judged"}.get(one["state"], "not answered yet")


def _foot(found: Doc) -> str:
    return f"{progress(found)}. Experiment {found['experiment']}; aiplat_lab.ab(resume=…) goes on with it."


def _money(found: Doc, usd: str | None) -> str:
    return money(usd, currency=found["currency"], rate=Decimal(found["usd_rate"]))


def _short(text: str, most: int) -> str:
    line = " ".join(str(text).split())
    return line if len(line) <= most else line[: most - 1] + "…"


def _row(cells: Any) -> str:  # Any: texts
    return "| " + " | ".join(plain_line(str(cell)).replace("|", "\\|") for cell in cells) + " |"


def plain_line(text: str) -> str:
    """A text as one line of Markdown in which nothing is markup."""
    return re.sub(r"([*_`\[\]\\])", r"\\\1", " ".join(text.split())).replace("<", "&lt;")


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}… ({len(text) - most:,} more characters stand in the HTML of this output)"


def _fenced(text: str) -> str:
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", text)), default=0))
    return f"{fence}text\n{text}\n{fence}"
