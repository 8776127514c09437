"""A page of the dashboards: filters, figures, charts and tables that follow the link. What is on it, a `Plan` says."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import panel as pn
from panel.io.state import set_curdoc

from aiplat_lab import charts
from aiplat_lab.core.errors import AiplatError
from aiplat_lab.core.types import Clock, utc_now
from aiplat_lab.dashboards import _call, _sections
from aiplat_lab.dashboards._data import POOL, Answer, Ask, Reader, currency, view
from aiplat_lab.dashboards._html import failure
from aiplat_lab.dashboards._query import DEFAULT_SINCE, NOTHING_GIVEN, OUTCOMES, PERIODS, SHARED, Period, Query, as_filter
from aiplat_lab.dashboards._sections import Show

_T = TypeVar("_T")
log = logging.getLogger("aiplat_lab.dashboards")
_ASSETS = Path(__file__).with_name("assets")
_PARTS_CSS = (_ASSETS / "parts.css").read_text(encoding="utf-8")
_WIDGET_CSS = (_ASSETS / "widgets.css").read_text(encoding="utf-8")
_CUSTOM = " … "
"""Stands in the value of a period that is not among the choices."""
_LOADING = '<p class="loading">Loading…</p>'
_ANY = {
    "team": "All teams",
    "project": "All projects",
    "model": "All models",
    "prompt": "All prompts",
    "evalset": "All evalsets",
    "status": "Any outcome",
}
_TITLES = {"status": "Outcome"}
_HELPFUL = {"status", "values"}
"""Answers that every part can do without: it then shows US dollars and its own colours."""
_HEIGHT = 250
_SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
"""A name that is never fetched; without the minor version the browser's Vega-Lite does not remark on another one."""
_MOST_CHOICES = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of the page: the place it fills, what it says when it fails, the answers it needs, how it is made."""

    place: str
    title: str
    needs: tuple[str, ...]
    html: Callable[[Page], str] | None = None
    chart: Callable[[Page], Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one page of the dashboards is made of. The part `headline` comes first; where it has nothing to tell, the others go."""

    name: str
    """The last part of its address, and the name of the file with its layout."""
    title: str
    filters: tuple[str, ...]
    """The choices of the filter bar beside the period."""
    asks: Callable[[Query, Period, Mapping[str, Answer]], dict[str, Ask]]
    """The questions of a state of the page by the place of their answer; those that follow from other answers once these are there."""
    asked: tuple[str, ...]
    """Those of them that go into the questions; a change of another one needs no new look at the clock."""
    helpful: tuple[str, ...]
    """Answers that the parts can do without."""
    is_empty: Callable[[Page], bool]
    """Whether the ledger holds nothing that the page could ever show."""
    empty: Callable[[], str]
    """What the page teaches then."""
    parts: Sequence[Part]
    values: Callable[[Page], Mapping[str, Sequence[str]]] = lambda page: {}
    """What its filters can be set to beside what calls name."""


def _banner(page: Page) -> str:
    status = page.answers["status"]
    if status.error:
        return failure("The gateway's status", status.error)
    return _sections.banner(demo=bool(status.first().get("demo")), incidents=status.first().get("incidents") or ())


def _crumbs(page: Page) -> str:
    return _sections.crumbs(page.query, page.plan.filters)


def _one_call(page: Page) -> str:
    return _call.call(page.answers["call"].first(), page.show)


_COMMON: Sequence[Part] = (
    Part(place="banner", title="The gateway's status", needs=("status",), html=_banner),
    Part(place="crumbs", title="The filters", needs=(), html=_crumbs),
    Part(place="call", title="This call", needs=("call", "status"), html=_one_call),
)


def questions(plan: Plan, query: Query, period: Period, answers: Mapping[str, Answer]) -> dict[str, Ask]:
    """All questions of a state of the page."""
    wanted = {"status": Ask("status"), "values": view("filter_values", {})}
    return {**wanted, **({"call": Ask("call", query.call)} if query.call else plan.asks(query, period, answers))}


