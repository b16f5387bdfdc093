"""A table as it is at both sides: what names its rows, which columns are carried, and what the sides differ in."""

from __future__ import annotations

from dataclasses import dataclass

from isobase_adapter.rows.catalog import UnknownTable
from isobase_adapter.rows.database import SideDatabase
from isobase_adapter.rows.tables import Generated, Table
from isobase_adapter.sides import Side

__all__ = ["HiddenRows", "Pair", "Pairs"]


MIN_VERSION_OF_RECORD_HASHES = 14


class HiddenRows(PermissionError):
    """Row-level security hides rows of a table from the role that carries them: what it cannot see would be taken for
    deleted.
    """


@dataclass(slots=True, frozen=True)
class Pair:
    """One table at both sides."""

    supabase: Table
    isobase: Table
    can_hash_records: bool = False
    """Whether both servers hash whole records."""
    left_out: frozenset[str] = frozenset()
    """Columns that keep the target's own value, because an operator said so of a letter."""

    @property
    def resource(self) -> str:
        """``schema.table``."""
        return self.supabase.resource

    @property
    def names(self) -> Table:
        """The table whose key names the rows of both: Supabase's, or Isobase's where Supabase's has no key."""
        return self.supabase if self.supabase.key or not self.isobase.key else self.isobase

    @property
    def key(self) -> tuple[str, ...]:
        """The columns that name a row, at both sides; empty where rows have no name."""
        key = self.names.key
        return key if all(self.supabase.column(name) and self.isobase.column(name) for name in key) else ()

    def at(self, side: Side) -> Table:
        """The table at ``side``."""
        return self.supabase if side is Side.SUPABASE else self.isobase

    def carried(self, target: Side) -> tuple[str, ...]:
        """The columns that are carried to ``target``, in the target's order: those of both but what it computes."""
        source = self.at(target.other)
        return tuple(
            column.name
            for column in self.at(target).columns
            if column.generated is Generated.NOT
            and source.column(column.name) is not None
            and column.name not in self.left_out
        )

    @property
    def compared(self) -> tuple[str, ...]:
        """The columns that both have, computed ones too, in one order for both sides."""
        return tuple(column.name for column in self.isobase.columns if self.supabase.column(column.name) is not None)

    def only_at(self, side: Side) -> tuple[str, ...]:
        """The columns that only ``side`` has: they are not carried."""
        other = self.at(side.other)
        return tuple(column.name for column in self.at(side).columns if other.column(column.name) is None)


class Pairs:
    """Gives tables as pairs, from both sides' catalogs."""

    def __init__(self, supabase: SideDatabase, isobase: SideDatabase) -> None:
        self.databases = {Side.SUPABASE: supabase, Side.ISOBASE: isobase}

    async def pair(self, resource: str) -> Pair:
        """Give a table at both sides.

        Raises ``UnknownTable`` where one side has none of that name, ``HiddenRows`` where its rows cannot all be seen.
        """
        for database in self.databases.values():
            # A partition of one side may be no table of the other; the table that it is a part of is one of both.
            resource = (await database.catalog.view()).partitions.get(resource, resource)
        tables: dict[Side, Table] = {}
        for side, database in self.databases.items():
            try:
                table = await database.catalog.table(resource)
            except UnknownTable as error:
                raise UnknownTable(f"{side} has no table {resource}") from error
            if table.has_hidden_rows:
                raise HiddenRows(
                    f"row-level security of {resource} at {side} hides rows from the role of its database URL; "
                    "connect as a role with BYPASSRLS (postgres), or give it a policy for all rows"
                )
            tables[side] = table
        can_hash = all(database.version >= MIN_VERSION_OF_RECORD_HASHES for database in self.databases.values())
        return Pair(tables[Side.SUPABASE], tables[Side.ISOBASE], can_hash)

    async def tables_under(self, resource: str) -> tuple[str, ...]:
        """Give the tables whose rows a write to ``resource`` may change: itself, or those under it where it is a view.

        Empty where neither side knows it.
        """
        found: set[str] = set()
        for database in self.databases.values():
            view = await database.catalog.view()
            name = view.partitions.get(resource, resource)
            found.update([name] if name in view.tables else view.views.get(name, ()))
        return tuple(sorted(found))

    async def reload(self) -> None:
        """Read both catalogs again."""
        for database in self.databases.values():
            await database.catalog.reload()
