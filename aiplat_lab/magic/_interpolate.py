"""Variables of the notebook in a prompt: one pass over the text as it was typed; a value is never read again.

A reference is `{name}`, `{name.attr}`, `{name[i]}` or `{name:.2f}`, and for data frames `{df:head 5}`, `{df:schema}` and
`{df:md}`. `{{name}}` writes `{name}`. Whatever else stands in braces (JSON, code, LaTeX) stays as it is typed.
"""

from __future__ import annotations

import keyword
import re
import secrets
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import partial
from operator import getitem
from types import BuiltinFunctionType, FunctionType, MappingProxyType, ModuleType
from typing import Any, NamedTuple

from aiplat_lab.core.errors import AiplatError, PromptError, did_you_mean, redact, shorten
from aiplat_lab.magic import _frames

_REFERENCE = re.compile(
    r"\{(?P<path>[^\W\d]\w*(?:\.[^\W\d]\w*|\[[^\[\]{}\n]{1,200}\])*)(?:!(?P<conversion>[rsa]))?(?::(?P<spec>[^{}\n]{1,80}))?\}"
)
_STEP = re.compile(r"\.(?P<attribute>\w+)|\[(?P<item>[^\]]*)\]")
_ITEM = re.compile(r"""-?\d+|-?\d*:-?\d*|'[^']*'|"[^"]*"|[^\W\d]\w*""")
_FORMAT = re.compile(r"(?:.?[<>=^])?[+-]?z?#?0?\d*[_,]?(?:\.\d+)?[bcdeEfFgGnosxX%]?|[^{}]*%[A-Za-z][^{}]*")
_TELLING = re.compile(r"[.,%<>^=]|\d{2}")
_TOKEN = re.compile(r"\\[A-Za-z]+\*?(?:\[[^\[\]\n]{0,80}\])?|\{")
_LATEX_SUBSCRIPT = re.compile(r"(?<![A-Za-z0-9_])[A-Za-z]_\{\w{1,2}\}")
_CODE = re.compile(r"^(?P<fence>`{3,}|~{3,}).*?(?:^(?P=fence)|\Z)|(?P<ticks>`+)[^`\n]+(?P=ticks)", re.MULTILINE | re.DOTALL)
_ESCAPED_OBJECT = re.compile(r'\{\{\s*(?:"|\}\})')
_NOT_VARIABLES = ("exit", "quit", "get_ipython", "open")
_BREAKS = frozenset({"\\n", "\\t", "\\r"})
_LATEX_SPAN = 2000
_SHORT, _TYPO = 3, 0.75
_CONVERSIONS: Mapping[str, Callable[[Any], str]] = {"r": repr, "s": str, "a": ascii}  # Any: the user's values


class Prompt(NamedTuple):
    """A prompt ready to send."""

    text: str
    warnings: tuple[str, ...]
    """What looks like a variable and is none, each in one sentence."""
    values: Mapping[str, str] = MappingProxyType({})
    """What each reference was replaced with, by the reference as it was typed."""


