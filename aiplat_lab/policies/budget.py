"""Budgets that cannot be overspent: the worst case is held before a call, and its real cost booked after it.

One set of counters in whole nano-dollars serves enforcement, display and alerts. Each step on them is synchronous in the
gateway's one event loop, so no other call can come between the check and the hold.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from aiplat_lab.core.errors import BudgetExceeded, LedgerError, ProviderError
from aiplat_lab.core.registry import register
from aiplat_lab.core.settings import BudgetSettings, Settings
from aiplat_lab.core.times import period_start
from aiplat_lab.core.types import Attribution, Call, Clock, Deployment, Price, Request, Usage, utc_now
from aiplat_lab.ledger import Ledger
from aiplat_lab.policies._worst import ASSUMED_OUTPUT_TOKENS, NANO, Worst, choices, input_bound, output_limit, to_nano, to_usd, worst
from aiplat_lab.prices import Prices

MIN_OUTPUT_TOKENS = 16
"""The shortest answer worth paying for; a call that cannot afford it is refused."""
GOOD_OUTPUT_TOKENS = 1024
"""A call without a limit of its own takes an answer this long rather than wait for other calls to end."""
_LEASE_S = 30.0
_MAX_KNOWN_INPUTS = 20_000
_BILLED_FAILURES = frozenset({"cut_off", "timeout", "bad_reply"})


MOST_TOKENS_PER_S = 1000
"""The pace at which a model can think unseen, for the bound on a call that broke off."""
UNDER_WAY_TOKENS = 64
"""Tokens that a provider may have made and not yet sent when a call broke off."""


@dataclass(slots=True)
class Counter:
    """What one budget has spent and holds in its current period, in nano-dollars."""

    budget: BudgetSettings
    limit: int
    starts: datetime
    ends: datetime | None
    spent: int = 0
    held: int = 0
    alerted: float = 0.0
    """The highest share of the limit for which an alert was recorded."""

    @property
    def free(self) -> int:
        """What is neither spent nor held."""
        return self.limit - self.spent - self.held

    @property
    def name(self) -> str:
        """The budget as people speak of it, such as `the month's budget of team risk`."""
        kind, name = self.budget.scope
        whose = f" of {kind} {name}" if name else " of everyone"
        return f"the total budget{whose}" if self.budget.period == "total" else f"this {self.budget.period}'s budget{whose}"

    def to_json(self) -> dict[str, Any]:
        """The counter for people; money as text."""
        kind, name = self.budget.scope
        return {
            "scope": kind,
            "name": name,
            "period": self.budget.period,
            "limit_usd": f"{to_usd(self.limit):f}",
            "spent_usd": f"{to_usd(self.spent):f}",
            "held_usd": f"{to_usd(self.held):f}",
            "hard": self.budget.hard,
            "alert_at": list(self.budget.alert_at),
            "starts_at": self.starts.isoformat().replace("+00:00", "Z"),
        }


@dataclass(slots=True)
class _Hold:
    nano: int
    worst: Worst
    """What the call can cost as a function of what it writes, for a call that ends without a count."""
    counters: tuple[Counter, ...]
    lease_ends: float
    """On the event loop's clock; after it the hold is released."""
    capped: bool = False
    """Whether the call was sent with a limit that its caller did not set."""
    settled: bool = False


@dataclass(slots=True)
class _Ask:
    """A call that wants a hold."""

    call: Call
    hard: tuple[Counter, ...]
    counters: tuple[Counter, ...]
    priced: Sequence[tuple[Deployment, Price]]
    worst: Worst
    inputs: dict[str, int]
    """Input tokens by deployment, where they are known."""
    limit_tokens: int | None
    """The caller's own limit."""
    full_tokens: int
    """What the call may write at most when nothing is scarce."""
    capped: bool
    """Whether `full_tokens` must be sent, since nothing else holds the model to it."""
    granted: asyncio.Future[None] | None = None


@dataclass(slots=True)
class _Book:
    """All counters, holds and waiting calls."""

    counters: list[Counter] = field(default_factory=list)
    holds: dict[str, _Hold] = field(default_factory=dict)
    waiting: list[_Ask] = field(default_factory=list)


