"""`aiplat route explain`: where a call would go, and why."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from aiplat_lab.cli._frame import Commands, Parser, client_of, command, count, say, show
from aiplat_lab.core.errors import UsageError
from aiplat_lab.core.text import money
from aiplat_lab.core.types import Json

_PIXEL = "data:image/png;base64,iVBORw0KGgo="


def add(commands: Commands) -> None:
    """Adds the commands of routing."""
    route = commands.add_parser("route", help="routing: say where a call would go, and why")
    actions = route.add_subparsers(title="actions", metavar="ACTION", required=True, parser_class=Parser)
    told = command(
        actions, "explain", _explain, "show which deployments a call would try, in which order and why, or why it is refused; sends nothing"
    )
    told.add_argument("model", metavar="MODEL", help="the name of a model, or provider/model")
    for name in ("team", "project", "prompt"):
        told.add_argument(f"--{name}", default="", metavar="NAME", help=f"as if the call were of this {name}")
    told.add_argument("--tag", action="append", default=[], metavar="NAME=VALUE", help="as if the call had this tag; may be repeated")
    told.add_argument("--file", type=Path, metavar="FILE", help="a request as JSON, as an SDK would send it to /v1/chat/completions")
    told.add_argument("--text", default="", help="the text of the question")
    told.add_argument("--tokens", type=count, metavar="N", help="as if the input had so many tokens (default: estimated from the text)")
    told.add_argument("--tools", action="store_true", help="as if the call brought tools")
    told.add_argument("--image", action="store_true", help="as if the call held an image")
    told.add_argument("--schema", action="store_true", help="as if the answer had to follow a JSON schema")


def _explain(arguments: argparse.Namespace) -> int:
    told = client_of(arguments).post("/api/route/explain", _request(arguments))
    if arguments.json:
        return show(arguments, told["deployments"])
    say(f"{told['model']} ({told['strategy']}): {told['reason']}")
    say(f"about {told['input_tokens']} tokens in, {told['output_tokens']} out; nothing was sent")
    rows = [
        {
            "try": one["try"] or "–",
            "deployment": one["deployment"],
            "region": one["region"] or "unknown",
            "estimate": "unknown" if one["estimate_usd"] is None else money(one["estimate_usd"]),
            "breaker": one["breaker"] + (f", waits {one['wait_s']:.0f} s" if one["wait_s"] else ""),
            "why": one["why"],
        }
        for one in told["deployments"]
    ]
    return show(arguments, rows)


def _request(arguments: argparse.Namespace) -> dict[str, Json]:
    body = _read(arguments.file) if arguments.file else {}
    tags = {}
    for text in arguments.tag:
        name, equals, value = text.partition("=")
        if not (equals and name and value):
            raise UsageError(f"--tag {text[:60]!r}: write name=value")
        tags[name] = value
    who = {"team": arguments.team, "project": arguments.project, "prompt_name": arguments.prompt, "tags": tags}
    body |= {"model": arguments.model, "attribution": {name: value for name, value in who.items() if value}}
    messages = list(body.get("messages") or ())
    if arguments.text:
        messages.append({"role": "user", "content": arguments.text})
    if arguments.image:
        messages.append({"role": "user", "content": [{"type": "image_url", "image_url": {"url": _PIXEL}}]})
    if messages:
        body["messages"] = messages
    if arguments.tools:
        body.setdefault("tools", [{"type": "function", "function": {"name": "any"}}])
    if arguments.schema:
        body.setdefault("response_format", {"type": "json_schema", "json_schema": {"name": "any", "schema": {"type": "object"}}})
    if arguments.tokens is not None:
        body["input_tokens"] = arguments.tokens
    return body


def _read(path: Path) -> dict[str, Json]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from None
    except (ValueError, RecursionError):
        raise UsageError(f"{path} is not JSON; write the body that an SDK would send, with model and messages") from None
    if not isinstance(data, dict):
        raise UsageError(f"{path} holds a JSON {type(data).__name__}; write an object with model and messages")
    return data
