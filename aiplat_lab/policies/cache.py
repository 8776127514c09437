"""The cache: the same question of the same team is answered from the ledger, and asked once where it is asked several times at once."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from aiplat_lab.core.documents import read_response, request_document
from aiplat_lab.core.errors import AiplatError, LedgerError
from aiplat_lab.core.registry import register
from aiplat_lab.core.settings import Settings
from aiplat_lab.core.types import Call, Clock, Request, Response, utc_now
from aiplat_lab.ledger import Ledger
from aiplat_lab.policies._flights import Flights, Landed
from aiplat_lab.policies._semantic import Key, Meanings, Question, question

_MAX_ENTRIES = 200_000
_MEGABYTE = 1_000_000
_ON_BY_ITSELF = frozenset({"magic", "report", "eval", "python", "cli", "ab"})
_COMPLETE = frozenset({"stop", "tool_calls"})
_HARMLESS_FLAGS = frozenset({"retried", "no_price", "no_usage", "over_budget", "over_reservation", "max_tokens_fitted"})
_HARMLESS_FLAGS |= {"cache_not_read", "semantic_not_read"}
_MASKED = "masked"
_MORE_THAN_TEXT = ("logprobs", "top_logprobs", "audio", "modalities", "thinking", "reasoning", "include")
_REPEATS = ("epoch", "draw")
_ZERO = Decimal(0)

Embed = Callable[[Call, str], Awaitable[Sequence[float]]]
"""Gives the vector of a text, asked for on behalf of a call."""


@dataclass(slots=True)
class _Entry:
    call_id: str
    ended_at: datetime
    response: Response | None
    """The answer while it is kept in memory."""
    size_bytes: int = 0


@dataclass(slots=True)
class _Asked:
    """What a call that may be kept is remembered by."""

    key: Key
    epoch: int
    question: Question | None = None
    vector: Sequence[float] = ()


@register("policy", "cache")
class Cache:
    """Answers a question that was answered before, for the same team and within the deployments it may use now.

    A hit costs nothing, and its baseline is what the first answer cost. Answers that broke off, were cut by a limit, were masked or
    came from a fallback are not kept. Of identical questions that come while the first is under way, one is asked.
    """

    name = "cache"

    def __init__(self, settings: Settings, ledger: Ledger, *, clock: Clock = utc_now) -> None:
        self._settings = settings.cache
        self._ledger = ledger
        self._clock = clock
        self._index: OrderedDict[Key, _Entry] = OrderedDict()
        self._kept: OrderedDict[Key, None] = OrderedDict()
        self._kept_bytes = 0
        self._flights = Flights()
        self._meanings = Meanings(self._settings.semantic_threshold)
        self._news: list[tuple[str, str]] = []
        self._epoch = 0
        self.embed: Embed | None = None
        """Gives the vectors of questions; whoever has the models sets it. Without it nothing is compared by meaning."""
        if self._settings.enabled and self._settings.ttl_s:
            self._fold()
        ledger.watch(("payload_erased", "cache_cleared"), self._recorded)

    async def before(self, call: Call) -> None:
        """Sets the call's response when there is one to give."""
        if self._news:
            self._catch_up()
        mode = self._mode(call)
        if mode == "off":
            return
        who = call.request.attribution
        digest = call.state.get("request_hash") or request_document(call.request).hash
        asked = _Asked((self._team(who.team), digest + repeat(who.surface, who.tags)), self._epoch)
        call.state[self.name] = asked
        call.cache = "miss"
        if mode == "refresh":
            return
        answer = await self._known(call, asked.key)
        if answer is None and self._settings.semantic:
            answer = await self._alike(call, asked)
        if answer is None and not self._flights.lead(asked.key, call.id):
            landed = await self._flights.follow(asked.key, call.id, within_s=_time_s(call))
            answer = landed.response if landed is not None and _may_be_from(call, landed.response) else None
        if answer is not None:
            self._give(call, answer)

    async def after(self, call: Call) -> None:
        """Keeps a complete answer, and gives it to whoever waits for the same one."""
        asked: _Asked | None = call.state.get(self.name)
        if asked is None or call.cache == "hit":
            return
        landed = None
        if call.cache == "miss" and call.response is not None and keepable(call):
            answer = replace(call.response, call_id=call.id, cost_usd=call.cost_usd, baseline_cost_usd=call.baseline_cost_usd)
            landed = Landed(call.id, answer)
            if self._settings.ttl_s and asked.epoch == self._epoch:
                self._put(asked.key, _Entry(call.id, call.ended_at or self._clock(), None))
                self._keep(asked.key, answer)
                if asked.question is not None and len(asked.vector):
                    self._meanings.keep(asked.key[0], asked.question, asked.vector, asked.key)
        self._flights.ended(asked.key, call.id, landed, failed=call.status != "ok", cancelled=call.status == "cancelled")

    async def foresee(self, call: Call) -> Response | None:
        """The answer that the call would be given now; nobody waits for it, and nothing is counted."""
        if self._news:
            self._catch_up()
        if self._mode(call) in ("off", "refresh"):
            return None
        who = call.request.attribution
        digest = call.state.get("request_hash") or request_document(call.request).hash
        return await self._known(call, (self._team(who.team), digest + repeat(who.surface, who.tags)))

    def looks(self, call: Call) -> str:
        """Whether the cache is asked for this call: `on`, `refresh` (asked again, and kept) or `off`."""
        return self._mode(call)

    def state(self) -> list[dict[str, Any]]:  # Any: JSON
        """What is kept now, by team: answers, and those in memory with the megabytes they take."""
        if self._news:
            self._catch_up()
        found: dict[str, dict[str, Any]] = {}
        for (team, _), entry in self._index.items():
            row = found.setdefault(team, {"team": team, "answers": 0, "in_memory": 0, "memory_mb": 0.0})
            row["answers"] += 1
            row["in_memory"] += entry.response is not None
            row["memory_mb"] += entry.size_bytes / _MEGABYTE
        return [{**row, "memory_mb": round(row["memory_mb"], 3)} for _, row in sorted(found.items())]

    # --- asking -----------------------------------------------------------------------------------------------------

    def _team(self, team: str) -> str:
        return "" if self._settings.shared else team

    def _mode(self, call: Call) -> str:
        request = call.request
        if not self._settings.enabled or _MASKED in call.flags or more_than_text(request):
            return "off"
        if request.cache != "auto":
            return request.cache
        if request.attribution.surface in _ON_BY_ITSELF:
            return "on"
        settled = request.settings.get("temperature") == 0 or request.settings.get("seed") is not None
        return "on" if settled or request.operation == "embed" else "off"

    async def _known(self, call: Call, key: Key) -> Response | None:
        """The answer that is kept, where the call may have it."""
        try:
            answer = await self._find(key)
        except (LedgerError, ValueError, KeyError, TypeError, AttributeError):  # a damaged payload can hold anything
            call.flags.append("cache_not_read")
            self._drop(key)
            return None
        return answer if answer is not None and _may_be_from(call, answer) else None

    async def _alike(self, call: Call, asked: _Asked) -> Response | None:
        """The answer to a question that means the same."""
        asked.question = question(call.request)
        if asked.question is None or self.embed is None:
            return None
        try:
            asked.vector = await self.embed(call, asked.question.text)
        except (AiplatError, IndexError):  # it was refused or failed, and stands in the ledger; the question is asked as if it were new
            call.flags.append("semantic_not_read")
            return None
        for near in self._meanings.near(asked.key[0], asked.question, asked.vector):
            answer = await self._known(call, near.key)
            if answer is not None:
                call.flags.append("semantic_hit")
                call.notes["cache-similarity"] = f"{near.similarity:.3f}"
                return answer
        return None

    def _give(self, call: Call, answer: Response) -> None:
        call.response = replace(answer, flags=())
        call.cache, call.policy = "hit", self.name
        call.cost_usd, call.baseline_cost_usd = _ZERO, answer.cost_usd
        if answer.call_id:
            call.notes["cache-of"] = answer.call_id
            if not call.request.parent_id:
                call.request = replace(call.request, parent_id=answer.call_id)

    async def _find(self, key: Key) -> Response | None:
        entry = self._index.get(key)
        if entry is None:
            return None
        if self._clock() - entry.ended_at > timedelta(seconds=self._settings.ttl_s):
            self._drop(key)
            return None
        if entry.response is None:
            answer = await asyncio.to_thread(self._read, entry.call_id)
            if answer is None:
                self._drop(key)
                return None
            self._keep(key, answer)
            return answer
        self._kept.move_to_end(key)
        return entry.response

    def _read(self, call_id: str) -> Response | None:
        """The recorded answer, or None when its payload was erased."""
        for row in self._ledger.view_rows("call", {"call_id": call_id}):
            payload = self._ledger.payload(row["response_hash"]) if row.get("response_hash") else None
            if payload is not None:
                return read_response(row, payload)
        return None

    # --- records ----------------------------------------------------------------------------------------------------

    def _recorded(self, kind: str, row: Mapping[str, Any]) -> None:  # Any: JSON
        """Notes what was erased or cleared; whichever thread tells, the loop acts on it before the next look."""
        self._news.append((kind, str(row.get("team") or "")))

    def _catch_up(self) -> None:
        news, self._news = self._news, []
        for kind, team in news:
            self._epoch += 1
            if kind == "payload_erased":
                for key in list(self._kept):
                    self._forget(key)  # the ledger says what is left
                continue
            everything = not team or self._settings.shared
            for key in [key for key in self._index if everything or key[0] == team]:
                self._drop(key)
            if everything:
                self._meanings.clear()

    def _fold(self) -> None:
        since = self._clock() - timedelta(seconds=self._settings.ttl_s)
        rows: list[Mapping[str, Any]] = list(self._ledger.view_rows("cache_index", {"since": since, "limit": _MAX_ENTRIES}))
        for row in reversed(rows):
            at = row["ended_at"]
            at = at if at.tzinfo else at.replace(tzinfo=UTC)
            asked = row["request_hash"] + repeat(row["surface"], {name: row[name] or "" for name in _REPEATS})
            self._put((self._team(row["team"] or ""), asked), _Entry(row["call_id"], at, None))

    # --- the index --------------------------------------------------------------------------------------------------

    def _put(self, key: Key, entry: _Entry) -> None:
        self._drop(key)
        self._index[key] = entry
        while len(self._index) > _MAX_ENTRIES:
            self._drop(next(iter(self._index)))

    def _keep(self, key: Key, answer: Response) -> None:
        """Keeps an answer in memory, in place of the ones that were longest unused; a very large one stays in the ledger."""
        entry = self._index.get(key)
        most = self._settings.max_mb * _MEGABYTE
        if entry is None or _size_bytes(answer) > most:
            return
        self._forget(key)
        entry.response, entry.size_bytes = answer, _size_bytes(answer)
        self._kept[key] = None
        self._kept_bytes += entry.size_bytes
        while self._kept_bytes > most and self._kept:
            self._forget(next(iter(self._kept)))

    def _forget(self, key: Key) -> None:
        """Leaves the entry in the index and its answer to the ledger."""
        if key in self._kept:
            del self._kept[key]
            entry = self._index[key]
            self._kept_bytes -= entry.size_bytes
            entry.response, entry.size_bytes = None, 0

    def _drop(self, key: Key) -> None:
        self._forget(key)
        self._index.pop(key, None)


