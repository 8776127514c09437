"""The charts of the Cost page and the cost report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from functools import wraps
from typing import Any, ParamSpec

import altair as alt
from altair.utils.schemapi import debug_mode

from aiplat_lab.charts.frames import NONE_LABEL, OTHER_LABEL, Frame, add, day_text, label, number, ranked, records
from aiplat_lab.charts.theme import Look, colours, config
from aiplat_lab.core.text import SIGNS, money, seconds

Days = tuple[date, date]
_P = ParamSpec("_P")
_SPENT, _SAVED = "Spent", "Saved by cache"


def _unchecked(build: Callable[_P, Any]) -> Callable[_P, Any]:
    """`build` without Altair's check of every part against its schema, which takes six times as long as the chart.

    The tests check the finished charts against the schema instead.
    """

    @wraps(build)
    def quick(*args: _P.args, **kwargs: _P.kwargs) -> Any:
        with debug_mode(False):
            return build(*args, **kwargs)

    return quick


@_unchecked
def spend_by_day(
    frame: Frame, *, by: str = "team", look: Look | None = None, names: Sequence[str] | None = None, days: Days | None = None
) -> Any:  # Any, here and below: Altair comes without types
    """Spend of each day as stacked bars.

    Args:
        frame: columns `day`, the column `by`, `cost_usd`, `calls`. A day with no known cost is left empty.
        by: what the bars are stacked by.
        look: theme, size and currency.
        names: the names in the order of their colours, so that a colour stays with its name when a filter changes.
        days: the first and the last day to show, drawn or empty.
    """
    look = look or Look()
    rows = records(frame)
    order = [label(name) for name in names] if names is not None else ranked(rows, by=by, value="cost_usd")
    shown = order[: len(look.theme.series)]
    palette = colours(shown, look.theme)
    values = _folded(rows, by=by, shown=shown, look=look)
    present = [name for name in [*shown, OTHER_LABEL] if any(row["name"] == name for row in values)]
    scale = alt.Scale(domain=present or [NONE_LABEL], range=[palette.get(name, look.theme.other) for name in present] or [look.theme.other])
    rank = {name: i for i, name in enumerate(present)}
    for row in values:
        row["rank"] = rank[row["name"]]
    chart = _base(values, look, f"Spend by day, stacked by {_words(by)}").mark_bar(**_day_bars(days, values))
    return chart.encode(
        x=_day_axis(days, values),
        y=alt.Y("amount:Q", title=None, stack="zero", axis=_money_axis(_peak(values, "day"), look)),
        color=alt.Color("name:N", scale=scale, legend=_legend(len(present))),
        order=alt.Order("rank:Q"),
        tooltip=[_day_tip(), _tip("name", _words(by).capitalize()), _tip("spend", "Spend"), _tip("calls", "Calls", "Q")],
    ).properties(height=look.height)


@_unchecked
def savings_by_day(frame: Frame, *, look: Look | None = None, days: Days | None = None) -> Any:
    """What each day cost and what the cache saved on top, as stacked bars.

    Args:
        frame: columns `day`, `cost_usd`, `saved_usd`, `cache_hits`; several rows of a day are added up.
        look: theme, size and currency.
        days: the first and the last day to show.
    """
    look = look or Look()
    values: list[dict[str, Any]] = []
    for day, rows in _by_day(frame).items():
        for rank, (name, column) in enumerate(((_SPENT, "cost_usd"), (_SAVED, "saved_usd"))):
            usd = add(row[column] for row in rows)
            if usd is not None:
                hits = sum(row.get("cache_hits") or 0 for row in rows)
                values.append({"day": day, "name": name, "rank": rank, "calls": hits, **_amount(usd, look)})
    scale = alt.Scale(domain=[_SPENT, _SAVED], range=[look.theme.other, look.theme.saved])
    return (
        _base(values, look, "Spend by day and what the cache saved")
        .mark_bar(**_day_bars(days, values))
        .encode(
            x=_day_axis(days, values),
            y=alt.Y("amount:Q", title=None, stack="zero", axis=_money_axis(_peak(values, "day"), look)),
            color=alt.Color("name:N", scale=scale),
            order=alt.Order("rank:Q"),
            tooltip=[_day_tip(), _tip("name", "What"), _tip("spend", "Amount"), _tip("calls", "Cache hits", "Q")],
        )
        .properties(height=look.height)
    )


@_unchecked
def errors_by_day(frame: Frame, *, look: Look | None = None, days: Days | None = None) -> Any:
    """Calls of each day that brought no answer, failed or refused.

    Args:
        frame: columns `day`, `errors`, `calls`; several rows of a day are added up.
        look: theme and size.
        days: the first and the last day to show.
    """
    look = look or Look()
    values: list[dict[str, Any]] = []
    for day, rows in _by_day(frame).items():
        calls, errors = sum(row["calls"] for row in rows), sum(row["errors"] for row in rows)
        values.append({"day": day, "errors": errors, "calls": calls, "share": f"{errors / calls:.1%}" if calls else "no calls"})
    return (
        _base(values, look, "Errors and refusals by day")
        .mark_bar(color=look.theme.bad, **_day_bars(days, values))
        .encode(
            x=_day_axis(days, values),
            y=alt.Y("errors:Q", title=None, axis=alt.Axis(format=",d", tickMinStep=1, tickCount=4, domain=False, ticks=False)),
            tooltip=[_day_tip(), _tip("errors", "Errors", "Q"), _tip("share", "Of all calls"), _tip("calls", "Calls", "Q")],
        )
        .properties(height=look.height)
    )


@_unchecked
def spend_by_name(frame: Frame, *, by: str, look: Look | None = None, most: int = 12) -> Any:
    """Spend of each team, project, model or user as horizontal bars, the largest first, each with its amount.

    Args:
        frame: the column `by`, `cost_usd`, `calls`. A name whose calls have no known price is drawn as `unknown`.
        by: `team`, `project`, `model` or `user_id`.
        look: theme, width and currency.
        most: how many names are drawn; the rest is one bar.
    """
    look = look or Look()
    rows = records(frame)
    shown = ranked(rows, by=by, value="cost_usd")[:most]
    values = _folded(rows, by=by, shown=shown, look=look, keep_unknown=True)
    return _named_bars(
        values,
        look=look,
        what=f"Spend by {_words(by)}",
        tips=[_tip("name", _words(by).capitalize()), _tip("spend", "Spend"), _tip("calls", "Calls", "Q")],
    )


@_unchecked
def latency_by_name(frame: Frame, *, by: str = "model", look: Look | None = None, most: int = 12) -> Any:
    """The 95th percentile of latency of each name as horizontal bars, the slowest first.

    Args:
        frame: the column `by`, `latency_p95_s`, `calls`.
        by: `model`, `team`, `project` or `user_id`.
        look: theme and width.
        most: how many names are drawn.
    """
    look = look or Look()
    rows = [row for row in records(frame) if row["latency_p95_s"] is not None]
    rows = sorted(rows, key=lambda row: -row["latency_p95_s"])[:most]
    values = [
        {"name": label(row[by]), "amount": number(row["latency_p95_s"]), "spend": seconds(row["latency_p95_s"]), "calls": row["calls"]}
        for row in rows
    ]
    tips = [_tip("name", _words(by).capitalize()), _tip("spend", "95 % of calls within"), _tip("calls", "Calls", "Q")]
    return _named_bars(values, look=look, what=f"Latency by {_words(by)}, 95th percentile", tips=tips)


@_unchecked
def errors_by_type(frame: Frame, *, look: Look | None = None, most: int = 12) -> Any:
    """How many calls ended with each kind of error or refusal, as horizontal bars.

    Args:
        frame: columns `status`, `error_type`, `policy`, `calls`.
        look: theme and width.
        most: how many kinds are drawn.
    """
    look = look or Look()
    rows = sorted(records(frame), key=lambda row: -row["calls"])[:most]
    values = [
        {"name": label(row["error_type"] or row["policy"] or row["status"]), "amount": row["calls"], "spend": f"{row['calls']:,}"}
        for row in rows
    ]
    return _named_bars(
        values,
        look=look,
        what="Calls without an answer, by kind",
        tips=[_tip("name", "Kind"), _tip("spend", "Calls")],
        color=look.theme.bad,
    )


@_unchecked
def budget_use(budgets: Iterable[Mapping[str, Any]], *, look: Look | None = None) -> Any:
    """How much of each budget is spent, as bars against the limit.

    Args:
        budgets: rows with `scope`, `name`, `period`, `limit_usd`, `spent_usd`, as a gateway's status gives them.
        look: theme, width and currency.
    """
    look = look or Look()
    values = []
    for row in budgets:
        limit, spent = Decimal(str(row["limit_usd"])), Decimal(str(row["spent_usd"]))
        share = float(spent / limit) if limit else 1.0
        name = f"{row['name'] or row['scope']} · {row['period']}"
        text = f"{_money(spent, look)} of {_money(limit, look)}"
        tone = look.theme.bad if share >= 1 else look.theme.warn if share >= 0.8 else look.theme.accent
        values.append({"name": name, "amount": min(share, 1.0), "share": f"{share:.0%}", "spend": text, "tone": tone})
    tips = [_tip("name", "Budget"), _tip("spend", "Spent"), _tip("share", "Share")]
    return _named_bars(values, look=look, what="Budgets", tips=tips, color=None, limit=1.0)


# --- parts ----------------------------------------------------------------------------------------------------------


def _base(values: list[dict[str, Any]], look: Look, what: str) -> Any:
    data = alt.InlineData(values=values)
    return alt.Chart(data, description=what, width=look.width, autosize=alt.AutoSizeParams(type="fit-x", contains="padding")).configure(
        **config(look.theme)
    )


def _named_bars(
    values: list[dict[str, Any]], *, look: Look, what: str, tips: list[Any], color: str | None = "", limit: float | None = None
) -> Any:
    """Horizontal bars in the order of `values`, each with the text `spend` at its end; `color` None takes the rows' `tone`."""
    peak = limit or max((row["amount"] or 0 for row in values), default=0) or 1
    y = alt.Y("name:N", sort=None, title=None, axis=alt.Axis(domain=False, ticks=False, labelColor=look.theme.ink, labelLimit=190))
    x = alt.X("amount:Q", title=None, axis=None, scale=alt.Scale(domain=[0, peak * 1.32]))
    bars = alt.Chart().mark_bar(cornerRadiusEnd=2, aria=False, height={"band": 0.62}, color=color or look.theme.accent)
    if color is None:
        bars = bars.encode(color=alt.Color("tone:N", scale=None))
    bars = bars.encode(x=x, y=y, tooltip=tips)
    texts = alt.Chart().mark_text(align="left", dx=6, aria=False).encode(x=x, y=y, text="spend:N")
    chart = alt.layer(bars, texts, data=alt.InlineData(values=values))
    height = max(1, len(values)) * 30
    chart = chart.properties(width=look.width, height=height, description=what)
    return chart.properties(autosize=alt.AutoSizeParams(type="fit-x", contains="padding")).configure(**config(look.theme))


