"""A provider that is down or hangs, with a healthy one behind it: attempts a caller, time once the breaker is open, time to rescue.

The first model is healthy: on a busy machine, compare the other times with its.

    python tests/bench/bench_faults.py [--callers 160] [--at-once 16]

Every call goes over HTTP through one gateway process; the upstream is a process of its own. A last figure is the processor time
that finding the order of a plain model adds to a call.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import aiohttp

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from served import stop

from aiplat_lab.client import connect
from aiplat_lab.core.settings import Home, parse
from aiplat_lab.core.types import Call, Message, Request, utc_now
from aiplat_lab.gateway._order import Orders
from aiplat_lab.gateway._speed import Speeds
from aiplat_lab.prices import Prices

UPSTREAM = """
import sys; sys.path.insert(0, sys.argv[1])
from faults import FaultServer
with FaultServer() as upstream:
    print(upstream.url, flush=True)
    sys.stdin.readline()
"""
DEADLINE_S = 5.0
SICK = ("echo", "status-500", "status-429-no-header", "status-429", "status-503", "hang", "cut-first", "bad-json")
TOML = """
[providers.up]
kind = "openai"
base_url = "{url}/v1"
timeout_s = {deadline}
[providers.quick]
kind = "openai"
base_url = "{url}/v1"
timeout_s = {deadline}
first_token_timeout_s = 1.0
"""


def models(prefix: str, provider: str) -> str:
    both = '{{ provider = "{p}", model = "{name}@{x}" }}, {{ provider = "{p}", model = "instant@{x}" }}'
    return "".join(f"[models.{prefix}-{name}]\ndeployments = [{both.format(p=provider, name=name, x=prefix)}]\n" for name in SICK)


async def ask(session: aiohttp.ClientSession, url: str, key: str, model: str, *, stream: bool = False) -> tuple[bool, float, str]:
    body = {"model": model, "messages": [{"role": "user", "content": "Say something"}], "stream": stream}
    headers = {"Authorization": f"Bearer {key}", "x-aiplat-cache": "off"}
    began = time.perf_counter()
    async with session.post(f"{url}/v1/chat/completions", json=body, headers=headers) as response:
        raw = await response.read()
    text = raw.decode()
    whole = ("Hello" in text or "Say" in text) and (not stream or "[DONE]" in text)
    return response.status == 200 and whole, time.perf_counter() - began, response.headers.get("x-aiplat-call-id", "")


async def storm(url: str, key: str, model: str, *, callers: int, at_once: int, stream: bool) -> tuple[list[tuple[bool, float, str]], int]:
    """The results in the order of their starts."""
    gate = asyncio.Semaphore(at_once)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def one() -> tuple[bool, float, str]:
            async with gate:
                return await ask(session, url, key, model, stream=stream)

        results = await asyncio.gather(*(one() for _ in range(callers)))
    return list(results), sum(ok for ok, _, _ in results)


def ordering_us(*, count: int = 20_000) -> float:
    """Microseconds that ordering takes for a plain model with two deployments."""
    entry = '{{ provider = "up", model = "{name}" }}'
    toml = '[providers.up]\nkind = "openai"\nbase_url = "http://127.0.0.1:9/v1"\n'
    toml += f"[models.m]\ndeployments = [{entry.format(name='a')}, {entry.format(name='b')}]\n"
    settings = parse(toml)
    orders = Orders(settings, Prices(settings), Speeds())
    deployments = settings.deployments("m")
    call = Call(request=Request(model="m", messages=(Message("user", "x"),)), started_at=utc_now(), deployments=deployments)
    orders.plan(call)
    rounds = []
    for _ in range(5):
        began = time.process_time()
        for _ in range(count):
            orders.plan(call)
        rounds.append((time.process_time() - began) / count * 1e6)
    return min(rounds)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--callers", type=int, default=160)
    parser.add_argument("--at-once", type=int, default=16)
    options = parser.parse_args()
    rows = []
    here = str(Path(__file__).resolve().parents[1])
    upstream = subprocess.Popen([sys.executable, "-c", UPSTREAM, here], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert upstream.stdout is not None
    url = upstream.stdout.readline().strip()
    try:
        with tempfile.TemporaryDirectory() as folder:
            home = Home(Path(folder) / "home").create()
            home.settings_file.write_text(TOML.format(url=url, deadline=DEADLINE_S) + models("json", "up") + models("stream", "quick"))
            try:
                with connect(home) as client:
                    http, key = str(client.status()["http"]), str(client.post("/api/keys", {"name": "bench"})["key"])
                    for prefix in ("json", "stream"):
                        for name in SICK:
                            if (prefix, name) == ("json", "cut-first"):
                                continue
                            model = f"{prefix}-{name}"
                            work = storm(http, key, model, callers=options.callers, at_once=options.at_once, stream=prefix == "stream")
                            results, answered = asyncio.run(work)
                            sql = "SELECT avg(attempts) AS attempts FROM calls WHERE request_model = ?"
                            attempts = float(client.sql(sql, [model])["attempts"][0])
                            late = sorted(seconds for _, seconds, _ in results[2 * options.at_once :])
                            rows.append(
                                {
                                    "fault": model,
                                    "answered": f"{answered} of {options.callers}",
                                    "attempts_each": round(attempts, 3),
                                    "p50_once_open_ms": round(1000 * statistics.median(late), 1),
                                    "slowest_s": round(max(seconds for _, seconds, _ in results), 2),
                                }
                            )
                            print(json.dumps(rows[-1]), flush=True)
            finally:
                stop(home)
    finally:
        upstream.communicate("\n", timeout=10)
    print(json.dumps({"ordering_us": round(ordering_us(), 2)}))
    bad = [row for row in rows if row["attempts_each"] > 1.2 or row["p50_once_open_ms"] > 100 or row["slowest_s"] > DEADLINE_S + 1]
    print("all within the bars" if not bad else f"beyond a bar: {[row['fault'] for row in bad]}")


if __name__ == "__main__":
    main()
