"""`ab()`: checks everything before anything is spent, begins or goes on with an experiment, and shows it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

from aiplat_lab import prompts
from aiplat_lab.client import Client, default
from aiplat_lab.core.errors import UsageError, did_you_mean, from_wire
from aiplat_lab.core.ids import new_id
from aiplat_lab.core.place import Place, shell_here
from aiplat_lab.core.settings import environment
from aiplat_lab.core.types import Attribution, CacheMode
from aiplat_lab.widgets._answers import Answer
from aiplat_lab.widgets._experiment import Experiment, Plan
from aiplat_lab.widgets._inputs import Input, read_inputs
from aiplat_lab.widgets._screen import Screen, place_here
from aiplat_lab.widgets._twin import Twin, bundle
from aiplat_lab.widgets._variants import Variant, check_values, read_variants


def ab(
    variants: Any = None,
    inputs: Any = None,
    *,
    name: str = "",
    rater: str = "",
    blind: bool = True,
    alpha: float = 0.05,
    seed: int | None = None,
    ahead: int = 1,
    fresh: bool = False,
    timeout_s: float | None = None,
    resume: str = "",
    client: Client | None = None,
) -> Experiment:
    """Compares two to four variants side by side: blind, with votes, and a verdict that may be looked at at any time.

    In a notebook that somebody watches, the cell returns at once and shows a control; a record of what was judged stands below it
    and stays in the file. Where nobody watches (papermill, CI, a script) the record alone is made, when every answer is whole.

    Args:
        variants: a list of `Variant`s, of dicts with `prompt`, `model`, `settings`, `name`, of names of models, or of `name@label`.
        inputs: a text, a dict of variables, a list of these, or a frame.
        name: what the experiment is called.
        rater: who votes; the user's name where it is empty.
        blind: whether names, models and costs are hidden until the vote.
        alpha: the share of false winners that is allowed, over all looks.
        seed: what the order of the sides is drawn from; a new one where it is None.
        ahead: how many inputs are asked before you come to them.
        fresh: ask again although an answer is known.
        timeout_s: seconds for each answer.
        resume: the id of an experiment to go on with, after a restart or as another rater. Variants and inputs may be left out:
            the variants then come from its record, and the inputs are those that were answered.
        client: the way to the gateway.

    Raises:
        UsageError: variants or inputs are not such, or there is no such experiment; nothing was spent.
        UnknownModel, PromptError: a model or a prompt is not there; nothing was spent.
        AiplatError: where nobody watches, an answer failed.
    """
    client = client or default()
    shell = shell_here()
    here = place_here(shell, environment())
    options = Options(
        name=name, rater=rater, blind=blind, alpha=alpha, seed=seed, ahead=ahead, fresh=fresh, timeout_s=timeout_s, resume=resume
    )
    return _shown(prepare(variants, inputs, options, here=here, client=client), shell, here)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What `ab()` is told beside variants and inputs."""

    name: str = ""
    rater: str = ""
    blind: bool = True
    alpha: float = 0.05
    seed: int | None = None
    ahead: int = 1
    fresh: bool = False
    timeout_s: float | None = None
    resume: str = ""


def prepare(variants: Any, inputs: Any, options: Options, *, here: Place, client: Client) -> Experiment:  # Any: as for `ab`
    """An experiment that is checked and recorded, and asks nothing yet; errors as by `ab`."""
    if not 0 < options.alpha < 0.5:
        raise UsageError(f"alpha is the share of false winners that is allowed, above 0 and below 0.5, such as 0.05; got {options.alpha}")
    if options.ahead < 0:
        raise UsageError(f"ahead is a number of inputs, from 0; got {options.ahead}")
    resume, known = options.resume, environment()
    record = _record_of(client, resume) if resume else None
    sides = read_variants(_variants_of(record) if variants is None and record is not None else variants, client)
    if record is not None:
        _same_variants(record, sides)
    kept = _kept(client, resume) if resume else {}
    given = read_inputs(inputs) if inputs is not None or record is None else _inputs_of(client, record, kept)
    plan = _plan(sides, given, options, record, here=here, client=client)
    who = replace(known.attribution, surface="ab", experiment=plan.id, notebook=here.notebook, cell_id=here.cell_id)
    check_values(sides, given)
    answers = _answers(plan, who, cache="refresh" if options.fresh else "auto", timeout_s=options.timeout_s)
    _recall(answers, kept)
    if record is None:
        client.record("experiment", _row(plan, who))
    votes = client.view_rows("vote_list", experiment=plan.id) if resume else []
    return Experiment(plan, client, answers, votes)


