"""What a table is, as values: columns, key, foreign keys, triggers, sequences. Read by ``catalog``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

__all__ = ["Action", "Column", "ForeignKey", "Generated", "Identity", "Sequence", "Table", "Trigger", "UniqueIndex"]


class Generated(StrEnum):
    """Whether the database computes a column."""

    NOT = ""
    STORED = "s"
    VIRTUAL = "v"


class Identity(StrEnum):
    """Whether a column is an identity column, and of which kind."""

    NOT = ""
    ALWAYS = "a"
    BY_DEFAULT = "d"


class Action(StrEnum):
    """What a foreign key does to the rows that refer to one that goes or changes."""

    NO_ACTION = "a"
    RESTRICT = "r"
    CASCADE = "c"
    SET_NULL = "n"
    SET_DEFAULT = "d"

    @property
    def changes_rows(self) -> bool:
        """Whether it changes or deletes the rows that refer."""
        return self not in (Action.NO_ACTION, Action.RESTRICT)


@dataclass(slots=True, frozen=True)
class Column:
    """A column. ``type``: as SQL with its schema and modifiers; ``base``: the name of the type under its domains."""

    name: str
    type: str
    base: str
    cast: str
    """The type as SQL without modifiers: what a key's text is read as (a modifier would cut or round it)."""
    equals: str
    """The type's equality as SQL; extensions bring operators of their own, which are not on an empty search path."""
    is_not_null: bool = False
    generated: Generated = Generated.NOT
    identity: Identity = Identity.NOT
    default: str | None = None
    collation: str | None = None
    """The collation where it is another than the type's own."""


@dataclass(slots=True, frozen=True)
class UniqueIndex:
    """A unique index besides the key. ``expressions``: SQL text of each part, columns unqualified."""

    name: str
    expressions: tuple[str, ...]
    predicate: str | None = None


@dataclass(slots=True, frozen=True)
class ForeignKey:
    """A foreign key: ``columns`` of ``schema.table`` refer to ``referenced_columns`` of another table."""

    name: str
    resource: str
    columns: tuple[str, ...]
    referenced: str
    referenced_columns: tuple[str, ...]
    on_delete: Action
    on_update: Action


@dataclass(slots=True, frozen=True)
class Trigger:
    """A trigger of a user (not of a constraint). ``enabled``: ``O`` origin, ``D`` disabled, ``R`` replica, ``A`` always."""

    name: str
    definition: str
    enabled: str
    function: str


@dataclass(slots=True, frozen=True)
class Sequence:
    """A sequence that a column owns or takes its default from."""

    resource: str
    column: str


@dataclass(slots=True, frozen=True)
class Table:
    """A table (partitions are carried through the table that they are parts of)."""

    schema: str
    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    """The primary key's columns, or those of a unique index over columns that are not null; empty: rows have no name."""
    is_key_deferrable: bool = False
    unique: tuple[UniqueIndex, ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    triggers: tuple[Trigger, ...] = ()
    sequences: tuple[Sequence, ...] = ()
    is_partitioned: bool = False
    has_hidden_rows: bool = False
    """Row-level security hides rows from the role that is connected."""
    version: str = ""
    """Changes when anything above changes."""
    estimated_rows: int = field(default=-1, compare=False)
    """The planner's estimate; -1 where the table was never analyzed."""

    @property
    def resource(self) -> str:
        """``schema.table``."""
        return f"{self.schema}.{self.name}"

    def column(self, name: str) -> Column | None:
        """The column of that name."""
        return next((column for column in self.columns if column.name == name), None)

    def lacks(self, names: Iterable[str]) -> bool:
        """Whether it has not all of these columns."""
        return not {column.name for column in self.columns}.issuperset(names)

    @property
    def key_columns(self) -> tuple[Column, ...]:
        """The key's columns."""
        by_name = {column.name: column for column in self.columns}
        return tuple(by_name[name] for name in self.key)
