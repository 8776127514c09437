"""Votes on their way: each has its id before it is sent, and is kept and sent again until the gateway has it."""

from __future__ import annotations

import atexit
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from aiplat_lab.client import Client
from aiplat_lab.core.errors import AiplatError, GatewayUnavailable, LedgerError, UsageError
from aiplat_lab.core.ids import new_id

TIE, NONE = "tie", "none"
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 5.0
_RESTS_AFTER_S = 20.0
_LAST_TRY_S = 3.0
"""How long the end of the kernel waits for votes on their way."""


@dataclass(slots=True, kw_only=True)
class Ballot:
    """One rater's vote on one input, from before it is given until it is stored."""

    id: str
    input_id: str
    rater: str
    order: tuple[str, ...]
    """The variants as they stand, left to right."""
    winner: str = ""
    """A variant's name, `tie`, `none`, or empty while there is no vote."""
    reason: str = ""
    stored: bool = False
    problem: str = ""
    """Why it is not stored yet."""
    took_s: float | None = None
    """From the vote to its acknowledgement, in seconds."""


def sides(names: Sequence[str], *, seed: int, input_id: str, rater: str) -> tuple[str, ...]:
    """The variants as one rater sees them for one input: drawn from seed, input and rater, so that it can be repeated."""
    drawn = list(names)
    random.Random(f"{seed}/{input_id}/{rater}").shuffle(drawn)  # noqa: S311  # an order of columns, not a secret
    return tuple(drawn)


def ballot(names: Sequence[str], *, seed: int, input_id: str, rater: str) -> Ballot:
    """A fresh ballot."""
    return Ballot(id=new_id(), input_id=input_id, rater=rater, order=sides(names, seed=seed, input_id=input_id, rater=rater))


class Slip(Protocol):
    """A judgement on its way: whoever gave it sees here what became of it."""

    stored: bool
    problem: str
    took_s: float | None


_Slip = TypeVar("_Slip", bound=Slip)


@dataclass(slots=True)
class _Sent(Generic[_Slip]):
    ballot: _Slip
    row: Mapping[str, Any]
    begun: float


class VoteBox(Generic[_Slip]):
    """Sends votes, or other judgements, in a thread of its own, in their order; whoever votes waits for nothing.

    Args:
        client: the way to the gateway.
        changed: called when a vote was stored, or could not be for now.
        kind: the kind of their records.
    """

    def __init__(self, client: Client, changed: Callable[[_Slip], None], kind: str = "vote") -> None:
        self._kind = kind
        self._client = client
        self._changed = changed
        self._moved = threading.Condition()
        self._waiting: deque[_Sent[_Slip]] = deque()
        self._thread: threading.Thread | None = None
        self._at_exit = False
        self._settling = False
        """Whether a stored vote's news is being told."""

    def put(self, given: _Slip, row: Mapping[str, Any]) -> None:
        """Takes a vote; it is sent at once, and again while the gateway is away."""
        with self._moved:
            self._waiting.append(_Sent(given, dict(row), time.monotonic()))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="aiplat-ab-votes", daemon=True)
                self._thread.start()
                if not self._at_exit:
                    self._at_exit = True
                    atexit.register(self.flush, _LAST_TRY_S)
            self._moved.notify_all()

    @property
    def waiting(self) -> int:
        """How many votes the gateway does not have yet."""
        with self._moved:
            return len(self._waiting)

    def flush(self, timeout_s: float) -> bool:
        """Waits until the gateway has every vote, and that was told; false when the time ran out first."""
        with self._moved:
            return self._moved.wait_for(lambda: not self._waiting and not self._settling, timeout_s)

    def _run(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while True:
            with self._moved:
                if not self._moved.wait_for(lambda: bool(self._waiting), _RESTS_AFTER_S):
                    self._thread = None
                    return
                first = self._waiting[0]
            if self._send(first):
                pause_s = _FIRST_PAUSE_S
                with self._moved:
                    self._waiting.popleft()
                    self._settling = True
                try:
                    self._changed(first.ballot)
                finally:
                    with self._moved:
                        self._settling = False
                        self._moved.notify_all()
            else:
                time.sleep(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
                self._changed(first.ballot)

    def _send(self, sent: _Sent[_Slip]) -> bool:
        """Whether this vote needs no further try."""
        try:
            self._client.record(self._kind, sent.row)
        except (GatewayUnavailable, LedgerError) as error:
            sent.ballot.problem = error.message
            self._changed(sent.ballot)
            return False
        except (UsageError, AiplatError) as error:
            sent.ballot.problem = f"this {self._kind} cannot be stored: {error.message}"
            return True
        sent.ballot.stored, sent.ballot.problem = True, ""
        sent.ballot.took_s = time.monotonic() - sent.begun
        return True
