"""What ``client.db`` sends. No I/O."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from isobase._face.wire import path
from isobase._quoting import quoted
from isobase.db.conditions import Where, parameters
from isobase.db.models import Access, Column, ColumnChange, Database, Index, Policy, Table

__all__ = ["database_path", "row_path", "rows_query", "stated", "table_body", "table_change", "table_path"]


def database_path(database: Database | str, *rest: str) -> str:
    """Give the path of a database, by itself or its id, and of what is below it."""
    return path("db", database.database_id if isinstance(database, Database) else str(database), *rest)


def table_path(table: Table | tuple[Database | str, str], *rest: str) -> str:
    """Give the path of a table, by itself or by its database and id."""
    if isinstance(table, Table):
        return database_path(table.database_id, "tables", table.table_id, *rest)
    database, table_id = table
    return database_path(database, "tables", str(table_id), *rest)


def row_path(table: Table | tuple[Database | str, str], row_id: object) -> str:
    """Give the path of a row by its primary key; of several columns their values in order, as a list or tuple."""
    values = row_id if isinstance(row_id, list | tuple) else [row_id]
    return table_path(table, "rows", ",".join(_key(str(value)) for value in values))


def _key(text: str) -> str:
    if not {",", '"'} & set(text):
        return text
    return quoted(text)


def stated(value: Column | Index | Policy | ColumnChange) -> dict[str, object]:
    """Give a definition as JSON, without what it does not say."""
    if isinstance(value, Mapping):
        return {
            name: dataclasses.asdict(one) if dataclasses.is_dataclass(one) and not isinstance(one, type) else one
            for name, one in value.items()
        }
    said: dict[str, object] = {}
    for each in dataclasses.fields(value):
        one = getattr(value, each.name)
        if each.default is not dataclasses.MISSING and one == each.default:
            continue
        if dataclasses.is_dataclass(one) and not isinstance(one, type):
            one = {name: inner for name, inner in dataclasses.asdict(one).items() if inner is not None}
        said[each.name] = one
    return said


def table_body(
    name: str,
    columns: Sequence[Column],
    *,
    access: Access,
    policies: Sequence[Policy],
    indexes: Sequence[Index],
    comment: str | None,
    realtime: bool,
) -> dict[str, object]:
    """Give the definition of a new table."""
    body: dict[str, object] = {"name": name, "columns": [stated(column) for column in columns], "access": access}
    if policies:
        body["policies"] = [stated(policy) for policy in policies]
    if indexes:
        body["indexes"] = [stated(index) for index in indexes]
    if comment is not None:
        body["comment"] = comment
    if realtime:
        body["realtime"] = True
    return body


def table_change(
    *,
    name: str | None,
    access: Access | None,
    policies: Sequence[Policy] | None,
    comment: str | None,
    realtime: bool | None,
    add_columns: Sequence[Column],
    change_columns: Sequence[ColumnChange],
    rename_columns: Mapping[str, str] | None,
    drop_columns: Sequence[str],
    add_indexes: Sequence[Index],
    drop_indexes: Sequence[str],
) -> dict[str, object]:
    """Give the body of a change; what is None or empty stays as it is. An empty ``comment`` takes the comment away."""
    columns: dict[str, object] = {}
    if drop_columns:
        columns["drop"] = list(drop_columns)
    if rename_columns:
        columns["rename"] = dict(rename_columns)
    if change_columns:
        columns["change"] = [stated(change) for change in change_columns]
    if add_columns:
        columns["add"] = [stated(column) for column in add_columns]
    indexes: dict[str, object] = {}
    if drop_indexes:
        indexes["drop"] = list(drop_indexes)
    if add_indexes:
        indexes["add"] = [stated(index) for index in add_indexes]
    body: dict[str, object] = {
        "name": name,
        "access": access,
        "realtime": realtime,
        "policies": None if policies is None else [stated(policy) for policy in policies],
        "columns": columns or None,
        "indexes": indexes or None,
    }
    said = {key: value for key, value in body.items() if value is not None}
    if comment is not None:
        said["comment"] = comment or None
    return said


def rows_query(
    where: Where | None,
    *,
    select: str,
    order: str | None,
    limit: int | None,
    offset: int | None,
    count: bool,
    cursor: str | None,
) -> list[tuple[str, str]]:
    """Give the query of a reading of rows."""
    query = parameters(where)
    if select != "*":
        query.append(("select", select))
    if order is not None:
        query.append(("order", order))
    if limit is not None:
        query.append(("limit", str(limit)))
    if offset is not None:
        query.append(("offset", str(offset)))
    if count:
        query.append(("count", "exact"))
    if cursor is not None:
        query.append(("cursor", cursor))
    return query
