"""Resumable uploads where the blob store takes parts only, of a least size: the disk's parts with S3's rules.

The S3 backend itself is driven over HTTP in ``test_resumable_survival`` and by ``make test-storage-s3``.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from isobase_platform.config import Settings
from isobase_services.storage.blob.file import FileBlobStore
from tests.storage.conftest import Stack, running
from tests.storage.test_resumable import O, create, patch

MIB = 1024 * 1024
pytestmark = pytest.mark.parametrize("backend", ["file"], indirect=True)


class PartsOnly(FileBlobStore):
    """The local disk without its growing blobs."""

    min_part_bytes = 5 * MIB

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._hidden, self.appends = self.appends, None  # type: ignore[assignment]

    async def close(self) -> None:
        self.appends = self._hidden
        await super().close()


@pytest.fixture
async def parts(database: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stack]:
    """Storage over that store."""
    monkeypatch.setattr("isobase_services.storage.blob.create.FileBlobStore", PartsOnly)
    async with running(database) as stack:
        await stack.bucket("b", public=True)
        yield stack


def pieces(stack: Stack) -> list[tuple[object, ...]]:
    """Place, size and part number of everything that is kept of uploads."""
    return stack.sql("select first_byte, size_bytes, part_number from isobase.resumable_pieces order by first_byte")


async def send(stack: Stack, url: str, content: bytes, sizes: list[int]) -> None:
    offset = 0
    for size in sizes:
        answer = await patch(stack, url, offset, content[offset : offset + size], stack.admin)
        offset += size
        assert (answer.status_code, answer.headers["upload-offset"]) == (204, str(offset)), answer.text


@pytest.mark.parametrize(
    ("sizes", "kept"),
    [
        pytest.param([6 * MIB, 6 * MIB], [(0, 6 * MIB, 1), (6 * MIB, 6 * MIB, 2)], id="the usual chunk is a part"),
        pytest.param(
            [14 * MIB], [(0, 6 * MIB, 1), (6 * MIB, 6 * MIB, 2), (12 * MIB, 2 * MIB, None)], id="a tail waits"
        ),
        pytest.param([100, 200], [(0, 100, None), (100, 200, None)], id="small pieces wait one by one"),
        pytest.param(
            [2 * MIB, 2 * MIB, 3 * MIB],
            [(0, 6 * MIB, 1), (6 * MIB, MIB, None)],
            id="small pieces become a part together",
        ),
        pytest.param([4 * MIB, MIB], [(0, 5 * MIB, 1)], id="a part may be of the least size"),
    ],
)
async def test_requests_of_any_size_become_parts_and_a_tail(
    parts: Stack, sizes: list[int], kept: list[tuple[object, ...]]
) -> None:
    total = sum(sizes) + 10
    content = random.Random(4).randbytes(total)
    url = (await create(parts, "x", total, parts.admin, bucket="b")).headers["location"]
    await send(parts, url, content, sizes)
    assert pieces(parts) == kept
    assert parts.blobs() == []
    last = await patch(parts, url, total - 10, content[-10:], parts.admin)
    assert last.headers["tus-complete"] == "1"
    assert (await parts.http.get(f"{O}/public/b/x")).content == content
    assert pieces(parts) == []


async def test_very_many_small_pieces_are_kept_as_few(parts: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isobase_services.storage.core.resumable_parts.MAX_TAIL_ROWS", 3)
    content = random.Random(6).randbytes(7 * MIB)
    url = (await create(parts, "x", len(content), parts.admin, bucket="b")).headers["location"]
    await send(parts, url, content, [1] * 8)
    assert pieces(parts) == [(0, 7, None), (7, 1, None)]
    await patch(parts, url, 8, content[8 : 6 * MIB], parts.admin)
    last = await patch(parts, url, 6 * MIB, content[6 * MIB :], parts.admin)
    assert last.headers["tus-complete"] == "1"
    assert (await parts.http.get(f"{O}/public/b/x")).content == content


async def test_an_upload_smaller_than_a_part_is_one_write(parts: Stack) -> None:
    url = (await create(parts, "x", 10, parts.admin, bucket="b")).headers["location"]
    await send(parts, url, b"abcdefghij", [3, 3, 4])
    assert (await parts.http.get(f"{O}/public/b/x")).content == b"abcdefghij"
    assert parts.sql("select parts_upload from isobase.resumable_uploads") == [(None,)]
    empty = await create(parts, "empty", 0, parts.admin, bucket="b")
    assert empty.headers["tus-complete"] == "1"
    assert (await parts.http.get(f"{O}/public/b/empty")).content == b""


async def test_an_upload_that_is_given_up_leaves_no_parts(parts: Stack) -> None:
    content = random.Random(5).randbytes(7 * MIB)
    url = (await create(parts, "x", 8 * MIB, parts.admin, bucket="b")).headers["location"]
    await send(parts, url, content, [7 * MIB])
    assert list((parts.root / "parts").iterdir()) != []
    answer = await parts.http.delete(url, headers={"tus-resumable": "1.0.0", **parts.admin})
    assert answer.status_code == 204
    assert list((parts.root / "parts").iterdir()) == []
    assert pieces(parts) == []


async def test_an_upload_whose_parts_were_cleaned_up_is_not_found_and_begins_anew(parts: Stack) -> None:
    content = random.Random(6).randbytes(7 * MIB)
    url = (await create(parts, "x", 8 * MIB, parts.admin, bucket="b")).headers["location"]
    await send(parts, url, content, [7 * MIB])
    for directory in (parts.root / "parts").iterdir():
        for file in directory.iterdir():
            file.unlink()
        directory.rmdir()
    answer = await patch(parts, url, 7 * MIB, bytes(MIB), parts.admin)
    assert (answer.status_code, answer.text) == (404, "The file for this url was not found\n")
    assert parts.sql("select from isobase.resumable_uploads") == []


async def test_an_upload_that_was_begun_on_another_backend_is_not_found_and_begins_anew(
    database: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(database) as stack:
        await stack.bucket("b", public=True)
        url = httpx.URL((await create(stack, "x", 10, stack.admin, bucket="b")).headers["location"]).path
        await send(stack, url, b"abcdefghij", [3])
    monkeypatch.setattr("isobase_services.storage.blob.create.FileBlobStore", PartsOnly)
    async with running(database) as stack:
        answer = await patch(stack, url, 3, b"defghij", stack.admin)
        assert (answer.status_code, answer.text) == (404, "The file for this url was not found\n")
        assert stack.sql("select from storage.objects") == []
