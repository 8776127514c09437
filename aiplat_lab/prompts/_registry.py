"""The registry: save, get, label, and what happened to a prompt. All state is records, written through the gateway."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from aiplat_lab.client import Client, default
from aiplat_lab.core.errors import PromptError, RecordExists, did_you_mean
from aiplat_lab.core.ids import new_id
from aiplat_lab.core.prompts import Reference, Shelf, check_label, check_name
from aiplat_lab.core.types import Json
from aiplat_lab.prompts._change import Change, Level, Reason, compare, first_version, text_diff
from aiplat_lab.prompts._parse import SUFFIX, load, parse
from aiplat_lab.prompts._prompt import Prompt
from aiplat_lab.prompts._store import Store, of_snapshot, shelf_of_snapshot, store

LIBRARY = "library:"
"""Begins a reference to a prompt that is shipped with aiplat-lab."""
_FOLDER = Path(__file__).parent / "library"


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """What saving a prompt made."""

    name: str
    version: str
    """The version that holds the content now."""
    change: Level
    """`first`, `major`, `minor`, `patch`, or `none` where the content was saved before."""
    reason: str
    """Why the change counts so, in words."""
    content_hash: str
    previous: str = ""
    """The version it was compared with; empty for the first."""
    prompt: Prompt

    @property
    def new(self) -> bool:
        """Whether a version was made."""
        return self.change != "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """What moving a label did."""

    name: str
    label: str
    version: str
    from_version: str
    """Where it pointed before; empty for a new label."""

    @property
    def moved(self) -> bool:
        """Whether it moved; a label that is there already stays, and nothing is recorded."""
        return self.version != self.from_version


@dataclass(frozen=True, slots=True, kw_only=True)
class Diff:
    """How two prompts differ."""

    before: Prompt
    after: Prompt
    change: Change
    lines: tuple[str, ...]
    """The lines of a unified diff of the texts."""


def get(reference: str, client: Client | None = None) -> Prompt:
    """A prompt by its reference.

    A name alone means the label `production` where the prompt has it, else the latest version; where no prompt of that name was
    saved, the shipped library's. It is answered from memory; a label moved elsewhere shows within a second. Where the gateway does not
    answer, the last copy is given, and says so in `last_copy`.

    Args:
        reference: `name`, `name@1.2.0`, `name@1` (the newest 1.x.y), `name@production`, `name@latest`, or `library:name`.
        client: whose registry; None takes the environment's.

    Raises:
        PromptError: there is no such prompt, version or label; the nearest are named.
    """
    if reference.startswith(LIBRARY):
        return library(reference.removeprefix(LIBRARY))
    client = client or default()
    if client.sealed:
        return of_snapshot(client, Reference.of(reference))
    held = store(client)
    try:
        return held.get(reference)
    except PromptError:
        name, wanted = Reference.of(reference)
        if name in held.shelf.entries or name not in library_names():
            if name not in held.shelf.entries:
                held.shelf.entry(name, also=library_names())
            raise
        if wanted:
            raise PromptError(
                f"the prompt {name!r} was not saved here, so it has no {wanted[:80]!r}; the library has one: use {name!r} alone, or "
                f"save it with `aiplat prompts save {LIBRARY}{name}`"
            ) from None
        return library(name)


def library(name: str) -> Prompt:
    """A prompt that is shipped with aiplat-lab.

    Raises:
        PromptError: there is none; the nearest is named.
    """
    if name not in library_names():
        raise PromptError(
            f"the library has no prompt {name[:80]!r}.{did_you_mean(name, library_names())} It has {', '.join(library_names())}."
        )
    return _shipped(name)


@lru_cache(maxsize=1)
def library_names() -> tuple[str, ...]:
    """The prompts that are shipped with aiplat-lab."""
    return tuple(sorted(path.name.removesuffix(SUFFIX) for path in _FOLDER.glob(f"*{SUFFIX}")))


@lru_cache(maxsize=64)
def _shipped(name: str) -> Prompt:
    return replace(load(_FOLDER / f"{name}{SUFFIX}"), source=f"{LIBRARY}{name}")


def save(prompt: Prompt | Path | str, message: str = "", client: Client | None = None) -> Saved:
    """Saves a prompt as a new version, which is derived from what changed since the latest one. The same content makes no version.

    Args:
        prompt: the prompt, its file, or the text of one.
        message: what the author says of it.
        client: whose registry; None takes the environment's.

    Raises:
        PromptError: a mistake in the text; or somebody else saved meanwhile: then the version that stands now is named.
    """
    client = client or default()
    prompt = _read(prompt)
    check_name(prompt.name)
    held = store(client)
    known = _unchanged(held, held.ask(), prompt)
    if known is not None:
        return known
    entry = held.shelf.entries.get(prompt.name)
    previous = entry.latest if entry else ""
    change = _since(held, previous, prompt) if previous else Change(())
    level: Level = "first" if not previous else change.level if change.level != "none" else "patch"
    version = change.after(previous) if previous else first_version()
    reason = "it is saved for the first time" if level == "first" else change.sentence
    row = {
        "id": f"{prompt.name}@{version}",
        "name": prompt.name,
        "version": version,
        "content_hash": prompt.content_hash,
        "text": prompt.text,
        "parent": previous,
        "change": level,
        "reason": reason,
        "author": client.who.user_id,
        "message": message,
    }
    try:
        client.record("prompt_version", row, first=True)
    except RecordExists:
        known = _unchanged(held, held.ask(), prompt)
        if known is not None:
            return known
        raise PromptError(_beaten(client, held, prompt.name, previous)) from None
    held.ask()
    return Saved(
        name=prompt.name, version=version, change=level, reason=reason, content_hash=prompt.content_hash, previous=previous,
        prompt=replace(prompt, version=version),
    )  # fmt: skip


def label(name: str, label: str, version: str, reason: str = "", client: Client | None = None, *, evidence_run: str = "") -> Move:
    """Points a label at a version; who moved it, when, from where and why is recorded. Moving it back is a rollback.

    Args:
        name: the prompt.
        label: `production`, `staging`, or an own word.
        version: the version, or `latest`, or another label, whose version is then meant.
        reason: why.
        client: whose registry; None takes the environment's.
        evidence_run: the evaluation run that speaks for it.

    Raises:
        PromptError: there is no such prompt or version (the nearest is named), the label is no label, or somebody else moved it
            meanwhile.
    """
    client = client or default()
    check_label(label)
    held = store(client)
    shelf = held.ask()
    shelf.entry(name, also=library_names())
    meant = shelf.resolve(Reference(name, version))
    before = shelf.entries[name].labels.get(label, "")
    move = Move(name=name, label=label, version=meant, from_version=before)
    if not move.moved:
        return move
    row = {
        "id": new_id(),
        "name": name,
        "label": label,
        "version": meant,
        "from_version": before,
        "moved_by": client.who.user_id,
        "reason": reason,
        "evidence_run": evidence_run,
    }
    try:
        client.record("prompt_label", row, first=True)
    except RecordExists:
        now = held.ask().entries[name].labels.get(label, "nothing")
        raise PromptError(
            f"somebody else moved {label!r} of {name} meanwhile: it points to {now} now, and nothing was moved here. "
            f"`aiplat prompts history {name}` says who and why; move it again if you still want to."
        ) from None
    held.ask()
    return move


def diff(before: Prompt | str, after: Prompt | str, client: Client | None = None) -> Diff:
    """How two prompts differ: in words, by what each change means for a version, and line by line."""
    one, other = [get(side, client) if isinstance(side, str) else side for side in (before, after)]
    return Diff(before=one, after=other, change=compare(one, other), lines=tuple(text_diff(one, other)))


def shelf(client: Client | None = None) -> Shelf:
    """Versions and labels of every saved prompt, as the gateway knows them now."""
    client = client or default()
    return shelf_of_snapshot(client) if client.sealed else store(client).ask()


def history(name: str, client: Client | None = None) -> list[dict[str, Any]]:
    """What happened to a prompt, the newest first: versions saved and labels moved, with when, who and why.

    Raises:
        PromptError: there is no such prompt; the nearest is named.
    """
    client = client or default()
    shelf(client).entry(name, also=library_names())
    rows = [_saved_row(row) for row in client.view_rows("prompt_catalogue", prompt=name)]
    rows += [_moved_row(row) for row in reversed(client.view_rows("prompt_label_history", prompt=name))]
    return sorted(rows, key=lambda row: str(row["at"]), reverse=True)


def _saved_row(row: Mapping[str, Any]) -> dict[str, Json]:  # Any: the values of a view
    said = f"{row['message']} ({row['reason']})" if row.get("message") else row.get("reason") or ""
    return {
        "at": row["recorded_at"],
        "who": row.get("author"),
        "what": f"saved ({row['change']})",
        "version": row["version"],
        "from": "",
        "why": said,
    }


def _moved_row(row: Mapping[str, Any]) -> dict[str, Json]:  # Any: the values of a view
    what = f"{row['label']} moved" if row.get("from_version") else f"{row['label']} set"
    return {
        "at": row["recorded_at"],
        "who": row.get("moved_by"),
        "what": what,
        "version": row["version"],
        "from": row.get("from_version") or "",
        "why": row.get("reason") or "",
    }


def _read(prompt: Prompt | Path | str) -> Prompt:
    if isinstance(prompt, Prompt):
        return prompt
    if isinstance(prompt, str) and ("\n" in prompt or not prompt.strip()):
        return parse(prompt)
    return load(prompt)


def _since(held: Store, previous: str, prompt: Prompt) -> Change:
    try:
        before = held.get(f"{prompt.name}@{previous}")
    except PromptError as error:  # it was saved under other rules; it must not bar the way for good
        return Change((Reason("major", f"{previous} can no longer be read ({error.message})"),))
    return compare(before, prompt)


def _unchanged(held: Store, shelf: Shelf, prompt: Prompt) -> Saved | None:
    """What saving says where the content was saved before."""
    entry = shelf.entries.get(prompt.name)
    version = entry.of_content(prompt.content_hash) if entry else None
    if entry is None or version is None:
        return None
    said = f"the content is that of {version} already"
    if version != entry.latest:
        said += f" (the latest is {entry.latest}); to use it, move a label to it"
    return Saved(
        name=prompt.name, version=version, change="none", reason=said, content_hash=prompt.content_hash, previous=entry.latest,
        prompt=replace(prompt, version=version),
    )  # fmt: skip


def _beaten(client: Client, held: Store, name: str, previous: str) -> str:
    latest = held.shelf.entries[name].latest
    rows = client.view_rows("prompt_catalogue", prompt=name, version=latest)
    who = f" by {rows[0]['author']}" if rows and rows[0].get("author") else ""
    seen = f"`aiplat prompts diff {name}@{previous} {name}@{latest}`" if previous else f"`aiplat prompts show {name}@{latest}`"
    return (
        f"somebody else saved {name} meanwhile: {latest} stands now{who}, and yours was not saved. {seen} shows theirs; "
        "take it into your file where you want to keep it, and save again."
    )
