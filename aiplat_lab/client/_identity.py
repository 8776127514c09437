"""Who asks, as the headers of a request to the gateway say it."""

from __future__ import annotations

from collections.abc import Mapping

from aiplat_lab.core.place import place, shell_here
from aiplat_lab.core.settings import environment

SURFACE = "sdk"
"""The surface of a call that came from somebody else's SDK."""


def identity(*, team: str = "", project: str = "", tags: Mapping[str, str] | None = None) -> dict[str, str]:
    """The headers that say who asks at this moment: team, project, user, notebook, the cell that runs, tags."""
    known = environment()
    who = known.attribution
    notebook, cell_id = who.notebook, ""
    shell = shell_here()
    if shell is not None:
        here = place(shell, known)
        notebook, cell_id = here.notebook, here.cell_id
    said = {
        "x-aiplat-surface": SURFACE,
        "x-aiplat-team": team or who.team,
        "x-aiplat-project": project or who.project,
        "x-aiplat-user": who.user_id,
        "x-aiplat-notebook": notebook,
        "x-aiplat-cell": cell_id,
        "x-aiplat-tags": ",".join(f"{_bare(name)}={_bare(value)}" for name, value in (tags or {}).items()),
    }
    return {name: _line(value) for name, value in said.items() if value}


def _bare(text: str) -> str:
    return str(text).replace(",", " ").replace("=", " ")


def _line(text: str) -> str:
    """A text that can be the value of a header."""
    return "".join(character if character.isprintable() else " " for character in text).strip()
