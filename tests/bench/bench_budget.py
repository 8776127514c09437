"""64 callers against a hard budget, 20 rounds: what was overspent, and who was refused though it fitted.

Run: `python tests/bench/bench_budget.py [--rounds 20] [--callers 64]`
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from faults import FaultServer
from gatewaykit import PRICED, ask, model, world

from aiplat_lab.core.errors import BudgetExceeded
from aiplat_lab.core.settings import Home

CALL = Decimal("0.0002625")


async def one_round(folder: Path, upstream: FaultServer, *, callers: int, fits: int, limited: bool, name: str) -> tuple[Decimal, int, int]:
    """Overspend in dollars, calls answered, and calls refused while the budget still covered them."""
    limit = CALL * fits
    toml = f'[[budgets]]\nlimit_usd = {limit}\nperiod = "total"\nteam = "a"\n' + model(
        "m", name, more=f", {PRICED}, max_output_tokens = 16384"
    )
    settings = {"max_tokens": 20} if limited else {}
    async with world(Home(folder).create(), upstream, toml) as here:
        calls = (here.gateway.handle(ask("m", "x", team="a", settings=settings)) for _ in range(callers))
        results = await asyncio.gather(*calls, return_exceptions=True)
        other = [one for one in results if isinstance(one, BaseException) and not isinstance(one, BudgetExceeded)]
        if other:
            raise other[0]
        answered = sum(not isinstance(one, BaseException) for one in results)
        spent = sum((row["cost_usd"] or Decimal(0) for row in here.rows()), Decimal(0))
        if Decimal(here.gateway.budgets()[0]["spent_usd"]) != spent or len(here.rows()) != callers:
            raise AssertionError("the counter and the ledger differ, or a row is missing")
        return max(Decimal(0), spent - limit), answered, max(0, min(fits, callers) - answered)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--callers", type=int, default=64)
    options = parser.parse_args()
    rng = random.Random(7)
    over, false_refusals, answered_all, fitted_all = Decimal(0), 0, 0, 0
    began = time.perf_counter()
    with FaultServer() as upstream, tempfile.TemporaryDirectory() as folder:
        import os

        os.environ["UP_KEY"] = "key"
        for index in range(options.rounds):
            fits = rng.choice([1, 8, 20, options.callers - 1, options.callers, 2 * options.callers])
            limited = index % 2 == 0
            name = "slow-headers-0.02s" if index % 4 < 2 else "instant"
            round_over, answered, refused = asyncio.run(
                one_round(Path(folder) / str(index), upstream, callers=options.callers, fits=fits, limited=limited, name=name)
            )
            over, false_refusals = over + round_over, false_refusals + refused
            answered_all, fitted_all = answered_all + answered, fitted_all + min(fits, options.callers)
            print(f"round {index + 1:2}: fits {fits:3}, max_tokens {'20' if limited else '- '}, answered {answered:3}, over ${round_over}")
    print(f"rounds {options.rounds} x {options.callers} callers: overspend ${over}, refused though it fitted {false_refusals}, ", end="")
    print(f"answered {answered_all} of {fitted_all} that fitted, {time.perf_counter() - began:.1f} s")


if __name__ == "__main__":
    main()