class Page:
    """One reader's page. Everything shown follows from the link; a change of a filter asks only what it changes."""

    def __init__(self, plan: Plan, reader: Reader, *, clock: Clock = utc_now) -> None:
        self.plan = plan
        self.parts = (*_COMMON, *plan.parts)
        self._reader, self._clock = reader, clock
        self._location = pn.state.location
        self._document = pn.state.curdoc
        self.query = Query.parse(self._location.search if self._location else "")
        self._now = clock()
        self._asked: dict[str, Ask] = {}
        self.answers: dict[str, Answer] = {}
        self._early: dict[Ask, Future[Answer]] = {}
        self._kept: dict[str, Any] = {}  # Any: whatever the parts share
        self._quiet = False
        self.problem = ""
        """Why the period of the link makes no sense, or empty."""
        self._html = {part.place: _pane(_LOADING if part.needs else "") for part in self.parts if part.html}
        self._charts = {part.place: _vega() for part in self.parts if part.chart}
        self._selects = _selects(self.query, plan.filters)
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
        """The rows of an answer that came; none of one that was not asked for."""
        return self.answers.get(place, Answer()).rows

    def keep(self, name: str, make: Callable[[], _T]) -> _T:
        """What several parts share, made once for each state of the page."""
        if name not in self._kept:
            self._kept[name] = make()
        kept: _T = self._kept[name]
        return kept

    def names(self, kind: str) -> list[str]:
        """Every name of a kind in the ledger, the one with most calls first, so that colours stay."""
        found = [row for row in self.rows("values") if row["kind"] == kind]
        return [row["value"] for row in sorted(found, key=lambda row: -row["calls"])]

    def period(self) -> Period:
        """The stretch of time that the page shows."""
        return self.query.period(now=self._now)

    def days(self) -> tuple[date, date] | None:
        """The first and last day of the period, or None for the whole ledger."""
        period = self.period()
        if period.since is None or period.until is None:
            return None
        return period.since.date(), (period.until - timedelta(seconds=1)).date()

    @property
    def has_no_calls(self) -> bool:
        """Whether the ledger is known to hold no call at all."""
        return self.has_none("values")

    def has_none(self, place: str) -> bool:
        """Whether an answer came, and without a row."""
        answer = self.answers.get(place)
        return answer is not None and not answer.error and not answer.rows

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
        if again or any(getattr(new, name) != getattr(self.query, name) for name in ("since", "until", *self.plan.asked)):
            self._now = self._clock()
        if again:
            self._asked = {}
        self.query = new
        self._kept = {}
        await self.refresh()

    def start(self) -> None:
        """Begins to ask at once, so that answers are there when the browser has loaded its scripts."""
        self._early = {ask: POOL.submit(ask.answer, self._reader) for ask in self._wanted().values()}
        pn.state.onload(self.refresh)

    async def refresh(self) -> None:
        """Asks what the state needs and has not, and shows each part as soon as its answers are there.

        An answer may bring up a further question, such as the samples of the newest run: it is asked at once.
        """
        self._fill_selects()
        missing = self._missing()
        pending = {asyncio.ensure_future(self._get(name, ask)) for name, ask in missing.items()}
        await self._show({part for part in self.parts if not set(part.needs) & set(missing)})
        while pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            came = {name for name in [task.result() for task in done] if name}
            if not came:
                continue
            more = self._missing()
            pending |= {asyncio.ensure_future(self._get(name, ask)) for name, ask in more.items()}
            self._fill_selects()
            await self._show({part for part in self.parts if came & set(part.needs)})

    async def _get(self, name: str, ask: Ask) -> str:
        """Brings an answer; gives its place, or nothing where another question has taken it meanwhile."""
        early = self._early.pop(ask, None)
        loop = asyncio.get_running_loop()
        answer = await (asyncio.wrap_future(early) if early else loop.run_in_executor(POOL, ask.answer, self._reader))
        if self._asked.get(name) != ask:
            return ""
        self.answers[name] = answer
        self._kept = {}
        return name

    def _missing(self) -> dict[str, Ask]:
        """The questions that were not asked yet; what answered another question in their place is forgotten."""
        wanted = self._wanted()
        missing = {name: ask for name, ask in wanted.items() if self._asked.get(name) != ask}
        gone = set() if self.query.call else set(self._asked) - set(wanted)
        self._kept = {} if missing or gone else self._kept
        for name in (*missing, *gone):
            self.answers.pop(name, None)
            self._asked.pop(name, None)
        self._asked.update(missing)
        return missing

    def _wanted(self) -> dict[str, Ask]:
        """What the state asks; of a period that makes no sense only what does not depend on it."""
        try:
            period = self.query.period(now=self._now)
        except AiplatError as error:
            self.problem = error.message
            return {
                name: ask
                for name, ask in questions(self.plan, Query(call="-"), Period(since=None, until=None), {}).items()
                if name != "call"
            }
        self.problem = ""
        return questions(self.plan, self.query, period, self.answers)

    async def _show(self, parts: set[Part]) -> None:
        """Makes those of the parts whose answers are all there, and sends each on its way before the next is made."""
        for part in self.parts:
            if part in parts and all(name in self.answers for name in part.needs if name in self._asked):
                with set_curdoc(self._document):
                    self._make(part)
                await asyncio.sleep(0)

    def _make(self, part: Part) -> None:
        if bool(self.query.call) != (part.place == "call") and part.place not in {"banner", "crumbs"}:
            return
        nothing = self._nothing()
        if nothing and part.place not in {"banner", "call"}:
            self._put(part, html=nothing if part.place == "headline" else "")
            return
        helpful = {*_HELPFUL, *self.plan.helpful}
        vital = [name for name in part.needs if name not in helpful and name in self.answers]
        failed = next((self.answers[name].error for name in vital if self.answers[name].error), "")
        if failed:
            self._put(part, html=failure(part.title, failed))
            return
        try:
            self._put(part, html=part.html(self) if part.html else "", chart=part.chart(self) if part.chart else None)
        except (AiplatError, KeyError, TypeError, ValueError, ArithmeticError) as error:  # a record that does not hold what it should
            log.exception("the part %s failed", part.place)
            said = error.message if isinstance(error, AiplatError) else f"{type(error).__name__}: {error}"
            self._put(part, html=failure(part.title, said))

    def _nothing(self) -> str:
        """What stands in place of all figures, where there can be none; empty where there are some."""
        if self.query.call:
            return ""
        if self.problem:
            return _sections.impossible(self.problem, self.query)
        return self.plan.empty() if self.plan.is_empty(self) else ""

    def _put(self, part: Part, *, html: str = "", chart: Any = None) -> None:  # Any: an Altair chart or None
        if part.html:
            self._html[part.place].object = html
            if part.place == "headline":
                self._html["headline"].css_classes = ["nothing"] if self._nothing() or 'class="note ' in html[:20] else []
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
            more = self.plan.values(self)
            for name in self.plan.filters:
                now = getattr(self.query, name)
                if name == "status":
                    self._selects[name].value = now
                    continue
                known = [as_filter(value) for value in self.names(name)[:_MOST_CHOICES]]
                known += [value for value in more.get(name, ()) if value not in known]
                if now and now not in known:
                    known.append(now)
                options = {_ANY[name]: "", **{charts.label("" if value == NOTHING_GIVEN else value): value for value in known}}
                self._selects[name].param.update(options=options, value=now)
        finally:
            self._quiet = False

    def template(self) -> pn.Template:
        """The page around the parts."""
        places = {f"filter_{name}": select for name, select in self._selects.items()}
        places |= dict(self._html.items()) | {f"{place}_chart": pane for place, pane in self._charts.items()}
        page = pn.Template(template=_layout(self.plan), location=True)
        page.add_variable("page_css", (_ASSETS / "page.css").read_text(encoding="utf-8"))
        page.add_variable("page_js", (_ASSETS / "page.js").read_text(encoding="utf-8"))
        page.add_variable("page_theme", self.query.theme or "light")
        page.add_variable("page_view", "call" if self.query.call else "overview")
        page.add_variable("page_name", self.plan.name)
        page.add_variable("page_title", self.plan.title)
        page.add_variable("page_shared", " ".join(SHARED))
        page.add_variable("page_filters", [f"filter_{name}" for name in self._selects])
        for place, pane in places.items():
            page.add_panel(place, pane)
        return page


