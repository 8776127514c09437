"""The charts of evaluation runs: scores with their intervals, one under the other, over time, and against their cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import altair as alt

from aiplat_lab.charts.cost import _tip, _unchecked
from aiplat_lab.charts.frames import Frame, label, number, records
from aiplat_lab.charts.theme import Look, colours, config
from aiplat_lab.core.text import SIGNS, money

_POINTS = 60
_HIGH = alt.Y2("high")


@_unchecked
def score_by_run(frame: Frame, *, look: Look | None = None, most: int = 30) -> Any:  # Any, here and below: Altair comes without types
    """The mean score of each run as a point with its interval, in the order of the rows.

    Args:
        frame: columns `name`, `score`, `low`, `high`, `scored`; a run without a score is left out.
        look: theme and width; the height follows from the number of runs.
        most: how many runs are drawn.
    """
    look = look or Look()
    values = [{**_drawn(row), "name": label(row["name"])} for row in records(frame) if row["score"] is not None][:most]
    y = alt.Y("name:N", sort=None, title=None, axis=alt.Axis(domain=False, ticks=False, labelColor=look.theme.ink, labelLimit=220))
    x = alt.X("low:Q", title=None, axis=_score_axis(values), scale=_score_scale(values))
    tips = [_tip("name", "Run"), _tip("said", "Score"), _tip("scored", "Samples", "Q")]
    rules = alt.Chart().mark_rule(strokeWidth=2, color=look.theme.accent, aria=False).encode(x=x, x2=alt.X2("high"), y=y, tooltip=tips)
    points = alt.Chart().mark_point(filled=True, size=70, color=look.theme.accent, aria=False, opacity=1)
    points = points.encode(x=alt.X("score:Q"), y=y, tooltip=tips)
    return _finished([rules, points], values, look, "Scores of evaluation runs with their intervals", height=max(1, len(values)) * 26)


@_unchecked
def score_trend(frame: Frame, *, look: Look | None = None) -> Any:
    """Scores over time with their intervals, and a mark where another version of the prompt came in.

    Args:
        frame: columns `started_at`, `score`, `low`, `high`, `scored`, `series` (what stands in one line), `version`, `name`.
            A run without a score is left out.
        look: theme and size.
    """
    look = look or Look()
    rows = sorted((row for row in records(frame) if row["score"] is not None), key=lambda row: row["started_at"])
    values = [{**_drawn(row), "name": label(row["name"]), "at": _moment(row["started_at"]), "series": label(row["series"])} for row in rows]
    marks = _version_marks(rows)
    names = list(dict.fromkeys(row["series"] for row in values))
    palette = colours(names, look.theme)
    scale = alt.Scale(domain=names or ["none"], range=[palette[name] for name in names] or [look.theme.other])
    color = alt.Color("series:N", scale=scale, legend=alt.Legend(columns=alt.ExprRef("width < 520 ? 3 : 0")) if len(names) > 1 else None)
    x = alt.X(
        "at:T",
        title=None,
        scale=alt.Scale(type="utc"),
        axis=alt.Axis(format="%-d %b", grid=False, labelOverlap=True, labelFlush=False, tickCount=6),
    )
    y = alt.Y("score:Q", title=None, axis=_score_axis(values), scale=_score_scale(values))
    tips = [alt.Tooltip("at:T", title="Run", format="%-d %b %Y, %H:%M"), _tip("name", "Name"), _tip("version", "Version")]
    tips += [_tip("said", "Score"), _tip("scored", "Samples", "Q")]
    layers = [
        alt.Chart().mark_rule(strokeWidth=1.5, opacity=0.55, aria=False).encode(x=x, y=alt.Y("low:Q"), y2=_HIGH, color=color, tooltip=tips),
        alt.Chart().mark_line(strokeWidth=2, aria=False).encode(x=x, y=y, color=color),
        alt.Chart().mark_point(filled=True, size=_POINTS, opacity=1, aria=False).encode(x=x, y=y, color=color, tooltip=tips),
    ]
    if marks:
        layers = [*_marked(marks, look), *layers]
    return _finished(layers, values, look, "Scores of evaluation runs over time", height=look.height)


@_unchecked
def cost_quality(frame: Frame, *, look: Look | None = None) -> Any:
    """Score against the cost of one answer; a line joins those that nothing else beats in both.

    Args:
        frame: columns `name`, `score`, `low`, `high`, `scored`, `each_usd` (the cost of one answer). A row without a score or a
            known cost is left out.
        look: theme, size and currency.
    """
    look = look or Look()
    rows = [row for row in records(frame) if row["score"] is not None and row["each_usd"] is not None]
    best = set(frontier(rows))
    values = []
    for row in rows:
        shown = number(row["each_usd"] * look.rate * 1000)
        spend = f"{money(row['each_usd'] * 1000, currency=look.currency, rate=look.rate)} for 1,000 answers"
        values.append({**_drawn(row), "name": label(row["name"]), "each": shown, "spend": spend, "best": label(row["name"]) in best})
    dear = max((row["each"] for row in values), default=0.0) or 1.0
    _name_apart(values, dear)
    for row in values:
        row["tone"] = look.theme.accent if row["best"] else look.theme.other
    values.sort(key=lambda row: (row["each"], -row["score"]))
    sign = SIGNS.get(look.currency, look.currency + " ")
    title = f"Cost of 1,000 answers ({sign.strip()})"
    x = alt.X("each:Q", title=title, scale=alt.Scale(type="sqrt", domain=[0, 1.03 * dear]), axis=alt.Axis(grid=False, tickCount=5))
    y = alt.Y("score:Q", title=None, axis=_score_axis(values), scale=_score_scale(values))
    tips = [_tip("name", "What"), _tip("said", "Score"), _tip("spend", "Cost"), _tip("scored", "Samples", "Q")]
    tone = alt.Color("tone:N", scale=None, legend=None)
    line = alt.Chart().transform_filter("datum.best").mark_line(interpolate="step-after", strokeDash=[4, 3], aria=False)
    layers = [
        line.encode(x=x, y=y, color=alt.ColorValue(look.theme.accent)),
        alt.Chart().mark_rule(strokeWidth=1.5, opacity=0.6, aria=False).encode(x=x, y=alt.Y("low:Q"), y2=_HIGH, color=tone),
        alt.Chart().mark_point(filled=True, size=90, opacity=1, aria=False).encode(x=x, y=y, color=tone, tooltip=tips),
        *(
            alt.Chart()
            .transform_filter(f"datum.named == '{side}'")
            .mark_text(align=side, dx=8 if side == "left" else -8, dy=10 if side == "left" else -10, aria=False, limit=170)
            .encode(x=x, y=y, text=alt.Text("name:N"))
            for side in ("left", "right")
        ),
    ]
    return _finished(layers, values, look, "Score against the cost of an answer", height=look.height)


def _name_apart(values: list[dict[str, Any]], dear: float) -> None:
    """Says which points are named in the picture, and on which side: those that nothing beats first, and none on top of another."""
    span = max((row["high"] for row in values), default=1.0) - min((row["low"] for row in values), default=0.0) or 1.0
    taken: list[tuple[float, float]] = []
    for row in sorted(values, key=lambda row: (not row["best"], -row["score"])):
        place = ((row["each"] / dear) ** 0.5, row["score"] / span)
        free = all(abs(place[0] - x) > 0.3 or abs(place[1] - y) > 0.1 for x, y in taken)
        row["named"] = ("right" if place[0] > 0.5 else "left") if free else ""
        if free:
            taken.append(place)


def frontier(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names that no other row beats in both: none is as cheap and better, or as good and cheaper."""
    found: list[str] = []
    top: float | None = None
    for row in sorted(rows, key=lambda row: (row["each_usd"], -row["score"])):
        if top is None or row["score"] > top:
            found.append(label(row["name"]))
            top = row["score"]
    return found


