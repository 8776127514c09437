"""A gateway that is killed under load: what was acknowledged is in the ledger, once."""

from __future__ import annotations

from pathlib import Path

import storm
from served import served


def test_calls_survive_a_gateway_that_is_killed(tmp_path: Path):
    with served(tmp_path / "home") as place:
        found = storm.run(place, kills=5)
        assert found.kills == 5 and len(found.acknowledged) > 20
        assert (found.lost, found.doubled, found.broken_chains, found.unexplained) == ([], [], [], [])
