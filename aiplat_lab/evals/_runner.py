"""A run at work: calls through the gateway side by side, scores as they come, records in batches, a cap that holds.

Every call's id follows from the run, the sample, the epoch and the attempt, and the gateway finishes what it was asked though we
are killed: who takes the run up again asks by the same ids, and gets what was answered already for nothing.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from aiplat_lab.client import Client
from aiplat_lab.core.batches import OPEN
from aiplat_lab.core.errors import (
    AiplatError,
    AuthRefused,
    BudgetExceeded,
    ConfigError,
    GatewayUnavailable,
    LedgerError,
    ProviderError,
    ResidencyRefused,
    UsageError,
)
from aiplat_lab.core.progress import Pace, Progress, Tell
from aiplat_lab.core.types import Json, Message, Request, Response
from aiplat_lab.evals._plan import Item, Plan
from aiplat_lab.evals._score import Answer, Score, Scorer, ScorerFailed

FLUSH_S = 0.1
"""How long a score may wait until it is recorded."""
_BATCH_LOOK_S = 1.0
"""How often a run looks whether its batches are over."""
_MOST_TEXT = 300
_ENDS_THE_RUN = (ConfigError, AuthRefused, ResidencyRefused, BudgetExceeded, LedgerError)
"""What holds for every sample alike, so that the others need not be tried."""
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended."""

    status: str
    reason: str = ""


