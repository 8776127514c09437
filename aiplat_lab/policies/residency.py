"""Where a team's calls may be computed: only in the regions its settings name."""

from __future__ import annotations

from aiplat_lab.core.errors import ResidencyRefused
from aiplat_lab.core.registry import register
from aiplat_lab.core.settings import Settings
from aiplat_lab.core.types import Call, Clock, utc_now
from aiplat_lab.ledger import Ledger


@register("policy", "residency")
class Residency:
    """Leaves only the deployments in the team's regions, for every try, fallback and cached answer.

    It fails closed: a deployment whose region is unknown never matches.
    """

    name = "residency"

    def __init__(self, settings: Settings, ledger: Ledger, *, clock: Clock = utc_now) -> None:
        self._regions = {name: frozenset(team.residency) for name, team in settings.teams.items() if team.residency}

    async def before(self, call: Call) -> None:
        """Raises `ResidencyRefused` when no deployment is left."""
        who = call.request.attribution
        regions = self._regions.get(who.team)
        if regions is None:
            return
        allowed = tuple(deployment for deployment in call.deployments if deployment.region and deployment.region in regions)
        if not allowed:
            there = ", ".join(f"{deployment.name} in {deployment.region or 'an unknown region'}" for deployment in call.deployments)
            raise ResidencyRefused(
                f"the team {who.team!r} may compute in {', '.join(sorted(regions))} only, and {call.request.model!r} stands for {there}. "
                f"Choose a model in an allowed region, or correct teams.{who.team}.residency or the deployment's region in aiplat.toml.",
                policy=self.name,
            )
        call.deployments = allowed

    async def after(self, call: Call) -> None:
        """Nothing is left to do."""
