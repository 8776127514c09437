"""`route_sdks()`: the official SDKs' own example shapes, untouched, through a real gateway."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import pytest
from faults import FIXED_TEXT
from google import genai
from google.genai import errors, types
from peerkit import CACHE
from pydantic import BaseModel
from served import KEY, Served, served

import aiplat_lab
from aiplat_lab.client import routed
from aiplat_lab.core.errors import UsageError

ASK = [{"role": "user", "content": "one two three"}]
TABLES = """
[models.gpt-5-mini]
deployments = [{ provider = "up", model = "echo" }]
[models.gpt-tools]
deployments = [{ provider = "up", model = "tools" }]
[models.text-embedding-3-small]
deployments = [{ provider = "up", model = "embedder" }]
[models.claude-sonnet-5]
deployments = [{ provider = "claude", model = "echo" }]
[models."gemini-3.5-flash"]
deployments = [{ provider = "up", model = "echo" }]
"""
SECRET = "sk-own-0123456789abcdef0123456789abcdef"
NAMES = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "GEMINI_API_KEY", "GOOGLE_API_KEY")
SHADOWS = ("OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "AIPLAT_GATEWAY", "AIPLAT_KEY", "AIPLAT_TEAM", "AIPLAT_PROJECT", "JPY_SESSION_NAME")


class Weather(BaseModel):
    city: str
    rain: bool


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("routed") / "home", tables=TABLES) as found:
        found.client.status()
        yield found


@pytest.fixture(autouse=True)
def home(place: Served, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The environment of a kernel of this home, without any provider's key."""
    for name in (*NAMES, *SHADOWS):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AIPLAT_HOME", str(place.home.path))
    yield
    aiplat_lab.route_sdks(False)


@pytest.fixture
def on() -> aiplat_lab.client.Routing:
    return aiplat_lab.route_sdks(team="risk", project="fraud", tags={"case": "17"})


def newest(place: Served) -> dict[str, Any]:
    return place.client.call(place.rows(limit=1)[0]["call_id"])


_held: list[genai.Client] = []
"""Google's clients close themselves when nobody holds them."""


def gemini() -> genai.Client:
    _held.append(genai.Client())
    return _held[-1]


def words(stream: Any) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)


# --- OpenAI -----------------------------------------------------------------------------------------------------------


def test_openai_chat_is_booked_to_who_asks(place: Served, on: Any):
    client = openai.OpenAI()
    answer = client.chat.completions.create(model="gpt-5-mini", messages=ASK)
    assert answer.choices[0].message.content == "one two three"
    row = newest(place)
    assert (row["surface"], row["team"], row["project"], row["tags"]) == ("sdk", "risk", "fraud", {"case": "17"})
    assert row["user_id"] and row["request_model"] == "gpt-5-mini"
    assert place.upstream.requests[-1].headers["authorization"] == f"Bearer {KEY}"


def test_openai_streams_tools_and_structured_output(on: Any):
    client = openai.OpenAI()
    assert words(client.chat.completions.create(model="gpt-5-mini", messages=ASK, stream=True)) == "one two three"
    with client.chat.completions.stream(model="gpt-5-mini", messages=ASK) as events:
        assert events.get_final_completion().choices[0].message.content == "one two three"
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}]
    (call,) = client.chat.completions.create(model="gpt-tools", messages=ASK, tools=tools).choices[0].message.tool_calls
    assert json.loads(call.function.arguments) == {"city": "Leeds"}
    said = [{"role": "user", "content": '{"city": "Leeds", "rain": true}'}]
    parsed = client.chat.completions.parse(model="gpt-5-mini", messages=said, response_format=Weather)
    assert parsed.choices[0].message.parsed == Weather(city="Leeds", rain=True)


def test_openai_responses_embeddings_and_models(on: Any):
    client = openai.OpenAI()
    assert client.responses.create(model="gpt-5-mini", input="say it back").output_text == "say it back"
    with client.responses.stream(model="gpt-5-mini", input="say it back") as events:
        assert [one.type for one in events][-1] == "response.completed"
    parsed = client.responses.parse(model="gpt-5-mini", input='{"city": "York", "rain": false}', text_format=Weather)
    assert parsed.output_parsed == Weather(city="York", rain=False)
    assert len(client.embeddings.create(model="text-embedding-3-small", input=["red", "green"]).data) == 2
    assert "gpt-5-mini" in {one.id for one in client.models.list()}


