"""Rows of whatever people keep rows in, and columns put back: frames of polars and pandas by what they can do, lists, dicts of columns."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from aiplat_lab.core.errors import UsageError, did_you_mean

Kind = Literal["polars", "pandas", "dict", "records", "list"]
_TEXT_COLUMN = "value"
"""What the only column of a list of plain values is called."""


class Row(Mapping[str, Any]):  # Any: the user's values
    """One row: `{row}` is the value that is asked about, `{row.amount}` and `{row['the amount']}` are other columns."""

    __slots__ = ("_asked", "_values")

    def __init__(self, values: Mapping[str, Any], asked: str = "") -> None:  # Any: as in the class
        self._values = values
        self._asked = asked

    @property
    def asked_about(self) -> Any:  # Any: as in the class
        """The value that is asked about; the row itself where no column was named."""
        return self._values[self._asked] if self._asked else self

    def __getitem__(self, name: str) -> Any:  # Any: as in the class
        return self._values[name]

    def __iter__(self) -> Any:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __getattr__(self, name: str) -> Any:  # Any: as in the class
        if name.startswith("_") or name not in self._values:
            raise AttributeError(f"the rows have no column {name!r}.{did_you_mean(name, self._values)}")
        return self._values[name]

    def __str__(self) -> str:
        if self._asked:
            return str(self._values[self._asked])
        return json.dumps(dict(self._values), ensure_ascii=False, default=str)

    def __format__(self, spec: str) -> str:
        return format(self.asked_about, spec) if self._asked and spec else str(self)


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows with the names of their columns."""

    data: Any  # Any: the user's frame, list or dict
    kind: Kind
    columns: tuple[str, ...]
    asked: str
    """The column that is asked about; empty for the whole row."""
    count: int

    def __len__(self) -> int:
        return self.count

    def all(self) -> list[dict[str, Any]]:  # Any: the user's values
        """Every row, as a dict by column."""
        if self.kind == "polars":
            return [dict(zip(self.columns, one, strict=True)) for one in self.data.iter_rows()]
        if self.kind == "pandas":
            return [dict(zip(self.columns, one, strict=True)) for one in self.data.itertuples(index=False, name=None)]
        if self.kind == "dict":
            lists = [list(self.data[name]) for name in self.columns]
            return [dict(zip(self.columns, one, strict=True)) for one in zip(*lists, strict=True)]
        if self.kind == "records":
            return [{name: one.get(name) for name in self.columns} for one in self.data]
        return [{self.columns[0]: one} for one in self.data]

    def with_columns(self, new: Mapping[str, Sequence[Any]]) -> Any:  # Any: the same kind as `data`
        """The same rows with these columns beside or in place of their own; what was given is not changed."""
        if self.kind == "polars":
            series = type(self.data[:, 0]) if self.columns else None
            made = [_series(series, name, values) for name, values in new.items()] if series is not None else []
            return self.data.with_columns(made)
        if self.kind == "pandas":
            return self.data.assign(**{name: list(values) for name, values in new.items()})
        if self.kind == "dict":
            return {**self.data, **{name: list(values) for name, values in new.items()}}
        own = self.all()
        return [{**one, **{name: values[index] for name, values in new.items()}} for index, one in enumerate(own)]


def _series(kind: Any, name: str, values: Sequence[Any]) -> Any:  # Any: polars, which is not imported here
    """A column for polars: as it reads the values, or as texts where it cannot hold them together or there are none."""
    if all(one is None for one in values):
        return kind(name, list(values), dtype=sys.modules["polars"].String)
    try:
        return kind(name, list(values))
    except (TypeError, ValueError):
        return kind(name, [None if one is None else one if isinstance(one, str) else json.dumps(one, default=str) for one in values])


