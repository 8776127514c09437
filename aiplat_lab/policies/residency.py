"""Where calls may be computed: only in the regions that every rule names which fits the call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from aiplat_lab.core.errors import ResidencyRefused
from aiplat_lab.core.registry import register
from aiplat_lab.core.settings import ResidencySettings, Settings
from aiplat_lab.core.types import Attribution, Call, Clock, Deployment, utc_now
from aiplat_lab.ledger import Ledger


class _Rule(NamedTuple):
    """The regions of the calls that fit everything it names."""

    where: str
    """Its place in `aiplat.toml`."""
    regions: frozenset[str]
    team: str = ""
    project: str = ""
    prompt: str = ""
    tag: tuple[str, str] = ("", "")

    def fits(self, who: Attribution) -> bool:
        """Whether it holds for a call."""
        name, value = self.tag
        return (
            (not self.team or self.team == who.team)
            and (not self.project or self.project == who.project)
            and (not self.prompt or self.prompt == who.prompt_name)
            and (not name or who.tags.get(name) == value)
        )


@register("policy", "residency")
class Residency:
    """Leaves only the deployments in the regions that all rules of the call allow, for every try, fallback and cached answer.

    It fails closed: a deployment whose region is unknown never matches, and rules without a common region refuse the call. The same
    rules are asked once more where a request leaves for a provider (`permits`), whatever has chosen the deployment.
    """

    name = "residency"

    def __init__(self, settings: Settings, ledger: Ledger, *, clock: Clock = utc_now) -> None:
        self._teams = _by_name("teams", {name: team.residency for name, team in settings.teams.items()})
        self._projects = _by_name("projects", {name: project.residency for name, project in settings.projects.items()})
        self._entries = tuple(_entry(index, entry) for index, entry in enumerate(settings.residency))
        self.active = bool(self._teams or self._projects or self._entries)
        """Whether there is any rule."""

    async def before(self, call: Call) -> None:
        """Raises `ResidencyRefused` when no deployment is left."""
        if not self.active:
            return
        rules = self._rules(call.request.attribution)
        if not rules:
            return
        regions = _common(rules)
        allowed = tuple(deployment for deployment in call.deployments if deployment.region and deployment.region in regions)
        if not allowed:
            raise _refused(rules, regions, call.request.model, call.deployments)
        call.deployments = allowed

    async def after(self, call: Call) -> None:
        """Nothing is left to do."""

    def permits(self, who: Attribution, deployment: Deployment) -> None:
        """Lets a request for a deployment pass.

        Raises:
            ResidencyRefused: a rule keeps calls of `who` from its region.
        """
        rules = self._rules(who)
        if rules:
            regions = _common(rules)
            if not deployment.region or deployment.region not in regions:
                raise _refused(rules, regions, deployment.name, (deployment,))

    def _rules(self, who: Attribution) -> list[_Rule]:
        """The rules that hold for a call."""
        found = [rule for rule in (self._teams.get(who.team), self._projects.get(who.project)) if rule is not None]
        return found + [rule for rule in self._entries if rule.fits(who)]


def _by_name(table: str, regions: Mapping[str, tuple[str, ...]]) -> dict[str, _Rule]:
    return {name: _Rule(f"{table}.{name}.residency", frozenset(some)) for name, some in regions.items() if some}


def _entry(index: int, entry: ResidencySettings) -> _Rule:
    name, _, value = entry.tag.partition("=")
    regions = frozenset(entry.regions)
    return _Rule(f"residency[{index}]", regions, team=entry.team, project=entry.project, prompt=entry.prompt, tag=(name, value))


def _common(rules: list[_Rule]) -> frozenset[str]:
    regions = rules[0].regions
    for rule in rules[1:]:
        regions &= rule.regions
    return regions


def _refused(rules: list[_Rule], regions: frozenset[str], model: str, deployments: tuple[Deployment, ...]) -> ResidencyRefused:
    said = " and ".join(f"{rule.where} ({', '.join(sorted(rule.regions))})" for rule in rules)
    there = ", ".join(f"{deployment.name} in {deployment.region or 'an unknown region'}" for deployment in deployments)
    if regions:
        why = f"by {said}, this call may compute in {', '.join(sorted(regions))} only, and {model!r} stands for {there}"
    else:
        why = f"{said} have no region in common, so that this call may compute nowhere ({model!r} stands for {there})"
    text = f"{why}. Choose a model in an allowed region, or correct the rule or the deployment's region in aiplat.toml."
    return ResidencyRefused(text, policy="residency")