class _Halt(Exception):
    """The run does not go on."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.ending = Ending(status, reason)


class Runner:
    """Does what is left to do of a run.

    Args:
        plan: the run.
        client: the way to the gateway.
        prior: the last record of each sample that has one.
        paid: the calls of the run so far, each with what it cost.
        costs: whether its calls cost anything.
        batch: whether the calls go through the provider's batch API.
        tell: is told how far it is.
    """

    def __init__(
        self,
        plan: Plan,
        client: Client,
        *,
        prior: Mapping[tuple[str, int], Mapping[str, Any]],
        paid: Mapping[str, Decimal],
        costs: bool,
        batch: bool = False,
        tell: Tell,
    ) -> None:
        self._plan = plan
        self._client = client
        self._prior = prior
        self._paid = dict(paid)
        self._spent = sum(paid.values(), Decimal(0))
        self._costs = costs
        self._batch = batch
        self._tell = tell
        self._rows: list[Row] = []
        self._ending: Ending | None = None
        self._workers: list[asyncio.Task[None]] = []
        self._done = self._kept = sum(not _open(row) for row in prior.values())
        self._cached = sum(bool(row.get("cached")) for row in prior.values() if not _open(row))
        self._errors = 0
        self._pace = Pace(self._done)
        self._note = ""

    async def run(self) -> Ending:
        """Works until nothing is left, the cap is reached, or it is stopped; every score is recorded then."""
        if self._batch:
            await self._through_batches()
        left = iter(()) if self._ending is not None else self._left()
        count = min(self._plan.concurrency, sum(1 for _ in self._left()))
        recorder = asyncio.create_task(self._record())
        self._workers = [asyncio.create_task(self._work(left)) for _ in range(count)]
        try:
            await asyncio.gather(*self._workers, return_exceptions=True)
        finally:
            recorder.cancel()
            await asyncio.gather(recorder, return_exceptions=True)
        failures = [one.exception() for one in self._workers if one.done() and not one.cancelled() and one.exception()]
        try:
            await self._flush()
        except AiplatError as error:
            self._stop(Ending("failed", f"scores could not be recorded: {error.message}"))
        self._note = self._ending.reason if self._ending is not None else ""
        self._say(over=True)
        if failures and self._ending is None and failures[0] is not None:
            raise failures[0]
        return self._ending or Ending("complete")

    def interrupt(self) -> None:
        """Stops it, from its own event loop; calls under way are finished by the gateway and found when it is taken up again."""
        self._stop(Ending("interrupted", "stopped by hand"))

    # --- batches ----------------------------------------------------------------------------------------------------

    async def _through_batches(self) -> None:
        """Hands in what is left, and waits until it is answered; the workers then ask by the same ids and get it for nothing."""
        task = asyncio.create_task(self._batches())
        self._workers = [task]
        await asyncio.gather(task, return_exceptions=True)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, AiplatError):
            self._stop(Ending("failed", error.message))
        elif error is not None:
            raise error

    async def _batches(self) -> None:
        requests = [request for item in self._left() if (request := self._request(item)).call_id not in self._paid]
        if not requests:
            return
        made = await asyncio.to_thread(self._client.submit_batch, [replace(one, detached=False) for one in requests])
        open_ids = {str(one["id"]) for one in made}
        while open_ids:
            self._note = f"waiting for {len(open_ids)} batch{'es' if len(open_ids) > 1 else ''} at the provider"
            self._say()
            rows = await asyncio.to_thread(self._client.batches)
            open_ids &= {str(row["id"]) for row in rows if row["status"] in OPEN}
            if open_ids:
                await asyncio.sleep(_BATCH_LOOK_S)
        self._note = ""

    def _request(self, item: Item) -> Request:
        """The request of a sample, by the id under which it was or will be made."""
        before = self._prior.get(item.key)
        known = str(before["call_id"]) if before and before.get("answered") else ""
        return self._plan.request(item, 1 + int(before["attempt"] or 1) if before else 1, call_id=known)

    # --- workers ----------------------------------------------------------------------------------------------------

    def _left(self) -> Iterator[Item]:
        for item in self._plan.items():
            row = self._prior.get(item.key)
            if row is None or _open(row):
                yield item

    def _stop(self, ending: Ending) -> None:
        if self._ending is None:
            self._ending = ending
        current = asyncio.current_task()
        if ending.status != "capped":  # what is under way when the cap is reached is paid, so it is waited for
            for worker in self._workers:
                if worker is not current:
                    worker.cancel()

    async def _work(self, left: Iterator[Item]) -> None:
        for item in left:
            if self._ending is not None:
                return
            try:
                self._put(await self._one(item))
            except _Halt as halt:
                self._stop(halt.ending)
                return

    async def _one(self, item: Item) -> Row:
        """One sample asked and scored, as a record."""
        before = self._prior.get(item.key)
        attempt = 1 + int(before["attempt"] or 1) if before else 1
        plan = self._plan
        request = self._request(item)
        row: Row = {
            "id": f"{plan.run_id}/{item.sample.id}/{item.epoch}",
            "run_id": plan.run_id,
            "sample_id": item.sample.id,
            "epoch": item.epoch,
            "call_id": request.call_id,
            "attempt": attempt,
            "slices": dict(item.sample.slices),
            "cluster": item.sample.cluster or None,
        }
        try:
            response = await self._send(request)
        except AiplatError as error:
            return {**row, "status": "error", "answered": False, "error": _short(error.message)}
        row |= {
            "call_id": response.call_id or request.call_id,
            "answered": True,
            "cost_usd": None if response.cost_usd is None else str(response.cost_usd),
            "latency_s": response.latency_s,
            "cached": response.cache == "hit",
        }
        return {**row, **await self._scored(item, attempt, Answer(response.text, response))}

    async def _scored(self, item: Item, attempt: int, answer: Answer) -> Row:
        scores: dict[str, float] = {}
        notes: dict[str, str] = {}
        errors: dict[str, str] = {}
        passed: bool | None = None
        for scorer in self._plan.scorers:
            try:
                score = await self._score(scorer, item, attempt, answer)
            except ScorerFailed as error:
                errors[scorer.name] = _short(error.message)
                continue
            scores[scorer.name] = score.value
            if score.note:
                notes[scorer.name] = _short(score.note)
            if scorer is self._plan.main:
                passed = score.passed
        first = next(iter(errors.items()), None)
        return {
            "status": "error" if errors else "ok",
            "error": f"{first[0]}: {first[1]}" if first else None,
            "scores": scores,
            "notes": notes,
            "errors": errors,
            "score": scores.get(self._plan.main.name),
            "passed": passed,
        }

    async def _score(self, scorer: Scorer, item: Item, attempt: int, answer: Answer) -> Score:
        """What one scorer gives.

        Raises:
            ScorerFailed: it raised, or gave no score.
            _Halt: the run does not go on.
        """
        options = dict(scorer.options)
        if scorer.asks:
            options["ask"] = _Asker(self, scorer, item, attempt, answer)
        try:
            if scorer.quick or inspect.iscoroutinefunction(scorer.run):
                given = scorer.run(answer, item.sample, **options)
            else:
                given = await asyncio.to_thread(scorer.run, answer, item.sample, **options)
            if inspect.isawaitable(given):
                given = await given
        except (_Halt, ScorerFailed):
            raise
        except AiplatError as error:
            raise ScorerFailed(error.message) from None
        except Exception as error:  # foreign code: it stands in the sample's record, and the run goes on
            raise ScorerFailed(f"raised {type(error).__name__}: {error}") from None
        return scorer.check(given)

    # --- calls ------------------------------------------------------------------------------------------------------

    async def _send(self, request: Request) -> Response:
        """The answer to a request, counted.

        Raises:
            _Halt: the cap is reached, or whatever holds for all samples alike went wrong.
            AiplatError: this call failed.
        """
        cap = self._plan.max_cost_usd
        known = request.call_id in self._paid
        if not known and cap is not None and self._spent >= cap and self._costs:
            raise _Halt("capped", f"the cap of ${cap} on the cost of the run is reached")
        try:
            response = await self._client.achat(request)
        except GatewayUnavailable as error:
            raise _Halt("interrupted", error.message) from None
        except _ENDS_THE_RUN as error:
            raise _Halt("failed", error.message) from None
        except UsageError as error:
            if "used for another request" in error.message:
                raise _Halt("failed", f"the prompt or a setting is not what the run began with: {error.message}") from None
            raise
        if response.cost_usd is not None and response.call_id not in self._paid:
            self._paid[response.call_id] = response.cost_usd
            self._spent += response.cost_usd
        return response

    async def ask(self, request: Request) -> Response:
        """As `_send`, for scorers, whose failures are theirs.

        Raises:
            ScorerFailed: the model did not answer.
        """
        try:
            return await self._send(request)
        except ProviderError as error:
            raise ScorerFailed(f"the model it asked did not answer: {error.message}") from None

    @property
    def plan(self) -> Plan:
        """The run."""
        return self._plan

    # --- records ----------------------------------------------------------------------------------------------------

    def _put(self, row: Row) -> None:
        self._rows.append(row)
        self._done += 1
        self._cached += bool(row.get("cached"))
        self._errors += row["status"] == "error"

    async def _record(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_S)
            self._say()
            try:
                await self._flush()
            except GatewayUnavailable as error:
                self._stop(Ending("interrupted", error.message))
            except AiplatError as error:
                self._stop(Ending("failed", f"scores could not be recorded: {error.message}"))

    async def _flush(self) -> None:
        rows, self._rows = self._rows, []
        if not rows:
            return
        kept = False
        try:
            await asyncio.shield(asyncio.to_thread(self._client.record_all, "eval_sample", rows))
            kept = True
        finally:
            if not kept:
                self._rows = rows + self._rows  # sent again; readers fold by the id

    def _say(self, *, over: bool = False) -> None:
        total = len(self._plan.evalset) * self._plan.epochs
        self._tell(
            Progress(
                done=self._done,
                total=total,
                failed=self._errors,
                cached=self._cached,
                spent_usd=self._spent,
                left_s=self._pace.left_s(self._done, total),
                unit="samples",
                note=self._note,
                ended=over,
            )
        )


class _Asker:
    """How one scorer asks about one answer."""

    def __init__(self, runner: Runner, scorer: Scorer, item: Item, attempt: int, answer: Answer) -> None:
        self._runner = runner
        self._scorer = scorer
        self._item = item
        self._attempt = attempt
        self._parent_id = answer.response.call_id if answer.response else ""

    @property
    def model(self) -> str:
        """As `Ask.model`."""
        return self._runner.plan.model

    async def chat(
        self, messages: Sequence[Message], *, model: str = "", settings: Mapping[str, Json] | None = None, key: str = ""
    ) -> Response:
        """As `Ask.chat`."""
        return await self._ask(model=model, key=key, messages=messages, settings=settings)

    async def embed(self, texts: Sequence[str], *, model: str = "minilm") -> Sequence[Sequence[float]]:
        """As `Ask.embed`."""
        return (await self._ask(model=model, key="embed", inputs=texts)).embeddings

    async def _ask(self, *, model: str, key: str, **what: Any) -> Response:  # Any: as `Plan.scorer_request` takes it
        plan = self._runner.plan
        scorer = self._scorer.name.partition(":")[0]
        request = plan.scorer_request(
            self._item, self._attempt, scorer=scorer, key=f"{self._scorer.name}/{key}", model=model, parent_id=self._parent_id, **what
        )
        return await self._runner.ask(request)


def _open(row: Mapping[str, Any]) -> bool:
    """Whether a sample is to be tried again."""
    return bool(row["status"] == "error")


def _short(text: str) -> str:
    line = " ".join(str(text).split())
    return line if len(line) <= _MOST_TEXT else line[: _MOST_TEXT - 1] + "…"