def rows_of(data: Any, column: str = "", *, name: str = "the rows") -> Rows:  # Any: whatever the user keeps rows in
    """The rows of a frame or series of polars or pandas, of a list of values or of dicts, or of a dict of columns.

    Args:
        data: what holds them.
        column: the column that is asked about; empty takes the only one, or the whole row.
        name: what people call it, for errors.

    Raises:
        UsageError: it holds no rows, or has no such column.
    """
    kind, data = _kind_of(data, name)
    columns = _columns(data, kind, name)
    if column and column not in columns:
        if not columns:
            raise UsageError(f"{name} has no columns, so there is no {column!r}. Nothing was sent.")
        near = did_you_mean(column, columns) or f" It has {', '.join(map(str, columns[:12]))}."
        raise UsageError(f"{name} has no column {column!r}.{near} Nothing was sent.")
    asked = column or (columns[0] if len(columns) == 1 else "")
    return Rows(data, kind, columns, asked, _count(data, kind, columns))


def _kind_of(data: Any, name: str) -> tuple[Kind, Any]:  # Any: as in `rows_of`
    library = type(data).__module__.partition(".")[0]
    if library in {"polars", "pandas"}:
        if type(data).__name__ == "LazyFrame":
            data = data.collect()
        if type(data).__name__ == "Series":
            data = data.to_frame(*([] if data.name else [_TEXT_COLUMN]))
        if type(data).__name__ == "DataFrame":
            return ("polars" if library == "polars" else "pandas"), data
    if isinstance(data, Mapping):
        return "dict", data
    if isinstance(data, Sequence) and not isinstance(data, str | bytes):
        first = next((one for one in data if one is not None), None)
        return ("records" if isinstance(first, Mapping) else "list"), data
    if hasattr(data, "tolist") and getattr(data, "ndim", 0) == 1:
        return "list", data.tolist()
    raise UsageError(
        f"{name} is a {type(data).__name__}, which holds no rows: give a data frame or series of polars or pandas, a list, or a dict of "
        "columns. Nothing was sent."
    )


def _columns(data: Any, kind: Kind, name: str) -> tuple[str, ...]:  # Any: as in `rows_of`
    if kind in {"polars", "pandas"}:
        found = tuple(str(one) for one in data.columns)
        twice = next((one for one in found if found.count(one) > 1), None)
        if twice is not None:
            raise UsageError(f"{name} has two columns {twice!r}; rename one. Nothing was sent.")
        return found
    if kind == "dict":
        lengths = {str(key): len(value) if _is_column(value) else -1 for key, value in data.items()}
        if -1 in lengths.values():
            wrong = next(key for key, length in lengths.items() if length < 0)
            raise UsageError(f"{name} is a dict, but its {wrong!r} is no list of values: give a list for each column. Nothing was sent.")
        if len(set(lengths.values())) > 1:
            said = ", ".join(f"{key} {length:,}" for key, length in list(lengths.items())[:6])
            raise UsageError(f"the columns of {name} are not of one length ({said}). Nothing was sent.")
        return tuple(lengths)
    if kind == "records":
        for index, one in enumerate(data):
            if not isinstance(one, Mapping):
                raise UsageError(f"{name}[{index}] is a {type(one).__name__}, where the others are dicts. Nothing was sent.")
        return tuple(dict.fromkeys(str(key) for one in data for key in one))
    return (_TEXT_COLUMN,)


def _is_column(value: Any) -> bool:  # Any: as in `rows_of`
    return hasattr(value, "__len__") and hasattr(value, "__iter__") and not isinstance(value, str | bytes | Mapping)


def _count(data: Any, kind: Kind, columns: Sequence[str]) -> int:  # Any: as in `rows_of`
    if kind == "dict":
        return len(data[columns[0]]) if columns else 0
    return int(data.shape[0]) if kind in {"polars", "pandas"} else len(data)


def is_empty(value: Any) -> bool:  # Any: the user's values
    """Whether there is nothing to ask about: None, NaN, NaT, NA, a text of spaces, an empty row."""
    if value is None:
        return True
    if isinstance(value, str):
        return not value.strip()
    if isinstance(value, Row):
        return all(is_empty(one) for one in value.values())
    if type(value).__name__ in {"NAType", "NaTType"}:
        return True
    return isinstance(value, float) and value != value
