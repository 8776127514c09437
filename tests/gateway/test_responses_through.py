"""A call of `/v1/responses` to a provider that speaks that wire: bytes go through, whole and in streams."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from wirekit import listening, sse

from aiplat_lab.client import connect
from aiplat_lab.core.settings import Home

ANSWER = {
    "id": "resp_1",
    "object": "response",
    "status": "completed",
    "model": "gpt-5-x",
    "output": [{"type": "message", "content": [{"type": "output_text", "text": "Hello", "annotations": [], "new": 1}]}],
    "usage": {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5, "new": {}},
    "new": {"a": 1},
}
EVENTS = [
    {"type": "response.created", "sequence_number": 0, "response": {**ANSWER, "status": "in_progress", "usage": None}},
    {"type": "response.output_text.delta", "sequence_number": 1, "output_index": 0, "delta": "Hel", "obfuscation": "x"},
    {"type": "response.new.thing", "sequence_number": 2},
    {"type": "response.output_text.delta", "sequence_number": 3, "output_index": 0, "delta": "lo"},
    {"type": "response.completed", "sequence_number": 4, "response": ANSWER},
]


def test_bytes_go_through_in_both_ways(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UP_KEY", "k")
    home = Home(tmp_path).create()
    asked = {"model": "up/gpt-5", "input": "x", "include": ["reasoning.encrypted_content"]}

    async def inside() -> list[dict[str, Any]]:
        async with listening() as upstream:
            text = f'[providers.up]\nkind = "openai-responses"\nbase_url = "{upstream.url}"\napi_key = "env:UP_KEY"\n'
            home.settings_file.write_text(text)
            client = await asyncio.to_thread(connect, home)
            try:
                http = (await asyncio.to_thread(client.status))["http"]
                key = (await asyncio.to_thread(client.post, "/api/keys", {}))["key"]
                headers = {"Authorization": f"Bearer {key}", "x-aiplat-cache": "off"}
                async with httpx.AsyncClient(base_url=http, headers=headers, timeout=20) as caller:
                    upstream.says(ANSWER)
                    whole = await caller.post("/v1/responses", json=asked)
                    assert whole.json() == ANSWER
                    assert upstream.last.body == {**asked, "model": "gpt-5"}
                    upstream.answers.clear()
                    upstream.streams(sse(*EVENTS, named=True))
                    told = await caller.post("/v1/responses", json={**asked, "stream": True})
                    events = [block for block in told.text.split("\n\n") if block]
                    assert [json.loads(block.partition("data: ")[2]) for block in events] == EVENTS
                    assert [block.splitlines()[0] for block in events] == [f"event: {event['type']}" for event in EVENTS]
                return await asyncio.to_thread(client.view_rows, "recent_calls")
            finally:
                await asyncio.to_thread(client.stop)
                client.close()

    rows = asyncio.run(inside())
    assert [(row["status"], row["input_tokens"], row["output_tokens"]) for row in rows] == [("ok", 3, 2), ("ok", 3, 2)]
