"""How a cell is replayed: its mode, the bundle beside its notebook, and what its answer depends on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from aiplat_lab.core.errors import AiplatError, UsageError, did_you_mean
from aiplat_lab.core.replays import SUFFIX, beside, question_of, source_hash, value_hash
from aiplat_lab.core.types import ReplayMode, Request, canonical_json

if TYPE_CHECKING:
    from aiplat_lab.magic._cell import Session
    from aiplat_lab.magic._magics import AiMagics
    from aiplat_lab.magic._options import Options


class Taken(NamedTuple):
    """A bundle that was taken in."""

    path: Path
    changed_ns: int
    default_model: str
    """What a cell that names no model asked where the bundle was written."""


def wished(magics: AiMagics, options: Options, request: Request) -> Request:
    """The request with the mode that the cell, or `%config AiMagics.replay`, wishes.

    A cell that asks for a fresh answer (`--fresh`, `--cache off`) is not replayed.

    Raises:
        UsageError: the wishes contradict one another, or the setting is none.
    """
    mode: ReplayMode = options.replay
    if not mode:
        known = get_args(ReplayMode)
        mode = next((one for one in known if one == magics.replay), "")
        if magics.replay and not mode:
            raise UsageError(
                f"AiMagics.replay is {magics.replay!r}; it must be one of {', '.join(known[1:])}.{did_you_mean(magics.replay, known)}"
            )
    if options.cache in {"refresh", "off"}:
        if options.replay == "only":
            raise UsageError(f"--replay only never asks again, and --cache {options.cache} always does; keep one of them.")
        if mode != "only":
            mode = options.replay or ("refresh" if options.cache == "refresh" else "off")
    return replace(request, replay=mode)


def notebook_file(session: Session) -> Path | None:
    """The file of the notebook that runs here; None where no front end said it."""
    own = session.environment.attribution.notebook or str(session.shell.user_ns.get("__vsc_ipynb_file__") or "")
    if not own:
        return None
    paths = [Path(own), Path.cwd() / Path(own).name]
    return next((one for one in paths if one.is_file()), paths[0])


def bundle_beside(session: Session) -> Path | None:
    """The bundle that lies beside the notebook; where the notebook is not known, the only one in its folder."""
    file = notebook_file(session)
    if file is not None:
        found = beside(file)
        return found if found.is_file() else None
    there = sorted(Path.cwd().glob(f"*{SUFFIX}"))
    return there[0] if len(there) == 1 else None


def take_in(session: Session) -> None:
    """Takes in the bundle beside the notebook, once, and again when it changes.

    Raises:
        UsageError: it was changed or cut off; nothing was sent, since the cell might cost what the bundle should save.
    """
    path = bundle_beside(session)
    if path is None:
        return
    try:
        changed_ns = path.stat().st_mtime_ns
    except OSError:
        return  # it has gone since
    taken: Taken | None = session.bundle
    if taken is not None and (taken.path, taken.changed_ns) == (path, changed_ns):
        return
    from aiplat_lab.observe import replay  # needed where a bundle lies

    content = replay.read_bundle(path)
    replay.take_in(content, session.client)
    session.bundle = Taken(path, changed_ns, str(content.get("default_model") or ""))


def by_default(session: Session, options: Options, request: Request) -> Request:
    """The request of a cell that names no model: with the model of the bundle where that has the answer and the default is another."""
    taken: Taken | None = session.bundle
    if options.model or options.prompt or taken is None or taken.default_model in ("", request.model):
        return request
    there = replace(request, model=taken.default_model)
    asked = {"question": question_of(there), "model": there.model, "team": there.attribution.team}
    said = session.client.replay_look([asked], notebook=there.attribution.notebook)
    return there if said["rows"][0]["known"] else request


def depends(
    options: Options, line: str, body: str, request: Request, values: Mapping[str, Any], *, default: bool
) -> dict[str, Any]:  # Any: JSON
    """What an answer depends on, as hashes: the cell's text, the values that went into it, the saved prompt as it was named.

    Args:
        options: of the cell.
        line: what follows `%%ai`.
        body: the lines below.
        request: what is asked.
        values: the value of each reference or variable.
        default: whether the cell names no model.
    """
    salt = request.call_id
    found: dict[str, Any] = {
        "source": source_hash(line, body),
        "salt": salt,
        "values": {name: value_hash(salt, written(value)) for name, value in values.items()},
        "prompt": options.prompt,
        "team": request.attribution.team,
        "default": default,
    }
    return {name: value for name, value in found.items() if value}


def written(value: Any) -> str:  # Any: the user's values
    """A value as its hash is taken of."""
    return value if isinstance(value, str) else canonical_json(value).decode()


def values_now(session: Session, reference: str) -> str | None:
    """What a reference such as `{mail}`, or the variable of a saved prompt, stands for now; None where it is not there."""
    from aiplat_lab.magic._interpolate import as_value, interpolate, is_value, variables

    names = variables(session.shell)
    try:
        if not reference.startswith("{"):
            if reference not in names or not is_value(names[reference]):
                return None
            return written(as_value(names[reference], text=True))
        found = interpolate(reference, names)
    except AiplatError:
        return None
    return None if found.warnings else found.text
