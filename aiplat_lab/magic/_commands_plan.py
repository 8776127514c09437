"""`%ai plan`, `budget`, `log`, `diff` and `promote`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from aiplat_lab.core.errors import UsageError, did_you_mean
from aiplat_lab.magic import _budget, _history, _plan, _show

if TYPE_CHECKING:
    from aiplat_lab.magic._magics import AiMagics

_USUAL, _MOST = 10, 10_000
_KEEPS = ("evalset", "expected", "note")
_PROMOTE = 'Write %ai promote --evalset NAME, with --expected "TEXT" where the answer is not right.'


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


def log(magics: AiMagics, words: Sequence[str]) -> None:
    """`%ai log [N]`."""
    if len(words) > 1 or (words and not (words[0].isascii() and words[0].isdigit() and 0 < int(words[0]) <= _MOST)):
        raise UsageError(f"write %ai log, or %ai log N with a number from 1 to {_MOST:,}")
    rows = _history.log(magics.session(), int(words[0]) if words else _USUAL)
    _show.rows(magics, rows, "%ai diff CALL says what changed since the time before; `aiplat calls` lists the calls of everybody.")


def diff(magics: AiMagics, words: Sequence[str]) -> None:
    """`%ai diff [CALL [CALL]]`."""
    magics.shell.display_pub.publish(_history.diff(magics.session(), *words)._repr_mimebundle_())


def promote(magics: AiMagics, words: Sequence[str]) -> None:
    """`%ai promote [NAME|CALL] --evalset NAME [--expected TEXT] [--note TEXT]`."""
    given: dict[str, str] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=") if word.startswith("--") else ("answer", "=", word)
        if name != "answer" and name.removeprefix("--") not in _KEEPS:
            raise UsageError(f"%ai promote has no option {name[:40]!r}.{did_you_mean(name, [f'--{one}' for one in _KEEPS])} {_PROMOTE}")
        if not equals:
            if not rest:
                raise UsageError(f"{name} needs a value. {_PROMOTE}")
            value = rest.pop(0)
        key = name.removeprefix("--")
        if key in given:
            raise UsageError(f"{word[:40]!r} is one word too many: a text with spaces needs quotes. {_PROMOTE}")
        given[key] = value
    if not given.get("evalset"):
        raise UsageError(f"the evalset is missing. {_PROMOTE}")
    kept = _history.promote(
        magics.session(),
        given.get("answer"),
        evalset=given["evalset"],
        expected=given.get("expected"),
        note=given.get("note", ""),
    )
    many = f"{kept.size} sample{'s' * (kept.size != 1)}"
    _show.say(magics, f"kept as sample {kept.id} of {kept.path}, which has {many} now. `aiplat eval run --help` says how to run it.")
