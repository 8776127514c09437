"""Asks all variants side by side, in threads of its own, so that the cell returns at once."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from aiplat_lab.client import Client, Stream
from aiplat_lab.core.errors import AiplatError, CallCancelled
from aiplat_lab.widgets._answers import Answer

Heard = Callable[[Answer], None]


class Asking:
    """Streams the answers of each variant in the order of the inputs.

    Args:
        client: the way to the gateway.
        columns: for each variant its answers, in the order of the inputs.
        heard: called, from the variant's thread, whenever an answer has grown or ended.
        workers: how many calls of one variant may be under way at a time.
    """

    def __init__(self, client: Client, columns: Mapping[str, Sequence[Answer]], heard: Heard, *, workers: int = 1) -> None:
        self._client = client
        self._heard = heard
        self._changed = threading.Condition()
        self._waiting = {name: deque(enumerate(answers)) for name, answers in columns.items()}
        self._columns = columns
        self._allowed = 0
        self._stopped = False
        self._streams: set[Stream] = set()
        self._threads = [
            threading.Thread(target=self._run, args=(name,), name=f"aiplat-ab-{name}", daemon=True)
            for name in columns
            for _ in range(workers)
        ]

    def start(self) -> None:
        """Starts the threads."""
        for thread in self._threads:
            thread.start()

    def allow(self, inputs: int) -> None:
        """Lets the first `inputs` inputs be asked; what a person may never look at is not paid for in advance."""
        with self._changed:
            self._allowed = max(self._allowed, inputs)
            self._changed.notify_all()

    def hurry(self, place: int) -> None:
        """Asks an input at once that somebody looks at by now, although earlier answers are still coming."""
        with self._changed:
            if self._stopped:
                return
            urgent = []
            for waiting in self._waiting.values():
                found = next((entry for entry in waiting if entry[0] == place), None)
                if found is not None:
                    waiting.remove(found)
                    urgent.append(found[1])
            self._changed.notify_all()
        for answer in urgent:
            threading.Thread(target=self._answer, args=(answer,), name=f"aiplat-ab-{answer.variant}-now", daemon=True).start()

    def stop(self) -> None:
        """Cancels what is under way at the providers and asks nothing more."""
        with self._changed:
            self._stopped = True
            streams = list(self._streams)
            self._changed.notify_all()
        for stream in streams:
            stream.cancel()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Waits until every answer that may be asked has ended or `stop` was called; false when the time ran out first."""
        with self._changed:
            return self._changed.wait_for(lambda: self._stopped or self._done(), timeout_s)

    def _done(self) -> bool:
        return all(answer.ended for answers in self._columns.values() for answer in answers[: self._allowed])

    def _run(self, name: str) -> None:
        while True:
            answer = self._next(name)
            if answer is None:
                return
            self._answer(answer)

    def _answer(self, answer: Answer) -> None:
        if answer.ended:
            return
        try:
            self._ask(answer)
        finally:
            with self._changed:
                self._changed.notify_all()

    def _next(self, name: str) -> Answer | None:
        waiting = self._waiting[name]
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or not waiting or waiting[0][0] < self._allowed)
            return None if self._stopped or not waiting else waiting.popleft()[1]

    def _ask(self, answer: Answer) -> None:
        answer.call_id = answer.request.call_id
        answer.state = "running"
        self._heard(answer)
        stream = self._client.stream(answer.request)
        with self._changed:
            self._streams.add(stream)
        try:
            with stream:
                for piece in stream:
                    answer.pieces.append(piece)
                    self._heard(answer)
            if stream.response is None:
                raise CallCancelled("the call was cancelled before its end", call_id=stream.call_id)
            answer.finish(stream.response)
        except AiplatError as error:
            answer.fail(error)
        finally:
            with self._changed:
                self._streams.discard(stream)
            self._heard(answer)
