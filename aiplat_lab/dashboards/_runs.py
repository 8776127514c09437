"""Evaluation runs as HTML: the list with its intervals, two runs compared, the slices of both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aiplat_lab import stats
from aiplat_lab.charts import label
from aiplat_lab.core.text import seconds
from aiplat_lab.dashboards._html import Column, Row, count, esc, link, note, share, table, when
from aiplat_lab.dashboards._results import STATES, is_lower_better, is_whole, main_scorer, prompt_of
from aiplat_lab.dashboards._sections import Show, figure

_SHOWN = 12
"""Runs in the list before the rest folds away."""
_SLICES = 8
"""Slices in the table before the rest folds away."""
NOT_EVIDENCED = "not evidenced"
_VERDICTS = {"better": "Better", "not_worse": "Not worse", "worse": "Worse", "cannot_tell": "Cannot tell"}
_QUIET = f'<span class="quiet">{NOT_EVIDENCED}</span>'


def score_text(value: float | None) -> str:
    """A score: a rate in per cent, any other as a number; what was not measured is not evidenced."""
    if value is None:
        return NOT_EVIDENCED
    return f"{100 * value:.1f}\u00a0%" if 0 <= value <= 1 else f"{value:.4g}"


def difference_text(value: float | None, unit: str = "points") -> str:
    """A difference with its sign, in points of a rate or in the scorer's unit."""
    if value is None:
        return "–"
    if unit != "points":
        return f"{value:+.3g}".replace("-", "−")
    shown = f"{100 * value:+.1f}".replace("-", "−")
    return "0.0" if shown in {"+0.0", "−0.0"} else shown


def title_of(row: Row) -> str:
    """How a run is called: its own name, or what it evaluated."""
    return str(row["name"] or prompt_of(row))


def short_name(row: Row) -> str:
    """What was evaluated, as a comparison calls it."""
    return f"{prompt_of(row)} on {row['model']}"


def names_of(before: Row, now: Row) -> tuple[str, str]:
    """Names that tell two runs apart."""
    first, second = short_name(before), short_name(now)
    if first != second:
        return first, second
    return f"the run of {before['started_at']:%-d %b %H:%M}", f"the run of {now['started_at']:%-d %b %H:%M}"


# --- above ----------------------------------------------------------------------------------------------------------


def headline(rows: Sequence[Row], show: Show) -> str:
    """The figures of the runs in the period."""
    partial = [row for row in rows if not is_whole(row)]
    asked, errors = sum(row["asked"] for row in rows), sum(row["errors"] for row in rows)
    scored = sum(row["scored"] for row in rows)
    costs = [row["cost_usd"] for row in rows if row["cost_usd"] is not None]
    newest = next((row for row in rows if is_whole(row) and row["score"] is not None), None)
    remark = "no whole run with a score in this period"
    if newest is not None:
        ends = "" if newest["low"] is None else f"{score_text(newest['low'])} to {score_text(newest['high'])}; "
        remark = f"{ends}{prompt_of(newest)} on {newest['evalset']}"
    evalsets = {row["evalset"] for row in rows}
    whole = f"on {len(evalsets)} evalset{'' if len(evalsets) == 1 else 's'}"
    figures = [
        figure("Newest score", score_text(newest["score"] if newest else None), remark, kind="hero"),
        figure("Runs", count(len(rows)), f"{whole}; {len(partial)} not complete" if partial else f"{whole}, all complete"),
        figure("Answers scored", count(scored), f"samples, each counted once a run; {count(asked)} answers asked for"),
        figure(
            "Without an answer",
            count(errors),
            f"{share(errors, asked)} of answers; kept apart from wrong ones",
            kind="bad" if errors else "",
        ),
        figure("Cost of evaluating", show.money(sum(costs[1:], costs[0]) if costs else None), "of the answers in these runs"),
    ]
    return f'<dl class="figures">{"".join(figures)}</dl>'


# --- the list -------------------------------------------------------------------------------------------------------


