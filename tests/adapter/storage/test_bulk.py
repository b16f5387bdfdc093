"""Back-fill, comparison and sync of whole buckets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from isobase_adapter.sides import Side
from isobase_adapter.storage.carrier import ObjectCarrier, sha256_of
from isobase_adapter.storage.copy import CopyOrder, copy_storage
from isobase_adapter.storage.facts import ObjectFacts
from isobase_adapter.storage.report import BucketReport
from isobase_adapter.storage.store import Store, StoreError
from isobase_adapter.storage.sync import StorageSync, SyncTimes
from isobase_adapter.storage.verify import Depth, verify_storage
from isobase_adapter.storage.walk import Difference
from isobase_adapter.things import Thing, ThingKind
from isobase_adapter.verify.keeping import of_bucket
from tests.adapter.storage.conftest import BUCKET, Both

SUPABASE, ISOBASE = Side.SUPABASE, Side.ISOBASE


async def test_a_copy_fills_the_target_and_a_second_one_has_nothing_to_do(both: Both) -> None:
    for number in range(10):
        await both.put(SUPABASE, f"{number}.txt", b"x" * number)
    await both.put(ISOBASE, "kept.txt", b"the target's own")
    seen: list[tuple[int, int]] = []
    report = await copy_storage(
        both.carrier, ISOBASE, progress=lambda one: seen.append((one.carried_objects, one.carried_bytes))
    )
    papers = next(one for one in report.buckets if one.bucket == BUCKET)
    assert (papers.total_objects, papers.total_bytes) == (10, 45)
    assert (papers.carried_objects, papers.carried_bytes, papers.failed_objects) == (10, 45, 0)
    assert max(seen) == (10, 45)
    assert [row for row in both.rows(ISOBASE) if row[0] != "kept.txt"] == both.rows(SUPABASE)
    assert await both.read(ISOBASE, "kept.txt") is not None
    again = await copy_storage(both.carrier, ISOBASE, order=CopyOrder.SMALLEST)
    assert sum(one.carried_objects for one in again.buckets) == 0


async def test_a_copy_goes_on_from_where_it_was_ended(both: Both) -> None:
    for number in range(12):
        await both.put(SUPABASE, f"{number}.txt", bytes([number]) * 1000)

    class Ended(Exception):
        pass

    def end(one: BucketReport) -> None:
        if one.carried_objects == 5:
            raise Ended

    try:
        await copy_storage(both.carrier, ISOBASE, parallel=1, progress=end)
    except* Ended:
        pass
    there = len(both.rows(ISOBASE))
    assert 5 <= there < 12
    report = await copy_storage(both.carrier, ISOBASE, order=CopyOrder.LARGEST)
    assert sum(one.carried_objects for one in report.buckets) == 12 - there
    assert both.rows(ISOBASE) == both.rows(SUPABASE)


async def test_an_object_whose_bytes_are_lost_at_the_source_is_named_and_holds_nothing_up(both: Both) -> None:
    await both.put(SUPABASE, "good.txt", b"good")
    both.side(SUPABASE).query(
        "insert into storage.objects (bucket_id, name, metadata, version)"
        """ values (%s, 'lost.txt', '{"size": 5, "eTag": "x"}', gen_random_uuid()::text)""",
        BUCKET,
    )
    try:
        report = await copy_storage(both.carrier, ISOBASE, buckets=[BUCKET])
    finally:
        both.side(SUPABASE).query(
            "do $$ begin set local storage.allow_delete_query = 'true';"
            " delete from storage.objects where name = 'lost.txt'; end $$"
        )
    assert [(trouble.key, trouble.what.split(":")[0]) for trouble in report.troubles] == [("lost.txt", "BytesMissing")]
    assert not report.is_equal
    assert await both.read(ISOBASE, "good.txt") == b"good"


def rot(both: Both, content: bytes) -> None:
    """Change the stored bytes of the one object of this content at Isobase, behind its back."""
    process = both.pair.isobase.process
    assert process is not None
    (blob,) = [
        path
        for path in process.data_dir.rglob("*")
        if path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content
    ]
    blob.chmod(0o600)
    blob.write_bytes(content.upper())


async def test_a_comparison_names_what_differs_and_repairs_it(both: Both) -> None:
    for name in ("same", "missing", "bytes", "facts", "rotten"):
        await both.put(SUPABASE, name, name.encode())
    await copy_storage(both.carrier, ISOBASE)
    assert (await verify_storage(both.carrier, ISOBASE, depth=Depth.BYTES)).is_equal
    await both.isobase.remove(BUCKET, ["missing"])
    await both.put(ISOBASE, "bytes", b"other")
    await both.put(ISOBASE, "extra", b"extra")
    both.side(ISOBASE).query("update storage.objects set owner_id = 'somebody' where name = 'facts'")
    rot(both, b"rotten")
    report = await verify_storage(both.carrier, ISOBASE, buckets=[BUCKET])
    found = {trouble.key: trouble.what for trouble in report.troubles}
    assert found == {
        "missing": Difference.MISSING,
        "bytes": Difference.BYTES,
        "extra": Difference.EXTRA,
        "facts": Difference.FACTS,
    }
    deep = await verify_storage(both.carrier, ISOBASE, buckets=[BUCKET], depth=Depth.BYTES)
    assert {trouble.key for trouble in deep.troubles} == {*found, "rotten"}
    assert "owner_id" in next(trouble.detail for trouble in deep.troubles if trouble.key == "facts")
    await verify_storage(both.carrier, ISOBASE, buckets=[BUCKET], depth=Depth.BYTES, repairs=True)
    assert (await verify_storage(both.carrier, ISOBASE, depth=Depth.BYTES)).is_equal
    assert both.rows(ISOBASE) == both.rows(SUPABASE)
    assert await both.read(ISOBASE, "rotten") == b"rotten"


class Failing(httpx.AsyncBaseTransport):
    """Answers downloads of some objects with a server's error, as often as ``times`` says; all else is passed on."""

    def __init__(self, times: dict[str, int], *, status: int = 500, without_answer: bool = False) -> None:
        self.times = times
        self.asked: list[str] = []
        self._status = status
        self._is_without_answer = without_answer
        self._inner = httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        key = request.url.path.rpartition("/")[2]
        if request.method == "GET" and self.times.get(key, 0) > 0:
            self.times[key] -= 1
            self.asked.append(key)
            if self._is_without_answer:
                raise httpx.ReadError("cut", request=request)
            return httpx.Response(self._status, json={"message": "an inner text"}, request=request)
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()