class _Inputs:
    """What is known of the number of input tokens beyond the bound for bytes: the same question has the same number, and a
    deployment that once counted more than the bound may do so again."""

    def __init__(self) -> None:
        self._counted: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._excess: dict[str, int] = {}

    def of(self, call: Call, deployments: Iterable[Deployment]) -> dict[str, int]:
        """Input tokens of the call by the names of the deployments for which more is known."""
        asked = str(call.state.get("request_hash", ""))
        known: dict[str, int] = {}
        for deployment in deployments:
            name = deployment.name
            counted = self._counted.get((name, asked))
            if counted is not None:
                known[name] = counted
            elif name in self._excess:
                known[name] = input_bound(call.request) + self._excess[name]
        return known

    def learn(self, call: Call) -> None:
        """Notes what the provider counted."""
        usage = call.response.usage if call.response is not None else None
        if usage is None or call.deployment is None or call.cache == "hit":
            return
        name, counted = call.deployment.name, usage.total_input_tokens
        key = (name, str(call.state.get("request_hash", "")))
        self._counted[key] = max(counted, self._counted.pop(key, 0))
        if len(self._counted) > _MAX_KNOWN_INPUTS:
            self._counted.popitem(last=False)
        excess = counted - input_bound(call.request)
        if excess > self._excess.get(name, 0):
            self._excess[name] = excess


