"""The chain is checked as it stood when the check began, whatever is loaded meanwhile."""

from __future__ import annotations

from typing import Any

from aiplat_lab.core.settings import Home
from aiplat_lab.ledger import Ledger
from aiplat_lab.ledger.verify import verify


class Busy:
    """A connection behind whose back rows are recorded and loaded between two statements."""

    def __init__(self, con: Any, ledger: Ledger) -> None:
        self._con, self._ledger = con, ledger

    def execute(self, *args: Any) -> Any:
        found = self._con.execute(*args)
        if not args[0].startswith(("BEGIN", "ROLLBACK")):
            self._ledger.record("note", {"id": "n", "text": "meanwhile"})
            self._ledger.view_rows("meta", {})  # reading loads
        return found


def test_rows_that_are_loaded_during_a_check_are_no_gap(home: Home):
    with Ledger.open(home) as ledger:
        for number in range(5):
            ledger.record("note", {"id": f"n{number}", "text": "before"})
        ledger.view_rows("meta", {})
        with ledger._store.cursor() as con:
            found = verify(Busy(con, ledger))  # type: ignore[arg-type]
        assert (found.ok, found.rows, found.reason) == (True, 5, "")
        assert ledger.verify().ok
