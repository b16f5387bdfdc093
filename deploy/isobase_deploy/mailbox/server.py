"""The mailbox of one project: its store and the port that it is read on."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator

import uvicorn

from isobase_deploy.mailbox.app import create_mailbox_app
from isobase_deploy.mailbox.store import MailStore
from isobase_platform.config import MailboxSettings

__all__ = ["Mailbox"]

MAX_MESSAGE_BYTES = 8 * 1024 * 1024
CLOSE_TIMEOUT_S = 1


class _Server(uvicorn.Server):
    """uvicorn that leaves signals to who runs it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


class Mailbox:
    """A mailbox in this process. ``async with mailbox.serving(listener)``."""

    def __init__(self, settings: MailboxSettings) -> None:
        self.store = MailStore(max_messages=settings.max_messages, max_bytes=settings.max_bytes)
        self.app = create_mailbox_app(self.store, max_message_bytes=min(MAX_MESSAGE_BYTES, settings.max_bytes))

    @contextlib.asynccontextmanager
    async def serving(self, listener: socket.socket) -> AsyncIterator[None]:
        """Answer on ``listener`` while the block runs."""
        config = uvicorn.Config(
            self.app,
            loop="none",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=CLOSE_TIMEOUT_S,
        )
        server = _Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]), name="mailbox")
        try:
            yield
        finally:
            server.should_exit = True
            await serving
