"""CPU that the pipeline adds to one call: everything on but the network (a provider in the same process answers at once).

Run: `python tests/bench/bench_pipeline.py [--calls 5000] [--profile]`
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import pstats
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from aiplat_lab.core.registry import register
from aiplat_lab.core.settings import Home, parse
from aiplat_lab.core.types import Attribution, Chunk, Deployment, Message, Request, Response, Usage
from aiplat_lab.gateway.pipeline import Gateway
from aiplat_lab.ledger import Ledger

USAGE = Usage(input_tokens=25, output_tokens=20)
TOML = """
[providers.now]
kind = "now"
region = "uk"
[models.m]
deployments = [{ provider = "now", model = "x", input_usd_per_mtok = 2.5, output_usd_per_mtok = 10, max_output_tokens = 4096 }]
[teams.a]
cost_centre = "CC"
residency = ["uk"]
models = ["m"]
[[budgets]]
limit_usd = 1000
[[budgets]]
limit_usd = 1000
team = "a"
"""


@register("provider", "now")
class Now:
    """Answers at once."""

    wire = ""

    def __init__(self, name: str, settings: Any) -> None:
        self.name = name

    async def chat(self, request: Request, deployment: Deployment) -> Response:
        return Response(text="Hello.", finish_reason="stop", usage=USAGE, provider=self.name, region="uk", response_model="x")

    @asynccontextmanager
    async def stream(self, request: Request, deployment: Deployment) -> AsyncIterator[AsyncIterator[Chunk]]:
        async def pieces() -> AsyncIterator[Chunk]:
            for index in range(20):
                yield Chunk(text=f"word{index} ")
            yield Chunk(finish_reason="stop", usage=USAGE)

        yield pieces()

    async def aclose(self) -> None:
        pass


def requests(count: int, **more: Any) -> list[Request]:
    who = Attribution(surface="magic", team="a", project="p", user_id="u", notebook="n.ipynb")
    text = "Summarise this paragraph about the second quarter. " * 10
    return [
        Request(model="m", messages=(Message("user", f"{index} {text}"),), attribution=who, cache="on", **more) for index in range(count)
    ]


async def plain(gateway: Gateway, asked: list[Request]) -> None:
    for request in asked:
        await gateway.handle(request)


async def streamed(gateway: Gateway, asked: list[Request]) -> None:
    for request in asked:
        async with gateway.stream(request) as pieces:
            async for _ in pieces:
                pass


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=5000)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()

    async def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            ledger = Ledger.open(Home(Path(folder)).create())
            gateway = Gateway(parse(TOML), ledger)
            await asyncio.sleep(0.01)
            for name, kind, more in (("plain", plain, {}), ("stream of 21 pieces", streamed, {"stream": True}), ("cache hit", plain, {})):
                asked = requests(options.calls) if name == "cache hit" else requests(options.calls, **more)
                if name == "stream of 21 pieces":
                    asked = [Request(**{**_fields(one), "cache": "off"}) for one in asked]
                profile = cProfile.Profile() if options.profile else None
                if profile:
                    profile.enable()
                cpu, wall = time.thread_time(), time.perf_counter()
                await kind(gateway, asked)
                cpu, wall = time.thread_time() - cpu, time.perf_counter() - wall
                if profile:
                    profile.disable()
                    pstats.Stats(profile).sort_stats("tottime").print_stats(25)
                print(f"{name}: {1e6 * cpu / options.calls:.0f} us CPU, {1e6 * wall / options.calls:.0f} us wall a call")
            await gateway.aclose()
            ledger.close()

    asyncio.run(run())


def _fields(request: Request) -> dict[str, Any]:
    return {name: getattr(request, name) for name in ("model", "messages", "attribution", "stream")}


if __name__ == "__main__":
    main()
