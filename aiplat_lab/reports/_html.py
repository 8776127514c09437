"""A report as one HTML file: no code, inline SVG, and nothing from outside."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from html import escape
from pathlib import Path

from aiplat_lab.reports._document import NOT_EVIDENCED, Block, Chart, Document, Figures, Table, Text


def render_html(document: Document, charts: Mapping[int, str]) -> str:
    """The whole page.

    Args:
        document: the report.
        charts: the SVG text of each chart, by its place among the document's blocks.
    """
    style = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    body = "\n".join(_block(block, charts.get(index, "")) for index, block in enumerate(document.blocks))
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
<p class="period">{escape(day(document.since))} to {escape(day(document.until))} · made {escape(clock(document.generated_at))}
<span class="status {document.status}">{document.status}</span></p>
{'<p class="demo">Demo ledger: every figure on this page is made up.</p>' if document.demo else ""}
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


def day(iso: str) -> str:
    """The date and minute of an ISO time, for a reader."""
    return clock(iso).removesuffix(" 00:00 UTC")


def clock(iso: str) -> str:
    """The date and time of an ISO time in UTC, for a reader."""
    return f"{iso[:10]} {iso[11:16]} UTC"


def _paragraphs(texts: Iterable[str]) -> str:
    return "\n".join(f"<p>{escape(text)}</p>" for text in texts)


def _cite(query: str) -> str:
    return f'<a class="cite" href="#{escape(query)}" aria-label="source: query {escape(query)}">{escape(query)}</a>'


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
    empty = "" if block.rows else '<p class="note">Nothing in this period.</p>'
    note = f'<p class="note">{escape(block.note)}</p>' if block.note else ""
    return (
        f'<div class="table"><table><caption>{escape(block.title)} {_cite(block.query)}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>{empty}{note}"
    )


def _block(block: Block, svg: str) -> str:
    if isinstance(block, Chart):
        return _chart(block, svg)
    writers: dict[str, Callable[[Block], str]] = {
        "heading": lambda b: f"<h2>{escape(b.text)}</h2>" if isinstance(b, Text) else "",
        "text": lambda b: f"<p>{escape(b.text)}</p>" if isinstance(b, Text) else "",
        "figures": lambda b: _figures(b) if isinstance(b, Figures) else "",
        "table": lambda b: _table(b) if isinstance(b, Table) else "",
    }
    return writers[block.kind](block)


def _basis(document: Document) -> str:
    basis = document.basis
    chain = "checked, holds" if basis["chain_holds"] else f"BROKEN: {basis['chain_reason']}"
    facts = {
        "Sealed snapshot (SHA-256)": basis["snapshot_sha256"] or "none: the live ledger was read",
        "Rows in the chain": f"{basis['rows']:,}",
        "Hash chain": chain,
        "Head of the chain": f"row {basis['head_seq']}, {basis['head_hash'] or 'empty ledger'}",
        "Currency": f"{basis['currency']} at {basis['usd_rate']} for one US dollar; the ledger keeps US dollars",
        "Made by": f"aiplat-lab {document.version}, report “{document.name}”",
    }
    rows = "".join(f"<tr><th scope=row>{escape(name)}</th><td>{escape(str(value))}</td></tr>" for name, value in facts.items())
    queries = "".join(
        f'<tr id="{escape(q.id)}"><th scope=row>{escape(q.id)}</th><td><code>{escape(q.view)}</code></td>'
        f"<td>{escape(', '.join(f'{key} = {value}' for key, value in q.filters.items()))}</td>"
        f"<td class=number>{q.rows:,}</td><td><code>{escape(q.sha256[:16])}</code></td></tr>"
        for q in document.queries
    )
    return f"""<section class="basis"><h2>Basis of preparation</h2>
<p>Each figure above cites the query it comes from. The same queries on the same snapshot give the same digests.</p>
<div class="table"><table><tbody>{rows}</tbody></table></div>
<div class="table"><table><caption>Queries</caption>
<thead><tr><th scope=col>Id</th><th scope=col>View</th><th scope=col>Filters</th>
<th scope=col class=number>Rows</th><th scope=col>Digest</th></tr></thead>
<tbody>{queries}</tbody></table></div></section>"""
