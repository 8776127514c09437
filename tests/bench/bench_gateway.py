"""The gateway's cost: a warm call against keep-alive httpx straight to the same upstream, the first piece, and a cold start.

    python tests/bench/bench_gateway.py [--calls 400] [--rounds 3]

All figures come from one run on one machine, the ways interleaved; the upstream is a process of its own.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from served import TOML, stop

from aiplat_lab.client import connect
from aiplat_lab.core.settings import Home
from aiplat_lab.gateway.process import read_address

UPSTREAM = """
import sys; sys.path.insert(0, sys.argv[1])
from faults import FaultServer
with FaultServer() as upstream:
    print(upstream.url, flush=True)
    sys.stdin.readline()
"""
BUDGET = """
[[budgets]]
limit_usd = 1000000
period = "month"
[[budgets]]
team = "bench"
limit_usd = 1000000
[models.slow]
deployments = [{ provider = "up", model = "slow-stream", input_usd_per_mtok = 2.5, output_usd_per_mtok = 10, max_output_tokens = 500 }]
"""
CLIENT = """
import sys, time
from aiplat_lab.client import connect
client = connect(sys.argv[1])
print("set", flush=True)
sys.stdin.readline()
begun = time.monotonic()
pid = client.status()["pid"]
print(pid, time.monotonic() - begun)
"""
ASK = "Say something short about the weather in Leeds. " * 8


@contextmanager
def upstream() -> Iterator[str]:
    words = [sys.executable, "-c", UPSTREAM, str(Path(__file__).resolve().parents[1])]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None and process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.stdin.close()
        process.wait(10)


def interleaved(ways: dict[str, Callable[[int], Any]], count: int) -> dict[str, dict[str, float]]:
    """Milliseconds of each way, one after the other in turn."""
    took: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(count + 20):
        for name, way in ways.items():
            begun = time.perf_counter()
            way(number)
            if number >= 20:
                took[name].append((time.perf_counter() - begun) * 1000)
    return {
        name: {"p50_ms": round(statistics.median(ms), 3), "p99_ms": round(statistics.quantiles(ms, n=100)[98], 2)}
        for name, ms in took.items()
    }


class UnixHTTP(http.client.HTTPConnection):
    """The standard library's client over a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(self.path)


def transports(home: Home, calls: int) -> dict[str, Any]:
    """The same small request to the gateway by three HTTP clients."""
    address = read_address(home)
    assert address is not None
    std = UnixHTTP(address.socket)
    heavy = httpx.Client(transport=httpx.HTTPTransport(uds=address.socket, verify=False), base_url="http://aiplat")
    own = connect(home)

    def by_std(_: int) -> None:
        std.request("GET", "/healthz")
        std.getresponse().read()

    return interleaved(
        {"ours": lambda _: own.get("/healthz"), "http.client": by_std, "httpx": lambda _: heavy.get("/healthz").json()}, calls
    )


def warm(home: Home, url: str, calls: int) -> dict[str, Any]:
    """A warm call, recorded and checked against two budgets, against httpx straight to the upstream."""
    straight = httpx.Client(headers={"Authorization": "Bearer x"})
    client = connect(home)
    body = {"model": "instant", "max_tokens": 100}

    def direct(number: int) -> None:
        reply = straight.post(f"{url}/v1/chat/completions", json={**body, "messages": [{"role": "user", "content": f"{number} {ASK}"}]})
        assert reply.json()["choices"][0]["message"]["content"]

    def through(number: int) -> None:
        answer = client.chat(f"{number} {ASK}", model="priced", cache="off", attribution={"team": "bench"}, max_tokens=100)
        assert answer.text and answer.cost_usd

    found = interleaved({"httpx straight": direct, "client and gateway": through}, calls)
    return {**found, "ratio": round(found["client and gateway"]["p50_ms"] / found["httpx straight"]["p50_ms"], 2)}


def first_piece(home: Home, url: str, calls: int) -> dict[str, Any]:
    """Milliseconds to the first text of a stream, straight and through the gateway."""
    straight = httpx.Client(headers={"Authorization": "Bearer x"})
    client = connect(home)
    took: dict[str, list[float]] = {"straight": [], "through": []}
    for number in range(calls):
        body = {"model": "slow-stream", "stream": True, "messages": [{"role": "user", "content": f"{number}"}]}
        begun = time.perf_counter()
        with straight.stream("POST", f"{url}/v1/chat/completions", json=body) as reply:
            next(line for line in reply.iter_lines() if line.startswith("data:"))
            took["straight"].append((time.perf_counter() - begun) * 1000)
        begun = time.perf_counter()
        with client.stream(f"{number}", model="slow", cache="off") as pieces:
            next(pieces)
            took["through"].append((time.perf_counter() - begun) * 1000)
    medians = {name: round(statistics.median(ms), 2) for name, ms in took.items()}
    return {**medians, "later_by_ms": round(medians["through"] - medians["straight"], 2)}


def on_demand(home: Home, clients: int) -> dict[str, Any]:
    """Seconds until each of many clients that ask in the same moment has its answer, when none runs."""
    words = [sys.executable, "-c", CLIENT, str(home.path)]
    processes = [subprocess.Popen(words, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(clients)]
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=60)[0].split() for process in processes]
    seconds = sorted(float(took) for _, took in said)
    return {
        "clients": clients,
        "processes": len({pid for pid, _ in said}),
        "median_s": round(seconds[len(seconds) // 2], 2),
        "last_s": round(seconds[-1], 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, upstream() as url:
        home = Home(Path(folder) / "home").create()
        (home.path / "key").write_text("x")
        home.settings_file.write_text(TOML.format(url=url, key_file=home.path / "key", more="") + BUDGET)
        try:
            cold = []
            for _ in range(options.rounds):
                cold.append(on_demand(home, 20))
                stop(home)
            alone = on_demand(home, 1)
            rounds = [warm(home, url, options.calls) for _ in range(options.rounds)]
            result = {
                "load_average": os.getloadavg()[0],
                "on_demand_20": cold,
                "on_demand_1": alone,
                "warm": rounds,
                "warm_ratio": statistics.median(one["ratio"] for one in rounds),
                "first_piece_ms": first_piece(home, url, 40),
                "transports": transports(home, options.calls),
            }
        finally:
            stop(home)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
