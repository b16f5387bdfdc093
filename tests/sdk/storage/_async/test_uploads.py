"""Uploads in one request and in pieces: progress, streams, restarts."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from isobase import call_options
from isobase.storage import AsyncStorageClient, FileUploadStore, MemoryUploadStore, StorageApiError, TransferError
from isobase.storage._async.file_api import AsyncBucketProxy
from isobase.storage.types import FileOptions
from tests.plugins.fault_proxy import Break
from tests.sdk.storage.conftest import UPSTREAM_URL, Api, Proxy, Server

PIECE = 6 * 1024 * 1024
SIZE = 2 * PIECE + 12_345


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of three pieces."""
    path = tmp_path_factory.mktemp("large") / "large.bin"
    path.write_bytes(os.urandom(SIZE))
    return path


class StopError(Exception):
    """What a test ends an upload by."""


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def content_of(path: Path) -> str:
    return md5(path.read_bytes())


def entries(path: Path) -> int:
    return len(list(path.iterdir()))


def is_patch(method: str, _target: str) -> bool:
    return method == "PATCH"


def is_upload(method: str, target: str) -> bool:
    return method in ("POST", "PUT") and "/object/" in target


async def test_progress_is_told_up_to_the_last_byte(bucket: AsyncBucketProxy) -> None:
    seen: list[tuple[int, int | None]] = []
    content = bytes(1_000_000)
    await bucket.upload("a", content, on_progress=lambda sent, total: seen.append((sent, total)))
    assert seen[-1] == (1_000_000, 1_000_000)
    assert len(seen) > 2
    assert seen == sorted(seen)
    seen.clear()
    await bucket.upload("b", iter([content, content]), on_progress=lambda sent, total: seen.append((sent, total)))
    assert seen == [(1_000_000, None), (2_000_000, None)]


async def test_what_progress_raises_ends_the_upload(bucket: AsyncBucketProxy) -> None:
    def stop(sent: int, _total: int | None) -> None:
        if sent > 300_000:
            raise StopError

    with pytest.raises(StopError):
        await bucket.upload("a", bytes(5_000_000), on_progress=stop)
    assert not await bucket.exists("a")


async def test_a_stream_goes_up_as_it_comes(bucket: AsyncBucketProxy) -> None:
    def blocks() -> Iterator[bytes]:
        for number in range(100):
            yield bytes([number]) * 10_000

    expected = b"".join(blocks())
    await bucket.upload("one", blocks())
    await bucket.upload("pieces", blocks(), resumable=True)
    await bucket.upload("known", blocks(), size=len(expected), resumable=True)
    # [async]

    async def later() -> AsyncIterator[bytes]:
        for block in blocks():
            yield block

    await bucket.upload("later", later())
    assert await bucket.download("later") == expected
    # [/async]
    for key in ("one", "pieces", "known"):
        assert await bucket.download(key) == expected
    with pytest.raises((TransferError, httpx.LocalProtocolError)):
        await bucket.upload("short", blocks(), size=len(expected) + 1)
    assert not await bucket.exists("short")