@register("policy", "budget")
class Budget:
    """Refuses a call that might cost more than a hard budget has left; soft budgets only flag and alert.

    A caller who sets no `max_tokens` is given one that fits when the budget runs low. A call that only other calls' holds
    keep out waits for them, first come, first served.
    """

    name = "budget"

    def __init__(self, settings: Settings, ledger: Ledger, *, clock: Clock = utc_now) -> None:
        self._ledger = ledger
        self._clock = clock
        self._zone = settings.time_zone
        self._prices = Prices(settings)
        self._book = _Book()
        self._inputs = _Inputs()
        now = clock()
        known: dict[datetime, list[dict[str, Any]]] = {}
        for budget in settings.budgets:
            counter = Counter(budget, to_nano(budget.limit_usd), now, None)
            self._turn(counter, now, known)
            self._book.counters.append(counter)

    def counters(self) -> list[dict[str, Any]]:
        """Every budget with what it has spent and holds now; the figures that enforcement uses."""
        now = self._clock()
        for counter in self._book.counters:
            self._turn_if_due(counter, now)
        return [counter.to_json() for counter in self._book.counters]

    async def before(self, call: Call) -> None:
        """Holds the worst case in every budget that the call falls under.

        Raises:
            BudgetExceeded: not even a short answer fits, or no price is known under a hard budget.
        """
        counters = self._matching(call.request.attribution)
        if not counters:
            return
        now = self._clock()
        for counter in counters:
            self._turn_if_due(counter, now)
        hard = tuple(counter for counter in counters if counter.budget.hard)
        longest = _longest(call.request)
        priced = [(one, self._prices.of(one, call.started_at, usage=longest)) for one in call.deployments]
        known = [(one, price) for one, price in priced if price is not None]
        if hard and len(known) < len(priced):
            self._only_priced(call, hard[0], [one for one, _ in known])
        if not known:
            return
        ask = _ask(call, hard, counters, known, self._inputs.of(call, call.deployments))
        if not self._blocked(ask) and self._grant(ask):
            return
        await self._wait(ask)

    async def after(self, call: Call) -> None:
        """Books the real cost in place of the hold, and lets waiting calls in."""
        hold: _Hold | None = call.state.get(self.name)
        counters = hold.counters if hold is not None else self._matching(call.request.attribution)
        if not counters:
            return
        cost = self._cost(call, hold)
        self._inputs.learn(call)
        if hold is not None:
            self._release(call.id, hold)
            if call.cost_usd is not None and cost > hold.nano:
                call.flags.append("over_reservation")
            if hold.capped and call.response is not None and call.response.finish_reason == "length":
                call.flags.append("max_tokens_fitted")
        if cost:
            for counter in counters:
                if call.started_at >= counter.starts:
                    counter.spent += cost
                    self._alert(counter, call)
                if not counter.budget.hard and counter.spent > counter.limit and "over_budget" not in call.flags:
                    call.flags.append("over_budget")
        self._admit_waiting()

    # --- counters ---------------------------------------------------------------------------------------------------

    def _matching(self, who: Attribution) -> tuple[Counter, ...]:
        if not self._book.counters:
            return ()
        names = {
            "everyone": "",
            "team": who.team,
            "project": who.project,
            "key": who.key_id,
            "user": who.user_id,
            "prompt": who.prompt_name,
        }
        return tuple(counter for counter in self._book.counters if names[counter.budget.scope[0]] == counter.budget.scope[1])

    def _turn_if_due(self, counter: Counter, now: datetime) -> None:
        if now < counter.starts or (counter.ends is not None and now >= counter.ends):
            self._turn(counter, now)

    def _turn(self, counter: Counter, now: datetime, known: dict[datetime, list[dict[str, Any]]] | None = None) -> None:
        """Begins the period that holds `now`, with what the ledger says was spent in it."""
        period = counter.budget.period
        counter.starts = period_start(period, now=now, time_zone=self._zone)
        counter.ends = _period_end(period, counter.starts, self._zone)
        kind, name = counter.budget.scope
        rows = (known or {}).get(counter.starts)
        if rows is None:
            rows = self._ledger.view_rows("spend_by_scope", {"since": counter.starts})
            if known is not None:
                known[counter.starts] = rows
        counter.spent = sum(to_nano(Decimal(row["cost_usd"] or 0)) for row in rows if row["scope"] == kind and (row["name"] or "") == name)
        share = counter.spent / counter.limit if counter.limit else 1.0
        counter.alerted = max((mark for mark in counter.budget.alert_at if mark <= share), default=0.0)

    def _only_priced(self, call: Call, counter: Counter, known: list[Deployment]) -> None:
        """Leaves out deployments whose cost nobody can know; refuses when none is left."""
        if not known:
            names = ", ".join(one.name for one in call.deployments)
            raise BudgetExceeded(
                f"no price is known for {names}, and {counter.name} is a hard one, so the call is refused. Give the deployment "
                f"input_usd_per_mtok and output_usd_per_mtok under [models] in aiplat.toml (0 if it is free).",
                policy=self.name,
                reason="no_price",
            )
        call.deployments = tuple(known)
        call.flags.append("unpriced_skipped")

    # --- holds ------------------------------------------------------------------------------------------------------

    def _grant(self, ask: _Ask) -> bool:
        """Holds what the call needs, in one step, when it fits now.

        Raises:
            BudgetExceeded: it cannot fit even once every other call has ended.
        """
        inputs = self._inputs.of(ask.call, [one for one, _ in ask.priced])
        if inputs != ask.inputs:
            ask.inputs, ask.worst = inputs, worst(ask.call.request, ask.priced, inputs)
        free = min((counter.free for counter in ask.hard), default=None)
        tokens = ask.full_tokens
        if free is not None and ask.worst.nano(tokens) > free:
            self._sweep()
            free = min(counter.free for counter in ask.hard)
            fitted = self._fitted(ask, free)
            if fitted is None:
                return False
            tokens = fitted
        capped = ask.limit_tokens is None and (tokens < ask.full_tokens or ask.capped) and not ask.worst.free
        if capped:
            _limit(ask.call, tokens)
            if tokens < ask.full_tokens:
                ask.call.flags.append("max_tokens_fitted")
        hold = _Hold(ask.worst.nano(tokens), ask.worst, ask.counters, _now() + _lease_s(ask.call), capped)
        if hold.nano:
            self._ledger.hold(ask.call.id, to_usd(hold.nano))
        for counter in ask.counters:
            counter.held += hold.nano
        self._book.holds[ask.call.id] = hold
        ask.call.state[self.name] = hold
        return True

    def _fitted(self, ask: _Ask, free: int) -> int | None:
        """How many tokens the call may write now; None when it should wait."""
        if ask.limit_tokens is not None:
            if ask.worst.nano(ask.limit_tokens) <= free:
                return ask.limit_tokens
            self._refuse_if_hopeless(ask, ask.limit_tokens)
            return None
        tokens = min(ask.worst.fitting_tokens(free), ask.full_tokens)
        least = min(MIN_OUTPUT_TOKENS * choices(ask.call.request), ask.full_tokens)
        if tokens >= min(GOOD_OUTPUT_TOKENS, ask.full_tokens):
            return tokens
        self._refuse_if_hopeless(ask, least)
        alone = all(counter.held == 0 for counter in ask.hard if ask.worst.nano(ask.full_tokens) > counter.free)
        return tokens if alone and tokens >= least else None

    def _refuse_if_hopeless(self, ask: _Ask, tokens: int) -> None:
        needed = ask.worst.nano(tokens)
        for counter in ask.hard:
            if counter.spent + needed > counter.limit:
                raise _exceeded(ask, counter, tokens)

    def _release(self, call_id: str, hold: _Hold) -> None:
        if not hold.settled:
            hold.settled = True
            self._book.holds.pop(call_id, None)
            for counter in hold.counters:
                counter.held -= hold.nano

    def _sweep(self) -> None:
        """Releases holds whose call should long have ended, so that none outlives its lease."""
        now = _now()
        for call_id, hold in [item for item in self._book.holds.items() if item[1].lease_ends < now]:
            self._release(call_id, hold)

    def _cost(self, call: Call, hold: _Hold | None) -> int:
        """What the call takes from its budgets: its cost, or a bound on it when the provider gave no count."""
        if call.cost_usd is not None:
            return to_nano(call.cost_usd)
        if hold is None or not may_have_cost(call) or not hold.nano:
            return 0
        bound = min(hold.nano, hold.worst.nano(written_bound(call)))
        call.flags.append("budget_booked_bound")
        self._record("budget_booked", {"id": call.id, "usd": f"{to_usd(bound):f}"}, call)
        return bound

    # --- waiting ----------------------------------------------------------------------------------------------------

    def _blocked(self, ask: _Ask) -> bool:
        """Whether a call that waits longer wants the same budget."""
        return any(counter in other.hard for other in self._book.waiting for counter in ask.hard)

    async def _wait(self, ask: _Ask) -> None:
        """Waits for other calls' holds, no longer than the call itself may take."""
        ask.granted = asyncio.get_running_loop().create_future()
        self._book.waiting.append(ask)
        began = _now()
        try:
            async with asyncio.timeout(_time_s(ask.call)):
                await ask.granted
        except TimeoutError:
            counter = min(ask.hard, key=lambda one: one.free)
            raise BudgetExceeded(
                f"{counter.name} (limit {_dollars(counter.limit)}, spent {_dollars(counter.spent)}) is held by calls under way "
                f"({_dollars(counter.held)}), and none ended within {_now() - began:.0f} s. Send the call again later.",
                policy=self.name,
            ) from None
        finally:
            ask.call.queued_s += _now() - began
            if ask in self._book.waiting:
                self._book.waiting.remove(ask)
                self._admit_waiting()

    def _admit_waiting(self) -> None:
        """Lets in, in their order, the waiting calls that fit now; tells those that never can."""
        passed: list[_Ask] = []
        for ask in list(self._book.waiting):
            if ask.granted is None or ask.granted.done() or any(counter in other.hard for other in passed for counter in ask.hard):
                passed.append(ask)
                continue
            try:
                granted = self._grant(ask)
            except (BudgetExceeded, LedgerError) as refused:
                self._book.waiting.remove(ask)
                ask.granted.set_exception(refused)
                continue
            if granted:
                self._book.waiting.remove(ask)
                ask.granted.set_result(None)
            else:
                passed.append(ask)

    # --- alerts -----------------------------------------------------------------------------------------------------

    def _alert(self, counter: Counter, call: Call) -> None:
        if not counter.limit:
            return
        share = counter.spent / counter.limit
        crossed = max((mark for mark in counter.budget.alert_at if counter.alerted < mark <= share), default=None)
        if crossed is None:
            return
        counter.alerted = crossed
        facts = {**counter.to_json(), "share": str(crossed), "call_id": call.id, "at": self._clock()}
        facts.pop("alert_at")
        self._record("budget_alert", facts, call)

    def _record(self, kind: str, facts: dict[str, Any], call: Call) -> None:
        try:
            self._ledger.record(kind, facts)
        except LedgerError:
            call.flags.append(f"{kind}_not_recorded")