def runs(rows: Sequence[Row], now: Row | None, before: Row | None, show: Show) -> str:
    """The runs, newest first: what was asked, how it ended, and the mean score with its interval."""
    if not rows:
        return note("No run in this period.")
    span = _span(rows)

    def name(row: Row) -> str:
        here = now is not None and row["run_id"] == now["run_id"]
        mark = ' <span class="badge ok">shown</span>' if here else ""
        target = show.query.link(run=row["run_id"], against="", sample="", which="")
        detail = f"{esc(row['evalset'])} · {when(row['started_at'])}"
        return f'{link(target, title_of(row), sets="run against sample which page")}{mark}<span class="detail">{detail}</span>'

    def compare(row: Row) -> str:
        if now is None or row["run_id"] == now["run_id"]:
            return ""
        if before is not None and row["run_id"] == before["run_id"]:
            return '<span class="badge">compared</span>'
        if row["evalset"] != now["evalset"]:
            return ""
        target = show.query.link(run=now["run_id"], against=row["run_id"], sample="", which="")
        return link(target, "Compare", title=f"Compare with {title_of(now)}", sets="run against sample which page")

    columns = [
        Column(title="Run", cell=name, heading=True, kind="name"),
        Column(title="Prompt and model", cell=_config),
        Column(title="Score", cell=lambda row: f"{_score(row)}", number=True),
        Column(title=_scale_title(span), cell=lambda row: reach(row, span), kind="graph"),
        Column(title="Samples", cell=_samples, number=True),
        Column(title="Errors", cell=lambda row: count(row["errors"]) if row["asked"] else "–", number=True),
        Column(title="Cost", cell=lambda row: show.short(row["cost_usd"]), number=True),
        Column(title="", cell=compare, kind="nowrap"),
    ]
    shown = table(columns, rows[:_SHOWN], caption="Evaluation runs, newest first", kind="plain runs")
    if len(rows) <= _SHOWN:
        return shown
    rest = table(columns, rows[_SHOWN:], caption="Evaluation runs, the older ones", kind="plain runs")
    return f"{shown}<details><summary>{len(rows) - _SHOWN} older runs</summary>{rest}</details>"


def _config(row: Row) -> str:
    return f'{esc(prompt_of(row))}<span class="detail">{esc(label(row["model"]))}</span>'


def _score(row: Row) -> str:
    if row["score"] is None:
        return _QUIET
    ends = "no interval" if row["low"] is None else f"{_bare(row['low'])} to {_bare(row['high'])}"
    return f'<strong>{esc(score_text(row["score"]))}</strong><span class="detail">{esc(ends)}</span>'


def _bare(value: float) -> str:
    return score_text(value).removesuffix("\u00a0%")


def _samples(row: Row) -> str:
    scored = count(row["scored"])
    of = "" if row["scored"] == row["samples"] else f" of {count(row['samples'])}"
    state = "" if is_whole(row) else f'<span class="detail">{state_badge(row)}</span>'
    return f"{scored}{of}{state}"


def state_badge(row: Row) -> str:
    """How a run ended, with the reason on hover."""
    state = STATES.get(row["status"] or "", str(row["status"]))
    kind = {"complete": "ok", "failed": "error"}.get(row["status"] or "", "refused")
    reason = f' title="{esc(row["reason"])}"' if row["reason"] else ""
    return f'<span class="badge {kind}"{reason}>{esc(state)}</span>'


def _span(rows: Sequence[Row]) -> tuple[float, float]:
    """The scale that all intervals are drawn on: 0 to 1 for rates."""
    known = [float(row[name]) for row in rows for name in ("score", "low", "high") if row[name] is not None]
    if not known or (min(known) >= 0 and max(known) <= 1):
        return 0.0, 1.0
    return min(known), max(known)


def _scale_title(span: tuple[float, float]) -> str:
    return "0 to 100 %" if span == (0.0, 1.0) else f"{span[0]:.3g} to {span[1]:.3g}"


