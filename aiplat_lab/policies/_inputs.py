"""What is known for certain of the number of input tokens, beyond that there are no more of them than bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence

from aiplat_lab.core.types import Call, Deployment, Price, Request
from aiplat_lab.policies._worst import REQUEST_TOKENS, message_bound

_MOST_KNOWN = 4_000
_FIRST_HEADS, _LAST_HEADS = 2, 4
"""So many of a conversation's first and last beginnings are remembered."""


class Inputs:
    """Bounds from what providers counted.

    The same question has the same number of tokens. Messages become tokens each for itself, so a conversation that begins with messages
    that were counted before, with others after them, has at most that count and the bytes of what is new. A deployment that once counted
    more than there are bytes may do so again.
    """

    def __init__(self) -> None:
        self._counted: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._heads: OrderedDict[tuple[str, int], int] = OrderedDict()
        self._excess: dict[str, int] = {}

    def of(self, call: Call, priced: Iterable[tuple[Deployment, Price]], bound: int, heads: Sequence[tuple[int, int]]) -> dict[str, int]:
        """Input tokens of the call at most, by the names of the deployments for which more is known than `bound`."""
        if not self._counted:
            return {}
        asked = str(call.state.get("request_hash", ""))
        known: dict[str, int] = {}
        for deployment, _ in priced:
            name = deployment.name
            counted = self._counted.get((name, asked))
            if counted is not None:
                known[name] = counted
                continue
            most = bound
            for head, rest in heads:
                before = self._heads.get((name, head))
                if before is not None and before + rest < most:
                    most = before + rest
            most += self._excess.get(name, 0)
            if most != bound:
                known[name] = most
        return known

    def learn(self, call: Call, counted: int, bound: int, heads: Sequence[tuple[int, int]]) -> None:
        """Notes what the provider counted for a call whose input has at most `bound` tokens."""
        if call.deployment is None:
            return
        name = call.deployment.name
        key = (name, str(call.state.get("request_hash", "")))
        self._counted[key] = max(counted, self._counted.pop(key, 0))
        if len(self._counted) > _MOST_KNOWN:
            self._counted.popitem(last=False)
        if counted - bound > self._excess.get(name, 0):
            self._excess[name] = counted - bound
        for head, _ in heads:
            before = self._heads.pop((name, head), counted)
            self._heads[name, head] = min(before, counted)
        while len(self._heads) > _MOST_KNOWN:
            self._heads.popitem(last=False)


def heads_of(request: Request) -> list[tuple[int, int]]:
    """The beginnings of a conversation that are worth remembering: a hash of each, and the most tokens of what follows it."""
    messages = request.messages
    if not messages or (request.body is not None and request.wire != "openai.chat"):
        return []
    settings = request.settings
    shaping = [settings.get(name) for name in ("tools", "functions", "response_format", "reasoning_effort")]
    mark = hash(repr(shaping)) if any(shaping) else 0
    marks: list[int] = []
    for message in messages:
        if not isinstance(message.content, str) or message.extra:
            break
        mark = hash((mark, message.role, message.content))
        marks.append(mark)
    rest = REQUEST_TOKENS + sum(message_bound(message) for message in messages[len(marks) :])
    found: list[tuple[int, int]] = []
    for index in range(len(marks) - 1, -1, -1):
        if index < _FIRST_HEADS or index >= len(marks) - _LAST_HEADS:
            found.append((marks[index], rest))
        rest += message_bound(messages[index])
    return found
