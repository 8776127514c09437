"""Whole answers of every wire with one value of another kind: an answer or a `ProviderError`, and nothing else."""

from __future__ import annotations

import asyncio
import json
import random
from copy import deepcopy
from typing import Any

import pytest
import test_bedrock
import test_cohere
import test_gemini
import test_hosts
import test_responses_out
from mutations import ODD, places_in
from wirekit import CALL, ask, at, listening, make

from aiplat_lab.core.errors import ProviderError
from aiplat_lab.core.types import Request

EACH = 150
EMBED = Request(model="m", operation="embed", inputs=("x",))
CHATS: dict[str, Any] = {
    "groq": test_hosts.reply(tool_calls=[CALL], reasoning="hm"),
    "openrouter": test_hosts.reply(usage={**test_hosts.COUNTS, "cost": 0.1, "prompt_tokens_details": {"cached_tokens": 1}}),
    "anthropic": {
        "type": "message",
        "model": "m",
        "content": [{"type": "text", "text": "x"}, {"type": "tool_use", "id": "c", "name": "f", "input": {}}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 3, "output_tokens": 2, "cache_creation": {"ephemeral_1h_input_tokens": 1}},
    },
    "gemini": test_gemini.reply({"text": "x"}, {"functionCall": {"name": "f", "args": {}}}, {"text": "hm", "thought": True}),
    "bedrock": test_bedrock.reply({"text": "x"}, {"toolUse": {"toolUseId": "c", "name": "f", "input": {}}}),
    "cohere": test_cohere.reply(test_cohere.text("x"), message={"tool_calls": [CALL]}),
    "openai-responses": test_responses_out.reply(
        test_responses_out.said("x"), {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    ),
}
VECTORS: dict[str, Any] = {
    "groq": {"data": [{"index": 0, "embedding": [1.0]}], "usage": {"prompt_tokens": 1}},
    "gemini": {"embeddings": [{"values": [1.0]}], "usageMetadata": {"promptTokenCount": 1}},
    "vertex": {"predictions": [{"embeddings": {"values": [1.0], "statistics": {"token_count": 1}}}]},
    "bedrock": {"embedding": [1.0], "inputTextTokenCount": 1},
    "cohere": {"embeddings": {"float": [[1.0]]}, "meta": {"billed_units": {"input_tokens": 1}}},
    "openai-responses": {"data": [{"index": 0, "embedding": [1.0]}], "usage": {"prompt_tokens": 1}},
}


def misshapen(dice: random.Random, data: Any) -> Any:
    data = json.loads(json.dumps(data))
    for _ in range(dice.choice([1, 1, 2])):
        places = list(places_in(data))
        holder, key = dice.choice(places)
        holder[key] = deepcopy(dice.choice([*ODD, float("inf"), float("nan"), 10**400]))
    return data


async def _ends(kind: str, good: Any, *, embed: bool) -> dict[str, int]:
    ends = {"answer": 0, "bad_reply": 0, "other": 0}
    async with listening() as upstream:
        provider = make(kind, upstream, **({"location": "eu-west-2"} if kind == "bedrock" else {}))
        try:
            for number in range(EACH):
                data = misshapen(random.Random(f"{kind} {embed} {number}"), good)
                upstream.answers.clear()
                upstream.says(data)
                wire = ask(wire="openai.chat", body={"model": "m"}) if number % 2 else ask()
                try:
                    answer = await (provider.embed(EMBED, at()) if embed else provider.chat(wire, at()))
                except ProviderError as error:
                    ends["bad_reply" if error.reason == "bad_reply" else "other"] += 1
                    assert len(error.message.encode()) <= 800
                else:
                    ends["answer"] += 1
                    assert isinstance(answer.text, str)
                    assert isinstance(answer.finish_reason, str)
                    assert all(isinstance(number, float) for vector in answer.embeddings for number in vector)
                    json.dumps(answer.to_json())
        finally:
            await provider.aclose()
    return ends


@pytest.mark.parametrize("kind", CHATS)
def test_a_misshapen_answer(kind: str) -> None:
    ends = asyncio.run(_ends(kind, CHATS[kind], embed=False))
    assert ends["answer"] > EACH / 5, ends
    assert ends["bad_reply"] > EACH / 20, ends


@pytest.mark.parametrize("kind", VECTORS)
def test_misshapen_vectors(kind: str) -> None:
    ends = asyncio.run(_ends(kind, VECTORS[kind], embed=True))
    assert ends["bad_reply"] > EACH / 5, ends
