"""YAML as prompts use it: plain data with the place of each key, read by the rules of YAML 1.2.

`yes`, `no`, `on` and dates stay texts, a key that stands twice is an error, and there are no anchors, aliases or tags: what is
read here is what is hashed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NoReturn

import yaml

from aiplat_lab.core.errors import PromptError, shorten
from aiplat_lab.core.types import Json

MOST_CHARS = 500_000
"""The longest file that is read."""
_MOST_DEEP = 40
_WHOLE = re.compile(r"[-+]?(0|[1-9]\d{0,999})")
_NUMBER = re.compile(r"[-+]?(\d+\.\d*|\.\d+|\d+(?=[eE]))([eE][-+]?\d{1,3})?")
_WORDS: Mapping[str, Json] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_PLAIN_TAGS = frozenset({"tag:yaml.org,2002:str", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"})


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands in a text: line and column, from 1."""

    source: str
    line: int
    column: int

    def fail(self, problem: str) -> NoReturn:
        """Says what is wrong here.

        Raises:
            PromptError: always.
        """
        raise PromptError(f"{self.source}:{self.line}:{self.column}: {problem}", source=self.source, line=self.line, column=self.column)


@dataclass(frozen=True, slots=True)
class Front:
    """What a YAML text holds, and where."""

    data: Json
    places: Mapping[tuple[str, ...], Place] = field(default_factory=dict)
    """The place of each key, by the way to it."""

    def at(self, *way: str) -> Place:
        """The place of a key, or of the nearest one above it."""
        while way and way not in self.places:
            way = way[:-1]
        return self.places[way]


class _Loader(yaml.BaseLoader):  # type: ignore[misc]  # PyYAML comes without types
    """PyYAML's reader without aliases."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """The next node."""
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.MarkedYAMLError(problem="aliases (*name) are not used here: write the value again", problem_mark=event.start_mark)
        return super().compose_node(parent, index)


@dataclass(slots=True)
class _Reader:
    source: str
    first_line: int
    places: dict[tuple[str, ...], Place]
    texts: frozenset[str] = frozenset()

    def place(self, mark: yaml.Mark) -> Place:
        return Place(self.source, self.first_line + mark.line, mark.column + 1)

    def value(self, node: yaml.Node, way: tuple[str, ...]) -> Json:
        if node.tag not in _PLAIN_TAGS:
            self.place(node.start_mark).fail(f"the tag {shorten(str(node.tag), 60)!r} is not used here: write plain YAML")
        if len(way) > _MOST_DEEP:
            self.place(node.start_mark).fail(f"this is nested more than {_MOST_DEEP} deep")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, way)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*way, str(index))) for index, item in enumerate(node.value)]
        text = _whole_signs(node.value)
        return text if node.style is not None or (len(way) == 1 and way[0] in self.texts) else scalar(text)

    def _mapping(self, node: yaml.MappingNode, way: tuple[str, ...]) -> dict[str, Json]:
        found: dict[str, Json] = {}
        for key_node, value_node in node.value:
            place = self.place(key_node.start_mark)
            if not isinstance(key_node, yaml.ScalarNode):
                place.fail("a key must be a word; braces {…} make a mapping in YAML, so quote a text that holds them")
            key = _whole_signs(key_node.value)
            if key in found:
                place.fail(f"the key {key!r} stands twice; keep one of them")
            self.places[(*way, key)] = place
            found[key] = self.value(value_node, (*way, key))
        return found


def _whole_signs(text: str) -> str:
    """The text with each pair of surrogates, as JSON escapes a sign beyond 16 bits, as that sign."""
    if text.isascii() or not any("\ud800" <= sign <= "\udfff" for sign in text):
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def scalar(text: str) -> Json:
    """What an unquoted word of YAML 1.2 is: a number, true, false, nothing, or the text itself."""
    if text in _WORDS:
        return _WORDS[text]
    if _WHOLE.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text):
        return float(text)
    return text


def read(text: str, *, source: str, first_line: int = 1, what: str = "the front matter", texts: frozenset[str] = frozenset()) -> Front:
    """What a YAML text holds.

    Args:
        text: the YAML.
        source: the file, for messages.
        first_line: the file's line on which the text begins.
        what: what the text is, for messages.
        texts: keys at the top whose values stay texts, as they are written.

    Raises:
        PromptError: it is not YAML; the text names file, line and column.
    """
    reader = _Reader(source, first_line, {(): Place(source, first_line, 1)}, texts)
    try:
        node = yaml.compose(text, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = reader.place(mark) if mark else reader.places[()]
        hint = ' Quote a text that holds ": " or begins with a sign.' if "mapping values" in str(error.problem) else ""
        place.fail(f"{what} is not YAML: {error.problem or error.context}.{hint}")
    except yaml.YAMLError as error:
        reader.places[()].fail(f"{what} is not YAML: {shorten(str(error), 200)}")
    except RecursionError:
        reader.places[()].fail(f"{what} is nested too deep")
    return Front(None if node is None else reader.value(node, ()), reader.places)


def read_values(text: str, *, source: str = "the text", texts: frozenset[str] = frozenset()) -> Json:
    """What a text holds, in JSON or YAML.

    Args:
        text: the text.
        source: what to call it in messages.
        texts: as for `read`; JSON says itself what is a text.

    Raises:
        PromptError: it is neither.
    """
    if text.lstrip().startswith(("{", "[", '"')):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            pass  # YAML, or wrong as both
    return read(text, source=source, what="this", texts=texts).data
