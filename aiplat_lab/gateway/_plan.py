"""What would become of a call: replayed or live, which deployments, how many tokens, what it costs, and what each policy says.

Nothing is sent, held, waited for or recorded. The rules that only look at a call are asked as a call would ask them, on a call of its
own; those that keep counters are asked what they would say.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from typing import Any

from aiplat_lab.core.documents import request_document
from aiplat_lab.core.errors import CallRefused
from aiplat_lab.core.text import seconds
from aiplat_lab.core.types import Call, Deployment, Policy, Price, Response, Usage
from aiplat_lab.gateway._order import Orders
from aiplat_lab.policies import FIRST, Budget, Cache, Limits, Redact, Replay
from aiplat_lab.policies._worst import ASSUMED_OUTPUT_TOKENS, NANO, choices, input_bound, output_limit, to_usd, worst
from aiplat_lab.prices import Prices, cost

PURE = frozenset({"auth", "residency", "wire", "prompt", "redact"})
"""The policies whose `before` looks and changes the call alone."""
Verdict = dict[str, str]
"""`policy`, its `verdict` (`passes`, `changes`, `answers`, `waits`, `refuses` or `unknown`), and what it said."""


@dataclass(slots=True)
class _Plan:
    """One call as it is planned."""

    call: Call
    verdicts: list[Verdict]
    answer: Response | None = None
    budget: Mapping[str, Any] | None = None  # Any: JSON

    def say(self, policy: str, verdict: str, said: str = "") -> None:
        """Notes what a policy would do."""
        self.verdicts.append({"policy": policy, "verdict": verdict, "said": said})

    @property
    def state(self) -> str:
        """What would become of the call."""
        if any(one["verdict"] == "refuses" for one in self.verdicts):
            return "refused"
        return "replay" if self.answer is not None else "live"


async def planned(
    call: Call, policies: Sequence[Policy], *, orders: Orders, prices: Prices, max_usd: Decimal | None
) -> dict[str, Any]:  # Any: JSON
    """The plan of one call.

    Args:
        call: a call that was not begun.
        policies: every policy, in the order of their `before`.
        orders: what orders the deployments.
        prices: the prices.
        max_usd: gives in `tokens_within` how long an answer may be for the call to cost no more than this.
    """
    call.state["request_hash"] = request_document(call.request).hash
    plan = _Plan(call, [])
    for index, policy in enumerate(policies):
        if index == len(FIRST) and not call.state.get("elsewhere"):
            await _route(plan, orders)
        await _ask(plan, policy)
    return {**_facts(plan), **_money(plan, policies, prices, max_usd)}


async def _route(plan: _Plan, orders: Orders) -> None:
    try:
        orders.plan(plan.call)
    except CallRefused as refused:
        plan.say(refused.policy or "routing", "refuses", refused.message)
        return
    if plan.call.route:
        plan.say("routing", "passes", plan.call.route)


async def _ask(plan: _Plan, policy: Policy) -> None:
    """What one policy would do."""
    call = plan.call
    if policy.name in PURE:
        await _look(plan, policy)
    elif isinstance(policy, Replay):
        await _replay(plan, policy)
    elif isinstance(policy, Cache) and plan.answer is None:
        await _cache(plan, policy)
    elif plan.answer is not None:
        plan.say(policy.name, "passes", "not asked: the answer is known")
    elif isinstance(policy, Limits):
        waits = policy.foresee(call)
        if waits is None:
            plan.say(policy.name, "passes")
        elif math.isinf(waits[1]):
            plan.say(policy.name, "waits", f"{waits[0]} lets no call pass now")
        else:
            plan.say(policy.name, "waits", f"about {seconds(waits[1])} for {waits[0]}")
    elif isinstance(policy, Budget):
        plan.budget = said = policy.foresee(call)
        verdict = {"yes": "passes", "no": "refuses", "waits": "waits"}[said["passes"]]
        if said["passes"] == "yes" and said["max_tokens"] is not None and output_limit(call.request) is None:
            verdict = "changes"
        plan.say(policy.name, verdict, _of_budget(said, verdict))
    else:
        plan.say(policy.name, "unknown", "only a call that is made asks it")


async def _look(plan: _Plan, policy: Policy) -> None:
    """Asks a policy that only looks, as a call would."""
    call = plan.call
    before = call.request, call.deployments, dict(call.findings)
    try:
        await policy.before(call)
    except CallRefused as refused:
        plan.say(policy.name, "refuses", refused.message)
        return
    said = [f"{count} {name}" for name, count in call.findings.items() if before[2].get(name) != count]
    gone = [one.name for one in before[1] if one not in call.deployments]
    said += [f"leaves out {', '.join(gone)}"] if gone else []
    changed = bool(gone) or (isinstance(policy, Redact) and call.request is not before[0])
    plan.say(policy.name, "changes" if changed else "passes", "; ".join(said))


async def _replay(plan: _Plan, replay: Replay) -> None:
    try:
        plan.answer, why = await replay.foresee(plan.call)
    except CallRefused as refused:
        plan.say(replay.name, "refuses", refused.message)
        return
    plan.say(replay.name, *(("passes", why) if plan.answer is None else ("answers", f"as call {plan.answer.call_id} was answered")))


async def _cache(plan: _Plan, cache: Cache) -> None:
    mode = cache.looks(plan.call)
    plan.answer = await cache.foresee(plan.call)
    if plan.answer is not None:
        plan.say(cache.name, "answers", f"as call {plan.answer.call_id} was answered")
    else:
        plan.say(cache.name, "passes", {"off": "not used for this call", "refresh": "asked again"}.get(mode, "not answered before"))


def _of_budget(said: Mapping[str, Any], verdict: str) -> str:  # Any: JSON
    if said["reason"]:
        return str(said["reason"])
    text = f"{said['budget']} has ${Decimal(said['left_usd']).normalize():f} left"
    return f"{text}; max_tokens becomes {said['max_tokens']}" if verdict == "changes" else text


def _facts(plan: _Plan) -> dict[str, Any]:  # Any: JSON
    """What is sent, where, and what the policies say."""
    call, answer = plan.call, plan.answer
    request = call.recorded_request or call.request
    return {
        "state": plan.state,
        "model": call.request.model,
        "deployments": [{"deployment": one.name, "region": one.region} for one in call.deployments],
        "replay_of": answer.call_id if answer is not None and plan.state == "replay" else "",
        "policies": plan.verdicts,
        "budget": dict(plan.budget) if plan.budget is not None else None,
        "request_hash": call.state["request_hash"],
        "request": {
            "model": request.model,
            "operation": request.operation,
            "messages": [message.to_json() for message in request.messages],
            "inputs": list(request.inputs),
            "settings": dict(request.settings),
            "attribution": request.attribution.to_json(),
        },
    }


def _money(plan: _Plan, policies: Sequence[Policy], prices: Prices, max_usd: Decimal | None) -> dict[str, Any]:  # Any: JSON
    """Tokens and US dollars from the least to the most; all nothing for an answer that is known.

    The most is the bound that budgets hold: every byte of the input a token, an answer as long as it may be, at the dearest deployment.
    """
    call = plan.call
    request = call.request
    budget = next(policy for policy in policies if isinstance(policy, Budget))
    first = call.deployments[0]
    expected = budget.expected(request, first)
    bound = input_bound(request)
    longest = Usage(input_tokens=bound, output_tokens=1 if request.operation == "chat" else 0)
    tier = "priority" if request.settings.get("service_tier") == "priority" else ""
    priced = [(one, prices.of(one, call.started_at, usage=longest, tier=tier or _dear(one))) for one in call.deployments]
    known = [(one, price) for one, price in priced if price is not None]
    most = _most_tokens(plan, call.deployments)
    found: dict[str, Any] = {
        "input_tokens": min(expected.input_tokens, bound),
        "input_tokens_most": bound,
        "output_tokens": None if expected.output is None else min(round(expected.output.mean), most),
        "output_tokens_most": most,
        "assumed": request.operation == "chat" and _limit_of(plan, call.deployments) is None,
        "priced": len(known) == len(priced),
        "low_usd": None,
        "likely_usd": None,
        "high_usd": None,
        "tokens_within": None,
    }
    if plan.state == "replay":
        return {**found, "input_tokens": 0, "output_tokens": 0, "low_usd": "0", "likely_usd": "0", "high_usd": "0"}
    if not found["priced"]:
        return found
    whole = worst(request, known, bound=bound)
    found["low_usd"] = f"{_least(known, found['input_tokens'], request.operation == 'chat'):f}"
    found["high_usd"] = f"{to_usd(whole.nano(most)):f}"
    if expected.output is not None:
        usage = Usage(input_tokens=found["input_tokens"], output_tokens=found["output_tokens"])
        found["likely_usd"] = f"{min(cost(usage, known[0][1]), to_usd(whole.nano(most))):f}"
    if max_usd is not None:
        fitting = whole.fitting_tokens(int((max_usd * NANO).to_integral_value(ROUND_FLOOR)))
        found["tokens_within"] = max(0, min(fitting, most) // choices(request))
    return found


def _dear(deployment: Deployment) -> str:
    return "priority" if deployment.service_tier == "priority" else ""


def _least(known: Sequence[tuple[Deployment, Price]], input_tokens: int, chat: bool) -> Decimal:
    """What the cheapest deployment takes for the input and one token."""
    return min(cost(Usage(input_tokens=input_tokens, output_tokens=int(chat)), price) for _, price in known)


def _limit_of(plan: _Plan, deployments: Sequence[Deployment]) -> int | None:
    """The most that can be written, as far as anybody says."""
    request = plan.call.request
    if request.operation != "chat":
        return 0
    limits = [one for one in (output_limit(request), plan.budget["max_tokens"] if plan.budget else None) if one is not None]
    models = [one.max_output_tokens for one in deployments]
    if None not in models:
        limits.append(max(one for one in models if one is not None) * choices(request))
    return min(limits) if limits else None


def _most_tokens(plan: _Plan, deployments: Sequence[Deployment]) -> int:
    limit = _limit_of(plan, deployments)
    return ASSUMED_OUTPUT_TOKENS * choices(plan.call.request) if limit is None else limit
