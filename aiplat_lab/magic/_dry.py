"""`--dry-run` and `--max-cost`: what a cell would cost, before anything is sent."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from aiplat_lab.client import DryRun
from aiplat_lab.core.errors import BudgetExceeded, from_wire
from aiplat_lab.core.text import money
from aiplat_lab.core.types import Request

if TYPE_CHECKING:
    from aiplat_lab.magic._cell import Session
    from aiplat_lab.magic._options import Options

_LEAST_TOKENS = 16
"""The shortest answer worth paying for."""
POLICY = "max_cost"
"""What a refusal names as the rule that refused."""


def show(session: Session, request: Request, options: Options) -> None:
    """Shows what would become of a cell, and keeps it under `-o NAME`. Nothing is sent."""
    [plan] = session.client.plan([request])
    if plan["state"] == "error":
        raise from_wire(plan["error"])
    found = DryRun(plan, *session.money())
    if options.out:
        session.shell.push({options.out: found})
    if not options.quiet:
        session.shell.display_pub.publish(found._repr_mimebundle_(), transient={"display_id": uuid.uuid4().hex})


def within(session: Session, request: Request, most: Decimal) -> Request:
    """The request so that it costs no more than `most` in the currency of display, whatever the model writes.

    A cell that names no `max_tokens` is sent one that fits, where the answer could cost more.

    Raises:
        BudgetExceeded: it could cost more, or no price is known. Nothing was sent.
    """
    currency, rate = session.money()
    most_usd = most / rate
    [plan] = session.client.plan([request], max_usd=most_usd)
    if plan["state"] == "error":
        raise from_wire(plan["error"])
    if plan["state"] == "replay" and any(one["policy"] == "replay" and one["verdict"] == "answers" for one in plan["policies"]):
        return replace(request, replay="only")  # should the answer go away meanwhile, nothing is spent
    if plan["state"] in ("replay", "refused"):  # costs nothing, or says so itself
        return request
    if not plan["priced"]:
        names = ", ".join(one["deployment"] for one in plan["deployments"])
        raise BudgetExceeded(
            f"no price is known for {names}, so nobody can say that this cell stays within --max-cost {most}. Nothing was sent. Give it "
            "input_usd_per_mtok and output_usd_per_mtok in aiplat.toml, or leave --max-cost out.",
            policy=POLICY,
            reason="no_price",
        )
    worst = Decimal(plan["high_usd"])
    if worst <= most_usd and (not plan["assumed"] or not worst):
        return request
    fits = int(plan["tokens_within"])
    if _says_length(request) or fits < _LEAST_TOKENS:
        raise _dear(plan, most, fits=fits, named=_says_length(request), shown=money(worst, currency=currency, rate=rate))
    return replace(request, settings={**request.settings, "max_tokens": fits})


def _says_length(request: Request) -> bool:
    return any(request.settings.get(name) for name in ("max_tokens", "max_completion_tokens", "max_output_tokens"))


def _dear(plan: Mapping[str, Any], most: Decimal, *, fits: int, named: bool, shown: str) -> BudgetExceeded:  # Any: JSON
    room = f"lower --max-tokens to {fits} or less" if named and fits >= _LEAST_TOKENS else "shorten the prompt"
    return BudgetExceeded(
        f"this cell could cost up to {shown} (at most {plan['input_tokens_most']:,} tokens in and {plan['output_tokens_most']:,} out), "
        f"more than --max-cost {most}. Nothing was sent: {room}, choose a cheaper model, or raise --max-cost.",
        policy=POLICY,
        needed_usd=plan["high_usd"],
    )