def reach(row: Row, span: tuple[float, float]) -> str:
    """The mean with its interval as a small picture; the figures stand beside it in words."""
    if row["score"] is None:
        return ""
    low, high = (row["score"] if row[name] is None else row[name] for name in ("low", "high"))
    whole = (span[1] - span[0]) or 1.0
    left, right, dot = (100 * (float(value) - span[0]) / whole for value in (low, high, row["score"]))
    kind = "" if is_whole(row) else " open"
    line = f"left:{left:.1f}%;width:{max(right - left, 0.5):.1f}%"
    return (
        f'<span class="reach{kind}" aria-hidden="true"><span class="line" style="{line}"></span>'
        f'<span class="dot" style="left:{dot:.1f}%"></span></span>'
    )


# --- two runs -------------------------------------------------------------------------------------------------------


def comparison(now: Row, before: Row | None, found: stats.Comparison | None, left_out: int, show: Show) -> str:
    """Two runs on the same samples, with everything that a reader needs to judge the verdict."""
    head = _sides(now, before, show)
    if before is None:
        why = f"There is no earlier run on <strong>{esc(now['evalset'])}</strong> in this period to compare it with."
        return head + note(f"{why} Choose a longer period, or run another version: <code>aiplat eval run {esc(now['evalset'])}</code>")
    remarks = _caveats(now, before, left_out)
    if found is None:
        return (
            head
            + note("No sample has a score in both runs, so nothing can be compared: the difference is not evidenced.", kind="warn")
            + remarks
        )
    unit = "points" if found.unit == "points" else f" {found.unit}".rstrip()
    low, high = difference_text(found.low, found.unit), difference_text(found.high, found.unit)
    smallest = found.minimum_detectable_effect
    missed = "none: so few samples could show no difference" if smallest is None else f"{_size(smallest, found.unit)} {unit}"
    facts = [
        ("Paired difference", f"<strong>{difference_text(found.difference, found.unit)} {esc(unit)}</strong>"),
        (f"{100 * found.level:.0f} % interval", f"{low} to {high} {esc(unit)} ({esc(found.interval_method)})"),
        ("Test", f"{esc(found.method)}, p = {found.p_value:.3g}"),
        ("Samples in both", count(found.n) + (f" in {count(found.clusters)} clusters" if found.clusters else "")),
        ("Smallest difference to be seen", esc(missed) if smallest is None else f"{esc(missed)} with a chance of 80 %"),
        ("Margin", f"{_size(found.margin, found.unit)} {esc(unit)}"),
    ]
    if found.only_a is not None:
        facts.append(("Right in one run alone", f"{count(found.only_b)} now, {count(found.only_a)} before"))
    lines = "".join(f"<div><dt>{title}</dt><dd>{value}</dd></div>" for title, value in facts)
    verdict = f'<p class="verdict {found.verdict}"><span class="badge">{_VERDICTS[found.verdict]}</span> {esc(found.sentence)}</p>'
    return f'{head}{verdict}<dl class="facts wide two">{lines}</dl>{remarks}'


def _size(value: float, unit: str) -> str:
    return f"{100 * value:.3g}" if unit == "points" else f"{value:.3g}"


def _sides(now: Row, before: Row | None, show: Show) -> str:
    def side(title: str, row: Row) -> str:
        state = "" if is_whole(row) else f" {state_badge(row)}"
        mean_s = "–" if row["latency_s"] is None else seconds(row["latency_s"])
        said = (
            f"{count(row['scored'])} samples scored, {count(row['errors'])} without an answer; {show.money(row['cost_usd'])}, {mean_s} each"
        )
        ends = "" if row["low"] is None else f'<span class="quiet"> {_bare(row["low"])} to {_bare(row["high"])}</span>'
        return (
            f'<div class="side"><span class="quiet">{title}</span><strong>{esc(title_of(row))}</strong>{state}'
            f'<span class="detail">{esc(short_name(row))} · {when(row["started_at"])}</span>'
            f'<span class="value">{esc(score_text(row["score"]))}{ends}</span>'
            f'<span class="detail">{esc(said)}</span></div>'
        )

    return f'<div class="sides">{side("Before", before) if before is not None else ""}{side("Now", now)}</div>'


