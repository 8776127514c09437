"""One thread that calls functions at their time: starting a thread for each would cost a cell more than its call does."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable


class Later:
    """Calls functions at points of `time.monotonic()`, in a thread of its own that starts with the first."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._thread: threading.Thread | None = None

    def at(self, when_s: float, call: Callable[[], None]) -> None:
        """Calls `call` at `when_s`, or as soon after it as can be."""
        with self._changed:
            heapq.heappush(self._waiting, (when_s, next(self._order), call))
            if self._thread is None or not self._thread.is_alive():  # the first time, or after a fork
                self._thread = threading.Thread(target=self._run, name="aiplat-later", daemon=True)
                self._thread.start()
            self._changed.notify()

    def _run(self) -> None:
        while True:
            self._next()()

    def _next(self) -> Callable[[], None]:
        with self._changed:
            while True:
                wait = self._waiting[0][0] - time.monotonic() if self._waiting else None
                if wait is not None and wait <= 0:
                    return heapq.heappop(self._waiting)[2]
                self._changed.wait(wait)


later = Later()
"""The one of this process."""
