"""Handover and failover where writers and outbox are in the SQLite file of one host.

The protocol is ``handover``'s. A mark of a coordinator that died is lifted as soon as nobody holds its file lock; the
fence is a file lock as well, which carriers hold shared (``outbox.locks``).
"""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from typing import TypeVar
from uuid import UUID

from isobase_adapter.capabilities import Capability, most_specific
from isobase_adapter.contracts import Event, OutboxAway, Writer
from isobase_adapter.control.errors import ControlAway
from isobase_adapter.control.sqlite import SqliteStore
from isobase_adapter.handover_desk import (
    OVERDUE_S,
    Backlog,
    Desk,
    HandoverLimits,
    HandoverRefused,
    HandoverTaken,
    LateClient,
)
from isobase_adapter.outbox.locks import HostLocks
from isobase_adapter.outbox.statements_sqlite import capability_of, writer_in
from isobase_adapter.sides import Side
from isobase_adapter.things import ThingKind

__all__ = ["FileDesks", "fail_over_in_file", "lift_abandoned_in_file"]

logger = logging.getLogger("isobase.migration.handover")

Result = TypeVar("Result")

LIFTED = (
    "handing_over_to = null, handing_over_since = null, handing_over_by = null,"
    " handover = json_remove(handover, '$.mark')"
)


class FileDesks:
    """Desks at a control file. store: an open one; locks: those beside its file."""

    def __init__(self, store: SqliteStore, locks: HostLocks, limits: HandoverLimits | None = None) -> None:
        """Take the parts."""
        self._store, self._locks, self._limits = store, locks, limits or HandoverLimits()

    @asynccontextmanager
    async def coordinating(self, pattern: str) -> AsyncIterator[Desk]:
        """Hold the pattern's file lock: it ends with the coordinator's process."""
        with self._locks.alone(_lock_name(pattern)) as is_held:
            if not is_held:
                raise HandoverTaken(f"{pattern}: somebody else is handing it over")
            yield FileDesk(self._store, self._locks, self._limits)

    async def backlog(self, pattern: str) -> Backlog:
        """What is on its way, in either direction."""
        return await FileDesk(self._store, self._locks, self._limits).backlog(pattern)


