"""A report as one HTML file: no code, inline SVG, and nothing from outside."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from html import escape
from pathlib import Path

from aiplat_lab.charts.theme import DARK, LIGHT
from aiplat_lab.reports._document import (
    CHECKED,
    COVERAGE,
    NOT_EVIDENCED,
    STATES,
    Block,
    Chart,
    Document,
    Figures,
    Light,
    Lights,
    SignOff,
    Table,
    Text,
)

_MARKS = {"supports": "●", "part": "◐", "against": "✕", "missing": "○"}
"""A shape for each state, so that no colour says it alone."""


def render_html(document: Document, charts: Mapping[int, str]) -> str:
    """The whole page.

    Args:
        document: the report.
        charts: the SVG text of each chart, by its place among the document's blocks.
    """
    style = Path(__file__).with_name("report.css").read_text(encoding="utf-8") + _dark_charts()
    body = "\n".join(_block(block, _own_ids(charts.get(index, ""), index)) for index, block in enumerate(document.blocks))
    return f"""<!DOCTYPE html>
<html lang="en-GB">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>{escape(document.title)}</title>
<style>
{style}
</style>
</head>
<body>
<main>
<header>
<p class="kind">aiplat-lab report</p>
<h1>{escape(document.title)}</h1>
<p class="period">{escape(day(document.since))} to {escape(day(document.until))} · {_made(document)}
<span class="status {document.status}">status: {document.status}</span></p>
{_reasons(document)}
{'<p class="demo">Demo ledger: every figure on this page is made up.</p>' if document.demo else ""}
{_cover(document)}
</header>
<section class="summary" aria-label="Summary">
{_paragraphs(document.summary)}
</section>
{body}
{_basis(document)}
</main>
</body>
</html>
"""


def _made(document: Document) -> str:
    sealed = document.basis["snapshot_sha256"] is not None
    return f"{'as of' if sealed else 'made'} {escape(clock(document.generated_at))}"


def _reasons(document: Document) -> str:
    if not document.reasons:
        return ""
    lines = "".join(f"<li>{escape(reason)}</li>" for reason in document.reasons)
    return f'<div class="reasons {document.status}"><p>Why this report is {document.status}:</p><ul>{lines}</ul></div>'


def _cover(document: Document) -> str:
    if document.cover is None:
        return ""
    facts = {"Organisation": document.cover.organisation, "Systems": document.cover.scope, "Prepared by": document.cover.prepared_by}
    rows = "".join(f"<div><dt>{name}</dt><dd>{_value(value)}</dd></div>" for name, value in facts.items())
    return f'<dl class="cover">{rows}</dl>'


def _dark_charts() -> str:
    """Rules that give a chart's colours their counterparts on a dark page."""
    pairs: dict[str, str] = {}
    for field in fields(LIGHT):
        light, dark = getattr(LIGHT, field.name), getattr(DARK, field.name)
        pairs |= dict(zip(light, dark, strict=True)) if field.name == "series" else {light: dark} if field.name != "name" else {}
    rules = "".join(
        f'figure svg [{part}="{light}"] {{ {part}: {dark}; }}\n' for light, dark in sorted(pairs.items()) for part in ("fill", "stroke")
    )
    return f"@media (prefers-color-scheme: dark) {{\n{rules}}}\n"


def _own_ids(svg: str, index: int) -> str:
    """The same drawing with ids of its own, since those of all charts share one page."""
    for before in ('id="', "url(#", 'href="#'):
        svg = re.sub(rf"(?<![\w-]){re.escape(before)}(?=[\w-])", f"{before}c{index}-", svg)
    return svg


def day(iso: str) -> str:
    """The date and minute of an ISO time, for a reader."""
    return clock(iso).removesuffix(" 00:00 UTC")


def clock(iso: str) -> str:
    """The date and time of an ISO time in UTC, for a reader."""
    return f"{iso[:10]} {iso[11:16]} UTC"


def _paragraphs(texts: Iterable[str]) -> str:
    return "\n".join(f"<p>{escape(text)}</p>" for text in texts)


def _cite(queries: str) -> str:
    return " ".join(
        f'<a class="cite" href="#{escape(query)}" aria-label="source: query {escape(query)}">{escape(query)}</a>'
        for query in queries.split()
    )


def _value(shown: str | None) -> str:
    return f'<span class="missing">{NOT_EVIDENCED}</span>' if shown is None else escape(shown)


def _figures(block: Figures) -> str:
    items = "\n".join(
        f"<div><dt>{escape(item.label)} {_cite(item.query)}</dt><dd>{_value(item.value)}</dd><dd class=note>{escape(item.note)}</dd></div>"
        for item in block.items
    )
    return f'<dl class="figures">{items}</dl>'


def _chart(block: Chart, svg: str) -> str:
    alt = escape(block.alt)
    return f"""<figure><figcaption>{escape(block.title)} {_cite(block.query)}</figcaption>
<div role="img" aria-label="{alt}">{svg}</div><p class="note">{alt}</p></figure>"""