def written_bound(call: Call) -> int:
    """Tokens that a call can have made the model write until it broke off, as far as can be known from here.

    A token of text has one byte at least; before the first text a model may have thought, at a pace that has a limit;
    and a few tokens may have been under way.
    """
    seen = sum(len(piece.encode("utf-8", "replace")) for piece in call.partial)
    thinking_s = call.time_to_first_token_s if call.time_to_first_token_s is not None else call.latency_s
    return seen + int(thinking_s * MOST_TOKENS_PER_S) + UNDER_WAY_TOKENS


def may_have_cost(call: Call) -> bool:
    """Whether the provider may charge for a call that ended without a count of its tokens."""
    if call.attempts == 0 or call.status == "refused":
        return False
    if isinstance(call.error, ProviderError):
        return call.error.reason in _BILLED_FAILURES or bool(call.partial)
    return True


def _ask(
    call: Call, hard: tuple[Counter, ...], counters: tuple[Counter, ...], priced: Sequence[tuple[Deployment, Price]], inputs: dict[str, int]
) -> _Ask:
    request = call.request
    limit = output_limit(request) if request.operation == "chat" else 0
    full, capped = limit, False
    if full is None:
        known = [one.max_output_tokens for one, _ in priced if one.max_output_tokens is not None]
        capped = len(known) < len(priced) and bool(hard)
        full = max(known) if known and not capped else max([ASSUMED_OUTPUT_TOKENS, *known])
        full *= choices(request)
    return _Ask(call, hard, counters, priced, worst(request, priced, inputs), inputs, limit, full, capped)


