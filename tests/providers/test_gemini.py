"""Gemini's wire, of AI Studio and of the cloud, on recorded shapes over loopback HTTP."""

from __future__ import annotations

from typing import Any

import pytest
from wirekit import CALL, PIXEL, TOOL, Upstream, ask, asked_again, at, chat, failing, run, sse, stream

from aiplat_lab.core.errors import ConfigError
from aiplat_lab.core.registry import find
from aiplat_lab.core.settings import ProviderSettings
from aiplat_lab.core.types import Message, Request, Usage

MODEL = "gemini-2.5-flash"


def reply(*parts: dict[str, Any], finish: str = "STOP", **more: Any) -> dict[str, Any]:
    usage = {
        "promptTokenCount": 30,
        "cachedContentTokenCount": 10,
        "candidatesTokenCount": 7,
        "thoughtsTokenCount": 5,
        "totalTokenCount": 42,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 26}, {"modality": "AUDIO", "tokenCount": 4}],
    }
    candidate = {"content": {"role": "model", "parts": list(parts)}, "finishReason": finish, "index": 0}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "gemini-2.5-flash-001", "responseId": "r1", **more}


def test_a_plain_answer_with_thoughts_and_cache() -> None:
    talk = chat("gemini", reply({"text": "hm", "thought": True}, {"text": "Hello"}, {"text": " you"}), model=MODEL)
    found = talk.response
    assert (found.text, found.finish_reason, found.flags, found.body) == ("Hello you", "stop", (), None)
    assert found.usage == Usage(input_tokens=20, cache_read_tokens=10, output_tokens=7, reasoning_tokens=5, other={"input_audio_tokens": 4})
    assert (found.provider, found.region, found.response_model) == ("acme", "eu", "gemini-2.5-flash-001")
    assert talk.seen.path == f"/models/{MODEL}:generateContent"
    assert talk.seen.headers["x-goog-api-key"] == "the/odd:key.1"
    assert "authorization" not in talk.seen.headers
    assert talk.seen.body == {"contents": [{"role": "user", "parts": [{"text": "one two three"}]}]}


def test_settings_tools_schema_and_images_are_translated() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}
    settings = {
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 3,
        "seed": 7,
        "max_tokens": 99,
        "stop": "END",
        "tools": [TOOL],
        "tool_choice": {"type": "function", "function": {"name": "weather"}},
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}},
        "reasoning_effort": "low",
        "user": "somebody",
    }
    sound = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}}
    parts = ({"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": PIXEL}}, sound)
    messages = (Message("system", "be brief"), Message("developer", "be kind"), Message("user", parts))
    talk = chat("gemini", reply({"text": "x"}), ask(messages=messages, settings=settings), model=MODEL)
    plain = {name: value for name, value in schema.items() if name != "additionalProperties"}
    function = {name: TOOL["function"][name] for name in ("name", "description")}
    assert talk.seen.body == {
        "systemInstruction": {"parts": [{"text": "be brief"}, {"text": "be kind"}]},
        "contents": [
            {
                "role": "user",
                "parts": [
                    {"text": "look"},
                    {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}},
                    {"inlineData": {"mimeType": "audio/mp3", "data": "AAAA"}},
                ],
            }
        ],
        "generationConfig": {
            "temperature": 0.5,
            "topP": 0.9,
            "topK": 3,
            "seed": 7,
            "maxOutputTokens": 99,
            "stopSequences": ["END"],
            "responseMimeType": "application/json",
            "responseSchema": plain,
            "thinkingConfig": {"thinkingBudget": 1024},
        },
        "tools": [
            {
                "functionDeclarations": [
                    function | {"parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}
                ]
            }
        ],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["weather"]}},
    }
    assert talk.response.flags == ("ignored_user",)


def test_a_schema_that_the_older_field_cannot_say_goes_into_the_newer() -> None:
    schema = {"type": "object", "properties": {"a": {"$ref": "#/$defs/x"}}, "$defs": {"x": {"type": "string"}}}
    shape = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    body = chat("gemini", reply({"text": "x"}), ask(settings={"response_format": shape}), model=MODEL).seen.body
    assert body["generationConfig"]["responseJsonSchema"] == schema
    assert "responseSchema" not in body["generationConfig"]


