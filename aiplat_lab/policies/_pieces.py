"""The pieces of a streamed answer: what is cut in two by them is put together before it is passed on.

Whole pieces are held back, in their order, for as long as one of their texts may still change; then each text is rewritten in the
piece where it stood. So no event is added or lost, whatever the wire.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from aiplat_lab.core.types import Chunk, Json
from aiplat_lab.policies._mask import Examination, Vault, open_end
from aiplat_lab.policies._walk import Path, at, changed, deltas, looks_like_json, put
from aiplat_lab.policies.detectors import Finding

Edit: TypeAlias = tuple[int, int, str]

FEW, MANY = 400, 20_000
"""How many pieces are held back at most: for a placeholder, and for what must not be passed on."""
WINDOW = 128
"""How many characters the search for what may go on looks back."""
_LONGEST_WORD = 8_192
_CONTEXT = 160


@dataclass(slots=True)
class Fragment:
    """A text within a piece."""

    path: Path
    raw: str
    """What may still change."""
    settled: str = ""
    """What stands before it, as it goes out."""


@dataclass(slots=True)
class _Held:
    chunk: Chunk
    fragments: list[Fragment] = field(default_factory=list)

    @property
    def ready(self) -> bool:
        return not any(one.raw for one in self.fragments)


class Editor:
    """One text that comes in pieces.

    Args:
        encoded: whether it is JSON; None looks how it begins.
    """

    def __init__(self, encoded: bool | None) -> None:
        self._encoded = encoded
        self._pending: list[Fragment] = []

    def add(self, fragment: Fragment) -> None:
        """Takes the next fragment."""
        if self._encoded is None and fragment.raw.strip():
            self._encoded = looks_like_json(fragment.raw)
        self._pending.append(fragment)
        self._advance(final=False)

    def end(self) -> None:
        """Settles what is left."""
        if self._pending:
            self._advance(final=True)

    def _advance(self, *, final: bool) -> None:
        text = "".join(one.raw for one in self._pending)
        edits, upto = self.edit(text, encoded=bool(self._encoded), final=final)
        place = 0
        for one in self._pending:
            place = _settle(one, place, edits, upto)
        self._pending = [one for one in self._pending if one.raw]

    def edit(self, text: str, *, encoded: bool, final: bool) -> tuple[list[Edit], int]:
        """What changes in `text`, and up to where it is settled."""
        raise NotImplementedError


def _settle(fragment: Fragment, place: int, edits: list[Edit], upto: int) -> int:
    """Writes the edits into a fragment that begins at `place` of the text; gives where it ends. An edit goes where it begins."""
    end = place + len(fragment.raw)
    stop = min(end, upto)
    if stop <= place:
        return end
    done = place
    settled = [fragment.settled]
    for start, finish, new in edits:
        if finish <= place or start >= stop:
            continue
        if start >= place:
            settled += [fragment.raw[done - place : start - place], new]
        done = min(max(done, finish), stop)
    settled.append(fragment.raw[done - place : stop - place])
    fragment.settled, fragment.raw = "".join(settled), fragment.raw[stop - place :]
    return end


class Restoring(Editor):
    """Puts back what stands behind placeholders."""

    def __init__(self, vault: Vault, encoded: bool | None) -> None:
        super().__init__(encoded)
        self._vault = vault

    def edit(self, text: str, *, encoded: bool, final: bool) -> tuple[list[Edit], int]:
        """Whole placeholders are replaced; one that may go on waits."""
        return self._vault.edits(text, encoded), len(text) if final else open_end(text)


class Examining(Editor):
    """Looks for what must not be passed on.

    Args:
        examination: notes what is found and makes the placeholders.
        check: called after each step; raises where the answer may not go on.
    """

    def __init__(self, examination: Examination, check: Callable[[], None], encoded: bool | None) -> None:
        super().__init__(encoded)
        self._examination = examination
        self._check = check
        self._before = ""

    def edit(self, text: str, *, encoded: bool, final: bool) -> tuple[list[Edit], int]:
        """Settles all but the end, in which something may have begun."""
        if not final and len(text) < 2 * WINDOW:
            return [], 0
        before = len(self._before)
        seen = self._before + text
        findings = [one for one in self._examination.findings(seen) if one.end > before]
        upto = len(seen) if final else max(before, _boundary(seen, findings))
        settled = [one for one in findings if one.end <= upto]
        edits = [(max(0, start - before), end - before, new) for start, end, new in self._examination.edits(seen, settled)]
        self._check()
        self._before = seen[max(0, upto - _CONTEXT) : upto]
        return edits, upto - before


def _boundary(text: str, findings: list[Finding]) -> int:
    """Up to where nothing can become part of a finding any more."""
    upto = len(text) - WINDOW
    word = max(text.rfind(" "), text.rfind("\n"), text.rfind("\t")) + 1
    if len(text) - word < _LONGEST_WORD:
        upto = min(upto, word)
    begun = text.rfind("-----BEGIN ")
    if begun >= 0 and len(text) - begun < 2 * _LONGEST_WORD and "-----END " not in text[begun:]:
        upto = min(upto, begun)
    for one in reversed(findings):
        if one.start < upto < one.end:
            upto = one.start
    return upto


class Filter:
    """What the pieces of one answer pass through.

    Args:
        editor: makes the editor of one text; its argument says whether the text is JSON.
        whole: changes a text that is whole already.
        most: how many pieces are held back at most.
    """

    def __init__(self, editor: Callable[[bool | None], Editor], whole: Callable[[str, bool], str], *, most: int) -> None:
        self._most = most
        self._editor = editor
        self._whole = whole
        self._editors: dict[Path, Editor] = {}
        self._queue: list[_Held] = []

    def of(self, chunk: Chunk) -> list[Chunk]:
        """What can be passed on now."""
        held = _Held(chunk)
        self._queue.append(held)
        for key, path, encoded in _texts(chunk):
            fragment = Fragment(path, str(at(chunk.body, path[1:]) if path[0] == "body" else _own(chunk, path)))
            held.fragments.append(fragment)
            if key not in self._editors:
                self._editors[key] = self._editor(encoded or None)
            self._editors[key].add(fragment)
        if len(self._queue) > self._most or (chunk.finish_reason and not self._several):
            self._settle()
        return self._ready()

    def end(self) -> list[Chunk]:
        """What was held back."""
        self._settle()
        return self._ready()

    @property
    def _several(self) -> bool:
        """Whether several answers come at once, of which the end of one says nothing about the others."""
        return any(key[1:2] == ("choice",) and key[2] != "0" for key in self._editors)

    def _settle(self) -> None:
        for editor in self._editors.values():
            editor.end()

    def _ready(self) -> list[Chunk]:
        ready = 0
        while ready < len(self._queue) and self._queue[ready].ready:
            ready += 1
        out = [self._rewritten(held) for held in self._queue[:ready]]
        del self._queue[:ready]
        return out

    def _rewritten(self, held: _Held) -> Chunk:
        chunk = held.chunk
        body: Json = chunk.body
        for one in held.fragments:
            if one.path[0] == "body":
                body = put(body, one.path[1:], "")
        body = changed(body, self._whole)
        text, calls = chunk.text, [dict(call) for call in chunk.tool_calls]
        for one in held.fragments:
            if one.path[0] == "body":
                body = put(body, one.path[1:], one.settled)
            elif one.path[0] == "text":
                text = one.settled
            else:
                calls = put(calls, one.path[1:], one.settled)
        return replace(chunk, text=text, tool_calls=tuple(calls), body=body)


def _own(chunk: Chunk, path: Path) -> str:
    return chunk.text if path[0] == "text" else str(at(chunk.tool_calls, path[1:]))


def _texts(chunk: Chunk) -> list[tuple[Path, Path, bool]]:
    """The texts of a piece that go on in others: which text, where, and whether it is JSON."""
    found: list[tuple[Path, Path, bool]] = [(("text",), ("text",), False)] if chunk.text else []
    for place, call in enumerate(chunk.tool_calls):
        function = call.get("function")
        if isinstance(function, Mapping) and isinstance(function.get("arguments"), str) and function["arguments"]:
            found.append((("call", str(call.get("index", place))), ("calls", place, "function", "arguments"), True))
    if chunk.body is not None:
        found += [(("body", *key), ("body", *path), encoded) for key, path, encoded in deltas(chunk.body) if at(chunk.body, path)]
    return found
