"""The kinds of records: what each may hold, and the typed view over it.

State is records too: each is appended, never changed, and folded by the named views. A record of a kind that stands here is
checked when it comes in; the kinds that the gateway writes for itself (`key`, `budget_booked`, `incident`, …) are not here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiplat_lab.core.errors import UsageError, did_you_mean
from aiplat_lab.ledger.kinds import _batches, _evals, _experiments, _prompts, _reviews, _schedules
from aiplat_lab.ledger.kinds._kind import Field, Kind

__all__ = ["KINDS", "Field", "Kind", "check_record"]

_SUBJECTS = (_prompts, _experiments, _evals, _reviews, _schedules, _batches)
KINDS: Mapping[str, Kind] = {name: kind for subject in _SUBJECTS for name, kind in subject.KINDS.items()}


def check_record(kind: str, row: Mapping[str, Any]) -> None:  # Any: JSON
    """Lets a record pass from outside.

    Raises:
        UsageError: there is no such kind (the nearest is offered), or the row is not one of it.
    """
    if kind not in KINDS:
        raise UsageError(f"there is no kind of record {kind[:40]!r}.{did_you_mean(kind, KINDS)} There are {', '.join(KINDS)}.")
    KINDS[kind].check(kind, row)
