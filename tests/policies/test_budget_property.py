"""For any order of calls: what is spent and held never passes a hard limit, and nothing that fits is refused or left waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from aiplat_lab.core.errors import BudgetExceeded, CallCancelled, CallRefused
from aiplat_lab.core.ids import new_id
from aiplat_lab.core.settings import Home, parse
from aiplat_lab.core.types import Attribution, Call, Message, Price, Request, Response, Usage
from aiplat_lab.ledger import Ledger
from aiplat_lab.policies._worst import input_bound, output_limit, to_nano
from aiplat_lab.policies.budget import Budget
from aiplat_lab.prices import cost

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
TABLES = """
[providers.one]
kind = "openai"
base_url = "http://127.0.0.1:9"
[providers.two]
kind = "openai"
base_url = "http://127.0.0.1:9"
[models.m]
deployments = [
  { provider = "one", model = "a", input_usd_per_mtok = 2.5, output_usd_per_mtok = 10, max_output_tokens = 2000 },
  { provider = "two", model = "b", input_usd_per_mtok = 1, output_usd_per_mtok = 30 },
]
"""
SCOPES = ("", 'team = "t0"', 'project = "p0"', 'team = "t0"\nproject = "p0"', 'provider = "one"', 'provider = "two"', 'tag = "g=1"')


@dataclass(frozen=True)
class Plan:
    """One call: what it asks, and what becomes of it."""

    team: str
    project: str
    tag: str
    text: str
    max_tokens: int | None
    input_share: float
    output_share: float
    begins_after: int
    takes: int
    ends: str
    """`answered`, `uncounted`, `failed` or `cancelled`."""
    falls_back: bool


plans = st.builds(
    Plan,
    team=st.sampled_from(["t0", "t1"]),
    project=st.sampled_from(["p0", "p1"]),
    tag=st.sampled_from(["1", "2"]),
    text=st.text(max_size=120),
    max_tokens=st.none() | st.integers(1, 400),
    input_share=st.floats(0.05, 1),
    output_share=st.floats(0, 1),
    begins_after=st.integers(0, 12),
    takes=st.integers(0, 8),
    ends=st.sampled_from(["answered"] * 6 + ["uncounted", "failed", "cancelled"]),
    falls_back=st.booleans(),
)
CUT_OFF = Plan("t0", "p0", "1", "", 3, input_share=1, output_share=0, begins_after=0, takes=1, ends="uncounted", falls_back=False)
"""Costs 90,000 nano-dollars at most where it went, and 114,000 at the deployment that it did not reach."""
budgets = st.lists(st.tuples(st.sampled_from(SCOPES), st.integers(200_000, 60_000_000), st.booleans()), min_size=1, max_size=5)


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    with Ledger.open(Home(tmp_path_factory.mktemp("property") / "home")) as opened:
        yield opened


def policy_of(ledger: Ledger, several: list[tuple[str, int, bool]]) -> Budget:
    toml = "".join(
        f'[[budgets]]\nlimit_usd = {Decimal(limit).scaleb(-9):f}\nperiod = "total"\nfit = {str(fit).lower()}\nalert_at = []\n{scope}\n'
        for scope, limit, fit in several
    )
    return Budget(parse(toml + TABLES), ledger, clock=lambda: NOW)


class Watch:
    """What is true at every moment."""

    def __init__(self, policy: Budget, *, kept: bool) -> None:
        self.policy, self.kept, self.excess = policy, kept, 0
        self.booked: list[tuple[Call, int]] = []

    def check(self) -> None:
        for counter in self.policy._counters._all:
            for span in counter.spans.values():
                assert span.held >= 0 and span.expected >= 0
                assert span.spent + span.held <= counter.limit + (0 if self.kept else self.excess)


async def trip(watch: Watch, plan: Plan, gateway_call: Call, overuse: int) -> str:
    """One call through the policy, as the pipeline would take it."""
    call, policy = gateway_call, watch.policy
    for _ in range(plan.begins_after):
        await asyncio.sleep(0)
    try:
        await policy.before(call)
    except BudgetExceeded as refused:
        call.status, call.cost_usd = "refused", Decimal(0)
        watch.check()
        await policy.after(call)
        return "refused" if "needed_usd" in refused.details else f"timeout {refused}"
    watch.check()
    for _ in range(plan.takes):
        await asyncio.sleep(0)
    call.attempts = 1
    call.deployment = call.deployments[-1 if plan.falls_back else 0]
    prices = {"one": Price(version="t", input_usd_per_mtok=Decimal("2.5"), output_usd_per_mtok=Decimal(10)),
              "two": Price(version="t", input_usd_per_mtok=Decimal(1), output_usd_per_mtok=Decimal(30))}  # fmt: skip
    limit = output_limit(call.request)
    most = 2000 if call.deployment.provider == "one" else None
    written = min(one for one in (limit, most, 10**6) if one is not None)
    usage = Usage(
        input_tokens=max(1, int(input_bound(call.request) * plan.input_share)), output_tokens=int(written * plan.output_share) * overuse
    )
    call.ended_at = call.started_at + timedelta(seconds=0.05)
    if plan.ends == "answered":
        call.response = Response(usage=usage, finish_reason="stop")
        call.cost_usd = cost(usage, prices[call.deployment.provider])
    elif plan.ends == "uncounted":
        call.response = Response(text="x", finish_reason="stop")
    elif plan.ends == "failed":
        call.status, call.cost_usd, call.error = "error", Decimal(0), CallRefused("no", policy="content")
    else:
        call.status, call.error, call.partial = "cancelled", CallCancelled("left"), ["some text"]
    hold = call.state.get("budget")
    there = ("", call.deployment.provider)
    held = min((part.nano for part in hold.ask.parts if part.counter.budget.provider in there), default=None) if hold is not None else None
    over = 0 if held is None or call.cost_usd is None else max(0, to_nano(call.cost_usd) - held)
    watch.excess += over
    parts = [(part, part.span.spent) for part in hold.ask.parts] if hold is not None and call.cost_usd is None else []
    await policy.after(call)
    assert all(part.span.spent - before <= part.nano for part, before in parts), "a bound is no more than what was held"
    assert ("over_reservation" in call.flags) == (over > 0), "what is charged beyond the hold is flagged"
    watch.check()
    return plan.ends


def calls_of(policy: Budget, chosen: list[Plan]) -> list[Call]:
    made = []
    for plan in chosen:
        who = Attribution(team=plan.team, project=plan.project, tags={"g": plan.tag})
        asked = Request(
            model="m",
            messages=(Message("user", plan.text),),
            settings={} if plan.max_tokens is None else {"max_tokens": plan.max_tokens},
            attribution=who,
            timeout_s=20.0,
        )
        made.append(Call(request=asked, started_at=NOW, deployments=policy._settings.deployments("m"), state={"request_hash": new_id()}))
    return made


def run(ledger: Ledger, several: list[tuple[str, int, bool]], chosen: list[Plan], *, overuse: int) -> tuple[Watch, list[Any], list[Call]]:
    policy = policy_of(ledger, several)
    watch = Watch(policy, kept=overuse == 1)
    calls = calls_of(policy, chosen)

    async def whole() -> list[Any]:
        async with asyncio.timeout(15):
            return await asyncio.gather(*(trip(watch, plan, call, overuse) for plan, call in zip(chosen, calls, strict=True)))

    return watch, asyncio.run(whole()), calls


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(several=budgets, chosen=st.lists(plans, min_size=1, max_size=24))
@example(several=[('provider = "one"', 90_000, True)], chosen=[CUT_OFF])
def test_no_limit_is_passed_and_nobody_waits_for_ever(ledger: Ledger, several: list[tuple[str, int, bool]], chosen: list[Plan]) -> None:
    watch, ends, _ = run(ledger, several, chosen, overuse=1)
    assert not [one for one in ends if str(one).startswith("timeout")]
    for counter in watch.policy._counters._all:
        (span,) = counter.spans.values()
        assert span.held == span.expected == span.waiting == 0
        assert span.spent <= counter.limit
    assert not watch.policy._book.waiting and not watch.policy._book.holds


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(several=budgets, chosen=st.lists(plans, min_size=1, max_size=24), overuse=st.integers(2, 5))
def test_a_provider_that_keeps_no_limit_passes_it_by_what_it_overcharged(
    ledger: Ledger, several: list[tuple[str, int, bool]], chosen: list[Plan], overuse: int
) -> None:
    watch, ends, calls = run(ledger, several, chosen, overuse=overuse)
    assert not [one for one in ends if str(one).startswith("timeout")]
    flagged = any("over_reservation" in call.flags for call in calls)
    assert (watch.excess > 0) == flagged
    for counter in watch.policy._counters._all:
        (span,) = counter.spans.values()
        assert span.held == span.waiting == 0 and span.spent <= counter.limit + watch.excess


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(limit=st.integers(5_000_000, 100_000_000), chosen=st.lists(plans, min_size=30, max_size=60))
def test_what_fits_is_let_in(ledger: Ledger, limit: int, chosen: list[Plan]) -> None:
    """A refused call would not have fitted, even with the shortest answer, once all others had ended."""
    policy = policy_of(ledger, [("", limit, True)])
    watch = Watch(policy, kept=True)
    calls = calls_of(policy, chosen)
    (counter,) = policy._counters._all

    async def one(plan: Plan, call: Call) -> None:
        end = await trip(watch, plan, call, 1)
        if end == "refused":
            (span,) = counter.spans.values()
            least = min(plan.max_tokens or 16, 10**6)
            dearest = max(to_nano(Decimal(input_bound(call.request)) * rate[0] + least * rate[1]) // 10**6
                          for rate in ((Decimal("2.5"), 10), (Decimal(1), 30)))  # fmt: skip
            assert span.spent + dearest >= counter.limit

    async def whole() -> None:
        async with asyncio.timeout(15):
            await asyncio.gather(*(one(plan, call) for plan, call in zip(chosen, calls, strict=True)))

    asyncio.run(whole())
