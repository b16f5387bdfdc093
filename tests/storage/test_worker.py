"""The regular work of a server: what is expired goes, one process at a time does it, and it ends."""

from __future__ import annotations

import asyncio
import logging
import os
import time
import uuid
from collections.abc import AsyncIterator

import pytest

from isobase_platform.config_storage.worker import WorkerSettings
from isobase_platform.errors import Unavailable
from isobase_platform.observe import Metrics
from isobase_services.storage.blob import BlobKey
from isobase_services.storage.upkeep.multipart import MultipartWork
from isobase_services.storage.upkeep.worker import OrphanWork, StorageWorker, Work, storage_worker
from tests.storage.conftest import BOTH_BACKENDS, Stack

OFTEN = WorkerSettings(interval_s=0.01)


async def nothing() -> int:
    return 0


@pytest.fixture(autouse=True)
def removes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isobase_services.storage.upkeep.check.MIN_REMOVAL_GRACE_S", 0)


async def chunks() -> AsyncIterator[bytes]:
    yield b"orphan"


def worker(stack: Stack, *pieces: Work, settings: WorkerSettings = OFTEN) -> StorageWorker:
    return StorageWorker(settings, stack.platform.store, stack.platform.metrics, pieces)


@pytest.fixture(autouse=True)
def no_entries(request: pytest.FixtureRequest) -> None:
    if "storage" in request.fixturenames:
        request.getfixturevalue("storage").sql("delete from isobase.key_values")


async def test_of_two_processes_one_does_the_work(storage: Stack) -> None:
    done: list[str] = []

    def piece(who: str) -> Work:
        async def run() -> int:
            done.append(who)
            await asyncio.sleep(0.05)
            return 1

        return Work("test", 3600, run)

    first, second = worker(storage, piece("first")), worker(storage, piece("second"))
    outcomes = await asyncio.gather(first.run_round(), second.run_round())
    assert sorted(outcomes, key=len) == [{}, {"test": 1}]
    assert await first.run_round() == await second.run_round() == {}
    assert len(done) == 1


async def test_work_that_failed_or_was_cut_is_due_again_at_once(
    storage: Stack, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("isobase"), "propagate", True)

    async def failing() -> int:
        raise Unavailable("the store is away")

    assert await worker(storage, Work("test", 60, failing)).run_round() == {}
    assert "regular work of storage failed" in caplog.text
    began = asyncio.Event()

    async def endless() -> int:
        began.set()
        await asyncio.sleep(600)
        return 0

    cut = asyncio.create_task(worker(storage, Work("test", 60, endless)).run_round())
    await began.wait()
    cut.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cut
    assert await worker(storage, Work("test", 60, nothing)).run_round() == {"test": 0}


async def test_a_worker_works_again_and_again_until_it_is_stopped(storage: Stack) -> None:
    rounds = 0
    enough = asyncio.Event()

    async def count() -> int:
        nonlocal rounds
        rounds += 1
        if rounds == 2:
            raise ZeroDivisionError("a fault of ours")
        if rounds > 3:
            enough.set()
        return 1

    one = worker(storage, Work("test", 0.001, count))
    one.start()
    await asyncio.wait_for(enough.wait(), 60)
    await one.stop()
    after = rounds
    await asyncio.sleep(0.05)
    assert rounds == after
    off = worker(storage, Work("test", 0.001, count), settings=WorkerSettings(enabled=False, interval_s=0.001))
    off.start()
    await asyncio.sleep(0.02)
    await off.stop()
    assert rounds == after


async def test_long_work_does_not_hold_up_the_rest(storage: Stack) -> None:
    done = asyncio.Event()
    long_began = asyncio.Event()

    async def endless() -> int:
        long_began.set()
        await asyncio.sleep(600)
        return 0

    async def short() -> int:
        await long_began.wait()
        done.set()
        return 0

    one = worker(storage, Work("long", 0.001, endless, is_long=True), Work("short", 0.001, short))
    one.start()
    await asyncio.wait_for(done.wait(), 60)
    await one.stop()
    assert await worker(storage, Work("long", 60, nothing)).run_round() == {"long": 0}


