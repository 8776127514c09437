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
        completer = getattr(ipython, "Completer", None)
        if completer is not None:
            completer.custom_matchers.append(_matcher(ipython))


def _matcher(ipython: Any) -> Any:  # Any: as in `load`, and its completer's matchers
    """What IPython's completer asks at each key; the first one loads what it takes."""
    from IPython.core.completer import SimpleCompletion, context_matcher

    @context_matcher(identifier="aiplat_lab.ai")  # type: ignore[untyped-decorator]  # IPython comes without types
    def ai_matcher(context: Any) -> Any:  # Any: as above
        if "%ai" not in context.full_text:
            return {"completions": []}
        from aiplat_lab.magic import _complete

        lines = context.full_text.split("\n")
        cursor = sum(len(line) + 1 for line in lines[: context.cursor_line]) + context.cursor_position
        found = _complete.complete(ipython.magics_manager.registry["AiMagics"], context.full_text, cursor)
        if found is None:
            return {"completions": []}
        completions = [SimpleCompletion(text, type=found.kind) for text in found.texts]
        return {"completions": completions, "matched_fragment": found.fragment, "suppress": True, "ordered": True}

    return ai_matcher


def _with_a_body(lines: list[str]) -> list[str]:
    """Lets a `%%ai` cell without text reach the magic, whose error is typed; IPython's own says nothing to papermill."""
    if len(lines) == 1 and lines[0].startswith("get_ipython().run_cell_magic('ai', ") and lines[0].endswith(", '')\n"):
        return [lines[0].removesuffix("'')\n") + "'\\n')\n"]
    return lines
