"""Cohere's wire (v2) on recorded shapes over loopback HTTP."""

from __future__ import annotations

from typing import Any

import pytest
from wirekit import CALL, PIXEL, TOOL, Upstream, ask, asked_again, at, chat, failing, run, sse, stream

from aiplat_lab.core.types import Message, Request, Usage

MODEL = "command-a-03-2025"
COUNTS = {"billed_units": {"input_tokens": 12, "output_tokens": 7}, "tokens": {"input_tokens": 80, "output_tokens": 9}, "cached_tokens": 4}


def reply(*content: dict[str, Any], finish: str = "COMPLETE", **more: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": list(content), **more.pop("message", {})}
    return {"id": "c1", "finish_reason": finish, "message": message, "usage": COUNTS, **more}


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


def test_a_plain_answer_is_booked_at_what_is_billed() -> None:
    talk = chat("cohere", reply(text("Hello")), model=MODEL)
    found = talk.response
    assert (found.text, found.finish_reason, found.flags, found.body) == ("Hello", "stop", (), None)
    assert found.usage == Usage(input_tokens=8, cache_read_tokens=4, output_tokens=7)
    assert talk.seen.path == "/v2/chat"
    assert talk.seen.headers["authorization"] == "Bearer the/odd:key.1"
    assert talk.seen.body == {"messages": [{"role": "user", "content": "one two three"}], "model": MODEL, "stream": False}


def test_a_base_url_may_end_in_v2() -> None:
    assert run("cohere", _ask_once, path="/v2/") == "/v2/chat"


async def _ask_once(provider: Any, upstream: Upstream) -> str:
    upstream.says(reply(text("x")))
    await provider.chat(ask(), at(MODEL))
    return upstream.last.path


def test_settings_tools_schema_and_images_are_translated() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    settings = {
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 3,
        "seed": 7,
        "max_completion_tokens": 99,
        "stop": "END",
        "tools": [TOOL],
        "tool_choice": {"type": "function", "function": {"name": "weather"}},
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}},
        "reasoning_effort": "low",
        "user": "somebody",
    }
    parts = (text("look"), {"type": "image_url", "image_url": {"url": PIXEL, "detail": "low"}})
    messages = (Message("developer", "be brief"), Message("user", parts))
    talk = chat("cohere", reply(text("x")), ask(messages=messages, settings=settings), model=MODEL)
    assert talk.seen.body == {
        "model": MODEL,
        "stream": False,
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": [text("look"), {"type": "image_url", "image_url": {"url": PIXEL, "detail": "low"}}]},
        ],
        "temperature": 0.5,
        "p": 0.9,
        "k": 3,
        "seed": 7,
        "max_tokens": 99,
        "stop_sequences": ["END"],
        "tools": [{"type": "function", "function": TOOL["function"]}],
        "tool_choice": "REQUIRED",
        "response_format": {"type": "json_object", "json_schema": schema},
        "thinking": {"type": "enabled", "token_budget": 1024},
    }
    assert talk.response.flags == ("ignored_user",)


def test_a_tool_is_called_and_told_its_result() -> None:
    answer = reply(finish="TOOL_CALL", message={"tool_calls": [CALL], "tool_plan": "I look it up"})
    request = ask(settings={"tools": [TOOL]}, wire="openai.chat", body={"model": "m"})
    found = chat("cohere", answer, request, model=MODEL).response
    assert (found.finish_reason, found.tool_calls) == ("tool_calls", (CALL,))
    assert found.body is not None
    assert found.body["choices"][0]["message"]["reasoning_content"] == "I look it up"
    body = chat("cohere", reply(text("grey")), ask(messages=asked_again(CALL)), model=MODEL).seen.body
    assert body["messages"][2:] == [
        {"role": "assistant", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": '{"sky": "grey"}'},
    ]


EVENTS = [
    {"type": "message-start", "id": "c1", "delta": {"message": {"role": "assistant"}}},
    {"type": "tool-plan-delta", "delta": {"message": {"tool_plan": "plan"}}},
    {"type": "content-start", "index": 0, "delta": {"message": {"content": {"type": "text", "text": ""}}}},
    {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "Hel"}}}},
    {
        "type": "content-delta",
        "index": 0,
        "delta": {"message": {"content": {"text": "lo"}}},
        "logprobs": {"text": "lo", "logprobs": [-1, -2]},
    },
    {"type": "content-end", "index": 0},
    {
        "type": "tool-call-start",
        "index": 0,
        "delta": {"message": {"tool_calls": {**CALL, "function": {"name": "weather", "arguments": ""}}}},
    },
    {"type": "tool-call-delta", "index": 0, "delta": {"message": {"tool_calls": {"function": {"arguments": '{"city": "Leeds"}'}}}}},
    {"type": "tool-call-end", "index": 0},
    {"type": "message-end", "delta": {"finish_reason": "TOOL_CALL", "usage": COUNTS}},
]


