"""The charts of prompts: the use of each version over time, and what the votes of an experiment say as they come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from aiplat_lab.charts.cost import Days, _base, _day_axis, _day_bars, _day_tip, _legend, _tip, _unchecked
from aiplat_lab.charts.evals import _finished
from aiplat_lab.charts.frames import Frame, day_text, label, number, records
from aiplat_lab.charts.theme import Look, colours


@_unchecked
def calls_by_version(
    frame: Frame, *, look: Look | None = None, versions: Sequence[str] | None = None, days: Days | None = None
) -> Any:  # Any, here and below: Altair comes without types
    """Calls of each day as bars, stacked by the version of the prompt.

    Args:
        frame: columns `day`, `prompt_version`, `calls`.
        look: theme and size.
        versions: the versions in the order of their colours.
        days: the first and the last day to show.
    """
    look = look or Look()
    sums: dict[tuple[str, str], int] = {}
    for row in records(frame):
        key = (day_text(row["day"]), label(row["prompt_version"]))
        sums[key] = sums.get(key, 0) + row["calls"]
    order = [label(name) for name in versions] if versions is not None else sorted({name for _, name in sums})
    present = [name for name in order if any(name == version for _, version in sums)]
    palette = colours(order, look.theme)
    values: list[dict[str, Any]] = [
        {"day": day, "name": name, "calls": calls, "rank": order.index(name) if name in order else len(order)}
        for (day, name), calls in sorted(sums.items())
    ]
    scale = alt.Scale(domain=present or ["none"], range=[palette[name] for name in present] or [look.theme.other])
    return (
        _base(values, look, "Calls by day, stacked by the version of the prompt")
        .mark_bar(**_day_bars(days, values))
        .encode(
            x=_day_axis(days, values),
            y=alt.Y("calls:Q", title=None, stack="zero", axis=alt.Axis(format=",d", tickMinStep=1, tickCount=4, domain=False, ticks=False)),
            color=alt.Color("name:N", scale=scale, legend=_legend(len(present))),
            order=alt.Order("rank:Q"),
            tooltip=[_day_tip(), _tip("name", "Version"), _tip("calls", "Calls", "Q")],
        )
        .properties(height=look.height)
    )


@_unchecked
def vote_evidence(frame: Frame, *, ahead: str, look: Look | None = None) -> Any:
    """How the interval of a variant's share of votes narrows as votes come in; the even split is a line.

    Args:
        frame: columns `vote` (its number), `share`, `low`, `high`.
        ahead: the variant whose share it is.
        look: theme and size.
    """
    look = look or Look()
    values = [{"vote": row["vote"], **{name: number(row[name]) for name in ("share", "low", "high")}} for row in records(frame)]
    for row in values:
        row["said"] = f"{100 * row['share']:.0f} %, {100 * row['low']:.0f} to {100 * row['high']:.0f} %"
    last = max((row["vote"] for row in values), default=1)
    x = alt.X("vote:Q", title="Votes for one of the two", scale=alt.Scale(domain=[0, last], nice=False), axis=_whole_axis(last))
    y = alt.Y("share:Q", title=None, scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format=".0%", tickCount=5, domain=False, ticks=False))
    tips = [_tip("vote", "Vote", "Q"), alt.Tooltip("said:N", title=f"Share of {ahead}")]
    even = alt.Chart(alt.InlineData(values=[{"half": 0.5}])).mark_rule(color=look.theme.bad, strokeDash=[5, 4], aria=False)
    layers = [
        alt.Chart().mark_area(opacity=0.22, color=look.theme.accent, aria=False).encode(x=x, y=alt.Y("low:Q"), y2=alt.Y2("high")),
        even.encode(y=alt.Y("half:Q")),
        alt.Chart().mark_line(strokeWidth=2, color=look.theme.accent, aria=False).encode(x=x, y=y),
        alt.Chart().mark_point(filled=True, size=40, opacity=0, aria=False).encode(x=x, y=y, tooltip=tips),
    ]
    return _finished(layers, values, look, f"Share of votes for {ahead} with its interval, as votes came", height=look.height)


def _whole_axis(last: int) -> Any:
    return alt.Axis(format="d", grid=False, tickMinStep=1, tickCount=min(8, max(1, last)))
