"""The nouns survive their own wire, and what decides an answer decides its fingerprint."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiplat_lab.core.errors import (
    AiplatError,
    BudgetExceeded,
    ProviderError,
    RateLimited,
    UsageError,
    did_you_mean,
    from_wire,
    redact,
    shorten,
)
from aiplat_lab.core.ids import id_time, is_id, new_id
from aiplat_lab.core.text import money, seconds, table
from aiplat_lab.core.times import moment, period_start, span
from aiplat_lab.core.types import Attribution, Message, Request, Response, Usage, canonical_json, content_hash

texts = st.text(max_size=60)
requests = st.builds(
    Request,
    model=texts,
    messages=st.lists(st.builds(Message, role=st.sampled_from(["system", "user", "assistant"]), content=texts), max_size=4).map(tuple),
    settings=st.dictionaries(texts, st.one_of(st.integers(), texts, st.booleans()), max_size=4),
    stream=st.booleans(),
    attribution=st.builds(Attribution, team=texts, project=texts, tags=st.dictionaries(texts, texts, max_size=3)),
)


@given(requests)
def test_a_request_survives_its_wire(request: Request) -> None:
    again = Request.from_json(json.loads(json.dumps(request.to_json())))
    assert again == request
    assert again.fingerprint() == request.fingerprint()


@given(requests, texts)
def test_the_fingerprint_depends_on_the_question_alone(request: Request, team: str) -> None:
    from dataclasses import replace

    other = replace(request, attribution=Attribution(team=team), call_id=new_id(), stream=not request.stream, timeout_s=3.0)
    assert other.fingerprint() == request.fingerprint()
    asked = replace(request, messages=(*request.messages, Message("user", "more")))
    assert asked.fingerprint() != request.fingerprint()


def test_a_response_survives_its_wire() -> None:
    response = Response(
        text="ok", usage=Usage(input_tokens=3, output_tokens=4), cost_usd=Decimal("0.000000123"), flags=("no_finish_reason",), cache="hit"
    )
    assert Response.from_json(json.loads(json.dumps(response.to_json()))) == response


def test_a_lone_surrogate_can_be_hashed() -> None:
    assert canonical_json({"a": "\ud800"}) == b'{"a":"?"}'
    assert len(content_hash("\ud800")) == 64


def test_ids_sort_by_time_and_tell_it() -> None:
    early, late = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
    first, second = new_id(early), new_id(late)
    assert first < second
    assert id_time(first) == early
    assert len({new_id() for _ in range(2000)}) == 2000
    assert all(is_id(new_id()) for _ in range(100))
    with pytest.raises(ValueError, match="not a call id"):
        id_time("x")


@pytest.mark.parametrize(
    "error",
    [
        BudgetExceeded("the budget of team risk is used up", policy="budget", call_id="c"),
        RateLimited("slow down", policy="limits", retry_after_s=2.5),
        ProviderError("gone", provider="openai", model="m", status=503, retryable=True, reason="unavailable"),
        AiplatError("plain"),
    ],
)
def test_an_error_survives_its_wire(error: AiplatError) -> None:
    again = from_wire(json.loads(json.dumps(error.to_wire())))
    assert type(again) is type(error)
    assert again.to_wire() == error.to_wire()


def test_an_unknown_error_is_still_an_error() -> None:
    assert type(from_wire({"type": "Nonsense", "message": "m"})) is AiplatError


@given(st.text(max_size=3000))
def test_an_error_is_one_short_line(text: str) -> None:
    line = shorten(text)
    assert len(line.encode("utf-8", "replace")) <= 800
    assert "\n" not in line


@pytest.mark.parametrize(
    "key", ["sk-proj-abcdefghijklmnop", "aiplat-0123456789abcdef", "Bearer abc.def.ghi-123", "AIza" + "x" * 35, "k" * 44]
)
def test_what_looks_like_a_key_is_hidden(key: str) -> None:
    assert key not in redact(f"the key {key} is wrong")
    assert key not in ProviderError(f"bad {key}", provider="p").message


def test_near_names_are_offered() -> None:
    assert did_you_mean("smolm2", ["smollm2", "minilm"]).startswith(" Did you mean smollm2")
    assert did_you_mean("zzz", ["smollm2"]) == ""


@pytest.mark.parametrize(
    ("usd", "shown"),
    [
        (None, "unknown"),
        (Decimal(0), "$0.00"),
        (Decimal("0.0000001"), "$1e-7"),
        (Decimal("0.00012"), "$0.00012"),
        (Decimal("0.031"), "$0.031"),
        (Decimal("1204.5"), "$1,204.50"),
        (Decimal("-2"), "-$2.00"),
        ("3.5", "$3.50"),
    ],
)
def test_money_is_written_for_people(usd: object, shown: str) -> None:
    assert money(usd) == shown  # type: ignore[arg-type]


def test_money_in_another_currency() -> None:
    assert money(Decimal(10), currency="GBP", rate=Decimal("0.75")) == "£7.50"


def test_lengths_of_time_are_written_for_people() -> None:
    assert [seconds(x) for x in (None, 0.34, 2.14, 185.0)] == ["unknown", "340 ms", "2.1 s", "3 min 5 s"]


def test_a_table_aligns_numbers_and_shows_what_is_unknown() -> None:
    assert table([{"name": "a", "calls": 10}, {"name": "long", "calls": None}]) == "name  calls\n----  -----\na        10\nlong      –"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7d", datetime(2026, 11, 16, 12, tzinfo=UTC)),
        ("24h", datetime(2026, 11, 22, 12, tzinfo=UTC)),
        ("now", datetime(2026, 11, 23, 12, tzinfo=UTC)),
        ("today", datetime(2026, 11, 23, tzinfo=UTC)),
        ("2026-11-01", datetime(2026, 11, 1, tzinfo=UTC)),
        ("2026-11-01T09:00+02:00", datetime(2026, 11, 1, 7, tzinfo=UTC)),
    ],
)
def test_moments(text: str, expected: datetime) -> None:
    assert moment(text, now=datetime(2026, 11, 23, 12, tzinfo=UTC)) == expected


def test_what_is_no_moment_is_refused() -> None:
    for text in ("", "yesterday-ish", "7 parsecs", "2026-13-01", "999999w", "0001-01-01T00:00+14:00"):
        with pytest.raises(UsageError):
            moment(text, now=datetime(2026, 11, 23, tzinfo=UTC))
    with pytest.raises(UsageError):
        span("-3d")


def test_budget_periods_begin_at_local_midnight() -> None:
    at = datetime(2026, 7, 1, 23, 30, tzinfo=UTC)  # already 2 July in London's summer
    assert period_start("day", now=at, time_zone="Europe/London") == datetime(2026, 7, 1, 23, tzinfo=UTC)
    assert period_start("month", now=at, time_zone="Europe/London") == datetime(2026, 6, 30, 23, tzinfo=UTC)
    assert period_start("week", now=at, time_zone="Europe/London") == datetime(2026, 6, 28, 23, tzinfo=UTC)
    assert period_start("total", now=at, time_zone="UTC") < at - timedelta(days=9000)
