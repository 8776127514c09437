"""Which deployments a call may use, and in which order: rules, capabilities, then the strategy of the model."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from aiplat_lab.core.errors import CapabilityRefused, ResidencyRefused
from aiplat_lab.core.settings import ModelSettings, RuleSettings, Settings
from aiplat_lab.core.types import Call, Deployment, Request
from aiplat_lab.gateway import _capability, _strategy
from aiplat_lab.gateway._speed import Speeds
from aiplat_lab.gateway._strategy import Order
from aiplat_lab.prices import Prices

NAME = "routing"
"""What a refusal names as the rule that refused."""
ASSUMED_OUTPUT_TOKENS = 256
"""How long an answer is taken to be until the model's own answers say better."""
_NEWEST = 0.1
_MOST = 2_000


@dataclass(slots=True)
class _Model:
    """A requested model as routing sees it."""

    settings: ModelSettings | None
    """None for a name written provider/model."""
    lacks: dict[str, frozenset[str]]
    """What each deployment cannot do, by name."""
    plain: bool
    """Whether its deployments are tried as they are listed, whatever the call is."""
    output_tokens: float = ASSUMED_OUTPUT_TOKENS
    """How long its answers are, as learned."""


class Left(NamedTuple):
    """A deployment that this call may not use."""

    deployment: Deployment
    why: str


class Orders:
    """Orders the deployments of calls."""

    def __init__(self, settings: Settings, prices: Prices, speeds: Speeds) -> None:
        self._settings = settings
        self._prices = prices
        self._speeds = speeds
        self._models: OrderedDict[str, _Model] = OrderedDict()

    def plan(self, call: Call) -> None:
        """Leaves in the call the deployments that can do what it needs, in the order in which they are tried.

        Raises:
            CapabilityRefused: no deployment can do what the request needs.
            ResidencyRefused: the deployments that a rule names are not among those allowed.
        """
        known = self._models.get(call.request.model) or self._known(call.request.model, call.deployments)
        if known.plain:
            return
        able, left = self.able(call, known)
        if not able:
            raise self._refused(call, left)
        order = self._ordered(call, able, known)
        call.deployments = order.deployments
        reason = order.reason
        if left:
            reason = f"{reason or 'ordered'}; left out: " + ", ".join(f"{one.deployment.name} ({one.why})" for one in left)
        if reason:
            call.route = reason
            call.notes["route"] = _header(reason)

    def explain(self, call: Call) -> tuple[Order, list[Left]]:
        """The order with its reason and figures, and what is left out and why; errors as `plan`."""
        known = self._known(call.request.model, call.deployments)
        able, left = self.able(call, known)
        if not able:
            raise self._refused(call, left)
        return self._ordered(call, able, known), left

    def learn(self, call: Call, output_tokens: int) -> None:
        """Notes how long an answer was."""
        known = self._models.get(call.request.model)
        if known is not None and output_tokens:
            known.output_tokens += _NEWEST * (output_tokens - known.output_tokens)

    def usual_output_tokens(self, model: str) -> float:
        """How long an answer of the model is, as learned."""
        known = self._models.get(model)
        return known.output_tokens if known is not None else ASSUMED_OUTPUT_TOKENS

    def reference(self, model: str, deployments: Sequence[Deployment]) -> Deployment:
        """What the model would be without routing: its first deployment, and under `complexity` its strongest."""
        settings = self._settings.models.get(model)
        return deployments[-1] if settings is not None and settings.strategy == "complexity" else deployments[0]

    def hedge_after_s(self, model: str) -> float | None:
        """Seconds without an answer after which the next deployment is asked too; None never does."""
        settings = self._settings.models.get(model)
        return settings.hedge_after_s if settings is not None else None

    # --- parts ------------------------------------------------------------------------------------------------------

    def _known(self, model: str, deployments: Sequence[Deployment]) -> _Model:
        found = self._models.get(model)
        if found is None:
            settings = self._settings.models.get(model)
            all_of_it = self._settings.deployments(model) or tuple(deployments)
            lacks = {one.name: _capability.lacks(one, self._settings.providers[one.provider]) for one in all_of_it}
            ordered = settings is None or (settings.strategy == "ordered" and not settings.rules)
            found = self._models[model] = _Model(settings, lacks, ordered and not any(lacks.values()))
            if len(self._models) > _MOST:
                self._models.popitem(last=False)
        return found

    def able(self, call: Call, known: _Model) -> tuple[list[Deployment], list[Left]]:
        """The deployments that can do what the request needs, and the others."""
        needed = _capability.needs(call.request) if any(known.lacks.values()) else frozenset()
        able, left = [], []
        for one in call.deployments:
            missing = needed & known.lacks.get(one.name, frozenset())
            if missing:
                left.append(Left(one, f"lacks {_capability.words(missing)}"))
            else:
                able.append(one)
        return able, left

    def _ordered(self, call: Call, able: list[Deployment], known: _Model) -> Order:
        settings = known.settings
        if settings is None:
            return Order(tuple(able), "")
        into: int | None = None
        if settings.rules or settings.strategy in {"cheapest", "complexity"}:
            into = int(call.state.get("input_tokens") or _strategy.input_tokens(call.request))
        for index, rule in enumerate(settings.rules):
            if fits(rule, call.request, input_tokens=into or 0):
                return self._by_rule(call, able, rule, index)
        if len(able) == 1 and settings.strategy != "complexity":
            return Order(tuple(able), "")
        return self._by_strategy(settings, call, able, known, into or 0)

    def _by_strategy(self, settings: ModelSettings, call: Call, able: list[Deployment], known: _Model, into: int) -> Order:
        match settings.strategy:
            case "cheapest":
                out = _strategy.output_tokens(call.request, round(known.output_tokens))
                return _strategy.cheapest(able, self._prices, call.started_at, into=into, out=out)
            case "fastest":
                return _strategy.fastest(able, self._speeds, call_id=call.id)
            case "weighted":
                return _strategy.weighted(able, call_id=call.id)
            case "complexity":
                return _strategy.by_complexity(able, call.request, into=into)
            case _:
                return Order(tuple(able), "")

    def _by_rule(self, call: Call, able: list[Deployment], rule: RuleSettings, index: int) -> Order:
        by_name = {one.name: one for one in able}
        chosen = tuple(by_name[name] for name in rule.use if name in by_name)
        said = f"rule {index + 1} ({conditions(rule)})"
        if chosen:
            return Order(chosen, f"{said}: {', '.join(one.name for one in chosen)}")
        allowed = {one.name for one in call.deployments}
        names = ", ".join(rule.use)
        where = f"models.{call.request.model}.rules[{index}] in aiplat.toml"
        if any(name in allowed for name in rule.use):
            missing = _capability.words(_capability.needs(call.request) & self._lacks(rule.use))
            text = f"{said} sends this call to {names} alone, which cannot do {missing}. Correct {where}, or change the request."
            raise CapabilityRefused(text, policy=NAME)
        text = f"{said} sends this call to {names} alone, and none of them is in a region that is allowed here. Correct {where}."
        raise ResidencyRefused(text, policy=NAME)

    def _lacks(self, names: Sequence[str]) -> frozenset[str]:
        found = [known.lacks[name] for known in self._models.values() for name in names if name in known.lacks]
        return frozenset().union(*found)

    def _refused(self, call: Call, left: Sequence[Left]) -> CapabilityRefused:
        request = call.request
        needed = _capability.needs(request)
        lacking = [self._known(request.model, call.deployments).lacks.get(one.deployment.name, frozenset()) & needed for one in left]
        missing = frozenset.intersection(*lacking) or frozenset().union(*lacking)
        able = self.who_can(needed, besides=request.model)
        todo = f"Use {', '.join(able[:4])}" if able else "Leave it out, or set up a deployment that can"
        who = ", ".join(one.deployment.name for one in left)
        return CapabilityRefused(
            f"{request.model!r} ({who}) cannot do what this request needs: {_capability.words(missing)}. {todo}; "
            f"what a deployment lacks stands under [models] in aiplat.toml and in docs/gateway.md.",
            policy=NAME,
            missing=sorted(missing),
            able=able,
        )

    def who_can(self, needed: frozenset[str], *, besides: str) -> list[str]:
        """The models of these settings that can do all of it."""
        return [
            name
            for name in self._settings.models
            if name != besides and any(not needed & one for one in self._known(name, ()).lacks.values())
        ]


