"""What ``sync`` reads and keeps in the control store: who is written first, how it is doing, events, and that there is one.

Its connection is made again where it was lost, with the lock that it held.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from isobase_adapter.bulk.connections import Connection, close
from isobase_adapter.bulk.errors import Refused
from isobase_adapter.bulk.following import Stray
from isobase_adapter.bulk.jobs import Jobs
from isobase_adapter.bulk.owing import Owed, owe, read_owed, settle, write_owed
from isobase_adapter.capabilities import Capability, most_specific
from isobase_adapter.control.store import SYNC_LOCK_NUMBER
from isobase_adapter.failures import DATABASE_FAILURES
from isobase_adapter.sides import Side

__all__ = ["JOB", "SideState", "SyncBook", "SyncState", "only_one"]

logger = logging.getLogger("isobase.migration.sync")

JOB = "sync"
TELL_S = 2.0
"""How often the state is written down for ``status``."""
MAX_TOLD_KEYS = 5
TAKE_BACK_S = 0.2
TAKE_BACK_LOOKS = 10
END_HOLDER = """
select pg_terminate_backend(pid) from pg_locks
 where locktype = 'advisory' and granted and objsubid = 1 and pid = $1
   and database = (select oid from pg_database where datname = current_database())
   and classid = ($2::bigint >> 32)::oid and objid = ($2::bigint & 4294967295)::oid
"""
"""Ends the connection that was lost, where it holds the lock still."""


@dataclass(slots=True)
class SideState:
    """How one side's log is followed. ``lag_bytes``: log not read yet; ``lag_s``: age of the youngest change not read."""

    carried: int = 0
    changes: int = 0
    strays: int = 0
    lag_bytes: int = 0
    lag_s: float = 0.0
    wal_status: str = ""
    error: str | None = None


@dataclass(slots=True)
class SyncState:
    """How ``sync`` is doing, as ``status`` shows it."""

    sides: dict[str, SideState] = field(default_factory=lambda: {str(side): SideState() for side in Side})
    swept: int = 0
    one_sided: list[str] = field(default_factory=list)
    """Tables that change and that one side alone has: nothing of them is carried."""
    set_aside: dict[str, str] = field(default_factory=dict)
    """Tables whose rows the target refused, and why; they are compared as a whole again and again until it takes them."""
    started_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    method: str = "log"
    """``log`` or ``polling``."""
    polled_at: float | None = None
    """With ``polling``: when the last look that was finished began, in seconds of the clock of Isobase's database."""

    def as_json(self) -> dict[str, Any]:
        """Give it as it is kept and printed."""
        return asdict(self)


