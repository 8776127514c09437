"""The line magic `%ai`: what there is, what it cost, and what runs."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from aiplat_lab.core.errors import UsageError, did_you_mean
from aiplat_lab.core.ids import is_id
from aiplat_lab.core.place import notebook
from aiplat_lab.core.text import money, table
from aiplat_lab.core.times import period_start
from aiplat_lab.core.types import utc_now
from aiplat_lab.core.version import VERSION
from aiplat_lab.magic import _commands_plan, _commands_replay, _names, _show
from aiplat_lab.magic._options import joined, options_help, split
from aiplat_lab.magic._route import route

if TYPE_CHECKING:
    from aiplat_lab.magic._magics import AiMagics

_BY = ("model", "team", "project", "user", "day")


def run(magics: AiMagics, line: str) -> None:
    """Runs one command.

    Raises:
        UsageError: there is no such command (the nearest is offered), or its words are wrong.
        AiplatError: the gateway cannot be asked.
    """
    words = [word.text for word in split(line)]
    name, rest = (words[0], words[1:]) if words and words[0] != "--help" else ("help", [])
    if "--help" in rest and name in COMMANDS:
        name, rest = "help", []
    if name not in COMMANDS:
        near = did_you_mean(name, COMMANDS) or f" There are {', '.join(COMMANDS)}."
        raise UsageError(f"there is no %ai {name!r}.{near} A prompt goes into an %%ai cell.")
    COMMANDS[name](magics, rest)


def _models(magics: AiMagics, words: Sequence[str]) -> None:
    _no_more("models", words[1:])
    words = [] if list(words) == ["all"] else words
    session = magics.session()
    default = magics.default_language_model or magics.initial_language_model or session.default_model()
    rows = [
        {
            "model": f"{model['name']} (default)" if model["name"] == default else model["name"],
            "answered by": ", ".join(f"{one['provider']}/{one['model']}" for one in model["deployments"]),
            "region": model.get("region") or "unknown",
            "a million tokens": _prices(magics, model["deployments"][0]) if model["deployments"] else "",
            "state": "ready" if model.get("available", True) else "not available",
        }
        for model in session.client.models()
        if not words or any(one["provider"] == words[0] for one in model["deployments"])
    ]
    if words:
        _show.rows(magics, rows, f"models that {words[0]} answers; %ai models lists all")
        return
    rows.extend(
        {"model": name, "answered by": target, "region": "", "a million tokens": "", "state": "alias"}
        for name, target in _aliases(magics).items()
    )
    _show.rows(magics, rows, "Own providers and models stand in aiplat.toml; then name one in a cell: %%ai provider/model")


def _prompts(magics: AiMagics, words: Sequence[str]) -> None:
    _no_more("prompts", words)
    from aiplat_lab import prompts  # brings the template engine, which other commands do not need

    shelf = prompts.shelf(magics.session().client)
    rows = [
        {"prompt": name, "latest": entry.latest, "labels": ", ".join(f"{label} → {at}" for label, at in entry.labels.items())}
        for name, entry in shelf.entries.items()
    ]
    rows.extend({"prompt": name, "latest": "", "labels": "of the library"} for name in prompts.library_names() if name not in shelf.entries)
    _show.rows(magics, rows, "%%ai --prompt NAME[@label] asks one; `aiplat prompts save` keeps one, `aiplat prompts diff` compares two.")


def _prices(magics: AiMagics, deployment: Mapping[str, Any]) -> str:  # Any: JSON
    currency, rate = magics.session().money()
    given, taken = (deployment.get(f"{side}_usd_per_mtok") for side in ("input", "output"))
    if given is None or taken is None:
        return "price unknown"
    return f"{money(given, currency=currency, rate=rate)} in, {money(taken, currency=currency, rate=rate)} out"


def _aliases(magics: AiMagics) -> dict[str, str]:
    return _names.aliases(magics)


def _help(magics: AiMagics, words: Sequence[str]) -> None:
    _no_more("help", words)
    usage = inspect.getdoc(type(magics).ai) or ""
    rows = [{"option": option, "meaning": meaning} for option, meaning in options_help()]
    _show.say(magics, f"{usage.partition('Options')[0].rstrip()}\n\n{table(rows)}\n\n{usage[usage.index('Running a cell') :]}")


def _version(magics: AiMagics, words: Sequence[str]) -> None:
    _no_more("version", words)
    _show.say(magics, f"aiplat-lab {VERSION}")


def _status(magics: AiMagics, words: Sequence[str]) -> None:
    _no_more("status", words)
    session = magics.session()
    status = session.client.status()
    currency, rate = session.money()
    lines = [
        f"gateway {status.get('version')} runs as process {status.get('pid')} since {str(status.get('started_at'))[:19]}",
        f"home {status.get('home')}",
        f"today: {status.get('calls_today')} calls, {money(status.get('spend_today_usd'), currency=currency, rate=rate)}; "
        f"{status.get('in_flight')} under way",
        *(
            f"budget of {one.get('scope')} {one.get('name') or ''}: {money(one.get('spent_usd'), currency=currency, rate=rate)} of "
            f"{money(one.get('limit_usd'), currency=currency, rate=rate)} this {one.get('period')}{'' if one.get('hard') else ' (soft)'}"
            for one in status.get("budgets") or ()
        ),
        *(f"note: {text}" for text in status.get("incidents") or ()),
    ]
    lines.extend(f"under way: {one.get('call_id')} {one.get('model')}" for one in status.get("calls_in_flight") or ())
    _show.say(magics, "\n".join(lines))


def _last(magics: AiMagics, words: Sequence[str]) -> None:
    _no_more("last", words)
    reply = magics.session().last
    if reply is None:
        raise UsageError("no cell of this kernel was answered yet; `aiplat calls` lists earlier ones")
    magics.session().publish(reply._repr_mimebundle_(), display_id=f"last-{reply.call_id}", update=False)


def _cost(magics: AiMagics, words: Sequence[str]) -> None:
    session = magics.session()
    if words and (len(words) != 2 or words[0] != "--by" or words[1] not in _BY):
        raise UsageError(f"write %ai cost, or %ai cost --by {'|'.join(_BY)}")
    path = notebook(session.shell, session.environment)
    if words:
        rows = session.client.view_rows(f"spend_by_{words[1]}", **({"notebook": path} if path else {}))
        name = {"user": "user_id"}.get(words[1], words[1])
        _show.rows(magics, [_spend(magics, str(row.get(name) or "–"), name, row) for row in rows], _scope(path))
        return
    rows = [_spend(magics, "all", "calls of", row) for row in session.client.view_rows("totals")]
    if path:
        rows = [*(_spend(magics, "this notebook", "calls of", row) for row in session.client.view_rows("totals", notebook=path)), *rows]
    today = period_start("day", now=utc_now(), time_zone=str(session.client.status().get("time_zone") or "UTC")).isoformat()
    rows = [*rows, *(_spend(magics, "all, today", "calls of", row) for row in session.client.view_rows("totals", since=today))]
    _show.rows(magics, rows, "%ai cost --by model splits it; the dashboard shows it by day.")


def _scope(path: str) -> str:
    return f"calls of {path}" if path else "all calls"


def _spend(magics: AiMagics, name: str, column: str, row: Mapping[str, Any]) -> dict[str, Any]:  # Any: the values of a view
    currency, rate = magics.session().money()
    return {
        column: name,
        "number": row.get("calls"),
        "cost": money(row.get("cost_usd"), currency=currency, rate=rate),
        "saved": money(row.get("saved_usd"), currency=currency, rate=rate),
        "from cache": row.get("cache_hits"),
        "errors": row.get("errors"),
    }


def _cancel(magics: AiMagics, words: Sequence[str]) -> None:
    if len(words) != 1 or not is_id(words[0]):
        raise UsageError(
            "write %ai cancel CALL_ID; %ai status lists the calls under way. A cell of this kernel is cancelled by interrupting it."
        )
    done = magics.session().client.cancel(words[0])
    _show.say(magics, f"call {words[0]} is cancelled" if done else f"call {words[0]} is not under way (it may have ended)")


def _alias(magics: AiMagics, words: Sequence[str]) -> None:
    names, base = _alias_words(words)
    if len(names) != 2 or names[0] in COMMANDS or not re.fullmatch(r"[A-Za-z0-9._-]+", names[0]):
        raise UsageError(
            "write %ai alias NAME MODEL, such as %ai alias fast openai/gpt-5-mini; a name is of letters, digits, '-', '_' and '.', "
            "and no command"
        )
    name, target = names
    if ":" not in target and "/" not in target and target not in {*magics.session().model_names(), *_aliases(magics)}:
        known = [*magics.session().model_names(), *_aliases(magics)]
        raise UsageError(f"there is no model {target!r}.{did_you_mean(target, known)} `%ai models` lists them.")
    if base:
        target = _names.address(magics, base, _names.resolve(magics, target).name)
    magics.aliases = {**magics.aliases, name: target}
    _show.say(magics, f"{name} is {target} in this kernel; for every notebook write it under [models] in aiplat.toml")


def _alias_words(words: Sequence[str]) -> tuple[list[str], str]:
    """Name and target, and the address of `--api-base`; jupyter-ai's `--api-key-name` is left out, since keys stand in aiplat.toml."""
    names: list[str] = []
    base, rest = "", list(words)
    while rest:
        word = rest.pop(0)
        option, equals, value = word.partition("=")
        if option not in ("--api-base", "--api-key-name"):
            names.append(word)
            continue
        if not equals and not rest:
            raise UsageError(f"{option} needs a value")
        value = value if equals else rest.pop(0)
        base = value if option == "--api-base" else base
    return names, base


