"""The parts of the Cost page as HTML: pure functions from the rows of the views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from aiplat_lab.charts import label
from aiplat_lab.core.text import money, seconds
from aiplat_lab.dashboards._html import Column, Row, compact, count, esc, link, note, share, table, when
from aiplat_lab.dashboards._query import FILTER_NAMES, OUTCOMES, PAGE_ROWS, PERIODS, STACKS, Query, as_filter

_MOST = 8
"""Names in a table before the rest folds away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Show:
    """What every part needs to know: the link's state and the currency of display."""

    query: Query
    currency: str = "USD"
    rate: Decimal = field(default=Decimal(1))

    def money(self, usd: Decimal | str | float | None) -> str:
        """An amount in the currency of display; None is `not measured`."""
        return "not measured" if usd is None else money(usd, currency=self.currency, rate=self.rate)

    def short(self, usd: Decimal | str | float | None) -> str:
        """The same for a table cell: cents at least, a dash for what was not measured."""
        return '<span class="quiet" title="not measured">–</span>' if usd is None else esc(self.money(usd))


# --- above the figures ----------------------------------------------------------------------------------------------


def banner(*, demo: bool, incidents: Sequence[str]) -> str:
    """What a reader must know before any figure: a demo ledger, an incident."""
    parts = []
    if demo:
        parts.append(
            '<div class="banner demo"><strong>Demo ledger</strong> Every call here is invented, to show what the page looks like '
            "in use. Your own calls are in your own home.</div>"
        )
    parts += [f'<div class="banner bad" role="alert"><strong>Incident</strong> {esc(text)}</div>' for text in incidents]
    return "".join(parts)


def crumbs(query: Query, filters: Sequence[str] = ("team", "project", "model", "prompt", "status")) -> str:
    """The way back: each filter that is on, with a link that takes it off."""
    on = [(name, getattr(query, name)) for name in filters if getattr(query, name)]
    if query.call:
        here = f'<li aria-current="page">Call <code>{esc(query.call)}</code></li>'
        trail = "".join(
            f"<li>{link(query.link(call='', **_after(on, i)), f'{name}: {_value(name, value)}')}</li>" for i, (name, value) in enumerate(on)
        )
        home = link(query.link(call="", **_after(on, -1)), "All calls")
        back = link(query.link(call=""), "Back to the overview", kind="button")
        return f'<nav aria-label="Breadcrumbs"><ol class="crumbs"><li>{home}</li>{trail}{here}</ol>{back}</nav>'
    if not on:
        return ""
    items = "".join(
        f'<li class="chip">{esc(name)}: <strong>{esc(_value(name, value))}</strong>'
        f' <a href="{esc(query.link(**{name: ""}))}" data-go="{esc(name)} page" aria-label="Take the filter {esc(name)} off">×</a></li>'
        for name, value in on
    )
    clear = link(query.link(**{name: "" for name, _ in on}), "Take all off")
    return f'<nav aria-label="Filters that are on"><ol class="crumbs">{items}<li>{clear}</li></ol></nav>'


def _after(on: Sequence[tuple[str, str]], index: int) -> dict[str, str]:
    return {name: "" for name, _ in on[index + 1 :]}


def _value(name: str, value: str) -> str:
    return OUTCOMES.get(value, value) if name == "status" else value


def headline(now: Row, before: Row | None, show: Show) -> str:
    """The figures of the period, each with what it was before."""
    calls, cost = now["calls"], now["cost_usd"]
    bad = (now["errors"] or 0) + (now["refused"] or 0)
    spend = show.money(cost if cost is not None or calls else Decimal(0))
    saved = now["saved_usd"]
    figures = [
        figure("Spend", spend, _change(cost, before["cost_usd"] if before else None, show.query), kind="hero"),
        figure("Calls", count(calls), _change(calls, before["calls"] if before else None, show.query)),
        figure("Saved by cache", show.money(saved), _saved(now, saved, cost)),
        figure(
            "Errors and refusals",
            count(bad),
            f"{share(bad, calls)} of calls; {count(now['errors'])} failed, {count(now['refused'])} refused",
            kind="bad" if bad else "",
        ),
        figure("Time to answer", seconds(now["latency_p50_s"]).replace("unknown", "not measured"), _slow(now["latency_p95_s"])),
    ]
    remark = ""
    if now["unpriced_calls"]:
        verb = "call has" if now["unpriced_calls"] == 1 else "calls have"
        remark = note(
            f"<strong>{count(now['unpriced_calls'])} {verb} no known price</strong>, so the spend shown leaves their cost out. "
            "Set a price for the model in <code>aiplat.toml</code> and new calls are priced.",
            kind="warn",
        )
    return f'<dl class="figures">{"".join(figures)}</dl>{remark}'


