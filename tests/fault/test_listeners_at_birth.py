"""A connection that is to listen and is ended before it does (a caller cancelled, a server that refuses) is closed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from isobase_adapter.control.errors import ControlAway
from isobase_adapter.control.postgres_listener import PostgresListener
from isobase_platform.config import Settings
from isobase_platform.errors import Unavailable
from isobase_platform.runtime import Platform
from isobase_services.database.notices import NoticeListener


async def _hear(_payload: bytes) -> None:
    pass


@pytest_asyncio.fixture(params=["bus", "notices", "control store"])
async def listen(request: pytest.FixtureRequest, database: Settings) -> AsyncIterator[Callable[[], Awaitable[Any]]]:
    """Makes one of the connections that listen."""
    if request.param == "bus":
        async with Platform.open(database) as platform:
            yield lambda: platform.bus.subscribe("a", _hear)
    elif request.param == "notices":
        notices = NoticeListener(
            database.dsn(), "a", on_notice=lambda _: None, on_reconnect=lambda: None, on_lost=lambda: None
        )
        yield notices.connect
        notices.close()
    else:
        control = PostgresListener(database.dsn())
        yield lambda: control.open(lambda: None)
        await control.close()


@pytest.mark.parametrize("ending", [asyncio.CancelledError(), asyncpg.AdminShutdownError("it ends")], ids=repr)
async def test_a_connection_that_does_not_come_to_listen_is_closed_and_the_next_one_listens(
    listen: Callable[[], Awaitable[Any]], monkeypatch: pytest.MonkeyPatch, ending: BaseException
) -> None:
    made: list[asyncpg.Connection[asyncpg.Record]] = []

    async def end(connection: asyncpg.Connection[asyncpg.Record], *_: object) -> None:
        made.append(connection)
        raise ending

    with monkeypatch.context() as patch, pytest.raises((asyncio.CancelledError, Unavailable, ControlAway)):
        patch.setattr(asyncpg.Connection, "add_listener", end)
        await listen()
    assert [connection.is_closed() for connection in made] == [True]
    await listen()
