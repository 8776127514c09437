"""Where a cell runs: the notebook, the cell, and whether somebody watches. The shell is given; IPython is not imported here."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from aiplat_lab.core.settings import Environment

_MOVED = "__aiplat_notebook__"
"""The variable into which JupyterLab's extension writes the path of a notebook that was renamed while its kernel runs."""


class Place(NamedTuple):
    """Where and for whom a cell runs."""

    notebook: str
    """The path under the Jupyter server's root where that is known, else as the front end gave it."""
    cell_id: str
    headless: bool
    """Whether nobody watches: papermill, nbclient, CI."""
    kernel: bool
    """Whether outputs can be updated, which a terminal cannot."""


def shell_here() -> Any:  # Any: IPython's shell, which comes without types
    """The shell that runs this code, or None; IPython is not loaded for it, since without it there is no shell."""
    module = sys.modules.get("IPython")
    return module.get_ipython() if module is not None and hasattr(module, "get_ipython") else None


def place(shell: Any, environment: Environment) -> Place:  # Any: IPython's shell, which comes without types
    """Where the cell that runs now stands.

    A front end at which a person sits allows questions to standard input; papermill and nbclient forbid them.
    """
    kernel = getattr(shell, "kernel", None)
    parent: Mapping[str, Any] = shell.get_parent() if kernel is not None else {}
    asked = parent.get("content") or {}
    watched = kernel is None or bool(asked.get("allow_stdin", True))
    return Place(
        notebook=notebook(shell, environment),
        cell_id=str((parent.get("metadata") or {}).get("cellId") or ""),
        headless=environment.headless or not watched,
        kernel=kernel is not None,
    )


def notebook(shell: Any, environment: Environment) -> str:  # Any: as in `place`
    """The notebook's path under the Jupyter server's root; as the front end gave it where the root is not known."""
    moved = str(shell.user_ns.get(_MOVED) or "")
    name = environment.attribution.notebook or str(shell.user_ns.get("__vsc_ipynb_file__") or "")
    if moved:
        return moved
    path = Path(name)
    if not name or not path.is_absolute():
        return name
    root = _root(shell)
    return path.relative_to(root).as_posix() if root is not None and path.is_relative_to(root) else name


def _root(shell: Any) -> Path | None:  # Any: as in `place`
    """The root folder of the Jupyter server that started this kernel.

    The server describes itself in a file beside the kernel's connection file, under its process id. That file also holds the
    server's token, which is not looked at.
    """
    parent = getattr(getattr(shell, "kernel", None), "parent", None)
    connection = str(getattr(parent, "abs_connection_file", "") or "")
    server = getattr(parent, "parent_handle", 0)
    if not connection or not server:
        return None
    try:
        said = json.loads((Path(connection).parent / f"jpserver-{server}.json").read_bytes())
        return Path(said["root_dir"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
