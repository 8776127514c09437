"""The embedded model's figures: start, speed, memory, sameness, stopping, restart.

Run: python tests/bench/bench_local.py
The weights must be there (`aiplat model pull smollm2`, `aiplat model pull minilm`). Linux only: it reads /proc.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from pathlib import Path

from aiplat_lab.core.errors import ProviderError
from aiplat_lab.core.settings import ProviderSettings
from aiplat_lab.core.types import Deployment, Message, Request
from aiplat_lab.providers.local import Local

AT = Deployment(provider="local", model="smollm2")
PROMPT = "Ticket: It broke on the first day.\nSentiment: negative\n\nTicket: The staff were kind.\nSentiment:"


def ask(text: str = PROMPT, **settings: object) -> Request:
    known = {"completion": True, "temperature": 0, "max_tokens": 16}
    return Request(model="smollm2", messages=(Message("user", text),), settings={**known, **settings})


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def say(what: str, value: float, unit: str, bar: str = "") -> None:
    print(f"{what:58} {value:8.2f} {unit:14} {bar}", flush=True)


async def ready() -> None:
    for number in range(3):
        provider = Local("local", ProviderSettings(kind="local"))
        begun = time.perf_counter()
        async with provider._texts.use("smollm2", lambda: provider._start_text("smollm2")):  # noqa: B023
            say(f"worker ready, start {number + 1}", time.perf_counter() - begun, "s", "<= 5")
        await provider.aclose()


async def speed(provider: Local) -> None:
    await provider.chat(ask(), AT)
    pid = provider.workers()["smollm2"]
    before, begun = cpu_s(pid), time.perf_counter()
    response = await provider.chat(ask("Once upon a time", max_tokens=400, ignore_eos=True), AT)
    tokens = response.usage.total_output_tokens if response.usage else 0
    say("tokens written per CPU-second, 400 tokens", tokens / (cpu_s(pid) - before), "tok/CPU-s", ">= 35")
    say("the same, by the clock", tokens / (time.perf_counter() - begun), "tok/s")


async def sameness(provider: Local) -> None:
    alone = [(await provider.chat(ask(max_tokens=12), AT)).text for _ in range(10)]
    together = await asyncio.gather(*(provider.chat(ask(max_tokens=12), AT) for _ in range(10)))
    texts = [*alone, *(response.text for response in together)]
    say("greedy answers that are the same, of 20", texts.count(texts[0]), "", "20")


async def four_clients(provider: Local) -> None:
    pid = provider.workers()["smollm2"]
    before = cpu_s(pid)
    prompts = [f"Story number {n}: once upon a time" for n in range(4)]
    responses = await asyncio.gather(*(provider.chat(ask(text, max_tokens=64, ignore_eos=True), AT) for text in prompts))
    tokens = sum(response.usage.total_output_tokens for response in responses if response.usage)
    say("4 clients, tokens per CPU-second", tokens / (cpu_s(pid) - before), "tok/CPU-s", ">= 35")
    rss = provider._texts.workers()["smollm2"].rss_bytes() or 0
    say("worker's memory after 4 clients", rss / 1e6, "MB", "<= 300")


async def stopping(provider: Local) -> None:
    pid = provider.workers()["smollm2"]
    for what in ("stream left", "plain call cancelled"):
        if what == "stream left":
            async with provider.stream(ask("1 2 3", max_tokens=1500, ignore_eos=True), AT) as chunks:
                async for chunk in chunks:
                    if chunk.text:
                        break
        else:
            task = asyncio.create_task(provider.chat(ask("1 2 3", max_tokens=1500, ignore_eos=True), AT))
            await asyncio.sleep(1)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        begun, last, idle_since = time.perf_counter(), cpu_s(pid), time.perf_counter()
        while time.perf_counter() - idle_since < 0.5:
            await asyncio.sleep(0.02)
            now = cpu_s(pid)
            if now > last:
                last, idle_since = now, time.perf_counter()
        say(f"{what}: worker computes for another", idle_since - begun, "s", "<= 1.5")


async def restart(provider: Local) -> None:
    for number in range(3):
        os.kill(provider.workers()["smollm2"], signal.SIGKILL)
        begun = time.perf_counter()
        while True:
            try:
                await provider.chat(ask(max_tokens=1), AT)
                break
            except ProviderError as error:
                if not error.retryable:
                    raise
        say(f"kill -9 to next answer, round {number + 1}", time.perf_counter() - begun, "s", "<= 5")


async def embeddings(provider: Local) -> None:
    at = Deployment(provider="local", model="minilm")

    def texts(count: int) -> Request:
        one = "The invoice shows the wrong amount for this month."
        return Request(model="minilm", operation="embed", inputs=(one,) * count)

    begun = time.perf_counter()
    await provider.embed(texts(1), at)
    say("first embedding, worker's start included", time.perf_counter() - begun, "s")
    pid = provider.workers()["minilm"]
    before = cpu_s(pid)
    await provider.embed(texts(80), at)
    say("embedding of 80 short texts, per text", (cpu_s(pid) - before) / 80 * 1000, "CPU-ms")
    say("embedding worker's memory", (provider._embedders.workers()["minilm"].rss_bytes() or 0) / 1e6, "MB")


async def main() -> None:
    await ready()
    provider = Local("local", ProviderSettings(kind="local"))
    for part in (speed, sameness, four_clients, stopping, restart, embeddings):
        await part(provider)
    begun = time.perf_counter()
    pids = provider.workers().values()
    await provider.aclose()
    say("closing, all workers gone", time.perf_counter() - begun, "s")
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


if __name__ == "__main__":
    asyncio.run(main())