def _dealias(magics: AiMagics, words: Sequence[str]) -> None:
    if len(words) != 1:
        raise UsageError("write %ai dealias NAME; `%ai models` lists the aliases")
    if words[0] not in magics.aliases:
        raise UsageError(f"there is no alias {words[0]!r}.{did_you_mean(words[0], magics.aliases)}")
    magics.aliases = {name: target for name, target in magics.aliases.items() if name != words[0]}
    _show.say(magics, f"{words[0]} is no alias any more")


def _reset(magics: AiMagics, words: Sequence[str]) -> None:
    threads = magics.session().threads
    if len(words) > 1 or (words and words[0] not in threads):
        raise UsageError(f"write %ai reset, or %ai reset THREAD; there are the threads {', '.join(filter(None, threads)) or '(none)'}")
    for name in words or list(threads):
        del threads[name]
    _show.say(magics, f"the thread {words[0]} is forgotten" if words else "all threads are forgotten; the ledger keeps what was asked")


def _error(magics: AiMagics, words: Sequence[str]) -> None:
    _about_error(magics, words, "Explain this Python error in a few sentences: what it means, and where it comes from.")


def _fix(magics: AiMagics, words: Sequence[str]) -> None:
    _about_error(magics, words, "Fix the code that raises this Python error. Say what was wrong in one sentence, then give the code.")


