"""Breakers and budgets as algorithms: when a deployment is left alone, when it is tried again, and how much may be sent twice."""

from __future__ import annotations

import random

import pytest

from aiplat_lab.core.errors import ContentRefused, ProviderError
from aiplat_lab.gateway._breaker import HEDGE_SHARE, RETRY_BURST, Breaker, Budget, counts


def error(reason: str = "unavailable", *, status: int | None = 500, retryable: bool = True) -> ProviderError:
    return ProviderError(f"it {reason}", provider="up", model="x", status=status, reason=reason, retryable=retryable)


def test_it_opens_after_failures_in_a_row_and_lets_one_try() -> None:
    breaker = Breaker(failures=3, open_s=10)
    for _ in range(2):
        breaker.failed(error(), 0.0)
    breaker.succeeded()
    for at in (1.0, 2.0):
        breaker.failed(error(), at)
    assert breaker.state(2.0) == "closed" and breaker.admits(2.0)
    breaker.failed(error(), 3.0)
    assert breaker.state(3.0) == "open" and not breaker.admits(12.9) and breaker.left_s(5.0) == 8.0
    assert breaker.state(13.0) == "half-open" and breaker.admits(13.0)
    assert breaker.enter() and not breaker.admits(13.1), "a single call tries it"
    breaker.failed(error(), 14.0)
    assert breaker.state(14.0) == "open" and breaker.opened == 2
    assert breaker.enter() and breaker.probing
    breaker.let_go()
    assert breaker.admits(24.0), "a try without a verdict is no verdict"
    breaker.enter()
    breaker.succeeded()
    assert breaker.state(24.0) == "closed" and breaker.in_a_row == 0


def test_after_a_try_that_began_to_answer_one_failure_is_enough() -> None:
    breaker = Breaker(failures=3, open_s=1)
    for _ in range(3):
        breaker.failed(error(), 0.0)
    breaker.enter()
    breaker.answered()
    assert breaker.admits(2.0)
    breaker.failed(error(), 2.0)
    assert not breaker.admits(2.1)


def test_every_other_failure_opens_it_too() -> None:
    breaker = Breaker(failures=5, open_s=1)
    for place in range(20):
        assert breaker.opened == 0
        breaker.failed(error(), 0.0) if place % 2 else breaker.succeeded()
    assert breaker.opened == 1


def test_zero_never_opens() -> None:
    breaker = Breaker(failures=0, open_s=1)
    for _ in range(100):
        breaker.failed(error(), 0.0)
    assert breaker.admits(0.0) and breaker.state(0.0) == "closed"


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (error(), True),
        (error("timeout", status=None), True),
        (error("cut_off", status=None), True),
        (error("auth", status=401, retryable=False), True),
        (error("bad_request", status=404, retryable=False), True),
        (error("bad_request", status=400, retryable=False), False),
        (error("context_length", status=400, retryable=False), False),
        (error("rate_limited", status=429), False),
        (error("rate_limited", status=429, retryable=False), True),
        (ContentRefused("no", policy="redaction"), False),
    ],
)
def test_what_speaks_against_a_deployment(failure: Exception, expected: bool) -> None:
    assert counts(failure) is expected


@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_the_retry_budget_holds_whatever_comes(share: float) -> None:
    rng, budget, taken = random.Random(3), Budget(share), 0
    for calls in range(1, 2000):
        budget.call()
        for _ in range(rng.randint(0, 3)):
            taken += budget.take()
        assert taken <= RETRY_BURST + share * calls + 1e-6
    assert budget.refused > 0


def test_second_questions_stay_below_their_share() -> None:
    budget, taken = Budget(0.2), 0
    for calls in range(1, 1000):
        budget.call()
        taken += budget.take_hedge()
        assert taken <= max(1, calls * HEDGE_SHARE + 1)
    assert taken == 50
