"""A record in the notebook that is kept up to date: soon after a change, and not more often than every two seconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, TypeAlias

Bundle: TypeAlias = dict[str, Any]  # Any: MIME data is text or JSON
_SOON_S, _EVERY_S = 0.15, 2.0


class Record:
    """An output that follows what it shows.

    Args:
        render: gives what stands in it now.
        show: sends the output, as a new one or as the next state of the one shown.
    """

    def __init__(self, render: Callable[[], Bundle], show: Callable[[Bundle, bool], None]) -> None:
        self._render = render
        self._show = show
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._timer: threading.Timer | None = None
        self._last_s = 0.0

    def show(self) -> None:
        """Shows it for the first time."""
        self._send(update=False)

    def touch(self) -> None:
        """Something has changed: it is shown anew, soon."""
        with self._lock:
            if self._timer is None:
                wait_s = max(_SOON_S, self._last_s + _EVERY_S - time.monotonic())
                self._timer = threading.Timer(wait_s, self._late)
                self._timer.daemon = True
                self._timer.start()

    def _late(self) -> None:
        with self._lock:
            self._timer = None
            self._last_s = time.monotonic()
        self._send(update=True)

    def _send(self, *, update: bool) -> None:
        with self._sending:
            self._show(self._render(), update)
