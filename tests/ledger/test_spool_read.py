"""Reading a segment that another thread seals in the same moment gives that segment's bytes, never the next one's."""

from __future__ import annotations

from pathlib import Path

from aiplat_lab.ledger.spool import Spool


def test_a_segment_sealed_since_its_position_was_taken_is_read_as_itself(tmp_path: Path) -> None:
    spool = Spool(tmp_path, number=1)
    spool.append(b"first\n" * 3)
    number, size = spool.number, spool.size
    spool.append(b"later\n")
    spool.rotate()
    spool.append(b"other\n" * 9)
    assert spool.read(number, 6, size) == b"first\n" * 2
    assert spool.read(spool.number, 0, 12) == b"other\n" * 2
    spool.close()
