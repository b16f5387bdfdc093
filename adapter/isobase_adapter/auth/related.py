"""Rows of the project's own tables that come with a new user: profiles that a trigger on ``auth.users`` made.

Users are carried without triggers, so what a trigger made at the source is carried as it is. Which rows these are is told by
foreign keys to ``auth.users``. What a trigger writes beside them is ``isobase migrate sync``'s to see.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from isobase_adapter.rows.database import SideDatabase
from isobase_adapter.rows.keys import row_thing
from isobase_adapter.rows.quoting import qualified, quote_identifier
from isobase_adapter.rows.tables import Table
from isobase_adapter.sides import Side
from isobase_adapter.things import Thing

__all__ = ["rows_of_new_users"]

USERS = "auth.users"
MAX_ROWS = 1000
"""Of a table and a call. A user who is new to one side has few rows at the other."""
_HERE = "select u.id::text from auth.users u where u.id = any($1::uuid[])"


async def rows_of_new_users(databases: Mapping[Side, SideDatabase], users: Sequence[str], target: Side) -> list[Thing]:
    """Name the rows that belong to those of ``users`` whom only the source has, as far as the target has them not."""
    if not users:
        return []
    there = {row[0] for row in await databases[target].fetch(_HERE, users)}
    missing = [user for user in users if user not in there]
    if not missing:
        return []
    here = [row[0] for row in await databases[target.other].fetch(_HERE, missing)]
    if not here:
        return []
    ours = await databases[target.other].catalog.view()
    theirs = await databases[target].catalog.view()
    found: list[Thing] = []
    for resource, table in ours.tables.items():
        if resource not in theirs.tables or not table.key:
            continue
        for column in _references(table):
            mine = await _rows(databases[target.other], table, column, here)
            if mine:
                known = set(await _rows(databases[target], table, column, here))
                found += [thing for thing in mine if thing not in known]
    return list(dict.fromkeys(found))


def _references(table: Table) -> list[str]:
    return [
        foreign.columns[0]
        for foreign in table.foreign_keys
        if foreign.referenced == USERS and foreign.referenced_columns == ("id",) and len(foreign.columns) == 1
    ]


async def _rows(database: SideDatabase, table: Table, column: str, users: Sequence[str]) -> list[Thing]:
    keys = ", ".join(f"t.{quote_identifier(name)}::text" for name in table.key)
    statement = (
        f"select {keys} from {qualified(table.schema, table.name)} t"  # noqa: S608  names of the catalog, quoted
        f" where t.{quote_identifier(column)} = any($1::uuid[]) limit {MAX_ROWS}"
    )
    found = await database.fetch(statement, users)
    return [row_thing(table, dict(zip(table.key, row, strict=True))) for row in found]
