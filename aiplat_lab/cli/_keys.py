"""`aiplat keys create | list | revoke`: virtual keys for SDKs and other tools."""

from __future__ import annotations

import argparse
from urllib.parse import quote

from aiplat_lab.cli._frame import Commands, Parser, client_of, command, say, show
from aiplat_lab.core.times import span
from aiplat_lab.core.types import utc_now


def add(commands: Commands) -> None:
    """Adds the commands of virtual keys."""
    keys = commands.add_parser("keys", help="virtual keys: one for a team instead of provider keys")
    actions = keys.add_subparsers(title="actions", metavar="ACTION", required=True, parser_class=Parser)
    create = command(actions, "create", _create, "make a virtual key; it is shown once")
    create.add_argument("--team", default="", help="the team that its calls are booked to")
    create.add_argument("--project", default="", help="the project that its calls are booked to")
    create.add_argument("--user", default="", help="the user that its calls are booked to")
    create.add_argument("--expires", metavar="SPAN", default="", help="90d, 24h, …; without it the key does not expire")
    command(actions, "list", _list, "list the virtual keys, without the keys themselves")
    revoke = command(actions, "revoke", _revoke, "revoke a virtual key at once")
    revoke.add_argument("key_id", help="the key's id, as `aiplat keys list` shows it")


def _create(arguments: argparse.Namespace) -> int:
    expires = (utc_now() + span(arguments.expires)).isoformat() if arguments.expires else None
    made = client_of(arguments).post(
        "/api/keys", {"team": arguments.team, "project": arguments.project, "user_id": arguments.user, "expires_at": expires}
    )
    show(arguments, [made])
    if not arguments.json:
        say("Keep the key now: only its hash is stored. Use it as OPENAI_API_KEY or ANTHROPIC_API_KEY with the gateway's address.")
    return 0


def _list(arguments: argparse.Namespace) -> int:
    return show(arguments, client_of(arguments).get("/api/keys")["rows"], empty="no virtual key yet: `aiplat keys create --team NAME`")


def _revoke(arguments: argparse.Namespace) -> int:
    return show(arguments, [client_of(arguments).post(f"/api/keys/{quote(arguments.key_id, safe='')}/revoke", {})])
