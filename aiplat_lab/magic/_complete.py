"""Completion in `%%ai` cells and after `%ai`: options and their values, models, aliases, saved prompts, commands, variables in braces.

Names come from a copy in memory that a thread renews from the local gateway; no key waits for it longer than a moment, and no gateway
is started for it.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from aiplat_lab.client import connect
from aiplat_lab.core.errors import AiplatError
from aiplat_lab.magic._interpolate import is_value, variables
from aiplat_lab.magic._options import FORMATS, OPTIONS

if TYPE_CHECKING:
    from aiplat_lab.magic._magics import AiMagics

_FRESH_S, _WAIT_S = 30.0, 0.03
_LINE = re.compile(r"^\s*(?P<magic>%%?ai)[ \t](?P<line>.*)$", re.DOTALL)
_BRACE = re.compile(r"(?<!\{)\{(?P<path>[^\W\d]\w*(?:\.\w*)*|)$")
_VALUES: dict[str, Sequence[str]] = {
    "-f": FORMATS,
    "--cache": ("auto", "on", "refresh", "off"),
    "--replay": ("auto", "only", "refresh", "off"),
}
_SAME = {"--format": "-f"}
_MODELS = frozenset({"-m", "--model", "--vs"})
_COLUMNS = frozenset({"--each", "--into"})
_NAMES = frozenset({"-o", "--out", "--image", "--schema", "--tools"})
_MOST = 200


class Found(NamedTuple):
    """What can stand at the cursor."""

    fragment: str
    """What is typed of it."""
    texts: list[str]
    kind: str
    """`option`, `value`, `model`, `prompt`, `command` or `variable`."""


class Names:
    """Models and saved prompts, as a thread read them last."""

    def __init__(self) -> None:
        self.models: list[str] = []
        self.prompts: list[str] = []
        self._read_at = -_FRESH_S
        self._reading: threading.Thread | None = None

    def renew(self, *, within_s: float = _WAIT_S) -> None:
        """Lets a thread read them anew where they are old, and waits a moment for it."""
        if time.monotonic() - self._read_at < _FRESH_S:
            return
        if self._reading is None or not self._reading.is_alive():
            self._reading = threading.Thread(target=self._read, name="aiplat-names", daemon=True)
            self._reading.start()
        self._reading.join(within_s)

    def _read(self) -> None:
        try:
            client = connect(spawn=False)
            self.models = [str(one["name"]) for one in client.models()]
            shelf = client.get("/api/prompts")["prompts"]
            self.prompts = sorted(reference for name, entry in shelf.items() for reference in _references(name, entry))
            client.close()
        except (AiplatError, OSError):
            pass  # no gateway runs, or it is an older one: what is known stays
        finally:
            self._read_at = time.monotonic()


names = Names()
"""Those of this process."""


def complete(magics: AiMagics, text: str, cursor: int) -> Found | None:
    """What can stand at the cursor of a cell; None where it is none of ours."""
    before = text[:cursor]
    first, newline, body = before.lstrip("\n").partition("\n")
    if newline and first.startswith("%%ai"):
        return _in_body(magics, body, asks_prompt="--prompt" in first)
    line = _LINE.match(before.rpartition("\n")[2])
    return _in_line(magics, line["line"], command=line["magic"] == "%ai") if line is not None else None


def _in_body(magics: AiMagics, body: str, *, asks_prompt: bool) -> Found | None:
    found = _BRACE.search(body[-200:])
    if found is None:
        return None
    base, dot, part = found["path"].rpartition(".")
    if not dot:
        return Found(part, _matching(part, _values(magics)), "variable")
    value = variables(magics.shell).get(base)
    if value is None or not is_value(value):
        return None
    # Columns and public attributes that are there already: nothing of the value's own code is run for a key press.
    known = [name for name in {**vars(type(value)), **getattr(value, "__dict__", {})} if not name.startswith("_")]
    return Found(part, _matching(part, known), "variable")


def _in_line(magics: AiMagics, line: str, *, command: bool) -> Found | None:
    words = line.split(" ")
    word, earlier = words[-1], [one for one in words[:-1] if one]
    last = earlier[-1] if earlier else ""
    option, equals, value = word.partition("=")
    if equals and option.startswith("-"):
        return _value(magics, option, value)
    if last.startswith("-") and not word.startswith("-") and "=" not in last and _takes_value(last):
        return _value(magics, last, word)
    if command and "--prompt" not in earlier:
        return _command(magics, earlier, word)
    used = {name for one in OPTIONS if not one.repeats and set(one.names) & set(earlier) for name in one.names}
    options = _matching(word, [name for one in OPTIONS for name in one.names if name not in used])
    if word.startswith("-"):
        return Found(word, options, "option")
    if any(not one.startswith("-") and not _takes_value(before) for before, one in zip(["", *earlier], earlier, strict=False)):
        return Found(word, options, "option")  # the model stands already
    return Found(word, [*_matching(word, _models(magics)), *options], "model" if word else "value")


def _command(magics: AiMagics, earlier: Sequence[str], word: str) -> Found | None:
    from aiplat_lab.magic._commands import COMMANDS, WORDS  # which leads back here by way of its help

    if not earlier:
        return Found(word, _matching(word, [*COMMANDS, "--prompt"]), "command")
    known = WORDS.get(earlier[0], {}).get(earlier[-1] if len(earlier) > 1 else "", ())
    options = [one for one in WORDS.get(earlier[0], {}) if one]
    return Found(word, _matching(word, [*known, *(options if not known or word.startswith("-") else ())]), "value")


def _value(magics: AiMagics, option: str, word: str) -> Found | None:
    option = _SAME.get(option, option)
    if option in _VALUES:
        return Found(word, _matching(word, _VALUES[option]), "value")
    if option == "--prompt" or (option == "--vs" and "@" in word):
        names.renew()
        return Found(word, _matching(word, names.prompts), "prompt")
    if option in _MODELS:
        return Found(word, _matching(word, _models(magics)), "model")
    if option in _COLUMNS and "." in word:
        base, _, part = word.rpartition(".")
        columns = getattr(variables(magics.shell).get(base), "columns", ())
        return Found(word, [f"{base}.{name}" for name in _matching(part, map(str, columns))], "variable")
    if option in _NAMES | _COLUMNS:
        return Found(word, _matching(word, _values(magics, every=option in ("--tools", "--schema"))), "variable")
    return None


def _takes_value(name: str) -> bool:
    return any(name in one.names and one.value for one in OPTIONS)


def _models(magics: AiMagics) -> list[str]:
    names.renew()
    return [*names.models, *magics.aliases, *magics.initial_aliases]


def _values(magics: AiMagics, *, every: bool = False) -> list[str]:
    hidden = getattr(magics.shell, "user_ns_hidden", {})
    own = {name: value for name, value in variables(magics.shell).items() if not name.startswith("_")}
    return [name for name, value in own.items() if (every or is_value(value)) and not (name in hidden and hidden[name] is value)]


def _matching(typed: str, known: Iterable[str]) -> list[str]:
    return sorted({one for one in known if one.startswith(typed)})[:_MOST]


def _references(name: str, entry: Any) -> list[str]:  # Any: JSON
    versions, labels = entry.get("versions") or {}, entry.get("labels") or {}
    return [name, *(f"{name}@{label}" for label in labels), *(f"{name}@{version}" for version in versions)]
