"""The counters of budgets: one per budget and period, in whole nano-dollars, begun from what the ledger says."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from aiplat_lab.core.settings import BudgetSettings, Settings
from aiplat_lab.core.times import period_end, period_start
from aiplat_lab.core.types import Attribution, Clock, Deployment
from aiplat_lab.ledger import Ledger
from aiplat_lab.policies._worst import to_nano, to_usd, usd_text

_SELECTIVE = ("key", "user", "notebook", "prompt", "project", "tag", "cost_centre", "team", "provider")
"""Scopes, the one that the fewest calls fit first."""
Period = Literal["day", "week", "month", "total"]
_PERIODS: tuple[Period, ...] = ("day", "week", "month", "total")
_KEPT_SPANS = 3
_SHORTEST_PACE = 0.01
"""The share of a period that must have passed before its pace says anything."""


@dataclass(slots=True, eq=False)
class Span:
    """One period of one budget. A call belongs to the period in which it began, whenever it ends."""

    starts: datetime
    ends: datetime | None
    spent: int = 0
    held: int = 0
    """The worst cases of the calls under way: what enforcement counts."""
    expected: int = 0
    """What the calls under way will probably cost; worked out when somebody looks."""
    alerted: float = 0.0
    """The highest share of the limit for which an alert was recorded."""
    waiting: int = 0
    """Calls that wait for room."""

    def holds(self, at: datetime) -> bool:
        """Whether a time is in the period."""
        return self.starts <= at and (self.ends is None or at < self.ends)


@dataclass(slots=True, eq=False)
class Counter:
    """A budget and its periods."""

    budget: BudgetSettings
    zone: str
    limit: int
    rest: tuple[tuple[str, str], ...] = ()
    """The scopes that a call must fit beside the one under which the counter is found."""
    spans: dict[datetime, Span] = field(default_factory=dict)
    last: Span | None = None
    also: str = ""
    """A second name of the notebook that the budget holds: its whole path, where its calls may name either."""
    how: str = "raise limit_usd under [[budgets]] in aiplat.toml"
    """How its limit is raised."""

    @property
    def name(self) -> str:
        """The budget as people speak of it, such as `this month's budget of team risk`."""
        whose = (
            " of " + " and ".join(f"{kind} {name}" for kind, name in self.budget.scopes.items()) if self.budget.scopes else " of everyone"
        )
        return f"the total budget{whose}" if self.budget.period == "total" else f"this {self.budget.period}'s budget{whose}"

    def alert_id(self, span: Span) -> str:
        """What names the budget, its period and its limit in the records of alerts."""
        kind, name = self.budget.scope
        word = "hard" if self.budget.hard else "soft"
        return f"{kind} {name} {self.budget.period} {_text(span.starts)} {to_usd(self.limit).normalize():f} {word}"

    def to_json(self, span: Span, now: datetime) -> dict[str, Any]:
        """The counter for people; money as text."""
        kind, name = self.budget.scope
        return {
            "scope": kind,
            "name": name,
            "scopes": dict(self.budget.scopes),
            "period": self.budget.period,
            "limit_usd": usd_text(self.limit),
            "spent_usd": usd_text(span.spent),
            "held_usd": usd_text(span.held),
            "expected_usd": usd_text(span.expected),
            "left_usd": usd_text(self.limit - span.spent),
            "forecast_usd": self._forecast(span, now),
            "hard": self.budget.hard,
            "alert_at": list(self.budget.alert_at),
            "starts_at": _text(span.starts),
            "resets_at": _text(span.ends) if span.ends is not None else None,
            "time_zone": self.zone,
            "waiting": span.waiting,
        }

    def _forecast(self, span: Span, now: datetime) -> str | None:
        """What will be spent at the end of the period at the present pace; None where there is no end, or too little of it passed."""
        if span.ends is None:
            return None
        passed = (now - span.starts) / (span.ends - span.starts)
        if not _SHORTEST_PACE <= passed <= 1:
            return None
        return usd_text(int(span.spent / passed))


class Counters:
    """All counters: those of the settings, and one for each virtual key that has a limit of its own."""

    def __init__(self, settings: Settings, ledger: Ledger, *, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._zone = settings.time_zone
        self._all: list[Counter] = []
        self._everyone: list[Counter] = []
        self._found: dict[tuple[str, str], list[Counter]] = {}
        self._kinds: frozenset[str] = frozenset()
        self._of_keys: dict[str, Counter] = {}
        self._of_notebooks: dict[str, Counter] = {}
        self._news: deque[tuple[str, Mapping[str, Any]]] = deque()
        now = clock()
        newest = ledger.view_rows("meta", {})[0]["last_at"]
        self._watching_since = max(now, newest) if newest is not None else now
        """No call that began later than this was recorded before this process counted."""
        alerts = sorted(ledger.view_rows("budget_alerts", {}), key=lambda row: float(row["share"]))
        self._alerts = {str(row["id"]): float(row["share"]) for row in alerts if row["id"]}
        for budget in settings.budgets:
            self._add(budget)
        for counter in self._all:
            self.span(counter, now)
        for row in ledger.view_rows("live_keys", {}):
            self._take_key(row)
        self._begin_keys(now)
        for row in ledger.view_rows("notebook_budgets", {}):
            self._take_notebook(row)
        ledger.watch(("key", "notebook_budget"), lambda kind, row: self._news.append((kind, row)))

    def __bool__(self) -> bool:
        return bool(self._all) or bool(self._news)

    def expect_nothing(self) -> None:
        """Forgets what the calls under way were expected to cost."""
        for counter in self._all:
            for span in counter.spans.values():
                span.expected = 0

    def rows(self) -> list[dict[str, Any]]:
        """Every budget in its present period."""
        self._hear()
        now = self._clock()
        return [counter.to_json(self.span(counter, now), now) for counter in self._all]

    def matching(self, who: Attribution, deployments: Iterable[Deployment]) -> list[Counter]:
        """The budgets that a call falls under; those of a provider only when it may go there."""
        if self._news:
            self._hear()
        found = list(self._everyone)
        if not self._found:
            return found
        at = self._found.get
        for kind, name in (
            ("team", who.team),
            ("project", who.project),
            ("key", who.key_id),
            ("user", who.user_id),
            ("prompt", who.prompt_name),
            ("cost_centre", who.cost_centre),
            ("notebook", who.notebook),
        ):
            if name and kind in self._kinds:
                found += at((kind, name), ())
        if "tag" in self._kinds:
            for name, value in who.tags.items():
                found += at(("tag", f"{name}={value}"), ())
        there = {one.provider for one in deployments}
        if "provider" in self._kinds:
            for name in there:
                found += at(("provider", name), ())
        return [counter for counter in found if not counter.rest or _fits(counter, who, there)]

    def span(self, counter: Counter, at: datetime) -> Span:
        """The period of a budget that holds a time, begun with what the ledger says was spent in it."""
        last = counter.last
        if last is not None and last.holds(at):
            return last
        for span in counter.spans.values():
            if span.holds(at):
                return span
        return self._begin(counter, at)

    def spend(self, counter: Counter, span: Span, nano: int) -> float | None:
        """Books a cost; gives the highest share of the limit that was passed with it and not told yet."""
        span.spent += nano
        if not counter.limit:
            return None
        share = span.spent / counter.limit
        passed = max((mark for mark in counter.budget.alert_at if span.alerted < mark <= share), default=None)
        if passed is not None:
            span.alerted = self._alerts[counter.alert_id(span)] = passed
        return passed

    # --- periods ----------------------------------------------------------------------------------------------------

    def _begin(self, counter: Counter, at: datetime, spent: int | None = None) -> Span:
        period = counter.budget.period
        starts = period_start(period, now=at, time_zone=counter.zone)
        span = Span(starts, period_end(period, starts=starts, time_zone=counter.zone))
        if spent is None:
            spent = 0 if starts > self._watching_since else self._spent(counter, span)
        span.spent = spent
        span.alerted = self._alerts.get(counter.alert_id(span), 0.0)
        counter.spans[starts] = counter.last = span
        for start in sorted(counter.spans)[:-_KEPT_SPANS]:
            old = counter.spans[start]
            if old is not span and not old.held and not old.waiting:
                del counter.spans[start]
                self._watching_since = max(self._watching_since, old.ends or old.starts)
        return span

    def _spent(self, counter: Counter, span: Span) -> int:
        filters: dict[str, Any] = {**counter.budget.scopes, "since": span.starts, "until": span.ends}
        if counter.also:
            filters["notebook"] = [counter.budget.notebook, counter.also]
        return to_nano(Decimal(self._ledger.view_rows("spend_by_scope", filters)[0]["cost_usd"]))

    # --- which there are --------------------------------------------------------------------------------------------

    def _add(self, budget: BudgetSettings) -> Counter:
        counter = Counter(budget, budget.time_zone or self._zone, to_nano(budget.limit_usd))
        self._all.append(counter)
        scopes = budget.scopes
        if not scopes:
            self._everyone.append(counter)
            return counter
        first = next(kind for kind in _SELECTIVE if kind in scopes)
        counter.rest = tuple((kind, name) for kind, name in scopes.items() if kind != first)
        self._found.setdefault((first, scopes[first]), []).append(counter)
        self._kinds |= {first}
        return counter

    def _hear(self) -> None:
        """Takes in the keys that were made, changed or revoked meanwhile, and the budgets of notebooks that were set."""
        while self._news:
            kind, row = self._news.popleft()
            (self._take_key if kind == "key" else self._take_notebook)(row)

    def _take_notebook(self, row: Mapping[str, Any]) -> None:  # Any: a row's values
        """Sets, changes or ends a budget that was set from a notebook. What is spent and held stays counted when its limit changes."""
        name, limit = str(row["id"]), row.get("limit_usd")
        old = self._of_notebooks.get(name)
        if limit in (None, ""):
            if old is not None:
                self._all.remove(old)
                for found in self._found.values():
                    if old in found:
                        found.remove(old)
                del self._of_notebooks[name]
            return
        period: Period = next((one for one in _PERIODS if one == row.get("period")), "day")
        where, tag, key = (str(row.get(kind) or "") for kind in ("notebook", "tag", "key"))
        budget = BudgetSettings(limit_usd=Decimal(str(limit)), period=period, notebook=where, tag=tag, key=key)
        if old is not None:
            old.budget, old.limit = budget, to_nano(budget.limit_usd)
            return
        counter = self._of_notebooks[name] = self._add(budget)
        counter.how = "raise it with %ai budget"
        counter.also = str(row.get("also") or "")
        if counter.also and not budget.key:
            self._found.setdefault(("notebook", counter.also), []).append(counter)

    def _take_key(self, row: Mapping[str, Any]) -> None:  # Any: a row's values
        """Gives a virtual key the counter that its last record asks for."""
        key_id, limit = str(row["id"]), row.get("limit_usd")
        old = self._of_keys.get(key_id)
        if limit in (None, "") or row.get("revoked_at"):
            if old is not None and not any(span.held or span.waiting for span in old.spans.values()):
                self._all.remove(old)
                self._found[("key", key_id)].remove(old)
                del self._of_keys[key_id]
            return
        period: Period = next((one for one in _PERIODS if one == row.get("limit_period")), "total")
        budget = BudgetSettings(limit_usd=Decimal(str(limit)), period=period, key=key_id)
        if old is not None and old.budget.period == period:
            old.budget, old.limit = budget, to_nano(budget.limit_usd)
            return
        if old is not None:
            self._all.remove(old)
            self._found[("key", key_id)].remove(old)
        self._of_keys[key_id] = self._add(budget)

    def _begin_keys(self, now: datetime) -> None:
        """The counters of all keys from one look at the ledger for each period."""
        spends: dict[datetime, dict[str, Decimal]] = {}
        for key_id, counter in self._of_keys.items():
            starts = period_start(counter.budget.period, now=now, time_zone=counter.zone)
            if starts not in spends:
                rows = self._ledger.view_rows("spend_by_key", {"since": starts})
                spends[starts] = {str(row["key_id"]): Decimal(row["cost_usd"]) for row in rows}
            self._begin(counter, now, spent=to_nano(spends[starts].get(key_id, Decimal(0))))


def _fits(counter: Counter, who: Attribution, providers: set[str]) -> bool:
    for kind, name in counter.rest:
        if kind == "tag":
            tag, _, value = name.partition("=")
            if who.tags.get(tag) != value:
                return False
        elif kind == "provider":
            if name not in providers:
                return False
        elif getattr(who, _ATTRIBUTES.get(kind, kind)) != name and not (kind == "notebook" and who.notebook == counter.also):
            return False
    return True


_ATTRIBUTES = {"key": "key_id", "user": "user_id", "prompt": "prompt_name"}


def _text(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
