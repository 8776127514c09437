"""Which payloads the file holds already, so that each is stored once."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from heapq import merge

import duckdb

_FETCHED = 65_536
_MOST_NEW = 4096
_RATIO = 4
"""A run at least so much longer than the next is left alone when that one grows."""


class PayloadIndex:
    """Which payloads the file holds, by the first 8 bytes of their hash: 8 bytes a payload, in memory.

    They stand in sorted runs, each several times shorter than the one before, so that a payload is moved only a few times however
    many there are.
    """

    def __init__(self, prefixes: Iterable[int]) -> None:
        """Takes prefixes in rising order."""
        self._runs = [array("Q", prefixes)]
        self._new: set[int] = set()

    @classmethod
    def read(cls, con: duckdb.DuckDBPyConnection) -> PayloadIndex:
        """The index of the file's payloads."""
        found = cls(())
        result = con.execute("SELECT prefix FROM payloads ORDER BY prefix")
        while rows := result.fetchmany(_FETCHED):
            found._runs[0].extend(row[0] for row in rows)
        return found

    def missing(self, prefixes: Sequence[int]) -> list[bool]:
        """For each prefix, whether it stands neither in the file nor earlier in `prefixes`."""
        seen: set[int] = set()
        answer = []
        for prefix in prefixes:
            answer.append(prefix not in seen and prefix not in self._new and not self._holds(prefix))
            seen.add(prefix)
        return answer

    def add(self, prefixes: Iterable[int]) -> None:
        """Notes payloads that were committed."""
        self._new.update(prefixes)
        if len(self._new) > _MOST_NEW:
            run = array("Q", sorted(self._new))
            self._new = set()
            while len(self._runs) > 1 and len(self._runs[-1]) < _RATIO * len(run):
                run = array("Q", merge(self._runs.pop(), run))
            self._runs.append(run)

    def _holds(self, prefix: int) -> bool:
        for run in self._runs:
            place = bisect_left(run, prefix)
            if place < len(run) and run[place] == prefix:
                return True
        return False
