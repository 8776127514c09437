"""All that a run is, decided and checked before the first call: what it asks, how often, what it may cost."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

from aiplat_lab.client import Client
from aiplat_lab.core.errors import AiplatError, EvalError, PromptError, UsageError, did_you_mean
from aiplat_lab.core.ids import derived_id, id_time, is_id, new_id
from aiplat_lab.core.settings import shipped
from aiplat_lab.core.types import Attribution, CacheMode, Json, Message, Request, content_hash
from aiplat_lab.evals._asking import Asking, PromptLike, asking
from aiplat_lab.evals._evalset import Evalset, Sample, load
from aiplat_lab.evals._score import Scorer, Wanted, resolve

CHARS_PER_TOKEN = 4.0
_MESSAGE_TOKENS = 4
_ANSWER_TOKENS = 256
"""How long an answer is taken to be at most when no setting says it."""
_STEP = timedelta(microseconds=500)
"""Ids of calls are this far apart in time, in the order of the samples, so that the oldest are forgotten first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One sample in one epoch."""

    sample: Sample
    epoch: int
    index: int
    """Its place in the run."""

    @property
    def key(self) -> tuple[str, int]:
        """What tells it apart in its run."""
        return self.sample.id, self.epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A run, whole."""

    run_id: str
    name: str
    evalset: Evalset
    asking: Asking
    prompt_hash: str
    model: str
    settings: Mapping[str, Json]
    scorers: tuple[Scorer, ...]
    epochs: int
    concurrency: int
    max_cost_usd: Decimal | None
    cache: CacheMode
    seed: int
    who: Attribution

    @property
    def main(self) -> Scorer:
        """The scorer that decides."""
        return self.scorers[0]

    def items(self) -> Iterable[Item]:
        """Every sample of every epoch, epoch by epoch."""
        count = len(self.evalset)
        for epoch in range(1, self.epochs + 1):
            for place, sample in enumerate(self.evalset.samples):
                yield Item(sample=sample, epoch=epoch, index=(epoch - 1) * count + place)

    def call_id(self, item: Item, attempt: int, *role: object) -> str:
        """The id of a call, always the same: a run that is taken up again asks by the same ids, and pays for none twice."""
        return derived_id(id_time(self.run_id) + item.index * _STEP, self.run_id, *item.key, attempt, *role)

    def request(self, item: Item, attempt: int, *, call_id: str = "") -> Request:
        """The request for one sample."""
        made = self.asking.request(item.sample.input)
        return replace(
            made,
            model=self.model,
            settings={**made.settings, **self.settings},
            cache=self.cache,
            attribution=replace(
                self.who,
                surface="eval",
                prompt_name=made.attribution.prompt_name or self.asking.name,
                prompt_version=made.attribution.prompt_version or self.asking.version,
                experiment=self.run_id,
                tags={"sample": item.sample.id, "epoch": str(item.epoch)},
            ),
            call_id=call_id or self.call_id(item, attempt),
            detached=True,
            stream=False,
        )

    def scorer_request(
        self,
        item: Item,
        attempt: int,
        *,
        scorer: str,
        key: str,
        model: str,
        parent_id: str,
        messages: Sequence[Message] = (),
        inputs: Sequence[str] = (),
        settings: Mapping[str, Json] | None = None,
    ) -> Request:
        """A request that a scorer makes about one answer."""
        draw = key[len(key.rstrip("0123456789")) :] or "1"
        tags = {"sample": item.sample.id, "epoch": str(item.epoch), "scorer": scorer, "draw": draw}
        return Request(
            model=model or self.model,
            operation="embed" if inputs else "chat",
            messages=tuple(messages),
            inputs=tuple(inputs),
            settings=settings or {},
            cache=self.cache,
            attribution=replace(self.who, surface="eval", experiment=self.run_id, tags=tags),
            call_id=self.call_id(item, attempt, scorer, key),
            parent_id=parent_id,
            detached=True,
        )

    def record(self) -> dict[str, Any]:
        """The run's own record, from which it can be taken up again."""
        inside = str(shipped("evalsets"))
        return {
            "id": self.run_id,
            "name": self.name,
            "evalset": self.evalset.name,
            "evalset_hash": self.evalset.hash,
            "evalset_path": "" if self.evalset.path.startswith(inside) else self.evalset.path,
            "samples": len(self.evalset),
            "epochs": self.epochs,
            "prompt_name": self.asking.name,
            "prompt_version": self.asking.version,
            "prompt_hash": self.prompt_hash,
            "prompt_text": self.asking.text,
            "model": self.model,
            "settings": dict(self.settings),
            "scorers": [one.name for one in self.scorers],
            "max_cost_usd": None if self.max_cost_usd is None else str(self.max_cost_usd),
            "team": self.who.team,
            "project": self.who.project,
            "user_id": self.who.user_id,
            "notebook": self.who.notebook,
            "seed": self.seed,
            "cache": self.cache,
        }


