"""The fair queue before a limit: shares of teams by weight, people before batches, first come first served within.

All of it runs in the gateway's one event loop: each step is synchronous, so nothing comes between a look and a grant.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from aiplat_lab.policies._rates import Bucket

BATCH_EVERY = 5
"""While people wait too, one place in so many goes to a batch, so that it goes on."""
MAX_WAITING = 10_000
"""How many calls may wait before one limit."""
GROWTH_S = 0.3
"""After a provider's pause, as long without another refusal lets four times as many through."""
_GROWTH = 4
_OPEN = 512
_MAX_FLOWS = 1000
_WEIGHT = 0.1


@dataclass(frozen=True, slots=True)
class Rank:
    """Whose call it is, as far as its place in a queue goes."""

    team: str = ""
    weight: float = 1.0
    batch: bool = False


@dataclass(slots=True, eq=False)
class Waiting:
    """A call in a queue."""

    rank: Rank
    tokens: int
    cost: float
    """What it takes of the limit: seconds of the scarcer rate, or 1."""
    place: asyncio.Future[Place]
    gone: bool = False


@dataclass(slots=True)
class _Flow:
    """The waiting calls of one team."""

    weight: float
    passed: float
    """Where it stands on the line of its class: the less, the sooner it is its turn."""
    calls: deque[Waiting] = field(default_factory=deque)
    count: int = 0
    cost: float = 0.0

    def trim(self) -> None:
        """Lets go of those who left."""
        while self.calls and self.calls[0].gone:
            self.calls.popleft()


class _Class:
    """The waiting calls of people, or of batches: teams take turns by weight (start-time fair queueing)."""

    def __init__(self) -> None:
        self.flows: dict[str, _Flow] = {}
        self.count = 0
        self._line = 0.0

    def join(self, waiting: Waiting) -> None:
        """To the end of its team's calls; a team that had none waiting begins where the line is, without credit for the past."""
        rank = waiting.rank
        flow = self.flows.get(rank.team)
        if flow is None:
            if len(self.flows) > _MAX_FLOWS:
                self.flows = {team: one for team, one in self.flows.items() if one.count}
            flow = self.flows[rank.team] = _Flow(rank.weight, self._line)
        elif not flow.count:
            flow.passed = max(flow.passed, self._line)
        flow.calls.append(waiting)
        flow.count += 1
        flow.cost += waiting.cost
        self.count += 1

    def first(self) -> Waiting:
        """Whose turn it is."""
        flow = min((flow for flow in self.flows.values() if flow.count), key=lambda one: one.passed)
        flow.trim()
        return flow.calls[0]

    def pop(self, waiting: Waiting) -> None:
        """Takes out the first of a team, who got a place."""
        flow = self.flows[waiting.rank.team]
        self._line = max(self._line, flow.passed)
        flow.passed += waiting.cost / flow.weight
        flow.calls.popleft()
        self._less(flow, waiting)

    def leave(self, waiting: Waiting) -> None:
        """Takes out one who waits no more, wherever it stands."""
        waiting.gone = True
        flow = self.flows[waiting.rank.team]
        self._less(flow, waiting)
        flow.trim()

    def _less(self, flow: _Flow, waiting: Waiting) -> None:
        flow.count -= 1
        flow.cost -= waiting.cost
        self.count -= 1
        if not self.count:
            self.flows.clear()
            self._line = 0.0

    def ahead(self, waiting: Waiting) -> int:
        """About how many of this class come before it."""
        own = self.flows[waiting.rank.team]
        before, cost = 0, 0.0
        for one in own.calls:
            if one is waiting:
                break
            if not one.gone:
                before, cost = before + 1, cost + one.cost
        return before + self._others(own, own.passed + cost / own.weight)

    def behind(self, rank: Rank) -> int:
        """About how many of this class would come before a call that came now."""
        own = self.flows.get(rank.team)
        if own is None or not own.count:
            return self._others(own, self._line)
        return own.count + self._others(own, own.passed + own.cost / own.weight)

    def _others(self, own: _Flow | None, start: float) -> int:
        found = 0
        for flow in self.flows.values():
            if flow is not own and flow.count and flow.passed <= start:
                each = flow.cost / flow.count / flow.weight
                found += min(flow.count, 1 + int((start - flow.passed) / each) if each > 0 else flow.count)
        return found


