"""Cron lines: what they say, and at which moments of a time zone they are due.

A line names times on a wall clock. Where the clock is put forward, a time that does not exist is due once, right after the
gap; where it is put back, a time that comes twice is due the first time only. So each time of the wall clock is due once.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from aiplat_lab.core.errors import UsageError, did_you_mean

WORDS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
"""Words that stand for a whole line."""
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_LONGEST = 200
_PART = re.compile(r"(?P<first>\*|[0-9a-z]+)(?:-(?P<last>[0-9a-z]+))?(?:/(?P<step>[0-9]+))?")
_DAY = timedelta(days=1)
_NEVER_DAYS = 366 * 9
"""The 29th of February is at most eight years away."""


class _Field(NamedTuple):
    name: str
    low: int
    high: int
    words: tuple[str, ...] = ()
    first_word: int = 0

    @property
    def allowed(self) -> str:
        names = f" or {self.words[0]}-{self.words[-1]}" if self.words else ""
        return f"{self.low}-{self.high}{names}"


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of month", 1, 31),
    _Field("month", 1, 12, _MONTHS, 1),
    _Field("day of week", 0, 7, _DAYS, 0),
)


def time_zone(name: str) -> ZoneInfo:
    """The IANA zone of that name.

    Raises:
        UsageError: there is none; the text offers the nearest.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        near = did_you_mean(name[:60], available_timezones())
        raise UsageError(f"there is no time zone {name[:60]!r}.{near} Write an IANA name such as Europe/London or UTC.") from None


