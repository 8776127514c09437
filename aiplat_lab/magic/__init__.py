"""The `%%ai` and `%ai` magics.

`%load_ext aiplat_lab` loads this package and `_magics` alone; whatever a cell needs is loaded by the first cell that runs.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import Any

from aiplat_lab.magic._magics import AiMagics

__all__ = ["AiMagics", "load"]


def load(ipython: Any) -> None:  # Any: IPython's shell, which comes without types
    """Adds `%ai` and `%%ai` to a shell. Contacts nobody; loading it again changes nothing."""
    if "AiMagics" not in ipython.magics_manager.registry:
        ipython.register_magics(AiMagics)
        ipython.input_transformers_post.append(_with_a_body)
        ipython.user_ns_hidden.setdefault("Err", {})
        ipython.user_ns.setdefault("Err", {})
        ipython.events.register("post_run_cell", _noting(ipython))
        _answer_to(ipython.extension_manager)
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


_THEIRS = ("jupyter_ai_magics", "jupyter_ai", "jupyter_ai_magic_commands")


def _answer_to(manager: Any) -> None:  # Any: IPython's extension manager
    """Lets notebooks written for jupyter-ai load this extension under its names, where jupyter-ai itself is not installed."""
    load_extension = manager.load_extension

    def load_or_answer(module_str: str) -> Any:  # Any: as IPython has it
        if module_str in _THEIRS and find_spec(module_str) is None:
            sys.stderr.write(f"{module_str} is not installed; %ai and %%ai are those of aiplat-lab.\n")
            return "already loaded"
        return load_extension(module_str)

    manager.load_extension = load_or_answer


def _noting(ipython: Any) -> Any:  # Any: IPython's shell and the result of a cell
    """Keeps the traceback of each cell that failed under its number, as `Err[n]`, for prompts that ask about it."""

    def noted(result: Any) -> None:
        error = result.error_before_exec or result.error_in_exec
        number = getattr(result, "execution_count", None)
        kept = ipython.user_ns.get("Err")
        if error is None or number is None or not isinstance(kept, dict):
            return
        from traceback import format_exception  # a cell that fails can pay for it

        kept[number] = "".join(format_exception(error))[-_MOST_TRACEBACK:]
        while len(kept) > _MOST_ERRORS:
            kept.pop(next(iter(kept)))

    return noted


_MOST_TRACEBACK, _MOST_ERRORS = 8_000, 50


def _with_a_body(lines: list[str]) -> list[str]:
    """Lets a `%%ai` cell without text reach the magic, whose error is typed; IPython's own says nothing to papermill."""
    if len(lines) == 1 and lines[0].startswith("get_ipython().run_cell_magic('ai', ") and lines[0].endswith(", '')\n"):
        return [lines[0].removesuffix("'')\n") + "'\\n')\n"]
    return lines
