"""One change with everything that deciding and rendering need, independent of the log's format.

``build_row`` is pure: it joins a decoded change with its relation (names as of the log) and its table (types as of now).
Source: contracts/realtime.md 1.10 for what an old record holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from isobase_services.realtime.changes.pgoutput import (
    UNCHANGED,
    Cell,
    Change,
    Delete,
    Insert,
    Relation,
    Unchanged,
    Update,
)
from isobase_services.realtime.changes.position import Position
from isobase_services.realtime.changes.tables import Table

__all__ = ["Action", "Row", "build_row", "commit_timestamp"]


class Action(StrEnum):
    """What happened to a row, by its name on the wire."""

    INSERT = "INSERT"
    UPDATE = "UPDATE"
    DELETE = "DELETE"


@dataclass(slots=True, frozen=True)
class Row:
    """A change. ``record`` is the new row without unchanged large values that the log does not hold; ``old`` the identity
    columns, or the whole old row where the table's replica identity is FULL. ``fresh`` is what filters may look at. ``xid``
    is the number of its transaction without the epoch; ``position`` where it stands in the log; ``relation`` its table as of
    the log. ``recast``: columns whose type has been altered since, so that their texts are of another type than the table's.
    """

    action: Action
    table: Table
    commit_time_us: int
    record: dict[str, str | None]
    fresh: dict[str, str | None]
    old: dict[str, str | None]
    xid: int
    position: Position
    relation: Relation
    recast: frozenset[str] = frozenset()

    @property
    def judged(self) -> Mapping[str, str | None]:
        """The new row as policies may look at it: without columns that are of another type now."""
        if not self.recast:
            return self.record
        return {name: value for name, value in self.record.items() if name not in self.recast}

    @property
    def key(self) -> tuple[str, ...] | None:
        """The primary key's values, or None where the table has none or the log does not hold it."""
        values = tuple(self.record.get(column.name) for column in self.table.key)
        return None if not values or None in values else values  # type: ignore[return-value]


def build_row(
    change: Change, relation: Relation, table: Table, commit_time_us: int, xid: int, position: Position
) -> Row:
    """Put a change together."""
    match change:
        case Insert(new=new):
            record = _held(relation, new)
            return Row(Action.INSERT, table, commit_time_us, record, record, {}, xid, position, relation)
        case Delete(old=old, old_is_whole=is_whole):
            return Row(
                Action.DELETE,
                table,
                commit_time_us,
                {},
                {},
                _old(relation, old, is_whole=is_whole),
                xid,
                position,
                relation,
            )
        case Update(new=new, old=old, old_is_whole=is_whole):
            fresh = _held(relation, new)
            if old is None:
                # The log names no old values when the identity did not change: they are the new ones.
                identity = {
                    column.name: fresh[column.name]
                    for column in relation.columns
                    if column.is_identity and column.name in fresh
                }
                return Row(Action.UPDATE, table, commit_time_us, fresh, fresh, identity, xid, position, relation)
            before = _old(relation, old, is_whole=is_whole)
            unchanged = {
                column.name: before[column.name]
                for column, cell in zip(relation.columns, new, strict=True)
                if isinstance(cell, Unchanged) and column.name in before
            }
            return Row(
                Action.UPDATE, table, commit_time_us, {**fresh, **unchanged}, fresh, before, xid, position, relation
            )


def _held(relation: Relation, cells: tuple[Cell, ...]) -> dict[str, str | None]:
    return {
        column.name: cell
        for column, cell in zip(relation.columns, cells, strict=True)
        if cell is not UNCHANGED and not isinstance(cell, Unchanged)
    }


def _old(relation: Relation, cells: tuple[Cell, ...], *, is_whole: bool) -> dict[str, str | None]:
    held = _held(relation, cells)
    if is_whole:
        return held
    return {column.name: held[column.name] for column in relation.columns if column.is_identity and column.name in held}


def commit_timestamp(time_us: int) -> str:
    """Unix microseconds as upstream writes them: ``2026-01-01T00:00:00.123Z``, cut to milliseconds."""
    moment = datetime.fromtimestamp(time_us // 1_000_000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{time_us // 1000 % 1000:03d}Z"
