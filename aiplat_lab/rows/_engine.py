"""Many questions at work: so many at once, each paid once, a cap that holds, and a stop that keeps what is done.

One thread decides (whoever calls `run`); workers only ask. What was asked is finished by the gateway though we are interrupted or
killed, so that asking the same rows again gives it for nothing.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Literal, NamedTuple

from aiplat_lab.client import Client
from aiplat_lab.core.errors import (
    AiplatError,
    AuthRefused,
    BudgetExceeded,
    ConfigError,
    GatewayUnavailable,
    LedgerError,
    RateLimited,
    ResidencyRefused,
    from_wire,
)
from aiplat_lab.core.ids import new_id
from aiplat_lab.core.progress import Pace, Progress, Tell
from aiplat_lab.core.types import Request, Response

Status = Literal["ok", "failed", "skipped", "unasked"]
Ask = Callable[[int], Request]
"""The request for one row. Raises `AiplatError` where the row cannot be asked."""
Read = Callable[[Response], Any]  # Any: what the user wants of an answer
"""What is kept of an answer. Raises `AiplatError` where it is not what was asked for."""
_TICK_S = 0.1
_PLANNED = 64
"""How many requests are priced at once."""
_SAID = 256
"""How many rows that need no question of their own are gone through before it is said."""
_LONGEST_PAUSE_S = 30.0
_ENDS_THE_MAP = (ConfigError, AuthRefused, ResidencyRefused, BudgetExceeded, LedgerError, GatewayUnavailable)
"""What holds for every row alike, so that the others need not be tried."""
_ZERO = Decimal(0)


@dataclass(slots=True)
class Result:
    """What became of one row."""

    status: Status = "unasked"
    value: Any = None  # Any: what `Read` gives
    error: AiplatError | None = None
    response: Response | None = None
    cost_usd: Decimal | None = _ZERO
    """What this row cost; nothing for one that was known already or is the same as another."""
    same_as: int | None = None
    """The row whose question is the same."""


class Ending(NamedTuple):
    """How it ended: `complete`, `stopped`, `capped`, or `failed` with the error that holds for all rows."""

    status: Literal["complete", "stopped", "capped", "failed"]
    error: AiplatError | None = None


@dataclass(slots=True)
class _Job:
    """One question, for one row or more."""

    row: int
    request: Request
    key: str
    held: Decimal = _ZERO
    """The most that it can cost, while it is under way and a cap counts it."""


class _Done(NamedTuple):
    job: _Job
    response: Response | None
    error: AiplatError | None


@dataclass(slots=True)
class _Money:
    """What was spent, and what calls under way could still cost, under a cap."""

    most: Decimal | None
    spent: Decimal = _ZERO
    held: Decimal = _ZERO

    def fits(self, worst: Decimal) -> bool:
        return self.most is None or self.spent + self.held + worst <= self.most


class Engine:
    """Asks for each row.

    Args:
        client: the way to the gateway.
        count: how many rows there are.
        ask: gives the request of a row.
        skip: rows at which there is nothing to ask.
        read: what is kept of an answer.
        workers: how many are asked at once.
        max_usd: the most that all of it may cost, in US dollars; nothing is sent that could cost more.
        retries: how often a row is tried again whose failure may pass.
        tell: is told how far it is.
    """

    def __init__(
        self,
        client: Client,
        count: int,
        ask: Ask,
        *,
        skip: Collection[int] = (),
        read: Read = lambda response: response.text,
        workers: int = 8,
        max_usd: Decimal | None = None,
        retries: int = 0,
        tell: Tell = lambda _: None,
    ) -> None:
        self.id = new_id()
        """What the calls of it have as their parent in the ledger, and as their tag `rows`."""
        self.results = [Result() for _ in range(count)]
        self._client = client
        self._ask = ask
        self._read = read
        self._workers = max(1, workers)
        self._money = _Money(max_usd)
        self._retries = retries
        self._tell = tell
        self._stop = threading.Event()
        self._total = count - len(skip)
        for row in skip:
            self.results[row].status = "skipped"
        self._rows = iter([row for row, result in enumerate(self.results) if result.status == "unasked"])
        self._ready: deque[_Job] = deque()
        self._same: dict[str, list[int]] = {}
        """The rows of each question, the one that is asked first."""
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[_Done] = queue.SimpleQueue()
        self._out = 0
        self._over = self._failed = self._cached = self._unpriced = 0
        self._pace = Pace()
        self._ending: Ending | None = None

    def stop(self) -> None:
        """Stops it, from any thread: no further row is asked, and what is done is kept."""
        self._stop.set()

    @property
    def spent_usd(self) -> Decimal:
        """What was spent until now."""
        return self._money.spent

    def run(self) -> Ending:
        """Works until every row is done, the cap is reached, or it is stopped or interrupted; raises nothing of ours."""
        threads: list[threading.Thread] = []
        try:
            self._say()
            while self._ending is None and (self._feed(threads) or self._out):
                self._wait()
                self._say()
        except KeyboardInterrupt:
            self._ending = Ending("stopped")
        except AiplatError as error:
            self._ending = Ending("failed", error)
        finally:
            for _ in threads:
                self._jobs.put(None)
        while not self._done.empty():  # what had come when it ended is kept too
            self._settle(self._done.get())
        self._say(over=True)
        return self._ending or Ending("complete")

    # --- what goes out ----------------------------------------------------------------------------------------------

    def _feed(self, threads: list[threading.Thread]) -> bool:
        """Hands out work while workers are free; says whether there may be more."""
        while self._out < self._workers:
            if self._stop.is_set():
                self._ending = Ending("stopped")
                return False
            if not self._ready and not self._prepare():
                return False
            job = self._ready[0]
            if not self._money.fits(job.held):
                if not self._out:
                    self._ending = Ending("capped")
                return bool(self._out)  # what is under way may turn out cheaper
            self._ready.popleft()
            self._money.held += job.held
            self._out += 1
            if len(threads) < self._out:
                thread = threading.Thread(target=self._work, name="aiplat-rows", daemon=True)
                threads.append(thread)
                thread.start()
            self._jobs.put(job)
        return True

    def _prepare(self) -> bool:
        """Reads rows until there is a question that is new; many where each is priced first."""
        wanted = _PLANNED if self._money.most is not None else 1
        found: list[_Job] = []
        for row in self._rows:
            job = self._job(row)
            if job is not None:
                found.append(job)
            if len(found) == wanted:
                break
            if not found and row % _SAID == 0:
                self._say()
        self._ready.extend(self._priced(found) if self._money.most is not None and found else found)
        return bool(self._ready)

    def _job(self, row: int) -> _Job | None:
        try:
            request = self._ask(row)
        except AiplatError as error:
            self._put(row, Result("failed", error=error))
            return None
        key = request.fingerprint()
        rows = self._same.get(key)
        if rows is None:
            self._same[key] = [row]
            return _Job(row, self._of_the_map(request), key)
        first = self.results[rows[0]]
        if first.status == "unasked":
            rows.append(row)
        else:
            self._put(row, _copy(first, rows[0]))
        return None

    def _of_the_map(self, request: Request) -> Request:
        """The request as one of many: found together in the ledger, behind people in a queue, finished though we go away."""
        who = request.attribution
        return replace(
            request,
            stream=False,
            detached=True,
            priority="batch",
            parent_id=request.parent_id or self.id,
            attribution=replace(who, tags={**who.tags, "rows": self.id}),
        )

    def _priced(self, jobs: list[_Job]) -> list[_Job]:
        """The jobs with the most that each can cost."""
        plans = self._client.plan([job.request for job in jobs], max_usd=self._money.most)
        kept = []
        for job, plan in zip(jobs, plans, strict=True):
            if plan["state"] == "error":
                self._close(job, Result("failed", error=from_wire(plan["error"])))
                continue
            if plan["state"] == "live":
                job.held = _worst(plan)
                if plan["assumed"] and job.held:
                    job.request = _bounded(job.request, int(plan["output_tokens_most"]))
            kept.append(job)
        return kept

    # --- what comes back --------------------------------------------------------------------------------------------

    def _wait(self) -> None:
        """Takes what has come, or waits a moment for it."""
        if not self._out:
            return
        try:
            self._settle(self._done.get(timeout=_TICK_S))
        except queue.Empty:
            if self._stop.is_set():
                self._ending = Ending("stopped")

    def _settle(self, done: _Done) -> None:
        job, response = done.job, done.response
        self._out -= 1
        self._money.held -= job.held
        if response is None:
            error = done.error or AiplatError("no answer came")
            self._close(job, Result("failed", error=error))
            if isinstance(error, _ENDS_THE_MAP) and self._ending is None:
                self._ending = Ending("failed", error)
            return
        cost = response.cost_usd
        self._money.spent += cost or _ZERO
        self._cached += response.cache == "hit"
        self._unpriced += cost is None
        try:
            result = Result("ok", self._read(response), response=response, cost_usd=cost)
        except AiplatError as error:
            result = Result("failed", error=error, response=response, cost_usd=cost)
        self._close(job, result)

    def _close(self, job: _Job, result: Result) -> None:
        """Puts a result to every row that asked the same."""
        first, *others = self._same[job.key]
        self._put(first, result)
        for row in others:
            self._put(row, _copy(result, first))

    def _put(self, row: int, result: Result) -> None:
        self.results[row] = result
        self._over += 1
        self._failed += result.status == "failed"

    def _say(self, *, over: bool = False) -> None:
        self._tell(
            Progress(
                done=self._over,
                total=self._total,
                failed=self._failed,
                cached=self._cached,
                spent_usd=self._money.spent,
                left_s=self._pace.left_s(self._over, self._total),
                unit="rows",
                note=f"{self._unpriced:,} at an unknown price" if self._unpriced else "",
                ended=over,
            )
        )

    # --- workers ----------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                self._done.put(_Done(job, self._answer(job.request), None))
            except AiplatError as error:
                self._done.put(_Done(job, None, error))
            except Exception as error:  # the thread's border: a row that raised is a failed row
                self._done.put(_Done(job, None, AiplatError(f"{type(error).__name__}: {error}")))

    def _answer(self, request: Request) -> Response:
        """The answer, after as many tries as are allowed.

        Raises:
            AiplatError: it failed each time, or for good.
        """
        for tried in range(self._retries + 1):
            try:
                return self._client.chat(request if not tried else replace(request, call_id=new_id()))
            except AiplatError as error:
                pause_s = _pause_s(error, tried)
                if tried == self._retries or pause_s is None or self._stop.wait(pause_s):
                    raise
        raise AssertionError("the last try returns or raises")


def _copy(result: Result, row: int) -> Result:
    return replace(result, cost_usd=_ZERO, same_as=row)


def _worst(plan: dict[str, Any]) -> Decimal:  # Any: JSON
    """The most that a call can cost.

    Raises:
        BudgetExceeded: no price is known.
    """
    if not plan["priced"]:
        names = ", ".join(one["deployment"] for one in plan["deployments"])
        raise BudgetExceeded(
            f"no price is known for {names}, so nobody can say that the rows stay within their cap. Give it input_usd_per_mtok and "
            "output_usd_per_mtok in aiplat.toml, or leave the cap out.",
            policy="max_cost",
            reason="no_price",
        )
    return Decimal(str(plan["high_usd"]))


def _bounded(request: Request, tokens: int) -> Request:
    """The request with the length that its price was reckoned with, where the model has no known limit of its own."""
    return replace(request, settings={**request.settings, "max_tokens": tokens})


def _pause_s(error: AiplatError, tried: int) -> float | None:
    """Seconds before another try; None where it would fail alike."""
    after = error.details.get("retry_after_s")
    if not isinstance(error, RateLimited) and not error.details.get("retryable"):
        return None
    return min(float(after) if after is not None else 0.5 * 2.0**tried, _LONGEST_PAUSE_S)
