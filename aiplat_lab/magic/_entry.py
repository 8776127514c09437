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
        if cell is None and not _cell.asks_prompt(line):
            _commands.run(magics, line)
        else:
            _cell.run(magics, line, cell or "")
    except AiplatError as error:
        raise one_line(error) from None
    except KeyboardInterrupt:
        raise one_line(CallCancelled("interrupted; no call was under way at that moment. Run the cell again.")) from None