class Place:
    """A place that a call has under a limit."""

    __slots__ = ("_limit", "_since", "inside", "tokens")

    def __init__(self, limit: Limit, tokens: int, since: float) -> None:
        self._limit = limit
        self._since = since
        self.tokens: int | None = tokens
        """What was reserved; None once it was settled."""
        self.inside = True

    def settle(self, used: int | None) -> None:
        """Books what was used in place of what was reserved; None leaves the reservation as the count."""
        if self.tokens is not None:
            if used is not None and self._limit.tokens is not None:
                self._limit.correct(self.tokens - used)
            self.tokens = None

    def leave(self, now: float | None = None) -> None:
        """Makes room for the next call."""
        if self.inside:
            self.inside = False
            self._limit.left(self._since, _now() if now is None else now)

    def undo(self) -> None:
        """Gives everything back: nothing was sent."""
        if self.inside:
            self.inside = False
            self._limit.undone(self.tokens or 0)
            self.tokens = None


class Limit:
    """What one scope or deployment may do: requests and tokens a minute, calls at once, and who waits for it."""

    def __init__(self, name: str, *, rpm: int | None = None, tpm: int | None = None, parallel: int | None = None) -> None:
        self.name = name
        """As people speak of it, such as `team risk`."""
        self.running = 0
        self._people, self._batches = _Class(), _Class()
        self._since_batch = 0
        self._service_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._not_before = -math.inf
        self._window: int | None = None
        self._sent = 0
        self._grown_at = 0.0
        self.requests: Bucket | None = None
        self.tokens: Bucket | None = None
        self.parallel: int | None = None
        self.change(rpm=rpm, tpm=tpm, parallel=parallel)

    def change(self, *, rpm: int | None, tpm: int | None, parallel: int | None) -> None:
        """Sets other figures; a bucket that stays as it was keeps what is in it."""
        self.requests = _bucket(self.requests, rpm)
        self.tokens = _bucket(self.tokens, tpm)
        self.parallel = parallel

    @property
    def waiting(self) -> int:
        """How many calls wait."""
        return self._people.count + self._batches.count

    @property
    def closed(self) -> bool:
        """Whether no call can ever pass."""
        return self.parallel == 0 or any(bucket is not None and bucket.per_minute < 1 for bucket in (self.requests, self.tokens))

    @property
    def idle(self) -> bool:
        """Whether nothing of it need be kept: no figures, nobody inside or waiting, no pause."""
        plain = self.requests is None and self.tokens is None and self.parallel is None
        return plain and not self.running and not self.waiting and self._window is None and self._not_before <= _now()

    def figures(self) -> str:
        """The figures in words."""
        found = [f"{self.requests.per_minute} requests a minute"] if self.requests else []
        found += [f"{self.tokens.per_minute} tokens a minute"] if self.tokens else []
        found += [f"{self.parallel} call{'s' * (self.parallel != 1)} at once"] if self.parallel is not None else []
        return ", ".join(found)

    # --- coming and going -------------------------------------------------------------------------------------------

    def enter_now(self, tokens: int, now: float | None = None) -> Place | None:
        """A place, when there is one and nobody waits."""
        now = _now() if now is None else now
        if self._people.count or self._batches.count or self.wait_s(tokens, now):
            return None
        return self._grant(tokens, now)

    def join(self, rank: Rank, tokens: int) -> Waiting:
        """Puts a call into the queue."""
        waiting = Waiting(rank, tokens, self._cost(tokens), asyncio.get_running_loop().create_future())
        self._class(rank).join(waiting)
        self.pump()
        return waiting

    def quit(self, waiting: Waiting) -> None:
        """Takes a call out of the queue, or gives back the place that it just got."""
        place = waiting.place
        if place.done() and not place.cancelled():
            place.result().undo()
        elif not waiting.gone:
            self._class(waiting.rank).leave(waiting)
            self.pump()

    def left(self, since: float, now: float) -> None:
        """A call has ended."""
        self.running -= 1
        lasted = now - since
        self._service_s = lasted if not self._service_s else self._service_s + _WEIGHT * (lasted - self._service_s)
        if self._people.count or self._batches.count:
            self.pump()

    def undone(self, tokens: int) -> None:
        """A call was never sent."""
        self.running -= 1
        now = _now()
        self._sent = max(0, self._sent - 1)
        if self.requests:
            self.requests.give(1, now)
        if self.tokens:
            self.tokens.give(tokens, now)
        self.pump()

    def correct(self, tokens: int) -> None:
        """Gives back tokens that were not used, or takes those that were used beyond the reservation."""
        if self.tokens and tokens:
            self.tokens.give(tokens, _now())
            if self.waiting:
                self.pump()

    def pump(self) -> None:
        """Lets in whoever's turn it is, as many as there is room for now; looks again when the next one can pass."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self.waiting:
            return
        now = _now()
        while self.waiting:
            queue = self._turn()
            first = queue.first()
            if first.place.done():  # cancelled a moment ago, and not gone yet
                queue.leave(first)
                continue
            wait_s = self.wait_s(first.tokens, now)
            if wait_s:
                if wait_s < math.inf:
                    self._timer = asyncio.get_running_loop().call_later(max(wait_s, 0.001), self.pump)
                return
            queue.pop(first)
            self._since_batch = 0 if first.rank.batch else self._since_batch + bool(self._batches.count)
            first.place.set_result(self._grant(first.tokens, now))

    def _class(self, rank: Rank) -> _Class:
        return self._batches if rank.batch else self._people

    def _turn(self) -> _Class:
        if not self._people.count:
            return self._batches
        return self._batches if self._batches.count and self._since_batch >= BATCH_EVERY - 1 else self._people

    def _grant(self, tokens: int, now: float) -> Place:
        self.running += 1
        self._sent += 1
        if self.requests:
            self.requests.take(1, now)
        if self.tokens:
            self.tokens.take(tokens, now)
        return Place(self, tokens, now)

    def _cost(self, tokens: int) -> float:
        shares = [1.0 / self.requests.per_minute] if self.requests else []
        shares += [tokens / self.tokens.per_minute] if self.tokens else []
        return 60.0 * max(shares) if shares else 1.0

    # --- how long ---------------------------------------------------------------------------------------------------

    def wait_s(self, tokens: int, now: float) -> float:
        """Seconds until a call alone could pass: 0 is now, infinity when that hangs on calls that run."""
        found = self._not_before - now if self._not_before > now else 0.0
        if self.parallel is not None and self.running >= self.parallel:
            return math.inf
        if self._window is not None:
            found = max(found, self._growth_s(now))
        for bucket, amount in ((self.requests, 1), (self.tokens, tokens)):
            if bucket is not None:
                wait_s = bucket.wait_s(amount, now)
                found = wait_s if wait_s > found else found
        return found

    def expected_s(self, ahead: int, tokens: int) -> float:
        """Seconds until a call is expected to pass when so many others pass before it: from the rates, and from how long calls last."""
        now = _now()
        found = max(0.0, self._not_before - now)
        if self.requests:
            found = max(found, self.requests.wait_s(1, now, ahead=ahead))
        if self.tokens:
            found = max(found, self.tokens.wait_s(tokens, now, ahead=ahead * tokens))
        if self.parallel:
            rounds = max(0, ahead + 1 - max(0, self.parallel - self.running)) / self.parallel
            found = max(found, math.ceil(rounds) * (self._service_s or 1.0))
        return found

    def position(self, waiting: Waiting) -> int:
        """Which in the queue it is, about: 1 is next."""
        return 1 + self._between(self._class(waiting.rank).ahead(waiting), waiting.rank.batch)

    def ahead_of(self, rank: Rank) -> int:
        """About how many calls would pass before one that came now."""
        return self._between(self._class(rank).behind(rank), rank.batch)

    def _between(self, own: int, batch: bool) -> int:
        """`own` calls of the same class, and those of the other that come in between."""
        if batch:
            return own + min(self._people.count, (own + 1) * (BATCH_EVERY - 1))
        return own + min(self._batches.count, (own + self._since_batch) // (BATCH_EVERY - 1))

    # --- a provider's pause -----------------------------------------------------------------------------------------

    def hold_back(self, seconds: float) -> None:
        """Lets nobody pass for so long; then one, and more as long as the provider does not refuse again."""
        self._not_before = max(self._not_before, _now() + seconds)
        self._window, self._sent, self._grown_at = 1, 0, self._not_before
        self.pump()

    def answered(self) -> None:
        """A call was answered: two more may follow where a pause has just ended."""
        if self._window is not None and self._not_before <= _now():
            self._window += 2
            self._open_wide()
            self.pump()

    def _growth_s(self, now: float) -> float:
        """Seconds until one more may pass after a pause."""
        while self._window is not None and now - self._grown_at >= GROWTH_S:
            self._window *= _GROWTH
            self._grown_at += GROWTH_S
            self._open_wide()
        if self._window is None or self._sent < self._window:
            return 0.0
        return self._grown_at + GROWTH_S - now

    def _open_wide(self) -> None:
        if self._window is not None and self._window >= _OPEN:
            self._window = None

    def flows(self) -> Iterator[tuple[str, bool, int]]:
        """The teams that wait: name, whether it is a batch, how many calls."""
        for batch, group in ((False, self._people), (True, self._batches)):
            for team, flow in group.flows.items():
                if flow.count:
                    yield team, batch, flow.count


def _bucket(known: Bucket | None, per_minute: int | None) -> Bucket | None:
    if per_minute is None:
        return None
    return known if known is not None and known.per_minute == per_minute else Bucket(per_minute)


def _now() -> float:
    return asyncio.get_running_loop().time()
