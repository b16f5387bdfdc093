"""A storage service on a real port for each test, with users, and helpers to look at its rows and blobs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg2
import pytest
import uvicorn
from psycopg2 import sql
from storage3 import AsyncStorageClient

from isobase_platform.config import Settings, StorageSettings
from isobase_platform.config_storage.s3 import MIN_PART_SIZE_BYTES
from isobase_platform.http.edge import Edge
from isobase_platform.runtime import Platform
from isobase_services.storage import create_service
from isobase_services.storage.service import StorageService
from tests.plugins.s3 import S3Server
from tests.plugins.stack import TEMPLATE, DatabaseServer, settings_for

ALICE = "11111111-1111-4111-8111-111111111111"
BOB = "22222222-2222-4222-8222-222222222222"
PATIENCE_S = 60.0
"""How long anything is waited for: it costs nothing where it comes, and a machine may stand still for seconds at any line."""


@dataclass(slots=True)
class Stack:
    """A running storage service behind the gateway's edge."""

    url: str
    platform: Platform
    service: StorageService
    http: httpx.AsyncClient
    root: Path
    owner_dsn: str
    s3: S3Server | None = None

    def token(self, role: str, sub: str | None = None, **claims: object) -> str:
        """A user's token."""
        payload = {"role": role, "exp": int(time.time()) + 3600, **({"sub": sub} if sub else {}), **claims}
        return self.platform.issuer.sign_with_secret(payload)

    @property
    def service_token(self) -> str:
        """The service_role key."""
        return self.platform.settings.service_role_token

    @property
    def anon_token(self) -> str:
        """The anon key."""
        return self.platform.settings.anon_token

    def user(self, sub: str) -> dict[str, str]:
        """The headers of a signed-in user."""
        return {"authorization": f"Bearer {self.token('authenticated', sub)}"}

    @property
    def admin(self) -> dict[str, str]:
        """The headers of service_role."""
        return {"authorization": f"Bearer {self.service_token}"}

    @property
    def anon(self) -> dict[str, str]:
        """The headers of anon."""
        return {"authorization": f"Bearer {self.anon_token}"}

    def client(self, token: str) -> AsyncStorageClient:
        """An official Python client."""
        headers = {"Authorization": f"Bearer {token}"}
        return AsyncStorageClient(f"{self.url}/storage/v1/", headers, http_client=self.http)

    def bare(self) -> httpx.AsyncClient:
        """A client of the service alone, without a gateway before it."""
        app = next(mount.app for mount in self.service.mounts if mount.serves_bare)
        return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://storage.test")

    def sql(self, statement: str, *args: object) -> list[tuple[Any, ...]]:
        """Run a statement as the owner of everything."""
        with contextlib.closing(psycopg2.connect(self.owner_dsn)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("set storage.allow_delete_query = 'true'")
                cursor.execute(statement, args or None)
                return list(cursor.fetchall()) if cursor.description is not None else []

    def blobs(self) -> list[Path]:
        """All blobs: files on the disk, or keys in the bucket."""
        if self.s3 is not None:
            return [Path(key) for key in self.s3.keys()]  # noqa: SIM118  no dictionary
        return [path for path in (self.root / "objects").rglob("*") if path.is_file() or path.is_symlink()]

    def temporary_files(self) -> list[Path]:
        """Writes that are not finished."""
        if self.s3 is not None:
            return [Path(key) for key in self.s3.uploads()]
        return list((self.root / "tmp").iterdir())

    async def bucket(self, name: str, **options: object) -> None:
        """Make a bucket as the service."""
        answer = await self.http.post("/storage/v1/bucket", json={"name": name, **options}, headers=self.admin)
        assert answer.status_code == 200, answer.text

    async def put(self, path: str, content: bytes, headers: dict[str, str], **extra: str) -> httpx.Response:
        """Upload raw bytes with POST."""
        url = f"/storage/v1/object/{path}"
        return await self.http.post(url, content=content, headers={"content-type": "text/plain", **headers, **extra})


OWNER_POLICIES = """
create policy "read own" on storage.objects for select to authenticated using (owner_id = auth.uid()::text);
create policy "insert own folder" on storage.objects for insert to authenticated
    with check ((storage.foldername(name))[1] = auth.uid()::text);
create policy "update own" on storage.objects for update to authenticated using (owner_id = auth.uid()::text);
create policy "delete own" on storage.objects for delete to authenticated using (owner_id = auth.uid()::text);
"""


@contextlib.asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Stack]:
    """Serve storage for ``settings`` on a free port, prefixed behind the edge and bare beside it."""
    bucket = settings.storage.s3
    async with Platform.open(settings) as platform:
        service = create_service(platform)
        assert isinstance(service, StorageService)
        await service.start()
        edge = Edge(service.mounts, keys=platform.api_keys, metrics=platform.metrics)
        async with listening(edge) as port:
            url = f"http://127.0.0.1:{port}"
            async with httpx.AsyncClient(base_url=url, timeout=60) as http:
                assert settings.database.url is not None
                yield Stack(
                    url=url,
                    platform=platform,
                    service=service,
                    http=http,
                    root=settings.storage_root,
                    owner_dsn=settings.database.url.get_secret_value(),
                    s3=S3Server.of(bucket) if settings.storage.backend == "s3" else None,
                )
        await service.drain(5)


