"""Connections of a test's own database: as a login role, or as a caller of the API with claims."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import asyncpg
import pytest

from isobase_platform.config import Settings
from tests.plugins.stack import DatabaseServer

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

ALICE = "a11ce000-0000-4000-8000-000000000001"
BOB = "b0b00000-0000-4000-8000-000000000002"


@dataclass(slots=True, frozen=True)
class Sessions:
    """Opens connections to one database."""

    settings: Settings

    @asynccontextmanager
    async def login(self, role: str | None = None) -> AsyncIterator[Connection]:
        """A connection of the owner (None) or of a login role."""
        connection = await asyncpg.connect(self.settings.dsn(role))
        try:
            yield connection
        finally:
            await connection.close()

    @asynccontextmanager
    async def rolled_back(self, role: str | None = None) -> AsyncIterator[Connection]:
        """A transaction of the owner (None) or of a login role that leaves nothing behind."""
        async with self.login(role) as connection:
            transaction = connection.transaction()
            await transaction.start()
            try:
                yield connection
            finally:
                await transaction.rollback()

    @asynccontextmanager
    async def caller(
        self, role: str, user_id: str | None = None, claims: Mapping[str, Any] | None = None
    ) -> AsyncIterator[Connection]:
        """A transaction of authenticator that carries ``role`` and claims, rolled back at the end."""
        carried = {"role": role, **({"sub": user_id} if user_id else {}), **(claims or {})}
        async with self.login("authenticator") as connection:
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute(f"set local role {role}")
            await connection.execute("select set_config('request.jwt.claims', $1, true)", json.dumps(carried))
            try:
                yield connection
            finally:
                await transaction.rollback()


@pytest.fixture
def shared(postgres: DatabaseServer) -> Sessions:
    """Connections to the database that all tests share: for those that change nothing, or roll back (a clone costs 0.1 s)."""
    return Sessions(postgres.settings)


@pytest.fixture
def sessions(database: Settings) -> Sessions:
    """Connections to the test's own database."""
    return Sessions(database)
