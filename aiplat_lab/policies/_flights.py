"""Identical questions under way: one of them is asked, and the others wait for its answer."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field

from aiplat_lab.core.types import Response

_MOST_FAILURES = 2
"""After so many leaders failed in a row, the others no longer wait for one another."""


@dataclass(frozen=True, slots=True)
class Landed:
    """The answer of a call that others waited for."""

    call_id: str
    response: Response


@dataclass(slots=True)
class _Flight:
    leader: str
    failures: int = 0
    waiting: deque[tuple[str, asyncio.Future[Landed | None]]] = field(default_factory=deque)


class Flights:
    """Who asks which question now, and who waits for the answer."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, _Flight] = {}

    def __len__(self) -> int:
        return len(self._flights)

    def lead(self, question: Hashable, call_id: str) -> bool:
        """Whether nobody asks the question yet, so that this call does."""
        if question in self._flights:
            return False
        self._flights[question] = _Flight(call_id)
        return True

    async def follow(self, question: Hashable, call_id: str, *, within_s: float) -> Landed | None:
        """The answer that somebody else is given; None when this call is to ask for itself.

        That is so when it takes the place of one that failed, when the answer is not one to share, and when its time is over.
        """
        flight = self._flights[question]
        future: asyncio.Future[Landed | None] = asyncio.get_running_loop().create_future()
        place = (call_id, future)
        flight.waiting.append(place)
        try:
            async with asyncio.timeout(within_s):
                return await future
        except TimeoutError:
            return None
        finally:
            if place in flight.waiting:
                flight.waiting.remove(place)

    def ended(self, question: Hashable, call_id: str, landed: Landed | None, *, failed: bool, cancelled: bool) -> None:
        """What became of a call; nothing happens unless it was the one that others waited for.

        Args:
            question: the question.
            call_id: the call.
            landed: its answer, if it may be shared.
            failed: whether it has no answer, so that the next one asks.
            cancelled: whether that was its caller's wish, which says nothing about the provider.
        """
        flight = self._flights.get(question)
        if flight is None or flight.leader != call_id:
            return
        flight.failures += failed and not cancelled
        if failed and flight.failures < _MOST_FAILURES:
            while flight.waiting:
                follower, place = flight.waiting.popleft()
                if not place.done():
                    flight.leader = follower
                    place.set_result(None)
                    return
        del self._flights[question]
        for _, place in flight.waiting:
            if not place.done():
                place.set_result(landed)
