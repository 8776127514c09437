"""What is put into a review queue: low scores of an evaluation run, a sample of daily use, flagged calls, or calls by their ids."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiplat_lab.client import Client
from aiplat_lab.core.errors import LedgerError, UsageError, did_you_mean
from aiplat_lab.core.ids import is_id

MOST = 2_000
_LOOKS_BACK = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where items come from; more than one may be given, and none goes on with what the queue holds."""

    run: str = ""
    below: float | None = None
    """None takes what the run's main scorer calls wrong, and what has a score below 0.5."""
    calls: Any = None
    sample: int = 0
    flagged: bool | str | Iterable[str] = False
    most: int = 50
    seed: int = 0
    filters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def given(self) -> bool:
        """Whether any was."""
        return bool(self.run or self.sample or self.flagged) or self.calls is not None


def fill(client: Client, queue: str, source: Source, *, by: str) -> int:
    """Puts the items into the queue; gives how many are new to it.

    Raises:
        UsageError: a source is written wrongly, or gives nothing.
    """
    if not 1 <= source.most <= MOST:
        raise UsageError(f"most is how many items a queue takes at once, from 1 to {MOST:,}; got {source.most}")
    found: dict[str, dict[str, Any]] = {}
    for row in (*_of_run(client, source), *_flagged(client, source), *_sampled(client, source), *_named(client, source)):
        found.setdefault(str(row["call_id"]), row)
    if not found:
        raise UsageError("nothing was found to review: the run has no low scores, or no call fits. Name calls with calls=[…].")
    known = {str(row["call_id"]) for row in client.view_rows("review_queue", queue=queue)}
    rows = [
        {"id": f"{queue}/{call_id}", "queue": queue, "added_by": by, **row}
        for call_id, row in list(found.items())[: source.most]
        if call_id not in known
    ]
    if rows:
        client.record_all("review_item", rows)
    return len(rows)


def _of_run(client: Client, source: Source) -> list[dict[str, Any]]:
    if not source.run:
        return []
    rows = client.view_rows("eval_sample_list", run=source.run)
    if not rows:
        runs = [str(row["run_id"]) for row in client.view_rows("eval_run_list", limit=200)]
        near = did_you_mean(source.run, runs, count=1)
        raise UsageError(f"there is no evaluation run {source.run[:80]!r}.{near} `aiplat eval list --runs` lists them.")
    low = sorted((row for row in rows if row.get("call_id") and _is_low(row, source.below)), key=lambda row: float(row["score"]))
    return [
        {
            "call_id": str(row["call_id"]),
            "source": "eval",
            "run_id": source.run,
            "sample_id": str(row["sample_id"]),
            "score": float(row["score"]),
            "why": f"sample {row['sample_id']} scored {float(row['score']):.2f}",
        }
        for row in low
    ]


def _is_low(row: Mapping[str, Any], below: float | None) -> bool:
    if row.get("status") != "ok" or row.get("score") is None:
        return False
    return float(row["score"]) < below if below is not None else row.get("passed") is False or float(row["score"]) < 0.5


def _flagged(client: Client, source: Source) -> list[dict[str, Any]]:
    if not source.flagged:
        return []
    wanted = None if source.flagged is True else {source.flagged} if isinstance(source.flagged, str) else set(source.flagged or ())
    found = []
    for row in _candidates(client, source):
        flags = [flag for flag in json.loads(row["flags"] or "[]") if wanted is None or flag in wanted]
        if flags:
            found.append({"call_id": str(row["call_id"]), "source": "flag", "why": f"flagged {', '.join(flags)}"})
    return found


def _sampled(client: Client, source: Source) -> list[dict[str, Any]]:
    if not source.sample:
        return []
    if source.sample < 0:
        raise UsageError(f"sample is how many calls are drawn, from 1; got {source.sample}")
    rows = _candidates(client, source)
    drawn = random.Random(source.seed).sample(rows, min(source.sample, len(rows)))  # noqa: S311  # a sample, not a secret
    why = f"drawn at random from {len(rows):,} calls"
    return [{"call_id": str(row["call_id"]), "source": "sample", "why": why} for row in drawn]


def _candidates(client: Client, source: Source) -> list[dict[str, Any]]:
    return client.view_rows("review_candidates", **{"limit": _LOOKS_BACK, **source.filters})


def _named(client: Client, source: Source) -> list[dict[str, Any]]:
    calls = source.calls
    if calls is None:
        return []
    if isinstance(calls, str):
        calls = [calls]
    elif hasattr(calls, "columns"):
        if "call_id" not in list(calls.columns):
            raise UsageError("the frame of calls needs a column call_id")
        calls = list(calls["call_id"])
    found = []
    for one in calls:
        call_id = str(getattr(one, "call_id", one))
        if not is_id(call_id):
            raise UsageError(f"{call_id[:60]!r} is no call id; `aiplat calls` lists them")
        try:
            client.call(call_id)
        except LedgerError:
            raise UsageError(f"there is no call {call_id}; `aiplat calls` lists them") from None
        found.append({"call_id": call_id, "source": "given"})
    return found
