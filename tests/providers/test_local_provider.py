"""The embedded models as a provider: real weights, real worker processes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from aiplat_lab.client import connect
from aiplat_lab.core.errors import ConfigError, ProviderError
from aiplat_lab.core.registry import find
from aiplat_lab.core.settings import Home, ProviderSettings
from aiplat_lab.core.types import Chunk, Deployment, Message, Request, Response
from aiplat_lab.providers.local import Local, check
from aiplat_lab.providers.weights import CATALOGUE

pytestmark = pytest.mark.local_model

SETTINGS = ProviderSettings(kind="local", region="local")
TICKETS = (
    "Ticket: The invoice shows the wrong amount.\nTeam: billing\n\n"
    "Ticket: The app closes when I press save.\nTeam: technical\n\n"
    "Ticket: My card was charged for a plan I cancelled.\nTeam: billing\n\n"
    "Ticket: The screen stays black after the update.\nTeam: technical\n\n"
    "Ticket: I was charged twice this month.\nTeam:"
)


def at(model: str = "smollm2", **more: Any) -> Deployment:
    return Deployment(provider="local", model=model, region="local", **more)


def ask(text: str = "Say hello.", **settings: Any) -> Request:
    return Request(model="smollm2", messages=(Message("user", text),), settings={"temperature": 0, "max_tokens": 12, **settings})


def completion(text: str = TICKETS, **settings: Any) -> Request:
    return ask(text, completion=True, **{"max_tokens": 4, "stop": ["\n"], **settings})


def embedding(*texts: str, **more: Any) -> Request:
    return Request(model="minilm", operation="embed", inputs=texts, **more)


def run(use: Callable[[Local], Awaitable[Any]], settings: ProviderSettings = SETTINGS, **more: Any) -> Any:
    """What `use` gives, with a provider of its own that is closed after."""

    async def inside() -> Any:
        provider = Local("local", settings, **more)
        try:
            return await use(provider)
        finally:
            await provider.aclose()

    return asyncio.run(inside())


async def pieces(provider: Local, request: Request, deployment: Deployment) -> list[Chunk]:
    async with provider.stream(request, deployment) as chunks:
        return [chunk async for chunk in chunks]


def cpu_s(pid: int) -> float:
    """Processor seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def servers(of: int) -> list[int]:
    """The text workers that are children of a process."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == of and b"_local_serve.py" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found


def gone(pid: int, within_s: float = 3.0) -> bool:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        try:
            if "Z" in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2][:3]:
                return True
        except OSError:
            return True
        time.sleep(0.02)
    return False


# --- answers ----------------------------------------------------------------------------------------------------------


def test_it_is_registered() -> None:
    assert find("provider", "local") is Local


def test_a_chat(local: Local) -> None:
    response = asyncio.run(local.chat(ask(), at()))
    assert response.text
    assert response.finish_reason in {"stop", "length"}
    assert (response.provider, response.region, response.response_model) == ("local", "local", "smollm2-135m")
    assert response.usage is not None
    assert 0 < response.usage.total_output_tokens <= 12
    assert response.usage.total_input_tokens > 10
    assert response.flags == ()


def test_a_completion_continues_the_text_and_is_right(local: Local) -> None:
    response = asyncio.run(local.chat(completion(), at()))
    assert response.text.strip() == "billing"
    assert response.finish_reason == "stop"
    assert response.response_model == "smollm2-135m"


@pytest.mark.parametrize("make", [ask, completion])
def test_a_stream_says_what_the_whole_answer_says(local: Local, make: Callable[..., Request]) -> None:
    whole: Response = asyncio.run(local.chat(make(), at()))
    chunks = asyncio.run(pieces(local, make(), at()))
    assert "".join(chunk.text for chunk in chunks) == whole.text
    assert sum(bool(chunk.text) for chunk in chunks) > 0
    assert [chunk.finish_reason for chunk in chunks if chunk.finish_reason] == [whole.finish_reason]
    usage = next(chunk.usage for chunk in chunks if chunk.usage)
    assert whole.usage is not None
    assert usage.total_input_tokens == whole.usage.total_input_tokens
    assert usage.total_output_tokens == whole.usage.total_output_tokens


def test_cached_input_is_counted_as_such(local: Local) -> None:
    prompt = "The quick brown fox jumps over the lazy dog, twice a day. " * 5
    usages = [asyncio.run(local.chat(completion(prompt), at())).usage for _ in range(2)]
    assert usages[0].total_input_tokens == usages[1].total_input_tokens
    assert usages[1].cache_read_tokens > 40


def test_greedy_answers_are_the_same_twenty_times(local: Local) -> None:
    async def all_at_once() -> list[Response]:
        return await asyncio.gather(*(local.chat(completion(TICKETS, stop=None, max_tokens=10), at()) for _ in range(20)))

    assert len({response.text for response in asyncio.run(all_at_once())}) == 1


def test_a_json_schema_is_kept(local: Local) -> None:
    schema = {
        "type": "object",
        "properties": {"team": {"enum": ["billing", "technical"]}},
        "required": ["team"],
        "additionalProperties": False,
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "ticket", "schema": schema}}
    for make in (ask, completion):
        response = asyncio.run(local.chat(make(TICKETS, response_format=wanted, max_tokens=20, stop=None), at()))
        assert json.loads(response.text)["team"] in {"billing", "technical"}


def test_a_caller_of_the_same_wire_gets_its_body(local: Local) -> None:
    for more in ({}, {"completion": True, "logprobs": True}):
        body = {"model": "smollm2", "messages": [{"role": "user", "content": TICKETS}], "max_tokens": 3, "temperature": 0, **more}
        settings = {name: value for name, value in body.items() if name not in {"model", "messages"}}
        request = Request(model="smollm2", messages=(Message("user", TICKETS),), settings=settings, wire="openai.chat", body=body)
        response = asyncio.run(local.chat(request, at()))
        assert response.body is not None
        assert response.body["object"] == "chat.completion"
        assert response.body["choices"][0]["message"]["content"] == response.text
        assert response.body["model"] == "smollm2-135m"
        assert bool(response.body["choices"][0].get("logprobs")) is bool(more)
        chunks = asyncio.run(pieces(local, request, at()))
        assert {chunk.body["object"] for chunk in chunks if chunk.body} == {"chat.completion.chunk"}


def test_an_answer_without_a_limit_gets_the_deployments_limit(local: Local) -> None:
    request = Request(
        model="smollm2", messages=(Message("user", "1 2 3 4"),), settings={"completion": True, "temperature": 0, "ignore_eos": True}
    )
    response = asyncio.run(local.chat(request, at(max_output_tokens=5)))
    assert response.usage.total_output_tokens == 5
    assert response.finish_reason == "length"


def test_siblings_name_what_was_done_to_them(local: Local) -> None:
    lite = asyncio.run(local.chat(completion(), at("smollm2-lite")))
    assert lite.response_model == "smollm2-135m-lite (layer 25 removed for demonstration)"
    assert lite.text.strip() == "billing"


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_a_prompt_that_is_too_long(local: Local) -> None:
    for make in (ask, completion):
        with pytest.raises(ProviderError, match=r"the prompt has \d{4} tokens, and smollm2 takes 2048") as caught:
            asyncio.run(local.chat(make("one two three " * 1000), at()))
        assert (caught.value.reason, caught.value.status, caught.value.retryable) == ("context_length", 400, False)
        with pytest.raises(ProviderError, match="takes 2048"):
            asyncio.run(pieces(local, make("one two three " * 1000), at()))


@pytest.mark.parametrize(
    ("request_", "model", "says"),
    [
        (ask(tools=[{"type": "function", "function": {"name": "f"}}]), "smollm2", "cannot call tools. Leave tools out"),
        (ask(), "minilm", "makes embeddings and writes no text"),
        (Request(model="x", messages=(Message("user", ({"type": "image_url"},)),)), "smollm2", "reads text only"),
        (ask(temperature="warm"), "smollm2", "refused (400)"),
    ],
)
def test_what_it_cannot_do(local: Local, request_: Request, model: str, says: str) -> None:
    with pytest.raises(ProviderError) as caught:
        asyncio.run(local.chat(request_, at(model)))
    assert says in caught.value.message
    assert (caught.value.reason, caught.value.retryable) == ("bad_request", False)


@pytest.mark.parametrize(
    ("request_", "model", "says"),
    [
        (embedding("a"), "smollm2", "minilm makes embeddings"),
        (embedding(), "minilm", "the request holds none"),
        (embedding("a", settings={"dimensions": 64}), "minilm", "has 384 dimensions"),
    ],
)
def test_what_it_cannot_embed(local: Local, request_: Request, model: str, says: str) -> None:
    with pytest.raises(ProviderError) as caught:
        asyncio.run(local.embed(request_, at(model)))
    assert says in caught.value.message
    assert caught.value.reason == "bad_request"


def test_an_unknown_model(local: Local) -> None:
    with pytest.raises(ConfigError, match=r"no embedded model 'smolm2'.*Did you mean smollm2"):
        asyncio.run(local.chat(ask(), at("smolm2")))


@pytest.mark.parametrize("more", [{"threads": 0}, {"slots": 99}])
def test_settings_out_of_range(more: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=rf"providers.local.{next(iter(more))} must be between 1 and"):
        Local("local", ProviderSettings(kind="local", **more))


# --- cancelling -------------------------------------------------------------------------------------------------------


def endless(make: Callable[..., Request]) -> Request:
    return make("1 2 3 4", max_tokens=1000, stop=None, ignore_eos=True)


def computes_on(pid: int) -> float:
    """Processor seconds that the worker uses from 1.5 s after now, in one second."""
    time.sleep(1.5)
    before = cpu_s(pid)
    time.sleep(1.0)
    return cpu_s(pid) - before


@pytest.mark.slow
@pytest.mark.parametrize("make", [ask, completion])
def test_leaving_a_stream_stops_the_worker(local: Local, make: Callable[..., Request]) -> None:
    async def leave() -> None:
        async with local.stream(endless(make), at()) as chunks:
            async for chunk in chunks:
                if chunk.text:
                    return

    asyncio.run(leave())
    assert computes_on(local.workers()["smollm2"]) < 0.15


@pytest.mark.slow
@pytest.mark.parametrize("make", [ask, completion])
def test_cancelling_a_plain_call_stops_the_worker(local: Local, make: Callable[..., Request]) -> None:
    async def cancel() -> None:
        await local.chat(ask(), at())
        task = asyncio.create_task(local.chat(endless(make), at()))
        await asyncio.sleep(0.5)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert computes_on(local.workers()["smollm2"]) < 0.15


def test_a_call_that_takes_too_long(local: Local) -> None:
    with pytest.raises(ProviderError) as caught:
        asyncio.run(local.chat(endless(ask), at(timeout_s=0.5)))
    assert caught.value.reason == "timeout"


# --- the worker -------------------------------------------------------------------------------------------------------


def test_many_first_calls_start_one_worker(weights: Path) -> None:
    async def use(provider: Local) -> None:
        begun, before = time.monotonic(), servers(os.getpid())
        answers = await asyncio.gather(*(provider.chat(completion(), at()) for _ in range(10)))
        assert {answer.text.strip() for answer in answers} == {"billing"}
        assert time.monotonic() - begun < 20
        assert list(provider.workers()) == ["smollm2"]
        pid = provider.workers()["smollm2"]
        assert [one for one in servers(os.getpid()) if one not in before] == [pid]
        await provider.aclose()
        assert gone(pid)

    run(use)


def test_a_killed_worker_is_told_and_replaced(weights: Path) -> None:
    async def use(provider: Local) -> None:
        await provider.chat(completion(), at())
        first = provider.workers()["smollm2"]
        task = asyncio.create_task(provider.chat(endless(ask), at()))
        await asyncio.sleep(0.5)
        os.kill(first, signal.SIGKILL)
        with pytest.raises(
            ProviderError, match=r"the worker process of smollm2 ended in the middle of the call \(signal SIGKILL"
        ) as caught:
            await task
        assert caught.value.retryable
        begun = time.monotonic()
        assert (await provider.chat(completion(), at())).text.strip() == "billing"
        assert time.monotonic() - begun < 10
        assert provider.workers()["smollm2"] != first
        with pytest.raises(ProviderError, match="ended in the middle") as caught:
            async with provider.stream(endless(completion), at()) as chunks:
                async for _ in chunks:
                    os.kill(provider.workers()["smollm2"], signal.SIGKILL)
                    await asyncio.sleep(0.1)
        assert caught.value.reason == "cut_off"
        unseen = await _pid_after_a_call(provider)
        os.kill(unseen, signal.SIGKILL)
        while provider.workers():
            await asyncio.sleep(0.01)
        assert (await provider.chat(completion(), at())).text.strip() == "billing"

    run(use)


async def _pid_after_a_call(provider: Local) -> int:
    await provider.chat(completion(), at())
    return provider.workers()["smollm2"]


@pytest.mark.slow
def test_two_models_are_kept_and_the_oldest_makes_room(weights: Path) -> None:
    async def use(provider: Local) -> None:
        for model in ("smollm2", "smollm2-lite", "smollm2-broken"):
            await provider.chat(completion(), at(model))
        assert sorted(provider.workers()) == ["smollm2-broken", "smollm2-lite"]
        busy = [
            asyncio.create_task(provider.chat(completion(TICKETS, max_tokens=40, stop=None, ignore_eos=True), at(m)))
            for m in provider.workers()
        ]
        await asyncio.sleep(0.05)
        waiting = asyncio.create_task(provider.chat(completion(), at("smollm2")))
        await asyncio.gather(*busy)
        assert (await waiting).text.strip() == "billing"
        assert len(provider.workers()) == 2

    run(use)


@pytest.mark.slow
def test_an_idle_worker_is_ended_and_started_again(weights: Path) -> None:
    async def use(provider: Local) -> None:
        pid = await _pid_after_a_call(provider)
        await asyncio.sleep(2.5)
        assert provider.workers() == {}
        assert gone(pid)
        assert await _pid_after_a_call(provider) != pid

    run(use, idle_s=1.0)


ORPHAN = """
import asyncio, os, signal, sys
from test_local_provider import Local, SETTINGS, _pid_after_a_call
provider = Local("local", SETTINGS)
print(asyncio.run(_pid_after_a_call(provider)), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_worker_ends_with_its_killed_parent(weights: Path) -> None:
    words = [sys.executable, "-c", f"import sys; sys.path[:0] = {[str(Path(__file__).parent)]!r}\n{ORPHAN}"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert gone(int(done.stdout))


def test_the_worker_is_closed_to_others(local: Local) -> None:
    asyncio.run(local.chat(completion(), at()))
    door = local._doors["smollm2"]
    key, url = door.worker.said["key"], door.worker.said["url"]
    for file in ("cmdline", "environ"):
        assert key.encode() not in Path(f"/proc/{door.worker.pid}/{file}").read_bytes()
    assert url.startswith("http://127.0.0.1:")
    for path in ("/v1/models", "/slots", "/props", "/metrics"):
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(url + path)
        assert caught.value.code == 401
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(urllib.request.Request(f"{url}/v1/models", headers={"Origin": "https://example.org"}))
    assert caught.value.headers.get("Access-Control-Allow-Origin") in (None, "")


def failing(match: str, kind: type[Exception] = ConfigError) -> str:
    with pytest.raises(kind, match=match) as caught:
        run(lambda provider: provider.chat(completion(), at()))
    return str(caught.value)


@pytest.mark.parametrize(
    ("raised", "says"),
    [
        (
            "ImportError('libgomp.so.1: cannot open shared object file: No such file or directory')",
            r"libgomp.so.1 is missing.*apt-get install libgomp1",
        ),
        ("ModuleNotFoundError('No module named xllamacpp', name='xllamacpp')", r'pip install "aiplat-lab\[local\]"'),
        ("ImportError('undefined symbol: x')", r"undefined symbol: x.*--force-reinstall"),
        ("SystemExit(3)", "ended before it was ready"),
    ],
)
def test_a_worker_that_cannot_start(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raised: str, says: str) -> None:
    (tmp_path / "xllamacpp.py").write_text(f"raise {raised}\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    failing(says, ProviderError if "Exit" in raised else ConfigError)


def test_weights_that_are_missing_or_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIPLAT_MODELS", str(tmp_path))
    failing("run `aiplat model pull smollm2`")
    with pytest.raises(ConfigError, match="run `aiplat model pull minilm`"):
        run(lambda provider: provider.embed(embedding("a"), at("minilm")))
    for name, model in (("smollm2", "smollm2"), ("minilm", "minilm")):
        (tmp_path / name).mkdir()
        for file in CATALOGUE[name].files:
            with (tmp_path / name / file.name).open("wb") as out:
                out.truncate(file.size_bytes)
        with pytest.raises(ProviderError, match=f"{model} cannot be loaded"):
            run(
                lambda provider, model=model: (
                    provider.embed(embedding("a"), at(model)) if model == "minilm" else provider.chat(ask(), at(model))
                )
            )


def test_check_makes_the_models_work(weights: Path, embedding_weights: Path) -> None:
    text, vectors = check("smollm2"), check("minilm")
    assert text.tokens == 8
    assert text.seconds < 30
    assert vectors.tokens > 3
    if sys.platform == "linux":
        assert 150e6 < text.rss_bytes < 300e6
        assert vectors.rss_bytes < 250e6


# --- embeddings -------------------------------------------------------------------------------------------------------


def test_embeddings(local: Local, embedding_weights: Path) -> None:
    texts = [f"Sentence number {n}" for n in range(20)] + ["This is an example sentence"]
    response = asyncio.run(local.embed(embedding(*texts), at("minilm")))
    assert len(response.embeddings) == 21
    assert response.embeddings[20][:4] == pytest.approx([0.0677, 0.0635, 0.0487, 0.0793], abs=5e-5)
    assert all(sum(x * x for x in vector) == pytest.approx(1, abs=1e-5) for vector in response.embeddings)
    alone = asyncio.run(local.embed(embedding(texts[3]), at("minilm")))
    assert alone.embeddings[0] == pytest.approx(response.embeddings[3], abs=1e-6)
    assert alone.usage.total_input_tokens == 5
    assert alone.usage.total_output_tokens == 0
    assert (response.response_model, response.finish_reason, response.flags) == ("all-MiniLM-L6-v2", "stop", ())
    assert asyncio.run(local.embed(embedding("word " * 300), at("minilm"))).flags == ("truncated",)


def test_embedding_does_not_hold_up_the_loop(local: Local, embedding_weights: Path) -> None:
    async def inside() -> float:
        await local.embed(embedding("warm"), at("minilm"))
        task = asyncio.create_task(local.embed(embedding(*["some longer words here " * 20] * 24), at("minilm")))
        worst, last = 0.0, time.monotonic()
        while not task.done():
            await asyncio.sleep(0.01)
            worst, last = max(worst, time.monotonic() - last), time.monotonic()
        await task
        return worst

    assert asyncio.run(inside()) < 0.5
    assert "numpy" not in sys.modules or "aiplat_lab.providers._local_minilm" in sys.modules


def test_a_cancelled_embedding_stops(local: Local, embedding_weights: Path) -> None:
    async def inside() -> None:
        with pytest.raises(ProviderError, match=r"had embedded \d+ of 800 texts after 0.5 s") as caught:
            await local.embed(embedding(*["some words " * 60] * 800, timeout_s=0.5), at("minilm"))
        assert caught.value.reason == "timeout"
        begun = time.monotonic()
        await local.embed(embedding("next"), at("minilm"))
        assert time.monotonic() - begun < 3

    asyncio.run(inside())


def test_a_killed_embedding_worker_is_replaced(local: Local, embedding_weights: Path) -> None:
    asyncio.run(local.embed(embedding("a"), at("minilm")))
    pid = local.workers()["minilm"]
    os.kill(pid, signal.SIGKILL)
    while "minilm" in local.workers():
        time.sleep(0.01)
    response = asyncio.run(local.embed(embedding("a"), at("minilm")))
    assert len(response.embeddings) == 1


def test_the_gateway_loads_no_numpy_for_it() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import sys, aiplat_lab.providers.local; print('numpy' in sys.modules, 'xllamacpp' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["False", "False"]


# --- behind the gateway -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_gateway_tries_again_after_a_killed_worker(home: Home, weights: Path) -> None:
    with connect(home) as client:
        settings = {"completion": True, "max_tokens": 3, "temperature": 0, "stop": ["\n"]}
        assert client.chat(TICKETS, model="smollm2", cache="off", **settings).text.strip() == "billing"
        (worker,) = servers(client.status()["pid"])
        os.kill(worker, signal.SIGKILL)
        response = client.chat(TICKETS, model="smollm2", cache="off", **settings)
        assert response.text.strip() == "billing"
        (worker,) = servers(client.status()["pid"])
        killed = client.status()["pid"]
        os.kill(killed, signal.SIGKILL)
        assert gone(worker, within_s=10)
        assert client.status()["pid"] != killed
