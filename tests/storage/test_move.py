"""Moving all objects to another blob store: whole, resumed after any end, while objects change, well reported."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from isobase_services.storage.blob import BlobFacts, BlobKey, BlobMissing, BlobStore, BlobUnavailable, StoredBlob
from isobase_services.storage.blob.file import FileBlobStore
from isobase_services.storage.upkeep import move as move_module
from isobase_services.storage.upkeep.copying import Verify
from isobase_services.storage.upkeep.move import MoveOptions, Mover
from isobase_services.storage.upkeep.move_report import MoveReport, ProblemKind
from isobase_services.storage.upkeep.rows import UpkeepRows
from tests.storage.conftest import Stack

UPSERT = {"x-upsert": "true"}


class Silent:
    """A progress that is not shown, but counted."""

    def __init__(self) -> None:
        self.bytes = 0
        self.objects = 0
        self.total = 0

    def pass_begins(self, number: int) -> None:
        self.objects = 0

    def to_copy(self, objects: int, size_bytes: int) -> None:
        self.total = objects

    def read(self, size_bytes: int) -> None:
        self.bytes += size_bytes

    def done(self, objects: int) -> None:
        self.objects += objects


@pytest.fixture
async def target(tmp_path: Path) -> AsyncIterator[BlobStore]:
    store = FileBlobStore(tmp_path / "target")
    await store.start()
    yield store
    await store.close()


def mover(
    stack: Stack, target: BlobStore, options: MoveOptions | None = None, *, source: BlobStore | None = None
) -> Mover:
    chosen = options or MoveOptions()
    report = MoveReport(source="a", target="b", started_at="", verify=chosen.verify.value)
    return Mover(UpkeepRows(stack.platform.pools), source or stack.service._blobs, target, chosen, Silent(), report)


async def move(stack: Stack, target: BlobStore, options: MoveOptions | None = None) -> MoveReport:
    return await mover(stack, target, options).run()


async def seed(stack: Stack) -> dict[tuple[str, str], bytes]:
    """Two buckets with objects of several sizes."""
    contents: dict[tuple[str, str], bytes] = {}
    for bucket in ("one", "two"):
        await stack.bucket(bucket)
        for number in range(6):
            contents[(bucket, f"folder {number}/file.txt")] = f"{bucket} {number} ".encode() * 7**number
        contents[(bucket, "empty")] = b""
    for (bucket, key), content in contents.items():
        assert (await stack.put(f"{bucket}/{key}", content, stack.admin)).status_code == 200
    return contents


async def read(store: BlobStore, key: BlobKey) -> bytes:
    reader = await store.open(key)
    try:
        return b"".join([chunk async for chunk in reader.chunks()])
    finally:
        await reader.close()


async def assert_same(stack: Stack, store: BlobStore, contents: dict[tuple[str, str], bytes]) -> None:
    """The store holds the bytes of every row and nothing else."""
    rows = stack.sql("select bucket_id, name, version from storage.objects")
    assert {(bucket, name) for bucket, name, _ in rows} == set(contents)
    for bucket, name, version in rows:
        assert await read(store, BlobKey(bucket, name, version)) == contents[(bucket, name)]
    assert len([entry async for entry in store.scan()]) == len(rows)


async def test_everything_arrives_and_the_report_counts_it(storage: Stack, target: BlobStore) -> None:
    contents = await seed(storage)
    before = len(storage.blobs())
    report = await move(storage, target)
    await assert_same(storage, target, contents)
    size = sum(len(content) for content in contents.values())
    assert report.is_complete()
    assert (report.objects, report.bytes, report.copied, report.copied_bytes) == (14, size, 14, size)
    assert (report.by_checksum, report.by_size, report.read_back, report.passes) == (14, 0, 0, 2)
    assert {name: (one.objects, one.copied) for name, one in report.buckets.items()} == {"one": (7, 7), "two": (7, 7)}
    assert len(storage.blobs()) == before


async def test_a_second_run_copies_nothing_and_deep_reads_it_all_back(storage: Stack, target: BlobStore) -> None:
    await seed(storage)
    await move(storage, target)
    again = await move(storage, target)
    assert (again.copied, again.already_there, again.passes, again.is_complete()) == (0, 14, 1, True)
    deep = await move(storage, target, MoveOptions(verify=Verify.DEEP))
    assert (deep.copied, deep.already_there, deep.read_back, deep.is_complete()) == (0, 14, 14, True)


async def test_one_bucket_can_be_moved_alone(storage: Stack, target: BlobStore) -> None:
    await seed(storage)
    report = await move(storage, target, MoveOptions(bucket="two"))
    assert (report.objects, report.copied, set(report.buckets)) == (7, 7, {"two"})


async def test_a_dry_run_only_counts(storage: Stack, target: BlobStore) -> None:
    await seed(storage)
    report = await move(storage, target, MoveOptions(is_dry_run=True))
    assert (report.objects, report.to_copy, report.copied) == (14, 14, 0)
    assert [entry async for entry in target.scan()] == []


@pytest.mark.parametrize("after", [0, 5])
async def test_a_run_that_was_cut_is_resumed_where_it_was(
    storage: Stack, target: BlobStore, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = await seed(storage)
    plain = target.put
    count = 0

    async def cut(key: BlobKey, chunks: AsyncIterator[bytes], *, facts: BlobFacts) -> StoredBlob:
        nonlocal count
        count += 1
        if count > after:
            running.cancel()
        return await plain(key, chunks, facts=facts)

    monkeypatch.setattr(target, "put", cut)
    running = asyncio.create_task(move(storage, target, MoveOptions(parallel=1)))
    with pytest.raises(asyncio.CancelledError):
        await running
    assert len([entry async for entry in target.scan()]) in {after, after + 1}
    monkeypatch.setattr(target, "put", plain)
    report = await move(storage, target)
    assert report.is_complete()
    assert report.already_there in {after, after + 1}
    assert report.copied + report.already_there == 14
    await assert_same(storage, target, contents)


async def test_objects_that_change_meanwhile_are_copied_as_they_are_at_the_end(
    storage: Stack, target: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = await seed(storage)
    plain = target.put
    steps: list[Callable[[], Awaitable[None]]] = []

    async def change() -> None:
        assert (await storage.put("one/empty", b"full", storage.admin, **UPSERT)).status_code == 200
        assert (await storage.put("two/new", b"new", storage.admin)).status_code == 200
        gone = await storage.http.delete("/storage/v1/object/two/folder 0/file.txt", headers=storage.admin)
        body = {"bucketId": "one", "sourceKey": "folder 1/file.txt", "destinationKey": "moved"}
        moved = await storage.http.post("/storage/v1/object/move", json=body, headers=storage.admin)
        assert (gone.status_code, moved.status_code) == (200, 200)
        contents[("one", "empty")], contents[("two", "new")] = b"full", b"new"
        del contents[("two", "folder 0/file.txt")]
        contents[("one", "moved")] = contents.pop(("one", "folder 1/file.txt"))

    async def changing(key: BlobKey, chunks: AsyncIterator[bytes], *, facts: BlobFacts) -> StoredBlob:
        stored = await plain(key, chunks, facts=facts)
        if steps:
            await steps.pop()()
        return stored

    steps.append(change)
    monkeypatch.setattr(target, "put", changing)
    report = await move(storage, target, MoveOptions(parallel=1))
    assert report.is_complete()
    assert report.passes > 1
    assert report.objects == len(contents)
    keys = {BlobKey(*row) for row in storage.sql("select bucket_id, name, version from storage.objects")}
    for key in keys:
        assert await read(target, key) == contents[(key.bucket, key.name)]


async def test_a_copy_that_no_row_names_any_more_does_not_stay(
    storage: Stack, target: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await storage.bucket("b")
    assert (await storage.put("b/k", b"1", storage.admin)).status_code == 200
    plain = target.put

    async def then_removed(key: BlobKey, chunks: AsyncIterator[bytes], *, facts: BlobFacts) -> StoredBlob:
        stored = await plain(key, chunks, facts=facts)
        await storage.http.delete("/storage/v1/object/b/k", headers=storage.admin)
        return stored

    monkeypatch.setattr(target, "put", then_removed)
    report = await move(storage, target)
    assert (report.is_complete(), report.changed, report.objects) == (True, 1, 0)
    assert [entry async for entry in target.scan()] == []


async def test_a_server_that_never_stops_writing_leaves_a_report_that_says_so(
    storage: Stack, target: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await storage.bucket("b")
    assert (await storage.put("b/k", b"1", storage.admin)).status_code == 200
    plain = target.put

    async def busy(key: BlobKey, chunks: AsyncIterator[bytes], *, facts: BlobFacts) -> StoredBlob:
        await storage.put(f"b/{uuid.uuid4()}", b"2", storage.admin)
        return await plain(key, chunks, facts=facts)

    monkeypatch.setattr(target, "put", busy)
    report = await move(storage, target)
    assert (report.is_settled, report.passes, report.problem_count) == (False, move_module.MAX_PASSES, 0)
    assert not report.is_complete()


async def test_following_goes_on_until_it_is_stopped(storage: Stack, target: BlobStore) -> None:
    contents = await seed(storage)
    following = mover(storage, target, MoveOptions(follow_interval_s=0.05))
    running = asyncio.create_task(following.run())
    assert (await storage.put("one/late", b"late", storage.admin)).status_code == 200
    contents[("one", "late")] = b"late"
    ((version,),) = storage.sql("select version from storage.objects where name = 'late'")
    while not await is_there(target, BlobKey("one", "late", version)):
        await asyncio.sleep(0.02)
    following.stop()
    assert (await running).is_complete()
    await assert_same(storage, target, contents)


async def is_there(store: BlobStore, key: BlobKey) -> bool:
    try:
        await store.stat(key)
    except BlobMissing:
        return False
    return True


async def test_wrong_bytes_at_the_target_are_found_by_reading_and_put_right(
    storage: Stack, target: BlobStore, tmp_path: Path
) -> None:
    contents = await seed(storage)
    await move(storage, target)
    large = max((tmp_path / "target" / "objects").glob("*/*"), key=lambda path: path.stat().st_size)
    content = bytearray(large.read_bytes())
    content[1000] ^= 1
    large.write_bytes(content)
    short = min((tmp_path / "target" / "objects").glob("*/*"), key=lambda path: path.stat().st_size or 10**9)
    short.write_bytes(b"")
    report = await move(storage, target, MoveOptions(verify=Verify.DEEP))
    assert (report.copied, report.already_there, report.is_complete()) == (2, 12, True)
    await assert_same(storage, target, contents)


async def test_what_arrives_wrong_is_reported(
    storage: Stack, target: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await storage.bucket("b")
    assert (await storage.put("b/k", b"12345", storage.admin)).status_code == 200
    plain = target.put

    async def flip(key: BlobKey, chunks: AsyncIterator[bytes], *, facts: BlobFacts) -> StoredBlob:
        async def flipped() -> AsyncIterator[bytes]:
            async for chunk in chunks:
                yield chunk.replace(b"3", b"4")

        return await plain(key, flipped(), facts=facts)

    monkeypatch.setattr(target, "put", flip)
    report = await move(storage, target)
    assert not report.is_complete()
    assert [(one.kind, one.bucket, one.key) for one in report.problems] == [(ProblemKind.MISMATCH, "b", "k")]
    assert report.buckets["b"].mismatch == 1


async def test_lost_and_changed_blobs_of_the_source_are_told_apart(
    storage: Stack, target: BlobStore, caplog: pytest.LogCaptureFixture
) -> None:
    await seed(storage)
    storage.sql("insert into storage.objects (bucket_id, name) values ('one', 'seeded')")
    ((version,),) = storage.sql("select version from storage.objects where bucket_id = 'one' and name = 'empty'")
    await storage.service._blobs.delete([BlobKey("one", "empty", version)])
    storage.sql("update storage.objects set metadata = metadata || '{\"size\": 3}' where name = 'folder 2/file.txt'")
    report = await move(storage, target)
    assert sorted((one.kind, one.bucket, one.key) for one in report.problems) == [
        (ProblemKind.MISSING, "one", "empty"),
        (ProblemKind.MISSING, "one", "seeded"),
        (ProblemKind.SOURCE_CHANGED, "one", "folder 2/file.txt"),
        (ProblemKind.SOURCE_CHANGED, "two", "folder 2/file.txt"),
    ]
    assert (report.is_settled, report.missing, report.is_complete(ignores_missing=True)) == (True, 2, False)
    storage.sql("update storage.objects set metadata = metadata - 'size' where name = 'folder 2/file.txt'")
    report = await move(storage, target)
    assert (report.is_complete(), report.is_complete(ignores_missing=True)) == (False, True)


async def test_a_store_that_fails_now_and_then_is_asked_again(
    storage: Stack, target: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = await seed(storage)
    monkeypatch.setattr(move_module, "RETRY_DELAY_S", 0.001)
    plain = target.put
    count = 0

    async def failing(key: BlobKey, chunks: AsyncIterator[bytes], *, facts: BlobFacts) -> StoredBlob:
        nonlocal count
        count += 1
        if count % 3:
            raise BlobUnavailable("busy", is_temporary=True)
        return await plain(key, chunks, facts=facts)

    monkeypatch.setattr(target, "put", failing)
    report = await move(storage, target, MoveOptions(parallel=1))
    assert (report.copied, report.is_complete()) == (14, True)
    await assert_same(storage, target, contents)


async def test_a_store_that_is_gone_ends_the_run(
    storage: Stack, target: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await seed(storage)
    monkeypatch.setattr(move_module, "RETRY_DELAY_S", 0.001)
    monkeypatch.setattr(move_module, "MAX_FAILURES_IN_A_ROW", 4)

    async def gone(key: BlobKey, chunks: AsyncIterator[bytes], *, facts: BlobFacts) -> StoredBlob:
        raise BlobUnavailable("gone")

    monkeypatch.setattr(target, "put", gone)
    with pytest.raises(BlobUnavailable):
        await move(storage, target)


async def test_the_source_is_emptied_only_of_what_the_target_has(storage: Stack, target: BlobStore) -> None:
    await seed(storage)
    one = mover(storage, target)
    assert (await one.run()).is_complete()
    assert (await storage.put("one/late", b"late", storage.admin)).status_code == 200
    assert await one.delete_source() == 14
    assert len(storage.blobs()) == 1
    assert (await storage.http.get("/storage/v1/object/one/late", headers=storage.admin)).content == b"late"
