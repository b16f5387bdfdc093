"""Plan: can a table become what is asked? Pure: the table as it is and the change in, a refusal or the columns to be out.

Neighbours: ``columns`` (one column), ``table_changes`` (executes).
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import replace

from isobase_platform.config import DynamicSettings
from isobase_platform.errors import BadRequest
from isobase_services.database.dynamic.column_types import ColumnType
from isobase_services.database.dynamic.columns import (
    FIXED_COLUMNS,
    OWN_KEY,
    check_column,
    check_column_name,
    check_index,
    check_name,
    check_reference,
)
from isobase_services.database.dynamic.expressions import check_text
from isobase_services.database.dynamic.models import (
    ColumnChange,
    ColumnSpec,
    Missing,
    ReferenceSpec,
    ShownColumn,
    Table,
    TableChange,
)
from isobase_services.database.dynamic.policies import check_policies

__all__ = ["check_change", "columns_to_be", "known_type", "spec_to_be", "tells_of_rows"]


def check_change(change: TableChange, table: Table, known_tables: Collection[str], limits: DynamicSettings) -> None:
    """Raise ``BadRequest`` for a change that cannot be, naming the column."""
    if change == TableChange():
        raise BadRequest("The body says nothing to change", code="invalid_body")
    if change.name is not None:
        check_name(change.name, "table")
    if change.access is not None:
        check_policies(change.access, change.policies)
    wanted = columns_to_be(change, table)
    own = [name for name in wanted if name not in FIXED_COLUMNS and name != OWN_KEY]
    if len(own) + len(change.add_columns) > limits.columns_per_table and change.add_columns:
        raise BadRequest(f"A table has at most {limits.columns_per_table} columns", code="too_many_columns")
    indexes = len(table.indexes) - len(change.drop_indexes) + len(change.add_indexes)
    if indexes > limits.indexes_per_table and change.add_indexes:
        raise BadRequest(f"A table has at most {limits.indexes_per_table} indexes", code="too_many_indexes")
    for column in change.change_columns:
        _check_column_change(column, wanted[column.name], change.name or table.name, known_tables)
    for added in change.add_columns:
        if added.is_primary_key:
            raise BadRequest(
                f"The column {added.name} cannot join the primary key of a table that is there", code="invalid_column"
            )
        check_column(added, table.name, known_tables)
    names = {index.name for index in table.indexes}
    for name in change.drop_indexes:
        if name not in names:
            raise BadRequest(
                f"The table {table.name} has no index {name[:63]} that could be dropped", code="unknown_index"
            )
    for index in change.add_indexes:
        check_index(index)
        for name in index.columns:
            _require(name, [*wanted, *(one.name for one in change.add_columns)], table)


def tells_of_rows(change: TableChange) -> bool:
    """Whether what becomes of the change depends on what the rows hold: its refusal would tell of rows."""
    return any(index.is_unique for index in change.add_indexes) or any(
        column.is_nullable is False
        or column.is_unique is True
        or not isinstance(column.type, Missing)
        or isinstance(column.references, ReferenceSpec)
        or isinstance(column.check, str)
        for column in change.change_columns
    )


def columns_to_be(change: TableChange, table: Table) -> dict[str, ShownColumn]:
    """The table's columns by the names they have when columns are changed: some dropped, some renamed.

    Raises ``BadRequest`` for a name that is none, given twice, or fixed.
    """
    columns = {column.name: column for column in table.columns}
    _check_once([*change.drop_columns, *(old for old, _ in change.rename_columns)])
    for name in change.drop_columns:
        _require(name, columns, table)
        _check_free(columns[name], "dropped")
        if columns[name].is_primary_key:
            raise BadRequest(
                f"The column {name} is part of the primary key and cannot be dropped", code="invalid_column"
            )
        del columns[name]
    renamed: dict[str, ShownColumn] = {}
    for old, new in change.rename_columns:
        _require(old, columns, table)
        _check_free(columns[old], "renamed")
        check_column_name(new, is_key=columns[old].is_primary_key)
        renamed[new] = columns.pop(old)
    _check_once([*columns, *(new for _, new in change.rename_columns), *(one.name for one in change.add_columns)])
    columns |= {new: replace(column, name=new) for new, column in renamed.items()}
    _check_once([column.name for column in change.change_columns])
    for column in change.change_columns:
        _require(column.name, columns, table)
        _check_free(columns[column.name], "changed")
    return columns


def spec_to_be(change: ColumnChange, column: ShownColumn) -> ColumnSpec:
    """What of a changed column is given anew, on its type to be."""
    return ColumnSpec(
        name=column.name,
        type=known_type(column) if isinstance(change.type, Missing) else change.type,
        is_nullable=column.is_nullable if isinstance(change.is_nullable, Missing) else change.is_nullable,
        default=None if isinstance(change.default, Missing) else change.default,
        is_unique=change.is_unique is True,
        is_identity=column.is_identity and isinstance(change.default, Missing),
        references=None if isinstance(change.references, Missing) else change.references,
        check=None if isinstance(change.check, Missing) else change.check,
    )


def known_type(column: ShownColumn) -> ColumnType:
    """The type of a column. Raises ``BadRequest`` for one that only a migration can have given it."""
    try:
        return ColumnType.parse(column.type)
    except ValueError:
        raise BadRequest(
            f"The column {column.name} has the type {column.type}, which only a migration can change",
            code="invalid_column",
        ) from None


def _check_column_change(change: ColumnChange, column: ShownColumn, table: str, known_tables: Collection[str]) -> None:
    if column.is_primary_key and not (
        isinstance(change.is_nullable, Missing) and isinstance(change.is_unique, Missing)
    ):
        raise BadRequest(
            f"The column {column.name} is part of the primary key: it is unique and never null", code="invalid_column"
        )
    if not isinstance(change.check, Missing) and change.check is not None:
        check_text(change.check, f"check of column {column.name}")
    if not isinstance(change.references, Missing) and change.references is not None:
        nullable = column.is_nullable if isinstance(change.is_nullable, Missing) else change.is_nullable
        check_reference(column.name, change.references, table, known_tables, is_nullable=nullable)
    touches_type = not (isinstance(change.type, Missing) and isinstance(change.default, Missing))
    if touches_type or change.is_unique is True:
        spec = replace(spec_to_be(change, column), references=None, check=None)
        check_column(replace(spec, is_primary_key=column.is_primary_key), table, known_tables)


def _check_free(column: ShownColumn, done: str) -> None:
    if column.name in FIXED_COLUMNS or column.name == OWN_KEY:
        raise BadRequest(f"The column {column.name} is the server's and cannot be {done}", code="reserved_name")


def _check_once(names: Collection[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise BadRequest(f"The column {name[:63]} would be there twice", code="duplicate_column")
        seen.add(name)


def _require(name: str, columns: Mapping[str, ShownColumn] | Collection[str], table: Table) -> None:
    if name not in columns:
        near = difflib.get_close_matches(name, list(columns), n=1, cutoff=0.5)
        raise BadRequest(
            f"The table {table.name} has no column {name[:63]}",
            code="unknown_column",
            hint=f"Perhaps you meant {near[0]}" if near else None,
        )
