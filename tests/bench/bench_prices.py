"""What pricing a call costs the gateway: microseconds of CPU for the look-up and the sum, and for a whole booking with its baseline.

Run: `python tests/bench/bench_prices.py [--calls 20000]`; the bar is 25 µs a call.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from aiplat_lab.core.settings import parse
from aiplat_lab.core.types import Call, Deployment, Request, Response, Usage, utc_now
from aiplat_lab.gateway.booking import book
from aiplat_lab.prices import Prices, cost

SETTINGS = """
[providers.openai]
kind = "openai"
[providers.anthropic]
kind = "anthropic"
[providers.up]
kind = "openai"
base_url = "http://127.0.0.1:9/v1"
[models.own]
deployments = [{ provider = "up", model = "m", input_usd_per_mtok = 2.5, output_usd_per_mtok = 10 }]
[[prices]]
model = "claude*"
discount = 0.1
"""


def cpu_us(work: Callable[[], object], calls: int) -> float:
    """The best of five rounds, in microseconds of CPU a call."""
    best = float("inf")
    for _ in range(5):
        began = time.process_time()
        for _ in range(calls // 5):
            work()
        best = min(best, (time.process_time() - began) / (calls // 5))
    return round(best * 1e6, 2)


def main() -> None:
    """Prints one line of JSON for each kind of price."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=20_000)
    calls = parser.parse_args().calls
    settings = parse(SETTINGS)
    prices, at = Prices(settings), utc_now()
    used = Usage(input_tokens=900, cache_read_tokens=300, cache_write_tokens=50, output_tokens=200, reasoning_tokens=100)
    (own,) = settings.deployments("own")
    for name, deployment in (
        ("list", Deployment(provider="openai", model="gpt-5-mini")),
        ("list, tier", Deployment(provider="openai", model="gpt-5", service_tier="flex")),
        ("price book", Deployment(provider="anthropic", model="claude-sonnet-4-5")),
        ("own", own),
    ):

        def look_up(one: Deployment = deployment) -> None:
            price = prices.of(one, at, usage=used)
            assert price is not None
            cost(used, price)

        call = Call(request=Request(model="m"), started_at=at, deployment=deployment, attempts=1)
        call.response = Response(text="x", usage=used)

        def whole(call: Call = call, one: Deployment = deployment) -> None:
            book(call, prices=prices, first=one)

        minutes = iter(range(10**9))
        fresh = cpu_us(lambda one=deployment, m=minutes: prices.of(one, at + timedelta(minutes=next(m)), usage=used), 2_000)
        print(json.dumps({"price": name, "us": cpu_us(look_up, calls), "booking_us": cpu_us(whole, calls), "first_in_a_minute_us": fresh}))


if __name__ == "__main__":
    main()
