"""Auth under test: the service over a real database, driven over ASGI or, for the official client, over a socket."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import asyncpg
import httpx
import pytest
import pytest_asyncio
from starlette.types import ASGIApp

from isobase_platform.config import Settings
from isobase_platform.http.client_address import TrustedProxies
from isobase_platform.http.edge import Edge
from isobase_platform.runtime import Platform
from isobase_platform.tokens import role_token
from isobase_services.auth import create_service, passwords
from tests.plugins.mailbox import MailboxServer
from tests.plugins.stack import TEMPLATE, DatabaseServer, settings_for

FAST_BCRYPT_COST = 4
PASSWORD = "correct horse battery"
PATIENCE_S = 60.0


@dataclass(slots=True, frozen=True)
class AuthServer:
    """A running auth: a client for each face, the settings, the database as its owner."""

    client: httpx.AsyncClient
    simple: httpx.AsyncClient
    app: ASGIApp
    platform: Platform
    settings: Settings
    database: asyncpg.Connection[asyncpg.Record]

    @property
    def service_headers(self) -> dict[str, str]:
        """What an administrator sends."""
        return {"authorization": f"Bearer {self.settings.service_role_token}"}

    async def sign_up(
        self, email: str = "alice@example.com", password: str = PASSWORD, **fields: object
    ) -> dict[str, Any]:
        """Sign a user up and return the session."""
        answer = await self.client.post("/signup", json={"email": email, "password": password, **fields})
        assert answer.status_code == 200, answer.text
        session: dict[str, Any] = answer.json()
        return session

    async def sign_in(self, email: str = "alice@example.com", password: str = PASSWORD) -> httpx.Response:
        """Try the password grant."""
        return await self.client.post(
            "/token", params={"grant_type": "password"}, json={"email": email, "password": password}
        )

    async def refresh(self, token: str) -> httpx.Response:
        """Try the refresh grant."""
        return await self.client.post("/token", params={"grant_type": "refresh_token"}, json={"refresh_token": token})

    async def count(self, table: str, condition: str = "true", *values: object) -> int:
        """How many rows of a table in auth meet a condition."""
        number: int = await self.database.fetchval(f"select count(*) from auth.{table} where {condition}", *values)
        return number

    def client_at(self, address: str) -> httpx.AsyncClient:
        """A client of the Supabase face that calls from another machine; close it."""
        transport = httpx.ASGITransport(app=self.app, client=(address, 4711))
        return httpx.AsyncClient(transport=transport, base_url="http://isobase/auth/v1")


@pytest.fixture(autouse=True)
def patient_auth(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give requests, refreshes and mail time for a machine that stalls; a test of one of these limits sets it itself."""
    monkeypatch.setattr("isobase_services.auth.routing.MAX_REQUEST_DURATION_S", PATIENCE_S)
    monkeypatch.setattr("isobase_services.auth.flows.session_locks.RETRY_LIMIT_S", PATIENCE_S)
    monkeypatch.setattr("isobase_services.auth.messages.senders.mailbox.TIMEOUT_S", PATIENCE_S)


StartAuth: TypeAlias = Callable[..., AbstractAsyncContextManager[AuthServer]]


def bearer(session: dict[str, Any]) -> dict[str, str]:
    """The header of a signed-in user."""
    return {"authorization": f"Bearer {session['access_token']}"}


def with_auth(settings: Settings, **changes: object) -> Settings:
    """The settings with some of auth's changed."""
    return settings.model_copy(
        update={"auth": settings.auth.model_copy(update={"bcrypt_cost": FAST_BCRYPT_COST, **changes})}
    )


def with_mailbox(settings: Settings, server: MailboxServer) -> Settings:
    """The settings with mail going to the tests' own mailbox."""
    return settings.model_copy(update={"mail_port": server.port})


@asynccontextmanager
async def running_auth(settings: Settings) -> AsyncIterator[AuthServer]:
    """Open the platform and the service behind the gateway's edge."""
    async with Platform.open(settings) as platform:
        service = create_service(platform)
        proxies = TrustedProxies(settings.trusted_proxies, settings.forwarded_header)
        app = Edge(service.mounts, keys=platform.api_keys, metrics=platform.metrics, proxies=proxies)
        transport = httpx.ASGITransport(app=app)
        owner = await asyncpg.connect(settings.dsn())
        try:
            async with (
                httpx.AsyncClient(transport=transport, base_url="http://isobase/auth/v1") as client,
                httpx.AsyncClient(transport=transport, base_url="http://isobase/auth") as simple,
            ):
                yield AuthServer(client, simple, app, platform, settings, owner)
        finally:
            await owner.close()
            await service.drain(PATIENCE_S)  # what is still being sent would reach the next test's mailbox


@pytest.fixture(scope="session")
def auth_database(
    postgres: DatabaseServer, mailbox_server: MailboxServer, tmp_path_factory: pytest.TempPathFactory
) -> Settings:
    """One database for the tests that only use rows: emptied before each, which is quicker than a new one."""
    postgres.execute(f"create database auth_rows template {TEMPLATE} owner postgres")
    settings = settings_for(postgres.dsn("auth_rows"), tmp_path_factory.mktemp("auth"))
    return with_mailbox(settings, mailbox_server)


@pytest.fixture
def start_auth(auth_database: Settings, postgres: DatabaseServer) -> StartAuth:
    """Start auth with some settings changed: ``async with start_auth(enable_signup=False) as auth``."""
    # The key-value store holds what rate limits have counted.
    postgres.execute(
        "delete from auth.users; delete from auth.audit_log_entries; delete from auth.flow_state;"
        " delete from isobase.key_values",
        database="auth_rows",
    )
    return lambda **changes: running_auth(with_auth(auth_database, **changes))


@pytest_asyncio.fixture
async def own_auth(database: Settings, mailbox_server: MailboxServer) -> AsyncIterator[AuthServer]:
    """Auth on a database of the test's own, for tests that change the schema."""
    async with running_auth(with_auth(with_mailbox(database, mailbox_server))) as server:
        yield server


@pytest_asyncio.fixture
async def auth(start_auth: StartAuth) -> AsyncIterator[AuthServer]:
    """Auth with the defaults of a local project."""
    async with start_auth() as server:
        yield server


@pytest.fixture
def held_hashes(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """No password is compared with a hash before this is set."""
    may_go_on, verify = threading.Event(), passwords.verify_password

    def hold(password: str, stored: str, *, idle_cost: int) -> passwords.Verification:
        may_go_on.wait(PATIENCE_S)
        return verify(password, stored, idle_cost=idle_cost)

    monkeypatch.setattr(passwords, "verify_password", hold)
    yield may_go_on
    may_go_on.set()


async def until_done(tasks: Sequence[asyncio.Task[Any]], count: int) -> None:
    """Wait until so many of the tasks have ended."""
    async with asyncio.timeout(PATIENCE_S):
        while sum(task.done() for task in tasks) < count:
            await asyncio.sleep(0.005)


def token_of(settings: Settings, role: str) -> str:
    """A bare role token, as an API key is."""
    return role_token(settings.jwt_secret.get_secret_value(), role)
