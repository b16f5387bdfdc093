"""The two servers: the GoTrue program and ``isobase serve auth``, each on a database of its own, with the same variables."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg2

from tests.auth.differential.values import JsonValue
from tests.plugins.ports import free_ports
from tests.plugins.stack import ISOBASE, PASSWORD, DatabaseServer, clean_environment

__all__ = ["SECRET", "SITE_URL", "Side", "running_side", "upstream_database"]

SECRET = "37c304f8-51aa-419a-a1af-06154e63707a"
SITE_URL = "http://127.0.0.1:3000"
EXTERNAL_URL = "http://auth.example.com:8000"
START_TIMEOUT_S = 30.0
REQUEST_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 15.0

BASE: Mapping[str, str] = {
    "API_EXTERNAL_URL": EXTERNAL_URL,
    "GOTRUE_API_HOST": "127.0.0.1",
    "GOTRUE_CUSTOM_OAUTH_ENABLED": "false",
    "GOTRUE_DB_DRIVER": "postgres",
    "GOTRUE_DISABLE_SIGNUP": "false",
    "GOTRUE_JWT_ADMIN_ROLES": "service_role,supabase_admin",
    "GOTRUE_JWT_AUD": "authenticated",
    "GOTRUE_JWT_DEFAULT_GROUP_NAME": "authenticated",
    "GOTRUE_JWT_EXP": "3600",
    "GOTRUE_JWT_SECRET": SECRET,
    "GOTRUE_LOG_LEVEL": "error",
    "GOTRUE_RATE_LIMIT_EMAIL_SENT": "100000",
    "GOTRUE_RATE_LIMIT_SMS_SENT": "100000",
    "GOTRUE_SITE_URL": SITE_URL,
    "GOTRUE_SMTP_ADMIN_EMAIL": "auth@example.com",
    "GOTRUE_SMTP_HOST": "127.0.0.1",
    "GOTRUE_SMTP_MAX_FREQUENCY": "1us",
    "GOTRUE_SMS_MAX_FREQUENCY": "1us",
    "GOTRUE_URI_ALLOW_LIST": "https://app.example.com/**,myapp://*",
}
"""What every configuration starts from. The external URL is nobody's: both servers are to name the same one in links."""

TABLES = (
    "users",
    "identities",
    "sessions",
    "mfa_amr_claims",
    "refresh_tokens",
    "one_time_tokens",
    "flow_state",
    "mfa_factors",
    "mfa_challenges",
    "audit_log_entries",
)
_SNAPSHOT = "select json_build_object({})".format(  # constants
    ", ".join(
        f"'{table}', (select coalesce(json_agg(to_jsonb(t) order by t.created_at), '[]') from auth.{table} t)"
        for table in TABLES
    )
)
_EMPTY = "truncate {} restart identity cascade".format(", ".join(f"auth.{table}" for table in TABLES))


@dataclass(slots=True)
class Side:
    """A running server and its database as the superuser."""

    name: str
    client: httpx.Client
    connection: psycopg2.extensions.connection
    log_path: Path

    def empty(self) -> None:
        """Delete everything that auth keeps."""
        with self.connection.cursor() as cursor:
            cursor.execute(_EMPTY)

    def rows(self) -> dict[str, list[dict[str, JsonValue]]]:
        """What auth keeps: table -> rows, oldest first."""
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


def upstream_database(postgres: DatabaseServer, binary: Path, folder: Path) -> str:
    """A database with the program's own migrations applied; returns the URL of the role that auth uses."""
    name = "gotrue_upstream"
    postgres.execute(f"create database {name} template template0 owner postgres")
    postgres.execute("create schema auth authorization supabase_auth_admin", database=name)
    postgres.execute(f"grant create on database {name} to supabase_auth_admin")
    postgres.execute(f"alter role supabase_auth_admin with login password '{PASSWORD}'")
    dsn = postgres.dsn(name, "supabase_auth_admin")
    environment = {**clean_environment(), **BASE, "DATABASE_URL": dsn}
    done = subprocess.run(
        [str(binary), "migrate"], env=environment, cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return dsn


@contextmanager
def running_side(
    name: str, command: list[str], dsn: str, owner_dsn: str, environment: Mapping[str, str], folder: Path
) -> Iterator[Side]:
    """Start a server with BASE and ``environment`` and wait until it answers."""
    (port,) = free_ports(1)
    log_path = folder / f"{name}.log"
    whole = {**clean_environment(), **BASE, **environment, "DATABASE_URL": dsn, "PORT": str(port)}
    with log_path.open("wb") as log:
        process = subprocess.Popen(command, env=whole, cwd=folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        with (
            httpx.Client(
                base_url=f"http://127.0.0.1:{port}",
                timeout=REQUEST_TIMEOUT_S,
                trust_env=False,
                headers={"user-agent": "differential tests"},
            ) as client,
            closing(psycopg2.connect(owner_dsn)) as connection,
        ):
            connection.autocommit = True
            _wait(client, process, log_path)
            yield Side(name, client, connection, log_path)
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(client: httpx.Client, process: subprocess.Popen[bytes], log_path: Path) -> None:
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while True:
        with contextlib.suppress(httpx.TransportError):
            if client.get("/health").status_code == httpx.codes.OK:
                return
        assert process.poll() is None, log_path.read_text()
        assert time.monotonic() < deadline_s, log_path.read_text()
        time.sleep(0.05)


def parsed(text: str) -> JsonValue:
    """The text as JSON, or itself."""
    try:
        value: JsonValue = json.loads(text)
    except ValueError:
        return text
    return value


def ours_command() -> list[str]:
    """How our server is started."""
    return [str(ISOBASE), "serve", "auth"]


def gotrue_binary() -> Path | None:
    """The upstream program that GOTRUE_BINARY names."""
    named = os.environ.get("GOTRUE_BINARY")
    return Path(named).resolve() if named else None
