"""The queue: what a limit costs a call, how well shares follow weights, how long calls wait, and what a provider's 429 costs its callers.

    python tests/bench/bench_queue.py            # all
    python tests/bench/bench_queue.py --only 429

Bars: 3 µs a call without limits and 20 µs with them; shares within 10 % of the weights; at most 1.2 requests a caller while a provider
answers 429 to all of 64 callers.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "policies"))

from faults import FaultServer
from flowkit import run_fake
from gatewaykit import ask, world

from aiplat_lab.core.settings import Home, parse
from aiplat_lab.core.types import Call, Deployment, utc_now
from aiplat_lab.ledger import Ledger
from aiplat_lab.policies._queue import Limit, Rank
from aiplat_lab.policies.limits import Limits

THREE = """
[[limits]]
rpm = 100_000_000
tpm = 1_000_000_000
parallel = 1000
[[limits]]
team = "a"
rpm = 100_000_000
parallel = 1000
[[limits]]
user = "u"
rpm = 100_000_000
"""


def overhead(home: Home, calls: int = 20_000) -> dict[str, float]:
    """Microseconds of CPU a call: `before` and `after`, and a deployment's slot; without limits, and with three."""
    found: dict[str, float] = {}
    ledger = Ledger.open(home)
    for name, toml, there in (
        ("none", "", Deployment(provider="up", model="m")),
        ("three", THREE, Deployment(provider="up", model="m", rpm=100_000_000, parallel=1000)),
    ):
        limits = Limits(parse(toml), ledger)

        async def scopes(limits: Limits = limits) -> float:
            made = [Call(request=ask("up/echo", team="a", user_id="u"), started_at=utc_now(), attempts=1) for _ in range(calls)]
            gc.collect()
            gc.freeze()  # as in the gateway: what waits here to be measured is not its garbage
            began = time.process_time()
            for call in made:
                await limits.before(call)
                await limits.after(call)
            return (time.process_time() - began) / calls * 1e6

        async def slots(limits: Limits = limits, there: Deployment = there) -> float:
            made = [Call(request=ask("up/echo"), started_at=utc_now(), attempts=1) for _ in range(calls)]
            gc.collect()
            gc.freeze()  # as in the gateway: what waits here to be measured is not its garbage
            began = time.process_time()
            for call in made:
                async with limits.slot(call, there, within_s=1.0):
                    pass
            return (time.process_time() - began) / calls * 1e6

        found[f"scopes, {name}: µs a call"] = round(min(asyncio.run(scopes()) for _ in range(3)), 2)
        found[f"slot, {name}: µs a call"] = round(min(asyncio.run(slots()) for _ in range(3)), 2)
    ledger.close()
    return found


def shares(served: int = 5000) -> dict[str, Any]:
    """Shares of three teams that always wait, in made time, and how long their calls waited."""
    weights = {"small": 1.0, "middle": 2.0, "large": 5.0}

    async def run() -> dict[str, Any]:
        chance, limit, counts = random.Random(1), Limit("x", rpm=6000), Counter[str]()
        assert limit.requests
        limit.requests.take(6000, asyncio.get_running_loop().time())
        waits: dict[str, list[float]] = {name: [] for name in weights}

        async def call(team: str) -> None:
            began = asyncio.get_running_loop().time()
            place = await limit.join(Rank(team, weights[team]), 1).place
            if counts.total() < served:
                counts[team] += 1
                waits[team].append(asyncio.get_running_loop().time() - began)
            place.leave()

        async def team_of(name: str) -> None:
            tasks: set[asyncio.Task[None]] = set()
            while counts.total() < served:
                if sum(count for team, _, count in limit.flows() if team == name) < 100:
                    tasks |= {asyncio.create_task(call(name)) for _ in range(chance.randint(1, 50))}
                await asyncio.sleep(chance.uniform(0.001, 0.05))
            await asyncio.gather(*tasks)

        await asyncio.gather(*(team_of(name) for name in weights))
        return {
            name: {
                "weight": weight / sum(weights.values()),
                "share": round(counts[name] / counts.total(), 4),
                "median wait, s": round(statistics.median(waits[name]), 2),
            }
            for name, weight in weights.items()
        }

    return run_fake(run())


def refused(home: Home, *, callers: int = 64, until_s: float = 5.0, within_s: float = 1.0) -> dict[str, float]:
    """Requests that 64 callers, who come within a second, cost a provider that answers 429 with Retry-After 2 to all for five seconds."""
    os.environ["UP_KEY"] = "bench-key"
    with FaultServer() as upstream:

        async def run() -> dict[str, float]:
            async with world(home, upstream) as here:
                await here.gateway.handle(ask("up/instant"))
                began, answered = time.monotonic(), []

                async def one(number: int) -> None:
                    await asyncio.sleep(number * within_s / callers)
                    await here.gateway.handle(ask(f"up/status-429-until-{until_s:g}", f"q {number}"))
                    answered.append(time.monotonic() - began)

                results = await asyncio.gather(*(one(number) for number in range(callers)), return_exceptions=True)
                asked = here.asked(f"status-429-until-{until_s:g}")
                return {
                    "requests a caller": round(asked / callers, 3),
                    "not answered": sum(isinstance(one, BaseException) for one in results),
                    "the last answer after, s": round(max(answered, default=0.0), 2),
                }

        return asyncio.run(run())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=("overhead", "shares", "429"))
    only = parser.parse_args().only
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        if only in (None, "overhead"):
            found["overhead"] = overhead(Home(Path(folder) / "a").create())
        if only in (None, "shares"):
            found["shares"] = shares()
        if only in (None, "429"):
            found["429"] = refused(Home(Path(folder) / "b").create())
    print(json.dumps(found, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
