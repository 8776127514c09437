"""Masking through the front door: raw HTTP in every wire that the gateway speaks, whatever the model behind it speaks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from served import Served, served

MAIL = "jane.doe@example.com"
TEXT = f"Write to {MAIL} now"
MORE = '[redaction]\ninput = "mask"\noutput = "observe"\nactions = { card = "refuse" }'


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("redact"), more=MORE) as one:
        yield one


@pytest.fixture(scope="module")
def http(here: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=here.http, headers={"authorization": f"Bearer {here.key(team='london')}"}, timeout=30) as client:
        yield client


def events(answer: httpx.Response) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def chat(model: str, *, stream: bool = False, text: str = TEXT) -> dict[str, Any]:
    return {"model": model, "stream": stream, "messages": [{"role": "user", "content": text}], "max_tokens": 50}


def test_openais_chat(here: Served, http: httpx.Client) -> None:
    whole = http.post("/v1/chat/completions", json=chat("up/echo@h"))
    assert whole.json()["choices"][0]["message"]["content"] == TEXT and whole.headers["x-aiplat-masked"] == "1"
    assert whole.headers["x-aiplat-cache"] == "off"
    pieces = events(http.post("/v1/chat/completions", json=chat("up/echo@h", stream=True)))
    assert "".join(one["choices"][0]["delta"].get("content") or "" for one in pieces if one["choices"]) == TEXT
    assert MAIL not in json.dumps([seen.body for seen in here.upstream.requests])


def test_responses(here: Served, http: httpx.Client) -> None:
    body = {"model": "up/echo@r", "input": TEXT, "instructions": f"for {MAIL}"}
    assert http.post("/v1/responses", json=body).json()["output"][0]["content"][0]["text"] == TEXT
    pieces = events(http.post("/v1/responses", json={**body, "stream": True}))
    assert "".join(one["delta"] for one in pieces if one["type"] == "response.output_text.delta") == TEXT
    assert pieces[-1]["response"]["output"][0]["content"][0]["text"] == TEXT
    assert MAIL not in json.dumps([seen.body for seen in here.upstream.requests])


def test_messages_and_their_tokens(here: Served) -> None:
    body = {**chat("claude/echo@a"), "system": f"for {MAIL}"}
    headers = {"x-api-key": here.key(), "anthropic-version": "2023-06-01"}
    with httpx.Client(base_url=here.http, headers=headers, timeout=30) as http:
        assert http.post("/v1/messages", json=body).json()["content"][0]["text"] == TEXT
        pieces = events(http.post("/v1/messages", json={**body, "stream": True}))
        assert "".join(one["delta"].get("text", "") for one in pieces if one["type"] == "content_block_delta") == TEXT
        assert http.post("/v1/messages/count_tokens", json=body).json()["input_tokens"] > 0
        assert http.post("/v1/messages", json={**body, "model": "up/echo@a"}).json()["content"][0]["text"] == TEXT
    assert MAIL not in json.dumps([seen.body for seen in here.upstream.requests])


def test_embeddings(here: Served, http: httpx.Client) -> None:
    assert http.post("/v1/embeddings", json={"model": "up/echo@e", "input": TEXT}).status_code == 200
    assert here.upstream.requests[-1].body["input"] in (TEXT.replace(MAIL, "<EMAIL_1>"), [TEXT.replace(MAIL, "<EMAIL_1>")])


@pytest.mark.parametrize("stream", [False, True])
def test_a_refusal_is_a_400_that_shows_nothing(here: Served, http: httpx.Client, stream: bool) -> None:
    answer = http.post("/v1/chat/completions", json=chat("up/echo@x", stream=stream, text="Charge 4111 1111 1111 1111"))
    assert answer.status_code == 400 and "card (1)" in answer.text and "4111" not in answer.text
    assert not any(seen.model == "echo@x" for seen in here.upstream.requests)


def test_nothing_of_it_is_in_any_file_of_the_home(here: Served) -> None:
    here.client.sql("SELECT 1")  # so that all is loaded from the spool
    files = [path for path in Path(here.home.path).rglob("*") if path.is_file()]
    assert files and not [path.name for path in files if b"jane.doe" in path.read_bytes() or b"4111 1111" in path.read_bytes()]