def test_openai_async(place: Served, on: Any):
    async def ask() -> tuple[str, str, str]:
        async with openai.AsyncOpenAI() as client:
            whole = await client.chat.completions.create(model="gpt-5-mini", messages=ASK)
            pieces = await client.chat.completions.create(model="gpt-5-mini", messages=ASK, stream=True)
            said = "".join([chunk.choices[0].delta.content or "" async for chunk in pieces if chunk.choices])
            many = await asyncio.gather(*(client.responses.create(model="gpt-5-mini", input=f"n{number}") for number in range(5)))
            return whole.choices[0].message.content or "", said, " ".join(one.output_text for one in many)

    for _ in range(2):  # each run has an event loop of its own
        assert asyncio.run(ask()) == ("one two three", "one two three", "n0 n1 n2 n3 n4")
    assert newest(place)["project"] == "fraud"


# --- Anthropic and Google ---------------------------------------------------------------------------------------------


def test_anthropic_messages_streams_counts_and_lists(place: Served, on: Any):
    client = anthropic.Anthropic()
    about = {"model": "claude-sonnet-5", "max_tokens": 50, "messages": ASK}
    assert client.messages.create(**about).content[0].text == "one two three"
    assert newest(place)["team"] == "risk"
    with client.messages.stream(**about) as stream:
        assert "".join(stream.text_stream) == "one two three"
        assert stream.get_final_message().stop_reason == "end_turn"
    assert client.messages.create(**about, stream=True).__class__.__name__ == "Stream"
    assert client.messages.count_tokens(model="claude-sonnet-5", messages=ASK).input_tokens > 0
    assert "claude-sonnet-5" in {one.id for one in client.models.list()}

    async def ask() -> str:
        async with anthropic.AsyncAnthropic() as later, later.messages.stream(**about) as events:
            return "".join([text async for text in events.text_stream])

    assert asyncio.run(ask()) == "one two three"


@pytest.mark.parametrize("library", ["httpx", "httpx2"])
def test_google_contents_streams_counts_and_embeds(place: Served, on: Any, monkeypatch: pytest.MonkeyPatch, library: str):
    monkeypatch.setenv("GOOGLE_GENAI_HTTP_CLIENT", library)
    with genai.Client() as client:
        assert client.models.generate_content(model="gemini-3.5-flash", contents="say it").text == "say it"
        row = newest(place)
        assert (row["surface"], row["team"], row["request_model"]) == ("sdk", "risk", "gemini-3.5-flash")
        pieces = client.models.generate_content_stream(model="gemini-3.5-flash", contents="say it")
        assert "".join(piece.text or "" for piece in pieces) == "say it"
        assert client.models.count_tokens(model="gemini-3.5-flash", contents="say it").total_tokens > 0
        assert len(client.models.embed_content(model="text-embedding-3-small", contents=["a", "b"]).embeddings) == 2
        chat = client.chats.create(model="gemini-3.5-flash")
        assert chat.send_message("and a chat").text == "and a chat"
    stable = types.HttpOptions(api_version="v1")
    with genai.Client(http_options=stable) as client:
        assert client.models.generate_content(model="gemini-3.5-flash", contents="v1").text == "v1"


def test_google_async_goes_by_aiohttp(place: Served, on: Any):
    async def ask() -> list[str]:
        async with genai.Client().aio as client:
            whole = await client.models.generate_content(model="gemini-3.5-flash", contents="say it")
            pieces = await client.models.generate_content_stream(model="gemini-3.5-flash", contents="a b c")
            return [whole.text or "", *[piece.text or "" async for piece in pieces]]

    assert "".join(asyncio.run(ask())) == "say ita b c"
    assert newest(place)["tags"] == {"case": "17"}


# --- errors -----------------------------------------------------------------------------------------------------------


