"""Sockets of the simple face on a running service."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import TypeAlias

import pytest

from tests.realtime.conftest import Stack
from tests.realtime.simple.client import Simple

Connect: TypeAlias = Callable[..., Awaitable[Simple]]


@pytest.fixture
async def connect(stack: Stack) -> AsyncIterator[Connect]:
    """Open a socket and sign in as a user: ``await connect(ALICE)``."""
    sockets: list[Simple] = []

    async def open_as(user: str | None, *, on: Stack = stack, **claims: object) -> Simple:
        socket = await Simple.open(on.port)
        sockets.append(socket)
        await socket.do("connect", token=on.token(user, **claims))  # type: ignore[arg-type]
        return socket

    yield open_as
    for socket in sockets:
        with suppress(Exception):
            await socket.close()
