"""The official SDKs as real clients of a real gateway."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from decimal import Decimal

import anthropic
import openai
import pytest
from faults import FIXED_TEXT
from served import Served, served

ASK = [{"role": "user", "content": "one two three"}]
TOOL = {"type": "object", "properties": {"city": {"type": "string"}}}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("sdk") / "home") as found:
        yield found


@pytest.fixture
def gpt(place: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{place.http}/v1", api_key=place.key(team="risk"), max_retries=0) as client:
        yield client


@pytest.fixture
def claude(place: Served) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=place.http, api_key=place.key(team="risk"), max_retries=0) as client:
        yield client


# --- OpenAI -----------------------------------------------------------------------------------------------------------


def test_chat_is_answered_costed_and_attributed(place: Served, gpt: openai.OpenAI):
    headers = {"x-aiplat-project": "fraud", "x-aiplat-prompt": "triage@1.2.0", "x-aiplat-tags": "case=17, kind=night"}
    raw = gpt.chat.completions.with_raw_response.create(model="priced", messages=ASK, extra_headers=headers)
    answer = raw.parse()
    assert answer.choices[0].message.content == FIXED_TEXT
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (25, 20)
    cost = Decimal(25) * Decimal("2.5") / 1_000_000 + Decimal(20) * 10 / 1_000_000
    assert Decimal(raw.headers["x-aiplat-cost-usd"]) == cost
    row = place.client.call(raw.headers["x-aiplat-call-id"])
    assert (row["team"], row["project"], row["surface"], row["prompt_name"], row["prompt_version"]) == (
        "risk",
        "fraud",
        "http",
        "triage",
        "1.2.0",
    )
    assert row["tags"] == {"case": "17", "kind": "night"}
    assert row["text"] == FIXED_TEXT and row["messages"] == ASK
    assert Decimal(row["cost_usd"]) == cost


@pytest.mark.parametrize("model", ["up/stream-20", "claude/stream-20"])
def test_a_chat_stream_has_its_usage_when_it_was_asked_for(gpt: openai.OpenAI, model: str):
    for wanted in (True, False):
        more = {"stream_options": {"include_usage": True}} if wanted else {}
        chunks = list(gpt.chat.completions.create(model=model, messages=ASK, stream=True, **more))
        assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices).split()[:3] == ["one", "two", "three"]
        assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
        usage = [c.usage for c in chunks if c.usage]
        assert len(usage) == wanted
        assert all(c.choices for c in chunks) is not wanted
        if wanted:
            assert usage[0].completion_tokens == 20


@pytest.mark.parametrize("model", ["up/tools", "claude/tools"])
@pytest.mark.parametrize("stream", [False, True])
def test_chat_tools(gpt: openai.OpenAI, model: str, stream: bool):
    tools = [{"type": "function", "function": {"name": "weather", "parameters": TOOL}}]
    if stream:
        with gpt.chat.completions.stream(model=model, messages=ASK, tools=tools) as events:
            message = events.get_final_completion().choices[0].message
    else:
        message = gpt.chat.completions.create(model=model, messages=ASK, tools=tools).choices[0].message
    assert message.tool_calls is not None
    call = message.tool_calls[0]
    assert (call.function.name, json.loads(call.function.arguments)) == ("weather", {"city": "Leeds"})
    said = {"role": "tool", "tool_call_id": call.id, "content": "rain"}
    asked = {"role": "assistant", "tool_calls": [{"id": call.id, "type": "function", "function": {"name": "weather", "arguments": "{}"}}]}
    answer = gpt.chat.completions.create(model=model, messages=[*ASK, asked, said], tools=tools)
    assert answer.choices[0].message.content == "The tool says rain"


def test_unknown_fields_reach_a_provider_of_the_same_wire(place: Served, gpt: openai.OpenAI):
    gpt.chat.completions.create(model="up/echo", messages=ASK, logit_bias={"5": 1}, extra_body={"brand_new": {"a": [1]}})
    sent = place.upstream.requests[-1].body
    assert (sent["brand_new"], sent["logit_bias"], sent["model"]) == ({"a": [1]}, {"5": 1}, "echo")


def test_a_second_question_is_answered_from_the_cache(gpt: openai.OpenAI):
    ask = [{"role": "user", "content": "the same again"}]
    states = []
    for _ in range(2):
        raw = gpt.chat.completions.with_raw_response.create(model="priced", messages=ask, extra_headers={"x-aiplat-cache": "on"})
        states.append(
            (raw.headers["x-aiplat-cache"], raw.parse().choices[0].message.content, Decimal(raw.headers["x-aiplat-cost-usd"]) > 0)
        )
    assert states == [("miss", FIXED_TEXT, True), ("hit", FIXED_TEXT, False)]
    with gpt.chat.completions.stream(model="priced", messages=ask, extra_headers={"x-aiplat-cache": "on"}) as events:
        assert events.get_final_completion().choices[0].message.content == FIXED_TEXT


@pytest.mark.parametrize("coding", ["float", "base64"])
def test_embeddings(gpt: openai.OpenAI, coding: str):
    once, again = (
        gpt.embeddings.create(model="up/embedder", input=["red", "green"], encoding_format=coding, extra_headers={"x-aiplat-cache": "on"})
        for _ in range(2)
    )
    assert len(once.data) == 2 and once.usage.prompt_tokens == 2
    if coding == "float":
        assert [len(entry.embedding) for entry in once.data] == [8, 8]
        assert once.data[0].embedding == pytest.approx(again.data[0].embedding)
    else:
        assert once.data[0].embedding == again.data[0].embedding
    assert len(gpt.embeddings.create(model="up/embedder", input="one text").data[0].embedding) == 8


def test_models(gpt: openai.OpenAI):
    names = [model.id for model in gpt.models.list()]
    assert {"priced", "smollm2"} <= set(names)
    assert gpt.models.retrieve("priced").id == "priced"
    with pytest.raises(openai.NotFoundError, match="Did you mean priced"):
        gpt.models.retrieve("prized")


def test_responses(place: Served, gpt: openai.OpenAI):
    answer = gpt.responses.create(model="up/echo", instructions="Be brief.", input="say it back", max_output_tokens=50, temperature=0)
    assert (answer.output_text, answer.status) == ("say it back", "completed")
    assert answer.usage is not None and answer.usage.output_tokens == 3
    sent = place.upstream.requests[-1].body
    assert sent["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "say it back"}]
    cut = gpt.responses.create(model="up/echo", input="one two three four", max_output_tokens=2)
    assert cut.status == "incomplete" and cut.incomplete_details is not None and cut.incomplete_details.reason == "max_output_tokens"


def test_responses_stream(gpt: openai.OpenAI):
    with gpt.responses.stream(model="up/stream-20", input="count") as events:
        kinds = [event.type for event in events]
        answer = events.get_final_response()
    assert answer.output_text.split()[:3] == ["one", "two", "three"]
    assert kinds[0] == "response.created" and kinds[-1] == "response.completed"
    assert kinds.count("response.output_text.delta") == 20
    assert answer.usage is not None and answer.usage.output_tokens == 20


@pytest.mark.parametrize("stream", [False, True])
def test_responses_tools(gpt: openai.OpenAI, stream: bool):
    tools = [{"type": "function", "name": "weather", "parameters": TOOL, "strict": False}]
    if stream:
        with gpt.responses.stream(model="up/tools", input="weather?", tools=tools) as events:
            answer = events.get_final_response()
    else:
        answer = gpt.responses.create(model="up/tools", input="weather?", tools=tools)
    call = answer.output[0]
    assert call.type == "function_call" and (call.name, json.loads(call.arguments)) == ("weather", {"city": "Leeds"})
    items = [
        {"role": "user", "content": [{"type": "input_text", "text": "weather?"}]},
        {"type": "function_call", "call_id": call.call_id, "name": "weather", "arguments": call.arguments},
        {"type": "function_call_output", "call_id": call.call_id, "output": "rain"},
    ]
    assert gpt.responses.create(model="up/tools", input=items, tools=tools).output_text == "The tool says rain"


@pytest.mark.parametrize(
    ("more", "why"),
    [({"previous_response_id": "resp_1"}, "keeps no conversations"), ({"tools": [{"type": "web_search"}]}, "runs no tools itself")],
)
def test_responses_refuses_what_it_cannot_do(gpt: openai.OpenAI, more: dict, why: str):
    with pytest.raises(openai.BadRequestError, match=why):
        gpt.responses.create(model="up/echo", input="hello", **more)


@pytest.mark.parametrize(
    ("model", "kind", "status"),
    [
        ("up/context-length", openai.BadRequestError, 400),
        ("nothing-like-it", openai.NotFoundError, 404),
        ("up/unknown-model", openai.NotFoundError, 404),
        ("up/status-401", openai.InternalServerError, 502),
        ("up/status-500", openai.InternalServerError, 503),
        ("up/bad-json", openai.InternalServerError, 502),
    ],
)
def test_errors_are_of_the_type_that_the_sdk_knows(place: Served, gpt: openai.OpenAI, model: str, kind: type[Exception], status: int):
    for stream in (False, True):
        with pytest.raises(kind) as caught:
            gpt.chat.completions.create(model=model, messages=ASK, stream=stream)
        assert caught.value.status_code == status
        assert len(caught.value.message.encode()) < 900
        row = place.client.call(caught.value.response.headers["x-aiplat-call-id"])
        assert row["status"] == "error" and row["request_model"] == model
    if model == "up/context-length":
        assert caught.value.code == "context_length_exceeded"


def test_an_overloaded_provider_says_when_to_come_again(gpt: openai.OpenAI):
    with pytest.raises(openai.RateLimitError) as caught:
        gpt.chat.completions.create(model="up/status-429", messages=ASK)
    assert caught.value.response.headers["retry-after"] == "1"


def test_a_wrong_key_is_an_authentication_error_and_is_not_repeated(place: Served):
    for sent in ("sk-wrong-key-000000000000", "aiplat-unknown000000000000000"):
        with openai.OpenAI(base_url=f"{place.http}/v1", api_key=sent) as client, pytest.raises(openai.AuthenticationError) as caught:
            client.chat.completions.create(model="up/echo", messages=ASK)
        assert sent not in str(caught.value) and "aiplat keys create" in str(caught.value)
        with anthropic.Anthropic(base_url=place.http, api_key=sent) as claude, pytest.raises(anthropic.AuthenticationError):
            claude.messages.create(model="claude/echo", messages=ASK, max_tokens=5)


def test_rules_are_no_passing_faults_for_the_sdk(place: Served):
    """A budget and a residency rule are told once: the SDK, with its own retries on, sends nothing again."""
    with openai.OpenAI(base_url=f"{place.http}/v1", api_key=place.key(team="poor"), max_retries=3) as client:
        with pytest.raises(openai.APIStatusError) as caught:
            client.chat.completions.create(model="priced", messages=ASK)
        assert (caught.value.status_code, caught.value.code) == (402, "insufficient_quota")
    refused = [row for row in place.rows(team="poor")]
    assert [row["error_type"] for row in refused] == ["budget_exceeded"]
    london = openai.OpenAI(base_url=f"{place.http}/v1", api_key=place.key(team="london"), max_retries=3)
    with london, pytest.raises(openai.PermissionDeniedError, match="may compute in uk only"):
        london.chat.completions.create(model="priced-claude", messages=ASK)
    assert len(place.rows(team="london")) == 1


@pytest.mark.parametrize("model", ["up/cut-stream", "claude/cut-stream"])
def test_a_stream_that_breaks_is_an_error_and_no_short_answer(place: Served, gpt: openai.OpenAI, claude: anthropic.Anthropic, model: str):
    got = []
    with pytest.raises(openai.APIError):
        for chunk in gpt.chat.completions.create(model=model, messages=ASK, stream=True):
            got.append(chunk.choices[0].delta.content or "")
    assert "".join(got).startswith("Hello from")
    with pytest.raises(anthropic.APIError), claude.messages.stream(model=model, messages=ASK, max_tokens=50) as events:
        list(events.text_stream)
    with pytest.raises(openai.APIError), gpt.responses.stream(model=model, input="hello") as events:
        list(events)
    assert {row["error_type"] for row in place.rows(model=model)} == {"cut_off"}


# --- Anthropic --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["priced-claude", "priced"])
def test_messages(place: Served, claude: anthropic.Anthropic, model: str):
    raw = claude.messages.with_raw_response.create(model=model, system="Be brief.", messages=ASK, max_tokens=50)
    answer = raw.parse()
    assert [block.text for block in answer.content] == [FIXED_TEXT]
    assert (answer.stop_reason, answer.usage.input_tokens, answer.usage.output_tokens) == ("end_turn", 25, 20)
    row = place.client.call(raw.headers["x-aiplat-call-id"])
    assert row["messages"][0] == {"role": "system", "content": "Be brief."}
    assert Decimal(row["cost_usd"]) == Decimal(raw.headers["x-aiplat-cost-usd"])


@pytest.mark.parametrize("model", ["claude/stream-20", "up/stream-20"])
def test_messages_stream(claude: anthropic.Anthropic, model: str):
    with claude.messages.stream(model=model, messages=ASK, max_tokens=50) as events:
        pieces = list(events.text_stream)
        whole = events.get_final_message()
    assert "".join(pieces).split()[:3] == ["one", "two", "three"] and len(pieces) == 20
    assert (whole.stop_reason, whole.usage.output_tokens) == ("end_turn", 20)


@pytest.mark.parametrize("model", ["claude/tools", "up/tools"])
@pytest.mark.parametrize("stream", [False, True])
def test_messages_tools(claude: anthropic.Anthropic, model: str, stream: bool):
    tools = [{"name": "weather", "description": "The weather.", "input_schema": TOOL}]
    if stream:
        with claude.messages.stream(model=model, messages=ASK, max_tokens=50, tools=tools) as events:
            answer = events.get_final_message()
    else:
        answer = claude.messages.create(model=model, messages=ASK, max_tokens=50, tools=tools)
    call = answer.content[0]
    assert call.type == "tool_use" and (call.name, call.input, answer.stop_reason) == ("weather", {"city": "Leeds"}, "tool_use")
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "rain"}]}
    history = [*ASK, {"role": "assistant", "content": [{"type": "tool_use", "id": call.id, "name": "weather", "input": {}}]}, result]
    answer = claude.messages.create(model=model, messages=history, max_tokens=50, tools=tools)
    assert answer.content[0].text == "The tool says rain"


def test_count_tokens(place: Served, claude: anthropic.Anthropic):
    before = len(place.rows())
    assert claude.messages.count_tokens(model="claude/echo", messages=ASK).input_tokens == 3
    assert claude.messages.count_tokens(model="up/echo", messages=ASK).input_tokens > 3
    assert len(place.rows()) == before
    london = anthropic.Anthropic(base_url=place.http, api_key=place.key(team="london"), max_retries=0)
    with london, pytest.raises(anthropic.PermissionDeniedError, match="may compute in uk only"):
        london.messages.count_tokens(model="claude/echo", messages=ASK)


@pytest.mark.parametrize(
    ("model", "kind", "status"),
    [
        ("claude/context-length", anthropic.BadRequestError, 400),
        ("nothing-like-it", anthropic.NotFoundError, 404),
        ("claude/status-401", anthropic.InternalServerError, 502),
        ("claude/status-429", anthropic.RateLimitError, 429),
    ],
)
def test_messages_errors(claude: anthropic.Anthropic, model: str, kind: type[Exception], status: int):
    with pytest.raises(kind) as caught:
        claude.messages.create(model=model, messages=ASK, max_tokens=5)
    assert caught.value.status_code == status
    assert caught.value.body["type"] == "error"


def test_unknown_fields_reach_an_anthropic_provider(place: Served, claude: anthropic.Anthropic):
    claude.messages.create(model="claude/echo", messages=ASK, max_tokens=50, extra_body={"brand_new": True, "top_k": 3})
    sent = place.upstream.requests[-1].body
    assert (sent["brand_new"], sent["top_k"]) == (True, 3)


# --- leaving ----------------------------------------------------------------------------------------------------------


def test_an_sdk_that_leaves_cancels_the_call_at_the_provider(place: Served):
    async def leave(key: str) -> None:
        async with openai.AsyncOpenAI(base_url=f"{place.http}/v1", api_key=key, max_retries=0) as client:
            stream = await client.chat.completions.create(model="up/endless-stream", messages=ASK, stream=True)
            async for _ in stream:
                break
            await stream.close()
            task = asyncio.create_task(client.chat.completions.create(model="up/hang", messages=ASK))
            await asyncio.sleep(0.3)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    place.upstream.reset()
    asyncio.run(leave(place.key(team="leaver")))
    assert place.upstream.wait_for(lambda: len(place.upstream.disconnects) == 2, 2.0)
    assert place.upstream.open_requests == 0
    assert sorted(row["status"] for row in place.rows(team="leaver")) == ["cancelled", "cancelled"]