# --- parts ----------------------------------------------------------------------------------------------------------


def _drawn(row: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of a run as a chart carries them; without an interval it is a point alone."""
    score = float(row["score"])
    low, high = (score if row[name] is None else float(row[name]) for name in ("low", "high"))
    said = f"{_said(score)}, {_said(low)} to {_said(high)}" if row["low"] is not None else f"{_said(score)}, no interval"
    shown = {"score": number(score), "low": number(low), "high": number(high), "said": said, "scored": row["scored"]}
    return {**shown, "version": label(row.get("version"))}


def _said(value: float) -> str:
    return f"{100 * value:.1f} %" if 0 <= value <= 1 else f"{value:.4g}"


def _moment(value: datetime | str) -> str:
    return value if isinstance(value, str) else value.strftime("%Y-%m-%dT%H:%M:%SZ")


def _version_marks(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Where a version was first measured, the oldest first; the one that the period begins with needs no mark."""
    seen: set[str] = set()
    marks = []
    for row in rows:
        version = label(row.get("version"))
        if version not in seen and seen:
            marks.append({"at": _moment(row["started_at"]), "version": version})
        seen.add(version)
    return marks


def _marked(marks: Sequence[Mapping[str, Any]], look: Look) -> list[Any]:
    data = alt.InlineData(values=list(marks))
    x = alt.X("at:T", scale=alt.Scale(type="utc"))
    rule = alt.Chart(data).mark_rule(color=look.theme.quiet, strokeDash=[3, 3], aria=False).encode(x=x)
    words = alt.Chart(data).mark_text(align="left", baseline="top", dx=4, dy=1, color=look.theme.quiet, fontSize=11, aria=False)
    return [rule, words.encode(x=x, y=alt.YValue(0), text=alt.Text("version:N"))]


def _score_scale(values: Sequence[Mapping[str, Any]]) -> Any:
    """From a little below the lowest to a little above the highest interval; a rate never leaves 0 to 1."""
    low, high = min((row["low"] for row in values), default=0.0), max((row["high"] for row in values), default=1.0)
    rate = low >= 0 and high <= 1
    room = max(high - low, 0.05 if rate else abs(high) * 0.05 or 1.0) * 0.12
    return alt.Scale(domain=[max(0.0, low - room), min(1.0, high + room)] if rate else [low - room, high + room], zero=False, nice=False)


def _score_axis(values: Sequence[Mapping[str, Any]]) -> Any:
    rate = all(row["low"] >= 0 and row["high"] <= 1 for row in values)
    return alt.Axis(format=".0%" if rate else "~g", tickCount=5, domain=False, ticks=False)


def _finished(layers: Sequence[Any], values: list[dict[str, Any]], look: Look, what: str, *, height: int) -> Any:
    """The layers as one chart. All is said at once and the data come last, since Altair copies a chart at each step."""
    size = {"width": look.width, "height": height, "autosize": alt.AutoSizeParams(type="fit-x", contains="padding")}
    chart = alt.layer(*layers, description=what, config=alt.Config(**config(look.theme)), **size)
    chart.data = alt.InlineData(values=values)
    return chart
