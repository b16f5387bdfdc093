"""The rows of one table."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, Generic, Literal, TypeVar, overload

from isobase._face._async.face import AsyncFace
from isobase._face.wire import read, written_row
from isobase.db.conditions import Where
from isobase.db.models import Database, Page, Table
from isobase.db.requests import row_path, rows_query, table_path

__all__ = ["AsyncRows"]

Row = TypeVar("Row")


class AsyncRows(Generic[Row]):
    """The rows of a table, as ``client.db.rows(table, model=...)`` gives them.

    A row that is written is a mapping, a dataclass (fields that are None by default are left out) or a pydantic model
    (fields that were not set are left out). What a row does not name gets the column's default. A row is named by its
    primary key; of several columns by a tuple.
    Refusals raise ``IsobaseAPIError``: ``row_not_found``, ``invalid_value``, ``23505`` for a row that is there
    already, and others.
    """

    def __init__(self, face: AsyncFace, table: Table | tuple[Database | str, str], model: type[Any]) -> None:
        self._face = face
        self._table = table
        self._model = model

    async def insert(self, row: Row | Mapping[str, object]) -> Row:
        """Add a row and give it as it is then."""
        answer = await self._face.ask("POST", self._path, json=written_row(row))
        return self._read(answer.json())

    @overload
    async def insert_many(self, rows: Iterable[Row | Mapping[str, object]]) -> list[Row]: ...

    @overload
    async def insert_many(self, rows: Iterable[Row | Mapping[str, object]], *, returning: Literal[False]) -> int: ...

    async def insert_many(
        self, rows: Iterable[Row | Mapping[str, object]], *, returning: bool = True
    ) -> list[Row] | int:
        """Add rows, all or none; gives them, or with ``returning=False`` how many (for who may add rows and not read
        them)."""
        return await self._write(rows, [], returning)

    async def upsert(
        self,
        rows: Iterable[Row | Mapping[str, object]],
        *,
        on_conflict: Sequence[str] = (),
        ignore_existing: bool = False,
    ) -> list[Row]:
        """Add rows and change those that are there already, all or none; gives what was written.

        on_conflict: the unique columns that tell whether a row is there; default: the primary key.
        ignore_existing: leave those that are there as they are.
        """
        query = [("upsert", "ignore" if ignore_existing else "merge")]
        if on_conflict:
            query.append(("on_conflict", ",".join(on_conflict)))
        written = await self._write(rows, query, True)
        return written if isinstance(written, list) else []

    async def select(
        self,
        where: Where | None = None,
        *,
        select: str = "*",
        order: str | None = None,
        limit: int | None = None,
        offset: int | None = None,
        count: bool = False,
        cursor: str | None = None,
    ) -> Page[Row]:
        """Read rows.

        where: see ``isobase.db.conditions``. select: columns and embedded tables, as the data API takes them. order:
        as ``title.desc,id``.
        count: whether to count all rows that match. cursor: the last page's ``next_cursor`` (an empty text for the
        first page).
        """
        query = rows_query(where, select=select, order=order, limit=limit, offset=offset, count=count, cursor=cursor)
        body = (await self._face.ask("GET", self._path, params=query)).json()
        return Page([self._read(row) for row in body["rows"]], body.get("count"), body.get("next_cursor"))

    async def all(
        self, where: Where | None = None, *, select: str = "*", order: str | None = None, page_size: int | None = None
    ) -> AsyncIterator[Row]:
        """Give all rows that match, page by page; rows that come or go meanwhile move nothing."""
        cursor: str | None = ""
        while cursor is not None:
            page = await self.select(where, select=select, order=order, limit=page_size, cursor=cursor)
            for row in page.rows:
                yield row
            cursor = page.next_cursor

    async def get(self, row_id: object) -> Row:
        """Give a row."""
        return self._read((await self._face.ask("GET", row_path(self._table, row_id))).json())

    async def update(self, row_id: object, values: Mapping[str, object]) -> Row:
        """Change columns of a row and give it as it is then."""
        return self._read((await self._face.ask("PATCH", row_path(self._table, row_id), json=values)).json())

    async def delete(self, row_id: object) -> None:
        """Delete a row."""
        await self._face.ask("DELETE", row_path(self._table, row_id))

    @property
    def _path(self) -> str:
        return table_path(self._table, "rows")

    def _read(self, row: object) -> Row:
        result: Row = read(self._model, row)
        return result

    async def _write(
        self, rows: Iterable[Row | Mapping[str, object]], query: list[tuple[str, str]], returning: bool
    ) -> list[Row] | int:
        if not returning:
            query = [*query, ("return", "minimal")]
        answer = await self._face.ask("POST", self._path, params=query, json=[written_row(row) for row in rows])
        body = answer.json()
        if not returning:
            written: int = body["written"]
            return written
        return [self._read(row) for row in body["rows"]]
