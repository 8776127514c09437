"""What a call wants of its budgets, and what is held for it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from aiplat_lab.core.types import Call, Deployment, Price
from aiplat_lab.policies._counters import Counter, Span
from aiplat_lab.policies._estimates import Answers
from aiplat_lab.policies._worst import Worst

GOOD_OUTPUT_TOKENS = 1024
"""A call without a limit of its own takes an answer this long rather than wait, while little is known of its task."""
_KNOWN_TASK = 20
_ROOM, _LEAST_ROOM_TOKENS = 4, 256
"""What a task of known answers is given: so many times the longest of them, and never less than that."""


@dataclass(slots=True, eq=False)
class Part:
    """What a call means for one budget."""

    counter: Counter
    span: Span
    worst: Worst
    nano: int = 0
    """What is held."""

    @property
    def free(self) -> int:
        """What the budget has neither spent nor held."""
        return self.counter.limit - self.span.spent - self.span.held

    @property
    def hard(self) -> bool:
        """Whether the budget refuses."""
        return self.counter.budget.hard


@dataclass(slots=True, eq=False)
class Ask:
    """A call that wants a hold."""

    call: Call
    parts: tuple[Part, ...]
    hard: tuple[Part, ...]
    priced: Sequence[tuple[Deployment, Price]]
    worst: Worst
    bound: int
    inputs: Mapping[str, int]
    """Input tokens by deployment, where more is known than the bound for bytes."""
    task: str
    answers: Answers | None
    limit_tokens: int | None
    """The caller's own limit."""
    full_tokens: int
    """What the call may write at most when nothing is scarce."""
    capped: bool
    """Whether `full_tokens` must be sent, since nothing else holds the model to it."""
    heads: Sequence[tuple[int, int]] = ()
    """The beginnings of its conversation, as `Inputs` knows them."""
    granted: asyncio.Future[None] | None = None
    waits_on: tuple[Span, ...] = ()

    @property
    def chooses(self) -> bool:
        """Whether a provider's budget can send it to another provider."""
        return len(self.priced) > 1 and any(part.counter.budget.provider for part in self.hard)

    @property
    def fits_itself(self) -> bool:
        """Whether the call may be sent a limit that its caller did not set."""
        return self.limit_tokens is None and all(part.counter.budget.fit for part in self.hard)

    @property
    def good_tokens(self) -> int:
        """An answer long enough for the task not to be cut off, as far as is known."""
        known = self.answers
        good = GOOD_OUTPUT_TOKENS if known is None or known.known < _KNOWN_TASK else max(_LEAST_ROOM_TOKENS, _ROOM * known.most)
        return min(good, self.full_tokens)


@dataclass(slots=True, eq=False)
class Hold:
    ask: Ask
    nano: int
    tokens: int
    """What it may write."""
    lease_ends: float
    """On the event loop's clock; after it the hold is released."""
    capped: bool
    """Whether the call was sent with a limit that its caller did not set."""
    settled: bool = False

    @property
    def counters(self) -> tuple[Counter, ...]:
        """The counters of the budgets that hold the call."""
        return tuple(part.counter for part in self.ask.parts)


@dataclass(slots=True)
class Book:
    """All holds and waiting calls."""

    holds: dict[str, Hold] = field(default_factory=dict)
    waiting: list[Ask] = field(default_factory=list)
