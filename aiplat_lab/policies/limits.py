"""How fast calls may come: requests and tokens a minute, and calls at once, for keys, users, projects, teams, everyone and deployments.

What comes faster waits in a fair queue with a deadline. Rates fill evenly: a whole minute's allowance may go at once, and the rest
follows at the pace of the limit.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from aiplat_lab.core.errors import ProviderError, RateLimited
from aiplat_lab.core.registry import register
from aiplat_lab.core.settings import LimitSettings, Settings
from aiplat_lab.core.types import Attribution, Call, Clock, Deployment, Usage, utc_now
from aiplat_lab.ledger import Ledger
from aiplat_lab.policies._queue import MAX_WAITING, Limit, Place, Rank, Waiting
from aiplat_lab.policies._rates import Estimates

_BATCHES = frozenset({"eval", "report"})
_LONGEST_PAUSE_S = 24 * 3600.0
_SHORTEST_NOTE_S = 0.0005

Figures = tuple[int | None, int | None, int | None]
Scope = tuple[str, str]


@dataclass(slots=True)
class _Held:
    """What a call has under the limits, and where it waits."""

    scopes: list[Place] = field(default_factory=list)
    deployments: list[tuple[str, Place]] = field(default_factory=list)
    """With the deployments' names."""
    limit: Limit | None = None
    waiting: Waiting | None = None


