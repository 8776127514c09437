"""What the door costs a call: `Host` and `Origin`, the key and its role, last use, and the rules of the two policies that come first.

python tests/bench/bench_doors.py [ROUNDS]
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from aiplat_lab.core.settings import Home, parse
from aiplat_lab.core.types import Attribution, Call, Message, Request, utc_now
from aiplat_lab.gateway._threshold import Threshold
from aiplat_lab.gateway.pipeline import Gateway
from aiplat_lab.gateway.server import _CALLS, _caller
from aiplat_lab.ledger import Ledger

RULES = """
[teams.risk]
cost_centre = "CC-1"
residency = ["uk", "eu"]
[projects.churn]
team = "risk"
residency = ["uk"]
[[residency]]
tag = "data=pii"
regions = ["uk"]
[providers.up]
kind = "openai"
base_url = "http://127.0.0.1:9/v1"
region = "uk"
"""


def _us(work: Callable[[], Any], rounds: int) -> float:
    """Microseconds of processor time for one."""
    best = float("inf")
    for _ in range(5):
        began = time.process_time()
        for _ in range(rounds):
            work()
        best = min(best, (time.process_time() - began) / rounds * 1e6)
    return round(best, 2)


def main(rounds: int = 20_000) -> int:
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger.open(Home(Path(folder) / "home").create())
        found = asyncio.run(_measured(Gateway(parse(RULES), ledger), rounds))
        ledger.close()
    door = found["host_and_origin"] + found["key_role_and_last_use"]
    print(json.dumps({**found, "door": round(door, 2), "bar": 15.0}))
    return int(door > 15.0)


async def _measured(gateway: Gateway, rounds: int) -> dict[str, float]:
    made = gateway.keys.create(team="risk", project="churn")
    threshold = Threshold("127.0.0.1")
    threshold.open(8123)
    headers = {"Host": "127.0.0.1:8123", "Authorization": f"Bearer {made.text}", "Content-Type": "application/json"}
    request: web.Request = make_mocked_request("POST", "/v1/chat/completions", headers=headers)
    auth, residency = gateway._policies[0], gateway._policies[1]
    who = made.key.attribute(Attribution(surface="http", tags={"data": "pii"}))
    asked = Request(model="up/m", messages=(Message("user", "hello"),), attribution=who)
    deployments = gateway._behind("up/m")

    def policies() -> None:
        call = Call(request=asked, started_at=utc_now(), deployments=deployments)
        for policy in (auth, residency):
            try:
                policy.before(call).send(None)
            except StopIteration:
                pass

    def nothing() -> None:
        Call(request=asked, started_at=utc_now(), deployments=deployments)

    door: Any = SimpleNamespace(gateway=gateway)
    return {
        "host_and_origin": _us(lambda: threshold.check(request), rounds),
        "key_role_and_last_use": _us(lambda: _caller(door, request, _CALLS, ""), rounds),
        "auth_and_residency": round(_us(policies, rounds) - _us(nothing, rounds), 2),
    }


if __name__ == "__main__":
    sys.exit(main(*(int(word) for word in sys.argv[1:])))
