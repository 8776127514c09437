"""What a call will probably take: input tokens from its bytes, output tokens from how long answers of its task are.

Estimates never admit a call that its worst case would keep out (see `budget`); they say what is expected to be spent, and how much
room a call without a limit of its own is given when money is scarce.

**Input.** Bytes are counted by kind (letters, capitals, digits, marks, spaces, other scripts), each with the tokens that a byte of it
takes in common vocabularies. What a provider counts, over that sum, is a ratio that stays within narrow limits for one model and one
kind of text; the highest of the recent ones, with some room that shrinks as they become more, gives the estimate. Before a model has
counted anything for a kind of text, a token is taken for 2.5 bytes, and for 1.3 bytes of what looks like base64.

**Output.** The recent answers of a model for one task: the prompt by its name, else the shape of the request (surface, tools, format,
system message).
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from aiplat_lab.core.types import Request
from aiplat_lab.policies._worst import text_bytes

FIRST_RATIO, FIRST_DENSE_RATIO = 0.40, 0.75
"""Tokens a byte before a model has counted any text of the kind: of ordinary text, and of base64 and the like."""
ENOUGH_ANSWERS = 8
"""So many answers of one task say how long its answers are."""
_SAMPLE_BYTES = 4_096
_MESSAGE_TOKENS, _REQUEST_TOKENS = 4, 3
_RECENT, _RECENT_ANSWERS = 200, 100
_FEW = 4
_MOST_TASKS = 4_000
_LOWER, _SPACE, _DIGIT, _MARK, _UPPER, _OTHER = range(6)
_WEIGHTS = (0.19, 0.05, 0.36, 0.55, 0.62, 0.26)
"""Tokens that a byte of each kind takes, roughly, in the vocabularies of today."""


def _kinds() -> bytes:
    table = bytearray([_MARK]) * 256
    for byte in range(256):
        if byte >= 128:
            table[byte] = _OTHER
        elif chr(byte).isspace():
            table[byte] = _SPACE
        elif chr(byte).isdigit():
            table[byte] = _DIGIT
        elif chr(byte).isalpha():
            table[byte] = _UPPER if chr(byte).isupper() else _LOWER
    return bytes(table)


_TABLE = _kinds()


class Size(NamedTuple):
    """The size of a request's input."""

    kind: str
    """What most of its text is: `prose`, `marks` (code, JSON), `digits`, `dense` (base64, hashes) or `script` (not Latin)."""
    units: float
    """Roughly its tokens, before a model's own ratio."""
    raw_bytes: int
    framing: int
    """Tokens around its messages."""

    @property
    def unlearned(self) -> float:
        """The tokens it is taken for while nothing is known."""
        return self.raw_bytes * (FIRST_DENSE_RATIO if self.kind == "dense" else FIRST_RATIO) + 2 * self.framing


def size_of(request: Request) -> Size:
    """How large the input of a request is; of a long one, an even sample of its bytes is looked at."""
    raw = text_bytes(request)
    total = len(raw)
    framing = _REQUEST_TOKENS + _MESSAGE_TOKENS * (len(request.messages) or len(request.inputs))
    if not total:
        return Size("prose", float(framing), 0, framing)
    step = max(1, total // _SAMPLE_BYTES)
    kinds = (raw[::step] if step > 1 else raw).translate(_TABLE)
    counts = [kinds.count(kind) for kind in range(6)]
    seen = len(kinds)
    units = sum(count * weight for count, weight in zip(counts, _WEIGHTS, strict=True)) * total / seen
    return Size(_kind(counts, seen), units + framing, total, framing)


def _kind(counts: list[int], seen: int) -> str:
    if counts[_OTHER] * 10 >= seen * 3:
        return "script"
    if counts[_DIGIT] * 10 >= seen * 4:
        return "digits"
    if (counts[_SPACE] + counts[_MARK]) * 100 < seen * 9:
        return "dense"
    return "marks" if counts[_MARK] * 100 >= seen * 9 else "prose"


class _Ratios:
    """The recent ratios of one model and one kind of text."""

    __slots__ = ("_most", "_recent", "high")

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=_RECENT)
        self._most = 0.0
        self.high = 0.0
        """What the ratio is taken for."""

    def __len__(self) -> int:
        return len(self._recent)

    def learn(self, ratio: float) -> None:
        """Takes in one more."""
        recent = self._recent
        leaves = recent[0] if len(recent) == _RECENT else 0.0
        recent.append(ratio)
        self._most = max(recent) if leaves == self._most else max(self._most, ratio)
        self.high = self._most * (1.02 + 0.35 / math.sqrt(len(recent)))


