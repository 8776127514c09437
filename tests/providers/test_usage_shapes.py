"""Usage as providers and hosts write it, well and badly: every field that is paid for is kept, nonsense is unknown."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiplat_lab.core.types import Usage
from aiplat_lab.gateway.counting import Counted
from aiplat_lab.providers import _anthropic_wire, _openai_wire

NONSENSE = [-1, float("nan"), float("inf"), -0.5, 1e300, 10**30, True, False, "12", "many", [], {}, [1]]


@pytest.mark.parametrize("value", NONSENSE, ids=repr)
@pytest.mark.parametrize("name", ["prompt_tokens", "completion_tokens"])
def test_a_total_that_is_no_number_of_tokens_is_unknown(name: str, value: Any) -> None:
    assert _openai_wire.read_usage({"prompt_tokens": 10, "completion_tokens": 5, name: value}) is None


@pytest.mark.parametrize("value", NONSENSE, ids=repr)
@pytest.mark.parametrize("name", ["input_tokens", "output_tokens"])
def test_and_in_the_other_format(name: str, value: Any) -> None:
    assert _anthropic_wire.read_usage({"input_tokens": 10, "output_tokens": 5, name: value}) is None
    assert _openai_wire.read_usage({"input_tokens": 10, "output_tokens": 5, name: value}) is None  # Responses


@pytest.mark.parametrize("value", [*NONSENSE, None], ids=repr)
def test_a_detail_that_is_nonsense_costs_what_its_class_costs(value: Any) -> None:
    odd = {"cached_tokens": value, "audio_tokens": value, "cached_tokens_details": value}
    data = {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "prompt_tokens_details": odd,
        "completion_tokens_details": {"reasoning_tokens": value},
    }
    assert _openai_wire.read_usage(data) == Usage(input_tokens=10, output_tokens=5)
    claude = {"input_tokens": 10, "output_tokens": 5, "cache_creation": value, "server_tool_use": {"web_search_requests": value},
              "cache_read_input_tokens": value, "service_tier": value if not isinstance(value, str) else None}  # fmt: skip
    assert _anthropic_wire.read_usage(claude) == Usage(input_tokens=10, output_tokens=5)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=2), max_leaves=3
)
details = st.dictionaries(
    st.sampled_from(["cached_tokens", "audio_tokens", "image_tokens", "reasoning_tokens", "cache_write_tokens", "web_search_requests",
                     "ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens"]), json_values | st.integers(0, 10**7))  # fmt: skip
usage_data = st.dictionaries(
    st.sampled_from(["prompt_tokens", "completion_tokens", "input_tokens", "output_tokens", "total_tokens", "prompt_tokens_details",
                     "completion_tokens_details", "input_tokens_details", "output_tokens_details", "cache_creation", "server_tool_use",
                     "cache_read_input_tokens", "cache_creation_input_tokens", "num_search_queries", "service_tier"]),
    json_values | st.integers(0, 10**7) | details)  # fmt: skip


@given(usage_data, json_values, json_values)
def test_whatever_comes_no_count_is_negative_and_parts_fit_into_their_class(data: dict[str, Any], tier: Any, output: Any) -> None:
    for usage in (_openai_wire.read_usage(data, tier=tier, output=output), _anthropic_wire.read_usage(data)):
        if usage is None:
            continue
        counts = [usage.input_tokens, usage.cache_read_tokens, usage.cache_write_tokens, usage.output_tokens, usage.reasoning_tokens]
        assert min(*counts, *usage.other.values()) >= 0
        assert all(type(count) is int for count in (*counts, *usage.other.values()))
        assert usage.cache_write_1h_tokens <= usage.cache_write_tokens
        assert usage.other.get("input_audio_tokens", 0) + usage.other.get("input_image_tokens", 0) <= usage.input_tokens
        assert usage.other.get("cache_audio_read_tokens", 0) + usage.other.get("cache_image_read_tokens", 0) <= usage.cache_read_tokens
        assert usage.other.get("output_audio_tokens", 0) + usage.other.get("output_image_tokens", 0) <= usage.output_tokens
        json.dumps(usage.to_json())


# --- streams: recorded shapes -----------------------------------------------------------------------------------------------

FULL = {"prompt_tokens": 2000, "completion_tokens": 300, "total_tokens": 2300, "prompt_tokens_details": {"cached_tokens": 1900},
        "completion_tokens_details": {"reasoning_tokens": 250}}  # fmt: skip
WHOLE = Usage(input_tokens=100, cache_read_tokens=1900, output_tokens=50, reasoning_tokens=250)
PLAIN = {"prompt_tokens": 2000, "completion_tokens": 300, "total_tokens": 2300}


def piece(text: str = "", usage: Any = None, *, choices: bool = True, **more: Any) -> dict[str, Any]:
    listed = [{"index": 0, "delta": {"content": text} if text else {}, "finish_reason": None if text else "stop"}] if choices else []
    return {
        "id": "c",
        "object": "chat.completion.chunk",
        "model": "m",
        "choices": listed,
        **({"usage": usage} if usage is not None else {}),
        **more,
    }


def running(out: int, *, prompt: int = 2000, cached: int = 1900) -> dict[str, Any]:
    return {"prompt_tokens": prompt, "completion_tokens": out, "prompt_tokens_details": {"cached_tokens": cached}}


STREAMS = {
    "alone at the end": ([piece("a"), piece(), piece(usage=FULL, choices=False)], WHOLE),
    "on the last piece with choices": ([piece("a"), piece(usage=FULL)], WHOLE),
    "on a piece with text": ([piece("a", FULL), piece()], WHOLE),
    "null until the end": ([piece("a", None, x=1) | {"usage": None}, piece() | {"usage": None}, piece(usage=FULL, choices=False)], WHOLE),
    "twice": ([piece("a"), piece(usage=FULL), piece(usage=FULL, choices=False)], WHOLE),
    "the second without details": ([piece("a"), piece(usage=FULL), piece(usage=PLAIN, choices=False)], WHOLE),
    "empty after the true one": ([piece(usage=FULL), piece(usage={}, choices=False)], WHOLE),
    "zeros after the true one": ([piece(usage=FULL), piece(usage={"prompt_tokens": 0, "completion_tokens": 0}, choices=False)], WHOLE),
    "a running total": (
        [piece("a", running(1)), piece("b", running(2)), piece(usage=running(300))],
        Usage(input_tokens=100, cache_read_tokens=1900, output_tokens=300),
    ),
    "output alone, rising": (
        [piece("a", running(1)), piece(usage={"prompt_tokens": 0, "completion_tokens": 300})],
        Usage(input_tokens=100, cache_read_tokens=1900, output_tokens=300),
    ),
    "each piece by itself": (
        [piece("a", running(1))] + [piece("b", {"prompt_tokens": 0, "completion_tokens": 1})] * 9,
        Usage(input_tokens=100, cache_read_tokens=1900, output_tokens=10),
    ),
    "the tier beside it": ([piece("a", service_tier="flex"), piece(usage=PLAIN, choices=False, service_tier="flex")],
                           Usage(input_tokens=2000, output_tokens=300, service_tier="flex")),
    "none": ([piece("a"), piece()], None),
}  # fmt: skip


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("own", [True, False])
def test_a_stream_keeps_what_was_cached_and_thought(name: str, own: bool) -> None:
    events, wanted = STREAMS[name]
    counted = Counted()
    for event in events:
        chunk = _openai_wire.read_chunk(event, own=own, usage_wanted=False)
        if chunk.usage is not None:
            counted.add(chunk.usage)
    assert counted.usage == wanted


def claude_stream(start: dict[str, Any], *deltas: dict[str, Any]) -> Usage | None:
    reader, counted = _anthropic_wire.StreamReader(own=False), Counted()
    events: list[dict[str, Any]] = [{"type": "message_start", "message": {"model": "claude", "usage": start}}]
    events += [{"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage} for usage in deltas]
    for event in [*events, {"type": "message_stop"}]:
        usage = reader.read(event).usage
        if usage is not None:
            counted.add(usage)
    return counted.usage


START = {"input_tokens": 100, "cache_read_input_tokens": 50, "cache_creation_input_tokens": 30, "output_tokens": 1,
         "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20}, "service_tier": "standard"}  # fmt: skip


@pytest.mark.parametrize(
    "deltas",
    [
        ({"output_tokens": 40},),
        ({"output_tokens": 40}, {"output_tokens": 40}),
        ({"output_tokens": 20}, {"output_tokens": 40}),
        ({"input_tokens": 0, "output_tokens": 40, "cache_read_input_tokens": 0, "cache_creation": None},),
        ({**START, "output_tokens": 40},),
    ],
)
def test_claude_streams_keep_the_lives_of_the_cache(deltas: tuple[dict[str, Any], ...]) -> None:
    assert claude_stream(START, *deltas) == Usage(
        input_tokens=100, cache_read_tokens=50, cache_write_tokens=30, cache_write_1h_tokens=20, output_tokens=40, service_tier="standard"
    )


def test_searches_make_the_input_of_a_claude_stream_grow() -> None:
    usage = claude_stream(START, {"input_tokens": 9000, "output_tokens": 400, "server_tool_use": {"web_search_requests": 2}})
    assert usage is not None
    assert (usage.input_tokens, usage.other) == (9000, {"web_searches": 2})


def test_units_and_tiers_survive_our_own_wire() -> None:
    from aiplat_lab.core.types import Response

    usage = Usage(input_tokens=5, cache_write_tokens=3, cache_write_1h_tokens=2, other={"web_searches": 1}, service_tier="flex")
    again = Response.from_json(json.loads(json.dumps(Response(text="x", usage=usage).to_json())))
    assert again.usage == usage


def test_gemini_tells_pictures_and_sound_apart() -> None:
    from aiplat_lab.providers import _gemini_wire

    usage = _gemini_wire.read_usage(
        {"promptTokenCount": 100, "candidatesTokenCount": 1300, "totalTokenCount": 1400, "trafficType": "ON_DEMAND",
         "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 60}, {"modality": "AUDIO", "tokenCount": 40}],
         "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1290}]}
    )  # fmt: skip
    assert usage is not None
    assert (usage.other, usage.service_tier) == ({"input_audio_tokens": 40, "output_image_tokens": 1290}, "on_demand")


def test_responses_are_counted_by_the_same_reader() -> None:
    from aiplat_lab.providers import _responses_wire

    items = [{"type": "web_search_call", "action": {"type": "open_page"}}, {"type": "web_search_call", "action": {"type": "search"}}]
    usage = _responses_wire.read_usage({"input_tokens": 10, "output_tokens": 5, "input_tokens_details": {"cached_tokens": 4}}, items)
    assert usage == Usage(input_tokens=6, cache_read_tokens=4, output_tokens=5, other={"web_searches": 1})
    assert _responses_wire.read_usage({"input_tokens": -1, "output_tokens": 5}) is None
