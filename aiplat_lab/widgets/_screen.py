"""Outputs of the cell that runs now, which other threads may send and bring up to date later."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import copy_context
from pathlib import Path
from typing import Any

from aiplat_lab.core.place import Place, place
from aiplat_lab.core.settings import Environment


def part(name: str) -> str:
    """A file that a control is made of."""
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def skin(name: str) -> str:
    """The style that all controls share, under the name that one's own classes begin with."""
    return part("skin.css").replace("ctl", name)


def place_here(shell: Any, environment: Environment) -> Place:  # Any: as in `shell_here`
    """Where this code runs; a script has nobody who could vote."""
    if shell is None:
        return Place(environment.attribution.notebook, "", True, False)
    here = place(shell, environment)
    return here if here.kernel else here._replace(headless=True)


class Screen:
    """The outputs of one cell. Made while the cell runs, so that what is sent later still belongs to it."""

    def __init__(self, shell: Any) -> None:  # Any: as in `shell_here`
        self._publish = shell.display_pub.publish
        self._context = copy_context()

    def show(self, data: Mapping[str, Any], *, display_id: str, update: bool = False) -> None:  # Any: MIME data
        """Sends an output, or the next state of the one with this display id."""
        self._context.copy().run(self._publish, dict(data), {}, transient={"display_id": display_id}, update=update)
