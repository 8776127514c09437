"""Reading: one read-only statement, as Arrow or as rows.

A statement may read the ledger and nothing else: the parser must call it a SELECT (or EXPLAIN of one), it runs in a read-only
transaction, and the database has neither files nor settings to give.
"""

from __future__ import annotations

import io
import json
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import duckdb

from aiplat_lab.core.errors import QueryError

Params = Sequence[Any] | Mapping[str, Any] | None  # Any: what SQL can bind
TIMEOUT_S = 60.0
"""The longest a statement may take, in seconds."""
_EXPLAIN = re.compile(r"^\s*EXPLAIN\s*(ANALYZE\b)?\s*(\([^)]*\))?", re.IGNORECASE)
_COMMENTS = re.compile(r"^(\s|--[^\n]*(\n|$)|/\*.*?\*/)+", re.DOTALL)
_TABLE_FUNCTIONS = frozenset(
    [
        "range",
        "generate_series",
        "unnest",
        "repeat",
        "repeat_row",
        "json_each",
        "json_tree",
        "duckdb_tables",
        "duckdb_columns",
        "duckdb_views",
        "duckdb_types",
        "duckdb_functions",
        "duckdb_keywords",
        "pragma_table_info",
        "pragma_show",
        "summary",
    ]
)
"""The functions that may stand in FROM: none of them reaches beyond the ledger's tables."""
_NO_FUNCTIONS = frozenset({"write_log", "nextval", "currval", "getenv", "set_bit_mask", "add_parquet_key"})
_NOT_A_NAME = re.compile(r"[/\\.*?:]")
_USERS = (
    duckdb.ProgrammingError,
    duckdb.DataError,
    duckdb.NotSupportedError,
    duckdb.OutOfMemoryException,
    duckdb.TransactionException,
    duckdb.PermissionException,
)
"""What DuckDB raises for a statement; any other error speaks of the file."""
_NOT_IN_FRAMES = re.compile(r"\b(INTERVAL|UNION|BIT|VARIANT|GEOMETRY|BIGNUM|TIME WITH TIME ZONE)\b")
_FIRST_MOMENT, _LAST_MOMENT = datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999_999)  # noqa: DTZ001 (columns without a zone)
_ONE = "give one SELECT (or DESCRIBE, SHOW, SUMMARIZE, EXPLAIN)"


