"""Rows: one question for each row of a frame, a list or a dict of columns; duplicates are paid once, and so is what was answered before.

```python
from aiplat_lab import map_rows

found = map_rows(tickets, "Which team should answer this ticket: {text}?", into="team", workers=16, max_cost=2)
tickets = found.frame
```
"""

from __future__ import annotations

from aiplat_lab.rows._engine import Ending, Engine, Result
from aiplat_lab.rows._map import amap_rows, map_rows
from aiplat_lab.rows._mapped import Mapped, raised
from aiplat_lab.rows._source import Row, Rows, is_empty, rows_of

__all__ = ["Ending", "Engine", "Mapped", "Result", "Row", "Rows", "amap_rows", "is_empty", "map_rows", "raised", "rows_of"]
