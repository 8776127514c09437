"""Budgets that cannot be overspent: the worst case is held before a call, and its real cost booked after it.

One set of counters in whole nano-dollars serves enforcement, display and alerts. Each step on them is synchronous in the gateway's one
event loop, so no other call can come between the check and the hold.

**Why it is exact.** A call is let in only when, in every hard budget that it falls under, `spent + held + worst case <= limit`, where
`held` is the sum of the worst cases of the calls under way. The worst case is a bound, not an estimate: a tokenizer makes no more
tokens than there are bytes (or than the provider counted for the same messages before), the answer has no more tokens than the limit
that is sent, each token costs no more than its dearest class. A call's cost replaces its hold in one step. So `spent + held <= limit`
holds at every moment, for any order of calls, and `spent <= limit` at the end of it, as long as the provider keeps to the limit that it
was sent; where it does not, the budget is passed by no more than what the calls under way were charged beyond their holds, and each of
these is flagged `over_reservation`.

**Why it refuses nothing that fits.** What was learned (see `_estimates`) never loosens that rule. It decides how what is left is shared
out: a caller who set no `max_tokens` can be given any, and is given what answers of its task need with room to spare instead of all that
the model could write, so that many such calls fit beside one another. What only others' holds keep out waits for them, first come,
first served: they settle at what they cost, which is far less. A call is refused when it would not fit even then.

**Periods.** A call belongs to the period in which it began. At midnight the calls under way stay held, and settle, in the old one.

**Providers.** A budget of a provider holds the worst case of that provider's deployments alone. Where it cannot cover them, they are
left out and the call goes to the others; if the call falls back, its cost is booked to the provider that answered. A call that breaks
off without a count books the worst case of the deployment that was asked last, or less, never the dearer one of another. Only a call
that a killed gateway lost counts, after the restart, for each provider that it may have reached with the dearest of them: too much
rather than too little.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from aiplat_lab.core.errors import BudgetExceeded, LedgerError
from aiplat_lab.core.registry import register
from aiplat_lab.core.settings import Settings
from aiplat_lab.core.types import Attribution, Call, Clock, Deployment, Price, Request, Usage, utc_now
from aiplat_lab.ledger import Ledger
from aiplat_lab.policies._counters import Counter, Counters, Span
from aiplat_lab.policies._estimates import Estimates, Expected, size_of, task_of
from aiplat_lab.policies._holds import GOOD_OUTPUT_TOKENS, Ask, Book, Hold, Part
from aiplat_lab.policies._inputs import Inputs, heads_of
from aiplat_lab.policies._worst import (
    ASSUMED_OUTPUT_TOKENS,
    LIMITS,
    NANO,
    choices,
    input_bound,
    may_have_cost,
    output_limit,
    to_nano,
    to_usd,
    usd_text,
    worst,
    written_bound,
)
from aiplat_lab.prices import Prices

MIN_OUTPUT_TOKENS = 16
"""The shortest answer worth paying for; a call that cannot afford it is refused."""
SHARE = 16
"""One of several calls at once takes no more than this part of what is left, if its task can do with less than all it could write."""
_WORTH_KNOWING = 256
"""From so many tokens on, the beginnings of a conversation are worth remembering."""
_WELL_KNOWN, _EVERY = 100, 4
"""Of a task of so many known answers, every fourth is looked at."""
_GUESSED_OUTPUT_TOKENS = 512
_LEASE_S = 30.0
_LEARN_DAYS = 30


@register("policy", "budget")
class Budget:
    """Refuses a call that might cost more than a hard budget has left; soft budgets only flag and alert.

    A caller who sets no `max_tokens` is given one that fits when the budget runs low. A call that only other calls' holds
    keep out waits for them, first come, first served. A virtual key with a limit of its own has a hard budget.
    """

    name = "budget"

    def __init__(self, settings: Settings, ledger: Ledger, *, clock: Clock = utc_now) -> None:
        self._settings = settings
        self._ledger = ledger
        self._clock = clock
        self._prices = Prices(settings)
        self._book = Book()
        self._inputs = Inputs()
        self._estimates = Estimates()
        self._ended = 0
        self._counters = Counters(settings, ledger, clock=clock)
        if self._counters:
            self._fold()

    def counters(self) -> list[dict[str, Any]]:
        """Every budget with what it has spent and holds now; the figures that enforcement uses."""
        self._counters.expect_nothing()
        for hold in self._book.holds.values():
            self._expect(hold)
        return self._counters.rows()

    def counters_of(self, who: Attribution) -> list[dict[str, Any]]:
        """The budgets that calls of `who` fall under, but those of providers; as `counters` gives them, without what is expected."""
        now = self._clock()
        return [one.to_json(self._counters.span(one, now), now) for one in self._counters.matching(who, ())]

    async def before(self, call: Call) -> None:
        """Holds the worst case in every budget that the call falls under.

        Raises:
            BudgetExceeded: not even a short answer fits, or no price is known under a hard budget.
        """
        ask = self._ask(call)
        if ask is None or not ask.parts:
            return
        if not any(part.span.waiting for part in ask.hard) and self._grant(ask):
            return
        await self._wait(ask)

    async def after(self, call: Call) -> None:
        """Books the real cost in place of the hold, and lets waiting calls in."""
        hold: Hold | None = call.state.get(self.name)
        if hold is None:
            if call.cost_usd:
                for counter in self._counters.matching(call.request.attribution, () if call.deployment is None else (call.deployment,)):
                    self._spend(counter, self._counters.span(counter, call.started_at), to_nano(call.cost_usd), call)
            return
        cost = self._cost(call, hold)
        self._learn(call, hold)
        there = call.deployment.provider if call.deployment is not None else ""
        booked = [part for part in hold.ask.parts if cost and part.counter.budget.provider in ("", there)]
        if any(cost > (0 if hold.settled else part.nano) for part in booked):
            call.flags.append("over_reservation")
        if hold.capped and call.response is not None and call.response.finish_reason == "length":
            call.flags.append("max_tokens_fitted")
        self._release(call.id, hold)
        for part in booked:
            self._spend(part.counter, part.span, cost, call)
        self._note(call, hold.ask)
        if self._book.waiting:
            self._admit_waiting()

    def _expect(self, hold: Hold) -> None:
        """Adds what a call under way will probably cost to what its budgets expect."""
        ask = hold.ask
        first = ask.priced[0][0]
        wanted = ask.answers.mean if ask.answers is not None else _GUESSED_OUTPUT_TOKENS
        asked = min(self._estimates.input_tokens(first.name, size_of(ask.call.request)), ask.inputs.get(first.name, ask.bound))
        likely = min(hold.nano, ask.worst.likely(asked, min(wanted, hold.tokens)))
        for part in ask.parts:
            if part.counter.budget.provider in ("", first.provider):
                part.span.expected += likely

    def would_pass(self, model: str, who: Attribution, *, input_tokens: int, output_tokens: int | None) -> dict[str, Any]:
        """Whether a call would be let in now, and how many tokens it might write; nothing is held or spent.

        Args:
            model: the name of a model that is set up.
            who: whose call it would be.
            input_tokens: the tokens it would send.
            output_tokens: its `max_tokens`, or None for a call without.
        """
        request = Request(model=model, attribution=who, settings={} if output_tokens is None else {"max_tokens": output_tokens})
        call = Call(request=request, started_at=self._clock(), deployments=self._settings.deployments(model))
        return self.foresee(call, input_tokens=input_tokens)

    def foresee(self, call: Call, *, input_tokens: int | None = None) -> dict[str, Any]:
        """As `would_pass`, of a whole call; its deployments may become fewer, as they would."""
        request = call.request
        output_tokens = output_limit(request)
        said: dict[str, Any] = {"model": request.model, "passes": "yes", "max_tokens": output_tokens, "needed_usd": None, "left_usd": None}
        try:
            ask = self._ask(call, input_tokens=input_tokens)
            if ask is None or not ask.parts:
                return {**said, "budget": None, "reason": "no budget holds it" if ask is None else "no price is known for it"}
            tokens = self._tokens(ask)
        except BudgetExceeded as refused:
            facts = {name: refused.details.get(name) for name in ("needed_usd", "left_usd", "budget")}
            return {**said, "budget": None, **facts, "passes": "no", "reason": refused.message}
        tightest = min(ask.hard or ask.parts, key=lambda part: part.free)
        said |= {"budget": tightest.counter.name, "left_usd": usd_text(tightest.counter.limit - tightest.span.spent)}
        if tokens is None:
            return {**said, "passes": "waits", "reason": "it would wait for the calls under way, whose worst cases hold what is left"}
        sent = output_tokens if output_tokens is not None else (tokens if tokens < ask.full_tokens or ask.capped else None)
        return {**said, "max_tokens": sent, "needed_usd": usd_text(ask.worst.nano(tokens)), "reason": ""}

    def expected(self, request: Request, deployment: Deployment) -> Expected:
        """What a call will probably take of a deployment, as far as is known."""
        answers = self._estimates.output(deployment.name, task_of(request)) if request.operation == "chat" else None
        return Expected(self._estimates.input_tokens(deployment.name, size_of(request)), answers)

    # --- asking -----------------------------------------------------------------------------------------------------

    def _ask(self, call: Call, *, input_tokens: int | None = None) -> Ask | None:
        """What the call wants of its budgets; None when it falls under none, or none can count it.

        Raises:
            BudgetExceeded: no price is known under a hard budget.
        """
        request = call.request
        counters = self._counters.matching(request.attribution, call.deployments)
        if not counters:
            return None
        bound = input_bound(request) if input_tokens is None else input_tokens
        longest = Usage(input_tokens=bound, output_tokens=1 if request.operation == "chat" else 0)
        priced = [(one, self._prices.of(one, call.started_at, usage=longest, tier=_tier(request, one))) for one in call.deployments]
        known = [(one, price) for one, price in priced if price is not None]
        if len(known) < len(priced):
            self._only_priced(call, [counter for counter in counters if counter.budget.hard], [one for one, _ in known])
        if not known:
            return None
        heads = heads_of(request) if input_tokens is None and bound >= _WORTH_KNOWING else []
        inputs = self._inputs.of(call, known, bound, heads) if input_tokens is None else {}
        ask = self._made(call, counters, known, inputs, bound)
        ask.heads = heads
        if ask.chooses:
            self._cover(ask)
        return ask

    def _made(
        self, call: Call, counters: Sequence[Counter], priced: Sequence[tuple[Deployment, Price]], inputs: Mapping[str, int], bound: int
    ) -> Ask:
        request = call.request
        whole = worst(request, priced, inputs, bound=bound)
        parts = []
        for counter in counters:
            provider = counter.budget.provider
            own = whole.of_provider(provider) if provider else whole
            if own.rates:
                parts.append(Part(counter, self._counters.span(counter, call.started_at), own))
        hard = tuple(part for part in parts if part.counter.budget.hard)
        limit = output_limit(request) if request.operation == "chat" else 0
        full, capped = limit, False
        if full is None:
            most = [one.max_output_tokens for one, _ in priced if one.max_output_tokens is not None]
            capped = len(most) < len(priced) and bool(hard)
            full = (max(most) if most and not capped else max([ASSUMED_OUTPUT_TOKENS, *most])) * choices(request)
        task = task_of(request)
        answers = self._estimates.output(priced[0][0].name, task)
        return Ask(call, tuple(parts), hard, priced, whole, bound, inputs, task, answers, limit, full, capped)

    def _only_priced(self, call: Call, hard: list[Counter], known: list[Deployment]) -> None:
        """Leaves out deployments whose cost nobody can know where a hard budget holds them; refuses when none is left."""
        everywhere = any(not counter.budget.provider for counter in hard)
        held = {counter.budget.provider for counter in hard}
        kept = tuple(one for one in call.deployments if one in known or not (everywhere or one.provider in held))
        if kept == call.deployments:
            return
        if not kept:
            names = ", ".join(one.name for one in call.deployments)
            raise BudgetExceeded(
                f"no price is known for {names}, and {hard[0].name} is a hard one, so the call is refused. Give the deployment "
                f"input_usd_per_mtok and output_usd_per_mtok under [models] in aiplat.toml (0 if it is free).",
                policy=self.name,
                reason="no_price",
            )
        call.deployments = kept
        call.flags.append("unpriced_skipped")

    def _cover(self, ask: Ask) -> None:
        """Leaves out the deployments that their provider's budget cannot cover now, while others are left; else those that it never can."""
        least = ask.limit_tokens if ask.limit_tokens is not None else min(MIN_OUTPUT_TOKENS * choices(ask.call.request), ask.full_tokens)
        own = [(part, part.worst.nano(least)) for part in ask.hard if part.counter.budget.provider]
        short = {part.counter.budget.provider for part, nano in own if nano > part.free}
        never = {part.counter.budget.provider for part, nano in own if part.span.spent + nano > part.counter.limit}
        there = {one.provider for one, _ in ask.priced}
        out = short if there - short else never if there - never else set()
        if not out:
            return
        call = ask.call
        call.deployments = tuple(one for one in call.deployments if one.provider not in out)
        if "provider_budget_skipped" not in call.flags:
            call.flags.append("provider_budget_skipped")
        ask.priced = [(one, price) for one, price in ask.priced if one.provider not in out]
        ask.parts = tuple(part for part in ask.parts if part.counter.budget.provider not in out)
        ask.hard = tuple(part for part in ask.hard if part.counter.budget.provider not in out)
        self._weigh(ask)

    def _weigh(self, ask: Ask) -> None:
        """Works out the worst case anew."""
        ask.worst = worst(ask.call.request, ask.priced, ask.inputs, bound=ask.bound)
        for part in ask.parts:
            provider = part.counter.budget.provider
            part.worst = ask.worst.of_provider(provider) if provider else ask.worst

    # --- holds ------------------------------------------------------------------------------------------------------

    def _grant(self, ask: Ask) -> bool:
        """Holds what the call needs, in one step, when it fits now.

        Raises:
            BudgetExceeded: it cannot fit even once every other call has ended.
        """
        if ask.granted is not None:
            self._renew(ask)
        tokens = self._tokens(ask)
        if tokens is None:
            return False
        call = ask.call
        capped = ask.limit_tokens is None and (tokens < ask.full_tokens or ask.capped) and not ask.worst.free
        if capped:
            _limit(call, tokens)
            if tokens < ask.full_tokens:
                call.flags.append("max_tokens_fitted")
        hold = Hold(ask, ask.worst.nano(tokens), tokens, _now() + _lease_s(call), capped)
        if hold.nano:
            providers = {one.provider for one in call.deployments}
            self._ledger.hold(call.id, to_usd(hold.nano), provider=providers.pop() if len(providers) == 1 else "")
        for part in ask.parts:
            part.nano = hold.nano if part.worst is ask.worst else part.worst.nano(tokens)
            part.span.held += part.nano
        self._book.holds[call.id] = hold
        call.state[self.name] = hold
        if call.request.stream:  # its headers are sent before it ends
            self._note(call, ask)
        return True

    def _renew(self, ask: Ask) -> None:
        """Looks at the call again after a wait: more may be known of its input, and a provider's budget may be used up."""
        inputs = self._inputs.of(ask.call, ask.priced, ask.bound, ask.heads)
        if inputs != ask.inputs:
            ask.inputs = inputs
            self._weigh(ask)
        ask.answers = self._estimates.output(ask.priced[0][0].name, ask.task)
        if ask.chooses:
            self._cover(ask)

    def _tokens(self, ask: Ask) -> int | None:
        """How many tokens the call may write now; None when it should wait.

        Raises:
            BudgetExceeded: it cannot fit even once every other call has ended.
        """
        full = ask.full_tokens
        most_nano = ask.worst.nano(full)
        fits = ask.fits_itself
        plenty = most_nano * SHARE if fits else most_nano
        for part in ask.hard:
            if plenty > part.free and (part.worst is ask.worst or part.worst.nano(full) * (SHARE if fits else 1) > part.free):
                break
        else:
            return full
        needed = [part.worst.nano(full) for part in ask.hard]
        self._sweep()
        tight = [part for nano, part in zip(needed, ask.hard, strict=True) if nano > part.free]
        if not fits:
            if tight:
                self._refuse_if_hopeless(ask, full)
            return None if tight else full
        most = min(full, *(part.worst.fitting_tokens(part.free) for part in ask.hard))
        good = ask.good_tokens
        if most >= good:
            own = 0 if ask.granted is None else 1
            idle = all(part.span.held == 0 and part.span.waiting <= own for part in ask.hard)
            share = most if idle else min(part.worst.fitting_tokens(part.free // SHARE) for part in ask.hard)
            return max(good, min(share, full))
        least = min(MIN_OUTPUT_TOKENS * choices(ask.call.request), full)
        self._refuse_if_hopeless(ask, least)
        return most if most >= least and all(part.span.held == 0 for part in tight) else None

    def _refuse_if_hopeless(self, ask: Ask, tokens: int) -> None:
        for part in ask.hard:
            if part.span.spent + part.worst.nano(tokens) > part.counter.limit:
                raise _exceeded(ask, part, tokens)

    def _release(self, call_id: str, hold: Hold) -> None:
        if not hold.settled:
            hold.settled = True
            self._book.holds.pop(call_id, None)
            for part in hold.ask.parts:
                part.span.held -= part.nano

    def _sweep(self) -> None:
        """Releases holds whose call should long have ended, so that none outlives its lease."""
        now = _now()
        for call_id, hold in [item for item in self._book.holds.items() if item[1].lease_ends < now]:
            self._release(call_id, hold)

    def _cost(self, call: Call, hold: Hold) -> int:
        """What the call takes from its budgets: its cost, or a bound on it when the provider gave no count.

        The bound is that of the deployment that was asked, for what may be written at most: no more than any of its budgets holds.
        """
        if call.cost_usd is not None:
            return to_nano(call.cost_usd)
        if not may_have_cost(call) or not hold.nano:
            return 0
        bound = hold.ask.worst.of(call.deployment).nano(min(hold.tokens, written_bound(call)))
        call.flags.append("budget_booked_bound")
        self._record("budget_booked", {"id": call.id, "usd": usd_text(bound)}, call)
        return bound

    def _note(self, call: Call, ask: Ask) -> None:
        """Says in the answer's headers what is left of the tightest budget, and which limit was sent."""
        left = min((part.counter.limit - part.span.spent for part in ask.hard), default=None)
        if left is not None:
            call.notes["budget-left-usd"] = usd_text(max(0, left))

    # --- waiting ----------------------------------------------------------------------------------------------------

    async def _wait(self, ask: Ask) -> None:
        """Waits for other calls' holds, no longer than the call itself may take."""
        ask.granted = asyncio.get_running_loop().create_future()
        self._book.waiting.append(ask)
        ask.waits_on = tuple(part.span for part in ask.hard)
        for span in ask.waits_on:
            span.waiting += 1
        began = _now()
        try:
            async with asyncio.timeout(_time_s(ask.call)):
                await ask.granted
        except TimeoutError:
            part = min(ask.hard, key=lambda one: one.free)
            counter = part.counter
            raise BudgetExceeded(
                f"{counter.name} (limit {_dollars(counter.limit)}, spent {_dollars(part.span.spent)}) is held by calls under way "
                f"({_dollars(part.span.held)}), and none ended within {_now() - began:.0f} s. Send the call again later.",
                policy=self.name,
            ) from None
        finally:
            ask.call.queued_s += _now() - began
            if ask in self._book.waiting:
                self._left(ask)
                self._admit_waiting()

    def _left(self, ask: Ask) -> None:
        self._book.waiting.remove(ask)
        for span in ask.waits_on:
            span.waiting -= 1

    def _admit_waiting(self) -> None:
        """Lets in, in their order, the waiting calls that fit now; tells those that never can."""
        passed: set[int] = set()
        for ask in list(self._book.waiting):
            spans = [id(span) for span in ask.waits_on]
            if ask.granted is None or ask.granted.done() or not passed.isdisjoint(spans):
                passed.update(spans)
                continue
            try:
                granted = self._grant(ask)
            except (BudgetExceeded, LedgerError) as refused:
                self._left(ask)
                ask.granted.set_exception(refused)
                continue
            if granted:
                self._left(ask)
                ask.granted.set_result(None)
            else:
                passed.update(spans)

    # --- learning, alerts -------------------------------------------------------------------------------------------

    def _fold(self) -> None:
        """Learns the length of answers from the newest calls of the ledger."""
        names = {(model, one.provider): one.name for model in self._settings.models for one in reversed(self._settings.deployments(model))}
        rows = self._ledger.view_rows("answer_sizes", {"since": self._clock() - timedelta(days=_LEARN_DAYS)})
        for asked in {str(row["request_model"]) for row in rows} - set(self._settings.models):
            names |= {(asked, one.provider): one.name for one in self._settings.deployments(asked)}
        self._estimates.fold(rows, names)

    def _learn(self, call: Call, hold: Hold) -> None:
        """Notes what the provider counted."""
        usage = call.response.usage if call.response is not None else None
        if usage is None or call.deployment is None or call.cache == "hit":
            return
        name, ask = call.deployment.name, hold.ask
        self._inputs.learn(call, usage.total_input_tokens, ask.bound, ask.heads)
        self._ended += 1
        if self._ended % _EVERY and ask.answers is not None and ask.answers.known >= _WELL_KNOWN:
            return
        self._estimates.learn_input(name, size_of(call.request), usage.total_input_tokens)
        if call.request.operation == "chat":
            cut = hold.capped and call.response is not None and call.response.finish_reason == "length"
            self._estimates.learn_output(name, ask.task, usage.total_output_tokens * (2 if cut else 1))

    def _spend(self, counter: Counter, span: Span, nano: int, call: Call) -> None:
        passed = self._counters.spend(counter, span, nano)
        if passed is not None:
            now = self._clock()
            facts = {**counter.to_json(span, now), "id": counter.alert_id(span), "share": str(passed), "call_id": call.id, "at": now}
            facts.pop("alert_at")
            self._record("budget_alert", facts, call)
        if not counter.budget.hard and span.spent > counter.limit and "over_budget" not in call.flags:
            call.flags.append("over_budget")

    def _record(self, kind: str, facts: dict[str, Any], call: Call) -> None:
        try:
            self._ledger.record(kind, facts)
        except LedgerError:
            call.flags.append(f"{kind}_not_recorded")


def _tier(request: Request, deployment: Deployment) -> str:
    """The tier of service that makes the call dearer than the standard price, if one is asked for."""
    return "priority" if "priority" in (request.settings.get("service_tier"), deployment.service_tier) else ""


def _limit(call: Call, tokens: int) -> None:
    """Sends a limit of `tokens` for all answers together; a provider puts it into a caller's own body too."""
    each = max(1, tokens // choices(call.request))
    kept = {name: value for name, value in call.request.settings.items() if name not in LIMITS}
    call.request = replace(call.request, settings={**kept, "max_tokens": each})
    call.notes["max-tokens"] = str(each)


def _exceeded(ask: Ask, part: Part, tokens: int) -> BudgetExceeded:
    counter, span = part.counter, part.span
    needed = part.worst.nano(tokens)
    left = counter.limit - span.spent
    fits = part.worst.fitting_tokens(left)
    advice = f"Lower max_tokens to {fits} or less, shorten" if ask.limit_tokens and fits >= MIN_OUTPUT_TOKENS else "Shorten"
    return BudgetExceeded(
        f"{counter.name} does not cover this call: limit {_dollars(counter.limit)}, spent {_dollars(span.spent)}, "
        f"held by calls under way {_dollars(span.held)}, needed up to {_dollars(needed)} (an answer of {tokens} tokens). "
        f"{advice} the prompt, choose a cheaper model, or {counter.how}.",
        policy=Budget.name,
        scope=counter.budget.scope[0],
        name=counter.budget.scope[1],
        limit_usd=usd_text(counter.limit),
        spent_usd=usd_text(span.spent),
        held_usd=usd_text(span.held),
        needed_usd=usd_text(needed),
        left_usd=usd_text(max(0, left)),
        budget=counter.name,
    )


def _dollars(nano: int) -> str:
    """An amount for people, without idle zeros."""
    whole, _, part = f"{to_usd(nano):.9f}".partition(".")
    return f"${whole}.{part.rstrip('0').ljust(2, '0')}"


def _now() -> float:
    return asyncio.get_running_loop().time()


def _time_s(call: Call) -> float:
    """The longest that the call may take."""
    if call.request.timeout_s is not None:
        return call.request.timeout_s
    return max((one.timeout_s for one in call.deployments), default=120.0)


def _lease_s(call: Call) -> float:
    """How long a hold may last: the longest that the call may take, and half a minute."""
    limit_s = call.request.timeout_s
    return (limit_s if limit_s is not None else sum(one.timeout_s for one in call.deployments)) + _LEASE_S


__all__ = ["GOOD_OUTPUT_TOKENS", "MIN_OUTPUT_TOKENS", "NANO", "Budget", "may_have_cost"]
