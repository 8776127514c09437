"""What each wire says that another cannot: passed on to its own providers, translated, flagged, or refused by name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
import requests
from served import Served, served

from aiplat_lab.core.types import Chunk, Request, Response, Usage
from aiplat_lab.gateway import _gemini_face, _responses_face

ASK = [{"role": "user", "content": "hello"}]
MIXED = """
[models.either]
deployments = [{ provider = "up", model = "echo" }, { provider = "claude", model = "echo" }]
[models.both-fail]
deployments = [{ provider = "claude", model = "status-500" }, { provider = "up", model = "echo" }]
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("faces") / "home", tables=MIXED) as found:
        yield found


@pytest.fixture(scope="module")
def key(place: Served) -> str:
    return place.key(team="risk")


def post(place: Served, key: str, path: str, body: Any) -> requests.Response:
    return requests.post(place.http + path, json=body, headers={"Authorization": f"Bearer {key}"}, timeout=20)


def messages(place: Served, key: str, **more: Any) -> requests.Response:
    return post(place, key, "/v1/messages", {"model": "up/echo", "max_tokens": 50, "messages": ASK, **more})


# --- Anthropic in -----------------------------------------------------------------------------------------------------


def test_what_openais_wire_has_a_word_for_is_translated(place: Served, key: str):
    answer = messages(
        place,
        key,
        top_k=5,
        thinking={"type": "enabled", "budget_tokens": 4000},
        output_config={"format": {"type": "json_schema", "schema": {"type": "object"}}},
        tools=[{"name": "f", "input_schema": {"type": "object"}, "strict": True}],
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "document", "title": "a.pdf", "source": {"type": "base64", "media_type": "application/pdf", "data": "AA=="}},
                    {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "said"}},
                ],
            }
        ],
    )
    assert answer.status_code == 200, answer.text
    sent = place.upstream.requests[-1].body
    assert (sent["top_k"], sent["reasoning_effort"]) == (5, "medium")
    assert sent["response_format"]["json_schema"]["schema"] == {"type": "object"} and sent["tools"][0]["function"]["strict"] is True
    assert sent["messages"][0]["content"] == [
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="}},
        {"type": "text", "text": "said"},
    ]


@pytest.mark.parametrize("stream", [False, True])
def test_what_can_be_done_without_is_left_out_and_told(place: Served, key: str, stream: bool):
    more: dict[str, Any] = {
        "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        "service_tier": "auto",
        "context_management": {"edits": [1]},
        "stream": stream,
    }
    answer = messages(place, key, **more)
    assert answer.status_code == 200
    assert set(answer.headers["x-aiplat-ignored"].split(", ")) == {"cache_control", "service_tier", "context_management"}
    row = place.client.call(answer.headers["x-aiplat-call-id"])
    assert {"ignored_cache_control", "ignored_service_tier"} <= set(row["flags"])
    own = messages(place, key, model="claude/echo", **more)
    assert own.status_code == 200 and "x-aiplat-ignored" not in own.headers
    assert place.upstream.requests[-1].body["system"] == more["system"], "its own wire gets it unchanged"


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0] (web_search_20250305)"),
        ({"mcp_servers": [{"url": "x"}]}, "mcp_servers"),
        ({"inference_geo": "us"}, "inference_geo"),
        ({"brand_new": 1}, "brand_new"),
        ({"messages": [{"role": "user", "content": [{"type": "search_result", "source": "x"}]}]}, "messages[0] (search_result)"),
        (
            {"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": [{"type": "image"}]}]}]},
            "messages[0] (image)",
        ),
    ],
)
def test_what_must_not_be_left_out_is_refused_or_goes_to_its_own_wire(place: Served, key: str, more: dict[str, Any], named: str):
    refused = messages(place, key, **more)
    assert refused.status_code == 400 and named in refused.json()["error"]["message"]
    assert "anthropic.messages" in refused.json()["error"]["message"]
    row = place.client.call(refused.headers["x-aiplat-call-id"])
    assert (row["status"], row["policy"], row["error_type"]) == ("refused", "wire", "capability_refused")
    if "inference_geo" in more or "brand_new" in more:
        either = messages(place, key, model="either", **more)
        assert either.status_code == 200 and place.client.call(either.headers["x-aiplat-call-id"])["provider"] == "claude"
        fallen = messages(place, key, model="both-fail", **more)
        assert fallen.status_code == 503, "a fallback to another wire would lose it"


# --- OpenAI in --------------------------------------------------------------------------------------------------------


def test_settings_that_anthropic_has_no_word_for_are_told(place: Served, key: str):
    body = {"model": "claude/echo", "messages": ASK, "frequency_penalty": 0.5, "logit_bias": {"5": 1}}
    answer = post(place, key, "/v1/chat/completions", body)
    assert answer.status_code == 200 and answer.headers["x-aiplat-ignored"] == "frequency_penalty, logit_bias"


