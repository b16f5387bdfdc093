"""The outbox in the control store's SQLite file, for clients of one host that share no PostgreSQL.

What ``postgres`` decides in one statement is decided here in one transaction, of which the file lets one be at a time
(``begin immediate``): who is let in, what a handover waits for. Nothing is settled with the rows that are carried, as
those are elsewhere: a crash in between has them carried once more.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar
from uuid import UUID

from isobase_adapter.capabilities import Capability
from isobase_adapter.contracts import (
    CallRecord,
    Intent,
    IntentGone,
    OutboxAway,
    WriteBehind,
    WriterMoved,
    seconds_since_boot,
)
from isobase_adapter.control.errors import ControlAway
from isobase_adapter.control.sqlite import SqliteStore
from isobase_adapter.outbox.entries import (
    FENCE_LOCK_NUMBER,
    Item,
    OutboxLimits,
    delay_s,
    lock_numbers_to_check,
)
from isobase_adapter.outbox.statements_sqlite import (
    DUE,
    IN_THE_WAY,
    MAX_ERROR_LENGTH_CHARS,
    call_json,
    capability_of,
    clash,
    forget,
    insert,
    item_of,
    postpone,
    things_of,
    writer_in,
)
from isobase_adapter.sides import Side
from isobase_adapter.things import Thing

__all__ = ["FileFence", "SqliteOutbox"]

Result = TypeVar("Result")


class SqliteOutbox:
    """An ``Outbox``, and what drainers and handovers need of it, in the file of ``store``.

    client: this client's number in the store. limits: times and attempts.
    """

    def __init__(self, store: SqliteStore, client: UUID, limits: OutboxLimits | None = None) -> None:
        """Take the parts; the store is its owner's to open and close."""
        self.store = store
        self.client = client
        self.limits = limits or OutboxLimits()

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
        """Let a write in, as ``isobase.begin_write`` does (schema.sql)."""
        lease_s = self.limits.lease_s if lease_s is None else lease_s
        began_s = seconds_since_boot()

        def work(connection: sqlite3.Connection) -> tuple[int, bool]:
            writer = writer_in(connection, capability)
            if writer.is_handing_over or writer.epoch != epoch or writer.side is target:
                raise WriterMoved(f"{capability}: its writer moved")
            found = connection.execute(
                IN_THE_WAY,
                {
                    "numbers": json.dumps(lock_numbers_to_check(things)),
                    "target": str(target),
                    "capability": str(capability),
                    "resources": json.dumps([thing.resource for thing in things]),
                    "has_whole": any(thing.is_whole for thing in things),
                },
            ).fetchall()
            if any(row["state"] != "dead" and row["next_at"] is not None for row in found):
                if not over_conflicts:
                    raise WriteBehind(f"{capability}: something of it is still on its way")
                for row in found:
                    if row["state"] == "pending" and row["is_same"]:
                        clash(connection, row["id"])
                    elif row["state"] == "pending":
                        connection.execute(
                            "update outbox set next_at = null, error = 'waits for the next handover', updated_at = now_s()"
                            " where id = ?",
                            (row["id"],),
                        )
            number = insert(
                connection, "intent", capability, target, epoch, things, call_json(call), self.client, None, lease_s
            )
            return number, any(row["state"] != "intent" for row in found)

        number, is_queued = await self._do(work)
        return Intent(
            number,
            str(capability),
            target,
            epoch,
            tuple(things),
            is_queued,
            expires_at_s=began_s + lease_s,
            send_before_s=began_s + self.limits.send_within_s,
        )

    async def keep(self, intents: Sequence[Intent]) -> None:
        """Let leases begin anew, of intents that are still there."""
        numbers = [(self.limits.lease_s, intent.id) for intent in intents]
        await self._do(
            lambda connection: connection.executemany(
                "update outbox set lease_until = max(lease_until, now_s() + ?) where id = ? and state = 'intent'",
                numbers,
            )
        )

    async def settle(self, intent: Intent) -> None:
        """Forget the intent; raises ``IntentGone``, after what it named was made an item."""

        def work(connection: sqlite3.Connection) -> bool:
            return forget(connection, [intent.id], intent.target) == 1 or self._heal(connection, intent, intent.things)

        self._expect(await self._do(work))

    async def postpone(self, intent: Intent, things: Sequence[Thing], error: str) -> None:
        """Replace the intent by an item for each thing; raises ``IntentGone``, after they were made items all the same."""

        def work(connection: sqlite3.Connection) -> bool:
            return postpone(connection, intent, things, error) or self._heal(connection, intent, things)

        self._expect(await self._do(work))

    async def doubt(self, intent: Intent, error: str, *, has_ended: bool) -> None:
        """Have what the intent names compared: at once, and where the write may go on, again when the lease is over."""
        await self._do(
            lambda connection: postpone(connection, intent, intent.things, error, keeps_intent=not has_ended)
        )

    def fence(self, intent: Intent) -> FileFence:
        """What a carrier checks that carries for this intent."""
        return FileFence(self, (intent.id,), intent.target)

    def items_fence(self, items: Sequence[Item]) -> FileFence:
        """The same for items that go to one side together."""
        return FileFence(self, tuple(item.id for item in items), items[0].target)

    async def holds(self, numbers: Sequence[int], target: Side) -> bool:
        """Whether all of these entries are still there, on their way to ``target``."""
        row = await self._do(
            lambda connection: connection.execute(
                "select count(*) from outbox where id in (select value from json_each(?)) and target = ?"
                " and state <> 'dead'",
                (json.dumps(list(numbers)), str(target)),
            ).fetchone()
        )
        return int(row[0]) == len(numbers)

    async def take(self, limit: int, target: Side | None = None) -> list[Item]:
        """Take due items in the order in which they were postponed; nobody else gets them for ``carry_s`` seconds."""

        def work(connection: sqlite3.Connection) -> list[Item]:
            rows = connection.execute(
                DUE, {"target": None if target is None else str(target), "limit": limit}
            ).fetchall()
            until = time.time() + self.limits.carry_s
            connection.executemany(
                "update outbox set attempts = attempts + 1, lease_until = ?, next_at = ?, updated_at = now_s() where id = ?",
                [(until, until, row["id"]) for row in rows],
            )
            return [item_of(row, row["attempts"] + 1) for row in rows]

        return await self._do(work)

    async def expire(self, limit: int = 100) -> int:
        """Make items of intents whose lease is over; returns of how many."""

        def work(connection: sqlite3.Connection) -> int:
            rows = connection.execute(
                "select * from outbox where state = 'intent' and lease_until < now_s() order by id limit ?", (limit,)
            ).fetchall()
            for row in rows:
                things = things_of(row)
                intent = Intent(row["id"], row["capability"], Side(row["target"]), row["epoch"], things)
                postpone(connection, intent, things, "its end was never heard")
            return len(rows)

        return await self._do(work)

    async def done(self, items: Sequence[Item]) -> None:
        """Forget items that were carried to one side."""
        await self._do(lambda connection: forget(connection, [item.id for item in items], items[0].target))

    async def extend(self, item: Item) -> None:
        """Keep an item from others for another ``carry_s`` seconds."""
        until = time.time() + self.limits.carry_s
        await self._do(
            lambda connection: connection.execute(
                "update outbox set lease_until = ?1, next_at = ?1 where id = ?2 and state = 'pending'", (until, item.id)
            )
        )

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
        values = (
            "dead" if is_dead else "pending",
            delay_s(self.limits, item.attempts),
            error[:MAX_ERROR_LENGTH_CHARS],
            is_conflict,
            None if versions is None else json.dumps(versions, default=str),
            item.id,
            str(item.target),
        )
        found = await self._do(
            lambda connection: (
                connection.execute(
                    "update outbox set state = ?, lease_until = null, next_at = now_s() + ?, error = ?,"
                    " is_conflict = max(is_conflict, ?), versions = coalesce(?, versions), updated_at = now_s()"
                    " where id = ? and target = ? and state = 'pending'",
                    values,
                ).rowcount
            )
        )
        return is_dead and found == 1

    async def unread(self, limit: int = 50) -> list[Item]:
        """Give conflicts whose versions nobody could read yet; what they name is carried nowhere before."""
        rows = await self._do(
            lambda connection: connection.execute(
                "select * from outbox where state = 'dead' and is_conflict and versions is null order by id limit ?",
                (limit,),
            ).fetchall()
        )
        return [item_of(row, row["attempts"]) for row in rows]

    async def keep_versions(self, item: Item, versions: Mapping[str, Any]) -> None:
        """Keep what both sides held, in a conflict's letter."""
        text = json.dumps(versions, default=str)
        await self._do(
            lambda connection: connection.execute(
                "update outbox set versions = ?, updated_at = now_s() where id = ? and state = 'dead' and versions is null",
                (text, item.id),
            )
        )

    async def later(self, item: Item, wait_s: float) -> None:
        """Give an item back that could not be tried: it costs no attempt."""
        await self._do(
            lambda connection: connection.execute(
                "update outbox set lease_until = null, attempts = max(attempts - 1, 0), next_at = now_s() + ?"
                " where id = ? and target = ? and state = 'pending'",
                (wait_s, item.id, str(item.target)),
            )
        )

    async def next_in_s(self) -> float | None:
        """Seconds until something is due; None where nothing waits."""
        row = await self._do(
            lambda connection: connection.execute(
                "select min(case when state = 'intent' then lease_until else next_at end) - now_s()"
                " from outbox where state <> 'dead'"
            ).fetchone()
        )
        return None if row[0] is None else float(row[0])

    async def waiting(self, target: Side | None = None, capability: Capability | None = None) -> int:
        """How many intents and items there are, without dead ones."""
        row = await self._do(
            lambda connection: connection.execute(
                "select count(*) from outbox where state <> 'dead' and (?1 is null or target = ?1)"
                " and (?2 is null or capability = ?2)",
                (None if target is None else str(target), None if capability is None else str(capability)),
            ).fetchone()
        )
        return int(row[0])

    async def _do(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        try:
            return await self.store.transact(work)
        except ControlAway as away:
            raise OutboxAway(str(away)) from away

    def _heal(self, connection: sqlite3.Connection, intent: Intent, things: Sequence[Thing]) -> bool:
        """Somebody took the intent over before the write ended, as it has now: have the state carried once more."""
        capability = capability_of(intent.capability)
        writer = writer_in(connection, capability)
        connection.execute("delete from outbox where id = ? and state = 'intent'", (intent.id,))
        for thing in dict.fromkeys(things):
            why = "its lease was over before it ended"
            insert(connection, "pending", capability, writer.side.other, writer.epoch, [thing], "{}", self.client, why)
        return False

    def _expect(self, is_there: bool) -> None:
        if not is_there:
            raise IntentGone("its lease was over, or the writer was moved")


class FileFence:
    """The fence of entries in the file: as long as they are there, no writer has moved past them.

    Carriers hold the side's file lock beside it (``outbox.locks``), which a handover takes alone.
    """

    def __init__(self, outbox: SqliteOutbox, numbers: tuple[int, ...], target: Side) -> None:
        """Take the entries' numbers."""
        self._outbox, self._numbers, self._target = outbox, numbers, target

    @property
    def lock_number(self) -> int:
        """The number that carriers with a database lock there, shared."""
        return FENCE_LOCK_NUMBER

    async def check(self, connection: Any | None) -> bool:
        """See that the entries are there; they are settled afterwards."""
        if not await self._outbox.holds(self._numbers, self._target):
            raise WriterMoved("somebody else has taken this over")
        return False
