"""CPU of one call by each transport, provider included: `python tests/bench/bench_transport.py [CALLS]`.

An upstream in a process of its own answers at once. Measured is the processor time of the asking process alone, at 1, 8 and 64
callers, for plain answers and for streams of 20 pieces.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from multiprocessing import Process, Queue
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from faults import FaultServer  # noqa: E402

from aiplat_lab.core.settings import ProviderSettings  # noqa: E402
from aiplat_lab.core.types import Deployment, Message, Request  # noqa: E402
from aiplat_lab.providers.openai import OpenAI  # noqa: E402

CALLERS = (1, 8, 64)


def upstream(ready: Queue[str], stop: Queue[str]) -> None:
    with FaultServer() as server:
        ready.put(server.openai_url)
        stop.get()


async def measure(transport: str, url: str, *, callers: int, calls: int, stream: bool) -> tuple[float, float, float]:
    """Milliseconds of CPU a call, calls a second, and the 99th percentile in milliseconds."""
    provider = OpenAI("up", ProviderSettings(kind="openai", base_url=url, api_key="env:BENCH_KEY", transport=transport))
    there = Deployment(provider="up", model="stream-20" if stream else "instant")
    request = Request(model="m", messages=(Message("user", "Say something"),))
    times: list[float] = []

    async def one() -> None:
        began = time.perf_counter()
        if stream:
            async with provider.stream(request, there) as chunks:
                async for _ in chunks:
                    pass
        else:
            await provider.chat(request, there)
        times.append(time.perf_counter() - began)

    async def caller(count: int) -> None:
        for _ in range(count):
            await one()

    await asyncio.gather(*(caller(3) for _ in range(callers)))
    times.clear()
    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(caller(max(1, calls // callers)) for _ in range(callers)))
    spent, took = time.process_time() - cpu, time.perf_counter() - began
    await provider.aclose()
    return 1e3 * spent / len(times), len(times) / took, 1e3 * sorted(times)[int(len(times) * 0.99)]


def main() -> None:
    os.environ["BENCH_KEY"] = "k"
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    ready: Queue[Any] = Queue()
    stop: Queue[Any] = Queue()
    process = Process(target=upstream, args=(ready, stop), daemon=True)
    process.start()
    url = ready.get()
    print("what          callers transport   CPU ms a call   calls/s   p99 ms")
    for stream in (False, True):
        for callers in CALLERS:
            for transport in ("aiohttp", "httpx"):
                count = calls // 4 if stream else calls
                cpu, rate, p99 = asyncio.run(measure(transport, url, callers=callers, calls=count, stream=stream))
                what = "20 pieces" if stream else "JSON"
                print(f"{what:<12}  {callers:>7} {transport:<10} {cpu:>14.3f} {rate:>9.0f} {p99:>8.1f}")
    stop.put("")
    process.join(5)


if __name__ == "__main__":
    main()