def test_a_tool_is_called_and_told_its_result() -> None:
    asked = {"functionCall": {"name": "weather", "args": {"city": "Leeds"}}, "thoughtSignature": "c2ln"}
    found = chat("gemini", reply(asked), ask(settings={"tools": [TOOL]}), model="gemini-3-pro").response
    call = dict(found.tool_calls[0])
    assert found.finish_reason == "tool_calls"
    assert call["function"] == {"name": "weather", "arguments": '{"city": "Leeds"}'}
    assert call["extra_content"] == {"google": {"thought_signature": "c2ln"}}
    body = chat("gemini", reply({"text": "grey"}), ask(messages=asked_again(call)), model="gemini-3-pro").seen.body
    assert body["contents"][1] == {"role": "model", "parts": [asked]}
    assert body["contents"][2] == {
        "role": "user",
        "parts": [{"functionResponse": {"name": "weather", "response": {"sky": "grey"}}}],
    }
    unsigned = chat("gemini", reply({"text": "grey"}), ask(messages=asked_again(CALL)), model="gemini-3-pro").seen.body
    assert unsigned["contents"][1]["parts"][0]["thoughtSignature"] == "skip_thought_signature_validator"


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        ("RECITATION", "content_filter"),
        ("PROHIBITED_CONTENT", "content_filter"),
        ("MALFORMED_FUNCTION_CALL", "malformed_function_call"),
    ],
)
def test_finish_reasons_in_our_words(theirs: str, ours: str) -> None:
    assert chat("gemini", reply({"text": "x"}, finish=theirs), model=MODEL).response.finish_reason == ours


def test_a_blocked_prompt_is_an_answer_that_was_filtered() -> None:
    blocked = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 4, "totalTokenCount": 4}}
    found = chat("gemini", blocked, model=MODEL).response
    assert (found.text, found.finish_reason, found.flags) == ("", "content_filter", ("refusal",))
    told = stream("gemini", sse(blocked), model=MODEL)
    assert told.last("finish_reason") == "content_filter"


def test_several_answers_and_log_probs_come_in_the_callers_shape() -> None:
    top = {
        "topCandidates": [{"candidates": [{"token": "A", "logProbability": -0.1}]}],
        "chosenCandidates": [{"token": "A", "logProbability": -0.1}],
    }
    two = reply({"text": "A"})
    two["candidates"][0]["logprobsResult"] = top
    two["candidates"].append({"content": {"parts": [{"text": "B"}]}, "finishReason": "STOP", "index": 1})
    settings = {"n": 2, "logprobs": True, "top_logprobs": 1}
    request = ask(settings=settings, wire="openai.chat", body={"model": "m", "messages": [], **settings})
    talk = chat("gemini", two, request, model=MODEL)
    config = talk.seen.body["generationConfig"]
    assert (config["candidateCount"], config["responseLogprobs"], config["logprobs"]) == (2, True, 1)
    body = talk.response.body
    assert body is not None
    assert [choice["message"]["content"] for choice in body["choices"]] == ["A", "B"]
    assert body["choices"][0]["logprobs"]["content"][0]["logprob"] == -0.1
    with failing("bad_request"):
        stream("gemini", b"", request, model=MODEL)


def test_a_callers_own_body_passes_through_unchanged() -> None:
    body = {
        "contents": [{"parts": [{"text": "x"}]}],
        "safetySettings": [{"a": 1}],
        "generationConfig": {"maxOutputTokens": 50, "new": True},
    }
    request = Request(model="m", wire="gemini.generate", body=body, settings={"max_tokens": 50})
    answer = reply({"text": "x", "unknown": {"b": 2}})
    talk = chat("gemini", answer, request, model=MODEL)
    assert talk.seen.body == body
    assert talk.response.body == answer
    lowered = chat("gemini", answer, Request(model="m", wire="gemini.generate", body=body, settings={"max_tokens": 5}), model=MODEL)
    assert lowered.seen.body == {**body, "generationConfig": {"maxOutputTokens": 5, "new": True}}
    events = [reply({"text": "a"}), reply({"text": "b"})]
    told = stream("gemini", sse(*events), request, model=MODEL)
    assert [chunk.body for chunk in told.chunks] == events
    assert told.seen.path == f"/models/{MODEL}:streamGenerateContent?alt=sse"


