"""The demo ledger: invented, marked, the same for the same seed, and real for whoever reads it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from aiplat_lab.core.errors import LedgerError
from aiplat_lab.core.settings import Home
from aiplat_lab.ledger import Ledger
from aiplat_lab.ledger.demo import build_demo

END = datetime(2026, 11, 20, 15, 30, tzinfo=UTC)


def made(folder: Path, *, seed: int = 7) -> Home:
    home = Home(folder)
    build_demo(home, calls=2500, days=60, seed=seed, clock=lambda: END)
    return home


def test_it_is_marked_complete_chained_and_has_what_a_page_shows(tmp_path: Path) -> None:
    home = made(tmp_path / "demo")
    settings = home.load()
    assert settings.currency == "GBP" and len(settings.budgets) == 4
    with Ledger.open(home) as ledger:
        assert ledger.view_rows("meta")[0]["demo"] is True
        assert ledger.verify().ok
        totals = ledger.view_rows("totals")[0]
        everyday = [
            row["calls"] for row in ledger.view_rows("filter_values") if row["kind"] == "surface" and row["value"] not in ("eval", "ab")
        ]
        assert sum(everyday) == 2500
        assert min(totals[name] for name in ("answered", "refused", "errors", "cancelled", "cache_hits", "unpriced_calls")) > 0
        assert totals["saved_usd"] > 0 and totals["cost_usd"] > 0
        assert totals["last_call_at"] <= END
        assert len({row["day"] for row in ledger.view_rows("spend_by_day")}) >= 55
        last = ledger.view_rows("recent_calls", {"limit": 1, "status": "ok", "team": "risk"})[0]
        row = ledger.view_rows("call", {"call_id": last["call_id"]})[0]
        assert ledger.payload(row["response_hash"]) is not None
        users = {value["value"] for value in ledger.view_rows("filter_values") if value["kind"] == "user_id"}
        assert all(user.startswith("user-") for user in users)


def test_the_same_seed_gives_the_same_calls(tmp_path: Path) -> None:
    heads = []
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        with Ledger.open(made(tmp_path / name, seed=seed)) as ledger:
            heads.append(
                [
                    (row["call_id"], row["hash"][:0])
                    for row in ledger.rows("SELECT call_id::VARCHAR AS call_id, hash FROM calls ORDER BY seq")
                ]
            )
    assert heads[0] == heads[1] != heads[2]


def test_a_ledger_that_is_there_is_never_touched(tmp_path: Path) -> None:
    home = made(tmp_path / "demo")
    with pytest.raises(LedgerError, match="holds a ledger already"):
        build_demo(home, calls=10)