@dataclass(slots=True)
class _Pass:
    """One pass over one text."""

    text: str
    names: Mapping[str, Any]  # Any: whatever the user's variables hold
    code: tuple[tuple[int, int], ...]
    pieces: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)

    def run(self) -> None:
        """Fills `pieces` and `missing`."""
        text, at, latex_end = self.text, 0, -1
        while found := _TOKEN.search(text, at):
            start = found.start()
            self.pieces.append(text[at:start])
            if text[start] == "\\":
                self.pieces.append(found[0])
                at = found.end()
                latex_end = -1 if found[0] in _BREAKS else at
                continue
            end = _latex_group(text, start) if self._is_latex(start, latex_end) else None
            if end is not None:
                self.pieces.append(text[start:end])
                at = latex_end = end
            else:
                at = self._brace(start)
        self.pieces.append(text[at:])

    def _is_latex(self, start: int, latex_end: int) -> bool:
        before = self.text[start - 1 : start]
        if start == latex_end or before == "^":
            return True
        return before == "_" and (start - 1 == latex_end or _LATEX_SUBSCRIPT.match(self.text, max(start - 2, 0)) is not None)

    def _brace(self, start: int) -> int:
        """Writes what the brace at `start` stands for, and gives the place after it."""
        text = self.text
        if text.startswith("{{", start):
            return self._double(start)
        found = _REFERENCE.match(text, start)
        if found is None or not _is_reference(found):
            self.pieces.append("{")
            return start + 1
        self.pieces.append(self._value(found))
        return found.end()

    def _double(self, start: int) -> int:
        text = self.text
        inner = _REFERENCE.match(text, start + 1)
        if inner is not None and text.startswith("}", inner.end()) and _is_reference(inner):
            self.pieces.append(self._literal(inner[0]))
            return inner.end() + 1
        third = _REFERENCE.match(text, start + 2)
        if third is not None and text.startswith("}}", third.end()) and _is_reference(third):
            self.pieces.append("{" + self._value(third) + "}")
            return third.end() + 2
        end = _escaped_object(text, start) if _ESCAPED_OBJECT.match(text, start) and text[start - 1 : start] not in {"=", "$"} else None
        if end is None:
            self.pieces.append("{")
            return start + 1
        self._object(start, end)
        return end

    def _object(self, start: int, end: int) -> None:
        """An object whose braces were all doubled, as dialects with `str.format` want it."""
        at = start
        while at < end:
            if self.text.startswith(("{{", "}}"), at):
                self.pieces.append(self.text[at])
                at += 2
            elif found := _REFERENCE.match(self.text, at):
                self.pieces.append(self._value(found))
                at = found.end()
            else:
                self.pieces.append(self.text[at])
                at += 1

    def _value(self, found: re.Match[str]) -> str:
        """The text of one reference, or the reference itself where it names nothing."""
        path, written = found["path"], found[0]
        name = re.split(r"[.\[]", path, maxsplit=1)[0]
        if name not in self.names:
            self._note_missing(found, name)
            return self._literal(written)
        value = self.names[name]
        if path == name and not is_value(value):
            self.missing.append(f"{written} names a {_kind(value)}, not a value")
            return self._literal(written)
        value = self._follow(value, path[len(name) :], written)
        _refuse_environment(value, written)
        return self._written(value, found)

    def _literal(self, written: str) -> str:
        """Braces that stay as they are."""
        return written

    def _written(self, value: Any, found: re.Match[str]) -> str:  # Any: the user's values
        text = self.values[found[0]] = _as_text(value, found["conversion"], found["spec"], found[0])
        return text

    def _follow(self, value: Any, steps: str, written: str) -> Any:  # Any: the user's values
        for step in _STEP.finditer(steps):
            _refuse_environment(value, written)
            attribute = step["attribute"]
            if attribute is None:
                key = self._key(value, step["item"])
                value = _guarded(written, partial(getitem, value, key))
            elif attribute.startswith("_"):
                raise PromptError(f"{written} is not read into a prompt: {attribute!r} is private. Put what you need into a variable.")
            else:
                value = _guarded(written, partial(getattr, value, attribute))
        return value

    def _key(self, value: Any, item: str) -> Any:  # Any: whatever a container is indexed with
        if re.fullmatch(r"-?\d+", item):
            return int(item)
        if item[0] in "'\"":
            return item[1:-1]
        if ":" in item:
            begin, _, end = item.partition(":")
            return slice(int(begin) if begin else None, int(end) if end else None)
        if isinstance(value, Mapping) and _guarded(item, lambda: item in value):
            return item
        return self.names.get(item, item)

    def _note_missing(self, found: re.Match[str], name: str) -> None:
        """Notes a name that is plausible as a variable; a near name is suspicious even within code."""
        known = [known for known in self.names if not known.startswith("_")]
        near = did_you_mean(name, known)
        before = self.text[found.start() - 1 : found.start()]
        start = found.start()
        unlikely = (
            before in set("$#%@/\\")
            or (before.isalnum() or before == "_")
            or any(begin <= start < end for begin, end in self.code)
            or (found["spec"] is not None and not _TELLING.search(found["spec"]) and not _frames.is_request(found["spec"]))
        )
        typo = len(name) > _SHORT and bool(get_close_matches(name, known, n=1, cutoff=_TYPO))
        if (before and before in "\\^") or (unlikely and not typo):
            return
        self.missing.append(f"{found[0]} is not a variable of this notebook.{near}")


