"""`aiplat keys`: virtual keys for SDKs and other tools, and the provider keys that the gateway holds."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from aiplat_lab.cli._frame import Commands, Parser, client_of, command, count, home_of, say, show
from aiplat_lab.core.errors import AiplatError, UsageError
from aiplat_lab.core.settings import SETTINGS_FILE, Home, Secret, dotenv, forget_in_keyring, given, keep_in_keyring
from aiplat_lab.core.times import span
from aiplat_lab.core.types import utc_now

_LISTED = ("id", "name", "last_four", "role", "state", "team", "project", "user_id", "models", "expires_at", "last_used_at")
_LISTED_TOO = ("spent_usd", "limit_usd", "limit_period", "rpm", "tpm", "parallel", "replaces")
_PREFIX = "aiplat-"
_LONGEST = 8_192


def add(commands: Commands) -> None:
    """Adds the commands of virtual keys and of provider keys."""
    keys = commands.add_parser("keys", help="virtual keys: one for a team instead of provider keys")
    actions = keys.add_subparsers(title="actions", metavar="ACTION", required=True, parser_class=Parser)
    _add_create(actions)
    command(actions, "list", _list, "list the virtual keys with their state, last use and spend, without the keys themselves")
    revoke = command(actions, "revoke", _revoke, "revoke a virtual key at once")
    revoke.add_argument("key_id", help="the key's id, as `aiplat keys list` shows it")
    rotate = command(actions, "rotate", _rotate, "make a virtual key in place of another, with the same rights; it is shown once")
    rotate.add_argument("key_id", help="the old key's id, as `aiplat keys list` shows it")
    rotate.add_argument("--overlap", metavar="SPAN", default="24h", help="for how long the old key stays good: 24h, 7d, … (default: 24h)")
    adopt = command(actions, "adopt", _adopt, "move a provider key from the environment or a .env file to where only the gateway reads it")
    adopt.add_argument("variable", help="the variable that holds the key, such as OPENAI_API_KEY")
    adopt.add_argument(
        "--as", dest="name", metavar="NAME", default="", help="the name to keep it under (default: from the variable, openai)"
    )
    adopt.add_argument("--from", dest="source", type=Path, metavar="FILE", help="read it from this .env file, not from the environment")
    _add_place(adopt, "--to", "where to keep it (default: vault, encrypted in AIPLAT_HOME)")
    forget = command(actions, "forget", _forget, "take a provider key out of the vault or the keyring")
    forget.add_argument("name", help="the name that it was adopted under")
    _add_place(forget, "--from", "where it is kept (default: vault)")


def _add_create(actions: Commands) -> None:
    create = command(actions, "create", _create, "make a virtual key; it is shown once")
    create.add_argument("--name", default="", help="what people call it (default: its team, project and user)")
    create.add_argument("--team", default="", help="the team that its calls are booked to")
    create.add_argument("--project", default="", help="the project that its calls are booked to")
    create.add_argument("--user", default="", help="the user that its calls are booked to")
    create.add_argument("--role", default="member", help="owner, maintainer, member or auditor (default: member)")
    create.add_argument("--expires", metavar="SPAN", default="", help="90d, 24h, …; without it the key does not expire")
    create.add_argument(
        "--models", metavar="NAMES", default="", help="the models that it may use, such as fast,careful (default: its team's)"
    )
    create.add_argument("--limit-usd", metavar="USD", help="US dollars that its calls may cost in a period")
    create.add_argument("--limit-period", default="total", help="day, week, month or total (default: total)")
    create.add_argument("--rpm", type=count, metavar="N", help="requests a minute")
    create.add_argument("--tpm", type=count, metavar="N", help="tokens a minute, input and output together")
    create.add_argument("--parallel", type=count, metavar="N", help="calls at once")


def _add_place(sub: Parser, option: str, text: str) -> None:
    sub.add_argument(option, dest="place", choices=("vault", "keyring"), default="vault", help=text)


# --- virtual keys -----------------------------------------------------------------------------------------------------


def _create(arguments: argparse.Namespace) -> int:
    expires_at = _end(arguments.expires) if arguments.expires else None
    about = {name: getattr(arguments, name) for name in ("name", "team", "project", "role", "limit_usd", "limit_period")}
    about |= {name: getattr(arguments, name) for name in ("rpm", "tpm", "parallel")}
    about |= {"user_id": arguments.user, "models": [name.strip() for name in arguments.models.split(",") if name.strip()]}
    return _show_once(arguments, {**about, "expires_at": expires_at}, "/api/keys")


def _end(text: str) -> str:
    """When a key ends that lives for so long from now.

    Raises:
        UsageError: the text is no length of time, or no life.
    """
    life = span(text)
    if not life:
        raise UsageError(f"a key that expires after {text} would never be good; write 90d, 24h, …")
    try:
        return (utc_now() + life).isoformat()
    except OverflowError:
        raise UsageError(f"a key that expires after {text} ends beyond the calendar; leave --expires out for one without an end") from None


def _rotate(arguments: argparse.Namespace) -> int:
    return _show_once(arguments, {"overlap": arguments.overlap}, f"/api/keys/{quote(arguments.key_id, safe='')}/rotate")


def _show_once(arguments: argparse.Namespace, body: Mapping[str, Any], path: str) -> int:  # Any: JSON
    made = client_of(arguments).post(path, {name: value for name, value in body.items() if value is not None})
    show(arguments, [made], columns=None if arguments.json else [name for name in made if made[name] not in (None, "", [])])
    if not arguments.json:
        say("Keep the key now: only its hash is stored. Use it as OPENAI_API_KEY or ANTHROPIC_API_KEY with the gateway's address.")
        if "old_ends_at" in made:
            say(f"The old key {made['replaces']} is good until {made['old_ends_at']}.")
    return 0


def _list(arguments: argparse.Namespace) -> int:
    rows = client_of(arguments).get("/api/keys")["rows"]
    columns = [*_LISTED, *(name for name in _LISTED_TOO if any(row.get(name) not in (None, "", "total") for row in rows))]
    return show(arguments, rows, columns=columns, empty="no virtual key yet: `aiplat keys create --team NAME`")


def _revoke(arguments: argparse.Namespace) -> int:
    return show(arguments, [client_of(arguments).post(f"/api/keys/{quote(arguments.key_id, safe='')}/revoke", {})])


# --- provider keys: from this process straight to their place, never through the gateway ------------------------------


def _adopt(arguments: argparse.Namespace) -> int:
    variable = str(arguments.variable)
    name = arguments.name or _named(variable)
    if arguments.source is None:
        value, found_in = given(variable), "the environment"
        todo = f"Remove the old one: `unset {variable}`, and take it out of the shell profile or settings that set it."
        missing = f"the environment has no {variable}; name a file with --from .env, or set it for this command alone"
    else:
        value, line = dotenv(arguments.source, variable)
        found_in = f"{arguments.source}, line {line}"
        todo = f"Remove the old one: delete line {line} of {arguments.source}; if the file was ever in git, make a new key at the provider."
        missing = f"{arguments.source} sets no {variable}"
    if not value:
        raise UsageError(f"{missing}. Nothing was changed.")
    _check(value, variable)
    home = home_of(arguments).create()
    if arguments.place == "vault":
        known = home.vault.put(name, value)
        where = f"{home.vault.path}; its master key is in {home.vault.where()}"
    else:
        known, where = keep_in_keyring(name, value), "the system's keyring"
    setting = f'api_key = "{arguments.place}:{name}"'
    row = {"name": name, "from": found_in, "kept_in": where, "replaced": known, "setting": setting}
    show(arguments, [row])
    if not arguments.json:
        say(f"Write this under [providers.{name}] in {home.settings_file}, then run `aiplat stop`: {setting}")
        say(todo)
    return 0


def _forget(arguments: argparse.Namespace) -> int:
    home = home_of(arguments)
    if arguments.place == "vault":
        home.vault.forget(arguments.name)
    else:
        forget_in_keyring(arguments.name)
    show(arguments, [{"name": arguments.name, "forgotten_from": arguments.place}])
    for provider in _users(home, f"{arguments.place}:{arguments.name}"):
        say(f"providers.{provider}.api_key in {home.settings_file} still names it: its calls fail from now on.")
    return 0


def _named(variable: str) -> str:
    """The provider's name in a variable's: `openai` for `OPENAI_API_KEY`."""
    name = variable.lower()
    for end in ("_api_key", "_key", "_api_token", "_token"):
        name = name.removesuffix(end)
    return name.replace("_", "-") or variable


def _check(value: Secret, variable: str) -> None:
    """Lets a text pass that can be a provider's key.

    Raises:
        UsageError: it cannot; the error never holds it.
    """
    text = value.reveal()
    if text.startswith(_PREFIX):
        raise UsageError(f"{variable} holds a virtual key of a gateway, not a provider's key. Nothing was changed.")
    if len(text) > _LONGEST or not text.isascii() or not text.isprintable() or " " in text:
        raise UsageError(f"{variable} holds spaces or signs that no key has, or is too long. Nothing was changed.")


def _users(home: Home, reference: str) -> list[str]:
    """The providers whose settings name a reference."""
    try:
        return [name for name, provider in home.load().providers.items() if provider.api_key == reference]
    except AiplatError:
        say(f"{home.path / SETTINGS_FILE} cannot be read, so it was not looked whether a provider still names the key.")
        return []