def repeat(surface: str | None, tags: Mapping[str, str]) -> str:
    """What tells the repeats of one question in an evaluation apart: its later epochs and draws never read each other's answers."""
    later = [f"{name}={tags[name]}" for name in _REPEATS if tags.get(name) not in (None, "", "1")]
    return "#" + ",".join(later) if surface == "eval" and later else ""


def keepable(call: Call) -> bool:
    """Whether the answer of `call` is whole and plain enough to be given again."""
    if call.status != "ok" or call.response is None:
        return False
    if call.request.operation == "chat" and call.response.finish_reason not in _COMPLETE:
        return False
    return not ({*call.flags, *call.response.flags} - _HARMLESS_FLAGS)


def more_than_text(request: Request) -> bool:
    """Whether a stream would be asked for what its pieces, as they are kept, do not hold: several answers, log-probs, thoughts."""
    if not request.stream:
        return False
    asked = [request.settings, *([request.body] if request.body is not None else [])]
    several = request.settings.get("n")
    return (isinstance(several, int) and several > 1) or any(one.get(name) for one in asked for name in _MORE_THAN_TEXT)


def _may_be_from(call: Call, answer: Response) -> bool:
    """Whether the call could have been sent where an answer comes from."""
    return any(one.provider == answer.provider and one.region == answer.region for one in call.deployments)


def _time_s(call: Call) -> float:
    """The longest that a call waits for another one's answer."""
    longest = max((one.timeout_s for one in call.deployments), default=120.0)
    if call.request.timeout_s is None:
        return longest
    spent_s = asyncio.get_running_loop().time() - float(call.state.get("began", asyncio.get_running_loop().time()))
    return max(0.0, min(longest, call.request.timeout_s - spent_s))


def _size_bytes(answer: Response) -> int:
    """About what an answer takes in memory."""
    vectors = 32 * sum(len(vector) for vector in answer.embeddings)
    return (
        1000
        + 2 * len(answer.text)
        + vectors
        + (4 * len(answer.text) if answer.body else 0)
        + sum(len(str(one)) for one in answer.tool_calls)
    )