def _about_error(magics: AiMagics, words: Sequence[str], task: str) -> None:
    from aiplat_lab.magic import _cell  # which imports this module's neighbours

    errors = magics.shell.user_ns.get("Err")
    if not isinstance(errors, dict) or not errors:
        _show.say(magics, "no cell of this kernel has failed, so there is no error to ask about, and nothing was sent")
        return
    number = next(reversed(errors))
    code = magics.shell.user_ns.get("In") or []
    cell = code[number] if isinstance(number, int) and number < len(code) else ""
    names = {"task": task, "code": cell, "error": errors[number]}
    _cell.run(magics, joined(words), _ABOUT_ERROR, also=names)


_ABOUT_ERROR = "{task}\n\nThe cell:\n\n{code}\n\nThe error:\n\n{error}"


def _no_more(name: str, words: Sequence[str]) -> None:
    if words:
        raise UsageError(f"%ai {name} takes no further words, but {words[0]!r} follows. A prompt goes into an %%ai cell.")


COMMANDS: Mapping[str, Callable[[AiMagics, Sequence[str]], None]] = {
    "list": _models,
    "models": _models,
    "prompts": _prompts,
    "status": _status,
    "last": _last,
    "cost": _cost,
    "cancel": _cancel,
    "route": route,
    "plan": _commands_plan.plan,
    "budget": _commands_plan.budget,
    "log": _commands_plan.log,
    "diff": _commands_plan.diff,
    "promote": _commands_plan.promote,
    "replay": _commands_replay.replay,
    "verify": _commands_replay.verify,
    "version": _version,
    "alias": _alias,
    "register": _alias,
    "update": _alias,
    "dealias": _dealias,
    "delete": _dealias,
    "reset": _reset,
    "error": _error,
    "fix": _fix,
    "help": _help,
}
"""Every command of `%ai`."""
_CALL_OPTIONS = {"--evalset": (), "--expected": (), "--note": ()}
WORDS: Mapping[str, Mapping[str, Sequence[str]]] = {
    "cost": {"": (), "--by": _BY},
    "budget": {"": ("off",), "--per": ("day", "week", "month", "total")},
    "promote": {"": (), **_CALL_OPTIONS},
}
"""What may follow a command, for completion: options, and the values of each; those without an option stand under an empty text."""