def make(
    client: Client,
    evalset: Evalset,
    *,
    prompt: PromptLike = None,
    model: str | None = None,
    scorers: Wanted | Sequence[Wanted] | None = None,
    epochs: int = 1,
    concurrency: int = 8,
    max_cost_usd: Decimal | str | float | None = None,
    name: str | None = None,
    settings: Mapping[str, Json] | None = None,
    cache: CacheMode = "auto",
    seed: int = 0,
    who: Attribution | None = None,
) -> Plan:
    """A new run, checked: every sample's request can be made, the model is known, the scorers are there.

    Raises:
        UsageError, PromptError, EvalError: something does not fit; nothing was asked.
    """
    asked = _asking(prompt, client)
    for what, number in (("epochs", epochs), ("concurrency", concurrency)):
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise UsageError(f"{what} is {number}; it must be a whole number of 1 or more")
    cap = _cap(max_cost_usd)
    wanted = _scorers(scorers, asked, evalset)
    known = client.models()  # starts the gateway, so that the run's id is younger than it
    chosen = _model(model or asked.model or client.status().get("default_model") or "", known)
    if asked.hash:
        prompt_hash, _ = asked.hash, _render_all(asked, evalset)
    else:
        prompt_hash = content_hash([[one.to_json() for one in request.messages] for request in _render_all(asked, evalset)])
    return Plan(
        run_id=new_id(),
        name=name or evalset.name,
        evalset=evalset,
        asking=asked,
        prompt_hash=prompt_hash,
        model=chosen,
        settings=dict(settings or {}),
        scorers=wanted,
        epochs=epochs,
        concurrency=concurrency,
        max_cost_usd=cap,
        cache=cache,
        seed=seed,
        who=who or client.who,
    )


def again(
    client: Client,
    run_id: str,
    evalset: Evalset | None,
    *,
    prompt: PromptLike = None,
    scorers: Wanted | Sequence[Wanted] | None = None,
    concurrency: int = 8,
    max_cost_usd: Decimal | str | float | None = None,
    who: Attribution | None = None,
) -> Plan:
    """The plan of a run that is there already, out of its record.

    Raises:
        UsageError: there is no such run, or what was given now is not what it began with.
    """
    row = record_of(client, run_id)
    known = evalset or _same_evalset(row)
    if known.hash != row["evalset_hash"]:
        raise UsageError(
            f"the evalset {row['evalset']} has changed since the run {row['name']} began ({row['evalset_hash'][:8]} then, {known.hash[:8]} "
            "now), so its answers would not belong together: start a new run"
        )
    text = row.get("prompt_text") or None
    if prompt is None and text is None and row.get("prompt_hash") != content_hash("input"):
        raise UsageError(f"the prompt of the run {row['name']} is a function: take it up again in Python, with prompt=")
    asked = _asking(text if prompt is None else prompt, client)
    rendered = _render_all(asked, known)
    now = asked.hash or content_hash([[one.to_json() for one in request.messages] for request in rendered])
    if now != row.get("prompt_hash"):
        raise UsageError(f"the prompt has changed since the run {row['name']} began: start a new run, or take it up with the same prompt")
    cap = _cap(max_cost_usd)
    stored = row.get("max_cost_usd")
    return Plan(
        run_id=row["id"],
        name=row["name"],
        evalset=known,
        asking=asked,
        prompt_hash=now,
        model=row["model"],
        settings=row.get("settings") or {},
        scorers=_same_scorers(row, scorers),
        epochs=int(row["epochs"]),
        concurrency=concurrency,
        max_cost_usd=cap if cap is not None else None if stored is None else Decimal(stored),
        cache=row.get("cache") or "auto",
        seed=int(row.get("seed") or 0),
        who=who or client.who,
    )