def interpolate(text: str, names: Mapping[str, Any], *, strict: bool = False, lenient: bool = False) -> Prompt:
    """`text` with its references replaced by the values of `names`, in one pass.

    Args:
        text: the cell as it was typed.
        names: the notebook's variables.
        strict: whether a plausible name that does not exist is an error instead of a warning.
        lenient: whether such a name is sent as it stands without a word.

    Raises:
        PromptError: such a name under `strict`; a private attribute or the environment; a value that cannot be read or written
            in the format asked for. Nothing was sent.
    """
    if "{" not in text:
        return Prompt(text, ())
    code = tuple(found.span() for found in _CODE.finditer(text)) if "`" in text or "~~~" in text else ()
    one = _Pass(text, names, code)
    one.run()
    return Prompt("".join(one.pieces), _warnings(one, strict=strict, lenient=lenient), one.values)


def _warnings(one: _Pass, *, strict: bool, lenient: bool) -> tuple[str, ...]:
    missing = () if lenient else tuple(dict.fromkeys(one.missing))
    if missing and strict:
        raise PromptError(
            f"{missing[0]} Nothing was sent. Define it, double its braces to send it as it stands, or add --lenient to the first line."
        )
    return tuple(f"{shorten(name, 300)} It was sent as it stands." for name in missing)


class _Holding(_Pass):
    """A pass that writes a mark for each value and keeps the value."""

    __slots__ = ("held", "mark")

    def __init__(self, text: str, names: Mapping[str, Any], code: tuple[tuple[int, int], ...]) -> None:  # Any: as in `_Pass`
        super().__init__(text, names, code)
        self.held: list[Any] = []  # Any: the user's values
        self.mark = secrets.token_hex(4)

    def _literal(self, written: str) -> str:
        return self._hold(written)

    def _written(self, value: Any, found: re.Match[str]) -> str:  # Any: the user's values
        bare = found["conversion"] is None and found["spec"] is None and not _frames.is_frame(value)
        return self._hold(value if bare else _as_text(value, found["conversion"], found["spec"], found[0]))

    def _hold(self, value: Any) -> str:  # Any: the user's values
        self.held.append(value)
        return f"\ue000{self.mark}{len(self.held) - 1}\ue001"


class Held(NamedTuple):
    """A text whose references are held back, so that it can be read as YAML before its values come in."""

    text: str
    """With a mark in place of each reference."""
    mark: str
    values: tuple[Any, ...]  # Any: the user's values
    warnings: tuple[str, ...]

    def fill(self, read: Any) -> Any:  # Any: JSON, then the user's values
        """What was read, with the values in it. A text that is one reference alone becomes the value itself."""
        if isinstance(read, Mapping):
            return {self.fill(key): self.fill(value) for key, value in read.items()}
        if isinstance(read, list):
            return [self.fill(one) for one in read]
        if not isinstance(read, str) or not self.values:
            return read
        marks = re.compile(rf"\ue000{self.mark}(\d+)\ue001")
        alone = marks.fullmatch(read.strip())
        if alone is not None:
            return self.values[int(alone[1])]
        return marks.sub(lambda found: _as_text(self.values[int(found[1])], None, None, "the reference"), read)


def hold(text: str, names: Mapping[str, Any], *, strict: bool = False, lenient: bool = False) -> Held:  # Any: the user's values
    """`text` as for `interpolate`, with its references held back.

    Raises:
        PromptError: as `interpolate`.
    """
    code = tuple(found.span() for found in _CODE.finditer(text)) if "`" in text or "~~~" in text else ()
    one = _Holding(text, names, code)
    one.run()
    return Held("".join(one.pieces), one.mark, tuple(one.held), _warnings(one, strict=strict, lenient=lenient))


