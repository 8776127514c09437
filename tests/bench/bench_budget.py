"""Callers against hard budgets: what was overspent, who was refused though it fitted, and what it costs.

Run: `python tests/bench/bench_budget.py [--rounds 20] [--callers 64] [--http 64 256] [--hot 5000]`

Rounds in one process without HTTP; then storms through a real gateway process over HTTP from two processes of clients, alone and nested,
on every kind of scope (`spend/budget` must be at most 1.0000 but for `over`, whose provider writes four times its limit); then the CPU time
of the policy.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import tempfile
import time
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import budgetstorm
from faults import FaultServer
from gatewaykit import PRICED, ask, model, world

from aiplat_lab.core.errors import BudgetExceeded
from aiplat_lab.core.settings import Home, parse
from aiplat_lab.core.types import Attribution, Call, Response, Usage, utc_now
from aiplat_lab.gateway.row import begin_row
from aiplat_lab.ledger import Ledger
from aiplat_lab.policies import Budget

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


def in_process(options: argparse.Namespace) -> None:
    """Rounds in the bench's own process, without HTTP."""
    rng = random.Random(7)
    over, false_refusals, answered_all, fitted_all = Decimal(0), 0, 0, 0
    began = time.perf_counter()
    with FaultServer() as upstream, tempfile.TemporaryDirectory() as folder:
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


def over_http(options: argparse.Namespace) -> None:
    """Every storm through a gateway process, from two processes of clients."""
    for callers in options.http:
        for name in ("instant", "slow-headers-0.3s"):
            cases = budgetstorm.cases()
            with tempfile.TemporaryDirectory() as folder, budgetstorm.gateway(Path(folder) / "home", cases, name=name) as (place, keys):
                print(f"\n{callers} callers in 2 processes over HTTP, upstream {name}")
                print(f"{'case':>12} {'answered':>8} {'refused':>8} {'spend/budget':>13} {'flagged':>8} {'seconds':>8}")
                for case in cases:
                    began = time.perf_counter()
                    found = budgetstorm.storm(place, case, keys[case.name], callers=callers)
                    seconds = time.perf_counter() - began
                    said = f"  {len(found.wrong)} WRONG: {found.wrong[0][:80]}" if found.wrong else ""
                    print(
                        f"{case.name:>12} {found.answered:8} {found.refused:8} {found.ratio:13.4f} {found.flagged:8} {seconds:8.2f}{said}"
                    )


def hot_path(calls: int) -> None:
    """CPU time of the policy alone under five budgets."""
    scopes = ("", 'team = "a"', 'project = "p"', 'tag = "x=1"', 'cost_centre = "c"')
    toml = "".join(f"[[budgets]]\nlimit_usd = 1000\n{scope}\n" for scope in scopes)
    toml += '[providers.up]\nkind = "openai"\n' + model("m", "g", more=f", {PRICED}, max_output_tokens = 1000")
    who = Attribution(team="a", project="p", cost_centre="c", tags={"x": "1"})
    with tempfile.TemporaryDirectory() as folder, Ledger.open(Home(Path(folder) / "home")) as ledger:
        settings = parse(toml)
        policy = Budget(settings, ledger)
        made = []
        for index in range(calls):
            request = ask("m", f"Say something nice about the number {index}, please, and keep it short.", settings={"max_tokens": 100})
            call = Call(request=replace(request, attribution=who), started_at=utc_now(), deployments=settings.deployments("m"))
            call.state["request_hash"] = str(index)
            made.append(call)
            ledger.begin(begin_row(call))

        async def through() -> float:
            began = time.thread_time()
            for call in made:
                await policy.before(call)
                call.deployment, call.attempts, call.cost_usd = call.deployments[0], 1, CALL
                call.response = Response(usage=Usage(input_tokens=25, output_tokens=20), finish_reason="stop")
                await policy.after(call)
            return (time.thread_time() - began) / calls * 1e6

        print(f"before + after under 5 budgets: {asyncio.run(through()):.0f} us of CPU a call (bar 60)")
        for call in made:
            ledger.record("call", {**begin_row(call), "status": "ok", "ended_at": utc_now(), "cost_usd": CALL, "attempts": 1})


def main() -> None:
    """Prints all figures of budgets."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--callers", type=int, default=64)
    parser.add_argument("--http", type=int, nargs="*", default=[64, 256], help="callers of the storms over HTTP; none leaves them out")
    parser.add_argument("--hot", type=int, default=5000, help="calls for the cost of the policy; 0 leaves it out")
    options = parser.parse_args()
    if options.rounds:
        in_process(options)
    over_http(options)
    if options.hot:
        hot_path(options.hot)


if __name__ == "__main__":
    main()