def _asking(prompt: PromptLike, client: Client) -> Asking:
    try:
        return asking(prompt, client=client)
    except PromptError as error:
        raise UsageError(error.message) from None


def record_of(client: Client, run: str) -> dict[str, Any]:
    """The record of a run by its id, the beginning of its id, or its name (the newest of that name).

    Raises:
        UsageError: there is none, or several begin so.
    """
    text = run.strip()
    if is_id(text):
        rows = client.view_rows("eval_run_record", run=text)
        if rows:
            return parsed(rows[0])
    runs = client.view_rows("eval_run_list")
    begun = [row for row in runs if len(text) >= 4 and row["run_id"].startswith(text)]
    if len(begun) > 1:
        raise UsageError(f"{len(begun)} runs have an id that begins with {text}; write more of it")
    named = begun or [row for row in runs if row["name"] == text]
    if not named:
        near = did_you_mean(text, [row["name"] for row in runs] + [row["run_id"] for row in runs])
        raise UsageError(f"there is no run {text[:60]!r}.{near} `aiplat eval list --runs` lists them.")
    return parsed(client.view_rows("eval_run_record", run=named[0]["run_id"])[0])


def parsed(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of a view with its JSON columns read."""
    found = dict(row)
    for name in ("settings", "scorers", "scores", "notes", "slices", "errors"):
        if isinstance(found.get(name), str):
            found[name] = json.loads(found[name])
    return found


def _same_evalset(row: Mapping[str, Any]) -> Evalset:
    try:
        return load(row.get("evalset_path") or row["evalset"])
    except AiplatError as error:
        raise UsageError(f"the evalset of the run {row['name']} cannot be read again: {error.message}") from None


def _same_scorers(row: Mapping[str, Any], given: Wanted | Sequence[Wanted] | None) -> tuple[Scorer, ...]:
    wanted = [str(one) for one in row["scorers"]]
    if given is not None:
        found = tuple(resolve(one) for one in _listed(given))
        if [one.name for one in found] != wanted:
            raise UsageError(f"the run {row['name']} was begun with the scorers {', '.join(wanted)}; leave them out, or start a new run")
        return found
    try:
        return tuple(resolve(one) for one in wanted)
    except UsageError as error:
        raise UsageError(
            f"{error.message} The run {row['name']} may have used a function: take it up again in Python, with scorers="
        ) from None


def _listed(given: Wanted | Sequence[Wanted]) -> list[Wanted]:
    return list(given) if isinstance(given, list | tuple) else [given]  # type: ignore[list-item]


def _scorers(given: Wanted | Sequence[Wanted] | None, asked: Asking, evalset: Evalset) -> tuple[Scorer, ...]:
    wanted = _listed(given) if given is not None else list(asked.scorers or evalset.scorers or _fitting(evalset))
    if not wanted:
        raise UsageError("a run needs at least one scorer")
    found = tuple(resolve(one) for one in wanted)
    names = [one.name for one in found]
    twice = next((name for name in names if names.count(name) > 1), "")
    if twice:
        raise UsageError(f"the scorer {twice} is given twice; give two functions two names")
    return found


def _fitting(evalset: Evalset) -> list[str]:
    return ["json_fields"] if isinstance(evalset.samples[0].target, Mapping) else ["normalised"]


def _model(model: str, known: Sequence[Mapping[str, Any]]) -> str:
    names = [str(one["name"]) for one in known]
    if model not in names and "/" not in model:
        raise UsageError(f"there is no model {model!r}.{did_you_mean(model, names)} There are {', '.join(names)}, or write provider/model.")
    return model


def _cap(given: Decimal | str | float | None) -> Decimal | None:
    if given is None:
        return None
    try:
        cap = Decimal(str(given))
    except ArithmeticError:
        cap = Decimal("nan")
    if not cap.is_finite() or cap < 0:
        raise UsageError(f"the cap on the cost is {given!s:.40}; it must be 0 or more US dollars")
    return cap


def _render_all(asked: Asking, evalset: Evalset) -> list[Request]:
    """Every sample's request, so that what cannot be asked is said before anything is.

    Raises:
        UsageError: a variable is missing or does not fit; the text names the sample.
    """
    found = []
    for sample in evalset.samples:
        try:
            found.append(asked.request(sample.input))
        except PromptError as error:
            raise UsageError(f"the sample {sample.id} of {evalset.name} cannot be asked: {error.message}") from None
    return found


# --- what it may cost -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a run would ask and cost, from the texts and the price list; nothing was sent."""

    calls: int
    scorer_calls: int
    """Of these, calls of scorers that ask a model."""
    input_tokens: int
    """About so many, at four characters a token."""
    output_tokens_low: int
    output_tokens_high: int
    low_usd: Decimal | None
    """None where the price is not known."""
    high_usd: Decimal | None
    sentence: str = ""

    def to_json(self) -> dict[str, Any]:
        """All of it; money as text."""
        return {
            name: (str(value) if isinstance(value := getattr(self, name), Decimal) else value)
            for name in ("calls", "scorer_calls", "input_tokens", "output_tokens_low", "output_tokens_high", "low_usd", "high_usd")
        }


def prices(client: Client, model: str) -> tuple[Decimal, Decimal] | None:
    """US dollars for a token in and out of the dearest deployment behind a model; None where one has no price."""
    known = {str(one["name"]): one for one in client.models()}
    described = known.get(model)
    if described is None:
        provider, _, there = model.partition("/")
        described = {
            "deployments": [
                one for row in known.values() for one in row["deployments"] if (one["provider"], one["model"]) == (provider, there)
            ]
        }
    found = [(one["input_usd_per_mtok"], one["output_usd_per_mtok"]) for one in described["deployments"]]
    if not found or any(price is None for pair in found for price in pair):
        return None
    return max(Decimal(a) for a, _ in found) / 1_000_000, max(Decimal(b) for _, b in found) / 1_000_000


def estimate(client: Client, plan: Plan) -> Estimate:
    """What the run would cost, without sending anything."""
    tokens_in = low = high = scorer_calls = 0
    for sample in plan.evalset.samples:
        request = plan.asking.request(sample.input)
        settings = {**request.settings, **plan.settings}
        asked = sum(_tokens(one.text()) + _MESSAGE_TOKENS for one in request.messages)
        most = int(settings.get("max_tokens") or settings.get("max_completion_tokens") or _ANSWER_TOKENS)
        expected = min(most, _tokens(str(sample.target or "")) + 1)
        tokens_in, low, high = tokens_in + asked, low + expected, high + max(most, expected)
        for scorer in plan.scorers:
            if scorer.asks:
                turns = int(scorer.options.get("repeats", 1))
                scorer_calls += turns
                tokens_in += turns * (asked + expected + 150)
                low, high = low + turns * 20, high + turns * 300
    epochs = plan.epochs
    price = prices(client, plan.model)
    tokens_in, low, high = tokens_in * epochs, low * epochs, high * epochs
    bounds = (None, None) if price is None else tuple(tokens_in * price[0] + count * price[1] for count in (low, high))
    return Estimate(
        calls=len(plan.evalset) * epochs + scorer_calls * epochs,
        scorer_calls=scorer_calls * epochs,
        input_tokens=tokens_in,
        output_tokens_low=low,
        output_tokens_high=high,
        low_usd=bounds[0],
        high_usd=bounds[1],
    )


def need_price(client: Client, plan: Plan) -> bool:
    """Whether calls of the run cost anything.

    Raises:
        EvalError: there is a cap, and the price of the model is not known, so that it could not be held.
    """
    models = {plan.model, *(str(one.options.get("model") or plan.model) for one in plan.scorers if one.asks)}
    found = {model: prices(client, model) for model in models if model != "minilm"}
    unknown = sorted(model for model, price in found.items() if price is None)
    if unknown and plan.max_cost_usd is not None:
        raise EvalError(
            f"the price of {', '.join(unknown)} is not known, so a cap on the cost cannot be held: set input_usd_per_mtok and "
            "output_usd_per_mtok of its deployment in aiplat.toml, or leave the cap out"
        )
    return any(price is None or any(price) for price in found.values())


def _tokens(text: str) -> int:
    return math.ceil(len(text) / CHARS_PER_TOKEN)