def _plan(
    sides: tuple[Variant, ...],
    inputs: tuple[Input, ...],
    options: Options,
    record: Mapping[str, Any] | None,
    *,
    here: Place,
    client: Client,
) -> Plan:
    currency, rate = _money(client)
    before = record or {}
    seed = before.get("seed") if record is not None else options.seed
    return Plan(
        id=options.resume or new_id(),
        name=options.name or str(before.get("name") or " or ".join(side.name for side in sides)),
        variants=sides,
        inputs=inputs,
        rater=options.rater or environment().attribution.user_id or "somebody",
        blind=options.blind,
        alpha=float(before.get("alpha") or options.alpha),
        seed=secrets.randbelow(2**31) if seed is None else int(seed),
        ahead=options.ahead,
        headless=here.headless,
        currency=currency,
        usd_rate=rate,
    )


def _shown(experiment: Experiment, shell: Any, here: Place) -> Experiment:  # Any: IPython's shell, which comes without types
    screen = Screen(shell) if here.kernel else None
    twin = None
    if screen is not None:
        shown, began = screen, shell.execution_count
        twin = Twin(experiment, lambda data, update: shown.show(data, display_id=f"aiplat-ab-{experiment.id}", update=update))

        def again() -> None:
            if shell.execution_count != began:
                Screen(shell).show(bundle(experiment), display_id=f"aiplat-ab-{experiment.id}")

        experiment.show = again
    if here.headless or screen is None:
        return _to_the_end(experiment, twin)
    from aiplat_lab.widgets._live import Live  # with ipywidgets, for those who watch alone

    Live(experiment).show(screen)
    if twin is not None:
        twin.show()
    experiment.start()
    return experiment


def _to_the_end(experiment: Experiment, twin: Twin | None) -> Experiment:
    """Waits for every answer; nobody is asked for votes.

    Raises:
        AiplatError: an answer failed, of the type of the first that did.
    """
    experiment.start()
    try:
        while not experiment.wait(1.0):
            pass
    finally:
        experiment.stop()
    if twin is not None:
        twin.show()
    plan = experiment.plan
    every = [experiment.answer(name, one.id) for one in plan.inputs for name in plan.names]
    failed = [answer for answer in every if answer.failure is not None]
    if failed and failed[0].failure is not None:
        first = failed[0].failure
        message = f"{len(failed)} of {len(every)} answers failed; the first, of variant {failed[0].variant!r}: {first.message}"
        raise from_wire({**first.to_wire(), "message": message}) from None
    return experiment


def _money(client: Client) -> tuple[str, Decimal]:
    status = client.status()
    try:
        return str(status.get("currency") or "USD"), Decimal(str(status.get("usd_rate") or 1))
    except InvalidOperation:
        return "USD", Decimal(1)


def _answers(plan: Plan, who: Attribution, *, cache: CacheMode, timeout_s: float | None) -> dict[tuple[str, str], Answer]:
    """Every answer that is wanted, with what will be asked: whatever is wrong with a prompt is found here."""
    found = {}
    for one in plan.inputs:
        for side in plan.variants:
            request = side.request(one, replace(who, variant=side.name, tags={**who.tags, "input": one.id}))
            request = replace(request, stream=True, cache=cache, timeout_s=timeout_s)
            found[side.name, one.id] = Answer(variant=side.name, input_id=one.id, request=request, model=request.model)
    return found


def _row(plan: Plan, who: Attribution) -> dict[str, Any]:
    return {
        "id": plan.id,
        "name": plan.name,
        "variants": [side.describe() for side in plan.variants],
        "inputs": len(plan.inputs),
        "input_ids": [one.id for one in plan.inputs],
        "blind": plan.blind,
        "author": plan.rater,
        "notebook": who.notebook,
        "alpha": plan.alpha,
        "seed": plan.seed,
    }


