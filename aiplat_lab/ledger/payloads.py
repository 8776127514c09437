"""Which payloads the file holds already, so that each is stored once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import duckdb
import numpy as np
import numpy.typing as npt


class PayloadIndex:
    """Which payloads the file holds, by the first 8 bytes of their hash: 8 bytes a payload, in memory."""

    def __init__(self, prefixes: npt.NDArray[np.uint64]) -> None:
        self._sorted = np.sort(prefixes)
        self._new: set[int] = set()

    @classmethod
    def read(cls, con: duckdb.DuckDBPyConnection) -> PayloadIndex:
        """The index of the file's payloads."""
        found = con.sql("SELECT prefix FROM payloads").fetchnumpy()["prefix"]
        return cls(np.asarray(found, dtype=np.uint64))

    def missing(self, prefixes: Sequence[int]) -> list[bool]:
        """For each prefix, whether it stands neither in the file nor earlier in `prefixes`."""
        wanted = np.asarray(prefixes, dtype=np.uint64)
        places = np.searchsorted(self._sorted, wanted)
        found = np.zeros(len(wanted), dtype=bool)
        inside = places < len(self._sorted)
        found[inside] = self._sorted[places[inside]] == wanted[inside]
        seen: set[int] = set()
        answer = []
        for prefix, there in zip(prefixes, found.tolist(), strict=True):
            answer.append(not there and prefix not in self._new and prefix not in seen)
            seen.add(prefix)
        return answer

    def add(self, prefixes: Iterable[int]) -> None:
        """Notes payloads that were committed."""
        self._new.update(prefixes)
        if len(self._new) > 50_000:
            self._sorted = np.sort(np.concatenate([self._sorted, np.fromiter(self._new, dtype=np.uint64, count=len(self._new))]))
            self._new = set()
