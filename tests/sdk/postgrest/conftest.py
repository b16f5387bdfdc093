"""A running data API over one database for the session, whose rows are laid out anew before each test, and clients of
it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg2
import pytest

from isobase_platform.config import RestSettings, Settings
from tests.database.threaded import threaded
from tests.plugins.fault_proxy import Break, FaultProxy, fault_proxy
from tests.plugins.stack import TEMPLATE, DatabaseServer, settings_for
from tests.sdk.upstream.gateway import running_gateway
from tests.sdk.upstream.servers import postgrest_named, running_postgrest

DATABASE_NAME = "sdk_data"
ROWS = r"""
truncate public.authors, public.books, public.reviews, public.places, archive.books, archive.odd restart identity cascade;
insert into public.authors values (1, 'Ada', '1815-12-10'), (2, 'Ben', null), (3, 'Cid', '1950-01-01');
insert into public.books (id, title, author_id, price, shelf, tags, meta, pages, lent_at, cover, code) values
  (1, 'First Light', 1, 9.50, 'floor', '{new,short}', '{"lang": "en", "size": {"w": 1}}', '[1,10)', null, '\xdead',
   '11111111-1111-4111-8111-111111111111'),
  (2, 'Second, Wind', 1, 20.00, 'stack', '{old}', '{"lang": "de"}', '[10,20)', '2026-01-02T03:04:05Z', null, null),
  (3, 'Third "Way"', 2, null, 'floor', '{}', null, null, null, null, null),
  (4, 'fourth_wall', null, 5, 'stack', '{new,"two words"}', null, '[30,40)', null, null, null);
select setval('public.books_id_seq', 10);
insert into public.reviews values (1, 1, 5, 'the cat sat on the mat'), (2, 1, 3, 'a dog ran'), (3, 2, 4, 'cats and
dogs'); insert into public.places values (1, 'here', 1, 2); insert into archive.books values (1, 'Old');
"""


@dataclass(slots=True, frozen=True)
class DataApi:
    """The running data API: its address, the headers of service_role, and its database."""

    url: str
    headers: dict[str, str]
    database: DatabaseServer

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        """What the database holds, as its owner sees it."""
        return self.database.execute(sql, database=DATABASE_NAME)


@pytest.fixture(scope="session")
def sdk_data_settings(postgres: DatabaseServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of the database that the tests here share."""
    postgres.execute(f"create database {DATABASE_NAME} template {TEMPLATE} owner postgres")
    connection = psycopg2.connect(postgres.dsn(DATABASE_NAME, "postgres"))
    with connection, connection.cursor() as cursor:
        cursor.execute(Path(__file__).with_name("schema.sql").read_text())
    connection.close()
    rest = RestSettings(schemas=("public", "archive"), plan_enabled=True, tx_end="commit-allow-override")
    yield settings_for(postgres.dsn(DATABASE_NAME), tmp_path_factory.mktemp("sdk")).model_copy(update={"rest": rest})
    postgres.execute(f"drop database {DATABASE_NAME} with (force)")


@pytest.fixture(scope="session")
def sdk_data_server(
    sdk_data_settings: Settings, postgres: DatabaseServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DataApi]:
    """The data API as a server on a free port; the real PostgREST where ``make test-sdk-upstream`` names one."""
    key = sdk_data_settings.service_role_token
    headers = {"apikey": key, "Authorization": f"Bearer {key}"}
    if (binary := postgrest_named()) is not None:
        secret, schemas = sdk_data_settings.jwt_secret.get_secret_value(), sdk_data_settings.rest.schemas
        folder = tmp_path_factory.mktemp("postgrest")
        with (
            running_postgrest(binary, postgres.dsn(DATABASE_NAME), secret, schemas, folder) as inner,
            running_gateway({"/rest/v1": inner}) as url,
        ):
            yield DataApi(f"{url}/rest/v1", headers, postgres)
        return
    with threaded(sdk_data_settings) as running:
        yield DataApi(f"{running.url}/rest/v1", headers, postgres)


@pytest.fixture
def data_api(sdk_data_server: DataApi) -> DataApi:
    """The data API with the rows of ``ROWS`` and no others."""
    sdk_data_server.database.execute(ROWS, database=DATABASE_NAME)
    return sdk_data_server


@pytest.fixture
def slow_calls(data_api: DataApi) -> Iterator[dict[str, int]]:
    """The arguments of a call that outlasts its test; what still runs in the database is cancelled after it."""
    yield {"seconds": 60}
    data_api.rows(
        "select pg_cancel_backend(pid) from pg_stat_activity"
        f" where datname = '{DATABASE_NAME}' and state = 'active' and pid <> pg_backend_pid()"
    )


@dataclass(slots=True, frozen=True)
class Broken:
    """A proxy before the data API, in a thread of its own, so that clients of both forms can be broken."""

    url: str
    proxy: FaultProxy

    @property
    def seen(self) -> list[str]:
        """The requests that reached the proxy."""
        return self.proxy.seen

    def breaks(self, fault: Break, matches: Callable[[str, str], bool], *, times: int = 10**9) -> None:
        """From now on the next ``times`` requests that ``matches`` go wrong so."""
        self.proxy.breaks(fault, matches, times=times)


@pytest.fixture
def broken(data_api: DataApi) -> Iterator[Broken]:
    """The data API behind a proxy that breaks what is asked for."""
    made: list[FaultProxy] = []
    ready, loop = threading.Event(), asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        async with fault_proxy(data_api.url) as proxy:
            made.append(proxy)
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert ready.wait(60)
    yield Broken(f"{made[0].url.removesuffix('/')}/rest/v1", made[0])
    loop.call_soon_threadsafe(stop.set)
    thread.join()
    loop.close()
