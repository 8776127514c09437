"""The Cost page: filters, figures, charts and tables that follow the link."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import panel as pn
from panel.io.state import set_curdoc

from aiplat_lab import charts
from aiplat_lab.core.errors import AiplatError
from aiplat_lab.core.types import Clock, utc_now
from aiplat_lab.dashboards import _call, _sections
from aiplat_lab.dashboards._data import POOL, Answer, Ask, Reader, asks, by_day, by_name, currency, totals
from aiplat_lab.dashboards._html import failure, note
from aiplat_lab.dashboards._query import DEFAULT_SINCE, NOTHING_GIVEN, OUTCOMES, PERIODS, Period, Query, as_filter
from aiplat_lab.dashboards._sections import Show

log = logging.getLogger("aiplat_lab.dashboards")
_ASSETS = Path(__file__).with_name("assets")
_PARTS_CSS = (_ASSETS / "parts.css").read_text(encoding="utf-8")
_WIDGET_CSS = (_ASSETS / "widgets.css").read_text(encoding="utf-8")
_CUSTOM = " … "
"""Stands in the value of a period that is not among the choices."""
_LOADING = '<p class="loading">Loading…</p>'
_FILTERS = ("team", "project", "model")
_ANY = {"team": "All teams", "project": "All projects", "model": "All models", "status": "Any outcome"}
_HELPFUL = {"status", "values", "before"}
"""Answers that a part can do without: it then shows US dollars, its own colours, no comparison."""
_HEIGHT = 250
_SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
"""A name that is never fetched; without the minor version the browser's Vega-Lite does not remark on another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of the page: the place it fills, what it says when it fails, the answers it needs, how it is made."""

    place: str
    title: str
    needs: tuple[str, ...]
    html: Callable[[CostPage], str] | None = None
    chart: Callable[[CostPage], Any] | None = None


