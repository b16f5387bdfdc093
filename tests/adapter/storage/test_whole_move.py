"""A bucket moves to Isobase and back while uploads go on and each side goes away for a while: nothing is lost."""

from __future__ import annotations

import asyncio
import random
import uuid
from typing import Any

import pytest

from isobase_adapter import create_async_migration_client
from isobase_adapter.carrying import Carriers
from isobase_adapter.control.changes import BEHIND
from isobase_adapter.drainer import Drainer
from isobase_adapter.handover import Handover
from isobase_adapter.outbox.postgres import PostgresOutbox
from isobase_adapter.sides import Side
from isobase_adapter.stages import Stage
from isobase_adapter.storage.copy import copy_storage
from isobase_adapter.storage.verify import Depth, verify_storage
from isobase_adapter.things import ThingKind
from tests.adapter.app.move import operator_of, outbox_lines
from tests.adapter.client.moving import settings_of, wait_for_stage
from tests.adapter.storage.conftest import BUCKET, Both

SUPABASE, ISOBASE = Side.SUPABASE, Side.ISOBASE
PATTERN = f"bucket:{BUCKET}"
UPLOADERS = 4
WRITES_PER_STAGE = 8


class Uploaders:
    """Upload, replace and remove objects; ``kept`` is what was acknowledged last for each key."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._may_write = asyncio.Event()
        self._may_write.set()
        self._idle = [asyncio.Event() for _ in range(UPLOADERS)]
        self._tasks = [asyncio.create_task(self._upload(number)) for number in range(UPLOADERS)]
        self.kept: dict[str, bytes] = {}
        self.written = 0
        self.failed: list[BaseException] = []
        self.unsure: set[str] = set()
        """Keys of writes whose end nobody heard."""

    async def _upload(self, number: int) -> None:
        generator = random.Random(number)
        bucket = self._client.storage.from_(BUCKET)
        serial = 0
        while True:
            if not self._may_write.is_set():
                self._idle[number].set()
                await self._may_write.wait()
            self._idle[number].clear()
            serial += 1
            key = f"{number}/{generator.randrange(6)}.txt"
            try:
                if generator.random() < 0.2 and key in self.kept:
                    await bucket.remove([key])
                    del self.kept[key]
                else:
                    content = f"{number} {serial} ".encode() * generator.randrange(1, 4000)
                    await bucket.upload(key, content, {"upsert": "true", "content-type": "text/plain"})
                    self.kept[key] = content
            except Exception as error:
                self.failed.append(error)
            self.written += 1
            await asyncio.sleep(0.01)

    async def go_on(self, writes: int) -> None:
        """Wait for so many more writes."""
        until = self.written + writes
        async with asyncio.timeout(120):
            while self.written < until:
                await asyncio.sleep(0.02)

    async def pause(self) -> None:
        """Let every uploader end what it does."""
        self._may_write.clear()
        async with asyncio.timeout(120):
            for idle in self._idle:
                await idle.wait()

    def resume(self) -> None:
        """Go on."""
        self._may_write.set()

    async def stop(self) -> None:
        """End."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _is_stall(error: BaseException | None) -> bool:
    """Whether an error came of a machine that stood still for the many seconds of a time limit."""
    while error is not None and not isinstance(error, TimeoutError):
        error = error.__cause__
    return error is not None


@pytest.mark.timeout(900)
async def test_a_bucket_moves_there_and_back_while_uploads_go_on(both: Both, proxied_pair: Any) -> None:
    pair = proxied_pair.pair
    client: Any = await create_async_migration_client(
        pair.supabase.url, pair.supabase.service_role_key, migration=settings_of(pair, second_write_timeout_s=2.0)
    )
    assert both.isobase.pool is not None
    carriers = Carriers(dict.fromkeys((ThingKind.OBJECT, ThingKind.OBJECTS, ThingKind.BUCKET), both.carrier))
    drainer = Drainer(PostgresOutbox(both.isobase.pool, uuid.uuid4()), carriers)
    draining = asyncio.create_task(drainer.run())

    async def no_sequences(pattern: str, side: Side) -> None:
        """A bucket has none."""

    handover = Handover(both.isobase.pool, both.supabase.pool, move_sequences=no_sequences, drainer=drainer)
    uploaders = Uploaders(client)
    away = {Stage.SHADOW_READ: proxied_pair.isobase, Stage.RAMP_DOWN: proxied_pair.supabase}
    try:
        async with operator_of(both.pair) as operator:

            async def go_to(stage: Stage, *, is_back: bool = False) -> None:
                await operator.set_flag(PATTERN, stage, reason="a test", timeout_s=60)
                await asyncio.to_thread(wait_for_stage, client, PATTERN, stage)
                if stage is Stage.LIVE and not is_back:
                    await uploaders.go_on(WRITES_PER_STAGE)
                    await handover.hand_over(PATTERN, ISOBASE, by="a test")
                if stage is Stage.SHADOW_READ and is_back:
                    await handover.hand_over(PATTERN, SUPABASE, by="a test")
                await uploaders.go_on(WRITES_PER_STAGE)
                if stage in away:
                    # The side that is written second goes away in the middle, and comes back.
                    proxy = away[stage] if not (is_back and stage is Stage.SHADOW_READ) else proxied_pair.isobase
                    proxy.refuses = True
                    proxy.cut_all()
                    await uploaders.go_on(WRITES_PER_STAGE)
                    proxied_pair.heal()

            async def check(*sides: Side) -> None:
                await uploaders.pause()
                async with asyncio.timeout(120):
                    while (await drainer.drain(1.0)).waiting or outbox_lines(both.pair):
                        await asyncio.sleep(0.05)
                for side in sides:
                    sure = {key: kept for key, kept in uploaders.kept.items() if key not in uploaders.unsure}
                    for key, content in sure.items():
                        assert await both.read(side, key) == content, (side, key)
                    assert {str(row[0]) for row in both.rows(side)} - uploaders.unsure == set(sure)
                if len(sides) == len(Side):
                    assert both.rows(SUPABASE) == both.rows(ISOBASE)
                uploaders.resume()

            await uploaders.go_on(WRITES_PER_STAGE)
            await go_to(Stage.DUAL_WRITE)
            await copy_storage(both.carrier, ISOBASE)
            await check(*Side)
            for stage in (Stage.SHADOW_READ, Stage.LIVE, Stage.RAMP_DOWN):
                await go_to(stage)
            await check(*Side)
            report = await verify_storage(both.carrier, SUPABASE, depth=Depth.BYTES)
            assert report.troubles == []
            await go_to(Stage.COMPLETE)
            await check(ISOBASE)
            await go_to(Stage.RAMP_DOWN, is_back=True)
            await verify_storage(both.carrier, SUPABASE, repairs=True)  # what came in `complete`
            await check(*Side)
            await operator.set_rule(PATTERN, BEHIND, None)
            for stage in (Stage.LIVE, Stage.SHADOW_READ, Stage.DUAL_WRITE):
                await go_to(stage, is_back=True)
            await check(*Side)
            await go_to(Stage.OFF, is_back=True)
            await check(SUPABASE)
        assert [(error, error.__cause__) for error in uploaders.failed] == []
    finally:
        await uploaders.stop()
        draining.cancel()
        await asyncio.gather(draining, return_exceptions=True)
        proxied_pair.heal()
        await client.migration.aclose()