def test_errors_have_the_types_of_the_sdk_and_name_the_table(on: Any):
    for model in ("nobody/gpt-9", "unknown-model"):
        with pytest.raises(openai.NotFoundError, match=r"\[models\]"):
            openai.OpenAI().chat.completions.create(model=model, messages=ASK)
    with pytest.raises(anthropic.NotFoundError, match=r"\[models\]"):
        anthropic.Anthropic().messages.create(model="nobody/claude", max_tokens=5, messages=ASK)
    with pytest.raises(errors.ClientError, match=r"\[models\]"):
        gemini().models.generate_content(model="gemini-9", contents="x")
    with pytest.raises(openai.NotFoundError, match="no route /v1/images/generations"):
        openai.OpenAI().images.generate(model="gpt-image", prompt="a lamp")


def test_a_name_that_stands_nowhere_is_asked_at_the_provider_of_its_kind(place: Served, on: Any):
    assert openai.OpenAI().chat.completions.create(model="instant", messages=ASK).choices[0].message.content == FIXED_TEXT
    assert newest(place)["request_model"] == "up/instant"


def test_a_rule_of_the_team_holds(on: Any):
    aiplat_lab.route_sdks(team="london")
    with pytest.raises(anthropic.PermissionDeniedError, match="may compute in uk only"):
        anthropic.Anthropic().messages.create(model="claude-sonnet-5", max_tokens=5, messages=ASK)
    aiplat_lab.route_sdks(team="poor")
    with pytest.raises(openai.APIStatusError) as caught:
        openai.OpenAI().chat.completions.create(model="priced", messages=ASK)
    assert (caught.value.status_code, caught.value.code) == (402, "insufficient_quota")


def test_a_gateway_that_cannot_start_is_said_in_the_words_of_each_sdk(tmp_path: Path, on: Any, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "aiplat.toml").write_text("not toml at all =")
    monkeypatch.setenv("AIPLAT_HOME", str(tmp_path))
    with pytest.raises(openai.InternalServerError, match=r"aiplat\.toml") as caught:
        openai.OpenAI().chat.completions.create(model="gpt-5-mini", messages=ASK)
    assert caught.value.status_code == 503
    with pytest.raises(anthropic.APIStatusError, match=r"aiplat\.toml"):
        anthropic.Anthropic().messages.create(model="claude-sonnet-5", max_tokens=5, messages=ASK)
    with pytest.raises(errors.ServerError, match=r"aiplat\.toml"):
        gemini().models.generate_content(model="gemini-3.5-flash", contents="x")


# --- on and off -------------------------------------------------------------------------------------------------------


def test_it_is_idempotent_and_leaves_nothing_behind(place: Served):
    before = [httpx.Client._send_single_request, httpx.AsyncClient._transport_for_url]
    first = aiplat_lab.route_sdks(project="first")
    second = aiplat_lab.route_sdks(project="second")
    assert (first.active, second.active, routed()) == (False, True, second)
    client = openai.OpenAI()
    client.chat.completions.create(model="gpt-5-mini", messages=ASK)
    assert newest(place)["project"] == "second"
    assert os.environ["OPENAI_API_KEY"] == "aiplat-no-key-needed"
    first.off()  # is over already
    assert second.active and "project second" in repr(second)
    assert "go where they went before" in repr(aiplat_lab.route_sdks(False))
    assert [name for name in NAMES if name in os.environ] == []
    assert [httpx.Client._send_single_request, httpx.AsyncClient._transport_for_url] == before
    assert aiplat_lab.route_sdks(False).active is False


def test_a_block_gives_back_what_was_before(place: Served, on: Any):
    client = openai.OpenAI()
    with aiplat_lab.route_sdks(project="inner"):
        client.chat.completions.create(model="gpt-5-mini", messages=ASK)
        assert newest(place)["project"] == "inner"
    client.chat.completions.create(model="gpt-5-mini", messages=ASK)
    assert newest(place)["project"] == "fraud" and on.active


