"""The exact cache: the same question of the same team is answered from the ledger."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from aiplat_lab.core.documents import read_response, request_document
from aiplat_lab.core.errors import LedgerError
from aiplat_lab.core.registry import register
from aiplat_lab.core.settings import Settings
from aiplat_lab.core.types import Call, Clock, Request, Response, utc_now
from aiplat_lab.ledger import Ledger

_MAX_ENTRIES = 200_000
_MAX_KEPT_BYTES = 64 * 1024 * 1024
_ON_BY_ITSELF = frozenset({"magic", "report", "eval", "python", "cli", "ab"})
_COMPLETE = frozenset({"stop", "tool_calls"})
_HARMLESS_FLAGS = frozenset({"retried", "no_price", "no_usage", "over_budget", "over_reservation", "max_tokens_fitted"})
_REPEATS = ("epoch", "draw")
_ZERO = Decimal(0)


@dataclass(slots=True)
class _Entry:
    call_id: str
    ended_at: datetime
    response: Response | None
    """The answer while it is kept in memory."""
    size_bytes: int = 0


@register("policy", "cache")
class Cache:
    """Answers a question that was answered before, for the same team and within the deployments it may use now.

    A hit costs nothing, and its baseline is what the first answer cost. Answers that broke off, were cut by a limit or came from
    a fallback are not kept.
    """

    name = "cache"

    def __init__(self, settings: Settings, ledger: Ledger, *, clock: Clock = utc_now) -> None:
        self._settings = settings.cache
        self._ledger = ledger
        self._clock = clock
        self._index: OrderedDict[tuple[str, str], _Entry] = OrderedDict()
        self._kept: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._kept_bytes = 0
        if self._settings.enabled:
            self._fold()

    async def before(self, call: Call) -> None:
        """Sets the call's response when there is one to give."""
        mode = self._mode(call.request)
        if mode == "off":
            return
        who = call.request.attribution
        asked = call.state.get("request_hash") or request_document(call.request).hash
        key = (who.team, asked + repeat(who.surface, who.tags))
        call.state[self.name] = key
        call.cache = "miss"
        if mode == "refresh":
            return
        try:
            answer = await self._find(key)
        except LedgerError:
            call.flags.append("cache_not_read")
            return
        if answer is None or not any(one.provider == answer.provider and one.region == answer.region for one in call.deployments):
            return
        call.response = replace(answer, flags=())
        call.cache, call.policy = "hit", self.name
        call.cost_usd, call.baseline_cost_usd = _ZERO, answer.cost_usd

    async def after(self, call: Call) -> None:
        """Keeps a complete answer."""
        key = call.state.get(self.name)
        if key is None or call.cache != "miss" or call.response is None or not keepable(call):
            return
        answer = replace(call.response, cost_usd=call.cost_usd, baseline_cost_usd=call.baseline_cost_usd)
        self._put(key, _Entry(call.id, call.ended_at or self._clock(), None))
        self._keep(key, answer)

    def _mode(self, request: Request) -> str:
        if not self._settings.enabled:
            return "off"
        if request.cache != "auto":
            return request.cache
        if request.attribution.surface in _ON_BY_ITSELF:
            return "on"
        settled = request.settings.get("temperature") == 0 or request.settings.get("seed") is not None
        return "on" if settled or request.operation == "embed" else "off"

    async def _find(self, key: tuple[str, str]) -> Response | None:
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

    def _fold(self) -> None:
        since = self._clock() - timedelta(seconds=self._settings.ttl_s)
        rows: list[Mapping[str, Any]] = list(self._ledger.view_rows("cache_index", {"since": since, "limit": _MAX_ENTRIES}))
        for row in reversed(rows):
            at = row["ended_at"]
            at = at if at.tzinfo else at.replace(tzinfo=UTC)
            asked = row["request_hash"] + repeat(row["surface"], {name: row[name] or "" for name in _REPEATS})
            self._put((row["team"] or "", asked), _Entry(row["call_id"], at, None))

    def _put(self, key: tuple[str, str], entry: _Entry) -> None:
        self._drop(key)
        self._index[key] = entry
        while len(self._index) > _MAX_ENTRIES:
            self._drop(next(iter(self._index)))

    def _keep(self, key: tuple[str, str], answer: Response) -> None:
        entry = self._index.get(key)
        if entry is None:
            return
        self._forget(key)
        entry.response, entry.size_bytes = answer, _size_bytes(answer)
        self._kept[key] = None
        self._kept_bytes += entry.size_bytes
        while self._kept_bytes > _MAX_KEPT_BYTES and self._kept:
            self._forget(next(iter(self._kept)))

    def _forget(self, key: tuple[str, str]) -> None:
        """Leaves the entry in the index and its answer to the ledger."""
        if key in self._kept:
            del self._kept[key]
            entry = self._index[key]
            self._kept_bytes -= entry.size_bytes
            entry.response, entry.size_bytes = None, 0

    def _drop(self, key: tuple[str, str]) -> None:
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
