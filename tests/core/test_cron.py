"""Cron lines: what they mean, when they are due across changes of the clock, and what is said of one that is wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiplat_lab.core.cron import Cron, parse_cron, time_zone
from aiplat_lab.core.errors import UsageError

LONDON = ZoneInfo("Europe/London")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def following(line: str, zone: str, after: str, count: int) -> list[str]:
    found, moment = [], at(after)
    for _ in range(count):
        moment = parse_cron(line).next(moment, ZoneInfo(zone))
        assert moment is not None
        found.append(f"{moment:%Y-%m-%dT%H:%M}")
    return found


@pytest.mark.parametrize(
    ("line", "first"),
    [
        ("0 7 * * 1", ["2026-11-30T07:00", "2026-12-07T07:00"]),
        ("0 7 * * MON", ["2026-11-30T07:00", "2026-12-07T07:00"]),
        ("@daily", ["2026-11-27T00:00", "2026-11-28T00:00"]),
        ("@monthly", ["2026-12-01T00:00", "2027-01-01T00:00"]),
        ("*/25 10 * * *", ["2026-11-27T10:00", "2026-11-27T10:25", "2026-11-27T10:50", "2026-11-28T10:00"]),
        ("0 9 * jan,mar-apr 1-5", ["2027-01-01T09:00", "2027-01-04T09:00"]),
        ("0 0 13 * fri", ["2026-11-27T00:00", "2026-12-04T00:00", "2026-12-11T00:00", "2026-12-13T00:00"]),
        ("0 0 1-7 * */7", ["2026-12-06T00:00", "2027-01-03T00:00"]),
        ("0 0 29 2 *", ["2028-02-29T00:00", "2032-02-29T00:00"]),
        ("5 0 * * 5-7", ["2026-11-27T00:05", "2026-11-28T00:05", "2026-11-29T00:05", "2026-12-04T00:05"]),
        ("5 0 * * sat-sun", ["2026-11-28T00:05", "2026-11-29T00:05", "2026-12-05T00:05"]),
    ],
)
def test_what_a_line_means(line: str, first: list[str]):
    assert following(line, "UTC", "2026-11-26T17:00", len(first)) == first


def test_the_skipped_hour_runs_once_right_after():
    # London, 29 March 2026: 01:00 becomes 02:00 at 01:00 UTC
    assert following("30 1 * * *", "Europe/London", "2026-03-28T02:00", 2) == ["2026-03-29T01:00", "2026-03-30T00:30"]
    assert following("*/20 1 * * *", "Europe/London", "2026-03-28T01:30", 3) == ["2026-03-28T01:40", "2026-03-29T01:00", "2026-03-30T00:00"]
    assert following("0 1,2 29 3 *", "Europe/London", "2026-03-28T00:00", 2) == ["2026-03-29T01:00", "2027-03-29T00:00"]


def test_the_repeated_hour_runs_once():
    # London, 25 October 2026: 02:00 becomes 01:00 at 01:00 UTC
    assert following("30 1 * * *", "Europe/London", "2026-10-24T02:00", 2) == ["2026-10-25T00:30", "2026-10-26T01:30"]
    assert following("0 * 25 10 *", "Europe/London", "2026-10-24T23:30", 3) == ["2026-10-25T00:00", "2026-10-25T02:00", "2026-10-25T03:00"]
    late = at("2026-10-25T01:45")  # the second 01:45 of that night
    assert parse_cron("50 1 * * *").previous(late, LONDON) == at("2026-10-25T00:50")
    assert parse_cron("50 1 * * *").next(late, LONDON) == at("2026-10-26T01:50")


def test_a_day_that_was_left_out():
    # Samoa had no 30 December 2011: it went over the date line
    assert following("0 12 30 12 *", "Pacific/Apia", "2011-12-28T00:00", 2) == ["2011-12-30T10:00", "2012-12-29T22:00"]


ZONES = ["UTC", "Europe/London", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "Africa/Casablanca", "America/St_Johns"]


def _field(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    ranges = st.tuples(number, number).map(lambda pair: f"{min(pair)}-{max(pair)}")
    steps = st.integers(1, high).map(lambda step: f"*/{step}")
    one = st.one_of(number.map(str), ranges, steps)
    return st.one_of(st.just("*"), st.lists(one, min_size=1, max_size=3).map(",".join))


lines = st.tuples(_field(0, 59), _field(0, 23), st.just("*"), st.just("*"), _field(0, 6)).map(" ".join)


def _walked(cron: Cron, begin: datetime, end: datetime, zone: ZoneInfo) -> list[datetime]:
    """The slots by walking each minute of the wall clock, told by what the clock shows before and after."""
    found = set()
    moment, shown = begin, None
    seen: set[datetime] = set()
    while moment <= end:
        wall = moment.astimezone(zone).replace(tzinfo=None, second=0, microsecond=0)
        passed = [wall] if shown is None or wall <= shown else []
        while shown is not None and shown < wall:
            shown += timedelta(minutes=1)
            passed.append(shown)
        for one in passed:
            due = one.hour in cron.hours and one.minute in cron.minutes and cron._due_on(one.date())
            if due and one not in seen:
                found.add(moment)
            seen.add(one)
        shown = wall
        moment += timedelta(minutes=1)
    return sorted(found)


@settings(max_examples=25, deadline=None)
@given(lines, st.sampled_from(ZONES), st.sampled_from(["2026-03-08T00:00", "2026-03-28T18:00", "2026-04-04T10:00", "2026-10-24T18:00"]))
def test_slots_are_what_the_wall_clock_shows(line: str, zone_name: str, begin: str):
    cron, zone, start = parse_cron(line), ZoneInfo(zone_name), at(begin)
    end = start + timedelta(hours=30)
    expected = _walked(cron, start - timedelta(hours=3), end, zone)
    expected = [slot for slot in expected if slot > start]
    found, moment = [], cron.next(start, zone)
    while moment is not None and moment <= end:
        found.append(moment)
        moment = cron.next(moment, zone)
    assert found == expected
    back = list(islice(cron.slots_back(end, zone), len(found)))
    assert list(reversed(back)) == found


moments = st.datetimes(datetime(2000, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))


@settings(max_examples=150, deadline=None)
@given(lines, st.sampled_from(ZONES), moments)
def test_next_and_previous_agree(line: str, zone_name: str, now: datetime):
    cron, zone = parse_cron(line), ZoneInfo(zone_name)
    coming, gone = cron.next(now, zone), cron.previous(now, zone)
    assert coming is not None and gone is not None
    assert gone <= now < coming
    assert cron.next(gone, zone) == coming and cron.previous(coming, zone) == coming
    assert cron.previous(coming - timedelta(microseconds=1), zone) == gone


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("0 25 * * 1", ["hour '25'", "0-23"]),
        ("61 7 * * 1", ["minute '61'", "0-59"]),
        ("0 7 32 * *", ["day of month '32'", "1-31"]),
        ("0 7 0 * *", ["day of month '0'", "1-31"]),
        ("0 7 * 13 *", ["month '13'", "1-12 or jan-dec"]),
        ("0 7 * * mno", ["day of week 'mno'", "0-7 or sun-sat", "Did you mean mon"]),
        ("0 7 * *", ["has 4 fields", "minute, hour, day of month, month, day of week"]),
        ("", ["has 0 fields"]),
        ("0 7 * * 1 root", ["has 6 fields"]),
        ("0 7 * * 5-1", ["day of week '5-1'", "1-5"]),
        ("*/0 * * * *", ["minute '*/0'", "1-59"]),
        ("*/90 * * * *", ["minute '*/90'", "1-59"]),
        ("5/10 * * * *", ["5-59/10"]),
        ("1,,2 * * * *", ["minute"]),
        ("-5 * * * *", ["minute '-5'"]),
        ("*-5 * * * *", ["minute '*-5'"]),
        ("0 0 30 2 *", ["never due", "'30'", "'2'"]),
        ("0 0 31 4,6,9,11 *", ["never due"]),
        ("@dayly", ["Did you mean @daily"]),
        ("@reboot", ["no known word"]),
        ("٣ * * * *", ["minute"]),
        ("0," * 300 + "0 * * * *", ["too long"]),
    ],
)
def test_a_line_with_an_error_is_one_clear_line(line: str, said: list[str]):
    with pytest.raises(UsageError) as caught:
        parse_cron(line)
    assert "\n" not in caught.value.message and len(caught.value.message) < 400
    for words in said:
        assert words in caught.value.message


def test_a_day_by_number_or_weekday_is_never_never_due():
    assert parse_cron("0 0 30 2 1").next(at("2026-11-26T00:00"), LONDON) == at("2027-02-01T00:00")


def test_zones():
    assert time_zone("Europe/London").key == "Europe/London"
    for wrong in ("Europe/Londn", "", "../../etc/passwd", "Mars/Olympus", "a" * 300, "Europe"):
        with pytest.raises(UsageError, match="time zone"):
            time_zone(wrong)
    with pytest.raises(UsageError, match="Europe/London"):
        time_zone("Europe/Londn")


def test_the_end_of_the_calendar_is_no_error():
    assert parse_cron("0 0 1 1 *").next(datetime(9999, 12, 31, 23, 59, tzinfo=UTC), LONDON) is None
    assert parse_cron("0 0 1 1 *").previous(datetime(1, 1, 1, 0, 0, tzinfo=UTC), ZoneInfo("America/New_York")) is None
