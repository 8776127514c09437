"""OpenAI's Responses wire as an upstream, on recorded shapes over loopback HTTP."""

from __future__ import annotations

from typing import Any

import pytest
from wirekit import CALL, PIXEL, TOOL, Upstream, ask, asked_again, at, chat, failing, run, sse, stream

from aiplat_lab.core.types import Message, Request, Usage

KIND = "openai-responses"
COUNTS = {
    "input_tokens": 30,
    "input_tokens_details": {"cached_tokens": 10},
    "output_tokens": 12,
    "output_tokens_details": {"reasoning_tokens": 5},
    "total_tokens": 42,
}
USAGE = Usage(input_tokens=20, cache_read_tokens=10, output_tokens=7, reasoning_tokens=5)


def said(text: str, **more: Any) -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": [], **more}
    return {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [part]}


def reply(*output: dict[str, Any], status: str = "completed", **more: Any) -> dict[str, Any]:
    return {"id": "resp_1", "object": "response", "status": status, "model": "gpt-5-x", "output": list(output), "usage": COUNTS, **more}


def test_a_plain_answer() -> None:
    talk = chat(KIND, reply({"type": "reasoning", "summary": []}, said("Hello")), model="gpt-5")
    found = talk.response
    assert (found.text, found.finish_reason, found.usage, found.flags) == ("Hello", "stop", USAGE, ())
    assert (found.response_model, found.body) == ("gpt-5-x", None)
    assert talk.seen.path == "/responses"
    assert talk.seen.headers["authorization"] == "Bearer the/odd:key.1"
    assert talk.seen.body == {"model": "gpt-5", "store": False, "input": [{"role": "user", "content": "one two three"}]}


def test_settings_tools_schema_and_images_are_translated() -> None:
    settings = {
        "temperature": 0.5,
        "max_tokens": 99,
        "tools": [TOOL, {"type": "web_search"}],
        "tool_choice": {"type": "function", "function": {"name": "weather"}},
        "parallel_tool_calls": False,
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}, "strict": True}},
        "reasoning_effort": "low",
        "verbosity": "low",
        "logprobs": True,
        "top_logprobs": 2,
        "presence_penalty": 1,
    }
    parts = ({"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": PIXEL}})
    messages = (Message("system", "be brief"), Message("user", parts))
    talk = chat(KIND, reply(said("x")), ask(messages=messages, settings=settings), model="gpt-5")
    assert talk.seen.body == {
        "model": "gpt-5",
        "store": False,
        "input": [
            {"role": "system", "content": "be brief"},
            {
                "role": "user",
                "content": [{"type": "input_text", "text": "look"}, {"type": "input_image", "image_url": PIXEL, "detail": "auto"}],
            },
        ],
        "temperature": 0.5,
        "max_output_tokens": 99,
        "tools": [{"type": "function", "strict": False, **TOOL["function"]}, {"type": "web_search"}],
        "tool_choice": {"type": "function", "name": "weather"},
        "parallel_tool_calls": False,
        "text": {
            "format": {"type": "json_schema", "name": "x", "schema": {"type": "object"}, "strict": True},
            "verbosity": "low",
        },
        "reasoning": {"effort": "low"},
        "top_logprobs": 2,
        "include": ["message.output_text.logprobs"],
    }
    assert talk.response.flags == ("ignored_presence_penalty",)


def test_a_tool_is_called_and_told_its_result() -> None:
    asked = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "weather", "arguments": '{"city": "Leeds"}'}
    found = chat(KIND, reply(asked), ask(settings={"tools": [TOOL]})).response
    assert (found.finish_reason, found.tool_calls) == ("tool_calls", (CALL,))
    body = chat(KIND, reply(said("grey")), ask(messages=asked_again(CALL))).seen.body
    assert body["input"][2:] == [
        {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": '{"city": "Leeds"}'},
        {"type": "function_call_output", "call_id": "call_1", "output": '{"sky": "grey"}'},
    ]


def test_thoughts_log_probs_searches_and_refusals() -> None:
    logprob = {"token": "H", "logprob": -0.5, "bytes": [72], "top_logprobs": []}
    thought = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]}
    answer = reply(thought, {"type": "web_search_call"}, said("H", logprobs=[logprob]), service_tier="flex")
    found = chat(KIND, answer, ask(wire="openai.chat", body={"model": "m"})).response
    assert found.body is not None
    assert found.body["choices"][0]["message"]["reasoning_content"] == "hm"
    assert found.body["choices"][0]["logprobs"]["content"] == [logprob]
    assert found.usage is not None
    assert (found.usage.other, found.usage.service_tier) == ({"web_searches": 1}, "flex")
    refused = reply({"type": "message", "content": [{"type": "refusal", "refusal": "no"}]})
    assert (chat(KIND, refused).response.text, chat(KIND, refused).response.flags) == ("no", ("refusal",))


