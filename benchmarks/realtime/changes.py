"""Row changes: from the insert to the client, idle and under load, and how many a second go through under policies."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import asyncpg

from benchmarks.realtime.handle import Load, LoadFailedError
from benchmarks.realtime.orders import Collect, Counted, Open
from benchmarks.realtime.report import heading, latency_cells, line, missing, verdict
from benchmarks.realtime.servers import USERS, user_token
from benchmarks.servers import Database, Server

__all__ = ["measure_changes"]

GRACE_S = 10.0
TIMEOUT_S = 30.0
IDLE_PER_S, BUSY_PER_S = 20.0, 500.0
GOAL_PER_S, GOAL_P50_MS, GOAL_P95_MS = 1_000, 10.0, 50.0
WRITERS = 2


@dataclass(slots=True, frozen=True)
class Kind:
    """A table, to how many of the ``USERS`` each of its rows goes, and how many rows are written as quickly as possible."""

    table: str
    name: str
    receivers: int
    rows: int


KINDS = (
    Kind("open_notes", "no policy", USERS, 300),
    Kind("own_notes", "user_id = auth.uid()", 1, 5_000),
    Kind("room_notes", "exists (… room_members …)", 5, 2_000),
    Kind("shared_notes", "is_shared or user_id = auth.uid()", USERS, 300),
)


def measure_changes(load: Load, server: Server, database: Database, apikey: str, *, seconds: float) -> None:
    """Print latencies and throughput with ``USERS`` sockets of as many users."""
    asyncio.run(_measure(load, server, database, apikey, seconds))


async def _measure(load: Load, server: Server, database: Database, apikey: str, seconds: float) -> None:
    owner = await asyncpg.connect(database.url("supabase_admin"))
    heading("row changes, latency", "sockets", "changes/s", "p50 ms", "p95 ms", "p99 ms", "max ms")
    await _latency(load, server, owner, apikey, Kind("open_notes", "no policy", 1, 0), 1, IDLE_PER_S, seconds)
    await _latency(load, server, owner, apikey, Kind("open_notes", "no policy", 1, 0), 1, BUSY_PER_S, seconds)
    for kind in KINDS[1:3]:
        for per_s in (IDLE_PER_S, BUSY_PER_S):
            await _latency(load, server, owner, apikey, kind, USERS, per_s, seconds)
    heading("row changes, throughput", "sockets", "changes/s", "deliveries/s", "server CPU µs per change", "PostgreSQL")
    for kind in KINDS:
        await _throughput(load, server, database, owner, apikey, kind)
    await owner.close()


def _subscribe(load: Load, server: Server, apikey: str, table: str, sockets: int) -> None:
    load.open(
        Open(
            port=server.port,
            path="/websocket",
            apikey=apikey,
            version="2.0.0",
            topic=table,
            tokens=tuple(user_token(number) for number in range(sockets)),
            config=f'{{"postgres_changes":[{{"event":"*","schema":"public","table":"{table}"}}]}}',
            sockets=sockets,
            awaits="changes",
        )
    )


async def _latency(
    load: Load,
    server: Server,
    owner: asyncpg.Connection[asyncpg.Record],
    apikey: str,
    kind: Kind,
    sockets: int,
    per_s: float,
    seconds: float,
) -> None:
    """Insert single rows at a pace; measured from the insert's execution, so that the commit is part of it."""
    try:
        _subscribe(load, server, apikey, kind.table, sockets)
        load.hold(0.0)
        rows = int(per_s * seconds)
        load.begin(Collect(rows * kind.receivers, seconds + GRACE_S))
        started_s = time.monotonic()
        for number in range(rows):
            delay_s = started_s + number / per_s - time.monotonic()
            if delay_s > 0:
                await asyncio.sleep(delay_s)
            await owner.execute("call public.write_notes($1, $2, $2)", kind.table, number)
        written_per_s = rows / max(time.monotonic() - started_s, seconds)
        counted = await asyncio.to_thread(load.counted)
    except LoadFailedError as error:
        line(kind.name, f"{sockets:,}", f"{per_s:,.0f}", f"failed: {error}", "", "", "")
        return
    finally:
        load.close()
    [found] = counted.latencies
    p50, p95, p99 = latency_cells(found)
    is_idle = per_s == IDLE_PER_S
    line(
        kind.name,
        f"{sockets:,}",
        f"{written_per_s:,.0f}" + missing(counted),
        verdict(found.p50_ms, GOAL_P50_MS, is_ceiling=True, digits=1) if is_idle else p50,
        verdict(found.p95_ms, GOAL_P95_MS, is_ceiling=True, digits=1) if is_idle else p95,
        p99,
        f"{found.max_ms:.0f}",
    )


async def _throughput(
    load: Load,
    server: Server,
    database: Database,
    owner: asyncpg.Connection[asyncpg.Record],
    apikey: str,
    kind: Kind,
) -> None:
    """Write rows faster than they can be delivered, each in a transaction of its own, and wait for the last delivery."""
    writers = [await asyncpg.connect(database.url("supabase_admin")) for _ in range(WRITERS)]
    try:
        _subscribe(load, server, apikey, kind.table, USERS)
        await owner.execute("call public.write_notes($1, 0, 20)", kind.table)
        await asyncio.to_thread(load.hold, 1.0)
        server_s, postgres_s = server.cpu_s(), database.server.cpu_s()
        load.begin(Collect(kind.rows * kind.receivers, TIMEOUT_S))
        started_us = time.time_ns() // 1000
        share = kind.rows // WRITERS
        await asyncio.gather(
            *(
                one.execute("call public.write_notes($1, $2, $3)", kind.table, number * share, (number + 1) * share - 1)
                for number, one in enumerate(writers)
            )
        )
        counted: Counted = await asyncio.to_thread(load.counted)
        server_s, postgres_s = server.cpu_s() - server_s, database.server.cpu_s() - postgres_s
    except LoadFailedError as error:
        line(kind.name, f"{USERS:,}", f"failed: {error}", "", "", "")
        return
    finally:
        load.close()
        for one in writers:
            await one.close()
    seconds = (counted.last_us - started_us) / 1e6
    per_s = counted.received / kind.receivers / seconds
    line(
        f"{kind.name}, each to {kind.receivers:,}",
        f"{USERS:,}",
        (verdict(per_s, GOAL_PER_S) if kind.receivers < USERS else f"{per_s:,.0f}") + missing(counted),
        f"{counted.received / seconds:,.0f}",
        f"{server_s * 1e6 / kind.rows:,.0f}",
        f"{postgres_s * 1e6 / kind.rows:,.0f}",
    )
