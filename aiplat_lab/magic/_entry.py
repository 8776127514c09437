"""Where a magic begins once it is used: a cell or a command, and every error of ours as one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiplat_lab.core.errors import AiplatError, CallCancelled
from aiplat_lab.magic import _cell, _commands
from aiplat_lab.magic._errors import one_line

if TYPE_CHECKING:
    from aiplat_lab.magic._magics import AiMagics


def ai(magics: AiMagics, line: str, cell: str | None) -> None:
    """Runs `%ai line`, or `%%ai line` over `cell`; `%ai --prompt NAME` asks, with the notebook's variables alone.

    Raises:
        AiplatError: shown without a traceback.
    """
    try:
        if not _cell.asks_prompt(line) and (cell is None or _is_command(line, cell)):
            _commands.run(magics, line)
        else:
            _cell.run(magics, line, cell or "")
    except AiplatError as error:
        raise one_line(error) from None
    except KeyboardInterrupt:
        raise one_line(CallCancelled("interrupted; no call was under way at that moment. Run the cell again.")) from None


def _is_command(line: str, cell: str) -> bool:
    """Whether a cell without a text is a command, such as `%%ai help`."""
    return not cell.strip() and line.split(maxsplit=1)[:1] != [] and line.split()[0] in _commands.COMMANDS
