"""`aiplat import`: what another gateway holds, taken over."""

from __future__ import annotations

import argparse
from pathlib import Path

from aiplat_lab.cli._frame import Commands, Parser, command, home_of, local_client_of, say, show
from aiplat_lab.core.errors import ConfigError, UsageError
from aiplat_lab.core.settings import SETTINGS_FILE, Home, parse
from aiplat_lab.observe import Converted, convert_litellm, import_litellm_spend


def add(commands: Commands) -> None:
    """Adds the commands that bring in what LiteLLM holds."""
    importing = commands.add_parser("import", help="take over settings and past calls from a LiteLLM proxy")
    actions = importing.add_subparsers(title="actions", metavar="ACTION", required=True, parser_class=Parser)
    config = command(
        actions, "litellm-config", _config, "print the settings that a LiteLLM config.yaml stands for, and what does not carry over"
    )
    config.add_argument("file", type=Path, help="LiteLLM's config.yaml")
    config.add_argument("--write", action="store_true", help=f"add them to {SETTINGS_FILE} of the home")
    spend = command(actions, "litellm-spend", _spend, "record the calls of an export of LiteLLM's table LiteLLM_SpendLogs, each once")
    spend.add_argument("file", type=Path, help="the export: CSV, a JSON array, or JSON lines")


def _config(arguments: argparse.Namespace) -> int:
    try:
        raw = arguments.file.read_bytes()
    except OSError as error:
        raise UsageError(f"{arguments.file}: {error.strerror or error}") from None
    made = convert_litellm(raw, source=str(arguments.file))
    left = [one.to_json() for one in made.left_out]
    if arguments.write:
        _write(home_of(arguments), made)
    if arguments.json:
        return show(arguments, [{"toml": made.toml, "providers": made.providers, "models": made.models, "left_out": left}])
    if not arguments.write:
        print(made.toml, end="")
    for one in left:
        say(f"{arguments.file}:{one['line']}: {one['setting']}: {one['why']}")
    say(f"{made.providers} providers and {made.models} models carry over; {len(left)} settings do not")
    return 0


def _write(home: Home, made: Converted) -> None:
    """Adds settings to the home's own, which must hold together with them.

    Raises:
        UsageError: they do not.
    """
    path = home.create().settings_file
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    whole = f"{before.rstrip()}\n\n{made.toml}" if before.strip() else made.toml
    try:
        parse(whole, source=str(path))
    except ConfigError as error:
        raise UsageError(f"{path} and the imported settings do not go together: {error.message} Nothing was written.") from None
    temporary = path.with_suffix(".new")
    temporary.write_text(whole, encoding="utf-8")
    temporary.replace(path)
    say(f"added to {path}; a gateway that runs reads it after `aiplat stop`")


def _spend(arguments: argparse.Namespace) -> int:
    with local_client_of(arguments) as client:
        found = import_litellm_spend(client, arguments.file)
    if arguments.json:
        return show(arguments, [found.to_json()])
    for text in found.named:
        say(f"{arguments.file}: {text}")
    if found.bad > len(found.named):
        say(f"… and {found.bad - len(found.named)} more")
    say(f"{found.rows:,} rows: {found.added:,} calls added (${found.cost_usd:f}), {found.known:,} there already, {found.bad:,} bad")
    return 0