def test_a_stream() -> None:
    told = stream("cohere", sse(*EVENTS, named=True), ask(wire="openai.chat", body={"model": "m"}), model=MODEL)
    assert told.text == "Hello"
    assert told.calls == [{"name": "weather", "arguments": '{"city": "Leeds"}'}]
    assert told.last("finish_reason") == "tool_calls"
    assert told.last("usage") == Usage(input_tokens=8, cache_read_tokens=4, output_tokens=7)
    bodies = [chunk.body for chunk in told.chunks if chunk.body]
    assert bodies[0]["choices"][0]["delta"] == {"reasoning_content": "plan"}
    assert bodies[1]["choices"][0]["logprobs"]["content"][0]["logprob"] == -3
    assert told.seen.body["stream"] is True


def test_a_stream_that_breaks_or_fails() -> None:
    with failing("cut_off"):
        stream("cohere", sse(*EVENTS[:-1], named=True), model=MODEL)
    with failing("unavailable"):
        end = {"type": "message-end", "delta": {"finish_reason": "ERROR", "error": "overloaded"}}
        stream("cohere", sse(*EVENTS[:-1], end, named=True), model=MODEL)
    with failing("bad_reply"):
        chat("cohere", reply(text("x"), finish="ERROR"), model=MODEL)


def test_a_callers_own_body_passes_through_unchanged() -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "documents": ["d"], "new": 1}
    request = Request(model="m", wire="cohere.chat", body=body)
    answer = reply(text("x"), unknown={"b": 2})
    talk = chat("cohere", answer, request, model=MODEL)
    assert talk.seen.body == {**body, "model": MODEL, "stream": False}
    assert talk.response.body == answer
    told = stream("cohere", sse(*EVENTS, named=True), request, model=MODEL)
    assert [chunk.body for chunk in told.chunks] == EVENTS


@pytest.mark.parametrize(
    "request_",
    [
        ask(settings={"n": 2}),
        ask(settings={"tools": [{"type": "web_search"}]}),
        ask(messages=(Message("user", ({"type": "input_audio", "input_audio": {}},)),)),
        ask(messages=(Message("user", ({"type": "hologram"},)),)),
    ],
)
def test_what_it_cannot_do_is_refused_before_anything_is_sent(request_: Request) -> None:
    with failing("bad_request"):
        chat("cohere", reply(text("x")), request_, model=MODEL)


@pytest.mark.parametrize(
    ("status", "said", "reason"),
    [
        (400, "too many tokens: size limit exceeded by 100 tokens", "context_length"),
        (401, "invalid api token", "auth"),
        (404, "model not found", "bad_request"),
        (422, "invalid type", "bad_request"),
        (429, "trial key limit", "rate_limited"),
        (500, "internal", "unavailable"),
    ],
)
def test_errors_have_our_reasons(status: int, said: str, reason: str) -> None:
    with failing(reason, status):
        chat("cohere", {"id": "x", "message": said}, model=MODEL, status=status)


def test_many_texts_are_embedded_in_several_calls() -> None:
    async def script(provider: Any, upstream: Upstream) -> Any:
        meta = {"billed_units": {"input_tokens": 5}}
        upstream.says({"embeddings": {"float": [[index] for index in range(96)]}, "meta": meta})
        upstream.says({"embeddings": {"float": [[96], [97]]}, "meta": meta})
        inputs = tuple(str(index) for index in range(98))
        found = await provider.embed(Request(model="m", operation="embed", inputs=inputs, settings={"dimensions": 256}), at("embed-v4.0"))
        upstream.answers.clear()
        upstream.says({"models": [{"name": "b"}, {"name": "a"}]})
        return found, await provider.models(), upstream.seen

    found, models, seen = run("cohere", script)
    assert [vector[0] for vector in found.embeddings] == list(range(98))
    assert found.usage == Usage(input_tokens=10)
    assert [len(one.body["texts"]) for one in seen[:2]] == [96, 2]
    assert (seen[0].body["output_dimension"], seen[0].body["input_type"]) == (256, "search_document")
    assert models == ["a", "b"]
    with failing("bad_reply"):
        run("cohere", _too_few)


async def _too_few(provider: Any, upstream: Upstream) -> None:
    upstream.says({"embeddings": {"float": [[1]]}})
    await provider.embed(Request(model="m", operation="embed", inputs=("x", "y")), at("embed-v4.0"))
