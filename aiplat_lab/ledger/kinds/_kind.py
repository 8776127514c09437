"""What the kind of a record is: its fields, checked when it is written and typed when it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

from aiplat_lab.core.errors import UsageError, did_you_mean

FieldType = Literal["text", "whole", "number", "bool", "usd", "time", "json"]
SQL_TYPES: Mapping[FieldType, str] = {
    "text": "VARCHAR",
    "whole": "BIGINT",
    "number": "DOUBLE",
    "bool": "BOOLEAN",
    "usd": "DECIMAL(18,9)",
    "time": "TIMESTAMP",
    "json": "JSON",
}
_PYTHON: Mapping[FieldType, tuple[type, ...]] = {
    "text": (str,),
    "whole": (int,),
    "number": (int, float),
    "bool": (bool,),
    "usd": (str, int, Decimal),
    "time": (str, datetime),
}
_SAID: Mapping[FieldType, str] = {
    "text": "a text",
    "whole": "a whole number",
    "number": "a number",
    "bool": "true or false",
    "usd": 'US dollars as a text such as "0.25"',
    "time": "a time such as 2026-11-26T09:00:00Z",
}


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a record."""

    type: FieldType
    doc: str
    required: bool = False


@dataclass(frozen=True, slots=True)
class Kind:
    """The kind of a record."""

    doc: str
    """What one record of it says, for people."""
    view: str
    """The name of the typed view over its records: columns `seq`, `recorded_at`, `id`, then the fields."""
    fields: Mapping[str, Field]
    needs_id: bool = True
    """Whether each record carries an `id`, by which the views fold what was sent twice."""

    def check(self, kind: str, row: Mapping[str, Any]) -> None:  # Any: JSON
        """Lets a row pass that holds what the kind's records hold.

        Raises:
            UsageError: a field is unknown, missing or of another type; the text names it.
        """
        for name in row:
            if name not in self.fields and name not in ("id", "at"):
                raise UsageError(f"a {kind} has no field {name!r}.{did_you_mean(str(name), self.fields)}")
        if self.needs_id and not (isinstance(row.get("id"), str) and row["id"]):
            raise UsageError(f"a {kind} needs an id")
        for name, spec in self.fields.items():
            value = row.get(name)
            if value is None:
                if spec.required:
                    raise UsageError(f"a {kind} needs {name}: {spec.doc}")
            elif not _fits(spec.type, value):
                raise UsageError(f"{name} of a {kind} must be {_SAID[spec.type]}, not {str(value)[:40]!r}")

    def as_view(self, kind: str) -> str:
        """The SELECT of its typed view."""
        shape = "{" + ",".join(f'"{name}":"{SQL_TYPES[spec.type]}"' for name, spec in self.fields.items()) + "}"
        fields = "".join(f', json_transform(data, \'{shape}\')."{name}" AS "{name}"' for name in self.fields)
        return f"SELECT seq, recorded_at, id{fields} FROM records WHERE kind = '{kind}'"


def _fits(kind: FieldType, value: Any) -> bool:  # Any: JSON
    if kind == "json":
        return True
    if isinstance(value, bool) is not (kind == "bool"):
        return False
    if not isinstance(value, _PYTHON[kind]):
        return False
    try:
        if kind == "usd":
            return Decimal(str(value)).is_finite()
        if kind == "time" and isinstance(value, str):
            datetime.fromisoformat(value)
    except (ValueError, InvalidOperation):
        return False
    return True