def figure(title: str, value: str, remark: str, *, kind: str = "") -> str:
    unknown = " unknown" if value == "not measured" else ""
    figure = f'<span class="value{unknown}">{esc(value)}</span><span class="remark">{esc(remark)}</span>'
    return f'<div class="figure {kind}"><dt>{esc(title)}</dt><dd>{figure}</dd></div>'


def _saved(now: Row, saved: Decimal | None, cost: Decimal | None) -> str:
    hits = f"{count(now['cache_hits'])} hits, {share(now['cache_hits'] or 0, now['calls'])} of calls"
    if not saved or cost is None:
        return hits
    return f"{hits}; {share(float(saved), float(saved + cost))} of the bill"


def _slow(p95: float | None) -> str:
    return "median" if p95 is None else f"median; 95\u00a0% of calls within {seconds(p95)}".replace(" s", "\u00a0s")


def _change(now: Decimal | int | None, before: Decimal | int | None, query: Query) -> str:
    """How much a figure grew, in words."""
    if query.since == "all":
        return "whole ledger"
    if before is None or now is None or not before:
        return "nothing to compare in the period before"
    change = float(now) / float(before) - 1
    if abs(change) < 0.0005:
        return "as in the period before"
    size = f"{abs(change):.1%}".replace("%", " %") if abs(change) < 9.995 else f"{abs(change) + 1:,.0f} times"
    if change > 9.995:
        return f"{size} the period before"
    return f"{'▲' if change > 0 else '▼'} {size} {'more' if change > 0 else 'less'} than in the period before"


# --- tables ---------------------------------------------------------------------------------------------------------


def names(rows: Sequence[Row], by: str, show: Show, *, wide: bool = False) -> str:
    """Spend of each name, the largest first, with a bar that compares them."""
    if not rows:
        return note("No calls in this period.")
    ordered = sorted(rows, key=lambda row: (-(row["cost_usd"] or 0), -row["calls"], label(row[by])))
    peak = max((row["cost_usd"] or 0 for row in ordered), default=0)
    whole = sum(row["cost_usd"] or 0 for row in ordered)

    def name(row: Row) -> str:
        width = 100 * float(row["cost_usd"] or 0) / float(peak) if peak else 0
        bar = f'<span class="bar" aria-hidden="true"><span style="width:{width:.1f}%"></span></span>'
        return link(show.query.link(**{by: as_filter(row[by])}), label(row[by]), sets=f"{by} page") + bar

    columns = [
        Column(title=STACKS.get(by, by.capitalize()), cell=name, heading=True, kind="name"),
        Column(title="Spend", cell=lambda row: _spend(row, show), number=True),
        Column(title="Share", cell=lambda row: share(float(row["cost_usd"] or 0), float(whole)), number=True, kind="quiet"),
        Column(title="Calls", cell=lambda row: count(row["calls"]), number=True),
    ]
    if wide:
        columns += [
            Column(title="Tokens in", cell=lambda row: compact(row["input_tokens"]), number=True),
            Column(title="Tokens out", cell=lambda row: compact(row["output_tokens"]), number=True),
            Column(title="Saved", cell=lambda row: show.short(row["saved_usd"]), number=True),
            Column(title="Errors", cell=lambda row: share(row["errors"], row["calls"]), number=True),
            Column(title="95 % within", cell=lambda row: esc(seconds(row["latency_p95_s"]).replace("unknown", "–")), number=True),
        ]
    caption = f"Spend by {by}"
    shown = table(columns, ordered[:_MOST], caption=caption, kind="names")
    rest = ordered[_MOST:]
    if not rest:
        return shown
    more = table(columns, rest, caption=f"{caption}, the others", kind="names")
    return f"{shown}<details><summary>{len(rest)} more</summary>{more}</details>"


def _spend(row: Row, show: Show) -> str:
    """Spend, with the number of calls that it leaves out since their price is not known."""
    without = row.get("unpriced_calls") or 0
    shown = show.short(row["cost_usd"] or None) if without else show.short(row["cost_usd"])
    return shown + (f'<span class="detail">{count(without)} unpriced</span>' if without else "")