# --- going on with an experiment --------------------------------------------------------------------------------------


def _record_of(client: Client, experiment: str) -> dict[str, Any]:
    rows = client.view_rows("experiment_list", experiment=experiment)
    if not rows:
        others = [str(row["id"]) for row in client.view_rows("experiment_list", limit=200)]
        raise UsageError(
            f"there is no experiment {experiment[:80]!r}.{did_you_mean(experiment, others, count=1)} "
            "aiplat_lab.connect().view('experiment_list') lists them."
        )
    return {
        name: json.loads(value) if name in {"variants", "input_ids"} and isinstance(value, str) else value
        for name, value in rows[0].items()
    }


def _variants_of(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The variants as they were given."""
    return [
        {
            "name": side["name"],
            "model": side["model"],
            "settings": side["settings"],
            "prompt": _prompt_of(side),
        }
        for side in record["variants"]
    ]


def _prompt_of(side: Mapping[str, Any]) -> Any:  # Any: a prompt, or a text
    """A prompt as it was: by its version, or by its text where it was not saved."""
    if not side.get("prompt_name"):
        return side.get("prompt_text", "")
    return prompts.parse(side["prompt_text"]) if "prompt_text" in side else f"{side['prompt_name']}@{side['prompt_version']}"


def _same_variants(record: Mapping[str, Any], sides: Sequence[Variant]) -> None:
    """Votes on other variants must not be mixed with these."""
    begun = {str(side["name"]): side for side in record["variants"]}
    for side in sides:
        now = side.describe()
        before = begun.get(side.name)
        if before is None or len(sides) != len(begun):
            raise UsageError(
                f"experiment {record['id']} compares {', '.join(begun)}, not {', '.join(one.name for one in sides)}; "
                "leave the variants out to go on with it, or leave resume out to begin another"
            )
        for part in ("model", "settings", "prompt_hash"):
            if before.get(part) != now.get(part):
                raise UsageError(
                    f"variant {side.name!r} has another {part.partition('_')[0]} than in experiment {record['id']}; "
                    "leave the variants out to go on with it, or leave resume out to begin another"
                )


def _inputs_of(client: Client, record: Mapping[str, Any], kept: Mapping[tuple[str, str], Kept]) -> tuple[Input, ...]:
    """The inputs that every variant has answered, out of what was asked; an erased text is left out."""
    names = [str(side["name"]) for side in record["variants"]]
    found = []
    for input_id in record.get("input_ids") or ():
        calls = [kept.get((name, str(input_id))) for name in names]
        asked = [call.asked for call in calls if call is not None and call.asked and call.text is not None]
        if len(asked) == len(names):
            found.append(Input(str(input_id), min(asked, key=len)))  # the variant that adds least to it
    if not found:
        raise UsageError(
            f"no input of experiment {record['id']} has been answered by every variant, or the texts were erased; give the inputs again"
        )
    return tuple(found)


class Kept(NamedTuple):
    """An answer that the ledger has."""

    row: Mapping[str, Any]  # Any: the values of a view
    asked: str
    text: str | None
    """None where it was erased."""


def _kept(client: Client, experiment: str) -> dict[tuple[str, str], Kept]:
    """The answers that an experiment has: they are what was judged, and asking again would cost."""
    found = {}
    for row in client.view_rows("experiment_answers", experiment=experiment, status="ok"):
        call = client.call(str(row["call_id"]))
        messages = call.get("messages") or []
        asked = next((one.get("content") for one in reversed(messages) if one.get("role") == "user"), "")
        text = call.get("text")
        key = str(row["variant"]), str(row["input_id"])
        found[key] = Kept(row, asked if isinstance(asked, str) else "", text if isinstance(text, str) else None)
    return found


def _recall(answers: Mapping[tuple[str, str], Answer], kept: Mapping[tuple[str, str], Kept]) -> None:
    for key, call in kept.items():
        if key in answers and call.text is not None:
            answers[key].recall(call.row, call.text)
