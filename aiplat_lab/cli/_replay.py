"""`aiplat replay status | export | import | clear`, and `aiplat verify`: notebooks that run again for nothing, and their answers."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

from aiplat_lab.cli._frame import Commands, Parser, client_of, command, say, show
from aiplat_lab.core.errors import UsageError


def add(commands: Commands) -> None:
    """Adds the commands."""
    verify = command(
        commands,
        "verify",
        _verify,
        "hold the AI answers in a notebook against the ledger: unchanged, edited by hand or unknown; exit code 1 unless all are unchanged",
    )
    verify.add_argument("notebook", type=Path, metavar="NOTEBOOK.ipynb", help="the notebook's file")
    replay = commands.add_parser("replay", help="notebooks that run again for nothing: what is known, bundles for others, forgetting")
    actions = replay.add_subparsers(title="actions", metavar="ACTION", required=True, parser_class=Parser)
    status = command(actions, "status", _status, "list a notebook's AI cells: replayable, stale and why, or not answered")
    status.add_argument("notebook", type=Path, metavar="NOTEBOOK.ipynb", help="the notebook's file")
    export = command(actions, "export", _export, "write a bundle beside a notebook, with which it runs without key, cost or network")
    export.add_argument("notebook", type=Path, metavar="NOTEBOOK.ipynb", help="the notebook's file, saved with its answers")
    export.add_argument("--to", type=Path, default=None, metavar="FILE", help="another place than beside the notebook")
    take = command(actions, "import", _import, "take in a bundle; one beside a notebook is taken in by itself when the notebook runs")
    take.add_argument("bundle", type=Path, metavar="FILE", help="the bundle, NOTEBOOK.aiplat-replay")
    clear = command(actions, "clear", _clear, "give no answer again that is known now; the ledger keeps its calls")
    clear.add_argument("notebook", nargs="?", default="", metavar="NOTEBOOK", help="the notebook, as `aiplat calls` names it")
    clear.add_argument("--all", action="store_true", help="for every notebook")


def _verify(arguments: argparse.Namespace) -> int:
    from aiplat_lab.observe.verify import verify  # heavy

    found = verify(arguments.notebook, client=client_of(arguments))
    show(arguments, [one._asdict() for one in found], empty=f"{arguments.notebook} holds no AI answer")
    counts = Counter(one.state for one in found)
    if found and not arguments.json:
        say(", ".join(f"{number} {state}" for state, number in counts.items()))
    return 1 if counts["edited"] + counts["unknown"] + counts["erased"] else 0


def _status(arguments: argparse.Namespace) -> int:
    from aiplat_lab.observe import replay  # heavy

    rows = replay.status(arguments.notebook, client=client_of(arguments))
    return show(arguments, rows, columns=("cell", "title", "state", "why"), empty=f"{arguments.notebook} has no cell that asks a model")


def _export(arguments: argparse.Namespace) -> int:
    from aiplat_lab.observe import replay  # heavy

    made = replay.export(arguments.notebook, arguments.to, client=client_of(arguments))
    show(arguments, [{"path": str(made.path), "answers": made.answers, "bytes": made.bytes, "missing": made.missing}])
    return 0


def _import(arguments: argparse.Namespace) -> int:
    from aiplat_lab.observe import replay  # heavy

    said = replay.load(arguments.bundle, client=client_of(arguments))
    return show(arguments, [said])


def _clear(arguments: argparse.Namespace) -> int:
    from aiplat_lab.observe import replay  # heavy

    if bool(arguments.notebook) is arguments.all:
        raise UsageError("name the notebook, as `aiplat calls` does, or write --all")
    show(arguments, [replay.clear(arguments.notebook, client=client_of(arguments))])
    if not arguments.json:
        say("answers given until now are not given again; their calls stay in the ledger")
    return 0
