"""Google's own SDK as a real client of a real gateway, and the wire as plain HTTP."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from faults import FIXED_TEXT
from google import genai
from google.genai import errors, types
from served import Served, served

PNG = b"\x89PNG\r\n\x1a\n"
DECLARED = {
    "name": "weather",
    "description": "The weather.",
    "parameters": {"type": "OBJECT", "properties": {"city": {"type": "STRING", "nullable": True}}, "propertyOrdering": ["city"]},
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("gemini") / "home") as found:
        yield found


@pytest.fixture(scope="module")
def key(place: Served) -> str:
    return place.key(team="risk")


def _client(place: Served, key: str) -> genai.Client:
    return genai.Client(api_key=key, http_options=types.HttpOptions(base_url=place.http, api_version="v1beta"))


@pytest.fixture(scope="module")
def gemini(place: Served, key: str) -> Iterator[genai.Client]:
    client = _client(place, key)
    yield client
    client.close()


def post(place: Served, path: str, body: Any, **headers: str) -> tuple[int, dict[str, str], str]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(place.http + path, data=data, method="POST")
    for name, value in headers.items():
        request.add_header(name.replace("_", "-"), value)
    try:
        with urllib.request.urlopen(request, timeout=20) as reply:
            return reply.status, {k.lower(): v for k, v in reply.headers.items()}, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, {k.lower(): v for k, v in error.headers.items()}, error.read().decode()


def test_an_answer_is_costed_and_attributed(place: Served, gemini: genai.Client):
    config = types.GenerateContentConfig(
        system_instruction="Be brief.", max_output_tokens=50, temperature=0.5, stop_sequences=["END"], seed=7
    )
    answer = gemini.models.generate_content(model="priced", contents="one two three", config=config)
    assert answer.text == FIXED_TEXT and answer.candidates[0].finish_reason == types.FinishReason.STOP
    assert (answer.usage_metadata.prompt_token_count, answer.usage_metadata.candidates_token_count) == (25, 20)
    sent = place.upstream.requests[-1].body
    assert sent["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "one two three"}]
    assert (sent["max_tokens"], sent["temperature"], sent["stop"], sent["seed"]) == (50, 0.5, ["END"], 7)
    row = place.client.call(answer.response_id)
    assert (row["team"], row["surface"], row["request_model"]) == ("risk", "http", "priced")
    headers = {name.lower(): value for name, value in answer.sdk_http_response.headers.items()}
    assert Decimal(headers["x-aiplat-cost-usd"]) == Decimal(row["cost_usd"]) and headers["x-aiplat-call-id"] == answer.response_id


@pytest.mark.parametrize("model", ["up/stream-20", "claude/stream-20"])
def test_a_stream(gemini: genai.Client, model: str):
    pieces = list(gemini.models.generate_content_stream(model=model, contents="count"))
    assert "".join(piece.text or "" for piece in pieces).split()[:3] == ["one", "two", "three"]
    assert pieces[-1].candidates[0].finish_reason == types.FinishReason.STOP and len(pieces) == 21
    assert pieces[-1].usage_metadata.candidates_token_count == 20


@pytest.mark.parametrize("model", ["up/tools", "claude/tools"])
@pytest.mark.parametrize("stream", [False, True])
def test_tools(place: Served, gemini: genai.Client, model: str, stream: bool):
    config = types.GenerateContentConfig(
        tools=[types.Tool(function_declarations=[DECLARED])],
        tool_config=types.ToolConfig(function_calling_config=types.FunctionCallingConfig(mode="ANY", allowed_function_names=["weather"])),
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
    )
    if stream:
        *_, answer = gemini.models.generate_content_stream(model=model, contents="Leeds?", config=config)
    else:
        answer = gemini.models.generate_content(model=model, contents="Leeds?", config=config)
    call = answer.function_calls[0]
    assert (call.name, call.args) == ("weather", {"city": "Leeds"})
    sent = place.upstream.requests[-1].body
    if model.startswith("up"):
        wanted = {"type": "object", "properties": {"city": {"type": ["string", "null"]}}}
        assert sent["tools"][0]["function"] == {"name": "weather", "description": "The weather.", "parameters": wanted}
        assert sent["tool_choice"] == {"type": "function", "function": {"name": "weather"}}
    history = [
        types.Content(role="user", parts=[types.Part(text="Leeds?")]),
        types.Content(role="model", parts=[types.Part(function_call=types.FunctionCall(name="weather", args={"city": "Leeds"}))]),
        types.Content(role="user", parts=[types.Part(function_response=types.FunctionResponse(name="weather", response={"sky": "rain"}))]),
    ]
    answer = gemini.models.generate_content(model=model, contents=history, config=config)
    assert answer.text == 'The tool says {"sky": "rain"}'


def test_images_structured_answers_and_thinking_are_translated(place: Served, gemini: genai.Client):
    schema = {"type": "OBJECT", "properties": {"n": {"type": "INTEGER"}}}
    config = types.GenerateContentConfig(
        response_mime_type="application/json",
        response_schema=schema,
        thinking_config=types.ThinkingConfig(thinking_budget=512, include_thoughts=True),
        safety_settings=[types.SafetySetting(category="HARM_CATEGORY_HARASSMENT", threshold="BLOCK_NONE")],
    )
    parts = [types.Part.from_text(text="what is"), types.Part.from_bytes(data=PNG, mime_type="image/png")]
    answer = gemini.models.generate_content(model="up/echo", contents=parts, config=config)
    sent = place.upstream.requests[-1].body
    assert sent["messages"][0]["content"] == [
        {"type": "text", "text": "what is"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
    ]
    assert sent["response_format"]["json_schema"]["schema"] == {"type": "object", "properties": {"n": {"type": "integer"}}}
    assert sent["reasoning_effort"] == "low" and "safetySettings" not in sent
    assert place.client.call(answer.response_id)["flags"][:2] == ["ignored_safetySettings", "ignored_includeThoughts"]
    headers = {name.lower(): value for name, value in answer.sdk_http_response.headers.items()}
    assert headers["x-aiplat-ignored"] == "safetySettings, includeThoughts"


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"tools": [{"googleSearch": {}}]}, "tools[0].googleSearch"),
        ({"cachedContent": "cachedContents/1"}, "cachedContent"),
        ({"generationConfig": {"speechConfig": {}, "responseModalities": ["AUDIO"]}}, "generationConfig.speechConfig"),
        ({"brandNew": True}, "brandNew"),
        ({"contents": [{"parts": [{"fileData": {"mimeType": "video/mp4", "fileUri": "gs://x"}}]}]}, "contents[0] (fileData)"),
    ],
)
def test_what_another_wire_cannot_say_is_refused_by_name_and_recorded(place: Served, key: str, more: dict[str, Any], named: str):
    for verb in ("generateContent", "streamGenerateContent"):
        before = len(place.upstream.requests)
        body = {"contents": [{"parts": [{"text": "hello"}]}], **more}
        status, headers, text = post(place, f"/v1beta/models/up/echo:{verb}", body, x_goog_api_key=key)
        error = json.loads(text)["error"]
        assert (status, error["code"], error["status"]) == (400, 400, "INVALID_ARGUMENT")
        assert named in error["message"] and "gemini.generate" in error["message"]
        row = place.client.call(headers["x-aiplat-call-id"])
        assert (row["status"], row["error_type"], row["policy"]) == ("refused", "capability_refused", "wire")
        assert len(place.upstream.requests) == before


def test_a_stream_without_alt_is_one_json_array(place: Served, key: str):
    body = {"contents": [{"role": "user", "parts": [{"text": "hello"}]}], "generation_config": {"max_output_tokens": 9}}
    status, headers, text = post(place, "/v1beta/models/up/stream-3:streamGenerateContent", body, x_goog_api_key=key)
    assert status == 200 and headers["content-type"].startswith("application/json")
    pieces = json.loads(text)
    assert [piece["candidates"][0]["content"]["parts"][0]["text"] for piece in pieces] == ["one ", "two ", "three ", ""]
    assert pieces[-1]["candidates"][0]["finishReason"] == "STOP" and pieces[-1]["usageMetadata"]["totalTokenCount"] == 28
    assert place.upstream.requests[-1].body["max_tokens"] == 9
    status, _, text = post(place, "/v1beta/models/up/cut-stream:streamGenerateContent", body, x_goog_api_key=key)
    *said, last = json.loads(text)
    assert status == 200 and len(said) == 3 and last["error"]["details"][0]["reason"] == "CUT_OFF"


def test_several_candidates_and_log_probabilities(place: Served, key: str):
    body = {"contents": [{"parts": [{"text": "hello"}]}], "generationConfig": {"candidateCount": 2}}
    status, _, _ = post(place, "/v1beta/models/up/echo:generateContent", body, x_goog_api_key=key)
    assert status == 200 and place.upstream.requests[-1].body["n"] == 2
    status, _, text = post(place, "/v1beta/models/up/echo:streamGenerateContent", body, x_goog_api_key=key)
    assert status == 400 and "candidateCount above 1 in a stream" in text


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("model", "status", "word"),
    [
        ("up/context-length", 400, "INVALID_ARGUMENT"),
        ("nothing-like-it", 404, "NOT_FOUND"),
        ("up/status-401", 502, "UNAVAILABLE"),
        ("up/status-429", 429, "RESOURCE_EXHAUSTED"),
    ],
)
def test_errors_are_of_the_type_that_the_sdk_knows(gemini: genai.Client, model: str, status: int, word: str, stream: bool):
    with pytest.raises(errors.APIError) as caught:
        if stream:
            list(gemini.models.generate_content_stream(model=model, contents="hello"))
        else:
            gemini.models.generate_content(model=model, contents="hello")
    assert (caught.value.code, caught.value.status) == (status, word)


def test_a_stream_that_breaks_is_an_error_and_no_short_answer(place: Served, gemini: genai.Client):
    got = []
    with pytest.raises(errors.APIError) as caught:
        for piece in gemini.models.generate_content_stream(model="up/cut-stream", contents="hello"):
            got.append(piece.text)
    assert "".join(got).startswith("Hello from") and caught.value.code == 502


def test_keys_come_by_header_or_in_the_address_and_stand_in_no_log(place: Served):
    secret = place.key(team="risk", name="by-address")
    body = {"contents": [{"parts": [{"text": "hello"}]}]}
    path = "/v1beta/models/up/echo:generateContent"
    assert post(place, path, body, x_goog_api_key=secret)[0] == 200
    assert post(place, path, body, Authorization=f"Bearer {secret}")[0] == 200
    assert post(place, f"{path}?key={secret}", body)[0] == 200
    assert "key" not in place.upstream.requests[-1].query
    for address in (path, f"{path}?key=", f"{path}?key=aiplat-wrong-0000000000"):
        status, _, text = post(place, address, body)
        assert status == 401 and json.loads(text)["error"]["status"] == "UNAUTHENTICATED" and "wrong" not in text
    assert post(place, f"/v1/chat/completions?key={secret}", {"model": "up/echo", "messages": []})[0] == 401
    assert post(place, f"{path}?key={secret}", b"{")[0] == 400 and post(place, f"/v1beta/nothing?key={secret}", body)[0] == 404
    assert secret not in place.home.log_file.read_text()
    assert secret not in json.dumps(place.client.status()) and secret not in json.dumps(place.rows(), default=str)


def test_tokens_are_counted_and_texts_embedded(place: Served, gemini: genai.Client, key: str):
    before = len(place.rows())
    assert gemini.models.count_tokens(model="claude/echo", contents="one two three").total_tokens == 3
    assert gemini.models.count_tokens(model="up/echo", contents="one two three").total_tokens > 3
    assert len(place.rows()) == before
    found = gemini.models.embed_content(model="up/embedder", contents=["red", "green"], config={"task_type": "RETRIEVAL_QUERY"})
    assert [len(one.values) for one in found.embeddings] == [8, 8]
    row = place.client.call(place.rows()[0]["call_id"])
    assert row["flags"][0] == "ignored_taskType" and row["operation"] == "embed"
    body = {"content": {"parts": [{"text": "red"}]}}
    status, _, text = post(place, "/v1beta/models/up/embedder:embedContent", body, x_goog_api_key=key)
    assert status == 200 and json.loads(text)["embedding"]["values"] == pytest.approx(found.embeddings[0].values)
    status, _, text = post(place, "/v1beta/models/up/embedder:embedContent", {"content": {"parts": [{}]}}, x_goog_api_key=key)
    assert status == 400 and "must hold parts with text" in text


def test_models_are_listed(place: Served, gemini: genai.Client):
    listed = {model.name: model for model in gemini.models.list()}
    assert listed["models/priced"].output_token_limit == 100
    assert gemini.models.get(model="priced").name == "models/priced"
    narrow = _client(place, place.key(models=["priced"]))
    assert [model.name for model in narrow.models.list()] == ["models/priced"]
    narrow.close()
    with pytest.raises(errors.ClientError):
        gemini.models.get(model="nothing-like-it")


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({}, "'contents' must be"),
        ({"contents": [5]}, "contents[0] must be an object"),
        ({"contents": [{"parts": ["x"]}]}, "contents[0] must be an object"),
        ({"contents": [{"parts": [{}]}]}, "an empty part"),
        ({"contents": [{"parts": [{"text": "x"}]}], "tools": [5]}, "'tools' must be a list"),
        ({"contents": [{"parts": [{"text": "x"}]}], "generationConfig": 5}, "'generationConfig' must be an object"),
        ({"contents": [{"parts": [{"text": "x"}]}], "generationConfig": {"maxOutputTokens": "9"}}, "must be a whole number"),
    ],
)
def test_a_bad_body_is_told_in_one_sentence(place: Served, key: str, body: Any, why: str):
    status, _, text = post(place, "/v1beta/models/up/echo:generateContent", body, x_goog_api_key=key)
    assert status == 400 and why in json.loads(text)["error"]["message"]
