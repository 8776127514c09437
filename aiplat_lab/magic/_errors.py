"""Errors as a person reads them in a notebook: one line, no traceback."""

from __future__ import annotations

from aiplat_lab.core.errors import MAX_MESSAGE_BYTES, AiplatError, shorten

_RED, _PLAIN = "\x1b[0;31m", "\x1b[0m"


def one_line(error: AiplatError) -> AiplatError:
    """`error`, which IPython now shows as its type and its message alone.

    It stays an exception of its own type, so that the cell fails, Run All stops, and code around it can catch it.
    """
    name = type(error).__name__
    room = MAX_MESSAGE_BYTES - len(name) - len(_RED) - len(_PLAIN) - 2
    line = f"{_RED}{name}{_PLAIN}: {shorten(error.message, room)}"
    # IPython looks for this method on the exception itself.
    error._render_traceback_ = lambda: [line]  # type: ignore[attr-defined]
    return error