def days(rows: Sequence[Row], show: Show) -> str:
    """The same figures as the chart of days, to read and to follow."""
    if not rows:
        return ""
    by_day: dict[date, dict[str, Any]] = {}
    for row in rows:
        sums = by_day.setdefault(
            row["day"], {"day": row["day"], "cost_usd": None, "saved_usd": None, "calls": 0, "errors": 0, "cache_hits": 0}
        )
        for name in ("calls", "errors", "cache_hits"):
            sums[name] += row[name] or 0
        for name in ("cost_usd", "saved_usd"):
            if row[name] is not None:
                sums[name] = (sums[name] or 0) + row[name]

    def day(row: Row) -> str:
        following = (row["day"] + timedelta(days=1)).isoformat()
        return link(show.query.link(since=row["day"].isoformat(), until=following), f"{row['day']:%a %-d %b %Y}", sets="since until page")

    columns = [
        Column(title="Day", cell=day, heading=True),
        Column(title="Spend", cell=lambda row: show.short(row["cost_usd"]), number=True),
        Column(title="Saved", cell=lambda row: show.short(row["saved_usd"]), number=True),
        Column(title="Calls", cell=lambda row: count(row["calls"]), number=True),
        Column(title="Cache hits", cell=lambda row: count(row["cache_hits"]), number=True),
        Column(title="Errors", cell=lambda row: count(row["errors"]), number=True),
    ]
    body = table(columns, [by_day[key] for key in sorted(by_day, reverse=True)], caption="Spend by day", kind="plain")
    return f"<details><summary>Show the days as a table</summary>{body}</details>"


def stack_choice(show: Show) -> str:
    """The choice of what the bars of the days are stacked by."""
    now = show.query.by or "team"
    items = "".join(
        f'<a href="{esc(show.query.link(by="" if by == "team" else by, page=show.query.page))}" data-go="by"'
        f"{' aria-current=true' if by == now else ''}>{esc(title)}</a>"
        for by, title in STACKS.items()
    )
    return f'<div class="choice" role="group" aria-label="Stack the bars by">{items}</div>'


def errors(rows: Sequence[Row], show: Show) -> str:
    """Calls without an answer by kind, with an example of each."""
    if not rows:
        return note("No call failed or was refused in this period.", kind="good")

    def kind(row: Row) -> str:
        what = row["error_type"] or row["policy"] or row["status"]
        detail = f'<span class="detail">{esc(row["message"])}</span>' if row.get("message") else ""
        return f'<span class="badge {esc(row["status"])}">{esc(row["status"])}</span> {esc(what)}{detail}'

    columns = [
        Column(title="Kind", cell=kind, heading=True, kind="name"),
        Column(title="Calls", cell=lambda row: count(row["calls"]), number=True),
        Column(title="Last", cell=lambda row: when(row["last_at"]), kind="nowrap"),
        Column(
            title="Example",
            cell=lambda row: (
                link(show.query.link(call=row["example_call_id"]), "Open", title=row["example_call_id"]) if row["example_call_id"] else "–"
            ),
        ),
    ]
    return table(columns, rows[:12], caption="Errors and refusals by kind", kind="plain")


def budgets(rows: Sequence[Mapping[str, Any]], show: Show) -> str:
    """Each budget with what is spent and held of it."""
    if not rows:
        return note(
            "No budget is set. Add a <code>[[budgets]]</code> entry to <code>aiplat.toml</code> "
            "to hold a team, a project or everyone to a limit."
        )
    parts = []
    for row in rows:
        limit, spent, held = (Decimal(str(row.get(name) or 0)) for name in ("limit_usd", "spent_usd", "held_usd"))
        used = float((spent + held) / limit) if limit else 1.0
        tone = "bad" if used >= 1 else "warn" if used >= 0.8 else ""
        name = f"{row['scope']} {row['name']}".strip() if row["scope"] != "everyone" else "everyone"
        kind = "refuses beyond the limit" if row.get("hard", True) else "shows only"
        each = "in total" if row["period"] == "total" else f"each {esc(row['period'])}"
        held_text = f", {esc(show.money(held))} held by calls in flight" if held else ""
        text = f"{esc(show.money(spent))} of {esc(show.money(limit))}{held_text}"
        parts.append(
            f'<li class="budget {tone}"><div><strong>{esc(name)}</strong> <span class="quiet">{each}, {kind}</span></div>'
            f'<div class="num">{text} <strong>{used:.0%}</strong></div>'
            f'<div class="meter" role="meter" aria-valuemin="0" aria-valuemax="100" aria-valuenow="{min(used, 1) * 100:.0f}" '
            f'aria-label="{esc(name)}, {each}"><span style="width:{min(used, 1) * 100:.1f}%"></span></div></li>'
        )
    return f'<ul class="budgets">{"".join(parts)}</ul>'