@dataclass(frozen=True, slots=True)
class Cron:
    """A cron line that was understood."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]
    """0 is Sunday."""
    either_day: bool
    """Whether a day is due by its number or by its weekday: so where neither field begins with `*`; otherwise it needs both."""
    line: str
    """The five fields, in lower case, a word such as `@daily` written out."""

    def next(self, after: datetime, zone: ZoneInfo) -> datetime | None:
        """The first moment after `after` at which the line is due, in UTC; None where the calendar ends before."""
        try:
            wall = after.astimezone(zone).replace(tzinfo=None, second=0, microsecond=0)
            for slot in self._walls_from(wall):
                moment = _moment(slot, zone)
                if moment > after:
                    return moment
        except OverflowError:
            pass
        return None

    def previous(self, at: datetime, zone: ZoneInfo) -> datetime | None:
        """The last moment, up to and with `at`, at which the line was due, in UTC; None where the calendar begins after."""
        try:
            local = at.astimezone(zone)
            wall = local.replace(tzinfo=None)
            if local.fold:  # the clock was put back: times that are later on the wall came before
                wall += (local.replace(fold=0).utcoffset() or timedelta()) - (local.utcoffset() or timedelta())
            for slot in self._walls_back(wall.replace(second=0, microsecond=0)):
                moment = _moment(slot, zone)
                if moment <= at:
                    return moment
        except OverflowError:
            pass
        return None

    def slots_back(self, at: datetime, zone: ZoneInfo) -> Iterator[datetime]:
        """The moments at which the line was due, from `at` (and with it) backwards."""
        slot = self.previous(at, zone)
        while slot is not None:
            yield slot
            slot = self.previous(slot - timedelta(microseconds=1), zone)

    def _due_on(self, day: date) -> bool:
        if day.month not in self.months:
            return False
        numbered, named = day.day in self.days, (day.weekday() + 1) % 7 in self.weekdays
        return (numbered or named) if self.either_day else (numbered and named)

    def _walls_from(self, wall: datetime) -> Iterator[datetime]:
        day, first = wall.date(), wall.hour * 60 + wall.minute
        for _ in range(_NEVER_DAYS):
            if self._due_on(day):
                for hour in self.hours:
                    for minute in self.minutes:
                        if hour * 60 + minute >= first:
                            yield datetime(day.year, day.month, day.day, hour, minute)  # noqa: DTZ001 (a time on the wall)
            day, first = day + _DAY, 0

    def _walls_back(self, wall: datetime) -> Iterator[datetime]:
        day, last = wall.date(), wall.hour * 60 + wall.minute
        for _ in range(_NEVER_DAYS):
            if self._due_on(day):
                for hour in reversed(self.hours):
                    for minute in reversed(self.minutes):
                        if hour * 60 + minute <= last:
                            yield datetime(day.year, day.month, day.day, hour, minute)  # noqa: DTZ001 (a time on the wall)
            day, last = day - _DAY, 24 * 60


def _moment(wall: datetime, zone: ZoneInfo) -> datetime:
    """When the wall clock shows `wall` for the first time, or passes over it."""
    first = wall.replace(tzinfo=zone).astimezone(UTC)
    if first.astimezone(zone).replace(tzinfo=None) == wall:
        return first
    before, after = wall.replace(tzinfo=zone, fold=1).astimezone(UTC), first  # the clock is put forward between these two
    old = before.astimezone(zone).utcoffset()
    while after - before > timedelta(seconds=1):
        middle = (before + (after - before) / 2).replace(microsecond=0)
        if middle.astimezone(zone).utcoffset() == old:
            before = middle
        else:
            after = middle
    return after


@lru_cache(maxsize=256)
def parse_cron(text: str) -> Cron:
    """What a cron line says: five fields with lists, ranges, steps and names, or a word such as `@daily`.

    Raises:
        UsageError: it is not one, or never due; the text names the field, its value and what is allowed.
    """
    shown = repr(text[:60])
    line = " ".join(text.lower().split())
    if line.startswith("@"):
        if line not in WORDS:
            raise UsageError(f"the cron line {shown} is no known word.{did_you_mean(line, WORDS)} There are {', '.join(WORDS)}.")
        line = WORDS[line]
    parts = line.split(" ") if line else []
    if len(parts) != len(_FIELDS) or len(line) > _LONGEST:
        names = ", ".join(field.name for field in _FIELDS)
        what = f"has {len(parts)} fields" if len(parts) != len(_FIELDS) else "is too long"
        raise UsageError(f"the cron line {shown} {what}; it must have five ({names}), such as '0 7 * * 1', or be a word such as @daily")
    minutes, hours, days, months, weekdays = (_read(field, part, shown) for field, part in zip(_FIELDS, parts, strict=True))
    either = not parts[2].startswith("*") and not parts[4].startswith("*")
    if not either and min(days) > max(calendar.monthrange(2024, month)[1] for month in months):
        raise UsageError(f"the cron line {shown} is never due: day of month {parts[2]!r} does not come in month {parts[3]!r}")
    return Cron(minutes, hours, days, months, tuple(sorted({day % 7 for day in weekdays})), either, line)


def _read(field: _Field, text: str, line: str) -> tuple[int, ...]:
    """The numbers that one field allows, in order."""
    found: set[int] = set()
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise _wrong(field, part or text, line)
        first, last, step = match["first"], match["last"], match["step"]
        if first == "*":
            if last is not None:
                raise _wrong(field, part, line)
            low, high = field.low, field.high - (field.name == "day of week")
        else:
            low = _number(field, first, line)
            high = low if last is None else _number(field, last, line)
            if last == "sun" and low > 0:
                high = 7
            if step is not None and last is None:
                raise UsageError(f"the cron line {line} has {field.name} {part!r}; a step needs a range: {first}-{field.high}/{step}")
            if high < low:
                raise UsageError(f"the cron line {line} has {field.name} {part!r}; a range ends after it begins, as in {high}-{low}")
        size = 1 if step is None else int(step)
        if not 1 <= size <= field.high:
            raise UsageError(f"the cron line {line} has {field.name} {part!r}; a step there is 1-{field.high}")
        found.update(range(low, high + 1, size))
    return tuple(sorted(found))


def _number(field: _Field, text: str, line: str) -> int:
    if text in field.words:
        return field.words.index(text) + field.first_word
    if not text.isdecimal() or not field.low <= int(text) <= field.high:
        raise _wrong(field, text, line)
    return int(text)


def _wrong(field: _Field, value: str, line: str) -> UsageError:
    near = did_you_mean(value, field.words) if field.words and value.isalpha() else ""
    return UsageError(f"the cron line {line} has {field.name} {value[:20]!r}; it takes {field.allowed}, *, lists, ranges and steps.{near}")
