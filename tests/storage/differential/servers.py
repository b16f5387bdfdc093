"""The two servers: a running supabase/storage, named by the environment, and ``isobase serve storage``; both bare."""

from __future__ import annotations

import contextlib
import http.client
import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2

from tests.plugins.ports import free_ports
from tests.plugins.stack import ISOBASE, PASSWORD, clean_environment
from tests.storage.differential.values import JsonValue

__all__ = ["Reply", "Side", "running_isobase", "running_upstream", "upstream_address"]

START_TIMEOUT_S = 30.0
REQUEST_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 15.0
TABLES: Mapping[str, str] = {
    "buckets": "created_at, id",
    "objects": "created_at, name",
    "s3_multipart_uploads": "created_at, id",
    "s3_multipart_uploads_parts": "part_number, created_at",
}
_SNAPSHOT = "select json_build_object({})".format(
    ", ".join(
        f"'{table}', (select coalesce(json_agg(to_jsonb(t) order by {order}), '[]') from storage.{table} t)"
        for table, order in TABLES.items()
    )
)
_EMPTY = "truncate {} cascade".format(", ".join(f"storage.{table}" for table in TABLES))


@dataclass(slots=True, frozen=True)
class Reply:
    """What came back, as it came; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class _RawConnection(http.client.HTTPConnection):
    """Sends a target as it is: that of the key corpus holds what no client should send."""

    def _encode_request(self, request: str) -> bytes:
        return request.encode("utf-8", "surrogateescape")

    def _validate_path(self, url: str) -> None:
        """Everything may be sent."""


@dataclass(slots=True)
class Side:
    """A running server and its database as the superuser."""

    name: str
    address: str
    connection: psycopg2.extensions.connection
    http: _RawConnection = field(init=False)

    def __post_init__(self) -> None:
        self.http = _RawConnection(self.address, timeout=REQUEST_TIMEOUT_S)

    def send(self, method: str, target: str, headers: Mapping[str, str], body: bytes | None) -> Reply:
        """Send a request with its target and headers exactly as they are."""
        framed = {"content-length", "transfer-encoding"} & {name.lower() for name in headers}
        try:
            self.http.putrequest(method, target, skip_accept_encoding=True)
            for name, value in headers.items():
                self.http.putheader(name, value)
            if body is not None and not framed:
                self.http.putheader("content-length", str(len(body)))
            self.http.endheaders(body)
            response = self.http.getresponse()
            reply = Reply(
                response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
            )
        except (OSError, http.client.HTTPException) as error:
            self.http.close()
            return Reply(0, {}, f"<{type(error).__name__}>".encode())
        if reply.headers.get("connection", "") == "close" or response.will_close:
            self.http.close()
        return reply

    def empty(self) -> None:
        """Delete every bucket, object and policy."""
        with self.connection.cursor() as cursor:
            cursor.execute(_EMPTY)
            cursor.execute(
                "select format('drop policy %I on storage.%I', policyname, tablename) from pg_policies"
                " where schemaname = 'storage'"
            )
            for (statement,) in cursor.fetchall():
                cursor.execute(statement)

    def rows(self) -> dict[str, list[dict[str, JsonValue]]]:
        """What storage keeps: table -> rows."""
        with self.connection.cursor() as cursor:
            cursor.execute(_SNAPSHOT)
            row = cursor.fetchone()
        assert row is not None
        content: dict[str, list[dict[str, JsonValue]]] = row[0]
        return content

    def run(self, sql: str, *values: object) -> list[tuple[object, ...]]:
        """Run a statement of a scenario's own in this side's database."""
        with self.connection.cursor() as cursor:
            cursor.execute(sql, values or None)
            return list(cursor.fetchall()) if cursor.description is not None else []


def upstream_address() -> tuple[str, str] | None:
    """Host and port of upstream's server, and the URL of its database; None where the environment names none."""
    url, dsn = os.environ.get("STORAGE_UPSTREAM_URL"), os.environ.get("STORAGE_UPSTREAM_DATABASE_URL")
    return (urlsplit(url).netloc, dsn) if url and dsn else None


@contextmanager
def running_upstream(address: str, dsn: str) -> Iterator[Side]:
    """Upstream's server, which somebody else has started."""
    with closing(psycopg2.connect(dsn)) as connection:
        connection.autocommit = True
        side = Side("upstream", address, connection)
        with closing(side.http):
            yield side


@contextmanager
def running_isobase(dsn: str, environment: Mapping[str, str], folder: Path) -> Iterator[Side]:
    """``isobase serve storage`` on a database of its own."""
    (port,) = free_ports(1)
    log_path = folder / "ours.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [str(ISOBASE), "serve", "storage", "--port", str(port)],
            env={
                **clean_environment(),
                **environment,
                "DATABASE_URL": dsn,
                "ISOBASE_DATABASE__ROLE_PASSWORD": PASSWORD,
            },
            cwd=folder,
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
        )
    try:
        with closing(psycopg2.connect(dsn)) as connection:
            connection.autocommit = True
            side = Side("ours", f"127.0.0.1:{port}", connection)
            with closing(side.http):
                _wait(side, process, log_path)
                yield side
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(side: Side, process: subprocess.Popen[bytes], log_path: Path) -> None:
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while True:
        with contextlib.suppress(OSError):
            if side.send("GET", "/status", {}, None).status == http.client.OK:
                return
        assert process.poll() is None, log_path.read_text()
        assert time.monotonic() < deadline_s, log_path.read_text()
        time.sleep(0.05)
