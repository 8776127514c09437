"""What a named view is: SQL over a source of rows that can be filtered first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple
from uuid import UUID

from aiplat_lab.core.errors import QueryError, did_you_mean

CALL_FILTERS: Mapping[str, str] = {
    "team": "team",
    "project": "project",
    "model": "request_model",
    "provider": "provider",
    "surface": "surface",
    "status": "status",
    "user_id": "user_id",
    "notebook": "notebook",
    "prompt": "prompt_name",
    "experiment": "experiment",
    "call_id": "call_id",
}
"""The filters of a view over calls, with the columns they look at."""
PERIOD = ("since", "until")
PAGE = ("limit", "offset")
FILTERS: tuple[str, ...] = (*PERIOD, *CALL_FILTERS, *PAGE)
"""What a view over calls may be asked with; `since` is included, `until` is not, an empty text means calls that name none."""


class Query(NamedTuple):
    """A statement and its bound values."""

    sql: str
    params: list[Any]  # Any: what a filter holds


@dataclass(frozen=True, slots=True)
class View:
    """A named question.

    Asked with filters, its SQL reads a `rows_as` that was filtered first; in the ledger's file it stands as a view of the same
    name over all rows of its source.
    """

    doc: str
    """What it gives, for people."""
    sql: str
    """One SELECT over `rows_as`, without limit."""
    limit: int | None = None
    """How many rows at most when nothing else is said."""
    whole: bool = True
    """Whether it makes sense without filters, and so stands as a view in the file."""
    needs: str = ""
    """A filter it cannot do without."""
    source: str = "call_rows"
    """The table or view that the filters apply to; empty when it takes none."""
    rows_as: str = "calls"
    """The name under which `sql` reads the filtered source; another name than the source's own."""
    time: str = "started_at"
    """The source's column that `since` and `until` look at; empty when it has none."""
    columns: Mapping[str, str] = field(default_factory=lambda: CALL_FILTERS)
    """The filters it takes beside the period and the page, with the source's columns; or with a condition in which `{}` stands
    for the value."""
    amounts: tuple[str, ...] = ()
    """Numbers that its SQL reads as `:name`; it cannot do without them, and they filter nothing."""

    then: Mapping[str, str] = field(default_factory=dict)
    """Further filters, on columns of the result."""
    order: str = ""
    """The order of the rows, where `sql` leaves it open."""

    @property
    def filters(self) -> tuple[str, ...]:
        """What it may be asked with."""
        return (*(PERIOD if self.time else ()), *self.columns, *self.then, *self.amounts, *PAGE) if self.source else FILTERS

    def as_view(self) -> str:
        """The view over all rows."""
        sql = f"WITH {self.rows_as} AS (FROM {self.source}) {self.sql}" if self.source else self.sql
        return f"{sql} ORDER BY {self.order}" if self.order else sql

    def query(self, name: str, filters: Mapping[str, Any]) -> Query:  # Any: text, time, number or list
        """The statement for these filters; None and an empty list are no filter.

        Raises:
            QueryError: there is no such filter, or a value does not fit.
        """
        given = {key: value for key, value in filters.items() if value is not None and value != []}
        for key in given:
            if key not in self.filters:
                known = ", ".join(self.filters)
                whose = "views have" if self.columns is CALL_FILTERS else f"the view {name} has"
                raise QueryError(f"{whose} no filter {key!r}.{did_you_mean(key, self.filters)} They take {known}.")
        if self.needs and self.needs not in given:
            raise QueryError(f"the view {name} needs {self.needs}")
        params: list[Any] = []
        sql = self.sql
        for amount in self.amounts:
            params.append(_amount(amount, given.pop(amount, None)))
            sql = sql.replace(f":{amount}", f"${len(params)}")
        if self.source:
            where = [self._condition(key, value, params) for key, value in given.items() if key not in (*PAGE, *self.then)]
            sql = f"WITH {self.rows_as} AS (FROM {self.source}{' WHERE ' + ' AND '.join(where) if where else ''}) {sql}"
        chosen = [_is_one_of(self.then[key], value, params) for key, value in given.items() if key in self.then]
        sql = f"SELECT * FROM ({sql}) WHERE {' AND '.join(chosen)}" if chosen else sql
        sql += f" ORDER BY {self.order}" if self.order else ""
        limit = given.get("limit", self.limit)
        if limit is not None:
            params.append(_whole("limit", limit))
            sql += f" LIMIT ${len(params)}"
        if given.get("offset"):
            params.append(_whole("offset", given["offset"]))
            sql += f" OFFSET ${len(params)}"
        return Query(sql, params)

    def _condition(self, key: str, value: Any, params: list[Any]) -> str:
        if key in PERIOD:
            params.append(_utc(key, value))
            return f"{self.time} {'>=' if key == 'since' else '<'} ${len(params)}"
        return _is_one_of(self.columns[key], value, params)


def _is_one_of(column: str, value: Any, params: list[Any]) -> str:  # Any: as `View.query`
    wanted = [str(one) for one in value] if isinstance(value, list | tuple | set | frozenset) else [str(value)]
    if column == "call_id":
        wanted = [one for one in wanted if _is_uuid(one)]
    ways = []
    if "{}" in column:
        for one in wanted:
            params.append(one)
            ways.append(column.replace("{}", f"${len(params)}"))
        return f"({' OR '.join(ways)})"
    if "" in wanted:
        ways.append(f"coalesce({column}, '') = ''")
    named = [one for one in wanted if one]
    if named:
        marks = []
        for one in named:
            params.append(one)
            marks.append(f"${len(params)}")
        ways.append(f"{column} IN ({', '.join(marks)})")
    return f"({' OR '.join(ways)})" if ways else "false"


def _utc(key: str, value: Any) -> datetime:
    """A time as the file holds it: UTC, without a zone."""
    try:
        at = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        raise QueryError(f"{key} is {value!r}, which is not a time; write 2026-11-01 or 2026-11-01T09:00:00Z") from None
    return at.astimezone(UTC).replace(tzinfo=None) if at.tzinfo else at


def _whole(key: str, value: Any) -> int:
    try:
        number = int(value)
    except (TypeError, ValueError):
        raise QueryError(f"{key} is {value!r}, which is not a whole number") from None
    if number < 0:
        raise QueryError(f"{key} is {number}; it cannot be negative")
    return number


def _amount(key: str, value: Any) -> Decimal:
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        number = Decimal(-1)
    if not number.is_finite() or not 0 <= number < 10**9:
        raise QueryError(f"{key} is {value!r}; it must be a number from 0 to a thousand million") from None
    return number


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
