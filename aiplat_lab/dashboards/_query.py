"""What the page shows, as its link says it: period, filters, one call, theme."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode

from aiplat_lab.core.errors import UsageError
from aiplat_lab.core.times import moment

DEFAULT_SINCE = "30d"
EVERYTHING = "all"
"""The value of `since` for the whole ledger."""
NOTHING_GIVEN = "(none)"
"""The value of a filter that asks for calls which name no team, project or model."""
PERIODS: Mapping[str, str] = {
    "today": "Today",
    "24h": "Last 24 hours",
    "7d": "Last 7 days",
    "30d": "Last 30 days",
    "90d": "Last 90 days",
    EVERYTHING: "Whole ledger",
}
OUTCOMES: Mapping[str, str] = {"ok": "Answered", "error": "Failed", "refused": "Refused", "cancelled": "Cancelled"}
STACKS: Mapping[str, str] = {"team": "Team", "model": "Model"}
PAGE_ROWS = 25
"""Calls on one page of the table."""
SAMPLE_ROWS = 12
"""Samples on one page of the list."""
FILTER_NAMES = ("team", "project", "model", "prompt", "evalset", "status")
SHARED = ("since", "until", "team", "project", "model", "prompt", "theme")
"""The parts of a link that mean the same on every page, and go along from one to the other."""
WHICH: Mapping[str, str] = {"differ": "Differ", "better": "Better", "worse": "Worse", "errors": "No answer", "all": "All"}
"""The samples that a side by side of two runs can show."""
_KEEP_THE_PAGE = {"call", "theme", "sample"}
_NARROWER = ("run", "against", "sample", "which", "version", "base", "experiment")
"""What was picked inside a page; another filter begins without it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """A stretch of time; None is open."""

    since: datetime | None
    until: datetime | None

    def before(self) -> Period | None:
        """The stretch of the same length that ends where this one begins; None for the whole ledger."""
        if self.since is None or self.until is None:
            return None
        return Period(since=self.since - (self.until - self.since), until=self.since)

    def filters(self) -> dict[str, Any]:
        """The period as a view takes it."""
        return {name: at for name, at in (("since", self.since), ("until", self.until)) if at is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """The parts of a link to the page. Empty is no filter."""

    since: str = ""
    """A length of time before now, a date, a time, or `all`; empty is `30d`."""
    until: str = ""
    """A date or a time, itself not included; empty is now."""
    team: str = ""
    project: str = ""
    model: str = ""
    prompt: str = ""
    evalset: str = ""
    status: str = ""
    by: str = ""
    """What the bars of the days are stacked by; empty is `team`."""
    page: str = ""
    """The page of the table of calls, from 1; empty is 1."""
    run: str = ""
    """The evaluation run that is looked at; empty is the newest."""
    against: str = ""
    """The run it is compared with; empty is the one before it on the same evalset."""
    which: str = ""
    """The samples to show of both, one of `WHICH`; empty is `differ`."""
    sample: str = ""
    """The sample to open; empty is the first."""
    version: str = ""
    """The version of the prompt that is looked at; empty is the newest."""
    base: str = ""
    """The version it is compared with; empty is the one before it."""
    experiment: str = ""
    """The experiment that is looked at; empty is the newest."""
    call: str = ""
    """The one call to show in place of the overview."""
    theme: str = ""
    """`light` or `dark`; empty is `light`."""

    @classmethod
    def parse(cls, search: str) -> Query:
        """The query behind the `?` of a link; unknown names and impossible words are left out."""
        known = {f.name for f in fields(cls)}
        given = {name: value.strip()[:200] for name, value in parse_qsl(search.removeprefix("?")) if name in known}
        allowed = {"status": OUTCOMES, "by": STACKS, "which": WHICH, "theme": ("light", "dark")}
        return cls(**{name: value for name, value in given.items() if name not in allowed or value in allowed[name]})

    def link(self, **changes: str) -> str:
        """The part of a link from `?` on, for this query with `changes`; another filter begins on the first page, with nothing picked."""
        if "page" not in changes and not set(changes) <= _KEEP_THE_PAGE:
            changes["page"] = ""
        if set(FILTER_NAMES) & set(changes):
            changes = {**dict.fromkeys(_NARROWER, ""), **changes}
        new = replace(self, **changes)
        return "?" + urlencode({f.name: getattr(new, f.name) for f in fields(new) if getattr(new, f.name)})

    def period(self, *, now: datetime, time_zone: str = "UTC") -> Period:
        """The stretch of time that `since` and `until` name.

        Raises:
            UsageError: a word is no time, or the period would end before it begins.
        """
        until = moment(self.until, now=now, time_zone=time_zone) if self.until else None
        if self.since == EVERYTHING:
            return Period(since=None, until=until)
        since = moment(self.since or DEFAULT_SINCE, now=until or now, time_zone=time_zone)
        end = until or now + timedelta(seconds=1)
        if since >= end:
            raise UsageError(f"the period would end before it begins: since={self.since}, until={self.until or 'now'}")
        return Period(since=since, until=end)

    def filters(self) -> dict[str, str]:
        """The filters as a view takes them, without the period."""
        given = {name: getattr(self, name) for name in ("team", "project", "model", "prompt", "status") if getattr(self, name)}
        return {name: "" if value == NOTHING_GIVEN else value for name, value in given.items()}

    @property
    def offset(self) -> int:
        """How many calls stand on the pages before this one."""
        return self.start(PAGE_ROWS)

    def start(self, rows: int) -> int:
        """How many rows stand on the pages before this one, when each has so many."""
        return (max(int(self.page), 1) - 1) * rows if self.page.isdecimal() else 0


def as_filter(value: object) -> str:
    """A name from the ledger as the link writes it."""
    return str(value) if value not in (None, "") else NOTHING_GIVEN
