"""The mailbox of one project in this process: its store, and the ports that it is read on and takes mail on."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import uvicorn

from isobase_deploy.mailbox.app import create_mailbox_app
from isobase_deploy.mailbox.store import MailStore
from isobase_deploy.ports import listen
from isobase_platform.config import MailboxSettings, Settings
from isobase_platform.errors import ConfigurationError

__all__ = ["Listeners", "Mailbox", "open_listeners"]

MAX_MESSAGE_BYTES = 8 * 1024 * 1024
CLOSE_TIMEOUT_S = 1

_log = logging.getLogger("isobase.mailbox")


@dataclass(slots=True, frozen=True)
class Listeners:
    """The sockets of a mailbox; ``smtp`` None: it takes mail by HTTP only."""

    http: socket.socket
    smtp: socket.socket | None

    @property
    def port(self) -> int:
        """Where it is read."""
        return int(self.http.getsockname()[1])


@contextlib.contextmanager
def open_listeners(settings: Settings, *, is_shared: bool) -> Iterator[Listeners | None]:
    """Take the ports of the project's mailbox while the block runs; None where there is to be none.

    Production has none: who reaches the mailbox opens every account. ``is_shared``: several services of the project run on
    their own, so that the port may be taken by the mailbox that another one brought up; mail then goes there.
    Otherwise raises ``ConfigurationError`` for a port that is taken.
    """
    box = settings.mailbox
    if settings.is_production or not box.enabled or (is_shared and box.url):
        yield None
        return
    with contextlib.ExitStack() as opened:
        try:
            http = listen(
                settings.host, settings.mail_port, what="the mailbox", chosen_by="ISOBASE_MAIL_PORT or [inbucket] port"
            )
        except ConfigurationError as error:
            if not is_shared or error.code != "port_taken":
                raise
            _log.info("mail goes to the mailbox that listens already", extra={"url": settings.mailbox_url})
            yield None
            return
        opened.enter_context(contextlib.closing(http))
        smtp = None
        if box.smtp_port is not None:
            chosen_by = "ISOBASE_MAILBOX__SMTP_PORT or [inbucket] smtp_port"
            smtp = listen(settings.host, box.smtp_port, what="the mailbox's SMTP", chosen_by=chosen_by)
            opened.enter_context(contextlib.closing(smtp))
        yield Listeners(http, smtp)


class _Server(uvicorn.Server):
    """uvicorn that leaves signals to who runs it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


class Mailbox:
    """A mailbox in this process: ``async with mailbox.serving(listeners)``."""

    def __init__(self, settings: MailboxSettings) -> None:
        self._max_message_bytes = min(MAX_MESSAGE_BYTES, settings.max_bytes)
        self.store = MailStore(max_messages=settings.max_messages, max_bytes=settings.max_bytes)
        self.app = create_mailbox_app(self.store, max_message_bytes=self._max_message_bytes, hosts=settings.hosts)

    @contextlib.asynccontextmanager
    async def serving(self, listeners: Listeners) -> AsyncIterator[None]:
        """Answer while the block runs."""
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
        serving = asyncio.create_task(server.serve(sockets=[listeners.http]), name="mailbox")
        try:
            async with self._taking_smtp(listeners.smtp):
                yield
        finally:
            server.should_exit = True
            await serving

    @contextlib.asynccontextmanager
    async def _taking_smtp(self, listener: socket.socket | None) -> AsyncIterator[None]:
        if listener is None:
            yield
            return
        from isobase_deploy.mailbox.smtp import smtp_protocol

        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: smtp_protocol(self.store, self._max_message_bytes), sock=listener)
        try:
            yield
        finally:
            server.close()
