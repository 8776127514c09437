"""Settings of teams and projects, and of the rules that hold for their calls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

BUDGET_SCOPES = ("team", "project", "key", "user", "prompt", "cost_centre", "tag", "notebook", "provider")
"""What a budget can hold."""
LIMIT_SCOPES = ("team", "project", "key", "user")
"""What a limit can hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamSettings:
    """`[teams.NAME]`: what a team may use and where its costs are booked."""

    cost_centre: str = ""
    """Booked with each call of the team."""
    residency: tuple[str, ...] = ()
    """The regions that may compute for the team; empty allows all, and an unknown region never matches."""
    models: tuple[str, ...] = ()
    """The models the team may use; empty allows all."""
    weight: float = 1.0
    """The team's share of a queue in which several teams wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectSettings:
    """`[projects.NAME]`: where a project's calls are booked and may be computed."""

    team: str = ""
    """The team that a call of the project belongs to where it names none."""
    cost_centre: str = ""
    """Booked with each call of the project; wins over the team's."""
    residency: tuple[str, ...] = ()
    """The regions that may compute for the project; empty leaves it to its team."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidencySettings:
    """One `[[residency]]` entry: regions for the calls that fit everything it names."""

    regions: tuple[str, ...]
    """The regions that may compute; an unknown region never matches."""
    team: str = ""
    """The team of the call."""
    project: str = ""
    """The project of the call."""
    prompt: str = ""
    """The prompt of the call."""
    tag: str = ""
    """A tag of the call, written name=value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetSettings:
    """One `[[budgets]]` entry: a limit on what one scope spends in one period."""

    limit_usd: Decimal
    """US dollars."""
    period: Literal["day", "week", "month", "total"] = "month"
    """Days begin at midnight in `time_zone`, weeks on Monday."""
    hard: bool = True
    """Hard budgets refuse; soft ones only show."""
    team: str = ""
    """The team that the budget holds; none of the scopes is everyone."""
    project: str = ""
    """The project that the budget holds."""
    key: str = ""
    """The id of the virtual key that the budget holds."""
    user: str = ""
    """The user that the budget holds."""
    prompt: str = ""
    """The prompt that the budget holds."""
    cost_centre: str = ""
    """The cost centre that the budget holds."""
    tag: str = ""
    """The tag that the budget holds, written name=value."""
    notebook: str = ""
    """The notebook that the budget holds."""
    provider: str = ""
    """The provider that the budget holds."""
    time_zone: str = ""
    """The IANA zone in which its periods begin; empty takes the top level's."""
    alert_at: tuple[float, ...] = (0.5, 0.8, 1.0)
    """Shares of the limit at which an alert is shown."""

    @property
    def scope(self) -> tuple[str, str]:
        """The kind of the scope and its name, such as `("team", "risk")`; `("everyone", "")` for all."""
        for name in BUDGET_SCOPES:
            if getattr(self, name):
                return name, getattr(self, name)
        return "everyone", ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSettings:
    """One `[[limits]]` entry: how fast one scope may call. What comes faster waits in a fair queue."""

    team: str = ""
    """The team that the limit holds; at most one of team, project, key and user, none for everyone."""
    project: str = ""
    """The project that the limit holds."""
    key: str = ""
    """The id of the virtual key that the limit holds."""
    user: str = ""
    """The user that the limit holds."""
    rpm: int | None = None
    """Requests a minute."""
    tpm: int | None = None
    """Tokens a minute, input and output together."""
    parallel: int | None = None
    """Calls at once."""

    @property
    def scope(self) -> tuple[str, str]:
        """The kind of the scope and its name, such as `("team", "risk")`; `("everyone", "")` for all."""
        for name in LIMIT_SCOPES:
            if getattr(self, name):
                return name, getattr(self, name)
        return "everyone", ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RedactionSettings:
    """`[redaction]`: personal data and keys in what is asked and answered."""

    input: Literal["off", "observe", "mask", "refuse"] = "off"
    """`observe` notes what was found; `mask` sends placeholders and restores them in the answer; `refuse` refuses the call."""
    output: Literal["off", "observe", "mask", "refuse"] = "off"
    """The same for what the model wrote."""
    injection: Literal["off", "observe", "refuse"] = "off"
    """What happens to text that looks like an attempt to steer the model against its caller."""
    detectors: tuple[str, ...] = ()
    """The detectors to use; empty is all of them."""
    actions: Mapping[str, str] = field(default_factory=dict)
    """What happens for single detectors, by name: `off`, `observe`, `mask` or `refuse`; wins over `input` and `output` where these are not
    `off`."""
    presidio: bool = False
    """Whether Presidio looks for names and places too; needs `pip install aiplat-lab[presidio]`."""
