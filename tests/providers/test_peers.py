"""The real LiteLLM proxy and Portkey gateway as upstreams; only with AIPLAT_TEST_PEERS=1, since both are fetched and large."""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import peerkit
import pytest
from faults import FIXED_TEXT, FaultServer

from aiplat_lab.client import Client, connect
from aiplat_lab.core.errors import ProviderError
from aiplat_lab.core.registry import BUILT_IN
from aiplat_lab.core.settings import Home

pytestmark = [
    pytest.mark.skipif(os.environ.get("AIPLAT_TEST_PEERS") != "1", reason="AIPLAT_TEST_PEERS=1 fetches and runs the peers"),
    pytest.mark.timeout(900),
]
MODELS = ("instant", "echo", "stream-20", "tools", "cached", "status-500", "cut-stream", "embedder")
PEER = """
[providers.peer]
kind = "{kind}"
base_url = "{url}/v1"
api_key = "file:{key}"
region = "uk"
retries = 0
{headers}
"""
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}


def _kind(name: str) -> str:
    return name if ("provider", name) in BUILT_IN else "openai"


@pytest.fixture(scope="module")
def upstream() -> Iterator[FaultServer]:
    with FaultServer(key=peerkit.UPSTREAM_KEY) as server:
        yield server


def _client(folder: Path, kind: str, url: str, key: str, headers: dict[str, str]) -> Client:
    home = Home(folder / "home").create()
    (folder / "key").write_text(key)
    lines = "headers = { " + ", ".join(f'{name} = "{value}"' for name, value in headers.items()) + " }" if headers else ""
    home.settings_file.write_text(PEER.format(kind=kind, url=url, key=folder / "key", headers=lines))
    return connect(home)


@pytest.fixture(scope="module")
def litellm(upstream: FaultServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Client, str]]:
    folder = tmp_path_factory.mktemp("litellm")
    with peerkit.litellm(peerkit.litellm_venv(), upstream.url, MODELS, folder) as (url, _):
        client = _client(folder, _kind("litellm"), url, peerkit.LITELLM_KEY, {})
        yield client, url
        client.stop()


@pytest.fixture(scope="module")
def portkey(upstream: FaultServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("portkey")
    with peerkit.portkey(peerkit.portkey_folder(), folder) as (url, _):
        client = _client(folder, "openai", url, peerkit.UPSTREAM_KEY, peerkit.portkey_headers(upstream.url))
        yield client
        client.stop()


# --- LiteLLM ----------------------------------------------------------------------------------------------------------


def test_litellm_answers_and_reports_its_cost(litellm: tuple[Client, str]):
    client, url = litellm
    answer = client.chat("hello", model="peer/instant", cache="off")
    assert answer.text == FIXED_TEXT and answer.usage is not None
    assert (answer.usage.total_input_tokens, answer.usage.total_output_tokens) == (25, 20)
    body = json.dumps({"model": "instant", "messages": [{"role": "user", "content": "hello"}]}).encode()
    headers = {"Authorization": f"Bearer {peerkit.LITELLM_KEY}", "Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(f"{url}/v1/chat/completions", data=body, headers=headers), timeout=60) as reply:
        reported = Decimal(reply.headers["x-litellm-response-cost"])
    assert reported == pytest.approx(Decimal("0.0002625"))
    if _kind("litellm") == "litellm":
        assert answer.cost_usd == pytest.approx(reported), "read back from its header, where no price is known here"


def test_litellm_streams_tools_embeds_and_fails(litellm: tuple[Client, str]):
    client, _ = litellm
    with client.stream("count", model="peer/stream-20", cache="off") as pieces:
        text = "".join(piece for piece in pieces)
        answer = pieces.response
    assert text.split()[:3] == ["one", "two", "three"] and answer is not None and answer.finish_reason == "stop"
    assert answer.usage is not None and answer.usage.total_output_tokens == 20
    called = client.chat("weather?", model="peer/tools", cache="off", tools=[TOOL])
    assert called.tool_calls[0]["function"]["name"] == "weather"
    assert client.chat("hello", model="peer/cached", cache="off").usage.cache_read_tokens == 64  # type: ignore[union-attr]
    assert len(client.embed(["red", "green"], model="peer/embedder").embeddings) == 2
    with pytest.raises(ProviderError):
        client.chat("hello", model="peer/status-500", cache="off")
    with pytest.raises(ProviderError), client.stream("hello", model="peer/cut-stream", cache="off") as pieces:
        list(pieces)


# --- Portkey ----------------------------------------------------------------------------------------------------------


def test_portkey_answers(portkey: Client):
    answer = portkey.chat("hello", model="peer/instant", cache="off")
    assert answer.text == FIXED_TEXT and answer.usage is not None and answer.usage.total_output_tokens == 20
    called = portkey.chat("weather?", model="peer/tools", cache="off", tools=[TOOL])
    assert called.tool_calls[0]["function"]["name"] == "weather"
    with pytest.raises(ProviderError):
        portkey.chat("hello", model="peer/status-500", cache="off")


def test_portkey_streams_and_embeds_or_is_told_to_fail(portkey: Client):
    """The npm package 1.15.2 answers streams and embeddings with 500 on Node 20 ("TypeError: immutable" in its log).

    Whichever it does, no short answer passes for a whole one.
    """
    told = {}
    try:
        with portkey.stream("count", model="peer/stream-20", cache="off") as pieces:
            assert len("".join(piece for piece in pieces).split()) == 20
            told["stream"] = "works"
    except ProviderError as error:
        assert error.status == 500
        told["stream"] = "500"
    try:
        assert len(portkey.embed(["red", "green"], model="peer/embedder").embeddings) == 2
        told["embeddings"] = "works"
    except ProviderError as error:
        assert error.status == 500
        told["embeddings"] = "500"
    print("Portkey:", told)
