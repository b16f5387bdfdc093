"""Listens for NOTIFY on one channel, and comes back when the connection is lost.

A connection of its own, outside the pools: it waits for hours. Neighbour: ``cache_keeper``, which decides what a notice asks
for. Source: PostgREST v14 docs, references/listener.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

import asyncpg

from isobase_platform.errors import DatabaseError, Unavailable, database_error
from isobase_platform.pool import CONNECT_TIMEOUT_S, DATABASE_FAILURES, application_name

__all__ = ["NoticeListener"]

FIRST_RECONNECT_DELAY_S = 0.1
MAX_RECONNECT_DELAY_S = 5.0

_log = logging.getLogger("isobase.database")


class NoticeListener:
    """One per process.

    Parameters: ``dsn`` to connect with; ``channel`` by its name; ``on_notice`` is called with each payload; ``on_reconnect``
    after a connection was lost and made again, as notices may have been missed; ``on_lost`` when it is lost.
    """

    def __init__(
        self,
        dsn: str,
        channel: str,
        *,
        on_notice: Callable[[str], None],
        on_reconnect: Callable[[], None],
        on_lost: Callable[[], None],
    ) -> None:
        self._dsn = dsn
        self._channel = channel
        self._on_notice = on_notice
        self._on_reconnect = on_reconnect
        self._on_lost = on_lost
        self._lost = asyncio.Event()
        self._hearing = asyncio.Lock()
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None

    @property
    def is_listening(self) -> bool:
        """Whether a connection is up now."""
        return self._connection is not None and not self._lost.is_set()

    async def connect(self) -> None:
        """Begin to listen. Raises ``Unavailable`` or ``DatabaseError`` where that cannot be."""
        try:
            connection = await asyncpg.connect(
                self._dsn,
                timeout=CONNECT_TIMEOUT_S,
                server_settings=application_name(self._dsn, "isobase schema cache"),
            )
            self._lost.clear()
            connection.add_termination_listener(lambda _: self._lost.set())
            try:
                await connection.add_listener(self._channel, self._received)
            except BaseException:
                connection.terminate()
                raise
        except (TimeoutError, *DATABASE_FAILURES) as error:
            raise database_error(error) from error
        self._connection = connection

    async def hear(self) -> None:
        """A round trip on the listening connection: what was notified before has been received when it returns."""
        if self._connection is None or self._lost.is_set():
            return
        try:
            async with self._hearing:
                await self._connection.execute("select")
        except DATABASE_FAILURES:
            return  # lost: ``keep`` makes a new connection and tells that notices may have been missed

    async def keep(self) -> None:
        """Connect again whenever the connection is lost, or was never made, until cancelled."""
        delay_s = FIRST_RECONNECT_DELAY_S
        try:
            while True:
                if self._connection is not None:
                    await self._lost.wait()
                    _log.warning("the listener for notices lost its connection")
                    self._on_lost()
                    await asyncio.sleep(delay_s)
                try:
                    await self.connect()
                except (Unavailable, DatabaseError) as error:
                    _log.warning(
                        "cannot listen for notices, trying again", extra={"reason": error.details or error.message}
                    )
                    await asyncio.sleep(delay_s)
                    delay_s = min(delay_s * 2, MAX_RECONNECT_DELAY_S)
                    continue
                _log.info("listening for notices", extra={"channel": self._channel})
                delay_s = FIRST_RECONNECT_DELAY_S
                self._on_reconnect()
        finally:
            self.close()

    def close(self) -> None:
        """Drop the connection at once."""
        if self._connection is not None:
            with contextlib.suppress(asyncpg.InterfaceError):
                self._connection.terminate()

    def _received(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        self._on_notice(str(payload))