@register("policy", "limits")
class Limits:
    """Lets calls pass at the pace of their limits; a burst waits in a fair queue instead of failing.

    A call passes the limits of its key, its user, its project, its team and of everyone, in this order, and takes one request and its
    tokens, as estimated, from each. What it did not use is given back when it ends; a call that was never sent to a provider counts
    for nothing. Deployments have limits of their own, at which `gateway/route.py` asks for a slot for each attempt.
    """

    name = "limits"

    def __init__(self, settings: Settings, ledger: Ledger, *, clock: Clock = utc_now) -> None:
        self._queue_s = settings.gateway.queue_s
        self._weights = {name: team.weight for name, team in settings.teams.items()}
        self._set = _by_scope(settings.limits)
        self._keys: dict[str, Figures] = {}
        self._scopes: dict[Scope, Limit] = {}
        self._deployments: dict[str, Limit] = {}
        self._estimates = Estimates()
        self._learns = False
        for scope in self._set:
            self._change(scope)
        for row in ledger.view_rows("live_keys", {}):
            self._recorded("key", row)
        ledger.watch(("key",), self._recorded)

    # --- scopes -----------------------------------------------------------------------------------------------------

    async def before(self, call: Call) -> None:
        """Takes a place under every limit of the call, and waits for it where there is none.

        Raises:
            RateLimited: none came in time; `retry_after_s` says when one is expected.
        """
        if not self._scopes:
            return
        limits = self._of(call.request.attribution)
        if not limits:
            return
        tokens = 0
        if any(limit.tokens for limit in limits):
            self._learns = True
            tokens = self._estimates.of(call.request)
        held = _held(call)
        now: float | None = _now()
        for limit in limits:
            place = limit.enter_now(tokens, now)
            if place is None:
                place = await self._wait(call, limit, tokens, within_s=self._left_s(call))
                now = None  # time has passed
            held.scopes.append(place)

    def foresee(self, call: Call) -> tuple[str, float] | None:
        """The limit at which the call would wait now, and for about how many seconds; None where it has a place. Nothing is taken."""
        limits = self._of(call.request.attribution)
        tokens = self._estimates.of(call.request) if any(limit.tokens for limit in limits) else 0
        found = None
        for limit in limits:
            if limit.closed:
                return limit.name, math.inf
            wait_s = limit.wait_s(tokens, _now())
            if limit.waiting or wait_s:
                wait_s = limit.expected_s(limit.waiting, tokens)
                found = (limit.name, wait_s) if found is None or wait_s > found[1] else found
        return found

    async def after(self, call: Call) -> None:
        """Gives back the places and what was not used."""
        usage = call.response.usage if call.response is not None and call.cache != "hit" else call.state.get("usage")
        if self._learns and usage is not None:
            self._estimates.learn(call.request, usage)
        held: _Held | None = call.state.get(self.name)
        if held is None:
            return
        used, now = _used(call, usage), _now()
        for place in held.scopes:
            if not call.attempts:
                place.undo()
            place.settle(used)
            place.leave(now)
        for name, place in held.deployments:
            place.settle(used if call.deployment is not None and name == call.deployment.name else None)
            place.leave(now)

    def _of(self, who: Attribution) -> list[Limit]:
        get = self._scopes.get
        found = (
            get(("key", who.key_id)),
            get(("user", who.user_id)),
            get(("project", who.project)),
            get(("team", who.team)),
            get(("everyone", "")),
        )
        return [limit for limit in found if limit is not None]

    def _recorded(self, kind: str, row: Mapping[str, Any]) -> None:  # Any: a row's values
        """Takes the limits of a virtual key, as its last record has them."""
        key_id = str(row["id"])
        figures = (_figure(row.get("rpm")), _figure(row.get("tpm")), _figure(row.get("parallel")))
        if figures != self._keys.get(key_id, (None, None, None)):
            self._keys[key_id] = figures
            self._change(("key", key_id))

    def _change(self, scope: Scope) -> None:
        """The tightest figures that were set for a scope, by settings and on the key itself."""
        sets = [*self._set.get(scope, ()), *([self._keys[scope[1]]] if scope[0] == "key" and scope[1] in self._keys else [])]
        rpm, tpm, parallel = (min((one for one in column if one is not None), default=None) for column in zip(*sets, strict=True))
        limit = self._scopes.get(scope)
        if limit is not None:
            limit.change(rpm=rpm, tpm=tpm, parallel=parallel)
        elif (rpm, tpm, parallel) != (None, None, None):
            self._scopes[scope] = Limit(" ".join(filter(None, scope)), rpm=rpm, tpm=tpm, parallel=parallel)

    # --- deployments (the `Gate` of `gateway/route.py`) ---------------------------------------------------------------

    def wait_s(self, deployment: Deployment) -> float:
        """Seconds until a call could be sent there, as far as is known; 0 is now."""
        limit = self._deployment(deployment)
        if limit is None or (not limit.waiting and not limit.wait_s(1, _now())):
            return 0.0
        return limit.expected_s(limit.waiting, 1)

    def hold_back(self, deployment: Deployment, seconds: float) -> None:
        """Keeps every call from the deployment for so long: what its provider asked for. After it, one call goes first."""
        if not seconds > 0:  # not a number, too
            return
        limit = self._deployment(deployment)
        if limit is None:
            limit = self._deployments[deployment.name] = Limit(deployment.name)
        limit.hold_back(min(seconds, _LONGEST_PAUSE_S))

    def slot(self, call: Call, deployment: Deployment, *, within_s: float) -> AbstractAsyncContextManager[None]:
        """A place among the calls to the deployment, for as long as the context is open.

        Raises:
            RateLimited: on entering: there is none within so many seconds, nor within `gateway.queue_s`.
        """
        limit = self._deployment(deployment)
        return _FREE if limit is None else _Slot(self, call, limit, deployment.name, within_s)

    async def take(self, call: Call, limit: Limit, *, within_s: float) -> Place:
        """A place of a deployment's limit.

        Raises:
            RateLimited: as `slot`.
        """
        tokens = 0
        if limit.tokens:
            self._learns = True
            tokens = self._estimates.of(call.request, asked=True)
        place = limit.enter_now(tokens)
        if place is None:
            place = await self._wait(call, limit, tokens, within_s=min(within_s, self._left_s(call)))
        return place

    def _deployment(self, deployment: Deployment) -> Limit | None:
        limit = self._deployments.get(deployment.name)
        if limit is None and (deployment.rpm or deployment.tpm or deployment.parallel):
            limit = Limit(deployment.name, rpm=deployment.rpm, tpm=deployment.tpm, parallel=deployment.parallel)
            self._deployments[deployment.name] = limit
        elif limit is not None and limit.idle:
            del self._deployments[deployment.name]
            return None
        return limit

    # --- waiting ----------------------------------------------------------------------------------------------------

    def queued(self, call: Call) -> dict[str, Any] | None:  # Any: JSON
        """Where a call waits now: `limit`, `position` (1 is next) and `expected_s`; None when it does not wait."""
        held: _Held | None = call.state.get(self.name)
        if held is None or held.limit is None or held.waiting is None or held.waiting.place.done():
            return None
        position = held.limit.position(held.waiting)
        expected_s = held.limit.expected_s(position - 1, held.waiting.tokens)
        return {"limit": held.limit.name, "position": position, "expected_s": round(expected_s, 3)}

    def queues(self) -> list[dict[str, Any]]:  # Any: JSON
        """Every limit in use: its figures, how many calls run under it, and who waits."""
        return [
            {
                "limit": limit.name,
                "kind": kind,
                "figures": limit.figures(),
                "running": limit.running,
                "waiting": limit.waiting,
                "teams": [{"team": team, "batch": batch, "waiting": count} for team, batch, count in limit.flows()],
            }
            for kind, limits in (("scope", self._scopes), ("deployment", self._deployments))
            for limit in limits.values()
        ]

    def _rank(self, call: Call) -> Rank:
        request = call.request
        batch = request.priority == "batch" or (not request.priority and (request.detached or request.attribution.surface in _BATCHES))
        team = request.attribution.team
        return Rank(team, self._weights.get(team, 1.0), batch)

    def _left_s(self, call: Call) -> float:
        """Seconds that the call may still wait, all its queues together."""
        left_s = self._queue_s - call.queued_s
        if call.request.timeout_s is not None:
            left_s = min(left_s, call.request.timeout_s - (_now() - float(call.state.get("began", _now()))))
        return max(0.0, left_s)

    async def _wait(self, call: Call, limit: Limit, tokens: int, *, within_s: float) -> Place:
        rank = self._rank(call)
        soonest_s = limit.wait_s(tokens, _now())
        if limit.closed or limit.waiting >= MAX_WAITING or within_s <= 0 or within_s < soonest_s < math.inf:
            raise self._refused(limit, rank, tokens, within_s)
        waiting = limit.join(rank, tokens)
        if waiting.place.done():
            return waiting.place.result()
        held = _held(call)
        held.limit, held.waiting = limit, waiting
        call.notes.setdefault("queue-position", str(limit.position(waiting)))
        began = _now()
        try:
            async with asyncio.timeout(within_s):
                return await waiting.place
        except TimeoutError:
            limit.quit(waiting)
            raise self._refused(limit, rank, tokens, within_s) from None
        except asyncio.CancelledError:
            limit.quit(waiting)
            raise
        finally:
            held.limit = held.waiting = None
            waited_s = _now() - began
            call.queued_s += waited_s
            if waited_s >= _SHORTEST_NOTE_S:
                call.notes["queued-s"] = f"{call.queued_s:.3f}"

    def _refused(self, limit: Limit, rank: Rank, tokens: int, within_s: float) -> RateLimited:
        ahead = limit.ahead_of(rank)
        expected_s = 60.0 if limit.closed else max(limit.expected_s(ahead, tokens), 0.1)
        figures = limit.figures()
        what = f"{limit.name} allows {figures}" if figures else f"{limit.name} asked to wait"
        waits = f"{ahead} call{'s' * (ahead != 1)} wait{'s' * (ahead == 1)} before it" if ahead else "no other call waits before it"
        return RateLimited(
            f"{what}, and this call had no place within {within_s:.3g} s: {waits}. "
            f"One is expected in {expected_s:.3g} s; send it again then. It was not sent to a provider.",
            policy=self.name,
            retry_after_s=expected_s,
            limit=limit.name,
            waiting=ahead,
        )


