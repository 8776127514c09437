"""An event loop whose time passes only when everybody waits, so that minutes of queueing take milliseconds and come out the same."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")


class _Jump(selectors.SelectSelector):
    """Instead of waiting, moves the loop's time on."""

    loop: FakeLoop

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout:
            self.loop.now += timeout
        elif timeout is None:
            raise AssertionError("everything waits, and nothing will ever happen")
        return super().select(0)


class FakeLoop(asyncio.SelectorEventLoop):
    """A loop of its own time, which begins at 1000."""

    def __init__(self) -> None:
        self.now = 1000.0
        selector = _Jump()
        super().__init__(selector)
        selector.loop = self

    def time(self) -> float:
        return self.now


def run_fake(work: Coroutine[Any, Any, _T]) -> _T:
    """Runs `work` in a loop of its own time."""
    with asyncio.Runner(loop_factory=FakeLoop) as runner:
        return runner.run(work)
