"""Isobase is killed in stage ``live``, with its database, while an app writes: nothing is lost, and all goes back."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter
from pathlib import Path

from isobase_adapter import create_async_migration_client
from isobase_adapter.settings import BreakerSettings
from isobase_adapter.sides import Side
from isobase_adapter.stages import Stage
from tests.adapter.client.moving import set_stage, settings_of
from tests.adapter.pair import Pair, processes_of

NOTES = "table:public.notes"
WRITERS = 4
WAIT_S = 120.0


async def test_an_app_goes_on_while_isobase_is_killed_and_is_back_by_itself(
    killable_pair: Pair, tmp_path: Path
) -> None:
    pair, owner = killable_pair, str(uuid.uuid4())
    set_stage(pair, NOTES, Stage.LIVE)
    pair.supabase.query("select setval('public.notes_id_seq', 1000000)")
    settings = settings_of(
        pair, spool_dir=tmp_path, breaker=BreakerSettings(least_calls=2, open_s=1, longest_open_s=2, trial_calls=1)
    )
    client = await create_async_migration_client(pair.supabase.url, pair.supabase.service_role_key, migration=settings)
    kept: list[str] = []
    failed: list[tuple[float, str]] = []
    sides: Counter[Side] = Counter()
    is_over = asyncio.Event()

    async def write(writer: int) -> None:
        number = 0
        while not is_over.is_set():
            title = f"{writer}-{number}"
            number += 1
            try:
                await client.table("notes").insert({"title": title, "owner_id": owner}).execute()
            except Exception as error:
                failed.append((time.monotonic(), f"{type(error).__name__}: {error}"))
            else:
                kept.append(title)
                answered = client.migration.answered
                assert answered is not None
                sides[answered.side] += 1
            await asyncio.sleep(0.05)

    writers = [asyncio.create_task(write(number)) for number in range(WRITERS)]
    try:
        await _until(lambda: sides[Side.ISOBASE] >= 20)
        (process,) = processes_of(pair.isobase)
        await asyncio.to_thread(process.kill_hard)
        await _until(lambda: sides[Side.SUPABASE] >= 20)
        await asyncio.to_thread(process.start)
        before = sides[Side.ISOBASE]
        await _until(lambda: sides[Side.ISOBASE] >= before + 20)
        is_over.set()
        await asyncio.gather(*writers)
        assert (await client.migration.drain(WAIT_S)).waiting == 0
    finally:
        is_over.set()
        await asyncio.gather(*writers, return_exceptions=True)
        await client.migration.aclose()
    told = [name for (name,) in pair.isobase.query("select name from isobase.migration_events order by id")]
    # What is on its way when Isobase is lost is not acknowledged: one call of each writer. A machine so busy that calls take
    # five seconds counts as lost, too, and is another failover.
    assert len(failed) <= WRITERS * told.count("failover"), (failed, told)
    assert pair.differing(["public.notes"]) == {}
    there = Counter(row["title"] for row in pair.isobase.rows("public.notes"))
    assert all(there[title] == 1 for title in kept)
    assert "failover" in told
    assert "recovery" in told
    assert pair.isobase.query("select side from isobase.writers where pattern = %s", NOTES) == [("isobase",)]


async def _until(holds: object) -> None:
    assert callable(holds)
    async with asyncio.timeout(WAIT_S):
        while not holds():
            await asyncio.sleep(0.05)
