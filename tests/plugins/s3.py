"""A real S3 server for the tests: moto's as a process of its own, or the one that ISOBASE_TEST_S3_ENDPOINT names.

Credentials of that one are ISOBASE_TEST_S3_ACCESS_KEY_ID and ISOBASE_TEST_S3_SECRET_ACCESS_KEY. A session uses one bucket,
and a test a prefix of its own in it.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from isobase_platform.config_storage import S3Settings
from isobase_services.storage.blob.s3.names import MAX_KEY_BYTES
from tests.plugins.ports import free_ports

__all__ = ["S3Server", "s3", "s3_server"]

START_TIMEOUT_S = 100.0
_NO_CHECKSUMS = Config(
    request_checksum_calculation="when_required",
    s3={"addressing_style": "path"},
    retries={"mode": "standard", "total_max_attempts": 1},
    connect_timeout=30,
)


@dataclass(slots=True, frozen=True)
class S3Server:
    """A server, a bucket of it, and a prefix in that."""

    endpoint: str
    access_key_id: str
    secret_access_key: str
    bucket: str
    prefix: str = ""

    @classmethod
    def of(cls, settings: S3Settings) -> S3Server:
        """The server, bucket and prefix of the backend's settings."""
        assert settings.endpoint_url is not None
        assert settings.access_key_id is not None
        assert settings.secret_access_key is not None
        secret = settings.secret_access_key.get_secret_value()
        return cls(settings.endpoint_url, settings.access_key_id, secret, settings.bucket, settings.prefix)

    @property
    def is_moto(self) -> bool:
        """True for moto's server, which answers 500 for a part of an unknown upload, takes parts of an upload for any key,
        and says that every upload began in 2010."""
        return "ISOBASE_TEST_S3_ENDPOINT" not in os.environ

    @property
    def lists_uploads(self) -> bool:
        """False for MinIO, which lists the unfinished uploads of one key only."""
        client, place = self.client, {"Bucket": self.bucket, "Key": f"{self.prefix}/a try/of listing"}
        upload = client.create_multipart_upload(**place)["UploadId"]
        try:
            return place["Key"] in self.uploads()
        finally:
            client.abort_multipart_upload(**place, UploadId=upload)

    def can_keep(self, key: str) -> bool:
        """False for a key that this server refuses: some keep objects as files, and refuse what no path of a file can be.

        The longest are none that S3 has, either: the backend puts prefix, bucket and version around them.
        """
        client, place = self.client, {"Bucket": self.bucket, "Key": f"{self.prefix}/files/{key}/{uuid.uuid4()}"}
        if len(place["Key"]) > MAX_KEY_BYTES:
            return False
        try:
            client.put_object(**place, Body=b"")
        except ClientError:
            return False
        client.delete_object(**place)
        return True

    @property
    def client(self) -> Any:
        """A client of the test's own."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key_id,
            aws_secret_access_key=self.secret_access_key,
            region_name="us-east-1",
            config=_NO_CHECKSUMS,
        )

    def settings(self, **changes: object) -> S3Settings:
        """Settings of the S3 backend for this prefix."""
        return S3Settings.model_validate(
            {
                "bucket": self.bucket,
                "prefix": self.prefix,
                "region": "us-east-1",
                "endpoint_url": self.endpoint,
                "access_key_id": self.access_key_id,
                "secret_access_key": self.secret_access_key,
                "force_path_style": True,
                **changes,
            }
        )

    def keys(self) -> list[str]:
        """The objects below the prefix, without it."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self.prefix)
        return [found["Key"].removeprefix(f"{self.prefix}/") for page in pages for found in page.get("Contents", ())]

    def uploads(self) -> list[str]:
        """The keys of unfinished multipart uploads below the prefix."""
        page = self.client.list_multipart_uploads(Bucket=self.bucket, Prefix=self.prefix)
        return [found["Key"] for found in page.get("Uploads", ()) if found["Key"].startswith(self.prefix)]


@contextlib.contextmanager
def _moto(directory: Path) -> Iterator[str]:
    port = free_ports(1)[0]
    program = Path(sys.executable).with_name("moto_server")
    with (directory / "moto.log").open("wb") as log:
        process = subprocess.Popen([program, "-H", "127.0.0.1", "-p", str(port)], stdout=log, stderr=log)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """The session's server, with its bucket."""
    with contextlib.ExitStack() as stack:
        endpoint = os.environ.get("ISOBASE_TEST_S3_ENDPOINT")
        if endpoint is None:
            endpoint = stack.enter_context(_moto(tmp_path_factory.mktemp("moto")))
        access_key_id = os.environ.get("ISOBASE_TEST_S3_ACCESS_KEY_ID", "test")
        secret = os.environ.get("ISOBASE_TEST_S3_SECRET_ACCESS_KEY", "testtest")
        server = S3Server(endpoint, access_key_id, secret, f"isobase-test-{uuid.uuid4().hex[:12]}")
        client = server.client
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                client.create_bucket(Bucket=server.bucket)
                break
            except BotoCoreError:
                if time.monotonic() > deadline_s:
                    raise
                time.sleep(0.1)
        yield server


@pytest.fixture
def s3(s3_server: S3Server) -> S3Server:
    """The server with a prefix of the test's own."""
    return S3Server(
        s3_server.endpoint,
        s3_server.access_key_id,
        s3_server.secret_access_key,
        s3_server.bucket,
        uuid.uuid4().hex,
    )
