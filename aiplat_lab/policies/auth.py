"""Who may call what: virtual keys and their roles, the models of a key and of its team, and where a call is booked."""

from __future__ import annotations

from dataclasses import replace

from aiplat_lab.core.errors import AuthRefused
from aiplat_lab.core.registry import register
from aiplat_lab.core.settings import Settings
from aiplat_lab.core.types import Attribution, Call, Clock, Request, utc_now
from aiplat_lab.ledger import Ledger
from aiplat_lab.policies._keys import PERIODS, ROLES, Key, KeyRing, NewKey, Role, State

__all__ = ["PERIODS", "ROLES", "Auth", "Key", "KeyRing", "NewKey", "Role", "State"]


@register("policy", "auth")
class Auth:
    """Refuses a key that is no longer live, an auditor's key, and a model that the key or its team may not use.

    It fills in what the settings say of a project and a team: the team of a project, and the cost centre, where the project's wins.
    A call without a key comes through the owner's own socket: its attribution is believed.
    """

    name = "auth"

    def __init__(self, settings: Settings, ledger: Ledger, *, clock: Clock = utc_now) -> None:
        self.keys = KeyRing(ledger, clock=clock)
        self._teams = settings.teams
        self._projects = settings.projects

    async def before(self, call: Call) -> None:
        """Raises `AuthRefused`, or completes the attribution of the request."""
        request = call.request
        who = request.attribution
        if who.key_id:
            who = self._with_key(call, who)
        project = self._projects.get(who.project)
        name = who.team or (project.team if project is not None else "")
        team = self._teams.get(name)
        cost_centre = (project.cost_centre if project else "") or (team.cost_centre if team else "") or who.cost_centre
        if name != who.team or cost_centre != who.cost_centre:
            who = replace(who, team=name, cost_centre=cost_centre)
        if who is not request.attribution:
            call.request = replace(request, attribution=who)
        if team is not None:
            _allowed(request.model, team.models, f"the team {who.team!r}")

    def _with_key(self, call: Call, who: Attribution) -> Attribution:
        """The attribution that the call's key gives it.

        Raises:
            AuthRefused: the key is not live, is an auditor's, or is not for the model.
        """
        try:
            key = self.keys.live(who.key_id, at=call.started_at)
        except AuthRefused:
            call.recorded_request = _bare(call.request)
            raise
        if key.role == "auditor":
            call.recorded_request = _bare(call.request)
            text = f"the virtual key {key.name!r} (…{key.last_four}) is an auditor's: it reads and never calls a model"
            raise AuthRefused(text, policy=self.name, denied=True)
        _allowed(call.request.model, key.models, f"the virtual key {key.name!r}")
        return key.attribute(who)

    async def after(self, call: Call) -> None:
        """Nothing is left to do."""


def _bare(request: Request) -> Request:
    """What is recorded of a call that its key may not make at all: that it was tried, not its content, which could fill the disk."""
    return replace(request, messages=(), inputs=(), settings={}, body=None)


def _allowed(model: str, models: tuple[str, ...], holder: str) -> None:
    if models and model not in models:
        raise AuthRefused(f"{holder} may not use the model {model!r}; it may use {', '.join(models)}", policy="auth", denied=True)
