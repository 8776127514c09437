"""The pure parts of the wires: events, shapes of usage and of errors, as different hosts write them."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiplat_lab.core.types import Deployment, Message, Request, Usage
from aiplat_lab.providers import _anthropic_wire, _openai_wire
from aiplat_lab.providers._failures import Where, from_error_object, from_status, retry_after
from aiplat_lab.providers._sse import MAX_EVENT_BYTES, Event, EventReader, EventTooLong

WHERE = Where("acme", "m-1", "api.acme.test", "env:ACME_API_KEY")

# --- server-sent events ---------------------------------------------------------------------------------------------------

STREAM = (
    b'\xef\xbb\xbf: a comment\r\n\r\nevent: first\r\ndata: {"a":\r\ndata: 1}\r\n\r\n'
    b"id: 7\nretry: 10\ndata:no space\n\nevent: lonely\n\ndata: \xc3\xa4\xe2\x82\xac\n\n:\n\ndata: [DONE]"
)
EVENTS = [Event("first", b'{"a":\n1}'), Event("", b"no space"), Event("", "ä€".encode()), Event("", b"[DONE]")]


def read(pieces: list[bytes]) -> list[Event]:
    reader = EventReader()
    return [event for piece in pieces for event in reader.feed(piece)] + reader.end()


@given(st.lists(st.integers(min_value=0, max_value=len(STREAM)), max_size=30))
def test_events_do_not_depend_on_how_the_bytes_are_cut(cuts: list[int]) -> None:
    marks = [0, *sorted(cuts), len(STREAM)]
    assert read([STREAM[a:b] for a, b in pairwise(marks)]) == EVENTS


@given(st.lists(st.text(alphabet=st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), min_size=1), max_size=8))
def test_every_line_of_data_comes_back(lines: list[str]) -> None:
    sent = b"".join(b"data: " + line.encode() + b"\n\n" for line in lines)
    assert [event.data.decode() for event in read([sent])] == lines


def test_an_event_without_an_end_is_given_up() -> None:
    reader = EventReader()
    with pytest.raises(EventTooLong):
        for _ in range(MAX_EVENT_BYTES // (1 << 20) + 1):
            reader.feed(b"x" * (1 << 20))
    reader = EventReader()
    with pytest.raises(EventTooLong):
        for _ in range(MAX_EVENT_BYTES // (1 << 20) + 1):
            reader.feed(b"data: " + b"x" * (1 << 20) + b"\n")


# --- usage ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "usage"),
    [
        ({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}, Usage(input_tokens=10, output_tokens=5)),
        (
            {"prompt_tokens": 100, "completion_tokens": 50, "prompt_tokens_details": {"cached_tokens": 64},
             "completion_tokens_details": {"reasoning_tokens": 30}},
            Usage(input_tokens=36, cache_read_tokens=64, output_tokens=20, reasoning_tokens=30),
        ),
        (  # DeepSeek
            {"prompt_tokens": 100, "completion_tokens": 5, "prompt_cache_hit_tokens": 60, "prompt_cache_miss_tokens": 40},
            Usage(input_tokens=40, cache_read_tokens=60, output_tokens=5),
        ),
        (  # a relay in front of a cache that is written
            {"prompt_tokens": 100, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 10, "cache_write_tokens": 50}},
            Usage(input_tokens=40, cache_read_tokens=10, cache_write_tokens=50, output_tokens=5),
        ),
        (  # xAI counts reasoning beside the completion, as its total shows
            {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 45, "completion_tokens_details": {"reasoning_tokens": 30}},
            Usage(input_tokens=10, output_tokens=5, reasoning_tokens=30),
        ),
        (
            {"prompt_tokens": 10, "completion_tokens": 40, "total_tokens": 50, "completion_tokens_details": {"reasoning_tokens": 10}},
            Usage(input_tokens=10, output_tokens=30, reasoning_tokens=10),
        ),
        ({"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 99}}, Usage(cache_read_tokens=10)),
        ({"prompt_tokens": 10.0, "completion_tokens": None, "prompt_tokens_details": None}, Usage(input_tokens=10)),
        ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, None),
        ({"prompt_tokens": "ten"}, None),
        ({"prompt_tokens": float("nan"), "completion_tokens": float("inf")}, None),
        ({}, None),
        (None, None),
        ([1], None),
    ],
)  # fmt: skip
def test_openai_usage_as_hosts_write_it(data: Any, usage: Usage | None) -> None:
    assert _openai_wire.read_usage(data) == usage


@pytest.mark.parametrize(
    ("data", "usage"),
    [
        ({"input_tokens": 10, "output_tokens": 5}, Usage(input_tokens=10, output_tokens=5)),
        (
            {"input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": 3,
             "cache_creation": {"ephemeral_5m_input_tokens": 4, "ephemeral_1h_input_tokens": 2}},
            Usage(input_tokens=10, cache_read_tokens=3, cache_write_tokens=6, output_tokens=5, cache_write_1h_tokens=2),
        ),
        (
            {"input_tokens": 1, "output_tokens": 5, "output_tokens_details": {"thinking_tokens": 9}},
            Usage(input_tokens=1, reasoning_tokens=5),
        ),
        ({"input_tokens": 0, "output_tokens": 0, "cache_read_input_tokens": None}, None),
        (None, None),
    ],
)  # fmt: skip
def test_anthropic_usage_as_hosts_write_it(data: Any, usage: Usage | None) -> None:
    assert _anthropic_wire.read_usage(data) == usage


counts = st.integers(min_value=0, max_value=10**9)


@given(counts, counts, counts, counts)
def test_the_classes_of_openai_usage_add_up(prompt: int, completion: int, cached: int, reasoning: int) -> None:
    data = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": min(reasoning, completion)},
    }
    usage = _openai_wire.read_usage(data)
    if usage is None:
        assert prompt + completion == 0
        return
    assert (usage.total_input_tokens, usage.total_output_tokens) == (prompt, completion)
    assert min(usage.to_json().values()) >= 0


# --- messages in Anthropic's format -----------------------------------------------------------------------------------------

tool_calls = st.lists(
    st.fixed_dictionaries(
        {"id": st.text(), "type": st.just("function"), "function": st.fixed_dictionaries({"name": st.text(), "arguments": st.just("{}")})}
    ),
    max_size=2,
)
messages = st.lists(
    st.builds(Message, st.sampled_from(["system", "developer", "user"]), st.text())
    | st.builds(lambda text, calls: Message("assistant", text, {"tool_calls": calls}), st.none() | st.text(), tool_calls)
    | st.builds(lambda text, call: Message("tool", text, {"tool_call_id": call}), st.text(), st.text()),
    max_size=8,
)


@given(messages)
def test_roles_alternate_and_no_words_are_lost(conversation: list[Message]) -> None:
    request = Request(model="m", messages=tuple(conversation))
    data = _anthropic_wire.body(request, Deployment(provider="acme", model="m-1"), stream=False).data
    roles = [message["role"] for message in data["messages"]]
    assert set(roles) <= {"user", "assistant"}
    assert all(one != other for one, other in pairwise(roles))
    blocks = [block for message in data["messages"] for block in _blocks_of(message["content"])]
    said = "".join(block.get("text") or block.get("content") or "" for block in blocks)
    assert said == "".join(message.text() for message in conversation if message.role not in {"system", "developer"})
    system = [message.text() for message in conversation if message.role in {"system", "developer"} and message.text()]
    assert data.get("system") == ("\n\n".join(system) or None)


def _blocks_of(content: Any) -> list[Any]:
    return [{"text": content}] if isinstance(content, str) else content


# --- replies of odd shape -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": [{"type": "text", "text": "a"}, {"type": "thinking", "thinking": []}, {"type": "text", "text": "b"}]}, "ab"),
        ({"content": None}, ""),
        ({"content": ""}, ""),
        ({"content": None, "refusal": "I cannot."}, "I cannot."),
    ],
)
def test_text_in_its_shapes(message: dict[str, Any], text: str) -> None:
    response = _openai_wire.read_reply({"choices": [{"message": message, "finish_reason": "stop"}]}, own=False)
    assert response is not None
    assert response.text == text
    assert ("refusal" in response.flags) is bool(message.get("refusal"))


@pytest.mark.parametrize("data", [{}, {"choices": []}, {"choices": None}, {"choices": ["x"]}, {"choices": [{"message": None}]}])
def test_replies_without_an_answer(data: Any) -> None:
    assert _openai_wire.read_reply(data, own=False) is None


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"data": None},
        {"data": [{"index": 0}]},
        {"data": [{"index": 0, "embedding": "%%"}]},
        {"data": [{"index": 0, "embedding": "AAA="}]},
        {"data": [{"index": 0, "embedding": ["x"]}]},
        {"data": [1]},
        {"data": [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": [1.0]}]},
    ],
)
def test_vectors_that_cannot_be_read(data: Any) -> None:
    assert _openai_wire.read_vectors(data, 1) is None


def test_only_the_first_choice_is_text() -> None:
    data = {"choices": [{"index": 1, "delta": {"content": "other"}, "finish_reason": None}]}
    assert _openai_wire.read_chunk(data, own=True, usage_wanted=False).text == ""


# --- failures ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "reason", "retryable", "says"),
    [
        (400, b"plain words", "bad_request", False, "plain words"),
        (400, b'{"error": "a text"}', "bad_request", False, "a text"),
        (400, b'{"message": "top level"}', "bad_request", False, "top level"),
        (422, b'{"detail": [{"loc": ["body", "x"], "msg": "wrong"}]}', "bad_request", False, "wrong"),
        (400, b'{"error": {"message": "prompt is too long: 9 > 8"}}', "context_length", False, "9 > 8"),
        (400, b'{"error": {"message": "Your credit balance is too low"}}', "bad_request", False, "Top it up"),
        (402, b'{"error": {"message": "Insufficient credits"}}', "bad_request", False, "Top it up"),
        (
            429,
            b'{"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}',
            "rate_limited",
            False,
            "Top it up",
        ),
        (502, b"<html><h1>Bad gateway</h1></html>", "unavailable", True, "failed with 502. Try"),
        (408, b"", "unavailable", True, "408"),
        (501, b"", "provider_error", False, "501"),
        (418, b"[]", "bad_request", False, "418"),
        (400, b"\xff\xfe\x00", "bad_request", False, "400"),
        (400, b'{"error": {"message": {"a": 1}, "code": 7}}', "bad_request", False, '{"a": 1}'),
        (500, b'{"error": {"message": "' + b"very long " * 400 + b'"}}', "unavailable", True, "very long"),
    ],
)
def test_bodies_of_errors(status: int, body: bytes, reason: str, retryable: bool, says: str) -> None:
    error = from_status(WHERE, status, {}, body)
    assert (error.reason, error.retryable, error.status) == (reason, retryable, status)
    assert says in error.message
    assert "<" not in error.message
    assert len(error.message.encode()) <= 800
    assert error.message.endswith(".")


def test_what_a_person_reads() -> None:
    body = b'{"error": {"message": "Incorrect API key provided: sk-abcdefghijk.", "code": "invalid_api_key"}}'
    assert from_status(WHERE, 401, {}, body).message == (
        "acme: the key was not accepted (401): Incorrect API key provided: ***. "
        "Correct providers.acme.api_key in aiplat.toml (now env:ACME_API_KEY)."
    )
    assert from_status(WHERE, 503, {"retry-after": "7"}, b"").message == (
        "acme: the service failed with 503. Try again later, or add a second deployment to fall back to."
    )
    assert from_status(WHERE, 429, {"retry-after": "7"}, b"").message == (
        "acme: too many requests for m-1 (429). Wait 7 s, or add a second deployment to fall back to."
    )


@pytest.mark.parametrize(
    ("error", "reason", "retryable"),
    [
        ({"type": "overloaded_error", "message": "m"}, "unavailable", True),
        ({"type": "rate_limit_error"}, "rate_limited", True),
        ({"code": 429, "message": "slow down"}, "rate_limited", True),
        ({"code": 502, "message": "upstream"}, "unavailable", True),
        ({"code": "context_length_exceeded", "message": "m"}, "context_length", False),
        ({"message": "what"}, "provider_error", False),
        ("just words", "provider_error", False),
        (None, "provider_error", False),
    ],
)
def test_errors_that_come_with_status_200(error: Any, reason: str, retryable: bool) -> None:
    found = from_error_object(WHERE, error)
    assert (found.reason, found.retryable) == (reason, retryable)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "-1"}, 0.0),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "Sat, 01 Jan 2000 00:00:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({}, None),
    ],
)
def test_waits(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


@given(st.binary(max_size=300), st.integers(min_value=201, max_value=599))
def test_no_body_breaks_the_reader_of_errors(body: bytes, status: int) -> None:
    error = from_status(WHERE, status, {}, body)
    assert "\n" not in error.message
    assert len(error.message.encode()) <= 800


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_no_json_breaks_the_reader_of_errors(data: Any) -> None:
    from_status(WHERE, 400, {}, json.dumps({"error": data}).encode())
    from_error_object(WHERE, data)