def test_a_stream_with_thoughts_tools_and_usage() -> None:
    first = {
        "candidates": [{"content": {"parts": [{"text": "think", "thought": True}]}, "index": 0}],
        "usageMetadata": {"promptTokenCount": 3},
    }
    second = {"candidates": [{"content": {"parts": [{"text": "Hel"}]}, "index": 0}]}
    third = reply({"text": "lo"}, {"functionCall": {"name": "weather", "args": {"city": "Leeds"}}})
    told = stream(
        "gemini", sse(first, second, third), ask(wire="openai.chat", body={"model": "m"}, settings={"tools": [TOOL]}), model=MODEL
    )
    assert told.text == "Hello"
    assert told.last("finish_reason") == "tool_calls"
    assert told.calls == [{"name": "weather", "arguments": '{"city": "Leeds"}'}]
    assert told.last("usage").output_tokens == 7
    assert told.chunks[0].body is not None
    assert told.chunks[0].body["choices"][0]["delta"] == {"reasoning_content": "think"}


def test_a_stream_without_a_finish_reason_is_cut_off() -> None:
    half = {"candidates": [{"content": {"parts": [{"text": "Hel"}]}, "index": 0}]}
    with failing("cut_off") as caught:
        stream("gemini", sse(half), model=MODEL)
    assert [chunk.text for chunk in caught.value.details["got"]] == ["Hel"]


def test_embeddings_and_token_counts() -> None:
    async def script(provider: Any, upstream: Upstream) -> Any:
        upstream.says({"embeddings": [{"values": [1, 2]}, {"values": [3, 4]}]})
        upstream.says({"totalTokens": 12})
        upstream.says({"models": [{"name": "models/b"}, {"name": "models/a"}]})
        found = await provider.embed(
            Request(model="m", operation="embed", inputs=("x", "y"), settings={"dimensions": 2}), at("text-embedding")
        )
        count = await provider.count_tokens(ask(), at(MODEL))
        return found, count, await provider.models(), upstream.seen

    found, tokens, models, seen = run("gemini", script)
    assert found.embeddings == ((1.0, 2.0), (3.0, 4.0))
    assert found.flags == ("no_usage",)
    assert seen[0].path == "/models/text-embedding:batchEmbedContents"
    assert seen[0].body["requests"][1] == {
        "model": "models/text-embedding",
        "content": {"parts": [{"text": "y"}]},
        "outputDimensionality": 2,
    }
    assert tokens == 12
    assert seen[1].body["generateContentRequest"]["model"] == f"models/{MODEL}"
    assert models == ["a", "b"]


@pytest.mark.parametrize(
    ("status", "error", "reason"),
    [
        (400, {"code": 400, "message": "API key not valid. Please pass a valid one.", "status": "INVALID_ARGUMENT"}, "auth"),
        (400, {"code": 400, "message": "Invalid JSON payload received", "status": "INVALID_ARGUMENT"}, "bad_request"),
        (
            400,
            {"code": 400, "message": "The input token count (9) exceeds the maximum number of tokens allowed", "status": "x"},
            "context_length",
        ),
        (403, {"code": 403, "message": "no", "status": "PERMISSION_DENIED"}, "auth"),
        (404, {"code": 404, "message": "models/x is not found", "status": "NOT_FOUND"}, "bad_request"),
        (429, {"code": 429, "message": "quota", "status": "RESOURCE_EXHAUSTED"}, "rate_limited"),
        (503, {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}, "unavailable"),
    ],
)
def test_errors_have_our_reasons(status: int, error: dict[str, Any], reason: str) -> None:
    with failing(reason, status):
        chat("gemini", {"error": error}, model=MODEL, status=status)


