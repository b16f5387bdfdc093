"""The outbox in PostgreSQL: table ``isobase.outbox`` of the Isobase side's database (schema.sql, section 6).

Every call is one statement in one round trip. What is let in, and what a handover waits for, is decided in the
database (``isobase.begin_write``), never by what a client remembers.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg

from isobase_adapter.capabilities import Capability, Kind
from isobase_adapter.contracts import (
    CallRecord,
    Intent,
    IntentGone,
    OutboxAway,
    StillOpposed,
    WriteBehind,
    WriterMoved,
    seconds_since_boot,
)
from isobase_adapter.failures import DATABASE_FAILURES
from isobase_adapter.outbox import statements
from isobase_adapter.outbox.entries import (
    ADMISSION_LOCK_NUMBER,
    END_IF_LEFT_OPEN,
    FENCE_LOCK_NUMBER,
    Item,
    OutboxLimits,
    RowEdit,
    delay_s,
    lock_numbers_to_check,
)
from isobase_adapter.sides import Side
from isobase_adapter.things import Thing, distinct

__all__ = ["EntryFence", "PostgresOutbox", "WriterFence", "asking"]

logger = logging.getLogger("isobase.migration.outbox")

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

STATEMENT_TIMEOUT_S = 10.0
DISOWN_AFTER_S = 12.0
"""Longer than ``STATEMENT_TIMEOUT_S``: until then an intent may be one that its client is about to hear of."""
MAX_ERROR_LENGTH_CHARS = 500
KINDS = {Kind.TABLE: ["row", "table"], Kind.BUCKET: ["object", "objects", "bucket"]}
"""What stands in the outbox for a capability's; users are merged, whatever waits."""
MISSING = (asyncpg.UndefinedTableError, asyncpg.UndefinedFunctionError, asyncpg.InvalidSchemaNameError)


@asynccontextmanager
async def asking(pool: Pool) -> AsyncIterator[asyncpg.pool.PoolConnectionProxy[asyncpg.Record]]:
    """Give a connection; what keeps the database from answering becomes ``OutboxAway``."""
    try:
        async with pool.acquire(timeout=STATEMENT_TIMEOUT_S) as connection:
            yield connection
    except MISSING as error:
        raise OutboxAway("the database has no tables of the move: apply schema.sql (`isobase db up`)") from error
    except DATABASE_FAILURES as error:
        raise OutboxAway(f"the outbox cannot be reached: {type(error).__name__}") from error


