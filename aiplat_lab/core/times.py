"""Points in time as people write them: `7d`, `24h`, `2026-11-01`, `today`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from aiplat_lab.core.errors import UsageError

_SPAN = re.compile(r"^(\d{1,6})\s*(m|h|d|w)$")
_SECONDS = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def span(text: str) -> timedelta:
    """The length of time that `30m`, `24h`, `7d` or `2w` names.

    Raises:
        UsageError: `text` is none of these.
    """
    found = _SPAN.match(text.strip().lower())
    if not found:
        raise UsageError(f"{text!r} is not a length of time; write it as 30m, 24h, 7d or 2w")
    return timedelta(seconds=int(found[1]) * _SECONDS[found[2]])


def moment(text: str, *, now: datetime, time_zone: str = "UTC") -> datetime:
    """The aware UTC time that `text` names.

    Args:
        text: a length of time before now (`7d`), `today`, `now`, a date, or an ISO 8601 time.
        now: the present, aware.
        time_zone: the IANA zone of a date or time without an offset, and of midnight.

    Raises:
        UsageError: `text` is none of these.
    """
    zone = ZoneInfo(time_zone)
    word = text.strip().lower()
    if word == "now":
        return now.astimezone(UTC)
    if word == "today":
        return now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0).astimezone(UTC)
    try:
        if _SPAN.match(word):
            return (now - span(word)).astimezone(UTC)
        at = datetime.fromisoformat(text.strip())
        return (at if at.tzinfo else at.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(f"{text[:60]!r} is not a time; write 7d, 24h, today, 2026-11-01 or 2026-11-01T09:00") from None


def with_moments(filters: Mapping[str, Any], *, now: datetime, time_zone: str) -> dict[str, Any]:  # Any: what a filter holds
    """The filters of a view with `since` and `until` as times, where they were written as `moment` reads them.

    Whoever answers reads them, so that `today` means the day of the home whose ledger is asked.

    Raises:
        UsageError: one of them is no time.
    """
    found = dict(filters)
    for name in ("since", "until"):
        if isinstance(found.get(name), str):
            found[name] = moment(found[name], now=now, time_zone=time_zone)
    return found


def period_start(period: str, *, now: datetime, time_zone: str) -> datetime:
    """When the budget period that holds `now` began, as an aware UTC time.

    Args:
        period: `day`, `week` (from Monday), `month`, or `total`, which began with the first call.
        now: the present, aware.
        time_zone: the IANA zone whose midnight begins a day.
    """
    if period == "total":
        return datetime(1970, 1, 1, tzinfo=UTC)
    day = now.astimezone(ZoneInfo(time_zone)).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if period == "week":
        day -= timedelta(days=day.weekday())
    elif period == "month":
        day = day.replace(day=1)
    return day.astimezone(UTC)


_REACHES_NEXT = {"day": 1.5, "week": 7.5, "month": 32.0}


def period_end(period: str, *, starts: datetime, time_zone: str) -> datetime | None:
    """When the budget period that began at `starts` ends; None for `total`, which has no end."""
    if period == "total":
        return None
    return period_start(period, now=starts + timedelta(days=_REACHES_NEXT[period]), time_zone=time_zone)
