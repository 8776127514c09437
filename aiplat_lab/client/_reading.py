"""Where rows come from: the gateway, or a sealed snapshot; the same answers from both."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from aiplat_lab.client._sending import HEADERS, MOST_SENDS, checked, encoded, error_of, pause_s
from aiplat_lab.client._wire import Connection, Pool, Reply, unreachable
from aiplat_lab.core.errors import AiplatError, LedgerError
from aiplat_lab.core.settings import Home
from aiplat_lab.core.types import utc_now
from aiplat_lab.gateway.reading import plain, plain_row, whole_call

_ARROW = "application/vnd.apache.arrow.stream"


class Reader(Protocol):
    """What can be read."""

    def query(self, sql: str, params: Any) -> bytes:  # Any: a list or a mapping of what SQL can bind
        """The rows of a read-only statement, as an Arrow IPC stream."""
        ...

    def view(self, name: str, filters: Mapping[str, Any]) -> bytes:
        """The rows of a named view, as an Arrow IPC stream."""
        ...

    def rows(self, name: str, filters: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The rows of a named view, as JSON holds them: money and times are text."""
        ...

    def call(self, call_id: str) -> dict[str, Any]:
        """One call with what was asked and answered."""
        ...

    def verify(self) -> dict[str, Any]:
        """Whether the hash chain holds."""
        ...


class GatewayReader:
    """Reads through the gateway."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def query(self, sql: str, params: Any) -> bytes:  # Any: as in `Reader`
        """As `Reader.query`."""
        return self._arrow("/api/query", {"sql": sql, "params": plain(params)})

    def view(self, name: str, filters: Mapping[str, Any]) -> bytes:
        """As `Reader.view`."""
        return self._arrow(f"/api/views/{quote(name, safe='')}", plain(filters))

    def rows(self, name: str, filters: Mapping[str, Any]) -> list[dict[str, Any]]:
        """As `Reader.rows`."""
        rows: list[dict[str, Any]] = self.ask("POST", f"/api/views/{quote(name, safe='')}", plain(filters))["rows"]
        return rows

    def call(self, call_id: str) -> dict[str, Any]:
        """As `Reader.call`."""
        found: dict[str, Any] = self.ask("GET", f"/api/calls/{call_id}")
        return found

    def ended(self, call_id: str, *, within_s: float) -> dict[str, Any] | None:
        """A call that has just ended, once it is recorded; None when that takes longer, or nobody answers. Starts no gateway."""
        target, end, pause_s = replace(self._pool.target, spawn=False), time.monotonic() + within_s, 0.005
        try:
            with Connection(target, target.locate(), dial_s=within_s) as connection:
                while (left_s := end - time.monotonic()) > 0:
                    reply = connection.ask("GET", f"/api/calls/{call_id}", HEADERS, timeout_s=left_s)
                    if reply.status == 200:
                        found: dict[str, Any] = reply.json()
                        return found
                    time.sleep(min(pause_s, left_s))
                    pause_s *= 2
        except (OSError, AiplatError):
            pass  # it is for a line under a failure that is told anyway
        return None

    def verify(self) -> dict[str, Any]:
        """As `Reader.verify`."""
        found: dict[str, Any] = self.ask("POST", "/api/verify", {})
        return found

    def ask(self, method: str, path: str, data: Any = None, *, again: bool = True) -> Any:  # Any: JSON
        """The JSON that a route answers.

        Args:
            method: of HTTP.
            path: the route.
            data: the body.
            again: whether the request may be sent twice; only where that does no harm.

        Raises:
            AiplatError: as the gateway says, or there is no gateway.
        """
        body = b"" if data is None else encoded(data)
        return checked(self._exchange(method, path, {**HEADERS, "Accept": "application/json"}, body, again=again))

    def _arrow(self, path: str, data: Any) -> bytes:  # Any: JSON
        body = encoded(data)
        reply = self._exchange("POST", path, {**HEADERS, "Accept": _ARROW}, body, again=True)
        if reply.status != 200:
            raise error_of(reply)
        return reply.body

    def _exchange(self, method: str, path: str, headers: dict[str, str], body: bytes, *, again: bool) -> Reply:
        sent = 0
        while True:
            connection = self._pool.take(fresh=sent > 0)
            sent += 1
            try:
                return connection.ask(method, path, headers, body)
            except OSError as error:
                if not again or sent >= MOST_SENDS:
                    raise unreachable(self._pool.target, error) from None
            finally:
                self._pool.give(connection)
            time.sleep(pause_s(sent))


class SnapshotReader:
    """Reads a sealed snapshot; no gateway is needed. The home's settings say where a day begins.

    Raises:
        LedgerError: the file is missing, damaged, or no snapshot.
    """

    def __init__(self, path: Path, home: Home) -> None:
        from aiplat_lab.ledger import Snapshot  # loads DuckDB, for readers of snapshots alone

        self._snapshot = Snapshot(path)
        self._home = home

    def query(self, sql: str, params: Any) -> bytes:  # Any: as in `Reader`
        """As `Reader.query`."""
        return self._snapshot.query(sql, params)

    def view(self, name: str, filters: Mapping[str, Any]) -> bytes:
        """As `Reader.view`."""
        return self._snapshot.view(name, self._moments(filters))

    def rows(self, name: str, filters: Mapping[str, Any]) -> list[dict[str, Any]]:
        """As `Reader.rows`."""
        return [plain_row(row) for row in self._snapshot.view_rows(name, self._moments(filters))]

    def call(self, call_id: str) -> dict[str, Any]:
        """As `Reader.call`."""
        rows = self._snapshot.view_rows("call", {"call_id": call_id})
        if not rows:
            raise LedgerError(f"the snapshot holds no call {call_id!r}; `aiplat calls --snapshot FILE` lists what it holds")
        return whole_call(rows[0], self._snapshot.payload)

    def verify(self) -> dict[str, Any]:
        """As `Reader.verify`."""
        found = self._snapshot.verify()
        return {"ok": found.ok, "rows": found.rows, "first_bad_seq": found.first_bad_seq, "reason": found.reason}

    def _moments(self, filters: Mapping[str, Any]) -> dict[str, Any]:
        if not any(isinstance(filters.get(name), str) for name in ("since", "until")):
            return dict(filters)
        from aiplat_lab.core.times import with_moments  # time zones cost a kernel's import 20 ms

        return with_moments(filters, now=utc_now(), time_zone=self._home.load().time_zone)

    def close(self) -> None:
        """Closes the file."""
        self._snapshot.close()
