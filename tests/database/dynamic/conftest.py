"""The data API behind the gateway's edge, with two users, and short ways to make databases and tables on the simple face."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio

from isobase_platform.config import Settings
from isobase_platform.http.edge import Edge
from isobase_platform.runtime import Platform
from isobase_services.database.service import DatabaseService
from tests.plugins.stack import TEMPLATE, DatabaseServer, give_time, settings_for

ALICE = "11111111-1111-4111-8111-111111111111"
BOB = "22222222-2222-4222-8222-222222222222"
NOBODY = "99999999-9999-4999-8999-999999999999"
"""An id that nothing has."""

DATABASE_NAME = "dynamic_rows"

ITEMS: dict[str, Any] = {
    "name": "items",
    "columns": [
        {"name": "title", "type": "text", "nullable": False},
        {"name": "quantity", "type": "integer", "default": 1},
        {"name": "tags", "type": "text[]"},
        {"name": "facts", "type": "jsonb"},
    ],
}


# One statement for one connection: it runs before every test.
_EMPTY = r"""
do $$
declare
  made name;
begin
  for made in select nspname from pg_namespace where nspname like 'db\_%%' loop
    execute format('drop schema %%I cascade', made);
  end loop;
end $$;
delete from isobase.databases;
delete from auth.users;
insert into auth.users (id, email, aud, role)
values (%s, %s, 'authenticated', 'authenticated'), (%s, %s, 'authenticated', 'authenticated');
"""


@dataclass(slots=True)
class Server:
    """A running data API."""

    http: httpx.AsyncClient
    app: Edge
    platform: Platform
    owner: asyncpg.Connection[asyncpg.Record]

    def token(self, user_id: str, **claims: object) -> str:
        """A signed-in user's access token."""
        payload = {"role": "authenticated", "sub": user_id, "exp": int(time.time()) + 3600, **claims}
        return self.platform.issuer.sign_with_secret(payload)

    def user(self, user_id: str) -> dict[str, str]:
        """The headers of a signed-in user."""
        return {"authorization": f"Bearer {self.token(user_id)}"}

    @property
    def alice(self) -> dict[str, str]:
        """Alice's headers."""
        return self.user(ALICE)

    @property
    def bob(self) -> dict[str, str]:
        """Bob's headers."""
        return self.user(BOB)

    @property
    def anon(self) -> dict[str, str]:
        """What a client without a user sends: the anon key."""
        return {"apikey": self.platform.settings.anon_token}

    @property
    def service(self) -> dict[str, str]:
        """The headers of service_role."""
        return {"apikey": self.platform.settings.service_role_token}

    async def make_database(self, name: str = "inventory", headers: dict[str, str] | None = None) -> dict[str, Any]:
        """A database of Alice's, unless ``headers`` are another's."""
        answer = await self.http.post("/db", json={"name": name}, headers=headers or self.alice)
        assert answer.status_code == 201, answer.text
        body: dict[str, Any] = answer.json()
        return body

    async def make_table(self, database_id: str, access: str = "private", **spec: Any) -> dict[str, Any]:
        """A table in a database of Alice's; ``ITEMS`` but for what ``spec`` says."""
        body = {**ITEMS, "access": access, **spec}
        answer = await self.http.post(f"/db/{database_id}/tables", json=body, headers=self.alice)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    async def make_rows_url(self, access: str = "private", **spec: Any) -> str:
        """A new database with one table; returns the URL of its rows."""
        database = await self.make_database()
        table = await self.make_table(database["database_id"], access, **spec)
        return f"/db/{database['database_id']}/tables/{table['table_id']}/rows"

    async def insert(self, url: str, headers: dict[str, str], **row: object) -> dict[str, Any]:
        """Insert one row and return it."""
        answer = await self.http.post(url, json=row, headers=headers)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made


def refusal(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of an error in the house's shape; fails for any other shape."""
    body = answer.json()
    assert set(body) == {"error"}, body
    assert set(body["error"]) == {"code", "message", "details", "hint", "request_id"}, body
    assert body["error"]["request_id"]
    assert "Traceback" not in answer.text
    return answer.status_code, body["error"]["code"]


@pytest.fixture(scope="session")
def dynamic_settings(postgres: DatabaseServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """One database for all tests here: emptied before each, which is quicker than a new one."""
    postgres.execute(f"create database {DATABASE_NAME} template {TEMPLATE} owner postgres")
    give_time(postgres, DATABASE_NAME)
    yield settings_for(postgres.dsn(DATABASE_NAME), tmp_path_factory.mktemp("dynamic"))
    postgres.execute(f"drop database {DATABASE_NAME} with (force)")


@pytest.fixture
def database(dynamic_settings: Settings, postgres: DatabaseServer) -> Settings:
    """Settings of that database with Alice and Bob in it and nothing else; instead of the suite's ``database``."""
    postgres.execute(_EMPTY, ALICE, "alice@example.com", BOB, "bob@example.com", database=DATABASE_NAME)
    return dynamic_settings


@contextlib.asynccontextmanager
async def running(settings: Settings, **quotas: int) -> AsyncIterator[Server]:
    """Serve the data API; with ``quotas`` instead of the settings' own."""
    dynamic = settings.dynamic.model_copy(update=quotas)
    async with Platform.open(settings.model_copy(update={"dynamic": dynamic})) as platform:
        service = DatabaseService(platform)
        owner = await asyncpg.connect(settings.dsn())
        await service.start()
        app = Edge(service.mounts, keys=platform.api_keys, metrics=platform.metrics)
        try:
            transport = httpx.ASGITransport(app=app)
            async with httpx.AsyncClient(transport=transport, base_url="http://isobase") as client:
                yield Server(client, app, platform, owner)
        finally:
            await service.drain(2)
            await owner.close()


@pytest.fixture(autouse=True)
def patient_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a change of a table wait long for its readers: a test that is about the end of that wait sets its own."""
    monkeypatch.setattr("isobase_services.database.dynamic.store.LOCK_TIMEOUT_S", 60)
    monkeypatch.setattr("isobase_services.database.idempotency.MAX_WAIT_S", 60.0)


@pytest_asyncio.fixture
async def server(database: Settings) -> AsyncIterator[Server]:
    """The data API."""
    async with running(database) as running_server:
        yield running_server
