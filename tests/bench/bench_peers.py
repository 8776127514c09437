"""Our gateway with everything on, against the real LiteLLM proxy and Portkey gateway, on one mock provider in one run.

    python tests/bench/bench_peers.py [--litellm VENV] [--portkey FOLDER] [--calls 300] [--seconds 8] [--rounds 3] [--soak 0]

Without the flags the peers are fetched into ~/.cache/aiplat-tests/peers. Every figure is of one worker and one process; the ways are
taken in turn, so that what else the machine does falls on all of them. CPU is that of the gateway's own process.

"Everything on" is: a virtual key is checked, two hard budgets hold the worst case, the call is priced, and its row with both bodies is
acknowledged on disk. LiteLLM checks its key and prices; Portkey does neither.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import peerkit
from served import stop

from aiplat_lab.client import connect
from aiplat_lab.core.settings import Home
from aiplat_lab.gateway.process import read_address

MODELS = ("mock",)
MOCK = """
import asyncio, json, sys
from aiohttp import web
USAGE = {"prompt_tokens": 25, "completion_tokens": 20, "total_tokens": 45}
WHOLE = json.dumps({"id": "c", "object": "chat.completion", "created": 1, "model": "mock", "choices": [
    {"index": 0, "message": {"role": "assistant", "content": "Hello from the mock."}, "finish_reason": "stop"}], "usage": USAGE}).encode()