def _folded(rows: list[dict[str, Any]], *, by: str, shown: Sequence[str], look: Look, keep_unknown: bool = False) -> list[dict[str, Any]]:
    """One row for each (day and) name, with the names that are not `shown` added up under one label."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        name = label(row[by])
        key = (day_text(row["day"]) if "day" in row else "", name if name in shown else OTHER_LABEL)
        groups.setdefault(key, []).append(row)
    order = {name: i for i, name in enumerate([*shown, OTHER_LABEL])}
    values = []
    for (day, name), group in sorted(groups.items(), key=lambda item: (item[0][0], order[item[0][1]])):
        usd = add(row["cost_usd"] for row in group)
        if not usd and any(row.get("unpriced_calls") for row in group):
            usd = None
        if usd is not None or keep_unknown:
            calls = sum(row["calls"] for row in group)
            values.append({**({"day": day} if day else {}), "name": name, "calls": calls, **_amount(usd, look)})
    for row in values:
        row["amount"] = row["amount"] or 0  # a bar of no length beside the word `unknown`
    return values


def _by_day(frame: Frame) -> dict[str, list[dict[str, Any]]]:
    days: dict[str, list[dict[str, Any]]] = {}
    for row in records(frame):
        days.setdefault(day_text(row["day"]), []).append(row)
    return dict(sorted(days.items()))


def _amount(usd: Decimal | float | None, look: Look) -> dict[str, Any]:
    """`amount` in the currency of display for drawing, and `spend` as it is read."""
    shown = None if usd is None else Decimal(str(usd)) * look.rate
    return {"amount": number(shown), "spend": _money(usd, look)}


def _money(usd: Decimal | float | None, look: Look) -> str:
    return money(usd, currency=look.currency, rate=look.rate)


def _peak(values: Iterable[Mapping[str, Any]], column: str) -> float:
    sums: dict[Any, float] = {}
    for row in values:
        sums[row[column]] = sums.get(row[column], 0.0) + (row["amount"] or 0.0)
    return max(sums.values(), default=0.0)


def _money_axis(peak: float, look: Look) -> Any:
    """An axis in the currency of display, with as many decimals as its largest value needs."""
    digits = 0 if peak >= 8 else 2 if peak >= 0.08 else 4 if peak >= 0.0008 else 6
    sign = SIGNS.get(look.currency, look.currency + " ")
    return alt.Axis(labelExpr=f"'{sign}' + format(datum.value, ',.{digits}f')", tickCount=4, domain=False, ticks=False)


def _legend(names: int) -> Any:
    """One row of names where the chart is wide enough, three names to a row where it is not."""
    return alt.Legend(columns=alt.ExprRef("width < 520 ? 3 : 0")) if names > 1 else None


def _day_axis(days: Days | None, values: Sequence[Mapping[str, Any]]) -> Any:
    """An axis from the first to the last day, with at most eight labels, each under the middle of its bar."""
    days = days or _drawn(values)
    span = (days[1] - days[0]).days + 1
    step = -(-span // 8) if span <= 14 else -(-span // 56) * 7
    axis = alt.Axis(
        format="%-d %b",
        grid=False,
        values=[_utc(days[0] + timedelta(days=i)) for i in range(0, span, step)],
        tickOffset=alt.ExprRef(f"width / {span} / 2"),
        labelOverlap=True,
        labelFlush=False,
    )
    scale = alt.Scale(domain=[_utc(days[0]), _utc(days[1] + timedelta(days=1))])
    return alt.X("utcyearmonthdate(day):T", title=None, scale=scale, axis=axis)


def _drawn(values: Sequence[Mapping[str, Any]]) -> Days:
    drawn = sorted(date.fromisoformat(row["day"]) for row in values) or [date(1970, 1, 1)]
    return drawn[0], drawn[-1]


def _day_bars(days: Days | None, values: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How bars of days look; those of a few days do not fill the whole width."""
    first, last = days or _drawn(values)
    span = (last - first).days + 1
    return {"cornerRadius": 1, "aria": False, **({"width": {"band": 0.14 * span + 0.1}} if span < 6 else {})}


def _utc(day: date) -> dict[str, Any]:
    return {"year": day.year, "month": day.month, "date": day.day, "utc": True}


def _day_tip() -> Any:
    return alt.Tooltip("day:T", title="Day", timeUnit="utcyearmonthdate", format="%a %-d %b %Y")


def _tip(field: str, title: str, kind: str = "N") -> Any:
    return alt.Tooltip(f"{field}:{kind}", title=title, format=",d") if kind == "Q" else alt.Tooltip(f"{field}:{kind}", title=title)


def _words(column: str) -> str:
    return column.removesuffix("_id").replace("_", " ")
