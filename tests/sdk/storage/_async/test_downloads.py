"""Downloads as streams and to files, through cut connections, in flat memory."""

from __future__ import annotations

# [async]
import asyncio

# [/async]
import os

# [sync] import threading
# [sync] from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from isobase import call_options

# [sync] from isobase import CallCancelled, Cancellation
from isobase.storage import AsyncStorageClient, MemoryUploadStore, StorageApiError, TransferError
from isobase.storage._async.file_api import AsyncBucketProxy
from tests.plugins.fault_proxy import Break
from tests.sdk.storage.conftest import Proxy

CONTENT = os.urandom(3_000_000)


def is_read(method: str, target: str) -> bool:
    return method == "GET" and "/object/" in target


def entries(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir())


def bytes_of(path: Path) -> bytes:
    return path.read_bytes()


@pytest.mark.capability("storage.file_buckets.download_as_stream")
async def test_an_object_is_read_block_by_block(bucket: AsyncBucketProxy) -> None:
    await bucket.upload("a.bin", CONTENT, {"content-type": "video/mp4"})
    seen: list[tuple[int, int | None]] = []
    blocks: list[bytes] = []
    async with bucket.download_stream("a.bin", on_progress=lambda got, total: seen.append((got, total))) as stream:
        assert (stream.size, stream.content_type) == (len(CONTENT), "video/mp4")
        assert stream.etag == (await bucket.info("a.bin"))["etag"]
        blocks += [block async for block in stream]
    assert b"".join(blocks) == CONTENT
    assert len(blocks) > 5
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    plain = [block async for block in bucket.download_stream("a.bin")]
    assert b"".join(plain) == CONTENT
    assert await (await bucket.download_stream("a.bin").open()).read() == CONTENT


async def test_a_stream_of_an_absent_object_is_refused_when_it_is_opened(bucket: AsyncBucketProxy) -> None:
    with pytest.raises(StorageApiError) as caught:
        async with bucket.download_stream("never"):
            pass
    assert (caught.value.code, caught.value.error_code) == ("not_found", "NoSuchKey")


@pytest.mark.usefixtures("renderer_and_network")
async def test_a_picture_is_streamed_rendered(bucket: AsyncBucketProxy, picture: bytes) -> None:
    await bucket.upload("p.png", picture, {"content-type": "image/png"})
    rendered = await bucket.download_stream("p.png", {"transform": {"width": 10, "height": 5}}).read()
    assert int.from_bytes(rendered[16:20], "big") == 10


async def test_a_file_appears_when_it_is_whole(bucket: AsyncBucketProxy, tmp_path: Path) -> None:
    await bucket.upload("a.bin", CONTENT)
    target = tmp_path / "a.bin"

    def look(got: int, _total: int | None) -> None:
        assert "a.bin" not in entries(tmp_path)
        if got > 1_000_000 and not stopped:
            stopped.append(got)
            raise KeyError

    stopped: list[int] = []
    with pytest.raises(KeyError):
        await bucket.download_to("a.bin", target, on_progress=look)
    assert entries(tmp_path) == []
    assert await bucket.download_to("a.bin", str(target), on_progress=look) == target
    assert bytes_of(target) == CONTENT
    with pytest.raises(StorageApiError):
        await bucket.download_to("never", tmp_path / "never")
    assert entries(tmp_path) == ["a.bin"]


async def test_a_download_goes_on_after_cut_connections(
    proxy: Proxy, bucket: AsyncBucketProxy, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "isobase.storage")
    await bucket.upload("a.bin", CONTENT)
    proxy.breaks(Break.CUT_ANSWER, is_read, times=2)
    proxy.breaks(Break.REFUSE, is_read, times=1)
    proxy.breaks(Break.ERROR_503, is_read, times=1)
    async with AsyncStorageClient(proxy.api_url, proxy.api.service) as client:
        await client.from_(bucket.id).download_to("a.bin", tmp_path / "a.bin")
        assert bytes_of(tmp_path / "a.bin") == CONTENT
        assert len(proxy.seen) == 5
        assert len([record for record in caplog.records if record.name == "isobase.storage"]) == 4
        proxy.breaks(Break.CUT_ANSWER, is_read, times=1)
        with call_options(retries=0), pytest.raises(httpx.TransportError):
            await client.from_(bucket.id).download_to("a.bin", tmp_path / "b.bin")
    assert entries(tmp_path) == ["a.bin"]


