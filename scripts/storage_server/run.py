"""Serve storage on an embedded database with supabase/storage's own seed, and run that project's integration suite of it.

scripts/suite-storage-server calls this; see there.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2

from isobase_deploy.embedded import EmbeddedPostgres
from isobase_deploy.ports import free_ports
from isobase_services.storage.blob import BlobKey
from isobase_services.storage.blob.file import FileBlobStore

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
PASSWORD = "postgres"  # noqa: S105  of a database that lives as long as the suite
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0
MOCKED_SIZE_BYTES = 3746
MOCKED_FACTS = {"eTag": "abc", "lastModified": "2021-08-12T16:00:00.000Z"}
SIZE_LIMITS_BYTES = (1, 150, 1024, 10 * 1024)
"""The limits that tests set while they run: for each there is a server that has it, on the same data."""
_LINE = re.compile(r"(?<=\.ts):(\d+|\?)")
HTTP_TESTS = (
    "bucket",
    "object.test",
    "object-list-v2",
    "s3-protocol",
    "tus",
    "cdn",
    "render-routes",
    "rls",
    "search-filters",
    "operation-helpers",
    "database-protection",
)
"""The files of the suite that ask the server over HTTP or look at its database; the others test upstream's own parts."""


def main() -> int:
    """Start what is needed, run the suite, end it all; the suite's exit code."""
    checkout = Path(sys.argv[1])
    with tempfile.TemporaryDirectory(prefix="isobase-suite-") as name, contextlib.ExitStack() as running:
        scratch = Path(name)
        scratch.chmod(0o711)
        variables = _variables(checkout / ".env.test.sample") | _variables(checkout / ".env.sample")
        database_url = running.enter_context(_postgres(scratch))
        url = running.enter_context(_storage(database_url, variables, scratch))
        limited = {
            str(limit): urlsplit(running.enter_context(_storage(database_url, variables, scratch, limit))).port
            for limit in SIZE_LIMITS_BYTES
        }
        s3_url = running.enter_context(_s3_server(scratch))
        with contextlib.closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
            seed = (checkout / "src/test/db/02-dummy-data.sql").read_text()
            # Its users stand in columns that auth itself has given up long ago; no test of storage reads them.
            cursor.execute(seed[seed.index("-- insert buckets") :])
            connection.commit()
            asyncio.run(_store_bytes_of_seeded_rows(connection, scratch / "blobs"))
        environment = {
            **os.environ,
            **variables,
            "SERVER_URL": url,
            "LIMITED_SERVERS": json.dumps(limited),
            "DATABASE_URL": database_url,
            "DATABASE_POOL_URL": "",
            "MULTI_TENANT": "false",
            "STORAGE_BACKEND": os.environ.get("STORAGE_BACKEND", "file"),
            "STORAGE_FILE_BACKEND_PATH": str(scratch / "upstream-files"),
            "STORAGE_S3_ENDPOINT": s3_url,
            "STORAGE_S3_BUCKET": "supa-storage-bucket",
        }
        chosen = sys.argv[2:] or list(HTTP_TESTS)
        results = scratch / "results.json"
        command = [
            "node",
            "node_modules/vitest/vitest.mjs",
            "run",
            "--config",
            str(HERE / "vitest.config.mjs"),
            *chosen,
        ]
        command += ["--reporter=default", "--reporter=json", f"--outputFile.json={results}"]
        subprocess.run(command, cwd=checkout, env=environment, check=False)
        return _judged(results)


def _judged(results: Path) -> int:
    """Tell what failed beside the tests that ask upstream's own parts (not_asked.txt); 1 where something did."""
    lines = (HERE / "not_asked.txt").read_text().splitlines()
    excused = {line for line in lines if line and not line.startswith("#")}
    outcome: dict[str, str] = {}
    stopped: dict[str, str] = {}
    for file in json.loads(results.read_text())["testResults"]:
        for test in file["assertionResults"]:
            name = f"{Path(file['name']).name}: {' '.join(test['fullName'].split())}"
            outcome[name] = test["status"]
            if test["status"] == "failed":
                stopped[name] = _stopped_at(name, test["failureMessages"])
    failed = set(stopped.values())
    for entry in sorted(failed - excused):
        print(f"failed: {entry}")
    names = {_LINE.sub("", entry): entry for entry in excused}
    for name in sorted(name for name in names if outcome.get(name) == "passed"):
        print(f"passes, and stands in not_asked.txt: {names[name]}")
    passed = sum(status == "passed" for status in outcome.values())
    told = f"{len(failed & excused)} stop where they ask upstream's own parts, {len(failed - excused)} failed"
    print(f"{passed} of {len(outcome)} passed, {told}")
    return 1 if failed - excused else 0


def _stopped_at(name: str, messages: Sequence[str]) -> str:
    """The test with the line of its file where it failed: ``file:line: name``."""
    file, _, rest = name.partition(": ")
    place = re.search(rf"{re.escape(file)}:(\d+):", "\n".join(messages))
    return f"{file}:{place[1] if place else '?'}: {rest}"


