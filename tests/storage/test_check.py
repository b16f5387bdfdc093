"""Blobs without a row and rows without a blob: exactly those are found, and only old blobs that nothing names are removed."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from isobase_services.storage.blob import BlobEntry, BlobKey
from isobase_services.storage.blob.file import FileBlobStore
from isobase_services.storage.upkeep.check import Checker, CheckReport, version_of
from isobase_services.storage.upkeep.inventory import Inventory
from isobase_services.storage.upkeep.rows import PAGE_ROWS, UpkeepRows
from isobase_services.storage.upkeep.spill import MEMORY_BYTES_PER_PARTITION, PARTITIONS, Spill
from tests.storage.conftest import Stack

DAY_S = 24 * 3600.0


@pytest.fixture(autouse=True)
def removes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isobase_services.storage.upkeep.check.MIN_REMOVAL_GRACE_S", 0)


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def orphan(stack: Stack, content: bytes = b"orphan") -> BlobKey:
    """Store a blob that no row names."""
    key = BlobKey("b", "lost", str(uuid.uuid4()))
    await stack.service._blobs.put(key, chunks(content))
    return key


async def check(stack: Stack, *, grace_s: float = 0.0, removes: bool = False, is_forced: bool = False) -> CheckReport:
    checker = Checker(UpkeepRows(stack.platform.pools), stack.service._blobs, grace_s=grace_s)
    return await checker.run(removes=removes, is_forced=is_forced)


async def test_a_project_in_order_is_clean(storage: Stack) -> None:
    await storage.bucket("b")
    for number in range(5):
        assert (await storage.put(f"b/{number}", b"x" * number, storage.admin)).status_code == 200
    report = await check(storage)
    assert (report.blobs, report.blob_bytes, report.rows, report.is_clean) == (5, 10, 5, True)


@pytest.mark.parametrize("backend", ["file"], indirect=True)
async def test_exactly_the_orphans_and_the_lost_objects_are_found_and_only_orphans_removed(storage: Stack) -> None:
    await storage.bucket("b")
    for name in ("kept", "lost", "again"):
        assert (await storage.put(f"b/{name}", name.encode(), storage.admin)).status_code == 200
    storage.sql("insert into storage.objects (bucket_id, name) values ('b', 'seeded')")
    ((version,),) = storage.sql("select version from storage.objects where name = 'lost'")
    await storage.service._blobs.delete([BlobKey("b", "lost", version)])
    orphans = {(await orphan(storage)).version for _ in range(3)}
    (storage.root / "objects" / "aa").mkdir(exist_ok=True)
    (storage.root / "objects" / "aa" / "README").write_text("not ours")

    report = await check(storage)
    assert (report.orphan_blobs, report.orphan_bytes, report.foreign_blobs) == (3, 18, 1)
    assert {str(version_of(str(one["blob"]))) for one in report.orphans} == orphans
    assert report.foreign == ["aa/README"]
    assert {(one["key"], one["version"]) for one in report.missing} == {("lost", version), ("seeded", "")}
    assert (report.removed_blobs, report.is_clean, len(storage.blobs())) == (0, False, 6)

    report = await check(storage, removes=True)
    assert (report.removed_blobs, report.removed_bytes, report.rows_without_blob) == (3, 18, 2)
    assert len(storage.blobs()) == 3
    assert len(storage.sql("select from storage.objects")) == 4
    assert (await storage.http.get("/storage/v1/object/b/kept", headers=storage.admin)).content == b"kept"
    assert (await check(storage, removes=True)).orphan_blobs == 0


@pytest.mark.parametrize("backend", ["file"], indirect=True)
async def test_a_young_blob_is_left_alone_and_a_link_is_as_young_as_itself(storage: Stack) -> None:
    await storage.bucket("b")
    source = await orphan(storage)
    (path,) = storage.blobs()
    os.utime(path, (time.time() - 10 * DAY_S,) * 2)
    # A copy is a link to the same bytes, whose time is the source's.
    await storage.service._blobs.copy(source, BlobKey("b", "copy", str(uuid.uuid4())))
    report = await check(storage, grace_s=DAY_S, removes=True)
    assert (report.young_blobs, report.orphan_blobs, report.removed_blobs) == (2, 0, 0)
    assert len(storage.blobs()) == 2


async def test_a_blob_whose_row_comes_after_the_look_is_not_removed(
    storage: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    await storage.bucket("b")
    key = await orphan(storage)
    plain = Checker._remove

    async def late_row(self: Checker, partition: object, report: CheckReport) -> None:
        statement = "insert into storage.objects (bucket_id, name, version) values (%s, %s, %s) on conflict do nothing"
        storage.sql(statement, key.bucket, key.name, key.version)
        await plain(self, partition, report)  # type: ignore[arg-type]

    monkeypatch.setattr(Checker, "_remove", late_row)
    report = await check(storage, removes=True)
    assert (report.orphan_blobs, report.removed_blobs, len(storage.blobs())) == (1, 0, 1)


async def test_the_blob_of_an_unfinished_upload_is_no_orphan(storage: Stack) -> None:
    await storage.bucket("b")
    key = await orphan(storage)
    storage.sql(
        "insert into storage.s3_multipart_uploads (id, upload_signature, bucket_id, key, version)"
        " values ('u', 's', 'b', 'lost', %s)",
        key.version,
    )
    assert (await check(storage, removes=True)).removed_blobs == 0
    assert len(storage.blobs()) == 1


async def test_a_store_full_of_orphans_is_not_emptied_unless_forced(
    storage: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isobase_services.storage.upkeep.check.SUSPICIOUS_BLOBS", 3)
    for _ in range(3):
        await orphan(storage)
    report = await check(storage, removes=True)
    assert (report.is_refused, report.removed_blobs, len(storage.blobs())) == (True, 0, 3)
    report = await check(storage, removes=True, is_forced=True)
    assert (report.is_refused, report.removed_blobs, len(storage.blobs())) == (False, 3, 0)


async def test_an_object_that_is_replaced_during_the_check_is_not_missing(
    storage: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    await storage.bucket("b")
    for name in ("a", "b"):
        assert (await storage.put(f"b/{name}", b"1", storage.admin)).status_code == 200
    plain = Inventory.take

    async def then_replaced(self: Inventory, bucket: str | None = None) -> None:
        await plain(self, bucket)
        answer = await storage.put("b/a", b"2", storage.admin, **{"x-upsert": "true"})
        assert answer.status_code == 200
        assert (await storage.http.delete("/storage/v1/object/b/b", headers=storage.admin)).status_code == 200

    monkeypatch.setattr(Inventory, "take", then_replaced)
    report = await check(storage)
    assert (report.rows_without_blob, report.orphan_blobs) == (0, 0)


async def test_rows_of_many_pages_are_all_compared(storage: Stack) -> None:
    await storage.bucket("b")
    storage.sql(
        "insert into storage.objects (bucket_id, name, version)"
        " select 'b', case when mod(n, 2) = 0 then 'a/' else 'B ' end || n, gen_random_uuid()"
        " from generate_series(1, %s) n",
        2 * PAGE_ROWS,
    )
    report = await check(storage)
    assert (report.rows, report.rows_without_blob, len(report.missing)) == (2 * PAGE_ROWS, 2 * PAGE_ROWS, 1000)


def test_a_spill_gives_back_every_record_from_memory_and_from_files() -> None:
    records = {f"key {number} é\n": [number, "x" * 100, None] for number in range(2 * MEMORY_BYTES_PER_PARTITION // 3)}
    with Spill() as spill:
        spill.add((key, list(value)) for key, value in records.items())
        found = [record for number in range(PARTITIONS) for record in spill.partition(number)]
    assert len(found) == len(records)
    assert dict(found) == records


async def test_a_disk_tells_how_long_a_blob_is_at_its_place(tmp_path: Path) -> None:
    store = FileBlobStore(tmp_path)
    await store.start()
    try:
        await store.put(BlobKey("b", "k", str(uuid.uuid4())), chunks(b"x"))
        (path,) = (tmp_path / "objects").glob("*/*")
        os.utime(path, (0, 0))
        found: list[BlobEntry] = [entry async for entry in store.scan()]
        assert (datetime.now(UTC) - found[0].stored_at).total_seconds() < 60
    finally:
        await store.close()