def _longest(request: Request) -> Usage:
    """The longest that the input can be, since some models cost more beyond a length."""
    return Usage(input_tokens=input_bound(request), output_tokens=1 if request.operation == "chat" else 0)


def _limit(call: Call, tokens: int) -> None:
    """Sends a limit of `tokens` for all answers together; a provider puts it into a caller's own body too."""
    each = max(1, tokens // choices(call.request))
    call.request = replace(call.request, settings={**call.request.settings, "max_tokens": each})


def _exceeded(ask: _Ask, counter: Counter, tokens: int) -> BudgetExceeded:
    needed = ask.worst.nano(tokens)
    left = counter.limit - counter.spent
    fits = ask.worst.fitting_tokens(left)
    advice = f"Lower max_tokens to {fits} or less, shorten" if ask.limit_tokens and fits >= MIN_OUTPUT_TOKENS else "Shorten"
    return BudgetExceeded(
        f"{counter.name} does not cover this call: limit {_dollars(counter.limit)}, spent {_dollars(counter.spent)}, "
        f"held by calls under way {_dollars(counter.held)}, needed up to {_dollars(needed)} (an answer of {tokens} tokens). "
        f"{advice} the prompt, choose a cheaper model, or raise limit_usd under [[budgets]] in aiplat.toml.",
        policy=Budget.name,
        scope=counter.budget.scope[0],
        name=counter.budget.scope[1],
        limit_usd=f"{to_usd(counter.limit):f}",
        spent_usd=f"{to_usd(counter.spent):f}",
        held_usd=f"{to_usd(counter.held):f}",
        needed_usd=f"{to_usd(needed):f}",
    )


def _dollars(nano: int) -> str:
    """An amount for people, without idle zeros."""
    whole, _, part = f"{to_usd(nano):.9f}".partition(".")
    return f"${whole}.{part.rstrip('0').ljust(2, '0')}"


def _period_end(period: str, starts: datetime, zone: str) -> datetime | None:
    if period == "total":
        return None
    days = {"day": 1.5, "week": 7.5, "month": 32.0}[period]
    return period_start(period, now=starts + timedelta(days=days), time_zone=zone).astimezone(UTC)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _time_s(call: Call) -> float:
    """The longest that the call may take."""
    if call.request.timeout_s is not None:
        return call.request.timeout_s
    return max((one.timeout_s for one in call.deployments), default=120.0)


def _lease_s(call: Call) -> float:
    return sum(one.timeout_s for one in call.deployments) + (call.request.timeout_s or 0.0) + _LEASE_S


__all__ = ["GOOD_OUTPUT_TOKENS", "MIN_OUTPUT_TOKENS", "NANO", "Budget", "Counter", "may_have_cost"]
