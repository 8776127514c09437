"""`evaluate()`: a run from beginning to end, in whatever thread and with whatever event loop the caller has."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, overload

from aiplat_lab.client import Client, default
from aiplat_lab.core.errors import AiplatError, UsageError
from aiplat_lab.core.ids import new_id
from aiplat_lab.core.progress import Tell, teller
from aiplat_lab.core.types import CacheMode, Json
from aiplat_lab.evals import _plan
from aiplat_lab.evals._asking import PromptLike
from aiplat_lab.evals._evalset import Evalset, load, names
from aiplat_lab.evals._plan import Estimate, Plan, parsed
from aiplat_lab.evals._run import Run
from aiplat_lab.evals._runner import Ending, Runner
from aiplat_lab.evals._score import Wanted

EvalsetLike = str | Path | Evalset | Iterable[Mapping[str, Json]]
_TICK_S = 0.05


@overload
def evaluate(
    evalset: EvalsetLike | None = None,
    *,
    prompt: PromptLike = None,
    model: str | None = None,
    scorers: Wanted | Sequence[Wanted] | None = None,
    epochs: int = 1,
    concurrency: int = 8,
    max_cost_usd: Decimal | str | float | None = None,
    name: str | None = None,
    settings: Mapping[str, Json] | None = None,
    cache: CacheMode = "auto",
    batch: bool = False,
    seed: int = 0,
    dry_run: Literal[False] = False,
    resume: str | Run | None = None,
    progress: bool | Tell = True,
    client: Client | None = None,
) -> Run: ...


@overload
def evaluate(
    evalset: EvalsetLike | None = None,
    *,
    prompt: PromptLike = None,
    model: str | None = None,
    scorers: Wanted | Sequence[Wanted] | None = None,
    epochs: int = 1,
    concurrency: int = 8,
    max_cost_usd: Decimal | str | float | None = None,
    name: str | None = None,
    settings: Mapping[str, Json] | None = None,
    cache: CacheMode = "auto",
    batch: bool = False,
    seed: int = 0,
    dry_run: Literal[True],
    resume: str | Run | None = None,
    progress: bool | Tell = True,
    client: Client | None = None,
) -> Estimate: ...


def evaluate(
    evalset: EvalsetLike | None = None,
    *,
    prompt: PromptLike = None,
    model: str | None = None,
    scorers: Wanted | Sequence[Wanted] | None = None,
    epochs: int = 1,
    concurrency: int = 8,
    max_cost_usd: Decimal | str | float | None = None,
    name: str | None = None,
    settings: Mapping[str, Json] | None = None,
    cache: CacheMode = "auto",
    batch: bool = False,
    seed: int = 0,
    dry_run: bool = False,
    resume: str | Run | None = None,
    progress: bool | Tell = True,
    client: Client | None = None,
) -> Run | Estimate:
    """Asks a model every sample of an evalset and scores the answers.

    Args:
        evalset: the name of a shipped evalset, a path, or samples; with `resume` it may be left out.
        prompt: a name of the registry (`name@label`), the path of a `.prompt.md`, a prompt, a template text such as
            `"Sort this ticket: {{ text }}"`, messages, or a function of the variables. None asks the sample's only variable as it is.
        model: a name of `[models]`; None takes the prompt's model, or the default model.
        scorers: names such as `exact`, `regex:^\\d+$`, `numeric:tolerance=0.01`, or functions of an answer and a sample; the first is
            the main one. None takes those that the prompt or the evalset's card names.
        epochs: how often each sample is asked; repeats never read each other's answers from the cache.
        concurrency: how many samples are under way at once.
        max_cost_usd: the run stops before a call once so much is spent, judges included.
        name: what people call the run; several runs may share one.
        settings: settings of the requests, over those of the prompt.
        cache: `auto` takes an answer from the cache where the same was asked before, `refresh` and `off` ask again.
        batch: hands the calls to the provider's batch API, at its lower price, and waits for it; stopped by hand, `resume` takes
            it up again. A cap cannot hold for a batch.
        seed: where resampling starts from.
        dry_run: gives an estimate of calls, tokens and cost, and sends nothing.
        resume: a run to take up again: only what is missing or failed is asked, and nothing is paid twice.
        progress: whether a bar in the notebook, or a line in the terminal, says how far it is; or a function that is told.
        client: the client to ask with.

    Raises:
        UsageError, EvalError: something does not fit; nothing was asked.
    """
    if batch and max_cost_usd is not None:
        raise UsageError("max_cost_usd cannot stop a batch, whose calls are handed in together; use a budget, or leave one of them out")
    known = client or default()
    given = None if evalset is None else load(evalset)
    if resume is not None:
        run_id = resume.id if isinstance(resume, Run) else resume
        plan = _plan.again(known, run_id, given, prompt=prompt, scorers=scorers, concurrency=concurrency, max_cost_usd=max_cost_usd)
    else:
        if given is None:
            raise UsageError(f"which evalset? There are {', '.join(names())}, or give a path")
        plan = _plan.make(
            known,
            given,
            prompt=prompt,
            model=model,
            scorers=scorers,
            epochs=epochs,
            concurrency=concurrency,
            max_cost_usd=max_cost_usd,
            name=name,
            settings=settings,
            cache=cache,
            seed=seed,
        )
    if dry_run:
        return _plan.estimate(known, plan)
    return _carry_out(known, plan, new=resume is None, batch=batch, tell=teller(progress))


def _carry_out(client: Client, plan: Plan, *, new: bool, batch: bool = False, tell: Tell) -> Run:
    costs = _plan.need_price(client, plan)
    prior: dict[tuple[str, int], Mapping[str, Any]] = {}
    paid: dict[str, Decimal] = {}
    if new:
        client.record("eval_run", plan.record())
    else:
        prior = {(row["sample_id"], int(row["epoch"])): parsed(row) for row in client.view_rows("eval_sample_list", run=plan.run_id)}
        if len(prior) == len(plan.evalset) * plan.epochs and all(row["status"] == "ok" for row in prior.values()):
            _close(client, plan)
            return Run(client, plan.run_id)
        paid = {row["call_id"]: Decimal(row["cost_usd"] or 0) for row in client.view_rows("eval_calls", run=plan.run_id)}
    runner = Runner(plan, client, prior=prior, paid=paid, costs=costs, batch=batch, tell=tell)
    ending = _in_a_thread(runner, tell)
    _end(client, plan, ending)
    return Run(client, plan.run_id)


def _close(client: Client, plan: Plan) -> None:
    """The end of a run whose samples are all there; one that was killed after the last of them has none yet."""
    if Run(client, plan.run_id).status != "complete":
        _end(client, plan, Ending("complete"))


def _end(client: Client, plan: Plan, ending: Ending) -> None:
    if ending.status == "complete":
        rows = [row for row in client.view_rows("eval_sample_list", run=plan.run_id) if row["status"] == "error"]
        if rows:
            unanswered = sum(not row.get("answered") for row in rows)
            what = [f"{unanswered} without an answer"] if unanswered else []
            what += [f"{len(rows) - unanswered} without a score"] if len(rows) > unanswered else []
            ending = Ending("errors", f"{' and '.join(what)} of {len(plan.evalset) * plan.epochs}; the first: {rows[0]['error']}")
    row = {"id": f"{plan.run_id}/{new_id()}", "run_id": plan.run_id, "status": ending.status, "reason": ending.reason or None}
    client.record("eval_end", row)


def _in_a_thread(runner: Runner, tell: Tell) -> Ending:
    """Runs it in an event loop of its own, so that a notebook's own loop is no hindrance, and an interrupt reaches us."""
    ended: queue.SimpleQueue[Ending | BaseException] = queue.SimpleQueue()
    loop = asyncio.new_event_loop()

    def work() -> None:
        try:
            ended.put(loop.run_until_complete(runner.run()))
        except BaseException as error:  # carried over to the caller's thread
            ended.put(error)
        finally:
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()

    thread = threading.Thread(target=work, name="aiplat-eval", daemon=True)
    thread.start()
    while True:
        try:
            found = _waited(thread, ended)
            break
        except KeyboardInterrupt:
            loop.call_soon_threadsafe(runner.interrupt)
    if isinstance(found, BaseException):
        raise found
    return found


def _waited(thread: threading.Thread, ended: queue.SimpleQueue[Ending | BaseException]) -> Ending | BaseException:
    while True:
        try:
            return ended.get(timeout=_TICK_S)
        except queue.Empty:
            if not thread.is_alive() and ended.empty():
                raise AiplatError("the evaluation's thread ended without a word") from None
