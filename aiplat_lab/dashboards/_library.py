"""Prompts as the page shows them: the catalogue, the versions of one with what they did, the moves of its labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aiplat_lab.core.text import seconds
from aiplat_lab.dashboards import _diff
from aiplat_lab.dashboards._data import MEASURES, totals
from aiplat_lab.dashboards._html import Column, Row, compact, count, esc, link, note, share, table, when
from aiplat_lab.dashboards._query import Query, as_filter
from aiplat_lab.dashboards._results import is_whole
from aiplat_lab.dashboards._runs import score_text
from aiplat_lab.dashboards._sections import Show, figure

_QUIET = '<span class="quiet">not evidenced</span>'
_UNUSED: Mapping[str, Any] = {**dict.fromkeys(MEASURES), "calls": 0, "errors": 0, "refused": 0, "unpriced_calls": 0}
_NONE = '<span class="quiet">–</span>'


# --- what the parts are made from -----------------------------------------------------------------------------------


def catalogue(saved: Sequence[Row], labels: Sequence[Row], use: Sequence[Row]) -> list[dict[str, Any]]:
    """Every prompt that was saved or used: its versions, its labels, and what its calls took; the most used first."""
    versions: dict[str, list[Row]] = {}
    for row in saved:
        versions.setdefault(row["name"], []).append(row)
    used: dict[str, list[Row]] = {}
    for row in use:
        used.setdefault(row["prompt_name"], []).append(row)
    found = []
    for name in dict.fromkeys([*used, *versions]):
        calls = used.get(name, [])
        last = [row["last_at"] for row in calls]
        sums = {**_UNUSED, **totals(calls)} if calls else _UNUSED
        marks = {row["label"]: row["version"] for row in labels if row["name"] == name}
        found.append({"name": name, "versions": versions.get(name, []), "labels": marks, "last_at": max(last, default=None), **sums})
    return sorted(found, key=lambda row: (-row["calls"], row["name"]))


def chosen(rows: Sequence[Row], query: Query) -> str:
    """The prompt that is looked at: the one of the filter, or the most used of those that were saved."""
    if query.prompt:
        return query.prompt
    return str(next((row["name"] for row in rows if row["versions"]), rows[0]["name"] if rows else ""))


def two_versions(saved: Sequence[Row], query: Query) -> tuple[str, str]:
    """The versions that are compared, the earlier first: those of the link, or the newest and the one before it."""
    names = [row["version"] for row in saved]
    if not names:
        return "", ""
    now = query.version if query.version in names else names[-1]
    place = names.index(now)
    before = query.base if query.base in names else names[place - 1] if place else ""
    return before, now


def by_version(saved: Sequence[Row], use: Sequence[Row], runs: Sequence[Row], name: str) -> list[dict[str, Any]]:
    """The versions of a prompt, newest first, each with its calls and the newest whole run on each evalset."""
    used = {row["prompt_version"]: row for row in use if row["prompt_name"] == name}
    known = {row["version"]: row for row in saved}
    scores: dict[str, dict[str, Row]] = {}
    for run in runs:
        if run["prompt_name"] == name and run["score"] is not None and is_whole(run):
            scores.setdefault(run["prompt_version"], {}).setdefault(run["evalset"], run)
    order = [*(version for version in used if version not in known), *known]
    empty = {"change": "", "reason": "", "author": "", "message": "", "recorded_at": None}
    return [
        {
            "version": version,
            **empty,
            **known.get(version, {}),
            "use": used.get(version),
            "scores": list(scores.get(version, {}).values()),
        }
        for version in reversed(order)
    ]


# --- the parts ------------------------------------------------------------------------------------------------------


def headline(rows: Sequence[Row], moves: Sequence[Row], experiments: Sequence[Row], show: Show) -> str:
    """The figures of all prompts in the period."""
    saved = [row for row in rows if row["versions"]]
    versions = sum(len(row["versions"]) for row in rows)
    sums = totals(rows) if rows else {"calls": 0, "cost_usd": None, "errors": 0}
    bad = (sums["errors"] or 0) + (sums.get("refused") or 0)
    production = sum("production" in row["labels"] for row in rows)
    votes = sum(row["votes"] for row in experiments)
    unsaved = len(rows) - len(saved)
    figures = [
        figure(
            "Prompts",
            count(len(saved)),
            f"{count(versions)} versions" + (f"; {unsaved} more used and never saved" if unsaved else ""),
            kind="hero",
        ),
        figure("In production", count(production), "prompts whose label production points somewhere"),
        figure("Calls with a prompt", count(sums["calls"]), f"{share(bad, sums['calls'] or 0)} failed or refused"),
        figure("Cost of these calls", show.money(sums["cost_usd"]), "in this period"),
        figure("Label moves", count(len(moves)), f"in this period; {count(votes)} votes in {count(len(experiments))} experiments"),
    ]
    return f'<dl class="figures">{"".join(figures)}</dl>'


def listing(rows: Sequence[Row], here: str, show: Show) -> str:
    """The catalogue; each prompt opens its versions."""

    def name(row: Row) -> str:
        mark = ' <span class="badge ok">shown</span>' if row["name"] == here else ""
        return link(show.query.link(prompt=as_filter(row["name"])), row["name"], sets="prompt version base experiment page") + mark

    columns = [
        Column(title="Prompt", cell=name, heading=True, kind="name"),
        Column(title="Labels", cell=lambda row: label_chips(row["labels"]) or _NONE),
        Column(title="Versions", cell=lambda row: count(len(row["versions"])) if row["versions"] else "never saved", number=True),
        Column(title="Calls", cell=lambda row: count(row["calls"]), number=True),
        Column(title="Failed", cell=lambda row: share((row["errors"] or 0) + (row.get("refused") or 0), row["calls"]), number=True),
        Column(title="Cost", cell=lambda row: show.short(row["cost_usd"]), number=True),
        Column(title="Last used (UTC)", cell=lambda row: when(row["last_at"]), kind="nowrap"),
    ]
    return table(columns, rows, caption="Prompts, the most used first", kind="plain prompts")


def label_chips(labels: Mapping[str, str], *, bare: bool = False) -> str:
    """Labels with the versions they point at, `production` first; `bare` leaves the versions out."""
    ordered = sorted(labels.items(), key=lambda item: (item[0] != "production", item[0]))
    return "".join(
        f'<span class="tag{" live" if name == "production" else ""}">{esc(name)}'
        f"{'' if bare else f' <strong>{esc(version)}</strong>'}</span>"
        for name, version in ordered
    )


def versions(rows: Sequence[Row], labels: Mapping[str, str], two: tuple[str, str], show: Show) -> str:
    """The versions of one prompt with what each did: use, cost, speed, failures, scores."""
    if not rows:
        return note("This prompt has no saved version and no call in this period.")

    def version(row: Row) -> str:
        chips = label_chips({name: at for name, at in labels.items() if at == row["version"]}, bare=True)
        change = f'<span class="badge change {esc(row["change"])}">{esc(row["change"])}</span> ' if row["change"] else ""
        said = " · ".join(esc(part) for part in (row["message"], row["reason"]) if part) or "used, and never saved under this version"
        by = " · ".join(part for part in (esc(row["author"] or ""), when(row["recorded_at"]) if row["recorded_at"] else "") if part)
        details = "".join(f'<span class="detail">{text}</span>' for text in (said, by) if text)
        return f"<strong>{esc(row['version'] or 'none given')}</strong> {change}{chips}{details}"

    def changes(row: Row) -> str:
        if not row["recorded_at"]:
            return ""
        if row["version"] == two[1]:
            return '<span class="badge">shown below</span>'
        return link(show.query.link(version=row["version"], base="", page=show.query.page), "Changes", sets="version base")

    columns = [
        Column(title="Version", cell=version, heading=True, kind="name"),
        Column(title="Calls", cell=lambda row: count(row["use"]["calls"]) if row["use"] else "0", number=True),
        Column(title="Failed", cell=_failed, number=True),
        Column(title="Cost a call", cell=lambda row: _each(row, show), number=True),
        Column(title="Tokens in / out", cell=_tokens, number=True),
        Column(title="95 % within", cell=_slow, number=True),
        Column(title="Evaluation score", cell=lambda row: _scores(row, show), kind="scores"),
        Column(title="", cell=changes, kind="nowrap"),
    ]
    return table(columns, rows, caption="Versions, newest first", kind="plain versions")


def _failed(row: Row) -> str:
    use = row["use"]
    return share(use["errors"] + use["refused"], use["calls"]) if use else _NONE


def _each(row: Row, show: Show) -> str:
    use = row["use"]
    priced = use["calls"] - use["unpriced_calls"] if use else 0
    return show.short(use["cost_usd"] / priced) if use and priced and use["cost_usd"] is not None else _NONE


def _tokens(row: Row) -> str:
    use = row["use"]
    answered = use["calls"] - use["errors"] - use["refused"] if use else 0
    if not use or not answered or use["input_tokens"] is None:
        return _NONE
    return f"{compact(round(use['input_tokens'] / answered))} / {compact(round((use['output_tokens'] or 0) / answered))}"


def _slow(row: Row) -> str:
    use = row["use"]
    return esc(seconds(use["latency_p95_s"])) if use and use["latency_p95_s"] is not None else _NONE


def _scores(row: Row, show: Show) -> str:
    if not row["scores"]:
        return _QUIET
    parts = []
    for run in row["scores"]:
        ends = "" if run["low"] is None else f", {score_text(run['low'])} to {score_text(run['high'])}"
        target = f"evaluation{Query(run=run['run_id'], since='all', theme=show.query.theme).link()}"
        parts.append(
            f'<a href="{esc(target)}">{esc(score_text(run["score"]))}</a>'
            f'<span class="detail">{esc(run["evalset"])}, n = {count(run["scored"])}{esc(ends)}</span>'
        )
    return "".join(parts)


def diff(texts: Mapping[str, str], rows: Sequence[Row], two: tuple[str, str], show: Show) -> str:
    """What changed between two versions of the file, with a choice of the version to compare with."""
    before, now = two
    if not now:
        return note("No version of this prompt was saved, so there is no text to show. <code>aiplat prompts save FILE</code> saves one.")
    if not before:
        return note(f"{esc(now)} is the first version.") + f'<pre class="file">{esc(texts.get(now, ""))}</pre>'
    others = [row["version"] for row in rows if row["recorded_at"] and row["version"] != now][:8]
    items = "".join(
        f'<a href="{esc(show.query.link(version=now, base=other, page=show.query.page))}" data-go="version base"'
        f"{' aria-current=true' if other == before else ''}>{esc(other)}</a>"
        for other in others
    )
    choice = f'<div class="choice" role="group" aria-label="Compare {esc(now)} with">{items}</div>'
    reason = next((row for row in rows if row["version"] == now), {})
    why = f"{reason.get('change', '')}: {reason['reason']}" if reason.get("reason") else ""
    title = f'<p class="from">From <strong>{esc(before)}</strong> to <strong>{esc(now)}</strong> <span class="quiet">{esc(why)}</span></p>'
    return choice + title + _diff.table(texts.get(before, ""), texts.get(now, ""), names=(before, now))


def history(rows: Sequence[Row], name: str, show: Show) -> str:
    """The moves of a prompt's labels: who, when, from where to where, why."""
    if not rows:
        return note(
            f"No label of this prompt was moved. <code>aiplat prompts label {esc(name)} production VERSION</code> says which one is in use."
        )
    items = []
    for row in rows:
        step = (
            f"<strong>{esc(row['from_version'])}</strong> → <strong>{esc(row['version'])}</strong>"
            if row["from_version"]
            else f"<strong>{esc(row['version'])}</strong>"
        )
        run = row.get("evidence_run")
        proof = f' <a href="{esc("evaluation" + Query(run=run, since="all", theme=show.query.theme).link())}">evidence</a>' if run else ""
        items.append(
            f'<li><span class="tag{" live" if row["label"] == "production" else ""}">{esc(row["label"])}</span> {step}{proof}'
            f'<span class="detail">{esc(row["reason"] or "no reason given")}</span>'
            f'<span class="detail">{esc(row["moved_by"] or "somebody")} · {when(row["recorded_at"])}</span></li>'
        )
    return f'<ol class="history">{"".join(items)}</ol>'


# --- the first time -------------------------------------------------------------------------------------------------


def empty() -> str:
    """What a ledger without a prompt teaches."""
    return """<div class="empty"><h2>No prompts yet</h2>
<p>A prompt is a text file with its variables, model and settings. Each saved version stays as it was; a label such as
<code>production</code> says which one is in use; and every call knows the version that it used.</p>
<ol>
<li><strong>Save one</strong> from the library that comes with aiplat, or a file of your own
<pre>aiplat prompts list
aiplat prompts save my-prompt.prompt.md --message "first"</pre></li>
<li><strong>Put it in production</strong><pre>aiplat prompts label my-prompt production 1.0.0 --reason "first one in use"</pre></li>
<li><strong>Use it in a notebook</strong><pre>%%ai --prompt my-prompt@production
text: The boiler makes a knocking sound.</pre></li>
<li><strong>Compare two versions</strong>, blind, with votes<pre>import aiplat_lab
aiplat_lab.ab(["my-prompt@1.0.0", "my-prompt@1.1.0"], inputs=[{"text": "…"}])</pre></li>
</ol>
<p>To see this page filled with invented prompts, kept apart from your own, run</p>
<pre>aiplat dashboard --demo</pre></div>"""
