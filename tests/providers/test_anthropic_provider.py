"""The Anthropic provider against a real upstream over loopback HTTP."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from faults import FIXED_TEXT, FaultServer

from aiplat_lab.core.errors import ProviderError
from aiplat_lab.core.settings import ProviderSettings
from aiplat_lab.core.types import Chunk, Deployment, Message, Request, Response, Usage
from aiplat_lab.providers.anthropic import Anthropic

USER = (Message("user", "one two three"),)
TOOL = {"type": "function", "function": {"name": "weather", "description": "d", "parameters": {"type": "object", "properties": {}}}}


def ask(**more: Any) -> Request:
    return Request(model="m", **{"messages": USER, **more})


def at(model: str, **more: Any) -> Deployment:
    return Deployment(provider="acme", model=model, region="eu", **more)


def run(upstream: FaultServer, use: Callable[[Anthropic], Awaitable[Any]], **settings: Any) -> Any:
    async def inside() -> Any:
        known = {"kind": "anthropic", "base_url": upstream.url, "api_key": "env:TEST_PROVIDER_KEY"}
        provider = Anthropic("acme", ProviderSettings(**{**known, **settings}))
        try:
            return await use(provider)
        finally:
            await provider.aclose()

    return asyncio.run(inside())


def chat(
    upstream: FaultServer, model: str, request: Request | None = None, *, deployment: Deployment | None = None, **settings: Any
) -> Response:
    return run(upstream, lambda provider: provider.chat(request or ask(), deployment or at(model)), **settings)


def stream(upstream: FaultServer, model: str, request: Request | None = None, **settings: Any) -> list[Chunk]:
    got: list[Chunk] = []

    async def use(provider: Anthropic) -> list[Chunk]:
        async with provider.stream(request or ask(), at(model)) as chunks:
            async for chunk in chunks:
                got.append(chunk)
        return got

    try:
        return run(upstream, use, **settings)
    except ProviderError as error:
        error.details["got"] = got
        raise


def sent(upstream: FaultServer, **more: Any) -> Any:
    """The body that a request becomes."""
    chat(upstream, "instant", ask(**more))
    return upstream.requests[-1].body


def text_of(chunks: list[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks)


def last(chunks: list[Chunk], name: str) -> Any:
    return next((getattr(chunk, name) for chunk in reversed(chunks) if getattr(chunk, name)), None)


@contextmanager
def failing(reason: str, status: int | None = None) -> Iterator[Any]:
    with pytest.raises(ProviderError) as caught:
        yield caught
    error = caught.value
    assert (error.reason, error.status) == (reason, status), error.message
    assert error.message.startswith("acme: ")
    assert len(error.message.encode()) <= 800
    assert "odd:key" not in f"{error.message}{error.to_wire()}{error!r}"


# --- asking -----------------------------------------------------------------------------------------------------------


def test_a_plain_answer(upstream: FaultServer) -> None:
    messages = (Message("system", "be brief"), *USER, Message("developer", "be kind"))
    response = chat(upstream, "echo", ask(messages=messages))
    assert (response.text, response.finish_reason, response.flags) == ("one two three", "stop", ())
    assert (response.provider, response.region, response.response_model, response.body) == ("acme", "eu", "echo", None)
    seen = upstream.requests[0]
    assert seen.path == "/v1/messages"
    assert seen.headers["x-api-key"] == "the/odd:key.1"
    assert seen.headers["anthropic-version"] == "2023-06-01"
    assert "authorization" not in seen.headers
    assert seen.body == {
        "model": "echo",
        "max_tokens": 4096,
        "system": "be brief\n\nbe kind",
        "messages": [{"role": "user", "content": "one two three"}],
    }


def test_a_base_url_may_end_in_v1(upstream: FaultServer) -> None:
    assert chat(upstream, "echo", base_url=upstream.openai_url + "/").text == "one two three"


def test_the_limit_is_the_callers_or_the_deployments(upstream: FaultServer) -> None:
    assert sent(upstream, settings={"max_completion_tokens": 7})["max_tokens"] == 7
    chat(upstream, "", deployment=at("instant", max_output_tokens=99))
    assert upstream.requests[-1].body["max_tokens"] == 99


def test_settings_change_their_names(upstream: FaultServer) -> None:
    body = sent(
        upstream,
        settings={
            "temperature": 0.2,
            "top_k": 5,
            "stop": "END",
            "user": "u-1",
            "tools": [TOOL, {"type": "web_search_20250305", "name": "web_search"}],
            "tool_choice": "required",
            "parallel_tool_calls": False,
            "reasoning_effort": "minimal",
            "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
        },
    )
    assert body == {
        "model": "instant",
        "max_tokens": 4096,
        "temperature": 0.2,
        "top_k": 5,
        "stop_sequences": ["END"],
        "metadata": {"user_id": "u-1"},
        "tools": [
            {"name": "weather", "description": "d", "input_schema": {"type": "object", "properties": {}}},
            {"type": "web_search_20250305", "name": "web_search"},
        ],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
        "output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}, "effort": "low"},
        "messages": [{"role": "user", "content": "one two three"}],
    }


@pytest.mark.parametrize(
    ("choice", "made"),
    [
        ("auto", {"type": "auto"}),
        ("none", {"type": "none"}),
        ({"type": "function", "function": {"name": "weather"}}, {"type": "tool", "name": "weather"}),
    ],
)
def test_choices_of_tools(upstream: FaultServer, choice: Any, made: Any) -> None:
    assert sent(upstream, settings={"tools": [TOOL], "tool_choice": choice})["tool_choice"] == made


def test_json_without_a_schema_is_asked_for_in_words(upstream: FaultServer) -> None:
    assert sent(upstream, settings={"response_format": {"type": "json_object"}})["system"].startswith("Answer with one JSON object")


def test_settings_without_a_word_are_left_out_and_flagged(upstream: FaultServer) -> None:
    response = chat(upstream, "instant", ask(settings={"seed": 7, "n": 1, "presence_penalty": 0, "logprobs": None}))
    assert response.flags == ("ignored_seed",)
    assert set(upstream.requests[-1].body) == {"model", "max_tokens", "messages"}


def test_images_and_documents(upstream: FaultServer) -> None:
    parts = (
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": "data:image/webp;base64,AAAA"}},
        {"type": "image_url", "image_url": {"url": "https://example.test/a.png"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,BBBB"}},
        {"type": "text", "text": ""},
    )
    assert sent(upstream, messages=(Message("user", parts),))["messages"][0]["content"] == [
        {"type": "text", "text": "look"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/webp", "data": "AAAA"}},
        {"type": "image", "source": {"type": "url", "url": "https://example.test/a.png"}},
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "BBBB"}},
    ]


def test_a_part_that_cannot_be_said_is_refused_before_anything_is_sent(upstream: FaultServer) -> None:
    request = ask(messages=(Message("user", ({"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}},)),))
    with failing("bad_request") as caught:
        chat(upstream, "instant", request)
    assert "input_audio" in caught.value.message
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{half"}}
    with failing("bad_request"):
        stream(upstream, "instant", ask(messages=(*USER, Message("assistant", None, {"tool_calls": [call]}))))
    assert upstream.requests == []


def test_tools_there_and_back(upstream: FaultServer) -> None:
    request = ask(settings={"tools": [TOOL]})
    response = chat(upstream, "tools", request)
    assert response.finish_reason == "tool_calls"
    call = response.tool_calls[0]
    assert (call["id"], call["function"]["name"], json.loads(call["function"]["arguments"])) == ("call_1", "weather", {"city": "Leeds"})
    pieces = [piece for chunk in stream(upstream, "tools", request) for piece in chunk.tool_calls]
    assert [piece["index"] for piece in pieces] == [0, 0, 0]
    assert pieces[0]["function"]["name"] == "weather"
    assert json.loads("".join(piece["function"]["arguments"] for piece in pieces)) == {"city": "Leeds"}
    second = {"id": "call_2", "type": "function", "function": {"name": "weather", "arguments": ""}}
    told = (
        *USER,
        Message("assistant", "let me see", {"tool_calls": [call, second]}),
        Message("tool", "rain", {"tool_call_id": "call_1"}),
        Message("tool", "sun", {"tool_call_id": "call_2"}),
        Message("user", "so?"),
    )
    chat(upstream, "tools", ask(messages=told, settings={"tools": [TOOL]}))
    assert upstream.requests[-1].body["messages"][1:] == [
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "let me see"},
                {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Leeds"}},
                {"type": "tool_use", "id": "call_2", "name": "weather", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "call_1", "content": "rain"},
                {"type": "tool_result", "tool_use_id": "call_2", "content": "sun"},
                {"type": "text", "text": "so?"},
            ],
        },
    ]


# --- answers ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["plain", "stream"])
@pytest.mark.parametrize(
    ("model", "usage"),
    [
        ("instant", Usage(input_tokens=25, output_tokens=20)),
        ("cache-write", Usage(input_tokens=20, cache_read_tokens=64, cache_write_tokens=16, output_tokens=20)),
        ("reasoning", Usage(input_tokens=25, output_tokens=20, reasoning_tokens=30)),
        ("no-usage", None),
    ],
)
def test_the_five_classes_of_usage_do_not_overlap(upstream: FaultServer, model: str, usage: Usage | None, mode: str) -> None:
    if mode == "plain":
        response = chat(upstream, model)
        assert (response.text, response.usage, response.flags) == (FIXED_TEXT, usage, () if usage else ("no_usage",))
    else:
        chunks = stream(upstream, model)
        assert (text_of(chunks), last(chunks, "usage"), last(chunks, "finish_reason")) == (FIXED_TEXT, usage, "stop")
        assert last(chunks, "response_model") == model


def test_a_cancelled_stream_already_knows_its_input(upstream: FaultServer) -> None:
    chunks = stream(upstream, "cache-write")
    assert chunks[0].usage is not None
    assert chunks[0].usage.total_input_tokens == 100


def test_finish_reasons_in_the_words_of_this_house(upstream: FaultServer) -> None:
    assert chat(upstream, "echo", ask(settings={"max_tokens": 1})).finish_reason == "length"
    assert chat(upstream, "filtered").finish_reason == "content_filter"
    response = chat(upstream, "no-finish")
    assert (response.finish_reason, response.flags) == ("", ("no_finish_reason",))
    assert last(stream(upstream, "no-finish"), "finish_reason") is None
    assert last(stream(upstream, "no-done"), "finish_reason") == "stop"


def test_there_are_no_embeddings(upstream: FaultServer) -> None:
    with failing("bad_request"):
        run(upstream, lambda provider: provider.embed(Request(model="m", operation="embed", inputs=("a",)), at("m")))


def test_tokens_are_counted_without_an_answer(upstream: FaultServer) -> None:
    assert run(upstream, lambda provider: provider.count_tokens(ask(settings={"temperature": 1}), at("echo"))) == 3
    assert upstream.requests[0].path == "/v1/messages/count_tokens"
    assert set(upstream.requests[0].body) == {"model", "messages"}


# --- the caller's own body ----------------------------------------------------------------------------------------------


def own(**more: Any) -> Request:
    body = {"model": "alias", "max_tokens": 50, "messages": [{"role": "user", "content": "a b"}], "made_up_tomorrow": [1], **more}
    return ask(wire="anthropic.messages", body=body)


def test_a_body_of_the_same_wire_passes_unchanged_both_ways(upstream: FaultServer) -> None:
    request = own(thinking={"type": "adaptive"})
    response = chat(upstream, "echo", request)
    assert upstream.requests[0].body == {**request.body, "model": "echo"}
    assert response.body is not None
    assert response.body["type"] == "message"
    chunks = stream(upstream, "echo", own(stream=True))
    assert upstream.requests[1].body == {**own().body, "model": "echo", "stream": True}
    kinds = [chunk.body["type"] for chunk in chunks if chunk.body]
    assert (kinds[0], kinds[-1], len(kinds)) == ("message_start", "message_stop", 7)


def test_a_limit_that_a_policy_lowered_holds_in_the_callers_own_body(upstream: FaultServer) -> None:
    chat(upstream, "echo", replace(own(), settings={"max_tokens": 2}))
    assert upstream.requests[0].body["max_tokens"] == 2


# --- failures -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [chat, stream])
@pytest.mark.parametrize(
    ("model", "reason", "status", "retryable"),
    [
        ("status-400", "bad_request", 400, False),
        ("status-401", "auth", 401, False),
        ("status-403", "auth", 403, False),
        ("status-404", "bad_request", 404, False),
        ("status-429", "rate_limited", 429, True),
        ("status-500", "unavailable", 500, True),
        ("status-529", "unavailable", 529, True),
        ("context-length", "context_length", 400, False),
        ("bad-json", "bad_reply", None, False),
        ("html-reply", "bad_reply", None, False),
    ],
)
def test_failures_say_whose_fault_it_is(
    upstream: FaultServer, mode: Any, model: str, reason: str, status: int | None, retryable: bool
) -> None:
    with failing(reason, status) as caught:
        mode(upstream, model)
    assert caught.value.retryable is retryable


@pytest.mark.parametrize("model", ["cut-stream", "cut-clean"])
def test_a_stream_cut_half_way_is_no_answer(upstream: FaultServer, model: str) -> None:
    with failing("cut_off") as caught:
        stream(upstream, model)
    assert text_of(caught.value.details["got"]) == "Hello from the "


def test_errors_and_rubbish_within_a_stream(upstream: FaultServer) -> None:
    with failing("unavailable") as caught:
        stream(upstream, "stream-error")
    assert "overloaded" in caught.value.message
    with failing("bad_reply"):
        stream(upstream, "bad-chunk")


def test_silence_is_bounded(upstream: FaultServer) -> None:
    for mode, model in ((chat, "hang"), (stream, "hang"), (stream, "hang-stream")):
        with failing("timeout"):
            mode(upstream, model, read_timeout_s=0.3)


def test_cancelling_closes_the_connection_within_half_a_second(upstream: FaultServer) -> None:
    async def use(provider: Anthropic) -> float:
        async def consume() -> None:
            async with provider.stream(ask(), at("endless-stream")) as chunks:
                async for _ in chunks:
                    pass

        task = asyncio.create_task(consume())
        await asyncio.sleep(0.3)
        cancelled_at = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(upstream.wait_for, lambda: upstream.disconnects, 2.0)
        return upstream.disconnects[0] - cancelled_at

    assert run(upstream, use) < 0.5


def test_one_connection_serves_calls_one_after_another(upstream: FaultServer) -> None:
    async def use(provider: Anthropic) -> None:
        for _ in range(3):
            await provider.chat(ask(), at("instant"))
            async with provider.stream(ask(), at("instant")) as chunks:
                assert [chunk async for chunk in chunks]

    run(upstream, use)
    assert len({seen.peer for seen in upstream.requests}) == 1
