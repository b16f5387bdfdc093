"""Objects through boto3: put, get, head, copy, delete, and what each refuses."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from tests.storage.conftest import Stack
from tests.storage.s3_clients import in_thread, s3_client


@pytest.fixture
async def s3(storage: Stack) -> Any:
    await storage.bucket("files")
    return s3_client(storage)


async def test_an_object_is_put_read_and_described(s3: Any, storage: Stack) -> None:
    def work() -> None:
        put = s3.put_object(
            Bucket="files",
            Key="a/b.txt",
            Body=b"hello",
            ContentType="text/plain",
            CacheControl="max-age=7",
            Metadata={"Colour": "green"},
        )
        assert put["ETag"] == f'"{hashlib.md5(b"hello").hexdigest()}"'
        assert put["ChecksumCRC32"] == "NhCmhg=="
        got = s3.get_object(Bucket="files", Key="a/b.txt")
        assert got["Body"].read() == b"hello"
        assert (got["ContentType"], got["CacheControl"], got["Metadata"]) == (
            "text/plain",
            "max-age=7",
            {"colour": "green"},
        )
        head = s3.head_object(Bucket="files", Key="a/b.txt")
        assert (head["ContentLength"], head["ETag"]) == (5, put["ETag"])
        part = s3.get_object(Bucket="files", Key="a/b.txt", Range="bytes=1-3")
        assert (part["Body"].read(), part["ContentRange"]) == (b"ell", "bytes 1-3/5")

    await in_thread(work)
