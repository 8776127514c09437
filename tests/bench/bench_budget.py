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


async def mixed_round(folder: Path, upstream: FaultServer, *, callers: int, rng: random.Random) -> tuple[Decimal, int, float]:
    """Different prompts of different lengths: overspend, refusals that the numbers in the refusal do not bear out, share used."""
    limit = Decimal("0.02")
    toml = f'[[budgets]]\nlimit_usd = {limit}\nperiod = "total"\n' + model("m", "echo", more=f", {PRICED}, max_output_tokens = 4096")
    texts = [" ".join(["word"] * rng.randint(1, 200)) + f" {index}" for index in range(4 * callers)]
    async with world(Home(folder).create(), upstream, toml) as here:
        gate = asyncio.Semaphore(callers)

        async def one(text: str, index: int) -> object:
            async with gate:
                settings = {"max_tokens": 250} if index % 2 else {}
                return await here.gateway.handle(ask("m", text, settings=settings))

        results = await asyncio.gather(*(one(text, index) for index, text in enumerate(texts)), return_exceptions=True)
        refusals = [one for one in results if isinstance(one, BudgetExceeded)]
        if any(isinstance(one, BaseException) and not isinstance(one, BudgetExceeded) for one in results):
            raise AssertionError("a call failed")
        facts = [one.details for one in refusals]
        wrong = sum(Decimal(one["spent_usd"]) + Decimal(one["needed_usd"]) <= Decimal(one["limit_usd"]) for one in facts)
        spent = sum((row["cost_usd"] or Decimal(0) for row in here.rows()), Decimal(0))
        return max(Decimal(0), spent - limit), wrong, float(spent / limit)


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
        for index in range(4):
            folder_of_round = Path(folder) / f"mixed{index}"
            mixed_over, wrong, share = asyncio.run(mixed_round(folder_of_round, upstream, callers=options.callers, rng=rng))
            over, false_refusals = over + mixed_over, false_refusals + wrong
            print(f"mixed prompts {index + 1}: over ${mixed_over}, refused though it fitted {wrong}, {share:.1%} of the budget used")
    print(f"rounds {options.rounds} x {options.callers} callers: overspend ${over}, refused though it fitted {false_refusals}, ", end="")
    print(f"answered {answered_all} of {fitted_all} that fitted, {time.perf_counter() - began:.1f} s")


if __name__ == "__main__":
    main()