def check(con: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Lets one reading statement pass.

    Raises:
        QueryError: it is none, or several.
    """
    try:
        statements = con.extract_statements(sql)
    except duckdb.Error as error:
        raise _plain(error) from None
    if len(statements) != 1:
        raise QueryError(f"that is {len(statements)} statements; {_ONE}")
    kind = statements[0].type.name
    if kind == "EXPLAIN":
        inner = _EXPLAIN.sub("", _COMMENTS.sub("", sql), count=1)
        if inner == sql:
            raise QueryError(f"this EXPLAIN cannot be read; {_ONE}")
        check(con, inner)
    elif kind != "SELECT":
        raise QueryError(f"the ledger is read-only here: {kind.replace('_', ' ')} is not allowed; {_ONE}")
    else:
        _check_names(con, sql)


def _check_names(con: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Goes through the parser's tree of a SELECT: what stands in FROM is a name or an allowed function.

    The ledger's own file is open to DuckDB whatever the settings say, so a function that reads files could read that one, and
    in closing it give up the lock that keeps other processes out.
    """
    row = con.execute("SELECT json_serialize_sql($1::VARCHAR)", [sql]).fetchone()
    tree = json.loads(row[0]) if row else {"error": True}
    if tree.get("error"):
        raise QueryError(f"the ledger cannot answer that: {tree.get('error_message') or 'it cannot be read'}; {_ONE}")
    nodes: list[Any] = [tree]  # Any: JSON
    while nodes:
        node = nodes.pop()
        if isinstance(node, dict):
            _check_node(node)
            nodes += node.values()
        elif isinstance(node, list):
            nodes += node


def _check_node(node: Mapping[str, Any]) -> None:  # Any: JSON
    kind = node.get("type")
    if kind == "TABLE_FUNCTION":
        name = str((node.get("function") or {}).get("function_name") or "").lower()
        if name not in _TABLE_FUNCTIONS:
            raise QueryError(f"{name} is not allowed in FROM: only the ledger's own tables and views can be read")
    elif kind in ("BASE_TABLE", "SHOW_REF") and _NOT_A_NAME.search(str(node.get("table_name") or "")):
        raise QueryError(f"{node['table_name']!r} is not a table of the ledger, and files cannot be read here")
    elif kind == "FUNCTION" and str(node.get("function_name") or "").lower() in _NO_FUNCTIONS:
        raise QueryError(f"{node['function_name']} is not allowed in the ledger; {_ONE}")


def arrow(con: duckdb.DuckDBPyConnection, sql: str, params: Params = None, *, limit: int | None = None) -> bytes:
    """The result of a statement as an Arrow IPC stream; its times are UTC.

    Raises:
        QueryError: DuckDB refuses the statement, or it takes too long.
    """
    import polars  # only readers need it

    with _reading(con):
        relation = _holdable(con.sql(sql, params=_bound(params)))
        frame = polars.DataFrame(_Stream(relation.limit(limit) if limit is not None else relation))
    dates = [name for name, kind in frame.schema.items() if isinstance(kind, polars.Date | polars.Datetime)]
    # what Python's calendar cannot hold, `infinity` included, becomes its first or last moment
    frame = frame.with_columns(polars.col(dates).clip(_FIRST_MOMENT, _LAST_MOMENT)) if dates else frame
    naive = [name for name, kind in frame.schema.items() if isinstance(kind, polars.Datetime) and kind.time_zone is None]
    frame = frame.with_columns(polars.col(naive).dt.replace_time_zone("UTC")) if naive else frame
    target = io.BytesIO()
    frame.write_ipc_stream(target)
    return target.getvalue()


def _holdable(relation: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """The result with a name of its own for each column, and what no frame can hold as text."""
    names = _distinct(relation.columns)
    odd = [_NOT_IN_FRAMES.search(str(kind)) is not None for kind in relation.types]
    if names == relation.columns and not any(odd):
        return relation
    parts = [f"#{index + 1}{'::VARCHAR' if odd[index] else ''} AS {_name(name)}" for index, name in enumerate(names)]
    return relation.project(", ".join(parts))


def _distinct(names: Sequence[str]) -> list[str]:
    """The names, with a number behind each that stood before."""
    found: list[str] = []
    for name in names:
        fresh, number = name, 0
        while fresh in found:
            number += 1
            fresh = f"{name}_{number}"
        found.append(fresh)
    return found


def _name(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


class _Stream:
    """A result as nothing but its Arrow stream: polars keeps the type of what it is given, and DuckDB's types complain of that at exit."""

    def __init__(self, relation: duckdb.DuckDBPyRelation) -> None:
        self._relation = relation

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._relation.__arrow_c_stream__(requested_schema)


def dicts(con: duckdb.DuckDBPyConnection, sql: str, params: Params = None) -> list[dict[str, Any]]:
    """The result of a statement as rows of Python values: aware times, Decimal, ids as text.

    Raises:
        QueryError: as `arrow`.
    """
    with _reading(con):
        result = con.execute(sql, _bound(params))
        names = _distinct([column[0] for column in result.description or ()])
        rows = result.fetchall()
    return [{name: _python(value) for name, value in zip(names, row, strict=True)} for row in rows]


def _bound(params: Params) -> Any:  # Any: a list or a dict, as DuckDB takes it
    if params is None:
        return None
    return {str(key): _utc(value) for key, value in params.items()} if isinstance(params, Mapping) else [_utc(value) for value in params]


def _utc(value: Any) -> Any:  # Any: a bound value; an aware time becomes UTC without a zone, as the file holds times
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC).replace(tzinfo=None)
    return value


def _python(value: Any) -> Any:  # Any: a value of DuckDB
    if isinstance(value, datetime) and value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    return str(value) if isinstance(value, UUID) else value


@contextmanager
def _reading(con: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """A read-only transaction with a time limit."""
    stop = threading.Timer(TIMEOUT_S, con.interrupt)
    stop.daemon = True
    stop.start()
    try:
        con.execute("BEGIN TRANSACTION READ ONLY")
        yield
    except duckdb.InterruptException:
        raise QueryError(
            f"the statement took longer than {TIMEOUT_S:.0f} s and was stopped; narrow it, for example by started_at"
        ) from None
    except _USERS as error:
        raise _plain(error) from None
    finally:
        stop.cancel()
        try:
            con.execute("ROLLBACK")
        except duckdb.Error:
            pass  # the transaction ended with its error


def _plain(error: duckdb.Error) -> QueryError:
    text = str(error).split("\n\nLINE ")[0]
    return QueryError(f"the ledger cannot answer that: {text}")