async def test_a_large_file_goes_up_in_pieces_and_keeps_its_settings(bucket: AsyncBucketProxy, large: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    options: FileOptions = {"content-type": "video/mp4", "cache-control": "7", "metadata": {"a": "ü"}}
    answer = await bucket.upload(
        "film",
        large,
        options,
        on_progress=lambda *at: seen.append(at),
    )
    assert (answer.path, answer.full_path) == ("film", f"{bucket.id}/film")
    assert seen[-1] == (SIZE, SIZE)
    info = await bucket.info("film")
    assert (info["size"], info["content_type"], info["cache_control"]) == (SIZE, "video/mp4", "max-age=7")
    assert info["metadata"] == {"a": "ü"}
    assert md5(await bucket.download("film")) == content_of(large)
    with pytest.raises(StorageApiError) as caught:
        await bucket.upload("film", large)
    assert (caught.value.code, caught.value.status) == ("Duplicate", "409")
    await bucket.update("film", large)
    signed = await bucket.create_signed_upload_url("signed")
    await bucket.upload_to_signed_url("signed", signed["token"], large)
    assert (await bucket.info("signed"))["size"] == SIZE


async def test_a_refusal_of_a_large_file_is_that_of_a_small_one(
    api: Api, bucket: AsyncBucketProxy, storage: AsyncStorageClient, large: Path
) -> None:
    await storage.update_bucket(bucket.id, {"allowed_mime_types": ["image/*"]})
    async with AsyncStorageClient(api.url, api.anon) as stranger:
        for file in (b"1", large):
            with pytest.raises(StorageApiError) as refused:
                await stranger.from_(bucket.id).upload("a.png", file, {"content-type": "image/png"})
            assert refused.value.code == "Unauthorized"
            with pytest.raises(StorageApiError) as wrong_type:
                await bucket.upload("a", file)
            assert (wrong_type.value.code, wrong_type.value.status) == ("invalid_mime_type", "415")


async def test_an_upload_goes_on_after_cut_connections(proxy: Proxy, bucket: AsyncBucketProxy, large: Path) -> None:
    proxy.breaks(Break.CUT_REQUEST, is_patch, times=1)
    proxy.breaks(Break.LOSE_ANSWER, is_patch, times=2)
    proxy.breaks(Break.ERROR_503, is_patch, times=1)
    seen: list[int] = []
    async with AsyncStorageClient(proxy.api_url, proxy.api.service) as client:
        await client.from_(bucket.id).upload("a", large, on_progress=lambda sent, _total: seen.append(sent))
    assert md5(await bucket.download("a")) == content_of(large)
    assert seen[-1] == SIZE
    # What arrived was not sent again: three pieces, and one more for each break that lost bytes.
    assert sum(line.startswith("PATCH") for line in proxy.seen) <= 3 + 4


async def test_an_upload_whose_last_answer_is_lost_is_no_duplicate(
    proxy: Proxy, bucket: AsyncBucketProxy, large: Path
) -> None:
    async with AsyncStorageClient(proxy.api_url, proxy.api.service) as client:
        for key, file in (("small", b"1" * 100_000), ("large", large)):
            proxy.heals()
            proxy.breaks(Break.LOSE_ANSWER, is_patch if key == "large" else is_upload, times=1)
            answer = await client.from_(bucket.id).upload(key, file)
            assert answer.full_path == f"{bucket.id}/{key}"
        proxy.heals()
        proxy.breaks(Break.LOSE_ANSWER, is_upload, times=1)
        await client.from_(bucket.id).upload("stream", iter([b"1", b"2"]), size=2)
        proxy.heals()
        proxy.breaks(Break.CUT_REQUEST, is_upload, times=2)
        await client.from_(bucket.id).upload("cut", b"2" * 100_000)
    assert await bucket.download("stream") == b"12"
    assert await bucket.download("cut") == b"2" * 100_000


async def test_an_upload_is_no_duplicate_while_nobody_can_say_whose_object_is_there(
    proxy: Proxy, bucket: AsyncBucketProxy
) -> None:
    def is_look(_method: str, target: str) -> bool:
        return "/object/info/" in target

    async with AsyncStorageClient(proxy.api_url, proxy.api.service) as client:
        proxy.breaks(Break.LOSE_ANSWER, is_upload, times=1)
        proxy.breaks(Break.LOSE_ANSWER, is_look, times=1)
        proxy.breaks(Break.ERROR_503, is_look, times=1)
        await client.from_(bucket.id).upload("late", b"1" * 1000)
        proxy.breaks(Break.LOSE_ANSWER, is_upload, times=1)
        proxy.breaks(Break.ERROR_500, is_look, times=1)
        await client.from_(bucket.id).upload("later", b"1" * 1000)
        proxy.heals()
        proxy.breaks(Break.LOSE_ANSWER, is_upload, times=1)
        proxy.breaks(Break.LOSE_ANSWER, is_look)
        with pytest.raises(httpx.TransportError):
            await client.from_(bucket.id).upload("never", b"1" * 1000)


async def test_anothers_object_in_the_way_stays_a_duplicate(proxy: Proxy, bucket: AsyncBucketProxy) -> None:
    await bucket.upload("a", b"theirs")
    async with AsyncStorageClient(proxy.api_url, proxy.api.service) as client:
        proxy.breaks(Break.LOSE_ANSWER, is_upload, times=1)
        with pytest.raises(StorageApiError) as caught:
            await client.from_(bucket.id).upload("a", b"ours..")
    assert caught.value.code == "Duplicate"
    assert await bucket.download("a") == b"theirs"


async def test_without_retries_a_lost_upload_is_told_at_once(
    proxy: Proxy, bucket: AsyncBucketProxy, large: Path
) -> None:
    async with AsyncStorageClient(proxy.api_url, proxy.api.service) as client:
        for file in (b"1" * 100_000, large):
            proxy.breaks(Break.CUT_REQUEST, lambda method, _target: method in ("POST", "PATCH"), times=1)
            with call_options(retries=0), pytest.raises(httpx.TransportError):
                await client.from_(bucket.id).upload("a", file, store=MemoryUploadStore())
            proxy.heals()
    assert not await bucket.exists("a")


async def test_a_silent_server_ends_an_upload_at_its_time(proxy: Proxy, bucket: AsyncBucketProxy, large: Path) -> None:
    async with AsyncStorageClient(proxy.api_url, proxy.api.service) as client:
        proxy.breaks(Break.HANG, is_patch)
        with call_options(timeout=0.4), pytest.raises(httpx.TimeoutException):
            await client.from_(bucket.id).upload("a", large, store=MemoryUploadStore())


async def test_a_new_process_goes_on_where_the_old_one_was(
    proxy: Proxy, bucket: AsyncBucketProxy, large: Path, tmp_path: Path
) -> None:
    async with AsyncStorageClient(proxy.api_url, proxy.api.service) as client:

        def die(sent: int, _total: int | None) -> None:
            if sent > PIECE:
                raise StopError

        with pytest.raises(StopError):
            await client.from_(bucket.id).upload("a", large, on_progress=die, store=FileUploadStore(tmp_path))
    assert entries(tmp_path) == 1
    seen: list[int] = []
    async with AsyncStorageClient(proxy.api_url, proxy.api.service) as client:
        await client.from_(bucket.id).upload(
            "a", large, on_progress=lambda sent, _total: seen.append(sent), store=FileUploadStore(tmp_path)
        )
    assert seen[0] >= PIECE
    assert md5(await bucket.download("a")) == content_of(large)
    assert entries(tmp_path) == 0


async def test_a_remembered_upload_that_the_server_forgot_begins_anew(
    storage: AsyncStorageClient, bucket: AsyncBucketProxy, large: Path
) -> None:
    store = MemoryUploadStore()
    with pytest.raises(StopError):

        def die(sent: int, _total: int | None) -> None:
            raise StopError

        await bucket.upload("a", large, on_progress=die, store=store)
    (url,) = store._urls.values()
    answer = await storage.session.request("DELETE", url, headers={**storage._headers, "tus-resumable": "1.0.0"})
    assert answer.status_code == 204
    await bucket.upload("a", large, store=store)
    assert md5(await bucket.download("a")) == content_of(large)


async def test_a_file_that_becomes_shorter_is_refused(bucket: AsyncBucketProxy, tmp_path: Path) -> None:
    path = tmp_path / "shrinks"
    path.write_bytes(bytes(3_000_000))

    def shrink(sent: int, _total: int | None) -> None:
        os.truncate(path, 100)

    with pytest.raises(TransferError, match="shorter"):
        await bucket.upload("a", path, on_progress=shrink)
    assert not await bucket.exists("a")


@pytest.mark.fault
async def test_an_upload_survives_a_restart_of_the_server(
    server: Server, bucket: AsyncBucketProxy, large: Path
) -> None:
    if UPSTREAM_URL:
        pytest.skip("the server that is tested is not ours to restart")
    restarted: list[int] = []

    def restart(sent: int, _total: int | None) -> None:
        if sent >= PIECE and not restarted:
            restarted.append(sent)
            server.process.stop()
            server.process.start()

    await bucket.upload("a", large, on_progress=restart)
    assert restarted
    assert md5(await bucket.download("a")) == content_of(large)


async def test_many_files_go_up_side_by_side(bucket: AsyncBucketProxy, large: Path) -> None:
    seen: dict[str, int] = {}
    files: dict[str, bytes | Path] = {f"f/{number}.json": b"1" * number for number in range(1, 8)} | {
        "f/film.mp4": large
    }
    answers = await bucket.upload_many(files, on_progress=lambda path, sent, _total: seen.update({path: sent}))
    assert [answer.path for answer in answers] == list(files)
    assert seen["f/film.mp4"] == SIZE
    rows = {row["name"]: row["metadata"] for row in await bucket.list("f")}
    assert (rows["film.mp4"]["mimetype"], rows["1.json"]["mimetype"]) == ("video/mp4", "application/json")
    with pytest.raises(StorageApiError) as caught:
        await bucket.upload_many([("new", b"1"), ("f/1.json", b"2"), ("newer", b"1")], parallel=1)
    assert caught.value.code == "Duplicate"
    assert await bucket.exists("new")
    assert not await bucket.exists("newer")


async def test_the_first_error_of_many_uploads_ends_the_others(proxy: Proxy, bucket: AsyncBucketProxy) -> None:
    await bucket.upload("taken", b"1")
    proxy.breaks(Break.HANG, lambda _method, target: target.endswith("/slow"))
    began = time.monotonic()
    async with AsyncStorageClient(proxy.api_url, proxy.api.service) as client:
        with pytest.raises(StorageApiError) as caught:
            await client.from_(bucket.id).upload_many({"slow": b"1", "taken": b"2"})
    assert caught.value.code == "Duplicate"
    assert time.monotonic() - began < 50  # a silent server is waited for 60 s
