"""What is known of a table and of a role's rights on it, as plain values. ``catalog`` reads them."""

from __future__ import annotations

from dataclasses import dataclass

from isobase_platform.sql import qualified
from isobase_services.realtime.changes.policies.claims import Kind
from isobase_services.realtime.changes.policies.rule import Rule
from isobase_services.realtime.changes.policies.statement import RowStatement
from isobase_services.realtime.changes.values import Converter

__all__ = ["NO_RIGHTS", "Column", "RoleRights", "Table"]


@dataclass(slots=True, frozen=True)
class Column:
    """One column: ``type_name`` as pg_type has it, ``type_sql`` quoted for a statement, ``json_key`` ready to be written.

    ``array_sql``: the type of an array of its values, or None where such an array cannot be written as a flat list.
    ``collation_sql``: its collation, quoted for a statement, where that is not its type's.
    ``kind``: how policies may compare it without PostgreSQL, None when they may not. ``converter`` is None where only
    PostgreSQL can turn a value into JSON. ``description``: the column's entry in ``columns``, as JSON text.
    """

    name: str
    type_oid: int
    type_name: str
    type_sql: str
    array_sql: str | None
    collation_sql: str | None
    kind: Kind | None
    is_key: bool
    converter: Converter | None
    json_key: str
    description: str


@dataclass(slots=True, frozen=True)
class Table:
    """A table as it is now. ``columns`` by name in the table's order; ``key`` the primary key's columns in that order."""

    oid: int
    schema: str
    name: str
    has_row_security: bool
    columns: dict[str, Column]
    key: tuple[Column, ...]

    @property
    def sql_name(self) -> str:
        """Quoted, for a statement."""
        return qualified(self.schema, self.name)


@dataclass(slots=True, frozen=True)
class RoleRights:
    """What a role may see of a table: the columns it may SELECT, and the rule for its rows.

    ``rule`` is None where no policies apply: the role sees every row. ``statement`` is the rule as SQL, None with it.
    """

    columns: frozenset[str]
    rule: Rule | None
    statement: RowStatement | None


NO_RIGHTS = RoleRights(columns=frozenset(), rule=None, statement=None)
"""A role that may see no column sees nothing of any row."""