class Answers(NamedTuple):
    """How long answers of a task are, in tokens."""

    mean: float
    most: int
    known: int
    """So many answers say so."""


class _Sizes:
    """The recent answers of one model and task."""

    __slots__ = ("_recent", "_sum", "so_far")

    def __init__(self) -> None:
        self._sum = 0
        self._recent: deque[int] = deque(maxlen=_RECENT_ANSWERS)
        self.so_far = Answers(0.0, 0, 0)

    def learn(self, tokens: int) -> None:
        """Takes in one more."""
        recent = self._recent
        if len(recent) == _RECENT_ANSWERS:
            self._sum -= recent[0]
        recent.append(tokens)
        self._sum += tokens
        self.so_far = Answers(self._sum / len(recent), max(recent), len(recent))


@dataclass(frozen=True, slots=True)
class Expected:
    """What a call will probably take of one deployment."""

    input_tokens: int
    output: Answers | None
    """None while too few answers are known."""


class Estimates:
    """What was learned of models and tasks; kept in memory."""

    def __init__(self) -> None:
        self._ratios: dict[tuple[str, str], _Ratios] = {}
        self._answers: OrderedDict[tuple[str, str], _Sizes] = OrderedDict()

    def input_tokens(self, deployment: str, size: Size) -> int:
        """Input tokens that a call of this size will hardly exceed."""
        own = self._ratios.get((deployment, size.kind))
        if own is not None and len(own) >= _FEW:
            return math.ceil(size.units * own.high)
        return math.ceil(max(size.unlearned, size.units * own.high if own is not None else 0.0))

    def output(self, deployment: str, task: str) -> Answers | None:
        """How long the answers of a task are; of all that the model gave where too few of the task are known."""
        for key in ((deployment, task), (deployment, "")):
            found = self._answers.get(key)
            if found is not None and found.so_far.known >= ENOUGH_ANSWERS:
                return found.so_far
        return None

    def learn_input(self, deployment: str, size: Size, counted: int) -> None:
        """Notes what the provider counted for an input of this size."""
        if size.units > 0 and counted > 0 and len(self._ratios) < _MOST_TASKS:
            self._ratios.setdefault((deployment, size.kind), _Ratios()).learn(counted / size.units)

    def learn_output(self, deployment: str, task: str, tokens: int) -> None:
        """Notes how long an answer was."""
        for key in {(deployment, task), (deployment, "")}:
            found = self._answers.get(key)
            if found is None:
                found = self._answers[key] = _Sizes()
                if len(self._answers) > _MOST_TASKS:
                    self._answers.popitem(last=False)
            found.learn(tokens)

    def fold(self, rows: Iterable[Mapping[str, Any]], deployment_of: Mapping[tuple[str, str], str]) -> None:  # Any: a row's values
        """Takes in what the view `answer_sizes` gives, newest first.

        Args:
            rows: the rows.
            deployment_of: the name of the deployment by requested model and provider.
        """
        for row in reversed(list(rows)):
            name = deployment_of.get((str(row["request_model"]), str(row["provider"])))
            if name is not None:
                prompt = row["prompt_name"]
                self.learn_output(name, f"prompt {prompt}" if prompt else "", int(row["output_tokens"]))


def task_of(request: Request) -> str:
    """The task of a request: its prompt by name, else its shape."""
    who = request.attribution
    if who.prompt_name:
        return f"prompt {who.prompt_name}"
    settings = request.settings
    first = request.messages[0] if request.messages else None
    system = hash(first.content) if first is not None and first.role in ("system", "developer") and isinstance(first.content, str) else 0
    return f"{who.surface} {bool(settings.get('tools'))} {bool(settings.get('response_format'))} {system}"
