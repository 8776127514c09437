"""`aiplat batch submit | list | show | cancel`: calls that can wait, at the provider's lower price."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from aiplat_lab.cli._frame import Commands, Parser, client_of, command, say, show
from aiplat_lab.core.errors import UsageError
from aiplat_lab.core.types import Message, Request

_COLUMNS = ("id", "status", "model", "provider", "calls", "done", "failed", "team", "submitted_at", "ended_at", "error")


def add(commands: Commands) -> None:
    """Adds the commands of batches."""
    batch = commands.add_parser("batch", help="calls that can wait a day, at the provider's lower price")
    actions = batch.add_subparsers(title="actions", metavar="ACTION", required=True, parser_class=Parser)
    submit = command(actions, "submit", _submit, "hand in a file of questions, one JSON object a line; each becomes a call")
    submit.add_argument("file", type=Path, help='lines such as {"prompt": "…"} or {"messages": […], "max_tokens": 100}')
    submit.add_argument("--model", default="", metavar="NAME", help="the model of lines that name none (default: the default model)")
    command(actions, "list", _list, "list the batches, the newest first")
    for name, run, text in (
        ("show", _show, "show the calls of a batch: status, tokens and cost of each"),
        ("cancel", _cancel, "ask the provider to stop a batch; what was answered stays answered and paid"),
    ):
        command(actions, name, run, text).add_argument("batch", help="the batch's id")


def _submit(arguments: argparse.Namespace) -> int:
    requests = _read(arguments.file, arguments.model)
    made = client_of(arguments).submit_batch(requests)
    show(arguments, made, columns=None if arguments.json else _COLUMNS, empty="every call was answered already")
    if made and not arguments.json:
        say(f"`aiplat batch show {made[0]['id']}` shows how far it is")
    return 0


def _read(path: Path, model: str) -> list[Request]:
    """The requests of a file.

    Raises:
        UsageError: it cannot be read, or a line is no question.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {getattr(error, 'strerror', None) or 'it is not UTF-8'}") from None
    found = [_request(line, f"{path.name}, line {number}", model) for number, line in enumerate(lines, 1) if line.strip()]
    if not found:
        raise UsageError(f"{path} holds no question")
    return found


def _request(line: str, where: str, model: str) -> Request:
    try:
        data: Any = json.loads(line)  # Any: JSON, narrowed here
    except (ValueError, RecursionError):
        raise UsageError(f"{where}: not JSON") from None
    if not isinstance(data, dict) or ("prompt" in data) == ("messages" in data):
        raise UsageError(f'{where}: write an object with either "prompt" or "messages"')
    asked = [{"role": "user", "content": data["prompt"]}] if "prompt" in data else data["messages"]
    try:
        messages = tuple(Message.from_json(one) for one in asked)
    except (KeyError, TypeError, AttributeError):
        raise UsageError(f'{where}: messages are written as {{"role": "user", "content": "…"}}') from None
    settings = {name: value for name, value in data.items() if name not in {"prompt", "messages", "model"}}
    return Request(model=str(data.get("model") or model), messages=messages, settings=settings)


def _list(arguments: argparse.Namespace) -> int:
    rows = client_of(arguments).batches()
    return show(
        arguments, rows, columns=None if arguments.json else _COLUMNS, empty="no batch yet: `aiplat batch submit FILE --model NAME`"
    )


def _show(arguments: argparse.Namespace) -> int:
    found = client_of(arguments).batch(arguments.batch)
    calls = found.pop("call_list")
    if arguments.json:
        return show(arguments, [{**found, "call_list": calls}])
    show(arguments, [found], columns=_COLUMNS)
    print()
    return show(arguments, [{**one, "status": one["status"] or "waiting"} for one in calls])


def _cancel(arguments: argparse.Namespace) -> int:
    return show(arguments, [client_of(arguments).cancel_batch(arguments.batch)], columns=None if arguments.json else _COLUMNS)
