"""Follows one side's log and carries what its rows became to the other side, for the tables that this side writes first.

One round: look at what the slot holds, carry the keys of the rows that changed, and only then let the slot go on. So
whoever is killed anywhere carries a few rows once more, which changes nothing (docs/decisions/0037-state-is-carried.md).
Changes of a side that is not the writer are a carrier's own (its mark says so, or both rows are equal), or somebody
writes past the adapter: those are told of, never overwritten silently and never carried.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from isobase_adapter.bulk.capture import PUBLICATION, Owe, Slot, ensure_publication, ensure_slot, read_slot
from isobase_adapter.bulk.connections import Connection
from isobase_adapter.bulk.pgoutput import ChangedRow, Commit, Decoder
from isobase_adapter.rows.database import CARRIED_MARK
from isobase_adapter.rows.keys import row_thing
from isobase_adapter.rows.tables import Table
from isobase_adapter.sides import Side
from isobase_adapter.things import Thing, ThingKind

__all__ = ["Follower", "Round", "Stray", "is_better_compared"]

logger = logging.getLogger("isobase.migration.sync")

CHANGES_PER_ROUND = 5000
"""A round ends with the transaction in which this many changes are reached."""
MAX_KEYS = 20_000
"""So many keys are held in memory; then they are carried before the log is read on."""
MAX_KEYS_PER_TABLE = 5_000
ROWS_PER_KEY = 20
"""With more keys than that in one go, and fewer rows than this for each, a table is compared as a whole instead."""
PREFETCHED = 500


def is_better_compared(table: Table, keys: int) -> bool:
    """Whether comparing a table as a whole costs less than carrying so many of its rows one by one.

    A busy table that is large must not be compared anew in every round; one of unknown size may be large.
    """
    return keys > MAX_KEYS_PER_TABLE and 0 <= table.estimated_rows < keys * ROWS_PER_KEY


Carry = Callable[[Sequence[Thing], Side], Awaitable[None]]
"""Carries things to a side."""
Equal = Callable[[Sequence[Thing]], Awaitable[Sequence[Thing]]]
"""Gives those of some rows that differ between the sides."""


@dataclass(slots=True, frozen=True)
class Stray:
    """Rows of a table that somebody wrote on the side that is not its writer."""

    resource: str
    things: tuple[Thing, ...]
    is_whole: bool = False


@dataclass(slots=True)
class Round:
    """What one round came to. ``is_idle``: nothing was waiting. ``last_commit_at``: of the youngest transaction read."""

    changes: int = 0
    carried: int = 0
    swept: list[str] = field(default_factory=list)
    strays: list[Stray] = field(default_factory=list)
    one_sided: set[str] = field(default_factory=set)
    """Tables that changed and that the other side has not."""
    last_commit_at: datetime | None = None
    is_idle: bool = True
    read_lsn: int = 0
    """To where the log is read."""


class Follower:
    """Reads one side's slot. ``connection``: to that side's database, for this alone."""

    def __init__(self, side: Side, connection: Connection, *, carry: Carry, differing: Equal) -> None:
        self.side = side
        self._connection = connection
        self._carry = carry
        self._differing = differing
        self._decoder = Decoder({})
        self._slot = ""

    async def start(self, owe: Owe | None = None) -> None:
        """Make publication and slot where they are not. owe: told what has to be compared because of it, before it is.

        Raises ``Refused``.
        """
        await ensure_publication(self._connection, owe)
        await ensure_slot(self._connection, owe)
        slot = await read_slot(self._connection)
        assert slot is not None
        self._slot = slot.name

    async def slot(self) -> Slot | None:
        """Give the slot as it is now."""
        return await read_slot(self._connection)

    async def flush(self) -> int:
        """Have the server write its log down to here, and give where that is: all that is committed by now is before it.

        Transactions with ``synchronous_commit = off`` are in the log's file only some moments later.
        """
        async with self._connection.transaction():
            await self._connection.execute("set local synchronous_commit = on")
            await self._connection.execute("select pg_logical_emit_message(true, $1, '')", CARRIED_MARK)
        reached: int = await self._connection.fetchval("select (pg_current_wal_flush_lsn() - '0/0')::bigint")
        return reached

    async def include_new_tables(self, owe: Owe) -> None:
        """Publish tables that were made meanwhile. owe: told which, before they are."""
        await ensure_publication(self._connection, owe)

    async def round(self, writer_of: Callable[[str], Side], tables: Mapping[str, Table]) -> Round:
        """Carry what the log holds now.

        writer_of: the side that is written first, by ``schema.table``. tables: those that both sides have.
        """
        self._decoder = Decoder({name: table.key for name, table in tables.items()})
        done = Round()
        waiting = _Waiting()
        reached = 0
        end_lsn: int = await self._connection.fetchval("select (pg_current_wal_flush_lsn() - '0/0')::bigint")
        async with self._connection.transaction():
            records = self._connection.cursor(
                "select data from pg_logical_slot_peek_binary_changes($1, $2::text::pg_lsn, $3,"
                " 'proto_version', '1', 'publication_names', $4, 'messages', 'true')",
                self._slot,
                _lsn(end_lsn),
                CHANGES_PER_ROUND,
                PUBLICATION,
                prefetch=PREFETCHED,
            )
            async for record in records:
                for message in self._decoder.decode(record["data"]):
                    if isinstance(message, Commit):
                        reached, done.last_commit_at = message.end_lsn, message.at
                        continue
                    done.changes += 1
                    if message.resource not in tables:
                        done.one_sided.add(message.resource)
                        continue
                    is_writers = writer_of(message.resource) is self.side
                    if not is_writers and message.is_carried:
                        continue
                    waiting.add(message.resource, message.keys if isinstance(message, ChangedRow) else None, tables)
                if waiting.size >= MAX_KEYS:
                    await self._settle(waiting, writer_of, tables, done)
                    waiting = _Waiting()
        await self._settle(waiting, writer_of, tables, done)
        # Where nothing was waiting, what lies before end_lsn is of no interest to anybody.
        done.is_idle = not reached
        await self._connection.execute(
            "select pg_replication_slot_advance(s.slot_name, greatest(s.confirmed_flush_lsn, $2::text::pg_lsn))"
            " from pg_replication_slots as s where s.slot_name = $1 and $2::text::pg_lsn > s.confirmed_flush_lsn",
            self._slot,
            _lsn(reached or end_lsn),
        )
        done.read_lsn = reached or end_lsn
        if done.last_commit_at is None:
            done.last_commit_at = datetime.now(UTC)
        return done

    async def _settle(
        self, waiting: _Waiting, writer_of: Callable[[str], Side], tables: Mapping[str, Table], done: Round
    ) -> None:
        for resource, keys in waiting.by_resource.items():
            is_whole = keys is None or is_better_compared(tables[resource], len(keys))
            whole = Thing(ThingKind.TABLE, resource)
            if writer_of(resource) is self.side:
                things = [whole] if is_whole or keys is None else list(keys)
                await self._carry(things, self.side.other)
                done.carried += len(things)
                if is_whole:
                    done.swept.append(resource)
            elif keys is None:
                done.strays.append(Stray(resource, (), is_whole=True))
            else:
                differing = await self._differing(list(keys))
                if differing:
                    done.strays.append(Stray(resource, tuple(differing)))


class _Waiting:
    """Keys that changed, by table, each once; None where a table has to be compared as a whole."""

    def __init__(self) -> None:
        self.by_resource: dict[str, dict[Thing, None] | None] = {}
        self.size = 0

    def add(self, resource: str, keys: tuple[dict[str, str], ...] | None, tables: Mapping[str, Table]) -> None:
        if keys is None:
            self.by_resource[resource] = None
            return
        known = self.by_resource.setdefault(resource, {})
        if known is None:
            return
        before = len(known)
        for key in keys:
            known[row_thing(tables[resource], key)] = None
        self.size += len(known) - before


def _lsn(number: int) -> str:
    return f"{number >> 32:X}/{number & 0xFFFFFFFF:X}"
