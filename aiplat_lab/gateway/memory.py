"""Which calls were made before, so that a request sent twice is answered once."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, TypeAlias

from aiplat_lab.core.documents import request_document
from aiplat_lab.core.errors import AuthRefused, UsageError
from aiplat_lab.core.ids import id_time
from aiplat_lab.core.types import Clock, Request, Response, utc_now
from aiplat_lab.gateway.row import recorded
from aiplat_lab.ledger import Ledger

_MAX_CALLS = 8_000
Twin: TypeAlias = Callable[[Request], Awaitable[tuple[Request, Callable[[Response], Response]]]]


class Memory:
    """The calls of this process by id; older ones are looked up in the ledger.

    An id holds the time at which a client made it, so one that is younger than all that was forgotten and is not in memory is new,
    and needs no look-up.

    Args:
        ledger: where older calls are.
        twin: gives a request as it is recorded where it was masked, and what puts the originals back into the answer.
        clock: tells the time.
    """

    def __init__(self, ledger: Ledger, *, twin: Twin, clock: Clock = utc_now) -> None:
        self._ledger = ledger
        self._twin = twin
        self._ids: OrderedDict[str, None] = OrderedDict()
        self._complete_since: datetime = clock()

    def __contains__(self, call_id: str) -> bool:
        return call_id in self._ids

    def keep(self, call_id: str) -> None:
        """Remembers that a call was made."""
        self._ids[call_id] = None
        if len(self._ids) > _MAX_CALLS:
            oldest, _ = self._ids.popitem(last=False)
            self._complete_since = max(self._complete_since, id_time(oldest))

    async def recall(self, request: Request) -> Response | None:
        """The answer that a call of that id was given; None for a new call.

        Raises:
            AuthRefused: the call was made with another virtual key.
            UsageError: the call asked something else.
            AiplatError: the call ended otherwise; the same error as then, or `CallLost` when nobody knows.
        """
        call_id = request.call_id
        if call_id not in self._ids and id_time(call_id) > self._complete_since:
            return None
        row = await asyncio.to_thread(self._read, call_id)
        if row is None:
            return None
        key_id = request.attribution.key_id
        if key_id and key_id != row.get("key_id"):
            raise AuthRefused(f"the call {call_id} was made by somebody else; leave the call id out", policy="auth")
        masked = "masked" in (row.get("flags") or ())
        asked, restore = await self._twin(request) if masked else (request, None)
        if row.get("request_hash") and row["request_hash"] != request_document(asked).hash:
            raise UsageError(f"the call id {call_id} was used for another request; leave it out, or make a new one")
        payload = self._ledger.payload(row["response_hash"]) if row.get("response_hash") else None
        answer = recorded(row, payload)
        return answer if restore is None else restore(answer)

    def _read(self, call_id: str) -> Mapping[str, Any] | None:  # Any: a row's values
        rows = self._ledger.view_rows("call", {"call_id": call_id})
        return rows[0] if rows else None
