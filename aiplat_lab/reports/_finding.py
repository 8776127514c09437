"""What a piece of evidence says, and how several of them answer one rule."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from aiplat_lab.reports._document import Light, State
from aiplat_lab.reports._rules import Rule


@dataclass(frozen=True, slots=True)
class Finding:
    """How far one piece of evidence goes, why, and which queries it rests on."""

    state: State
    reason: str
    """One sentence without a full stop, in words a reader of the report understands."""
    query: str = ""
    """Ids of queries, with blanks between them."""


def judge(rule: Rule, findings: Iterable[Finding], *, today: date) -> Light:
    """A rule's place on the page of requirements.

    Evidence against counts over all else. Only a rule whose evidence can be generated whole, is all there, and that was
    checked in time is supported; a stale rule is supported in part at most.
    """
    found = list(findings)
    state = _joined([finding.state for finding in found])
    stale = rule.stale(today)
    if state == "supports" and (stale or "P" in rule.coverage or "H" in rule.coverage):
        state = "part"
    if rule.coverage == "H" and state != "against":
        state = "missing"
    reasons = [finding.reason for finding in found]
    if stale:
        reasons.append(f"the rule was to be checked again by {rule.check_by.isoformat()} and is stale")
    return Light(
        id=rule.id,
        requirement=rule.requirement,
        source=f"{rule.framework}, {rule.place}" if rule.framework not in ("UK", "Good practice") else rule.place,
        state=state,
        reason=_sentence("; ".join(reasons)),
        coverage=rule.coverage,
        query=" ".join(dict.fromkeys(word for finding in found for word in finding.query.split())),
        stale=stale,
    )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


def _joined(states: list[State]) -> State:
    if not states or all(state == "missing" for state in states):
        return "missing"
    if "against" in states:
        return "against"
    return "supports" if all(state == "supports" for state in states) else "part"


def counted(number: int, one: str, many: str = "") -> str:
    """`1 call`, `2 calls`: a number with its noun."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