@contextlib.asynccontextmanager
async def listening(app: Any) -> AsyncIterator[int]:
    """A real HTTP server on a free port."""
    # Idle connections stay for as long as a test may take: one that is closed as a request goes out fails that request.
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, log_level="warning", lifespan="off", ws="none", timeout_keep_alive=600
    )
    server = uvicorn.Server(config)
    # The coroutine below serve() leaves the process's signal handlers alone.
    task = asyncio.create_task(server._serve())
    while not server.started:
        await asyncio.sleep(0.005)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await task


def with_storage(settings: Settings, **changes: object) -> Settings:
    """The settings with other storage settings. An image has time, however slow the machine is, where none is said."""
    values = {**settings.storage.model_dump(), **changes}
    given = changes.get("images")
    if given is None or isinstance(given, dict):
        values["images"] = {**values["images"], "timeout_s": PATIENCE_S, **(given or {})}
    storage = StorageSettings.model_validate(values)
    return settings.model_copy(update={"storage": storage})


@pytest.fixture(scope="session")
def storage_dsn(postgres: DatabaseServer) -> Iterator[str]:
    """One database for all tests of storage: cloning one for each would take most of their time."""
    postgres.execute(f"create database test_storage template {TEMPLATE} owner postgres")
    yield postgres.dsn("test_storage")
    postgres.execute("drop database test_storage with (force)")


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> dict[str, object]:
    """The settings of storage that say where blobs are: the disk, or S3 where ISOBASE_TEST_STORAGE_BACKEND says so.

    A test that is to run on both is marked with ``BOTH_BACKENDS``.
    """
    name = getattr(request, "param", None) or os.environ.get("ISOBASE_TEST_STORAGE_BACKEND", "file")
    if name == "file":
        return {"backend": "file"}
    s3: S3Server = request.getfixturevalue("s3")
    return {"backend": "s3", "s3": s3.settings(part_size_bytes=MIN_PART_SIZE_BYTES)}


@pytest.fixture
def listed_uploads(request: pytest.FixtureRequest, backend: dict[str, object]) -> None:
    """For tests that look for unfinished uploads, or that need the worker to find them."""
    if backend["backend"] == "s3" and not request.getfixturevalue("s3").lists_uploads:
        pytest.skip("this server lists the unfinished uploads of one key only, and ends old ones itself (MinIO)")


ON_DISK = pytest.mark.skipif(
    os.environ.get("ISOBASE_TEST_STORAGE_BACKEND") == "s3", reason="looks at files of the local-disk backend"
)
BOTH_BACKENDS = pytest.mark.parametrize("backend", ["file", "s3"], indirect=True)


@pytest.fixture
def database(storage_dsn: str, tmp_path: Path, backend: dict[str, object]) -> Settings:
    """Settings of that database, without a bucket, an object or a policy in it; instead of the suite's ``database``."""
    with contextlib.closing(psycopg2.connect(storage_dsn)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(
            "truncate storage.objects, storage.buckets, isobase.resumable_uploads, isobase.direct_uploads cascade"
        )
        cursor.execute("select policyname, tablename from pg_policies where schemaname = 'storage'")
        for policy, table in cursor.fetchall():
            cursor.execute(
                sql.SQL("drop policy {} on storage.{}").format(sql.Identifier(policy), sql.Identifier(table))
            )
    return with_storage(settings_for(storage_dsn, tmp_path), **backend)


@pytest.fixture
async def storage(database: Settings) -> AsyncIterator[Stack]:
    """Storage without policies of a project's own."""
    async with running(database) as stack:
        yield stack


@pytest.fixture
async def owned(storage: Stack) -> Stack:
    """Storage with the bucket ``files`` and policies by which a user owns the folder of his id."""
    storage.sql(OWNER_POLICIES)
    await storage.bucket("files")
    return storage


def refusal(answer: httpx.Response) -> tuple[int, str, str, str]:
    """HTTP status, then statusCode, error and message of the body."""
    body = json.loads(answer.content)
    assert set(body) == {"statusCode", "error", "message", "code"}
    return answer.status_code, body["statusCode"], body["error"], body["message"]
