"""kill -9 at any moment: nothing that was acknowledged is lost or doubled, and the chain holds each time."""

from __future__ import annotations

from pathlib import Path

from ledger.killing import kill_rounds


def test_what_was_acknowledged_survives_ten_kills(tmp_path: Path) -> None:
    result = kill_rounds(tmp_path / "home", rounds=10, deadline_s=25)
    assert result.acked > 50
    assert (result.lost, result.doubled, result.broken) == (0, 0, 0)
