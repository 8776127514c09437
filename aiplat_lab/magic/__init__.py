"""The `%%ai` and `%ai` magics.

`%load_ext aiplat_lab` loads this package and `_magics` alone; whatever a cell needs is loaded by the first cell that runs.
"""

from __future__ import annotations

from typing import Any

from aiplat_lab.magic._magics import AiMagics

__all__ = ["AiMagics", "load"]


def load(ipython: Any) -> None:  # Any: IPython's shell, which comes without types
    """Adds `%ai` and `%%ai` to a shell. Contacts nobody; loading it again changes nothing."""
    if "AiMagics" not in ipython.magics_manager.registry:
        ipython.register_magics(AiMagics)
        ipython.input_transformers_post.append(_with_a_body)


def _with_a_body(lines: list[str]) -> list[str]:
    """Lets a `%%ai` cell without text reach the magic, whose error is typed; IPython's own says nothing to papermill."""
    if len(lines) == 1 and lines[0].startswith("get_ipython().run_cell_magic('ai', ") and lines[0].endswith(", '')\n"):
        return [lines[0].removesuffix("'')\n") + "'\\n')\n"]
    return lines