class PostgresOutbox:
    """An ``Outbox``, and what drainers and handovers need of it.

    pool: connections to the Isobase side's database, as ``postgres``. client: this client's number in
    ``isobase.migration_clients``. limits: times and attempts.
    """

    def __init__(self, pool: Pool, client: UUID, limits: OutboxLimits | None = None) -> None:
        """Take the parts."""
        self.pool = pool
        self.limits = limits or OutboxLimits()
        self.client = client

    async def begin(
        self,
        capability: Capability,
        *,
        target: Side,
        epoch: int,
        call: CallRecord,
        things: Sequence[Thing],
        lease_s: float | None = None,
        over_conflicts: bool = False,
    ) -> Intent:
        """Let a write in.

        over_conflicts: what should be carried the other way first becomes a dead letter, instead of ``WriterMoved``.
        """
        lease_s = self.limits.lease_s if lease_s is None else lease_s
        began_s = seconds_since_boot()
        async with asking(self.pool) as connection:
            row = await connection.fetchrow(
                statements.BEGIN,
                str(capability),
                str(target),
                epoch,
                json.dumps([thing.as_json() for thing in things], default=str),
                lock_numbers_to_check(things),
                any(thing.is_whole for thing in things),
                _call_json(call),
                lease_s,
                self.client,
                over_conflicts,
                timeout=STATEMENT_TIMEOUT_S,
            )
        if row is None or row["verdict"] != "in":
            if row is not None and row["verdict"] == "behind":
                raise WriteBehind(f"{capability}: something of it is still on its way")
            raise WriterMoved(f"{capability}: its writer moved")
        return Intent(
            row["id"],
            str(capability),
            target,
            epoch,
            tuple(things),
            row["is_queued"],
            expires_at_s=began_s + lease_s,
            send_before_s=began_s + self.limits.send_within_s,
        )

    async def keep(self, intents: Sequence[Intent]) -> None:
        """Let leases begin anew, of intents that are still there."""
        numbers = [intent.id for intent in intents]
        async with asking(self.pool) as connection:
            await connection.execute(statements.KEEP, numbers, self.limits.lease_s, timeout=STATEMENT_TIMEOUT_S)

    async def settle(self, intent: Intent) -> None:
        """Forget the intent; raises ``IntentGone``, after what it named was made an item."""
        async with asking(self.pool) as connection:
            if (
                await connection.fetchval(
                    statements.SETTLE, [intent.id], str(intent.target), timeout=STATEMENT_TIMEOUT_S
                )
                is None
            ):
                await self._heal(connection, intent, intent.things)

    async def postpone(self, intent: Intent, things: Sequence[Thing], error: str) -> None:
        """Replace the intent by an item for each thing; raises ``IntentGone``, after they were made items all
        the same.
        """
        async with asking(self.pool) as connection:
            if (
                await connection.fetchval(
                    statements.POSTPONE, *_items(intent, things, error, keeps_intent=False), timeout=STATEMENT_TIMEOUT_S
                )
                is None
            ):
                await self._heal(connection, intent, things)

    async def doubt(self, intent: Intent, error: str, *, has_ended: bool) -> None:
        """Have what the intent names compared:

        at once, and where the write may go on, again when the lease is over.
        """
        parameters = _items(intent, intent.things, error, keeps_intent=not has_ended)
        async with asking(self.pool) as connection:
            await connection.fetchval(statements.POSTPONE, *parameters, timeout=STATEMENT_TIMEOUT_S)

    async def disown(self, known: Sequence[int]) -> None:
        """Doubt intents of this client that are none of ``known``, the numbers of its open ones: nobody else will."""
        async with asking(self.pool) as connection:
            await connection.execute(
                statements.DISOWN, self.client, list(known), DISOWN_AFTER_S, timeout=STATEMENT_TIMEOUT_S
            )

    def fence(self, intent: Intent) -> EntryFence:
        """Settle the intent with the rows where they go to the outbox's own database."""
        return EntryFence(self, (intent.id,), intent.target, {(intent.capability, intent.epoch)})

    def items_fence(self, items: Sequence[Item]) -> EntryFence:
        """The same for items that go to one side together."""
        written = {(item.capability, item.epoch) for item in items}
        return EntryFence(self, tuple(item.id for item in items), items[0].target, written)

    def writer_fence(self, capability: Capability, target: Side, epoch: int) -> WriterFence:
        """For carrying without an entry (sync, repair, bulk copy): the source must still be the writer."""
        return WriterFence(self, capability, target, epoch)

    async def take(self, limit: int, target: Side | None = None) -> list[Item]:
        """Take due items in the order in which they were postponed; nobody else gets them for ``carry_s`` seconds."""
        async with asking(self.pool) as connection:
            rows = await connection.fetch(
                statements.TAKE,
                None if target is None else str(target),
                limit,
                self.limits.carry_s,
                timeout=STATEMENT_TIMEOUT_S,
            )
        return sorted(map(_item, rows), key=lambda item: item.id)

    async def expire(self, limit: int = 100) -> int:
        """Make items of intents whose lease is over; returns of how many."""
        async with asking(self.pool) as connection:
            rows = await connection.fetch(statements.EXPIRED, limit, timeout=STATEMENT_TIMEOUT_S)
            for row in rows:
                things = tuple(Thing.from_json(value) for value in json.loads(row["things"]))
                intent = Intent(row["id"], row["capability"], Side(row["target"]), row["epoch"], things)
                await connection.fetchval(
                    statements.POSTPONE,
                    *_items(intent, things, "its end was never heard", keeps_intent=False),
                    timeout=STATEMENT_TIMEOUT_S,
                )
        return len(rows)

    async def done(self, items: Sequence[Item]) -> None:
        """Forget items that were carried to one side."""
        numbers = [item.id for item in items]
        async with asking(self.pool) as connection:
            await connection.fetch(statements.SETTLE, numbers, str(items[0].target), timeout=STATEMENT_TIMEOUT_S)

    async def extend(self, item: Item) -> None:
        """Keep an item from others for another ``carry_s`` seconds."""
        async with asking(self.pool) as connection:
            await connection.execute(statements.EXTEND, item.id, self.limits.carry_s, timeout=STATEMENT_TIMEOUT_S)

    async def failed(
        self,
        item: Item,
        error: str,
        *,
        is_final: bool = False,
        is_conflict: bool = False,
        versions: Mapping[str, Any] | None = None,
    ) -> bool:
        """Try an item again later, or make it a dead letter; returns whether it is dead now."""
        is_dead = is_final or is_conflict or item.attempts >= self.limits.attempts
        async with asking(self.pool) as connection:
            found = await connection.fetchval(
                statements.FAIL,
                item.id,
                str(item.target),
                is_dead,
                delay_s(self.limits, item.attempts),
                error[:MAX_ERROR_LENGTH_CHARS],
                is_conflict,
                None if versions is None else json.dumps(versions, default=str),
                timeout=STATEMENT_TIMEOUT_S,
            )
        return is_dead and found is not None

    async def unread(self, limit: int = 50) -> list[Item]:
        """Give conflicts whose versions nobody could read yet; what they name is carried nowhere before."""
        async with asking(self.pool) as connection:
            return [_item(row) for row in await connection.fetch(statements.UNREAD, limit, timeout=STATEMENT_TIMEOUT_S)]

    async def keep_versions(self, item: Item, versions: Mapping[str, Any]) -> None:
        """Keep what both sides held, in a conflict's letter."""
        async with asking(self.pool) as connection:
            await connection.execute(
                statements.KEEP_VERSIONS, item.id, json.dumps(versions, default=str), timeout=STATEMENT_TIMEOUT_S
            )

    async def later(self, item: Item, wait_s: float) -> None:
        """Give an item back that could not be tried: it costs no attempt."""
        async with asking(self.pool) as connection:
            await connection.execute(statements.LATER, item.id, str(item.target), wait_s, timeout=STATEMENT_TIMEOUT_S)

    async def next_in_s(self) -> float | None:
        """Seconds until something is due; None where nothing waits."""
        async with asking(self.pool) as connection:
            seconds: float | None = await connection.fetchval(statements.NEXT, timeout=STATEMENT_TIMEOUT_S)
        return seconds

    async def waiting(self, target: Side | None = None, capability: Capability | None = None) -> int:
        """How many intents and items there are, without dead ones."""
        async with asking(self.pool) as connection:
            count = await connection.fetchval(
                statements.COUNT,
                None if target is None else str(target),
                None if capability is None else str(capability),
                timeout=STATEMENT_TIMEOUT_S,
            )
        return int(count)

    async def _heal(
        self,
        connection: asyncpg.pool.PoolConnectionProxy[asyncpg.Record],
        intent: Intent,
        things: Sequence[Thing],
    ) -> None:
        """Somebody took the intent over before the write ended, as it has now:

        have the writer's state carried once more.
        """
        async with connection.transaction():
            # A statement of its own, so that the next one sees who is the writer now, and no flip passes it by.
            await connection.execute(END_IF_LEFT_OPEN)
            await connection.execute("select pg_advisory_xact_lock_shared($1)", ADMISSION_LOCK_NUMBER)
            await connection.execute(statements.END, intent.id)
            await connection.execute(
                statements.HEAL,
                intent.capability,
                self.client,
                "its lease was over before it ended",
                _things_json(things),
                [thing.lock_number for thing in things],
                timeout=STATEMENT_TIMEOUT_S,
            )
        raise IntentGone("its lease was over, or the writer was moved")


