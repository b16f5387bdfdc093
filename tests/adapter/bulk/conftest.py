"""Two databases of the session's server: a project as Supabase keeps it, and an Isobase without it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from isobase_adapter.bulk.connections import Connection, connect
from isobase_adapter.sides import Side
from tests.adapter.bulk.following import Following, syncing
from tests.plugins.stack import DatabaseServer, fresh_database

PROJECT = (Path(__file__).parent / "project.sql").read_text()


@dataclass(slots=True)
class Two:
    """The two databases, with a connection to each as role postgres."""

    dsns: dict[Side, str]
    source: Connection
    target: Connection


@pytest.fixture
def two_dsns(postgres: DatabaseServer, tmp_path: Path) -> Iterator[dict[Side, str]]:
    with fresh_database(postgres, tmp_path / "a") as one, fresh_database(postgres, tmp_path / "b") as other:
        urls = [settings.database.url for settings in (one, other)]
        names = [url.get_secret_value().rpartition("/")[2] for url in urls if url is not None]
        yield dict(zip((Side.SUPABASE, Side.ISOBASE), (postgres.dsn(name, "postgres") for name in names), strict=True))


@pytest.fixture
async def two(two_dsns: dict[Side, str]) -> AsyncIterator[Two]:
    """The databases; the source has the project of project.sql."""
    source = await connect(two_dsns[Side.SUPABASE], "test")
    target = await connect(two_dsns[Side.ISOBASE], "test")
    try:
        await source.execute(PROJECT)
        yield Two(two_dsns, source, target)
    finally:
        await source.close()
        await target.close()


@pytest.fixture
async def following(two: Two) -> AsyncIterator[Following]:
    """The databases, of which one is to follow the other; the source has rows."""
    async with syncing(two) as made:
        yield made
