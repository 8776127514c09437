"""`ab()`: checks everything before anything is spent, begins or goes on with an experiment, and shows it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal, InvalidOperation
from typing import Any

from aiplat_lab.client import Client, default
from aiplat_lab.core.errors import UsageError, from_wire
from aiplat_lab.core.ids import new_id
from aiplat_lab.core.place import Place, shell_here
from aiplat_lab.core.settings import environment
from aiplat_lab.core.types import Attribution, CacheMode
from aiplat_lab.widgets._answers import Answer
from aiplat_lab.widgets._experiment import Experiment
from aiplat_lab.widgets._inputs import Input, read_inputs, repeated
from aiplat_lab.widgets._plan import Plan
from aiplat_lab.widgets._resume import AUTO, inputs_of, kept_answers, recall, record_like, record_of, same_variants, variants_of
from aiplat_lab.widgets._screen import Screen, place_here
from aiplat_lab.widgets._twin import Twin, bundle
from aiplat_lab.widgets._variants import Variant, check_values, read_variants

MOST_REPEATS = 100


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
    repeat: int = 1,
    system: str = "",
    team: str = "",
    project: str = "",
    tags: Mapping[str, str] | None = None,
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
        resume: the id or the name of an experiment to go on with, after a restart or as another rater. Variants and inputs may be left
            out: the variants then come from its record, and the inputs are those that were answered. `auto` goes on with the newest
            that has the same variants and inputs (and the same name, where one is given), else begins one.
        repeat: how often each variant answers each input; all inputs once, then all again, and no answer is another's.
        system: a system message before each input, for variants without a saved prompt.
        team: who pays; the environment's where it is empty.
        project: the same for the project.
        tags: of the calls, for the ledger.
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
        name=name, rater=rater, blind=blind, alpha=alpha, seed=seed, ahead=ahead, fresh=fresh, timeout_s=timeout_s, resume=resume,
        repeat=repeat, system=system, team=team, project=project, tags=dict(tags or {}),
    )  # fmt: skip
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
    repeat: int = 1
    system: str = ""
    team: str = ""
    project: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


def prepare(variants: Any, inputs: Any, options: Options, *, here: Place, client: Client) -> Experiment:  # Any: as for `ab`
    """An experiment that is checked and recorded, and asks nothing yet; errors as by `ab`."""
    if not 0 < options.alpha < 0.5:
        raise UsageError(f"alpha is the share of false winners that is allowed, above 0 and below 0.5, such as 0.05; got {options.alpha}")
    if options.ahead < 0:
        raise UsageError(f"ahead is a number of inputs, from 0; got {options.ahead}")
    if not 1 <= options.repeat <= MOST_REPEATS:
        raise UsageError(f"repeat is how often each variant answers, from 1 to {MOST_REPEATS}; got {options.repeat}")
    record = None if options.resume in ("", AUTO) else record_of(client, options.resume)
    sides = read_variants(variants_of(record) if variants is None and record is not None else variants, client)
    if options.system:
        sides = tuple(one.with_system(options.system) for one in sides)
    if record is not None:
        same_variants(record, sides)
    given = repeated(read_inputs(inputs), options.repeat) if inputs is not None or record is None else ()
    if options.resume == AUTO and not options.fresh:
        record = record_like(client, options.name, sides, given)
    kept = kept_answers(client, str(record["id"])) if record is not None else {}
    given = given or inputs_of(record or {}, kept)
    plan = _plan(sides, given, options, record, here=here, client=client)
    who = _who(options, plan, here)
    check_values(sides, given)
    answers = _answers(plan, who, cache="refresh" if options.fresh else "auto", timeout_s=options.timeout_s)
    recall(answers, kept)
    if record is None:
        client.record("experiment", _row(plan, who))
    votes = client.view_rows("vote_list", experiment=plan.id) if record is not None else []
    return Experiment(plan, client, answers, votes)


def _who(options: Options, plan: Plan, here: Place) -> Attribution:
    known = environment().attribution
    return replace(
        known,
        surface="ab",
        team=options.team or known.team,
        project=options.project or known.project,
        experiment=plan.id,
        notebook=here.notebook,
        cell_id=here.cell_id,
        tags={**known.tags, **options.tags},
    )


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
        id=str(before["id"]) if record is not None else new_id(),
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
    elif shell is not None:
        experiment.show = lambda: Screen(shell).show(bundle(experiment), display_id=f"aiplat-ab-{experiment.id}")
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
            tags = {**who.tags, "input": one.id, **({"draw": str(one.draw)} if one.draw > 1 else {})}
            request = side.request(one, replace(who, variant=side.name, tags=tags))
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
