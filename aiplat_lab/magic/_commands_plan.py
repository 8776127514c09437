"""`%ai plan`, `budget`, `log`, `diff` and `promote`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from aiplat_lab.core.errors import UsageError
from aiplat_lab.magic import _budget, _plan, _show

if TYPE_CHECKING:
    from aiplat_lab.magic._magics import AiMagics


def plan(magics: AiMagics, words: Sequence[str]) -> None:
    """`%ai plan [NOTEBOOK.ipynb]`."""
    if len(words) > 1 or (words and words[0].startswith("-")):
        raise UsageError("write %ai plan, or %ai plan NOTEBOOK.ipynb")
    found = _plan.plan(magics, words[0] if words else None)
    magics.shell.display_pub.publish(found._repr_mimebundle_())


def budget(magics: AiMagics, words: Sequence[str]) -> None:
    """`%ai budget [AMOUNT [--per day|week|month|total] | off]`."""
    session = magics.session()
    found = _budget.budget(session, **_budget.typed(words))
    currency, rate = session.money()
    note = "%ai budget 2.50 lets this notebook spend so much a day and no more, whatever runs at once; %ai budget off ends it."
    _show.rows(magics, _budget.table(found, currency=currency, rate=rate), note)
