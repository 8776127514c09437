"""The demo ledger: invented calls of an invented company, in a home of their own and marked as a demonstration.

The calls go through the ledger's own door, so its chain, views and reports are real; only what they tell is not. The same
seed, size and end give the same calls.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from aiplat_lab.core.documents import request_document, response_document
from aiplat_lab.core.errors import LedgerError
from aiplat_lab.core.ids import new_id
from aiplat_lab.core.settings import Home
from aiplat_lab.core.types import Clock, Message, Request, Response, utc_now
from aiplat_lab.ledger._demo_records import CallRow, Stories, Wanted
from aiplat_lab.ledger._demo_texts import TALKS

PRICE_BOOK = "demo prices"
_TEXTS = 400
"""How many of the last calls keep their texts."""
_HOURS = (1, 1, 1, 1, 1, 2, 4, 9, 17, 24, 26, 23, 15, 21, 26, 24, 19, 12, 6, 4, 3, 2, 2, 1)
_WEEK = (1.0, 1.08, 1.1, 1.04, 0.86, 0.22, 0.17)
_SPIKE_DAYS_AGO = (24, 23, 22)
_OUTAGE_DAYS_AGO = 11
_PER_MTOK = 1_000_000
_NANO = Decimal("0.000000001")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Model:
    """A name that the company's people type, and what stands behind it."""

    name: str
    provider: str
    answers: str
    region: str
    usd: tuple[str, str, str] | None
    """Input, output, cached input for a million tokens; None has no known price."""
    latency_s: float
    """Median."""
    output_tokens: int
    """Median; 0 for embeddings."""


