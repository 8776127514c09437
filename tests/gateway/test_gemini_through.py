"""Gemini's wire in and out: what the caller sends and what the service answers pass through as they are."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from google import genai
from google.genai import types
from served import Served, served

USAGE = {"promptTokenCount": 7, "candidatesTokenCount": 3, "thoughtsTokenCount": 2, "totalTokenCount": 12}
ANSWER = {
    "candidates": [
        {
            "content": {"role": "model", "parts": [{"text": "hello"}]},
            "finishReason": "STOP",
            "groundingMetadata": {"webSearchQueries": ["q"]},
        }
    ],
    "usageMetadata": USAGE,
    "modelVersion": "gemini-x",
    "brandNew": {"kept": True},
}


class Google:
    """A service that speaks Gemini's wire and keeps what it was sent."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, Any]] = []
        seen = self.seen

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                seen.append((self.path, body))
                kind = "application/json"
                if ":streamGenerateContent" in self.path:
                    pieces = [{"candidates": [{"content": {"role": "model", "parts": [{"text": "hel"}]}}]}, ANSWER]
                    raw, kind = "".join(f"data: {json.dumps(one)}\r\n\r\n" for one in pieces), "text/event-stream"
                elif ":batchEmbedContents" in self.path:
                    raw = json.dumps({"embeddings": [{"values": [0.5, 0.25]} for _ in body["requests"]]})
                else:
                    raw = json.dumps({"totalTokens": 42} if ":countTokens" in self.path else ANSWER)
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw.encode())

            def log_message(self, *_: Any) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture(scope="module")
def google() -> Iterator[Google]:
    found = Google()
    yield found
    found.server.shutdown()
    found.server.server_close()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, google: Google) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("through")
    (folder / "key").write_text("google-key-0123456789")
    tables = f'[providers.google]\nkind = "gemini"\nbase_url = "{google.url}/v1beta"\napi_key = "file:{folder / "key"}"\n'
    tables += '[models.either]\ndeployments = [{ provider = "up", model = "echo" }, { provider = "google", model = "g" }]\n'
    with served(folder / "home", tables=tables) as found:
        yield found


@pytest.fixture(scope="module")
def gemini(place: Served) -> Iterator[genai.Client]:
    options = types.HttpOptions(base_url=place.http, api_version="v1beta")
    client = genai.Client(api_key=place.key(team="risk"), http_options=options)
    yield client
    client.close()


def test_a_body_passes_through_with_what_only_gemini_can_say(place: Served, google: Google, gemini: genai.Client):
    config = types.GenerateContentConfig(tools=[types.Tool(google_search=types.GoogleSearch())], top_k=3, cached_content="cachedContents/1")
    for model in ("google/g", "either"):
        answer = gemini.models.generate_content(model=model, contents="hello", config=config)
        assert answer.text == "hello" and answer.candidates[0].grounding_metadata.web_search_queries == ["q"]
        path, body = google.seen[-1]
        assert path.endswith("/models/g:generateContent") and body["tools"] == [{"googleSearch": {}}]
        assert body["cachedContent"] == "cachedContents/1" and body["generationConfig"]["topK"] == 3
    rows = place.rows(status="ok")
    row = place.client.call(rows[0]["call_id"])
    assert (row["provider"], row["input_tokens"], row["output_tokens"], row["reasoning_tokens"]) == ("google", 7, 3, 2)
    assert not [flag for flag in row["flags"] if flag.startswith("ignored_")]


def test_a_stream_passes_through(google: Google, gemini: genai.Client):
    pieces = list(gemini.models.generate_content_stream(model="google/g", contents="hello"))
    assert [piece.text for piece in pieces] == ["hel", "hello"] and pieces[-1].usage_metadata.thoughts_token_count == 2
    assert ":streamGenerateContent" in google.seen[-1][0]


def test_tokens_are_counted_and_texts_embedded_by_the_service(place: Served, google: Google, gemini: genai.Client):
    assert gemini.models.count_tokens(model="google/g", contents="hello").total_tokens == 42
    config = {"task_type": "RETRIEVAL_QUERY", "output_dimensionality": 2}
    found = gemini.models.embed_content(model="google/g", contents=["red", "green"], config=config)
    assert [one.values for one in found.embeddings] == [[0.5, 0.25]] * 2
    assert google.seen[-1][1]["requests"][1]["taskType"] == "RETRIEVAL_QUERY"
    assert "ignored_taskType" not in place.client.call(place.rows()[0]["call_id"])["flags"]