def _layout(plan: Plan) -> str:
    """The frame that all pages share, around the page's own part."""
    frame, own = ((_ASSETS / f"{name}.html").read_text(encoding="utf-8") for name in ("frame", plan.name))
    return frame.replace("<!-- the page's own part -->", own)


def _pane(html: str) -> Any:  # Any, here and below: Panel comes without types
    return pn.pane.HTML(html, stylesheets=[_PARTS_CSS], sizing_mode="stretch_width", margin=0, disable_math=True)


def _vega() -> Any:
    return pn.pane.Vega(None, sizing_mode="stretch_width", margin=0, visible=False, show_actions=False, stylesheets=[":host{min-height:0}"])


def _selects(query: Query, filters: Sequence[str]) -> dict[str, Any]:
    def select(title: str, options: Mapping[str, str], value: str) -> Any:
        return pn.widgets.Select(name=title, options=options, value=value, stylesheets=[_WIDGET_CSS], margin=0, sizing_mode="stretch_width")

    found = {"since": select("Period", **_period_choices(query))}
    for name in filters:
        now = getattr(query, name)
        known = {title: value for value, title in OUTCOMES.items()} if name == "status" else {now: now} if now else {}
        found[name] = select(_TITLES.get(name, name.capitalize()), {_ANY[name]: "", **known}, now)
    return found


def _period_choices(query: Query) -> dict[str, Any]:
    options = {title: since for since, title in PERIODS.items()}
    now = query.since or DEFAULT_SINCE
    if query.until or now not in PERIODS:
        now = f"{now}{_CUSTOM}{query.until}"
        options[_sections.period_title(query)] = now
    return {"options": options, "value": now}


def open_page(plan: Plan, connect: Callable[[], Reader], *, clock: Clock = utc_now) -> pn.Template:
    """A new page for a new reader.

    Args:
        plan: what is on it.
        connect: gives the client that the page reads through.
        clock: gives the present.
    """
    page = Page(plan, connect(), clock=clock)
    page.start()
    return page.template()
