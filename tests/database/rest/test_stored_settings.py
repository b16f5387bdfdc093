"""Settings that the login role of the stack holds, as on Supabase: ``alter role authenticator set pgrst...``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg2
import pytest

from isobase_platform.config import Settings
from isobase_platform.errors import ConfigurationError
from isobase_platform.runtime import Platform
from isobase_services.database.cache_keeper import CacheKeeper

PATIENCE_S = 60.0


def execute(settings: Settings, sql: str) -> None:
    connection = psycopg2.connect(settings.dsn())
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(sql)
    connection.close()


@asynccontextmanager
async def keeping(settings: Settings) -> AsyncIterator[CacheKeeper]:
    async with Platform.open(settings) as platform:
        keeper = CacheKeeper(platform)
        try:
            await keeper.start()
            yield keeper
        finally:
            await keeper.stop()


async def until(keeper: CacheKeeper, max_rows: int | None) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while keeper.settings.max_rows != max_rows:
            await asyncio.sleep(0.02)


@pytest.fixture
def settings(database: Settings) -> Settings:
    """A database with a setting of its own for the login role; the role is shared by all of them."""
    name = database.dsn().rpartition("/")[2]
    execute(database, f"alter role authenticator in database {name} set pgrst.db_max_rows = '7'")
    return database


def test_they_hold_from_the_start_and_change_with_a_notice(settings: Settings) -> None:
    name = settings.dsn().rpartition("/")[2]

    async def run() -> None:
        async with keeping(settings) as keeper:
            assert keeper.settings.max_rows == 7
            assert keeper.settings.schemas == ("public", "graphql_public"), "what is not set stays as it was"
            execute(settings, f"alter role authenticator in database {name} set pgrst.db_schemas = 'public, storage'")
            execute(settings, f"alter role authenticator in database {name} set pgrst.db_max_rows = '8'")
            assert keeper.settings.max_rows == 7, "nobody said so yet"
            execute(settings, "notify pgrst, 'reload config'")
            await until(keeper, 8)
            assert keeper.schemas[:2] == ("public", "storage")
            assert ("storage", "objects") in keeper.cache.relations, "what is newly exposed is in the cache at once"

    asyncio.run(run())


def test_they_are_left_alone_where_the_settings_say_so(settings: Settings) -> None:
    rest = settings.rest.model_copy(update={"config_in_database": False})

    async def run() -> None:
        async with keeping(settings.model_copy(update={"rest": rest})) as keeper:
            assert keeper.settings.max_rows == 1000

    asyncio.run(run())


def test_a_wrong_one_keeps_the_server_from_starting(settings: Settings) -> None:
    name = settings.dsn().rpartition("/")[2]
    execute(settings, f"alter role authenticator in database {name} set pgrst.jwt_secret = 'short'")

    async def run() -> None:
        async with keeping(settings):
            pass

    with pytest.raises(ConfigurationError, match="at least 32"):
        asyncio.run(run())


def test_ddl_is_noticed_without_a_word(settings: Settings) -> None:
    async def run() -> None:
        async with keeping(settings) as keeper:
            execute(settings, "create table public.made_by_a_migration (id int)")
            async with asyncio.timeout(PATIENCE_S):
                while ("public", "made_by_a_migration") not in keeper.cache.relations:
                    await asyncio.sleep(0.02)
            execute(settings, "drop table public.made_by_a_migration")
            async with asyncio.timeout(PATIENCE_S):
                while ("public", "made_by_a_migration") in keeper.cache.relations:
                    await asyncio.sleep(0.02)

    asyncio.run(run())