@asynccontextmanager
async def failing_downloads(both: Both, side: Side, failing: Failing) -> AsyncIterator[ObjectCarrier]:
    """The carrier of both sides, with downloads from ``side`` that fail."""
    stack, store = both.side(side), both.carrier.store(side)
    async with httpx.AsyncClient(transport=failing, timeout=30) as http:
        stores = {one: both.carrier.store(one) for one in Side}
        stores[side] = Store(side, http, stack.url, stack.service_role_key, store.pool)
        yield ObjectCarrier(stores[SUPABASE], stores[ISOBASE])


@pytest.fixture
def short_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isobase_adapter.storage.verify.SECOND_LOOK_S", 0.05)


@pytest.mark.usefixtures("short_looks")
@pytest.mark.parametrize("status", [500, 503])
async def test_an_object_that_a_side_does_not_give_is_named_and_holds_nothing_up(both: Both, status: int) -> None:
    for name in ("a", "broken", "hiccup", "z"):
        await both.put(SUPABASE, name, name.encode())
    await copy_storage(both.carrier, ISOBASE)
    await both.put(ISOBASE, "z", b"other")
    failing = Failing({"broken": 1000, "hiccup": 1}, status=status)
    async with failing_downloads(both, SUPABASE, failing) as carrier:
        report = await verify_storage(carrier, ISOBASE, buckets=[BUCKET], depth=Depth.BYTES)
    found = {trouble.key: trouble.what for trouble in report.troubles}
    assert found == {"broken": Difference.UNREADABLE, "z": Difference.BYTES}
    (detail,) = next(trouble.detail for trouble in report.troubles if trouble.key == "broken")
    assert str(status) in detail
    assert not report.is_equal
    assert sum(one.differing_objects for one in report.buckets) == 2
    assert failing.asked.count("broken") >= 3
    kept = of_bucket(BUCKET, report, Depth.BYTES)
    assert not kept.is_equal
    assert any(line.startswith("object broken: unreadable") for line in kept.named)


class Replaced(Store):
    """A store whose object is replaced just before it is looked at, ``times`` times; by the last time both sides have it."""

    def __init__(self, both: Both, http: httpx.AsyncClient, times: int) -> None:
        stack = both.side(SUPABASE)
        super().__init__(SUPABASE, http, stack.url, stack.service_role_key, both.carrier.store(SUPABASE).pool)
        self._both = both
        self.left = times

    async def object(self, bucket: str, key: str, connection: Any = None) -> ObjectFacts | None:
        if self.left > 0:
            self.left -= 1
            await self._both.put(SUPABASE, key, b"x" * (self.left + 100))
            if self.left == 0:
                await self._both.carrier.carry([Thing(ThingKind.OBJECT, bucket, (key,))], ISOBASE)
        return await super().object(bucket, key, connection)