class _Free(AbstractAsyncContextManager[None]):
    """A slot where there is no limit."""

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return None


_FREE = _Free()


class _Slot(AbstractAsyncContextManager[None]):
    """A place among the calls to one deployment."""

    __slots__ = ("_call", "_limit", "_limits", "_name", "_place", "_within_s")

    def __init__(self, limits: Limits, call: Call, limit: Limit, name: str, within_s: float) -> None:
        self._limits, self._call, self._limit, self._name, self._within_s = limits, call, limit, name, within_s
        self._place: Place | None = None

    async def __aenter__(self) -> None:
        self._place = await self._limits.take(self._call, self._limit, within_s=self._within_s)
        _held(self._call).deployments.append((self._name, self._place))

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._place is None:
            return
        if isinstance(error, ProviderError) and not self._call.partial:
            self._place.settle(0)
            if error.reason == "rate_limited" and error.retry_after_s:  # before the place is free, so that nobody takes it
                self._limit.hold_back(min(error.retry_after_s, _LONGEST_PAUSE_S))
        elif error is None:
            self._limit.answered()
        self._place.leave()


def _held(call: Call) -> _Held:
    found = call.state.get(Limits.name)
    if not isinstance(found, _Held):
        found = call.state[Limits.name] = _Held()
    return found


def _used(call: Call, usage: Usage | None) -> int | None:
    """The tokens of the call; none where the provider failed before it wrote, and None where nobody knows."""
    if usage is not None:
        return usage.total_input_tokens + usage.total_output_tokens
    return 0 if isinstance(call.error, ProviderError) and not call.partial else None


def _by_scope(limits: Iterable[LimitSettings]) -> dict[Scope, list[Figures]]:
    found: dict[Scope, list[Figures]] = {}
    for one in limits:
        found.setdefault(one.scope, []).append((one.rpm, one.tpm, one.parallel))
    return found


def _figure(value: Any) -> int | None:  # Any: a column's value
    return None if value is None else int(value)


def _now() -> float:
    return asyncio.get_running_loop().time()