async def test_two_versions_are_never_mixed(proxy: Proxy, bucket: AsyncBucketProxy) -> None:
    await bucket.upload("a.bin", CONTENT)
    proxy.breaks(Break.CUT_ANSWER, is_read, times=1)
    async with AsyncStorageClient(proxy.api_url, proxy.api.service) as client:
        stream = client.from_(bucket.id).download_stream("a.bin")
        replaced = False
        with pytest.raises(TransferError, match="replaced"):
            async for _block in stream:
                if not replaced:
                    replaced = True
                    await bucket.update("a.bin", CONTENT[::-1], resumable=False)


async def test_a_download_that_falls_silent_ends_at_its_time(proxy: Proxy, bucket: AsyncBucketProxy) -> None:
    await bucket.upload("a.bin", CONTENT)
    proxy.breaks(Break.HANG_ANSWER, is_read)
    async with AsyncStorageClient(proxy.api_url, proxy.api.service) as client:
        with call_options(timeout=0.4), pytest.raises(httpx.TimeoutException):
            await client.from_(bucket.id).download_stream("a.bin").read()
        stream = client.from_(bucket.id).download_stream("a.bin")
        with call_options(timeout=0.4), pytest.raises(httpx.TimeoutException):
            await stream.read()


@pytest.mark.capability("storage.configuration.auto_retry")
async def test_reads_are_tried_again_as_often_as_one_says(proxy: Proxy, bucket: AsyncBucketProxy) -> None:
    await bucket.upload("a", b"1")
    async with AsyncStorageClient(proxy.api_url, proxy.api.service) as client:
        files = client.from_(bucket.id)
        proxy.breaks(Break.ERROR_503, lambda *_: True, times=2)
        assert await files.download("a") == b"1"
        proxy.breaks(Break.LOSE_ANSWER, lambda *_: True, times=2)
        assert [row["name"] for row in await files.list()] == ["a"]
        proxy.breaks(Break.ERROR_503, lambda *_: True, times=1)
        with call_options(retries=0), pytest.raises(StorageApiError) as caught:
            await files.download("a")
    assert caught.value.http_status == 503


# [async]
@pytest.mark.capability("storage.file_buckets.request_cancellation")
async def test_a_cancelled_transfer_stops_and_frees_its_connection(proxy: Proxy, bucket: AsyncBucketProxy) -> None:
    await bucket.upload("a.bin", CONTENT)
    proxy.breaks(Break.HANG_ANSWER, is_read)
    proxy.breaks(Break.HANG, lambda method, _target: method == "POST")
    async with AsyncStorageClient(proxy.api_url, proxy.api.service) as client:
        files = client.from_(bucket.id)
        for work in (
            files.download_stream("a.bin").read(),
            files.download("a.bin"),
            files.upload("b", CONTENT, store=MemoryUploadStore()),
        ):
            task = asyncio.create_task(work)
            await asyncio.sleep(0.2)
            assert not task.done()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        proxy.heals()
        assert await files.download("a.bin") == CONTENT
    async with asyncio.timeout(60):
        while proxy.open_answers:
            await asyncio.sleep(0.05)
    assert not await bucket.exists("b")


# [/async]
# [sync] @pytest.mark.capability("storage.file_buckets.request_cancellation")
# [sync] def test_a_cancelled_transfer_stops(proxy: Proxy, bucket: SyncBucketProxy) -> None:
# [sync]     bucket.upload("a.bin", CONTENT)
# [sync]     proxy.breaks(Break.HANG_ANSWER, is_read)
# [sync]     with SyncStorageClient(proxy.api_url, proxy.api.service) as client:
# [sync]         files = client.from_(bucket.id)
# [sync]         works: list[Callable[[], bytes]] = [
# [sync]             lambda: files.download("a.bin"),
# [sync]             lambda: files.download_stream("a.bin").read(),
# [sync]         ]
# [sync]         for work in works:
# [sync]             cancel = Cancellation()
# [sync]             timer = threading.Timer(0.2, cancel.cancel)
# [sync]             timer.start()
# [sync]             with call_options(cancel=cancel), pytest.raises(CallCancelled):
# [sync]                 work()
# [sync]             timer.join()
# [sync]         proxy.heals()
# [sync]         assert files.download("a.bin") == CONTENT