def test_a_client_that_was_made_before_is_routed_and_a_patch_of_others_survives(place: Served, monkeypatch: pytest.MonkeyPatch):
    client = openai.OpenAI(api_key=SECRET)
    aiplat_lab.route_sdks(project="before")
    ours, seen = httpx.Client._send_single_request, []

    def theirs(self: Any, request: Any) -> Any:
        seen.append(request.url.path)
        return ours(self, request)

    httpx.Client._send_single_request = theirs
    try:
        assert client.chat.completions.create(model="gpt-5-mini", messages=ASK).choices[0].message.content == "one two three"
        assert newest(place)["project"] == "before"
        aiplat_lab.route_sdks(False)
        assert httpx.Client._send_single_request is theirs
        reply = httpx.get(f"{place.http}/healthz")
        assert reply.status_code == 200 and seen[-1] == "/healthz"
        aiplat_lab.route_sdks()
        aiplat_lab.route_sdks(False)
    finally:
        httpx.Client._send_single_request = ours
        aiplat_lab.route_sdks(False)


def test_the_cache_is_used_when_asked(place: Served):
    aiplat_lab.route_sdks(cache="on")
    said = [{"role": "user", "content": "kept in the ledger"}]
    states = [openai.OpenAI().chat.completions.with_raw_response.create(model="gpt-5-mini", messages=said) for _ in range(2)]
    assert [one.headers["x-aiplat-cache"] for one in states] == ["miss", "hit"]
    for wrong in ({"cache": "onn"}, {"also": ["llm.internal"]}):
        with pytest.raises(UsageError, match=r"onn|base URLs"):
            aiplat_lab.route_sdks(**wrong)


def test_other_base_urls_are_left_alone_or_routed_by_option(place: Served, on: Any):
    client = openai.OpenAI(base_url=f"{place.upstream.url}/v1", api_key=KEY)
    before = len(place.rows())
    assert client.chat.completions.create(model="echo", messages=ASK).choices[0].message.content == "one two three"
    assert len(place.rows()) == before
    aiplat_lab.route_sdks(also=[f"{place.upstream.url}/v1/"])
    assert client.chat.completions.create(model="gpt-5-mini", messages=ASK).choices[0].message.content == "one two three"
    assert len(place.rows()) == before + 1


def test_what_is_faked_for_tests_stays_faked(place: Served, on: Any):
    said = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": []}
    fake = httpx.Client(transport=httpx.MockTransport(lambda request: httpx.Response(200, json={**said, "model": request.url.host})))
    assert openai.OpenAI(http_client=fake).chat.completions.create(model="m", messages=ASK).model == "api.openai.com"


# --- secrets and places -----------------------------------------------------------------------------------------------


