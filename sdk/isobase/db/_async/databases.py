"""Databases, their members and their tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, TypeVar, overload

import httpx

from isobase._face._async.face import AsyncFace
from isobase._face.wire import path, read
from isobase.db._async.rows import AsyncRows
from isobase.db.models import Access, Column, ColumnChange, Database, DatabaseRole, Index, Member, Policy, Table
from isobase.db.requests import database_path, table_body, table_change, table_path

__all__ = ["AsyncDatabases"]

Model = TypeVar("Model")
# Within the class `list` is its method.
_Databases: TypeAlias = list[Database]
_Members: TypeAlias = list[Member]
_Tables: TypeAlias = list[Table]


class AsyncDatabases:
    """Databases and tables made at run time (``client.db``).

    url: the project's. headers: ``apikey`` and the user's ``Authorization``. http_client: sends the requests.
    A database is named by itself or its id. Every method raises ``IsobaseAPIError`` when the server refuses (a database
    that is not the caller's is ``database_not_found``), and httpx's exceptions when nothing answers. Source:
    docs/databases.md.
    """

    def __init__(
        self, url: str, headers: Mapping[str, str] | None = None, *, http_client: httpx.AsyncClient | None = None
    ) -> None:
        self._face = AsyncFace(url, headers or {}, http_client)

    async def aclose(self) -> None:
        """Close the connections, unless they are those of a client that was given."""
        await self._face.aclose()

    # Databases.

    async def create(self, name: str) -> Database:
        """Make a database, which the caller owns."""
        return read(Database, (await self._face.ask("POST", path("db"), json={"name": name})).json())

    async def list(self) -> _Databases:
        """Give the databases that the caller is a member of, the oldest first."""
        return read(list[Database], (await self._face.ask("GET", path("db"))).json()["databases"])

    async def get(self, database: Database | str) -> Database:
        """Give a database."""
        return read(Database, (await self._face.ask("GET", database_path(database))).json())

    async def delete(self, database: Database | str) -> None:
        """Drop a database with its tables; only owners may."""
        await self._face.ask("DELETE", database_path(database))

    # Members.

    async def members(self, database: Database | str) -> _Members:
        """Give the members, the oldest first."""
        return read(list[Member], (await self._face.ask("GET", database_path(database, "members"))).json()["members"])

    async def add_member(self, database: Database | str, user_id: str, role: DatabaseRole) -> Member:
        """Make a user a member."""
        body = {"user_id": user_id, "role": role}
        return read(Member, (await self._face.ask("POST", database_path(database, "members"), json=body)).json())

    async def set_member_role(self, database: Database | str, user_id: str, role: DatabaseRole) -> Member:
        """Give a member another role; the last owner stays one (``last_owner``)."""
        where = database_path(database, "members", str(user_id))
        return read(Member, (await self._face.ask("PATCH", where, json={"role": role})).json())

    async def remove_member(self, database: Database | str, user_id: str) -> None:
        """Remove a member; everybody may remove themselves, but for the last owner."""
        await self._face.ask("DELETE", database_path(database, "members", str(user_id)))

    # Tables.

    async def create_table(
        self,
        database: Database | str,
        name: str,
        columns: Sequence[Column],
        *,
        access: Access = "private",
        policies: Sequence[Policy] = (),
        indexes: Sequence[Index] = (),
        comment: str | None = None,
        realtime: bool = False,
    ) -> Table:
        """Make a table.

        columns: those beside ``id`` (unless one is a primary key), ``created_at`` and ``owner``, which every table has.
        access: who may do what with its rows; ``custom``: what ``policies`` say.
        realtime: whether its changes are sent to who subscribes.
        """
        body = table_body(
            name,
            columns,
            access=access,
            policies=policies,
            indexes=indexes,
            comment=comment,
            realtime=realtime,
        )
        return read(Table, (await self._face.ask("POST", database_path(database, "tables"), json=body)).json())

    async def tables(self, database: Database | str) -> _Tables:
        """Give the tables, the oldest first."""
        return read(list[Table], (await self._face.ask("GET", database_path(database, "tables"))).json()["tables"])

    async def get_table(self, database: Database | str, table_id: str) -> Table:
        """Give a table."""
        return read(Table, (await self._face.ask("GET", table_path((database, table_id)))).json())

    async def change_table(
        self,
        table: Table | tuple[Database | str, str],
        *,
        name: str | None = None,
        access: Access | None = None,
        policies: Sequence[Policy] | None = None,
        comment: str | None = None,
        realtime: bool | None = None,
        add_columns: Sequence[Column] = (),
        change_columns: Sequence[ColumnChange] = (),
        rename_columns: Mapping[str, str] | None = None,
        drop_columns: Sequence[str] = (),
        add_indexes: Sequence[Index] = (),
        drop_indexes: Sequence[str] = (),
    ) -> Table:
        """Change a table in one transaction and give it as it is then; what is not said stays.

        table: the table, or its database and id. comment: an empty text takes it away. Columns are dropped, renamed,
        changed (by their new names) and added, in this order. A value that does not fit another type is
        ``value_does_not_fit``.
        """
        body = table_change(
            name=name,
            access=access,
            policies=policies,
            comment=comment,
            realtime=realtime,
            add_columns=add_columns,
            change_columns=change_columns,
            rename_columns=rename_columns,
            drop_columns=drop_columns,
            add_indexes=add_indexes,
            drop_indexes=drop_indexes,
        )
        return read(Table, (await self._face.ask("PATCH", table_path(table), json=body)).json())

    async def delete_table(self, table: Table | tuple[Database | str, str]) -> None:
        """Drop a table; one that others refer to stays (``table_in_use``)."""
        await self._face.ask("DELETE", table_path(table))

    @overload
    def rows(self, table: Table | tuple[Database | str, str]) -> AsyncRows[dict[str, Any]]: ...

    @overload
    def rows(self, table: Table | tuple[Database | str, str], model: type[Model]) -> AsyncRows[Model]: ...

    def rows(self, table: Table | tuple[Database | str, str], model: type[Any] = dict) -> AsyncRows[Any]:
        """Give the rows of a table; nothing is sent.

        table: the table, or its database and id. model: a pydantic model or dataclass that rows are given as; default:
        dicts.
        """
        return AsyncRows(self._face, table, model)
