"""aiplat-lab: the AI platform that lives where data scientists already work.

Importing this costs next to nothing: each name is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from aiplat_lab.core.version import VERSION as __version__

if TYPE_CHECKING:
    from aiplat_lab import prompts
    from aiplat_lab.client import achat, adry_run, calls, chat, connect, dry_run, embed, route_sdks, sql, stream
    from aiplat_lab.evals import compare, evaluate
    from aiplat_lab.magic.twins import aask, abudget, adiff, aplan, apromote, ask, budget, diff, plan, promote
    from aiplat_lab.observe import replay
    from aiplat_lab.observe.verify import verify
    from aiplat_lab.reports import report
    from aiplat_lab.rows import amap_rows, map_rows
    from aiplat_lab.widgets import ab, review

__all__ = [
    "__version__",
    "aask",
    "ab",
    "abudget",
    "achat",
    "adiff",
    "adry_run",
    "amap_rows",
    "aplan",
    "apromote",
    "ask",
    "budget",
    "calls",
    "chat",
    "compare",
    "connect",
    "diff",
    "dry_run",
    "embed",
    "evaluate",
    "map_rows",
    "plan",
    "promote",
    "prompts",
    "replay",
    "report",
    "review",
    "route_sdks",
    "sql",
    "stream",
    "verify",
]

_MODULES = {"prompts": "aiplat_lab.prompts", "replay": "aiplat_lab.observe.replay"}
"""Names that are modules of their own."""
_TWINS = ("aask", "abudget", "adiff", "aplan", "apromote", "ask", "budget", "diff", "plan", "promote")
_HOMES = {
    "ab": "aiplat_lab.widgets",
    "amap_rows": "aiplat_lab.rows",
    "compare": "aiplat_lab.evals",
    "evaluate": "aiplat_lab.evals",
    "map_rows": "aiplat_lab.rows",
    "report": "aiplat_lab.reports",
    **dict.fromkeys(_TWINS, "aiplat_lab.magic.twins"),
    "review": "aiplat_lab.widgets",
    "verify": "aiplat_lab.observe.verify",
}
"""Where a name comes from, for those that are not the client's."""


def __getattr__(name: str) -> Any:  # Any: what a module of ours exports
    if name in _MODULES:
        return import_module(_MODULES[name])
    if name in __all__:
        return getattr(import_module(_HOMES.get(name, "aiplat_lab.client")), name)
    raise AttributeError(f"module 'aiplat_lab' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)


def load_ipython_extension(ipython: Any) -> None:  # Any: IPython's shell, which comes without types
    """Adds `%ai` and `%%ai` to a notebook: `%load_ext aiplat_lab`."""
    import_module("aiplat_lab.magic").load(ipython)


def _jupyter_labextension_paths() -> list[dict[str, str]]:
    return [{"src": "labextension", "dest": "aiplat-lab"}]


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "aiplat_lab.labapp"}]
