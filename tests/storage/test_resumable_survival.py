"""Resumable uploads when things go wrong: clients that vanish, servers that are killed, two writers at once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import httpx
import psycopg2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isobase_platform.config import Settings
from isobase_services.storage.core import resumable as resumable_module
from isobase_services.storage.core import resumable_lease as lease_module
from tests.plugins.patience import until
from tests.storage.conftest import BOTH_BACKENDS, ON_DISK, PATIENCE_S, Stack, running
from tests.storage.test_crash import server
from tests.storage.test_resumable import OFFSET, VERSION, O, R, create, head, metadata, patch

MIB = 1024 * 1024


@pytest.fixture
def patient_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    """No writer of this process is taken for dead because it stands still, and nobody gives up waiting for one."""
    for module in (resumable_module, lease_module):
        monkeypatch.setattr(module, "LEASE_S", PATIENCE_S)
        monkeypatch.setattr(module, "RELEASE_TIMEOUT_S", PATIENCE_S)


class Taken:
    """The bytes that the writers of this process have taken so far."""

    def __init__(self) -> None:
        self.size_bytes = 0

    async def wait(self, size_bytes: int) -> None:
        """Wait until they are so many."""
        await until(lambda: self.size_bytes >= size_bytes)


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> Taken:
    """Count what writers take: who asks for the next bytes has taken those before."""
    seen, plain = Taken(), lease_module.Lease.chunks

    async def counted(lease: lease_module.Lease, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for chunk in plain(lease, chunks):
            yield chunk
            seen.size_bytes += len(chunk)

    monkeypatch.setattr(lease_module.Lease, "chunks", counted)
    return seen


def unfinished(stack: Stack) -> list[object]:
    """What the blob store has of uploads that are no objects."""
    if stack.s3 is not None:
        return list(stack.s3.uploads())
    return list((stack.root / "uploads").iterdir())


async def begin(http: httpx.AsyncClient, key: str, length: int, headers: dict[str, str]) -> str:
    """The path of a new upload."""
    given = {"upload-length": str(length), "upload-metadata": metadata(bucketName="b", objectName=key)}
    answer = await http.post(R, headers={**VERSION, **headers, **given})
    assert answer.status_code == 201, answer.text
    return httpx.URL(answer.headers["location"]).path


async def offset_of(http: httpx.AsyncClient, url: str, headers: dict[str, str]) -> int:
    """What the server acknowledges."""
    answer = await http.head(url, headers={**VERSION, **headers})
    assert answer.status_code == 200, answer.status_code
    return int(answer.headers["upload-offset"])


async def send_then_cut(
    url: str, path: str, content: bytes, length: int, headers: dict[str, str], taken: Taken
) -> None:
    """Send a PATCH that promises ``length`` bytes, and break the connection behind ``content``, once some of it was taken."""
    address = httpx.URL(url)
    _, writer = await asyncio.open_connection(address.host, address.port)
    given = {**VERSION, **headers, "upload-offset": "0", "content-type": OFFSET, "content-length": str(length)}
    lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    writer.write(f"PATCH {path} HTTP/1.1\r\nhost: {address.host}\r\n{lines}\r\n".encode() + content)
    await writer.drain()
    await taken.wait(1)
    writer.transport.abort()


@pytest.mark.usefixtures("patient_leases")
async def test_what_arrived_before_a_client_vanished_is_kept(storage: Stack, taken: Taken) -> None:
    await storage.bucket("b", public=True)
    content = random.Random(1).randbytes(3 * MIB)
    path = await begin(storage.http, "x", len(content), storage.admin)
    await send_then_cut(storage.url, path, content[: 2 * MIB], len(content), storage.admin, taken)
    offset = await offset_of(storage.http, path, storage.admin)
    assert 0 < offset <= 2 * MIB
    assert (await patch(storage, path, offset, content[offset:], storage.admin)).headers["tus-complete"] == "1"
    assert (await storage.http.get(f"{O}/public/b/x")).content == content


@pytest.mark.usefixtures("patient_leases")
async def test_a_second_request_makes_the_first_keep_what_it_has_and_end(storage: Stack, taken: Taken) -> None:
    await storage.bucket("b", public=True)
    path = await begin(storage.http, "x", 10, storage.admin)
    goes_on = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"abc"
        await goes_on.wait()
        yield b"never counted"

    headers = {**VERSION, **storage.admin, "upload-offset": "0", "content-type": OFFSET}
    async with httpx.AsyncClient(base_url=storage.url, timeout=60) as other:
        first = asyncio.create_task(other.patch(path, content=body(), headers=headers))
        await taken.wait(3)
        assert await offset_of(storage.http, path, storage.admin) == 3
        goes_on.set()
        with contextlib.suppress(httpx.TransportError):  # the server may have closed the connection while more was sent
            answer = await first
            assert (answer.status_code, answer.headers["upload-offset"]) == (204, "3")
    assert (await patch(storage, path, 3, b"defghij", storage.admin)).headers["tus-complete"] == "1"
    assert (await storage.http.get(f"{O}/public/b/x")).content == b"abcdefghij"


@pytest.mark.usefixtures("patient_leases")
async def test_another_process_is_asked_to_let_go_too(database: Settings, taken: Taken) -> None:
    async with running(database) as one, running(database) as two:
        await one.bucket("b", public=True)
        path = await begin(one.http, "x", 10, one.admin)
        goes_on = asyncio.Event()

        async def body() -> AsyncIterator[bytes]:
            yield b"abc"
            await goes_on.wait()

        headers = {**VERSION, **one.admin, "upload-offset": "0", "content-type": OFFSET}
        first = asyncio.create_task(one.http.patch(path, content=body(), headers=headers))
        await taken.wait(3)
        assert (await patch(two, path, 0, b"xxxxxxxxxx", two.admin)).status_code == 409
        goes_on.set()
        with contextlib.suppress(httpx.TransportError):
            await first
        assert (await patch(two, path, 3, b"defghij", two.admin)).headers["tus-complete"] == "1"
        assert (await one.http.get(f"{O}/public/b/x")).content == b"abcdefghij"


async def test_of_many_writers_at_once_one_counts_at_a_time(storage: Stack) -> None:
    await storage.bucket("b", public=True)
    content = random.Random(2).randbytes(300_000)
    path = await begin(storage.http, "x", len(content), storage.admin)

    async def write(seed: int) -> None:
        chance = random.Random(seed)
        while True:
            state = await storage.http.head(path, headers={**VERSION, **storage.admin})
            if state.status_code != 200:
                assert state.status_code == 423
                continue
            offset = int(state.headers["upload-offset"])
            if offset == len(content):
                return
            end = offset + chance.randint(1, 60_000)
            answer = await patch(storage, path, offset, content[offset:end], storage.admin)
            assert answer.status_code in {204, 409, 423}, answer.text

    await asyncio.gather(*[write(seed) for seed in range(4)])
    assert (await storage.http.get(f"{O}/public/b/x")).content == content


async def test_random_pieces_give_the_same_bytes(storage: Stack) -> None:
    await storage.bucket("b", public=True)
    numbers = iter(range(1000))

    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(st.binary(max_size=3000), max_size=8))
    def pieces_become_their_sum(pieces: list[bytes]) -> None:
        outcomes.append(pieces)

    outcomes: list[list[bytes]] = []
    await asyncio.to_thread(pieces_become_their_sum)
    for pieces in outcomes:
        content = b"".join(pieces)
        key = f"x{next(numbers)}"
        path = await begin(storage.http, key, len(content), storage.admin)
        offset = 0
        for piece in pieces if content else []:
            if offset == len(content):
                break
            answer = await patch(storage, path, offset, piece, storage.admin)
            offset += len(piece)
            assert (answer.status_code, answer.headers["upload-offset"]) == (204, str(offset))
        assert (await storage.http.get(f"{O}/public/b/{key}")).content == content


@pytest.mark.fault
@BOTH_BACKENDS
async def test_an_upload_goes_on_in_another_process_when_its_server_was_killed(database: Settings) -> None:
    headers = {"authorization": f"Bearer {database.service_role_token}"}
    content = random.Random(3).randbytes(40 * MIB)
    async with server(database) as (process, url), httpx.AsyncClient(base_url=url, timeout=60) as http:
        await http.post("/storage/v1/bucket", json={"name": "b", "public": True}, headers=headers)
        path = await begin(http, "x", len(content), headers)
        other = await begin(http, "y", 10, headers)
        given = {**VERSION, **headers, "content-type": OFFSET}
        answer = await http.patch(other, content=b"abc", headers={**given, "upload-offset": "0"})
        assert answer.status_code == 204

        async def body() -> AsyncIterator[bytes]:
            yield content[: 36 * MIB]
            await asyncio.sleep(600)

        upload = asyncio.create_task(http.patch(path, content=body(), headers={**given, "upload-offset": "0"}))
        async with running(database) as watcher:
            while not watcher.sql("select from isobase.resumable_uploads where offset_bytes > 0 and name = 'x'"):
                await asyncio.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        await process.wait()
        upload.cancel()
        with contextlib.suppress(httpx.TransportError, asyncio.CancelledError):
            await upload
    async with running(database) as stack:
        assert await offset_of(stack.http, other, stack.admin) == 3
        assert (await patch(stack, other, 3, b"defghij", stack.admin)).headers["tus-complete"] == "1"
        offset = await offset_of(stack.http, path, stack.admin)
        assert 6 * MIB <= offset <= 36 * MIB
        assert (await patch(stack, path, offset, content[offset:], stack.admin)).headers["tus-complete"] == "1"
        assert (await stack.http.get(f"{O}/public/b/x")).content == content
        assert (await stack.http.get(f"{O}/public/b/y")).content == b"abcdefghij"
        assert len(stack.blobs()) == 2


@pytest.mark.fault
@BOTH_BACKENDS
async def test_a_server_killed_between_blob_and_row_tells_of_no_finished_upload(database: Settings) -> None:
    headers = {"authorization": f"Bearer {database.service_role_token}"}
    content = random.Random(7).randbytes(11 * MIB)
    acknowledged = 7 * MIB
    assert database.database.url is not None
    async with (
        running(database) as watcher,
        server(database) as (process, url),
        httpx.AsyncClient(base_url=url, timeout=60) as http,
    ):
        await http.post("/storage/v1/bucket", json={"name": "b", "public": True}, headers=headers)
        path = await begin(http, "x", len(content), headers)
        given = {**VERSION, **headers, "content-type": OFFSET}
        answer = await http.patch(path, content=content[:acknowledged], headers={**given, "upload-offset": "0"})
        assert answer.status_code == 204
        with contextlib.closing(psycopg2.connect(database.database.url.get_secret_value())) as lock:
            cursor = lock.cursor()

            async def body() -> AsyncIterator[bytes]:
                yield content[acknowledged : acknowledged + MIB]
                while not watcher.sql("select from isobase.resumable_uploads where lease is not null"):
                    await asyncio.sleep(0.01)
                # The dry run is over when there is a lease: from here on no object's row can be written.
                cursor.execute("lock table storage.objects in share row exclusive mode")
                yield content[acknowledged + MIB :]

            sent = {**given, "upload-offset": str(acknowledged)}
            upload = asyncio.create_task(http.patch(path, content=body(), headers=sent))
            while not watcher.blobs():
                await asyncio.sleep(0.02)
            process.send_signal(signal.SIGKILL)
            await process.wait()
            with pytest.raises(httpx.TransportError):
                await upload
            lock.rollback()
        assert (await watcher.http.get(f"{O}/public/b/x")).json()["code"] == "NoSuchKey"
        assert await offset_of(watcher.http, path, watcher.admin) == acknowledged
        last = await patch(watcher, path, acknowledged, content[acknowledged:], watcher.admin)
        assert last.headers["tus-complete"] == "1"
        assert (await watcher.http.get(f"{O}/public/b/x")).content == content
        assert len(watcher.blobs()) == 1
        assert unfinished(watcher) == []


@pytest.mark.usefixtures("patient_leases")
async def test_draining_keeps_what_arrived_and_does_not_wait_for_the_rest(database: Settings, taken: Taken) -> None:
    async with running(database) as stack:
        await stack.bucket("b", public=True)
        path = await begin(stack.http, "x", 10, stack.admin)

        async def body() -> AsyncIterator[bytes]:
            yield b"abc"
            await asyncio.sleep(600)

        headers = {**VERSION, **stack.admin, "upload-offset": "0", "content-type": OFFSET}
        upload = asyncio.create_task(stack.http.patch(path, content=body(), headers=headers))
        await taken.wait(3)
        async with asyncio.timeout(60):
            await stack.service.drain(600)
        upload.cancel()
        with contextlib.suppress(httpx.TransportError, asyncio.CancelledError):
            await upload
    async with running(database) as stack:
        assert await offset_of(stack.http, path, stack.admin) == 3


@pytest.mark.usefixtures("listed_uploads")
@BOTH_BACKENDS
async def test_an_upload_ends_with_its_time_and_is_removed(storage: Stack) -> None:
    await storage.bucket("b", public=True)
    path = await begin(storage.http, "x", 7 * MIB, storage.admin)
    finished = await create(storage, "done", 0, storage.admin, bucket="b")
    assert (await patch(storage, path, 0, bytes(6 * MIB), storage.admin)).status_code == 204
    assert len(unfinished(storage)) == 1
    resumable = storage.service.core.resumable
    assert await resumable.remove_expired(datetime.now(UTC)) == 0
    storage.sql("update isobase.resumable_uploads set expires_at = now() - interval '1 s'")
    assert (await head(storage, path, storage.admin)).status_code == 410
    answer = await patch(storage, path, 6 * MIB, bytes(MIB), storage.admin)
    assert (answer.status_code, answer.text) == (410, "The file for this url no longer exists\n")
    assert await resumable.remove_expired(datetime.now(UTC)) == 2
    for gone in (path, finished.headers["location"]):
        assert (await head(storage, gone, storage.admin)).status_code == 404
    assert unfinished(storage) == []
    assert storage.sql("select name from storage.objects") == [("done",)]
    assert len(storage.blobs()) == 1


@ON_DISK
async def test_bytes_of_an_upload_that_no_row_names_are_removed(storage: Stack) -> None:
    await storage.bucket("b", public=True)
    path = await begin(storage.http, "x", 10, storage.admin)
    kept = await begin(storage.http, "y", 10, storage.admin)
    for upload in (path, kept):
        assert (await patch(storage, upload, 0, b"abc", storage.admin)).status_code == 204
    storage.sql("delete from isobase.resumable_uploads where name = 'x'")
    resumable = storage.service.core.resumable
    assert await resumable.remove_expired(datetime.now(UTC)) == 0
    assert len(list((storage.root / "uploads").iterdir())) == 2
    for file in (storage.root / "uploads").iterdir():
        os.utime(file, (0, 0))
    assert await resumable.remove_expired(datetime.now(UTC) - timedelta(minutes=1)) == 0
    assert len(list((storage.root / "uploads").iterdir())) == 1
    assert (await patch(storage, kept, 3, b"defghij", storage.admin)).headers["tus-complete"] == "1"
