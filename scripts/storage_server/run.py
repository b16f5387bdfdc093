"""Serve storage on an embedded database with supabase/storage's own seed, and run that project's integration suite of it.

scripts/suite-storage-server calls this; see there.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

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
    excused = {line for line in (HERE / "not_asked.txt").read_text().splitlines() if line and not line.startswith("#")}
    outcome: dict[str, str] = {
        f"{Path(file['name']).name}: {' '.join(test['fullName'].split())}": test["status"]
        for file in json.loads(results.read_text())["testResults"]
        for test in file["assertionResults"]
    }
    failed = {name for name, status in outcome.items() if status == "failed"}
    for name in sorted(failed - excused):
        print(f"failed: {name}")
    for name in sorted(name for name in excused if outcome.get(name) == "passed"):
        print(f"passes, and stands in not_asked.txt: {name}")
    passed = sum(status == "passed" for status in outcome.values())
    print(
        f"{passed} of {len(outcome)} passed, {len(failed & excused)} ask upstream's own parts, {len(failed - excused)} failed"
    )
    return 1 if failed - excused else 0


async def _store_bytes_of_seeded_rows(connection: psycopg2.extensions.connection, root: Path) -> None:
    """Give the seed's rows the bytes that the suite's own mocks answer for them: as many as their metadata says, or as
    the mocks have."""
    store = FileBlobStore(root)
    await store.start()
    with connection.cursor() as cursor:
        cursor.execute("select id, bucket_id, name, metadata from storage.objects where version is null")
        for object_id, bucket, name, metadata in cursor.fetchall():
            version = str(uuid.uuid4())
            size_bytes = metadata.get("contentLength") or MOCKED_SIZE_BYTES
            await store.put(BlobKey(bucket, name, version), _zeros(size_bytes))
            cursor.execute("update storage.objects set version = %s where id = %s", (version, object_id))
    connection.commit()
    await store.close()


async def _zeros(count: int) -> AsyncIterator[bytes]:
    yield bytes(count)


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
def _storage(database_url: str, variables: Mapping[str, str], scratch: Path) -> Iterator[str]:
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
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("ISOBASE_", "SUPABASE_"))}
    with (scratch / "storage.log").open("wb") as log:
        process = subprocess.Popen(
            [str(BIN / "isobase"), "serve", "storage", "--port", str(port)],
            env={**outside, **own},
            cwd=scratch,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    with _ended(process):
        _wait_for(f"http://127.0.0.1:{port}/status", scratch / "storage.log")
        yield f"http://127.0.0.1:{port}"
        if log_path := os.environ.get("STORAGE_SERVER_LOG"):
            Path(log_path).write_bytes((scratch / "storage.log").read_bytes())


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
