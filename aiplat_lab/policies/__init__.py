"""The rules of the gateway, one file each: a policy has `before(call)` and `after(call)`.

A plug-in's policy is registered as `@register("policy", name)` and made as `cls(settings, ledger, clock=clock)`; it runs after
`prompt` and before `redact`. One that keeps state folded from records hears of new ones by `ledger.watch(kinds, …)`, and has a say
in what may be recorded by `guards`, the kinds, and `admit(kind, row)`, which raises.
"""

from __future__ import annotations

from aiplat_lab.core.registry import find, names
from aiplat_lab.core.settings import Settings
from aiplat_lab.core.types import Clock, Policy, utc_now
from aiplat_lab.ledger import Ledger
from aiplat_lab.policies._alike import GUARDS, disagreement, marks
from aiplat_lab.policies._semantic import likeness
from aiplat_lab.policies.auth import PERIODS, ROLES, Auth, Key, KeyRing, NewKey, Role
from aiplat_lab.policies.budget import Budget
from aiplat_lab.policies.cache import Cache
from aiplat_lab.policies.limits import Limits
from aiplat_lab.policies.prompt import Prompts
from aiplat_lab.policies.redact import Redact
from aiplat_lab.policies.replay import Entry, Replay
from aiplat_lab.policies.residency import Residency
from aiplat_lab.policies.wire import Wire

CHECKS = ("auth", "residency", "wire", "redact")
"""The rules of a question that generates nothing, such as one for the number of tokens."""
FIRST = ("auth", "residency", "wire")
THEN = ("prompt",)
LAST = ("redact", "replay", "cache", "limits", "budget")


def make(settings: Settings, ledger: Ledger, *, clock: Clock = utc_now) -> tuple[Policy, ...]:
    """The policies in the order of their `before`."""
    ours = {*FIRST, *THEN, *LAST}
    order = (*FIRST, *THEN, *(name for name in names("policy") if name not in ours), *LAST)
    return tuple(find("policy", name)(settings, ledger, clock=clock) for name in order)


__all__ = [
    "CHECKS",
    "GUARDS",
    "PERIODS",
    "ROLES",
    "Auth",
    "Budget",
    "Cache",
    "Entry",
    "Key",
    "KeyRing",
    "Limits",
    "NewKey",
    "Prompts",
    "Redact",
    "Replay",
    "Residency",
    "Role",
    "Wire",
    "disagreement",
    "likeness",
    "make",
    "marks",
]