def test_an_answer_that_was_cut_says_why() -> None:
    cut = reply(said("Hel"), status="incomplete", incomplete_details={"reason": "max_output_tokens"})
    assert chat(KIND, cut).response.finish_reason == "length"
    filtered = reply(said(""), status="incomplete", incomplete_details={"reason": "content_filter"})
    assert chat(KIND, filtered).response.finish_reason == "content_filter"
    with failing("unavailable"):
        chat(KIND, reply(status="failed", error={"code": "server_error", "message": "sorry"}))


START = [
    {"type": "response.created", "response": reply(status="in_progress", usage=None)},
    {"type": "response.reasoning_summary_text.delta", "output_index": 0, "delta": "hm"},
    {"type": "response.output_item.added", "output_index": 1, "item": {"type": "message", "content": []}},
    {"type": "response.output_text.delta", "output_index": 1, "delta": "Hel"},
    {"type": "response.output_text.delta", "output_index": 1, "delta": "lo"},
    {
        "type": "response.output_item.added",
        "output_index": 2,
        "item": {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": ""},
    },
    {"type": "response.function_call_arguments.delta", "output_index": 2, "delta": '{"city": "Leeds"}'},
    {"type": "response.function_call_arguments.done", "output_index": 2, "arguments": '{"city": "Leeds"}'},
]
END = {"type": "response.completed", "response": reply(said("Hello"))}


def test_a_stream() -> None:
    told = stream(KIND, sse(*START, END, named=True), ask(wire="openai.chat", body={"model": "m"}))
    assert told.text == "Hello"
    assert told.calls == [{"name": "weather", "arguments": '{"city": "Leeds"}'}]
    assert (told.last("finish_reason"), told.last("usage"), told.last("response_model")) == ("tool_calls", USAGE, "gpt-5-x")
    assert [chunk.body["choices"][0]["delta"] for chunk in told.chunks if chunk.body] == [{"reasoning_content": "hm"}]
    assert told.seen.body["stream"] is True


def test_a_stream_that_breaks_or_fails() -> None:
    with failing("cut_off"):
        stream(KIND, sse(*START, named=True))
    failed = {"type": "response.failed", "response": reply(status="failed", error={"code": "rate_limit_exceeded", "message": "slow"})}
    with failing("rate_limited"):
        stream(KIND, sse(*START, failed, named=True))
    with failing("unavailable"):
        stream(KIND, sse(*START, {"type": "error", "code": "server_error", "message": "sorry"}, named=True))


def test_a_callers_own_body_passes_through_unchanged() -> None:
    body = {"model": "m", "input": "x", "include": ["reasoning.encrypted_content"], "new": 1, "max_output_tokens": 9}
    request = Request(model="m", wire="openai.responses", body=body, settings={"max_tokens": 9})
    answer = reply(said("x"), unknown={"b": 2})
    talk = chat(KIND, answer, request, model="gpt-5")
    assert (talk.seen.body, talk.response.body) == ({**body, "model": "gpt-5"}, answer)
    told = stream(KIND, sse(*START, END, named=True), request, model="gpt-5")
    assert [chunk.body for chunk in told.chunks] == [*START, END]
    assert told.seen.body == {**body, "model": "gpt-5", "stream": True}
    lowered = Request(model="m", wire="openai.responses", body=body, settings={"max_tokens": 5})
    assert chat(KIND, answer, lowered).seen.body["max_output_tokens"] == 5


@pytest.mark.parametrize("settings", [{"n": 2}, {"seed": 1}, {"stop": ["x"]}])
def test_what_it_cannot_do_is_refused_before_anything_is_sent(settings: dict[str, Any]) -> None:
    async def script(provider: Any, upstream: Upstream) -> None:
        try:
            await provider.chat(ask(settings=settings), at())
        finally:
            assert upstream.seen == []

    with failing("bad_request"):
        run(KIND, script)


def test_embeddings_and_models() -> None:
    async def script(provider: Any, upstream: Upstream) -> Any:
        upstream.says({"data": [{"index": 0, "embedding": [1, 2]}], "usage": {"prompt_tokens": 3, "total_tokens": 3}})
        upstream.says({"data": [{"id": "b"}, {"id": "a"}]})
        return await provider.embed(Request(model="m", operation="embed", inputs=("x",)), at("e")), await provider.models(), upstream.seen

    found, models, seen = run(KIND, script)
    assert (found.embeddings, found.usage, models) == (((1.0, 2.0),), Usage(input_tokens=3), ["a", "b"])
    assert seen[0].path == "/embeddings"
