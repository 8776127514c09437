"""The OpenAI provider against a real upstream over loopback HTTP."""

from __future__ import annotations

import asyncio
import socket
import sys
from types import ModuleType
from typing import Any

import pytest
from faults import FIXED_TEXT, FaultServer
from openaikit import USER, ask, at, chat, failing, finish_of, run, stream, text_of, usage_of

from aiplat_lab.core.errors import ConfigError
from aiplat_lab.core.settings import ProviderSettings
from aiplat_lab.core.types import Message, Request, Usage
from aiplat_lab.providers.openai import OpenAI

# --- answers ----------------------------------------------------------------------------------------------------------


def test_a_plain_answer(upstream: FaultServer) -> None:
    response = chat(upstream, "echo")
    assert (response.text, response.finish_reason, response.usage) == ("one two three", "stop", Usage(input_tokens=3, output_tokens=3))
    assert (response.provider, response.region, response.response_model, response.flags) == ("acme", "uk", "echo", ())
    assert response.body is None
    seen = upstream.requests[0]
    assert seen.path == "/v1/chat/completions"
    assert seen.body == {"messages": [{"role": "user", "content": "one two three"}], "model": "echo"}
    assert seen.headers["authorization"] == "Bearer the/odd:key.1"


def test_settings_and_system_messages_are_sent_under_their_names(upstream: FaultServer) -> None:
    messages = (Message("developer", "be brief"), Message("system", "really"), *USER)
    settings = {"temperature": 0.5, "max_tokens": 2, "stop": ["x"], "seed": None, "response_format": {"type": "json_object"}}
    response = chat(upstream, "echo", request=ask(messages=messages, settings=settings))
    assert (response.text, response.finish_reason) == ("one two ", "length")
    body = upstream.requests[0].body
    assert [m["role"] for m in body["messages"]] == ["system", "system", "user"]
    assert body["max_tokens"] == 2
    assert body["response_format"] == {"type": "json_object"}
    assert "seed" not in body


def test_images_go_as_parts(upstream: FaultServer) -> None:
    parts = ({"type": "text", "text": "what is it"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}})
    response = chat(upstream, "echo", request=ask(messages=(Message("user", parts),)))
    assert response.text == "what is it"
    assert upstream.requests[0].body["messages"][0]["content"] == list(parts)


