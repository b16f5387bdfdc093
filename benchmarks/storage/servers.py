"""The servers that are compared: ``isobase serve storage``, and the real storage server, each on a database of its own.

Both databases are in one PostgreSQL, both servers keep their files in a temporary directory of the same disk.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from benchmarks.servers import ISOBASE, JWT_SECRET, POOL, Database, Server, running
from isobase_deploy.ports import free_ports

__all__ = [
    "REGION",
    "S3_ACCESS_KEY",
    "S3_SECRET_KEY",
    "Peer",
    "isobase",
    "make_upstream_database",
    "prepare",
    "upstream",
]

FIXTURE = Path(__file__).with_name("fixture.sql")
S3_ACCESS_KEY = "625729a08b95bf1b7ff351a663f3a23c"
REGION = "local"
S3_SECRET_KEY = "850181e4652dd023b7a98c58ae0d2d34bd487ee0cc3254aed6eda37307425907"
FILE_SIZE_LIMIT_BYTES = 1024**3
UPSTREAM_DATABASE = "upstream_storage"
# What the real server's migrations and the fixture's policies expect of a database that Supabase made.
_UPSTREAM_BASE = """
create schema auth;
create schema extensions;
create schema storage;
grant usage on schema storage to anon, authenticated, service_role;
alter default privileges in schema storage grant all on tables to anon, authenticated, service_role;
alter default privileges in schema storage grant all on routines to anon, authenticated, service_role;
create extension if not exists pgcrypto with schema extensions;
create extension if not exists "uuid-ossp" with schema extensions;
grant usage on schema auth, extensions to anon, authenticated, service_role;
create function auth.uid() returns uuid language sql stable as
  $$ select nullif(coalesce(current_setting('request.jwt.claim.sub', true),
                            current_setting('request.jwt.claims', true)::jsonb ->> 'sub'), '')::uuid $$;
"""


@dataclass(slots=True, frozen=True)
class Peer:
    """A server, and the URL of its database for the owner of everything. ``root`` is where its files are."""

    server: Server
    database_url: str
    root: Path


@contextmanager
def isobase(database: Database) -> Iterator[Peer]:
    """``isobase serve storage``, which answers at ``/`` as its upstream does."""
    with tempfile.TemporaryDirectory(prefix="isobase-bench-") as name:
        [port] = free_ports(1)
        url = database.url("supabase_admin")
        environment = _environment() | {
            "ISOBASE_DATABASE__ROLE_PASSWORD": "postgres",
            "ISOBASE_DATABASE__POOL_MAX_SIZE": str(POOL),
            "ISOBASE_STORAGE__FILE_SIZE_LIMIT_BYTES": str(FILE_SIZE_LIMIT_BYTES),
            "ISOBASE_LOG_LEVEL": "error",
        }
        command = [str(ISOBASE), "serve", "storage", "--database-url", url, "--port", str(port)]
        command += ["--data-dir", str(Path(name) / "data"), "--workdir", name]
        with running(command, port, Path(name) / "log", environment) as pid:
            yield Peer(Server("Isobase", port, pid), url, Path(name))


@contextmanager
def upstream(database: Database, checkout: Path) -> Iterator[Peer]:
    """The real server, built in ``checkout``, with its file backend; its Node.js is ``NODE`` or the one in the path."""
    program = checkout.resolve() / "dist" / "start" / "server.js"
    if not program.exists():
        raise SystemExit(f"{program} is missing: build the checkout first (npm ci, npm run build)")
    node = os.environ.get("NODE") or shutil.which("node")
    if node is None:
        raise SystemExit("the real storage server needs Node.js")
    with tempfile.TemporaryDirectory(prefix="isobase-bench-") as name:
        port, admin_port = free_ports(2)
        url = database.url("supabase_admin", UPSTREAM_DATABASE)
        environment = _environment() | {
            "SERVER_HOST": "127.0.0.1",
            "SERVER_PORT": str(port),
            "SERVER_ADMIN_PORT": str(admin_port),
            "SERVER_REGION": REGION,
            "AUTH_JWT_SECRET": JWT_SECRET,
            "AUTH_JWT_ALGORITHM": "HS256",
            "DATABASE_URL": url,
            "DATABASE_MAX_CONNECTIONS": str(POOL),
            "DB_INSTALL_ROLES": "false",
            "DB_SUPER_USER": "supabase_admin",
            "TENANT_ID": "bench",
            "UPLOAD_FILE_SIZE_LIMIT": str(FILE_SIZE_LIMIT_BYTES),
            "UPLOAD_FILE_SIZE_LIMIT_STANDARD": str(FILE_SIZE_LIMIT_BYTES),
            "TUS_URL_PATH": "/upload/resumable",
            "TUS_URL_EXPIRY_MS": "3600000",
            "S3_PROTOCOL_ACCESS_KEY_ID": S3_ACCESS_KEY,
            "S3_PROTOCOL_ACCESS_KEY_SECRET": S3_SECRET_KEY,
            "STORAGE_BACKEND": "file",
            "STORAGE_S3_REGION": REGION,
            "STORAGE_S3_BUCKET": "bench",
            "STORAGE_FILE_BACKEND_PATH": str(Path(name) / "files"),
            "STORAGE_FILE_ETAG_ALGORITHM": "md5",
            "IMAGE_TRANSFORMATION_ENABLED": "false",
            "PG_QUEUE_ENABLE": "false",
            "OTEL_METRICS_ENABLED": "false",
            "PROMETHEUS_METRICS_ENABLED": "false",
            "LOG_LEVEL": "error",
            "NODE_ENV": "production",
        }
        (Path(name) / "files").mkdir()
        # It looks for its migrations in the current directory.
        with running([node, str(program)], port, Path(name) / "log", environment, checkout) as pid:
            yield Peer(Server("supabase/storage", port, pid), url, Path(name))


async def make_upstream_database(database: Database) -> None:
    """The database in which the real server runs its migrations."""
    connection = await asyncpg.connect(database.url("supabase_admin"))
    try:
        await connection.execute(f"create database {UPSTREAM_DATABASE}")
    finally:
        await connection.close()
    connection = await asyncpg.connect(database.url("supabase_admin", UPSTREAM_DATABASE))
    try:
        await connection.execute(_UPSTREAM_BASE)
    finally:
        await connection.close()


async def prepare(peer: Peer) -> None:
    """Run fixture.sql in the server's database."""
    connection = await asyncpg.connect(peer.database_url)
    try:
        await connection.execute(FIXTURE.read_text())
        await connection.execute("vacuum analyze storage.objects")
    finally:
        await connection.close()


def _environment() -> dict[str, str]:
    unwanted = ("ISOBASE_", "SUPABASE_", "DATABASE_", "STORAGE_", "S3_", "PG")
    return {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