class CostPage:
    """One reader's page. Everything shown follows from the link; a change of a filter asks only what it changes."""

    def __init__(self, reader: Reader, *, clock: Clock = utc_now) -> None:
        self._reader, self._clock = reader, clock
        self._location = pn.state.location
        self._document = pn.state.curdoc
        self.query = Query.parse(self._location.search if self._location else "")
        self._now = clock()
        self._asked: dict[str, Ask] = {}
        self.answers: dict[str, Answer] = {}
        self._early: dict[Ask, Future[Answer]] = {}
        self._quiet = False
        self.problem = ""
        """Why the period of the link makes no sense, or empty."""
        self._html = {part.place: _pane(_LOADING if part.needs else "") for part in PARTS if part.html}
        self._charts = {part.place: _vega() for part in PARTS if part.chart}
        self._selects = _selects(self.query)
        for name, select in self._selects.items():
            select.param.watch(partial(self._chosen, name), "value")
        if self._location:
            self._location.param.watch(self._moved, "search")

    # --- what the parts read --------------------------------------------------------------------------------------

    @property
    def show(self) -> Show:
        """The state that the parts are made for."""
        code, rate = currency(self.answers.get("status", Answer()).first())
        return Show(query=self.query, currency=code, rate=rate)

    @property
    def look(self) -> charts.Look:
        """Theme and currency of the charts."""
        show = self.show
        theme = charts.theme(self.query.theme or "light")
        return charts.Look(theme=theme, width="container", height=_HEIGHT, currency=show.currency, rate=show.rate)

    def rows(self, place: str) -> list[dict[str, Any]]:
        """The rows of an answer that came."""
        return self.answers[place].rows

    def names(self, kind: str) -> list[str]:
        """Every name of a kind in the ledger, the one with most calls first, so that colours stay."""
        found = [row for row in self.answers["values"].rows if row["kind"] == kind]
        return [row["value"] for row in sorted(found, key=lambda row: -row["calls"])]

    def days(self) -> tuple[date, date] | None:
        """The first and last day of the period, or None for the whole ledger."""
        period = self.query.period(now=self._now)
        if period.since is None or period.until is None:
            return None
        return period.since.date(), (period.until - timedelta(seconds=1)).date()

    @property
    def is_empty(self) -> bool:
        """Whether the ledger holds no call at all."""
        values = self.answers.get("values")
        return values is not None and not values.error and not values.rows

    # --- what changes it ------------------------------------------------------------------------------------------

    def _chosen(self, name: str, event: Any) -> None:  # Any: param's event
        if not self._quiet and _CUSTOM not in event.new:
            changes = {"since": event.new, "until": ""} if name == "since" else {name: event.new}
            self._location.search = self.query.link(call="", page="", **changes)

    async def _moved(self, event: Any) -> None:  # Any: param's event
        new = Query.parse(event.new)
        if new == self.query and "again" not in event.new:
            return
        again = "again" in event.new
        if again or any(getattr(new, name) != getattr(self.query, name) for name in ("since", "until", *_FILTERS, "status")):
            self._now = self._clock()
        if again:
            self._asked = {}
        self.query = new
        await self.refresh()

    def start(self) -> None:
        """Begins to ask at once, so that answers are there when the browser has loaded its scripts."""
        self._early = {ask: POOL.submit(ask.answer, self._reader) for ask in self._wanted().values()}
        pn.state.onload(self.refresh)

    async def refresh(self) -> None:
        """Asks what the state needs and has not, and shows each part as soon as its answers are there."""
        loop = asyncio.get_running_loop()
        self._fill_selects()
        wanted = self._wanted()
        missing = {name: ask for name, ask in wanted.items() if self._asked.get(name) != ask}
        for name in missing:
            self.answers.pop(name, None)
        self._asked.update(missing)
        self._show({part for part in PARTS if not set(part.needs) & set(missing)})

        async def get(name: str, ask: Ask) -> str:
            early = self._early.pop(ask, None)
            answer = await (asyncio.wrap_future(early) if early else loop.run_in_executor(POOL, ask.answer, self._reader))
            if self._asked.get(name) != ask:
                return ""
            self.answers[name] = answer
            return name

        for done in asyncio.as_completed([get(name, ask) for name, ask in missing.items()]):
            name = await done
            if name == "values":
                self._fill_selects()
            self._show({part for part in PARTS if name in part.needs})

    def _wanted(self) -> dict[str, Ask]:
        """What the state asks; of a period that makes no sense only what does not depend on it."""
        try:
            period = self.query.period(now=self._now)
        except AiplatError as error:
            self.problem = error.message
            return {name: ask for name, ask in asks(Query(), Period(since=None, until=None)).items() if name in _HELPFUL}
        self.problem = ""
        return asks(self.query, period)

    def _show(self, parts: set[Part]) -> None:
        """Makes those of the parts whose answers are all there."""
        with set_curdoc(self._document):
            for part in PARTS:
                if part in parts and all(name in self.answers for name in part.needs if name in self._asked):
                    self._make(part)

    def _make(self, part: Part) -> None:
        if bool(self.query.call) != (part.place == "call") and part.place not in {"banner", "crumbs"}:
            return
        if (self.is_empty or self.problem) and part.place not in {"headline", "banner"}:
            self._put(part)
            return
        vital = [name for name in part.needs if name not in _HELPFUL and name in self.answers]
        failed = next((self.answers[name].error for name in vital if self.answers[name].error), "")
        if failed:
            self._put(part, html=failure(part.title, failed))
            return
        self._put(part, html=part.html(self) if part.html else "", chart=part.chart(self) if part.chart else None)

    def _put(self, part: Part, *, html: str = "", chart: Any = None) -> None:  # Any: an Altair chart or None
        if part.html:
            self._html[part.place].object = html
            if part.place == "headline":
                self._html["headline"].css_classes = ["nothing"] if self.problem or self.is_empty or 'class="note ' in html[:20] else []
        if part.chart:
            pane = self._charts[part.place]
            spec = {**chart.to_dict(validate=False), "$schema": _SCHEMA} if chart is not None else None
            if spec != pane.object:
                pane.object = spec
            pane.visible = spec is not None

    # --- the filter bar ---------------------------------------------------------------------------------------------

    def _fill_selects(self) -> None:
        """Brings the choices and their values in line with the ledger and the link."""
        self._quiet = True
        try:
            self._selects["since"].param.update(**_period_choices(self.query))
            self._selects["status"].value = self.query.status
            values = self.answers.get("values")
            for name in _FILTERS:
                known = [as_filter(value) for value in self.names(name)[:300]] if values and not values.error else []
                now = getattr(self.query, name)
                if now and now not in known:
                    known.append(now)
                options = {_ANY[name]: "", **{charts.label("" if value == NOTHING_GIVEN else value): value for value in known}}
                self._selects[name].param.update(options=options, value=now)
        finally:
            self._quiet = False

    def template(self) -> pn.Template:
        """The page around the parts."""
        page = pn.Template(template=(_ASSETS / "cost.html").read_text(encoding="utf-8"), location=True)
        page.add_variable("page_css", (_ASSETS / "page.css").read_text(encoding="utf-8"))
        page.add_variable("page_js", (_ASSETS / "page.js").read_text(encoding="utf-8"))
        page.add_variable("page_theme", self.query.theme or "light")
        page.add_variable("page_view", "call" if self.query.call else "overview")
        for name, select in self._selects.items():
            page.add_panel(f"filter_{name}", select)
        for place, pane in self._html.items():
            page.add_panel(place, pane)
        for place, pane in self._charts.items():
            page.add_panel(f"{place}_chart", pane)
        return page