def test_a_stream_has_text_finish_reason_and_usage(upstream: FaultServer) -> None:
    chunks = stream(upstream, "stream-20")
    assert len([chunk for chunk in chunks if chunk.text]) == 20
    assert (finish_of(chunks), usage_of(chunks)) == ("stop", Usage(input_tokens=25, output_tokens=20))
    assert chunks[0].response_model == "stream-20"
    assert all(chunk.body is None for chunk in chunks)
    assert upstream.requests[0].body["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize("mode", ["plain", "stream"])
@pytest.mark.parametrize(
    ("model", "usage"),
    [
        ("instant", Usage(input_tokens=25, output_tokens=20)),
        ("cached", Usage(input_tokens=36, cache_read_tokens=64, output_tokens=20)),
        ("reasoning", Usage(input_tokens=25, output_tokens=20, reasoning_tokens=30)),
        ("usage-on-choice-chunk", Usage(input_tokens=25, output_tokens=20)),
        ("usage-on-every-chunk", Usage(input_tokens=25, output_tokens=20)),
        ("no-usage", None),
    ],
)
def test_the_five_classes_of_usage_do_not_overlap(upstream: FaultServer, model: str, usage: Usage | None, mode: str) -> None:
    if mode == "plain":
        response = chat(upstream, model)
        assert response.usage == usage
        assert response.flags == (() if usage else ("no_usage",))
    else:
        assert usage_of(stream(upstream, model)) == usage


def test_a_missing_finish_reason_is_flagged_and_not_invented(upstream: FaultServer) -> None:
    response = chat(upstream, "no-finish")
    assert (response.text, response.finish_reason, response.flags) == (FIXED_TEXT, "", ("no_finish_reason",))
    chunks = stream(upstream, "no-finish")
    assert (text_of(chunks), finish_of(chunks)) == (FIXED_TEXT, "")


def test_a_stream_without_an_end_marker_is_whole_when_a_finish_reason_came(upstream: FaultServer) -> None:
    chunks = stream(upstream, "no-done")
    assert (text_of(chunks), finish_of(chunks)) == (FIXED_TEXT, "stop")


def test_more_tokens_than_asked_for_are_counted(upstream: FaultServer) -> None:
    response = chat(upstream, "overuse", request=ask(settings={"max_tokens": 5}))
    assert response.usage == Usage(input_tokens=25, output_tokens=20)


def test_tools_in_both_modes(upstream: FaultServer) -> None:
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    request = ask(settings={"tools": [tool], "tool_choice": "auto"})
    response = chat(upstream, "tools", request=request)
    assert response.finish_reason == "tool_calls"
    assert response.tool_calls[0]["function"] == {"name": "weather", "arguments": '{"city": "Leeds"}'}
    assert response.body is not None
    pieces = [call for chunk in stream(upstream, "tools", request=request) for call in chunk.tool_calls]
    assert "".join(piece["function"]["arguments"] for piece in pieces) == '{"city": "Leeds"}'
    told = (
        *USER,
        Message("assistant", None, {"tool_calls": list(response.tool_calls)}),
        Message("tool", "rain", {"tool_call_id": "call_1"}),
    )
    assert chat(upstream, "tools", request=ask(messages=told)).text == "The tool says rain"


def test_embeddings_in_order_with_usage(upstream: FaultServer) -> None:
    request = Request(model="m", operation="embed", inputs=("a b", "c"))
    response = run(upstream, lambda provider: provider.embed(request, at("unordered")))
    again = run(upstream, lambda provider: provider.embed(request, at("ordered")))
    assert response.embeddings == again.embeddings
    assert len(response.embeddings) == 2
    assert len(response.embeddings[0]) == 8
    assert response.usage == Usage(input_tokens=3)
    assert response.body is None


def test_embeddings_of_a_caller_who_wants_base64(upstream: FaultServer) -> None:
    body = {"model": "m", "input": ["a b", "c"], "encoding_format": "base64"}
    request = Request(model="m", operation="embed", inputs=("a b", "c"), wire="openai.embeddings", body=body)
    response = run(upstream, lambda provider: provider.embed(request, at("e")))
    plain = run(upstream, lambda provider: provider.embed(Request(model="m", operation="embed", inputs=("a b", "c")), at("e")))
    assert response.embeddings[1] == pytest.approx(plain.embeddings[1], abs=1e-6)
    assert isinstance(response.body, dict)
    assert isinstance(response.body["data"][0]["embedding"], str)


def test_models_lists_names(upstream: FaultServer) -> None:
    assert run(upstream, lambda provider: provider.models()) == ["echo", "instant"]


def test_a_host_that_answers_a_stream_with_one_reply(upstream: FaultServer) -> None:
    chunks = stream(upstream, "ignores-stream")
    assert (text_of(chunks), finish_of(chunks), usage_of(chunks)) == (FIXED_TEXT, "stop", Usage(input_tokens=25, output_tokens=20))


def test_what_a_host_wants_spelled_differently_is_learned_once(upstream: FaultServer) -> None:
    async def use(provider: OpenAI) -> None:
        limited = ask(settings={"max_tokens": 9})
        for _ in range(2):
            assert (await provider.chat(limited, at("newer-limit"))).text == FIXED_TEXT
            async with provider.stream(limited, at("no-stream-options")) as chunks:
                assert text_of([chunk async for chunk in chunks]) == FIXED_TEXT

    run(upstream, use)
    assert [seen.model for seen in upstream.requests] == ["newer-limit"] * 2 + ["no-stream-options"] * 2 + [
        "newer-limit",
        "no-stream-options",
    ]
    assert upstream.requests[1].body["max_completion_tokens"] == 9
    assert "stream_options" not in upstream.requests[3].body


def test_our_own_addition_to_a_callers_body_is_taken_back_where_it_is_refused(upstream: FaultServer) -> None:
    chunks = stream(upstream, "no-stream-options", request=own(stream=True))
    assert text_of(chunks) == FIXED_TEXT
    assert "stream_options" not in upstream.requests[1].body


def test_a_refusal_of_the_callers_own_spelling_is_the_callers_to_see(upstream: FaultServer) -> None:
    with failing("bad_request", 400):
        chat(upstream, "newer-limit", request=own(max_tokens=9))
    assert len(upstream.requests) == 1


# --- the caller's own body ----------------------------------------------------------------------------------------------


def own(**more: Any) -> Request:
    body = {"model": "alias", "messages": [{"role": "user", "content": "one two three"}], "made_up_tomorrow": {"a": [1]}, **more}
    return ask(wire="openai.chat", body=body)


def test_a_body_of_the_same_wire_passes_unchanged(upstream: FaultServer) -> None:
    request = own(temperature=0)
    response = chat(upstream, "echo", request=request)
    assert upstream.requests[0].body == {**request.body, "model": "echo"}
    assert response.body is not None
    assert response.body["object"] == "chat.completion"


def test_a_stream_of_the_same_wire_gives_the_providers_events(upstream: FaultServer) -> None:
    chunks = stream(upstream, "echo", request=own(stream=True))
    sent = upstream.requests[0].body
    assert (sent["stream"], sent["stream_options"], sent["made_up_tomorrow"]) == (True, {"include_usage": True}, {"a": [1]})
    assert [chunk.body["object"] for chunk in chunks if chunk.body] == ["chat.completion.chunk"] * 4
    assert usage_of(chunks) == Usage(input_tokens=3, output_tokens=3)


def test_the_closing_usage_event_is_passed_on_only_to_a_caller_who_asked_for_it(upstream: FaultServer) -> None:
    unasked = stream(upstream, "echo", request=own(stream=True))
    assert all(chunk.body["choices"] for chunk in unasked if chunk.body)
    asked = stream(upstream, "echo", request=own(stream=True, stream_options={"include_usage": True}))
    assert [chunk.body["choices"] for chunk in asked if chunk.body][-1] == []


def test_a_limit_that_a_policy_lowered_holds_in_the_callers_own_body(upstream: FaultServer) -> None:
    from dataclasses import replace

    request = replace(own(max_completion_tokens=900), settings={"max_completion_tokens": 2})
    assert chat(upstream, "echo", request=request).usage == Usage(input_tokens=3, output_tokens=2)
    assert upstream.requests[-1].body["max_completion_tokens"] == 2
    request = replace(own(), settings={"max_tokens": 1})
    chat(upstream, "echo", request=request)
    assert upstream.requests[-1].body["max_tokens"] == 1
    chat(upstream, "newer-limit", request=request)
    assert upstream.requests[-1].body["max_completion_tokens"] == 1
    assert "max_tokens" not in upstream.requests[-1].body


# --- failures -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [chat, stream])
@pytest.mark.parametrize(
    ("model", "reason", "status", "retryable", "says"),
    [
        ("status-400", "bad_request", 400, False, "Change the request"),
        ("status-401", "auth", 401, False, "providers.acme.api_key in aiplat.toml (now env:TEST_PROVIDER_KEY)"),
        ("status-403", "auth", 403, False, "may not do this"),
        ("status-404", "bad_request", 404, False, "no model 'status-404'"),
        ("unknown-model", "bad_request", 404, False, "Check the model's name under [models]"),
        ("status-302", "bad_reply", 302, False, "redirect"),
        ("status-413", "context_length", 413, False, "Shorten the prompt"),
        ("context-length", "context_length", 400, False, "9001 tokens"),
        ("status-429", "rate_limited", 429, True, "Wait 1 s"),
        ("status-429-no-header", "rate_limited", 429, True, "Wait a little"),
        ("status-500", "unavailable", 500, True, "the upstream says 500"),
        ("status-503", "unavailable", 503, True, "fall back"),
        ("bad-json", "bad_reply", None, False, "not JSON"),
        ("html-reply", "bad_reply", None, False, "proxy"),
        ("empty-reply", "bad_reply", None, False, "nothing"),
        ("list-reply", "bad_reply", None, False, "JSON"),
    ],
)
def test_failures_say_whose_fault_it_is_and_what_to_do(
    upstream: FaultServer, mode: Any, model: str, reason: str, status: int | None, retryable: bool, says: str
) -> None:
    if mode is stream and model == "empty-reply":
        says = "not JSON"
    with failing(reason, status) as caught:
        mode(upstream, model)
    assert says in caught.value.message
    assert caught.value.retryable is retryable


def test_retry_after_as_seconds_as_a_date_and_missing(upstream: FaultServer) -> None:
    waits = []
    for model in ("status-429", "status-429-date", "status-429-no-header"):
        with failing("rate_limited", 429) as caught:
            chat(upstream, model)
        waits.append(caught.value.retry_after_s)
    assert waits[0] == 1.0
    assert 0.0 <= waits[1] <= 2.0
    assert waits[2] is None


def test_a_429_that_passes(upstream: FaultServer) -> None:
    with failing("rate_limited", 429) as caught:
        chat(upstream, "status-429-after-1")
    assert caught.value.retry_after_s == 1.0
    assert chat(upstream, "status-429-after-1").text == FIXED_TEXT


def test_a_wrong_key_is_never_repeated(upstream: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_PROVIDER_KEY", "odd:key-that-is-wrong")
    with failing("auth", 401) as caught:
        chat(upstream, "echo")
    assert "***" in caught.value.message
    monkeypatch.setenv("TEST_PROVIDER_KEY", "the/odd:key.1")
    with failing("bad_request", 400):
        chat(upstream, "leaky")


def test_a_missing_key_names_its_reference(upstream: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEST_PROVIDER_KEY")
    with pytest.raises(ConfigError, match=r"providers\.acme\.api_key: the key env:TEST_PROVIDER_KEY is not set"):
        chat(upstream, "echo")
    assert upstream.requests == []


def test_the_official_address_needs_a_key(upstream: FaultServer) -> None:
    with pytest.raises(ConfigError, match=r'\[providers.acme\] write api_key = "env:ACME_API_KEY"'):
        chat(upstream, "echo", base_url="", api_key="")


def test_a_key_that_no_header_can_carry_is_refused_unseen(upstream: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_PROVIDER_KEY", "sk-‘quoted’")
    with pytest.raises(ConfigError) as caught:
        chat(upstream, "echo")
    assert "quoted" not in str(caught.value)


def test_a_key_is_read_from_a_file(upstream: FaultServer, tmp_path: Any) -> None:
    (tmp_path / "key").write_text("the/odd:key.1\n")
    assert chat(upstream, "echo", api_key=f"file:{tmp_path / 'key'}").text == "one two three"


@pytest.mark.parametrize("url", ["api.acme.test/v1", "ftp://acme.test", "http://", "http://[::1"])
def test_a_base_url_that_is_no_address(url: str) -> None:
    with pytest.raises(ConfigError, match=r"providers\.acme\.base_url"):
        OpenAI("acme", ProviderSettings(kind="openai", base_url=url))


@pytest.mark.parametrize("headers", [{"X Org": "a"}, {"X-Org": "ä"}, {"X-Org": "a\r\nX-Other: b"}, {"": "a"}])
def test_headers_that_cannot_be_sent(headers: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"providers\.acme\.headers"):
        OpenAI("acme", ProviderSettings(kind="openai", headers=headers))


def test_a_password_in_a_wrong_base_url_is_not_shown() -> None:
    with pytest.raises(ConfigError) as caught:
        OpenAI("acme", ProviderSettings(kind="openai", base_url="ftp://me:pass-word@acme.test"))
    assert "pass-word" not in caught.value.message


def test_headers_and_a_query_in_the_base_url_are_sent(upstream: FaultServer) -> None:
    response = chat(upstream, "echo", base_url=upstream.openai_url + "/?api-version=2", headers={"OpenAI-Organization": "org-1"})
    assert response.text == "one two three"
    assert upstream.requests[0].headers["openai-organization"] == "org-1"
    assert upstream.requests[0].query == "api-version=2"


def test_a_key_of_the_keyring_is_looked_up_once_until_it_fails(upstream: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    keys = ["the/odd:key.1", "a-wrong-key", "the/odd:key.1"]

    def get_password(service: str, name: str) -> str:
        looked.append(f"{service}/{name}")
        return keys[len(looked) - 1]

    errors = ModuleType("keyring.errors")
    errors.KeyringError = RuntimeError  # type: ignore[attr-defined]
    keyring = ModuleType("keyring")
    keyring.get_password = get_password  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "keyring", keyring)
    monkeypatch.setitem(sys.modules, "keyring.errors", errors)

    async def use(provider: OpenAI) -> None:
        for _ in range(3):
            await provider.chat(ask(), at("echo"))
        assert looked == ["aiplat/acme"]
        with failing("auth", 401):
            await provider.chat(ask(), at("status-401"))
        with failing("auth", 401):
            await provider.chat(ask(), at("echo"))
        assert (await provider.chat(ask(), at("echo"))).text == "one two three"
        assert len(looked) == 3

    run(upstream, use, api_key="keyring:acme")


def test_nothing_listens(upstream: FaultServer) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with failing("unavailable") as caught:
            chat(upstream, "echo", base_url=f"http://127.0.0.1:{port}/v1")
    assert f"127.0.0.1:{port}" in caught.value.message
    assert "providers.acme.base_url" in caught.value.message
    assert caught.value.retryable


def test_a_tls_address_that_speaks_no_tls(upstream: FaultServer) -> None:
    with failing("unavailable") as caught:
        chat(upstream, "echo", base_url=upstream.openai_url.replace("http:", "https:"))
    assert "TLS" in caught.value.message
    assert "SSL_CERT_FILE" in caught.value.message


def test_a_server_that_speaks_no_http(upstream: FaultServer) -> None:
    async def inside(greeting: bytes) -> None:
        async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(10)
            writer.write(greeting)
            writer.close()

        server = await asyncio.start_server(greet, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        provider = OpenAI("acme", ProviderSettings(kind="openai", base_url=url))
        try:
            await provider.chat(ask(), at("echo"))
        finally:
            await provider.aclose()
            server.close()

    for greeting in (b"", b"SSH-2.0-OpenSSH_9.6\r\n\r\n"):
        with failing("unavailable"):
            asyncio.run(inside(greeting))
