"""Ends the leases of writes of unknown end as early as it is sure that they cannot go on.

A lease covers the longest call that there is. A call whose client has given it up, or is gone, has either reached the first
side's database within ``QUIET_S`` or never will, unless it waits in front of an API that starts or is overloaded (70 s were
seen): so that has to answer, and to have answered for ``WELL_FOR_S``, by which time nothing waits there any more. Where no
transaction is left then that may be it, its end has come, and what it names is compared at once. Where that cannot be seen
(a role that sees no other sessions, uploads, no database URL, no key of the API), the lease is waited for.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

import asyncpg

from isobase_adapter.failures import DATABASE_FAILURES
from isobase_adapter.outbox.postgres import asking
from isobase_adapter.sides import Side

__all__ = ["QUIET_S", "IsLongWell", "LongWell", "end_doubtful"]

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
IsLongWell: TypeAlias = Callable[[Side], Awaitable[bool]] | None

QUIET_S = 15.0
"""So long after its client gave it up a call may still wait for a connection to its database (PostgREST: 10 s)."""
WELL_FOR_S = 10.0
ASKED_EVERY_S = 15.0
"""A side that was not asked for longer may have been away meanwhile."""

# since_s: since the client of a write gave it up, or was heard last (a call is sent within ten seconds, or never).
DOUBTFUL = """
select o.id, extract(epoch from now() - d.at)::float8 as since_s
  from isobase.outbox as o
  left join isobase.migration_clients as c on c.id = o.client
 cross join lateral (
   select coalesce(o.doubted_at, greatest(o.created_at + interval '10 seconds', c.seen_at)) as at) as d
 where o.state = 'intent' and o.lease_until > now() and d.at < now() - make_interval(secs => $1)
   and not exists (
     select from jsonb_array_elements(coalesce(o.things, jsonb_build_array(o.thing))) as t
      where t ->> 'kind' in ('object', 'objects', 'bucket'))
"""

# Null where nobody can say: this role sees no other's sessions.
RUNNING = """
select case when pg_has_role(current_user, 'pg_read_all_stats', 'usage') then exists (
  select from pg_stat_activity as a
   where a.datname = current_database() and a.backend_type = 'client backend' and a.pid <> pg_backend_pid()
     and a.state <> 'idle' and clock_timestamp() - a.xact_start > make_interval(secs => $1)) end
"""

END_LEASES = "update isobase.outbox set lease_until = now() where id = any($1::bigint[]) and state = 'intent'"


class LongWell:
    """Whether a side's API answers, and has answered for so long that no call waits in front of it.

    answers: asks it something small.
    """

    def __init__(self, answers: Callable[[Side], Awaitable[bool]]) -> None:
        self._answers = answers
        self._since: dict[Side, float] = {}
        self._asked_at: dict[Side, float] = {}

    async def __call__(self, side: Side) -> bool:
        """Ask; it has to be asked again and again."""
        now = time.monotonic()
        if now - self._asked_at.get(side, float("-inf")) > ASKED_EVERY_S:
            self._since.pop(side, None)
        is_well = await self._answers(side)
        self._asked_at[side] = time.monotonic()
        if not is_well:
            self._since.pop(side, None)
            return False
        return now - self._since.setdefault(side, now) >= WELL_FOR_S


async def end_doubtful(
    control: Pool, supabase: Pool | None, *, is_long_well: IsLongWell, quiet_s: float = QUIET_S
) -> int:
    """End leases of writes that have surely ended; returns of how many. Raises ``OutboxAway``.

    control: connections to the outbox's database, which is Isobase's. supabase: to Supabase's, None: not known, and leases
    are waited for. is_long_well: see ``LongWell``; None: nobody can ask the APIs, and leases are waited for.
    """
    if is_long_well is None:
        return 0
    async with asking(control) as connection:
        found = await connection.fetch(DOUBTFUL, quiet_s)
    if not found:
        return 0
    # Which side a call went to is not what its intent says after a failover, and a call of auth may have gone to both.
    pools: Mapping[Side, Pool | None] = {Side.SUPABASE: supabase, Side.ISOBASE: control}
    are_well = [await is_long_well(side) for side in Side]
    ended = [row["id"] for row in found] if all(are_well) else []
    for pool in pools.values():
        if ended:
            mine = [row for row in found if row["id"] in ended]
            ended = [] if pool is None else await _ended(pool, mine, quiet_s)
    if ended:
        async with asking(control) as connection:
            await connection.execute(END_LEASES, ended)
    return len(ended)


async def _ended(pool: Pool, rows: list[Any], quiet_s: float) -> list[int]:
    """Give those that no transaction at a side can be."""
    ended = []
    try:
        async with pool.acquire(timeout=5) as connection:
            for row in rows:
                # One that began later than the call could still arrive is another's.
                is_running = await connection.fetchval(RUNNING, row["since_s"] - quiet_s, timeout=5)
                if is_running is False:
                    ended.append(row["id"])
    except DATABASE_FAILURES:
        return []
    return ended