class EntryFence:
    """The fence of entries of the outbox: as long as they are there, no writer has moved past them."""

    def __init__(
        self, outbox: PostgresOutbox, numbers: tuple[int, ...], target: Side, written: set[tuple[str, int]]
    ) -> None:
        """Take the entries' numbers, and the capabilities and epochs in which they were written."""
        self._outbox, self._numbers, self._target, self._written = outbox, numbers, target, sorted(written)

    @property
    def lock_number(self) -> int:
        """The lock that handovers take exclusively."""
        return FENCE_LOCK_NUMBER

    async def check(self, connection: Any | None) -> bool:
        """Settle in the target's own transaction where that is the outbox's database; else see that they are
        there.
        """
        is_same = connection is not None and self._target is Side.ISOBASE
        if connection is not None and is_same:
            found = await connection.fetch(statements.SETTLE, self._numbers, str(self._target))
        else:
            async with asking(self._outbox.pool) as own:
                found = await own.fetch(statements.CHECK, self._numbers, str(self._target), timeout=STATEMENT_TIMEOUT_S)
        if len(found) < len(self._numbers):
            raise WriterMoved("somebody else has taken this over")
        if connection is not None and self._target is Side.SUPABASE and self._written:
            await _refuse_recorded(connection, self._written)
        return is_same