@pytest.mark.usefixtures("short_looks")
@pytest.mark.parametrize(("wait_s", "found"), [(60.0, []), (0.0, [Difference.BYTES])])
async def test_an_object_that_is_replaced_at_every_look_is_waited_for_and_then_named(
    both: Both, monkeypatch: pytest.MonkeyPatch, wait_s: float, found: list[Difference]
) -> None:
    monkeypatch.setattr("isobase_adapter.storage.verify.ON_ITS_WAY_S", wait_s)
    await both.put(SUPABASE, "hot", b"first")
    await copy_storage(both.carrier, ISOBASE)
    await both.put(SUPABASE, "hot", b"second")
    async with httpx.AsyncClient() as http:
        source = Replaced(both, http, times=25)
        report = await verify_storage(ObjectCarrier(source, both.carrier.store(ISOBASE)), ISOBASE, buckets=[BUCKET])
    assert [trouble.what for trouble in report.troubles] == found
    assert (source.left == 0) is (not found)


@pytest.mark.usefixtures("short_looks")
async def test_a_repair_brings_the_bytes_anew_that_the_target_does_not_give(both: Both) -> None:
    for name in ("a", "broken"):
        await both.put(SUPABASE, name, name.encode())
    await copy_storage(both.carrier, ISOBASE)
    # The looks fail; the reading after the repair does not.
    async with failing_downloads(both, ISOBASE, Failing({"broken": 4})) as carrier:
        report = await verify_storage(carrier, ISOBASE, buckets=[BUCKET], depth=Depth.BYTES, repairs=True)
    assert report.is_equal
    assert [one.carried_objects for one in report.buckets] == [1]
    async with failing_downloads(both, SUPABASE, Failing({"broken": 1000})) as carrier:
        report = await verify_storage(carrier, ISOBASE, buckets=[BUCKET], depth=Depth.BYTES, repairs=True)
    assert not report.is_equal
    assert [(one.key, one.what.split(":")[0]) for one in report.troubles] == [("broken", "StoreError")]
    assert await both.read(ISOBASE, "broken") == b"broken"


@pytest.mark.usefixtures("short_looks")
async def test_a_side_that_gives_nothing_any_more_ends_the_comparison(both: Both) -> None:
    names = [f"{number:02}" for number in range(20)]
    for name in names:
        await both.put(SUPABASE, name, name.encode())
    await copy_storage(both.carrier, ISOBASE)
    failing = Failing(dict.fromkeys(names[2:], 1000), without_answer=True)
    async with failing_downloads(both, SUPABASE, failing) as carrier:
        with pytest.raises(httpx.ReadError):
            await verify_storage(carrier, ISOBASE, buckets=[BUCKET], depth=Depth.BYTES)
    assert names[10] not in failing.asked


async def test_a_sweep_carries_all_others_before_it_says_which_object_failed(both: Both) -> None:
    names = [f"{number:02}" for number in range(40)]
    for name in names:
        await both.put(SUPABASE, name, name.encode())
    async with failing_downloads(both, SUPABASE, Failing({"03": 1000})) as carrier:
        with pytest.raises(StoreError):
            await carrier.carry([Thing(ThingKind.OBJECTS, BUCKET)], ISOBASE)
    assert [row[0] for row in both.rows(ISOBASE)] == [name for name in names if name != "03"]


