"""The index of payloads says of each whether it is new, whatever came before and in whatever order."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from aiplat_lab.ledger import payloads
from aiplat_lab.ledger.payloads import PayloadIndex

PREFIX = st.integers(0, 2**64 - 1)


@settings(max_examples=60)
@given(st.sets(PREFIX, max_size=50), st.lists(st.lists(st.one_of(PREFIX, st.integers(0, 30)), max_size=20), max_size=30))
def test_it_agrees_with_a_set(stored: set[int], batches: list[list[int]]) -> None:
    before, payloads._MOST_NEW = payloads._MOST_NEW, 3
    try:
        index, known = PayloadIndex(sorted(stored)), set(stored)
        for batch in batches:
            wanted = [prefix not in known and prefix not in batch[:place] for place, prefix in enumerate(batch)]
            assert index.missing(batch) == wanted
            index.add(prefix for prefix, new in zip(batch, wanted, strict=True) if new)
            known.update(batch)
    finally:
        payloads._MOST_NEW = before


def test_runs_stay_few() -> None:
    index = PayloadIndex(range(100_000))
    for start in range(100_000, 400_000, 1000):
        index.add(range(start, start + 1000))
    assert len(index._runs) <= 6
    assert index.missing([0, 99_999, 399_999, 400_000]) == [False, False, False, True]
