"""A row says how a call ended in words that a reader can group by, and gives the same answer or error again."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiplat_lab.core.documents import read_response, request_document, response_document
from aiplat_lab.core.errors import (
    AiplatError,
    AuthRefused,
    BudgetExceeded,
    CallCancelled,
    CallLost,
    CallRefused,
    ConfigError,
    ProviderError,
    RateLimited,
    ResidencyRefused,
    UnknownModel,
)
from aiplat_lab.core.types import Attribution, Call, Message, Request, Response, Usage
from aiplat_lab.gateway.row import end_row, error_message, error_type, recorded
from aiplat_lab.gateway.tools import merge_tool_calls

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (ProviderError("x", provider="p", reason="rate_limited"), "rate_limited"),
        (UnknownModel("x"), "unknown_model"),
        (BudgetExceeded("x", policy="budget"), "budget_exceeded"),
        (CallCancelled("x"), "cancelled"),
        (AiplatError("x"), "aiplat_error"),
    ],
)
def test_the_word_for_an_error(error: AiplatError, word: str) -> None:
    assert error_type(error) == word


def test_a_message_in_a_row_is_short_and_holds_no_key() -> None:
    text = error_message(ValueError("line one\nsk-abcdefghijklmnop0123456789 " + "long " * 500))
    assert "\n" not in text and "sk-abc" not in text and len(text.encode()) <= 400
    assert error_message(KeyboardInterrupt()) == "KeyboardInterrupt"


@pytest.mark.parametrize(
    "error",
    [
        AuthRefused("no", policy="auth"),
        BudgetExceeded("no", policy="budget"),
        ResidencyRefused("no", policy="residency"),
        CallRefused("no", policy="own"),
        RateLimited("no", policy="rate", retry_after_s=3.0),
        ProviderError("no", provider="p", reason="cut_off"),
        UnknownModel("no"),
        ConfigError("no"),
        CallCancelled("no"),
    ],
)
def test_an_error_comes_back_as_it_was(error: AiplatError) -> None:
    status = "refused" if isinstance(error, CallRefused) else "cancelled" if isinstance(error, CallCancelled) else "error"
    row = {
        "call_id": "c",
        "status": status,
        "error_type": error_type(error),
        "error_message": error.message,
        "policy": getattr(error, "policy", None),
        "provider": "p" if isinstance(error, ProviderError) else None,
        "request_model": "m",
    }
    with pytest.raises(AiplatError) as caught:
        recorded(row, None)
    assert type(caught.value) is type(error) and caught.value.call_id == "c"
    assert getattr(caught.value, "reason", None) == getattr(error, "reason", None)
    assert getattr(caught.value, "policy", None) == getattr(error, "policy", None)


def test_what_is_gone_says_so() -> None:
    with pytest.raises(CallLost, match="parent_id"):
        recorded({"call_id": "c", "status": "error", "error_type": "gateway_lost"}, None)
    with pytest.raises(CallLost, match="erased"):
        recorded({"call_id": "c", "status": "ok", "error_type": None}, None)


usages = st.none() | st.builds(
    Usage,
    input_tokens=st.integers(0, 10**6),
    cache_read_tokens=st.integers(0, 10**6),
    cache_write_tokens=st.integers(0, 10**6),
    output_tokens=st.integers(0, 10**6),
    reasoning_tokens=st.integers(0, 10**6),
)
texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=80)
responses = st.builds(
    Response,
    text=texts,
    finish_reason=st.sampled_from(["stop", "length", "tool_calls", ""]),
    usage=usages,
    provider=st.just("p"),
    region=st.sampled_from(["", "uk"]),
    response_model=texts,
    tool_calls=st.just(()) | st.just(({"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}},)),
    embeddings=st.just(()) | st.just(((0.1, -1e-9, 3.0), (1.0, 2.0, 0.3333333333333333))),
)


@given(responses)
def test_an_answer_comes_back_as_it_was(response: Response) -> None:
    request = Request(model="m", messages=(Message("user", "x"),), attribution=Attribution(team="t"))
    call = Call(request=request, started_at=NOW, response=response, ended_at=NOW + timedelta(seconds=1), cost_usd=Decimal("0.000000001"))
    row, payloads = end_row(call, request_document(request))
    again = recorded(row, payloads[row["response_hash"]])
    assert replace(again, latency_s=0.0) == replace(call.answer(), latency_s=0.0)


@given(st.text(), st.text(), st.dictionaries(st.sampled_from(["temperature", "top_p", "seed"]), st.integers(0, 9)))
def test_the_same_question_has_the_same_hash(one: str, other: str, settings: dict[str, Any]) -> None:
    def asked(text: str, **more: Any) -> str:
        return request_document(Request(model="m", messages=(Message("user", text),), settings=settings, **more)).hash

    assert asked(one) == asked(one, attribution=Attribution(team="x"), stream=True, timeout_s=3.0)
    encoded = [text.encode("utf-8", "replace") for text in (one, other)]
    assert (asked(one) == asked(other)) is (encoded[0] == encoded[1])
    assert asked(one) != request_document(Request(model="n", messages=(Message("user", one),), settings=settings)).hash


def test_bodies_are_part_of_the_question_but_not_how_they_travel() -> None:
    def asked(**body: Any) -> str:
        return request_document(Request(model="m", wire="anthropic.messages", body=body)).hash

    assert asked(system="a") != asked(system="b")
    assert asked(system="a", stream=True) == asked(system="a", stream=False)


def test_a_message_is_stored_once() -> None:
    first = Message("user", "a long beginning")
    short = request_document(Request(model="m", messages=(first,)))
    long = request_document(Request(model="m", messages=(first, Message("assistant", "yes"), Message("user", "more"))))
    assert len(set(short.payloads) & set(long.payloads)) == 1


def test_a_body_is_kept_for_what_is_more_than_text() -> None:
    document = response_document(Response(text="t", body={"logprobs": [1]}))
    row = {"call_id": "c", "status": "ok"}
    assert read_response(row, document.payloads[document.hash]).body == {"logprobs": [1]}


def test_pieces_of_tool_calls() -> None:
    whole: list[dict[str, Any]] = []
    merge_tool_calls(whole, [{"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x"'}}])
    merge_tool_calls(whole, [{"index": 1, "id": "b", "function": {"name": "g", "arguments": ""}}])
    merge_tool_calls(whole, [{"index": 0, "function": {"arguments": ":1}"}}, {"index": 1, "id": None, "function": {"arguments": "{}"}}])
    assert whole == [
        {"type": "function", "function": {"name": "f", "arguments": '{"x":1}'}, "id": "a"},
        {"type": "function", "function": {"name": "g", "arguments": "{}"}, "id": "b"},
    ]
    unnumbered: list[dict[str, Any]] = []
    merge_tool_calls(unnumbered, [{"id": "a", "function": {"name": "f", "arguments": "1"}}, {"id": "b", "function": {"name": "g"}}])
    merge_tool_calls(unnumbered, [{"function": {"arguments": "2"}}])
    assert [call["function"]["arguments"] for call in unnumbered] == ["1", "2"]