def test_several_answers_log_probabilities_and_seeds_pass_through(place: Served, key: str):
    body = {"model": "up/echo", "messages": ASK, "n": 2, "logprobs": True, "top_logprobs": 3, "seed": 7, "parallel_tool_calls": False}
    assert post(place, key, "/v1/chat/completions", body).status_code == 200
    sent = place.upstream.requests[-1].body
    assert {name: sent[name] for name in body if name not in ("model", "messages")} == {
        name: body[name] for name in body if name not in ("model", "messages")
    }


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"background": True}, "background"),
        ({"max_tool_calls": 3}, "max_tool_calls"),
        ({"include": ["file_search_call.results"]}, "include (file_search_call.results)"),
        ({"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]}, "input[0].content (input_file)"),
        ({"tool_choice": {"type": "allowed_tools"}}, "tool_choice"),
        ({"top_logprobs": 2, "stream": True}, "logprobs in a stream"),
    ],
)
def test_responses_that_a_chat_cannot_say(place: Served, key: str, more: dict[str, Any], named: str):
    refused = post(place, key, "/v1/responses", {"model": "up/echo", "input": "hello", **more})
    assert refused.status_code == 400 and named in refused.json()["error"]["message"]


def test_responses_are_translated(place: Served, key: str):
    body = {
        "model": "up/echo",
        "input": [{"role": "user", "content": [{"type": "input_text", "text": "x"}, {"type": "input_file", "file_data": "data:x"}]}],
        "top_logprobs": 2,
        "service_tier": "flex",
        "text": {"verbosity": "low"},
        "store": True,
        "prompt_cache_key": "k",
        "reasoning": {"effort": "low", "summary": "auto"},
    }
    answer = post(place, key, "/v1/responses", body)
    sent = place.upstream.requests[-1].body
    assert (sent["logprobs"], sent["top_logprobs"], sent["service_tier"], sent["verbosity"]) == (True, 2, "flex", "low")
    assert sent["messages"][0]["content"][1]["type"] == "file"
    assert set(answer.headers["x-aiplat-ignored"].split(", ")) == {"store", "prompt_cache_key", "reasoning_summary"}


def test_a_stream_of_responses_passes_through_whole():
    events = _responses_face._Events(Request(model="m", stream=True))
    sent = [{"type": "response.created", "sequence_number": 0}, {"type": "response.output_text.delta", "delta": "a"}]
    out = events.begin() + b"".join(events.of(Chunk(text="a", body=one)) for one in sent) + events.end(None)
    assert [json.loads(line[6:]) for line in out.decode().splitlines() if line.startswith("data: ")] == sent


# --- Gemini -----------------------------------------------------------------------------------------------------------


def test_several_candidates_with_log_probabilities_are_told_in_geminis_words():
    choice = {
        "message": {"content": "a"},
        "finish_reason": "stop",
        "logprobs": {"content": [{"token": "a", "logprob": -0.5, "top_logprobs": [{"token": "b", "logprob": -1.0}]}]},
    }
    other = {
        "message": {"content": None, "tool_calls": [{"function": {"name": "f", "arguments": "{broken"}}]},
        "finish_reason": "tool_calls",
    }
    usage = Usage(input_tokens=5, cache_read_tokens=2, output_tokens=3, reasoning_tokens=1)
    response = Response(text="a", finish_reason="stop", usage=usage, body={"choices": [choice, other]})
    found = _gemini_face._whole(Request(model="m"), response)
    assert found["candidates"][0]["logprobsResult"] == {
        "chosenCandidates": [{"token": "a", "logProbability": -0.5}],
        "topCandidates": [{"candidates": [{"token": "b", "logProbability": -1.0}]}],
    }
    assert found["candidates"][1]["content"]["parts"] == [{"functionCall": {"id": "", "name": "f", "args": {"arguments": "{broken"}}}]
    assert found["usageMetadata"] == {
        "promptTokenCount": 7,
        "candidatesTokenCount": 3,
        "totalTokenCount": 11,
        "cachedContentTokenCount": 2,
        "thoughtsTokenCount": 1,
    }


def test_a_stream_of_gemini_passes_through_whole():
    for kind, close in ((_gemini_face._Events, b""), (_gemini_face._Array, b"]\n")):
        events = kind(Request(model="m", stream=True))
        sent = [{"candidates": [{"content": {"parts": [{"text": "a"}]}}]}, {"candidates": [], "usageMetadata": {"totalTokenCount": 1}}]
        out = events.begin() + b"".join(events.of(Chunk(text="a", body=one)) for one in sent) + events.end(None)
        assert out.endswith(close)
        lines = out.decode().replace("\r\n\r\n", "\n").splitlines()
        told = json.loads(out) if close else [json.loads(line[6:]) for line in lines]
        assert told == sent


def test_the_sdk_reads_what_was_left_out(place: Served, key: str):
    with openai.OpenAI(base_url=f"{place.http}/v1", api_key=key, max_retries=0) as client:
        raw = client.chat.completions.with_raw_response.create(model="claude/echo", messages=ASK, presence_penalty=1.0)
        assert raw.headers["x-aiplat-ignored"] == "presence_penalty"
