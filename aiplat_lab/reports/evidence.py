"""Evidence for requirements: what the ledger says on each rule, in four words and a reason.

`write_index` makes the page of requirements and the list of gaps; `write_log` is report R2 and `write_money` report R8.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from functools import partial
from typing import Any

from aiplat_lab.core.errors import ReportError, did_you_mean
from aiplat_lab.reports import _evidence_log as log
from aiplat_lab.reports import _evidence_money as money
from aiplat_lab.reports import _evidence_use as use
from aiplat_lab.reports._document import COVERAGE, STATES, Light, Lights, SignOff, State
from aiplat_lab.reports._evidence_log import read_invoices, write_log
from aiplat_lab.reports._evidence_money import write_money
from aiplat_lab.reports._finding import Finding, counted, judge
from aiplat_lab.reports._report import Report
from aiplat_lab.reports._rules import Pack, Rule, load_packs

__all__ = [
    "EVIDENCE",
    "Finding",
    "Judged",
    "judged",
    "read_invoices",
    "summarise",
    "write_definitions",
    "write_gaps",
    "write_index",
    "write_lights",
    "write_log",
    "write_money",
]

EVIDENCE: Mapping[str, Callable[[Report], Finding]] = {
    "log_integrity": log.log_integrity,
    "log_clock": log.log_clock,
    "log_coverage": log.log_coverage,
    "retention": log.retention,
    "erasures": log.erasures,
    "budgets": money.budgets,
    "prices_known": money.prices_known,
    **{
        name: getattr(use, name)
        for name in (
            "accountability",
            "disclosure",
            "drift",
            "evalset_lineage",
            "evaluations",
            "gates",
            "human_review",
            "inventory",
            "keys",
            "kill_switch",
            "limits_of_use",
            "models_seen",
            "promotions",
            "prompt_versions",
            "red_team",
            "residency",
            "risk_register",
            "scale_of_use",
            "scheduled_checks",
            "serious_incidents",
        )
    },
}
"""Every piece of evidence by the name that a rule asks for it with."""


class Judged:
    """The rules, and what the evidence says on each."""

    def __init__(self, packs: Sequence[Pack], lights: Sequence[tuple[Rule, Light]]) -> None:
        self.packs = packs
        self.pairs = lights

    def count(self, state: State) -> int:
        """How many rules stand so."""
        return sum(light.state == state for _, light in self.pairs)

    @property
    def stale(self) -> int:
        """How many rules are past the day by which they had to be checked again."""
        return sum(light.stale for _, light in self.pairs)

    def sentence(self) -> str:
        """All of it in one sentence."""
        return (
            f"Of {counted(len(self.pairs), 'requirement')}, evidence supports {self.count('supports')}, "
            f"supports {self.count('part')} in part, "
            f"speaks against {self.count('against')}, and {self.count('missing')} are not evidenced."
        )


def judged(
    report: Report, *, rules: str | Iterable[str] = (), invoices: Sequence[Mapping[str, Any]] | None = None, cited: str = ""
) -> Judged:
    """Asks the evidence of every rule.

    Args:
        report: the report that reads and cites.
        rules: paths of further rule packs, beside the shipped ones.
        invoices: what providers invoiced, see `read_invoices`.
        cited: the citation of the invoices.

    Raises:
        ReportError: a rule pack is not one, or asks for evidence that there is not.
    """
    packs = load_packs([rules] if isinstance(rules, str) and rules else rules or ())
    asked: dict[str, Callable[[Report], Finding]] = {**EVIDENCE, "log_coverage": partial(log.log_coverage, invoices=invoices, cited=cited)}
    found: dict[str, Finding] = {}
    pairs = []
    for rule in (rule for pack in packs for rule in pack.rules):
        for name in rule.evidence:
            if name not in asked:
                raise ReportError(f"the rule {rule.id} asks for evidence {name!r}, which there is not.{did_you_mean(name, asked)}")
            if name not in found:
                found[name] = asked[name](report)
        pairs.append((rule, judge(rule, [found[name] for name in rule.evidence], today=_today(report))))
    if any(light.stale for _, light in pairs):
        report.document.lower(
            "partial", f"{sum(light.stale for _, light in pairs)} rules are past the day by which they had to be checked again"
        )
    report.document.basis["rule_packs"] = [f"{pack.id} {pack.version} of {pack.dated.isoformat()}" for pack in packs]
    return Judged(packs, pairs)


def summarise(report: Report, found: Judged) -> None:
    """The first page in words."""
    row, basis = report.view("totals").row, report.document.basis
    days = log.held_days(report)
    report.summary(found.sentence())
    if basis["chain_holds"]:
        held = "the log is empty" if days is None else f"its oldest call is {counted(days, 'day')} old"
        report.summary(f"The log's chain of {counted(basis['rows'], 'row')} was computed again and holds; {held}.")
    else:
        report.summary(f"The log's chain does NOT hold ({basis['chain_reason']}). What follows cannot be relied on.")
    spent = report.money(row["cost_usd"]) or "an amount that is not known"
    report.summary(
        f"In the period {row['calls']:,} calls cost {spent}." if row["calls"] else "No call was made in the period: spend is not evidenced."
    )
    if found.stale:
        report.summary(
            f"{counted(found.stale, 'rule')} past the day by which it had to be checked again; none of them counts as supported."
        )


def _today(report: Report) -> date:
    return report.now.date()


def write_lights(report: Report, found: Judged) -> None:
    """The page of requirements."""
    report.add(
        Lights(
            "Requirements at a glance",
            tuple(light for _, light in found.pairs),
            "“Evidence supports” says what the records show, and is no verdict on conformity. What was not measured is not evidenced.",
        )
    )


def write_index(report: Report, found: Judged) -> None:
    """Report R11: each rule with its source and dates, its evidence and who answers for it."""
    for pack in found.packs:
        report.rows(
            "",
            f"{pack.framework}: rules of {pack.dated.isoformat()} (pack {pack.id} {pack.version})",
            ["Id", "Requirement, in our words", "Also serves", "Applies from", "Checked", "Check by", "Coverage"],
            [
                [
                    rule.id,
                    f"{rule.place}. {rule.text}",
                    ", ".join(rule.also) or "–",
                    rule.effective.isoformat(),
                    rule.checked.isoformat(),
                    rule.check_by.isoformat() + (" STALE" if light.stale else ""),
                    rule.coverage,
                ]
                for rule, light in found.pairs
                if rule.pack == f"{pack.id} {pack.version}"
            ],
            note="Read from secondary sources; the texts of law were not read. Engineering input, not legal advice.",
        )


def write_gaps(report: Report, found: Judged) -> None:
    """What is missing, what to do, and who answers for it; the worst first."""
    order = ("against", "missing", "part")
    gaps = [(rule, light) for state in order for rule, light in found.pairs if light.state == state]
    report.rows(
        "",
        "Gaps and actions",
        ["Id", "State", "Gap", "Action", "Owner (role)"],
        [[rule.id, STATES[light.state], light.reason, rule.action, rule.owner] for rule, light in gaps],
        note="Owners are the roles that the rule packs name; a named person and a date are to be added by hand.",
    )


def write_definitions(report: Report) -> None:
    """The words of the report, and lines to be signed."""
    words = [
        ("Evidence supports", "The records show what the requirement asks for, as far as records can; no verdict on conformity."),
        ("Evidence in part", "Some of it is shown, or a person's record is needed as well, or the rule is stale."),
        ("Evidence against", "The records show something that the requirement forbids."),
        ("Not evidenced", "Nothing was measured or recorded. It is neither good nor bad, and never counted as good."),
        *((f"Coverage {letter}", f"Evidence {said}.") for letter, said in COVERAGE.items()),
        ("Sealed snapshot", "A copy of the ledger that no longer changes, known by its SHA-256."),
        ("Hash chain", "Each row holds the hash of the row before it, so that a changed or missing row shows."),
        ("Stale rule", "A rule that was not checked against its source by the day it names."),
    ]
    report.rows("", "Definitions", ["Word", "Meaning"], words)
    report.add(
        SignOff(
            (
                ("Prepared by", "The figures are those of the snapshot named in the basis of preparation."),
                ("Reviewed by", "The gaps and actions were read and owners agreed."),
                ("Accepted by (senior manager)", "The state shown, gaps included, is known and accepted."),
            )
        )
    )
