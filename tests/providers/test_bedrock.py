"""Bedrock: signatures, frames, and Converse on recorded shapes over loopback HTTP."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from wirekit import CALL, PIXEL, TOOL, Upstream, ask, asked_again, at, chat, failing, frame, run, stream

from aiplat_lab.core.errors import ConfigError
from aiplat_lab.core.registry import find
from aiplat_lab.core.settings import ProviderSettings
from aiplat_lab.core.types import Message, Request, Usage
from aiplat_lab.providers._frames import FrameReader
from aiplat_lab.providers._sigv4 import Credentials, credentials, signed
from aiplat_lab.providers._sse import BadStream

MODEL = "anthropic.claude-sonnet-4-5-20250929-v1:0"
FRAMES = "application/vnd.amazon.eventstream"
PLACE = {"location": "eu-west-2"}

# --- signatures -------------------------------------------------------------------------------------------------------

# The key, time and signatures of AWS's published test suite for Signature Version 4 (aws-sig-v4-test-suite).
WHO = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
TOKEN = (
    "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi"
    "/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64"
    "lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA=="
)
UNRESERVED = "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


@pytest.mark.parametrize(
    ("case", "signature"),
    [
        ({}, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),  # get-vanilla
        ({"method": "POST"}, "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),  # post-vanilla
        # get-vanilla-query-order-key-case
        ({"query": "Param2=value2&Param1=value1"}, "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"),
        ({"path": UNRESERVED}, "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f"),  # get-unreserved
        ({"path": "/ሴ"}, "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"),  # get-utf8
        (  # get-header-value-trim
            {"headers": {"My-Header1": " value1", "My-Header2": ' "a   b   c"'}},
            "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
        ),
        (  # post-x-www-form-urlencoded
            {"method": "POST", "headers": {"Content-Type": "application/x-www-form-urlencoded"}, "content": b"Param1=value1"},
            "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
        ),
        (  # post-sts-header-before
            {"method": "POST", "who": WHO._replace(token=TOKEN)},
            "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead",
        ),
        (  # the worked example of AWS's reference
            {
                "query": "Action=ListUsers&Version=2010-05-08",
                "service": "iam",
                "headers": {"Host": "iam.amazonaws.com", "Content-Type": "application/x-www-form-urlencoded; charset=utf-8"},
            },
            "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
        ),
    ],
)
def test_signatures_are_those_of_the_published_suite(case: dict[str, Any], signature: str) -> None:
    made = signed(
        case.get("who", WHO),
        case.get("method", "GET"),
        case.get("path", "/"),
        query=case.get("query", ""),
        headers={"Host": "example.amazonaws.com", **case.get("headers", {})},
        content=case.get("content", b""),
        region="us-east-1",
        service=case.get("service", "service"),
        at=datetime(2015, 8, 30, 12, 36, tzinfo=UTC),
    )
    assert made["Authorization"].endswith(f"Signature={signature}")
    assert made["X-Amz-Date"] == "20150830T123600Z"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("AKID:SECRET", Credentials("AKID", "SECRET")),
        ("AKID:SECRET:TO:KEN", Credentials("AKID", "SECRET", "TO:KEN")),
        ('{"AccessKeyId": "A", "SecretAccessKey": "S", "SessionToken": "T", "Version": 1}', Credentials("A", "S", "T")),
        ('{"Credentials": {"AccessKeyId": "A", "SecretAccessKey": "S"}}', Credentials("A", "S")),
        ('{"aws_access_key_id": "A", "aws_secret_access_key": "S"}', Credentials("A", "S")),
        ("bedrock-api-key-abc", None),
        ('{"a": 1}', None),
        ("{", None),
        (":x", None),
    ],
)
def test_credentials_are_read_from_every_shape(text: str, found: Credentials | None) -> None:
    assert credentials(text) == found


def test_a_request_is_signed_as_it_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    for transport in ("aiohttp", "httpx"):
        monkeypatch.setenv("TEST_PROVIDER_KEY", f"AKIDEXAMPLE:SECRETEXAMPLE:{TOKEN}")
        seen = chat("bedrock", reply({"text": "x"}), model=MODEL, transport=transport, **PLACE).seen
        assert seen.path == "/model/anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse"
        sent_at = datetime.strptime(seen.headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        again = signed(
            Credentials("AKIDEXAMPLE", "SECRETEXAMPLE", TOKEN),
            "POST",
            seen.path,
            headers={"Host": seen.headers["host"], "Content-Type": seen.headers["content-type"]},
            content=json.dumps(seen.body, separators=(",", ":")).encode(),
            region="eu-west-2",
            service="bedrock",
            at=sent_at,
        )
        assert seen.headers["authorization"] == again["Authorization"]
        assert seen.headers["x-amz-security-token"] == TOKEN
        assert "SignedHeaders=content-type;host;x-amz-date;x-amz-security-token" in again["Authorization"]


def test_an_api_key_of_bedrock_is_a_bearers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_PROVIDER_KEY", "bedrock-api-key-YmVkcm9jaw==")
    seen = chat("bedrock", reply({"text": "x"}), model=MODEL, **PLACE).seen
    assert seen.headers["authorization"] == "Bearer bedrock-api-key-YmVkcm9jaw=="


def test_no_part_of_the_key_comes_back_in_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_PROVIDER_KEY", "AKIAEXAMPLE123456789:SECRETSECRETSECRETSECRET/+abc")
    with failing("auth", 403) as caught:
        said = {"message": "wrong: SECRETSECRETSECRETSECRET/+abc of AKIAEXAMPLE123456789"}
        chat("bedrock", said, model=MODEL, status=403, **PLACE)
    assert "SECRETSECRET" not in caught.value.message
    assert "AKIAEXAMPLE" not in caught.value.message


# --- frames -----------------------------------------------------------------------------------------------------------


def test_frames_come_in_any_pieces() -> None:
    whole = frame("messageStart", {"role": "assistant"}) + frame("contentBlockDelta", {"delta": {"text": "é"}})
    for size in (1, 2, 7, 13, len(whole)):
        reader, found = FrameReader(), []
        for start in range(0, len(whole), size):
            found += reader.feed(whole[start : start + size])
        assert [event.name for event in found] == ["messageStart", "contentBlockDelta"]
        assert json.loads(found[1].data) == {"delta": {"text": "é"}}
        assert reader.end() == []


def test_every_damaged_byte_is_found() -> None:
    good = frame("messageStart", {"role": "assistant"})
    for place in range(len(good)):
        damaged = good[:place] + bytes([good[place] ^ 0x40]) + good[place + 1 :]
        with pytest.raises(BadStream):
            FrameReader().feed(damaged + good)


def test_a_frame_of_a_wrong_size_is_not_waited_for() -> None:
    import struct
    import zlib

    for size in (0, 15, 2**31):
        head = struct.pack(">II", size, 0)
        with pytest.raises(BadStream, match=f"a frame of {size} bytes"):
            FrameReader().feed(head + struct.pack(">I", zlib.crc32(head)))


# --- Converse ---------------------------------------------------------------------------------------------------------


def reply(*blocks: dict[str, Any], stop: str = "end_turn", **more: Any) -> dict[str, Any]:
    usage = {
        "inputTokens": 20,
        "outputTokens": 7,
        "totalTokens": 57,
        "cacheReadInputTokens": 10,
        "cacheWriteInputTokens": 20,
        "cacheDetails": [{"ttl": "1h", "inputTokens": 15}, {"ttl": "5m", "inputTokens": 5}],
    }
    return {"output": {"message": {"role": "assistant", "content": list(blocks)}}, "stopReason": stop, "usage": usage, **more}


USAGE = Usage(input_tokens=20, cache_read_tokens=10, cache_write_tokens=20, output_tokens=7, cache_write_1h_tokens=15)


def test_a_plain_answer() -> None:
    thought = {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "s"}}}
    request = ask(wire="openai.chat", body={"model": "m"})
    found = chat("bedrock", reply(thought, {"text": "Hello"}), request, model=MODEL, **PLACE).response
    assert (found.text, found.finish_reason, found.usage, found.flags) == ("Hello", "stop", USAGE, ())
    assert found.body is not None
    assert found.body["choices"][0]["message"]["reasoning_content"] == "hm"


def test_settings_tools_schema_and_images_are_translated() -> None:
    shape = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
    settings = {
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 3,
        "max_tokens": 99,
        "stop": ["END"],
        "tools": [TOOL],
        "tool_choice": "required",
        "response_format": shape,
        "reasoning_effort": "medium",
        "user": "somebody",
    }
    parts = ({"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": PIXEL}})
    messages = (Message("system", "be brief"), Message("user", parts))
    talk = chat("bedrock", reply({"text": "x"}), ask(messages=messages, settings=settings), model=MODEL, **PLACE)
    function = TOOL["function"]
    assert talk.seen.body == {
        "system": [{"text": "be brief"}],
        "messages": [{"role": "user", "content": [{"text": "look"}, {"image": {"format": "png", "source": {"bytes": "iVBORw0KGgo="}}}]}],
        "inferenceConfig": {"temperature": 0.5, "topP": 0.9, "maxTokens": 99, "stopSequences": ["END"]},
        "outputConfig": {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"schema": '{"type": "object"}', "name": "x"}}}},
        "toolConfig": {
            "tools": [
                {
                    "toolSpec": {
                        "name": "weather",
                        "description": "says the weather",
                        "inputSchema": {"json": function["parameters"]},
                    }
                }
            ],
            "toolChoice": {"any": {}},
        },
        "additionalModelRequestFields": {"top_k": 3, "thinking": {"type": "enabled", "budget_tokens": 8192}},
    }
    assert talk.response.flags == ("ignored_user",)


def test_a_tool_is_called_and_told_its_result() -> None:
    used = {"toolUse": {"toolUseId": "call_1", "name": "weather", "input": {"city": "Leeds"}}}
    found = chat("bedrock", reply(used, stop="tool_use"), ask(settings={"tools": [TOOL]}), model=MODEL, **PLACE).response
    assert found.finish_reason == "tool_calls"
    assert found.tool_calls == (CALL,)
    body = chat("bedrock", reply({"text": "grey"}), ask(messages=asked_again(CALL)), model=MODEL, **PLACE).seen.body
    assert body["messages"][1:] == [
        {"role": "assistant", "content": [used]},
        {"role": "user", "content": [{"toolResult": {"toolUseId": "call_1", "content": [{"text": '{"sky": "grey"}'}]}}]},
    ]


def events(*more: bytes) -> bytes:
    start = frame("messageStart", {"role": "assistant"})
    tool = {"toolUse": {"toolUseId": "call_1", "name": "weather"}}
    return start + b"".join(
        [
            frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"reasoningContent": {"text": "hm"}}}),
            frame("contentBlockDelta", {"contentBlockIndex": 1, "delta": {"text": "Hel"}}),
            frame("contentBlockDelta", {"contentBlockIndex": 1, "delta": {"text": "lo"}}),
            frame("contentBlockStop", {"contentBlockIndex": 1}),
            frame("contentBlockStart", {"contentBlockIndex": 2, "start": tool}),
            frame("contentBlockDelta", {"contentBlockIndex": 2, "delta": {"toolUse": {"input": '{"city": '}}}),
            frame("contentBlockDelta", {"contentBlockIndex": 2, "delta": {"toolUse": {"input": '"Leeds"}'}}}),
            *more,
        ]
    )


def test_a_stream() -> None:
    stop, meta = (
        frame("messageStop", {"stopReason": "tool_use"}),
        frame("metadata", {"usage": reply()["usage"], "metrics": {"latencyMs": 9}}),
    )
    told = stream("bedrock", events(stop, meta), model=MODEL, content_type=FRAMES, **PLACE)
    assert told.text == "Hello"
    assert told.calls == [{"name": "weather", "arguments": '{"city": "Leeds"}'}]
    assert told.last("finish_reason") == "tool_calls"
    assert told.last("usage") == USAGE
    assert told.seen.path.endswith("/converse-stream")


def test_a_stream_that_breaks() -> None:
    with failing("cut_off"):
        stream("bedrock", events(), model=MODEL, content_type=FRAMES, **PLACE)
    with failing("cut_off"):
        stream("bedrock", events()[:-5], model=MODEL, content_type=FRAMES, **PLACE)
    broken = bytearray(events())
    broken[-20] ^= 1
    with failing("bad_reply") as caught:
        stream("bedrock", bytes(broken), model=MODEL, content_type=FRAMES, **PLACE)
    assert "damaged" in caught.value.message
    with failing("rate_limited", 429):
        slow = frame("throttlingException", {"message": "slow down"}, kind="exception")
        stream("bedrock", events(slow), model=MODEL, content_type=FRAMES, **PLACE)
    with failing("unavailable", 500):
        stream("bedrock", events(frame("InternalError", {}, kind="error")), model=MODEL, content_type=FRAMES, **PLACE)


def test_a_callers_own_body_passes_through_unchanged() -> None:
    body = {"messages": [{"role": "user", "content": [{"text": "x"}, {"cachePoint": {"type": "default"}}]}], "new": 1}
    request = Request(model="m", wire="bedrock.converse", body=body)
    answer = reply({"text": "x"}, unknown={"b": 2})
    talk = chat("bedrock", answer, request, model=MODEL, **PLACE)
    assert (talk.seen.body, talk.response.body) == (body, answer)


@pytest.mark.parametrize(
    "request_",
    [
        ask(settings={"n": 2}),
        ask(settings={"seed": 1}),
        ask(settings={"logprobs": True}),
        ask(messages=(Message("user", ({"type": "input_audio", "input_audio": {}},)),)),
        ask(messages=(Message("user", ({"type": "image_url", "image_url": {"url": "https://example.org/x.png"}},)),)),
        Request(model="m", operation="embed"),
    ],
)
def test_what_it_cannot_do_is_refused_before_anything_is_sent(request_: Request) -> None:
    async def script(provider: Any, upstream: Upstream) -> None:
        try:
            await (provider.embed if request_.operation == "embed" else provider.chat)(request_, at(MODEL))
        finally:
            assert upstream.seen == []

    with failing("bad_request"):
        run("bedrock", script, **PLACE)


@pytest.mark.parametrize(
    ("status", "said", "reason"),
    [
        (400, "Input is too long for requested model.", "context_length"),
        (400, "Malformed input request", "bad_request"),
        (403, "You don't have access to the model", "auth"),
        (429, "Too many requests, please wait", "rate_limited"),
        (503, "Bedrock is unable to process your request.", "unavailable"),
        (408, "Model has timed out", "unavailable"),
    ],
)
def test_errors_have_our_reasons(status: int, said: str, reason: str) -> None:
    with failing(reason, status):
        chat("bedrock", {"message": said}, model=MODEL, status=status, **PLACE)


def test_embeddings_of_both_families() -> None:
    async def script(provider: Any, upstream: Upstream) -> Any:
        upstream.says({"embedding": [1, 2], "inputTextTokenCount": 3})
        upstream.says({"embedding": [3, 4], "inputTextTokenCount": 4})
        upstream.says({"embeddings": [[5], [6]]}, headers={"X-Amzn-Bedrock-Input-Token-Count": "9"})
        upstream.says({"inputTokens": 12})
        two = Request(model="m", operation="embed", inputs=("x", "y"))
        titan = await provider.embed(two, at("amazon.titan-embed-text-v2:0"))
        cohere = await provider.embed(two, at("cohere.embed-multilingual-v3"))
        return titan, cohere, await provider.count_tokens(ask(), at(MODEL)), upstream.seen

    titan, cohere, tokens, seen = run("bedrock", script, **PLACE)
    assert (titan.embeddings, titan.usage) == (((1.0, 2.0), (3.0, 4.0)), Usage(input_tokens=7))
    assert (cohere.embeddings, cohere.usage) == (((5.0,), (6.0,)), Usage(input_tokens=9))
    assert seen[2].body == {"texts": ["x", "y"], "input_type": "search_document"}
    assert tokens == 12
    assert seen[3].path.endswith("/count-tokens")


def test_the_place_is_needed_and_told() -> None:
    bedrock = find("provider", "bedrock")
    with pytest.raises(ConfigError, match="needs location"):
        bedrock("acme", ProviderSettings(kind="bedrock"))
    assert bedrock("acme", ProviderSettings(kind="bedrock", **PLACE))._endpoint.host == "bedrock-runtime.eu-west-2.amazonaws.com"
    private = bedrock("acme", ProviderSettings(kind="bedrock", base_url="https://bedrock-runtime.us-east-1.amazonaws.com"))
    assert private._place == "us-east-1"