def _pane(html: str) -> Any:  # Any, here and below: Panel comes without types
    return pn.pane.HTML(html, stylesheets=[_PARTS_CSS], sizing_mode="stretch_width", margin=0, disable_math=True)


def _vega() -> Any:
    return pn.pane.Vega(None, sizing_mode="stretch_width", margin=0, visible=False, show_actions=False, stylesheets=[":host{min-height:0}"])


def _selects(query: Query) -> dict[str, Any]:
    def select(title: str, options: Mapping[str, str], value: str) -> Any:
        return pn.widgets.Select(name=title, options=options, value=value, stylesheets=[_WIDGET_CSS], margin=0, sizing_mode="stretch_width")

    found = {"since": select("Period", **_period_choices(query))}
    for name in _FILTERS:
        now = getattr(query, name)
        found[name] = select(name.capitalize(), {_ANY[name]: "", **({now: now} if now else {})}, now)
    found["status"] = select("Outcome", {_ANY["status"]: "", **{title: name for name, title in OUTCOMES.items()}}, query.status)
    return found


def _period_choices(query: Query) -> dict[str, Any]:
    options = {title: since for since, title in PERIODS.items()}
    now = query.since or DEFAULT_SINCE
    if query.until or now not in PERIODS:
        now = f"{now}{_CUSTOM}{query.until}"
        options[_sections.period_title(query)] = now
    return {"options": options, "value": now}


# --- the parts ------------------------------------------------------------------------------------------------------


def _banner(page: CostPage) -> str:
    status = page.answers["status"]
    if status.error:
        return failure("The gateway's status", status.error)
    return _sections.banner(demo=bool(status.first().get("demo")), incidents=status.first().get("incidents") or ())


def _headline(page: CostPage) -> str:
    if page.problem:
        return _sections.impossible(page.problem, page.query)
    if page.is_empty:
        return _sections.empty()
    now = totals(by_day(page.rows("spend"), "team"))
    if not now["calls"]:
        return _sections.nothing(page.query)
    before = page.answers.get("before", Answer())
    every = next((row for row in page.rows("latency") if row["every"]), {"latency_p50_s": None, "latency_p95_s": None})
    return _sections.headline({**now, **every}, totals(before.rows) if before.rows else None, page.show)


