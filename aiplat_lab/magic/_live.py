"""One output that grows while the answer comes, at most ten times a second, and ends as one clean output."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from aiplat_lab.magic._later import later

_EVERY_S = 0.1
_FIRST_S = 0.015
_BYTES_A_SECOND = 40_000
MOST_SHOWN = 20_000
"""Characters that are shown of an answer while it comes; the whole stands there at the end."""


class Show(Protocol):
    """Sends one output: a new one, or the next state of the one shown."""

    def __call__(self, data: Mapping[str, Any], *, update: bool) -> None: ...  # Any: MIME data


class Live:
    """An output that follows a stream.

    The first piece is shown 15 ms after it came, so that an answer that is whole by then, such as one from the cache, is one
    output. Later pieces are gathered for a tenth of a second, for longer when the text is long. What was gathered is shown even
    when the model pauses.
    """

    def __init__(self, show: Show, frame: Callable[[str], Mapping[str, Any]]) -> None:  # Any: MIME data
        self._show = show
        self._frame = frame
        self._lock = threading.Lock()
        self._pieces: list[str] = []
        self._shown = False
        self._closed = False
        self._next_s: float | None = None
        self._waits = False

    def add(self, piece: str) -> None:
        """Takes the next piece of the answer."""
        with self._lock:
            self._pieces.append(piece)
            now = time.monotonic()
            if self._next_s is None:
                self._next_s = now + _FIRST_S
            if self._waits:
                return
            if self._next_s <= now:
                self._update()
            else:
                self._waits = True
                later.at(self._next_s, self._late)

    def keep(self, piece: str) -> None:
        """Takes a piece that is shown with the whole alone."""
        self._pieces.append(piece)

    def restart(self) -> None:
        """Leaves out what had come: another answer follows in its place."""
        with self._lock:
            self._pieces.clear()

    def text(self) -> str:
        """What has come until now."""
        return "".join(self._pieces)

    def end(self, data: Mapping[str, Any]) -> None:  # Any: MIME data
        """Shows the final state, once."""
        with self._lock:
            self._closed = True
            self._show(data, update=self._shown)

    def _late(self) -> None:
        with self._lock:
            self._waits = False
            if not self._closed:
                self._update()

    def _update(self) -> None:
        text = "".join(self._pieces)
        shown = text if len(text) <= MOST_SHOWN else "… " + text[-MOST_SHOWN:]
        self._show(self._frame(shown), update=self._shown)
        self._shown = True
        self._next_s = time.monotonic() + _EVERY_S + len(shown) / _BYTES_A_SECOND