def _table(block: Table) -> str:
    head = "".join(f'<th scope="col"{" class=number" if column.numeric else ""}>{escape(column.label)}</th>' for column in block.columns)
    kinds = [" class=number" if column.numeric else "" for column in block.columns]
    lines = ("".join(f"<td{kind}>{_value(cell)}</td>" for cell, kind in zip(row, kinds, strict=True)) for row in block.rows)
    rows = "\n".join(f"<tr>{line}</tr>" for line in lines)
    empty = "" if block.rows else '<p class="note">Nothing to show.</p>'
    note = f'<p class="note">{escape(block.note)}</p>' if block.note else ""
    return (
        f'<div class="table"><table><caption>{escape(block.title)} {_cite(block.query)}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>{empty}{note}"
    )


def _lights(block: Lights) -> str:
    rows = "\n".join(_light(item) for item in block.items)
    return (
        f'<div class="table lights"><table><caption>{escape(block.title)}</caption><thead><tr><th scope="col">Requirement</th>'
        f'<th scope="col">Evidence</th><th scope="col">Why</th><th scope="col">Can be</th></tr></thead><tbody>{rows}</tbody></table></div>'
        f'<p class="note">{escape(block.note)} Can be: {escape(_coverages())}.</p>'
    )


def _light(item: Light) -> str:
    stale = ' <span class="stale">stale rule</span>' if item.stale else ""
    return (
        f'<tr><th scope="row">{escape(item.requirement)}<br><span class="note">{escape(item.source)}</span></th>'
        f'<td class="state {item.state}"><span aria-hidden="true">{_MARKS[item.state]}</span> {STATES[item.state]}{stale}</td>'
        f"<td>{escape(item.reason)} {_cite(item.query)}</td><td>{escape(item.coverage)}</td></tr>"
    )


def _coverages() -> str:
    return "; ".join(f"{letter}, {said}" for letter, said in COVERAGE.items())


def _sign_off(block: SignOff) -> str:
    lines = "".join(
        f"<tr><th scope=row>{escape(role)}<br><span class=note>{escape(meaning)}</span></th><td></td><td></td></tr>"
        for role, meaning in block.lines
    )
    return (
        '<div class="table signoff"><table><thead><tr><th scope=col>Sign-off</th><th scope=col>Name and signature</th>'
        f"<th scope=col>Date</th></tr></thead><tbody>{lines}</tbody></table></div>"
    )


def _block(block: Block, svg: str) -> str:
    if isinstance(block, Chart):
        return _chart(block, svg)
    if isinstance(block, Lights):
        return _lights(block)
    if isinstance(block, SignOff):
        return _sign_off(block)
    writers: dict[str, Callable[[Block], str]] = {
        "heading": lambda b: f"<h2>{escape(b.text)}</h2>" if isinstance(b, Text) else "",
        "text": lambda b: f"<p>{escape(b.text)}</p>" if isinstance(b, Text) else "",
        "figures": lambda b: _figures(b) if isinstance(b, Figures) else "",
        "table": lambda b: _table(b) if isinstance(b, Table) else "",
    }
    return writers[block.kind](block)


def _filter(value: object) -> str:
    if not isinstance(value, list):
        return str(value)
    return f"{len(value)} values" if len(value) > 3 else ", ".join(value)


def _basis(document: Document) -> str:
    basis = document.basis
    holds = CHECKED.get(str(basis.get("chain_checked")), "checked, holds")
    chain = holds if basis["chain_holds"] else f"BROKEN: {basis['chain_reason']}"
    facts = {
        "Sealed snapshot (SHA-256)": basis["snapshot_sha256"] or "none: the live ledger was read",
        "Rows in the chain": f"{basis['rows']:,}",
        "Hash chain": chain,
        **(
            {"Seal": "names the rows it holds" if basis["seal_holds"] else "DOES NOT FIT THE ROWS"}
            if basis.get("seal_holds") is not None
            else {}
        ),
        "Head of the chain": f"row {basis['head_seq']}, {basis['head_hash'] or 'empty ledger'}",
        "Currency": f"{basis['currency']} at {basis['usd_rate']} for one US dollar; the ledger keeps US dollars",
        **({"Rule packs": "; ".join(basis["rule_packs"])} if basis.get("rule_packs") else {}),
        "Made by": f"aiplat-lab {document.version}, report “{document.name}”",
    }
    rows = "".join(f"<tr><th scope=row>{escape(name)}</th><td>{escape(str(value))}</td></tr>" for name, value in facts.items())
    queries = "".join(
        f'<tr id="{escape(q.id)}"><th scope=row>{escape(q.id)}</th><td><code>{escape(q.view)}</code></td>'
        f"<td>{escape(', '.join(f'{key} = {_filter(value)}' for key, value in q.filters.items()))}</td>"
        f"<td class=number>{q.rows:,}</td><td><code>{escape(q.sha256[:16])}</code></td></tr>"
        for q in document.queries
    )
    return f"""<section class="basis"><h2>Basis of preparation</h2>
<p>Each figure above cites the query it comes from. The same queries on the same snapshot give the same digests;
<code>aiplat report check</code> compares them. What is cited as S comes from the settings and as F from a file that was given;
the rest from the snapshot.</p>
<div class="table"><table><tbody>{rows}</tbody></table></div>
<div class="table"><table><caption>Queries</caption>
<thead><tr><th scope=col>Id</th><th scope=col>View</th><th scope=col>Filters</th>
<th scope=col class=number>Rows</th><th scope=col>Digest</th></tr></thead>
<tbody>{queries}</tbody></table></div></section>"""
