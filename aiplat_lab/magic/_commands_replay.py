"""`%ai replay status`, `export`, `import` and `clear`, and `%ai verify`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from aiplat_lab.core.errors import UsageError, did_you_mean
from aiplat_lab.core.notebooks import read_cells
from aiplat_lab.core.place import notebook
from aiplat_lab.magic import _replay, _show

if TYPE_CHECKING:
    from aiplat_lab.magic._magics import AiMagics

_USAGE = "write %ai replay status, export, import or clear"


def replay(magics: AiMagics, words: Sequence[str]) -> None:
    """`%ai replay status|export|import|clear`."""
    name = words[0] if words else "status"
    if name not in _ACTIONS:
        raise UsageError(f"there is no %ai replay {name!r}.{did_you_mean(name, _ACTIONS)} {_USAGE}.")
    _ACTIONS[name](magics, words[1:])


def verify(magics: AiMagics, words: Sequence[str]) -> None:
    """`%ai verify [NOTEBOOK.ipynb]`."""
    from aiplat_lab.observe.verify import verify as verified  # with all that it needs, which other commands do not

    found = verified(_file(magics, words, "verify"), client=magics.session().client)
    rows = [{"cell": one.cell, "answer": one.state, "what": one.what, "call": one.call_id[-8:]} for one in found]
    _show.rows(magics, rows, "As the notebook was saved last. `aiplat verify NOTEBOOK.ipynb` says the same by its exit code.")


def _status(magics: AiMagics, words: Sequence[str]) -> None:
    from aiplat_lab.observe import replay as replays  # as in `verify`

    session = magics.session()
    file = _file(magics, words, "replay status")
    path = notebook(session.shell, session.environment)
    rows = replays.status_of(read_cells(file), session.client, notebook=path, values=partial(_replay.values_now, session))
    said = [{name: row[name] for name in ("cell", "title", "state", "why")} for row in rows]
    _show.rows(magics, said, "As the notebook was saved last. Replayable cells cost nothing on Restart and Run All.")


def _export(magics: AiMagics, words: Sequence[str]) -> None:
    from aiplat_lab.observe import replay as replays  # as in `verify`

    session = magics.session()
    file = _file(magics, words, "replay export")
    path = notebook(session.shell, session.environment) if not words else ""
    made = replays.export(file, client=session.client, path=path, also=list(session.answered))
    missing = f"; {made.missing} answers of the notebook are not in this ledger and not in the bundle" if made.missing else ""
    _show.say(magics, f"{made.path} holds {made.answers} answers in {made.bytes:,} bytes{missing}. It belongs beside the notebook.")


def _import(magics: AiMagics, words: Sequence[str]) -> None:
    from aiplat_lab.observe import replay as replays  # as in `verify`

    session = magics.session()
    if len(words) > 1:
        raise UsageError("write %ai replay import, or %ai replay import FILE")
    path = Path(words[0]).expanduser() if words else _replay.bundle_beside(session)
    if path is None:
        raise UsageError("no bundle lies beside this notebook; write %ai replay import FILE")
    _show.say(magics, imported(replays.load(path, client=session.client), path, _replay.notebook_file(session)))


def imported(said: Mapping[str, object], path: Path, file: Path | None) -> str:
    """What is to be said of a bundle that was taken in."""
    note = ""
    if said["notebook"] and file is not None and said["notebook"] != file.name:
        note = f" It was made of {said['notebook']}, not of {file.name}: only questions that are the same are answered."
    erased = f", {said['erased']} were erased here and stay so" if said["erased"] else ""
    return f"{path.name}: {said['taken']} answers taken in, {said['known']} were known{erased}.{note}"


def _clear(magics: AiMagics, words: Sequence[str]) -> None:
    from aiplat_lab.observe import replay as replays  # as in `verify`

    session = magics.session()
    path = notebook(session.shell, session.environment)
    if words not in ([], ["--all"]) or (not words and not path):
        raise UsageError("write %ai replay clear in a notebook, or %ai replay clear --all for every notebook of this ledger")
    replays.clear("" if words else path, client=session.client)
    whom = f"to {path}" if not words else "to any notebook"
    _show.say(magics, f"what was answered until now is not given again {whom}; the calls stay in the ledger")


def _file(magics: AiMagics, words: Sequence[str], name: str) -> Path:
    """The notebook that a command is about."""
    if len(words) > 1:
        raise UsageError(f"write %ai {name}, or %ai {name} NOTEBOOK.ipynb")
    if words:
        return Path(words[0]).expanduser()
    file = _replay.notebook_file(magics.session())
    if file is None:
        raise UsageError(f"this kernel does not know its notebook's file; write %ai {name} NOTEBOOK.ipynb")
    if not file.is_file():
        raise UsageError(f"{file.name} is no longer where it was when this kernel started (renamed?); write %ai {name} NOTEBOOK.ipynb")
    return file


_ACTIONS: Mapping[str, Callable[[AiMagics, Sequence[str]], None]] = {
    "status": _status,
    "export": _export,
    "import": _import,
    "clear": _clear,
}