async def test_an_object_that_is_written_while_it_is_looked_at_is_no_difference(
    both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    await both.put(SUPABASE, "busy.txt", b"0")
    await copy_storage(both.carrier, ISOBASE)
    writes = [b"1", b"2"]

    async def then_written(store: Store, bucket: str, key: str) -> str | None:
        found = await sha256_of(store, bucket, key)
        if store is both.supabase and writes:
            await both.put(SUPABASE, key, writes.pop(0))
            await both.carrier.carry([Thing(ThingKind.OBJECT, bucket, (key,))], ISOBASE)
        return found

    monkeypatch.setattr("isobase_adapter.storage.verify.sha256_of", then_written)
    report = await verify_storage(both.carrier, ISOBASE, buckets=[BUCKET], depth=Depth.BYTES)
    assert report.troubles == []
    assert writes == []


def put_into_outbox(both: Both, thing: Thing) -> None:
    both.side(ISOBASE).query(
        "insert into isobase.outbox (state, capability, target, epoch, thing, lock_number, call)"
        " values ('pending', 'bucket:papers', 'isobase', 0, %s, %s, '{}')",
        json.dumps(thing.as_json()),
        thing.lock_number,
    )


class Written(Store):
    """A store whose object is written when it is looked at a second time, and comes to the other side a while later."""

    def __init__(self, both: Both, http: httpx.AsyncClient) -> None:
        stack = both.side(SUPABASE)
        super().__init__(SUPABASE, http, stack.url, stack.service_role_key, both.carrier.store(SUPABASE).pool)
        self._both = both
        self.carrying: asyncio.Task[None] | None = None

    async def object(self, bucket: str, key: str, connection: Any = None) -> ObjectFacts | None:
        if self.carrying is None:
            thing = Thing(ThingKind.OBJECT, bucket, (key,))
            put_into_outbox(self._both, thing)
            await self._both.put(SUPABASE, key, b"just now")
            self.carrying = asyncio.create_task(self._carry(thing))
        return await super().object(bucket, key, connection)

    async def _carry(self, thing: Thing) -> None:
        await asyncio.sleep(1.0)
        await self._both.carrier.carry([thing], ISOBASE)
        self._both.side(ISOBASE).query("delete from isobase.outbox")


@pytest.mark.usefixtures("short_looks")
async def test_a_write_that_begins_between_two_looks_is_waited_for(both: Both) -> None:
    await both.put(SUPABASE, "hot", b"first")
    await copy_storage(both.carrier, ISOBASE)
    await both.put(SUPABASE, "hot", b"second")
    async with httpx.AsyncClient() as http:
        source = Written(both, http)
        report = await verify_storage(ObjectCarrier(source, both.carrier.store(ISOBASE)), ISOBASE, buckets=[BUCKET])
        assert source.carrying is not None
        await source.carrying
    assert report.troubles == []


async def test_an_object_that_the_outbox_holds_is_waited_for(both: Both) -> None:
    await both.put(SUPABASE, "slow.txt", b"slow")
    await both.put(SUPABASE, "lost.txt", b"lost")
    thing = Thing(ThingKind.OBJECT, BUCKET, ("slow.txt",))
    put_into_outbox(both, thing)

    async def carry() -> None:
        await asyncio.sleep(1.5)  # past the second look
        await both.carrier.carry([thing], ISOBASE)
        both.side(ISOBASE).query("delete from isobase.outbox")

    carrying = asyncio.create_task(carry())
    report = await verify_storage(both.carrier, ISOBASE, buckets=[BUCKET])
    await carrying
    assert [trouble.key for trouble in report.troubles] == ["lost.txt"]


async def test_a_sync_follows_writes_and_removals_that_pass_the_adapter_by(both: Both) -> None:
    sync = StorageSync(
        both.carrier, lambda bucket: ISOBASE if bucket == BUCKET else None, times=SyncTimes(poll_s=0.05, sweep_s=0.5)
    )
    stop = asyncio.Event()
    running = asyncio.create_task(sync.run(stop))
    try:
        for number in range(6):
            await both.put(SUPABASE, f"{number}.txt", str(number).encode())
        await both.supabase.remove(BUCKET, ["0.txt"])
        async with asyncio.timeout(90):
            while both.rows(ISOBASE) != both.rows(SUPABASE):
                await asyncio.sleep(0.1)
    finally:
        stop.set()
        await running
    assert sync.changed >= 5


async def test_an_empty_bucket_of_the_target_alone_is_no_difference_and_one_with_objects_is(both: Both) -> None:
    """Isobase makes buckets for itself; a real project has them not."""
    alone = "alone-at-isobase"
    both.side(ISOBASE).query("insert into storage.buckets (id, name) values (%s, %s)", alone, alone)
    try:
        assert (await verify_storage(both.carrier, ISOBASE, buckets=[alone])).is_equal
        async with httpx.AsyncClient(timeout=30) as http:
            key = both.side(ISOBASE).service_role_key
            url = f"{both.side(ISOBASE).url}/storage/v1/object/{alone}/x.txt"
            headers = {"authorization": f"Bearer {key}"}
            (await http.post(url, headers=headers, content=b"x")).raise_for_status()
            report = await verify_storage(both.carrier, ISOBASE, buckets=[alone])
            assert ([one.key for one in report.troubles], report.settings_differ) == (["x.txt"], [alone])
            (await http.delete(url, headers=headers)).raise_for_status()
    finally:
        both.side(ISOBASE).query(
            "do $$ begin set local storage.allow_delete_query = 'true';"
            f" delete from storage.buckets where id = '{alone}'; end $$"
        )
