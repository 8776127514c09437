"""The named views: the questions that surfaces ask, each with one meaning everywhere.

One file a subject; each gives its `VIEWS`. A view over records reads the typed view of a kind (see `ledger/kinds`).
"""

from __future__ import annotations

from collections.abc import Mapping

from aiplat_lab.core.errors import QueryError, did_you_mean
from aiplat_lab.ledger.views import (
    _audit,
    _batches,
    _budgets,
    _costs,
    _evals,
    _experiments,
    _money,
    _notebooks,
    _prompts,
    _replays,
    _schedules,
)
from aiplat_lab.ledger.views._view import FILTERS, Query, View

__all__ = ["FILTERS", "VIEWS", "Query", "View", "find_view", "of_calls"]

_SUBJECTS = (_costs, _budgets, _money, _notebooks, _prompts, _experiments, _evals, _schedules, _batches, _audit, _replays)
VIEWS: Mapping[str, View] = {name: view for subject in _SUBJECTS for name, view in subject.VIEWS.items()}


def find_view(name: str) -> View:
    """The view of that name.

    Raises:
        QueryError: there is none; the text offers the nearest names.
    """
    if name not in VIEWS:
        raise QueryError(f"there is no view {name!r}.{did_you_mean(name, VIEWS)} There are {', '.join(VIEWS)}.")
    return VIEWS[name]


def of_calls(name: str) -> bool:
    """Whether a named view shows calls and nothing else, so that the filter `team` leaves those of one team."""
    view = VIEWS.get(name)
    return view is not None and view.source == "call_rows" and "team" in view.columns
