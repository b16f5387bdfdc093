"""Keeps tables equal without a slot: asks each table's writer which rows are newer than at the last look.

"Newer" is what PostgreSQL knows of every row, the transaction that wrote it (``xmin``): no column of the project's is
needed, and no index; each look reads the tables once and sends the keys of changed rows alone. The mark is the oldest
transaction that still ran when the last look began, so one that commits late is not passed by. A deleted row leaves
nothing to see: deletes, and tables without a key, are found by comparing everything from time to time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping

from isobase_adapter.bulk.following import MAX_KEYS_PER_TABLE, ROWS_PER_KEY, is_better_compared
from isobase_adapter.bulk.sync import Sync
from isobase_adapter.contracts import WriterMoved
from isobase_adapter.failures import DATABASE_FAILURES
from isobase_adapter.rows.database import SideDatabase
from isobase_adapter.rows.keys import row_thing
from isobase_adapter.rows.quoting import qualified, quote_identifier
from isobase_adapter.rows.tables import Table
from isobase_adapter.sides import Side
from isobase_adapter.things import Thing, ThingKind

__all__ = ["Polling"]

logger = logging.getLogger("isobase.migration.sync")

POLL_S = 5.0
SWEEP_S = 300.0
HANDOVER_LOOK_S = 0.5
KEYS_PER_CARRY = 1000
_HORIZON = "select (pg_snapshot_xmin(pg_current_snapshot())::text::numeric % 4294967296)::bigint as horizon"


class Polling:
    """Looks at both sides again and again. ``sync``: knows writers and carries. poll_s, sweep_s: pauses in seconds."""

    def __init__(
        self,
        sync: Sync,
        databases: Mapping[Side, SideDatabase],
        *,
        poll_s: float = POLL_S,
        sweep_s: float = SWEEP_S,
    ) -> None:
        self._sync = sync
        self._databases = databases
        self._poll_s = poll_s
        self._sweep_s = sweep_s
        self._marks: dict[Side, int] = {}
        self._swept_s: float | None = None

    async def run(self, *, is_once: bool = False) -> None:
        """Look until the sync is stopped; what fails because a side is away is tried again."""
        self._sync.state.method = "polling"
        while True:
            try:
                began_at = await self._sync.clock()
                await self.round()
                self._sync.state.polled_at = began_at
                await self._sync.tell_state(at_once=True)
            except (*DATABASE_FAILURES, WriterMoved) as error:
                if is_once:
                    raise
                logger.warning("a look at the sides failed, trying again", extra={"reason": type(error).__name__})
                await self._sync.open_again()
            if is_once or await self._is_stopped_in_pause():
                await self._sync.close()
                return
            with contextlib.suppress(*DATABASE_FAILURES):
                await self._sync.tell_state()

    async def _is_stopped_in_pause(self) -> bool:
        """Wait for the next look; a handover waits for one, so it comes at once."""
        give_up_at = time.monotonic() + self._poll_s
        while (left_s := give_up_at - time.monotonic()) > 0:
            if await self._sync.is_stopped(within_s=min(left_s, HANDOVER_LOOK_S)):
                return True
            with contextlib.suppress(*DATABASE_FAILURES):
                if await self._sync.is_handing_over():
                    return False
        return await self._sync.is_stopped(within_s=0)

    async def round(self) -> int:
        """Carry what changed since the last round, or compare everything where it is time to; gives how many things."""
        marks = {side: (await self._databases[side].fetch(_HORIZON))[0]["horizon"] for side in Side}
        if self._swept_s is None or time.monotonic() - self._swept_s >= self._sweep_s:
            began_s = time.monotonic()
            carried = await self._sync.sweep()
            self._swept_s = began_s
        else:
            carried = await self._carry_newer()
        await self._sync.round_beside()
        self._marks = marks
        return carried

    async def _carry_newer(self) -> int:
        await self._sync.reload_writers()
        views = {side: await self._databases[side].catalog.view() for side in Side}
        carried = 0
        for name in sorted(views[Side.SUPABASE].tables.keys() & views[Side.ISOBASE].tables.keys()):
            writer = self._sync.writer_of_table(name)
            table = views[writer].tables[name]
            if not table.key:
                continue
            things = await self._newer(writer, table)
            for start in range(0, len(things), KEYS_PER_CARRY):
                await self._sync.carry(things[start : start + KEYS_PER_CARRY], writer.other)
                await asyncio.sleep(0)
            carried += len(things)
            self._sync.state.sides[str(writer)].carried += len(things)
        return carried

    async def _newer(self, side: Side, table: Table) -> list[Thing]:
        """Name the rows that transactions from the mark on have written; the whole table where they are many of its rows."""
        most = max(MAX_KEYS_PER_TABLE, table.estimated_rows // ROWS_PER_KEY)
        keys = ", ".join(f"{quote_identifier(name)}::text as {quote_identifier(name)}" for name in table.key)
        # Numbers of transactions go round: what is less than half a round ahead is newer.
        rows = await self._databases[side].fetch(
            f"select {keys} from {qualified(table.schema, table.name)}"  # noqa: S608  quoted by the one helper
            " where (xmin::text::bigint - $1 + 4294967296) % 4294967296 < 2147483648 limit $2",
            self._marks[side],
            most + 1,
        )
        if len(rows) > most or is_better_compared(table, len(rows)):
            return [Thing(ThingKind.TABLE, table.resource)]
        return [row_thing(table, dict(row)) for row in rows]
