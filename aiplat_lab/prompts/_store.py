"""Saved prompts in this process: read in microseconds, never older than a second, and there when no gateway is.

Of the home's own gateway, the files it writes are looked at (`stat`) whenever a prompt is asked for. Of a shared gateway, a thread
asks twice a second as long as prompts are used, and keeps copies in the home.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from aiplat_lab.client import Client
from aiplat_lab.core.errors import AiplatError, GatewayUnavailable, PromptError
from aiplat_lab.core.prompts import Reference, Shelf
from aiplat_lab.gateway._prompt_files import INDEX, SUFFIX, write_index, write_text
from aiplat_lab.gateway.process import held
from aiplat_lab.prompts._parse import parse
from aiplat_lab.prompts._prompt import Prompt

_LOOK_S = 0.5
"""How often it is looked whether a gateway runs, and how often a shared one is asked."""
_WAIT_S = 1.0
"""The longest that a prompt is waited for where a copy is there."""
_USED_S = 30.0
"""How long after the last use a shared gateway is asked on."""


class Store:
    """The saved prompts of one gateway, as this process knows them."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._pid = os.getpid()
        folder = client.home.prompts
        self._folder = folder.with_name(f"prompts-{hashlib.sha256(client.url.encode()).hexdigest()[:8]}") if client.url else folder
        self._index = str(self._folder / INDEX)
        self._stamp: tuple[int, int, int] | None = None
        self._shelf = Shelf()
        self._texts: Mapping[str, str] = {}
        self._ready: dict[str, Prompt] = {}
        self._parsed: dict[str, Prompt] = {}
        self._asked = False
        self._alive = True
        self._looked_s = 0.0
        self._lock = threading.RLock()
        self._watch = _Watch(self) if client.url else None

    def get(self, reference: str) -> Prompt:
        """A saved prompt.

        Raises:
            PromptError: there is none; the nearest is named.
            GatewayUnavailable: nothing is known of this home's prompts, and there is no gateway to ask.
        """
        self.look()
        prompt = self._ready.get(reference)
        if prompt is None:
            prompt = self._find(Reference.of(reference))
            self._ready[reference] = prompt
        return prompt if self._alive else replace(prompt, last_copy=True)

    @property
    def shelf(self) -> Shelf:
        """Every prompt's versions and labels, after `look`."""
        return self._shelf

    def look(self) -> None:
        """Takes note of what was saved or moved meanwhile."""
        if not self._asked:
            self.ask()
        if self._watch is not None:
            self._watch.use()
            return
        now = time.monotonic()
        if now - self._looked_s > _LOOK_S:
            self._looked_s = now
            self._alive = held(self._client.home)
        self._read_files()

    def ask(self) -> Shelf:
        """Asks the gateway, which is started where that is possible; without one, the copies count.

        Raises:
            GatewayUnavailable: there is no gateway and no copy.
        """
        with self._lock:
            try:
                said = self._client.get("/api/prompts")["prompts"]
            except GatewayUnavailable:
                self._alive, self._looked_s = False, time.monotonic()
                if not self._read_files() and not self._asked:
                    raise
                self._asked = True
                return self._shelf
            self._asked, self._alive, self._looked_s = True, True, time.monotonic()
            self._take(Shelf.from_json(said))
            return self._shelf

    def forget(self) -> None:
        """Makes the next look ask the gateway."""
        self._asked = False

    # --- parts ------------------------------------------------------------------------------------------------------

    def _take(self, shelf: Shelf) -> None:
        if shelf == self._shelf and self._stamp is not None:
            return
        if self._client.url:
            self._copy(shelf)
            self._ready = {}
            self._shelf = shelf
        elif not self._read_files():
            self._ready = {}
            self._shelf = shelf

    def _read_files(self) -> bool:
        """Whether there are files; reads the index where it is another one than before."""
        try:
            stat = os.stat(self._index)  # noqa: PTH116 (a Path costs twice the time of this)
        except OSError:
            return False
        stamp = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
        if stamp == self._stamp:
            return True
        try:
            data = json.loads(Path(self._index).read_bytes())
            shelf = Shelf.from_json(data["prompts"])
            texts = {str(name): str(digest) for name, digest in data["texts"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return False  # damaged: the gateway is asked, and writes it anew when something is saved
        with self._lock:
            self._stamp, self._shelf, self._texts, self._ready = stamp, shelf, texts, {}
        return True

    def _find(self, reference: Reference) -> Prompt:
        version = self._shelf.resolve(reference)
        exact = f"{reference.name}@{version}"
        prompt = self._parsed.get(exact)
        if prompt is None:
            prompt = self._parsed[exact] = self._read(reference.name, version)
        label = reference.wanted if reference.wanted in self._shelf.entries[reference.name].labels else ""
        return replace(prompt, label=label) if label else prompt

    def _read(self, name: str, version: str) -> Prompt:
        exact = f"{name}@{version}"
        text = self._read_copy(exact)
        if text is None:
            row = self._client.get(f"/api/prompts/{quote(exact, safe='@')}")
            text = str(row["text"])
        content_hash = self._shelf.entries[name].versions[version]
        return replace(parse(text, source=exact), name=name, version=version, content_hash=content_hash)

    def _read_copy(self, exact: str) -> str | None:
        """The text of a version from its file; None where there is none, or it is not what was saved."""
        try:
            data = (self._folder / f"{exact}{SUFFIX}").read_bytes()
        except OSError:
            return None
        return data.decode("utf-8") if hashlib.sha256(data).hexdigest() == self._texts.get(exact) else None

    def _copy(self, shelf: Shelf) -> None:
        """Keeps what a shared gateway says; the texts of versions that a label means or that are the latest."""
        try:
            self._folder.mkdir(parents=True, mode=0o700, exist_ok=True)
            texts = dict(self._texts)
            for name, entry in shelf.entries.items():
                for version in {entry.latest, *entry.labels.values()} & set(entry.versions):
                    exact = f"{name}@{version}"
                    if exact not in texts:
                        row = self._client.get(f"/api/prompts/{quote(exact, safe='@')}")
                        texts[exact] = write_text(self._folder, exact, str(row["text"]))
            write_index(self._folder, shelf, texts)
            self._texts = texts
        except OSError:
            pass  # a home that cannot be written keeps no copies


class _Watch:
    """Asks a shared gateway twice a second, in a thread of its own, as long as somebody uses what it says."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._used_s = time.monotonic()
        self._fresh_s = time.monotonic()
        self._asked = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def use(self) -> None:
        """Notes a use; waits only where nobody has asked for a second, and not for long."""
        now = self._used_s = time.monotonic()
        thread = self._thread
        if thread is None or not thread.is_alive():
            self._begin()
        if now - self._fresh_s > 2 * _LOOK_S and self._store._alive:
            self._asked.wait(_WAIT_S)

    def _begin(self) -> None:
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._asked.clear()
                self._thread = threading.Thread(target=self._run, name="aiplat-prompts", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while time.monotonic() - self._used_s < _USED_S:
            self._asked.clear()
            try:
                self._store.ask()
            except AiplatError:
                self._store._alive = False
            self._fresh_s = time.monotonic()
            self._asked.set()
            time.sleep(_LOOK_S)


_stores: dict[tuple[Any, ...], Store] = {}  # Any: what tells gateways apart


def store(client: Client) -> Store:
    """The store of a client's gateway; the same one each time."""
    key = (os.getpid(), client.url or client.home.path)
    found = _stores.get(key)
    if found is None:
        found = _stores[key] = Store(client)
    return found


def of_snapshot(client: Client, reference: Reference) -> Prompt:
    """A prompt that a sealed snapshot holds.

    Raises:
        PromptError: there is none; the nearest is named.
    """
    shelf = shelf_of_snapshot(client)
    version = shelf.resolve(reference)
    rows = client.view_rows("prompt_texts", prompt=reference.name, version=version)
    if not rows:
        raise PromptError(f"the snapshot does not hold the text of {reference.name}@{version}")
    content_hash = shelf.entries[reference.name].versions[version]
    return replace(parse(str(rows[0]["text"]), source=f"{reference.name}@{version}"), version=version, content_hash=content_hash)


def shelf_of_snapshot(client: Client) -> Shelf:
    """What a sealed snapshot knows of prompts."""
    shelf = Shelf()
    for row in client.view_rows("prompt_catalogue"):
        shelf = shelf.with_version(str(row["name"]), str(row["version"]), str(row["content_hash"]))
    for row in client.view_rows("prompt_labels_now"):
        shelf = shelf.with_label(str(row["name"]), str(row["label"]), str(row["version"]))
    return shelf
