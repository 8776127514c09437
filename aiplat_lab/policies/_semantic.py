"""Questions that were answered, by their meaning: vectors within one context, and the guards on top."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from aiplat_lab.core.types import Json, Request, content_hash
from aiplat_lab.policies._alike import MAX_BYTES, Marks, disagreement, marks

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_MAX_VECTORS = 20_000
_LOOKED_AT = 8
_TRANSPORT = frozenset({"model", "messages", "input", "contents", "stream", "stream_options"})
_TOOLS = ("tools", "functions", "tool_choice", "function_call")

Vector: TypeAlias = "NDArray[np.float32]"
Key = tuple[str, str]
"""What an answer is kept under: a team, and a hash of what was asked."""


class Question(NamedTuple):
    """What is compared, and what must be the same beside it."""

    context: str
    """A hash of everything but the last user message."""
    text: str


class Near(NamedTuple):
    """A question that was answered before and may share its answer."""

    key: Key
    similarity: float


@dataclass(slots=True)
class _Shelf:
    """The answered questions of one context."""

    vectors: Vector
    """One row a question; rows beyond the last are room to grow."""
    marks: list[Marks] = field(default_factory=list)
    keys: list[Key] = field(default_factory=list)

    def add(self, vector: Vector, facts: Marks, key: Key) -> None:
        """Puts a question at the end."""
        import numpy as np  # 13 MB that only this cache needs

        count = len(self.keys)
        if count == len(self.vectors):
            self.vectors = np.concatenate([self.vectors, np.zeros((max(8, count), len(vector)), np.float32)])
        self.vectors[count] = vector
        self.marks.append(facts)
        self.keys.append(key)

    def shorten(self, by: int) -> None:
        """Forgets the oldest."""
        self.vectors = self.vectors[by : len(self.keys)].copy()
        del self.marks[:by], self.keys[:by]


def question(request: Request) -> Question | None:
    """The question of a chat that may be compared by meaning: text alone, no tools, not too long; else None."""
    if request.operation != "chat" or not request.messages or any(request.settings.get(name) for name in _TOOLS):
        return None
    last = request.messages[-1]
    before = request.messages[:-1]
    plain = isinstance(last.content, str) or all(part.get("type") == "text" for part in last.content or ({},))
    if last.role != "user" or last.extra or not plain or any(one.role == "tool" or one.extra for one in before):
        return None
    text = last.text().strip()
    if not text or len(text.encode("utf-8", "replace")) > MAX_BYTES:
        return None
    asked: dict[str, Json] = {
        "model": request.model,
        "messages": [message.to_json() for message in before],
        "settings": dict(request.settings),
        "wire": request.wire,
        "body": {key: value for key, value in (request.body or {}).items() if key not in _TRANSPORT},
    }
    return Question(content_hash(asked), text)


class Meanings:
    """Answered questions with their vectors, the least used contexts forgotten first."""

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._shelves: OrderedDict[tuple[str, str], _Shelf] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def near(self, team: str, asked: Question, vector: Sequence[float]) -> list[Near]:
        """The questions that mean the same as far as the model and the guards can tell, the nearest first."""
        import numpy as np  # 13 MB that only this cache needs

        shelf = self._shelves.get((team, asked.context))
        if shelf is None or shelf.vectors.shape[1] != len(vector):
            return []
        self._shelves.move_to_end((team, asked.context))
        likeness = shelf.vectors[: len(shelf.keys)] @ unit(vector)
        own = marks(asked.text)
        order = np.argsort(-likeness)[:_LOOKED_AT]
        return [
            Near(shelf.keys[index], float(likeness[index]))
            for index in order
            if likeness[index] >= self._threshold and not disagreement(own, shelf.marks[index])
        ]

    def keep(self, team: str, asked: Question, vector: Sequence[float], key: Key) -> None:
        """Remembers a question that was answered."""
        import numpy as np  # 13 MB that only this cache needs

        shelf = self._shelves.get((team, asked.context))
        if shelf is None or shelf.vectors.shape[1] != len(vector):  # another model embeds now
            self._count -= len(shelf.keys) if shelf is not None else 0
            shelf = self._shelves[team, asked.context] = _Shelf(np.zeros((0, len(vector)), np.float32))
        self._shelves.move_to_end((team, asked.context))
        shelf.add(unit(vector), marks(asked.text), key)
        self._count += 1
        while self._count > _MAX_VECTORS:
            self._forget()

    def clear(self) -> None:
        """Forgets everything."""
        self._shelves.clear()
        self._count = 0

    def _forget(self) -> None:
        name, shelf = next(iter(self._shelves.items()))
        if len(self._shelves) > 1:
            del self._shelves[name]
            self._count -= len(shelf.keys)
            return
        half = len(shelf.keys) // 2
        shelf.shorten(half)
        self._count -= half


def unit(vector: Sequence[float]) -> Vector:
    """The vector with length 1."""
    import numpy as np  # as above

    found = np.asarray(vector, dtype=np.float32)
    length = float(np.linalg.norm(found))
    return found / length if length else found


def likeness(one: Sequence[float], other: Sequence[float]) -> float:
    """The cosine similarity of two vectors."""
    return float(unit(one) @ unit(other))
