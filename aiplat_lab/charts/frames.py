"""From frames to the few plain rows that a chart carries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, TypeAlias

import polars

Row: TypeAlias = Mapping[str, Any]
Frame: TypeAlias = polars.DataFrame | Sequence[Row]
"""What a chart takes: a frame, or rows with the same columns."""

NONE_LABEL = "none given"
"""Shown for calls that named no team, project or user."""
OTHER_LABEL = "all others"
"""Shown for the sum of the names beyond those that are drawn."""


def records(frame: Frame) -> list[dict[str, Any]]:
    """The rows of a frame."""
    return frame.to_dicts() if isinstance(frame, polars.DataFrame) else [dict(row) for row in frame]


def label(value: object) -> str:
    """A name for display; an empty one says that none was given."""
    return str(value) if value not in (None, "") else NONE_LABEL


def number(value: Decimal | str | int | float | None) -> float | None:
    """A figure for drawing, with six significant digits so that a chart's data stay small; None stays None."""
    return None if value is None else float(f"{float(value):.6g}")


def day_text(value: date | datetime | str) -> str:
    """A day as `2026-11-01`."""
    return value[:10] if isinstance(value, str) else value.strftime("%Y-%m-%d")


def add(values: Iterable[Any]) -> Any:  # Any: Decimals or whole numbers, with None where a value is unknown
    """The sum of the known values; None when none is known."""
    known = [value for value in values if value is not None]
    return sum(known[1:], known[0]) if known else None


def ranked(rows: Iterable[Row], *, by: str, value: str) -> list[str]:
    """The names in column `by`, the one with the largest sum of `value` first."""
    sums: dict[str, Any] = {}
    for row in rows:
        name = label(row[by])
        sums[name] = sums.get(name, 0) + (row.get(value) or 0)
    return sorted(sums, key=lambda name: (-sums[name], name))
