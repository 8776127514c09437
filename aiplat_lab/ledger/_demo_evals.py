"""Invented evalsets of the demo ledger, and the answers that a prompt of a given skill gives on them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A sample of an evalset."""

    id: str
    text: str
    target: str
    slices: Mapping[str, str]
    cluster: str | None
    hard: float
    """How hard it is, from 0 to 1: the same for whoever answers, so that runs can be compared sample by sample."""


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer and what the scorers say of it; the first scorer is the main one."""

    text: str
    scores: Mapping[str, float]
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Set:
    """An evalset: its samples, and how somebody of a given skill answers one."""

    name: str
    prompt: str
    scorers: Sequence[str]
    cases: Sequence[Case]
    answer: Callable[[Case, float, random.Random], Answered]


_CAUSES = (
    ("A washing machine hose split overnight and wet the kitchen floor.", "water", "simple"),
    ("A neighbour's ball went through the bedroom window.", "glass", "simple"),
    ("The freezer failed on a hot weekend and the food had to go.", "appliance", "simple"),
    ("Water came through the ceiling after the storm, and the plaster had been stained since spring.", "water", "complex"),
    ("A tree fell on the garage; the roof, the car and the fence are damaged.", "storm", "complex"),
    ("Smoke from a chip pan reached three rooms, and the wiring tripped twice since.", "fire", "complex"),
    ("The claimant reports the same camera stolen as in a claim of last year.", "theft", "referral"),
    ("The ring was insured in May and lost in June, with a receipt dated after the loss.", "theft", "referral"),
)
_DETAILS = (
    "Photos are attached. Estimate £480.",
    "The estimate is £1,240, and the repairer can start on Monday.",
    "Two estimates were given: £3,900 and £4,350.",
    "No estimate yet; the customer asks how to send photos.",
    "The customer writes that it has happened before.",
)
_WHY = {
    "simple": "one cause, one room and an estimate below the desk's limit",
    "complex": "the damage has more than one cause and needs a survey",
    "referral": "an earlier claim names the same item",
}


def _claims() -> Sequence[Case]:
    dice = random.Random(41)  # noqa: S311 (invented figures, here and below)
    cases = []
    for number in range(80):
        cause, peril, kind = _CAUSES[number % len(_CAUSES)]
        detail = _DETAILS[number // len(_CAUSES) % len(_DETAILS)]
        channel = ("phone", "web", "letter")[number * 7 % 3]
        hard = min(0.999, max(0.001, dice.random() + (0.12 if kind == "referral" else -0.05)))
        text = f"{cause} {detail} Claim {20_400 + 17 * number}."
        slices = {"class": kind, "channel": channel, "peril": peril}
        cases.append(Case(id=f"claim-{number + 1:03d}", text=text, target=kind, slices=slices, cluster=None, hard=hard))
    return cases


def _claim_answer(case: Case, skill: float, dice: random.Random) -> Answered:
    right = case.hard + dice.gauss(0, 0.07) < skill
    others = [kind for kind in _WHY if kind != case.target]
    kind = case.target if right else others[int(case.hard * 1000) % 2]
    note = "" if right else f"expected {case.target}, got {kind}"
    return Answered(f"{kind}: {_WHY[kind]}.", {"exact": float(right), "length": 1.0 if dice.random() < 0.9 else 0.0}, note)


_ASKED = (
    ("My meter shows {a} but the bill says {b}. Which one is right?", "The bill is an estimate", "Send us the reading in your account"),
    ("Can I move my direct debit to the {d}th?", "Yes", "Choose Payments, then Payment day"),
    (
        "The app says my tariff ends in June. What happens then?",
        "You move to the standard tariff",
        "We write six weeks ahead with the prices",
    ),
    ("I move out on the {d}th. What must I do?", "Tell us the date and the last reading", "Use the form Moving home"),
    ("Why is my bill £{c} higher than last winter?", "The unit price rose in October", "Compare both months under Usage"),
    ("My smart meter shows nothing since the power cut.", "The meter still counts", "Press the left button for ten seconds"),
)
_LACKS = ("it gives no next step", "it leaves out the reason", "it promises what the rules do not allow", "it answers another question")


def _desk() -> Sequence[Case]:
    dice = random.Random(43)  # noqa: S311
    cases = []
    for number in range(60):
        question, fact, step = _ASKED[number % len(_ASKED)]
        a, b, c, d = (dice.randint(*limits) for limits in ((48_000, 49_000), (47_000, 47_990), (20, 140), (2, 28)))
        topic = ("meter", "payment", "tariff", "moving", "bill", "meter")[number % len(_ASKED)]
        cases.append(
            Case(
                id=f"ask-{number + 1:03d}",
                text=question.format(a=a, b=b, c=c, d=d),
                target=f"{fact}. {step}.",
                slices={"topic": topic, "tone": "upset" if dice.random() < 0.3 else "calm"},
                cluster=f"customer-{number // 2 + 1}",
                hard=dice.random(),
            )
        )
    return cases


def _desk_answer(case: Case, skill: float, dice: random.Random) -> Answered:
    level = 0.5 + 1.6 * (skill - case.hard) + dice.gauss(0, 0.12)
    score = min(4, max(0, round(4 * level))) / 4
    fact, step = case.target.rstrip(".").split(". ", 1)
    said = {
        1.0: f"{fact}. {step}, and the next bill takes it up.",
        0.75: f"{fact}. {step}.",
        0.5: f"{fact}.",
        0.25: f"{step}.",
        0.0: "Please look at the help pages.",
    }
    note = "" if score == 1 else _LACKS[int(case.hard * 1000) % len(_LACKS)]
    return Answered(said[score], {"rubric": score, "refusal": 0.0}, note)


_SUPPLIERS = ("Northfield Paper Ltd", "Harbour Couriers", "Bright & Sons Electrical", "Alder Catering", "Moor Lane Timber")
_FIELDS = ("supplier", "number", "date", "net", "tax", "gross")


def _invoices() -> Sequence[Case]:
    dice = random.Random(47)  # noqa: S311
    cases = []
    for number in range(60):
        supplier, net = _SUPPLIERS[number % len(_SUPPLIERS)], dice.randint(4_000, 90_000) / 100
        tax = round(net * 0.2, 2)
        day, code = f"{dice.randint(1, 28)} {dice.choice(('Sep', 'Oct', 'Nov'))}", f"{dice.choice('ABH')}-{dice.randint(1000, 9999)}"
        layout = ("one line", "table", "letter")[number % 3]
        text = {
            "one line": f"{supplier}  Invoice {code}  {day}  Net {net:.2f}  VAT {tax:.2f}  Total {net + tax:.2f}",
            "table": f"{supplier}\nInvoice no. {code}\nDate {day}\n\nNet      {net:.2f}\nVAT 20 % {tax:.2f}\nTo pay   {net + tax:.2f}",
            "letter": f"Dear customer, for our work of {day} we ask for {net:.2f} plus {tax:.2f} VAT,\n"
            f"in all {net + tax:.2f} ({code}). {supplier}",
        }[layout]
        target = dict(zip(_FIELDS, (supplier, code, day, net, tax, round(net + tax, 2)), strict=True))
        slices = {"layout": layout, "amount": "500 and more" if net >= 500 else "under 500"}
        cases.append(
            Case(
                id=f"invoice-{number + 1:03d}",
                text=text,
                target=json.dumps(target),
                slices=slices,
                cluster=None,
                hard=dice.random() * 0.8 + (0.15 if layout == "letter" else 0),
            )
        )
    return cases


def _invoice_answer(case: Case, skill: float, dice: random.Random) -> Answered:
    found = dict(json.loads(case.target))
    wrong = [name for name in _FIELDS if dice.random() > min(0.995, max(0.05, skill + 0.35 * (0.5 - case.hard)))]
    for name in wrong:
        found[name] = None if isinstance(found[name], str) else round(found[name] * 1.2, 2)
    score = 1 - len(wrong) / len(_FIELDS)
    note = f"wrong: {', '.join(wrong)}" if wrong else ""
    return Answered(json.dumps(found), {"field_f1": round(score, 4), "json_schema": 1.0}, note)


SETS: Mapping[str, Set] = {
    one.name: one
    for one in (
        Set(name="claims-triage", prompt="triage", scorers=("exact", "length"), cases=_claims(), answer=_claim_answer),
        Set(name="help-desk", prompt="help-answer", scorers=("rubric", "refusal"), cases=_desk(), answer=_desk_answer),
        Set(name="invoices", prompt="invoice-fields", scorers=("field_f1", "json_schema"), cases=_invoices(), answer=_invoice_answer),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """A run that took place."""

    evalset: str
    version: str
    model: str
    days_ago: float
    skill: float
    epochs: int = 1
    status: str = "complete"
    """How it ended; empty where it has not."""
    reason: str = ""
    done: float = 1.0
    """The share of the samples that were asked."""
    failing: float = 0.01
    """The share of the calls without an answer."""
    name: str = ""


def _nightly(evalset: str, version: str, skill: float, days: Sequence[float], *, model: str = "fast", epochs: int = 1) -> list[RunPlan]:
    return [
        RunPlan(evalset=evalset, version=version, model=model, days_ago=ago, skill=skill, epochs=epochs, name=f"{evalset} weekly")
        for ago in days
    ]


RUNS: Sequence[RunPlan] = sorted(
    [
        *_nightly("claims-triage", "1.0.0", 0.62, (80.4, 73.4, 66.4)),
        *_nightly("claims-triage", "1.1.0", 0.66, (59.4, 52.4, 45.4, 38.4, 31.4)),
        RunPlan(evalset="claims-triage", version="2.0.0", model="fast", days_ago=24.3, skill=0.85, name="2.0.0 before staging"),
        *_nightly("claims-triage", "2.0.0", 0.85, (17.4, 10.4, 3.4)),
        RunPlan(evalset="claims-triage", version="2.0.0", model="careful", days_ago=22.2, skill=0.93, name="triage on careful"),
        RunPlan(evalset="claims-triage", version="2.0.0", model="frontier", days_ago=22.1, skill=0.95, name="triage on frontier"),
        RunPlan(evalset="claims-triage", version="2.0.0", model="smollm2", days_ago=22.0, skill=0.48, name="triage on smollm2"),
        RunPlan(evalset="claims-triage", version="2.0.1", model="fast", days_ago=4.6, skill=0.87, name="2.0.1 before staging"),
        *_nightly("help-desk", "1.0.0", 0.56, (78.3, 64.3, 50.3)),
        *_nightly("help-desk", "1.1.0", 0.68, (43.3, 36.3, 29.3, 22.3)),
        RunPlan(evalset="help-desk", version="1.1.1", model="fast", days_ago=12.6, skill=0.4, name="after the change to 1.1.1"),
        *_nightly("help-desk", "1.1.0", 0.68, (8.3, 1.3)),
        RunPlan(
            evalset="help-desk",
            version="1.1.0",
            model="careful",
            days_ago=10.9,
            skill=0.78,
            status="failed",
            reason="the provider was down for half the run",
            failing=0.5,
            name="help desk on careful",
        ),
        RunPlan(
            evalset="help-desk",
            version="1.1.0",
            model="frontier",
            days_ago=7.2,
            skill=0.8,
            status="capped",
            reason="the cap of $0.25 was reached",
            done=0.55,
            name="help desk on frontier",
        ),
        *_nightly("invoices", "1.0.0", 0.83, (70.2, 55.2, 40.2, 26.2), epochs=2),
        *_nightly("invoices", "1.1.0", 0.94, (20.2, 13.2, 6.2), epochs=2),
        RunPlan(evalset="invoices", version="1.1.0", model="smollm2", days_ago=5.7, skill=0.7, name="invoices on smollm2"),
        RunPlan(
            evalset="invoices", version="1.1.0", model="careful", days_ago=0.01, skill=0.96, status="", done=0.3, name="invoices on careful"
        ),
    ],
    key=lambda run: -run.days_ago,
)