@pytest.mark.parametrize("backend", ["file"], indirect=True)
async def test_only_what_is_expired_goes(storage: Stack) -> None:
    await storage.bucket("b")
    assert (await storage.put("b/kept", b"kept", storage.admin)).status_code == 200
    for age in ("-1 hour", "1 hour"):
        storage.sql(
            "insert into isobase.resumable_uploads (id, bucket_id, name, size_bytes, metadata, expires_at)"
            " values (gen_random_uuid(), 'b', %s, 10, '{}', now() + %s::interval)",
            age,
            age,
        )
    old, young = storage.root / "tmp" / "old", storage.root / "tmp" / "young"
    for path in (old, young):
        path.write_bytes(b"x")
    os.utime(old, (time.time() - 2 * 24 * 3600,) * 2)
    core, blobs = storage.service._core, storage.service._blobs
    removed = await storage_worker(storage.platform, core, blobs).run_round()
    assert removed == {
        "resumable_uploads": 1,
        "direct_uploads": 0,
        "multipart_uploads": 0,
        "temporary_files": 1,
        "orphan_blobs": 0,
    }
    assert storage.sql("select name from isobase.resumable_uploads") == [("1 hour",)]
    assert (old.exists(), young.exists(), len(storage.blobs())) == (False, True, 1)
    storage.sql("delete from isobase.resumable_uploads")


async def test_orphans_are_counted_and_removed_only_where_the_settings_say_so(storage: Stack) -> None:
    await storage.bucket("b")
    storage.sql("insert into storage.objects (bucket_id, name) values ('b', 'seeded')")
    await storage.service._blobs.put(BlobKey("b", "lost", str(uuid.uuid4())), chunks())
    metrics = Metrics()

    async def look(**settings: object) -> tuple[int, int | None, int | None, int | None]:
        chosen = WorkerSettings.model_validate({"orphan_grace_s": 0, **settings})
        work = OrphanWork(chosen, storage.platform.pools, storage.service._blobs, metrics)
        removed = await work.run()
        names = ("orphan_blobs", "orphan_bytes", "rows_without_blob")
        values = [metrics.registry.get_sample_value(f"isobase_storage_{name}") for name in names]
        return (removed, *(None if value is None else int(value) for value in values))  # type: ignore[return-value]

    assert await look(orphan_grace_s=3600) == (0, 0, 0, 1)
    assert await look() == (0, 1, 6, 1)
    assert len(storage.blobs()) == 1
    assert await look(removes_orphans=True) == (1, 0, 0, 1)
    assert storage.blobs() == []


async def begin_parts(stack: Stack, name: str, age_days: int, *, part_age_days: int | None = None) -> None:
    """An unfinished upload of the S3 protocol with one part, made so many days ago; ``part_age_days`` None: no part."""
    blobs = stack.service._blobs
    key = BlobKey("b", name, str(uuid.uuid4()))
    upload = await blobs.begin_parts(key)
    stack.sql(
        "insert into storage.s3_multipart_uploads (id, upload_signature, bucket_id, key, version, created_at)"
        " values (%s, %s, 'b', %s, %s, now() - make_interval(days => %s))",
        key.version,
        upload,
        name,
        key.version,
        age_days,
    )
    if part_age_days is not None:
        part = await blobs.put_part(key, upload, 1, chunks())
        stack.sql(
            "insert into storage.s3_multipart_uploads_parts"
            " (upload_id, part_number, size, etag, bucket_id, key, version, created_at)"
            " values (%s, 1, %s, %s, 'b', %s, %s, now() - make_interval(days => %s))",
            key.version,
            part.size_bytes,
            part.etag,
            name,
            key.version,
            part_age_days,
        )


@BOTH_BACKENDS
async def test_uploads_in_parts_end_a_week_after_their_newest_part(storage: Stack) -> None:
    await storage.bucket("b")
    await begin_parts(storage, "empty", 8)
    await begin_parts(storage, "old", 30, part_age_days=8)
    await begin_parts(storage, "going on", 30, part_age_days=1)
    await begin_parts(storage, "new", 1)
    blobs = storage.service._blobs
    work = MultipartWork(storage.platform.pools, blobs, ttl_s=7 * 24 * 3600, unknown_after_s=0)
    assert await work.run() == 2
    assert sorted(storage.sql("select key from storage.s3_multipart_uploads")) == [("going on",), ("new",)]
    if storage.s3 is None or storage.s3.lists_uploads:
        assert len([entry async for entry in blobs.scan_uploads()]) == 2
    assert await work.run() == 0


@pytest.mark.usefixtures("listed_uploads")
@BOTH_BACKENDS
async def test_parts_that_no_row_knows_end_after_a_day(storage: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    await storage.bucket("b")
    await begin_parts(storage, "known", 1)
    blobs = storage.service._blobs
    await blobs.begin_parts(BlobKey("b", "unknown", str(uuid.uuid4())))
    work = MultipartWork(storage.platform.pools, blobs, ttl_s=7 * 24 * 3600, unknown_after_s=0)
    if storage.s3 is None or not storage.s3.is_moto:  # moto says that every upload began in 2010
        assert await work.run() == 0
    monkeypatch.setattr(work, "_unknown_after_s", -1)
    assert await work.run() == 1
    assert len([entry async for entry in blobs.scan_uploads()]) == 1