async def _store_bytes_of_seeded_rows(connection: psycopg2.extensions.connection, root: Path) -> None:
    """Give the seed's rows the bytes that the suite's own mocks answer for them, as many as their metadata says or as the
    mocks have, and the mocks' ETag and date to rows that have none."""
    store = FileBlobStore(root)
    await store.start()
    with connection.cursor() as cursor:
        cursor.execute("select id, bucket_id, name, metadata from storage.objects where version is null")
        for object_id, bucket, name, metadata in cursor.fetchall():
            version = str(uuid.uuid4())
            size_bytes = metadata.get("contentLength") or MOCKED_SIZE_BYTES
            await store.put(BlobKey(bucket, name, version), _picture(size_bytes))
            facts = json.dumps({**MOCKED_FACTS, **metadata})
            statement = "update storage.objects set version = %s, metadata = %s where id = %s"
            cursor.execute(statement, (version, facts, object_id))
    connection.commit()
    await store.close()


async def _picture(size_bytes: int) -> AsyncIterator[bytes]:
    """A PNG of one pixel and a comment, just as long as asked for."""
    head = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
    body = _chunk(b"IDAT", zlib.compress(b"\0\xff\x80\0")) + _chunk(b"IEND", b"")
    yield head + _chunk(b"tEXt", b"Comment\0".ljust(size_bytes - len(head) - len(body) - 12, b" ")) + body


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _variables(path: Path) -> dict[str, str]:
    """The assignments of a file of variables."""
    lines = (line.partition("=") for line in path.read_text().splitlines() if line and not line.startswith("#"))
    return {name.strip(): value.strip().strip('"') for name, _, value in lines if value}


@contextlib.contextmanager
def _postgres(scratch: Path) -> Iterator[str]:
    (port,) = free_ports(1)
    server = EmbeddedPostgres(scratch, port=port, password=PASSWORD, is_durable=False)
    server.start()
    try:
        yield f"postgresql://supabase_admin:{PASSWORD}@127.0.0.1:{port}/postgres"
    finally:
        server.stop()


@contextlib.contextmanager
def _storage(
    database_url: str, variables: Mapping[str, str], scratch: Path, limit_bytes: int | None = None
) -> Iterator[str]:
    """A server; ``limit_bytes``: the most that an object of it may have, None for the default."""
    (port,) = free_ports(1)
    own = {
        "DATABASE_URL": database_url,
        "ISOBASE_DATABASE__ROLE_PASSWORD": PASSWORD,
        "ISOBASE_JWT_SECRET": variables["AUTH_JWT_SECRET"],
        "ISOBASE_ANON_KEY": variables["ANON_KEY"],
        "ISOBASE_STORAGE__ROOT": str(scratch / "blobs"),
        "ISOBASE_STORAGE__S3_PROTOCOL__REGION": variables["STORAGE_S3_REGION"],
        "ISOBASE_STORAGE__S3_ACCESS_KEY_ID": variables["S3_PROTOCOL_ACCESS_KEY_ID"],
        "ISOBASE_STORAGE__S3_SECRET_ACCESS_KEY": variables["S3_PROTOCOL_ACCESS_KEY_SECRET"],
    }
    if limit_bytes is not None:
        own["ISOBASE_STORAGE__FILE_SIZE_LIMIT_BYTES"] = str(limit_bytes)
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("ISOBASE_", "SUPABASE_"))}
    place = scratch / f"server-{limit_bytes}"
    place.mkdir()
    log_path = scratch / f"storage{'' if limit_bytes is None else limit_bytes}.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [str(BIN / "isobase"), "serve", "storage", "--port", str(port)],
            env={**outside, **own},
            cwd=place,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    with _ended(process):
        _wait_for(f"http://127.0.0.1:{port}/status", log_path)
        yield f"http://127.0.0.1:{port}"
        if limit_bytes is None and (kept := os.environ.get("STORAGE_SERVER_LOG")):
            Path(kept).write_bytes(log_path.read_bytes())


@contextlib.contextmanager
def _s3_server(scratch: Path) -> Iterator[str]:
    """An S3 server for the parts of the suite that make a bucket behind upstream's back; Isobase never asks it."""
    (port,) = free_ports(1)
    with (scratch / "s3.log").open("wb") as log:
        process = subprocess.Popen(
            [str(BIN / "moto_server"), "-H", "127.0.0.1", "-p", str(port)], stdout=log, stderr=log
        )
    with _ended(process):
        _wait_for(f"http://127.0.0.1:{port}/moto-api/", scratch / "s3.log")
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(url: str, log: Path) -> None:
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while True:
        with contextlib.suppress(urllib.error.URLError, OSError), urllib.request.urlopen(url, timeout=5):  # noqa: S310  http
            return
        if time.monotonic() > deadline_s:
            sys.exit(f"{url} does not answer\n{log.read_text()}")
        time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main())
