"""One range of a table from one server to the other: COPY out, COPY in, a few chunks in memory between them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Literal

from isobase_adapter.bulk.connections import Connection
from isobase_adapter.bulk.copied import CopiedTable
from isobase_adapter.failures import DATABASE_FAILURES

__all__ = ["copy_range", "copy_range_beside"]

QUEUED_CHUNKS = 16
"""A chunk is what one read of the socket held: at most some hundred KiB, or one row."""
Counted = Callable[[int], None]


async def copy_range(
    source: Connection, target: Connection, table: CopiedTable, condition: str, counted: Counted
) -> int:
    """Copy the range's rows straight into the table; gives their number.

    Both connections are in transactions of the caller's. counted: called with each chunk's bytes. Raises
    ``UniqueViolationError`` where a row is at the target already.
    """
    return await _stream(source, target, table, condition, counted, table.table, table.schema)


async def copy_range_beside(
    source: Connection, target: Connection, table: CopiedTable, condition: str, counted: Counted
) -> int:
    """Copy the range's rows beside the table and take over those that it has not; gives how many were new.

    A row that is there was carried by a write meanwhile and is the younger one, or is set right by what follows a copy.
    """
    columns = ", ".join(table.columns)
    await target.execute(
        f"create temporary table isobase_copied on commit drop as select {columns} from only {table.quoted} with no data"  # noqa: S608
    )
    await _stream(source, target, table, condition, counted, "isobase_copied", "pg_temp")
    status = await target.execute(
        f"insert into {table.quoted} ({columns}) overriding system value"  # noqa: S608  quoted by the server
        f" select {columns} from pg_temp.isobase_copied on conflict do nothing"
    )
    await target.execute("drop table pg_temp.isobase_copied")
    return int(status.rpartition(" ")[2])


async def _stream(
    source: Connection,
    target: Connection,
    table: CopiedTable,
    condition: str,
    counted: Counted,
    into: str,
    schema: str,
) -> int:
    form: Literal["binary", "text"] = "binary" if table.is_binary else "text"
    chunks: asyncio.Queue[bytes | BaseException | None] = asyncio.Queue(QUEUED_CHUNKS)
    where = f" where {condition}" if condition else ""
    question = f"select {', '.join(table.columns)} from only {table.quoted}{where}"  # noqa: S608  quoted by the server

    async def read() -> None:
        try:
            await source.copy_from_query(question, output=chunks.put, format=form)
        except DATABASE_FAILURES as error:
            await chunks.put(error)
        else:
            await chunks.put(None)

    async def arriving() -> AsyncIterator[bytes]:
        while (chunk := await chunks.get()) is not None:
            if isinstance(chunk, BaseException):
                raise chunk
            counted(len(chunk))
            yield chunk

    reader = asyncio.create_task(read())
    options: dict[str, Any] = {"columns": list(table.plain_columns), "schema_name": schema, "format": form}
    try:
        status = await target.copy_to_table(into, source=arriving(), **options)
    finally:
        if not reader.done():
            reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
    return int(status.rpartition(" ")[2])
