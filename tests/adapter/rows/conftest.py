"""Two databases of the session's PostgreSQL as the two sides, each with tables of the test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from isobase_adapter.rows.database import SideDatabase
from isobase_adapter.rows.sql_carrier import RowCarrier
from isobase_adapter.sides import Side
from tests.plugins.stack import DatabaseServer, fresh_database


@dataclass(slots=True)
class Sides:
    """Both databases, by SQL as their owner and through the carrier's own connections."""

    server: DatabaseServer
    names: dict[Side, str]
    supabase: SideDatabase
    isobase: SideDatabase
    carrier: RowCarrier

    def sql(self, side: Side, text: str, *args: object) -> list[tuple[Any, ...]]:
        """Run SQL at one side as superuser."""
        return self.server.execute(text, *args, database=self.names[side])

    def both(self, text: str) -> None:
        """Run SQL at both sides."""
        for side in Side:
            self.sql(side, text)


@pytest.fixture(scope="module")
def database_names(postgres: DatabaseServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Side, str]]:
    """Two databases with the schema, for a module's tests."""
    with ExitStack() as stack:
        names = {}
        for side in Side:
            settings = stack.enter_context(fresh_database(postgres, tmp_path_factory.mktemp(str(side))))
            assert settings.database.url is not None
            names[side] = settings.database.url.get_secret_value().rpartition("/")[2]
            for extension in ("citext", "hstore", "vector"):
                create = f"create extension if not exists {extension} schema extensions"
                postgres.execute(create, database=names[side])
        yield names


@pytest_asyncio.fixture
async def sides(postgres: DatabaseServer, database_names: dict[Side, str]) -> AsyncIterator[Sides]:
    """Both sides with an empty schema ``public``."""
    for name in database_names.values():
        postgres.execute("drop schema public cascade; create schema public authorization postgres", database=name)
    supabase, isobase = (
        SideDatabase(side, postgres.dsn(database_names[side], role="postgres"))
        for side in (Side.SUPABASE, Side.ISOBASE)
    )
    try:
        yield Sides(postgres, database_names, supabase, isobase, RowCarrier(supabase, isobase))
    finally:
        await supabase.close()
        await isobase.close()
