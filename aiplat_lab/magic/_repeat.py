"""`%%ai --repeat N`: one question, answered so many times anew, and how far the answers differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from aiplat_lab.core.errors import UsageError
from aiplat_lab.core.ids import new_id
from aiplat_lab.core.text import money
from aiplat_lab.core.types import Request
from aiplat_lab.magic._reply import Reply

MOST = 100


def run(request: Request, times: int, ask: Callable[[Request], Reply]) -> list[Reply]:
    """Asks so many times; each answer is one of its own, and running the cell again costs nothing.

    Raises:
        UsageError: too often.
        AiplatError: a call failed; the answers before it stand.
    """
    if times > MOST:
        raise UsageError(f"--repeat {times} is more than {MOST}; for more, run an evaluation. Nothing was sent.")
    replies = []
    for draw in range(1, times + 1):
        who = request.attribution
        tags = {**who.tags, **({"draw": str(draw)} if draw > 1 else {})}
        replies.append(ask(replace(request, call_id=new_id(), attribution=replace(who, tags=tags))))
    return replies


def summary(replies: Sequence[Reply], *, currency: str, rate: Decimal) -> str:
    """How many answers differ, how often the commonest came, and what all cost."""
    texts = Counter(str(reply).strip() for reply in replies)
    (_, most) = texts.most_common(1)[0]
    costs: list[Any] = [reply.cost for reply in replies]
    spent = "cost unknown" if any(cost is None for cost in costs) else money(str(sum(costs, Decimal(0))), currency=currency, rate=rate)
    different = "all the same" if len(texts) == 1 else f"{len(texts)} different, the commonest {most} times"
    return f"{len(replies)} answers, {different} · {spent}"