class Door:
    """A shared gateway that keeps what it is sent."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, str]]] = []
        seen = self.seen

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                seen.append((self.path, dict(self.headers.items())))
                raw = b'{"error": {"message": "seen", "code": 400, "status": "INVALID_ARGUMENT"}}'
                self.send_response(400)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *_: Any) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def test_a_key_of_the_environment_is_sent_nowhere(place: Served, monkeypatch: pytest.MonkeyPatch):
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.setenv(name, SECRET)
    monkeypatch.setenv("OPENAI_ORG_ID", "org-secret")
    door = Door()
    monkeypatch.setenv("AIPLAT_GATEWAY", door.url + "/shared")
    monkeypatch.setenv("AIPLAT_KEY", "aiplat-virtual-0123456789")
    aiplat_lab.route_sdks(project="line\nbreak", tags={"a,b": "c=d", "näme": "wert"})
    for ask in (
        lambda: openai.OpenAI().chat.completions.create(model="m", messages=ASK),
        lambda: anthropic.Anthropic().messages.create(model="m", max_tokens=5, messages=ASK),
        lambda: gemini().models.generate_content(model="m", contents="x"),
        lambda: asyncio.run(gemini().aio.models.generate_content(model="m", contents="x")),
        lambda: httpx.post(
            f"https://generativelanguage.googleapis.com/v1beta/models/m:generateContent?key={SECRET}", json={}
        ).raise_for_status(),
    ):
        with pytest.raises(Exception, match=r"seen|400"):
            ask()
    door.server.shutdown()
    door.server.server_close()
    assert [path.partition("?")[0] for path, _ in door.seen] == [
        "/shared/v1/chat/completions",
        "/shared/v1/messages",
        *["/shared/v1beta/models/m:generateContent"] * 3,
    ]
    for path, headers in door.seen:
        assert SECRET not in path and SECRET not in str(headers) and "org-secret" not in str(headers)
        assert headers["Authorization"] == "Bearer aiplat-virtual-0123456789"
        assert headers["x-aiplat-project"] == "line break" and headers["x-aiplat-tags"].startswith("a b=c d,")
    assert all(os.environ[name] == SECRET for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY"))


def test_a_proxy_of_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
        monkeypatch.setenv(name.lower(), "http://127.0.0.1:9")
    aiplat_lab.route_sdks()
    assert openai.OpenAI().chat.completions.create(model="gpt-5-mini", messages=ASK).choices[0].message.content == "one two three"


def test_a_gateway_that_went_away_is_started_again(place: Served, on: Any):
    client = openai.OpenAI(max_retries=0)
    later = genai.Client()
    first = place.client.status()["pid"]
    client.chat.completions.create(model="gpt-5-mini", messages=ASK)
    place.client.stop()
    assert client.chat.completions.create(model="gpt-5-mini", messages=ASK).choices[0].message.content == "one two three"
    assert place.client.status()["pid"] != first
    place.client.stop()
    assert asyncio.run(later.aio.models.generate_content(model="gemini-3.5-flash", contents="back")).text == "back"


def test_threads_share_it(place: Served, on: Any):
    client, said = openai.OpenAI(), []

    def ask(number: int) -> None:
        said.append(client.responses.create(model="gpt-5-mini", input=f"n{number}").output_text)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(said) == [f"n{number}" for number in range(8)]


FRESH = """
import os, sys
import aiplat_lab
aiplat_lab.route_sdks(project="fresh")
assert not {"openai", "anthropic", "httpx", "httpx2", "google.genai", "aiohttp", "polars"} & set(sys.modules), "it loads nothing"
import openai, httpx2
assert type(httpx2.__spec__.loader).__name__ == "SourceFileLoader"
client = openai.OpenAI()
def ask(text):
    said = client.chat.completions.create(model="gpt-5-mini", messages=[{"role": "user", "content": text}])
    return said.choices[0].message.content
print(ask("parent"), flush=True)
child = os.fork()
if not child:
    print(ask("forked"), flush=True)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
print(ask("parent again"), flush=True)
aiplat_lab.route_sdks(False)
import subprocess
print(subprocess.run([sys.executable, "-c", "import os; print(os.environ.get('OPENAI_API_KEY'))"], capture_output=True, text=True).stdout)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="forks")
def test_a_fresh_process_loads_no_sdk_meets_it_later_and_may_fork(place: Served):
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(FRESH)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:4] == ["parent", "forked", "parent again", "None"]
    assert {row["project"] for row in place.rows(limit=3)} == {"fresh"}


LITELLM = """
import asyncio, sys
sys.path.insert(0, sys.argv[1])
import aiplat_lab
aiplat_lab.route_sdks(project="lite")
import litellm
litellm.suppress_debug_info = True
ask = [{"role": "user", "content": "by litellm"}]
for model in ("openai/gpt-5-mini", "anthropic/claude-sonnet-5", "gemini/gemini-3.5-flash"):
    print(litellm.completion(model=model, messages=ask).choices[0].message.content)
    print("".join(c.choices[0].delta.content or "" for c in litellm.completion(model=model, messages=ask, stream=True)))
    print(asyncio.run(litellm.acompletion(model=model, messages=ask)).choices[0].message.content)
try:
    litellm.completion(model="openai/unknown-model", messages=ask)
except litellm.NotFoundError as error:
    print("[models]" in str(error))
"""


@pytest.mark.skipif(not os.environ.get("AIPLAT_TEST_PEERS"), reason="AIPLAT_TEST_PEERS=1 asks for LiteLLM in a venv of its own")
def test_litellm(place: Served):
    python = CACHE / "litellm" / "bin" / "python"
    if not python.exists():
        pytest.skip("tests/peerkit.py has not fetched it")
    place.client.status()
    about = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    root = str(Path(__file__).parents[2])
    done = subprocess.run([python, "-c", LITELLM, root], capture_output=True, text=True, timeout=120, env=about, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:10] == ["by litellm"] * 9 + ["True"]
    assert {row["surface"] for row in place.rows(project="lite")} == {"sdk"}