class SyncBook:
    """The control store, as ``sync`` uses it.

    control: a connection to the Isobase side's database, its owner's to close. connect: opens another where it is lost.
    """

    def __init__(self, control: Connection, connect: Callable[[Side], Awaitable[Connection]]) -> None:
        """Read nothing yet."""
        self._control = control
        self._connect = connect
        self._pid = control.get_server_pid()
        self._own: Connection | None = None
        """The connection that took the place of the lost one."""
        self._lock = asyncio.Lock()
        self._writers: dict[str, tuple[Side, int]] = {}
        self._told_s = 0.0

    async def reload_writers(self) -> None:
        """Read who is written first."""
        async with self._lock:
            records = await self._control.fetch("select pattern, side, epoch from isobase.writers")
        self._writers = {record["pattern"]: (Side(record["side"]), record["epoch"]) for record in records}

    def writer_of(self, capability: Capability) -> tuple[Side, int]:
        """Give the side that is written first, and its epoch, as read last."""
        pattern = most_specific(self._writers, capability)
        return (Side.SUPABASE, 0) if pattern is None else self._writers[pattern]

    async def clock(self) -> float:
        """Give the time of Isobase's database, in seconds."""
        async with self._lock:
            now: float = await self._control.fetchval("select extract(epoch from clock_timestamp())::float8")
        return now

    async def is_handing_over(self) -> bool:
        """Whether some writer is being handed over: writes wait until all was carried."""
        async with self._lock:
            found: bool = await self._control.fetchval(
                "select exists (select from isobase.writers where handing_over_to is not null)"
            )
        return found

    async def set_aside(self) -> dict[str, str]:
        """Give what was set aside when the last run ended."""
        async with self._lock:
            state = (await Jobs(self._control, JOB).read()).get("state", {})
        return dict(state.get("set_aside", {}))

    async def owe(self, side: Side, tables: frozenset[str] | None) -> None:
        """Note that tables have to be compared, None: all that ``side`` is the writer of."""
        async with self._lock:
            await owe(self._control, side, tables)

    async def owed(self, side: Side) -> Owed:
        """Give what has to be compared because ``side``'s log knows nothing of it."""
        async with self._lock:
            return await read_owed(self._control, side)

    async def owe_only(self, side: Side, tables: frozenset[str]) -> None:
        """Note that of ``side`` these are left, and no others."""
        async with self._lock:
            await write_owed(self._control, side, Owed(tables=tables))

    async def settle(self, tables: Iterable[str]) -> None:
        """Note that tables were compared."""
        async with self._lock:
            await settle(self._control, tables)

    async def open_again(self) -> None:
        """Make the connection to the control store again where it was lost, with the lock that it held."""
        async with self._lock:
            if not self._control.is_closed():
                return
            try:
                control = await self._connect(Side.ISOBASE)
            except DATABASE_FAILURES as error:
                logger.warning("the control store is away", extra={"reason": type(error).__name__})
                return
            self._own = self._control = control
            await self._take_back(control)
            self._pid = control.get_server_pid()

    async def _take_back(self, control: Connection) -> None:
        """Take the lock of the one sync again: the server may not have seen yet that the connection is lost."""
        with contextlib.suppress(Refused):
            await only_one(control)
            return
        await control.execute(END_HOLDER, self._pid, SYNC_LOCK_NUMBER)
        for _ in range(TAKE_BACK_LOOKS):
            await asyncio.sleep(TAKE_BACK_S)
            with contextlib.suppress(Refused):
                await only_one(control)
                return
        await only_one(control)

    async def tell_stray(self, side: Side, stray: Stray) -> None:
        """Tell operators of rows that were written at the side that is not the writer."""
        detail: dict[str, Any] = {"side": str(side), "rows": len(stray.things) or None, "table": stray.resource}
        if stray.things:
            detail["keys"] = [list(thing.key) for thing in stray.things[:MAX_TOLD_KEYS]]
        logger.warning("rows were written at the side that is not the writer", extra={"table": stray.resource})
        await self.tell_event("write_at_other_side", stray.resource, detail)

    async def tell_event(self, name: str, resource: str, detail: Mapping[str, Any]) -> None:
        """Tell operators of something about a table (``schema.table``)."""
        async with self._lock:
            await self._control.execute(
                "insert into isobase.migration_events (name, capability, detail) values ($1, $2, $3::text::jsonb)",
                name,
                f"table:{resource}",
                json.dumps(detail),
            )

    async def tell_state(self, state: SyncState, *, is_last: bool = False, at_once: bool = False) -> None:
        """Keep the state for ``status``, not more often than every ``TELL_S`` seconds. is_last: the sync ends."""
        if not (is_last or at_once) and time.monotonic() - self._told_s < TELL_S:
            return
        self._told_s = time.monotonic()
        async with self._lock:
            await Jobs(self._control, JOB).set("state", state.as_json() | {"is_running": not is_last})

    async def close(self) -> None:
        """Close the connection that was made here."""
        if self._own is not None:
            await close(self._own)


async def only_one(control: Connection) -> None:
    """Make this the one ``sync`` of the database, as long as the connection lives. Raises ``Refused``."""
    if not await control.fetchval("select pg_try_advisory_lock($1)", SYNC_LOCK_NUMBER):
        raise Refused("a sync, or a copy, runs already", hint="isobase migrate status shows how it is doing")
