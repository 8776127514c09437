"""The table of hosts of OpenAI's wire: each row on what its host is known to send and to want."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from wirekit import TOOL, Upstream, ask, at, chat, failing, run, sse, stream

from aiplat_lab.core import registry
from aiplat_lab.core.errors import ConfigError
from aiplat_lab.core.settings import ProviderSettings, parse
from aiplat_lab.core.types import Message, Request, Usage
from aiplat_lab.providers._hosts import HOSTS, Host

ROWS = [pytest.param(host, id=host.kind) for host in HOSTS]
COUNTS = {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14}
USAGE = Usage(input_tokens=10, output_tokens=4)


def reply(text: str = "Hello", *, usage: dict[str, Any] | None = None, **message: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": text, **message}, "finish_reason": "stop"}
    return {"id": "x", "object": "chat.completion", "model": "m-1", "choices": [choice], "usage": usage or COUNTS}


def piece(delta: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "x", "object": "chat.completion.chunk", "model": "m-1", "choices": [choice], **more}


def settings_of(host: Host) -> dict[str, Any]:
    return {"headers": {"x-portkey-config": "pc-1"}} if host.kind == "portkey" else {}


def test_every_row_is_a_kind_that_settings_take() -> None:
    kinds = {host.kind for host in HOSTS}
    assert kinds == {name for (what, name), module in registry.BUILT_IN.items() if module == "aiplat_lab.providers.hosts"}
    for kind in kinds:
        made = registry.find("provider", kind)
        assert (made.host.kind, made.wire, made.lacks) == (kind, "openai.chat", made.host.lacks)


@pytest.mark.parametrize("host", ROWS)
def test_a_call_is_spelt_as_the_host_wants(host: Host) -> None:
    request = ask(messages=(Message("developer", "be brief"), *ask().messages), settings={"max_tokens": 9, "user": "u"})
    talk = chat(host.kind, reply(), request, model="m1", **settings_of(host))
    assert talk.response.text == "Hello"
    assert talk.response.usage is not None
    assert talk.response.usage.output_tokens == 4
    body, headers = talk.seen.body, talk.seen.headers
    assert body["max_completion_tokens" if host.newer_limit else "max_tokens"] == 9
    assert body["messages"][0]["role"] == ("developer" if host.developer_role else "system")
    key = headers[host.key_header.lower()]
    assert key == ("Bearer the/odd:key.1" if host.key_header == "Authorization" else "the/odd:key.1")
    assert ("authorization" in headers) is (host.key_header == "Authorization")
    assert ("user" in body) is ("user" not in host.without)
    assert ("ignored_user" in talk.response.flags) is ("user" in host.without)
    if host.model_header:
        assert headers[host.model_header] == "m1"


@pytest.mark.parametrize("host", ROWS)
def test_a_stream_gives_its_usage_in_the_hosts_own_place(host: Host) -> None:
    last: dict[str, Any] = {"usage": COUNTS}
    for name in reversed(host.usage_in):
        last = {name: COUNTS} if name == host.usage_in[-1] else {name: last}
    body = sse(piece({"role": "assistant", "content": "Hel"}), piece({"content": "lo"}), piece({}, "stop", **last), done=True)
    told = stream(host.kind, body, model="m1", **settings_of(host))
    assert (told.text, told.last("finish_reason"), told.last("usage")) == ("Hello", "stop", USAGE)
    assert ("stream_options" in told.seen.body) is host.stream_usage


@pytest.mark.parametrize("host", ROWS)
def test_what_a_host_lacks_is_refused_before_anything_is_sent(host: Host) -> None:
    asks = {
        "n": {"n": 2},
        "seed": {"seed": 1},
        "logprobs": {"logprobs": True},
        "tools": {"tools": [TOOL]},
        "json_schema": {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}},
    }

    async def script(provider: Any, upstream: Upstream) -> None:
        upstream.says(reply())
        for lack, settings in asks.items():
            before = len(upstream.seen)
            if lack in host.lacks:
                with failing("bad_request"):
                    await provider.chat(ask(settings=settings), at("m1"))
                assert len(upstream.seen) == before
            else:
                await provider.chat(ask(settings=settings), at("m1"))
                sent = upstream.last.body
                assert all(sent[host.names.get(name, name)] == value for name, value in settings.items() if name not in host.without)

    run(host.kind, script, **settings_of(host))


@pytest.mark.parametrize("host", [row for row in ROWS if row.values[0].reasoning in {"reasoning", "reasoning_content"}])
def test_what_was_thought_is_kept(host: Host) -> None:
    found = chat(host.kind, reply(**{host.reasoning: "hm"}), **settings_of(host)).response
    assert found.body is not None
    assert found.body["choices"][0]["message"][host.reasoning] == "hm"


def test_mistral_thinks_in_parts_of_its_content() -> None:
    content: Any = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "Hello"}]
    talk = chat("mistral", reply(content), ask(settings={"seed": 7}))
    assert talk.response.text == "Hello"
    assert talk.seen.body["random_seed"] == 7
    assert "seed" not in talk.seen.body


@pytest.mark.parametrize(
    ("kind", "usage", "cost"),
    [
        ("openrouter", {**COUNTS, "cost": 0.00123}, "0.00123"),
        ("perplexity", {**COUNTS, "cost": {"total_cost": 0.006}}, "0.006"),
        ("deepinfra", {**COUNTS, "estimated_cost": 1.5e-06}, "0.0000015"),
        ("litellm", {**COUNTS, "cost": "0.5"}, "0.5"),
    ],
)
def test_a_reported_cost_is_read_back(kind: str, usage: dict[str, Any], cost: str) -> None:
    found = chat(kind, reply(usage=usage)).response
    assert found.notes == {"provider-cost-usd": cost}
    assert found.usage is not None
    assert found.usage.reported_usd == Decimal(cost)
    told = stream(kind, sse(piece({"content": "x"}, "stop"), piece({}, None, usage=usage), done=True))
    assert told.last("usage").reported_usd == Decimal(cost)


def test_the_litellm_proxy_reports_in_a_header() -> None:
    found = chat("litellm", reply(), headers={"x-litellm-response-cost": "3.2e-05", "x-litellm-call-id": "c1"}).response
    assert found.notes == {"provider-cost-usd": "0.000032"}
    assert found.usage is not None
    assert found.usage.reported_usd == Decimal("0.000032")


@pytest.mark.parametrize("cost", ["", "NaN", "-1", "Infinity", "1e30", "free", True, None, [], {}])
def test_a_cost_that_is_no_amount_is_not_believed(cost: Any) -> None:
    found = chat("openrouter", reply(usage={**COUNTS, "cost": cost})).response
    assert found.notes == {}
    assert found.usage == USAGE


def test_openrouter_is_asked_for_the_cost() -> None:
    assert chat("openrouter", reply()).seen.body["usage"] == {"include": True}
    own = {"model": "m", "messages": [{"role": "user", "content": "x"}], "usage": {"include": False}}
    assert chat("openrouter", reply(), Request(model="m", wire="openai.chat", body=own)).seen.body["usage"] == {"include": False}


# --- Azure ------------------------------------------------------------------------------------------------------------


async def _azure(provider: Any, upstream: Upstream) -> list[str]:
    upstream.says(reply())
    await provider.chat(ask(), at("my deployment"))
    upstream.answers[:] = []
    upstream.says({"data": [{"index": 0, "embedding": [1.0]}]})
    await provider.embed(Request(model="m", operation="embed", inputs=("x",)), at("my deployment"))
    return [seen.path for seen in upstream.seen]


def test_azure_puts_the_deployment_into_the_address_or_speaks_v1() -> None:
    old = "/openai/deployments/my%20deployment"
    assert run("azure", _azure, api_version="2024-10-21") == [
        f"{old}/chat/completions?api-version=2024-10-21",
        f"{old}/embeddings?api-version=2024-10-21",
    ]
    assert run("azure", _azure) == ["/openai/v1/chat/completions", "/openai/v1/embeddings"]
    assert run("azure", _azure, path="/openai/v1/") == ["/openai/v1/chat/completions", "/openai/v1/embeddings"]


def test_azure_takes_a_token_of_entra_from_a_command() -> None:
    seen = chat("azure", reply(), api_key="command:echo my-entra-token").seen
    assert seen.headers["authorization"] == "Bearer my-entra-token"
    assert "api-key" not in seen.headers


def test_an_older_azure_version_teaches_the_older_name_of_the_limit() -> None:
    async def script(provider: Any, upstream: Upstream) -> list[Any]:
        upstream.says({"error": {"message": "Unrecognized request argument supplied: max_completion_tokens"}}, status=400)
        upstream.says(reply())
        await provider.chat(ask(settings={"max_tokens": 9}), at("m1"))
        await provider.chat(ask(settings={"max_tokens": 9}), at("m1"))
        return [seen.body for seen in upstream.seen]

    bodies = run("azure", script, api_version="2024-02-01")
    assert [body.get("max_tokens") for body in bodies] == [None, 9, 9]


# --- addresses, keys and headers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ROWS)
def test_an_address_is_known_or_asked_for(host: Host) -> None:
    make = registry.find("provider", host.kind)
    headers = {name: "x" for name in list(host.wants_headers)[:1]}
    if host.base_url:
        provider = make("acme", ProviderSettings(kind=host.kind, headers=headers))
        assert str(provider._endpoint._base).rstrip("/") == host.base_url.rstrip("/")
    else:
        with pytest.raises(ConfigError, match=r"providers.acme needs base_url"):
            make("acme", ProviderSettings(kind=host.kind, headers=headers))


@pytest.mark.parametrize("kind", ["portkey", "helicone"])
def test_a_gateway_without_its_header_says_which(kind: str) -> None:
    with pytest.raises(ConfigError, match=r"providers.acme needs a header for"):
        registry.find("provider", kind)("acme", ProviderSettings(kind=kind, api_key="env:X"))


def test_a_second_key_travels_in_a_header_by_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HELICONE_KEY", "sk-helicone-0123456789")

    async def script(provider: Any, upstream: Upstream) -> Any:
        upstream.says(reply())
        await provider.chat(ask(), at())
        sent = upstream.last.headers
        upstream.answers[:] = []
        upstream.says({"error": {"message": "bad key sk-helicone-0123456789"}}, status=401)
        with failing("auth", 401) as caught:
            await provider.chat(ask(), at())
        return sent, caught.value.message

    sent, message = run("helicone", script, headers={"Helicone-Auth": "Bearer env:HELICONE_KEY", "Helicone-Cache-Enabled": "true"})
    assert sent["helicone-auth"] == "Bearer sk-helicone-0123456789"
    assert sent["helicone-cache-enabled"] == "true"
    assert sent["authorization"] == "Bearer the/odd:key.1"
    assert "0123456789" not in message
    monkeypatch.delenv("HELICONE_KEY")
    with pytest.raises(ConfigError, match=r"providers.acme.headers.Helicone-Auth: the key env:HELICONE_KEY is not set"):
        run("helicone", script, headers={"Helicone-Auth": "Bearer env:HELICONE_KEY"})


def test_servers_of_ones_own_need_no_key_and_stand_here() -> None:
    assert "authorization" not in chat("ollama", reply(), api_key="").seen.headers
    text = """
