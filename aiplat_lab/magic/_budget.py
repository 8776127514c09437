"""`%ai budget`: what this notebook may spend, kept by the gateway, which lets no call in that could pass it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from aiplat_lab.core.errors import UsageError, did_you_mean
from aiplat_lab.core.ids import new_id
from aiplat_lab.core.place import notebook
from aiplat_lab.core.text import SIGNS, money

if TYPE_CHECKING:
    from aiplat_lab.magic._cell import Session

PERIODS = ("day", "week", "month", "total")
_HOW = "write %ai budget, %ai budget 2.50, %ai budget 2.50 --per day|week|month|total, or %ai budget off"
_LEAST, _MOST = Decimal("1e-9"), Decimal(10**9)


def amount(text: str) -> Decimal:
    """An amount of money as people type it.

    Raises:
        UsageError: it is none.
    """
    try:
        found = Decimal(text.strip().lstrip("".join(SIGNS.values())))
    except InvalidOperation:
        found = Decimal(-1)
    if not found.is_finite() or not (found == 0 or _LEAST <= found < _MOST):
        raise UsageError(f"the budget is {text[:40]!r}; it takes an amount of money such as 2.50, or `off`. {_HOW[:1].upper()}{_HOW[1:]}")
    return found


def budget(session: Session, most: Decimal | None = None, *, per: str = "", off: bool = False) -> list[dict[str, Any]]:  # Any: JSON
    """The budgets that this notebook's calls fall under, after its own was set to `most` in the currency of display, or ended.

    The gateway holds it: whatever runs at once in the notebook, its calls never cost more in the period. Where the notebook's file is
    not known, the budget is one of this kernel's session.

    Args:
        session: the kernel's session.
        most: what may be spent; None changes nothing.
        per: `day` (the default), `week`, `month` or `total`.
        off: whether the notebook's own budgets end.

    Raises:
        UsageError: there is no such period.
    """
    if per and per not in PERIODS:
        raise UsageError(f"there is no period {per[:40]!r}.{did_you_mean(per, PERIODS)} There are {', '.join(PERIODS)}.")
    path = notebook(session.shell, session.environment)
    whole = session.environment.attribution.notebook
    if not path and (most is not None or off):
        session.tags.setdefault("session", new_id()[-12:])
    where = {"notebook": path, "also": whole if whole != path else ""} if path else {"session": session.tags.get("session", "")}
    who = replace(session.environment.attribution, surface="magic", notebook=path, tags=dict(session.tags))
    about: dict[str, Any] = {"attribution": who.to_json()}
    _, rate = session.money()
    if off:
        for period in PERIODS:
            session.client.post("/api/budgets/notebook", {**where, "period": period, "limit_usd": None})
    elif most is not None:
        period = per or ("day" if path else "total")
        session.client.post("/api/budgets/notebook", {**where, "period": period, "limit_usd": f"{most / rate:f}"})
    found: list[dict[str, Any]] = session.client.post("/api/budgets/notebook", about)["budgets"]
    return found


def typed(words: Sequence[str]) -> dict[str, Any]:  # Any: arguments of `budget`
    """What follows `%ai budget`, as arguments of `budget`.

    Raises:
        UsageError: it is not understood.
    """
    given: dict[str, Any] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "off" and not given:
            given["off"] = True
        elif word in ("--per", "per"):
            if not rest:
                raise UsageError(f"--per needs a period: {_HOW}")
            given["per"] = rest.pop(0)
        elif word.startswith("--per="):
            given["per"] = word.removeprefix("--per=")
        elif word.startswith("-") and not word[1:2].isdigit():
            raise UsageError(f"%ai budget has no option {word[:40]!r}: {_HOW}")
        elif "most" in given or "off" in given:
            raise UsageError(f"{word[:40]!r} is one word too many: {_HOW}")
        else:
            given["most"] = amount(word)
    if "per" in given and "most" not in given:
        raise UsageError(f"--per needs an amount: {_HOW}")
    return given


def table(budgets: Sequence[dict[str, Any]], *, currency: str, rate: Decimal) -> list[dict[str, Any]]:  # Any: JSON
    """Budgets as rows for people."""

    def shown(usd: str) -> str:
        return money(usd, currency=currency, rate=rate)

    return [
        {
            "budget of": " ".join(filter(None, (one["scope"], one["name"]))),
            "a": "in all" if one["period"] == "total" else one["period"],
            "limit": shown(one["limit_usd"]),
            "spent": shown(one["spent_usd"]),
            "held": shown(one["held_usd"]),
            "left": shown(one["left_usd"]),
            "kind": "refuses" if one["hard"] else "warns",
        }
        for one in budgets
    ]
