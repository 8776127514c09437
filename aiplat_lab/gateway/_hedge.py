"""Asking a second deployment when the first is silent: the first answer wins, and the other is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeAlias, TypeVar

from aiplat_lab.core.types import Call

_T = TypeVar("_T")
Ask: TypeAlias = Callable[[], Awaitable[_T]]
Drop: TypeAlias = Callable[[_T], Awaitable[None]]
"""Puts away an answer that came second."""


def affordable(call: Call) -> bool:
    """Whether two answers at once cannot overspend: a hold covers one answer, so under a hard budget there is no second.

    What the hold is like is the budget's own affair: one that does not say that it is soft counts as hard.
    """
    hold = call.state.get("budget")
    if hold is None:
        return True
    return not any(getattr(getattr(counter, "budget", None), "hard", True) for counter in getattr(hold, "counters", (None,)))


class Race(Generic[_T]):
    """Two ways to an answer.

    Args:
        first: asks the first.
        second: asks the second.
        drop: puts away an answer that came too late.
    """

    def __init__(self, first: Ask[_T], second: Ask[_T], drop: Drop[_T]) -> None:
        self._first = first
        self._second = second
        self._drop = drop
        self.asked_second = False
        self.second_won = False

    async def run(self, after_s: float, *, may_ask: Callable[[], bool]) -> _T:
        """The first answer; the second is asked when none came in `after_s` and `may_ask` says so.

        Raises:
            AiplatError: what the first failed with, if the second gave no answer either.
        """
        one = asyncio.ensure_future(self._first())
        two: asyncio.Future[_T] | None = None
        won: asyncio.Future[_T] | None = None
        try:
            await asyncio.wait({one}, timeout=after_s)
            if one.done() or not may_ask():
                won = one
                return await one
            self.asked_second = True
            two = asyncio.ensure_future(self._second())
            await asyncio.wait({one, two}, return_when=asyncio.FIRST_COMPLETED)
            won = await self._winner(one, two)
            self.second_won = won is two
            return won.result()
        finally:
            await self._put_away([task for task in (one, two) if task is not None and task is not won])

    async def _winner(self, one: asyncio.Future[_T], two: asyncio.Future[_T]) -> asyncio.Future[_T]:
        """The one that has an answer, or the first where neither has."""
        if _answered(one):
            return one
        if _answered(two):
            return two
        await asyncio.wait({one, two})
        return two if _answered(two) and not _answered(one) else one

    async def _put_away(self, losers: list[asyncio.Future[_T]]) -> None:
        for task in losers:
            task.cancel()
        results: list[Any] = await asyncio.gather(*losers, return_exceptions=True)  # Any: answers and errors alike
        for result in results:
            if not isinstance(result, BaseException):
                await self._drop(result)


def _answered(task: asyncio.Future[_T]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None