class FileDesk:
    """A desk at a control file."""

    def __init__(self, store: SqliteStore, locks: HostLocks, limits: HandoverLimits) -> None:
        """Take the parts."""
        self._store, self._locks, self._limits = store, locks, limits

    async def writer(self, pattern: str) -> Writer | None:
        """Give the pattern's own writer."""
        row = await self._do(
            lambda connection: connection.execute(
                "select side, epoch from writers where pattern = ?", (pattern,)
            ).fetchone()
        )
        return None if row is None else Writer(pattern, Side(row["side"]), row["epoch"])

    async def backlog(self, pattern: str) -> Backlog:
        """What is on its way, in either direction."""
        return await self._do(lambda connection: _backlog(connection, pattern))

    async def recent(self, clients: Collection[UUID], within_s: float) -> list[str]:
        """Name those that were heard within ``within_s`` seconds."""
        rows = await self._do(
            lambda connection: connection.execute(
                "select name, id from migration_clients where id in (select value from json_each(?))"
                " and seen_at > now_s() - ?",
                (_json(clients), within_s),
            ).fetchall()
        )
        return [f"{row['name']} ({row['id']})" for row in rows]

    async def forget(self, clients: Collection[UUID]) -> None:
        """Forget clients."""
        await self._do(
            lambda connection: connection.execute(
                "delete from migration_clients where id in (select value from json_each(?))", (_json(clients),)
            )
        )

    async def unmerged(self, to: Side, forgotten: Collection[UUID]) -> set[str]:
        """Nobody: whoever reaches the app's disk reaches the outbox."""
        return set()

    async def end_doubtful(self) -> None:
        """Nothing: no database is known that could say so; leases are waited for."""

    async def mark(self, pattern: str, to: Side, by: str, mark: str) -> int | None:
        """Let no write in."""

        def work(connection: sqlite3.Connection) -> int | None:
            done = connection.execute(
                "update writers set handing_over_to = ?, handing_over_since = now_s(), handing_over_by = ?,"
                " handover = json_set(handover, '$.mark', ?) where pattern = ? and side <> ?",
                (str(to), by or None, mark, pattern, str(to)),
            )
            if done.rowcount == 0:
                return None
            return int(connection.execute("select version from migration_state").fetchone()[0])

        return await self._do(work)

    async def unmark(self, pattern: str, mark: str) -> None:
        """Let writes in again."""
        await self._do(
            lambda connection: connection.execute(
                f"update writers set {LIFTED} where pattern = ? and handover ->> 'mark' = ?",  # noqa: S608 - no values
                (pattern, mark),
            )
        )

    async def late(self, version: int) -> list[LateClient]:
        """Give clients that do not act upon that change yet."""
        rows = await self._do(
            lambda connection: connection.execute(
                "select id, name, host, now_s() - seen_at as silent_s from migration_clients"
                " where version < ? or spooled > 0 order by started_at",
                (version,),
            ).fetchall()
        )
        return [LateClient(UUID(row["id"]), row["name"], row["host"], row["silent_s"]) for row in rows]

    async def carriers(self, to: Side) -> str:
        """Nobody can tell who holds a file's lock."""
        return ""

    async def unpark(self, pattern: str) -> None:
        """Have carried what waited."""

        def work(connection: sqlite3.Connection) -> None:
            connection.executemany(
                "update outbox set next_at = now_s(), error = null where id = ? and state = 'pending' and next_at is null",
                [(row["id"],) for row in _entries(connection, pattern)],
            )

        await self._do(work)

    async def flip(self, pattern: str, to: Side, mark: str) -> int | None:
        """Make ``to`` the writer."""

        def work(connection: sqlite3.Connection) -> int | None:
            if _entries(connection, pattern):
                return None
            if connection.execute("select 1 from migration_clients where spooled > 0").fetchone() is not None:
                return None
            done = connection.execute(
                "update writers set side = handing_over_to, epoch = epoch + 1, handing_over_to = null,"
                " handing_over_since = null, handing_over_by = null,"
                " handover = json_remove(handover, '$.mark', '$.failed_over_at')"
                " where pattern = ? and handover ->> 'mark' = ? and handing_over_to = ?",
                (pattern, mark, str(to)),
            )
            if done.rowcount == 0:
                return None
            return int(connection.execute("select epoch from writers where pattern = ?", (pattern,)).fetchone()[0])

        try:
            async with self._locks.fencing(to, self._limits.lock_s):
                return await self._do(work)
        except TimeoutError as error:
            raise HandoverRefused(f"carriers to {to} have not ended within {self._limits.lock_s:g} s") from error

    async def _do(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        return await _asked(self._store, work)


async def fail_over_in_file(
    store: SqliteStore,
    locks: HostLocks,
    capability: Capability,
    epoch: int,
    *,
    limits: HandoverLimits | None = None,
    tell: Callable[[Event], None] | None = None,
) -> Writer:
    """Make Supabase the writer at once; see ``handover.fail_over``."""
    limits = limits or HandoverLimits()

    def work(connection: sqlite3.Connection) -> tuple[Writer, bool]:
        writer = writer_in(connection, capability)
        if writer.side is not Side.ISOBASE or writer.epoch != epoch or writer.is_handing_over:
            return writer, False
        moved = epoch + 1
        connection.execute(
            "update writers set side = 'supabase', epoch = ?, handover = json_set(handover, '$.failed_over_at', now_s())"
            " where pattern = ?",
            (moved, writer.pattern),
        )
        # Nobody was told that these count: they go the way of the new writer.
        connection.executemany(
            "update outbox set target = 'isobase', epoch = ?, updated_at = now_s() where id = ? and target = 'supabase'",
            [(moved, row["id"]) for row in _entries(connection, writer.pattern) if row["state"] == "intent"],
        )
        return Writer(writer.pattern, Side.SUPABASE, moved), True

    try:
        async with locks.fencing(Side.SUPABASE, limits.lock_s):
            writer, has_moved = await _asked(store, work)
    except TimeoutError as error:
        raise HandoverRefused(f"carriers to {Side.SUPABASE} have not ended within {limits.lock_s:g} s") from error
    if has_moved:
        logger.warning("%s: Isobase is down; Supabase is written first in epoch %d", writer.pattern, writer.epoch)
        if tell is not None:
            tell(Event("failover", writer.pattern, {"to": str(Side.SUPABASE), "epoch": writer.epoch}))
    return writer


async def lift_abandoned_in_file(store: SqliteStore, locks: HostLocks) -> list[str]:
    """Let writes in again where a coordinator died in the middle of a handover; returns the patterns."""
    rows = await _asked(
        store,
        lambda connection: connection.execute(
            "select pattern, handover ->> 'mark' as mark, handing_over_since < now_s() - ? as is_overdue"
            " from writers where handing_over_to is not null",
            (OVERDUE_S,),
        ).fetchall(),
    )
    lifted = []
    for row in rows:
        with locks.alone(_lock_name(row["pattern"])) as is_left:
            if is_left or row["is_overdue"]:
                await FileDesk(store, locks, HandoverLimits()).unmark(row["pattern"], row["mark"])
                lifted.append(row["pattern"])
                logger.warning("%s: a handover was left in the middle; the writer stays", row["pattern"])
    return lifted


async def _asked(store: SqliteStore, work: Callable[[sqlite3.Connection], Result]) -> Result:
    try:
        return await store.transact(work)
    except ControlAway as away:
        raise OutboxAway(str(away)) from away


def _entries(connection: sqlite3.Connection, pattern: str) -> list[sqlite3.Row]:
    """Give the entries whose writer's pattern it is, by their capability or by a table that they name."""
    patterns = {row["pattern"] for row in connection.execute("select pattern from writers")} | {pattern}
    found = []
    for row in connection.execute("select *, now_s() - created_at as age_s from outbox order by id").fetchall():
        names = {row["capability"]}
        for thing in json.loads(row["things"]):
            if thing["kind"] in (ThingKind.ROW, ThingKind.TABLE):
                names.add(f"table:{thing['resource']}")
        if any(most_specific(patterns, capability_of(name)) == pattern for name in names):
            found.append(row)
    return found


def _backlog(connection: sqlite3.Connection, pattern: str) -> Backlog:
    rows = _entries(connection, pattern)
    pending = [row for row in rows if row["state"] == "pending"]
    intents = [row for row in rows if row["state"] == "intent"]
    return Backlog(
        len(intents),
        len(pending),
        sum(row["state"] == "dead" for row in rows),
        sum(row["age_s"] > 2 for row in intents),
        sum(row["next_at"] is None for row in pending),
    )


def _lock_name(pattern: str) -> str:
    return f"handover-{pattern.encode().hex()}"


def _json(clients: Collection[UUID]) -> str:
    return json.dumps([str(client) for client in clients])
