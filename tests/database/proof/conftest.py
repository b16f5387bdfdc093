"""A data API of a test's own: the service under uvicorn in a thread, over whatever PostgreSQL the test has."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import psycopg2
import pytest

from isobase_platform.config import Settings
from isobase_platform.keys import KeyRing
from isobase_platform.tokens import TokenIssuer
from tests.database.threaded import threaded
from tests.plugins.stack import DatabaseServer, give_time

REQUEST_TIMEOUT_S = 60.0
ALICE = "11111111-1111-4111-8111-111111111111"
BOB = "22222222-2222-4222-8222-222222222222"


@dataclass(slots=True, frozen=True)
class DataApi:
    """A running data API and the settings that it runs with."""

    url: str
    settings: Settings

    def headers(self, role: str, sub: str | None = None) -> dict[str, str]:
        """The headers of a caller with a token for ``role``."""
        issuer = TokenIssuer(KeyRing(self.settings.jwt_secret.get_secret_value(), []))
        claims: dict[str, object] = {"role": role, "exp": int(time.time()) + 3600}
        return {"authorization": f"Bearer {issuer.sign_with_secret(claims | ({'sub': sub} if sub else {}))}"}

    @property
    def service(self) -> dict[str, str]:
        """The headers of service_role."""
        return self.headers("service_role")

    @contextmanager
    def client(self, headers: dict[str, str] | None = None) -> Iterator[httpx.Client]:
        """A client with the headers of service_role, or with ``headers``."""
        given = self.service if headers is None else headers
        with httpx.Client(base_url=self.url, headers=given, timeout=REQUEST_TIMEOUT_S, trust_env=False) as client:
            yield client


@contextmanager
def serving(settings: Settings) -> Iterator[DataApi]:
    """The service until the block ends."""
    with threaded(settings) as running:
        yield DataApi(f"{running.url}/rest/v1", settings)


def run_sql(settings: Settings, sql: str) -> list[tuple[object, ...]]:
    """Statements as the database's owner, each committed by itself; the rows of the last one."""
    assert settings.database.url is not None
    connection = psycopg2.connect(settings.database.url.get_secret_value())
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall()) if cursor.description is not None else []
    finally:
        connection.close()


@pytest.fixture
def things(database: Settings, postgres: DatabaseServer) -> Settings:
    """A database with the table ``things`` of 20 rows, each of a parent, and functions over them."""
    give_time(postgres, database.dsn().rpartition("/")[2])
    run_sql(database, SCHEMA)
    return database


SCHEMA = """
create table public.parents (id integer primary key, label text not null);
create table public.things (
  id integer primary key, name text not null, parent_id integer references public.parents (id), data jsonb,
  size numeric default 0
);
insert into public.parents select i, 'p' || i from generate_series(1, 4) as i;
insert into public.things select i, 't' || i, i % 4 + 1, jsonb_build_object('k', i), i from generate_series(1, 20) as i;
create function public.plus(a integer, b integer default 1) returns integer language sql immutable as 'select a + b';
create function public.pick(wanted integer) returns setof public.things language sql stable as
  'select * from public.things where id = wanted';
create function public.statements() returns bigint language sql volatile as
  'select count(*) from pg_catalog.pg_prepared_statements';
create function public.nap(seconds double precision) returns void language sql volatile as 'select pg_sleep(seconds)';
grant all on all tables in schema public to anon, authenticated, service_role;
"""