def _caveats(now: Row, before: Row, left_out: int) -> str:
    """What a reader must know before trusting the comparison."""
    said = []
    if now["evalset_hash"] != before["evalset_hash"]:
        said.append("the evalset was changed between the two runs, so only samples of the same id are compared")
    if main_scorer(now) != main_scorer(before):
        said.append(f"the main scorers differ ({esc(main_scorer(before))} before, {esc(main_scorer(now))} now)")
    said += [f"the run {name} is {_ended(row)}" for name, row in (("before", before), ("now", now)) if not is_whole(row)]
    if left_out == 1:
        said.append("one sample was left out, since a run has no score for it")
    elif left_out:
        said.append(f"{count(left_out)} samples were left out, since a run has no score for them")
    if is_lower_better(now):
        said.append(f"of {esc(main_scorer(now))} less is better")
    if not said:
        return ""
    text = "; ".join(said)
    return note(f"{text[0].upper()}{text[1:]}.", kind="warn")


def _ended(row: Row) -> str:
    state = STATES.get(row["status"] or "", str(row["status"]))
    return esc(f"{state}: {row['reason']}" if row["reason"] else state)


def slices(rows: Sequence[Row], *, paired: bool) -> str:
    """The scores of each slice, and how they changed."""
    if not rows:
        return note(
            "The samples of this run name no slices. Give each sample of the evalset its <code>slices</code>, and they are told apart here."
        )
    columns = [
        Column(
            title="Slice", cell=lambda row: f'<span class="quiet">{esc(row["key"])}</span> {esc(row["value"])}', heading=True, kind="name"
        ),
        Column(title="Samples", cell=lambda row: count(row["samples"]), number=True),
        Column(title="Now", cell=lambda row: _QUIET if row["now"] is None else esc(score_text(row["now"])), number=True),
    ]
    if paired:
        columns += [
            Column(title="Change", cell=_slice_difference, number=True),
            Column(title="p", cell=lambda row: f"{row['p_value']:.2g}" if "p_value" in row else "–", number=True, kind="quiet"),
        ]
        remark = note("For exploring: p-values are corrected for the number of slices (Benjamini and Hochberg), and most slices are small.")
    else:
        columns.append(Column(title="95 % interval", cell=_own_interval, number=True, kind="quiet"))
        remark = ""
    shown = table(columns, rows[:_SLICES], caption="Scores by slice", kind="plain slices")
    if len(rows) > _SLICES:
        rest = table(columns, rows[_SLICES:], caption="Scores by slice, the others", kind="plain slices")
        shown += f"<details><summary>{len(rows) - _SLICES} more slices</summary>{rest}</details>"
    return shown + remark


def _slice_difference(row: Row) -> str:
    found: Any = row["comparison"]  # Any: a Comparison or None
    if found is None:
        return _QUIET
    tone = {"better": "up", "worse": "down"}.get(found.verdict, "") if row.get("p_value", 1) <= 0.05 else ""
    ends = f"{difference_text(found.low, found.unit)} to {difference_text(found.high, found.unit)}"
    return f'<span class="{tone}">{difference_text(found.difference, found.unit)}</span><span class="detail">{ends}</span>'


def _own_interval(row: Row) -> str:
    return "–" if row["low"] is None else f"{_bare(row['low'])} to {_bare(row['high'])}"


# --- the first time -------------------------------------------------------------------------------------------------


def empty() -> str:
    """What a ledger without a run teaches."""
    return """<div class="empty"><h2>No evaluation runs yet</h2>
<p>An evaluation asks a model the same samples each time and scores the answers, so that a change of prompt or model can be judged by
more than one example. Each run appears here with its interval, beside the runs before it.</p>
<ol>
<li><strong>In a terminal</strong>: what it would cost, then the run itself
<pre>aiplat eval run ticket-classification --prompt classify --dry-run
aiplat eval run ticket-classification --prompt classify</pre></li>
<li><strong>In a notebook</strong><pre>import aiplat_lab
run = aiplat_lab.evaluate("ticket-classification", prompt="classify")</pre></li>
<li><strong>Then a second one</strong>, with another prompt or model, and the two stand side by side here.</li>
</ol>
<p>The embedded model needs no key and costs nothing. To see this page filled with invented runs, kept apart from your own, run</p>
<pre>aiplat dashboard --demo</pre></div>"""