_MODELS = {
    model.name: model
    for model in (
        _Model(
            name="fast", provider="openai", answers="gpt-5-mini", region="us", usd=("0.25", "2", "0.025"), latency_s=1.4, output_tokens=260
        ),
        _Model(
            name="careful",
            provider="anthropic",
            answers="claude-sonnet-4-5",
            region="us",
            usd=("3", "15", "0.3"),
            latency_s=5.2,
            output_tokens=520,
        ),
        _Model(
            name="frontier", provider="openai", answers="gpt-5", region="us", usd=("1.25", "10", "0.125"), latency_s=8.5, output_tokens=700
        ),
        _Model(
            name="embed",
            provider="openai",
            answers="text-embedding-3-small",
            region="us",
            usd=("0.02", "0", "0.02"),
            latency_s=0.2,
            output_tokens=0,
        ),
        _Model(name="smollm2", provider="local", answers="smollm2", region="local", usd=("0", "0", "0"), latency_s=3.1, output_tokens=120),
        _Model(name="house", provider="house", answers="house-34b", region="uk", usd=None, latency_s=2.6, output_tokens=300),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Project:
    """A piece of work: who does it, where, with which models and prompts."""

    team: str
    name: str
    weight: float
    models: dict[str, float]
    notebook: str
    prompt: str = ""
    surface: str = "magic"
    input_tokens: int = 900
    """Median."""


_PROJECTS = (
    _Project(
        team="risk",
        name="claims-triage",
        weight=9,
        models={"fast": 6, "careful": 3},
        notebook="risk/claims-triage.ipynb",
        prompt="triage",
        input_tokens=4200,
    ),
    _Project(
        team="risk",
        name="policy-wording",
        weight=4,
        models={"careful": 5, "frontier": 2},
        notebook="risk/wording-check.ipynb",
        prompt="wording-check",
        input_tokens=16_000,
    ),
    _Project(
        team="support",
        name="help-desk",
        weight=12,
        models={"fast": 9, "smollm2": 2},
        notebook="support/answers.ipynb",
        prompt="help-answer",
        surface="http",
        input_tokens=2800,
    ),
    _Project(
        team="support",
        name="knowledge-base",
        weight=5,
        models={"embed": 8, "fast": 2},
        notebook="support/index.ipynb",
        surface="python",
        input_tokens=600,
    ),
    _Project(
        team="marketing",
        name="spring-campaign",
        weight=4,
        models={"fast": 5, "frontier": 2},
        notebook="marketing/campaign.ipynb",
        prompt="copy-draft",
        input_tokens=700,
    ),
    _Project(
        team="marketing",
        name="product-texts",
        weight=3,
        models={"fast": 6, "smollm2": 3},
        notebook="marketing/products.ipynb",
        prompt="product-text",
        input_tokens=500,
    ),
    _Project(
        team="research",
        name="paper-digest",
        weight=3,
        models={"careful": 3, "frontier": 3, "house": 3},
        notebook="research/digest.ipynb",
        input_tokens=22_000,
    ),
    _Project(
        team="research",
        name="topic-map",
        weight=2,
        models={"embed": 7, "house": 2},
        notebook="research/topics.ipynb",
        surface="python",
        input_tokens=800,
    ),
    _Project(
        team="operations",
        name="invoice-reading",
        weight=5,
        models={"fast": 8, "house": 1},
        notebook="operations/invoices.ipynb",
        prompt="invoice-fields",
        surface="cli",
        input_tokens=3600,
    ),
    _Project(team="", name="", weight=0.8, models={"fast": 3, "smollm2": 3}, notebook="scratch.ipynb", input_tokens=300),
)
_CENTRES = {"risk": "CC-104", "support": "CC-210", "marketing": "CC-318", "research": "CC-402", "operations": "CC-515"}
_FAILURES = (
    ("timeout", "the provider sent nothing for 60 s", 4),
    ("rate_limited", "the provider takes no more requests for now (429); it was tried 3 times", 5),
    ("unavailable", "the provider is unavailable (503); it was tried 3 times", 2),
    ("context_length", "the prompt is longer than the model's context", 2),
    ("bad_reply", "the provider's answer was not JSON", 1),
)
_REFUSALS = (
    ("budget_exceeded", "budget", "the budget of this project has too little left for this call", 6),
    ("residency_refused", "residency", "no deployment of this model stands in a region that this team may use", 3),
    ("auth_refused", "auth", "the key has expired", 1),
)


@dataclass(slots=True)
class _Company:
    """Draws the calls, one after the other in the order of time."""

    calls: int
    days: int
    end: datetime
    dice: random.Random
    story_dice: random.Random
    """A second one for evaluations and experiments, so that the everyday calls do not depend on them."""
    stories: Stories
    spent: dict[str, Decimal] = field(default_factory=dict)
    """What each team and project cost in the month of the end, for budgets that fit."""

    def rows(self) -> Iterator[CallRow]:
        """Each call's row and the payloads it names, in the order of time."""
        asked = sorted(self.stories.wanted, key=lambda pair: pair[0].at)
        return heapq.merge(self._everyday(), (self._asked(*pair) for pair in asked), key=lambda row: row[0]["started_at"])

    def _everyday(self) -> Iterator[CallRow]:
        drawn = 0
        for day, count in self._counts():
            for at in self._times(day, count):
                drawn += 1
                yield self._row(at, texts=drawn > self.calls - _TEXTS)

    def _counts(self) -> list[tuple[datetime, int]]:
        """How many calls each day has: weeks, growth, the spike; they add up to all."""
        midnight = self.end.replace(hour=0, minute=0, second=0, microsecond=0)
        days = [midnight - timedelta(days=ago) for ago in range(self.days - 1, -1, -1)]
        today = sum(_HOURS[: self.end.hour]) + _HOURS[self.end.hour] * self.end.minute / 60
        weights = []
        for place, day in enumerate(days):
            ago = len(days) - 1 - place
            weight = _WEEK[day.weekday()] * (1 + 1.5 * place / len(days)) * self.dice.uniform(0.9, 1.1)
            weight *= 1.7 if ago in _SPIKE_DAYS_AGO else 1.0
            weights.append(weight * (max(today, 1) / sum(_HOURS) if ago == 0 else 1.0))
        whole, begun, counts = sum(weights), 0.0, []
        for day, weight in zip(days, weights, strict=True):
            counts.append((day, round(self.calls * (begun + weight) / whole) - round(self.calls * begun / whole)))
            begun += weight
        return counts

    def _times(self, day: datetime, count: int) -> list[datetime]:
        last = min(24 * 3600.0, (self.end - day).total_seconds())
        hours = self.dice.choices(range(24), _HOURS, k=count)
        seconds = (3600 * hour + self.dice.random() * 3600 for hour in hours)
        return [day + timedelta(microseconds=int(1e6 * second)) for second in sorted(s if s < last else s * last / 86_400 for s in seconds)]

    def _row(self, at: datetime, *, texts: bool) -> tuple[dict[str, Any], dict[str, bytes]]:
        dice, ago = self.dice, (self.end - at).days
        project = dice.choices(_PROJECTS, _weights(ago))[0]
        model = _MODELS[dice.choices(list(project.models), list(project.models.values()))[0]]
        if ago in _SPIKE_DAYS_AGO and project.name == "policy-wording":
            model = _MODELS["careful"]
        row: dict[str, Any] = {
            "call_id": new_id(at, bits=dice.getrandbits(80)),
            "started_at": at,
            "operation": "chat" if model.output_tokens else "embed",
            "surface": project.surface,
            "team": project.team or None,
            "project": project.name or None,
            "cost_centre": _CENTRES.get(project.team),
            "user_id": f"user-{1 + int(24 * dice.random() ** 1.6):02d}",
            "notebook": project.notebook if project.surface in {"magic", "python"} else None,
            "prompt_name": project.prompt or None,
            "prompt_version": self.stories.version(project.prompt, at) if project.prompt else None,
            "request_model": model.name,
            "stream": project.surface == "magic",
            "tags": {},
            "flags": [],
            "queued_s": 0.0,
        }
        self._end(row, project, model, ago)
        if row["cost_usd"] is not None and (at.year, at.month) == (self.end.year, self.end.month):
            for scope in (project.team, project.name):
                self.spent[scope] = self.spent.get(scope, Decimal(0)) + row["cost_usd"]
        return row, (self._texts(row, project) if texts else {})

    def _asked(self, wanted: Wanted, tell: Callable[[dict[str, Any]], None]) -> CallRow:
        """A call that an evaluation run or an experiment made."""
        dice = self.story_dice
        project = replace(next(one for one in _PROJECTS if one.prompt == wanted.prompt), input_tokens=260)
        row: dict[str, Any] = {
            "call_id": new_id(wanted.at, bits=dice.getrandbits(80)),
            "started_at": wanted.at,
            "operation": "chat",
            "team": project.team,
            "project": project.name,
            "cost_centre": _CENTRES.get(project.team),
            "user_id": "user-05",
            "prompt_name": wanted.prompt,
            "prompt_version": wanted.version,
            "request_model": wanted.model,
            "tags": {},
            "flags": [],
            "queued_s": 0.0,
            **wanted.fields,
        }
        self._answer(row, project, replace(_MODELS[wanted.model], output_tokens=40), dice)
        row["cache"] = "off"
        if not wanted.answer:
            self._fail(row, outage=True)
        row["ended_at"] = row["started_at"] + timedelta(seconds=row["latency_s"])
        payloads = _documents(row, wanted.system, wanted.question, wanted.answer)
        tell(row)
        return row, payloads

    def _end(self, row: dict[str, Any], project: _Project, model: _Model, ago: int) -> None:
        """How the call ended: refused, answered from the cache, cancelled, failed or answered."""
        dice = self.dice
        outage = ago == _OUTAGE_DAYS_AGO and model.provider == "openai"
        after_spike = _SPIKE_DAYS_AGO[-1] - 6 <= ago < _SPIKE_DAYS_AGO[-1] and project.name == "policy-wording"
        if dice.random() < (0.35 if after_spike else 0.006):
            self._refuse(row, budget=after_spike)
            return
        self._answer(row, project, model, dice)
        if dice.random() < 0.05 + 0.24 * (1 - ago / max(self.days, 1)) and project.prompt:
            seconds = dice.uniform(0.003, 0.02)
            row |= {
                "cache": "hit",
                "policy": "cache",
                "attempts": 0,
                "cost_usd": Decimal(0),
                "latency_s": seconds,
                "time_to_first_token_s": None,
            }
        elif dice.random() < (0.55 if outage else 0.012):
            self._fail(row, outage=outage)
        elif dice.random() < 0.008:
            row |= {"status": "cancelled", "error_type": "cancelled", "error_message": "the caller went away", "finish_reason": None}
        row["ended_at"] = row["started_at"] + timedelta(seconds=row["latency_s"])

    def _refuse(self, row: dict[str, Any], *, budget: bool) -> None:
        error, policy, message, _ = _REFUSALS[0] if budget else self.dice.choices(_REFUSALS, [entry[-1] for entry in _REFUSALS])[0]
        seconds = self.dice.uniform(0.001, 0.004)
        row |= {"status": "refused", "error_type": error, "error_message": message, "policy": policy, "attempts": 0, "cache": "off"}
        row |= {"cost_usd": Decimal(0), "baseline_cost_usd": Decimal(0), "latency_s": seconds}
        row["ended_at"] = row["started_at"] + timedelta(seconds=seconds)

    def _fail(self, row: dict[str, Any], *, outage: bool) -> None:
        choice = ("unavailable", "the provider is unavailable (503); it was tried 3 times", 1)
        error, message, _ = choice if outage else self.dice.choices(_FAILURES, [entry[-1] for entry in _FAILURES])[0]
        seconds = 60.0 if error == "timeout" else self.dice.lognormvariate(1.1, 0.5)
        row |= {"status": "error", "error_type": error, "error_message": message, "attempts": 1 if error == "context_length" else 3}
        row |= {"latency_s": seconds, "time_to_first_token_s": None, "finish_reason": None, "response_model": None}
        row |= dict.fromkeys(("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens"))
        if row["cost_usd"] is not None:
            row |= {"cost_usd": Decimal(0), "baseline_cost_usd": Decimal(0)}

    def _answer(self, row: dict[str, Any], project: _Project, model: _Model, dice: random.Random) -> None:
        """Tokens, price and time of an answer."""
        asked = max(8, int(project.input_tokens * dice.lognormvariate(0, 0.5)))
        cached = int(asked * dice.uniform(0.3, 0.8)) if project.prompt and model.provider != "local" and dice.random() < 0.3 else 0
        written = max(1, int(model.output_tokens * dice.lognormvariate(0, 0.6))) if model.output_tokens else 0
        reasoning = int(written * dice.uniform(0.5, 2.5)) if model.name == "frontier" else 0
        seconds = model.latency_s * dice.lognormvariate(0, 0.45)
        row |= {
            "provider": model.provider,
            "response_model": model.answers,
            "region": model.region,
            "status": "ok",
            "attempts": 2 if dice.random() < 0.02 else 1,
            "input_tokens": asked - cached,
            "cache_read_tokens": cached,
            "cache_write_tokens": 0,
            "output_tokens": written,
            "reasoning_tokens": reasoning,
            "latency_s": seconds,
            "time_to_first_token_s": seconds * 0.3 if row["stream"] else None,
            "cache": "miss" if project.prompt else "off",
            "finish_reason": ("length" if dice.random() < 0.02 else "stop") if written else None,
            "cost_usd": None,
        }
        if model.usd is not None:
            fresh, out, again = (Decimal(text) for text in model.usd)
            cost = ((asked - cached) * fresh + cached * again + (written + reasoning) * out) / _PER_MTOK
            row |= {"cost_usd": cost.quantize(_NANO), "baseline_cost_usd": cost.quantize(_NANO), "price_version": PRICE_BOOK}
            row |= {"input_usd_per_mtok": fresh, "output_usd_per_mtok": out, "cache_read_usd_per_mtok": again}

    def _texts(self, row: dict[str, Any], project: _Project) -> dict[str, bytes]:
        """Puts what was asked and answered into the row's hashes; gives the payloads."""
        system, question, answer = self.dice.choice(TALKS[project.prompt if project.prompt in TALKS else ""])
        return _documents(row, system, question, answer)


def _documents(row: dict[str, Any], system: str, question: str, answer: str) -> dict[str, bytes]:
    """Puts what was asked and answered into the row's hashes; gives the payloads."""
    messages = (Message("system", system), Message("user", question)) if system else (Message("user", question),)
    if row["operation"] == "embed":
        asked = request_document(Request(model=row["request_model"], operation="embed", inputs=(question,)))
    else:
        asked = request_document(Request(model=row["request_model"], messages=messages, settings={"temperature": 0.2}))
    row["request_hash"] = asked.hash
    payloads = dict(asked.payloads)
    if row["status"] == "ok" and row["operation"] == "chat":
        answered = response_document(Response(text=answer))
        row["response_hash"] = answered.hash
        payloads.update(answered.payloads)
    return payloads


def _weights(ago: int) -> Sequence[float]:
    """The projects' shares of a day: one of them runs over all its documents during the spike."""
    spike = ago in _SPIKE_DAYS_AGO
    return [project.weight * (4.5 if spike and project.name == "policy-wording" else 1.0) for project in _PROJECTS]


def build_demo(home: Home, *, calls: int = 20_000, days: int = 90, seed: int = 7, clock: Clock = utc_now) -> None:
    """Makes a demo ledger with its own settings in `home`.

    Args:
        home: a folder that holds no ledger yet.
        calls: how many everyday calls, of which the last few hundred keep invented texts; those of evaluations and experiments
            come on top.
        days: over how many days up to now.
        seed: the same seed gives the same calls for the same end.
        clock: gives the end, to the minute.

    Raises:
        LedgerError: the folder holds a ledger already, or cannot be written.
    """
    from aiplat_lab.ledger import Ledger

    if home.ledger_file.exists():
        raise LedgerError(
            f"{str(home.path)!r} holds a ledger already. Look at it with `aiplat dashboard`, or remove the folder to make a new one."
        )
    home.create()
    end = clock().astimezone(UTC).replace(second=0, microsecond=0)
    stories = Stories(end, days, seed)
    stories.tell()
    company = _Company(calls, days, end, random.Random(seed), random.Random(seed + 1), stories)  # noqa: S311 (invented figures)
    with Ledger.open(home, archive=False) as ledger:
        ledger.load_rows(company.rows(), demo=True)
        for kind, row in stories.sorted_records():
            ledger.record(kind, row)
    home.settings_file.write_text(_settings(company), encoding="utf-8")


def _settings(company: _Company) -> str:
    """The demo company's `aiplat.toml`, with budgets of which one is near its limit and one beyond it."""

    def limit(scope: str, share: float) -> Decimal:
        return max(company.spent.get(scope, Decimal(0)) / Decimal(str(share)), Decimal("0.01")).quantize(Decimal("0.01"))

    everyone = "".join(
        f'\n[[budgets]]\n{kind} = "{name}"\nlimit_usd = {limit(name, share)}\nperiod = "month"\nhard = {hard}\n'
        for kind, name, share, hard in (
            ("team", "risk", 0.72, "true"),
            ("team", "support", 0.93, "true"),
            ("team", "marketing", 0.45, "true"),
            ("project", "paper-digest", 1.2, "false"),
        )
    )
    return f"""# Settings of the demo ledger. The company, its teams, its calls and its prices are invented.
currency = "GBP"
usd_rate = 0.79
default_model = "smollm2"

[providers.openai]
kind = "openai"
api_key = "env:OPENAI_API_KEY"
region = "us"

[providers.anthropic]
kind = "anthropic"
api_key = "env:ANTHROPIC_API_KEY"
region = "us"

[providers.house]
kind = "openai"
base_url = "http://127.0.0.1:9/v1"
region = "uk"

[models.fast]
deployments = [{{ provider = "openai", model = "gpt-5-mini" }}]
[models.careful]
deployments = [{{ provider = "anthropic", model = "claude-sonnet-4-5" }}]
[models.frontier]
deployments = [{{ provider = "openai", model = "gpt-5" }}]
[models.embed]
deployments = [{{ provider = "openai", model = "text-embedding-3-small" }}]
[models.house]
deployments = [{{ provider = "house", model = "house-34b" }}]

[teams.risk]
cost_centre = "CC-104"
residency = ["uk", "eu", "us", "local"]
[teams.support]
cost_centre = "CC-210"
[teams.marketing]
cost_centre = "CC-318"
[teams.research]
cost_centre = "CC-402"
[teams.operations]
cost_centre = "CC-515"
{everyone}"""