def event(delta, reason=None):
    return b"data: " + json.dumps({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "mock",
        "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}).encode() + b"\\n\\n"
LAST = b"data: " + json.dumps({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "mock", "choices": [],
    "usage": USAGE}).encode() + b"\\n\\ndata: [DONE]\\n\\n"
CHUNKS = [event({"role": "assistant", "content": "word "}), *[event({"content": "word "}) for _ in range(19)], event({}, "stop"), LAST]
async def chat(request):
    raw = await request.read()
    fault = raw.find(b"FAULT ")
    if fault > 0:
        kind = raw[fault + 6 : fault + 7]
        if kind == b"0":
            return web.Response(status=500, text="{}")
        if kind == b"1":
            return web.Response(body=b"<html>not JSON", content_type="text/html")
        if kind == b"2":
            return web.Response(status=400, text='{"error": {"message": "no such thing"}}', content_type="application/json")
        out = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": "500"})
        await out.prepare(request)
        await out.write(WHOLE[:40])
        request.transport.close()
        return out
    if b'"stream":true' not in raw.replace(b" ", b""):
        return web.Response(body=WHOLE, content_type="application/json")
    out = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await out.prepare(request)
    for chunk in CHUNKS:
        await out.write(chunk)
        await asyncio.sleep(0)
    await out.write_eof()
    return out
async def main():
    app = web.Application()
    app.router.add_post("/v1/chat/completions", chat)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
asyncio.run(main())
"""
TOML = """
[providers.up]
kind = "openai"
base_url = "{url}/v1"
api_key = "file:{key}"
region = "uk"
breaker_failures = 1000
[models.mock]
deployments = [{{ provider = "up", model = "mock", input_usd_per_mtok = 2.5, output_usd_per_mtok = 10, max_output_tokens = 500 }}]
[[budgets]]
limit_usd = 1000000
[[budgets]]
team = "bench"
limit_usd = 1000000
"""
ASK = "Say something short about the weather in Leeds. " * 8


@dataclass
class Way:
    """One road to the mock provider."""

    name: str
    url: str
    headers: dict[str, str]
    pid: int = 0
    streams: bool = True
    found: dict[str, list[float]] = field(default_factory=dict)

    def note(self, **figures: float) -> None:
        for name, value in figures.items():
            self.found.setdefault(name, []).append(value)

    def cpu_s(self) -> float:
        """Seconds of CPU of the process and its children, so far."""
        total = 0
        for pid in _family(self.pid):
            try:
                parts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            total += int(parts[11]) + int(parts[12])
        return total / os.sysconf("SC_CLK_TCK")

    def memory_mib(self) -> float:
        """What the process and its children hold."""
        total = 0
        for pid in _family(self.pid):
            try:
                lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            except OSError:
                continue
            total += sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))
        return total / 1024


def _family(pid: int) -> list[int]:
    found = [pid]
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in path.read_text().split():
            found += _family(int(child))
    return found


@contextmanager
def mock() -> Iterator[str]:
    process = subprocess.Popen([sys.executable, "-c", MOCK], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None and process.stdout is not None
    try:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
    finally:
        process.stdin.close()
        process.wait(10)


@contextmanager
def ours(folder: Path, upstream: str) -> Iterator[Way]:
    home = Home(folder / "home").create()
    (folder / "key").write_text("upstream-key-0123456789")
    home.settings_file.write_text(TOML.format(url=upstream, key=folder / "key"))
    try:
        with connect(home) as client:
            key = client.post("/api/keys", {"team": "bench"})["key"]
            address = read_address(home)
            assert address is not None
            yield Way("aiplat", address.http, {"Authorization": f"Bearer {key}"}, address.pid)
    finally:
        stop(home)


def _body(number: int, *, stream: bool = False) -> dict[str, Any]:
    return {"model": "mock", "max_tokens": 100, "stream": stream, "messages": [{"role": "user", "content": f"{number} {ASK}"}]}


async def _call(session: aiohttp.ClientSession, way: Way, number: int) -> None:
    async with session.post(f"{way.url}/v1/chat/completions", json=_body(number), headers=way.headers) as reply:
        raw = await reply.read()
        if reply.status != 200:
            raise RuntimeError(f"{way.name} answered {reply.status}: {raw[:300]!r}")


async def _stream(session: aiohttp.ClientSession, way: Way, number: int) -> float:
    """Seconds to the first piece; reads to the end."""
    begun = time.perf_counter()
    first = 0.0
    async with session.post(f"{way.url}/v1/chat/completions", json=_body(number, stream=True), headers=way.headers) as reply:
        if reply.status != 200:
            raise RuntimeError(f"{way.name} answered {reply.status}: {(await reply.read())[:300]!r}")
        size = 0
        async for piece in reply.content.iter_any():
            first = first or time.perf_counter() - begun
            size += len(piece)
        if size < 1000:
            raise RuntimeError(f"{way.name} gave a short stream")
    return first


async def one_caller(ways: list[Way], calls: int) -> None:
    """Milliseconds of a call and of a stream with one caller, the ways in turn."""
    async with aiohttp.ClientSession() as session:
        took: dict[str, list[float]] = {way.name: [] for way in ways}
        first: dict[str, list[float]] = {way.name: [] for way in ways}
        whole: dict[str, list[float]] = {way.name: [] for way in ways}
        for number in range(calls + 20):
            for way in ways:
                begun = time.perf_counter()
                await _call(session, way, number)
                if number >= 20:
                    took[way.name].append((time.perf_counter() - begun) * 1000)
                if not way.streams or number % 4:
                    continue
                begun = time.perf_counter()
                told = await _stream(session, way, number)
                if number >= 20:
                    first[way.name].append(told * 1000)
                    whole[way.name].append((time.perf_counter() - begun) * 1000)
    for way in ways:
        way.note(p50_ms=statistics.median(took[way.name]), p99_ms=_p99(took[way.name]))
        if way.streams:
            way.note(stream_p50_ms=statistics.median(whole[way.name]), first_byte_ms=statistics.median(first[way.name]))


def _p99(values: list[float]) -> float:
    return sorted(values)[int(len(values) * 0.99)] if values else float("nan")


async def many_callers(way: Way, callers: int, seconds: float, *, stream: bool) -> None:
    """Calls a second with many callers, the CPU a call, and the slowest hundredth."""
    took: list[float] = []
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        end = time.perf_counter() + seconds

        async def caller(number: int) -> None:
            while time.perf_counter() < end:
                begun = time.perf_counter()
                await (_stream(session, way, number) if stream else _call(session, way, number))
                took.append((time.perf_counter() - begun) * 1000)
                number += callers

        await asyncio.gather(*(_call(session, way, number) for number in range(8)))
        cpu, begun = way.cpu_s(), time.perf_counter()
        await asyncio.gather(*(caller(number) for number in range(callers)))
        spent, wall = way.cpu_s() - cpu, time.perf_counter() - begun
    word = "stream_" if stream else ""
    way.note(**{f"{word}per_s_at_{callers}": len(took) / wall, f"{word}p99_ms_at_{callers}": _p99(took)})
    if way.pid:
        way.note(**{f"{word}cpu_ms_at_{callers}": spent / max(1, len(took)) * 1000})


FAULTY = 50
"""One call of so many meets a fault of the provider while the memory is measured: a 500, no JSON, a 400, an answer that is cut."""


async def _call_or_fault(session: aiohttp.ClientSession, way: Way, number: int) -> None:
    if number % FAULTY:
        await _call(session, way, number)
        return
    body = _body(number)
    body["messages"][0]["content"] = f"FAULT {number // FAULTY % 4} {number} {ASK}"
    async with session.post(f"{way.url}/v1/chat/completions", json=body, headers=way.headers) as reply:
        await reply.read()
        if reply.status == 200:
            raise RuntimeError("a fault was answered as if it were none")


async def soak(way: Way, calls: int) -> None:
    """What the process holds after 10,000 and after so many calls, faults among them."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        for start in range(0, calls, 64):
            await asyncio.gather(*(_call_or_fault(session, way, start + number) for number in range(64)))
            if start // 64 == 10_000 // 64:
                way.note(memory_mib_after_10000=way.memory_mib())
    way.note(**{f"memory_mib_after_{calls}": way.memory_mib()})


async def measure(ways: list[Way], options: argparse.Namespace) -> None:
    for _ in range(options.rounds):
        await one_caller(ways, options.calls)
        for way in ways:
            await many_callers(way, 64, options.seconds, stream=False)
            if way.streams:
                await many_callers(way, 16, options.seconds / 2, stream=True)
    for way in ways:
        if way.pid:
            way.note(memory_mib=way.memory_mib())
            if options.soak and way.name == "aiplat":
                await soak(way, options.soak)


def summary(ways: list[Way]) -> dict[str, Any]:
    """Medians of the rounds, what each adds to the way straight there, and our part of each peer's figure."""
    medians = {way.name: {name: round(statistics.median(values), 3) for name, values in way.found.items()} for way in ways}
    straight = medians["straight"]
    for figures in medians.values():
        for name in ("p50_ms", "stream_p50_ms", "first_byte_ms"):
            if name in figures:
                figures[f"added_{name}"] = round(figures[name] - straight[name], 3)
    own = medians["aiplat"]
    ratios: dict[str, dict[str, float]] = {}
    for name, figures in medians.items():
        if name in ("straight", "aiplat"):
            continue
        less = (
            "added_p50_ms",
            "added_stream_p50_ms",
            "added_first_byte_ms",
            "cpu_ms_at_64",
            "stream_cpu_ms_at_16",
            "memory_mib",
            "p99_ms_at_64",
        )
        ratios[name] = {f"{one}: theirs / ours": round(figures[one] / own[one], 2) for one in less if figures.get(one) and own.get(one)}
        more = ("per_s_at_64", "stream_per_s_at_16")
        ratios[name] |= {f"{one}: ours / theirs": round(own[one] / figures[one], 2) for one in more if figures.get(one)}
    return {"load_average": os.getloadavg()[0], "medians": medians, "ratios": ratios}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--litellm", type=Path, default=None, help="a virtual environment with the LiteLLM proxy in it; 'none' leaves it out"
    )
    parser.add_argument("--portkey", type=Path, default=None, help="a folder with @portkey-ai/gateway in it; 'none' leaves it out")
    parser.add_argument("--calls", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--soak", type=int, default=0, help="calls after which our memory is measured, such as 50000")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        place = Path(folder)
        upstream = stack.enter_context(mock())
        ways = [Way("straight", upstream, {}), stack.enter_context(ours(place, upstream))]
        if str(options.litellm) != "none":
            venv = options.litellm or peerkit.litellm_venv()
            url, pid = stack.enter_context(peerkit.litellm(venv, upstream, MODELS, place))
            ways.append(Way("litellm", url, {"Authorization": f"Bearer {peerkit.LITELLM_KEY}"}, pid))
        if str(options.portkey) != "none":
            where = options.portkey or peerkit.portkey_folder()
            url, pid = stack.enter_context(peerkit.portkey(where, place))
            headers = {"Authorization": "Bearer x", **peerkit.portkey_headers(upstream)}
            ways.append(Way("portkey", url, headers, pid, streams=False))  # 1.15.2 answers streams with 500
        asyncio.run(measure(ways, options))
        print(json.dumps(summary(ways), indent=1))


if __name__ == "__main__":
    main()