[providers.here]
kind = "ollama"
[providers.there]
kind = "vllm"
base_url = "http://gpu.example.org/v1"
[providers.mistral]
kind = "mistral"
[providers.groq]
kind = "groq"
[providers.set]
kind = "mistral"
region = "uk"
"""
    settings = parse(text)
    found = {name: settings.deployments(f"{name}/m")[0].region for name in ("here", "there", "mistral", "groq", "set")}
    assert found == {"here": "local", "there": "", "mistral": "eu", "groq": "", "set": "uk"}


@pytest.mark.parametrize("host", ROWS)
def test_the_page_says_of_a_host_what_the_table_says(host: Host) -> None:
    page = (Path(__file__).parents[2] / "docs" / "providers.md").read_text(encoding="utf-8")
    (line,) = [line for line in page.splitlines() if line.startswith(f"| `{host.kind}` | {host.title} |")]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert (host.base_url or host.example) in cells[2]
    assert cells[3] == (", ".join(f"`{name}`" for name in sorted(host.lacks)) or "–")
    assert cells[4] == (", ".join(f"`{name}`" for name in sorted(host.without)) or "–")
    for word in (*host.usage_in, *host.names.values(), *host.cost_in_usage, host.cost_header, host.model_header, host.reasoning):
        assert word in cells[5]
