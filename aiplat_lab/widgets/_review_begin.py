"""`review()`: fills a queue, or goes on with one, and shows it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from aiplat_lab.client import Client, default
from aiplat_lab.core.errors import UsageError, did_you_mean
from aiplat_lab.core.ids import new_id
from aiplat_lab.core.place import shell_here
from aiplat_lab.core.settings import environment
from aiplat_lab.widgets._queue import Source, fill
from aiplat_lab.widgets._record import Record
from aiplat_lab.widgets._review import Form, Review
from aiplat_lab.widgets._review_page import bundle
from aiplat_lab.widgets._screen import Screen, place_here

LABELS = ("correct", "wrong", "incomplete", "unclear", "unsafe")
_MOST_LABELS, _MOST_SCALE = 9, 9


def review(
    queue: str = "review",
    *,
    run: str = "",
    below: float | None = None,
    calls: Any = None,
    sample: int = 0,
    flagged: bool | str | Iterable[str] = False,
    most: int = 50,
    labels: Sequence[str] = LABELS,
    scale: int = 5,
    raters: int = 1,
    reviewer: str = "",
    seed: int = 0,
    client: Client | None = None,
    **filters: Any,
) -> Review:
    """Shows answers to a person, one by one, who rates, labels, corrects and comments on them; by keyboard alone, where wanted.

    Each judgement is a record in the ledger before the next answer is shown. Run it again, after a restart or as a colleague, and it
    goes on with the queue. Where nobody watches (papermill, CI) the record of the queue alone is shown.

    Args:
        queue: the queue's name. Without any of `run`, `calls`, `sample` and `flagged` the queue is gone on with.
        run: an evaluation run, whose low scores are put into the queue, the lowest first.
        below: which scores are low; None takes what the run's main scorer calls wrong.
        calls: ids of calls, replies of cells, or a frame with a column `call_id`.
        sample: so many calls of daily use, drawn at random.
        flagged: calls that a policy or the routing has flagged; or the names of flags.
        most: how many items are put into the queue at once.
        labels: what an answer may be called; up to nine.
        scale: the best rating; 1 is the worst.
        raters: how many reviewers each item is to have.
        reviewer: who reviews; the user's name where it is empty.
        seed: what the sample is drawn from.
        client: the way to the gateway.
        filters: of `sample` and `flagged`: `since`, `until`, `team`, `project`, `model`, `prompt`, …

    Raises:
        UsageError: there is no such queue, run or call, or nothing to review.
    """
    client = client or default()
    form = _form(queue, labels=labels, scale=scale, raters=raters, reviewer=reviewer)
    source = Source(run=run, below=below, calls=calls, sample=sample, flagged=flagged, most=most, seed=seed, filters=filters)
    if source.given:
        fill(client, form.queue, source, by=form.reviewer)
    elif filters:
        raise UsageError(f"{', '.join(filters)} filters sample=… and flagged=…, of which none was given")
    made = Review(form, client)
    if not made.items():
        known = [str(row["queue"]) for row in client.view_rows("review_queue_list", limit=200)]
        raise UsageError(
            f"there is no review queue {queue[:80]!r}.{did_you_mean(queue, known)} "
            "Begin one with run=…, sample=…, flagged=True or calls=[…]."
        )
    return _shown(made)


def _form(queue: str, *, labels: Sequence[str], scale: int, raters: int, reviewer: str) -> Form:
    if not queue.strip() or "/" in queue or len(queue) > 100:
        raise UsageError(f"a queue has a name of up to 100 characters without '/'; got {queue[:120]!r}")
    if isinstance(labels, str) or len(set(labels)) != len(labels) or len(labels) > _MOST_LABELS or not all(map(str.strip, labels)):
        raise UsageError(f"labels is a list of up to {_MOST_LABELS} different words; got {labels!r}")
    if not 2 <= scale <= _MOST_SCALE:
        raise UsageError(f"scale is the best rating, from 2 to {_MOST_SCALE}; got {scale}")
    if raters < 1:
        raise UsageError(f"raters is how many reviewers each item is to have, from 1; got {raters}")
    who = reviewer or environment().attribution.user_id or "somebody"
    return Form(queue=queue.strip(), reviewer=who, labels=tuple(labels), scale=scale, raters=raters)


def _shown(made: Review) -> Review:
    shell = shell_here()
    here = place_here(shell, environment())
    if shell is None:
        return made
    name = f"aiplat-review-{new_id()}"
    screen, began = Screen(shell), shell.execution_count

    def again() -> None:
        if shell.execution_count != began:
            Screen(shell).show(bundle(made), display_id=name)

    made.show = again
    if here.headless:
        screen.show(bundle(made), display_id=name)
        return made
    from aiplat_lab.widgets._review_live import Live  # with ipywidgets, for those who watch alone

    Live(made).show(screen, name)
    record = Record(lambda: bundle(made), lambda data, update: screen.show(data, display_id=name, update=update))
    record.show()
    made.listeners.append(record.touch)
    return made
