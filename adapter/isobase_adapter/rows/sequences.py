"""Moves sequences, so that the side that is written next never hands out a number that the other one has used.

A sequence counts on at the target from the farthest of three: where it is at the source, where it is at the target, and
the highest value in the columns that take their default from it (``free_sequences`` have none). A ``gap`` more is put
before Supabase's when Isobase becomes the writer, so that a fallback write's number never meets one of Isobase's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from isobase_adapter.rows.catalog import UnknownTable
from isobase_adapter.rows.database import SideDatabase
from isobase_adapter.rows.free_sequences import free_sequences
from isobase_adapter.rows.pairs import Pairs
from isobase_adapter.rows.quoting import qualified, quote_identifier, split_resource
from isobase_adapter.sides import Side

__all__ = [
    "FALLBACK_GAP",
    "Position",
    "SequenceFull",
    "SequenceMove",
    "compared_positions",
    "move_sequences",
    "positions",
]

FALLBACK_GAP = 1_000_000
"""How far Supabase's sequences are put ahead while Isobase is the writer. A sequence with less room than ten times that
gets a tenth of its room.
"""
SHARE_OF_ROOM = 10


class SequenceFull(RuntimeError):
    """A sequence has no number left beyond the other side's."""


@dataclass(slots=True, frozen=True)
class Position:
    """Where a sequence is. ``next_value``: the number that it hands out next."""

    next_value: int
    increment: int
    min_value: int
    max_value: int

    def farther(self, *values: int) -> int:
        """The value of these and its own that is farthest in the sequence's direction."""
        return max(self.next_value, *values) if self.increment > 0 else min(self.next_value, *values)

    def ahead(self, value: int, gap: int) -> int:
        """``value`` and ``gap`` numbers more, or a share of the room that is left where there is not enough."""
        room = (self.max_value - value if self.increment > 0 else value - self.min_value) // abs(self.increment)
        return value + self.increment * max(min(gap, room // SHARE_OF_ROOM), 0)


@dataclass(slots=True, frozen=True)
class SequenceMove:
    """A sequence at the target, before and after: the numbers that it would hand out next."""

    sequence: str
    before: int
    after: int
    side: str = ""


async def positions(database: SideDatabase, resources: Iterable[str]) -> dict[str, Position]:
    """Read where sequences (``schema.sequence``) are; one that is not there is left out."""
    known = await database.fetch(
        "select n.nspname || '.' || c.relname as sequence, s.seqincrement as increment, s.seqmin as low, s.seqmax as high "
        "from pg_sequence s join pg_class c on c.oid = s.seqrelid join pg_namespace n on n.oid = c.relnamespace "
        "where n.nspname || '.' || c.relname = any($1::text[])",
        sorted(set(resources)),
    )
    found: dict[str, Position] = {}
    for row in known:
        (state,) = await database.fetch(
            f"select last_value, is_called from {qualified(*split_resource(row['sequence']))}"
        )
        following = state["last_value"] + (row["increment"] if state["is_called"] else 0)
        found[row["sequence"]] = Position(following, row["increment"], row["low"], row["high"])
    return found


async def compared_positions(pairs: Pairs) -> dict[str, dict[Side, Position]]:
    """Read where the sequences of all tables of both sides, and those of functions alone, are at each side."""
    names = [*await _columns_by_sequence(pairs, None), *(sequence.name for sequence in await free_sequences(pairs))]
    found: dict[str, dict[Side, Position]] = {}
    for side, database in pairs.databases.items():
        for sequence, position in (await positions(database, names)).items():
            found.setdefault(sequence, {})[side] = position
    return found


async def move_sequences(
    pairs: Pairs, target: Side, *, gap: int = 0, tables: Iterable[str] | None = None
) -> list[SequenceMove]:
    """Put the target's sequences past the source's and past the columns' values at both sides.

    gap: numbers to leave out besides. tables: ``schema.table`` whose sequences to move, None for those of all tables
    that both sides have. Those that functions alone count with go past the source's with any table, and get a gap with
    tables that they may count for. Numbers are never taken back: a sequence that is ahead already stays. Raises
    ``SequenceFull`` before anything is moved.
    """
    tables = None if tables is None else frozenset(tables)
    columns = dict(await _columns_by_sequence(pairs, tables))
    without_gap: set[str] = set()
    if tables is None or tables:
        for free in await free_sequences(pairs):
            columns[free.name] = []
            if not free.goes_with(tables):
                without_gap.add(free.name)
    there, here = await asyncio.gather(
        positions(pairs.databases[target.other], columns), positions(pairs.databases[target], columns)
    )
    moves: list[SequenceMove] = []
    for sequence, mine in sorted(here.items()):
        used = await _used(pairs, columns[sequence], mine)
        theirs = [there[sequence].next_value] if sequence in there else []
        wanted = mine.ahead(mine.farther(*theirs, *used), 0 if sequence in without_gap else gap)
        if not mine.min_value <= wanted <= mine.max_value:
            raise SequenceFull(f"{sequence} at {target} has no number beyond {wanted}")
        moves.append(SequenceMove(sequence, mine.next_value, wanted, str(target)))
    for move in moves:
        if move.after != move.before:
            name = qualified(*split_resource(move.sequence))
            await pairs.databases[target].fetch("select setval($1::text::regclass, $2, false)", name, move.after)
    return moves


async def _columns_by_sequence(pairs: Pairs, tables: Iterable[str] | None) -> Mapping[str, list[tuple[str, str]]]:
    """Give for each sequence the (table, column) that take their default from it, at either side."""
    views = [await database.catalog.view() for database in pairs.databases.values()]
    wanted = set(tables) if tables is not None else set.intersection(*(set(view.tables) for view in views))
    found: dict[str, list[tuple[str, str]]] = {}
    for resource in sorted(wanted):
        try:
            pair = await pairs.pair(resource)
        except UnknownTable:
            continue
        for table in (pair.supabase, pair.isobase):
            for owned in table.sequences:
                place = (pair.resource, owned.column)
                if place not in found.setdefault(owned.resource, []):
                    found[owned.resource].append(place)
    return found


async def _used(pairs: Pairs, columns: list[tuple[str, str]], position: Position) -> list[int]:
    """Give the numbers after the farthest value of each column at each side."""
    farthest = "max" if position.increment > 0 else "min"
    used: list[int] = []
    for resource, column in columns:
        pair = await pairs.pair(resource)
        for side, database in pairs.databases.items():
            table = pair.at(side)
            known = table.column(column)
            if known is None or known.base not in {"int2", "int4", "int8"}:
                continue
            name = qualified(table.schema, table.name)
            (row,) = await database.fetch(f"select {farthest}(t.{quote_identifier(column)})::bigint as v from {name} t")
            # A value that was put in by hand, against the direction or beyond the end, is none that it would meet.
            if row["v"] is not None and position.min_value <= row["v"] < position.max_value:
                used.append(row["v"] + position.increment)
    return used