def fits(rule: RuleSettings, request: Request, *, input_tokens: int) -> bool:
    """Whether a call fits everything that the rule names."""
    who = request.attribution
    if (rule.team and rule.team != who.team) or (rule.project and rule.project != who.project):
        return False
    if rule.prompt and rule.prompt != who.prompt_name:
        return False
    if rule.tag:
        name, _, value = rule.tag.partition("=")
        if who.tags.get(name) != value:
            return False
    if rule.min_input_tokens is not None and input_tokens < rule.min_input_tokens:
        return False
    if rule.max_input_tokens is not None and input_tokens > rule.max_input_tokens:
        return False
    if rule.tools is None and not rule.modality:
        return True
    needed = _capability.needs(request)
    if rule.tools is not None and rule.tools is not ("tools" in needed):
        return False
    return not rule.modality or {"image": "images", "audio": "audio"}[rule.modality] in needed


def conditions(rule: RuleSettings) -> str:
    """What the rule names, in words."""
    found = [f"{name} {getattr(rule, name)}" for name in ("team", "project", "prompt", "tag", "modality") if getattr(rule, name)]
    if rule.tools is not None:
        found.append("tools" if rule.tools else "no tools")
    if rule.min_input_tokens is not None:
        found.append(f"{rule.min_input_tokens} input tokens or more")
    if rule.max_input_tokens is not None:
        found.append(f"{rule.max_input_tokens} input tokens or fewer")
    return ", ".join(found) or "every call"


def _header(text: str) -> str:
    """The text as a header can carry it."""
    return " ".join(text.encode("ascii", "replace").decode().split())[:300]


__all__ = ["NAME", "Left", "Orders", "conditions", "fits"]
