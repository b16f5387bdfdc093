"""Both control stores, for tests that hold for each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from isobase_adapter.control.following import StoreControl
from isobase_adapter.control.operator import Operator
from isobase_adapter.control.postgres import PostgresStore
from isobase_adapter.control.sqlite import SqliteStore
from isobase_adapter.control.store import Store
from tests.plugins.stack import DatabaseServer, fresh_database

TABLES = (
    "flags",
    "writers",
    "migration_rules",
    "flag_history",
    "outbox",
    "mismatches",
    "migration_counters",
    "migration_clients",
    "migration_events",
)


@dataclass
class Stores:
    """Opens stores and followers of one place; closes them at the end."""

    make: Callable[[], Store]
    exits: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def operator(self, by: str = "ops") -> Operator:
        return await self.exits.enter_async_context(Operator(self.make(), by=by))

    async def control(self, **options: Any) -> StoreControl:
        control = StoreControl(self.make(), **options)
        self.exits.push_async_callback(control.close)
        await control.start()
        return control


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """No client counts as silent because this machine was busy for a moment; who wants silence sets this to less."""
    monkeypatch.setattr("isobase_adapter.control.records.SILENT_AFTER_S", 60.0)


@pytest.fixture(scope="module")
def module_dsn(postgres: DatabaseServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A database of the module's own, for the role postgres."""
    with fresh_database(postgres, tmp_path_factory.mktemp("control")) as settings:
        yield settings.dsn("postgres")


@pytest.fixture
def dsn(module_dsn: str) -> str:
    """The module's database without a trace of a move."""

    async def clear() -> None:
        connection = await asyncpg.connect(module_dsn)
        try:
            await connection.execute(";".join(f"delete from isobase.{table}" for table in TABLES))
        finally:
            await connection.close()

    asyncio.run(clear())
    return module_dsn


@pytest.fixture(params=["postgres", "sqlite"])
def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Store]:
    """Makes stores of one place, on PostgreSQL and on SQLite."""
    if request.param == "postgres":
        dsn: str = request.getfixturevalue("dsn")
        return lambda: PostgresStore(dsn)
    return lambda: SqliteStore(tmp_path / "spool" / "control.sqlite3")


@pytest.fixture
async def stores(make_store: Callable[[], Store]) -> AsyncIterator[Stores]:
    """Stores of one place; closed at the end."""
    stores = Stores(make_store)
    async with stores.exits:
        yield stores
