"""The process dies at each step of an operation, and the disk is full: no row without its bytes, no half object."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from isobase_platform.config import Settings
from tests.storage.conftest import BOTH_BACKENDS, Stack, running
from tests.storage.test_crash import O, address, server, start

OLD = b"old" * 100
NEW = os.urandom(7_000_000)
"""More than one part of S3's."""

STEPS = (
    ("upload", "put:middle"),
    ("upload", "put:after"),
    ("overwrite", "put:middle"),
    ("overwrite", "put:after"),
    ("overwrite", "delete:before"),
    ("overwrite", "delete:after"),
    ("copy", "copy:after"),
    ("move", "copy:before"),
    ("move", "copy:after"),
    ("move", "delete:before"),
    ("remove", "delete:before"),
)
"""Operation, and where its process dies."""


async def act(http: httpx.AsyncClient, operation: str, headers: dict[str, str]) -> None:
    """Ask for the operation on an object of the old content at ``<operation>``."""
    key = f"b/{operation}"
    if operation in {"upload", "overwrite"}:
        target = key if operation == "overwrite" else "b/fresh"
        await http.post(f"{O}/{target}", content=NEW, headers={**headers, "x-upsert": "true"})
    elif operation == "remove":
        await http.delete(f"{O}/{key}", headers=headers)
    else:
        body = {"bucketId": "b", "sourceKey": operation, "destinationKey": "there"}
        await http.post(f"{O}/{operation}", json=body, headers=headers)


async def check(stack: Stack, operation: str, step: str) -> None:
    """Every row has its bytes, whole, and each key holds what it held before or what was asked for."""
    contents: dict[str, bytes] = {}
    for (name,) in stack.sql("select name from storage.objects where bucket_id = 'b'"):
        got = await stack.http.get(f"{O}/public/b/{name}")
        assert got.status_code == 200, (operation, step, name)
        contents[name] = got.content
    is_committed = step.startswith("delete")
    expected = {operation: OLD}
    if operation == "overwrite" and is_committed:
        expected = {operation: NEW}
    elif operation == "move" and is_committed:
        expected = {"there": OLD}
    elif operation == "remove":
        expected = {}
    assert contents == expected, (operation, step)
    # What is left over is whole versions that no row names, one at most.
    assert len(stack.blobs()) - len(contents) in {0, 1}, (operation, step)


@pytest.mark.fault
@BOTH_BACKENDS
async def test_a_process_that_dies_at_any_step_leaves_every_object_old_or_new(database: Settings) -> None:
    # The order of steps is the same on S3; there those are tried in which it is S3 that is asked.
    steps = [pair for pair in STEPS if database.storage.backend == "file" or pair in S3_STEPS]
    armed = database.data_dir / "armed"
    async with running(database) as stack:
        await stack.bucket("b", public=True)
        store = stack.service._blobs
        process = await start(database, forks=True)
        assert process.stdin is not None
        try:
            for operation, step in steps:
                assert (await stack.put(f"b/{operation}", OLD, stack.admin)).status_code == 200
                armed.touch()
                process.stdin.write(f"{step}\n".encode())
                async with httpx.AsyncClient(base_url=await address(process), timeout=60) as http:
                    with pytest.raises(httpx.TransportError):
                        await act(http, operation, stack.admin)
                await check(stack, operation, step)
                armed.unlink()
                stack.sql("delete from storage.objects")
                await store.delete_handles([entry.handle async for entry in store.scan()])
        finally:
            process.stdin.close()
            await process.wait()


S3_STEPS = {
    ("upload", "put:middle"),
    ("overwrite", "put:after"),
    ("overwrite", "delete:before"),
    ("move", "copy:after"),
}


@pytest.fixture
def on_disk(database: Settings) -> Settings:
    """The settings, where the disk is what is tested."""
    if database.storage.backend != "file":
        pytest.skip("about the disk")
    return database


@pytest.mark.fault
async def test_a_full_disk_refuses_what_does_not_fit_and_changes_nothing(on_disk: Settings) -> None:
    headers = {"authorization": f"Bearer {on_disk.service_role_token}", "x-upsert": "true"}

    async def chunked() -> AsyncIterator[bytes]:
        for offset in range(0, len(NEW), 500_000):
            yield NEW[offset : offset + 500_000]

    async with (
        server(on_disk, max_file_bytes=500_000) as (_, url),
        httpx.AsyncClient(base_url=url, timeout=60) as http,
    ):
        await http.post("/storage/v1/bucket", json={"name": "b", "public": True}, headers=headers)
        assert (await http.post(f"{O}/b/kept", content=OLD, headers=headers)).status_code == 200
        for content in (NEW, NEW[:600_000], chunked()):
            answer = await http.post(f"{O}/b/kept", content=content, headers=headers)
            assert (answer.status_code, answer.json()) == (
                500,
                {
                    "statusCode": "500",
                    "error": "InternalError",
                    "message": "The storage has no space left",
                    "code": "InternalError",
                },
            )
            assert (await http.get(f"{O}/public/b/kept")).content == OLD
        assert (await http.post(f"{O}/b/more", content=OLD, headers=headers)).status_code == 200
    assert _files(on_disk.storage_root / "tmp") == []
    assert len(_files(on_disk.storage_root / "objects")) == 2


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
