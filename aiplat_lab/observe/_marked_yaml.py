"""YAML from outside, read safely: plain values with the lines they stand on, numbers exact, and no more than a configuration holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, TypeAlias

import yaml

from aiplat_lab.core.errors import UsageError

MOST_BYTES = 2_000_000
MOST_NODES = 50_000
MOST_LEVELS = 50
Path: TypeAlias = tuple[str | int, ...]


@dataclass(slots=True)
class Marked:
    """A document and the line of each of its parts."""

    data: Any = None  # Any: what YAML holds
    lines: dict[Path, int] = field(default_factory=dict)

    def line(self, path: Path) -> int:
        """The line of a part, or of what holds it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def read(raw: bytes, *, source: str) -> Marked:
    """The mapping that a YAML text holds.

    Raises:
        UsageError: it is too large, no YAML, no mapping, or one that grows without end.
    """
    if len(raw) > MOST_BYTES:
        raise UsageError(f"{source} has {len(raw):,} bytes; a configuration of at most {MOST_BYTES:,} is read")
    try:
        node = yaml.compose(raw.decode("utf-8-sig"), Loader=yaml.SafeLoader)
    except UnicodeDecodeError:
        raise UsageError(f"{source} is not a text in UTF-8") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        raise UsageError(f"{source}{where} is no YAML: {getattr(error, 'problem', None) or type(error).__name__}") from None
    if not isinstance(node, yaml.MappingNode):
        raise UsageError(f"{source} holds no mapping; a configuration of LiteLLM begins with model_list:")
    found = Marked()
    found.data = _Reader(found, source).value(node, ())
    return found


class _Reader:
    """Walks the nodes, aliases included, and counts them, so that a few lines cannot stand for millions."""

    def __init__(self, found: Marked, source: str) -> None:
        self._found = found
        self._source = source
        self._count = 0
        self._loader = yaml.SafeLoader("")

    def value(self, node: Any, path: Path) -> Any:  # Any: nodes of a library without types, and what YAML holds
        """The plain value of a node."""
        self._count += 1
        line = node.start_mark.line + 1
        if self._count > MOST_NODES or len(path) > MOST_LEVELS:
            raise UsageError(f"{self._source}, line {line}: its aliases or levels stand for more than a configuration holds")
        self._found.lines[path] = line
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(one, (*path, index)) for index, one in enumerate(node.value)]
        return self._scalar(node, line)

    def _mapping(self, node: Any, path: Path) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for key, inside in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                merged = self.value(inside, path)
                for one in merged if isinstance(merged, list) else [merged]:
                    made = {**one, **made} if isinstance(one, Mapping) else made
                continue
            name = str(key.value) if isinstance(key, yaml.ScalarNode) else "?"
            made[name] = self.value(inside, (*path, name))
            self._found.lines[*path, name] = key.start_mark.line + 1
        return made

    def _scalar(self, node: Any, line: int) -> Any:
        tag = node.tag.rpartition(":")[2]
        if tag == "float":
            try:
                return Decimal(node.value.replace("_", ""))  # exact: a price must not go through binary
            except InvalidOperation:
                pass
        try:
            found = self._loader.construct_object(node)
        except (yaml.YAMLError, ValueError, OverflowError):
            raise UsageError(
                f"{self._source}, line {line}: {str(node.value)[:40]!r} is of a kind that is not read ({node.tag[:60]})"
            ) from None
        return found if isinstance(found, str | int | bool | None) else str(node.value)
