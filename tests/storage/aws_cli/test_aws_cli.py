"""``aws s3`` and ``aws s3api``, as people type them."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from isobase_platform.config_storage import DEFAULT_S3_ACCESS_KEY_ID, DEFAULT_S3_SECRET_ACCESS_KEY
from tests.storage.conftest import ALICE, OWNER_POLICIES, Stack
from tests.storage.s3_clients import in_thread, s3_endpoint

MIB = 1024 * 1024


class Aws:
    """Runs the command with the credentials of the environment given."""

    def __init__(self, stack: Stack, home: Path, **credentials: str) -> None:
        self._stack = stack
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "AWS_ACCESS_KEY_ID": DEFAULT_S3_ACCESS_KEY_ID,
            "AWS_SECRET_ACCESS_KEY": DEFAULT_S3_SECRET_ACCESS_KEY,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_MAX_ATTEMPTS": "1",
            **credentials,
        }
        config = home / ".aws" / "config"
        config.parent.mkdir(exist_ok=True)
        config.write_text("[default]\ns3 =\n  addressing_style = path\n  signature_version = s3v4\n")

    def fails(self, *words: str) -> str:
        """The command's error."""
        done = self._run(words)
        assert done.returncode != 0
        return done.stderr

    def __call__(self, *words: str) -> str:
        """The command's output."""
        done = self._run(words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def api(self, *words: str) -> Any:
        """The JSON that ``aws s3api`` prints."""
        text = self("s3api", *words)
        return json.loads(text) if text.strip() else None

    def _run(self, words: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
        command = [os.environ["AWS_CLI"], "--endpoint-url", s3_endpoint(self._stack), *words]
        return subprocess.run(command, env=self._environment, capture_output=True, text=True, timeout=100, check=False)


@pytest.fixture
def aws(storage: Stack, tmp_path: Path) -> Aws:
    return Aws(storage, tmp_path)


async def test_files_are_copied_listed_moved_and_removed(aws: Aws, tmp_path: Path) -> None:
    small, large = tmp_path / "small.txt", tmp_path / "large.bin"
    small.write_text("hello")
    large.write_bytes(os.urandom(20 * MIB))

    def work() -> None:
        assert "make_bucket" in aws("s3", "mb", "s3://files")
        aws("s3", "cp", str(small), "s3://files/a b/small.txt", "--metadata", "colour=green")
        aws("s3", "cp", str(large), "s3://files/large.bin", "--only-show-errors")
        listed = aws("s3", "ls", "s3://files/", "--recursive").split("\n")
        assert [line.split(maxsplit=2)[2] for line in listed if line] == ["5 a b/small.txt", f"{20 * MIB} large.bin"]
        assert "PRE a b/" in aws("s3", "ls", "s3://files/")
        assert aws("s3", "cp", "s3://files/a b/small.txt", "-") == "hello"
        aws("s3", "cp", "s3://files/large.bin", str(tmp_path / "back.bin"), "--only-show-errors")
        assert (tmp_path / "back.bin").read_bytes() == large.read_bytes()
        aws("s3", "cp", "s3://files/large.bin", "s3://files/again.bin", "--only-show-errors")
        aws("s3", "mv", "s3://files/again.bin", "s3://files/moved.bin", "--only-show-errors")
        head = aws.api("head-object", "--bucket", "files", "--key", "moved.bin")
        assert head["ContentLength"] == 20 * MIB
        aws("s3", "rm", "s3://files/moved.bin")
        assert "(404)" in aws.fails("s3api", "head-object", "--bucket", "files", "--key", "moved.bin")
        aws("s3", "rm", "s3://files/", "--recursive")
        assert aws("s3", "ls", "s3://files/") == ""
        aws("s3", "rb", "s3://files")

    await in_thread(work)


async def test_folders_are_kept_in_step(aws: Aws, storage: Stack, tmp_path: Path) -> None:
    await storage.bucket("files")
    here, there = tmp_path / "here", tmp_path / "there"
    for name in ("a.txt", "sub/b.txt", "sub/deeper/c.txt"):
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_text(name)

    def work() -> None:
        aws("s3", "sync", str(here), "s3://files/copy/")
        assert aws("s3", "sync", str(here), "s3://files/copy/") == ""
        (here / "a.txt").unlink()
        (here / "d.txt").write_text("new")
        aws("s3", "sync", str(here), "s3://files/copy/", "--delete")
        aws("s3", "sync", "s3://files/copy/", str(there))
        aws("s3", "sync", "s3://files/copy/", "s3://files/other/")

    await in_thread(work)
    assert {path.relative_to(there).as_posix(): path.read_text() for path in there.rglob("*") if path.is_file()} == {
        "d.txt": "new",
        "sub/b.txt": "sub/b.txt",
        "sub/deeper/c.txt": "sub/deeper/c.txt",
    }
    assert storage.sql("select count(*) from storage.objects where name like 'other/%%'") == [(3,)]


async def test_presigned_urls_open(aws: Aws, storage: Stack, tmp_path: Path) -> None:
    await storage.bucket("files")
    (tmp_path / "x").write_text("content")
    await in_thread(aws, "s3", "cp", str(tmp_path / "x"), "s3://files/x y.txt")
    url = (await in_thread(aws, "s3", "presign", "s3://files/x y.txt", "--expires-in", "60")).strip()
    async with httpx.AsyncClient(timeout=60) as http:
        assert (await http.get(url)).text == "content"


async def test_the_api_is_called_by_name(aws: Aws, storage: Stack, tmp_path: Path) -> None:
    await storage.bucket("files")
    file = tmp_path / "file"
    file.write_bytes(b"0123456789")
    place = ("--bucket", "files", "--key", "k")

    def work() -> None:
        for algorithm in ("CRC32", "SHA256", "SHA1"):
            put = aws.api("put-object", *place, "--body", str(file), "--checksum-algorithm", algorithm)
            assert put[f"Checksum{algorithm}"]
        assert "PreconditionFailed" in aws.fails(
            "s3api", "put-object", *place, "--body", str(file), "--if-none-match", "*"
        )
        aws.api("get-object", *place, "--range", "bytes=2-4", str(tmp_path / "part"))
        assert (tmp_path / "part").read_bytes() == b"234"
        assert aws.api("get-bucket-location", "--bucket", "files")["LocationConstraint"] == "local"
        upload = aws.api("create-multipart-upload", *place)["UploadId"]
        part = aws.api("upload-part", *place, "--upload-id", upload, "--part-number", "1", "--body", str(file))
        listed = aws.api("list-parts", *place, "--upload-id", upload)["Parts"]
        assert [(entry["PartNumber"], entry["Size"]) for entry in listed] == [(1, 10)]
        parts = json.dumps({"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})
        aws.api("complete-multipart-upload", *place, "--upload-id", upload, "--multipart-upload", parts)
        copied = aws.api("copy-object", "--bucket", "files", "--key", "c", "--copy-source", "files/k")
        assert copied["CopyObjectResult"]["ETag"].endswith('-1"')
        aws.api("delete-objects", "--bucket", "files", "--delete", '{"Objects": [{"Key": "c"}, {"Key": "k"}]}')
        assert "NoSuchKey" in aws.fails("s3api", "get-object", *place, str(tmp_path / "nothing"))
        assert "NotImplemented" in aws.fails("s3api", "get-object-acl", *place)

    await in_thread(work)


async def test_a_session_token_is_a_user(storage: Stack, tmp_path: Path) -> None:
    await storage.bucket("files")
    storage.sql(OWNER_POLICIES)
    credentials = {
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": storage.anon_token,
        "AWS_SESSION_TOKEN": storage.token("authenticated", ALICE),
    }
    aws = Aws(storage, tmp_path, **credentials)
    (tmp_path / "x").write_text("mine")

    def work() -> None:
        aws("s3", "cp", str(tmp_path / "x"), f"s3://files/{ALICE}/x")
        assert aws("s3", "cp", f"s3://files/{ALICE}/x", "-") == "mine"
        assert "AccessDenied" in aws.fails("s3", "cp", str(tmp_path / "x"), "s3://files/another/x")

    await in_thread(work)
    assert storage.sql("select name, owner_id from storage.objects") == [(f"{ALICE}/x", ALICE)]
