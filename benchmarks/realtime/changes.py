"""Row changes: from the insert to the client, idle and under load, and how many a second go through under policies."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import asyncpg

from benchmarks.realtime.handle import Load, LoadFailedError
from benchmarks.realtime.orders import Collect, Counted, Open
from benchmarks.realtime.report import heading, latency_cells, line, missing, verdict
from benchmarks.realtime.servers import USERS, Peer, cpu_s, user_token

__all__ = ["measure_changes"]

GRACE_S = 10.0
TIMEOUT_S = 30.0
IDLE_PER_S, BUSY_PER_S = 20.0, 500.0
GOAL_PER_S, GOAL_P50_MS, GOAL_P95_MS = 1_000, 10.0, 50.0
WRITERS = 2
MAX_PER_WRITER_S = 130.0
"""Changes a second that one connection writes reliably, each in a transaction of its own; for more there are several."""


@dataclass(slots=True, frozen=True)
class Kind:
    """A table, to how many of the ``USERS`` each of its rows goes, and how many rows are written as quickly as possible."""

    table: str
    name: str
    receivers: int
    rows: int
    upstream_rows: int = 0


KINDS = (
    Kind("open_notes", "no policy", USERS, 1_000, 100),
    Kind("own_notes", "user_id = auth.uid()", 1, 5_000, 200),
    Kind("room_notes", "exists (… room_members …)", 5, 2_000, 200),
    Kind("shared_notes", "is_shared or user_id = auth.uid()", USERS, 1_000, 100),
)


def measure_changes(load: Load, peers: Sequence[Peer], apikey: str, *, seconds: float) -> None:
    """Print latencies and throughput with ``USERS`` sockets of as many users."""
    asyncio.run(_measure(load, peers, apikey, seconds))


async def _measure(load: Load, peers: Sequence[Peer], apikey: str, seconds: float) -> None:
    heading("row changes, latency", "", "sockets", "changes/s", "p50 ms", "p95 ms", "p99 ms", "max ms")
    one = Kind("open_notes", "no policy", 1, 0)
    cases = [(one, 1, pace) for pace in (IDLE_PER_S, BUSY_PER_S)]
    cases += [(kind, USERS, pace) for kind in KINDS[1:3] for pace in (IDLE_PER_S, BUSY_PER_S)]
    for kind, sockets, per_s in cases:
        for peer in peers:
            # What upstream polls for comes so much slower that only the idle paces say anything.
            if peer.server is not None or per_s == IDLE_PER_S:
                await _latency(load, peer, apikey, kind, sockets, per_s, seconds)
    heading(
        "row changes, throughput", "", "sockets", "changes/s", "deliveries/s", "server CPU µs per change", "PostgreSQL"
    )
    for kind in KINDS:
        for peer in peers:
            await _throughput(load, peer, apikey, kind)


def _subscribe(load: Load, peer: Peer, apikey: str, table: str, sockets: int) -> None:
    load.open(
        Open(
            port=peer.port,
            path=peer.path,
            host=peer.host,
            apikey=apikey,
            version="2.0.0",
            topic=table,
            tokens=tuple(user_token(number) for number in range(sockets)),
            config=f'{{"postgres_changes":[{{"event":"*","schema":"bench","table":"{table}"}}]}}',
            sockets=sockets,
            awaits="changes",
        )
    )


async def _latency(load: Load, peer: Peer, apikey: str, kind: Kind, sockets: int, per_s: float, seconds: float) -> None:
    """Insert single rows at a pace; measured from the insert's execution, so that the commit is part of it."""
    writers = [await asyncpg.connect(peer.database_url) for _ in range(math.ceil(per_s / MAX_PER_WRITER_S))]
    try:
        _subscribe(load, peer, apikey, kind.table, sockets)
        load.hold(0.0)
        rows = int(per_s * seconds)
        load.begin(Collect(rows * kind.receivers, seconds + GRACE_S))
        started_s = time.monotonic()
        numbers = iter(range(rows))
        await asyncio.gather(*(_write_paced(one, kind.table, numbers, started_s, per_s) for one in writers))
        written_per_s = rows / max(time.monotonic() - started_s, seconds)
        counted = await asyncio.to_thread(load.counted)
    except LoadFailedError as error:
        line(kind.name, peer.name, f"{sockets:,}", f"{per_s:,.0f}", f"failed: {error}", "", "", "")
        return
    finally:
        load.close()
        for one in writers:
            await one.close()
    [found] = counted.latencies
    p50, p95, p99 = latency_cells(found)
    is_judged = per_s == IDLE_PER_S and peer.server is not None
    line(
        kind.name,
        peer.name,
        f"{sockets:,}",
        f"{written_per_s:,.0f}" + missing(counted),
        verdict(found.p50_ms, GOAL_P50_MS, is_ceiling=True, digits=1) if is_judged else p50,
        verdict(found.p95_ms, GOAL_P95_MS, is_ceiling=True, digits=1) if is_judged else p95,
        p99,
        f"{found.max_ms:.0f}",
    )


async def _write_paced(
    writer: asyncpg.Connection[asyncpg.Record], table: str, numbers: Iterator[int], started_s: float, per_s: float
) -> None:
    """Write the next row that no other writer has taken, each at its time, until there is none left."""
    for number in numbers:
        delay_s = started_s + number / per_s - time.monotonic()
        if delay_s > 0:
            await asyncio.sleep(delay_s)
        await writer.execute("call bench.write_notes($1, $2, $2)", table, number)


async def _throughput(load: Load, peer: Peer, apikey: str, kind: Kind) -> None:
    """Write rows faster than they can be delivered, each in a transaction of its own, and wait for the last delivery."""
    rows = kind.rows if peer.server is not None else kind.upstream_rows
    writers = [await asyncpg.connect(peer.database_url) for _ in range(WRITERS)]
    try:
        _subscribe(load, peer, apikey, kind.table, USERS)
        await writers[0].execute("call bench.write_notes($1, 0, 20)", kind.table)
        await asyncio.to_thread(load.hold, 1.0)
        server_s, postgres_s = cpu_s(peer.server), cpu_s(peer.postgres)
        load.begin(Collect(rows * kind.receivers, TIMEOUT_S))
        started_us = time.time_ns() // 1000
        share = rows // WRITERS
        await asyncio.gather(
            *(
                one.execute("call bench.write_notes($1, $2, $3)", kind.table, number * share, (number + 1) * share - 1)
                for number, one in enumerate(writers)
            )
        )
        counted: Counted = await asyncio.to_thread(load.counted)
        server_s, postgres_s = cpu_s(peer.server) - server_s, cpu_s(peer.postgres) - postgres_s
    except LoadFailedError as error:
        line(kind.name, peer.name, f"{USERS:,}", f"failed: {error}", "", "", "")
        return
    finally:
        load.close()
        for one in writers:
            await one.close()
    seconds = max(counted.last_us - started_us, 1) / 1e6
    per_s = counted.received / kind.receivers / seconds
    is_judged = kind.receivers < USERS and peer.server is not None
    line(
        f"{kind.name}, each to {kind.receivers:,}",
        peer.name,
        f"{USERS:,}",
        (verdict(per_s, GOAL_PER_S) if is_judged else f"{per_s:,.0f}") + missing(counted),
        f"{counted.received / seconds:,.0f}",
        f"{server_s * 1e6 / rows:,.0f}" if peer.server is not None else "",
        f"{postgres_s * 1e6 / rows:,.0f}" if peer.postgres is not None else "",
    )