class WriterFence:
    """The fence of what has no entry: the writer must be the source, in the epoch in which the work began, and must have got
    all that the target took before a failover.
    """

    def __init__(self, outbox: PostgresOutbox, capability: Capability, target: Side, epoch: int) -> None:
        """Take what has to hold."""
        self._outbox, self._capability, self._target, self._epoch = outbox, capability, target, epoch

    @property
    def lock_number(self) -> int:
        """The lock that handovers take exclusively."""
        return FENCE_LOCK_NUMBER

    async def check(self, connection: Any | None) -> bool:
        """Read the writer; there is nothing to settle. Raises ``WriterMoved``, ``StillOpposed``."""
        if connection is not None and self._target is Side.ISOBASE:
            row, is_on_its_way = await self._read(connection)
        else:
            async with asking(self._outbox.pool) as own:
                row, is_on_its_way = await self._read(own)
        side, epoch = (Side.SUPABASE, 0) if row is None else (Side(row["side"]), row["epoch"])
        if side is not self._target.other or epoch != self._epoch:
            raise WriterMoved(f"{self._capability}: {side} is the writer in epoch {epoch}")
        if is_on_its_way is not None:
            what = f"{self._capability}: writes that {self._target} took have not reached {side}"
            raise WriteBehind(what) if is_on_its_way else StillOpposed(what)
        if connection is not None and self._target is Side.SUPABASE:
            await _refuse_recorded(connection, [(str(self._capability), self._epoch)])
        return False

    async def _read(self, connection: Any) -> tuple[Any, bool | None]:
        row = await connection.fetchrow(statements.WRITER, str(self._capability), timeout=STATEMENT_TIMEOUT_S)
        kinds = KINDS.get(self._capability.kind)
        if kinds is None:
            return row, None
        opposed = (str(self._target.other), self._capability.name, kinds)
        return row, await connection.fetchval(statements.OPPOSED, *opposed, timeout=STATEMENT_TIMEOUT_S)


async def _refuse_recorded(supabase: Any, written: Sequence[tuple[str, int]]) -> None:
    """Nothing is carried to Supabase while somebody writes there alone (``fallback``)."""
    if not await supabase.fetchval(statements.HAS_RECORDS):
        return
    capabilities, epochs = [capability for capability, _ in written], [epoch for _, epoch in written]
    if await supabase.fetchval(statements.IS_RECORDED, capabilities, epochs):
        raise WriterMoved("Supabase is written by a client that cannot reach Isobase; its writes come first")


def _item(row: asyncpg.Record) -> Item:
    return Item(
        row["id"],
        row["capability"],
        Side(row["target"]),
        row["epoch"],
        Thing.from_json(json.loads(row["thing"])),
        row["attempts"],
        row["before_hash"],
        RowEdit.from_text(row["edit"]),
    )


def _items(intent: Intent, things: Sequence[Thing], error: str, *, keeps_intent: bool) -> tuple[Any, ...]:
    """The parameters of POSTPONE."""
    things = distinct(things)
    return (
        intent.id,
        str(intent.target),
        _things_json(things),
        [thing.lock_number for thing in things],
        [thing.lock_number for thing in things if thing.is_whole],
        error[:MAX_ERROR_LENGTH_CHARS] or None,
        keeps_intent,
    )


def _things_json(things: Sequence[Thing]) -> list[str]:
    return [json.dumps(thing.as_json(), default=str) for thing in things]


def _call_json(call: CallRecord) -> str:
    return json.dumps({"method": call.method, "path": call.path, "detail": dict(call.detail)}, default=str)
