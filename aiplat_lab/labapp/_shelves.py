"""What the panel lists beside calls: prompts with their text, and evalsets with how their last run ended."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import yaml

from aiplat_lab import prompts
from aiplat_lab.client import Client
from aiplat_lab.core.errors import PromptError, UsageError
from aiplat_lab.core.types import Json
from aiplat_lab.evals._evalset import load, names

Rows = dict[str, Any]  # Any: JSON
_BRACES = re.compile(r"\{\{(?P<plain>[^\W\d]\w*)\}\}|\{(?P<name>[^\W\d]\w*)\}|\{\{|\{%|\{#|\}\}|%\}|#\}")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_MOST_RUNS = 200
_LONGEST = 200_000


def prompt_list(client: Client) -> Rows:
    """Every saved prompt and every one of the library: `name`, `version`, `labels`, `versions`, `shipped`."""
    shelf = prompts.shelf(client)
    saved = [
        {"name": name, "version": entry.latest, "versions": len(entry.versions), "labels": dict(entry.labels), "shipped": False}
        for name, entry in sorted(shelf.entries.items())
    ]
    shipped = [
        {"name": name, "version": "", "versions": 0, "labels": {}, "shipped": True, "description": prompts.library(name).description}
        for name in prompts.library_names()
        if name not in shelf.entries
    ]
    return {"prompts": [*saved, *shipped]}


def prompt_text(client: Client, reference: str) -> Rows:
    """One prompt to look at: its messages, its variables with examples, its model, and what a cell that asks it holds.

    Raises:
        PromptError: there is none; the nearest is named.
    """
    prompt = prompts.get(reference, client)
    asked = f"{prompt.name}@{prompt.version}" if prompt.version else prompt.name
    return {
        "reference": asked,
        "description": prompt.description,
        "model": prompt.model,
        "messages": [{"role": block.role, "content": block.text} for block in prompt.messages],
        "variables": [
            {"name": one.name, "type": one.type, "required": one.required, "description": one.description}
            for one in prompt.variables.values()
        ],
        "cell": _cell(asked, prompt.variables),
    }


def _cell(reference: str, variables: Mapping[str, prompts.Variable]) -> str:
    """A cell that asks a prompt, with an example for each variable that it cannot do without."""
    needed = {one.name: "…" if one.example is None else one.example for one in variables.values() if one.required}
    lines = yaml.safe_dump(needed, sort_keys=False, allow_unicode=True, width=100) if needed else ""
    return f"%%ai --prompt {reference}\n{lines}".rstrip("\n")


def save_prompt(client: Client, body: Mapping[str, Json]) -> Rows:
    """Saves a cell's text as a new version of a prompt; each `{variable}` becomes a variable of it.

    Raises:
        UsageError: a field is missing or not a text.
        PromptError: the text makes no prompt.
    """
    name, text = _text(body, "name"), _text(body, "text")
    if not _NAME.fullmatch(name):
        raise UsageError(f"a prompt's name is small letters, digits and hyphens, not {name[:60]!r}")
    if not text.strip():
        raise UsageError("the cell has no text to save as a prompt")
    found: list[str] = []

    def written(match: re.Match[str]) -> str:
        if name := match["name"]:
            found.append(name)
            return f"{{{{ {name} }}}}"
        return f"{{{match['plain']}}}" if match["plain"] else f"{{{{ '{match[0]}' }}}}"

    template = _BRACES.sub(written, text.strip("\n"))
    front: dict[str, Json] = {"name": name}
    if model := _text(body, "model"):
        front["model"] = model
    if isinstance(settings := body.get("settings"), dict) and settings:
        front["settings"] = settings
    if found:
        front["variables"] = {one: {"type": "string", "required": True} for one in dict.fromkeys(found)}
    system = _text(body, "system").strip()
    parts = [f"# system\n\n{system}\n\n"] if system else []
    head = yaml.safe_dump(front, sort_keys=False, allow_unicode=True)
    whole = f"---\n{head}---\n\n{''.join(parts)}# user\n\n{template}\n"
    saved = prompts.save(prompts.parse(whole), _text(body, "message") or "saved from a notebook's cell", client)
    return {"name": saved.name, "version": saved.version, "new": saved.new}


def _text(body: Mapping[str, Json], name: str) -> str:
    value = body.get(name) or ""
    if not isinstance(value, str) or len(value) > _LONGEST:
        raise UsageError(f"the field {name!r} must be a text of up to {_LONGEST:,} characters")
    return value


@lru_cache(maxsize=1)
def _shipped() -> tuple[tuple[str, int], ...]:
    return tuple((name, len(load(name))) for name in names())


def evalset_list(client: Client) -> Rows:
    """Every evalset that is shipped or was run, those that were run last first, each with its last run and that one's mean score."""
    last: dict[str, Rows] = {}
    for run in client.view_rows("eval_run_list", limit=_MOST_RUNS):
        last.setdefault(str(run["evalset"]), run)
    ids = [str(run["run_id"]) for run in last.values()]
    scores = {str(row["run_id"]): row for row in client.view_rows("eval_scores", run=ids)} if ids else {}
    shipped = dict(_shipped())
    rows = [_evalset(name, shipped.get(name), run, scores.get(str(run["run_id"]), {})) for name, run in last.items()]
    rows += [_evalset(name, samples, None, {}) for name, samples in shipped.items() if name not in last]
    return {"evalsets": rows}


def _evalset(name: str, samples: int | None, run: Rows | None, score: Rows) -> Rows:
    if run is None:
        return {"name": name, "samples": samples, "last": None}
    prompt = f"{run['prompt_name']}@{run['prompt_version']}" if run.get("prompt_version") else run.get("prompt_name") or ""
    return {
        "name": name,
        "samples": run["samples"] if samples is None else samples,
        "last": {
            "run_id": str(run["run_id"]),
            "started_at": str(run["started_at"]),
            "status": run["status"] or "",
            "model": run["model"] or "",
            "prompt": prompt,
            "score": score.get("score"),
            "scored": score.get("scored"),
            "errors": score.get("errors"),
            "cost_usd": None if score.get("cost_usd") is None else str(score["cost_usd"]),
        },
    }


def planned(client: Client, asked: object) -> list[Json]:
    """The requests of a notebook's cells; for a cell that asks a saved prompt, the prompt's messages with the cell's text after them.

    Raises:
        UsageError: it is not a list of objects.
    """
    if not isinstance(asked, list) or not all(isinstance(one, dict) for one in asked):
        raise UsageError("the field 'requests' must be a list of objects")
    return [_resolved(client, one) for one in asked]


def _resolved(client: Client, one: Mapping[str, Json]) -> Json:
    reference = one.get("prompt")
    request = {name: value for name, value in one.items() if name != "prompt"}
    given = request.get("attribution")
    request["attribution"] = {**client.who.to_json(), "surface": "magic", **(given if isinstance(given, dict) else {})}
    if not isinstance(reference, str) or not reference:
        return request
    try:
        prompt = prompts.get(reference, client)
    except PromptError as error:
        return {"error": error.message}
    settings = request.get("settings")
    messages = request.get("messages")
    request["messages"] = [
        *({"role": block.role, "content": block.text} for block in prompt.messages),
        *(messages if isinstance(messages, list) else ()),
    ]
    request["model"] = request.get("model") or prompt.model
    request["settings"] = {**prompt.settings, **(settings if isinstance(settings, dict) else {})}
    return request
