"""The ledger: every call in an append-only, hash-chained record, and the one home of DuckDB and of SQL."""

from aiplat_lab.ledger._ledger import GATEWAY_LOST, Ledger, Receipt
from aiplat_lab.ledger.kinds import KINDS, check_record
from aiplat_lab.ledger.rows import CALL_COLUMNS, check_call
from aiplat_lab.ledger.snapshot import Snapshot
from aiplat_lab.ledger.verify import Anchor, Verification
from aiplat_lab.ledger.views import FILTERS, VIEWS, of_calls

__all__ = [
    "CALL_COLUMNS",
    "FILTERS",
    "GATEWAY_LOST",
    "KINDS",
    "VIEWS",
    "Anchor",
    "Ledger",
    "Receipt",
    "Snapshot",
    "Verification",
    "check_call",
    "check_record",
    "of_calls",
]