def calls(rows: Sequence[Row], show: Show) -> str:
    """One page of the calls, the newest first; each opens its full record."""
    if not rows and not show.query.offset:
        return note("No calls in this period.")
    columns = [
        Column(
            title="Time (UTC)",
            cell=lambda row: f'<a href="{esc(show.query.link(call=row["call_id"]))}" data-go>{when(row["started_at"])}</a>',
            heading=True,
            kind="nowrap",
        ),
        Column(title="Outcome", cell=outcome),
        Column(title="Model", cell=_model),
        Column(title="Team", cell=lambda row: esc(label(row["team"]))),
        Column(title="Project", cell=lambda row: esc(label(row["project"]))),
        Column(title="From", cell=_origin, kind="from"),
        Column(title="Tokens in", cell=lambda row: "–" if row["input_tokens"] is None else count(row["input_tokens"]), number=True),
        Column(title="Tokens out", cell=lambda row: "–" if row["output_tokens"] is None else count(row["output_tokens"]), number=True),
        Column(title="Cost", cell=lambda row: show.short(row["cost_usd"]), number=True),
        Column(title="Took", cell=lambda row: esc(seconds(row["latency_s"]).replace("unknown", "–")), number=True),
    ]
    first = show.query.offset + 1
    page = show.query.offset // PAGE_ROWS + 1
    links = []
    if page > 1:
        links.append(link(show.query.link(page=str(page - 1) if page > 2 else ""), "← Newer", kind="button"))
    if len(rows) == PAGE_ROWS:
        links.append(link(show.query.link(page=str(page + 1)), "Older →", kind="button"))
    stretch = f"Calls {first:,} to {show.query.offset + len(rows):,}, newest first"
    foot = f'<div class="pager"><span class="quiet">{stretch}</span>{"".join(links)}</div>'
    return table(columns, rows, caption="Calls, newest first", kind="plain calls") + foot


def outcome(row: Row) -> str:
    """How a call ended, as a word in a badge; a cache hit says so."""
    word = "cache hit" if row["cache"] == "hit" and row["status"] == "ok" else OUTCOMES.get(row["status"], row["status"]).lower()
    kind = "hit" if word == "cache hit" else row["status"]
    detail = f' <span class="quiet">{esc(row["error_type"])}</span>' if row.get("error_type") else ""
    return f'<span class="badge {esc(kind)}">{esc(word)}</span>{detail}'


def _model(row: Row) -> str:
    answered = row["response_model"]
    return esc(row["request_model"]) + (
        f' <span class="quiet">{esc(answered)}</span>' if answered and answered != row["request_model"] else ""
    )


def _origin(row: Row) -> str:
    prompt = f"{row['prompt_name']} {row['prompt_version'] or ''}".strip() if row.get("prompt_name") else ""
    return " · ".join(esc(part) for part in (row["notebook"] or row["surface"], prompt) if part)


# --- the first time -------------------------------------------------------------------------------------------------


def empty() -> str:
    """What a ledger without a call teaches."""
    return """<div class="empty"><h2>No calls yet</h2>
<p>Every call that goes through the gateway is counted here: what it cost, who made it, which model answered.
Make the first one, and it appears when you open this page again.</p>
<ol>
<li><strong>In a notebook</strong><pre>%load_ext aiplat_lab</pre><pre>%%ai
In one sentence: why keep a ledger of model calls?</pre></li>
<li><strong>In Python</strong><pre>import aiplat_lab
aiplat_lab.chat("Why keep a ledger of model calls?").text</pre></li>
<li><strong>In a terminal</strong><pre>aiplat quickstart --headless</pre></li>
</ol>
<p>The embedded model needs no key and costs nothing. To see this page filled with invented calls, kept apart from your own, run</p>
<pre>aiplat demo</pre></div>"""


def nothing(query: Query, *, what: str = "call") -> str:
    """What a period or filter offers in which nothing of that kind is."""
    wider = link(query.link(since="all", until=""), "Show the whole ledger")
    off = link(query.link(**dict.fromkeys(FILTER_NAMES, "")), "Take the filters off")
    return note(f"No {what} matches this period and these filters. {wider} or {off}.")


def impossible(message: str, query: Query) -> str:
    """What stands in place of the figures when the link's period makes no sense."""
    back = link(query.link(since="", until=""), "Show the last 30 days")
    return (
        f'<div class="failure" role="alert"><strong>The period in the link cannot be shown</strong><p>{esc(message)}</p><p>{back}</p></div>'
    )


def period_title(query: Query) -> str:
    """The period in words, for the page's title."""
    if query.until or query.since not in PERIODS:
        return f"{query.since or '30d'} to {query.until or 'now'}"
    return PERIODS[query.since]
