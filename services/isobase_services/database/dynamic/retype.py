"""Execute: a column of another type, refused where a value would be lost.

A value is kept when the cast of its cast is itself; of text that becomes something else it is enough that it can be read.
Runs inside a definition's transaction with the table locked, so nothing changes between the look and the change.
"""

from __future__ import annotations

from isobase_platform.errors import BadRequest, Conflict, DatabaseError, IsobaseError, database_error
from isobase_platform.pool import DATABASE_FAILURES, Connection
from isobase_platform.sql import quote_identifier
from isobase_services.database.dynamic.column_types import BaseType, ColumnType
from isobase_services.database.dynamic.defaults import shown_value
from isobase_services.database.dynamic.table_steps import TableSteps

__all__ = ["retype"]

_TEXTS = frozenset({BaseType.TEXT, BaseType.VARCHAR})
_JSONS = frozenset({BaseType.JSON, BaseType.JSONB})
_BYTES = {BaseType.SMALLINT: 2, BaseType.INTEGER: 4, BaseType.BIGINT: 8}
_SOFT_INPUT_VERSION = 16
"""The first major version of PostgreSQL that tells whether a text can be read without raising."""


async def retype(steps: TableSteps, column: str, old: ColumnType, new: ColumnType, default: str | None) -> None:
    """Change the type. ``default`` is the column's default as SQL, which is cast along.

    Raises ``Conflict`` (``value_does_not_fit``) naming column, expected type and value; ``BadRequest``
    (``invalid_cast``) where PostgreSQL knows no way from one type to the other.
    """
    if old == new:
        return
    name = quote_identifier(column)
    try:
        misfit = await _first_misfit(steps, name, old, new)
    except _NoCast as error:
        raise BadRequest(
            f"The column {column} cannot become {new}", code="invalid_cast", details=error.args[0]
        ) from error
    except _Unreadable as error:
        shown = await _first_unreadable(steps, name, new)
        raise _does_not_fit(column, new, shown_value(shown) if shown is not None else error.args[0]) from error
    if misfit is not None:
        raise _does_not_fit(column, new, shown_value(misfit))
    if default is not None:
        await steps.run(f"alter table {steps.target} alter column {name} drop default", column)
    await steps.run(f"alter table {steps.target} alter column {name} type {new} using {name}::{new}", column)
    if default is not None:
        await _evaluate(steps.connection, f"select ({default})::{new}", column, new)
        await steps.run(f"alter table {steps.target} alter column {name} set default ({default})::{new}", column)


class _NoCast(Exception):
    """PostgreSQL's words."""


class _Unreadable(Exception):
    """PostgreSQL's words about a value that it cannot cast."""


async def _first_misfit(steps: TableSteps, name: str, old: ColumnType, new: ColumnType) -> str | None:
    """The text of a value that would be lost; None where none would. Raises ``_NoCast``, ``_Unreadable``."""
    cast = f"{name}::{new}"
    if _is_reading(old, new):
        await _ask(steps.connection, f"select count({cast}) from {steps.target}")  # noqa: S608  quoted names
        return None
    try:
        return await _ask(steps.connection, _one_lost(steps.target, name, f"({cast})::{old}", name))
    except _NoCast:
        # There is a way there and none back: compared as text.
        return await _ask(steps.connection, _one_lost(steps.target, name, f"({cast})::text", f"{name}::text"))


def _one_lost(target: str, name: str, after: str, before: str) -> str:
    return f"select {name}::text from {target} where {after} is distinct from {before} limit 1"  # noqa: S608  quoted names


def _is_reading(old: ColumnType, new: ColumnType) -> bool:
    """Whether the value stays the same though it is written otherwise: '01' becomes 1."""
    if old.is_array or new.is_array:
        return old.is_array and new.is_array and old.base in _TEXTS and new.base not in _TEXTS
    return (old.base in _TEXTS and new.base not in _TEXTS) or (old.base in _JSONS and new.base in _JSONS)


async def _ask(connection: Connection, sql: str) -> str | None:
    try:
        async with connection.transaction():
            rows = await connection.fetch(sql)
    except DATABASE_FAILURES as error:
        mapped = database_error(error)
        if isinstance(mapped, DatabaseError) and mapped.sqlstate in {"42846", "42883"}:
            raise _NoCast(mapped.message) from error
        if isinstance(mapped, DatabaseError) and mapped.sqlstate.startswith("22"):
            raise _Unreadable(mapped.message) from error
        raise mapped from error
    return str(rows[0][0]) if rows else None


async def _first_unreadable(steps: TableSteps, name: str, new: ColumnType) -> str | None:
    """The text of a value that PostgreSQL cannot read as ``new``; None where it cannot tell which."""
    version = await steps.connection.fetchval("select current_setting('server_version_num')::int / 10000")
    if version >= _SOFT_INPUT_VERSION:
        sql = f"select {name}::text from {steps.target} where not pg_input_is_valid({name}::text, $1) limit 1"  # noqa: S608  quoted names
        return _text(await steps.connection.fetchval(sql, str(new)))
    if new.is_array or new.base not in _BYTES:
        return None  # an older server's words hold the value
    try:
        bound = 1 << (8 * _BYTES[new.base] - 1)
        return await _ask(
            steps.connection,
            f"select {name}::text from {steps.target}"  # noqa: S608  quoted names
            f" where {name}::numeric not between {-bound} and {bound - 1} limit 1",
        )
    except (_NoCast, _Unreadable):
        return None


def _text(value: object) -> str | None:
    return None if value is None else str(value)


async def _evaluate(connection: Connection, sql: str, column: str, new: ColumnType) -> None:
    try:
        await _ask(connection, sql)
    except (_NoCast, _Unreadable) as error:
        raise BadRequest(
            f"The default of column {column} is no value of {new}",
            code="invalid_default",
            details=error.args[0],
            hint="Give a new default with the new type, or null",
        ) from error


def _does_not_fit(column: str, new: ColumnType, shown: str) -> IsobaseError:
    return Conflict(
        f"The column {column} cannot become {new}: it holds a value that would be lost",
        code="value_does_not_fit",
        details=f"expected {new}, got {shown}",
    )
