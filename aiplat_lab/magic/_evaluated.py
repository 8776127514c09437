"""`--eval`: a cell whose text is code, and what that prints or gives the prompt."""

from __future__ import annotations

import ast
import io
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

from aiplat_lab.core.errors import AiplatError, PromptError, UsageError, redact, shorten
from aiplat_lab.core.place import place

if TYPE_CHECKING:
    from aiplat_lab.magic._magics import AiMagics


def evaluated(magics: AiMagics, code: str) -> str:
    """What the code prints, or the value of its last line where it prints nothing.

    Raises:
        UsageError: nobody watches, and nothing says that it may run then.
        PromptError: it fails, or gives nothing. Nothing was sent.
    """
    session = magics.session()
    if place(session.shell, session.environment).headless and not magics.allow_eval:
        raise UsageError(
            "--eval runs the cell's text as code, which happens only where somebody watches. Nothing was run or sent. "
            "Put what it gives into a variable, or say in the notebook: %config AiMagics.allow_eval = True"
        )
    printed = io.StringIO()
    try:
        with redirect_stdout(printed):
            value = _run(session.shell, code)
    except (AiplatError, KeyboardInterrupt):
        raise
    except Exception as error:  # the user's own code may raise anything; the person reads it as one line
        said = redact(shorten(f"{type(error).__name__}: {error}", 300))
        raise PromptError(f"the code of this cell failed, so nothing was sent: {said}") from None
    text = printed.getvalue().strip() or ("" if value is None else str(value))
    if not text:
        raise PromptError("the code of this cell prints and gives nothing, so there is no prompt, and nothing was sent.")
    return text


def _run(shell: Any, code: str) -> Any:  # Any: IPython's shell, and the user's values
    """Runs code among the notebook's variables, and gives the value of its last line."""
    tree = ast.parse(shell.transform_cell(code), "<--eval>")
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "<--eval>", "exec"), shell.user_ns)  # noqa: S102  # it is the user's own code, as in any cell
    return eval(compile(ast.Expression(last.value), "<--eval>", "eval"), shell.user_ns) if last is not None else None  # noqa: S307
