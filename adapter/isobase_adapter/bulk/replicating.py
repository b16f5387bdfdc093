"""Copies rows by PostgreSQL's own logical replication: a subscription at Isobase reads the tables and what follows.

The target's server connects to the source by itself, so the rows do not pass through this process. It is for tables
that are empty at the target and while no write goes to both sides yet: a subscription stops at the first row that is
there already. Publication, slot and subscription are taken away at the end, however it ends.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import asyncpg

from isobase_adapter.bulk.connections import Connection, connected
from isobase_adapter.bulk.copied import CopiedTable, copied_tables
from isobase_adapter.bulk.copy import CopyReport, TableCopy, require_writer
from isobase_adapter.bulk.errors import Refused
from isobase_adapter.bulk.progress import NO_PROGRESS, Progress
from isobase_adapter.outbox.entries import FENCE_LOCK_NUMBER
from isobase_adapter.reasons import reason_of
from isobase_adapter.sides import Side

__all__ = ["replicate_tables"]

NAME = "isobase_copy"
POLL_S = 0.5
STALLED_S = 900.0
"""No table became ready and no byte arrived for so long: it will not end by itself."""


async def replicate_tables(
    dsns: Mapping[Side, str],
    *,
    only: Sequence[str] = (),
    without: Sequence[str] = (),
    source_url: str | None = None,
    progress: Progress = NO_PROGRESS,
) -> CopyReport:
    """Copy the rows of empty tables by a subscription, and end it once it has caught up.

    source_url: how the target's server reaches the source, default the source's URL. Tables without a primary key, or with
    rows at the target, have an ``error`` in the report: COPY takes them. Raises ``Refused`` where a side does not
    allow it.
    """
    started_s = time.monotonic()
    report = CopyReport()
    async with (
        connected(dsns[Side.SUPABASE], "replicate") as source,
        connected(dsns[Side.ISOBASE], "replicate") as target,
    ):
        tables, missing = await copied_tables(source, target)
        report.missing = [one for one in missing if (not only or one in only) and one not in without]
        chosen = [one for one in tables if (not only or one.name in only) and one.name not in without]
        taken: list[CopiedTable] = []
        for table in chosen:
            one = TableCopy(table.name, method="replication", ranges=1, left_out=table.left_out)
            report.tables.append(one)
            one.error = await _why_not(target, table)
            if one.error is None:
                taken.append(table)
        if taken:
            async with _subscribed(source, target, taken, source_url or dsns[Side.SUPABASE]) as slot:
                await _wait_until_ready(target, taken, progress)
                await _wait_until_caught_up(source, slot)
        rows = {one.name: one for one in report.tables}
        for table in taken:
            count = await target.fetchval(f"select count(*) from only {table.quoted}")  # noqa: S608  quoted by the server
            rows[table.name].rows, rows[table.name].bytes = count, table.size_bytes
    report.seconds = time.monotonic() - started_s
    return report


async def _why_not(target: Connection, table: CopiedTable) -> str | None:
    if not table.key:
        return "it has no primary key: while it is published its updates would be refused"
    if await target.fetchval(f"select exists (select from only {table.quoted})"):  # noqa: S608  quoted by the server
        return "the target has rows already, at which a subscription stops"
    return None


@asynccontextmanager
async def _subscribed(
    source: Connection, target: Connection, tables: Sequence[CopiedTable], source_url: str
) -> AsyncIterator[str]:
    """Have a subscription for as long as the block runs; gives its slot's name."""
    slot = f"{NAME}_{await target.fetchval('select substr(md5(current_database()), 1, 8)')}"
    await _drop_all(source, target, slot)
    # No writer moves to Isobase meanwhile: what is replicated would be older than what is written there.
    await target.execute("select pg_advisory_lock_shared($1)", FENCE_LOCK_NUMBER)
    try:
        for table in tables:
            async with target.transaction():
                await require_writer(target, table.name)
        await source.execute(f"create publication {NAME} for table {', '.join(table.quoted for table in tables)}")
        await source.execute("select pg_create_logical_replication_slot($1, 'pgoutput')", slot)
        # The slot is made beforehand: made by the subscription it would wait for ever where both are one server.
        statement = await target.fetchval(
            "select format('create subscription %I connection %L publication %I"
            " with (create_slot = false, slot_name = %L, copy_data = true)', $1::text, $2::text, $1::text, $3::text)",
            NAME,
            source_url,
            slot,
        )
        await target.execute(statement)
        yield slot
    except (asyncpg.InsufficientPrivilegeError, asyncpg.ObjectNotInPrerequisiteStateError) as error:
        raise Refused(
            f"replication is not allowed: {reason_of(error)}",
            hint="grant pg_create_subscription to the target's role, or copy with COPY (the default)",
        ) from error
    finally:
        await _drop_all(source, target, slot)
        await target.execute("select pg_advisory_unlock_shared($1)", FENCE_LOCK_NUMBER)


async def _drop_all(source: Connection, target: Connection, slot: str) -> None:
    if await target.fetchval("select exists (select from pg_subscription where subname = $1)", NAME):
        await target.execute(f"alter subscription {NAME} disable")
        await target.execute(f"alter subscription {NAME} set (slot_name = none)")
        await target.execute(f"drop subscription {NAME}")
    # Its walsender ends a moment after the subscription.
    for _ in range(100):
        active = await source.fetchval("select bool_or(active) from pg_replication_slots where slot_name = $1", slot)
        if not active:
            break
        await asyncio.sleep(0.1)
    await source.execute(
        "select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = $1", slot
    )
    await source.execute(f"drop publication if exists {NAME}")


async def _wait_until_ready(target: Connection, tables: Sequence[CopiedTable], progress: Progress) -> None:
    progress.begin("replication", len(tables), "tables")
    ready, moved_s, last = 0, time.monotonic(), None
    while ready < len(tables):
        row = await target.fetchrow(
            "select count(*) filter (where r.srsubstate = 'r') as ready,"
            " (select coalesce(sum(bytes_processed), 0) from pg_stat_progress_copy)::bigint as bytes"
            " from pg_subscription_rel as r join pg_subscription as s on s.oid = r.srsubid where s.subname = $1",
            NAME,
        )
        assert row is not None
        progress.advance("replication", row["ready"] - ready)
        ready = row["ready"]
        if tuple(row) != last:
            last, moved_s = tuple(row), time.monotonic()
        elif time.monotonic() - moved_s > STALLED_S:
            raise Refused("replication does not go on; the target's log says why", hint="copy with COPY (the default)")
        if ready < len(tables):
            await asyncio.sleep(POLL_S)
    progress.end("replication", f"{ready} tables")


async def _wait_until_caught_up(source: Connection, slot: str) -> None:
    reached = await source.fetchval("select (pg_current_wal_lsn() - '0/0')::bigint")
    deadline_s = time.monotonic() + STALLED_S
    while time.monotonic() < deadline_s:
        confirmed = await source.fetchval(
            "select (confirmed_flush_lsn - '0/0')::bigint from pg_replication_slots where slot_name = $1", slot
        )
        if confirmed is not None and confirmed >= reached:
            return
        await asyncio.sleep(POLL_S)
    raise Refused("replication does not catch up; the target's log says why", hint="copy with COPY (the default)")