def variables(shell: Any) -> Mapping[str, Any]:  # Any: IPython's shell, and whatever its variables hold
    """The notebook's variables, without what IPython itself put there."""
    hidden = getattr(shell, "user_ns_hidden", {})
    own = dict(shell.user_ns)
    for name in _NOT_VARIABLES:
        if name in own and own[name] is hidden.get(name, own[name]):
            del own[name]
    return own


def is_value(value: Any) -> bool:  # Any: the user's values
    """Whether a variable of the notebook can stand in a prompt: no module, class or function."""
    return not isinstance(value, ModuleType | FunctionType | BuiltinFunctionType | type)


def as_value(value: Any, *, text: bool) -> Any:  # Any: the user's values
    """A value for a variable of a prompt; a data frame as a text where the variable takes one.

    Raises:
        PromptError: it is the environment, or a frame that cannot be written.
    """
    _refuse_environment(value, "the value")
    return _as_text(value, None, None, "the frame") if text and _frames.is_frame(value) else value


def _is_reference(found: re.Match[str]) -> bool:
    if keyword.iskeyword(found["path"]):
        return False
    items = [step["item"] for step in _STEP.finditer(found["path"]) if step["item"] is not None]
    if not all(_ITEM.fullmatch(item) for item in items):
        return False
    spec = found["spec"]
    return spec is None or (not spec.startswith(" ") and (_FORMAT.fullmatch(spec) is not None or _frames.is_request(spec)))


def _latex_group(text: str, start: int) -> int | None:
    """Where the group that opens at `start` ends, or None when it does not end in its paragraph."""
    depth, limit = 0, min(len(text), start + _LATEX_SPAN)
    paragraph = text.find("\n\n", start, limit)
    for at in range(start, limit if paragraph < 0 else paragraph):
        sign = text[at]
        if text[at - 1 : at] == "\\" or sign not in "{}":
            continue
        depth += 1 if sign == "{" else -1
        if depth == 0:
            return at + 1
    return None


def _escaped_object(text: str, start: int) -> int | None:
    """Where an object with doubled braces ends, or None when its braces are not all doubled."""
    depth, at = 0, start
    while at < len(text):
        if text.startswith("{{", at):
            depth, at = depth + 1, at + 2
        elif text.startswith("}}", at):
            depth, at = depth - 1, at + 2
            if depth == 0:
                return at
        elif text[at] == "{":
            found = _REFERENCE.match(text, at)
            if found is None or not _is_reference(found):
                return None
            at = found.end()
        elif text[at] == "}":
            return None
        else:
            at += 1
    return None


def _as_text(value: Any, conversion: str | None, spec: str | None, written: str) -> str:  # Any: the user's values
    if _frames.is_frame(value) and conversion is None and (spec is None or _frames.is_request(spec)):
        return str(_guarded(written, lambda: _frames.as_text(value, spec or "", written)))
    if conversion is not None:
        value = _guarded(written, partial(_CONVERSIONS[conversion], value))
    if spec is not None:
        return str(_guarded(written, lambda: format(value, spec)))
    return str(_guarded(written, lambda: str(value)))


def _kind(value: Any) -> str:  # Any: the user's values
    return "module" if isinstance(value, ModuleType) else "class" if isinstance(value, type) else "function"


def _refuse_environment(value: Any, written: str) -> None:  # Any: the user's values
    kind = type(value)
    if kind.__module__ == "os" and kind.__name__ == "_Environ":
        raise PromptError(
            f"{written} is not read into a prompt: the environment may hold keys. Put the one value you need into a variable."
        )


def _guarded(written: str, read: Callable[[], Any]) -> Any:  # Any: the user's values
    """What `read` gives; whatever the value's own code raises becomes one sentence."""
    try:
        return read()
    except AiplatError:
        raise
    except Exception as error:  # a value's own code runs here and may raise anything; the person reads it as one line
        said = "".join(traceback.format_exception_only(error)).strip()
        raise PromptError(f"{written} cannot be read, and nothing was sent: {redact(shorten(said, 300))}") from None
