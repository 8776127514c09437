"""`aiplat prompts list | library | init | show | save | diff | label | history`: the registry of prompts, and files to begin with."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiplat_lab.cli._frame import Commands, Parser, client_of, command, say, show
from aiplat_lab.client import Client
from aiplat_lab.core.errors import AuthRefused, PromptError, UsageError
from aiplat_lab.core.prompts import Reference, check_name
from aiplat_lab.core.text import table

if TYPE_CHECKING:
    from aiplat_lab.prompts import Prompt

_EMPTY = "no prompt was saved yet: `aiplat prompts library` lists those that are shipped, `aiplat prompts init NAME` begins one"
_STARTER = """\
---
name: {name}
description: What it is for, in one sentence.
settings:
  temperature: 0
variables:
  text:
    type: string
    description: the text to work on
    example: The delivery was late, and nobody answered the phone.
---

# system

You answer in one short sentence.

# user

What is this about?

{{{{ text }}}}
"""


def add(commands: Commands) -> None:
    """Adds the commands of the prompt registry."""
    prompts = commands.add_parser("prompts", help="prompts: versions, labels, differences, history")
    actions = prompts.add_subparsers(title="actions", metavar="ACTION", required=True, parser_class=Parser)
    command(actions, "list", _list, "list the saved prompts with their latest version and labels")
    command(actions, "library", _library, "list the prompts that are shipped with aiplat-lab")
    init = command(actions, "init", _init, "write a prompt file to begin with: the library's of that name, or a new one")
    init.add_argument("name", help="the prompt's name")
    init.add_argument("--folder", type=Path, default=Path(), help="where to write it (default: here)")
    one = command(actions, "show", _show, "print a prompt as it was saved")
    one.add_argument("prompt", help="name, name@1.2.0, name@production, name@latest, library:name, or a file")
    save = command(actions, "save", _save, "save a prompt file as a new version, which follows from what changed")
    save.add_argument("file", help="the .prompt.md file, or library:NAME to take over a shipped prompt")
    save.add_argument("-m", "--message", default="", help="what changed, in your words")
    diff = command(actions, "diff", _diff, "show how two prompts differ: in words, and line by line")
    diff.add_argument("before", help="a reference such as name@1.2.0, or a file")
    diff.add_argument("after", help="the same")
    label = command(actions, "label", _label, "point a label at a version; pointing it back is a rollback")
    label.add_argument("prompt", help="the prompt's name, or name@version")
    label.add_argument("label", help="production, staging, or an own word")
    label.add_argument("version", nargs="?", default="", help="the version, latest, or another label; left out where the name has it")
    label.add_argument("-m", "--reason", default="", help="why, for the history")
    label.add_argument("--evidence", metavar="RUN", default="", help="the evaluation run that speaks for it")
    history = command(actions, "history", _history, "show every version and every move of a label: who, when, from where, why")
    history.add_argument("name", help="the prompt's name")


def _list(arguments: argparse.Namespace) -> int:
    client = client_of(arguments)
    try:
        catalogue = client.view_rows("prompt_catalogue")
    except AuthRefused:  # whoever comes with a virtual key reads what there is, not who saved it
        return show(arguments, _shelf_rows(client), empty=_EMPTY)
    labels: dict[str, list[str]] = {}
    for row in client.view_rows("prompt_labels_now"):
        labels.setdefault(row["name"], []).append(f"{row['label']} → {row['version']}")
    found: dict[str, dict[str, Any]] = {}  # Any: JSON
    for row in catalogue:
        count = found.get(row["name"], {}).get("versions", 0) + 1
        said = row["message"] or row["reason"]
        found[row["name"]] = {
            "prompt": row["name"],
            "latest": row["version"],
            "versions": count,
            "labels": ", ".join(labels.get(row["name"], [])),
            "saved_at": str(row["recorded_at"])[:19],
            "author": row["author"],
            "change": said,
        }
    return show(arguments, list(found.values()), empty=_EMPTY)


def _shelf_rows(client: Client) -> list[dict[str, Any]]:  # Any: JSON
    from aiplat_lab import prompts  # as in `_library`

    return [
        {
            "prompt": name,
            "latest": entry.latest,
            "versions": len(entry.versions),
            "labels": ", ".join(f"{label} → {version}" for label, version in entry.labels.items()),
        }
        for name, entry in prompts.shelf(client).entries.items()
    ]


def _library(arguments: argparse.Namespace) -> int:
    from aiplat_lab import prompts  # brings the template engine, which no other command needs

    rows = [
        {"prompt": one.name, "variables": ", ".join(one.variables), "model": one.model, "evalset": one.evalset, "what": one.description}
        for one in map(prompts.library, prompts.library_names())
    ]
    return show(arguments, rows, empty="the library is empty")


def _init(arguments: argparse.Namespace) -> int:
    from aiplat_lab import prompts  # as in `_library`

    name = check_name(arguments.name.removeprefix(prompts.LIBRARY))
    path = arguments.folder.expanduser() / f"{name}{prompts.SUFFIX}"
    shipped = name in prompts.library_names()
    if not shipped and arguments.name != name:
        prompts.library(name)
    text = prompts.library(name).text if shipped else _STARTER.format(name=name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except FileExistsError:
        raise UsageError(f"{path} is there already; name another one, or save it with `aiplat prompts save {path}`") from None
    show(arguments, [{"file": str(path), "from": f"{prompts.LIBRARY}{name}" if shipped else "a new one"}])
    if not arguments.json:
        say(f"edit it, then save it: aiplat prompts save {path}")
    return 0


def _show(arguments: argparse.Namespace) -> int:
    prompt = _prompt(arguments, arguments.prompt)
    if arguments.json:
        return show(arguments, [_facts(prompt)])
    said = f"{prompt.source} · {prompt.content_hash[:12]}"
    say(f"{said} · the gateway does not answer: this is the last copy" if prompt.last_copy else said)
    print(prompt.text, end="" if prompt.text.endswith("\n") else "\n")
    return 0


def _save(arguments: argparse.Namespace) -> int:
    from aiplat_lab import prompts  # as in `_library`

    what: Prompt | Path = Path(arguments.file).expanduser()
    if arguments.file.startswith(prompts.LIBRARY):
        what = prompts.library(arguments.file.removeprefix(prompts.LIBRARY))
    saved = prompts.save(what, arguments.message, client_of(arguments))
    row = {"prompt": saved.name, "version": saved.version, "change": saved.change, "reason": saved.reason, "previous": saved.previous}
    if arguments.json:
        return show(arguments, [{**row, "content_hash": saved.content_hash, "new": saved.new}])
    if saved.new:
        print(f"{saved.name}@{saved.version} ({saved.change}): {saved.reason}")
    else:
        print(f"{saved.name}@{saved.version} (nothing new): {saved.reason}")
    return 0


def _diff(arguments: argparse.Namespace) -> int:
    from aiplat_lab import prompts  # as in `_library`

    found = prompts.diff(_prompt(arguments, arguments.before), _prompt(arguments, arguments.after))
    reasons = [{"counts as": reason.level, "change": reason.text} for reason in found.change.reasons]
    names = {"before": found.before.source, "after": found.after.source}
    if arguments.json:
        changes = [{"level": reason.level, "text": reason.text} for reason in found.change.reasons]
        return show(arguments, [{**names, "change": found.change.level, "reasons": changes, "diff": "\n".join(found.lines)}])
    if not reasons:
        same = found.before.content_hash == found.after.content_hash
        print(f"{names['before']} and {names['after']} are the same" if same else "they differ in the way they are written alone")
        return 0
    print(f"{names['before']} → {names['after']}: {found.change.level}\n")
    print(table(reasons))
    if found.lines:
        print()
        print("\n".join(found.lines))
    return 0


def _label(arguments: argparse.Namespace) -> int:
    from aiplat_lab import prompts  # as in `_library`

    name, version = Reference.of(arguments.prompt)
    if bool(version) is bool(arguments.version):
        raise UsageError(f"write the version once: aiplat prompts label {name} {arguments.label} 1.2.0")
    move = prompts.label(
        name,
        arguments.label,
        version or arguments.version,
        arguments.reason,
        client_of(arguments),
        evidence_run=arguments.evidence,
    )
    row = {"prompt": move.name, "label": move.label, "version": move.version, "from": move.from_version}
    if arguments.json:
        return show(arguments, [{**row, "moved": move.moved}])
    before = f" (before: {move.from_version})" if move.from_version else " (new)"
    print(f"{move.name}: {move.label} → {move.version}{before if move.moved else ' already; nothing was moved'}")
    return 0


def _history(arguments: argparse.Namespace) -> int:
    from aiplat_lab import prompts  # as in `_library`

    rows = prompts.history(arguments.name, client_of(arguments))
    if not arguments.json:
        rows = [{**row, "at": str(row["at"])[:19]} for row in rows]
    return show(arguments, rows)


def _prompt(arguments: argparse.Namespace, text: str) -> Prompt:
    """The prompt of a reference or of a file."""
    from aiplat_lab import prompts  # as in `_library`

    path = Path(text).expanduser()
    if text.endswith(prompts.SUFFIX) or "/" in text or path.is_file():
        return prompts.load(path)
    try:
        return prompts.get(text, client_of(arguments))
    except PromptError as error:
        raise PromptError(f"{error.message} A file is named by its path, such as ./{text[:40]}{prompts.SUFFIX}.") from None


def _facts(prompt: Prompt) -> Mapping[str, Any]:  # Any: JSON
    facts: dict[str, Any] = json.loads(json.dumps(prompt.canonical(), default=str))
    facts.pop("format")
    return {
        "name": prompt.name,
        "version": prompt.version,
        "label": prompt.label,
        "content_hash": prompt.content_hash,
        "source": prompt.source,
        "last_copy": prompt.last_copy,
        **facts,
        "text": prompt.text,
    }