def test_what_it_asks_to_wait_stands_in_the_body() -> None:
    delay = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "17.5s"}
    with failing("rate_limited", 429) as caught:
        chat("gemini", {"error": {"code": 429, "message": "quota", "details": [delay]}}, model=MODEL, status=429)
    assert caught.value.retry_after_s == 17.5


def test_a_picture_from_an_address_says_its_kind() -> None:
    parts = ({"type": "image_url", "image_url": {"url": "https://example.org/a.jpeg?x=1"}},)
    body = chat("gemini", reply({"text": "x"}), ask(messages=(Message("user", parts),)), model=MODEL).seen.body
    assert body["contents"][0]["parts"] == [{"fileData": {"mimeType": "image/jpeg", "fileUri": "https://example.org/a.jpeg?x=1"}}]


def test_an_error_inside_a_stream() -> None:
    with failing("rate_limited", 429):
        stream("gemini", sse({"error": {"code": 429, "message": "quota", "status": "RESOURCE_EXHAUSTED"}}), model=MODEL)


def test_the_cloud_has_projects_and_places() -> None:
    vertex = find("provider", "vertex")

    def address(**more: Any) -> str:
        provider = vertex("acme", ProviderSettings(kind="vertex", project="my-project", **more))
        return str(provider._endpoint._base)

    assert address(location="europe-west2") == (
        "https://europe-west2-aiplatform.googleapis.com/v1/projects/my-project/locations/europe-west2"
    )
    assert address(location="global") == "https://aiplatform.googleapis.com/v1/projects/my-project/locations/global"
    with pytest.raises(ConfigError, match=r"providers.acme needs project"):
        vertex("acme", ProviderSettings(kind="vertex", location="global"))
    with pytest.raises(ConfigError, match=r"providers.acme needs location"):
        vertex("acme", ProviderSettings(kind="vertex", project="p"))
    talk = chat("vertex", reply({"text": "x"}), model=MODEL, project="p", location="global")
    assert talk.seen.path == f"/publishers/google/models/{MODEL}:generateContent"
    assert talk.seen.headers["authorization"] == "Bearer the/odd:key.1"


def test_the_cloud_embeds_by_predict() -> None:
    async def script(provider: Any, upstream: Upstream) -> Any:
        upstream.says({"predictions": [{"embeddings": {"values": [1, 2], "statistics": {"token_count": 3}}}]})
        found = await provider.embed(Request(model="m", operation="embed", inputs=("x", "y")), at("gemini-embedding-001"))
        return found, upstream.seen

    found, seen = run("vertex", script)
    assert found.embeddings == ((1.0, 2.0), (1.0, 2.0))
    assert found.usage == Usage(input_tokens=6)
    assert [one.body for one in seen] == [{"instances": [{"content": "x"}]}, {"instances": [{"content": "y"}]}]


@pytest.mark.parametrize(
    "messages",
    [
        (Message("tool", "x", {"tool_call_id": "nobody"}),),
        (Message("user", ({"type": "hologram"},)),),
        (Message("assistant", None, {"tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{"}}]}),),
    ],
)
def test_what_cannot_be_said_is_refused_before_anything_is_sent(messages: tuple[Message, ...]) -> None:
    with failing("bad_request"):
        chat("gemini", reply({"text": "x"}), ask(messages=messages), model=MODEL)


@pytest.mark.parametrize(
    "answer", [{}, {"candidates": []}, {"candidates": [3]}, {"candidates": {"a": 1}}, {"candidates": [{"content": {"parts": 3}}]}]
)
def test_an_answer_of_another_shape_is_a_bad_reply(answer: Any) -> None:
    with failing("bad_reply"):
        chat("gemini", answer, model=MODEL)


def test_a_models_name_cannot_leave_its_place_in_the_address() -> None:
    talk = chat("gemini", reply({"text": "x"}), model="../../x?y=1")
    assert talk.seen.path == "/models/..%2F..%2Fx%3Fy%3D1:generateContent"
    tuned = chat("gemini", reply({"text": "x"}), model="tunedModels/mine")
    assert tuned.seen.path == "/tunedModels/mine:generateContent"
