"""Uploads in parts whose process dies at each step, and that are ended by several at once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from botocore.exceptions import ClientError, HTTPClientError

from isobase_platform.config import Settings
from tests.storage.conftest import BOTH_BACKENDS, Stack, running
from tests.storage.s3_clients import in_thread, refused, s3_client
from tests.storage.test_crash import address, start
from tests.storage.test_s3_multipart import begin, complete, etag_of, put_part

OLD, PARTS = b"old content", (b"x" * 5 * 1024 * 1024, b"the end")
STEPS = ("put_part:after", "finish_parts:before", "finish_parts:after", "delete:before", "abort_parts:before")


@pytest.mark.fault
@BOTH_BACKENDS
async def test_an_upload_whose_process_died_is_old_or_new_and_can_be_ended_again(database: Settings) -> None:
    armed = database.data_dir / "armed"
    async with running(database) as stack:
        await stack.bucket("files")
        client = s3_client(stack)
        process = await start(database, forks=True)
        assert process.stdin is not None
        try:
            for step in STEPS:
                await in_thread(client.put_object, Bucket="files", Key="big", Body=OLD)
                upload = await in_thread(begin, client)
                first = await in_thread(put_part, client, upload, 1, PARTS[0])
                second = await in_thread(put_part, client, upload, 2, PARTS[1])
                armed.touch()
                process.stdin.write(f"{step}\n".encode())
                dying = s3_client(stack, endpoint=f"{await address(process)}/storage/v1/s3")
                with pytest.raises(HTTPClientError):
                    if step.startswith("put_part"):
                        await in_thread(put_part, dying, upload, 2, PARTS[1])
                    elif step.startswith("abort"):
                        await in_thread(dying.abort_multipart_upload, Bucket="files", Key="big", UploadId=upload)
                    else:
                        await in_thread(complete, dying, upload, [first, second])
                armed.unlink()
                await _check(stack, client, step, upload, [first, second])
                await in_thread(client.delete_object, Bucket="files", Key="big")
        finally:
            process.stdin.close()
            await process.wait()


async def _check(stack: Stack, client: Any, step: str, upload: str, parts: list[dict[str, Any]]) -> None:
    def work() -> None:
        expected = b"".join(PARTS) if step.startswith("delete") else OLD
        assert client.get_object(Bucket="files", Key="big")["Body"].read() == expected, step
        if step.startswith("abort"):
            with refused("NoSuchUpload", 404):
                complete(client, upload, parts)
        else:
            assert complete(client, upload, parts)["ETag"] == etag_of(*PARTS), step
            assert client.get_object(Bucket="files", Key="big")["Body"].read() == b"".join(PARTS), step

    await in_thread(work)
    assert stack.sql("select count(*) from storage.s3_multipart_uploads") == [(0,)], step


async def test_of_several_that_end_an_upload_at_once_one_does(storage: Stack) -> None:
    await storage.bucket("files")
    client = s3_client(storage)
    for _ in range(3):
        upload = await in_thread(begin, client)
        part = await in_thread(put_part, client, upload, 1, b"content")
        outcomes = await asyncio.gather(*(in_thread(complete, client, upload, [part]) for _ in range(4)))
        assert {outcome["ETag"] for outcome in outcomes} == {etag_of(b"content")}
    assert len(storage.blobs()) == 1

    upload = await in_thread(begin, client, "other")
    part = await in_thread(put_part, client, upload, 1, b"content", "other")
    place = {"Bucket": "files", "Key": "other", "UploadId": upload}
    ends = await asyncio.gather(
        in_thread(complete, client, upload, [part], "other"),
        in_thread(client.abort_multipart_upload, **place),
        return_exceptions=True,
    )
    assert sum(isinstance(end, ClientError) for end in ends) == 1
    is_there = storage.sql("select count(*) from storage.objects where name = 'other'") == [(1,)]
    assert is_there is not isinstance(ends[0], ClientError)
    assert len(storage.blobs()) == (2 if is_there else 1)
    assert storage.sql("select count(*) from storage.s3_multipart_uploads") == [(0,)]