def _days(page: CostPage) -> str:
    rows = by_day(page.rows("spend"), "team")
    if not rows:
        return note("No calls in this period.")
    said = "" if any(row["cost_usd"] for row in rows) else note("Nothing was spent in this period, as far as prices are known.")
    return said + _sections.days(rows, page.show)


def _days_chart(page: CostPage) -> Any:
    by = page.query.by or "team"
    rows = by_day(page.rows("spend"), by)
    names = page.names(by) or None
    spent = any(row["cost_usd"] for row in rows)
    return charts.spend_by_day(rows, by=by, look=page.look, names=names, days=page.days()) if spent else None


def _savings(page: CostPage) -> str:
    if any(row["saved_usd"] for row in page.rows("spend")):
        return ""
    return note("The cache saved nothing that was measured in this period. A question that was asked before is answered from the ledger.")


def _savings_chart(page: CostPage) -> Any:
    rows = by_day(page.rows("spend"), "team")
    small = replace(page.look, height=180)
    return charts.savings_by_day(rows, look=small, days=page.days()) if any(row["saved_usd"] for row in rows) else None


def _errors_chart(page: CostPage) -> Any:
    rows = [{**row, "errors": row["errors"] + row["refused"]} for row in by_day(page.rows("spend"), "team")]
    small = replace(page.look, height=180)
    return charts.errors_by_day(rows, look=small, days=page.days()) if any(row["errors"] for row in rows) else None


def _names(by: str, page: CostPage) -> str:
    rows = by_name(page.rows("spend"), by)
    if by == "model":
        slow = {row["model"]: row["latency_p95_s"] for row in page.rows("latency") if not row["every"]}
        rows = [{**row, "latency_p95_s": slow.get(row["model"])} for row in rows]
    return _sections.names(rows, by, page.show, wide=by == "model")


def _budgets(page: CostPage) -> str:
    status = page.answers["status"]
    return failure("Budgets", status.error) if status.error else _sections.budgets(status.first().get("budgets") or (), page.show)


PARTS: Sequence[Part] = (
    Part(place="banner", title="The gateway's status", needs=("status",), html=_banner),
    Part(place="crumbs", title="The filters", needs=(), html=lambda page: _sections.crumbs(page.query)),
    Part(place="headline", title="The figures", needs=("spend", "latency", "before", "values", "status"), html=_headline),
    Part(
        place="days",
        title="Spend by day",
        needs=("spend", "values", "status"),
        html=_days,
        chart=_days_chart,
    ),
    Part(place="stack", title="The choice of bars", needs=(), html=lambda page: _sections.stack_choice(page.show)),
    Part(place="team", title="Spend by team", needs=("spend", "status"), html=partial(_names, "team")),
    Part(place="project", title="Spend by project", needs=("spend", "status"), html=partial(_names, "project")),
    Part(place="model", title="Spend by model", needs=("spend", "latency", "status"), html=partial(_names, "model")),
    Part(place="savings", title="Cache savings", needs=("spend", "status"), html=_savings, chart=_savings_chart),
    Part(place="failing", title="Errors by day", needs=("spend",), html=lambda page: "", chart=_errors_chart),
    Part(place="errors", title="Errors by kind", needs=("errors",), html=lambda page: _sections.errors(page.rows("errors"), page.show)),
    Part(place="budgets", title="Budgets", needs=("status",), html=_budgets),
    Part(place="calls", title="Calls", needs=("calls", "status"), html=lambda page: _sections.calls(page.rows("calls"), page.show)),
    Part(place="call", title="This call", needs=("call", "status"), html=lambda page: _call.call(page.answers["call"].first(), page.show)),
)


def cost_page(connect: Callable[[], Reader], *, clock: Callable[[], datetime] = utc_now) -> pn.Template:
    """A new page for a new reader.

    Args:
        connect: gives the client that the page reads through.
        clock: gives the present.
    """
    page = CostPage(connect(), clock=clock)
    page.start()
    return page.template()
