"""`POST /api/plan` and the budgets of notebooks: nothing is sent, held or recorded by a plan, and no notebook overspends."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from faults import FaultServer
from gatewaykit import CANARY, ask, model, world

from aiplat_lab.core.errors import AiplatError, BudgetExceeded, UnknownModel
from aiplat_lab.core.settings import Home
from aiplat_lab.core.types import Attribution, Request

PRICED = model("echo", "echo, input_usd_per_mtok = 2, output_usd_per_mtok = 8")
TOML = (
    PRICED
    + model("long", "echo, input_usd_per_mtok = 2, output_usd_per_mtok = 8, max_output_tokens = 100")
    + model("unpriced", "echo")
    + '[teams.eu]\nresidency = ["eu"]\n[[budgets]]\nteam = "tight"\nlimit_usd = 0.001\nperiod = "total"\n'
    + '[[limits]]\nteam = "slow"\nrpm = 1\n[redaction]\ninput = "mask"\n'
)


@pytest.fixture(scope="module")
def upstream() -> Iterator[FaultServer]:
    with FaultServer() as server:
        yield server


@pytest.fixture
def home(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("UP_KEY", CANARY)
    return Home(tmp_path / "home").create()


def verdicts(plan: dict[str, Any]) -> dict[str, str]:
    return {one["policy"]: one["verdict"] for one in plan["policies"]}


def test_a_plan_says_what_a_call_then_does_and_changes_nothing(home: Home, upstream: FaultServer):
    async def whole() -> None:
        async with world(home, upstream, TOML) as here:
            gateway = here.gateway
            asked = ask("long", "one two three", cache="on", team="tight")
            before = gateway.budgets()
            seen = len(upstream.requests)
            plan = await gateway.plan(asked)
            assert plan["state"] == "live" and plan["priced"] and plan["output_tokens_most"] == 100
            assert gateway.budgets() == before and here.rows() == [] and len(upstream.requests) == seen and gateway.in_flight() == []
            answer = await gateway.handle(asked)
            assert answer.cost_usd is not None
            assert Decimal(plan["low_usd"]) <= answer.cost_usd * 6  # an estimate of the input, not a bound
            assert answer.cost_usd <= Decimal(plan["high_usd"])
            again = await gateway.plan(replace(asked, call_id=ask("long").call_id))
            assert again["state"] == "replay" and again["replay_of"] == asked.call_id and again["high_usd"] == "0"
            assert verdicts(again)["cache"] == "answers" and again["request_hash"] == plan["request_hash"]
            assert len(here.rows()) == 1

    asyncio.run(whole())


def test_each_policy_says_what_it_would_do(home: Home, upstream: FaultServer):
    async def whole() -> None:
        async with world(home, upstream, TOML) as here:
            gateway = here.gateway
            masked = await gateway.plan(ask("long", "write to bob.smith@example.com", cache="on"))
            assert verdicts(masked)["redact"] == "changes" and "bob.smith" not in str(masked["request"])
            abroad = await gateway.plan(ask("long", team="eu"))
            assert abroad["state"] == "refused" and verdicts(abroad)["residency"] == "refuses"
            dear = await gateway.plan(ask("echo", "x " * 2000, team="tight"))
            assert dear["state"] == "refused" and verdicts(dear)["budget"] == "refuses"
            fitted = await gateway.plan(ask("echo", "x", team="tight"))
            assert verdicts(fitted)["budget"] == "changes" and fitted["output_tokens_most"] == fitted["budget"]["max_tokens"]
            await gateway.handle(ask("long", team="slow"))
            waits = await gateway.plan(ask("long", team="slow"))
            assert verdicts(waits)["limits"] == "waits" and waits["state"] == "live"
            unpriced = await gateway.plan(ask("unpriced"))
            assert not unpriced["priced"] and unpriced["high_usd"] is None
            with pytest.raises(UnknownModel):
                await gateway.plan(ask("nosuch"))

    asyncio.run(whole())


def test_the_longest_answer_within_an_amount_is_exact(home: Home, upstream: FaultServer):
    async def whole() -> None:
        async with world(home, upstream, TOML) as here:
            amount = Decimal("0.000500")
            tokens = (await here.gateway.plan(ask("echo"), max_usd=amount))["tokens_within"]
            fits = await here.gateway.plan(ask("echo", settings={"max_tokens": tokens}))
            more = await here.gateway.plan(ask("echo", settings={"max_tokens": tokens + 1}))
            assert Decimal(fits["high_usd"]) <= amount < Decimal(more["high_usd"])

    asyncio.run(whole())


def of_notebook(path: str, text: str) -> Request:
    asked = ask("echo", text, settings={"max_tokens": 40})
    return replace(asked, attribution=Attribution(surface="magic", notebook=path))


@pytest.mark.parametrize("paths", [("a.ipynb",), ("a.ipynb", "/root/a.ipynb")], ids=["one-name", "both-names"])
def test_sixteen_cells_at_once_never_pass_the_notebooks_budget(home: Home, upstream: FaultServer, paths: tuple[str, ...]):
    async def whole() -> None:
        async with world(home, upstream, PRICED) as here:
            limit = Decimal("0.002")
            row = {"id": "day a.ipynb", "notebook": "a.ipynb", "also": "/root/a.ipynb", "period": "day", "limit_usd": str(limit)}
            here.ledger.record("notebook_budget", row)
            for batch in range(4):
                asked = [of_notebook(paths[index % len(paths)], f"cell {batch} {index} " + "word " * 30) for index in range(16)]
                await asyncio.gather(*(here.gateway.handle(one) for one in asked), return_exceptions=True)
                [budget] = here.gateway.budgets()
                assert Decimal(budget["spent_usd"]) <= limit and Decimal(budget["held_usd"]) == 0
            spent = sum(row["cost_usd"] or 0 for row in here.rows())
            refused = [row for row in here.rows() if row["status"] == "refused"]
            assert Decimal(here.gateway.budgets()[0]["spent_usd"]) == spent > limit / 2 and refused
            await here.gateway.handle(of_notebook("other.ipynb", "not held"))

    asyncio.run(whole())


def test_a_notebooks_budget_is_raised_ended_and_kept_over_a_restart(home: Home, upstream: FaultServer):
    async def whole() -> None:
        row = {"id": "day a.ipynb", "notebook": "a.ipynb", "period": "day", "limit_usd": "0.000001"}
        async with world(home, upstream, PRICED) as here:
            await here.gateway.handle(of_notebook("a.ipynb", "before"))
            here.ledger.record("notebook_budget", row)
            with pytest.raises(BudgetExceeded, match="%ai budget"):
                await here.gateway.handle(of_notebook("a.ipynb", "small"))
            here.ledger.record("notebook_budget", {**row, "limit_usd": "1"})
            await here.gateway.handle(of_notebook("a.ipynb", "raised"))
            spent = here.gateway.budgets()[0]["spent_usd"]
            assert Decimal(spent) == sum(one["cost_usd"] for one in here.rows())  # what was spent before it was set counts
        async with world(home, upstream, PRICED) as here:
            assert here.gateway.budgets()[0]["spent_usd"] == spent
            here.ledger.record("notebook_budget", {**row, "limit_usd": None})
            assert here.gateway.budgets() == []
            await here.gateway.handle(of_notebook("a.ipynb", "free"))

    asyncio.run(whole())


def test_a_failed_call_of_the_notebook_costs_its_budget_nothing(home: Home, upstream: FaultServer):
    async def whole() -> None:
        async with world(home, upstream, PRICED + model("bad", "status-500, input_usd_per_mtok = 2, output_usd_per_mtok = 8")) as here:
            here.ledger.record("notebook_budget", {"id": "day a.ipynb", "notebook": "a.ipynb", "period": "day", "limit_usd": "1"})
            with pytest.raises(AiplatError):
                await here.gateway.handle(replace(of_notebook("a.ipynb", "fails"), model="bad"))
            [budget] = here.gateway.budgets()
            assert Decimal(budget["spent_usd"]) == Decimal(budget["held_usd"]) == 0

    asyncio.run(whole())
